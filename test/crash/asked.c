/*
** asked.c - what clients asked of a server and what it answered; is this store one that may follow
** from it?
**
** Each client has keys of its own, of which it knows what they hold, and all share some.  Every
** value begins with the number of the request that put it, so that the store's own history, its
** change feed, can be held against the requests:
**
**   - every transaction in it is one request, whole (a long import: some first part of its lines),
**     at the version that was answered;
**   - every request that was promised is in it: answered 2xx at full durability, or before a sync
**     that was answered; seen by a GET, which at full shows only what is on disk; after a mere kill
**     every 2xx;
**   - no request that was refused is in it;
**   - a request that was answered before another was sent comes before it, and each client's come
**     in its order;
**   - If-Match and If-None-Match held at their place in history;
**   - what the store holds is what that history leaves;
**   - no version that anybody was told is given out again.
**
** Stores made and removed through the server are on the disk, or gone from it, as answered.
*/
#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
  SHARED = CLIENTS_MAX,
  SHARED_KEYS = 24,
  OWN_MAX = 60,
  REQUESTS_MAX = 20000,
  TARGETS_MAX = 400000,
  VALUE_MOST = 24000,
  TRANSACTION_MAX = 1200,
  CONTENT_ROOM = 1 << 16,
  MANY_LINES = 1100,
  IMPORTERS = 4
};
enum what { PUT, DELETE, BATCH, IMPORT, GET, SYNC, MAKE, FILL, REMOVE };

typedef struct target {
  uint32_t owner, number, size;
  int deletes;
} target;
typedef struct request {
  enum what what;
  int client, durability, status, promised;
  uint32_t first, n; /* its targets */
  uint64_t sent_at, answered_at, version, if_version;
  int if_absent;
  uint32_t found; /* targets seen in the store being judged */
} request;

/* What a store holds: keys found by hashing, a digest of each value; version 0: nothing. */
typedef struct held {
  char key[40];
  uint64_t digest, version;
} held;
typedef struct content {
  held at[CONTENT_ROOM];
  uint64_t since;
} content;

/* A store that a client made. */
typedef struct extra {
  enum { NO_STORE, MAKING, MADE, FILLING, FILLED, REMOVING, REMOVED, STORE_UNSURE } state;
  uint32_t number;
} extra;

asked_counts asked;
static request requests[REQUESTS_MAX];
static target targets[TARGETS_MAX];
static uint32_t target_count, request_count, first_id, life;
static uint64_t moment, top_version, floor_version;
static int power, many, may_fail, mixed, default_durability;
static uint32_t current[CLIENTS_MAX];
static struct {
  enum { ABSENT, PRESENT, UNSURE } state;
  uint32_t id, index;
} own[CLIENTS_MAX][OWN_MAX];
static uint32_t own_count[CLIENTS_MAX];
static uint64_t shared_version[SHARED_KEYS];
static extra extras[CLIENTS_MAX];
static content base, replayed;

/* ------------------------------------------------------------------------------ keys and values */
static const char *key_of(const target *target) {
  static char name[40];
  if (target->owner == SHARED)
    snprintf(name, sizeof name, "shared/%u", target->number);
  else
    snprintf(name, sizeof name, "life%u/client%u/%u", life, target->owner, target->number);
  return name;
}

/* VALUE_MOST at most; begins with who put it. */
static const char *value_of(uint32_t id, uint32_t index, uint32_t size) {
  static char value[VALUE_MOST + 1];
  uint64_t bits = 0;
  size_t at = (size_t)snprintf(value, sizeof value, "r%u.%u:", id, index);
  for (; at < size; at++) {
    if (at % 8 == 0 || bits == 0) bits = mix(id, index + at * UINT64_C(0x100000001));
    value[at] = "abcdefghijklmnopqrstuvwxyz012345"[bits & 31];
    bits >>= 5;
  }
  value[size] = 0;
  return value;
}

static uint32_t some_size(void) {
  return 24 + below(below(8) ? 400 : below(6) ? 3000 : VALUE_MOST - 24);
}

