/*
** routes.c - which handler answers which path and method.
**
** Paths are matched as they came: literals byte for byte, a trailing slash is another path, and
** what follows /keys/ is one key whatever it holds.  NAME and KEY are percent-decoded once, into
** the connection's own room.
*/
#include <string.h>
#include "access/auth.h"
#include "access/guard.h"
#include "access/rate.h"
#include "base/uri.h"
#include "option/nearest.h"
#include "http/reply.h"
#include "routes/answer.h"
#include "routes/handlers.h"
#include "routes.h"
#include "routes/handling.h"

static const route routes[] = {
  { "stores", METHOD_GET | METHOD_HEAD, "stores", stores_list, ROLE_ANY, false, "" },
  { "store_create", METHOD_POST, "stores/NAME", store_create, ROLE_ADMIN, false, "" },
  { "store_delete", METHOD_DELETE, "stores/NAME", store_destroy, ROLE_ADMIN, false, "" },
  { "store", METHOD_GET | METHOD_HEAD, "stores/NAME", store_stats, ROLE_READ, true, "" },
  { "stats", METHOD_GET | METHOD_HEAD, "stores/NAME/stats", store_stats, ROLE_READ, true, "" },
  { "key_get", METHOD_GET | METHOD_HEAD, "stores/NAME/keys/KEY", key_get, ROLE_READ, true,
    "entry" },
  { "key_put", METHOD_PUT, "stores/NAME/keys/KEY", key_put, ROLE_WRITE, true, "ttl sync wait" },
  { "key_patch", METHOD_PATCH, "stores/NAME/keys/KEY", key_patch, ROLE_WRITE, true,
    "ttl sync wait" },
  { "key_increment", METHOD_POST, "stores/NAME/keys/KEY/increment", key_increment, ROLE_WRITE, true,
    "by ttl sync wait" },
  { "key_delete", METHOD_DELETE, "stores/NAME/keys/KEY", key_delete, ROLE_WRITE, true,
    "sync wait" },
  { "keys", METHOD_GET | METHOD_HEAD, "stores/NAME/keys", keys_list, ROLE_READ, true,
    "prefix from to reverse delimiter after limit values key" },
  { "keys_delete", METHOD_DELETE, "stores/NAME/keys", keys_delete, ROLE_WRITE, true,
    "prefix from to all sync wait" },
  { "batch", METHOD_POST, "stores/NAME/batch", batch_run, ROLE_READ, true, "sync wait" },
  { "export", METHOD_GET | METHOD_HEAD, "stores/NAME/export", store_export, ROLE_READ, true,
    "sorted prefix from to reverse" },
  { "import", METHOD_POST, "stores/NAME/import", store_import, ROLE_WRITE, true, "sync" },
  { "changes", METHOD_GET | METHOD_HEAD, "stores/NAME/changes", changes_show, ROLE_READ, true,
    "since wait limit prefix key values" },
  { "changes_ws", METHOD_GET | METHOD_HEAD, "stores/NAME/changes/ws", changes_socket, ROLE_READ,
    true, "since prefix key values" },
  { "sync", METHOD_POST, "stores/NAME/sync", store_sync, ROLE_WRITE, true, "" },
  { "check", METHOD_POST, "stores/NAME/check", store_check, ROLE_ADMIN, true, "wait" },
  { "compact", METHOD_POST, "stores/NAME/compact", store_compact, ROLE_ADMIN, true, "wait" },
  { "optimize", METHOD_POST, "stores/NAME/optimize", store_optimize, ROLE_ADMIN, true, "wait" },
  { "backup", METHOD_POST, "stores/NAME/backup", store_backup, ROLE_ADMIN, true, "wait name keep" },
  { "jobs", METHOD_GET | METHOD_HEAD, "jobs", jobs_list, ROLE_ANY, false, "" },
  { "job", METHOD_GET | METHOD_HEAD, "jobs/ID", job_show, ROLE_ANY, false, "" },
  { "job_cancel", METHOD_DELETE, "jobs/ID", job_cancel, ROLE_ANY, false, "" },
  { "openapi", METHOD_GET | METHOD_HEAD, "openapi.json", openapi_show, ROLE_NONE, false, "" },
  { "healthz", METHOD_GET | METHOD_HEAD, "healthz", health_show, ROLE_NONE, false, "" },
  { "readyz", METHOD_GET | METHOD_HEAD, "readyz", ready_show, ROLE_NONE, false, "" },
  { "metrics", METHOD_GET | METHOD_HEAD, "metrics", metrics_show, ROLE_METRICS, false, "" },
  { "page", METHOD_GET | METHOD_HEAD, "", page_show, ROLE_NONE, false, NULL },
  { "page_file", METHOD_GET | METHOD_HEAD, "page/ID", page_file, ROLE_NONE, false, NULL },
};
enum { ROUTES = sizeof routes / sizeof routes[0] };
enum match { NO, YES, MALFORMED };

