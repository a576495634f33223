/*
** wait.h - waiting until a replica has what somebody wrote, or is complete.
*/
#ifndef MAPH_NATS_WAIT_H
#define MAPH_NATS_WAIT_H

#include <stdint.h>

/* Instead of a revision: until it is followed and has all that its follower knows of. */
#define WAIT_COMPLETE UINT64_MAX
/* Until the replica at path has that revision of its bucket.  An exit status; what is wrong is
** said. */
int wait_for_revision(const char *path, uint64_t revision, uint64_t timeout_ms);

#endif