static held *held_of(content *content, const char *key) {
  size_t i = (size_t)value_digest(maph_str(key)) & (CONTENT_ROOM - 1);
  while (content->at[i].key[0] && strcmp(content->at[i].key, key) != 0)
    i = (i + 1) & (CONTENT_ROOM - 1);
  snprintf(content->at[i].key, sizeof content->at[i].key, "%s", key);
  return &content->at[i];
}

/* Which request put this value, and is it all there?  The request, or NULL with a trouble told. */
static request *request_of(maph_slice key, maph_slice value, uint32_t *index) {
  char start[32];
  unsigned id, i;
  request *request;
  snprintf(start, sizeof start, "%.*s",
           (int)(value.size < sizeof start ? value.size : sizeof start - 1),
           (const char *)value.data);
  if (sscanf(start, "r%u.%u:", &id, &i) != 2 || id < first_id || id >= first_id + request_count
      || i >= requests[id - first_id].n) {
    trouble("%.*s holds what nobody put in this life: %s", (int)key.size, (const char *)key.data,
            start);
    return NULL;
  }
  request = &requests[id - first_id];
  *index = i;
  if (value.size == targets[request->first + i].size
      && memcmp(value.data, value_of(id, i, targets[request->first + i].size), value.size) == 0)
    return request;
  trouble("%.*s holds other bytes than request %u put", (int)key.size, (const char *)key.data, id);
  return NULL;
}

/* --------------------------------------------------------------------------------------- asking */
static target *add_target(request *request, uint32_t owner, uint32_t number, int deletes) {
  target *target = &targets[target_count++];
  must(target_count < TARGETS_MAX, "more targets than there is room for");
  target->owner = owner;
  target->number = number;
  target->deletes = deletes;
  target->size = deletes ? 0 : some_size();
  request->n++;
  return target;
}

/* A key of the client's that it knows the state of, perhaps a new one. */
static uint32_t own_key(int client) {
  uint32_t n = own_count[client], i, number;
  for (i = 0; i < 8; i++) {
    number = below(n < OWN_MAX ? n + 1 : OWN_MAX);
    if (number == n) own_count[client]++;
    if (own[client][number].state != UNSURE) return number;
  }
  return number;
}

static int has_target(const request *request, uint32_t owner, uint32_t number) {
  uint32_t i;
  for (i = 0; i < request->n; i++)
    if (targets[request->first + i].owner == owner && targets[request->first + i].number == number)
      return 1;
  return 0;
}

static void add_random_target(request *request, int client, int may_delete) {
  uint32_t owner = below(2) ? (uint32_t)client : SHARED,
           number = owner == SHARED ? below(SHARED_KEYS) : own_key(client);
  int deletes = may_delete && below(4) == 0;
  if (has_target(request, owner, number)
      || (owner != SHARED && own[client][number].state == UNSURE))
    return;
  if (deletes && owner != SHARED && own[client][number].state != PRESENT) deletes = 0;
  add_target(request, owner, number, deletes);
}

static const char *sync_query(const request *request) {
  static const char *const names[] = { "", "?sync=off", "?sync=normal", "?sync=full" };
  return request->durability == default_durability && request->durability == MAPH_SYNC_FULL
                 && below(2)
             ? ""
             : names[request->durability];
}

static void put_line(char **at, const request *request, uint32_t i, int with_op) {
  const target *target = &targets[request->first + i];
  if (target->deletes)
    *at += sprintf(*at, "{\"op\":\"delete\",\"key\":\"%s\"}", key_of(target));
  else
    *at += sprintf(*at, "{%s\"key\":\"%s\",\"value\":\"%s\"}", with_op ? "\"op\":\"put\"," : "",
                   key_of(target),
                   value_of(first_id + (uint32_t)(request - requests), i, target->size));
}

static size_t text_size(const request *request) {
  size_t size = 1000;
  uint32_t i;
  for (i = 0; i < request->n; i++) size += targets[request->first + i].size + 200;
  return size;
}

