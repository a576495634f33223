/*
** format.h - THE FILE FORMAT, version 1.  This comment is the authority; the structs below are
** fixed by static asserts.
**
** All integers are little-endian.  "Offset" is a byte offset from the start of the file, always a
** multiple of 8.  A store is
**
**     [ header page, 4096 bytes ][ log of records, end to end ... ][ granted space, undefined ]
**                                ^4096              committed^   end^                  file size^
**
** Writers append to the log and never change a published byte, save the mutable words listed below.
** Readers map the file, take one word (`committed`) as their snapshot and believe nothing at or
** past it.
**
** CHECKSUMS are XXH3-64 (xxHash 0.8) with a seed.  Let SALT = XXH3-64 of the 24 bytes {uuid,
** generation} with seed 0.  A record at offset o is summed with seed SALT ^ o, so that neither an
** old disk block nor a value that looks like a record passes for one.
**
** 1. HEADER PAGE
**
**   OFFSET SIZE  STATIC PART: written once, before the file has its name
**        0    8  magic: 6D 61 70 68 0D 0A 1A 0A ("maph" CR LF SUB LF: a transfer in text mode
**                breaks it)
**        8    4  format version: 1.  A reader refuses any other
**       12    4  header size: 4096
**       16    8  required feature bits: a reader that does not know one refuses the file.  1: a
**                perfect hash (section 4).  2: a shift of versions.  4: versions are given by the
**                writer (section 10).  8: frozen records are in the short form (section 11).  16:
**                and the header has what of them is the same in all
**       24    8  optional feature bits: ignored where unknown.  1: the word `order` is in use
**                (section 9)
**       32   16  uuid of the store, random.  A backup gets a new one.  (Not where versions are
**                given: section 10)
**       48    8  generation: 1 at creation, one more in each rewritten file
**       56    8  hash seed, random: keys come from the network
**       64    8  creation time, nanoseconds since 1970
**       72    8  base version: the log begins with an epoch of this version.  In a rewritten file a
**                transaction of this version follows, or several: they hold what the generation
**                before held then, and changes since can be read here.  In generation 1: what all
**                versions are above, mostly 0
**       80   24  perfect hash: {offset of its extent's payload, its size, algorithm}; zeros: none
**      104    8  shift of versions, where required bit 2 says so; else 0.  Users are shown each
**                version of the file with this added.  It is set when the file takes the name of
**                another store, so that all it shows is above what that one gave out
**      112   32  where required bit 8 says so, else 0: the short form (section 11): {sizes of its
**                fields key size, value size, distance, 1 byte each; 1 byte: 1 where they have no
**                flags, else 0; 4 bytes: stride or unit}, offset of the first frozen record, offset
**                past the last, newest version
**      144   16  where required bit 16 says so, else 0: the one size of keys, that of values, the
**                flags of all, 4 bytes each; 4 bytes 0
**      160   88  zeros, reserved
**      248    8  checksum of bytes 0..247 with seed 0
**
**   OFFSET SIZE  LIVE PART: 8-byte words, each loaded and stored as one atomic.  All zero where not
**                described
**      256    8  committed   end of the visible log.  The 64 bytes before it are an end or epoch
**                            record
**      264    8  state       bits 0..5: 1 switching, 2 superseded, 4 deleted, 8 poisoned; the rest:
**                            offset of the segment that a split under way has filled, or 0
**      272    8  root        offset of the directory's words (a multiple of 64) | directory depth,
**                            0..23
**      320    8  prepared    where the transaction being decided ends; else equal to committed
**      328    8  end         all space ever handed out; appends start here
**      336    8  flushed     end of the log known to be on disk; never above committed
**      344    8  watched     1: somebody waits for the next commit in a futex on `committed`; the
**                            writer wakes it and stores 0
**      352    8  moved       how many frozen keys (section 4) were changed since
**      360    8  order       offset of the payload of the newest run list (section 9), or 0
**      368    8  life        where versions are given: how many epochs the log has after its first
**                            record; else 0
**      384    8  clean       1 clean, 2 opening, 3 dirty (a writer was at work)
**      392    8  boot        of a dirty file: identity of the boot in which it was marked; 0: not
**                            known
**      400    8  place       identity of {device, inode} of the file that was marked; 0: a recovery
**                            is under way
**      408    8  hinted      1: its inode was given the write hint, see section 8
**      416   16  lock file   its device and inode; 0: not yet known
**      432    8  unborn      1: the directory entry of this file may not be on disk yet; flush the
**                            directory first
**      440    8  mount       of the writer that marked it dirty
**      448    8  bias        identity of the writer that may write without taking the lock, or 0.
**                            See lock.c
**      456    8  busy        identity of the biased writer while it is writing, or 0
**      464    8  waiter      CLOCK_MONOTONIC nanoseconds when a writer last waited
**      512   64  checkpoint A  {offset, version, chain, records, bytes, spaces, 0, checksum of
**                              those 56 bytes with seed SALT}:
**     1024   64  checkpoint B   an end or epoch record ends at `offset`, and all before it was
**                               flushed before this was written.  From there to `spaces` lie pads
**                               and index pieces: no transaction ever begins between the two.
**                               spaces 0: unknown.  In a file whose `clean` is 1, where each
**                               checkpoint with the offset `committed` says `spaces`, no record
**                               begins there: one that does shows that the file is a copy, made
**                               while its writer began
**
** 2. RECORDS
**
** A record starts with 32 bytes whose first 16 mean the same in every kind:
**
**   OFFSET SIZE
**        0    8  link        mutable, outside the checksum: see below
**        8    4  checksum    low 32 bits of XXH3-64 over bytes 12 .. end of the record (extents and
**                            pads: 12..31 only)
**       12    1  kind        1 put, 2 delete, 3 end, 4 epoch, 5 pad, 6 extent
**       13    1  flags       put: bits 0..2 value type (0 blob, 1 text, 2 json, 3 integer, 4 real,
**                            5 null), 8 expiry present, 16 attributes present, 32 the writer called
**                            the key text, 64 a blob.  delete: 32, 64; 8 where an expired entry was
**                            swept.  Others 0
**       14    2  key size    put, delete: 1..65535.  Others 0
**
** PUT and DELETE:
**       16    4  value size  (delete: 0)
**       20    4  prev, low   prev = offset / 8 of the previous version of this key, 40 bits; 0:
**                            none.  Always below this record, also within one transaction
**       24    6  version     of the transaction
**       30    1  prev, high
**       31    1  padding     further 8-byte units of zeros at the record's end, so that frozen
**                            records can be of one size; else 0
**       32    8  expiry      only if flagged: milliseconds since 1970.  No snapshot taken
**                            then or later shows the entry; its record is live until another
**                            supersedes it
**        +    8  attributes size  only if flagged
**        +    n  key, value, attributes; then zeros to a multiple of 8; then the padding
**   link: offset of the record that superseded this one, or 0.  A put is live at snapshot S when
**   its link is 0 or >= S. Attributes are {1 byte tag, 1 byte size, bytes} ...  Tag 1: media type.
**   Unknown tags are ignored. INTEGER and REAL values are decimal text; NULL has no bytes.
**
** END, closing a transaction, and EPOCH, opening the log and each life after a recovery, and ending
** a backup (64 bytes; the epoch has a transaction's shape with no operations):
**       16    4  operations of the transaction (puts and deletes)
**       20    4  back, low   back = offset / 8 of the previous end or epoch record, 40 bits; 0:
**                            none
**       24    6  version     one transaction = one version, one higher than the last; an epoch
**                            but the first is at the next multiple of 2^32, so that no version is
**                            ever given out twice.  (Not where versions are given: section 10)
**       30    1  back, high
**       31    1  0
**       32    8  end: offset of the transaction's first record.  epoch: random nonce
**       40    8  records of the whole store that are live after this
**       48    8  bytes of those records
**       56    8  chain       XXH3-64 over {previous chain (0 at first), this record's bytes 12..55,
**                            digest} with seed SALT, where digest folds each put and delete in
**                            order: d = (d ^ offset) * 0x9E3779B97F4A7C15 rotated left by 29, then
**                            d ^= its bytes 8..15; d starts at 0
**   An end record is the decision: with it in place and chained, the transaction is committed.
**   Where a damaged file was rewritten, versions skip those of the transactions that were lost.
**   The base transactions of a rewritten file, mostly one, are those of the header's base version.
**   Their records keep the versions that they were put at, below or at that, and have no prev; each
**   is whole by itself.  There is none, and no end record, where the file began empty.
**
** PAD (space given up) and EXTENT (space for an index piece):
**       16    8  size of the whole record, 32 at least
**       24    1  extent: 1 directory, 2 segment, 3 perfect hash, 4 node of a run, 5 run list.
**                pad: 0
**       25    1  segment: depth at birth.  directory: its depth
**       26    2  extent: the life that it was made in, its low 16 bits.  pad: 0
**       28    4  segment: the top 23 hash bits that its keys share (bits not shared are zero), at
**                birth
**   An extent's payload starts 32 bytes in, at a multiple of 64, and is index, not log: never
**   checksummed. A segment's link: offset of an overflow segment's payload (a multiple of 64), or 0
**   | its present depth in bits 0..5.  A directory's link: payload of the directory, twice as long,
**   that took its place, or 0.
**
** 3. THE INDEX is derived: it can be rebuilt from the log.  hash = XXH3-64 of the key with the
**    store's hash seed.
**
**   Directory: 2^depth words, word i = offset of the payload of the segment for keys whose top
**   `depth` hash bits are i. Segment: 256 buckets of 64 bytes; a key's bucket is the low 8 bits of
**   its hash; a bucket is 8 slots. Slot: 0, or (top 23 hash bits) << 41 | displaced << 40 | (record
**   offset / 8).  It leads to the newest version of the key, put or delete. A key is in the first
**   of the buckets from its own on, wrapping at 256, that had room; `displaced` is 1 where that is
**   not its own.  A bucket whose last slot is empty ends the search; after all 256 the overflow
**   segment follows.  Slots whose top `depth` bits are not the segment's own were left behind by a
**   split: dead for lookups, free for reuse.
**
** 4. THE PERFECT HASH, in a store that was made optimized, covers keys of the log's first
**    transaction, the frozen ones: their n records lie end to end in the order of its numbers.
**    That is the base transaction, but in generation 1.  The hash is written before the file has
**    its name and never changes, but for the moved bits of section 11.  Its extent's payload
**    (integers of 8 bytes, but the first two of 4):
**
**   OFFSET SIZE
**        0    8  algorithm (1 pilot, 2 cmph), placement (1 direct, 2 groups)
**        8   32  n; offset of the first frozen record; offset past the last; direct: size of each
**                record
**       40   16  size of the function's data, which begins at 64; where in the payload the table
**                begins, a multiple of 64: groups: their lines; direct: n fingerprints, or 0: none
**                are there
**       56    8  checksum: XXH3-64 of the payload without these 8 bytes, in two parts: of 0..55
**                with seed SALT, then of 64..size with that as seed
**   pilot: buckets b, slots m, odd multiplier c; b pilots of a byte; zeros to a multiple of 4; m -
**   n remaps of 4 bytes.
**        With h the key's hash and high(x, y) the upper half of the 128-bit product: q =
**        pilot[high(h, b)], s = high((h ^ q * 0x9E3779B97F4A7C15) * c, m); the number is s where s
**        < n, else remap[s - n].
**   cmph: libcmph's packed BDZ over the 8 bytes of h: cmph_pack() wrote the data, and with that
**        cmph_search_packed() gives the number.
**   A fingerprint is the low byte of h: where the number's is another, no frozen key has this hash.
**   A group line, 64 bytes for 16 numbers: offset of the first record, 16 distances from it in
**   8-byte units (2 bytes each), 16 fingerprints, 8 zeros.
**   A frozen key is looked up here first.  Where its record's link is 0 or >= S it is the one; else
**   the index leads to its newest version, and if there is none (lost with the power) the frozen
**   record stands.  A frozen record gets a slot only through its successor.
**
** 5. MUTABLE WORDS, the complete list: the header's live part; record links; directory words;
**    slots; words of moved bits.  Each is one 8-byte atomic.
**
** 6. READING AT A SNAPSHOT
**   S = acquire(committed); o = the key's slot; while o >= S: o = prev(o); compare the whole key.
**   No slot: load root and the directory word again; if either changed, look again.  Directory
**   words and root are release-stored before a left-behind slot is reused.
**
** 7. A REWRITTEN FILE has the uuid of the one whose place it took, a generation one higher, and all
**    its versions.  It is made as PATH.new by whoever has byte 2 of the lock file.  Before
**    it takes PATH all is flushed in it that lies below `flushed` in the old file.  Under the
**    writer's lock, in this order: old state switching; a look at the old `flushed`; rename; flush
**    of the folder; new unborn = 0; old state superseded.  A writer that finds `switching`
**    looks which file PATH is; a file without a name (no links) was superseded, whatever PATH is.
**    A PATH.new is a leftover, and may be removed, when nobody has byte 2.
**
** 8. WHICH LOG IS BELIEVED.  `committed`, finished by what `prepared` says: while a writer lives;
**    where `clean` is 1; and where the file is the one that was marked dirty, and its inode was
**    never out of the kernel's memory since.  Not where the content is newer than these words.
**    Otherwise: from 4096, whole transactions in chain, up to the first that is not; the live part
**    and the index are made anew.  A living writer holds an exclusive lock on one byte of [2^62 +
**    2^32, 2^62 + 2^33) of the file; who opens it for writing, or recovers it, holds byte 2^62
**    until it has one of those.  The inode's write hint (F_SET_RW_HINT) is 1 while the file is
**    dirty.  core/writer/trust.c has the table.
**
** 9. THE ORDER OF KEYS, where the optional bit says so, is derived too: without it the log has to
**    be walked and sorted.  A key has one ENTRY: the place of its first record in this file, a put
**    whose prev is 0.  Nothing but a new key adds one.  Integers are of 8 bytes where not said
**    otherwise; a checksum's seed is SALT ^ the offset of the payload that it is in.
**
**   RUN LIST, the payload of an extent of kind 5:
**        0    8  checksum of its bytes from 8 on
**        8   16  to: each put below with prev 0 has an entry in one of the runs, others have none.
**                Life, that it was written in: bits 32..47 of the version of the last transaction
**                before; where versions are given, the word `life`
**       24    8  how many runs
**       32    8  types of the keys of all puts below `to`: 1 + (2: some are TEXT) + (4: some
**                are BLOB).  What a put's flags do not tell is TEXT if it is UTF-8 without a zero
**                byte.  0, or anything with other bits: not known
**       40   24  zeros
**       64    8  of each run: offset of its root's payload, or of its only leaf's.  In order of
**                their stretches of the log, which do not overlap and end at `to` or before
**   A list is believed where its checksum fits, all below `to` is below `committed`, and no epoch
**   came since: the life of the last transaction is that of the list, or an earlier one.
**
**   NODE, the payload of an extent of kind 4:
**        0    8  checksum of its bytes 8..63
**        8   16  from, to: the records that the run's entries lead to begin in [from, to)
**       24    8  keys of the run, in its root; of a leaf: as many as entries
**       32    4  entries n, 1 at least
**       36    4  how many bytes all its keys have in common.  They are left out
**       40    8  checksum of the bytes from 64 on
**       48    1  0 leaf, 1 root
**       49    1  W: bytes of each word, 1..8; 0: wide, as each root is and leaves may be
**       50    1  P: bytes of each place, 1..5; wide: 0; dense: bits of each, 0..40
**       51    1  0; 1: dense, as leaves that are not wide may be
**       52    4  kept bits: in each 4 of these 32, from the lowest on, what the words have of one
**                of the next 8 bytes of the keys, from the first on: 0..8: that many of its lowest
**                bits; 15: nothing of this byte, nor of those that follow.  Wide: 0
**       56    8  the first entry's next 8 bytes, as the word of a wide node, with zeros for the
**                bytes of which nothing is kept.  Wide: 0
**   Wide:
**       64   8n  of each entry its word: the next 8 bytes of its key, zeros past its end, as a
**                number whose highest byte is the first
**        +   5n  of each entry: offset / 8 of the record; in a root: of the payload of a leaf, and
**                the word is that of the leaf's first key
**        +    3  zeros
**   Narrow:
**       64   Wn  of each entry its word: the kept bits of the next 8 bytes of its key, zeros past
**                its end, one after the other, as a number that ends with the last of them.  The
**                higher bits of a byte of which some, or 0, are kept are in all keys those at 56
**        +   Pn  of each entry: (offset of the record - `from`) / 8.  In a leaf of several `from`
**                may be higher than in its root
**        +  8-P  zeros
**   Dense, with words as those of narrow ones:
**       64   16  start, step: the line from which places are counted
**       80    +  of each 16 entries a group of W + 16 bytes: the word of its first; a shift of 1
**                byte, 0..63; of each of the 15 others a byte: (its word - the first's) >> shift.
**                Zeros for entries that are not there
**        +    +  of each entry, number i, P bits, from bit i * P of these bytes on, which are one
**                number: what is to be added to its place on a line.  The record's offset is
**                start + 8 * (i * step >> 16) + 8 * these bits, each modulo 2^64.  There are as
**                many bytes as n * P bits need
**        +    8  zeros
**   Entries are in the order of their keys, as memcmp has it and then the length.  Words that are
**   equal, in so far as they are kept, say nothing of it.
**   All of it lies below `end` and is never changed.  `order` is stored (release) after the list,
**   and loaded after `committed`.  Pads may cover it, as they may any index piece.
**
** 10. VERSIONS GIVEN BY THE WRITER, where required bit 4 says so.  The store is a copy of a
**    source that numbers its changes, and the numbers are the versions.  Its uuid is given too,
**    names the source, and stays that of backups.
**
**    A transaction has any version above the one before.  It may have no operations: then it tells
**    how far the source was read.  Each of its records has a version of its own, above that of the
**    transaction before and not above the transaction's, in any order.
**    An epoch has the version of the transaction before it: none is passed over, for what was lost
**    with the power comes from the source again, under the same versions.  So the version does not
**    tell the life, but the word `life` does.  It is believed where the other live words are, and
**    a recovery counts anew.
**    A rewritten file lacks entries whose expiry had passed, and the deletes of those that came
**    after its base.
**
** 11. THE SHORT FORM of frozen records, where required bit 8 says so.  They are puts without
**    prev, link and alignment.  K, V and D are the sizes of three fields, which are the same in all
**    (header, 112): K 0..2, V 0..4, D 0..6.  Where required bit 16 says so, and there alone, K or
**    V is 0, or there are no flags, one of these at least: then what all have is in the header
**    (144), and 0 for each that has a field.  Flags that all have are not those of an expiry and
**    of attributes.
**
**   OFFSET SIZE
**        0    4  checksum: low 32 bits of XXH3-64 over bytes 4 .. end of the record, with seed
**                SALT ^ its address, the byte offset where it begins in the file
**        4    1  flags, as of a put.  Not there where all have the same
**        +    K  key size, 1 at least
**        +    V  value size
**        +    D  distance: the newest version, which the header says - its version
**        +    8  expiry, only if flagged
**        +    2  attributes size, only if flagged
**        +    n  key, value, attributes
**    The size of a record, also among the bytes of the store's live records, ends here.  Zeros
**    follow to where the next one begins, and behind the last to the offset past them, a multiple
**    of 8.
**
**    The PLACE of the one with number i is the offset of the first + 8 * i.  Wherever this text
**    says offset of a record, it is the place of these: in a prev, an end record's start, the
**    digest, the entries and bounds of the order.  No record is shorter than 8 bytes, which the
**    sizes of the fields, and those at 144, see to, so that places rise as addresses do and lie
**    before all that follows.  A walk of the log comes from the record at the last place to the
**    offset past the frozen ones.  The digest folds what bytes 8..15 of the long form would be:
**    checksum, kind 1, flags, key size.
**
**    Direct: number i begins at the address first + i * stride.  Groups: the offset in a line is
**    the address of its first record, the distances are in units of the header's 1, 2, 4 or 8
**    bytes from there, and each record begins a whole number of units behind the first of all.
**    The stride of section 4 is the stride, or the unit.
**
**    The table is always there.  The MOVED BITS follow it, at a multiple of 64: bit i % 64 of word
**    i / 64 is 1 where number i was superseded, and 0 where there is no number i.  They end the
**    payload, with a whole word, and the payload's checksum does not sum them.  The bit is set
**    before the slot that leads to the first successor is, and so before `committed`.  Where it is
**    0 the record is its key's version at every snapshot.  Where it is 1 the index leads to the
**    newest version; prevs lead back from there, to this place in the end.  Where no slot does, the
**    record stands.
*/
#ifndef MAPH_FORMAT_H
#define MAPH_FORMAT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the format is little-endian and used in place; this machine is not"
#endif
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "the mutable words need lock-free 8-byte atomics");

