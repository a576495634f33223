/*
** create.h - new store files, and the files beside a store.
*/
#ifndef MAPH_CREATE_H
#define MAPH_CREATE_H

#include "file/header.h"
#include "file/store.h"

int create_is_empty(const char *path); /* is an empty file there? */
/* over_empty: an empty file there may become one.  EXISTS */
int create_store(const char *path, const maph_options *options, int over_empty);

/* The same in steps, for whoever makes the store himself. */
typedef struct creation {
  const char *path;
  char *temporary; /* what is made, until it takes its name */
  int mode;        /* to make it with */
  os_file lock;    /* byte 2 is ours */
  os_file empty;   /* the empty file at path, which it takes the place of; fd -1: there is none */
} creation;
/* EXISTS BUSY CANCELLED CANTOPEN.  Call create_release after a failure too. */
int create_claim(creation *creation, const char *path, const maph_options *options, int over_empty);
/* store, made as creation->temporary and marked clean, is flushed and gets the name, or is removed
*/
int create_take_name(creation *creation, store *store);
void create_release(creation *creation, int rc); /* rc: is the store there? */

/* a new file of no bytes, in the place of one that a dead creator left: lockless, not registered */
int create_bare(const char *path, int mode, store **store);
int create_bare_in_memory(store **store);
/* the same, and made an empty store */
int create_empty(const char *path, const maph_options *options, const header_identity *identity,
                 store **store);
int create_in_memory(const maph_options *options, store **store);
/* what the options say that a new store is */
header_identity create_identity(const maph_options *options);
/* of a rewrite that died */
void create_remove_leftover(const char *path, const os_file *model);
/* no store came to that path: nor shall its lock file stay.  Under byte 2 */
void create_remove_lock(const char *path);
/* nobody writes to the store at that path, or is about to: its lock file goes.  Under byte 2 */
void create_remove_unused_lock(const char *path, const os_file *lock);
/* a name; NULL no memory; os_free it */
char *create_beside(const char *path, const char *suffix);
/* byte 2 of its lock file */
int create_lock_rewrite(const char *path, const os_file *model, int timeout_ms, os_file *lock);
void create_unlock_rewrite(os_file *lock); /* and close it */
int create_may_be_named(const char *path); /* not as a file beside another store is */
/* no network file system, no second name */
int create_may_write(const os_file *file, const char *path);
/* the store, if it is still that file, and its lock file; with byte 2 */
int create_remove_files(const char *path, const os_file *file);

#endif
