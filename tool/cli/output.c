/*
** output.c - where answers go: standard output, or a file that appears whole or not at all.
**
** Every byte passes through one buffer.  Before the buffer is written out it is asked whether a
** mapped file was cut short meanwhile: then what it holds may be zeros that were never stored, and
** it is not written.  A failure is said once and sticks.
**
** What is there already is replaced only when that was asked for.  Devices and pipes are written to
** as they are.
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"

output standard_output;

static const char *name_of(const output *out) { return out->path ? out->path : "standard output"; }

void output_start(void) {
  standard_output.fd = STDOUT_FILENO;
  standard_output.terminal = isatty(STDOUT_FILENO) == 1;
}

/* Somebody else who has this pipe open may have made it one that does not wait. */
static void wait_writable(int fd) {
  struct pollfd p = { .fd = fd, .events = POLLOUT };
  poll(&p, 1, -1);
}

/* A reader that has gone has what it wanted: the program ends as SIGPIPE ends one, without a
** word. */
static void write_failed(output *out, int error) {
  if (error != EPIPE || !stop_at_closed_pipe())
    complain("cannot write to %s: %s", name_of(out), strerror(error));
  out->failed = true;
}

void output_flush(output *out) {
  size_t done = 0;
  if (out->size && !out->failed && file_cut_short()) {
    complain("the store was cut short by another program while it was read; what was not written "
             "yet is not written");
    out->failed = true;
  }
  while (done < out->size && !out->failed) {
    ssize_t n = write(out->fd, out->bytes + done, out->size - done);
    if (n >= 0)
      done += (size_t)n;
    else if (errno == EAGAIN)
      wait_writable(out->fd);
    else if (errno != EINTR)
      write_failed(out, errno);
    if (n < 0 && stop_asked()) out->failed = true;
  }
  out->size = 0;
}

bool output_abandoned(output *out) {
  struct pollfd p = { .fd = out->fd };
  if (!out->failed && poll(&p, 1, 0) == 1 && (p.revents & POLLERR)) {
    write_failed(out, EPIPE);
  }
  return out->failed;
}

void output_bytes(output *out, const void *data, size_t size) {
  const char *p = data;
  while (size > 0 && !out->failed) {
    size_t room = sizeof out->bytes - out->size, n = size < room ? size : room;
    memcpy(out->bytes + out->size, p, n);
    out->size += n;
    p += n;
    size -= n;
    if (out->size == sizeof out->bytes) output_flush(out);
  }
}

void output_text(output *out, const char *text) { output_bytes(out, text, strlen(text)); }

