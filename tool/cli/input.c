/*
** input.c - bytes from a file or a pipe, taken line by line in bounded memory.
**
** What was read and not yet taken lies in one buffer, which grows to the longest line and no
** further than `most`.  Waiting for a pipe ends when the program is told to stop.  Standard output
** is flushed before each wait: whoever feeds the pipe may be waiting for answers.
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
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
    in->too_long = true;
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

/* A test says how long a pause is. */
static int pause_ms(void) {
  const char *text = getenv("MAPH_TEST_PAUSE_MS");
  return text ? atoi(text) : INPUT_PAUSE_MS;
}

static bool bear_pause(input *in) {
  struct pollfd one = { .fd = in->fd, .events = POLLIN };
  bool (*pauses)(void *whose) = in->pauses;
  if (pauses == NULL || poll(&one, 1, pause_ms()) != 0) return true;
  in->pauses = NULL;
  return pauses(in->whose);
}

bool input_fill(input *in) {
  ssize_t n;
  if (in->ended || in->failed) return false;
  if (!make_room(in)) {
    in->failed = !in->too_long;
    return false;
  }
  output_flush(&standard_output);
  do {
    if (!bear_pause(in) || !stop_wait_readable(in->fd)) {
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

enum taken input_wrong(input *in, uint64_t line, const char *mistake) {
  in->wrong++;
  complain("%s line %llu: %s", in->name, (unsigned long long)line, mistake);
  return in->keeps_going ? TAKE_WRONG : TAKE_FAILED;
}

/* To the next line, whatever its length. */
static bool leave_line(input *in) {
  for (;;) {
    const char *start = in->data + in->at, *found = NULL;
    size_t size = in->end - in->at;
    if (size) found = memchr(start, '\n', size);
    if (found) size = (size_t)(found - start) + 1;
    in->at += size;
    in->taken += size;
    in->too_long = false;
    if (found || in->ended) break;
    if (!input_fill(in) && !in->ended) return false;
  }
  in->line++;
  return true;
}

enum taken input_wrong_here(input *in, const char *mistake) {
  enum taken taken = input_wrong(in, in->line + 1, mistake);
  if (taken == TAKE_WRONG && !leave_line(in)) return TAKE_FAILED;
  return taken;
}

enum taken input_too_long(input *in) {
  char mistake[96];
  snprintf(mistake, sizeof mistake, "longer than %zu bytes; --max-line allows more", in->most);
  return input_wrong_here(in, mistake);
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
    if (!input_fill(in) && !in->ended) return in->too_long ? input_too_long(in) : TAKE_FAILED;
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