static void send_body(int client, request *request, const char *method, const char *path,
                      const char *headers, const char *body) {
  char head[600];
  snprintf(head, sizeof head,
           "%s /stores/%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: %zu\r\n\r\n", method,
           path, headers, strlen(body));
  request->sent_at = ++moment;
  current[client] = (uint32_t)(request - requests);
  client_send(client, head, body, strlen(body));
}

static void ask_put(int client, request *request) {
  uint32_t owner = below(5) < 3 ? (uint32_t)client : SHARED,
           number = owner == SHARED ? below(SHARED_KEYS) : own_key(client);
  target *target = add_target(request, owner, number, 0);
  char path[200], headers[100] = "";
  if (owner == SHARED && below(3) == 0)
    request->if_version = shared_version[number];
  else if (owner == SHARED && below(4) == 0)
    request->if_absent = 1;
  if (request->if_version)
    snprintf(headers, sizeof headers, "If-Match: \"%llu\"\r\n",
             (unsigned long long)request->if_version);
  if (request->if_absent) snprintf(headers, sizeof headers, "If-None-Match: *\r\n");
  snprintf(path, sizeof path, "s/keys/%s%s", key_of(target), sync_query(request));
  send_body(client, request, "PUT", path, headers,
            value_of(first_id + (uint32_t)(request - requests), 0, target->size));
}

static void ask_of_key(int client, request *request, const char *method, uint32_t owner,
                       uint32_t number, int deletes) {
  char path[200];
  snprintf(path, sizeof path, "s/keys/%s%s", key_of(add_target(request, owner, number, deletes)),
           deletes ? sync_query(request) : "");
  send_body(client, request, method, path, "", "");
}

/* At least one put; some gets between. */
static void ask_batch(int client, request *request) {
  int lines = (int)below(2), n = 2 + (int)below(8);
  char path[100], *body, *at;
  uint32_t i;
  add_random_target(request, client, 0);
  if (request->n == 0) add_target(request, SHARED, below(SHARED_KEYS), 0);
  while (n-- > 0) add_random_target(request, client, 1);
  body = at = malloc(text_size(request));
  must(body != NULL, "memory");
  if (!lines) *at++ = '[';
  for (i = 0; i < request->n; i++) {
    if (i > 0) *at++ = lines ? '\n' : ',';
    if (below(5) == 0)
      at += sprintf(at, "{\"op\":\"get\",\"key\":\"shared/1\"}%c", lines ? '\n' : ',');
    put_line(&at, request, i, 1);
  }
  strcpy(at, lines ? "\n" : "]");
  snprintf(path, sizeof path, "s/batch%s", sync_query(request));
  send_body(client, request, "POST", path, lines ? "Content-Type: application/x-ndjson\r\n" : "",
            body);
  free(body);
}

/* A long one goes into more than one transaction. */
static void ask_import(int client, request *request) {
  int n = many && client < IMPORTERS && below(20) == 0 ? MANY_LINES : 1 + (int)below(25), i;
  char path[100], *body, *at;
  for (i = 0; i < n && n < MANY_LINES; i++) add_random_target(request, client, 0);
  if (request->n == 0) add_target(request, SHARED, below(SHARED_KEYS), 0);
  for (i = 0; i < n && n == MANY_LINES; i++)
    add_target(request, (uint32_t)client, OWN_MAX + (uint32_t)i, 0)->size = 24 + below(40);
  body = at = malloc(text_size(request));
  must(body != NULL, "memory");
  for (i = 0; i < (int)request->n; i++) {
    put_line(&at, request, (uint32_t)i, 0);
    *at++ = '\n';
  }
  *at = 0;
  snprintf(path, sizeof path, "s/import%s", sync_query(request));
  send_body(client, request, "POST", path, "", body);
  free(body);
}

