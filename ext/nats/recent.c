/*
** recent.c - the leader's last messages and the replica's last changes (recent.h).
**
** PARTS.  The newest message is asked for alone, then PART at a time, so that values of a megabyte
** do not all come before their size is known.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "nats/child.h"
#include "nats/recent.h"
#include "nats/replica.h"

enum { PART = 32, EXPIRY_MS = 10000 };

typedef struct looking {
  const recent *of;
  uint64_t from; /* all from there on was asked for */
  size_t bytes;
  stored part[PART];
  bool there[RECENT_MOST]; /* the leader has `at` - i */
  /* Keys of messages that were looked at: of a bucket with a history the older ones of a key say
  ** nothing. */
  uint64_t seen[RECENT_MOST];
  size_t seen_count;
  uint64_t differs;
  uint64_t reached; /* nothing above it is left out */
} looking;

static stream_rc store_failed(void) { return stream_fail(STREAM_WRONG, "%s", maph_errmsg(NULL)); }

/* The bucket lets go of what expires by its own clock, and the store by a coarse one. */
static bool expires_soon(uint64_t expires) { return expires && expires <= now_ms() + EXPIRY_MS; }

static void dispute(looking *l, uint64_t sequence) {
  if (l->differs < sequence) l->differs = sequence;
}

/* ------------------------------------------------------------------------- what the leader has */
static bool is_older(looking *l, maph_slice key) {
  uint64_t hash = XXH3_64bits(key.data, key.size);
  for (size_t i = 0; i < l->seen_count; i++) {
    if (l->seen[i] == hash) return true;
  }
  l->seen[l->seen_count++] = hash;
  return false;
}

/* Does the store say of that key what the message says? */
static bool agrees(const looking *l, const change *change, uint64_t sequence, int rc,
                   const maph_entry *entry) {
  if (expires_soon(change->how.expires)) return true;
  if (change->deleted) return rc == MAPH_NOTFOUND || entry->version > sequence;
  if (rc == MAPH_NOTFOUND) return l->of->partial;
  return entry->version == sequence ? change_is(change, entry) : entry->version > sequence;
}

static stream_rc look_at_message(looking *l, const stored *message) {
  static change change;
  maph_entry entry;
  int rc;
  if (!change_read_stored(&l->of->rules, l->of->info->origin, message, &change)
      || is_older(l, change.key))
    return STREAM_OK;
  rc = maph_get_entry(l->of->store, change.key, &entry);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return store_failed();
  if (!agrees(l, &change, message->sequence, rc, &entry)) dispute(l, message->sequence);
  return STREAM_OK;
}

static void take_message(void *arg, size_t which, stored *found) {
  looking *l = arg;
  if (found == NULL) return;
  l->bytes += found->headers.size + found->data.size;
  l->part[which] = *found;
  found->memory = NULL;
}

/* The `count` sequences below `from`, newest first. */
static stream_rc look_at_part(looking *l, size_t count) {
  stream_question questions[PART] = { { NULL, 0 } };
  stream_rc rc;
  for (size_t i = 0; i < count; i++) questions[i].sequence = l->from - 1 - i;
  rc = stream_get_each(l->of->c, l->of->bucket, count, questions, take_message, l);
  for (size_t i = 0; i < count; i++) {
    stored *message = &l->part[i];
    if (message->memory && rc == STREAM_OK && message->sequence != questions[i].sequence)
      rc = stream_fail(STREAM_WRONG, "another message than was asked for");
    if (message->memory) l->there[l->of->at - questions[i].sequence] = true;
    if (message->memory && rc == STREAM_OK) rc = look_at_message(l, message);
    stored_free(message);
  }
  l->from -= count;
  return rc;
}

static stream_rc look_at_leader(looking *l) {
  uint64_t end = l->of->since + 1;
  stream_rc rc = STREAM_OK;
  size_t count = 1;
  l->from = l->of->at + 1;
  while (rc == STREAM_OK && l->differs == 0 && l->from > end && l->bytes < RECENT_BYTES) {
    if (l->from - end < count) count = (size_t)(l->from - end);
    child_stamp_long();
    rc = look_at_part(l, count);
    count = PART;
  }
  l->reached = l->from - 1;
  return rc;
}

/* ------------------------------------------------------------------------- what the replica has */
/* A change that the leader has no message of: it has to have a later one of the key. */
typedef struct suspect {
  char *subject;
  uint64_t version;
  bool deleted;
} suspect;

