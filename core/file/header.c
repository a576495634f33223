/*
** header.c - the header page: made once, checked at every open.
*/
#include "file/header.h"
#include "file/grant.h"
#include "file/store.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { CHECKPOINT_BYTES = 1024 * 1024 };

uint64_t header_salt(const header *h) {
  uint8_t in[24];
  memcpy(in, h->uuid, 16);
  memcpy(in + 16, &h->generation, 8);
  return XXH3_64bits(in, sizeof in);
}

static void seal(header *h) { h->checksum = XXH3_64bits(h, offsetof(header, checksum)); }

void header_make(header *h, const uint8_t uuid[16], uint64_t generation, uint64_t base_version) {
  memset(h, 0, sizeof *h);
  memcpy(h->magic, FORMAT_MAGIC, 8);
  h->format = FORMAT_VERSION;
  h->header_size = HEADER_SIZE;
  if (uuid)
    memcpy(h->uuid, uuid, 16);
  else
    os_random(h->uuid, 16);
  h->generation = generation;
  os_random(&h->hash_seed, 8);
  h->created_ns = os_time_ns();
  h->base_version = base_version;
  h->optional = OPTIONAL_ORDER;
  seal(h);
}

void header_set_perfect(store *s, uint64_t offset, uint64_t size, int algorithm) {
  header *h = header_of(s->write_base);
  assert(s->lockless); /* nobody else knows of it yet */
  OS_TEST_STORE(s->write_base, 0, 256);
  h->required |= REQUIRED_PERFECT;
  h->perfect_offset = offset;
  h->perfect_size = size;
  h->perfect_algorithm = (uint64_t)algorithm;
  seal(h);
}

int header_sound(const header *h) {
  return h->checksum == XXH3_64bits(h, offsetof(header, checksum));
}

int header_read(store *s, const uint8_t *base, uint64_t size) {
  header copy;
  if (size == 0)
    return fail(MAPH_FORMAT,
                "%s: an empty file: open it with MAPH_RDWR|MAPH_CREATE to make it a store",
                s->path);
  if (size < HEADER_SIZE) {
    return fail(MAPH_FORMAT, "%s: not a maph store: %llu bytes are too few to be one", s->path,
                (unsigned long long)size);
  }
  memcpy(&copy, base, 256);
  if (memcmp(copy.magic, FORMAT_MAGIC, 8) != 0)
    return fail(MAPH_FORMAT, "%s: not a maph store: offset 0 does not hold its magic", s->path);
  if (copy.format != FORMAT_VERSION || copy.header_size != HEADER_SIZE) {
    return fail(
        MAPH_FORMAT,
        "%s: offset 8: format version %u is not known to this library (%s): use a newer one",
        s->path, copy.format, MAPH_VERSION);
  }
  if (!header_sound(&copy)) {
    return fail_corrupt(s->path, offsetof(header, checksum),
                        "the header's checksum does not fit its bytes");
  }
  if (copy.required & ~(uint64_t)REQUIRED_PERFECT) {
    return fail(MAPH_FORMAT,
                "%s: offset 16: the store uses features (%llx) that this library (%s) does not "
                "know: use a newer one",
                s->path, (unsigned long long)copy.required, MAPH_VERSION);
  }
  if (copy.base_version > VERSION_MAX)
    return fail_corrupt(s->path, offsetof(header, base_version), "a version is higher than can be");
  if (size < LOG_START + END_SIZE + SEGMENT_SIZE)
    return fail_corrupt(s->path, size, "the file ends before its log and index begin");
  memcpy(s->uuid, copy.uuid, 16);
  s->generation = copy.generation;
  s->base_version = copy.base_version;
  s->hash_seed = copy.hash_seed;
  s->salt = header_salt(&copy);
  header_place(s);
  return MAPH_OK;
}

void header_place(store *s) {
  os_place place;
  uint64_t file[2] = { s->file.device, s->file.inode };
  os_place_of(&s->file, &place);
  s->boot = place.boot[0] ? XXH3_64bits(place.boot, sizeof place.boot) | 1 : 0;
  s->place = XXH3_64bits(file, sizeof file) | 1;
  s->mount = place.mount;
  s->place_failed = place.failed;
}

int header_say_poisoned(const store *s) {
  return fail(MAPH_IOERR,
              "%s: a flush to disk failed earlier, so nothing more may be written: check the disk, "
              "then run `maph recover`",
              s->path);
}

void header_poison(store *s) {
  OS_TEST_STORE(s->write_base, offsetof(header, state), 8);
  s->flush_failed = 1;
  if (grant_header(s) == MAPH_OK) atomic_fetch_or(&header_of(s->write_base)->state, STATE_POISONED);
}

int header_checkpoint_fits(const store *s, const checkpoint *c) {
  return c->checksum == XXH3_64bits_withSeed(c, offsetof(checkpoint, checksum), s->salt);
}

void header_checkpoint(store *s, const tip *t) {
  header *h = header_of(s->write_base);
  checkpoint *slot = &h->checkpoint_a, c;
  /* commit.c (2): what it covers is on disk.  Whatever a file says there, who comes here has raised
  ** the word to t->end, or found it above. */
  assert(s->lockless || t->end <= atomic_load(&h->flushed));
  if (!header_checkpoint_fits(s, &h->checkpoint_b)
      || h->checkpoint_b.offset < h->checkpoint_a.offset)
    slot = &h->checkpoint_b;
  if (!header_checkpoint_fits(s, &h->checkpoint_a)) slot = &h->checkpoint_a;
  memset(&c, 0, sizeof c);
  c.offset = t->end;
  c.version = t->version;
  c.chain = t->chain;
  c.records = t->records;
  c.bytes = t->bytes;
  c.checksum = XXH3_64bits_withSeed(&c, offsetof(checkpoint, checksum), s->salt);
  OS_TEST_STORE(s->write_base, (uint64_t)((uint8_t *)slot - s->write_base), sizeof c);
  memcpy(slot, &c, sizeof c);
  s->checkpoint_end = t->end;
}

void header_checkpoint_if_due(store *s, const tip *t) {
  if (t->end - s->checkpoint_end >= CHECKPOINT_BYTES) header_checkpoint(s, t);
}

int header_best_checkpoint(const store *s, const header *h, checkpoint *best) {
  const checkpoint *slots[2] = { &h->checkpoint_a, &h->checkpoint_b };
  int i, found = 0;
  for (i = 0; i < 2; i++) {
    checkpoint c;
    memcpy(&c, slots[i], sizeof c);
    /* sums can be forged */
    if (!header_checkpoint_fits(s, &c) || c.version > VERSION_MAX) continue;
    if (!found || c.offset > best->offset) *best = c;
    found = 1;
  }
  return found;
}
