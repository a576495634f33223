/*
** fuzz_store.c - libFuzzer over the bytes of a store: make fuzz RUNS=n.
**
** An input is a whole file; an empty one stands for a sample store, by turns an ordinary one and
** optimized ones.  The mutator changes what matters (forge.c) and sets checksums right again, so
** that what lies behind them is reached; one in eight times libFuzzer's own mutation is left as it
** is.  Each input is opened, read, checked, written to and recovered; a wrong code, a failure
** without a sentence, or a store that is not sound after recovery ends the run.
**
** With MAPH_TEST_FUZZ_FLIP=1 in the environment a thread keeps changing bytes of the file while it
** is read: then any answer may be, but no crash.
*/
#include "../binding/exercise.h"
#include "../binding/forge.h"
#include "os/os.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

enum { FILE_MAX = 256 * 1024 };

static char folder[200], path[240], copy[250];
enum { SAMPLES = TRUTH_DIRECT + 1 };
static uint8_t samples[SAMPLES][FILE_MAX], *sample = samples[0];
static size_t sample_sizes[SAMPLES], sample_size;
static int flipping;

static void give_up(const char *what) {
  fprintf(stderr, "fuzz_store: %s\n", what);
  abort();
}

static void write_file(const char *name, const uint8_t *bytes, size_t size) {
  int fd = open(name, O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)size) != 0 || pwrite(fd, bytes, size, 0) != (ssize_t)size)
    give_up("cannot write the input");
  close(fd);
}

static void remove_all(void) {
  static const char *const endings[] = {
    "",      ".lock",      ".new",      ".damaged",      ".damaged.1",      ".damaged.2",
    ".copy", ".copy.lock", ".copy.new", ".copy.damaged", ".copy.damaged.1", ".copy.damaged.2"
  };
  char name[300];
  size_t i;
  for (i = 0; i < sizeof endings / sizeof *endings; i++) {
    snprintf(name, sizeof name, "%s%s", path, endings[i]);
    unlink(name);
  }
}

static void clean_up(void) {
  remove_all();
  rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  truth truth;
  int fd, i;
  (void)argc;
  (void)argv;
  snprintf(folder, sizeof folder, "%s/maph-fuzz.XXXXXX",
           access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  if (mkdtemp(folder) == NULL) give_up("no folder");
  snprintf(path, sizeof path, "%s/s.maph", folder);
  snprintf(copy, sizeof copy, "%s.copy", path);
  for (i = 0; i < SAMPLES; i++) {
    if (truth_build(path, i, &truth) != MAPH_OK) give_up(maph_errmsg(NULL));
    fd = open(path, O_RDONLY);
    sample_sizes[i] = (size_t)pread(fd, samples[i], FILE_MAX, 0);
    close(fd);
    remove_all();
  }
  sample_size = sample_sizes[0];
  atexit(clean_up);
  os_test.reserve = 1024 * 1024;
  flipping = getenv("MAPH_TEST_FUZZ_FLIP") != NULL;
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  forge forge = { .image = data, .size = size, .room = max_size, .state = seed };
  unsigned changes = 1 + seed % 3;
  sample = samples[seed / 8 % SAMPLES];
  sample_size = sample_sizes[seed / 8 % SAMPLES];
  if (size < 8192 && max_size >= sample_size) {
    memcpy(data, sample, sample_size);
    forge.size = sample_size;
  }
  if (forge.size < 8192 || seed % 8 == 0) return LLVMFuzzerMutate(data, forge.size, max_size);
  while (changes-- > 0) forge_change(&forge);
  if (forge.size >= 8192) {
    if (forge_random(&forge, 8))
      forge_repair(&forge, forge_random(&forge, 2) ? REPAIR_ALL : (int)forge_random(&forge, 16));
    if (forge_random(&forge, 3) == 0) forge_dirty(&forge, 0);
  }
  return forge.size;
}

/* --------------------------------------------------------------------- bytes change under reads */

static atomic_int stop;

static void *flip_bytes(void *arg) {
  const size_t *size = arg;
  int fd = open(path, O_RDWR);
  uint8_t *p = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  uint64_t x = 88172645463325252u;
  close(fd);
  if (p == MAP_FAILED) return NULL;
  while (!atomic_load(&stop)) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    __atomic_fetch_xor(p + x % *size, (uint8_t)(1u << (x >> 61)), __ATOMIC_RELAXED);
    if (x % 512 == 0) memcpy(p, sample, *size < sample_size ? *size : sample_size);
  }
  munmap(p, *size);
  return NULL;
}

static void read_while_it_changes(const uint8_t *data, size_t size) {
  exercise exercise;
  pthread_t thread;
  int round;
  write_file(path, data, size);
  atomic_store(&stop, 0);
  if (size == 0 || pthread_create(&thread, NULL, flip_bytes, &size) != 0) return;
  for (round = 0; round < 3; round++) {
    memset(&exercise, 0, sizeof exercise);
    exercise_read(path, &exercise);
  }
  atomic_store(&stop, 1);
  pthread_join(thread, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  exercise exercise;
  if (size == 0) {
    data = sample;
    size = sample_size;
  }
  if (size > FILE_MAX) return -1;
  if (flipping) {
    read_while_it_changes(data, size);
    return 0;
  }
  memset(&exercise, 0, sizeof exercise);
  remove_all();
  write_file(path, data, size);
  exercise_read(path, &exercise);
  write_file(copy, data, size);
  exercise_write(copy, &exercise);
  if (exercise.complaint[0]) give_up(exercise.complaint);
  return 0;
}
