/*
** peer.h - a key-value store as the benchmark sees it.
**
** A peer is one struct of functions; a new one is a new peer_NAME.c and a line in peers.c.  A function that is NULL says that
** the store cannot do that, and its column stays empty.  What goes wrong inside a peer ends the benchmark (fail, bench.h):
** a figure beside an error would be worth nothing.
**
** At any time a peer has at most one store open in this process (LMDB forbids two opens of one file).
*/
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "maph.h"

typedef maph_slice slice;     /* {data, size}: only the type is borrowed, no peer needs libmaph for it */

typedef enum level {
  LEVEL_READ,                 /* reads only, at one snapshot where the store has such a thing */
  LEVEL_OFF,                  /* writes; a commit is not flushed to disk */
  LEVEL_FULL                  /* writes; a commit is on disk when it returns */
} level;

/* What a scan saw; the sums do not depend on the order, so they can be checked. */
typedef struct scan_total { uint64_t entries, bytes, sum; } scan_total;

typedef struct peer {
  const char *name;
  const char *settings;                                    /* how it is run here, for the head of the report */
  const char *(*version)(void);
  void *(*create)(const char *folder, level at);           /* the folder exists and is empty */
  void *(*open)(const char *folder, level at);
  void (*close)(void *store);
  int  (*get)(void *store, slice key, slice *value);       /* 1: found; 0: not.  Value valid until the next call */
  void (*get_many)(void *store, size_t n, const slice *keys, slice *values);      /* missing: data NULL */
  void (*put)(void *store, slice key, slice value);        /* a transaction of its own */
  void (*put_batch)(void *store, size_t n, const slice *keys, const slice *values); /* one transaction */
  void (*finish)(void *store);                             /* what a load still lacks before it can be read */
  void (*scan)(void *store, scan_total *total);            /* every entry, each byte of its value read */
  uint64_t (*used)(void *store);                           /* bytes used; NULL: the sizes of the files */
} peer;

extern const peer peer_maph, peer_lmdb, peer_tinycdb, peer_sqlite;
extern const peer *const all_peers[];                      /* ends with NULL */
const peer *peer_find(const char *name, size_t size);      /* NULL: none of that name */

static inline uint64_t word_of(const char *p){
  uint64_t w;
  memcpy(&w, p, 8);
  return w;
}

/* Every byte of a value, added up: so cheap that what counts is bringing the bytes. */
static inline uint64_t read_bytes(slice value){
  const char *p = value.data, *end = p + value.size;
  uint64_t a = 0, b = 0, c = 0, d = 0;
  for(; end-p>=32; p += 32){
    a += word_of(p);
    b += word_of(p+8);
    c += word_of(p+16);
    d += word_of(p+24);
  }
  for(; end-p>=8; p += 8) a += word_of(p);
  for(; p<end; p++) b += (unsigned char)*p;
  return a + b + c + d;
}

static inline void scan_count(scan_total *t, slice key, slice value){
  t->sum += read_bytes(value);
  t->bytes += key.size + value.size;
  t->entries++;
}

#endif
