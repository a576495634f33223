/*
** progress.c - one line on standard error that says how far the work is, when a person is there to
** see it.
**
** Drawn at most ten times a second and taken away at the end, so that it never mixes with what is
** said.
*/
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"

enum { INTERVAL_MS = 100, BAR_MOST = 40, WIDTH_UNKNOWN = 80 };

static struct {
  bool shown, drawn;
  const char *verb, *phase; /* phase: NULL, or a part of the work */
  uint64_t begin_ms, drawn_ms;
} bar;

size_t terminal_width(int fd) {
  struct winsize w;
  return ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col : WIDTH_UNKNOWN;
}

static void draw(const char *text) {
  char line[512];
  int n = snprintf(line, sizeof line, "\r%.*s\x1b[K", (int)terminal_width(STDERR_FILENO) - 1, text);
  if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0) bar.shown = false;
  bar.drawn = true;
}

void progress_start(const arguments *args, const char *verb) {
  progress_end();
  bar.shown = !args->quiet && isatty(STDERR_FILENO) == 1;
  bar.verb = verb;
  bar.phase = NULL;
  bar.begin_ms = steady_ms();
  bar.drawn_ms = 0;
}

/* "40 s left", once there is something to judge it by. */
static void time_left(char *room, size_t size, double part, uint64_t spent_ms) {
  double left = part > 0.02 && spent_ms > 2000 ? (double)spent_ms / 1000 * (1 - part) / part : 0;
  room[0] = 0;
  if (left >= 90)
    snprintf(room, size, "  %.0f min left", left / 60);
  else if (left >= 1)
    snprintf(room, size, "  %.0f s left", left);
}

void progress_show(uint64_t done, uint64_t total, enum amount amount) {
  char text[256], shown[40] = "", left[32], track[BAR_MOST + 1];
  const char *colon = bar.phase ? ": " : "", *phase = bar.phase ? bar.phase : "";
  uint64_t now;
  if (!bar.shown) return;
  now = steady_ms();
  if (bar.drawn_ms && now - bar.drawn_ms < INTERVAL_MS) return;
  bar.drawn_ms = now;
  if (amount == BYTES) bytes_for_people(done, shown + 2);
  if (amount == NUMBER) count_for_people(done, shown + 2);
  if (amount != NO_AMOUNT) memset(shown, ' ', 2);
  if (total) {
    double part = done < total ? (double)done / (double)total : 1;
    size_t width = terminal_width(STDERR_FILENO),
           most = width < 80 ? BAR_MOST * width / 160 : BAR_MOST,
           full = (size_t)(part * (double)most);
    memset(track, '.', most);
    memset(track, '#', full);
    track[most] = 0;
    time_left(left, sizeof left, part, now - bar.begin_ms);
    snprintf(text, sizeof text, "%s%s%s  [%s] %3.0f %%%s%s", bar.verb, colon, phase, track,
             100 * part, shown, left);
  } else {
    snprintf(text, sizeof text, "%s%s%s%s  %llu s", bar.verb, colon, phase, shown,
             (unsigned long long)(now - bar.begin_ms) / 1000);
  }
  draw(text);
}

int progress_callback(void *none, const char *phase, uint64_t done, uint64_t total) {
  (void)none;
  /* what is left is judged by this phase alone */
  if (bar.phase == NULL || strcmp(bar.phase, phase) != 0) bar.begin_ms = steady_ms();
  bar.phase = phase;
  progress_show(done, total, NO_AMOUNT);
  return stop_asked() != 0;
}

void progress_end(void) {
  if (bar.drawn && write(STDERR_FILENO, "\r\x1b[K", 4) < 0) bar.shown = false;
  bar.drawn = false;
  bar.drawn_ms = 0;
}
