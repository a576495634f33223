/*
** stores.c - the stores of the folder: listing, describing, making, deleting them.
*/
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include "access/auth.h"
#include "base/emit.h"
#include "base/options.h"
#include "base/sentence.h"
#include "base/uri.h"
#include "http/body.h"
#include "routes/answer.h"
#include "routes/handlers.h"
#include "routes/handling.h"
#include "routes/replica.h"
#include "store/bucket.h"
#include "store/folder.h"

enum { CREATE_BODY_MAX = 65536, EXPECTED_KEYS_MAX = 10000000, INDEX_BYTES_MOST = 25 };

/* --------------------------------------------------------------------------------- descriptions */
static void store_stats_json(buffer *buffer, const char *name, const maph_stats *stats,
                             bool read_only) {
  buffer_printf(buffer, "{\"name\":\"%s\",", name);
  emit_stats(buffer, stats);
  replica_emit(buffer, name, stats);
  if (stats->versions == MAPH_VERSIONS_GIVEN)
    buffer_text(buffer, bucket_takes(true) ? ",\"forwarded\":true" : ",\"forwarded\":false");
  buffer_text(buffer, read_only ? ",\"read_only\":true}" : ",\"read_only\":false}");
}

static void list_one(buffer *buffer, const char *name) {
  char sentence[SENTENCE_ROOM];
  maph_stats stats;
  const char *occupant = store_occupant(name, strlen(name));
  int rc;
  store *store = store_acquire(name, strlen(name), false, &rc);
  if (store && (rc = maph_stat(store->m, &stats)) == MAPH_OK)
    store_stats_json(buffer, name, &stats, store->read_only);
  else {
    buffer_printf(buffer, "{\"name\":\"%s\",\"error\":{\"code\":\"%s\",", name,
                  rc == MAPH_NOTFOUND ? "store_not_found" : maph_code(store_core_code(rc)));
    if (occupant)
      snprintf(sentence, sizeof sentence, "no store: %s has this name", occupant);
    else
      sentence_public(sentence, sizeof sentence,
                      rc == MAPH_NOTFOUND ? "no store" : store_errmsg(rc, store ? store->m : NULL));
    emit_bytes(buffer, "detail", "detail_encoding", maph_str(sentence));
    buffer_text(buffer, "}}");
    if (store && rc == MAPH_CANTOPEN) store_forget(store);
  }
  store_release(store);
}

void stores_list(request *request) {
  size_t count;
  char **names = folder_names(&count);
  buffer *buffer = request->reply.body;
  if (names == NULL) {
    reply_no_folder(request, false, errno);
    return;
  }
  reply_extra(request, "Maph-Role: %s", option.read_only ? "read" : auth_role_name(request, NULL));
  buffer->size = 0;
  buffer_text(buffer, "[");
  for (size_t i = 0; i < count; i++) {
    if (auth_holds(request, ROLE_READ, names[i])) {
      if (buffer->size > 1) buffer_text(buffer, ",\n");
      list_one(buffer, names[i]);
    }
    free(names[i]);
  }
  free(names);
  buffer_text(buffer, "]\n");
  reply_json(request, 200, buffer);
}

void store_stats(request *request) {
  maph_stats stats;
  int rc = maph_stat(store_of(request)->m, &stats);
  if (rc != MAPH_OK) {
    reply_store(request, rc);
    return;
  }
  reply_extra(request, "Maph-Role: %s", auth_role_name(request, store_of(request)->name));
  request->reply.body->size = 0;
  store_stats_json(request->reply.body, store_of(request)->name, &stats,
                   store_of(request)->read_only);
  buffer_text(request->reply.body, "\n");
  reply_json(request, 200, request->reply.body);
}

void store_sync(request *request) {
  int rc;
  if (!write_allowed(request)) return;
  rc = maph_sync(store_of(request)->m);
  if (rc != MAPH_OK) {
    reply_store(request, rc);
    return;
  }
  request->reply.body->size = 0;
  buffer_text(request->reply.body, "{\"success\":true}\n");
  reply_json(request, 200, request->reply.body);
}