/* Of a key, whatever it holds, before what the pattern has after it. */
static size_t size_of_key(const char *path, const char *after) {
  size_t size = strlen(path), end = strlen(after);
  return size >= end && strcmp(path + size - end, after) == 0 ? size - end : size;
}

static size_t size_of_segment(const char *path) { return (size_t)(strchrnul(path, '/') - path); }

static const char of_store[] = "stores/NAME", before_name[] = "/stores/";
enum { OF_STORE = sizeof of_store - 1, BEFORE_NAME = sizeof before_name - 1 };

/* Compare the path with a pattern; the decoded NAME, ID or KEY become its segments.  Both are of a
** store where `after` is given: the name has no % and ends there. */
static enum match match(request *request, const char *pattern, const char *after) {
  const char *path = request->path;
  handling *handling = handling_of(request);
  char *out = request->decoded;
  handling->segment_count = 0;
  if (*pattern == 0 && *path == '/') path++;
  if (after) {
    size_t n = (size_t)(after - path) - BEFORE_NAME;
    memcpy(out, path + BEFORE_NAME, n);
    handling->segments[handling->segment_count++] = maph_bytes(out, n);
    out += n;
    path = after;
    pattern += OF_STORE + (pattern[OF_STORE] == '/');
  }
  while (*pattern) {
    size_t want = size_of_segment(pattern), have, n;
    if (*path++ != '/') return NO;
    have = want == 3 && strncmp(pattern, "KEY", 3) == 0 ? size_of_key(path, pattern + 3)
                                                        : size_of_segment(path);
    if (*pattern >= 'A' && *pattern <= 'Z') {
      n = percent_decode(path, have, out, false);
      if (n == SIZE_MAX) return MALFORMED;
      handling->segments[handling->segment_count++] = maph_bytes(out, n);
      out += n;
    } else if (have != want || memcmp(path, pattern, want) != 0) {
      return NO;
    }
    path += have;
    pattern += want + (pattern[want] == '/');
  }
  return *path == 0 ? YES : NO;
}

static bool is_of_store(const route *to) { return memcmp(to->pattern, of_store, OF_STORE) == 0; }

/* What follows /stores/NAME; NULL: the path is of no store. */
static const char *after_store(const char *path) {
  if (strncmp(path, before_name, BEFORE_NAME) != 0) return NULL;
  return path + BEFORE_NAME + size_of_segment(path + BEFORE_NAME);
}

/* Cheaper than match, and true where that is YES or MALFORMED: whether the path is of a store, as
** the pattern is, and what follows the name begins alike.  escaped: there is a % in the name. */
static bool may_match(const route *to, const char *after, bool escaped) {
  const char *rest = to->pattern + OF_STORE;
  if (!is_of_store(to)) return after == NULL;
  if (after == NULL) return false;
  if (*after == *rest && (*after == 0 || after[1] == rest[1])) return true;
  return escaped;
}

/* GET /stores/NAME/keys?key=A&key=B. */
static bool may_repeat(const route *to, maph_slice name) {
  return to->handler == keys_list && name.size == 3 && memcmp(name.data, "key", 3) == 0;
}

/* Each name once, and none but the route's: a slip would be silence. */
static bool known_query(request *request, const route *to) {
  const char *known = to->query;
  for (int i = 0; known && i < request->query_count; i++) {
    maph_slice name = request->query[i].name;
    const char *nearest = name_nearest(known, name);
    int size = (int)strcspn(nearest, " "), k = may_repeat(to, name) ? i : 0;
    while (k < i
           && (request->query[k].name.size != name.size
               || memcmp(request->query[k].name.data, name.data, name.size) != 0))
      k++;
    if (size == 0) {
      reply_problem(request, 400, "unknown_query", "this request takes no query parameters");
    } else if ((size_t)size != name.size || memcmp(nearest, name.data, name.size) != 0) {
      reply_problem(request, 400, "unknown_query",
                    "there is no such query parameter here; the nearest is %.*s", size, nearest);
    } else if (k < i) {
      reply_problem(request, 400, "doubled_query", "%.*s is in the query twice", size, nearest);
    } else {
      continue;
    }
    return false;
  }
  return true;
}

static bool parse_query(request *request, const route *to) {
  request->query_count =
      query_parse(request->query_text, request->decoded + strlen(request->path), request->query);
  if (request->query_count >= 0) return known_query(request, to);
  reply_problem(request, 400, "bad_query",
                request->query_count == -1
                    ? "%% in the query is followed by two hex digits"
                    : "at most %d query parameters; a batch asks for more keys",
                QUERY_MAX);
  return false;
}

