/*
** connection.h - the connections: who waits, who is served, whose time is over.
**
** For the files of http/ alone.
*/
#ifndef MAPH_HTTP_CONNECTION_H
#define MAPH_HTTP_CONNECTION_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/buffer.h"
#include "http/http.h"
#include "http/listen.h"
#include "http/request.h"

/* The table of phases is in connection.c. */
enum phase { ARRIVING, READY, LEAVING, KEPT, SENDING, IDLE, WORKING, READING, WRITING };
enum { REQUEST_ROOM = 65536, TICK_MS = 50, LEAVING_MS = 5000, READY_MS = 10000 };

/* Where a request is read and answered: a worker's, for one connection, or a loop's, for all of
** its. */
typedef struct workspace {
  request *request;
  char *decoded;
  buffer head, body, scratch;
  buffer answer; /* a loop's: whole, before any of it is sent */
} workspace;
bool workspace_make(workspace *work);
void workspace_free(workspace *work);

typedef struct connection {
  struct connection *next, *previous; /* in the queue of its kind; connections_mutex */
  struct mg_connection *mg;           /* NULL: civetweb has not got it */
  int socket;
  unsigned slot;    /* its place among those that civetweb has; 0: it has not got it */
  size_t looked_at; /* bytes of its first head that were seen */
  /* Read from its socket by a loop and of no request yet: they come before what the socket has. */
  buffer ahead;
  bool handed; /* to a worker, with bytes ahead that it has not taken */
  char remote[PEER_ROOM];
  atomic_int phase;
  atomic_uint_fast64_t since_us, deadline_us;
  atomic_bool timed_out; /* its time was over, or its place was needed: whose it is ends it */
  uint64_t phase_started_us, phase_bytes;
  uint64_t read_us; /* the last read's end; 0: none since the last write */
  workspace work;   /* from when civetweb gets it until it gives it back */
  bool watches;     /* its request holds a watcher's place */
  bool refused;     /* by civetweb: that was answered */
  unsigned reads;   /* requests that read, since the last that did not */
  /* IDLE: its worker gives it back when that is needed by another. */
  atomic_bool returns;
  bool counted;                 /* its next request, by the rate limit */
  uint64_t left_us, left_bytes; /* LEAVING: since when, and what has come since */
  /* A loop's: */
  int poller;    /* that watches it, or did last; set with connections_mutex */
  buffer unsent; /* of answers; those before `sent` were */
  size_t sent;
  bool leaves, ended; /* once `unsent` is sent; the client has ended its side */
  bool dismissed;     /* it was idle, and leaves */
} connection;

extern pthread_mutex_t connections_mutex;

void connections_start(uint64_t kept_most);

/* A connection that has come and sent nothing yet; it owns the socket.  NULL: no memory, closed. */
connection *connection_arrives(int socket, const struct sockaddr *peer);
/* Its first head is there: civetweb gets it as soon as a worker is free. */
void connection_is_ready(connection *connection);
/* It waits for its next request in a loop; or there it waits for the client to read. */
void connection_keep(connection *connection);
void connection_sends(connection *connection);
/* A loop's connection has sent a part of a head, or nothing more is wanted of it.  It is watched
** there before its new owner, who may end it at once, can find it. */
void connection_waits_for_head(connection *connection, int poller);
void connection_is_seen_off(connection *connection, int poller);
/* Civetweb has it and waits for its next request: from now on civetweb has another socket under its
** number, and it is KEPT.  False: it could not be had. */
bool connection_give_back(connection *connection);
/* It was refused: from now on what it sends is thrown away, until it ends or its time is over. */
void connection_leaves(connection *connection);
void connection_still_leaves(connection *connection); /* it has sent something */
/* Out of all lists, and freed; close: the socket too, unless civetweb does that. */
void connection_end(connection *connection, bool close);
/* The oldest that has not sent a whole head; NULL: none.  Past deadline alone, if now is not 0. */
connection *connection_oldest(enum phase phase, uint64_t now);

/* The oldest READY one past its deadline, which leaves; NULL: none. */
connection *connection_given_up(uint64_t now);
void connection_count_eviction(void);
void connection_count_timeout(void);
/* Whether there is any at all. */
bool connections_exist(void);

/* End those whose deadline is over, and as many idle ones as others wait for a worker. */
void connections_tend(void);
/* End an idle one, whose descriptor is then soon free. */
void connections_make_room(void);
/* End those that wait for a request, from now on; or shut all. */
void connections_end_idle(void);
void connections_shut(void);
size_t connections_arriving(void);
size_t connections_sending(void);
/* Whether some wait for a worker or have one, or are idle, or were answered lately and leave. */
bool connections_last(void);
/* Whether some wait for a worker, and none is free. */
bool connections_crowded(void);

/* The next for civetweb; NULL: none, or no worker is free.  connection_at: that of a slot. */
connection *connection_for_worker(void);
connection *connection_at(unsigned slot);
/* What lies ahead of that socket of a worker's, which is then the caller's.  False: nothing. */
bool connection_take_ahead(int socket, buffer *ahead);

/* The bell is a descriptor that can be read while there is one for civetweb to take. */
extern int bell;
/* Another one can be read while some wait for a worker, and none is free. */
extern int crowd_bell;
void bell_ring(void);

/* A phase with a deadline begins, or goes on. */
void connection_enter(connection *connection, enum phase phase);

/* In exchange.c: answer one that no worker has, as far as its socket takes it at once. */
void http_refuse(connection *connection, int status, const char *code, const char *detail);

#endif
