/*
** hashes.h - the keys of a file that is being made, as 16 bytes each: a hash, and where its record
** lies.  They are collected in any order and given back by ranges of the hash, in ascending order.
**
** They stay in memory up to a bound.  Beyond it they are sorted into PARTS ranges and written to a
** file without a name; then each range is gathered from all that was written.
*/
#ifndef MAPH_HASHES_H
#define MAPH_HASHES_H

#include "file/store.h"

typedef struct hashed {
  uint64_t hash, offset;
} hashed;

enum { HASHES_BITS = 10, HASHES_PARTS = 1 << HASHES_BITS };

typedef struct hashes {
  hashed *key;           /* in memory */
  uint64_t n, room;      /* of those */
  uint64_t most;         /* as many may be in memory, sorted into ranges or not */
  uint64_t count;        /* in all */
  const char *path;      /* the file is made beside it */
  os_file file;          /* what was written */
  uint64_t *starts;      /* for each time that was written: where its ranges begin, in keys */
  size_t runs;           /* times */
  uint64_t memory, peak; /* allocated now, and at most */
} hashes;

/* expected: as many will come, as far as that is known.  memory: bytes to use at most */
int hashes_begin(hashes *hashes, const char *path, uint64_t expected, uint64_t memory);
void hashes_clear(hashes *hashes);    /* no-op where all is zero */
int hashes_make_room(hashes *hashes); /* for one more */

static inline int hashes_add(hashes *hashes, uint64_t hash, uint64_t offset) {
  int rc = likely(hashes->n < hashes->room) ? MAPH_OK : hashes_make_room(hashes);
  if (unlikely(rc != MAPH_OK)) return rc;
  hashes->key[hashes->n++] = (hashed){ hash, offset };
  hashes->count++;
  return MAPH_OK;
}

/* Each of the 2^bits ranges, bits at most HASHES_BITS: its keys, in no order.  The memory of key is
** free to use until the call returns.  All keys are gone after that. */
typedef int (*hashes_fn)(void *arg, hashed *key, uint64_t n);
int hashes_ranges(hashes *hashes, unsigned bits, hashes_fn each, void *arg);

#endif