typedef _Atomic uint64_t word;

#define FORMAT_MAGIC "maph\r\n\x1a\n"
enum {
  FORMAT_VERSION = 1,
  HEADER_SIZE = 4096,
  LOG_START = HEADER_SIZE,
  RECORD_HEAD = 32,
  END_SIZE = 64,
  SEGMENT_SIZE = 16384,
  SEGMENT_BUCKETS = 256,
  BUCKET_SLOTS = 8,
  GROUP_KEYS = 16,
  HASH_BITS = 23, /* of the hash kept in a slot; so the deepest directory */
  KEY_MAX = 65535,
  MEDIA_TYPE_MAX = 255,
  PLACE_STEP = 8, /* from one record of the short form to the next; none is smaller */
  MOVED_BITS = 64 /* in a word */
};
#define VALUE_MAX 0xFFFFFFFFu
#define OFFSET_MAX (UINT64_C(1) << 43)
#define VERSION_MAX ((UINT64_C(1) << 48) - 1)

enum {
  STATE_SWITCHING = 1,
  STATE_SUPERSEDED = 2,
  STATE_DELETED = 4,
  STATE_POISONED = 8,
  STATE_FLAGS = 63
};
enum { CLEAN_YES = 1, CLEAN_OPENING = 2, CLEAN_DIRTY = 3 };
enum { KIND_PUT = 1, KIND_DELETE = 2, KIND_END = 3, KIND_EPOCH = 4, KIND_PAD = 5, KIND_EXTENT = 6 };
enum {
  FLAG_TYPE = 7,
  FLAG_EXPIRY = 8,
  FLAG_ATTRIBUTES = 16,
  FLAG_TEXT_KEY = 32,
  FLAG_KEY_TYPE = 96
};
enum { ATTRIBUTE_MEDIA_TYPE = 1 };
enum {
  REQUIRED_PERFECT = 1,
  REQUIRED_SHIFT = 2,
  REQUIRED_GIVEN = 4,
  REQUIRED_SHORT = 8,
  REQUIRED_ALIKE = 16
};
enum { OPTIONAL_ORDER = 1 };
enum { PLACED_DIRECT = 1, PLACED_IN_GROUPS = 2 };
enum {
  EXTENT_DIRECTORY = 1,
  EXTENT_SEGMENT = 2,
  EXTENT_PERFECT = 3,
  EXTENT_NODE = 4,
  EXTENT_RUN_LIST = 5
};

