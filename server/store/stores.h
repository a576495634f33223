/*
** stores.h - the stores that are open, and making and deleting them.
*/
#ifndef MAPH_STORE_STORES_H
#define MAPH_STORE_STORES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/waits.h"
#include "maph.h"

typedef struct store {
  char name[72];
  maph *m;
  bool read_only;
  bool replica;            /* its versions are given: a follower alone writes it */
  atomic_uint references;  /* the table's and the requests' */
  wait_place waiting;      /* writers, for their turn or the disk */
  atomic_bool written;     /* since the last background sync */
  atomic_bool sync_failed; /* a background sync; said once */
  uint64_t rewritten_us;   /* when it was compacted by itself last, or that was tried; 0: never */
  atomic_bool listed;      /* its keys, in their order, since it was tidied last */
  uint64_t tidied_runs;    /* pieces that the order was in then, or fewer since */
  uint64_t device, inode;  /* what the name led to just before */
  atomic_uint_fast64_t looked_us; /* when a request that reads looked whether it still does */
  /* When it was opened, or, while it may only be read, that was tried again for writing. */
  atomic_uint_fast64_t tried_us;
  char obstacle[200];  /* why it may only be read; table_lock */
  atomic_bool retired; /* no longer in the table: a long holder should acquire it anew */
  struct store *next;
} store;

void stores_close_all(void);
/* The store of that name, opened if need be; release it.  NULL: *rc is MAPH_NOTFOUND, MAPH_MISUSE
** (name), STORE_OPENING (another request opens it for long already) or why it cannot be opened. */
enum { STORE_OPENING = -1, STORE_CROWDED = -2 }; /* the latter: so many writers wait for it */
store *store_acquire(const char *name, size_t size, bool to_read, int *rc);
/* The same to read, when nothing is to be done for it; NULL: something is. */
store *store_at_once(const char *name, size_t size);
void store_obstacle(const store *store, char *out, size_t room); /* why it may only be read */
const char *store_errmsg(int rc, maph *m); /* maph_errmsg, or what our own codes mean */
int store_core_code(int rc);               /* ours as the core's */
/* The same store where its name leads now; that one is released.  NULL: as of store_acquire. */
store *store_again(store *store, int *rc);
void store_hold(store *store);
void store_release(store *store);
/* The same where nothing may wait: if it was the last, upkeep closes the file. */
void store_release_at_once(store *store);
/* its file is gone or another: the next acquire looks again */
void store_forget(store *store);
/* Forget those whose file was rewritten, replaced or removed: the old file goes when its last user
** does. */
void stores_renew(void);
bool store_file_exists(const char *name, size_t size);
/* Walks the open ones; releases `after`, acquires what it returns. */
store *store_next(store *after);
/* What has that name and is no store, in words: "a symbolic link"; NULL: nothing, or a file. */
const char *store_occupant(const char *name, size_t size);
/* Make one, with an index for so many keys. */
int store_make(const char *name, size_t size, uint64_t expected_keys);
/* Delete one, or what has its name.  *trouble: why that cannot be removed, as errno; else 0. */
int store_delete(const char *name, size_t size, int *trouble);

#endif
