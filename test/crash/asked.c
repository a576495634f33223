/*
** asked.c - what clients asked of a server and what it answered.
**
** Each client has keys of its own, of which it knows what they hold, and all share some.  Every
** value begins with the number of the request that put it.
*/
#include "asked.h"

#include <stdio.h>
#include <stdlib.h>

asked_counts asked;
life_so_far life;
static uint32_t target_count;
static uint64_t moment;
static int many, may_fail, mixed, default_durability;
static uint32_t current[CLIENTS_MAX];
static struct {
  enum { ABSENT, PRESENT, UNSURE } state;
  uint32_t id, index;
} own[CLIENTS_MAX][OWN_MAX];
static uint32_t own_count[CLIENTS_MAX];
static uint64_t shared_version[SHARED_KEYS];

/* ------------------------------------------------------------------------------ keys and values */
const char *key_of(const target *target) {
  static char name[40];
  if (target->owner == SHARED)
    snprintf(name, sizeof name, "shared/%u", target->number);
  else
    snprintf(name, sizeof name, "life%u/client%u/%u", life.number, target->owner, target->number);
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

held *held_of(content *content, const char *key) {
  size_t i = (size_t)value_digest(maph_str(key)) & (CONTENT_ROOM - 1);
  while (content->at[i].key[0] && strcmp(content->at[i].key, key) != 0)
    i = (i + 1) & (CONTENT_ROOM - 1);
  snprintf(content->at[i].key, sizeof content->at[i].key, "%s", key);
  return &content->at[i];
}

request *request_of(maph_slice key, maph_slice value, uint32_t *index) {
  char start[32];
  unsigned id, i;
  request *request;
  snprintf(start, sizeof start, "%.*s",
           (int)(value.size < sizeof start ? value.size : sizeof start - 1),
           (const char *)value.data);
  if (sscanf(start, "r%u.%u:", &id, &i) != 2 || id < life.first_id
      || id >= life.first_id + life.request_count || i >= life.requests[id - life.first_id].n) {
    trouble("%.*s holds what nobody put in this life: %s", (int)key.size, (const char *)key.data,
            start);
    return NULL;
  }
  request = &life.requests[id - life.first_id];
  *index = i;
  if (value.size == life.targets[request->first + i].size
      && memcmp(value.data, value_of(id, i, life.targets[request->first + i].size), value.size)
             == 0)
    return request;
  trouble("%.*s holds other bytes than request %u put", (int)key.size, (const char *)key.data, id);
  return NULL;
}

/* --------------------------------------------------------------------------------------- asking */
static target *add_target(request *request, uint32_t owner, uint32_t number, int deletes) {
  target *target = &life.targets[target_count++];
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
    if (life.targets[request->first + i].owner == owner
        && life.targets[request->first + i].number == number)
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
  const target *target = &life.targets[request->first + i];
  if (target->deletes)
    *at += sprintf(*at, "{\"op\":\"delete\",\"key\":\"%s\"}", key_of(target));
  else
    *at += sprintf(*at, "{%s\"key\":\"%s\",\"value\":\"%s\"}", with_op ? "\"op\":\"put\"," : "",
                   key_of(target),
                   value_of(life.first_id + (uint32_t)(request - life.requests), i, target->size));
}

static size_t text_size(const request *request) {
  size_t size = 1000;
  uint32_t i;
  for (i = 0; i < request->n; i++) size += life.targets[request->first + i].size + 200;
  return size;
}

static void send_body(int client, request *request, const char *method, const char *path,
                      const char *headers, const char *body) {
  char head[600];
  snprintf(head, sizeof head,
           "%s /stores/%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: %zu\r\n\r\n", method,
           path, headers, strlen(body));
  request->sent_at = ++moment;
  current[client] = (uint32_t)(request - life.requests);
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
            value_of(life.first_id + (uint32_t)(request - life.requests), 0, target->size));
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
  extra *extra = &life.extras[client];
  char path[100];
  if (extra->state == NO_STORE || extra->state == REMOVED) {
    extra->number++;
    extra->state = MAKING;
    request->what = MAKE;
    snprintf(path, sizeof path, "x%u-%d-%u", life.number, client, extra->number);
    send_body(client, request, "POST", path, "", "");
  } else if (extra->state == MADE) {
    extra->state = FILLING;
    request->what = FILL;
    snprintf(path, sizeof path, "x%u-%d-%u/keys/k?sync=full", life.number, client, extra->number);
    send_body(client, request, "PUT", path, "", "filled");
  } else {
    extra->state = extra->state == FILLED ? REMOVING : extra->state;
    request->what = extra->state == REMOVING ? REMOVE : SYNC;
    snprintf(path, sizeof path, extra->state == REMOVING ? "x%u-%d-%u" : "s/sync", life.number,
             client, extra->number);
    send_body(client, request, request->what == REMOVE ? "DELETE" : "POST", path, "", "");
  }
}

