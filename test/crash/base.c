/*
** base.c - random numbers, troubles, processes, files.
*/
#include "crash.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t seed;
const char *folder;
int troubles;

static uint64_t state_of_rng, state_of_getrandom;
static unsigned children;
static char where[400];

uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a * UINT64_C(0x9E3779B97F4A7C15) + b + UINT64_C(0x632BE59BD9B4E019);
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

uint64_t rng(void) { return mix(seed, ++state_of_rng); }
uint32_t below(uint32_t n) { return (uint32_t)((rng() >> 32) * n >> 32); }

void rng_again(uint64_t from) { state_of_rng = from << 32; }

void rng_start(uint64_t from) {
  rng_again(from);
  state_of_getrandom = ~from << 32;
}

/* The store's uuid, hash seed, nonces and writers' identities come from the seed too. */
ssize_t getrandom(void *data, size_t size, unsigned flags);
ssize_t getrandom(void *data, size_t size, unsigned flags) {
  uint8_t *p = data;
  size_t i;
  (void)flags;
  for (i = 0; i < size; i++) p[i] = (uint8_t)mix(seed, ++state_of_getrandom);
  return (ssize_t)size;
}

void context(const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  vsnprintf(where, sizeof where, format, ap);
  va_end(ap);
}

void trouble(const char *format, ...) {
  char line[1200];
  va_list ap;
  va_start(ap, format);
  vsnprintf(line, sizeof line, format, ap);
  va_end(ap);
  if (troubles++ < 10)
    printf("! %s: %s  (MAPH_TEST_SEED=%llu)\n", where, line, (unsigned long long)seed);
  fflush(stdout);
}

static pid_t first_process;

void make_folder(void) {
  static char name[300];
  const char *place = getenv("TMPDIR");
  if (place == NULL || place[0] == 0) place = "/tmp";
  if (access("/dev/shm", W_OK) == 0 && getenv("MAPH_TEST_CRASH_ON_DISK") == NULL)
    place = "/dev/shm";
  snprintf(name, sizeof name, "%s/maphcrash.XXXXXX", place);
  must(mkdtemp(name) != NULL, name);
  folder = name;
  first_process = getpid();
}

void remove_folder(void) {
  char command[700];
  snprintf(command, sizeof command, "umount -l '%s/mounted' 2>/dev/null; rm -rf '%s'", folder,
           folder);
  if (system(command) != 0) printf("! %s could not be removed\n", folder);
}

void must(int ok, const char *what) {
  if (ok) return;
  printf("! %s: %s: errno says %s, maph says %s  (MAPH_TEST_SEED=%llu)\n", where, what,
         strerror(errno), maph_errmsg(NULL), (unsigned long long)seed);
  fflush(stdout);
  if (getpid() == first_process) remove_folder();
  _exit(2);
}

pid_t spawn(void (*body)(void *), void *arg) {
  pid_t pid;
  children++;
  fflush(stdout);
  pid = fork();
  must(pid >= 0, "fork");
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  rng_start(mix(state_of_rng, children) & UINT32_MAX);
  troubles = 0;
  body(arg);
  fflush(stdout);
  _exit(troubles ? 3 : 0);
}

int reap(pid_t pid) {
  int status;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return -9;
  if (WIFEXITED(status))
    trouble("a child ended with %d", WEXITSTATUS(status));
  else
    trouble("a child died of signal %d", WTERMSIG(status));
  return 1;
}

void *shared(size_t size) {
  void *p =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  must(p != MAP_FAILED, "shared memory");
  return p;
}

char *file_named(const char *name) {
  char *path = malloc(strlen(folder) + strlen(name) + 2);
  must(path != NULL, "memory");
  sprintf(path, "%s/%s", folder, name);
  return path;
}

uint8_t *file_read(const char *path, size_t *size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  uint8_t *bytes;
  must(fd >= 0 && fstat(fd, &st) == 0, path);
  bytes = malloc((size_t)st.st_size + 1);
  must(bytes != NULL && pread(fd, bytes, (size_t)st.st_size, 0) == st.st_size, path);
  close(fd);
  *size = (size_t)st.st_size;
  return bytes;
}

void file_restore(const char *path, const uint8_t *bytes, size_t size) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  must(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size, path);
  close(fd);
}

void file_restore_mapped(const char *path, const uint8_t *bytes, size_t size) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  must(fd >= 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size, path);
  close(fd);
}

double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
