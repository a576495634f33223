/*
** peers.c - the stores that take part, in the order of the report's columns.
*/
#include "bench.h"

#include <stdlib.h>

/* A peer whose package was missing at ./configure is not in this program: then its address is
** NULL. */
#define PEER(symbol) extern const peer symbol __attribute__((weak));
PEER(peer_maph)
PEER(peer_maph_compact)
PEER(peer_maph_pilot)
PEER(peer_maph_cmph)
PEER(peer_ram)
PEER(peer_lmdb)
PEER(peer_tinycdb) PEER(peer_tkrzw) PEER(peer_kyoto) PEER(peer_leveldb) PEER(peer_rocksdb)
    PEER(peer_sqlite) PEER(peer_redis)

        const known_peer all_peers[] = { { "maph", "", &peer_maph },
                                         { "maph-compact", "", &peer_maph_compact },
                                         { "maph-pilot", "", &peer_maph_pilot },
                                         { "maph-cmph", "", &peer_maph_cmph },
                                         { "ram", "", &peer_ram },
                                         { "lmdb", "liblmdb-dev", &peer_lmdb },
                                         { "tinycdb", "libcdb-dev", &peer_tinycdb },
                                         { "tkrzw", "libtkrzw-dev", &peer_tkrzw },
                                         { "kyoto", "libkyotocabinet-dev", &peer_kyoto },
                                         { "leveldb", "libleveldb-dev", &peer_leveldb },
                                         { "rocksdb", "librocksdb-dev", &peer_rocksdb },
                                         { "sqlite", "libsqlite3-dev", &peer_sqlite },
                                         { "redis", "redis-server", &peer_redis },
                                         { NULL, NULL, NULL } };

struct peer_hint peer_hint;

const peer *peer_find(const char *name, size_t size) {
  for (const known_peer *known = all_peers; known->name; known++) {
    if (strlen(known->name) == size && memcmp(known->name, name, size) == 0) return known->peer;
  }
  return NULL;
}

uint64_t peer_cache_bytes(void) {
  uint64_t all = peer_hint.bytes + peer_hint.keys * 64, least = 256u << 20;
  return all > least ? all : least;
}

char *value_buffer_room(value_buffer *b, size_t size) {
  if (size > b->room) {
    free(b->data);
    b->room = size * 2;
    b->data = must_alloc(b->room);
  }
  return b->data;
}
