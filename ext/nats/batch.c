/*
** batch.c - messages on their way into a store (batch.h).
**
** A load takes no deletes.  So the keys of markers are remembered, each with its sequence; once the
** load has become a store, those are deleted that are still below it.  The last message stays out
** of the load, so that there is a version left for that.
*/
#include <stdlib.h>
#include <string.h>
#include "nats/batch.h"
#include "nats/replica.h"

/* Keys one behind the other: sequence, size, bytes. */
typedef struct markers {
  unsigned char *bytes;
  size_t size, room;
} markers;
typedef struct marker_head {
  uint64_t sequence;
  uint64_t size;
} marker_head;

static bool markers_add(markers *to, uint64_t sequence, maph_slice key) {
  marker_head head = { sequence, key.size };
  size_t needed = to->size + sizeof head + key.size;
  if (needed > to->room) {
    size_t room = to->room ? 2 * to->room : 65536;
    unsigned char *bytes;
    while (room < needed) room *= 2;
    if ((bytes = realloc(to->bytes, room)) == NULL) return false;
    to->bytes = bytes;
    to->room = room;
  }
  memcpy(to->bytes + to->size, &head, sizeof head);
  memcpy(to->bytes + to->size + sizeof head, key.data, key.size);
  to->size = needed;
  return true;
}

static batch_rc of_store(batch *b, int rc) {
  b->store_rc = rc;
  if (rc == MAPH_OK) return BATCH_OK;
  return rc == MAPH_NOMEM ? BATCH_MEMORY : BATCH_STORE;
}

void batch_begin(batch *b, maph *store, uint64_t at, const bucket_rules *rules, int durability) {
  memset(b, 0, sizeof *b);
  b->store = store;
  b->at = b->committed = at;
  b->rules = *rules;
  b->durability = durability;
}

void batch_begin_load(batch *b, maph_load *load, const bucket_rules *rules, bool holds) {
  memset(b, 0, sizeof *b);
  b->load = load;
  b->holds = holds;
  b->rules = *rules;
}

/* ---------------------------------------------------------------------------------------- holes */
static batch_rc note_hole(batch *b, uint64_t to) {
  group_hole(&b->group);
  if (b->holes_count == b->holes_room) {
    size_t room = b->holes_room ? 2 * b->holes_room : 256;
    hole *holes = realloc(b->holes, room * sizeof *holes);
    if (holes == NULL) return BATCH_MEMORY;
    b->holes = holes;
    b->holes_room = room;
  }
  b->holes[b->holes_count++] = (hole){ b->at, to };
  return BATCH_OK;
}

/* Of the holes, those that something is in.  Whoever is asked directly may lag: where it has
** nothing behind the hole, it may not know of the hole either, and the leader is to be asked. */
static stream_rc suspect(connection *c, const char *bucket, bool direct, hole *holes,
                         size_t *count) {
  enum { AT_ONCE = 512 };
  uint64_t from[AT_ONCE], found[AT_ONCE];
  size_t kept = 0;
  for (size_t done = 0; done < *count;) {
    size_t now = *count - done < AT_ONCE ? *count - done : AT_ONCE;
    stream_rc rc;
    for (size_t i = 0; i < now; i++) from[i] = holes[done + i].after + 1;
    rc = stream_next_of(c, bucket, direct, now, from, found);
    if (rc != STREAM_OK) return rc;
    for (size_t i = 0; i < now; i++) {
      bool in = found[i] != 0 && found[i] <= holes[done + i].to;
      if (in || (direct && found[i] == 0)) holes[kept++] = holes[done + i];
    }
    done += now;
  }
  *count = kept;
  return STREAM_OK;
}

static void drop_held(batch *b) {
  for (size_t i = 0; i < b->held_count; i++) message_free(b->held[i].message);
  b->held_count = 0;
}

batch_rc batch_check_holes(batch *b, connection *c, const char *bucket, bool direct) {
  size_t count = b->holes_count;
  stream_rc rc = count ? suspect(c, bucket, direct, b->holes, &count) : STREAM_OK;
  if (rc == STREAM_OK && count && direct) rc = suspect(c, bucket, false, b->holes, &count);
  if (rc != STREAM_OK) return BATCH_ASKING;
  b->holes_count = 0;
  if (count && b->load) {
    drop_held(b);
    b->at = b->held_after;
    b->last_time_ns = 0;
  }
  return count ? BATCH_LOST : BATCH_OK;
}

/* -------------------------------------------------------------------------------------- changes */
static batch_rc begin(batch *b) {
  if (b->txn) return BATCH_OK;
  b->began_ms = ticks_ms();
  return of_store(b, maph_txn_begin(b->store, b->durability, &b->txn));
}

static batch_rc put(batch *b, const change *change) {
  int rc;
  if (b->load) return of_store(b, maph_load_put(b->load, change->key, change->value, &change->how));
  if (change->deleted) {
    rc = maph_txn_delete(b->txn, change->key);
    return of_store(b, rc == MAPH_NOTFOUND ? MAPH_OK : rc);
  }
  return of_store(b, maph_txn_put_if(b->txn, change->key, change->value, &change->how));
}

