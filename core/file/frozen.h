/*
** frozen.h - what a store knows of the perfect hash in its file, and of the form of its records,
** once that was checked: index/perfect.h builds and looks up, file/record reads.
*/
#ifndef MAPH_FROZEN_H
#define MAPH_FROZEN_H

#include <stdint.h>

/* What a packed BDZ says of itself, read once.  Offsets in its data. */
typedef struct bdz {
  uint32_t seed, third;     /* of its hash; a third of its vertices */
  unsigned shift;           /* one rank for 1 << shift vertices */
  uint64_t ranks, vertices; /* tables: 4 bytes a rank, 2 bits a vertex */
} bdz;

/* As read from a file, and found to be possible: every place that a find touches lies inside the
** payload, whatever its bytes. */
typedef struct perfect {
  uint64_t keys; /* 0: the file has none */
  int algorithm, direct;
  int simple;                          /* a pilot, and the records have the short form */
  uint64_t first, past, stride;        /* the frozen records */
  uint64_t usual_end;                  /* of them: store.h */
  uint64_t buckets, slots, multiplier; /* pilot */
  bdz bdz;                             /* cmph */
  uint64_t function, remap, table;     /* offsets in the file; table 0: none */
  uint64_t marks;                      /* table, where it is one of fingerprints alone; else 0 */
  uint64_t payload, size, function_size;
  uint64_t summed; /* bytes of the payload that its checksum is over */
  /* The short form of the frozen records: format.h, section 11. */
  uint64_t places;      /* from the first to past the last; 0: they have the long form */
  uint64_t moved;       /* the bits' offset in the file */
  uint64_t unit, least; /* direct: the stride; bytes before expiry, attributes size and key */
  uint32_t key_mask, value_mask;
  uint32_t one_key, one_value; /* sizes of all keys, or values, where the mask is 0; else 0 */
  uint32_t one_key_above;      /* one_key << 8, where plain_mask has a key's size */
  /* Of 4 bytes from kind_at on, where the flags lie, or would: those of a key's size, expiry and
  ** attributes; the same and all of the flags; and flags that all have. */
  uint32_t plain_mask, kind_mask, one_flags;
  unsigned kind_at;
  uint64_t distance_mask;
  unsigned value_at, distance_at; /* in a record */
  uint64_t newest;                /* version, which the distance is from */
} perfect;

#endif
