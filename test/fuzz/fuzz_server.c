/*
** fuzz_server.c - the whole server but for civetweb, under libFuzzer: guard, routes, parsers and
** handlers over a real store.
**
** An input is a request as it stands on the wire; its body comes to the handlers in pieces whose
** size the input chooses.  This file stands in for civetweb.c and the clock.  Whatever the input,
** there must be exactly one answer that is well-formed, nothing may be left allocated, and the
** store must stay sound.
*/
#include <assert.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "access/guard.h"
#include "base/clock.h"
#include "base/options.h"
#include "http/access_log.h"
#include "http/body.h"
#include "http/http.h"
#include "http/reply.h"
#include "serve.h"
#include "store/stores.h"

enum { ROOM = 1 << 18, ANSWER_ROOM = 1 << 22, RESTORED_EACH = 5000 };
static buffer head, body, scratch;
static char *decoded;
static char answer[4096];
static size_t answer_size, total_sent;
static const uint8_t *input;
static size_t input_size, piece;

/* ------------------------------------------------------------------- in the place of civetweb.c */
long http_read(request *r, void *data, size_t size) {
  size_t n = size < piece ? size : piece;
  (void)r;
  if (n > input_size) n = input_size;
  memcpy(data, input, n);
  input += n;
  input_size -= n;
  return (long)n;
}
bool http_write(request *r, const void *data, size_t size) {
  size_t keep = size < sizeof answer - answer_size ? size : sizeof answer - answer_size;
  memcpy(answer + answer_size, data, keep);
  answer_size += keep;
  total_sent += size;
  r->reply.bytes_out += size;
  if (total_sent > ANSWER_ROOM) r->reply.broken = true;
  return !r->reply.broken;
}
long http_receive(request *r, void *data, size_t size) {
  return input_size ? http_read(r, data, size) : -1;
}
bool http_client_there(const request *r) {
  (void)r;
  return false;
}
void http_sleep(const request *r, int descriptor, bool input, uint64_t most_us) {
  (void)r, (void)descriptor, (void)input, (void)most_us;
}
bool http_watch_begin(request *r) { return r != NULL; }
void http_watch_end(request *r) { (void)r; }
bool http_timed_out(const request *r) {
  (void)r;
  return false;
}
void http_disable_keep_alive(request *r) { (void)r; }
bool http_draining(void) { return false; }
bool http_crowded(const request *r) { return r == NULL; }
http_counts http_count(void) {
  http_counts n = { 0 };
  return n;
}
uint64_t now_us(void) {
  static uint64_t now;
  return now += 1000;
}
uint64_t wall_ms(void) { return 1800000000000u; }
void clock_condition(pthread_cond_t *condition) { pthread_cond_init(condition, NULL); }
struct timespec clock_after(uint64_t seconds) {
  return (struct timespec){ (time_t)seconds, 0 };
}

/* ------------------------------------------------------------------------------------ a request */
static char *cut(char **text, const char *at) {
  char *start = *text, *end = start + strcspn(start, at);
  *text = *end ? end + 1 : end;
  *end = 0;
  return start;
}

static void read_headers(request *r, char **text) {
  while (**text && **text != '\n' && r->header_count < HEADER_MAX) {
    char *line = cut(text, "\n"), *value = strchr(line, ':');
    if (value == NULL) continue;
    *value++ = 0;
    r->headers[r->header_count].name = line;
    r->headers[r->header_count].name_size = (unsigned)strlen(line);
    r->headers[r->header_count++].value = value + strspn(value, " ");
  }
  r->truncated_headers = r->header_count == HEADER_MAX;
}

/* Jobs run in threads of their own and long polls wait: their handlers have tests of their own. */
static bool left_out(const char *path, const char *query) {
  static const char *const words[] = { "/check", "/compact", "/optimize", "/backup", "/sync" };
  for (int i = 0; i < 5; i++)
    if (strstr(path, words[i])) return true;
  return strstr(path, "/changes") && query && strstr(query, "wait");
}