void output_format(output *out, const char *format, ...) {
  char text[1024];
  va_list ap;
  int n;
  va_start(ap, format);
  n = vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  if (n > 0) output_bytes(out, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void output_number(output *out, uint64_t number) {
  char digits[20];
  int n = 20;
  do {
    digits[--n] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  output_bytes(out, digits + n, (size_t)(20 - n));
}

void output_wrapped(output *out, const char *text, size_t width, size_t indent, size_t at) {
  while (*text) {
    size_t word = strcspn(text, " \n");
    if (at > indent && at + 1 + word > width) {
      output_format(out, "\n%*s", (int)indent, "");
      at = indent;
    }
    if (at > indent) {
      output_bytes(out, " ", 1);
      at++;
    }
    output_bytes(out, text, word);
    at += word;
    text += word;
    for (; *text == ' '; text++) {}
    for (; *text == '\n'; text++) {
      output_bytes(out, "\n", 1);
      at = 0;
      if (text[1] != ' ') continue;
      word = strcspn(text + 1, "\n");
      output_bytes(out, text + 1, word);
      text += word;
    }
  }
  output_bytes(out, "\n", 1);
}

/* ------------------------------------------------------------------------ a file, whole or none */
/* Something that is no file: written to directly. */
static bool open_directly(output *out, const char *path) {
  out->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (out->fd < 0) complain("cannot write to %s: %s", path, strerror(errno));
  return out->fd >= 0;
}

/* A file beside the one that a link leads to: the link stays.  Whoever may read what is replaced
** may read what replaces it, and nobody else. */
static bool open_beside(output *out, const char *path, const struct stat *replaced) {
  char *resolved = replaced ? realpath(path, NULL) : NULL;
  bool ok = beside_open(&out->file, resolved ? resolved : path);
  mode_t mask = umask(0);
  umask(mask);
  free(resolved);
  out->fd = out->file.fd;
  /* then it stays private */
  if (ok && fchmod(out->fd, replaced ? replaced->st_mode & 0777 : 0666 & ~mask) != 0) return true;
  return ok;
}

bool output_open(output *out, const char *path, bool replace) {
  struct stat there;
  bool is_there = stat(path, &there) == 0;
  memset(out, 0, offsetof(output, bytes));
  out->path = strdup(path);
  out->replace = replace;
  if (out->path == NULL) {
    complain("out of memory");
    return false;
  }
  if (is_there && !S_ISREG(there.st_mode)) {
    if (open_directly(out, path)) return true;
  } else if (!replace && lstat(path, &there) == 0) {
    complain("%s is there already; --force replaces it", path);
  } else if (open_beside(out, path, is_there ? &there : NULL)) {
    return true;
  }
  free(out->path);
  out->path = NULL;
  return false;
}

void output_drop(output *out) {
  if (out->path == NULL) return;
  if (out->file.target)
    beside_drop(&out->file);
  else
    close(out->fd);
  free(out->path);
  out->path = NULL;
}

bool output_end(output *out) {
  output_flush(out);
  if (out->path == NULL) return !out->failed;
  if (!out->failed && out->file.target && fsync(out->fd) != 0) {
    complain("cannot write to %s: %s", name_of(out), strerror(errno));
    out->failed = true;
  }
  if (!out->failed && out->file.target) out->failed = !beside_take_name(&out->file, out->replace);
  output_drop(out);
  return !out->failed;
}

/* ------------------------------------------------------------------------------ shapes of bytes */
/* A json_put and a shown_put. */
static bool put_bytes(void *to, const void *bytes, size_t size) {
  output *out = to;
  output_bytes(out, bytes, size);
  return !out->failed;
}

void output_escaped(output *out, maph_slice bytes) {
  shown_write(bytes, SHOWN_EXACT, put_bytes, out);
}
void output_shown(output *out, maph_slice bytes) {
  shown_write(bytes, SHOWN_LINES, put_bytes, out);
}
void output_exact(output *out, maph_slice bytes) {
  if (out->terminal)
    output_shown(out, bytes);
  else
    output_bytes(out, bytes.data, bytes.size);
}

void output_json(output *o, json_writer *out) {
  json_write_begin(out, put_bytes, o);
  out->for_terminal = o->terminal;
}

void output_json_entry(output *o, const maph_entry *entry, bool with_value) {
  json_writer out;
  output_json(o, &out);
  json_write_text(&out, "{");
  entry_write(&out, entry, with_value);
  json_write_text(&out, "}\n");
  json_write_end(&out);
}

void output_json_bytes(output *o, const char *name, const char *encoding_name, maph_slice bytes) {
  json_writer out;
  output_json(o, &out);
  json_write_bytes(&out, name, encoding_name, bytes);
  json_write_end(&out);
}

void output_csv_field(output *out, maph_slice field) {
  const char *p = field.data, *end = p + field.size;
  bool quoted = utf8_begins_with_mark(field);
  for (const char *q = p; q < end && !quoted; q++)
    quoted = *q == ',' || *q == '"' || *q == '\r' || *q == '\n';
  if (!quoted) {
    output_exact(out, field);
    return;
  }
  output_bytes(out, "\"", 1);
  while (p < end) {
    const char *quote = memchr(p, '"', (size_t)(end - p));
    size_t n = (size_t)((quote ? quote + 1 : end) - p);
    output_exact(out, maph_bytes(p, n));
    if (quote) output_bytes(out, "\"", 1);
    p += n;
  }
  output_bytes(out, "\"", 1);
}