/* A store of the client's own: made, given a key, removed. */
static void ask_store(int client, request *request) {
  extra *extra = &extras[client];
  char path[100];
  if (extra->state == NO_STORE || extra->state == REMOVED) {
    extra->number++;
    extra->state = MAKING;
    request->what = MAKE;
    snprintf(path, sizeof path, "x%u-%d-%u", life, client, extra->number);
    send_body(client, request, "POST", path, "", "");
  } else if (extra->state == MADE) {
    extra->state = FILLING;
    request->what = FILL;
    snprintf(path, sizeof path, "x%u-%d-%u/keys/k?sync=full", life, client, extra->number);
    send_body(client, request, "PUT", path, "", "filled");
  } else {
    extra->state = extra->state == FILLED ? REMOVING : extra->state;
    request->what = extra->state == REMOVING ? REMOVE : SYNC;
    snprintf(path, sizeof path, extra->state == REMOVING ? "x%u-%d-%u" : "s/sync", life, client,
             extra->number);
    send_body(client, request, request->what == REMOVE ? "DELETE" : "POST", path, "", "");
  }
}

void ask(int i) {
  request *request = &requests[request_count++];
  uint32_t kind = below(100), number = own_key(i);
  memset(request, 0, sizeof *request);
  must(request_count < REQUESTS_MAX, "more requests than there is room for");
  request->client = i;
  request->first = target_count;
  request->durability = mixed && below(3) == 0 ? MAPH_SYNC_OFF + (int)below(2) : MAPH_SYNC_FULL;
  request->what = kind < 45   ? PUT
                  : kind < 57 ? DELETE
                  : kind < 71 ? BATCH
                  : kind < 76 ? IMPORT
                  : kind < 94 ? GET
                              : SYNC;
  if (own[i][number].state == UNSURE && (request->what == DELETE || request->what == GET))
    request->what = SYNC;
  switch (request->what) {
    case PUT: ask_put(i, request); break;
    case DELETE: ask_of_key(i, request, "DELETE", (uint32_t)i, number, 1); break;
    case GET:
      if (below(2))
        ask_of_key(i, request, "GET", (uint32_t)i, number, 0);
      else
        ask_of_key(i, request, "GET", SHARED, below(SHARED_KEYS), 0);
      break;
    case BATCH: ask_batch(i, request); break;
    case IMPORT: ask_import(i, request); break;
    default:
      if (many && below(2))
        ask_store(i, request);
      else
        send_body(i, request, "POST", "s/sync", "", "");
  }
}

long asked_number(void) { return request_count; }
void asked_may_fail(void) { may_fail = 1; }

/* -------------------------------------------------------------------------------------- answers */
static int is_write(const request *request) {
  return request->what == PUT || request->what == DELETE || request->what == BATCH
         || request->what == IMPORT;
}
static int succeeded(const request *request) {
  return request->status >= 200 && request->status < 300;
}

static void promise(request *request) {
  if (request->promised || !is_write(request)) return;
  request->promised = 1;
  asked.durable++;
}

static void note_version(uint64_t version) {
  if (version > top_version) top_version = version;
}

/* What the client now knows of its own keys. */
static void note_own(request *request) {
  uint32_t i;
  for (i = 0; i < request->n; i++) {
    const target *target = &targets[request->first + i];
    if (target->owner == SHARED) {
      if (succeeded(request) && !target->deletes)
        shared_version[target->number] =
            request->version ? request->version : shared_version[target->number];
      continue;
    }
    if (target->number >= OWN_MAX) continue;
    own[target->owner][target->number].id = first_id + (uint32_t)(request - requests);
    own[target->owner][target->number].index = i;
    if (request->status >= 500)
      own[target->owner][target->number].state = UNSURE;
    else if (succeeded(request))
      own[target->owner][target->number].state = target->deletes ? ABSENT : PRESENT;
  }
}

