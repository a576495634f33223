/*
** rewriting.h - a new generation of a store while it is made: what base.c, freeze.c and rewrite.c
** share.
*/
#ifndef MAPH_REWRITING_H
#define MAPH_REWRITING_H

#include "calls/handle.h"
#include "file/store.h"
#include "os/interrupt.h"
#include "os/progress.h"
#include "writer/load.h"

typedef struct rewriting {
  maph *handle;
  store *from, *to;        /* to: nobody else knows of it yet */
  int perfect_hash;        /* MAPH_PERFECT_*: to be built */
  load_how how;            /* the base of to is made */
  int drop_expired;        /* it gets no entries that had expired at the snapshot */
  maph_snapshot *snapshot; /* of from: what the base is a copy of */
  uint64_t dropped;        /* entries, so */
  uint64_t copied;         /* the log of from, up to here, is in to */
  uint64_t flushed;        /* the new file, up to here, is on disk */
  uint64_t safe;           /* the log of from, up to here, is on disk in to */
  listener listener;
  interruptible call;
  unsigned forks;  /* os_forks() when it began: in a child of the callback nothing is cleaned up */
  uint64_t memory; /* allocated now */
  maph_rewrite result;
} rewriting;

/* CANCELLED */
int rewrite_tell(rewriting *rewriting, const char *phase, uint64_t done, uint64_t total);
void *rewrite_alloc(rewriting *rewriting, uint64_t size); /* counted */
void rewrite_free(rewriting *rewriting, void *p, uint64_t size);

#endif
