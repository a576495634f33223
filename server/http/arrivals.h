/*
** arrivals.h - the thread that accepts connections and keeps them until they have sent a head.
*/
#ifndef MAPH_HTTP_ARRIVALS_H
#define MAPH_HTTP_ARRIVALS_H

#include <stdbool.h>
#include "http/connection.h"

bool arrivals_start(void);
/* Civetweb is being stopped: it is rung for until arrivals_stop, which ends the thread. */
void arrivals_ring_for_end(void);
void arrivals_stop(void);
/* A loop's connection, which has sent a part of a head. */
void arrivals_take(connection *connection);
/* One that nothing more is wanted of; its sending side is shut. */
void arrivals_see_off(connection *connection);

#endif
