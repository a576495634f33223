/*
** input.c - bytes from a file or a pipe, taken line by line in bounded memory.
**
** What was read and not yet taken lies in one buffer, which grows to the longest line and no
** further than `most`.  Waiting for a pipe ends when the program is told to stop.  Standard output
** is flushed before each wait: whoever feeds the pipe may be waiting for answers.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"

enum { READ_AT_ONCE = 256 * 1024 };

bool input_open(input *in, const char *path, size_t most) {
  struct stat st;
  memset(in, 0, sizeof *in);
  in->most = most;
  in->name = strcmp(path, "-") == 0 ? "standard input" : path;
  in->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (in->fd < 0 || fstat(in->fd, &st) != 0) {
    complain("cannot read %s: %s", in->name, strerror(errno));
    if (in->fd > STDIN_FILENO) close(in->fd);
    return false;
  }
  if (S_ISDIR(st.st_mode)) {
    complain("cannot read %s: it is a directory", in->name);
    if (in->fd != STDIN_FILENO) close(in->fd);
    return false;
  }
  if (S_ISREG(st.st_mode) && st.st_size > 0) in->total = (uint64_t)st.st_size;
  return true;
}

void input_close(input *in) {
  if (in->fd != STDIN_FILENO) close(in->fd);
  free(in->data);
  in->data = NULL;
}

/* Room for one more read.  The line that is being taken begins at `at`, so what lies before goes
** first. */
static bool make_room(input *in) {
  size_t room;
  char *data;
  if (in->at) {
    memmove(in->data, in->data + in->at, in->end - in->at);
    in->end -= in->at;
    in->at = 0;
  }
  if (in->room - in->end >= READ_AT_ONCE / 4) return true;
  if (in->end > in->most) {
    complain("%s line %llu: longer than %zu bytes; --max-line allows more", in->name,
             (unsigned long long)in->line + 1, in->most);
    return false;
  }
  room = in->room ? 2 * in->room : READ_AT_ONCE;
  data = realloc(in->data, room);
  if (data == NULL) {
    complain("%s line %llu: no memory for %zu bytes", in->name, (unsigned long long)in->line + 1,
             room);
    return false;
  }
  in->data = data;
  in->room = room;
  return true;
}

bool input_fill(input *in) {
  ssize_t n;
  if (in->ended || in->failed) return false;
  if (!make_room(in)) {
    in->failed = true;
    return false;
  }
  output_flush(&standard_output);
  do {
    if (!stop_wait_readable(in->fd)) {
      in->failed = true;
      return false;
    }
    n = read(in->fd, in->data + in->end, in->room - in->end);
  } while (n < 0 && (errno == EINTR || errno == EAGAIN));
  if (n < 0) {
    complain("cannot read %s: %s", in->name, strerror(errno));
    in->failed = true;
  }
  if (n == 0) in->ended = true;
  if (n > 0) in->end += (size_t)n;
  return n > 0;
}

enum taken input_line(input *in, char separator, maph_slice *line) {
  size_t looked = 0;
  for (;;) {
    const char *start = in->data + in->at,
               *found = in->end - in->at > looked
                            ? memchr(start + looked, separator, in->end - in->at - looked)
                            : NULL;
    size_t size = found ? (size_t)(found - start) : in->end - in->at;
    if (found || (in->ended && size > 0)) {
      *line = maph_bytes(start, size);
      in->at += size + (found != NULL);
      in->taken += size + (found != NULL);
      in->line++;
      return TAKEN;
    }
    looked = size;
    if (!input_fill(in) && !in->ended) return TAKE_FAILED;
    if (in->ended && in->at == in->end) return AT_END;
  }
}

bool input_all(input *in, size_t most, maph_slice *bytes) {
  in->most = SIZE_MAX / 4;
  while (input_fill(in)) {
    if (in->end <= most) continue;
    complain("%s: more than the %zu bytes a value can have", in->name, most);
    return false;
  }
  *bytes = maph_bytes(in->data ? in->data : "", in->end);
  return !in->failed;
}
