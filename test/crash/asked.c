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
static const char *key_of(const target *t) {
  static char name[40];
  if (t->owner == SHARED)
    snprintf(name, sizeof name, "shared/%u", t->number);
  else
    snprintf(name, sizeof name, "life%u/client%u/%u", life, t->owner, t->number);
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

static held *held_of(content *c, const char *key) {
  size_t i = (size_t)value_digest(maph_str(key)) & (CONTENT_ROOM - 1);
  while (c->at[i].key[0] && strcmp(c->at[i].key, key) != 0) i = (i + 1) & (CONTENT_ROOM - 1);
  snprintf(c->at[i].key, sizeof c->at[i].key, "%s", key);
  return &c->at[i];
}

/* Which request put this value, and is it all there?  The request, or NULL with a trouble told. */
static request *request_of(maph_slice key, maph_slice value, uint32_t *index) {
  char start[32];
  unsigned id, i;
  request *r;
  snprintf(start, sizeof start, "%.*s",
           (int)(value.size < sizeof start ? value.size : sizeof start - 1),
           (const char *)value.data);
  if (sscanf(start, "r%u.%u:", &id, &i) != 2 || id < first_id || id >= first_id + request_count
      || i >= requests[id - first_id].n) {
    trouble("%.*s holds what nobody put in this life: %s", (int)key.size, (const char *)key.data,
            start);
    return NULL;
  }
  r = &requests[id - first_id];
  *index = i;
  if (value.size == targets[r->first + i].size
      && memcmp(value.data, value_of(id, i, targets[r->first + i].size), value.size) == 0)
    return r;
  trouble("%.*s holds other bytes than request %u put", (int)key.size, (const char *)key.data, id);
  return NULL;
}

/* --------------------------------------------------------------------------------------- asking */
static target *add_target(request *r, uint32_t owner, uint32_t number, int deletes) {
  target *t = &targets[target_count++];
  must(target_count < TARGETS_MAX, "more targets than there is room for");
  t->owner = owner;
  t->number = number;
  t->deletes = deletes;
  t->size = deletes ? 0 : some_size();
  r->n++;
  return t;
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

static int has_target(const request *r, uint32_t owner, uint32_t number) {
  uint32_t i;
  for (i = 0; i < r->n; i++)
    if (targets[r->first + i].owner == owner && targets[r->first + i].number == number) return 1;
  return 0;
}

static void add_random_target(request *r, int client, int may_delete) {
  uint32_t owner = below(2) ? (uint32_t)client : SHARED,
           number = owner == SHARED ? below(SHARED_KEYS) : own_key(client);
  int deletes = may_delete && below(4) == 0;
  if (has_target(r, owner, number) || (owner != SHARED && own[client][number].state == UNSURE))
    return;
  if (deletes && owner != SHARED && own[client][number].state != PRESENT) deletes = 0;
  add_target(r, owner, number, deletes);
}

static const char *sync_query(const request *r) {
  static const char *const names[] = { "", "?sync=off", "?sync=normal", "?sync=full" };
  return r->durability == default_durability && r->durability == MAPH_SYNC_FULL && below(2)
             ? ""
             : names[r->durability];
}

static void put_line(char **at, const request *r, uint32_t i, int with_op) {
  const target *t = &targets[r->first + i];
  if (t->deletes)
    *at += sprintf(*at, "{\"op\":\"delete\",\"key\":\"%s\"}", key_of(t));
  else
    *at += sprintf(*at, "{%s\"key\":\"%s\",\"value\":\"%s\"}", with_op ? "\"op\":\"put\"," : "",
                   key_of(t), value_of(first_id + (uint32_t)(r - requests), i, t->size));
}

static size_t text_size(const request *r) {
  size_t size = 1000;
  uint32_t i;
  for (i = 0; i < r->n; i++) size += targets[r->first + i].size + 200;
  return size;
}

static void send_body(int client, request *r, const char *method, const char *path,
                      const char *headers, const char *body) {
  char head[600];
  snprintf(head, sizeof head,
           "%s /stores/%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: %zu\r\n\r\n", method,
           path, headers, strlen(body));
  r->sent_at = ++moment;
  current[client] = (uint32_t)(r - requests);
  client_send(client, head, body, strlen(body));
}

static void ask_put(int client, request *r) {
  uint32_t owner = below(5) < 3 ? (uint32_t)client : SHARED,
           number = owner == SHARED ? below(SHARED_KEYS) : own_key(client);
  target *t = add_target(r, owner, number, 0);
  char path[200], headers[100] = "";
  if (owner == SHARED && below(3) == 0)
    r->if_version = shared_version[number];
  else if (owner == SHARED && below(4) == 0)
    r->if_absent = 1;
  if (r->if_version)
    snprintf(headers, sizeof headers, "If-Match: \"%llu\"\r\n", (unsigned long long)r->if_version);
  if (r->if_absent) snprintf(headers, sizeof headers, "If-None-Match: *\r\n");
  snprintf(path, sizeof path, "s/keys/%s%s", key_of(t), sync_query(r));
  send_body(client, r, "PUT", path, headers,
            value_of(first_id + (uint32_t)(r - requests), 0, t->size));
}

static void ask_of_key(int client, request *r, const char *method, uint32_t owner, uint32_t number,
                       int deletes) {
  char path[200];
  snprintf(path, sizeof path, "s/keys/%s%s", key_of(add_target(r, owner, number, deletes)),
           deletes ? sync_query(r) : "");
  send_body(client, r, method, path, "", "");
}

/* At least one put; some gets between. */
static void ask_batch(int client, request *r) {
  int lines = (int)below(2), n = 2 + (int)below(8);
  char path[100], *body, *at;
  uint32_t i;
  add_random_target(r, client, 0);
  if (r->n == 0) add_target(r, SHARED, below(SHARED_KEYS), 0);
  while (n-- > 0) add_random_target(r, client, 1);
  body = at = malloc(text_size(r));
  must(body != NULL, "memory");
  if (!lines) *at++ = '[';
  for (i = 0; i < r->n; i++) {
    if (i > 0) *at++ = lines ? '\n' : ',';
    if (below(5) == 0)
      at += sprintf(at, "{\"op\":\"get\",\"key\":\"shared/1\"}%c", lines ? '\n' : ',');
    put_line(&at, r, i, 1);
  }
  strcpy(at, lines ? "\n" : "]");
  snprintf(path, sizeof path, "s/batch%s", sync_query(r));
  send_body(client, r, "POST", path, lines ? "Content-Type: application/x-ndjson\r\n" : "", body);
  free(body);
}

/* A long one goes into more than one transaction. */
static void ask_import(int client, request *r) {
  int n = many && client < IMPORTERS && below(20) == 0 ? MANY_LINES : 1 + (int)below(25), i;
  char path[100], *body, *at;
  for (i = 0; i < n && n < MANY_LINES; i++) add_random_target(r, client, 0);
  if (r->n == 0) add_target(r, SHARED, below(SHARED_KEYS), 0);
  for (i = 0; i < n && n == MANY_LINES; i++)
    add_target(r, (uint32_t)client, OWN_MAX + (uint32_t)i, 0)->size = 24 + below(40);
  body = at = malloc(text_size(r));
  must(body != NULL, "memory");
  for (i = 0; i < (int)r->n; i++) {
    put_line(&at, r, (uint32_t)i, 0);
    *at++ = '\n';
  }
  *at = 0;
  snprintf(path, sizeof path, "s/import%s", sync_query(r));
  send_body(client, r, "POST", path, "", body);
  free(body);
}

/* A store of the client's own: made, given a key, removed. */
static void ask_store(int client, request *r) {
  extra *x = &extras[client];
  char path[100];
  if (x->state == NO_STORE || x->state == REMOVED) {
    x->number++;
    x->state = MAKING;
    r->what = MAKE;
    snprintf(path, sizeof path, "x%u-%d-%u", life, client, x->number);
    send_body(client, r, "POST", path, "", "");
  } else if (x->state == MADE) {
    x->state = FILLING;
    r->what = FILL;
    snprintf(path, sizeof path, "x%u-%d-%u/keys/k?sync=full", life, client, x->number);
    send_body(client, r, "PUT", path, "", "filled");
  } else {
    x->state = x->state == FILLED ? REMOVING : x->state;
    r->what = x->state == REMOVING ? REMOVE : SYNC;
    snprintf(path, sizeof path, x->state == REMOVING ? "x%u-%d-%u" : "s/sync", life, client,
             x->number);
    send_body(client, r, r->what == REMOVE ? "DELETE" : "POST", path, "", "");
  }
}

void ask(int i) {
  request *r = &requests[request_count++];
  uint32_t kind = below(100), number = own_key(i);
  memset(r, 0, sizeof *r);
  must(request_count < REQUESTS_MAX, "more requests than there is room for");
  r->client = i;
  r->first = target_count;
  r->durability = mixed && below(3) == 0 ? MAPH_SYNC_OFF + (int)below(2) : MAPH_SYNC_FULL;
  r->what = kind < 45   ? PUT
            : kind < 57 ? DELETE
            : kind < 71 ? BATCH
            : kind < 76 ? IMPORT
            : kind < 94 ? GET
                        : SYNC;
  if (own[i][number].state == UNSURE && (r->what == DELETE || r->what == GET)) r->what = SYNC;
  switch (r->what) {
    case PUT: ask_put(i, r); break;
    case DELETE: ask_of_key(i, r, "DELETE", (uint32_t)i, number, 1); break;
    case GET:
      if (below(2))
        ask_of_key(i, r, "GET", (uint32_t)i, number, 0);
      else
        ask_of_key(i, r, "GET", SHARED, below(SHARED_KEYS), 0);
      break;
    case BATCH: ask_batch(i, r); break;
    case IMPORT: ask_import(i, r); break;
    default:
      if (many && below(2))
        ask_store(i, r);
      else
        send_body(i, r, "POST", "s/sync", "", "");
  }
}

long asked_number(void) { return request_count; }
void asked_may_fail(void) { may_fail = 1; }

/* -------------------------------------------------------------------------------------- answers */
static int is_write(const request *r) {
  return r->what == PUT || r->what == DELETE || r->what == BATCH || r->what == IMPORT;
}
static int succeeded(const request *r) { return r->status >= 200 && r->status < 300; }

static void promise(request *r) {
  if (r->promised || !is_write(r)) return;
  r->promised = 1;
  asked.durable++;
}

static void note_version(uint64_t version) {
  if (version > top_version) top_version = version;
}

/* What the client now knows of its own keys. */
static void note_own(request *r) {
  uint32_t i;
  for (i = 0; i < r->n; i++) {
    const target *t = &targets[r->first + i];
    if (t->owner == SHARED) {
      if (succeeded(r) && !t->deletes)
        shared_version[t->number] = r->version ? r->version : shared_version[t->number];
      continue;
    }
    if (t->number >= OWN_MAX) continue;
    own[t->owner][t->number].id = first_id + (uint32_t)(r - requests);
    own[t->owner][t->number].index = i;
    if (r->status >= 500)
      own[t->owner][t->number].state = UNSURE;
    else if (succeeded(r))
      own[t->owner][t->number].state = t->deletes ? ABSENT : PRESENT;
  }
}

/* What a GET shows at a key that several write: bytes that were put, at the version answered. */
static void seen(const target *t, const answer *a) {
  held *h = held_of(&base, key_of(t));
  maph_slice value = maph_bytes(a->body, a->body_size);
  uint32_t index;
  request *put;
  if (h->version == a->version) {
    if (h->digest != value_digest(value))
      trouble("ETag %llu of %s has come to another value", (unsigned long long)a->version,
              key_of(t));
    return;
  }
  put = request_of(maph_str(key_of(t)), value, &index);
  if (put == NULL) return;
  if (a->version <= floor_version)
    trouble("a GET shows version %llu of this life, and %llu was given out before it",
            (unsigned long long)a->version, (unsigned long long)floor_version);
  if (put->status >= 400 && put->status < 500)
    trouble("a GET shows what was refused with %d", put->status);
  if (succeeded(put) && put->version && put->version != a->version) {
    trouble("a GET shows version %llu of what was answered to be %llu",
            (unsigned long long)a->version, (unsigned long long)put->version);
  }
  note_version(a->version);
  if (t->owner == SHARED) shared_version[t->number] = a->version;
  if ((put->durability == MAPH_SYNC_FULL || !power) && put->n < MANY_LINES && !may_fail)
    promise(put);
}

static void got(const request *r, const answer *a) {
  const target *t = &targets[r->first];
  int present = t->owner == SHARED || own[t->owner][t->number].state == PRESENT;
  uint32_t index;
  request *put;
  if (t->owner == SHARED) {
    if (a->status == 200) seen(t, a);
    return;
  }
  if ((a->status == 200) != present)
    trouble("GET of %s: %d, and the client itself had %s it", key_of(t), a->status,
            present ? "put" : "removed");
  else if (present
           && (put = request_of(maph_str(key_of(t)), maph_bytes(a->body, a->body_size), &index))
                  != NULL
           && first_id + (uint32_t)(put - requests) != own[t->owner][t->number].id) {
    trouble("GET of %s shows what request %u put, and the client has put it again since", key_of(t),
            first_id + (uint32_t)(put - requests));
  }
}

/* Was this status to be expected? */
static int status_fits(const request *r, const answer *a) {
  const target *t = &targets[r->first];
  switch (r->what) {
    case PUT:
      return a->status == 200 || a->status == 201
             || (a->status == 412 && (r->if_version || r->if_absent));
    case DELETE: return a->status == (own[t->owner][t->number].state == PRESENT ? 204 : 404);
    case GET: return a->status == 200 || a->status == 404;
    case IMPORT:
      return a->status == 200 && strstr(a->body, "\"success\":true")
             && strstr(a->body, "\"failed\":0");
    case BATCH:
    case SYNC: return a->status == 200;
    case MAKE:
    case FILL: return a->status == 201;
    default: return a->status == 204;
  }
}

static void sync_answered(const request *sync) {
  uint32_t i;
  for (i = 0; i < request_count; i++) {
    request *r = &requests[i];
    if (r->answered_at && r->answered_at < sync->sent_at && succeeded(r)) promise(r);
  }
}

static void store_answered(request *r) {
  extra *x = &extras[r->client];
  if (!succeeded(r))
    x->state = STORE_UNSURE;
  else
    x->state = r->what == MAKE ? MADE : r->what == FILL ? FILLED : REMOVED;
}

void asked_answered(int i, const answer *a) {
  request *r = &requests[current[i]];
  r->answered_at = ++moment;
  r->status = a->status;
  asked.answered++;
  /* Too many writers wait for the store: nothing was done, and nothing promised. */
  if (a->status >= 500 && (may_fail || (a->status == 503 && strstr(a->body, "\"busy\"")))) {
    note_own(r);
    if (r->what >= MAKE) store_answered(r);
    return;
  }
  if (!status_fits(r, a)) {
    trouble("request %u of kind %d is answered %d: %.300s", first_id + current[i], (int)r->what,
            a->status, a->body);
    return;
  }
  if (r->what == GET) {
    got(r, a);
    return;
  }
  if (r->what >= MAKE) {
    store_answered(r);
    return;
  }
  if (r->what == SYNC) {
    sync_answered(r);
    return;
  }
  if (succeeded(r) && (r->what == PUT || r->what == BATCH)) {
    r->version = a->version;
    if (a->version <= floor_version)
      trouble("version %llu is given out, and %llu was before", (unsigned long long)a->version,
              (unsigned long long)floor_version);
    note_version(a->version);
  }
  note_own(r);
  if (succeeded(r) && (r->durability == MAPH_SYNC_FULL || !power)) promise(r);
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
    const request *r = &requests[i];
    if (r->client == (int)client && r->what == DELETE && targets[r->first].number == number
        && (r->status == 204 || r->status == 0 || r->status >= 500))
      return &requests[i];
  }
  return NULL;
}

/* Do the transaction's changes begin with this target?  A shared key that was not there is not
** deleted. */
static int target_met(const request *r, uint32_t i, int *at) {
  const target *t = &targets[r->first + i];
  const change *c = &changes[*at];
  if (t->deletes && t->owner == SHARED && held_of(&replayed, key_of(t))->version == 0) return 1;
  if (*at >= change_count || c->deleted != t->deletes || strcmp(c->key, key_of(t)) != 0
      || (!c->deleted && (c->r != r || c->index != i)))
    return 0;
  ++*at;
  return 1;
}

/* Is it all of what was asked; of an import's many lines, the next ones? */
static int is_whole(request *r) {
  int at = 0;
  while (r->found < r->n && target_met(r, r->found, &at)) r->found++;
  return at == change_count && (r->found == r->n || r->n >= MANY_LINES);
}

static void judge_place(const request *r, uint64_t version) {
  uint32_t id = first_id + (uint32_t)(r - requests);
  const held *before = held_of(&replayed, changes[0].key);
  if (r->status >= 400 && r->status < 500)
    trouble("request %u was refused with %d, and is there", id, r->status);
  if (succeeded(r) && r->version && r->version != version)
    trouble("request %u was answered version %llu, and is there as %llu", id,
            (unsigned long long)r->version, (unsigned long long)version);
  if (r->if_version && before->version != r->if_version)
    trouble("request %u, If-Match %llu, came over version %llu", id,
            (unsigned long long)r->if_version, (unsigned long long)before->version);
  if (r->if_absent && before->version)
    trouble("request %u, If-None-Match: *, came over version %llu", id,
            (unsigned long long)before->version);
  if (version <= floor_version)
    trouble("request %u is there as version %llu, and %llu was given out before it", id,
            (unsigned long long)version, (unsigned long long)floor_version);
  if (r->answered_at && r->answered_at < latest_sent)
    trouble("request %u was answered before another was sent, and comes after it", id);
  if (r - requests < last_found[r->client])
    trouble("request %u comes after a later one of the same client", id);
  last_found[r->client] = r - requests;
  if (r->sent_at > latest_sent) latest_sent = r->sent_at;
}

static void judge_transaction(uint64_t version) {
  request *r = NULL;
  int i;
  asked.transactions++;
  if (version <= judged_version)
    trouble("version %llu comes after %llu", (unsigned long long)version,
            (unsigned long long)judged_version);
  judged_version = version;
  for (i = 0; i < change_count && r == NULL; i++) r = changes[i].r;
  if (r == NULL && change_count == 1) r = request_that_deletes(changes[0].key);
  if (r == NULL)
    trouble("a transaction of %d changes, first %s, that nobody asked for", change_count,
            changes[0].key);
  else {
    judge_place(r, version);
    if (!is_whole(r))
      trouble("request %u of kind %d is there in part: %d changes, %u of its %u",
              first_id + (uint32_t)(r - requests), (int)r->what, change_count, r->found, r->n);
  }
  for (i = 0; i < change_count; i++) {
    held *h = held_of(&replayed, changes[i].key);
    h->version = changes[i].deleted ? 0 : version;
    h->digest = changes[i].digest;
  }
  change_count = 0;
}

static void take_change(const maph_change *c) {
  change *to = &changes[change_count++];
  must(change_count < TRANSACTION_MAX, "a transaction larger than any that was asked for");
  snprintf(to->key, sizeof to->key, "%.*s", (int)c->entry.key.size,
           (const char *)c->entry.key.data);
  to->deleted = c->deleted;
  to->r = c->deleted ? NULL : request_of(c->entry.key, c->entry.value, &to->index);
  to->digest = c->deleted ? 0 : value_digest(c->entry.value);
}

static void judge_history(maph *m) {
  maph_changes *feed;
  maph_change c;
  int rc = maph_changes_open(m, replayed.since, &feed), before = troubles;
  if (rc != MAPH_OK) {
    trouble("there is no feed since version %llu: %s", (unsigned long long)replayed.since,
            maph_errmsg(m));
    return;
  }
  while (troubles == before && (rc = maph_changes_next(feed, 0, &c)) == MAPH_OK) {
    take_change(&c);
    if (c.last && troubles == before) judge_transaction(c.entry.version);
  }
  if (rc != MAPH_NOTFOUND && troubles == before) trouble("the feed breaks off: %s", maph_errmsg(m));
  maph_changes_close(feed);
}

static void judge_content(maph *m) {
  maph_cursor *c;
  maph_entry e;
  long n = 0, i;
  must(maph_cursor_open(m, NULL, maph_str(""), &c) == MAPH_OK, "a cursor");
  while (maph_cursor_next(c, &e) == MAPH_OK) {
    char key[40];
    const held *h;
    snprintf(key, sizeof key, "%.*s", (int)e.key.size, (const char *)e.key.data);
    h = held_of(&replayed, key);
    if (h->version != e.version || h->digest != value_digest(e.value)) {
      trouble("%s is not as the history leaves it", key);
      break;
    }
    n++;
  }
  maph_cursor_close(c);
  for (i = 0; i < CONTENT_ROOM; i++) n -= replayed.at[i].version != 0;
  if (n != 0) trouble("there are %ld keys more than the history leaves", n);
}

static void judge_promises(void) {
  uint32_t i;
  for (i = 0; i < request_count; i++) {
    const request *r = &requests[i];
    if (!is_write(r)) continue;
    if (r->promised && r->found < r->n) {
      trouble("request %u of kind %d (status %d, version %llu) was promised, and %u of its %u "
              "changes are there",
              first_id + i, (int)r->what, r->status, (unsigned long long)r->version, r->found,
              r->n);
      return;
    }
    asked.lost += succeeded(r) && r->found < r->n;
    asked.unpromised += r->status == 0 && r->found > 0;
  }
}

static void judge_versions(maph *m, int was_clean) {
  maph_txn *t;
  uint64_t version;
  if (maph_txn_begin(m, MAPH_SYNC_OFF, &t) != MAPH_OK) {
    trouble("a transaction cannot begin: %s", maph_errmsg(m));
    return;
  }
  version = maph_txn_version(t);
  maph_txn_abort(t);
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
static void judge_store(const extra *x, const char *path, int (*mend)(const char *file)) {
  maph_slice value;
  maph *m = NULL;
  int rc = mend ? mend(path) : MAPH_OK;
  if (rc == MAPH_OK) rc = maph_open(path, MAPH_RDWR, NULL, &m);
  /* its deleter was killed between the mark and the removal, and this opening has ended that */
  if (rc == MAPH_NOTFOUND || rc == MAPH_CANTOPEN)
    if ((x->state == REMOVING || x->state == STORE_UNSURE) && access(path, F_OK) != 0) return;
  if (rc != MAPH_OK)
    trouble("%s cannot be opened: %s", path, maph_errmsg(NULL));
  else if (x->state == FILLED && (maph_get(m, maph_str("k"), &value) != MAPH_OK || value.size != 6))
    trouble("%s lacks the key that was answered", path);
  maph_close(m);
  maph_destroy(path, 0);
}

void asked_judge_stores(const char *data, int (*mend)(const char *file)) {
  int i;
  for (i = 0; i < CLIENTS_MAX; i++) {
    const extra *x = &extras[i];
    char path[600];
    if (x->state == NO_STORE) continue;
    snprintf(path, sizeof path, "%s/x%u-%d-%u.maph", data, life, i, x->number);
    if (access(path, F_OK) == 0) {
      if (x->state == REMOVED) trouble("%s was removed, and is there", path);
      judge_store(x, path, mend);
    } else if (x->state == MADE || x->state == FILLING || x->state == FILLED) {
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