void ask(int i) {
  request *request = &life.requests[life.request_count++];
  uint32_t kind = below(100), number = own_key(i);
  memset(request, 0, sizeof *request);
  must(life.request_count < REQUESTS_MAX, "more requests than there is room for");
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

long asked_number(void) { return life.request_count; }
void asked_may_fail(void) { may_fail = 1; }

/* -------------------------------------------------------------------------------------- answers */
int is_write(const request *request) {
  return request->what == PUT || request->what == DELETE || request->what == BATCH
         || request->what == IMPORT;
}
int succeeded(const request *request) { return request->status >= 200 && request->status < 300; }

static void promise(request *request) {
  if (request->promised || !is_write(request)) return;
  request->promised = 1;
  asked.durable++;
}

void note_version(uint64_t version) {
  if (version > life.top_version) life.top_version = version;
}

/* What the client now knows of its own keys. */
static void note_own(request *request) {
  uint32_t i;
  for (i = 0; i < request->n; i++) {
    const target *target = &life.targets[request->first + i];
    if (target->owner == SHARED) {
      if (succeeded(request) && !target->deletes)
        shared_version[target->number] =
            request->version ? request->version : shared_version[target->number];
      continue;
    }
    if (target->number >= OWN_MAX) continue;
    own[target->owner][target->number].id = life.first_id + (uint32_t)(request - life.requests);
    own[target->owner][target->number].index = i;
    if (request->status >= 500)
      own[target->owner][target->number].state = UNSURE;
    else if (succeeded(request))
      own[target->owner][target->number].state = target->deletes ? ABSENT : PRESENT;
  }
}

/* What a GET shows at a key that several write: bytes that were put, at the version answered. */
static void seen(const target *target, const answer *answer) {
  held *held = held_of(&life.base, key_of(target));
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
  if (answer->version <= life.floor_version)
    trouble("a GET shows version %llu of this life, and %llu was given out before it",
            (unsigned long long)answer->version, (unsigned long long)life.floor_version);
  if (put->status >= 400 && put->status < 500)
    trouble("a GET shows what was refused with %d", put->status);
  if (succeeded(put) && put->version && put->version != answer->version) {
    trouble("a GET shows version %llu of what was answered to be %llu",
            (unsigned long long)answer->version, (unsigned long long)put->version);
  }
  note_version(answer->version);
  if (target->owner == SHARED) shared_version[target->number] = answer->version;
  if ((put->durability == MAPH_SYNC_FULL || !life.power) && put->n < MANY_LINES && !may_fail)
    promise(put);
}

static void got(const request *request, const answer *answer) {
  const target *target = &life.targets[request->first];
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
           && life.first_id + (uint32_t)(put - life.requests)
                  != own[target->owner][target->number].id) {
    trouble("GET of %s shows what request %u put, and the client has put it again since",
            key_of(target), life.first_id + (uint32_t)(put - life.requests));
  }
}

/* Was this status to be expected? */
static int status_fits(const request *request, const answer *answer) {
  const target *target = &life.targets[request->first];
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
  for (i = 0; i < life.request_count; i++) {
    request *request = &life.requests[i];
    if (request->answered_at && request->answered_at < sync->sent_at && succeeded(request))
      promise(request);
  }
}

static void store_answered(request *request) {
  extra *extra = &life.extras[request->client];
  if (!succeeded(request))
    extra->state = STORE_UNSURE;
  else
    extra->state = request->what == MAKE ? MADE : request->what == FILL ? FILLED : REMOVED;
}

void asked_answered(int i, const answer *answer) {
  request *request = &life.requests[current[i]];
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
    trouble("request %u of kind %d is answered %d: %.300s", life.first_id + current[i],
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
    if (answer->version <= life.floor_version)
      trouble("version %llu is given out, and %llu was before", (unsigned long long)answer->version,
              (unsigned long long)life.floor_version);
    note_version(answer->version);
  }
  note_own(request);
  if (succeeded(request) && (request->durability == MAPH_SYNC_FULL || !life.power))
    promise(request);
}

/* ---------------------------------------------------------------------------------------- lives */
void asked_anew(uint64_t since) {
  memset(&life.base, 0, sizeof life.base);
  life.base.since = since;
  life.top_version = since;
}

const char *asked_begin(int with_power, int with_many) {
  life.power = with_power;
  many = with_many;
  may_fail = 0;
  mixed = (int)below(2);
  default_durability = below(3) ? MAPH_SYNC_FULL : MAPH_SYNC_NORMAL;
  life.floor_version = life.top_version;
  life.first_id += life.request_count;
  life.request_count = target_count = 0;
  life.number++;
  memset(own, 0, sizeof own);
  memset(own_count, 0, sizeof own_count);
  memset(life.extras, 0, sizeof life.extras);
  return default_durability == MAPH_SYNC_FULL ? "full" : "normal";
}
