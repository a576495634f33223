/*
** kill.c - kill -9 at any microsecond.
**
** A child writes random transactions and says on the board which were acknowledged; it is killed
** after a random time.  Then this process, sometimes through a handle that it had open all along,
** finds every acknowledged transaction and no partial one, writes some more, and the next child
** goes on.  Now and then the store is closed by all, or begun anew: every other one has versions
** that are given.
*/
#include "crash.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char *path;

static void write_on(void *arg) {
  writer writer;
  script script;
  (void)arg;
  if (writer_open(&writer, path, MAPH_RDWR) != MAPH_OK) {
    trouble("a child cannot open the store: %s", maph_errmsg(NULL));
    return;
  }
  while (the->n < HISTORY_MAX - 30) {
    script_random(&script, below(6) == 0);
    if (script_run(&writer, &script) != MAPH_OK) {
      trouble("a child cannot write: %s", maph_errmsg(NULL));
      return;
    }
  }
  if (writer_close(&writer) != MAPH_OK)
    trouble("a child cannot close the store: %s", maph_errmsg(NULL));
  the->done = 1;
}

static void start_anew(void) {
  writer writer;
  unlink(path);
  must(writer_open(&writer, path, MAPH_RDWR | MAPH_CREATE) == MAPH_OK, "creating a store");
  universe_make(&the->u, store_hash_seed(path), 200, 120, 60);
  board_accounts(&writer);
  must(writer_close(&writer) == MAPH_OK, "closing a store");
}

static void one_round(writer *own, long i) {
  pid_t child = spawn(write_on, NULL);
  script script;
  int n;
  usleep(below(below(4) ? 3000 : 20000));
  kill(child, SIGKILL);
  reap(child);
  context("kill, round %ld", i);
  if (own->m[MAPH_SYNC_OFF] == NULL && writer_open(own, path, MAPH_RDWR) != MAPH_OK) {
    trouble("after a kill the store cannot be opened: %s", maph_errmsg(NULL));
    return;
  }
  if (board_settle(own, "before anybody wrote") < 0) return;
  for (n = (int)below(4); n > 0; n--) {
    script_random(&script, 0);
    if (script_run(own, &script) != MAPH_OK) {
      trouble("after a kill the next writer fails: %s", maph_errmsg(NULL));
      return;
    }
  }
  board_settle(own, "after the next writer");
}

int kill_main(long count) {
  writer own;
  long i, acknowledged = 0;
  path = file_named("kill.maph");
  memset(&own, 0, sizeof own);
  for (i = 0; i < count && troubles == 0; i++) {
    if (i % 40 == 0) {
      if (own.m[MAPH_SYNC_OFF]) must(writer_close(&own) == MAPH_OK, "closing a store");
      memset(&own, 0, sizeof own);
      the->numbered = (int)(i / 40 % 2);
      start_anew();
    }
    one_round(&own, i);
    acknowledged += the->n;
    board_start();
    if (own.m[MAPH_SYNC_OFF] && below(2)) {
      must(writer_close(&own) == MAPH_OK, "closing a store");
      memset(&own, 0, sizeof own);
    }
  }
  if (own.m[MAPH_SYNC_OFF]) writer_close(&own);
  printf("%ld kills, %ld transactions acknowledged\n", i, acknowledged);
  free(path);
  return 0;
}