typedef struct checkpoint {
  uint64_t offset, version, chain, records, bytes, spaces, reserved, checksum;
} checkpoint;

/* What all frozen records have in common, in the short form. */
typedef struct short_form {
  uint8_t key_size, value_size, distance, no_flags; /* bytes of these fields; 1: there are none */
  uint32_t unit;                                    /* direct: the stride */
  uint64_t first, past;                             /* addresses */
  uint64_t newest;                                  /* version */
  /* Sizes of all keys, of all values, the flags of all; 0 too where there is a field. */
  uint32_t one_key, one_value, one_flags, zero;
} short_form;

typedef struct header {
  uint8_t magic[8];
  uint32_t format, header_size;
  uint64_t required, optional;
  uint8_t uuid[16];
  uint64_t generation, hash_seed, created_ns, base_version;
  uint64_t perfect_offset, perfect_size, perfect_algorithm;
  uint64_t version_shift;
  short_form short_form;
  uint8_t reserved[88];
  uint64_t checksum;

  word committed, state, root, pad0[5];
  word prepared, end, flushed, watched, moved, order, life, pad1[1];
  word clean, boot, place, hinted, lock_device, lock_inode, unborn, mount;
  word bias, busy, waiter, pad3[5];
  checkpoint checkpoint_a;
  uint8_t pad4[512 - sizeof(checkpoint)];
  checkpoint checkpoint_b;
  uint8_t pad5[HEADER_SIZE - 1024 - sizeof(checkpoint)];
} header;