/* What a GET shows at a key that several write: bytes that were put, at the version answered. */
static void seen(const target *target, const answer *answer) {
  held *held = held_of(&base, key_of(target));
  maph_slice value = maph_bytes(answer->body, answer->body_size);
  uint32_t index;
  request *put;
  if (held->version == answer->version) {
    if (held->digest != value_digest(value))
      trouble("ETag %llu of %s has come to another value", (unsigned long long)answer->version,
              key_of(target));
    return;
  }
  put = request_of(maph_str(key_of(target)), value, &index);
  if (put == NULL) return;
  if (answer->version <= floor_version)
    trouble("a GET shows version %llu of this life, and %llu was given out before it",
            (unsigned long long)answer->version, (unsigned long long)floor_version);
  if (put->status >= 400 && put->status < 500)
    trouble("a GET shows what was refused with %d", put->status);
  if (succeeded(put) && put->version && put->version != answer->version) {
    trouble("a GET shows version %llu of what was answered to be %llu",
            (unsigned long long)answer->version, (unsigned long long)put->version);
  }
  note_version(answer->version);
  if (target->owner == SHARED) shared_version[target->number] = answer->version;
  if ((put->durability == MAPH_SYNC_FULL || !power) && put->n < MANY_LINES && !may_fail)
    promise(put);
}

static void got(const request *request, const answer *answer) {
  const target *target = &targets[request->first];
  int present = target->owner == SHARED || own[target->owner][target->number].state == PRESENT;
  uint32_t index;
  struct request *put;
  if (target->owner == SHARED) {
    if (answer->status == 200) seen(target, answer);
    return;
  }
  if ((answer->status == 200) != present)
    trouble("GET of %s: %d, and the client itself had %s it", key_of(target), answer->status,
            present ? "put" : "removed");
  else if (present
           && (put = request_of(maph_str(key_of(target)),
                                maph_bytes(answer->body, answer->body_size), &index))
                  != NULL
           && first_id + (uint32_t)(put - requests) != own[target->owner][target->number].id) {
    trouble("GET of %s shows what request %u put, and the client has put it again since",
            key_of(target), first_id + (uint32_t)(put - requests));
  }
}

/* Was this status to be expected? */
static int status_fits(const request *request, const answer *answer) {
  const target *target = &targets[request->first];
  switch (request->what) {
    case PUT:
      return answer->status == 200 || answer->status == 201
             || (answer->status == 412 && (request->if_version || request->if_absent));
    case DELETE:
      return answer->status == (own[target->owner][target->number].state == PRESENT ? 204 : 404);
    case GET: return answer->status == 200 || answer->status == 404;
    case IMPORT:
      return answer->status == 200 && strstr(answer->body, "\"success\":true")
             && strstr(answer->body, "\"failed\":0");
    case BATCH:
    case SYNC: return answer->status == 200;
    case MAKE:
    case FILL: return answer->status == 201;
    default: return answer->status == 204;
  }
}

static void sync_answered(const request *sync) {
  uint32_t i;
  for (i = 0; i < request_count; i++) {
    request *request = &requests[i];
    if (request->answered_at && request->answered_at < sync->sent_at && succeeded(request))
      promise(request);
  }
}

static void store_answered(request *request) {
  extra *extra = &extras[request->client];
  if (!succeeded(request))
    extra->state = STORE_UNSURE;
  else
    extra->state = request->what == MAKE ? MADE : request->what == FILL ? FILLED : REMOVED;
}

void asked_answered(int i, const answer *answer) {
  request *request = &requests[current[i]];
  request->answered_at = ++moment;
  request->status = answer->status;
  asked.answered++;
  /* Too many writers wait for the store: nothing was done, and nothing promised. */
  if (answer->status >= 500
      && (may_fail || (answer->status == 503 && strstr(answer->body, "\"busy\"")))) {
    note_own(request);
    if (request->what >= MAKE) store_answered(request);
    return;
  }
  if (!status_fits(request, answer)) {
    trouble("request %u of kind %d is answered %d: %.300s", first_id + current[i],
            (int)request->what, answer->status, answer->body);
    return;
  }
  if (request->what == GET) {
    got(request, answer);
    return;
  }
  if (request->what >= MAKE) {
    store_answered(request);
    return;
  }
  if (request->what == SYNC) {
    sync_answered(request);
    return;
  }
  if (succeeded(request) && (request->what == PUT || request->what == BATCH)) {
    request->version = answer->version;
    if (answer->version <= floor_version)
      trouble("version %llu is given out, and %llu was before", (unsigned long long)answer->version,
              (unsigned long long)floor_version);
    note_version(answer->version);
  }
  note_own(request);
  if (succeeded(request) && (request->durability == MAPH_SYNC_FULL || !power)) promise(request);
}

