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

static void answer(request *request) {
  client_find(request);
  if (guard_request(request)) routes_dispatch(request);
}

static void answered(const request *request, uint64_t duration_us) {
  metrics_count(request, duration_us);
  access_log_request(request, duration_us);
}

http_callbacks serve_callbacks(void) {
  http_callbacks callbacks = { answer, answered };
  return callbacks;
}
