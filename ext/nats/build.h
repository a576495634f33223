/*
** build.h - a new file of all that a bucket has, and the replica's name for it.
**
** It goes on in the next session where the bucket is the same: what is built belongs to the
** follower.
*/
#ifndef MAPH_NATS_BUILD_H
#define MAPH_NATS_BUILD_H

#include "nats/session.h"

ending build_begin(session *session);
/* May what was built in an earlier session go on? */
stream_rc build_resume(session *session, bool *goes_on);
void build_drop(follower *follower);
/* A message that may be the last one; a heartbeat.  Once the file is whole it has its name, and the
** session follows. */
ending build_take(session *session, const delivery *delivery);
ending build_heartbeat(session *session, const delivery *delivery);

#endif