/* -------------------------------------------------------------------------------------- judging */
typedef struct change {
  char key[40];
  int deleted;
  request *r;
  uint32_t index;
  uint64_t digest;
} change;
static change changes[TRANSACTION_MAX];
static int change_count;
static uint64_t judged_version, latest_sent;
static int64_t last_found[CLIENTS_MAX];

/* A delete alone does not say whose it is: the first of its client that may be there and was not
** met yet. */
static request *request_that_deletes(const char *key) {
  unsigned of_life, client, number;
  uint32_t i;
  if (sscanf(key, "life%u/client%u/%u", &of_life, &client, &number) != 3 || of_life != life
      || client >= CLIENTS_MAX)
    return NULL;
  for (i = (uint32_t)(last_found[client] + 1); i < request_count; i++) {
    const request *request = &requests[i];
    if (request->client == (int)client && request->what == DELETE
        && targets[request->first].number == number
        && (request->status == 204 || request->status == 0 || request->status >= 500))
      return &requests[i];
  }
  return NULL;
}

/* Do the transaction's changes begin with this target?  A shared key that was not there is not
** deleted. */
static int target_met(const request *request, uint32_t i, int *at) {
  const target *target = &targets[request->first + i];
  const change *change = &changes[*at];
  if (target->deletes && target->owner == SHARED
      && held_of(&replayed, key_of(target))->version == 0)
    return 1;
  if (*at >= change_count || change->deleted != target->deletes
      || strcmp(change->key, key_of(target)) != 0
      || (!change->deleted && (change->r != request || change->index != i)))
    return 0;
  ++*at;
  return 1;
}

/* Is it all of what was asked; of an import's many lines, the next ones? */
static int is_whole(request *request) {
  int at = 0;
  while (request->found < request->n && target_met(request, request->found, &at)) request->found++;
  return at == change_count && (request->found == request->n || request->n >= MANY_LINES);
}

static void judge_place(const request *request, uint64_t version) {
  uint32_t id = first_id + (uint32_t)(request - requests);
  const held *before = held_of(&replayed, changes[0].key);
  if (request->status >= 400 && request->status < 500)
    trouble("request %u was refused with %d, and is there", id, request->status);
  if (succeeded(request) && request->version && request->version != version)
    trouble("request %u was answered version %llu, and is there as %llu", id,
            (unsigned long long)request->version, (unsigned long long)version);
  if (request->if_version && before->version != request->if_version)
    trouble("request %u, If-Match %llu, came over version %llu", id,
            (unsigned long long)request->if_version, (unsigned long long)before->version);
  if (request->if_absent && before->version)
    trouble("request %u, If-None-Match: *, came over version %llu", id,
            (unsigned long long)before->version);
  if (version <= floor_version)
    trouble("request %u is there as version %llu, and %llu was given out before it", id,
            (unsigned long long)version, (unsigned long long)floor_version);
  if (request->answered_at && request->answered_at < latest_sent)
    trouble("request %u was answered before another was sent, and comes after it", id);
  if (request - requests < last_found[request->client])
    trouble("request %u comes after a later one of the same client", id);
  last_found[request->client] = request - requests;
  if (request->sent_at > latest_sent) latest_sent = request->sent_at;
}

