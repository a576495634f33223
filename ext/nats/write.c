/*
** write.c - the commands that speak with the bucket for whoever calls them: put, del and get.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "entry/entry.h"
#include "nats/keys.h"
#include "nats/option.h"
#include "nats/put.h"
#include "nats/replica.h"
#include "nats/wait.h"
#include "nats/watchdog.h"

enum { VALUE_MOST = 64 * 1024 * 1024 }; /* a server takes no larger message, whatever it is told */

/* A call may take what it was given and some seconds more. */
static void watch(uint64_t timeout_ms, const char *words) {
  watchdog_begin(timeout_ms + 9000, words);
}

/* ---------------------------------------------------------------------------------------- value */
static bool read_all(int fd, const char *name, char **bytes, size_t *size) {
  size_t room = 65536;
  char *memory = malloc(room);
  *size = 0;
  while (memory) {
    ssize_t n;
    if (*size == room) {
      char *more = room < 2 * (size_t)VALUE_MOST ? realloc(memory, 2 * room) : NULL;
      if (more == NULL) break;
      memory = more;
      room *= 2;
    }
    n = read(fd, memory + *size, room - *size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      complain("%s: %s", name, strerror(errno));
      free(memory);
      return false;
    }
    if (n == 0) {
      *bytes = memory;
      return true;
    }
    *size += (size_t)n;
  }
  complain("%s: the value is too large: NATS takes none above 64 MiB", name);
  free(memory);
  return false;
}

/* From the command line, a file or standard input.  *held is to be freed. */
static bool read_value(const char *const *words, int count, char **held, maph_slice *value) {
  const char *path = option.file;
  size_t size;
  int fd = STDIN_FILENO;
  bool ok;
  *held = NULL;
  if (count == 3 && path) return complain("VALUE or --file, not both") == DONE;
  if (count == 3) {
    *value = maph_str(words[2]);
    return true;
  }
  if (path && strcmp(path, "-") != 0 && (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
    return complain("%s: %s", path, strerror(errno)) == DONE;
  ok = read_all(fd, fd == STDIN_FILENO ? "standard input" : path, held, &size);
  if (fd != STDIN_FILENO) close(fd);
  if (ok) *value = maph_bytes(*held, size);
  return ok;
}

/* ---------------------------------------------------------------------------------- put and del */
static bool bucket_named(const char *name) {
  if (keys_bucket_valid(maph_str(name))) return true;
  return complain("%s: the name of a bucket is of letters, digits, - and _, at most %d", name,
                  KEYS_BUCKET)
         == DONE;
}

static bool read_condition(put_request *request) {
  if (option.if_absent && option_given(&option.if_revision))
    return complain("--if-absent or --if-revision, not both") == DONE;
  if (option.if_absent) request->when = PUT_IF_ABSENT;
  if (option_given(&option.if_revision)) {
    request->when = PUT_IF_REVISION;
    request->revision = option.if_revision;
  }
  return true;
}

static bool read_properties(put_request *request) {
  const char *mistake = option.media_type ? kv_check_media_type(option.media_type) : NULL;
  if (mistake) return complain("--media-type: %s", mistake) == DONE;
  if (option.type && entry_type_from_name(option.type) < 0)
    return complain("--type: blob, text, json, integer, real or null, and not \"%s\"", option.type)
           == DONE;
  request->type = option.type;
  request->media_type = option.media_type;
  if (option_given(&option.ttl_ms)) request->expires = now_ms() + option.ttl_ms;
  return true;
}

static void tell(const put_request *request, bool done, uint64_t revision) {
  if (option.json)
    printf("{\"success\":%s,\"revision\":%llu}\n", done ? "true" : "false",
           (unsigned long long)revision);
  else if (done && !request->deletes && !option.quiet)
    printf("%llu\n", (unsigned long long)revision);
  fflush(stdout);
}

static int carry_out(const put_request *request) {
  put_result result;
  watch(request->timeout_ms, "whether it was written is unknown: the server fell silent");
  switch (put_write(NULL, request, &result)) {
    case PUT_DONE:
      tell(request, true, result.revision);
      if (option.wait == NULL) return DONE;
      watch(request->timeout_ms, "it is written, but the replica did not answer");
      return wait_for_revision(option.wait, result.revision, request->timeout_ms);
    case PUT_NOT_HELD:
      if (option.json) tell(request, false, result.revision);
      if (!option.quiet) complain("%s", result.sentence);
      return UNMET;
    case PUT_REFUSED:
    case PUT_UNKNOWN: break;
  }
  return complain("%s", result.sentence);
}

int command_put(const char *const *words, int count) {
  put_request request = { .bucket = words[0],
                          .key = maph_str(words[1]),
                          .timeout_ms = option.timeout_ms };
  char *held;
  int status = FAILED;
  if (!bucket_named(words[0]) || !read_condition(&request) || !read_properties(&request))
    return FAILED;
  if (read_value(words, count, &held, &request.value)) status = carry_out(&request);
  free(held);
  return status;
}

int command_del(const char *const *words, int count) {
  put_request request = { .bucket = words[0],
                          .key = maph_str(words[1]),
                          .deletes = true,
                          .when = PUT_IF_PRESENT,
                          .timeout_ms = option.timeout_ms };
  (void)count;
  if (!bucket_named(words[0]) || !read_condition(&request)) return FAILED;
  return carry_out(&request);
}

/* ------------------------------------------------------------------------------------------ get */
static bool put_out(void *none, const void *bytes, size_t size) {
  (void)none;
  return fwrite(bytes, 1, size, stdout) == size;
}

static bool show_json(maph_slice key, const stored *found, const kv_entry *entry) {
  json_writer out;
  json_write_begin(&out, put_out, NULL);
  json_write_text(&out, "{");
  json_write_bytes(&out, "key", "key_encoding", key);
  json_write_text(&out, ",");
  json_write_bytes(&out, "value", "encoding", found->data);
  json_write_text(&out, ",\"revision\":");
  json_write_number(&out, found->sequence);
  json_write_text(&out, ",\"size\":");
  json_write_number(&out, found->data.size);
  json_write_text(&out, ",\"type\":\"");
  json_write_text(&out, entry_type_name(entry->type));
  json_write_text(&out, "\"");
  if (entry->media_type.size) {
    json_write_text(&out, ",");
    json_write_bytes(&out, "media_type", "media_type_encoding", entry->media_type);
  }
  if (entry->expires) {
    json_write_text(&out, ",\"expires_at\":");
    json_write_number(&out, entry->expires);
  }
  json_write_text(&out, "}\n");
  return json_write_end(&out);
}

int command_get(const char *const *words, int count) {
  put_request request = { .bucket = words[0],
                          .key = maph_str(words[1]),
                          .timeout_ms = option.timeout_ms };
  put_result result;
  kv_entry entry;
  stored found;
  stream_rc rc;
  bool shown;
  (void)count;
  if (!bucket_named(words[0])) return FAILED;
  watch(option.timeout_ms, "the server fell silent");
  rc = put_read(NULL, &request, &found, &entry, &result);
  if (rc == STREAM_NONE) {
    if (!option.quiet) complain("no such key");
    return UNMET;
  }
  if (rc != STREAM_OK) return complain("%s", result.sentence);
  shown = option.json ? show_json(request.key, &found, &entry)
                      : put_out(NULL, found.data.data, found.data.size);
  stored_free(&found);
  if (fflush(stdout) != 0 || !shown) return complain("standard output: it cannot be written to");
  return DONE;
}
