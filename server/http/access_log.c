/*
** access_log.c - one line a request.
**
** Its form is logfmt, or JSON, or the combined form of Apache and nginx.  Lines are collected, and
** written when there are many and once a second, so that a log costs a request no system call.
** What cannot be written, as on a full disk, waits, and is tried again each second; while there is
** too much of it, lines are lost, and how many is said then.
**
** The path is logged as it came (percent-encoded, so it holds no control characters); the query and
** all headers stay out of it, since a secret may be among them; but for the trace of a traceparent
** header (W3C Trace Context) and, in the combined form, the client's User-Agent.
*/
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "base/options.h"
#include "http/access_log.h"

enum { PATH_SHOWN = 512, WRITE_AT = 16 * 1024, WAITING_MOST = 1024 * 1024 };

/* log_mutex for all of it */
static int file = -1;
static buffer waiting; /* whole lines, but for the first, of which a part may be written */
static int trouble;    /* why the last write failed, an errno */
static uint64_t lost;  /* lines, since then */
static atomic_bool on;
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;

/* What the file takes of the lines that wait. */
static void write_waiting(void) {
  size_t done = 0;
  int error = 0;
  while (done < waiting.size && error == 0) {
    ssize_t n = write(file, waiting.data + done, waiting.size - done);
    if (n > 0) done += (size_t)n;
    if (n < 0 && errno != EINTR) error = errno;
  }
  if (done > 0) memmove(waiting.data, waiting.data + done, waiting.size - done);
  waiting.size -= done;
  if (error != 0 && trouble == 0)
    log_line("the access log cannot be written: %s; its lines wait, and when there are %d bytes of "
             "them others are lost",
             strerror(error), WAITING_MOST);
  if (error == 0 && trouble != 0)
    log_line("the access log is written again; %llu lines were lost", (unsigned long long)lost);
  if (error == 0) lost = 0;
  trouble = error;
}

static void add_line(const buffer *line) {
  if (line->failed || waiting.size + line->size > WAITING_MOST) {
    lost++;
    return;
  }
  buffer_append(&waiting, line->data, line->size);
  if (waiting.failed) {
    waiting.failed = false;
    lost++;
  }
  if (waiting.size >= WRITE_AT && trouble == 0) write_waiting();
}

/* Open the access log, also again after it was renamed (SIGHUP). */
bool access_log_open(void) {
  int opened = -1;
  if (strcmp(option.access_log, "off") != 0) {
    opened = strcmp(option.access_log, "-") == 0
                 ? STDOUT_FILENO
                 : open(option.access_log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (opened < 0) {
      log_line("cannot write the access log %s: %s", option.access_log, strerror(errno));
      return false;
    }
  }
  pthread_mutex_lock(&log_mutex);
  if (file >= 0) write_waiting();
  if (file >= 0 && file != STDOUT_FILENO) close(file);
  file = opened;
  atomic_store(&on, file >= 0);
  pthread_mutex_unlock(&log_mutex);
  return true;
}

bool access_log_in_file(void) { return file >= 0 && file != STDOUT_FILENO; }

/* ------------------------------------------------------------------------------------- a line */
/* Of what may be in a path, what is as it is in all three forms; anything else is
** percent-encoded. */
static void put_text(buffer *line, const char *text, size_t most) {
  for (size_t i = 0; text[i] && i < most; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c > ' ' && c < 0x7F && c != '"' && c != '\\')
      buffer_append(line, &text[i], 1);
    else
      buffer_printf(line, "%%%02X", c);
  }
}

/* The trace-id of traceparent: VERSION-TRACE-PARENT-FLAGS; NULL: there is none that is
** well-formed. */
static const char *trace_of(const request *request) {
  const char *text = request_header(request, "traceparent");
  static const char hex[] = "0123456789abcdef";
  if (text == NULL || strspn(text, hex) != 2 || text[2] != '-' || strncmp(text, "ff", 2) == 0)
    return NULL;
  if (strspn(text + 3, hex) != 32 || text[35] != '-' || strspn(text + 36, hex) != 16
      || text[52] != '-' || strspn(text + 53, hex) < 2)
    return NULL;
  return strspn(text + 3, "0") == 32 || strspn(text + 36, "0") == 16 ? NULL : text + 3;
}

