/*
** guard.h - what is refused before any handler runs.
*/
#ifndef MAPH_ACCESS_GUARD_H
#define MAPH_ACCESS_GUARD_H

#include "http/request.h"

/* Refuse what must not reach a handler.  True: go on.  False: a problem has been answered. */
bool guard_request(request *request);
bool guard_setup(void);                        /* parse option.host and option.origin */
bool guard_origin_allowed(const char *origin); /* named by --origin */
/* a browser says that a page of another site made it */
bool guard_foreign(const request *request);
/* Before stored bytes go out: false: a browser would run or apply them, and that was answered. */
bool guard_destination(request *request);

#endif
