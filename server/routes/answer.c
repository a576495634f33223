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
#include "routes/answer.h"
#include "routes/handling.h"
#include "routes/replica.h"
#include "store/bucket.h"
#include "store/folder.h"

static atomic_uint_fast64_t memory_used;

bool memory_reserve(uint64_t bytes) {
  if (atomic_fetch_add(&memory_used, bytes) + bytes <= option.memory) return true;
  atomic_fetch_sub(&memory_used, bytes);
  return false;
}
void memory_release(uint64_t bytes) { atomic_fetch_sub(&memory_used, bytes); }

void reply_sentence(const request *request, int rc, maph *m, char *out, size_t room) {
  bool has_path = sentence_public(out, room, store_errmsg(rc, m));
  if (rc == MAPH_FULL) room_refused();
  if (has_path && maph_status(store_core_code(rc)) >= 500 && rc != MAPH_BUSY && rc >= 0)
    log_line("request %s: %s", request->id, maph_errmsg(m));
}

const char *problem_code(int rc, maph *m) {
  maph_stats stats;
  bool replica = rc == MAPH_READONLY && m && maph_stat(m, &stats) == MAPH_OK
                 && stats.versions == MAPH_VERSIONS_GIVEN;
  return replica ? "replica" : maph_code(store_core_code(rc));
}

void reply_maph(request *request, int rc, maph *m) {
  char sentence[SENTENCE_ROOM];
  reply_sentence(request, rc, m, sentence, sizeof sentence);
  reply_problem(request, maph_status(store_core_code(rc)), problem_code(rc, m), "%s", sentence);
}

void reply_no_folder(request *request, bool to_write, int error) {
  reply_problem(request, 503, "folder_unusable", "the folder of stores cannot be %s: %s",
                to_write ? "read and written" : "read", strerror(error));
}

/* A store that is not there, unless nothing is: whoever takes a file system that is away for stores
** that were deleted would make them anew. */
void reply_no_store(request *request, const char *sentence) {
  int trouble = folder_trouble(false);
  if (trouble)
    reply_no_folder(request, false, trouble);
  else
    reply_problem(request, 404, "store_not_found", "%s", sentence);
}

void reply_store(request *request, int rc) {
  if (rc == MAPH_CANTOPEN) {
    store_forget(store_of(request));
    if (!store_file_exists(store_of(request)->name, strlen(store_of(request)->name))) {
      reply_no_store(request, "the store was deleted meanwhile");
      return;
    }
  }
  reply_maph(request, rc, store_of(request)->m);
}

bool query_flag(request *request, const char *name, bool *flag) {
  char code[32];
  maph_slice value;
  char digit;
  if (!request_query(request, name, &value)) return true;
  digit = value.size == 1 ? *(const char *)value.data : 0;
  *flag = digit == '1';
  if (digit == '0' || digit == '1') return true;
  snprintf(code, sizeof code, "bad_%s", name);
  reply_problem(request, 400, code, "%s is 0 or 1", name);
  return false;
}

static void query_bound(request *request, const char *name, maph_slice *bound) {
  if (!request_query(request, name, bound) || bound->size == 0) *bound = (maph_slice){ NULL, 0 };
}

bool query_range(request *request, maph_range *range) {
  bool reverse = false;
  query_bound(request, "from", &range->from);
  query_bound(request, "to", &range->to);
  query_bound(request, "prefix", &range->prefix);
  if (!query_flag(request, "reverse", &reverse)) return false;
  if (reverse) range->flags |= MAPH_RANGE_REVERSE;
  return true;
}

bool query_durability(request *request, int *durability) {
  maph_slice value;
  *durability = MAPH_SYNC_DEFAULT;
  if (!request_query(request, "sync", &value)) return true;
  *durability = durability_from_name(value.data, value.size);
  if (*durability >= 0) return true;
  reply_problem(request, 400, "bad_sync", "sync is off, normal or full");
  return false;
}

bool write_holds(request *request) {
  maph *m = store_of(request)->m;
  if (m == NULL || !maph_guarded(m)) return true;
  reply_problem(request, 500, "file_truncated",
                "the file of %s was shortened or made immutable while it was open, or its disk "
                "fails; writes to it are refused until a restart",
                store_of(request)->name);
  return false;
}

bool write_allowed(request *request) {
  char obstacle[sizeof store_of(request)->obstacle];
  if (!store_of(request)->read_only) return write_holds(request);
  store_obstacle(store_of(request), obstacle, sizeof obstacle);
  reply_problem(request, 403, "read_only", "this server may only read %s: %s",
                store_of(request)->name, obstacle);
  return false;
}

bool change_allowed(request *request) {
  char sentence[SENTENCE_ROOM];
  if (!store_of(request)->replica) return write_allowed(request);
  if (bucket_takes(true)) {
    reply_problem(request, 409, "no_transactions",
                  "%s is a replica of a bucket of NATS, which has no transactions: a request "
                  "writes one key of it",
                  store_of(request)->name);
    return false;
  }
  replica_sentence(store_of(request)->name, sentence, sizeof sentence);
  reply_problem(request, 403, "replica", "%s", sentence);
  return false;
}

/* JSON by any name that says so, and by those that say nothing: curl -d sends a form's. */
bool body_is_json(request *request, bool *lines) {
  static const char *const silent[] = { "application/x-www-form-urlencoded",
                                        "application/octet-stream", "text/plain" };
  const char *type = request_header(request, "Content-Type");
  *lines = false;
  if (type == NULL || *type == 0) return true;
  *lines =
      strcasestr(type, "ndjson") || strcasestr(type, "jsonl") || strcasestr(type, "json-lines");
  if (*lines || strcasestr(type, "json")) return true;
  for (int i = 0; i < 3; i++)
    if (strncasecmp(type, silent[i], strlen(silent[i])) == 0) return true;
  reply_problem(request, 415, "bad_media_type",
                "the body is JSON (application/json) or a JSON text a line (application/x-ndjson)");
  return false;
}
