/*
** backups.c - the folder of backups: --backups, or backups/ in the folder of the stores.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "base/options.h"
#include "routes/backups.h"
#include "routes/retention.h"
#include "store/leftovers.h"

void backups_path(char out[BACKUPS_PATH_ROOM], const char *file) {
  snprintf(out, BACKUPS_PATH_ROOM, "%s%s%s%s", option.backups[0] ? option.backups : option.data,
           option.backups[0] ? "" : "/backups", *file ? "/" : "", file);
}

/* Whoever made it may have died before its name was on disk.  A folder above that may not be read
** cannot be flushed. */
int backups_make_folder(void) {
  char path[BACKUPS_PATH_ROOM];
  int parent, trouble = 0;
  backups_path(path, "");
  if (mkdir(path, 0700) != 0 && errno != EEXIST) return errno;
  backups_path(path, "..");
  if ((parent = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
    return errno == EACCES ? 0 : errno;
  if (fsync(parent) != 0 && errno != EINVAL) trouble = errno;
  close(parent);
  return trouble;
}

bool backups_exists(const char *file) {
  char path[BACKUPS_PATH_ROOM];
  struct stat st;
  backups_path(path, file);
  return lstat(path, &st) == 0;
}

/* From the second one of a second on with its number. */
void backups_name_by_time(char *file, size_t room, const char *store_name) {
  char stamp[RETENTION_STAMP_ROOM];
  retention_stamp(stamp);
  snprintf(file, room, "%s-%s.maph", store_name, stamp);
  for (int i = 2; backups_exists(file); i++)
    snprintf(file, room, "%s-%s-%d.maph", store_name, stamp, i);
}

void backups_prune(const char *store_name, uint64_t keep, const char *made) {
  char folder[BACKUPS_PATH_ROOM];
  int error;
  backups_path(folder, "");
  error = retention_prune(folder, store_name, keep, made);
  if (error) log_line("older backups of %s cannot be removed: %s", store_name, strerror(error));
}

void backups_start(void) {
  char folder[BACKUPS_PATH_ROOM];
  backups_path(folder, "");
  leftovers_remove(folder);
}
