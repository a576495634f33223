/*
** look.h - are bucket and file still those that a session began with?
*/
#ifndef MAPH_NATS_LOOK_H
#define MAPH_NATS_LOOK_H

#include "nats/session.h"

/* Where half a minute is over: is it the same bucket, with the same rules and the same last
** messages? */
ending look_in_time(session *session);
/* The file under the replica's name. */
ending look_at_name(session *session);
/* The server was heard now.  Where the clock was set back since it was heard last, entries may have
** been taken for over that are not: all keys are compared, when the file is whole. */
ending look_at_clock(session *session);
/* All there was when the session began is in the file: see decide.h. */
ending look_settle(session *session);

#endif
