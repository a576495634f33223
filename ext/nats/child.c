/*
** child.c - a process that follows, and its parent (child.h).
**
** The parent has no thread but one and holds no lock of a store, so that fork is safe whenever it
** is.  The child dies with the parent.
*/
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "nats/child.h"
#include "nats/replica.h"

enum { TICK_MS = 1000, AGAIN_MS = 100, AGAIN_MOST_MS = 30000, STOP_MS = 15000 };

typedef struct life {
  _Atomic uint64_t stamp_ms, patience_ms;
} life;
static life *page; /* NULL: nobody watches */
static volatile sig_atomic_t told;

static void stamp(uint64_t patience_ms) {
  if (page == NULL) return;
  atomic_store(&page->patience_ms, patience_ms);
  atomic_store(&page->stamp_ms, ticks_ms());
}
void child_stamp(void) { stamp(CHILD_PATIENCE_MS); }
void child_stamp_long(void) { stamp(CHILD_LONG_PATIENCE_MS); }
bool child_told(void) { return told != 0; }

void child_sleep(unsigned ms) {
  unsigned long long until = ticks_ms() + ms;
  while (!told && ticks_ms() < until) {
    unsigned long long left = until - ticks_ms();
    struct timespec pause = { .tv_nsec = (long)(left < 200 ? left : 200) * 1000000 };
    child_stamp();
    nanosleep(&pause, NULL);
  }
}

static void on_signal(int signal) {
  (void)signal;
  told = 1;
}

/* ----------------------------------------------------------------------------------- to systemd */
/* As sd_notify: READY=1 and so on, where NOTIFY_SOCKET names a socket. */
static void tell(const char *state) {
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un to = { .sun_family = AF_UNIX };
  size_t size = path ? strlen(path) : 0;
  int fd;
  if (size < 2 || size >= sizeof to.sun_path || (path[0] != '/' && path[0] != '@')) return;
  memcpy(to.sun_path, path, size);
  if (path[0] == '@') to.sun_path[0] = 0;
  fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
  close(fd);
}

/* --------------------------------------------------------------------------------------- parent */
static pid_t begin(int (*child)(void *arg), void *arg, const sigset_t *held, pid_t parent) {
  pid_t pid;
  atomic_store(&page->patience_ms, CHILD_PATIENCE_MS);
  atomic_store(&page->stamp_ms, ticks_ms());
  fflush(NULL);
  pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(CHILD_FATAL);
  unsetenv("NOTIFY_SOCKET");
  signal(SIGTERM, on_signal);
  signal(SIGINT, on_signal);
  signal(SIGPIPE, SIG_IGN);
  sigprocmask(SIG_UNBLOCK, held, NULL);
  /* Without exit's handlers: nats.c's may wait for its threads. */
  _exit(child(arg));
}

/* Whether it shows no life. */
static bool hangs(void) {
  uint64_t patience = atomic_load(&page->patience_ms), at = atomic_load(&page->stamp_ms);
  return ticks_ms() > at + patience;
}

typedef struct watch {
  pid_t pid;
  bool stopping;
  unsigned long long stop_by; /* then it is killed */
} watch;

/* Wait for a signal or a second, and do what is to be done about the child.  True: it has ended. */
static bool watch_once(watch *watch, const sigset_t *held, int *status) {
  struct timespec pause = { .tv_sec = TICK_MS / 1000 };
  int signal = sigtimedwait(held, NULL, &pause);
  if ((signal == SIGTERM || signal == SIGINT) && !watch->stopping) {
    tell("STOPPING=1");
    watch->stopping = true;
    watch->stop_by = ticks_ms() + STOP_MS;
    kill(watch->pid, SIGTERM);
  }
  if (waitpid(watch->pid, status, WNOHANG) == watch->pid) return true;
  if (hangs() || (watch->stopping && ticks_ms() > watch->stop_by)) {
    note("the process that works (%d) shows no life, and is replaced", (int)watch->pid);
    kill(watch->pid, SIGKILL);
    waitpid(watch->pid, status, 0);
    return true;
  }
  return false;
}

/* Between two children: true where it was told to end. */
static bool pause_between(unsigned ms, const sigset_t *held) {
  unsigned long long until = ticks_ms() + ms;
  while (ticks_ms() < until) {
    unsigned long long left = until - ticks_ms();
    struct timespec pause = { .tv_sec = (time_t)(left / 1000),
                              .tv_nsec = (long)(left % 1000) * 1000000 };
    int signal = sigtimedwait(held, NULL, &pause);
    tell("WATCHDOG=1");
    if (signal == SIGTERM || signal == SIGINT) return true;
  }
  return false;
}

static void *shared_page(void) {
  void *base = mmap(NULL, sizeof(life), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return base == MAP_FAILED ? NULL : base;
}

int child_supervise(int (*child)(void *arg), void (*tick)(void *arg, uint64_t replaced),
                    void *arg) {
  uint64_t replaced = 0;
  unsigned wait_ms = AGAIN_MS;
  sigset_t held;
  sigemptyset(&held);
  sigaddset(&held, SIGTERM);
  sigaddset(&held, SIGINT);
  sigaddset(&held, SIGCHLD);
  sigprocmask(SIG_BLOCK, &held, NULL);
  if ((page = shared_page()) == NULL) return complain("out of memory");
  tell("READY=1");
  for (;;) {
    unsigned long long began = ticks_ms();
    int status = 0;
    watch watch = { .pid = begin(child, arg, &held, getpid()) };
    if (watch.pid < 0) return complain("no process can be made: %s", strerror(errno));
    while (!watch_once(&watch, &held, &status)) {
      tell("WATCHDOG=1");
      tick(arg, replaced);
    }
    tick(arg, replaced);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_FATAL) return CHILD_FATAL;
    if (watch.stopping || (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_ENDED)) return 0;
    replaced++;
    if (ticks_ms() - began > 60000) wait_ms = AGAIN_MS;
    if (pause_between(wait_ms, &held)) return 0;
    wait_ms = wait_ms * 2 < AGAIN_MOST_MS ? wait_ms * 2 : AGAIN_MOST_MS;
  }
}

/* ----------------------------------------------------------------------------- a single command */
static bool is_mistake(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGABRT || signal == SIGFPE
         || signal == SIGILL;
}

bool child_guard(const char *words, int *status) {
  pid_t parent = getpid(), pid;
  int how = 0;
  fflush(NULL);
  pid = fork();
  if (pid < 0) return false;
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(CHILD_FATAL);
    return false;
  }
  while (waitpid(pid, &how, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(how)) {
    *status = WEXITSTATUS(how);
    return true;
  }
  if (is_mistake(WTERMSIG(how))) {
    *status = complain("%s: the server sent what libnats cannot read (%s)", words,
                       strsignal(WTERMSIG(how)));
    return true;
  }
  /* Somebody's wish, or a pipe that nobody reads: as if there were one process. */
  signal(WTERMSIG(how), SIG_DFL);
  raise(WTERMSIG(how));
  *status = CHILD_FATAL;
  return true;
}