static batch_rc apply(batch *b, uint64_t sequence, const change *change) {
  batch_rc rc = BATCH_OK;
  if (b->load && b->markers == NULL && (b->markers = calloc(1, sizeof *b->markers)) == NULL)
    return BATCH_MEMORY;
  if (b->load && change->deleted)
    return markers_add(b->markers, sequence, change->key) ? BATCH_OK : BATCH_MEMORY;
  if (b->load) {
    rc = of_store(b, maph_load_at(b->load, sequence));
  } else {
    rc = begin(b);
    if (rc == BATCH_OK) rc = of_store(b, maph_txn_at(b->txn, sequence));
  }
  return rc == BATCH_OK ? put(b, change) : rc;
}

static batch_rc take_now(batch *b, const delivery *d) {
  static change change;
  batch_rc rc = BATCH_OK;
  if (change_read(&b->rules, d, &change))
    rc = apply(b, d->sequence, &change);
  else
    b->left_out++;
  message_free(d->message);
  if (rc != BATCH_STORE || b->store_rc != MAPH_TOOBIG) return rc;
  b->left_out++;
  return BATCH_OK;
}

static batch_rc hold(batch *b, const delivery *d) {
  if (b->held_count == b->held_room) {
    size_t room = b->held_room ? 2 * b->held_room : 1024;
    delivery *held = realloc(b->held, room * sizeof *held);
    if (held == NULL) {
      message_free(d->message);
      return BATCH_MEMORY;
    }
    b->held = held;
    b->held_room = room;
  }
  b->held[b->held_count++] = *d;
  return BATCH_OK;
}

batch_rc batch_take(batch *b, const delivery *d) {
  batch_rc rc = d->sequence > b->at + 1 ? note_hole(b, d->sequence - 1) : BATCH_OK;
  if (rc != BATCH_OK) {
    message_free(d->message);
    return rc;
  }
  group_take(&b->group, (txn_part)d->part, message_data(d->message).size, ticks_ms());
  anchors_note(&b->anchors, d->key.data, d->key.size, d->sequence, d->time_ns);
  rc = b->load && b->holds ? hold(b, d) : take_now(b, d);
  b->at = d->sequence;
  b->last_time_ns = d->time_ns;
  b->count++;
  return rc;
}

batch_rc batch_reach(batch *b, uint64_t sequence) {
  batch_rc rc;
  if (sequence <= b->at) return BATCH_OK;
  rc = note_hole(b, sequence);
  b->at = sequence;
  b->last_time_ns = 0;
  return rc;
}

batch_rc batch_delete(batch *b, maph_slice key, uint64_t version) {
  maph_entry entry;
  batch_rc rc = begin(b);
  if (rc == BATCH_OK) rc = of_store(b, maph_txn_at(b->txn, b->at));
  if (rc != BATCH_OK || maph_txn_get_entry(b->txn, key, &entry) != MAPH_OK
      || entry.version > version)
    return rc;
  return of_store(b, maph_txn_delete(b->txn, key));
}

static batch_rc take_held(batch *b) {
  batch_rc rc = BATCH_OK;
  for (size_t i = 0; i < b->held_count; i++) {
    if (rc == BATCH_OK)
      rc = take_now(b, &b->held[i]);
    else
      message_free(b->held[i].message);
  }
  b->held_count = 0;
  b->held_after = b->at;
  b->count = 0;
  return rc;
}

batch_rc batch_commit(batch *b) {
  batch_rc rc;
  if (b->load) return take_held(b);
  if (b->txn == NULL && b->at == b->committed) return BATCH_OK;
  rc = begin(b);
  if (rc == BATCH_OK) rc = of_store(b, maph_txn_at(b->txn, b->at));
  if (rc == BATCH_OK) {
    rc = of_store(b, maph_txn_commit(b->txn));
    b->txn = NULL;
  }
  if (rc == BATCH_OK) b->committed = b->at;
  b->count = 0;
  return rc;
}

static batch_rc delete_marked(batch *b) {
  const unsigned char *p = b->markers->bytes, *end = p + b->markers->size;
  batch_rc rc = BATCH_OK;
  while (p < end && rc == BATCH_OK) {
    marker_head head;
    memcpy(&head, p, sizeof head);
    p += sizeof head;
    rc = batch_delete(b, maph_bytes(p, head.size), head.sequence);
    p += head.size;
  }
  return rc;
}

batch_rc batch_after_load(batch *b, maph *store) {
  batch_rc rc = BATCH_OK;
  b->load = NULL;
  b->store = store;
  if (b->markers) rc = delete_marked(b);
  return rc == BATCH_OK ? batch_commit(b) : rc;
}

void batch_end(batch *b) {
  if (b->txn) maph_txn_abort(b->txn);
  if (b->markers) free(b->markers->bytes);
  free(b->markers);
  free(b->holes);
  drop_held(b);
  free(b->held);
  b->held = NULL;
  b->held_room = 0;
  b->txn = NULL;
  b->markers = NULL;
  b->holes = NULL;
  b->holes_count = b->holes_room = 0;
}
