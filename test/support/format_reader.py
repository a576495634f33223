#!/usr/bin/env python3
# format_reader.py - reads a store, written from the comment of core/format.h alone, without the
# library.
#
#   format_reader.py FILE            what it holds, a line each (see lines_of)
#   format_reader.py --flips N FILE  N of the bytes that it read are changed, one at a time: where
#                                    no change was noticed, a place each
#   format_reader.py --hash          whether there is an XXH3 to read with
#
# What the text says of the content is looked at: header, records and their chain, totals, index,
# frozen records, the order.  A contradiction ends it with a sentence and status 1.  Not looked at
# is what tells writers of each other (the words from `watched` on), and what a segment or directory
# was at its birth.  A perfect hash of algorithm 2 is libcmph's, and libcmph computes it; where
# there is none, its numbers are not looked up, but the records, the table and the moved bits are
# read all the same.
import bisect
import ctypes
import os
import struct
import sys

M64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
END, EPOCH, PUT, DELETE, PAD, EXTENT = 3, 4, 1, 2, 5, 6


def load_xxh3():
    library = ctypes.CDLL("libxxhash.so.0")
    function = library.XXH3_64bits_withSeed
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return lambda data, seed: function(data, len(data), seed)


try:
    xxh3 = load_xxh3()
except OSError:
    xxh3 = None


def load_bdz():
    function = ctypes.CDLL("libcmph.so.0").cmph_search_packed
    function.restype = ctypes.c_uint32
    function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint32]
    return function


try:
    bdz = load_bdz()
except OSError:
    bdz = None


class Wrong(Exception):
    pass


# What a file that contradicts the text makes of its readers.
CONTRADICTIONS = (Wrong, LookupError, ValueError, struct.error, MemoryError, OverflowError)


def need(true, *what):
    if not true:
        raise Wrong(" ".join(str(word) for word in what))


def round_up(n, unit):
    return (n + unit - 1) // unit * unit


def rotate_left(x, n):
    return (x << n | x >> (64 - n)) & M64


class Record:
    """A put or a delete.  `place` is what the file calls its offset."""

    __slots__ = ("place", "address", "size", "kind", "flags", "link", "prev", "version", "key",
                 "value", "expiry", "attributes", "head", "number")


