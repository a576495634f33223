/*
** commit.h - what a session has taken goes into the store, transactions whole.
*/
#ifndef MAPH_NATS_COMMIT_H
#define MAPH_NATS_COMMIT_H

#include "nats/session.h"

/* Commit what readers may see; what is not whole yet waits. */
ending commit_whole(session *session);
/* Commit, or what a load has for it. */
ending commit_now(session *session);
bool commit_is_whole(const session *session);
/* A replica should not show what `group` has up to `at`: more has to come.  Where that does not, it
** is taken as it is: then it is whole (group.h). */
ending commit_wait(session *session, group *group, uint64_t at);

#endif
