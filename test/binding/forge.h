/*
** forge.h - what a hostile hand would do to a store: change a field that matters, and set the
** checksums right again.
*/
#ifndef MAPH_FORGE_H
#define MAPH_FORGE_H

#include <stddef.h>
#include <stdint.h>

typedef struct forge {
  uint8_t *image;
  size_t size, room; /* room: bytes there are for it to grow into */
  uint64_t state;    /* random numbers: the seed, then what follows */
  char what[200];    /* the last change, in words */
} forge;

enum {
  REPAIR_HEADER = 1,
  REPAIR_RECORDS = 2,
  REPAIR_CHAIN = 4,
  REPAIR_CHECKPOINTS = 8,
  REPAIR_ALL = 15
};

uint64_t forge_random(forge *forge, uint64_t below);
void forge_change(forge *forge);                    /* one hostile change */
void forge_repair(forge *forge, int which);         /* checksums and chain made to fit the bytes */
size_t forge_record(forge *forge, uint64_t offset); /* size of the record there, or 0 */
/* as a writer left it that died; untrusted: in another life of the machine */
void forge_dirty(forge *forge, int trusted);

/* The live words that make this machine, now, believe a dirty image: copied from a store that is
** open at the file's place. */
enum { PLACE_FROM = 392, PLACE_TO = 432 };

#endif
