/*
** serve.c - the life of a request between its head and its answer: guarded, routed, counted,
** logged.
*/
#include "access/client.h"
#include "access/guard.h"
#include "http/access_log.h"
#include "routes.h"
#include "routes/metrics.h"
#include "serve.h"

static void answer(request *r) {
  client_find(r);
  if (guard_request(r)) routes_dispatch(r);
}

static void answered(const request *r, uint64_t duration_us) {
  metrics_count(r, duration_us);
  access_log_request(r, duration_us);
}

http_callbacks serve_callbacks(void) {
  http_callbacks callbacks = { answer, answered };
  return callbacks;
}
