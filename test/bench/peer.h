/*
** peer.h - a key-value store as the benchmark sees it.
**
** A peer is one struct of functions; a new one is a new peer_NAME.c, a line in peers.c and, when it
** needs a package, a line in configure, which leaves it out where the package is missing.  A
** function that is NULL says that the store cannot do that, and its column stays empty.  What goes
** wrong inside a peer ends the benchmark (fail, bench.h): a figure beside an error would be worth
** nothing.
**
** At any time a peer has at most one store open in this process (LMDB forbids two opens of one
** file).
*/
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "maph.h"

/* {data, size}: only the type is borrowed, no peer needs libmaph for it */
typedef maph_slice slice;

typedef enum level {
  LEVEL_READ, /* reads only, at one snapshot where the store has such a thing */
  /* reads and writes; a commit is not flushed to disk, and the next get sees it */
  LEVEL_OFF,
  LEVEL_FULL /* the same; a commit is on disk when it returns */
} level;

enum { /* what a store is besides: traits */
       /* in this process's own memory: nothing is durable, nothing to open, no other process sees
       ** it */
       IN_MEMORY = 1,
       ONE_PROCESS = 2, /* a second process cannot open it */
       SERVER = 4       /* opening starts a server, and each get is a message to it */
};

/* What a scan saw; the sums do not depend on the order, so they can be checked. */
typedef struct scan_total {
  uint64_t entries, bytes, sum;
} scan_total;

/* What a rewrite of the store (compact, optimize) cost. */
typedef struct rewrite_cost {
  uint64_t took_ns, pause_ns, memory_bytes;
  double cpu_ns; /* a key */
  double bits;
} rewrite_cost;

typedef struct peer peer;
struct peer {
  const char *name;
  const char *settings; /* how it is run here, for the head of the report */
  /* another peer in another form: puts into new stores say nothing new */
  const peer *variant_of;
  unsigned traits;
  /* makes a store at once, durable: create, put_batch, finish, close; NULL: there is no such way */
  const peer *loader;
  const char *file; /* in its folder, all of its data; NULL: there is no such file */
  const char *(*version)(void);
  void *(*create)(const char *folder, level at); /* the folder exists and is empty */
  void *(*open)(const char *folder, level at);
  void (*close)(void *store);
  /* 1: found; 0: not.  Value valid until the next call */
  int (*get)(void *store, slice key, slice *value);
  /* missing: data NULL */
  void (*get_many)(void *store, size_t n, const slice *keys, slice *values);
  void (*put)(void *store, slice key, slice value); /* a transaction of its own */
  /* one transaction */
  void (*put_batch)(void *store, size_t n, const slice *keys, const slice *values);
  /* the same; the entries are of all kinds that there are besides the plain one, by turns */
  void (*put_kinds)(void *store, size_t n, const slice *keys, const slice *values);
  void (*finish)(void *store); /* what a load still lacks before it can be read */
  /* after a load, untimed: what the store would do by itself in time */
  void (*settle)(void *store);
  /* every entry, each byte of its value read */
  void (*scan)(void *store, scan_total *total);
  /* n entries in key order from key on */
  void (*scan_from)(void *store, slice key, uint32_t n, scan_total *total);
  uint64_t (*used)(void *store); /* bytes used; NULL: the sizes of the files */
  /* a thread's own view of a store open for reading, for get alone; */
  void *(*reader)(void *store);
  void (*reader_close)(void *reader); /* NULL: threads share the store */
  /* the folder goes: let go of what is kept elsewhere for it */
  void (*destroy)(const char *folder);
  /* for reading, with one of open_options; NULL: the system refused */
  void *(*open_with)(const char *folder, int option);
  void (*optimize)(void *store, rewrite_cost *cost);
  void (*compact)(void *store, rewrite_cost *cost);
  double (*index_bytes)(void *store); /* a key */
};

/* How a store may be mapped: the rows of the section "options". */
enum { OPEN_DEFAULT, OPEN_PREFAULT, OPEN_LOCKED, OPEN_RANDOM, OPEN_HUGE, OPEN_OPTIONS };

typedef struct known_peer {
  const char *name, *package; /* Debian's package that it needs */
  const peer *peer;           /* NULL: left out when this was built */
} known_peer;
extern const known_peer all_peers[]; /* ends with a NULL name */
/* NULL: none of that name, or left out */
const peer *peer_find(const char *name, size_t size);

/* What a store is going to hold.  Some stores have to be told: their hash tables do not grow. */
extern struct peer_hint { uint64_t keys, bytes; } peer_hint;
/* for stores with a cache of their own: room for all of it */
uint64_t peer_cache_bytes(void);

/* A buffer for values that a store copies out. */
typedef struct value_buffer {
  char *data;
  size_t room;
} value_buffer;
/* at least so much; the contents are lost */
char *value_buffer_room(value_buffer *b, size_t size);

static inline uint64_t word_of(const char *p) {
  uint64_t w;
  memcpy(&w, p, 8);
  return w;
}

/* Every byte of a value, added up: so cheap that what counts is bringing the bytes. */
static inline uint64_t read_bytes(slice value) {
  const char *p = value.data, *end = p + value.size;
  uint64_t a = 0, b = 0, c = 0, d = 0;
  for (; end - p >= 32; p += 32) {
    a += word_of(p);
    b += word_of(p + 8);
    c += word_of(p + 16);
    d += word_of(p + 24);
  }
  for (; end - p >= 8; p += 8) a += word_of(p);
  for (; p < end; p++) b += (unsigned char)*p;
  return a + b + c + d;
}

static inline void scan_count(scan_total *t, slice key, slice value) {
  t->sum += read_bytes(value);
  t->bytes += key.size + value.size;
  t->entries++;
}

#endif
