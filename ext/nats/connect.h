/*
** connect.h - what the files that speak with nats.c share of a connection.
*/
#ifndef MAPH_NATS_CONNECT_H
#define MAPH_NATS_CONNECT_H

#include <nats/nats.h>
#include "nats/consumer.h"

struct connection {
  natsConnection *nats;
  server_info server;
  natsSubscription *answers; /* to questions, on `inbox`.NUMBER; NULL: none was asked yet */
  consumer *consumers;       /* all that were opened */
  char inbox[256];
  struct pipeline *pipe;    /* NULL: none was opened */
  natsSubscription *stored; /* its acknowledgements, on `pipe_inbox`.SEQUENCE */
  char pipe_inbox[256];
  int patience_ms;
  unsigned long long asked; /* the NUMBER of the last question */
};

/* Free them all, once the connection is closed. */
void connect_free_consumers(connection *connection);
void connect_free_pipe(connection *connection);
/* A subject that is ours alone. */
void connect_inbox(char room[256]);
/* The server answered that error: NONE or REFUSED. */
stream_rc connect_refused(unsigned code, const char *what, const char *description);
/* What a failed call of nats.c means, and its sentence. */
stream_rc connect_failed(natsStatus status, const char *what, const char *where);

#endif
