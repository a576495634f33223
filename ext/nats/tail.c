/*
** tail.c - what a bucket has behind the last message that was acknowledged (tail.h).
*/
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "entry/json.h"
#include "nats/child.h"
#include "nats/tail.h"

/* ---------------------------------------------------------------------------------------- marks */
static bool read_hex(const char *text, size_t digits, uint64_t *number) {
  static const char known[] = "0123456789abcdef";
  *number = 0;
  for (size_t i = 0; i < digits; i++) {
    const char *at = memchr(known, text[i], sizeof known - 1);
    if (at == NULL) return false;
    *number = *number << 4 | (uint64_t)(at - known);
  }
  return true;
}

/* BEFORE;N */
static void read_part(maph_slice header, mark *mark) {
  const char *text = header.data, *end = text ? memchr(text, ';', header.size) : NULL;
  size_t digits = end ? (size_t)(end - text) : 0;
  if (end == NULL || !json_whole_number(maph_bytes(text, digits), TAIL_VERSION_MOST, &mark->before)
      || !json_whole_number(maph_bytes(end + 1, header.size - digits - 1), INT64_MAX, &mark->index))
    mark->index = 0;
}

void mark_read(const stored *message, mark *mark) {
  maph_slice store = stored_header(message, "Maph-Store");
  const char *text = store.data;
  memset(mark, 0, sizeof *mark);
  if (store.size != 25 || text[16] != '-' || !read_hex(text + 17, 8, &mark->publisher)
      || !read_hex(text, 16, &mark->store))
    mark->store = 0;
  mark->part = group_read(stored_header(message, "Maph-Txn"), &mark->version);
  read_part(stored_header(message, "Maph-Part"), mark);
}

uint64_t tail_hash(const char *subject) { return XXH3_64bits(subject, strlen(subject)); }

/* -------------------------------------------------------------------------- what it was sent as */
typedef struct expected {
  uint64_t subject, version, index;
  bool last; /* of its transaction */
} expected;

typedef struct expecting {
  const outgoing_rules *rules;
  expected *ring; /* the last `count` of those that were sent */
  size_t count;
  uint64_t sent, index;
  bool sent_some; /* of this transaction */
} expecting;

static expected *newest(const expecting *expecting) {
  return &expecting->ring[(expecting->sent - 1) % expecting->count];
}

/* As sending.c sends it. */
static void expect(expecting *expecting, const maph_change *change) {
  static outgoing form;
  outgoing_rc rc = outgoing_read(expecting->rules, &change->entry, change->deleted, &form);
  expecting->index++;
  if (rc == OUTGOING_OK || rc == OUTGOING_VALUE) {
    expecting->sent++;
    *newest(expecting) =
        (expected){ tail_hash(form.subject), change->entry.version, expecting->index, false };
    expecting->sent_some = true;
  }
  if (!change->last) return;
  if (expecting->sent_some) newest(expecting)->last = true;
  expecting->sent_some = false;
  expecting->index = 0;
}

/* Is that change, which was taken just now, the one that the last message is of? */
static bool is_goal(const expecting *expecting, const maph_change *change, const mark *goal) {
  if (change->entry.version != goal->version) return false;
  return goal->part == TXN_LAST ? change->last != 0
                                : !change->last && expecting->index == goal->index;
}

static bool expect_all(expecting *expecting, maph *store, uint64_t version, const mark *goal) {
  maph_changes *feed;
  maph_change change;
  bool found = false;
  if (maph_changes_open(store, version, &feed) != MAPH_OK) return false;
  while (!found && maph_changes_next(feed, 0, &change) == MAPH_OK
         && change.entry.version <= goal->version) {
    expect(expecting, &change);
    if (expecting->sent % 1024 == 0) child_stamp();
    found = is_goal(expecting, &change, goal);
  }
  maph_changes_close(feed);
  return found && expecting->sent >= expecting->count;
}

/* ----------------------------------------------------------------------------------- comparison */
static bool is_as(const tail_message *message, const expected *sent) {
  const mark *mark = &message->mark;
  if (message->subject != sent->subject || mark->version != sent->version) return false;
  return mark->part == TXN_LAST
             ? sent->last
             : mark->part == TXN_PART && !sent->last && mark->index == sent->index;
}

/* Was it there already?  It is now. */
static bool set_has(uint64_t *set, size_t room, uint64_t hash) {
  size_t at = hash & (room - 1);
  while (set[at] != 0 && set[at] != hash) at = (at + 1) & (room - 1);
  if (set[at] == hash) return true;
  set[at] = hash;
  return false;
}

static bool compare(const expecting *expecting, const tail_message *messages, uint64_t *set,
                    size_t room) {
  for (size_t i = expecting->count; i-- > 0;) {
    const expected *sent =
        &expecting->ring[(expecting->sent - expecting->count + i) % expecting->count];
    bool superseded = set_has(set, room, sent->subject | 1);
    if (messages[i].there ? !is_as(&messages[i], sent) : !superseded) return false;
  }
  return true;
}

bool tail_holds(maph *store, const outgoing_rules *rules, uint64_t version,
                const tail_message *messages, size_t count) {
  expecting expecting = { .rules = rules, .count = count };
  const tail_message *last = &messages[count - 1];
  size_t room = 16;
  uint64_t *set;
  bool holds = false;
  if (!last->there || last->mark.part == TXN_NONE) return false;
  while (room < 2 * count) room *= 2;
  expecting.ring = calloc(count, sizeof *expecting.ring);
  set = calloc(room, sizeof *set);
  if (expecting.ring && set && expect_all(&expecting, store, version, &last->mark))
    holds = compare(&expecting, messages, set, room);
  free(expecting.ring);
  free(set);
  return holds;
}