class Store:
    def __init__(self, image):
        self.image = image
        self.is_read = bytearray(len(image))
        self.header()
        self.perfect_hash()
        self.log()
        self.totals()
        self.checkpoints()
        self.index()
        self.frozen()
        self.order()

    # ---------------------------------------------------------------------------- bytes of the file
    def bytes(self, at, n):
        need(0 <= at and 0 <= n and at + n <= len(self.image), "bytes", at, n, "are not there")
        self.is_read[at:at + n] = b"\1" * n
        return self.image[at:at + n]

    def number(self, at, n):
        return int.from_bytes(self.bytes(at, n), "little")

    def word(self, at):
        return self.number(at, 8)

    def zeros(self, at, n, what):
        need(not any(self.bytes(at, n)), what, at, "is not of zeros")

    # ------------------------------------------------------------------------------------ 1. header
    def header(self):
        need(self.bytes(0, 8) == b"maph\r\n\x1a\n", "magic")
        need(self.number(8, 4) == 1, "format", self.number(8, 4))
        need(self.number(12, 4) == 4096, "header size")
        self.required, self.optional = self.word(16), self.word(24)
        need(self.required & ~31 == 0, "required features", self.required)
        need(self.word(248) == xxh3(self.bytes(0, 248), 0), "the header's checksum")
        self.uuid, self.generation = self.bytes(32, 16), self.word(48)
        self.salt = xxh3(self.bytes(32, 24), 0)
        self.hash_seed, self.created, self.base_version = (self.word(56), self.word(64),
                                                           self.word(72))
        self.perfect, self.perfect_size, self.algorithm = (self.word(80), self.word(88),
                                                           self.word(96))
        need(bool(self.required & 1) == bool(self.perfect), "perfect hash, required bit 1")
        self.shift = self.word(104)
        need(self.required & 2 or not self.shift, "a shift without required bit 2")
        self.given = bool(self.required & 4)
        self.short = bool(self.required & 8)
        self.alike = bool(self.required & 16)
        need(not self.short or self.perfect, "the short form without frozen records")
        if self.short:
            self.K, self.V, self.D, self.no_flags = self.bytes(112, 4)
            self.unit = self.number(116, 4)
            self.first, self.past, self.newest = self.word(120), self.word(128), self.word(136)
            need(self.K <= 2 and self.V <= 4 and self.D <= 6 and self.no_flags <= 1, "short fields")
        else:
            self.zeros(112, 32, "header")
        self.one_key = self.one_value = self.one_flags = 0
        if self.alike:
            need(self.short, "sizes of all without the short form")
            self.one_key, self.one_value, self.one_flags = struct.unpack("<3I", self.bytes(144, 12))
            self.zeros(156, 4, "header")
            need(self.K == 0 or self.V == 0 or self.no_flags, "required bit 16 for nothing")
            need(not self.K or not self.one_key, "two key sizes")
            need(not self.V or not self.one_value, "two value sizes")
            need(self.no_flags or not self.one_flags, "two kinds of flags")
            need(self.one_flags & 24 == 0 and self.one_flags < 256, "flags of all")
        else:
            self.zeros(144, 16, "header")
            if self.short:
                need(self.K and self.V and not self.no_flags, "a field is missing")
        if self.short:
            need(self.K or 1 <= self.one_key <= 65535, "the one size of keys")
            least = (4 + (not self.no_flags) + self.K + self.V + self.D + (self.one_key or 1)
                     + self.one_value)
            need(least >= 8, "records shorter than their places are apart")
        self.zeros(160, 88, "header")
        # The live part.
        self.committed, self.state, root = self.word(256), self.number(264, 1), self.word(272)
        self.root, self.depth = root & ~63, root & 63
        self.prepared, self.end, self.flushed = self.word(320), self.word(328), self.word(336)
        self.moved, self.order_list, self.life = self.word(352), self.word(360), self.word(368)
        self.clean = self.word(384)
        need(self.clean == 1, "not closed: which log is believed is for a recovery to say")
        need(self.depth <= 23, "depth")
        need(self.prepared == self.committed, "a transaction is being decided in a clean file")
        need(4096 < self.committed <= self.end <= len(self.image), "committed, end, file size")
        need(self.flushed <= self.committed, "flushed is above committed")
        need(self.given or not self.life, "a life where versions are not given")
        for at in (280, 288, 296, 304, 312, 376, 472, 480, 488, 496, 504):
            self.zeros(at, 8, "header")

    # ------------------------------------------------------------------------------ 4. perfect hash
    def perfect_hash(self):
        self.frozen_records = 0
        if not self.perfect:
            self.first = self.past = 0
            return
        p, size = self.perfect, self.perfect_size
        self.extent_of(p, 3)
        self.kind_of_hash, self.placement = self.number(p, 4), self.number(p + 4, 4)
        need(self.kind_of_hash == self.algorithm in (1, 2), "algorithm")
        need(self.placement in (1, 2), "placement")
        n, first, past, stride, function_size, table = struct.unpack("<6Q", self.bytes(p + 8, 48))
        if self.short:
            need((first, past) == (self.first, self.past), "bounds of the frozen records")
            need(stride == self.unit, "stride or unit")
        self.first, self.past, self.stride, self.table = first, past, stride, table
        self.frozen_records = n
        need(table % 64 == 0 and (table or self.placement == 1 and not self.short), "table")
        summed = size
        self.bits = None
        if self.short:
            summed = size - (n + 63) // 64 * 8
            self.bits = p + summed
            length = n if self.placement == 1 else (n + 15) // 16 * 64
            need(summed == round_up(table + length, 64), "place of the moved bits")
        need(self.word(p + 56) == xxh3(self.bytes(p + 64, summed - 64),
                                       xxh3(self.bytes(p, 56), self.salt)), "checksum of the hash")
        if self.kind_of_hash == 1:
            self.buckets, self.slots, self.multiplier = struct.unpack("<3Q", self.bytes(p + 64, 24))
            self.pilots = self.bytes(p + 88, self.buckets)
            at = round_up(88 + self.buckets, 4)
            self.remaps = struct.unpack("<%dI" % (self.slots - n),
                                        self.bytes(p + at, 4 * (self.slots - n)))
            need(at + 4 * (self.slots - n) == 64 + function_size, "size of the function")
            need(self.multiplier & 1, "an even multiplier")
        else:
            self.function = self.bytes(p + 64, function_size)

    def number_of(self, h):
        if self.kind_of_hash == 2:
            return bdz(self.function, h.to_bytes(8, "little"), 8)
        q = self.pilots[h * self.buckets >> 64]
        mixed = (h ^ (q * GOLDEN & M64)) * self.multiplier & M64
        s = mixed * self.slots >> 64
        return s if s < self.frozen_records else self.remaps[s - self.frozen_records]

    def address_of(self, i):
        """Where number i begins, and its fingerprint."""
        if self.placement == 1:
            at = self.first + i * self.stride
            return at, self.number(self.perfect + self.table + i, 1) if self.table else None
        line = self.perfect + self.table + i // 16 * 64
        distance = self.number(line + 8 + i % 16 * 2, 2)
        at = self.word(line) + distance * (self.unit if self.short else 8)
        return at, self.number(line + 40 + i % 16, 1)

    # ------------------------------------------------------------------------------- 2. the records
    def long_record(self, at):
        r = Record()
        r.place = r.address = at
        r.link = self.word(at)
        r.kind, r.flags, key_size = struct.unpack("<BBH", self.bytes(at + 12, 4))
        r.head = self.word(at + 8)
        value_size, prev_low = struct.unpack("<II", self.bytes(at + 16, 8))
        r.version = self.number(at + 24, 6)
        r.prev = (self.number(at + 30, 1) << 32 | prev_low) * 8
        padding = self.number(at + 31, 1)
        need(key_size >= 1, "a key of no bytes at", at)
        need(r.kind == PUT or value_size == 0, "a delete with a value at", at)
        need(not r.flags & (128 if r.kind == PUT else ~(8 | 32 | 64)), "flags of the record at", at)
        p = at + 32
        r.expiry, attributes_size = None, 0
        if r.flags & 8 and r.kind == PUT:
            r.expiry = self.word(p)
            p += 8
        if r.flags & 16:
            attributes_size = self.word(p)
            p += 8
        r.key = self.bytes(p, key_size)
        r.value = self.bytes(p + key_size, value_size)
        r.attributes = self.bytes(p + key_size + value_size, attributes_size)
        p += key_size + value_size + attributes_size
        past = round_up(p, 8) + 8 * padding
        self.zeros(p, past - p, "end of the record")
        r.size = past - at
        need(r.head & 0xFFFFFFFF == xxh3(self.bytes(at + 12, past - at - 12), self.salt ^ at)
             & 0xFFFFFFFF, "checksum of the record at", at)
        need(r.prev < at, "prev of the record at", at)
        return r

    def short_record(self, at, i):
        r = Record()
        r.address, r.place, r.number = at, self.first + 8 * i, i
        r.kind, r.prev, r.link = PUT, 0, None
        p = at + 4
        r.flags = self.one_flags
        if not self.no_flags:
            r.flags = self.number(p, 1)
            p += 1
        key_size = self.number(p, self.K) if self.K else self.one_key
        p += self.K
        value_size = self.number(p, self.V) if self.V else self.one_value
        p += self.V
        r.version = self.newest - self.number(p, self.D)
        p += self.D
        r.expiry, attributes_size = None, 0
        if r.flags & 8:
            r.expiry = self.word(p)
            p += 8
        if r.flags & 16:
            attributes_size = self.number(p, 2)
            p += 2
        r.key = self.bytes(p, key_size)
        r.value = self.bytes(p + key_size, value_size)
        r.attributes = self.bytes(p + key_size + value_size, attributes_size)
        past = p + key_size + value_size + attributes_size
        need(key_size >= 1, "a key of no bytes at", at)
        need(past <= self.past, "the record at", at, "reaches past the frozen ones")
        r.size = past - at
        checksum = self.number(at, 4)
        need(checksum == xxh3(self.bytes(at + 4, past - at - 4), self.salt ^ at) & 0xFFFFFFFF,
             "checksum of the record at", at)
        r.head = checksum | PUT << 32 | r.flags << 40 | key_size << 48
        return r

    def pad_or_extent(self, at):
        size = self.word(at + 16)
        need(size >= 32 and size % 8 == 0, "size of the pad or extent at", at)
        need(self.number(at + 8, 4) == xxh3(self.bytes(at + 12, 20), self.salt ^ at) & 0xFFFFFFFF,
             "checksum of the pad or extent at", at)
        need(self.number(at + 13, 1) == 0 and self.number(at + 14, 2) == 0, "head at", at)
        if self.number(at + 12, 1) == EXTENT:
            need((at + 32) % 64 == 0, "the payload of the extent at", at)
            self.extents[at + 32] = self.number(at + 24, 1)
        else:
            self.zeros(at + 24, 8, "pad")
        return size

    def extent_of(self, payload, kind):
        at = payload - 32
        need(payload % 64 == 0 and 4096 <= at and payload < self.end, "a payload at", payload)
        need(self.number(at + 12, 1) == EXTENT and self.number(at + 24, 1) == kind,
             "no extent of kind", kind, "at", at)
        need(self.number(at + 8, 4) == xxh3(self.bytes(at + 12, 20), self.salt ^ at) & 0xFFFFFFFF,
             "checksum of the extent at", at)
        size = self.word(at + 16)
        need(at + size <= self.end, "the extent at", at, "reaches past the end")
        return size - 32

    def log(self):
        self.kinds = {}
        self.extents = {}
        self.records = {}
        self.first_end = 0
        self.decisions = {}  # where an end or epoch record ends: what it says
        at, back, chain, version, digest, operations, start = 4096, 0, 0, 0, 0, 0, 0
        lives, frozen = -1, 0
        while at < self.committed:
            if self.short and at == self.first:
                frozen += 1
                start = start or at
                digest = self.walk_frozen(digest)
                operations += self.frozen_records
                at = self.past
                continue
            kind = self.number(at + 12, 1)
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            if kind in (PUT, DELETE):
                r = self.long_record(at)
                self.records[at] = r
                start = start or at
                operations += 1
                digest = self.fold(digest, r)
                at += r.size
            elif kind in (END, EPOCH):
                tell = self.bytes(at + 12, 52)
                need(self.number(at + 8, 4) == xxh3(tell, self.salt ^ at) & 0xFFFFFFFF,
                     "checksum of the decision at", at)
                n, back_low = struct.unpack("<II", self.bytes(at + 16, 8))
                its = self.number(at + 24, 6)
                need((self.number(at + 30, 1) << 32 | back_low) * 8 == back, "back at", at)
                need(n == operations, "operations at", at)
                self.zeros(at + 13, 3, "head")
                self.zeros(at + 31, 1, "head")
                self.zeros(at, 8, "link")
                chained = xxh3(struct.pack("<Q", chain) + self.bytes(at + 12, 44)
                               + struct.pack("<Q", digest), self.salt)
                need(chained == self.word(at + 56), "chain at", at)
                chain = chained
                if kind == EPOCH:
                    lives += 1
                    need(n == 0, "an epoch with operations")
                    if lives == 0:
                        need(its == self.base_version and at == 4096, "the first epoch")
                    elif self.given:
                        need(its == version, "version of the epoch at", at)
                    else:
                        need(its == (version // (1 << 32) + 1) << 32, "version of the epoch at", at)
                else:
                    need(n == 0 or self.word(at + 32) == start, "start at", at)
                    if its == self.base_version and self.generation > 1:
                        need(version == its, "version of the base transaction at", at)
                        for r in self.since(start):
                            need(r.version <= its and not r.prev, "the record at", r.place)
                    else:
                        skips = self.given or self.generation > 1
                        need(its > version if skips else its == version + 1, "version at", at)
                        for r in self.since(start):
                            need(version < r.version <= its if self.given else r.version == its,
                                 "version of the record at", r.place)
                version, back = its, at
                if kind == END and not self.first_end:
                    self.first_end = at
                self.decisions[at + 64] = (its, chain, self.word(at + 40), self.word(at + 48))
                digest = operations = start = 0
                at += 64
            elif kind in (PAD, EXTENT):
                at += self.pad_or_extent(at)
            else:
                raise Wrong("no record of kind %d at %d" % (kind, at))
        need(at == self.committed, "the log does not end at committed")
        need(at in self.decisions, "no decision ends at committed")
        need(not operations, "operations without a decision")
        need(frozen == self.short, "the frozen records are not in the log")
        need(not self.given or self.life == lives, "life")
        self.version, self.lives = version, lives

    def since(self, start):
        return [r for place, r in self.records.items() if start and place >= start]

    def fold(self, digest, r):
        digest = rotate_left((digest ^ r.place) * GOLDEN & M64, 29)
        return digest ^ r.head

    def walk_frozen(self, digest):
        past = self.first
        for i in range(self.frozen_records):
            at, fingerprint = self.address_of(i)
            self.zeros(past, at - past, "between frozen records")
            r = self.short_record(at, i)
            self.records[r.place] = r
            digest = self.fold(digest, r)
            past = at + r.size
            if self.placement == 2:
                need((at - self.first) % self.unit == 0, "the unit of", at)
        self.zeros(past, self.past - past, "behind the frozen records")
        self.kinds[PUT] = self.kinds.get(PUT, 0) + self.frozen_records
        return digest

    # ------------------------------------------------------------------- links, totals, checkpoints
    def totals(self):
        self.newest_of = {}
        successor = {}
        for place, r in self.records.items():
            before = self.newest_of.get(r.key)
            need(r.prev == (before.place if before else 0), "prev of the record at", place)
            if before:
                successor[before.place] = place
            self.newest_of[r.key] = r
        for place, r in self.records.items():
            if r.link is None:
                self.moved_bit(r.number, place in successor)
            else:
                need(r.link == successor.get(place, 0), "link of the record at", place)
        if self.short:
            n = self.frozen_records
            word = self.word(self.bits + (n - 1) // 64 * 8)
            need(word >> ((n - 1) % 64 + 1) == 0, "moved bits of no number")
        self.live = [r for r in self.newest_of.values() if r.kind == PUT]
        version, chain, records, size = self.decisions[self.committed]
        need(records == len(self.live), "live records", records, len(self.live))
        need(size == sum(r.size for r in self.live), "bytes of live records")
        if self.frozen_records:
            changed = sum(1 for place in successor if self.is_frozen(place))
            need(self.moved == changed, "moved", self.moved, changed)
        else:
            need(self.moved == 0, "moved")

    def is_frozen(self, place):
        if self.short:
            return self.first <= place < self.first + 8 * self.frozen_records
        return self.first <= place < self.past

    def moved_bit(self, i, expected):
        bit = self.number(self.bits + i // 8, 1) >> i % 8 & 1
        need(bit == expected, "moved bit of number", i)

    def checkpoints(self):
        for at in (512, 1024):
            if not any(self.bytes(at, 64)):
                continue
            offset, version, chain, records, size, spaces, zero, checksum = struct.unpack(
                "<8Q", self.bytes(at, 64))
            need(checksum == xxh3(self.bytes(at, 56), self.salt), "checksum of a checkpoint")
            need(zero == 0, "checkpoint")
            need(self.decisions.get(offset) == (version, chain, records, size), "a checkpoint")
            if spaces and offset == self.committed:
                place = offset
                while place < spaces:
                    need(self.number(place + 12, 1) in (PAD, EXTENT), "no space at", place)
                    place += self.pad_or_extent(place)
                need(place == spaces, "spaces do not end where the checkpoint says")
                if place < self.end and place + 16 <= len(self.image):
                    need(self.number(place + 12, 1) == 0, "a record begins behind the spaces")

    # --------------------------------------------------------------------------------- 3. the index
    def index(self):
        self.segments = {}
        self.overflows = 0
        directory = self.root
        self.extent_of(directory, 1)
        words = [self.word(directory + 8 * i) for i in range(1 << self.depth)]
        for i, payload in enumerate(words):
            self.segment(payload)
            depth = self.segments[payload][0]
            need(depth <= self.depth, "depth of the segment at", payload)
            same = i >> (self.depth - depth) << (self.depth - depth)
            need(words[same] == payload, "directory words of the segment at", payload)
        for key, newest in self.newest_of.items():
            h = xxh3(key, self.hash_seed)
            found = self.look_up(words, key, h)
            if newest.prev or not self.is_frozen(newest.place):
                need(found == newest.place, "the index, of the record at", newest.place)
            else:
                need(found is None, "a slot of the frozen record at", newest.place)
        # None leads elsewhere but to keys that are there.
        self.slots_used = 0
        for payload, (depth, link, slots) in self.segments.items():
            for i, slot in enumerate(slots):
                if slot:
                    self.word(payload + 8 * i)
                    place = (slot & ((1 << 40) - 1)) * 8
                    need(place in self.records, "a slot to", place)
                    self.slots_used += 1
                    h = xxh3(self.records[place].key, self.hash_seed)
                    need(h >> 41 == slot >> 41, "hash bits of a slot")
                    need((slot >> 40 & 1) == (i // 8 != h & 255), "displaced")

    def segment(self, payload):
        while payload and payload not in self.segments:
            need(self.extent_of(payload, 2) >= 16384, "size of the segment at", payload)
            link = self.word(payload - 32)
            need(payload + 16384 <= len(self.image), "the segment at", payload, "ends")
            slots = struct.unpack_from("<2048Q", self.image, payload)
            self.segments[payload] = (link & 63, link & ~63, slots)
            payload = link & ~63
            self.overflows += payload != 0

    def look_up(self, words, key, h):
        payload = words[h >> (64 - self.depth) if self.depth else 0]
        while payload:
            depth, payload, slots = self.segments[payload]
            for b in range(256):
                bucket = (h & 255) + b & 255
                line = slots[bucket * 8:bucket * 8 + 8]
                for slot in line:
                    if slot and slot >> 41 == h >> 41 and slot >> 40 & 1 == (b != 0):
                        place = (slot & ((1 << 40) - 1)) * 8
                        while place >= self.committed:
                            raise Wrong("a slot leads past committed in a clean file")
                        if place in self.records and self.records[place].key == key:
                            return place
                if not line[7]:
                    return None
        return None

    # ------------------------------------------------------------------------ 4, 11. frozen records
    def frozen(self):
        if not self.frozen_records:
            return
        past = self.first
        for i in range(self.frozen_records):
            at, fingerprint = self.address_of(i)
            r = self.records.get(self.first + 8 * i if self.short else at)
            need(r, "number", i, "leads to no record")
            need(r.address == at and (self.short or at == past), "place of number", i)
            past = at + r.size
            need(r.place < self.first_end, "number", i, "is not of the first transaction")
            h = xxh3(r.key, self.hash_seed)
            if fingerprint is not None:
                need(fingerprint == h & 255, "fingerprint of number", i)
            if self.kind_of_hash == 1 or bdz:
                need(self.number_of(h) == i, "the perfect hash of number", i)
        need(self.short or past == self.past, "the offset past the frozen records")

    # --------------------------------------------------------------------------------- 9. the order
    def order(self):
        self.runs = []
        self.leaves = set()
        self.sorted_to = 4096
        if not self.optional & 1:
            return
        if self.order_list:
            p = self.order_list
            size = self.extent_of(p, 5)
            to, life, n, types = struct.unpack("<4Q", self.bytes(p + 8, 32))
            self.zeros(p + 40, 24, "run list")
            need(64 + 8 * n <= size, "size of the run list")
            need(self.word(p) == xxh3(self.bytes(p + 8, 56 + 8 * n), self.salt ^ p),
                 "checksum of the run list")
            need(to <= self.committed, "the run list is of more than is committed")
            if (self.life if self.given else self.version >> 32) > life:
                return
            self.sorted_to = to
            self.types(to, types)
            bound = 4096
            for i in range(n):
                bound = self.run(self.word(p + 64 + 8 * i), bound, to)
        expected = {r.place for r in self.records.values()
                    if r.kind == PUT and not r.prev and r.place < self.sorted_to}
        seen = [place for run in self.runs for place in run]
        need(len(seen) == len(set(seen)) and set(seen) == expected, "entries of the runs")

    def types(self, to, types):
        if not types & 1 or types & ~7:
            return
        said = 1
        for r in self.records.values():
            if r.kind == PUT and r.place < to:
                said |= 2 if key_type(r) == "text" else 4
        need(types == said, "types of keys", types, said)

    def run(self, payload, bound, to):
        frm, past, keys, is_root, entries = self.node(payload, None)
        need(bound <= frm and past <= to, "the stretch of the run at", payload)
        places = entries
        if is_root:
            places = []
            for leaf, word in entries:
                its = self.node(leaf, past)
                need(not its[3], "a root below a root")
                need(frm <= its[0], "the stretch of the leaf at", leaf)
                shared = self.number(payload + 36, 4)
                first = self.records[its[4][0]].key
                need(int.from_bytes(first[shared:shared + 8].ljust(8, b"\0"), "big") == word,
                     "word of the leaf at", leaf)
                places += its[4]
        keys_read = [self.records[place].key for place in places]
        need(len(places) == keys, "keys of the run at", payload)
        need(all(a < b for a, b in zip(keys_read, keys_read[1:])), "order of the run at", payload)
        shared = self.number(payload + 36, 4)
        need(len({key[:shared] for key in keys_read}) == 1, "what the keys of a run share")
        need(all(frm <= place < past for place in places), "bounds of the run at", payload)
        self.runs.append(places)
        return past

    def node(self, p, past):
        size = self.extent_of(p, 4)
        need(self.word(p) == xxh3(self.bytes(p + 8, 56), self.salt ^ p), "checksum of the node", p)
        frm, to, keys = struct.unpack("<3Q", self.bytes(p + 8, 24))
        n, shared = struct.unpack("<II", self.bytes(p + 32, 8))
        is_root, W, P, dense = self.bytes(p + 48, 4)
        kept, first = self.number(p + 52, 4), self.word(p + 56)
        need(n >= 1 and is_root <= 1 and W <= 8 and dense <= 1, "the node at", p)
        need(is_root or keys == n, "keys of the leaf at", p)
        if W == 0:
            length = 13 * n + 3
            need(not (P or dense or kept or first), "a wide node")
        elif dense:
            length = 16 + (n + 15) // 16 * (W + 16) + (n * P + 7) // 8 + 8
            need(P <= 40, "bits of places")
        else:
            length = (W + P) * n + 8 - P
            need(1 <= P <= 5, "bytes of places")
        need(64 + length <= size, "size of the node at", p)
        need(self.word(p + 40) == xxh3(self.bytes(p + 64, length), self.salt ^ p),
             "checksum of the entries of the node at", p)
        at = p + 64
        if W == 0:
            words = [self.word(at + 8 * i) for i in range(n)]
            places = [self.number(at + 8 * n + 5 * i, 5) * 8 for i in range(n)]
            if is_root:
                return frm, to, keys, True, list(zip(places, words))
            for place, word in zip(places, words):
                need(self.word_of(place, shared) == word, "word of an entry at", p)
        elif not dense:
            need(not is_root, "a root that is not wide")
            words = [self.number(at + W * i, W) for i in range(n)]
            places = [frm + 8 * self.number(at + W * n + P * i, P) for i in range(n)]
            for place, word in zip(places, words):
                need(self.kept_of(place, shared, kept, first) == word, "word of an entry at", p)
        else:
            need(not is_root, "a root that is not wide")
            start, step = self.word(at), self.word(at + 8)
            at += 16
            groups, more = at, at + (n + 15) // 16 * (W + 16)
            bits = self.number(more, (n * P + 7) // 8)
            places = [(start + 8 * (i * step >> 16) + 8 * (bits >> i * P & (1 << P) - 1)) & M64
                      for i in range(n)]
            for i, place in enumerate(places):
                line = groups + i // 16 * (W + 16)
                head, shift = self.number(line, W), self.number(line + W, 1)
                word = self.kept_of(place, shared, kept, first)
                if i % 16 == 0:
                    need(word == head and shift <= 63, "first word of a group at", p)
                else:
                    need((word - head) >> shift == self.number(line + W + i % 16, 1),
                         "word of an entry at", p)
            last = n % 16
            if last:
                self.zeros(more - 16 + last, 16 - last, "group")
        self.zeros(p + 64 + length - (3 if W == 0 else 8 if dense else 8 - P),
                   3 if W == 0 else 8 if dense else 8 - P, "end of the node")
        self.leaves.add("wide" if W == 0 else "dense" if dense else "narrow")
        need(all(place in self.records for place in places), "an entry of the node at", p)
        return frm, to, keys, False, places

    def word_of(self, place, shared):
        need(place in self.records, "an entry leads to no record")
        return int.from_bytes(self.records[place].key[shared:shared + 8].ljust(8, b"\0"), "big")

    def kept_of(self, place, shared, kept, first):
        word = self.word_of(place, shared)
        number = 0
        for i in range(8):
            bits = kept >> 4 * i & 15
            if bits == 15:
                break
            need(bits <= 8, "kept bits")
            byte, of_first = word >> 56 - 8 * i & 255, first >> 56 - 8 * i & 255
            need(byte >> bits == of_first >> bits, "bits that are not kept")
            number = number << bits | byte & (1 << bits) - 1
        return number

    def in_order(self):
        """Runs and what came after them, merged by keys, without what is not live."""
        places = [place for run in self.runs for place in run]
        places += [r.place for r in self.records.values()
                   if r.kind == PUT and not r.prev and r.place >= self.sorted_to]
        return sorted(places, key=lambda place: self.records[place].key)


def key_type(r):
    if r.flags & 96:
        return "text" if r.flags & 32 else "blob"
    try:
        r.key.decode("utf-8")
    except UnicodeDecodeError:
        return "blob"
    return "blob" if b"\0" in r.key else "text"


def media_type(r):
    at, media = 0, b""
    while at < len(r.attributes):
        tag, size = r.attributes[at], r.attributes[at + 1]
        need(at + 2 + size <= len(r.attributes), "attributes of the record at", r.place)
        if tag == 1:
            media = r.attributes[at + 2:at + 2 + size]
        at += 2 + size
    return media


KEY_TYPES = ("bytes", "text", "blob", "both")
TYPES = ("blob", "text", "json", "integer", "real", "null")


def lines_of(store):
    yield "generation %d version %d lives %d required %d optional %d state %d" % (
        store.generation, store.version + store.shift, store.lives + 1, store.required,
        store.optional, store.state & 63)
    yield "kinds " + " ".join("%d:%d" % kind for kind in sorted(store.kinds.items()))
    yield "index depth %d segments %d overflows %d" % (store.depth, len(store.segments),
                                                       store.overflows)
    if store.frozen_records:
        yield "frozen %d %s %s %s moved %d" % (
            store.frozen_records, ("", "pilot", "cmph")[store.kind_of_hash],
            ("", "direct", "groups")[store.placement], "short" if store.short else "long",
            store.moved)
    yield " ".join(["runs", str(len(store.runs)), "of", " ".join(sorted(store.leaves)) or "none"]
                   + [str(len(run)) for run in store.runs])
    live = {r.key: r for r in store.live}
    keys = sorted(live)
    need([key for key in (store.records[place].key for place in store.in_order()) if key in live]
         == keys, "the order of the keys")
    yield "entries %d" % len(keys)
    for key in keys:
        r = live[key]
        need(r.flags & 7 < 6, "type of the record at", r.place)
        need(TYPES[r.flags & 7] != "null" or not r.value, "a null with a value at", r.place)
        if TYPES[r.flags & 7] in ("integer", "real"):
            float(r.value)
        yield " ".join(("entry", key.hex(), TYPES[r.flags & 7], KEY_TYPES[r.flags >> 5 & 3],
                        str(r.version + store.shift), str(r.expiry or 0),
                        media_type(r).hex() or "-", r.value.hex() or "-"))


def flips(image, n):
    """The places of `n` bytes, spread over those that are read, where a change goes unnoticed."""
    store = Store(image)
    expected = list(lines_of(store))
    places = [at for at in range(len(image)) if store.is_read[at]]
    unnoticed = []
    for i in range(n):
        at = places[(2 * i + 1) * len(places) // (2 * n)]
        changed = bytearray(image)
        changed[at] ^= 1 << i % 8
        try:
            if list(lines_of(Store(bytes(changed)))) == expected:
                unnoticed.append(at)
        except CONTRADICTIONS:
            pass
    return unnoticed


def main(args):
    if args == ["--hash"]:
        print(1 if xxh3 else 0)
        return
    if args[0] == "--flips":
        with open(args[2], "rb") as f:
            print(*flips(f.read(), int(args[1])), sep="\n")
        return
    with open(args[0], "rb") as f:
        image = f.read()
    try:
        for line in lines_of(Store(image)):
            print(line)
    except CONTRADICTIONS as wrong:
        print("format_reader: %s: %s" % (args[0], wrong), file=sys.stderr)
        sys.exit(1)


main(sys.argv[1:])