static void answer_options(request *request, int allowed) {
  static const char *const names[] = { "GET", "HEAD", "PUT", "POST", "DELETE", "PATCH" };
  char list[64] = "OPTIONS";
  for (int i = 0; i < 6; i++)
    if (allowed & 1 << i) {
      strcat(list, ", ");
      strcat(list, names[i]);
    }
  reply_extra(request, "Allow: %s", list);
  if (request->method != METHOD_OPTIONS) {
    reply_problem(request, 405, "method_not_allowed", "here are only %s", list);
    return;
  }
  if (request_header(request, "Access-Control-Request-Method") && request->reply.origin) {
    reply_extra(request, "Access-Control-Allow-Methods: %s", list);
    reply_extra(request, "Access-Control-Allow-Headers: Authorization, Content-Type, If-Match, "
                         "If-None-Match, Last-Event-ID, Range, X-Request-Id");
    reply_extra(request, "Access-Control-Max-Age: 600");
  }
  reply_empty(request, 204);
}

static void store_unavailable(request *request, int rc) {
  maph_slice name = segment_of(request, 0);
  const char *occupant;
  if (rc == MAPH_MISUSE)
    reply_problem(
        request, 400, "bad_store_name",
        "a store's name is a letter or digit and then up to 63 of letters, digits, . _ -");
  else if ((occupant = store_occupant(name.data, name.size)) != NULL)
    reply_problem(request, 404, "store_not_found",
                  "there is no store of that name: %s has it; DELETE removes that", occupant);
  else if (rc == MAPH_NOTFOUND || !store_file_exists(name.data, name.size))
    reply_no_store(request, "there is no store of that name; POST makes one");
  else
    reply_maph(request, rc, NULL);
}

/* It never waits, or declines (http/loop.c). */
static bool is_quick(const route *to) {
  return to->handler == key_get || to->handler == health_show;
}

/* False: there is none, which was answered, or it is declined. */
static bool hold_store(request *request) {
  maph_slice name = segment_of(request, 0);
  int rc;
  if (request->quick) {
    handling_of(request)->store = store_at_once(name.data, name.size);
    request->declined = store_of(request) == NULL;
    return store_of(request) != NULL;
  }
  handling_of(request)->store =
      store_acquire(name.data, name.size, (request->method & (METHOD_GET | METHOD_HEAD)) != 0, &rc);
  if (store_of(request) == NULL) store_unavailable(request, rc);
  return store_of(request) != NULL;
}

static void run(request *request, const route *to) {
  static const maph_slice all = { "", 0 };
  bool named = is_of_store(to);
  if (request->quick && !is_quick(to)) {
    request->declined = true;
    return;
  }
  if (to->role != ROLE_NONE && !rate_allows(request)) return;
  if (!auth_allows(request, to->role, named ? segment_of(request, 0) : all)
      || !parse_query(request, to))
    return;
  if (to->needs_store && !hold_store(request)) return;
  to->handler(request);
  (request->quick ? store_release_at_once : store_release)(store_of(request));
  handling_of(request)->store = NULL;
}

static void dispatch(request *request) {
  int allowed = 0;
  const char *origin = request_header(request, "Origin"), *after = after_store(request->path);
  bool escaped = after && memchr(request->path, '%', (size_t)(after - request->path)) != NULL;
  if (origin && guard_origin_allowed(origin)) request->reply.origin = origin;
  for (int i = 0; i < ROUTES; i++) {
    enum match m;
    if (!may_match(&routes[i], after, escaped)) continue;
    m = match(request, routes[i].pattern, escaped ? NULL : after);
    if (m == NO) continue;
    request->route = routes[i].name;
    request->route_number = i;
    if (m == MALFORMED) {
      reply_problem(request, 400, "bad_path", "%% in a path is followed by two hex digits");
      return;
    }
    allowed |= routes[i].methods;
    if (routes[i].methods & request->method) {
      run(request, &routes[i]);
      return;
    }
  }
  if (allowed)
    answer_options(request, allowed);
  else if (strcmp(request->path, "*") == 0
           && request->method == METHOD_OPTIONS) /* of the whole server */
    answer_options(request, METHOD_GET | METHOD_HEAD | METHOD_PUT | METHOD_POST | METHOD_DELETE
                                | METHOD_PATCH);
  else
    reply_problem(request, 404, "no_such_path", "there is nothing at this path");
}

void routes_dispatch(request *request) {
  handling handling;
  handling.store = NULL;
  request->handling = &handling;
  dispatch(request);
  request->handling = NULL;
}
