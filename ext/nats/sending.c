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
static publishing of_pipe(sending *sending, stream_rc rc) {
  if (rc == STREAM_OK) return PUBLISHING_NOW;
  /* What the bucket has will tell whose it is. */
  if (rc == STREAM_REFUSED && stream_code() == STREAM_CODE_SEQUENCE) {
    sending->publisher->refused = true;
    return PUBLISHING_AGAIN;
  }
  return publish_says(sending->publisher, PUBLISHING_AGAIN, "%s", stream_errmsg());
}

publishing sending_listen(sending *sending, size_t most, int timeout_ms) {
  sidecar_record *record = &sending->publisher->notes.record;
  do {
    uint64_t before = pipe_stored(sending->pipe), whole = record->version;
    stream_rc rc =
        pipe_listen(sending->pipe, pipe_on_its_way(sending->pipe) > most ? timeout_ms : 0, &whole);
    uint64_t count = pipe_stored(sending->pipe) - before;
    child_stamp();
    if (count > 0) {
      record->applied += count;
      record->position = pipe_stored(sending->pipe);
      record->version = whole;
      publisher_heard(sending->publisher);
      sidecar_write(&sending->publisher->notes);
    }
    if (rc != STREAM_OK) return of_pipe(sending, rc);
  } while (pipe_on_its_way(sending->pipe) > most && !child_told());
  return PUBLISHING_NOW;
}

/* -------------------------------------------------------------------------------------- sending */
static publishing send_waiting(sending *sending, bool last) {
  char store[32], txn[32], part[48];
  stream_header headers[3] = { { "Maph-Store", store },
                               { "Maph-Txn", txn },
                               { "Maph-Part", part } };
  int count = last || sending->before == UINT64_MAX ? 2 : 3;
  snprintf(store, sizeof store, "%016" PRIx64 "-%08x", sending->publisher->store_id,
           sending->publisher->me);
  snprintf(txn, sizeof txn, "%" PRIu64 "%s", sending->version, last ? ";last" : "");
  snprintf(part, sizeof part, "%" PRIu64 ";%" PRIu64, sending->before, sending->index);
  if (last) sending->whole = sending->version;
  return of_pipe(sending, pipe_send(sending->pipe, headers, count, sending->whole));
}

/* A key as a person may be shown it. */
static const char *shown(maph_slice key) {
  static char room[4 * 64 + 8];
  maph_slice front = maph_bytes(key.data, key.size > 64 ? 64 : key.size);
  size_t size = shown_text(front, SHOWN_SENTENCE, room);
  strcpy(room + size, key.size > 64 ? "..." : "");
  return room;
}

static publishing refuse(sending *sending, outgoing_rc why, const maph_entry *entry) {
  publisher *publisher = sending->publisher;
  const char *key = shown(entry->key);
  uint64_t version = entry->version;
  if (why == OUTGOING_KEY)
    return publish_says(
        publisher, PUBLISHING_FATAL,
        "%s: version %" PRIu64 ": key %s: the bucket's keys are letters, digits, - _ / = and ., "
        "with no . at either end and no two in a row: use a bucket made with --keys escaped",
        publisher->path, version, key);
  if (why == OUTGOING_LONG)
    return publish_says(publisher, PUBLISHING_FATAL,
                        "%s: version %" PRIu64 ": key %s of %zu bytes is too long for NATS: "
                        "--skip-too-large leaves it out",
                        publisher->path, version, key, entry->key.size);
  return publish_says(publisher, PUBLISHING_FATAL,
                      "%s: version %" PRIu64 ": the value of key %s has %zu bytes, and a message "
                      "of bucket %s at most %" PRIu64 ": raise max_payload of the server, or "
                      "--max-value of the bucket, or leave it out with --skip-too-large",
                      publisher->path, version, key, entry->value.size, publisher->bucket,
                      sending->rules.most);
}

/* Is the change undone by a later one?  Then the bucket need not have it. */
static bool is_past(const sending *sending, const maph_entry *entry) {
  maph_entry now;
  return maph_get_entry(sending->publisher->store, entry->key, &now) != MAPH_OK
         || now.version != entry->version;
}

static publishing judge(sending *sending, outgoing_rc rc, const maph_entry *entry, bool deleted) {
  bool skips = rc != OUTGOING_KEY && option.skip_too_large;
  /* a delete: the bucket never had the key */
  if (rc == OUTGOING_OK || deleted || skips || is_past(sending, entry)) return PUBLISHING_NOW;
  return refuse(sending, rc, entry);
}

publishing sending_judge(sending *sending, const maph_entry *entry, bool deleted) {
  static outgoing message;
  return judge(sending, outgoing_read(&sending->rules, entry, deleted, &message), entry, deleted);
}

publishing sending_take(sending *sending, const maph_entry *entry, bool deleted, uint64_t index) {
  static outgoing message;
  outgoing_rc rc = outgoing_read(&sending->rules, entry, deleted, &message);
  publishing end = judge(sending, rc, entry, deleted);
  if (end != PUBLISHING_NOW || (rc != OUTGOING_OK && deleted)) return end;
  if (rc != OUTGOING_OK && !is_past(sending, entry)) sending->publisher->notes.record.left_out++;
  if (rc == OUTGOING_LONG || rc == OUTGOING_KEY) return end;
  if (pipe_waits(sending->pipe)) end = send_waiting(sending, false);
  if (end == PUBLISHING_NOW && pipe_full(sending->pipe))
    end = sending_listen(sending, pipe_on_its_way(sending->pipe) / 2, 200);
  sending->index = index;
  if (end == PUBLISHING_NOW)
    end = of_pipe(sending, pipe_prepare(sending->pipe, message.subject, message.headers,
                                        message.count, message.data));
  return end;
}

publishing sending_end(sending *sending) {
  publishing end = pipe_waits(sending->pipe) ? send_waiting(sending, true) : PUBLISHING_NOW;
  sending->whole = sending->version;
  return end;
}
