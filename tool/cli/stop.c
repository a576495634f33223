/*
** stop.c - signals, and how the program ends by one.
**
** The first SIGINT, SIGTERM or SIGHUP only leaves word: the command sees it at its next step, drops
** its transaction, removes its temporary file, closes the store and the program ends as that signal
** would have ended it.  A second one ends it at once; a transaction that was open then is dropped
** by whoever writes next.
**
** A call of the library may not hear of it for long: it waits for another writer, flushes, or
** builds a large index.  Around such calls stop_hurries is set: then the first signal, too, ends
** the program, at the latest when an alarm comes.  What the library was making, STORE.new, is
** removed on the way out, if it is ours: one that this process has open, which is so as long as the
** library holds the lock under which that file is made.  So its lock file may go with it where
** there is no store yet, and no other process can have begun another one in between.
**
** SIGPIPE and SIGXFSZ are ignored while the program runs: a reader that is gone and a file-size
** limit are errors of a call.  A reader that is gone then counts as a signal that asks to stop: the
** command ends in order, says nothing, and the program ends by SIGPIPE, as one does that never
** heard of it.  Who started the program with SIGPIPE ignored is told of the error instead.
**
** SIGBUS is what touching a page raises after a stranger shortened the mapped file.  The handler
** puts a page of zeros there, so that the command reads something that fails its checksum, and
** leaves word: bytes taken from then on are never written out.
*/
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"

static const int asking[] = { SIGINT, SIGTERM, SIGHUP };
static volatile sig_atomic_t asked;
static _Atomic(const char *) removed;
static atomic_bool cut_short;
static bool ends_by_sigpipe;
static uintptr_t page_mask;

enum { GRACE_SECONDS = 1, DESCRIPTORS = 64, SUFFIX = 8 };

/* The call of the library that is under way. */
static struct {
  atomic_bool on;
  bool anywhere;
  const char *sentence;
  char store[PATH_MAX], made[PATH_MAX + SUFFIX], lock[PATH_MAX + SUFFIX];
} call;

static bool is_open_here(const char *path) {
  struct stat a, b;
  if (lstat(path, &a) != 0) return false;
  for (int fd = STDERR_FILENO + 1; fd < DESCRIPTORS; fd++)
    if (fstat(fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino) return true;
  return false;
}

static bool remove_unfinished(void) {
  struct stat st;
  if (!atomic_load(&call.on) || !is_open_here(call.made) || unlink(call.made) != 0) return false;
  if (lstat(call.store, &st) != 0 && errno == ENOENT) unlink(call.lock);
  return true;
}

static void end_by(int number) {
  const char *path = atomic_load(&removed);
  if (path) unlink(path);
  signal(number, SIG_DFL);
  raise(number);
}

static void on_stop(int number) {
  int saved = errno;
  if (asked) {
    remove_unfinished();
    end_by(number);
  }
  asked = number;
  if (atomic_load(&call.on)) {
    if (!call.anywhere && remove_unfinished()) end_by(number);
    alarm(GRACE_SECONDS);
  }
  errno = saved;
}

static void on_alarm(int number) {
  int saved = errno;
  bool gone;
  (void)number;
  if (!atomic_load(&call.on)) return;
  gone = remove_unfinished();
  if (gone && call.sentence && write(STDERR_FILENO, call.sentence, strlen(call.sentence)) < 0)
    call.sentence = NULL;
  if (gone || call.anywhere) end_by(asked);
  alarm(GRACE_SECONDS);
  errno = saved;
}

static void on_sigbus(int number, siginfo_t *info, void *context) {
  int saved = errno;
  void *page = (void *)((uintptr_t)info->si_addr & ~page_mask);
  (void)context;
  if (info->si_code != BUS_ADRERR
      || mmap(page, page_mask + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
              -1, 0)
             == MAP_FAILED) {
    signal(number, SIG_DFL);
  }
  atomic_store(&cut_short, true);
  errno = saved;
}

void stop_start(void) {
  struct sigaction action, before;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_stop; /* without SA_RESTART: waiting calls return */
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
  page_mask = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, NULL);
}

int stop_asked(void) { return asked; }

bool stop_at_closed_pipe(void) {
  if (ends_by_sigpipe && !asked) asked = SIGPIPE;
  return ends_by_sigpipe;
}

void stop_removes(const char *path) { atomic_store(&removed, path); }

void stop_hurries(const char *store, bool anywhere, const char *sentence) {
  atomic_store(&call.on, false);
  if (store == NULL || strlen(store) >= PATH_MAX) return;
  if (realpath(store, call.store) == NULL) strcpy(call.store, store);
  snprintf(call.made, sizeof call.made, "%s.new", call.store);
  snprintf(call.lock, sizeof call.lock, "%s.lock", call.store);
  call.anywhere = anywhere;
  call.sentence = sentence;
  atomic_store(&call.on, true);
  if (asked) alarm(GRACE_SECONDS);
}

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

bool file_cut_short(void) { return atomic_load(&cut_short); }
