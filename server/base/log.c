/*
** log.c - sentences for the operator.
*/
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include "base/log.h"

void log_time(char *out, size_t size) {
  struct timespec now;
  struct tm tm;
  char seconds[32];
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &tm);
  strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(out, size, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

void log_line(const char *format, ...) {
  char when[48], text[2048];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  log_time(when, sizeof when);
  fprintf(stderr, "%s maph-server: %s\n", when, text);
}
