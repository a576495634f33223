/*
** message.c - what is said on standard error, and sizes for people.
**
** A sentence may name a path or a key that somebody else chose: what would command a terminal is
** escaped.
*/
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "cli.h"

static void say(const char *format, va_list ap) {
  char text[1536], line[4 * sizeof text + 16];
  size_t size;
  int n = vsnprintf(text, sizeof text, format, ap);
  if (n < 0) return;
  if ((size_t)n >= sizeof text) n = sizeof text - 1;
  size = (size_t)sprintf(line, "maph: ");
  size += shown_text(maph_bytes(text, (size_t)n), SHOWN_SENTENCE, line + size);
  line[size++] = '\n';
  for (size_t done = 0; done < size;) {
    ssize_t written = write(STDERR_FILENO, line + done, size - done);
    if (written <= 0) return;
    done += (size_t)written;
  }
}

int complain(const char *format, ...) {
  va_list ap;
  progress_end();
  va_start(ap, format);
  say(format, ap);
  va_end(ap);
  return FAILED;
}

void note(const arguments *args, const char *format, ...) {
  va_list ap;
  if (args->quiet) return;
  progress_end();
  va_start(ap, format);
  say(format, ap);
  va_end(ap);
}

void note_typing(const arguments *args, const char *what) {
  if (isatty(STDIN_FILENO) == 1) note(args, "%s: what you type now, up to Ctrl-D", what);
}

const char *bytes_for_people(uint64_t bytes, char room[32]) {
  static const char *const units[] = { "bytes", "KB", "MB", "GB", "TB", "PB", "EB" };
  double value = (double)bytes;
  int unit = 0;
  while (value >= 999.5 && unit < 6) {
    value /= 1000;
    unit++;
  }
  snprintf(room, 32, unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return room;
}

const char *count_for_people(uint64_t count, char room[32]) {
  char *p = room + 31;
  int digits = 0;
  *p = 0;
  do {
    if (digits && digits % 3 == 0) *--p = ',';
    *--p = (char)('0' + count % 10);
    count /= 10;
    digits++;
  } while (count);
  return memmove(room, p, (size_t)(room + 32 - p));
}

const char *count_of(uint64_t count, const char *what, char room[40]) {
  size_t n = strlen(count_for_people(count, room));
  snprintf(room + n, 40 - n, " %s%s", what, count == 1 ? "" : "s");
  return room;
}