static const char *or_dash(const char *text) { return text && *text ? text : "-"; }

static void logfmt_line(buffer *line, const request *request, uint64_t duration_us) {
  const char *trace = trace_of(request);
  char when[48];
  log_time(when, sizeof when);
  buffer_printf(line, "time=%s id=%s remote=%s method=%s path=\"", when, request->id,
                or_dash(request->remote), or_dash(request->method_name));
  put_text(line, request->path ? request->path : "", PATH_SHOWN);
  buffer_printf(line, "\" route=%s status=%d in=%llu out=%llu us=%llu", or_dash(request->route),
                request->reply.status, (unsigned long long)request->upload.read,
                (unsigned long long)request->reply.bytes_out, (unsigned long long)duration_us);
  if (trace) buffer_printf(line, " trace=%.32s", trace);
  buffer_text(line, "\n");
}

static void json_line(buffer *line, const request *request, uint64_t duration_us) {
  const char *trace = trace_of(request);
  char when[48];
  log_time(when, sizeof when);
  buffer_printf(line,
                "{\"time\":\"%s\",\"id\":\"%s\",\"remote\":\"%s\",\"method\":\"%s\",\"path\":\"",
                when, request->id, or_dash(request->remote), or_dash(request->method_name));
  put_text(line, request->path ? request->path : "", PATH_SHOWN);
  buffer_printf(line, "\",\"route\":\"%s\",\"status\":%d,\"in\":%llu,\"out\":%llu,\"us\":%llu",
                or_dash(request->route), request->reply.status,
                (unsigned long long)request->upload.read,
                (unsigned long long)request->reply.bytes_out, (unsigned long long)duration_us);
  if (trace) buffer_printf(line, ",\"trace\":\"%.32s\"", trace);
  buffer_text(line, "}\n");
}

static void combined_line(buffer *line, const request *request) {
  const char *agent = request_header(request, "User-Agent");
  char when[48];
  time_t now = time(NULL);
  struct tm tm;
  gmtime_r(&now, &tm);
  strftime(when, sizeof when, "%d/%b/%Y:%H:%M:%S +0000", &tm);
  buffer_printf(line, "%s - - [%s] \"%s ", or_dash(request->remote), when,
                or_dash(request->method_name));
  put_text(line, request->path ? request->path : "-", PATH_SHOWN);
  buffer_printf(line, " HTTP/%s\" %d %llu \"-\" \"", request->version, request->reply.status,
                (unsigned long long)request->reply.bytes_out);
  for (size_t i = 0; agent && agent[i] && i < PATH_SHOWN; i++)
    if ((unsigned char)agent[i] == ' ')
      buffer_text(line, " ");
    else
      put_text(line, agent + i, 1);
  buffer_text(line, agent && *agent ? "\"\n" : "-\"\n");
}

void access_log_request(const request *request, uint64_t duration_us) {
  buffer *line = request->reply.head; /* the answer's head was sent */
  if (!atomic_load(&on)) return;
  buffer_reset(line, SIZE_MAX);
  if (*option.log_format == 'j')
    json_line(line, request, duration_us);
  else if (*option.log_format == 'c')
    combined_line(line, request);
  else
    logfmt_line(line, request, duration_us);
  pthread_mutex_lock(&log_mutex);
  if (file >= 0) add_line(line);
  pthread_mutex_unlock(&log_mutex);
  buffer_reset(line, SIZE_MAX);
}

void access_log_flush(void) {
  pthread_mutex_lock(&log_mutex);
  if (file >= 0) write_waiting();
  pthread_mutex_unlock(&log_mutex);
}
