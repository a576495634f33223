/*
** header.c - the header page: made once, checked at every open.
*/
#include "file/header.h"
#include "file/grant.h"
#include "file/store.h"

#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { CHECKPOINT_BYTES = 1024 * 1024 };

uint64_t header_salt(const header *header) {
  uint8_t in[24];
  memcpy(in, header->uuid, 16);
  memcpy(in + 16, &header->generation, 8);
  return XXH3_64bits(in, sizeof in);
}

static void seal(header *header) {
  header->checksum = XXH3_64bits(header, offsetof(struct header, checksum));
}

/* The header's fields that the store works with. */
static void take_over(store *store, const header *header) {
  memcpy(store->uuid, header->uuid, sizeof store->uuid);
  store->generation = header->generation;
  store->base_version = header->base_version;
  store->hash_seed = header->hash_seed;
  store->given = (header->required & REQUIRED_GIVEN) != 0;
  store->salt = header_salt(header);
}

void header_set_shift(header *header, uint64_t shift) {
  header->version_shift = shift;
  header->required &= ~(uint64_t)REQUIRED_SHIFT;
  if (shift) header->required |= REQUIRED_SHIFT;
  seal(header);
}

void header_make(store *store, header *header, const header_identity *identity) {
  memset(header, 0, sizeof *header);
  memcpy(header->magic, FORMAT_MAGIC, 8);
  header->format = FORMAT_VERSION;
  header->header_size = HEADER_SIZE;
  if (identity->uuid)
    memcpy(header->uuid, identity->uuid, 16);
  else
    os_random(header->uuid, 16);
  header->generation = identity->generation;
  os_random(&header->hash_seed, 8);
  header->created_ns = os_time_ns();
  header->base_version = identity->base_version;
  header->required = identity->given ? REQUIRED_GIVEN : 0;
  header->optional = OPTIONAL_ORDER;
  header_set_shift(header, identity->shift);
  take_over(store, header);
}

void header_set_perfect(store *store, uint64_t offset, uint64_t size, int algorithm,
                        const short_form *form) {
  header *header = header_of(store->write_base);
  assert(store->lockless); /* nobody else knows of it yet */
  OS_TEST_STORE(store->write_base, 0, 256);
  header->required |= REQUIRED_PERFECT | REQUIRED_SHORT;
  header->short_form = *form;
  header->perfect_offset = offset;
  header->perfect_size = size;
  header->perfect_algorithm = (uint64_t)algorithm;
  seal(header);
}

int header_sound(const header *header) {
  return header->checksum == XXH3_64bits(header, offsetof(struct header, checksum));
}

int header_read(store *store, const uint8_t *base, uint64_t size) {
  header copy;
  if (size == 0)
    return fail(MAPH_FORMAT,
                "%s: an empty file: open it with MAPH_RDWR|MAPH_CREATE to make it a store",
                store->path);
  if (size < HEADER_SIZE) {
    return fail(MAPH_FORMAT, "%s: not a maph store: %llu bytes are too few to be one", store->path,
                (unsigned long long)size);
  }
  memcpy(&copy, base, 256);
  if (memcmp(copy.magic, FORMAT_MAGIC, 8) != 0)
    return fail(MAPH_FORMAT, "%s: not a maph store: offset 0 does not hold its magic", store->path);
  if (copy.format != FORMAT_VERSION || copy.header_size != HEADER_SIZE) {
    return fail(
        MAPH_FORMAT,
        "%s: offset 8: format version %u is not known to this library (%s): use a newer one",
        store->path, copy.format, MAPH_VERSION);
  }
  if (!header_sound(&copy)) {
    return fail_corrupt(store->path, offsetof(header, checksum),
                        "the header's checksum does not fit its bytes");
  }
  if (copy.required
      & ~(uint64_t)(REQUIRED_PERFECT | REQUIRED_SHIFT | REQUIRED_GIVEN | REQUIRED_SHORT)) {
    return fail(MAPH_FORMAT,
                "%s: offset 16: the store uses features (%llx) that this library (%s) does not "
                "know: use a newer one",
                store->path, (unsigned long long)copy.required, MAPH_VERSION);
  }
  if (copy.base_version > VERSION_MAX)
    return fail_corrupt(store->path, offsetof(header, base_version),
                        "a version is higher than can be");
  if (copy.version_shift > VERSION_MAX
      || (copy.version_shift > 0 && (copy.required & REQUIRED_GIVEN)))
    return fail_corrupt(store->path, offsetof(header, version_shift),
                        "versions are shifted further than can be");
  if (size < LOG_START + END_SIZE + SEGMENT_SIZE)
    return fail_corrupt(store->path, size, "the file ends before its log and index begin");
  take_over(store, &copy);
  return MAPH_OK;
}

int header_say_poisoned(const store *store) {
  if (grant_lost(store)) return grant_say_lost(store);
  return fail(MAPH_IOERR,
              "%s: a flush to disk failed earlier, so nothing more may be written: check the disk, "
              "then run `maph recover`",
              store->path);
}

/* The bucket that PATH.replica names, where a follower keeps that file; "": nobody says. */
static void read_source(const char *path, char bucket[256]) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
  char name[4096], text[1024] = "";
  const char *at;
  os_file file;
  size_t size;
  int rc;
  bucket[0] = 0;
  if (snprintf(name, sizeof name, "%s.replica", path) >= (int)sizeof name) return;
  if (os_open(name, OS_READ, 0, &file) != MAPH_OK) return;
  rc = os_read(&file, name, 0, text, file.size < sizeof text ? file.size : sizeof text - 1);
  os_close(&file);
  if (rc != MAPH_OK || strncmp(text, "maph-replica ", 13) != 0) return;
  at = strstr(text, "\nbucket=");
  if (at == NULL) return;
  at += strlen("\nbucket=");
  size = strspn(at, letters);
  if (at[size] == '\n' && size < 256) snprintf(bucket, 256, "%.*s", (int)size, at);
}

