/*
** others.c - who else follows or publishes a file (others.h).
**
** Their notes are open in their processes: /proc tells under which name, and that name without its
** suffix is the file's.
*/
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "nats/others.h"
#include "nats/sidecar.h"

static bool ends_in(const char *text, const char *suffix) {
  size_t size = strlen(text), length = strlen(suffix);
  return size > length && strcmp(text + size - length, suffix) == 0;
}

const char *others_may_be_named(const char *path) {
  static const char *const beside[] = { ".sync", ".replica", ".publish", ".lock", ".new" };
  static __thread char sentence[600];
  for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) {
    if (!ends_in(path, beside[i])) continue;
    snprintf(sentence, sizeof sentence,
             "%.400s: names that end in %s are those of files beside a store: choose another", path,
             beside[i]);
    return sentence;
  }
  return NULL;
}

/* ------------------------------------------------------------------------------------ processes */
typedef struct search {
  struct stat file;
  char *full; /* its name, in full; NULL: not known */
  const char *suffix;
  char *name;
  size_t size;
} search;

static bool is_number(const char *text) {
  for (const char *p = text; *p; p++)
    if (!isdigit((unsigned char)*p)) return false;
  return *text != 0;
}

/* Are these notes of the same file, by another name than ours? */
static bool take(const search *search, char *notes) {
  struct stat st;
  if (!ends_in(notes, search->suffix)) return false;
  notes[strlen(notes) - strlen(search->suffix)] = 0;
  if (stat(notes, &st) != 0 || st.st_dev != search->file.st_dev || st.st_ino != search->file.st_ino)
    return false;
  if (search->full && strcmp(notes, search->full) == 0) return false;
  if (!sidecar_held_as(notes, search->suffix)) return false;
  snprintf(search->name, search->size, "%s", notes);
  return true;
}

static bool look_at_process(const search *search, const char *pid) {
  char path[64], one[PATH_MAX];
  struct dirent *entry;
  bool found = false;
  DIR *folder;
  snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
  folder = opendir(path);
  while (folder && !found && (entry = readdir(folder)) != NULL) {
    ssize_t size = readlinkat(dirfd(folder), entry->d_name, one, sizeof one - 1);
    if (size <= 0) continue;
    one[size] = 0;
    found = take(search, one);
  }
  if (folder) closedir(folder);
  return found;
}

bool others_hold(const char *path, const char *suffix, char *name, size_t size) {
  search search = { .suffix = suffix, .name = name, .size = size };
  struct dirent *entry;
  bool found = false;
  DIR *all;
  if (stat(path, &search.file) != 0) return false;
  search.full = realpath(path, NULL);
  all = opendir("/proc");
  while (all && !found && (entry = readdir(all)) != NULL)
    found = is_number(entry->d_name) && look_at_process(&search, entry->d_name);
  if (all) closedir(all);
  free(search.full);
  return found;
}
