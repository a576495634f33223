/*
** recent.c - the leader's last messages and the replica's last changes (recent.h).
**
** PARTS.  The newest message is asked for alone, so that values of a megabyte do not all come
** before their size is known, then FEW at most, then PART at most: as many as fit by the size of
** those that came.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "nats/child.h"
#include "nats/keys.h"
#include "nats/recent.h"
#include "nats/replica.h"

enum { FEW = 32, PART = 256, EXPIRY_MS = 10000 };

typedef struct looking {
  const recent *of;
  uint64_t from; /* all from there on was asked for */
  size_t bytes;
  stored part[PART];
  bool there[RECENT_MOST]; /* the leader has `at` - i, of a key that is the replica's */
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

static void dispute(looking *looking, uint64_t sequence) {
  if (looking->differs < sequence) looking->differs = sequence;
}

/* ------------------------------------------------------------------------- what the leader has */
static bool is_older(looking *looking, maph_slice key) {
  uint64_t hash = XXH3_64bits(key.data, key.size);
  for (size_t i = 0; i < looking->seen_count; i++) {
    if (looking->seen[i] == hash) return true;
  }
  looking->seen[looking->seen_count++] = hash;
  return false;
}

/* Does the store say of that key what the message says? */
static bool agrees(const change *change, uint64_t sequence, int rc, const maph_entry *entry) {
  if (expires_soon(change->how.expires)) return true;
  if (change->deleted) return rc == MAPH_NOTFOUND || entry->version > sequence;
  if (rc == MAPH_NOTFOUND) return false;
  return entry->version == sequence ? change_is(change, entry) : entry->version > sequence;
}

/* Is the key one of those that the replica has? */
static bool is_ours(const recent *of, const stored *message) {
  size_t prefix = strlen("$KV.") + strlen(of->info->origin) + 1;
  if (of->filter == NULL) return true;
  return message->subject.size > prefix
         && keys_among(of->filter, maph_bytes((const char *)message->subject.data + prefix,
                                              message->subject.size - prefix));
}

static stream_rc look_at_message(looking *looking, const stored *message) {
  static change change;
  maph_entry entry;
  int rc;
  if (!change_read_stored(&looking->of->rules, looking->of->info->origin, message, &change)
      || is_older(looking, change.key))
    return STREAM_OK;
  rc = maph_get_entry(looking->of->store, change.key, &entry);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return store_failed();
  if (!agrees(&change, message->sequence, rc, &entry)) dispute(looking, message->sequence);
  return STREAM_OK;
}

static void take_message(void *arg, size_t which, stored *found) {
  looking *looking = arg;
  if (found == NULL) return;
  looking->bytes += found->headers.size + found->data.size;
  looking->part[which] = *found;
  found->memory = NULL;
}

/* The `count` sequences below `from`, newest first. */
static stream_rc look_at_part(looking *looking, size_t count) {
  stored_question questions[PART] = { { NULL, 0 } };
  stream_rc rc;
  for (size_t i = 0; i < count; i++) questions[i].sequence = looking->from - 1 - i;
  rc = stored_get_each(looking->of->connection, looking->of->bucket, count, questions, take_message,
                       looking);
  for (size_t i = 0; i < count; i++) {
    stored *message = &looking->part[i];
    if (message->memory && rc == STREAM_OK && message->sequence != questions[i].sequence)
      rc = stream_fail(STREAM_WRONG, "another message than was asked for");
    if (message->memory && is_ours(looking->of, message)) {
      looking->there[looking->of->at - questions[i].sequence] = true;
      if (rc == STREAM_OK) rc = look_at_message(looking, message);
    }
    stored_free(message);
  }
  looking->from -= count;
  return rc;
}

/* How many messages more make RECENT_BYTES, as those were that were looked at? */
static size_t next_part(const looking *looking) {
  uint64_t asked = looking->of->at + 1 - looking->from;
  size_t each = (size_t)(looking->bytes / asked) + 1;
  size_t most = asked > FEW ? PART : FEW;
  size_t count = looking->bytes < RECENT_BYTES ? (RECENT_BYTES - looking->bytes) / each + 1 : 1;
  return count < most ? count : most;
}

static stream_rc look_at_leader(looking *looking) {
  uint64_t end = looking->of->since + 1;
  stream_rc rc = STREAM_OK;
  size_t count = 1;
  looking->from = looking->of->at + 1;
  while (rc == STREAM_OK && looking->differs == 0 && looking->from > end
         && looking->bytes < RECENT_BYTES) {
    if (looking->from - end < count) count = (size_t)(looking->from - end);
    child_stamp_long();
    rc = look_at_part(looking, count);
    count = next_part(looking);
  }
  looking->reached = looking->from - 1;
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
  stored_question questions[RECENT_MOST];
  size_t count, bytes;
} suspects;

