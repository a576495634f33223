/*
** retention.c - how many backups of a store are kept.
**
** Only files are removed whose name a backup without a name of its own has: NAME-TIME.maph, or
** NAME-TIME-2.maph and so on, TIME as 20260131T120000Z.  What was named is the operator's, and so
** is whatever else lies in the folder.
**
** The clock may have been set back since.  A name that lies ahead of the backup that was just made
** is older than it: such go first, and that one stays.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "routes/retention.h"

enum { STAMP_SIZE = RETENTION_STAMP_ROOM - 1 };

typedef struct backup {
  char stamp[STAMP_SIZE + 1];
  unsigned long number; /* among those of one second */
  int age;              /* 0: just made; 1: made at that time; 2: made when the clock was ahead */
  char *file;
} backup;

static bool digits(const char *text, size_t size) { return strspn(text, "0123456789") >= size; }

/* Whether a file's name is that of a backup of the store by its time. */
static bool read_name(const char *file, const char *store, backup *backup) {
  size_t size = strlen(store);
  const char *stamp = file + size + 1, *rest = stamp + STAMP_SIZE;
  char *end;
  if (strncmp(file, store, size) != 0 || file[size] != '-' || strlen(stamp) < STAMP_SIZE + 5)
    return false;
  if (!digits(stamp, 8) || stamp[8] != 'T' || !digits(stamp + 9, 6) || stamp[15] != 'Z')
    return false;
  memcpy(backup->stamp, stamp, STAMP_SIZE);
  backup->stamp[STAMP_SIZE] = 0;
  backup->number = 1;
  if (*rest == '-') {
    if (!digits(rest + 1, 1)) return false;
    backup->number = strtoul(rest + 1, &end, 10);
    rest = end;
  }
  return strcmp(rest, ".maph") == 0;
}

static int newest_first(const void *a, const void *b) {
  const backup *backup = a, *y = b;
  int order = strcmp(y->stamp, backup->stamp);
  if (backup->age != y->age) return backup->age - y->age;
  if (order != 0) return order;
  return backup->number > y->number ? -1 : backup->number < y->number;
}

static int age_of(const backup *backup, const char *made, const char *now) {
  if (strcmp(backup->file, made) == 0) return 0;
  return strcmp(backup->stamp, now) > 0 ? 2 : 1;
}

/* The backups of a store in an open folder.  -1: no memory. */
static int list_backups(DIR *dir, const char *store, const char *made, backup **list) {
  struct dirent *e;
  struct backup new = { 0 };
  char now[STAMP_SIZE + 1];
  int count = 0, room = 0;
  retention_stamp(now);
  if (read_name(made, store, &new)) memcpy(now, new.stamp, sizeof now);
  while ((e = readdir(dir)) != NULL) {
    backup backup;
    if (!read_name(e->d_name, store, &backup)) continue;
    if (count == room) {
      struct backup *larger = realloc(*list, (size_t)(room += 64) * sizeof backup);
      if (larger == NULL) return -1;
      *list = larger;
    }
    if ((backup.file = strdup(e->d_name)) == NULL) return -1;
    backup.age = age_of(&backup, made, now);
    (*list)[count++] = backup;
  }
  qsort(*list, (size_t)count, sizeof **list, newest_first);
  return count;
}

/* A backup and the lock file that who wrote to it left.  An errno; 0: they are gone. */
static int remove_backup(DIR *dir, const char *file) {
  char lock[NAME_MAX + 1];
  if (unlinkat(dirfd(dir), file, 0) != 0 && errno != ENOENT) return errno;
  if (snprintf(lock, sizeof lock, "%s.lock", file) < (int)sizeof lock)
    unlinkat(dirfd(dir), lock, 0);
  return 0;
}

void retention_stamp(char *stamp) {
  time_t now = time(NULL);
  struct tm tm;
  gmtime_r(&now, &tm);
  stamp[strftime(stamp, STAMP_SIZE + 1, "%Y%m%dT%H%M%SZ", &tm)] = 0;
}

int retention_prune(const char *folder, const char *store, uint64_t keep, const char *made) {
  backup *list = NULL;
  DIR *dir = opendir(folder);
  int count, error = 0;
  if (dir == NULL) return errno;
  count = list_backups(dir, store, made, &list);
  if (count < 0) error = ENOMEM;
  for (int i = 0; i < count; i++) {
    int failed = (uint64_t)i >= keep ? remove_backup(dir, list[i].file) : 0;
    if (failed) error = failed;
    free(list[i].file);
  }
  free(list);
  closedir(dir);
  return error;
}
