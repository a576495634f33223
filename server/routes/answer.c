/*
** answer.c - what several handlers answer about stores and writes.
*/
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/options.h"
#include "base/room.h"
#include "base/sentence.h"
#include "base/sigbus.h"
#include "routes/answer.h"

static atomic_uint_fast64_t memory_used;

bool memory_reserve(uint64_t bytes) {
  if (atomic_fetch_add(&memory_used, bytes) + bytes <= option.memory) return true;
  atomic_fetch_sub(&memory_used, bytes);
  return false;
}
void memory_release(uint64_t bytes) { atomic_fetch_sub(&memory_used, bytes); }

void reply_sentence(const request *r, int rc, maph *m, char *out, size_t room) {
  bool has_path = sentence_public(out, room, store_errmsg(rc, m));
  if (rc == MAPH_FULL) room_refused();
  if (has_path && maph_status(store_core_code(rc)) >= 500 && rc != MAPH_BUSY && rc >= 0)
    log_line("request %s: %s", r->id, maph_errmsg(m));
}

void reply_maph(request *r, int rc, maph *m) {
  char sentence[SENTENCE_ROOM];
  reply_sentence(r, rc, m, sentence, sizeof sentence);
  reply_problem(r, maph_status(store_core_code(rc)), maph_code(store_core_code(rc)), "%s",
                sentence);
}

void reply_no_folder(request *r, bool to_write, int error) {
  reply_problem(r, 503, "folder_unusable", "the folder of stores cannot be %s: %s",
                to_write ? "read and written" : "read", strerror(error));
}

/* A store that is not there, unless nothing is: who takes a file system that is away for stores
** that were deleted would make them anew. */
void reply_no_store(request *r, const char *sentence) {
  int trouble = stores_folder_trouble(false);
  if (trouble)
    reply_no_folder(r, false, trouble);
  else
    reply_problem(r, 404, "store_not_found", "%s", sentence);
}

void reply_store(request *r, int rc) {
  if (rc == MAPH_CANTOPEN) {
    store_forget(r->store);
    if (!store_file_exists(r->store->name, strlen(r->store->name))) {
      reply_no_store(r, "the store was deleted meanwhile");
      return;
    }
  }
  reply_maph(r, rc, r->store->m);
}

bool query_flag(request *r, const char *name, bool *flag) {
  char code[32];
  maph_slice value;
  char digit;
  if (!request_query(r, name, &value)) return true;
  digit = value.size == 1 ? *(const char *)value.data : 0;
  *flag = digit == '1';
  if (digit == '0' || digit == '1') return true;
  snprintf(code, sizeof code, "bad_%s", name);
  reply_problem(r, 400, code, "%s is 0 or 1", name);
  return false;
}

bool query_durability(request *r, int *durability) {
  maph_slice value;
  *durability = MAPH_SYNC_DEFAULT;
  if (!request_query(r, "sync", &value)) return true;
  *durability = durability_from_name(value.data, value.size);
  if (*durability >= 0) return true;
  reply_problem(r, 400, "bad_sync", "sync is off, normal or full");
  return false;
}

bool write_holds(request *r) {
  if (!sigbus_happened()) return true;
  reply_problem(
      r, 500, "file_truncated",
      "somebody shortened the file of a store that is open; writes are refused until a restart");
  return false;
}

bool write_allowed(request *r) {
  char obstacle[sizeof r->store->obstacle];
  if (!r->store->read_only) return write_holds(r);
  store_obstacle(r->store, obstacle, sizeof obstacle);
  reply_problem(r, 403, "read_only", "this server may only read %s: %s", r->store->name, obstacle);
  return false;
}

/* JSON by any name that says so, and by those that say nothing: curl -d sends a form's. */
bool body_is_json(request *r, bool *lines) {
  static const char *const silent[] = { "application/x-www-form-urlencoded",
                                        "application/octet-stream", "text/plain" };
  const char *type = request_header(r, "Content-Type");
  *lines = false;
  if (type == NULL || *type == 0) return true;
  *lines =
      strcasestr(type, "ndjson") || strcasestr(type, "jsonl") || strcasestr(type, "json-lines");
  if (*lines || strcasestr(type, "json")) return true;
  for (int i = 0; i < 3; i++)
    if (strncasecmp(type, silent[i], strlen(silent[i])) == 0) return true;
  reply_problem(r, 415, "bad_media_type",
                "the body is JSON (application/json) or a JSON text a line (application/x-ndjson)");
  return false;
}
