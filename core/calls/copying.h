/*
** copying.h - the live records of a snapshot, on their way to a new generation: what base.c and
** freeze.c share.
*/
#ifndef MAPH_COPYING_H
#define MAPH_COPYING_H

#include "calls/rewriting.h"
#include "file/record.h"
#include "file/view.h"
#include "writer/load.h"

enum {
  COPYING_BATCH = 4096,  /* records between looks at the index and the clock */
  COPYING_LARGE = 65536, /* a record after which the clock is looked at too */
  COPYING_BROUGHT = 32   /* records brought into the cache together */
};

typedef struct copying {
  rewriting *rewriting;
  view view; /* of the old file */
  load load;
} copying;

int copying_begin(copying *copying, rewriting *rewriting);
/* rc: of what was done since; what it answers is that or, where that is OK, its own failure.  After
** a copying_begin that failed too. */
int copying_end(copying *copying, int rc);
/* The record, verified, to the new file, into its index. */
int copying_indexed(copying *copying, const item *it);

typedef int (*copying_fn)(void *arg, const item *it);
/* Each put that is live at the snapshot, in the order of the log. */
int copying_each_live(rewriting *rewriting, const char *phase, copying_fn each, void *arg);
/* These records will be read, n at most COPYING_BROUGHT: bring them into the cache. */
void copying_bring(const view *view, const uint64_t *offset, uint64_t n);

#endif
