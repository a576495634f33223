/*
** supersede.h - a finished file takes the name of a store that is in use.
*/
#ifndef MAPH_SUPERSEDE_H
#define MAPH_SUPERSEDE_H

#include "file/store.h"

enum { SUPERSEDE_NOTE = 160 };

/* The store's file with its mode and owner as they are now, which may be others than when it was
** opened. */
int supersede_status(store *store, os_file *file);
/* The file at `temporary`, which is `to`, gets what `from` carries beside its bytes.  note: what
** could not be kept, SUPERSEDE_NOTE bytes; else unchanged. */
int supersede_attributes(store *from, store *to, const char *temporary, char *note);
/* Store the live words of a file that is complete at to->last as its last writer leaves them:
** clean, unborn, and `lock` as its lock file.  The caller flushes it. */
void supersede_seal(store *to, const os_file *lock);
/* It takes the name of `from`, whose users move to it.  `to` is complete, unborn, and on disk as
** far as anybody was promised of `from`; with a session of `from`.  last, unless NULL, is called
** when nobody is promised more of `from`: what it fails with, supersede does, and the name stays.
** CANTOPEN: another file has the name by now.  IOERR */
int supersede(store *from, store *to, const char *temporary, char *note, int (*last)(void *arg),
              void *arg);
/* Set or clear one STATE_* flag. */
void supersede_mark(store *store, uint64_t flag, int on);

#endif