static void judge_transaction(uint64_t version) {
  request *request = NULL;
  int i;
  asked.transactions++;
  if (version <= judged_version)
    trouble("version %llu comes after %llu", (unsigned long long)version,
            (unsigned long long)judged_version);
  judged_version = version;
  for (i = 0; i < change_count && request == NULL; i++) request = changes[i].r;
  if (request == NULL && change_count == 1) request = request_that_deletes(changes[0].key);
  if (request == NULL)
    trouble("a transaction of %d changes, first %s, that nobody asked for", change_count,
            changes[0].key);
  else {
    judge_place(request, version);
    if (!is_whole(request))
      trouble("request %u of kind %d is there in part: %d changes, %u of its %u",
              first_id + (uint32_t)(request - requests), (int)request->what, change_count,
              request->found, request->n);
  }
  for (i = 0; i < change_count; i++) {
    held *held = held_of(&replayed, changes[i].key);
    held->version = changes[i].deleted ? 0 : version;
    held->digest = changes[i].digest;
  }
  change_count = 0;
}

static void take_change(const maph_change *change) {
  struct change *to = &changes[change_count++];
  must(change_count < TRANSACTION_MAX, "a transaction larger than any that was asked for");
  snprintf(to->key, sizeof to->key, "%.*s", (int)change->entry.key.size,
           (const char *)change->entry.key.data);
  to->deleted = change->deleted;
  to->r = change->deleted ? NULL : request_of(change->entry.key, change->entry.value, &to->index);
  to->digest = change->deleted ? 0 : value_digest(change->entry.value);
}

static void judge_history(maph *m) {
  maph_changes *feed;
  maph_change change;
  int rc = maph_changes_open(m, replayed.since, &feed), before = troubles;
  if (rc != MAPH_OK) {
    trouble("there is no feed since version %llu: %s", (unsigned long long)replayed.since,
            maph_errmsg(m));
    return;
  }
  while (troubles == before && (rc = maph_changes_next(feed, 0, &change)) == MAPH_OK) {
    take_change(&change);
    if (change.last && troubles == before) judge_transaction(change.entry.version);
  }
  if (rc != MAPH_NOTFOUND && troubles == before) trouble("the feed breaks off: %s", maph_errmsg(m));
  maph_changes_close(feed);
}

static void judge_content(maph *m) {
  maph_cursor *cursor;
  maph_entry entry;
  long n = 0, i;
  must(maph_cursor_open(m, NULL, maph_str(""), &cursor) == MAPH_OK, "a cursor");
  while (maph_cursor_next(cursor, &entry) == MAPH_OK) {
    char key[40];
    const held *held;
    snprintf(key, sizeof key, "%.*s", (int)entry.key.size, (const char *)entry.key.data);
    held = held_of(&replayed, key);
    if (held->version != entry.version || held->digest != value_digest(entry.value)) {
      trouble("%s is not as the history leaves it", key);
      break;
    }
    n++;
  }
  maph_cursor_close(cursor);
  for (i = 0; i < CONTENT_ROOM; i++) n -= replayed.at[i].version != 0;
  if (n != 0) trouble("there are %ld keys more than the history leaves", n);
}

static void judge_promises(void) {
  uint32_t i;
  for (i = 0; i < request_count; i++) {
    const request *request = &requests[i];
    if (!is_write(request)) continue;
    if (request->promised && request->found < request->n) {
      trouble("request %u of kind %d (status %d, version %llu) was promised, and %u of its %u "
              "changes are there",
              first_id + i, (int)request->what, request->status,
              (unsigned long long)request->version, request->found, request->n);
      return;
    }
    asked.lost += succeeded(request) && request->found < request->n;
    asked.unpromised += request->status == 0 && request->found > 0;
  }
}

static void judge_versions(maph *m, int was_clean) {
  maph_txn *txn;
  uint64_t version;
  if (maph_txn_begin(m, MAPH_SYNC_OFF, &txn) != MAPH_OK) {
    trouble("a transaction cannot begin: %s", maph_errmsg(m));
    return;
  }
  version = maph_txn_version(txn);
  maph_txn_abort(txn);
  if (version <= top_version)
    trouble("version %llu is given out, and somebody saw %llu", (unsigned long long)version,
            (unsigned long long)top_version);
  if (power && !was_clean && version >> 32 <= top_version >> 32)
    trouble("after recovery versions go on at %llu, not at the next multiple of 2^32",
            (unsigned long long)version);
}

