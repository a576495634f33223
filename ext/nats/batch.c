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

static batch_rc of_store(batch *batch, int rc) {
  batch->store_rc = rc;
  if (rc == MAPH_OK) return BATCH_OK;
  return rc == MAPH_NOMEM ? BATCH_MEMORY : BATCH_STORE;
}

void batch_begin(batch *batch, maph *store, uint64_t at, const bucket_rules *rules,
                 int durability) {
  memset(batch, 0, sizeof *batch);
  batch->store = store;
  batch->at = batch->committed = at;
  batch->rules = *rules;
  batch->durability = durability;
}

void batch_begin_load(batch *batch, maph_load *load, const bucket_rules *rules, bool holds) {
  memset(batch, 0, sizeof *batch);
  batch->load = load;
  batch->holds = holds;
  batch->rules = *rules;
}

/* ---------------------------------------------------------------------------------------- holes */
static batch_rc note_hole(batch *batch, uint64_t to, uint64_t behind) {
  group_hole(&batch->group, behind);
  if (batch->holes_count == batch->holes_room) {
    size_t room = batch->holes_room ? 2 * batch->holes_room : 256;
    hole *holes = realloc(batch->holes, room * sizeof *holes);
    if (holes == NULL) return BATCH_MEMORY;
    batch->holes = holes;
    batch->holes_room = room;
  }
  batch->holes[batch->holes_count++] = (hole){ batch->at, to };
  return BATCH_OK;
}

