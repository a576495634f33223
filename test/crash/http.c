/*
** http.c - the server, written to by 8 to 64 clients at once and ended at a random moment: what it
** answered holds.
**
** A LIFE is one server process on one store, from its start, which recovers the store, to its end:
** at a random step of core, at a random time, or by a SIGTERM that it takes its leave with.
** Flushes are made slow, so that many transactions share one and others come meanwhile.  Then
**
**   kill    memory lives on: the same file is opened in the same boot;
**   power   the disk may hold what pages.c says: images are made and each is opened as after a new
**           boot.  One of them lives on;
**   rig     the server ran on a real ext4, which is shut down: behind a server that is dead, or
**           under one that goes on until it is killed.
**
** and what is there is judged by asked.c.  In some lives the disk begins to fail every flush before
** the end; maph_recover makes those stores usable.
*/
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum mode { KILL, POWER, RIG };
enum { IMAGES_A_CUT = 24, LIVES_OF_A_STORE = 4, SILENT_MS = 120000, FILE_MOST = 2500000 };

static enum mode mode;
static char *data, *path, *log_path, *image_path;
static long lives, images, clean;
static uint16_t boots;
static int client_count, budget;
static atomic_int *power_is_off; /* shared with the process that cuts */
static atomic_int *disk_fails;   /* shared with the server */

/* ----------------------------------------------------------------------------------- the server */
static int (*call_before)(const char *call);
static _Thread_local unsigned flushes;

/* A flush takes its time, as on a disk: on tmpfs it would be over before anybody else comes. */
static int slow_flush(const char *call) {
  int e = call_before(call);
  if (strcmp(call, "msync") != 0 && strcmp(call, "fdatasync") != 0) return e;
  os_sleep_us((unsigned)(mix(seed, ++flushes) % 1500));
  return atomic_load(disk_fails) ? EIO : e;
}

static void hook_server(void) {
  if (mode == RIG) return;
  if (mode == POWER)
    pages_watch(path);
  else
    hooks_count();
  call_before = os_test.fault;
  os_test.fault = slow_flush;
}

/* Every option can be said by the environment. */
static void serve(void *sync) {
  char name[] = "maph-server", threads[20], *arguments[] = { name, NULL };
  int log = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), rc;
  must(log >= 0 && dup2(log, 1) >= 0 && dup2(log, 2) >= 0, log_path);
  snprintf(threads, sizeof threads, "%d", client_count + 8);
  setenv("MAPH_DATA", data, 1);
  setenv("MAPH_LISTEN", "127.0.0.1:0", 1);
  setenv("MAPH_SYNC", sync, 1);
  setenv("MAPH_THREADS", threads, 1);
  setenv("MAPH_WATCHERS", "0", 1);
  setenv("MAPH_ACCESS_LOG", "off", 1);
  hook_server();
  rc = server_main(1, arguments);
  if (rc != 0) trouble("the server ends with %d", rc);
}

