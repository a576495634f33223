/*
** stop.c - signals, and how the program ends by one.
**
** The first SIGINT, SIGTERM or SIGHUP leaves word: the command sees it at its next step, drops its
** transaction, removes its temporary file, closes the store and the program ends as that signal
** would have ended it.  A second one ends it at once; a transaction that was open then is dropped
** by whoever writes next.
**
** A call of the library that waits or takes long ends by maph_interrupt, with nothing changed, and
** removes itself what it was making: this file knows of none of the library's files.  The signal
** may come between a look at stop_asked and the call that follows, which then has not begun: so an
** alarm interrupts again each second until the program ends.  What is one step of the library, a
** flush or the repair after a power loss, is waited for; but a second signal waits for nothing.
**
** Signals that come within TOGETHER_MS of the first are one with it: a terminal that closes and a
** service that is stopped send several at once.
**
** SIGPIPE and SIGXFSZ are ignored while the program runs: a reader that is gone and a file-size
** limit are errors of a call.  A reader that is gone then counts as a signal that asks to stop: the
** command ends in order, says nothing, and the program ends by SIGPIPE, as one does that never
** heard of it.  Who started the program with SIGPIPE ignored is told of the error instead.
**
** SIGBUS is what touching a page raises after a stranger shortened the mapped file.  The library
** catches it (maph_guard): the command reads something that fails its checksum, or is told that its
** write failed.  Bytes taken from then on are never written out.
*/
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"

static const int asking[] = { SIGINT, SIGTERM, SIGHUP };
static volatile sig_atomic_t asked;
static struct timespec asked_at;
static _Atomic(const char *) removed;
static bool ends_by_sigpipe;

enum { AGAIN_SECONDS = 1, TOGETHER_MS = 200 };

static void end_by(int number) {
  const char *path = atomic_load(&removed);
  if (path) unlink(path);
  signal(number, SIG_DFL);
  raise(number);
}

static bool came_together(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (now.tv_sec - asked_at.tv_sec) * 1000 + (now.tv_nsec - asked_at.tv_nsec) / 1000000
         < TOGETHER_MS;
}

static void interrupt_library(void) {
  maph_interrupt(NULL);
  alarm(AGAIN_SECONDS);
}

static void on_stop(int number) {
  int saved = errno;
  if (asked && !came_together()) end_by(number);
  if (!asked) {
    clock_gettime(CLOCK_MONOTONIC, &asked_at);
    asked = number;
  }
  interrupt_library();
  errno = saved;
}

static void on_alarm(int number) {
  int saved = errno;
  (void)number;
  if (asked) interrupt_library();
  errno = saved;
}

void stop_start(void) {
  struct sigaction action, before;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_stop; /* without SA_RESTART: waiting calls return */
  /* one at a time: the handler of another one finds asked and asked_at both set */
  for (size_t i = 0; i < sizeof asking / sizeof asking[0]; i++)
    sigaddset(&action.sa_mask, asking[i]);
  for (size_t i = 0; i < sizeof asking / sizeof asking[0]; i++) {
    /* nohup, a background job */
    if (sigaction(asking[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    sigaction(asking[i], &action, NULL);
  }
  memset(&action, 0, sizeof action);
  action.sa_handler = on_alarm;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, NULL);
  ends_by_sigpipe = signal(SIGPIPE, SIG_IGN) != SIG_IGN;
  signal(SIGXFSZ, SIG_IGN);
  maph_guard();
}

int stop_asked(void) { return asked; }

bool stop_at_closed_pipe(void) {
  if (ends_by_sigpipe && !asked) asked = SIGPIPE;
  return ends_by_sigpipe;
}

void stop_removes(const char *path) { atomic_store(&removed, path); }

/* Signals are let in only while poll waits, so that none arrives between looking and waiting. */
bool stop_wait_readable(int fd) {
  struct pollfd p = { .fd = fd, .events = POLLIN };
  sigset_t stopping, before;
  sigemptyset(&stopping);
  for (size_t i = 0; i < sizeof asking / sizeof asking[0]; i++) sigaddset(&stopping, asking[i]);
  sigprocmask(SIG_BLOCK, &stopping, &before);
  while (!asked && ppoll(&p, 1, NULL, &before) < 0 && errno == EINTR) {}
  sigprocmask(SIG_SETMASK, &before, NULL);
  return !asked;
}

int stop_status(int status) {
  if (asked && status != DONE) {
    signal(asked, SIG_DFL);
    raise(asked);
  }
  return status;
}

bool file_cut_short(void) { return maph_guarded(NULL); }