typedef struct suspects {
  looking *looking;
  suspect list[RECENT_MOST];
  stream_question questions[RECENT_MOST];
  size_t count, bytes;
} suspects;

/* Is the key still as the change made it, and one that only a message takes away? */
static bool is_current(const recent *of, const maph_change *change) {
  maph_entry entry;
  int rc = maph_get_entry(of->store, change->entry.key, &entry);
  if (change->deleted) return rc == MAPH_NOTFOUND;
  return rc == MAPH_OK && entry.version == change->entry.version && !expires_soon(entry.expires);
}

static stream_rc suspect_change(suspects *s, const maph_change *change) {
  const recent *of = s->looking->of;
  suspect *one = &s->list[s->count];
  char form[KEYS_LINE];
  size_t size;
  if (keys_encode(of->rules.keys, maph_str(of->info->origin), change->entry.key, form, &size)) {
    s->looking->reached = of->at;
    return STREAM_OK;
  }
  if (asprintf(&one->subject, "$KV.%s.%.*s", of->info->origin, (int)size, form) < 0)
    return stream_fail(STREAM_MEMORY, "out of memory");
  one->version = change->entry.version;
  one->deleted = change->deleted;
  s->questions[s->count].subject = one->subject;
  s->bytes += change->entry.value.size;
  s->count++;
  return STREAM_OK;
}

/* Of the replica's changes one that the leader has no message of. */
static stream_rc look_at_change(suspects *s, const maph_change *change) {
  const looking *l = s->looking;
  uint64_t version = change->entry.version;
  if (version < l->of->info->first || l->there[l->of->at - version] || !is_current(l->of, change))
    return STREAM_OK;
  return suspect_change(s, change);
}

static stream_rc find_suspects(suspects *s, uint64_t since) {
  const recent *of = s->looking->of;
  maph_changes *feed;
  maph_change change;
  stream_rc failed = STREAM_OK;
  int rc = maph_changes_open(of->store, since, &feed);
  if (rc != MAPH_OK) return store_failed();
  while (failed == STREAM_OK && (rc = maph_changes_next(feed, 0, &change)) == MAPH_OK
         && change.entry.version <= of->at) {
    if (s->count == RECENT_MOST || s->bytes >= RECENT_BYTES) {
      s->looking->reached = of->at;
      break;
    }
    failed = look_at_change(s, &change);
  }
  maph_changes_close(feed);
  if (rc == MAPH_COMPACTED) s->looking->reached = of->at;
  if (rc == MAPH_OK || rc == MAPH_NOTFOUND || rc == MAPH_COMPACTED) return failed;
  return store_failed();
}

static void judge(void *arg, size_t which, stored *last) {
  suspects *s = arg;
  looking *l = s->looking;
  const suspect *one = &s->list[which];
  static change change;
  bool well;
  if (last == NULL)
    well = one->deleted;
  else if (last->sequence > l->of->at || last->sequence == one->version)
    well = true;
  else
    well = one->deleted && last->sequence < one->version
           && change_read_stored(&l->of->rules, l->of->info->origin, last, &change)
           && change.deleted;
  if (!well) dispute(l, one->version);
}

static stream_rc look_at_store(looking *l) {
  suspects *s = calloc(1, sizeof *s);
  maph_stats stats;
  stream_rc rc = STREAM_OK;
  if (s == NULL) return stream_fail(STREAM_MEMORY, "out of memory");
  s->looking = l;
  if (maph_stat(l->of->store, &stats) != MAPH_OK) rc = store_failed();
  if (rc == STREAM_OK && l->reached < stats.oldest_version) l->reached = stats.oldest_version;
  if (rc == STREAM_OK && l->reached < l->of->at) rc = find_suspects(s, l->reached);
  child_stamp_long();
  if (rc == STREAM_OK && s->count)
    rc = stream_get_each(l->of->c, l->of->bucket, s->count, s->questions, judge, s);
  for (size_t i = 0; i < s->count; i++) free(s->list[i].subject);
  free(s);
  return rc;
}

stream_rc recent_compare(const recent *what, uint64_t *differs, uint64_t *reached) {
  looking *l = calloc(1, sizeof *l);
  stream_rc rc;
  *differs = 0;
  *reached = what->at;
  if (l == NULL) return stream_fail(STREAM_MEMORY, "out of memory");
  l->of = what;
  rc = look_at_leader(l);
  if (rc == STREAM_OK && l->differs == 0) rc = look_at_store(l);
  *differs = l->differs;
  *reached = l->reached;
  free(l);
  return rc;
}