_Static_assert(sizeof(checkpoint) == 64, "");
_Static_assert(sizeof(short_form) == 48 && offsetof(header, short_form) == 112, "");
_Static_assert(sizeof(header) == HEADER_SIZE, "");
_Static_assert(offsetof(header, uuid) == 32 && offsetof(header, hash_seed) == 56
                   && offsetof(header, base_version) == 72,
               "");
_Static_assert(offsetof(header, perfect_offset) == 80 && offsetof(header, version_shift) == 104
                   && offsetof(header, checksum) == 248,
               "");
_Static_assert(offsetof(header, committed) == 256 && offsetof(header, root) == 272, "");
_Static_assert(offsetof(header, prepared) == 320 && offsetof(header, flushed) == 336
                   && offsetof(header, moved) == 352 && offsetof(header, order) == 360
                   && offsetof(header, life) == 368,
               "");
_Static_assert(offsetof(header, clean) == 384 && offsetof(header, boot) == 392
                   && offsetof(header, lock_device) == 416,
               "");
_Static_assert(offsetof(header, unborn) == 432 && offsetof(header, bias) == 448
                   && offsetof(header, waiter) == 464,
               "");
_Static_assert(offsetof(header, checkpoint_a) == 512 && offsetof(header, checkpoint_b) == 1024, "");

