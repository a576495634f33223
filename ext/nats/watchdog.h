/*
** watchdog.h - an end to a command whose call of libnats does not come back: libnats 3.4.1 may wait
** for ever for a server that says nothing.  A follower has a parent for that (child.h).
*/
#ifndef MAPH_NATS_WATCHDOG_H
#define MAPH_NATS_WATCHDOG_H

#include <stdint.h>

/* Unless watchdog_end comes in time, the process says `words` and ends with exit status 2. */
void watchdog_begin(uint64_t timeout_ms, const char *words);
void watchdog_end(void);

#endif
