/*
** loop.h - the threads in which connections wait for their next request, and that answer what takes
** no time.
*/
#ifndef MAPH_HTTP_LOOP_H
#define MAPH_HTTP_LOOP_H

#include "http/connection.h"

bool loops_start(void);
void loops_stop(void);
/* It is a loop's from now on; it is KEPT. */
void loop_take(connection *connection);
/* With the connections' mutex: its loop hears of it, if it is KEPT and a loop's. */
void loop_look_at(connection *connection);
/* By the arrivals' thread, every TICK_MS. */
void loops_tend(void);

#endif
