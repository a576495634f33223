/*
** path.c - where a path leads: links followed, the last part missing or not.
*/
#include "os/error.h"
#include "os/fault.h"
#include "os/os.h"
#include "maph.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINKS_MOST = 40 };

/* What a link that leads nowhere names, as a path from here.  NULL: it is no such link, or no
** memory. */
static char *link_target(const char *path) {
  char target[PATH_MAX], *joined;
  ssize_t n = readlink(path, target, sizeof target - 1);
  const char *slash = strrchr(path, '/');
  size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
  if (n <= 0) return NULL;
  target[n] = 0;
  if (target[0] == '/') folder = 0;
  joined = malloc(folder + (size_t)n + 1);
  if (joined == NULL) return NULL;
  memcpy(joined, path, folder);
  memcpy(joined + folder, target, (size_t)n + 1);
  return joined;
}

char *os_folder_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* The folder of path, its links followed. */
static int resolve_folder(const char *path, char **resolved) {
  char *folder = os_folder_of(path);
  int rc = MAPH_OK;
  *resolved = folder ? SYS("realpath", NULL, realpath(folder, NULL)) : NULL;
  if (*resolved == NULL)
    rc = fail(os_open_code(errno) == MAPH_NOTFOUND ? MAPH_CANTOPEN : os_open_code(errno),
              "%s: the folder cannot be opened: %s", path, strerror(errno));
  free(folder);
  return rc;
}

/* A path whose last part is missing.  A link there is followed: what it names is missing. */
static int resolve_missing(const char *path, int links, char **resolved) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  char *folder = NULL, *target = links > 0 ? link_target(path) : NULL;
  int rc;
  if (target != NULL) {
    rc = resolve_missing(target, links - 1, resolved);
    free(target);
    return rc;
  }
  rc = resolve_folder(path, &folder);
  if (rc != MAPH_OK) return rc;
  *resolved = malloc(strlen(folder) + strlen(name) + 2);
  if (*resolved == NULL)
    rc = fail_memory(strlen(folder) + strlen(name) + 2);
  else
    sprintf(*resolved, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name);
  free(folder);
  return rc;
}

/* A link of /proc to an open file without a name: what it reads as is no path. */
static int is_nameless(const char *path, char **full) {
  if (access(path, F_OK) != 0) return 0;
  *full = SYS("realpath", NULL, realpath(path, NULL)); /* or it was made just now */
  return *full == NULL && errno == ENOENT;
}

int os_resolve(const char *path, char **resolved) {
  char *full = SYS("realpath", NULL, realpath(path, NULL));
  size_t n = strlen(path);
  if (full == NULL && errno == ENOENT && is_nameless(path, &full))
    return fail(MAPH_CANTOPEN, "%s: leads to a file that has no name: a store needs one", path);
  *resolved = full;
  if (full != NULL) return MAPH_OK;
  if (errno != ENOENT || n == 0 || path[n - 1] == '/')
    return fail(os_open_code(errno) == MAPH_NOTFOUND ? MAPH_CANTOPEN : os_open_code(errno),
                "%s: cannot open: %s", path, strerror(errno));
  return resolve_missing(path, LINKS_MOST, resolved);
}

int os_absolute(const char *path, char **absolute) {
  char *folder = NULL;
  size_t n = 0;
  if (path[0] != '/' && (folder = SYS("realpath", NULL, realpath(".", NULL))) != NULL)
    n = strlen(folder);
  *absolute = path[0] == '/' || folder ? malloc(n + strlen(path) + 2) : NULL;
  if (*absolute) {
    if (n > 0) memcpy(*absolute, folder, n);
    if (n > 0) (*absolute)[n++] = '/';
    strcpy(*absolute + n, path);
  }
  free(folder);
  return *absolute
             ? MAPH_OK
             : fail(MAPH_CANTOPEN, "%s: where this is cannot be told: %s", path, strerror(errno));
}
