/*
** create.h - new store files, and the files beside a store.
*/
#ifndef MAPH_CREATE_H
#define MAPH_CREATE_H

#include "file/store.h"

int  create_store(const char *path, const maph_options *o);          /* EXISTS */
int  create_empty(const char *path, const maph_options *o, const uint8_t uuid[16], uint64_t generation, uint64_t base_version, store **s);  /* empty, lockless, not registered */
int  create_in_memory(const uint8_t uuid[16], uint64_t generation, uint64_t base_version, uint64_t expected_keys, store **s);
void create_remove_leftover(const char *path, const os_file *model); /* of a rewrite that died */
void create_remove_lock(const char *path);                           /* no store came to that path: nor shall its lock file stay.  Under byte 2 */
char *create_beside(const char *path, const char *suffix);           /* a name; NULL no memory; os_free it */
int  create_lock_rewrite(const char *path, const os_file *model, int timeout_ms, os_file *lock);   /* byte 2 of its lock file */
void create_unlock_rewrite(os_file *lock);                            /* and close it */
int  create_format(store *s, const uint8_t uuid[16], uint64_t generation, uint64_t base_version, uint64_t expected_keys);   /* an open, empty file becomes an empty store */
int  create_may_be_named(const char *path);                          /* not as a file beside another store is */
int  create_may_write(const os_file *f, const char *path);           /* no network file system, no second name */
int  create_remove_files(const char *path, const os_file *model);    /* the store, if it is still that file, and its lock file; with byte 2 */

#endif
