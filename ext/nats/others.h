/*
** others.h - who else follows or publishes a file, under another name.
**
** The lock of a follower lies beside the name that it was given (sidecar.h).  A hard link, or a
** mount of the file alone, is another name of the file, with another place for a lock.
*/
#ifndef MAPH_NATS_OTHERS_H
#define MAPH_NATS_OTHERS_H

#include <stdbool.h>
#include <stddef.h>

/* May a replica, or a store that is published, have that name?  NULL, or a sentence: it is one of
** those that files beside a store have. */
const char *others_may_be_named(const char *path);
/* The other name of PATH whose NAME.replica (`suffix`) a process of this machine holds, as far as
** this user may look at processes.  False: there is none. */
bool others_hold(const char *path, const char *suffix, char *name, size_t size);

#endif
