/*
** peers.c - the stores that take part, in the order of the report's columns.
*/
#include "bench.h"

const peer *const all_peers[] = { &peer_maph, &peer_lmdb, &peer_tinycdb, &peer_sqlite, NULL };

const peer *peer_find(const char *name, size_t size){
  for(int i = 0; all_peers[i]; i++){
    if( strlen(all_peers[i]->name)==size && memcmp(all_peers[i]->name, name, size)==0 ) return all_peers[i];
  }
  return NULL;
}