static int has_ended(pid_t pid) {
  siginfo_t info;
  info.si_pid = 0;
  return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* What the server has said so far.  To be freed. */
static char *server_log(void) {
  size_t size;
  char *text = (char *)file_read(log_path, &size);
  text[size] = 0;
  return text;
}

/* 0: it died before it listened. */
static int port_of(pid_t pid) {
  double until = seconds() + SILENT_MS / 1000.0;
  int port = 0;
  while (port == 0 && !has_ended(pid)) {
    char *text = server_log(), *at = strstr(text, " on http://127.0.0.1:");
    if (at && strchr(at, '\n')) port = atoi(at + 21);
    free(text);
    must(seconds() < until, "the server does not start");
    if (port == 0) usleep(1000);
  }
  return port;
}

/* --------------------------------------------------------------------------------------- a life */

/* How a life ends; `at` is the number of answers after which it does, if no step comes before. */
typedef struct ending {
  enum { BY_STEP, BY_KILL, BY_TERM, BY_CUT, BY_FAILURE } how;
  long at;
} ending;

static ending choose_ending(void) {
  ending ending;
  uint32_t dice = below(8);
  ending.how = mode == RIG ? (dice < 5   ? BY_CUT
                              : dice < 7 ? BY_KILL
                                         : BY_TERM)
               : dice < 5  ? BY_STEP
               : dice < 6  ? BY_KILL
               : dice < 7  ? BY_FAILURE
                           : BY_TERM;
  ending.at = (long)below((uint32_t)budget);
  atomic_store(&the->step, 0);
  atomic_store(&the->kill_at,
               ending.how == BY_STEP ? 1 + (long)below(below(4) ? (uint32_t)budget * 20 : 300) : 0);
  the->kill_near_rename = 0;
  return ending;
}

/* What comes when the power is off comes from a machine that is not there.  (Linux says OK to an
** msync that it was shut down in.) */
static void on_answer(int i, const answer *answer) {
  if (atomic_load(power_is_off)) return;
  asked_answered(i, answer);
  if (asked_number() < budget && troubles == 0) ask(i);
}

/* Some pages reach the disk, then none. */
static void cut_under_server(void *unused) {
  (void)unused;
  usleep(below(3000));
  if (below(2)) rig_write_back_some(path);
  atomic_store(power_is_off, 1);
  if (!rig_cut()) trouble("the file system cannot be shut down");
}

static void end_server(pid_t server, ending ending) {
  double until = seconds() + 0.001 * below(30);
  pid_t cutter;
  if (ending.how == BY_TERM) {
    asked_may_fail();
    kill(server, SIGTERM);
    return;
  }
  if (ending.how == BY_FAILURE) {
    asked_may_fail();
    atomic_store(disk_fails, 1);
    while (seconds() < until && clients_poll(1, on_answer) > 0) {}
  }
  if (ending.how == BY_CUT) {
    cutter = spawn(cut_under_server, NULL);
    while (!has_ended(cutter))
      if (clients_poll(1, on_answer) == 0) usleep(1000);
    reap(cutter);
  }
  kill(server, SIGKILL);
}

/* Clients ask until the server is gone; what it sent before is still taken. */
static void talk(pid_t server, ending ending) {
  double heard = seconds();
  long answered = 0;
  int ending_now = 0, i;
  for (i = 0; i < client_count; i++) ask(i);
  for (;;) {
    long before = asked.answered;
    if (clients_poll(20, on_answer) == 0) break;
    if (asked.answered != before) {
      answered += asked.answered - before;
      heard = seconds();
    }
    if (!ending_now && (answered >= ending.at || asked_number() >= budget || troubles)) {
      ending_now = 1;
      end_server(server, ending);
    }
    if (seconds() - heard > SILENT_MS / 1000.0) {
      trouble("no answer for %d s", SILENT_MS / 1000);
      kill(server, SIGKILL);
      heard = seconds();
    }
  }
  while (!has_ended(server) && !ending_now) { /* whoever dies closes its sockets first */
    if (seconds() - heard > SILENT_MS / 1000.0) {
      trouble("the server closed all connections, and lives");
      kill(server, SIGKILL);
    }
    usleep(1000);
  }
}

static void tell_log(void) {
  char *text = server_log();
  printf("! the server said: %.2000s\n", text);
  free(text);
}

static void live(void) {
  ending ending = choose_ending();
  const char *sync = asked_begin(mode != KILL, mode != POWER);
  int before = troubles, port;
  pid_t server;
  lives++;
  context("http life %ld, %d clients, ending %d", lives, client_count, (int)ending.how);
  atomic_store(power_is_off, 0);
  atomic_store(disk_fails, 0);
  if (mode != KILL) os_test.boot = ++boots;
  if (mode == POWER) pages_start(path);
  file_restore(log_path, NULL, 0);
  server = spawn(serve, (void *)(uintptr_t)sync);
  port = port_of(server);
  if (port && clients_connect(port, client_count))
    talk(server, ending);
  else if (port)
    kill(server, SIGKILL);
  clients_close();
  reap(server);
  if (mode == POWER) pages_session_over();
  if (troubles != before) tell_log();
}

/* -------------------------------------------------------------------------------------- the cut */
static int is_clean(const uint8_t *bytes, size_t size) {
  uint64_t mark;
  if (size < HEADER_SIZE) return 0;
  memcpy(&mark, bytes + offsetof(header, clean), 8);
  return mark == CLEAN_YES;
}

/* No more than opening for writing, but after a failed flush. */
static int mend(const char *file) {
  char *damaged = malloc(strlen(file) + 10);
  int rc = maph_recover(file, NULL, NULL);
  must(damaged != NULL, "memory");
  sprintf(damaged, "%s.damaged", file);
  unlink(damaged);
  free(damaged);
  return rc;
}

static void must_mend(const char *file) {
  if (mend(file) != MAPH_OK) trouble("maph_recover: %s", maph_errmsg(NULL));
}

/* The store is opened as a copy in another boot: the file itself is left for the next server to
** recover. */
static void judge_copy(const uint8_t *bytes, size_t size, int kept) {
  file_restore(image_path, bytes, size);
  os_test.boot = ++boots;
  images++;
  clean += is_clean(bytes, size);
  if (atomic_load(disk_fails)) must_mend(image_path);
  asked_judge(image_path, is_clean(bytes, size), kept);
}

/* The image that lives on is judged last. */
static void judge_images(void) {
  int sectors = below(3) == 0, n, i;
  double all = pages_images(0, sectors);
  n = all < IMAGES_A_CUT ? (int)all : IMAGES_A_CUT;
  for (i = 0; i < n && troubles == 0; i++) {
    size_t size;
    uint8_t *bytes = pages_image(0, sectors, i, all > n, &size);
    context("http life %ld, image %d of %d, %s", lives, i, n, sectors ? "sectors" : "pages");
    judge_copy(bytes, size, i == n - 1);
    if (i == n - 1 && atomic_load(disk_fails)) {
      free(bytes);
      bytes = file_read(image_path, &size);
    }
    if (i == n - 1) file_restore(path, bytes, size);
    free(bytes);
  }
}

static void judge_disk(void) {
  uint8_t *bytes;
  size_t size;
  if (!atomic_load(power_is_off)) {
    rig_write_back_some(path);
    must(rig_cut(), "shutting the file system down");
  }
  rig_mount_again();
  bytes = file_read(path, &size);
  judge_copy(bytes, size, 1);
  asked_judge_stores(data, NULL);
  free(bytes);
}

static void judge_life(void) {
  if (mode == POWER)
    judge_images();
  else if (mode == RIG)
    judge_disk();
  else {
    if (atomic_load(disk_fails)) must_mend(path);
    asked_judge(path, 1, 1);
    asked_judge_stores(data, atomic_load(disk_fails) ? mend : NULL);
  }
}

/* ------------------------------------------------------------------------------------ the tests */

/* A log so long that the first commit at full writes a checkpoint. */
static void lengthen(maph *m) {
  size_t size = (1 << 20) + (1 << 16);
  void *filler = calloc(1, size);
  must(filler != NULL, "memory");
  must(maph_put(m, maph_str("filler"), maph_bytes(filler, size)) == MAPH_OK
           && maph_delete(m, maph_str("filler")) == MAPH_OK,
       "a filler");
  free(filler);
}

static void new_store(void) {
  maph_stats st;
  maph *m;
  maph_destroy(path, 1000);
  must(maph_open(path, MAPH_RDWR | MAPH_CREATE | MAPH_EXCL, NULL, &m) == MAPH_OK,
       "creating a store");
  if (below(3) == 0) lengthen(m);
  must(maph_stat(m, &st) == MAPH_OK && maph_close(m) == MAPH_OK, "closing a store");
  asked_anew(st.version);
}

static int store_is_large(void) {
  size_t size;
  free(file_read(path, &size));
  return size > (size_t)(mode == POWER ? FILE_MOST : 4 * FILE_MOST);
}

/* Lives of stores, four of each, until there were so many cuts or kills, or images. */
static void run(long count) {
  int of_this = LIVES_OF_A_STORE;
  power_is_off = shared(sizeof *power_is_off);
  disk_fails = shared(sizeof *disk_fails);
  while ((mode == POWER ? images : lives) < count && troubles == 0) {
    if (of_this++ == LIVES_OF_A_STORE || store_is_large()) {
      of_this = 1;
      new_store();
    }
    client_count = 8 + (int)below(CLIENTS_MAX - 7);
    budget = client_count + (int)(mode == POWER ? 20 + below(250) : 100 + below(900));
    live();
    if (troubles == 0) judge_life();
  }
  printf(
      "%ld lives of a server, %ld requests answered, %ld writes promised to be there, %ld answered "
      "that nobody promised were lost, %ld unanswered were there; %ld images, %ld clean\n",
      lives, asked.answered, asked.durable, asked.lost, asked.unpromised, images, clean);
}

static void name_files(const char *folder_of_data) {
  data = file_named(folder_of_data);
  path = malloc(strlen(data) + 20);
  must(path != NULL, "memory");
  sprintf(path, "%s/s.maph", data);
  log_path = file_named("server.log");
  image_path = file_named("image.maph");
}

static int in_folder(enum mode which, long count) {
  char command[700];
  mode = which;
  name_files("data");
  snprintf(command, sizeof command, "mkdir '%s'", data);
  must(system(command) == 0, command);
  run(count);
  return 0;
}

int http_kill_main(long count) { return in_folder(KILL, count); }
int http_power_main(long count) { return in_folder(POWER, count); }

int http_rig_main(long count) {
  mode = RIG;
  name_files("mounted");
  if (!rig_mount("200M") || !rig_cut()) {
    printf("this machine cannot mount and shut down an ext4\n");
    rig_unmount();
    return 77;
  }
  rig_mount_again();
  run(count);
  rig_unmount();
  return 0;
}
