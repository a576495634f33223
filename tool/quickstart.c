/*
** quickstart.c - read a maph store by mmap, while others write it.
**
** usage: quickstart STORE KEYFILE NAME...  KEYFILE: one key a line, read round and round for a
** second
**
** A reader needs nothing but read permission: it takes no lock, and sees each commit as soon as it
** is made.
*/
#include "maph.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 256 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t version_of(maph *m) {
  maph_stats stats;
  return maph_stat(m, &stats) == MAPH_OK ? stats.version : 0;
}

/* The lines of a file as slices of one buffer, which stays allocated. */
static size_t read_lines(const char *path, maph_slice **lines) {
  FILE *f = fopen(path, "rb");
  char *text = NULL, *line;
  size_t size = 0, n = 0, room = 0;
  *lines = NULL;
  if (f == NULL) return 0;
  if (getdelim(&text, &size, 0, f) < 0) {
    fclose(f);
    free(text);
    return 0;
  }
  fclose(f);
  for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    if (n == room) {
      maph_slice *more = realloc(*lines, (room = room ? 2 * room : 1024) * sizeof(**lines));
      if (more == NULL) return n;
      *lines = more;
    }
    (*lines)[n++] = maph_str(line);
  }
  return n;
}

/* Get every key again and again for a second, one by one or in batches: gets per second. */
static double gets_per_second(maph *m, const maph_slice *keys, size_t n, int batched,
                              size_t *found) {
  double start = now(), seconds;
  size_t gets = 0, i, j, some;
  maph_slice values[BATCH];
  do {
    *found = 0;
    for (i = 0; i < n; i += some) {
      some = n - i < BATCH ? n - i : BATCH;
      if (batched)
        maph_get_many(m, some, keys + i, values);
      else
        for (j = 0; j < some; j++) maph_get(m, keys[i + j], &values[j]);
      for (j = 0; j < some; j++) *found += values[j].data != NULL;
    }
    gets += n;
    seconds = now() - start;
  } while (seconds < 1.0);
  return (double)gets / seconds;
}

int main(int argc, char **argv) {
  maph *m;
  maph_slice *keys, value;
  size_t n, found;
  uint64_t version;
  double single, batched;
  int i;

  if (argc < 3) {
    fprintf(stderr, "usage: quickstart STORE KEYFILE NAME...\n");
    return 2;
  }
  if (maph_open(argv[1], MAPH_RDONLY, NULL, &m) != MAPH_OK) {
    fprintf(stderr, "%s\n", maph_errmsg(NULL));
    return 1;
  }
  for (i = 3; i < argc; i++) {
    int rc = maph_get(m, maph_str(argv[i]), &value);
    if (rc == MAPH_OK) {
      printf("    %-20s %.*s...\n", argv[i], value.size < 70 ? (int)value.size : 70,
             (const char *)value.data);
    } else {
      printf("    %-20s (%s)\n", argv[i], maph_strerror(rc));
    }
  }
  n = read_lines(argv[2], &keys);
  if (n == 0) {
    fprintf(stderr, "no keys in %s\n", argv[2]);
    return 1;
  }
  version = version_of(m);
  single = gets_per_second(m, keys, n, 0, &found);
  printf("    found %zu of %zu keys\n", found, n);
  batched = gets_per_second(m, keys, n, 1, &found);
  version = version_of(m) - version;
  printf("    transactions that others committed meanwhile: %llu\n", (unsigned long long)version);
  printf("figures %.0f %.0f\n", single, batched);
  return maph_close(m) == MAPH_OK && found == n ? 0 : 1;
}