/* Is the key still as the change made it, and one that only a message takes away? */
static bool is_current(const recent *of, const maph_change *change) {
  maph_entry entry;
  int rc = maph_get_entry(of->store, change->entry.key, &entry);
  if (change->deleted) return rc == MAPH_NOTFOUND;
  return rc == MAPH_OK && entry.version == change->entry.version && !expires_soon(entry.expires);
}

static stream_rc suspect_change(suspects *suspects, const maph_change *change) {
  const recent *of = suspects->looking->of;
  suspect *one = &suspects->list[suspects->count];
  char form[KEYS_LINE];
  size_t size;
  if (keys_encode(of->rules.keys, maph_str(of->info->origin), change->entry.key, form, &size)) {
    suspects->looking->reached = of->at;
    return STREAM_OK;
  }
  if (asprintf(&one->subject, "$KV.%s.%.*s", of->info->origin, (int)size, form) < 0)
    return stream_fail(STREAM_MEMORY, "out of memory");
  one->version = change->entry.version;
  one->deleted = change->deleted;
  suspects->questions[suspects->count].subject = one->subject;
  suspects->bytes += change->entry.value.size;
  suspects->count++;
  return STREAM_OK;
}

/* Of the replica's changes one that the leader has no message of. */
static stream_rc look_at_change(suspects *suspects, const maph_change *change) {
  const looking *looking = suspects->looking;
  uint64_t version = change->entry.version;
  if (version < looking->of->info->first || looking->there[looking->of->at - version]
      || !is_current(looking->of, change))
    return STREAM_OK;
  return suspect_change(suspects, change);
}

static stream_rc find_suspects(suspects *suspects, uint64_t since) {
  const recent *of = suspects->looking->of;
  maph_changes *feed;
  maph_change change;
  stream_rc failed = STREAM_OK;
  int rc = maph_changes_open(of->store, since, &feed);
  if (rc != MAPH_OK) return store_failed();
  while (failed == STREAM_OK && (rc = maph_changes_next(feed, 0, &change)) == MAPH_OK
         && change.entry.version <= of->at) {
    if (suspects->count == RECENT_MOST || suspects->bytes >= RECENT_BYTES) {
      suspects->looking->reached = of->at;
      break;
    }
    failed = look_at_change(suspects, &change);
  }
  maph_changes_close(feed);
  if (rc == MAPH_COMPACTED) suspects->looking->reached = of->at;
  if (rc == MAPH_OK || rc == MAPH_NOTFOUND || rc == MAPH_COMPACTED) return failed;
  return store_failed();
}

static void judge(void *arg, size_t which, stored *last) {
  suspects *suspects = arg;
  looking *looking = suspects->looking;
  const suspect *one = &suspects->list[which];
  static change change;
  bool well;
  if (last == NULL)
    well = one->deleted;
  else if (last->sequence > looking->of->at || last->sequence == one->version)
    well = true;
  else
    well = one->deleted && last->sequence < one->version
           && change_read_stored(&looking->of->rules, looking->of->info->origin, last, &change)
           && change.deleted;
  if (!well) dispute(looking, one->version);
}

static stream_rc look_at_store(looking *looking) {
  suspects *suspects = calloc(1, sizeof *suspects);
  maph_stats stats;
  stream_rc rc = STREAM_OK;
  if (suspects == NULL) return stream_fail(STREAM_MEMORY, "out of memory");
  suspects->looking = looking;
  if (maph_stat(looking->of->store, &stats) != MAPH_OK) rc = store_failed();
  if (rc == STREAM_OK && looking->reached < stats.oldest_version)
    looking->reached = stats.oldest_version;
  if (rc == STREAM_OK && looking->reached < looking->of->at)
    rc = find_suspects(suspects, looking->reached);
  child_stamp_long();
  if (rc == STREAM_OK && suspects->count)
    rc = stored_get_each(looking->of->connection, looking->of->bucket, suspects->count,
                         suspects->questions, judge, suspects);
  for (size_t i = 0; i < suspects->count; i++) free(suspects->list[i].subject);
  free(suspects);
  return rc;
}

stream_rc recent_compare(const recent *what, uint64_t *differs, uint64_t *reached) {
  looking *looking = calloc(1, sizeof *looking);
  stream_rc rc;
  *differs = 0;
  *reached = what->at;
  if (looking == NULL) return stream_fail(STREAM_MEMORY, "out of memory");
  looking->of = what;
  rc = look_at_leader(looking);
  if (rc == STREAM_OK && looking->differs == 0) rc = look_at_store(looking);
  *differs = looking->differs;
  *reached = looking->reached;
  free(looking);
  return rc;
}
