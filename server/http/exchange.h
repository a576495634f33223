/*
** exchange.h - a request and its answer, for both who read from sockets: the loops, and civetweb's
** workers.
**
** For the files of http/ alone.
*/
#ifndef MAPH_HTTP_EXCHANGE_H
#define MAPH_HTTP_EXCHANGE_H

#include "http/connection.h"

void exchange_setup(http_callbacks callbacks);
/* An empty request.  Then its method, target, version and headers are filled in. */
request *exchange_begin(connection *connection, workspace *work);
/* They are: whose id it has. */
void exchange_read(request *request);
/* Answer it.  False: it was declined, and nothing was done.  A quick one's answer is kept, counted
** and logged before any of it is sent; until exchange_sent it counts as running. */
bool exchange_serve(request *request);
void exchange_sent(void);
/* Answer what cannot become a request. */
void exchange_refuse(request *request, int status, const char *code, const char *detail);

#endif
