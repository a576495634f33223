/*
** http.h - the server's side of HTTP/1.1: connections come, their requests go to a callback.
*/
#ifndef MAPH_HTTP_HTTP_H
#define MAPH_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "http/request.h"

typedef struct http_callbacks {
  void (*answer)(request *request); /* answer it */
  /* it was; also what had no handler */
  void (*answered)(const request *request, uint64_t duration_us);
} http_callbacks;

/* Listen as `option` says; at most so many connections wait for their next request.  0 ok, else a
** sentence went to stderr. */
int http_start(http_callbacks callbacks, uint64_t waiting_most);
/* Where it listens, for people. */
void http_addresses(char *out, size_t room);
/* New requests get 503; returns when none is running or the drain timeout is over. */
void http_drain(void);
void http_stop(void);
bool http_draining(void);
/* Others wait for a worker, and after the answer the connection could only wait with this one: it
** ends. */
bool http_crowded(const request *request);

typedef struct http_counts {
  uint64_t connections, waiting, requests_running, accepted, evicted, timed_out, workers, watchers;
} http_counts;
http_counts http_count(void);
uint64_t http_running(void);

/* Read body bytes: >0; 0 at the end of a chunked body, or after silence; <0 when the client is gone
** or broke the rules.  Write: false when the client is gone.  Both have deadlines that move by
** progress of at least 16 KB/s. */
long http_read(request *request, void *data, size_t size);
bool http_write(request *request, const void *data, size_t size);
bool http_timed_out(const request *request);

/* A handler that lasts takes a watcher's place first (false: all are taken) and gives it back. */
bool http_watch_begin(request *request);
void http_watch_end(request *request);
bool http_client_there(const request *request);
/* Sleep until the client goes, another descriptor (-1: none) can be read, the server drains, the
** time is over or, with `input`, the client sends something. */
void http_sleep(const request *request, int descriptor, bool input, uint64_t most_us);
/* Bytes that the client sent after its request; 0: none now; -1: it is gone. */
long http_receive(request *request, void *data, size_t size);
/* At once: without it civetweb goes on reading a body that nobody wants. */
void http_disable_keep_alive(request *request);

#endif