/* Of the holes, those that something is in.  Whoever is asked directly may lag: where it has
** nothing behind the hole, it may not know of the hole either, and the leader is to be asked. */
static stream_rc suspect(connection *connection, const char *bucket, bool direct, hole *holes,
                         size_t *count) {
  enum { AT_ONCE = 512 };
  uint64_t from[AT_ONCE], found[AT_ONCE];
  size_t kept = 0;
  for (size_t done = 0; done < *count;) {
    size_t now = *count - done < AT_ONCE ? *count - done : AT_ONCE;
    stream_rc rc;
    for (size_t i = 0; i < now; i++) from[i] = holes[done + i].after + 1;
    rc = stored_next_of(connection, bucket, direct, now, from, found);
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

static void drop_held(batch *batch) {
  for (size_t i = 0; i < batch->held_count; i++) message_free(batch->held[i].message);
  batch->held_count = 0;
}

/* A load outlives its session: the next one begins behind the last message that is sure. */
static batch_rc go_back(batch *batch, batch_rc why) {
  if (batch->load == NULL) return why;
  drop_held(batch);
  batch->at = batch->held_after;
  batch->last_time_ns = 0;
  batch->holes_count = 0;
  return why;
}

batch_rc batch_check_holes(batch *batch, connection *connection, const char *bucket, bool direct) {
  size_t count = batch->holes_count;
  stream_rc rc = count ? suspect(connection, bucket, direct, batch->holes, &count) : STREAM_OK;
  if (rc == STREAM_OK && count && direct)
    rc = suspect(connection, bucket, false, batch->holes, &count);
  if (rc != STREAM_OK) return go_back(batch, BATCH_ASKING);
  batch->holes_count = 0;
  return count ? go_back(batch, BATCH_LOST) : BATCH_OK;
}

/* -------------------------------------------------------------------------------------- changes */
static batch_rc begin(batch *batch) {
  if (batch->txn) return BATCH_OK;
  batch->began_ms = ticks_ms();
  return of_store(batch, maph_txn_begin(batch->store, batch->durability, &batch->txn));
}

static batch_rc put(batch *batch, const change *change) {
  int rc;
  if (batch->load)
    return of_store(batch, maph_load_put(batch->load, change->key, change->value, &change->how));
  if (change->deleted) {
    rc = maph_txn_delete(batch->txn, change->key);
    return of_store(batch, rc == MAPH_NOTFOUND ? MAPH_OK : rc);
  }
  return of_store(batch, maph_txn_put_if(batch->txn, change->key, change->value, &change->how));
}

static batch_rc apply(batch *batch, uint64_t sequence, const change *change) {
  batch_rc rc = BATCH_OK;
  if (batch->load && batch->markers == NULL
      && (batch->markers = calloc(1, sizeof *batch->markers)) == NULL)
    return BATCH_MEMORY;
  if (batch->load && change->deleted)
    return markers_add(batch->markers, sequence, change->key) ? BATCH_OK : BATCH_MEMORY;
  if (batch->load) {
    rc = of_store(batch, maph_load_at(batch->load, sequence));
  } else {
    rc = begin(batch);
    if (rc == BATCH_OK) rc = of_store(batch, maph_txn_at(batch->txn, sequence));
  }
  return rc == BATCH_OK ? put(batch, change) : rc;
}

static batch_rc take_now(batch *batch, const delivery *delivery) {
  static change change;
  batch_rc rc = BATCH_OK;
  if (change_read(&batch->rules, delivery, &change))
    rc = apply(batch, delivery->sequence, &change);
  else
    batch->left_out++;
  message_free(delivery->message);
  if (rc != BATCH_STORE || batch->store_rc != MAPH_TOOBIG) return rc;
  batch->left_out++;
  return BATCH_OK;
}

static batch_rc hold(batch *batch, const delivery *taken) {
  if (batch->held_count == batch->held_room) {
    size_t room = batch->held_room ? 2 * batch->held_room : 1024;
    delivery *held = realloc(batch->held, room * sizeof *held);
    if (held == NULL) {
      message_free(taken->message);
      return BATCH_MEMORY;
    }
    batch->held = held;
    batch->held_room = room;
  }
  batch->held[batch->held_count++] = *taken;
  return BATCH_OK;
}

batch_rc batch_take(batch *batch, const delivery *delivery) {
  batch_rc rc = BATCH_OK;
  group_take(&batch->group, (txn_part)delivery->part, message_data(delivery->message).size,
             delivery->behind, ticks_ms());
  if (delivery->sequence > batch->at + 1)
    rc = note_hole(batch, delivery->sequence - 1, delivery->behind);
  if (rc != BATCH_OK) {
    message_free(delivery->message);
    return rc;
  }
  anchors_note(&batch->anchors, delivery->key.data, delivery->key.size, delivery->sequence,
               delivery->time_ns);
  rc = batch->load && batch->holds ? hold(batch, delivery) : take_now(batch, delivery);
  batch->at = delivery->sequence;
  batch->last_time_ns = delivery->time_ns;
  batch->count++;
  return rc;
}

batch_rc batch_reach(batch *batch, uint64_t sequence, uint64_t behind) {
  batch_rc rc;
  if (sequence <= batch->at) return BATCH_OK;
  rc = note_hole(batch, sequence, behind);
  batch->at = sequence;
  batch->last_time_ns = 0;
  return rc;
}

batch_rc batch_delete(batch *batch, maph_slice key, uint64_t version) {
  maph_entry entry;
  batch_rc rc = begin(batch);
  if (rc == BATCH_OK) rc = of_store(batch, maph_txn_at(batch->txn, batch->at));
  if (rc != BATCH_OK || maph_txn_get_entry(batch->txn, key, &entry) != MAPH_OK
      || entry.version > version)
    return rc;
  batch->removed++;
  return of_store(batch, maph_txn_delete(batch->txn, key));
}

static batch_rc take_held(batch *batch) {
  batch_rc rc = BATCH_OK;
  for (size_t i = 0; i < batch->held_count; i++) {
    if (rc == BATCH_OK)
      rc = take_now(batch, &batch->held[i]);
    else
      message_free(batch->held[i].message);
  }
  batch->held_count = 0;
  batch->held_after = batch->at;
  batch->count = 0;
  return rc;
}

batch_rc batch_commit(batch *batch) {
  batch_rc rc;
  if (batch->load) return take_held(batch);
  if (batch->txn == NULL && batch->at == batch->committed) return BATCH_OK;
  rc = begin(batch);
  if (rc == BATCH_OK) rc = of_store(batch, maph_txn_at(batch->txn, batch->at));
  if (rc == BATCH_OK) {
    rc = of_store(batch, maph_txn_commit(batch->txn));
    batch->txn = NULL;
  }
  if (rc == BATCH_OK) batch->committed = batch->at;
  batch->count = batch->removed = 0;
  return rc;
}

static batch_rc delete_marked(batch *batch) {
  const unsigned char *p = batch->markers->bytes, *end = p + batch->markers->size;
  batch_rc rc = BATCH_OK;
  while (p < end && rc == BATCH_OK) {
    marker_head head;
    memcpy(&head, p, sizeof head);
    p += sizeof head;
    rc = batch_delete(batch, maph_bytes(p, head.size), head.sequence);
    p += head.size;
  }
  return rc;
}

batch_rc batch_after_load(batch *batch, maph *store) {
  batch_rc rc = BATCH_OK;
  batch->load = NULL;
  batch->store = store;
  if (batch->markers) rc = delete_marked(batch);
  return rc == BATCH_OK ? batch_commit(batch) : rc;
}

void batch_end(batch *batch) {
  if (batch->txn) maph_txn_abort(batch->txn);
  if (batch->markers) free(batch->markers->bytes);
  free(batch->markers);
  free(batch->holes);
  drop_held(batch);
  free(batch->held);
  batch->held = NULL;
  batch->held_room = 0;
  batch->txn = NULL;
  batch->markers = NULL;
  batch->holes = NULL;
  batch->holes_count = batch->holes_room = 0;
}
