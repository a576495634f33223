/*
** registry.h - the stores that are open in this process, each of which its handles share.
*/
#ifndef MAPH_REGISTRY_H
#define MAPH_REGISTRY_H

#include "file/store.h"

/* The store of the file at path, for one handle more, which may write or not.  NOTFOUND CANTOPEN
** BUSY RECOVER CORRUPT FORMAT NOMEM ... */
int store_open(const char *path, int writing, const maph_options *options, store **store);
int store_let_go(store *store, int writing); /* give a handle's hold on it up */
/* The same after a failure, whose sentence stays. */
void store_give_up(store *store, int writing);
/* In a layered file system the file that a reader has open is no longer that of its path once a
** writer made a copy of it, and nothing in it tells. */
static inline int store_is_layered(const store *store) {
  return store->file.layered && !store->file.writable;
}
/* Is it that of an open file?  A layered store that is read is not written to through its mapping:
** that may be of the file below. */
int store_is_of(const store *store, const os_file *file);
/* As long as it is pinned it is there and mapped. */
void store_pin(store *store);
void store_unpin(store *store);
/* A handle writes to it no more; the last writer leaves the file clean. */
int store_stop_writing(store *store);
/* The same of one that was replaced, by the handle that moves on to what replaced it. */
void store_leave_replaced(store *store);
/* Call this in the child of a fork: there every store is dead. */
void registry_in_child(void);

#endif
