/*
** main.c - start, signals, drain.
**
** All signals that matter are blocked in every thread and taken here, one at a time, by sigwait: no
** handler ever interrupts anything.  SIGTERM or SIGINT: /readyz turns 503 and new requests are
** refused, those in flight finish, then jobs stop, the stores are closed (the last writer marks
** them clean) and the process ends with 0.  A second signal while it waits ends it at once.
** SIGPIPE and SIGXFSZ are ignored: a client that is gone and a file-size limit are errors of a
** call.
**
** A store takes two open files, a connection one, or two while its body waits in one: as many are
** asked for as the system lets us have.
*/
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "access/auth.h"
#include "access/client.h"
#include "access/guard.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sentence.h"
#include "http/access_log.h"
#include "http/http.h"
#include "routes/jobs.h"
#include "serve.h"
#include "store/folder.h"
#include "store/follow.h"
#include "store/openings.h"
#include "store/stores.h"
#include "upkeep.h"

/* the logs, sockets to listen at, and what lasts a moment */
enum { FILES_BESIDE = 32 };

/* Tell systemd (Type=notify), if it asked. */
static void notify(const char *state) {
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un to = { .sun_family = AF_UNIX };
  int fd;
  if (path == NULL || strlen(path) >= sizeof to.sun_path || (*path != '/' && *path != '@')) return;
  strcpy(to.sun_path, path);
  if (*path == '@') to.sun_path[0] = 0;
  fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)))
      < 0) {
    log_line("cannot tell the service manager %s: %s", state, strerror(errno));
  }
  close(fd);
}

static void block_signals(sigset_t *set) {
  sigemptyset(set);
  sigaddset(set, SIGTERM);
  sigaddset(set, SIGINT);
  sigaddset(set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, set, NULL);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

/* How many files may be open: as many as the hard limit says. */
static uint64_t raise_file_limit(void) {
  struct rlimit limit = { 0, 0 }, wanted;
  getrlimit(RLIMIT_NOFILE, &limit);
  wanted = limit;
  wanted.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &wanted) == 0 ? wanted.rlim_cur : limit.rlim_cur;
}

static uint64_t needed_files(void) {
  return FILES_BESIDE + 2 * (option.threads + option.watchers) + 2 * folder_found();
}

/* How many of them connections that wait may have: a quarter, or where so many are spare, those,
** but for an eighth of all, for stores to come. */
static uint64_t files_for_waiting(uint64_t limit) {
  uint64_t taken = needed_files() + limit / 8;
  return limit > taken && limit - taken > limit / 4 ? limit - taken : limit / 4;
}

/* Say it when that may be too few. */
static void judge_file_limit(uint64_t limit) {
  uint64_t stores = folder_found(), connections = option.threads + option.watchers,
           needed = needed_files();
  if (limit >= needed) return;
  log_line("%llu stores and %llu connections may need %llu open files, and %llu are allowed: raise "
           "that (ulimit -Hn, or LimitNOFILE= of the service)",
           (unsigned long long)stores, (unsigned long long)connections, (unsigned long long)needed,
           (unsigned long long)limit);
}

/* SIGHUP: the log's file may have been renamed, the tokens' changed. */
static void reload(void) {
  const char *log = "the access log stays as it was", *tokens = "the tokens stay as they were";
  if (access_log_open())
    log = access_log_in_file() ? "reopened the access log"
                               : "there is no file of an access log to reopen";
  if (auth_load()) tokens = auth_on() ? "read the tokens" : "no tokens are asked for";
  log_line("SIGHUP: %s; %s", log, tokens);
  follow_ring_all(); /* whose token is gone? */
}

/* Wait until it is time to stop. */
static void wait_for_end(const sigset_t *set) {
  int number = 0;
  for (;;) {
    if (sigwait(set, &number) != 0) continue;
    if (number != SIGHUP) break;
    reload();
  }
  log_line("%s: finishing the requests in flight", number == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void stop(const sigset_t *set) {
  notify("STOPPING=1");
  /* from here on a second signal ends the process */
  pthread_sigmask(SIG_UNBLOCK, set, NULL);
  http_drain();
  jobs_stop();
  http_stop();
  upkeep_stop();
  follow_stop();
  folder_stop_opening();
  stores_close_all();
  access_log_flush();
}

int main(int argc, char **argv) {
  sigset_t set;
  uint64_t files;
  char addresses[1024];
  int rc = options_read(argc, argv);
  if (rc != 0) return rc - 1;
  files = raise_file_limit();
  block_signals(&set);
  sentence_setup();
  openings_setup();
  jobs_start();
  maph_guard();
  if (!access_log_open() || !auth_load() || !folder_find() || !guard_setup() || !client_setup()
      || http_start(serve_callbacks(), files_for_waiting(files)) != 0)
    return 2;
  judge_file_limit(files);
  if (folder_open(files / 2) != 0 || upkeep_start() != 0) {
    log_line("cannot start a thread: %s", strerror(errno));
    return 2;
  }
  http_addresses(addresses, sizeof addresses);
  log_line("%s serves %s on %s", maph_version(), option.data, addresses);
  notify("READY=1");
  wait_for_end(&set);
  stop(&set);
  log_line("stopped");
  return 0;
}
