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

static const char *name_of(const output *o) { return o->path ? o->path : "standard output"; }

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
static void write_failed(output *o, int error) {
  if (error != EPIPE || !stop_at_closed_pipe())
    complain("cannot write to %s: %s", name_of(o), strerror(error));
  o->failed = true;
}

void output_flush(output *o) {
  size_t done = 0;
  if (o->size && !o->failed && file_cut_short()) {
    complain("the store was cut short by another program while it was read; what was not written "
             "yet is not written");
    o->failed = true;
  }
  while (done < o->size && !o->failed) {
    ssize_t n = write(o->fd, o->bytes + done, o->size - done);
    if (n >= 0)
      done += (size_t)n;
    else if (errno == EAGAIN)
      wait_writable(o->fd);
    else if (errno != EINTR)
      write_failed(o, errno);
    if (n < 0 && stop_asked()) o->failed = true;
  }
  o->size = 0;
}

bool output_abandoned(output *o) {
  struct pollfd p = { .fd = o->fd };
  if (!o->failed && poll(&p, 1, 0) == 1 && (p.revents & POLLERR)) {
    write_failed(o, EPIPE);
  }
  return o->failed;
}

void output_bytes(output *o, const void *data, size_t size) {
  const char *p = data;
  while (size > 0 && !o->failed) {
    size_t room = sizeof o->bytes - o->size, n = size < room ? size : room;
    memcpy(o->bytes + o->size, p, n);
    o->size += n;
    p += n;
    size -= n;
    if (o->size == sizeof o->bytes) output_flush(o);
  }
}

void output_text(output *o, const char *text) { output_bytes(o, text, strlen(text)); }

void output_format(output *o, const char *format, ...) {
  char text[1024];
  va_list ap;
  int n;
  va_start(ap, format);
  n = vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  if (n > 0) output_bytes(o, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void output_number(output *o, uint64_t number) {
  char digits[20];
  int n = 20;
  do {
    digits[--n] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  output_bytes(o, digits + n, (size_t)(20 - n));
}

void output_wrapped(output *o, const char *text, size_t width, size_t indent, size_t at) {
  while (*text) {
    size_t word = strcspn(text, " \n");
    if (at > indent && at + 1 + word > width) {
      output_format(o, "\n%*s", (int)indent, "");
      at = indent;
    }
    if (at > indent) {
      output_bytes(o, " ", 1);
      at++;
    }
    output_bytes(o, text, word);
    at += word;
    text += word;
    for (; *text == ' '; text++) {}
    for (; *text == '\n'; text++) {
      output_bytes(o, "\n", 1);
      at = 0;
      if (text[1] != ' ') continue;
      word = strcspn(text + 1, "\n");
      output_bytes(o, text + 1, word);
      text += word;
    }
  }
  output_bytes(o, "\n", 1);
}

/* ------------------------------------------------------------------------ a file, whole or none */
/* Something that is no file: written to directly. */
static bool open_directly(output *o, const char *path) {
  o->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (o->fd < 0) complain("cannot write to %s: %s", path, strerror(errno));
  return o->fd >= 0;
}

/* A file beside the one that a link leads to: the link stays.  Who may read what is replaced may
** read what replaces it, and nobody else. */
static bool open_beside(output *o, const char *path, const struct stat *replaced) {
  char *resolved = replaced ? realpath(path, NULL) : NULL;
  bool ok = beside_open(&o->file, resolved ? resolved : path);
  mode_t mask = umask(0);
  umask(mask);
  free(resolved);
  o->fd = o->file.fd;
  /* then it stays private */
  if (ok && fchmod(o->fd, replaced ? replaced->st_mode & 0777 : 0666 & ~mask) != 0) return true;
  return ok;
}

bool output_open(output *o, const char *path, bool replace) {
  struct stat there;
  bool is_there = stat(path, &there) == 0;
  memset(o, 0, offsetof(output, bytes));
  o->path = strdup(path);
  o->replace = replace;
  if (o->path == NULL) {
    complain("out of memory");
    return false;
  }
  if (is_there && !S_ISREG(there.st_mode)) {
    if (open_directly(o, path)) return true;
  } else if (!replace && lstat(path, &there) == 0) {
    complain("%s is there already; --force replaces it", path);
  } else if (open_beside(o, path, is_there ? &there : NULL)) {
    return true;
  }
  free(o->path);
  o->path = NULL;
  return false;
}

void output_drop(output *o) {
  if (o->path == NULL) return;
  if (o->file.target)
    beside_drop(&o->file);
  else
    close(o->fd);
  free(o->path);
  o->path = NULL;
}

bool output_end(output *o) {
  output_flush(o);
  if (o->path == NULL) return !o->failed;
  if (!o->failed && o->file.target && fsync(o->fd) != 0) {
    complain("cannot write to %s: %s", name_of(o), strerror(errno));
    o->failed = true;
  }
  if (!o->failed && o->file.target) o->failed = !beside_take_name(&o->file, o->replace);
  output_drop(o);
  return !o->failed;
}

/* ------------------------------------------------------------------------------ shapes of bytes */
/* Escape what utf8_is_control says, what is not UTF-8, and with `all` backslashes, line ends and a
** mark at the beginning too. */
static void escape(output *o, maph_slice bytes, bool all) {
  const unsigned char *p = bytes.data, *end = p + bytes.size, *plain = p,
                      *mark = all && utf8_begins_with_mark(bytes) ? p + 3 : p;
  char room[4];
  while (p < end) {
    size_t sequence = utf8_sequence(p, end);
    bool keep = p >= mark && sequence && !utf8_is_control(p, sequence) && !(all && *p == '\\');
    if (!keep && !all && (*p == '\n' || *p == '\t')) keep = true;
    if (keep) {
      p += sequence;
      continue;
    }
    output_bytes(o, plain, (size_t)(p - plain));
    output_bytes(o, room, escape_byte(*p++, room));
    plain = p;
  }
  if (end > plain) output_bytes(o, plain, (size_t)(end - plain));
}

void output_escaped(output *o, maph_slice bytes) { escape(o, bytes, true); }
void output_shown(output *o, maph_slice bytes) { escape(o, bytes, false); }
void output_exact(output *o, maph_slice bytes) {
  if (o->terminal)
    output_shown(o, bytes);
  else
    output_bytes(o, bytes.data, bytes.size);
}

/* A json_put. */
static bool put_json(void *to, const void *bytes, size_t size) {
  output *o = to;
  output_bytes(o, bytes, size);
  return !o->failed;
}

void output_json(output *o, json_writer *out) {
  json_write_begin(out, put_json, o);
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

void output_csv_field(output *o, maph_slice field) {
  const char *p = field.data, *end = p + field.size;
  bool quoted = utf8_begins_with_mark(field);
  for (const char *q = p; q < end && !quoted; q++)
    quoted = *q == ',' || *q == '"' || *q == '\r' || *q == '\n';
  if (!quoted) {
    output_exact(o, field);
    return;
  }
  output_bytes(o, "\"", 1);
  while (p < end) {
    const char *quote = memchr(p, '"', (size_t)(end - p));
    size_t n = (size_t)((quote ? quote + 1 : end) - p);
    output_exact(o, maph_bytes(p, n));
    if (quote) output_bytes(o, "\"", 1);
    p += n;
  }
  output_bytes(o, "\"", 1);
}
