/*
** sending.c - changes of a store, as messages of transactions (publish.h).
**
** A message waits for the next one of its transaction, or for its end: only then is it known which
** is the last.
*/
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "entry/shown.h"
#include "nats/child.h"
#include "nats/option.h"
#include "nats/publish.h"
#include "nats/replica.h"

/* ----------------------------------------------------------------------------------- listening */
static publishing of_pipe(sending *s, stream_rc rc) {
  if (rc == STREAM_OK) return PUBLISHING_NOW;
  /* What the bucket has will tell whose it is. */
  if (rc == STREAM_REFUSED && stream_code() == STREAM_CODE_SEQUENCE) {
    s->p->refused = true;
    return PUBLISHING_AGAIN;
  }
  return publish_says(s->p, PUBLISHING_AGAIN, "%s", stream_errmsg());
}

publishing sending_listen(sending *s, size_t most, int timeout_ms) {
  sidecar_record *record = &s->p->notes.record;
  do {
    uint64_t before = pipe_stored(s->pipe), whole = record->version;
    stream_rc rc = pipe_listen(s->pipe, pipe_on_its_way(s->pipe) > most ? timeout_ms : 0, &whole);
    uint64_t count = pipe_stored(s->pipe) - before;
    child_stamp();
    if (count > 0) {
      record->applied += count;
      record->position = pipe_stored(s->pipe);
      record->version = whole;
      record->heard_ms = now_ms();
      sidecar_write(&s->p->notes);
    }
    if (rc != STREAM_OK) return of_pipe(s, rc);
  } while (pipe_on_its_way(s->pipe) > most && !child_told());
  return PUBLISHING_NOW;
}

/* -------------------------------------------------------------------------------------- sending */
static publishing send_waiting(sending *s, bool last) {
  char store[32], txn[32], part[48];
  stream_header headers[3] = { { "Maph-Store", store },
                               { "Maph-Txn", txn },
                               { "Maph-Part", part } };
  int count = last || s->before == UINT64_MAX ? 2 : 3;
  snprintf(store, sizeof store, "%016" PRIx64 "-%08x", s->p->store_id, s->p->me);
  snprintf(txn, sizeof txn, "%" PRIu64 "%s", s->version, last ? ";last" : "");
  snprintf(part, sizeof part, "%" PRIu64 ";%" PRIu64, s->before, s->index);
  if (last) s->whole = s->version;
  return of_pipe(s, pipe_send(s->pipe, headers, count, s->whole));
}

/* A key as a person may be shown it. */
static const char *shown(maph_slice key) {
  static char room[4 * 64 + 8];
  maph_slice front = maph_bytes(key.data, key.size > 64 ? 64 : key.size);
  size_t size = shown_text(front, SHOWN_SENTENCE, room);
  strcpy(room + size, key.size > 64 ? "..." : "");
  return room;
}

static publishing refuse(sending *s, outgoing_rc why, const maph_entry *entry) {
  publisher *p = s->p;
  const char *key = shown(entry->key);
  uint64_t version = entry->version;
  if (why == OUTGOING_KEY)
    return publish_says(
        p, PUBLISHING_FATAL,
        "%s: version %" PRIu64 ": key %s: the bucket's keys are letters, digits, - _ / = and ., "
        "with no . at either end and no two in a row: use a bucket made with --keys escaped",
        p->path, version, key);
  if (why == OUTGOING_LONG)
    return publish_says(p, PUBLISHING_FATAL,
                        "%s: version %" PRIu64 ": key %s of %zu bytes is too long for NATS: "
                        "--skip-too-large leaves it out",
                        p->path, version, key, entry->key.size);
  return publish_says(p, PUBLISHING_FATAL,
                      "%s: version %" PRIu64 ": the value of key %s has %zu bytes, and a message "
                      "of bucket %s at most %" PRIu64 ": raise max_payload of the server, or "
                      "--max-value of the bucket, or leave it out with --skip-too-large",
                      p->path, version, key, entry->value.size, p->bucket, s->rules.most);
}

/* Is the change undone by a later one?  Then the bucket need not have it. */
static bool is_past(const sending *s, const maph_entry *entry) {
  maph_entry now;
  return maph_get_entry(s->p->store, entry->key, &now) != MAPH_OK || now.version != entry->version;
}

static publishing judge(sending *s, outgoing_rc rc, const maph_entry *entry, bool deleted) {
  bool skips = rc != OUTGOING_KEY && option.skip_too_large;
  /* a delete: the bucket never had the key */
  if (rc == OUTGOING_OK || deleted || skips || is_past(s, entry)) return PUBLISHING_NOW;
  return refuse(s, rc, entry);
}

publishing sending_judge(sending *s, const maph_entry *entry, bool deleted) {
  static outgoing message;
  return judge(s, outgoing_read(&s->rules, entry, deleted, &message), entry, deleted);
}

publishing sending_take(sending *s, const maph_entry *entry, bool deleted, uint64_t index) {
  static outgoing message;
  outgoing_rc rc = outgoing_read(&s->rules, entry, deleted, &message);
  publishing end = judge(s, rc, entry, deleted);
  if (end != PUBLISHING_NOW || (rc != OUTGOING_OK && deleted)) return end;
  if (rc != OUTGOING_OK && !is_past(s, entry)) s->p->notes.record.left_out++;
  if (rc == OUTGOING_LONG || rc == OUTGOING_KEY) return end;
  if (pipe_waits(s->pipe)) end = send_waiting(s, false);
  if (end == PUBLISHING_NOW && pipe_full(s->pipe))
    end = sending_listen(s, pipe_on_its_way(s->pipe) / 2, 200);
  s->index = index;
  if (end == PUBLISHING_NOW)
    end = of_pipe(
        s, pipe_prepare(s->pipe, message.subject, message.headers, message.count, message.data));
  return end;
}

publishing sending_end(sending *s) {
  publishing end = pipe_waits(s->pipe) ? send_waiting(s, true) : PUBLISHING_NOW;
  s->whole = s->version;
  return end;
}
