/*
** between.c - what another process does between two calls of a request: linked into a server of its own, $build/between/maph-server.
**
** While the file that MAPH_BETWEEN names is there, the next cursor that the server opens comes after a compaction of the store whose path stands
** in it; then that file is removed.
*/
#include "maph.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int __real_maph_cursor_open(maph *m, maph_snapshot *snapshot, maph_slice prefix, maph_cursor **cursor);
int __wrap_maph_cursor_open(maph *m, maph_snapshot *snapshot, maph_slice prefix, maph_cursor **cursor);

static void compact(const char *path){
  maph *m;
  if( maph_open(path, MAPH_RDWR, NULL, &m)!=MAPH_OK || maph_compact(m, NULL, NULL)!=MAPH_OK ) abort();
  maph_close(m);
}

int __wrap_maph_cursor_open(maph *m, maph_snapshot *snapshot, maph_slice prefix, maph_cursor **cursor){
  const char *order = getenv("MAPH_BETWEEN");
  FILE *f = order ? fopen(order, "re") : NULL;
  char path[4096];
  if( f ){
    if( fscanf(f, "%4095s", path)!=1 || unlink(order)!=0 ) abort();
    fclose(f);
    compact(path);
  }
  return __real_maph_cursor_open(m, snapshot, prefix, cursor);
}
