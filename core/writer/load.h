/*
** load.h - the writer of fresh files: records as they come, then the index at once.
**
**     load l;
**     rc = load_begin(&l, s, &how);
**     ... load_put or load_copy ...
**     if (rc == MAPH_OK) rc = load_finish(&l);
**     load_clear(&l);
**
** s is a new, empty file that nobody else knows of (create_bare).  After load_finish it is mapped
** and as a writer in this process would have left it, but marked clean and not flushed: it can be
** written to in sessions, and be given its name.
*/
#ifndef MAPH_LOAD_H
#define MAPH_LOAD_H

#include "file/header.h"
#include "file/layout.h"
#include "file/record.h"
#include "file/store.h"
#include "index/hashes.h"
#include "os/progress.h"

#define LOAD_MEMORY (UINT64_C(512) << 20)

typedef struct load_how {
  header_identity identity;
  uint64_t version; /* of the transaction that the records are */
  uint64_t keys;    /* as many will come, as far as that is known; the index is made for them */
  uint64_t memory;  /* bytes for hashes, beyond which they go to a file; 0: no bound */
  int unique;       /* no key comes twice */
  /* is told of each block: "load" with records, then "index" with bytes; NULL: nobody is */
  listener *listener;
} load_how;

typedef struct load {
  store *store;
  load_how how;
  uint8_t *buffer;    /* the file's bytes from buffer_at on, as far as `at` */
  uint64_t buffer_at; /* what lies before is written */
  uint64_t at;        /* where the next byte goes */
  hashes hashes;
  uint64_t start, operations, digest; /* of the transaction; start: its first record */
  uint64_t records, bytes;            /* of the store */
  uint64_t superseded;                /* records that became pads */
  uint64_t records_end;               /* once the index is made */
  uint64_t index_size;
  int settled;                             /* the mapping shows all of them */
  uint64_t written_back;                   /* writing to the disk was begun so far */
  uint64_t perfect_at, perfect_size, root; /* 0: none */
  int perfect_algorithm;
  short_form form;
  uint64_t peak; /* bytes of memory */
} load;

int load_begin(load *load, store *store, const load_how *how);
/* FULL NOMEM IOERR CANCELLED */
int load_put(load *load, const put_parts *put);
/* That record of another file; hash: of its key in the new one */
int load_copy(load *load, const item *it, uint64_t hash);
/* The same in the short form, with zeros to `size`, and without a slot: the perfect hash leads to
** it; and once all of them are there. */
int load_copy_frozen(load *load, const item *it, const short_form *form, uint64_t place,
                     uint64_t size);
int load_end_frozen(load *load, const short_form *form);
int load_align(load *load); /* the next record begins a cache line */
/* A perfect hash, whole but for its checksum. */
int load_perfect(load *load, uint8_t *payload, uint64_t size, int algorithm);
int load_finish(load *load);
void load_clear(load *load);

#endif