/* -------------------------------------------------------------------------- making and deleting */
/* The optional body of a POST: {"expected_keys": N}.  False: answered. */
static bool read_create_options(request *request, uint64_t *expected) {
  static const char member[] = "\"expected_keys\"";
  maph_slice body, name, value;
  json_reader in;
  bool first = true, given = false, ok;
  *expected = 0;
  if (!body_all(request, CREATE_BODY_MAX, &body)) return false;
  if (body.size == 0) return true;
  in = json_begin(json_skip_mark(body));
  ok = json_next(&in, '{');
  while (ok && json_member(&in, &first, &name, &value)) {
    ok = !given && name.size == sizeof member - 1 && memcmp(name.data, member, name.size) == 0
         && json_whole_number(value, EXPECTED_KEYS_MAX, expected);
    given = true;
  }
  if (ok && json_end(&in)) return true;
  reply_problem(request, 400, "bad_options",
                "the body of a store's POST is empty or {\"expected_keys\": N}, N at most %d",
                EXPECTED_KEYS_MAX);
  return false;
}

/* An index that would fill the disk is not begun: while it grew, the writes of all other stores
** would fail.  False: answered. */
static bool index_fits(request *request, uint64_t keys) {
  struct statvfs disk;
  uint64_t free_bytes;
  if (keys == 0 || statvfs(option.data, &disk) != 0) return true;
  free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
  if (keys * INDEX_BYTES_MOST <= free_bytes) return true;
  reply_problem(request, 507, "full",
                "an index of %llu keys may take %llu bytes, and %llu are free",
                (unsigned long long)keys, (unsigned long long)keys * INDEX_BYTES_MOST,
                (unsigned long long)free_bytes);
  return false;
}

static bool check_name(request *request) {
  maph_slice name = segment_of(request, 0);
  if (store_name_valid(name.data, name.size)) return true;
  reply_problem(request, 400, "bad_store_name",
                "a store's name is a letter or digit and then up to 63 of letters, digits, . _ -");
  return false;
}

void store_create(request *request) {
  maph_slice name = segment_of(request, 0);
  const char *occupant;
  uint64_t keys = 0;
  int rc, trouble;
  if (!check_name(request) || !read_create_options(request, &keys) || !index_fits(request, keys))
    return;
  if (!option.read_only && !store_file_exists(name.data, name.size)
      && !replica_spares(request, name))
    return;
  rc = option.read_only ? MAPH_READONLY : store_make(name.data, name.size, keys);
  if (rc == MAPH_OK) {
    reply_start(request, 201);
    buffer_printf(request->reply.head, "Location: /stores/%.*s\r\n", (int)name.size,
                  (const char *)name.data);
    request->reply.body->size = 0;
    buffer_printf(request->reply.body, "{\"success\":true,\"name\":\"%.*s\"}\n", (int)name.size,
                  (const char *)name.data);
    reply_json(request, 201, request->reply.body);
  } else if (rc != MAPH_READONLY && (occupant = store_occupant(name.data, name.size)) != NULL) {
    reply_problem(request, 409, "name_occupied", "%s has that name: DELETE it, or choose another",
                  occupant);
  } else if (rc == MAPH_EXISTS)
    reply_problem(request, 409, "store_exists", "there is a store of that name");
  else if (option.read_only)
    reply_problem(request, 403, "read_only", "this server was started with --read-only");
  else if (rc == MAPH_CANTOPEN && (trouble = folder_trouble(false)) != 0)
    reply_no_folder(request, false, trouble);
  else
    reply_maph(request, rc, NULL);
}

/* What has the name of a store stays. */
static void reply_occupied(request *request, const char *occupant, int trouble) {
  if (trouble == ENOTEMPTY || trouble == EEXIST)
    reply_problem(request, 409, "name_occupied",
                  "%s has that name, and something lies in it: only the server's operator may "
                  "remove that",
                  occupant);
  else
    reply_problem(request, 500, "io_error", "what has that name cannot be removed: %s",
                  strerror(trouble));
}

void store_destroy(request *request) {
  maph_slice name = segment_of(request, 0);
  const char *occupant;
  int rc, trouble;
  if (!check_name(request)) return;
  if (option.read_only) {
    reply_problem(request, 403, "read_only", "this server was started with --read-only");
    return;
  }
  if (!replica_spares(request, name)) return;
  occupant = store_occupant(name.data, name.size);
  rc = store_delete(name.data, name.size, &trouble);
  if (rc == MAPH_OK)
    reply_empty(request, 204);
  else if (trouble)
    reply_occupied(request, occupant ? occupant : "a file", trouble);
  else if (rc == MAPH_NOTFOUND || !store_file_exists(name.data, name.size))
    reply_no_store(request, "there is no store of that name");
  else
    reply_maph(request, rc, NULL);
}