int header_say_given(const store *store) {
  char bucket[256];
  read_source(store->path, bucket);
  if (bucket[0])
    return fail(MAPH_READONLY,
                "%s: a replica of the bucket %s, which only its follower may write: write to the "
                "bucket, as with `maph-replica put %s`",
                store->path, bucket, bucket);
  return fail(MAPH_READONLY,
              "%s: a replica, which only the program that copies its source into it may write: "
              "write to the source",
              store->path);
}

uint64_t header_life(const store *store, uint64_t version) {
  if (!store->given) return version >> 32;
  /* a file that is being made is not mapped yet, and begins its first */
  return atomic_load(&store->size) < HEADER_SIZE
             ? 0
             : atomic_load(&header_of(atomic_load(&store->base))->life);
}

void header_poison(store *store) {
  OS_TEST_STORE(store->write_base, offsetof(header, state), 8);
  store->flush_failed = 1;
  if (grant_header(store) == MAPH_OK)
    atomic_fetch_or(&header_of(store->write_base)->state, STATE_POISONED);
}

int header_checkpoint_fits(const store *store, const checkpoint *checkpoint) {
  return checkpoint->checksum
         == XXH3_64bits_withSeed(checkpoint, offsetof(struct checkpoint, checksum), store->salt);
}

void header_show(store *store) {
  header *header = header_of(store->write_base);
  store_word(store->write_base, &header->end, store->space_end);
  store_word(store->write_base, &header->prepared, store->last.end);
  store_word(store->write_base, &header->committed, store->last.end);
}

void header_checkpoint_last(store *store, const tip *tip, uint64_t spaces) {
  header *header = header_of(store->write_base);
  checkpoint *slot = &header->checkpoint_a, checkpoint;
  /* commit.c (2): what it covers is on disk.  Whatever a file says there, whoever comes here has
  ** raised the word to tip->end, or found it above. */
  assert(store->lockless || tip->end <= atomic_load(&header->flushed));
  if (!header_checkpoint_fits(store, &header->checkpoint_b)
      || header->checkpoint_b.offset < header->checkpoint_a.offset)
    slot = &header->checkpoint_b;
  if (!header_checkpoint_fits(store, &header->checkpoint_a)) slot = &header->checkpoint_a;
  memset(&checkpoint, 0, sizeof checkpoint);
  checkpoint.offset = tip->end;
  checkpoint.version = tip->version;
  checkpoint.chain = tip->chain;
  checkpoint.records = tip->records;
  checkpoint.bytes = tip->bytes;
  checkpoint.spaces = spaces;
  checkpoint.checksum =
      XXH3_64bits_withSeed(&checkpoint, offsetof(struct checkpoint, checksum), store->salt);
  OS_TEST_STORE(store->write_base, (uint64_t)((uint8_t *)slot - store->write_base),
                sizeof checkpoint);
  memcpy(slot, &checkpoint, sizeof checkpoint);
  store->checkpoint_end = tip->end;
  if (spaces == 0) return;
  /* none of that offset leaves it open */
  slot = slot == &header->checkpoint_a ? &header->checkpoint_b : &header->checkpoint_a;
  if (slot->offset != tip->end) return;
  OS_TEST_STORE(store->write_base, (uint64_t)((uint8_t *)slot - store->write_base),
                sizeof checkpoint);
  memcpy(slot, &checkpoint, sizeof checkpoint);
}

void header_checkpoint(store *store, const tip *tip) { header_checkpoint_last(store, tip, 0); }

void header_checkpoint_if_due(store *store, const tip *tip) {
  if (tip->end - store->checkpoint_end >= CHECKPOINT_BYTES) header_checkpoint(store, tip);
}

header_tail header_tail_at(const store *store, const header *header, uint64_t offset) {
  const checkpoint *slots[2] = { &header->checkpoint_a, &header->checkpoint_b };
  header_tail tail = { offset, 0 };
  int i, is_open = 0;
  for (i = 0; i < 2; i++) {
    checkpoint checkpoint;
    memcpy(&checkpoint, slots[i], sizeof checkpoint); /* a writer may be at it */
    if (checkpoint.offset != offset || !header_checkpoint_fits(store, &checkpoint)) continue;
    if (checkpoint.spaces > tail.spaces && checkpoint.spaces % 8 == 0)
      tail.spaces = checkpoint.spaces;
    if (checkpoint.spaces < offset)
      is_open = 1;
    else
      tail.blank = 1;
  }
  if (is_open) tail.blank = 0;
  return tail;
}

int header_best_checkpoint(const store *store, const header *header, checkpoint *best) {
  const checkpoint *slots[2] = { &header->checkpoint_a, &header->checkpoint_b };
  int i, found = 0;
  for (i = 0; i < 2; i++) {
    checkpoint checkpoint;
    memcpy(&checkpoint, slots[i], sizeof checkpoint);
    /* sums can be forged */
    if (!header_checkpoint_fits(store, &checkpoint) || checkpoint.version > VERSION_MAX) continue;
    if (!found || checkpoint.offset > best->offset) *best = checkpoint;
    found = 1;
  }
  return found;
}
