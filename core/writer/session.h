/*
** session.h - the begin and the end of a writer: the only way to write to a store, and out again.
*/
#ifndef MAPH_SESSION_H
#define MAPH_SESSION_H

#include "file/store.h"
#include "os/error.h"
#include "os/interrupt.h"
#include "writer/txn.h"

/* This process will write to the store: mapped for writing, its mark in the lock file.  Under the
** mutex that counts the store's writers.  BUSY at once, CANTOPEN NOMEM IOERR */
int session_join(store *store);
/* It will not any more.  If no other process writes, all is flushed and the file is marked
** clean. */
int session_leave(store *store);
/* It writes to what replaced the store.  Other threads may still try to begin a session here, so
** the lock file stays open: set `stayed` first. */
void session_withdraw(store *store);

/* Is it still the file at its path, or one with another name?  CANTOPEN: what is written to it
** will be seen by nobody who opens that path. */
int session_reached(store *store);
/* The same for what this transaction wrote, before its end.  Below full the file is looked for at
** most each 100 ms. */
int session_still_reached(const txn *txn);

/* The turn and the lock, and what a dead writer left is finished or discarded: then the store is
** whole, `last` and `space_end` are current, and nobody else writes.  BUSY: not in that time.
** CANTOPEN: the store was replaced or deleted.  CANCELLED: interrupted while it waited.  IOERR
** CORRUPT NOMEM FULL */
int session_begin(store *store, int timeout_ms);
/* The same of a single write, through the handle of that count: os/interrupt.h.  SESSION_GONE, of
** which nothing was said yet: the store says that it was replaced or deleted.  Whoever follows it
** to the file that has the name succeeds.  *before: what was said before, where the answer is
** CANTOPEN; else it may not be set. */
enum { SESSION_GONE = -1 };
int session_begin_write(store *store, int timeout_ms, const interrupt_count *own, sentence *before);
int session_say_gone(const store *store); /* CANTOPEN */
/* For who removes the store: the same, but what is in it may be damaged, or closed to writing, and
** is left as it is. */
int session_begin_last(store *store, int timeout_ms);
void session_end(store *store);

/* The same end, of a session that a transaction was made in.  session_finish does all of it: where
** rc is MAPH_OK it reserves and commits, else it aborts; then it clears the transaction.  It
** returns rc, or what failed. */
int session_finish(txn *txn, int rc);
int session_commit(txn *txn); /* after commit_reserve; visible when OK */
int session_abort(txn *txn);  /* nothing of it remains */
/* The same after a failure, whose sentence stays. */
void session_give_up(txn *txn);

#endif
