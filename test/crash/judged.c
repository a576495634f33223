/*
** judged.c - is this store one that may follow from what was asked of the server and what it
** answered?
**
** A value says which request put it (asked.c), so that the store's own history, its change feed,
** can be held against the requests:
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
#include "asked.h"

#include <stdio.h>
#include <unistd.h>

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
static content replayed; /* what the history leaves so far */

/* A delete alone does not say whose it is: the first of its client that may be there and was not
** met yet. */
static request *request_that_deletes(const char *key) {
  unsigned of_life, client, number;
  uint32_t i;
  if (sscanf(key, "life%u/client%u/%u", &of_life, &client, &number) != 3 || of_life != life.number
      || client >= CLIENTS_MAX)
    return NULL;
  for (i = (uint32_t)(last_found[client] + 1); i < life.request_count; i++) {
    const request *request = &life.requests[i];
    if (request->client == (int)client && request->what == DELETE
        && life.targets[request->first].number == number
        && (request->status == 204 || request->status == 0 || request->status >= 500))
      return &life.requests[i];
  }
  return NULL;
}

/* Do the transaction's changes begin with this target?  A shared key that was not there is not
** deleted. */
static int target_met(const request *request, uint32_t i, int *at) {
  const target *target = &life.targets[request->first + i];
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
  uint32_t id = life.first_id + (uint32_t)(request - life.requests);
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
  if (version <= life.floor_version)
    trouble("request %u is there as version %llu, and %llu was given out before it", id,
            (unsigned long long)version, (unsigned long long)life.floor_version);
  if (request->answered_at && request->answered_at < latest_sent)
    trouble("request %u was answered before another was sent, and comes after it", id);
  if (request - life.requests < last_found[request->client])
    trouble("request %u comes after a later one of the same client", id);
  last_found[request->client] = request - life.requests;
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
              life.first_id + (uint32_t)(request - life.requests), (int)request->what, change_count,
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
  for (i = 0; i < life.request_count; i++) {
    const request *request = &life.requests[i];
    if (!is_write(request)) continue;
    if (request->promised && request->found < request->n) {
      trouble("request %u of kind %d (status %d, version %llu) was promised, and %u of its %u "
              "changes are there",
              life.first_id + i, (int)request->what, request->status,
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
  if (version <= life.top_version)
    trouble("version %llu is given out, and somebody saw %llu", (unsigned long long)version,
            (unsigned long long)life.top_version);
  if (life.power && !was_clean && version >> 32 <= life.top_version >> 32)
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
  replayed = life.base;
  judged_version = replayed.since;
  latest_sent = 0;
  change_count = 0;
  for (i = 0; i < CLIENTS_MAX; i++) last_found[i] = -1;
  for (k = 0; k < life.request_count; k++) life.requests[k].found = 0;
  judge_versions(m, was_clean);
  maph_check(m, tell_problem, NULL);
  if (troubles == before) judge_history(m);
  if (troubles == before) judge_content(m);
  if (troubles == before) judge_promises();
  if (maph_close(m) != MAPH_OK) trouble("it cannot be closed: %s", maph_errmsg(NULL));
  replayed.since = judged_version;
  if (!kept) return;
  note_version(judged_version);
  life.base = replayed;
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
    const extra *extra = &life.extras[i];
    char path[600];
    if (extra->state == NO_STORE) continue;
    snprintf(path, sizeof path, "%s/x%u-%d-%u.maph", data, life.number, i, extra->number);
    if (access(path, F_OK) == 0) {
      if (extra->state == REMOVED) trouble("%s was removed, and is there", path);
      judge_store(extra, path, mend);
    } else if (extra->state == MADE || extra->state == FILLING || extra->state == FILLED) {
      trouble("%s was made, and is not there", path);
    }
  }
}