/* The first 32 bytes of every record. */
typedef struct record {
  word link;
  uint32_t checksum;
  uint8_t kind, flags;
  uint16_t key_size;
  union {
    struct {
      uint32_t value_size, prev_low;
    }; /* put, delete */
    struct {
      uint32_t operations, back_low;
    };             /* end, epoch */
    uint64_t size; /* pad, extent */
  };
  union {
    /* version | prev or back, high << 48 | put: padding << 56 */
    uint64_t version_prev;
    struct {
      uint8_t extent, depth;
      uint16_t life;
      uint32_t prefix;
    };
  };
} record;

typedef struct end_record {
  record head;
  uint64_t start; /* epoch: nonce */
  uint64_t records, bytes, chain;
} end_record;

/* The starts of the payloads of a run list and of a node. */
typedef struct run_list_head {
  uint64_t checksum, to, life, runs, types, zero[3];
} run_list_head;

typedef struct node_head {
  uint64_t checksum, from, to, keys;
  uint32_t entries, shared;
  uint64_t sum;
  uint8_t is_root, word_size, place_size, dense;
  uint32_t kept; /* bits, NIBBLE for each byte */
  uint64_t first;
} node_head;

/* What follows it in a dense node: the line from which places are counted. */
typedef struct node_line {
  uint64_t start, step;
} node_line;

/* The start of a perfect hash's payload. */
typedef struct perfect_head {
  uint32_t algorithm, placement;
  uint64_t keys, first, past, stride;
  uint64_t function_size, table;
  uint64_t checksum;
} perfect_head;

typedef struct pilot_head {
  uint64_t buckets, slots, multiplier;
} pilot_head;

typedef struct group_line {
  uint64_t first;
  uint16_t distance[GROUP_KEYS];
  uint8_t fingerprint[GROUP_KEYS];
  uint64_t zero;
} group_line;

_Static_assert(sizeof(run_list_head) == 64 && sizeof(node_head) == 64
                   && offsetof(node_head, sum) == 40 && offsetof(node_head, kept) == 52,
               "");
_Static_assert(sizeof(perfect_head) == 64 && sizeof(group_line) == 64, "");
_Static_assert(sizeof(record) == RECORD_HEAD && sizeof(end_record) == END_SIZE, "");
_Static_assert(offsetof(record, kind) == 12 && offsetof(record, value_size) == 16
                   && offsetof(record, version_prev) == 24,
               "");
_Static_assert(offsetof(record, prefix) == 28 && offsetof(end_record, chain) == 56, "");

#endif