static void dispatch(char *text, size_t size) {
  static request r;
  char *at = text, *target, *query;
  memset(&r, 0, sizeof r);
  r.method_name = cut(&at, " ");
  r.method = method_from_name(r.method_name);
  target = cut(&at, " ");
  query = strchr(target, '?');
  if (query) *query++ = 0;
  r.path = target;
  r.query_text = query;
  r.version = *cut(&at, "\n") == '0' ? "1.0" : "1.1";
  r.remote = "127.0.0.1";
  read_headers(&r, &at);
  if (*at == '\n') at++;
  input = (const uint8_t *)at;
  input_size = size - (size_t)(at - text);
  r.reply.head = &head;
  r.reply.body = &body;
  r.upload.scratch = &scratch;
  r.decoded = decoded;
  strcpy(r.id, "fuzz");
  answer_size = total_sent = 0;
  if (left_out(r.path, r.query_text)) return;
  serve_callbacks().answer(&r);
  assert(r.reply.status >= 101 && r.reply.status < 600
         && strcmp(status_title(r.reply.status), "Unknown") != 0);
  assert(r.reply.broken || (answer_size > 12 && memcmp(answer, "HTTP/1.1 ", 9) == 0));
  assert(r.handling == NULL);
  body_release(&r);
  buffer_reset(&head, 65536);
  buffer_reset(&body, 65536);
  buffer_reset(&scratch, 65536);
}

/* ------------------------------------------------------------------------------------ the store */
static char folder[64] = "/dev/shm/maph-fuzz-XXXXXX";

static void clean(void) {
  char command[128];
  stores_close_all();
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (system(command) != 0) fprintf(stderr, "cannot remove %s\n", folder);
}

static void text_request(const char *text) {
  char copy[256];
  snprintf(copy, sizeof copy, "%s", text);
  dispatch(copy, strlen(copy));
}

/* A sound store with one key, whatever was done to the one before. */
static void restore(void) {
  maph *m = NULL;
  char path[128];
  snprintf(path, sizeof path, "%s/s.maph", folder);
  if (access(path, F_OK) == 0 && maph_open(path, MAPH_RDONLY, NULL, &m) == MAPH_OK) {
    assert(maph_check(m, NULL, NULL) == MAPH_OK);
    maph_close(m);
  }
  text_request("DELETE /stores/s HTTP/1.1\nHost: localhost\n\n");
  text_request("POST /stores/s HTTP/1.1\nHost: localhost\n\n");
  text_request("PUT /stores/s/keys/k HTTP/1.1\nHost: localhost\nContent-Length: 5\n\nvalue");
}

static void set_up(void) {
  static const char *const settings[][2] = { { "MAPH_ACCESS_LOG", "off" },
                                             { "MAPH_MAX_BODY", "100000" },
                                             { "MAPH_MAX_BATCH", "100000" },
                                             { "MAPH_SPOOL_ABOVE", "4096" } };
  char name[] = "fuzz_server", *arguments[] = { name, NULL };
  if (mkdtemp(folder) == NULL) abort();
  setenv("MAPH_DATA", folder, 1);
  for (int i = 0; i < 4; i++) setenv(settings[i][0], settings[i][1], 1);
  if (options_read(1, arguments) != 0 || !access_log_open() || !guard_setup()) abort();
  atexit(clean);
  decoded = malloc(ROOM + 64);
  if (decoded == NULL) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static unsigned runs;
  static char text[ROOM];
  if (size < 2 || size >= ROOM) return 0;
  if (decoded == NULL) set_up();
  if (runs++ % RESTORED_EACH == 0) restore();
  piece = 1 + (size_t)data[0] * 16;
  memcpy(text, data + 1, size - 1);
  text[size - 1] = 0;
  dispatch(text, size - 1);
  return 0;
}
