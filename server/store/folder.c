/*
** folder.c - the folder of the stores: which there are, and opening those at start.
**
** A thread of its own opens them, so that one which must be recovered, or which another process has
** to itself, keeps nobody from the others; at most half of the files that may be open go to them.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/options.h"
#include "base/uri.h"
#include "store/folder.h"
#include "store/leftovers.h"
#include "store/stores.h"

enum { NAMES_MAX = 100000 };

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

char **folder_names(size_t *count) {
  DIR *dir = opendir(option.data);
  struct dirent *e;
  char **names = NULL;
  *count = 0;
  if (dir == NULL) return NULL;
  names = calloc(NAMES_MAX, sizeof *names);
  while (names && *count < NAMES_MAX && (e = readdir(dir)) != NULL) {
    size_t size = strlen(e->d_name);
    if (size <= 5 || strcmp(e->d_name + size - 5, ".maph") != 0
        || !store_name_valid(e->d_name, size - 5))
      continue;
    names[*count] = strndup(e->d_name, size - 5);
    if (names[*count]) ++*count;
  }
  closedir(dir);
  if (names) qsort(names, *count, sizeof *names, by_text);
  return names;
}

int folder_trouble(bool to_write) {
  return faccessat(AT_FDCWD, option.data, to_write ? R_OK | W_OK | X_OK : R_OK | X_OK, AT_EACCESS)
                 == 0
             ? 0
             : errno;
}

static char **names_at_start;
static size_t names_count, names_to_open;
static pthread_t opener;
static bool opener_started;
static atomic_bool opener_stop;

static void *open_all(void *unused) {
  (void)unused;
  for (size_t i = 0; i < names_count; i++) {
    int rc = MAPH_NOTFOUND;
    store *store = i >= names_to_open || atomic_load(&opener_stop)
                       ? NULL
                       : store_acquire(names_at_start[i], strlen(names_at_start[i]), false, &rc);
    if (store == NULL && rc != MAPH_NOTFOUND)
      log_line("store %s cannot be opened: %s", names_at_start[i], store_errmsg(rc, NULL));
    store_release(store);
    free(names_at_start[i]);
  }
  free(names_at_start);
  return NULL;
}

bool folder_find(void) {
  if (!option.read_only) leftovers_remove(option.data);
  names_at_start = folder_names(&names_count);
  if (names_at_start == NULL)
    fprintf(stderr, "maph-server: cannot read the folder %s: %s\n", option.data, strerror(errno));
  return names_at_start != NULL;
}

size_t folder_found(void) { return names_count; }

int folder_open(uint64_t files) {
  names_to_open = files / 2 < names_count ? (size_t)files / 2 : names_count;
  opener_started = pthread_create(&opener, NULL, open_all, NULL) == 0;
  return opener_started ? 0 : 1;
}

void folder_stop_opening(void) {
  atomic_store(&opener_stop, true);
  if (opener_started) pthread_join(opener, NULL);
  opener_started = false;
}