static int tell_problem(void *arg, uint64_t offset, const char *sentence) {
  (void)arg;
  trouble("maph_check, offset %llu: %s", (unsigned long long)offset, sentence);
  return 1;
}

void asked_judge(const char *file, int was_clean, int kept) {
  int before = troubles, i;
  uint32_t k;
  maph *m;
  if (maph_open(file, MAPH_RDWR, NULL, &m) != MAPH_OK) {
    trouble("it cannot be opened: %s", maph_errmsg(NULL));
    return;
  }
  replayed = base;
  judged_version = replayed.since;
  latest_sent = 0;
  change_count = 0;
  for (i = 0; i < CLIENTS_MAX; i++) last_found[i] = -1;
  for (k = 0; k < request_count; k++) requests[k].found = 0;
  judge_versions(m, was_clean);
  maph_check(m, tell_problem, NULL);
  if (troubles == before) judge_history(m);
  if (troubles == before) judge_content(m);
  if (troubles == before) judge_promises();
  if (maph_close(m) != MAPH_OK) trouble("it cannot be closed: %s", maph_errmsg(NULL));
  replayed.since = judged_version;
  if (!kept) return;
  note_version(judged_version);
  base = replayed;
}

/* mend: what makes a store usable whose disk failed; NULL: it did not. */
static void judge_store(const extra *extra, const char *path, int (*mend)(const char *file)) {
  maph_slice value;
  maph *m = NULL;
  int rc = mend ? mend(path) : MAPH_OK;
  if (rc == MAPH_OK) rc = maph_open(path, MAPH_RDWR, NULL, &m);
  /* its deleter was killed between the mark and the removal, and this opening has ended that */
  if (rc == MAPH_NOTFOUND || rc == MAPH_CANTOPEN)
    if ((extra->state == REMOVING || extra->state == STORE_UNSURE) && access(path, F_OK) != 0)
      return;
  if (rc != MAPH_OK)
    trouble("%s cannot be opened: %s", path, maph_errmsg(NULL));
  else if (extra->state == FILLED
           && (maph_get(m, maph_str("k"), &value) != MAPH_OK || value.size != 6))
    trouble("%s lacks the key that was answered", path);
  maph_close(m);
  maph_destroy(path, 0);
}

void asked_judge_stores(const char *data, int (*mend)(const char *file)) {
  int i;
  for (i = 0; i < CLIENTS_MAX; i++) {
    const extra *extra = &extras[i];
    char path[600];
    if (extra->state == NO_STORE) continue;
    snprintf(path, sizeof path, "%s/x%u-%d-%u.maph", data, life, i, extra->number);
    if (access(path, F_OK) == 0) {
      if (extra->state == REMOVED) trouble("%s was removed, and is there", path);
      judge_store(extra, path, mend);
    } else if (extra->state == MADE || extra->state == FILLING || extra->state == FILLED) {
      trouble("%s was made, and is not there", path);
    }
  }
}

/* ---------------------------------------------------------------------------------------- lives */
void asked_anew(uint64_t since) {
  memset(&base, 0, sizeof base);
  base.since = since;
  top_version = since;
}

const char *asked_begin(int with_power, int with_many) {
  power = with_power;
  many = with_many;
  may_fail = 0;
  mixed = (int)below(2);
  default_durability = below(3) ? MAPH_SYNC_FULL : MAPH_SYNC_NORMAL;
  floor_version = top_version;
  first_id += request_count;
  request_count = target_count = 0;
  life++;
  memset(own, 0, sizeof own);
  memset(own_count, 0, sizeof own_count);
  memset(extras, 0, sizeof extras);
  return default_durability == MAPH_SYNC_FULL ? "full" : "normal";
}
