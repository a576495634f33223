/*
** log.c - one line a request, and sentences for the operator.
**
** The access log is logfmt.  Lines are collected in stdio's buffer and written when it is full and
** once a second, so that a log costs a request no system call.  The path is logged as it came
** (percent-encoded, so it holds no control characters); the query and all headers stay out of it,
** since a secret may be among them.
*/
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <time.h>
#include "server.h"

static FILE *access_file; /* log_mutex */
static atomic_bool access_on;
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Open the access log, also again after it was renamed (SIGHUP). */
bool log_open(void) {
  FILE *file = NULL;
  if (strcmp(option.access_log, "off") != 0) {
    file = strcmp(option.access_log, "-") == 0 ? stdout : fopen(option.access_log, "ae");
    if (file == NULL) {
      log_line("cannot write the access log %s: %s", option.access_log, strerror(errno));
      return false;
    }
  }
  pthread_mutex_lock(&log_mutex);
  if (access_file && access_file != stdout) fclose(access_file);
  access_file = file;
  atomic_store(&access_on, file != NULL);
  pthread_mutex_unlock(&log_mutex);
  return true;
}

bool log_in_file(void) { return access_file != NULL && access_file != stdout; }

static void time_text(char *out, size_t size) {
  struct timespec now;
  struct tm tm;
  char seconds[32];
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &tm);
  strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(out, size, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

void log_request(const request *r, uint64_t duration_us) {
  char when[48];
  int shown;
  if (!atomic_load(&access_on)) return;
  time_text(when, sizeof when);
  shown = (int)strcspn(r->path ? r->path : "", "\"\\ ");
  pthread_mutex_lock(&log_mutex);
  if (access_file) {
    fprintf(access_file,
            "time=%s id=%s remote=%s method=%s path=\"%.*s\" route=%s status=%d in=%llu out=%llu "
            "us=%llu\n",
            when, r->id, r->remote ? r->remote : "-", r->method_name ? r->method_name : "-",
            shown < 512 ? shown : 512, r->path ? r->path : "", r->route ? r->route->name : "-",
            r->status, (unsigned long long)r->body_read, (unsigned long long)r->bytes_out,
            (unsigned long long)duration_us);
  }
  pthread_mutex_unlock(&log_mutex);
}

void log_line(const char *format, ...) {
  char when[48], text[2048];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  time_text(when, sizeof when);
  fprintf(stderr, "%s maph-server: %s\n", when, text);
}

void log_flush(void) {
  pthread_mutex_lock(&log_mutex);
  if (access_file) fflush(access_file);
  pthread_mutex_unlock(&log_mutex);
}
