/*
** access_log.c - one line a request.
**
** The access log is logfmt.  Lines are collected in stdio's buffer and written when it is full and
** once a second, so that a log costs a request no system call.  The path is logged as it came
** (percent-encoded, so it holds no control characters); the query and all headers stay out of it,
** since a secret may be among them.
*/
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/options.h"
#include "http/access_log.h"

static FILE *file; /* log_mutex */
static atomic_bool on;
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Open the access log, also again after it was renamed (SIGHUP). */
bool access_log_open(void) {
  FILE *opened = NULL;
  if (strcmp(option.access_log, "off") != 0) {
    opened = strcmp(option.access_log, "-") == 0 ? stdout : fopen(option.access_log, "ae");
    if (opened == NULL) {
      log_line("cannot write the access log %s: %s", option.access_log, strerror(errno));
      return false;
    }
  }
  pthread_mutex_lock(&log_mutex);
  if (file && file != stdout) fclose(file);
  file = opened;
  atomic_store(&on, file != NULL);
  pthread_mutex_unlock(&log_mutex);
  return true;
}

bool access_log_in_file(void) { return file != NULL && file != stdout; }

void access_log_request(const request *r, uint64_t duration_us) {
  char when[48];
  int shown;
  if (!atomic_load(&on)) return;
  log_time(when, sizeof when);
  shown = (int)strcspn(r->path ? r->path : "", "\"\\ ");
  pthread_mutex_lock(&log_mutex);
  if (file) {
    fprintf(file,
            "time=%s id=%s remote=%s method=%s path=\"%.*s\" route=%s status=%d in=%llu out=%llu "
            "us=%llu\n",
            when, r->id, r->remote ? r->remote : "-", r->method_name ? r->method_name : "-",
            shown < 512 ? shown : 512, r->path ? r->path : "", r->route_name ? r->route_name : "-",
            r->status, (unsigned long long)r->body_read, (unsigned long long)r->bytes_out,
            (unsigned long long)duration_us);
  }
  pthread_mutex_unlock(&log_mutex);
}

void access_log_flush(void) {
  pthread_mutex_lock(&log_mutex);
  if (file) fflush(file);
  pthread_mutex_unlock(&log_mutex);
}
