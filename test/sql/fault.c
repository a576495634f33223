/*
** fault.c - statements with their first, second, ... allocation or system call failing, until one
** passes untouched.
**
** One counter runs over all that can fail: for memory SQLite's allocator, which the extension
** shares, and core's; for input and output core's system calls and SQLite's writes to its database.
** Each statement meets each place twice: failing once, and failing from there on. Each round starts
** with the same files.  Afterwards nothing may be leaked, the store must be sound, and its rows
** must be those of before or those of after: after, if the statement said OK; before, if it is a
** single one and failed.
*/
#include "sqltest.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <unistd.h>

enum what { NOTHING, MEMORY, SYSTEM };

static struct {
  enum what armed;
  long countdown; /* calls until one fails */
  int persistent, error, hit;
} fault;

static int must_fail(enum what w) {
  if (fault.armed != w) return 0;
  if (fault.countdown > 1) {
    fault.countdown--;
    return 0;
  }
  fault.countdown = fault.persistent ? 1 : 1000000000;
  fault.hit = 1;
  return 1;
}

static int core_fault(const char *call) {
  if (strcmp(call, "malloc") == 0) return must_fail(MEMORY) ? ENOMEM : 0;
  return must_fail(SYSTEM) ? fault.error : 0;
}

/* -------------------------------------------------------------------------- SQLite's side of it */

static sqlite3_mem_methods memory;

static void *fault_malloc(int n) { return must_fail(MEMORY) ? NULL : memory.xMalloc(n); }

static void *fault_realloc(void *p, int n) {
  return must_fail(MEMORY) ? NULL : memory.xRealloc(p, n);
}

static ssize_t fault_pwrite(int fd, const void *data, size_t n, off_t at) {
  if (!must_fail(SYSTEM)) return pwrite(fd, data, n, at);
  errno = fault.error;
  return -1;
}

static int fault_ftruncate(int fd, off_t size) {
  if (!must_fail(SYSTEM)) return ftruncate(fd, size);
  errno = fault.error;
  return -1;
}

static int fault_unlink(const char *path) {
  if (!must_fail(SYSTEM)) return unlink(path);
  errno = fault.error;
  return -1;
}

static void set_up(void) {
  sqlite3_mem_methods methods;
  sqlite3_vfs *vfs;
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
  methods = memory;
  methods.xMalloc = fault_malloc;
  methods.xRealloc = fault_realloc;
  sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
  sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
  /* not before: it ends the time of sqlite3_config */
  sqlite3_auto_extension((void (*)(void))sqlite3_maph_init);
  vfs = sqlite3_vfs_find(NULL);
  vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)fault_pwrite);
  vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)fault_pwrite);
  vfs->xSetSystemCall(vfs, "ftruncate", (sqlite3_syscall_ptr)fault_ftruncate);
  vfs->xSetSystemCall(vfs, "unlink", (sqlite3_syscall_ptr)fault_unlink);
  os_test.fault = core_fault;
}

/* ---------------------------------------------------------------------------------------- files */

/* The files that each round starts with. */
static struct file {
  const char *name;
  char *data;
  size_t size;
} files[] = { { "main.db", NULL, 0 }, { "t.maph", NULL, 0 } };
enum { FILES = sizeof files / sizeof *files };

static void keep_files(void) {
  for (int i = 0; i < FILES; i++) {
    FILE *f = fopen(files[i].name, "rb");
    if (f == NULL) {
      bad("%s was not made", files[i].name);
      exit(1);
    }
    fseek(f, 0, SEEK_END);
    files[i].size = (size_t)ftell(f);
    files[i].data = malloc(files[i].size);
    rewind(f);
    if (fread(files[i].data, 1, files[i].size, f) != files[i].size)
      bad("cannot read %s", files[i].name);
    fclose(f);
  }
}

static void remove_files(void) {
  DIR *folder = opendir(".");
  struct dirent *entry;
  while ((entry = readdir(folder)) != NULL)
    if (entry->d_name[0] != '.') unlink(entry->d_name);
  closedir(folder);
}

static void restore_files(void) {
  remove_files();
  for (int i = 0; i < FILES; i++) {
    FILE *f = fopen(files[i].name, "wb");
    if (f == NULL || fwrite(files[i].data, 1, files[i].size, f) != files[i].size)
      bad("cannot write %s", files[i].name);
    if (f) fclose(f);
  }
}

static int open_descriptors(void) {
  DIR *folder = opendir("/proc/self/fd");
  int n = 0;
  while (readdir(folder)) n++;
  closedir(folder);
  return n;
}

/* ----------------------------------------------------------------------------------- statements */

static int count_row(void *rows, int n, char **values, char **names) {
  (void)n;
  (void)values;
  (void)names;
  ++*(int *)rows;
  return 0;
}

/* Its SQLite code.  The fault waits until the connection is there. */
static int run(const char *sql, enum what armed) {
  sqlite3 *db = NULL;
  int rc, rows = 0;
  sqlite3_open("main.db", &db);
  sqlite3_exec(db, "PRAGMA synchronous=off", NULL, NULL, NULL);
  fault.armed = armed;
  rc = sqlite3_exec(db, sql, count_row, &rows, NULL);
  fault.armed = NOTHING;
  if (rc != SQLITE_OK && armed == NOTHING) bad("%s: %s", sql, sqlite3_errmsg(db));
  if (sqlite3_errmsg(db) == NULL || sqlite3_errmsg(db)[0] == 0)
    bad("no message for %d: %s", rc, sql);
  if (sqlite3_close(db) != SQLITE_OK) bad("cannot close after: %s", sql);
  return rc;
}

/* Every row of the store, after a check of it; malloc.  Only read: a store whose flush failed lets
** nobody write. */
static char *rows_of_store(void) {
  sqlite3 *db = NULL;
  char **table = NULL, *all;
  size_t size = 1;
  int n = 0;
  sqlite3_open("main.db", &db);
  if (sqlite3_exec(db,
                   "CREATE VIRTUAL TABLE temp.look USING maph('t.maph', mode=ro); INSERT INTO "
                   "look(look) VALUES('check')",
                   NULL, NULL, NULL)
          != SQLITE_OK
      || sqlite3_get_table(db, "SELECT quote(key)||quote(value) FROM look ORDER BY key", &table, &n,
                           NULL, NULL)
             != SQLITE_OK) {
    bad("the store is not sound: %s", sqlite3_errmsg(db));
  }
  for (int i = 1; i <= n; i++) size += strlen(table[i]);
  all = calloc(1, size);
  for (int i = 1; i <= n; i++) strcat(all, table[i]);
  sqlite3_free_table(table);
  sqlite3_close(db);
  return all;
}

/* What a statement may answer when that fails. */
static int is_answer(enum what w, int rc) {
  switch (rc & 0xff) {
    case SQLITE_NOMEM: return 1;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_FULL: return w == SYSTEM;
    default: return 0;
  }
}

typedef struct trial {
  enum what what;
  const char *sql;
  int single;
  const char *before, *after;
} trial;

/* The n-th failing.  0: none was there to fail any more. */
static int try_once(const trial *t, long n) {
  sqlite3_int64 used;
  int descriptors, rc;
  char *now;
  restore_files();
  used = sqlite3_memory_used();
  descriptors = open_descriptors();
  fault.hit = 0;
  fault.countdown = n;
  rc = run(t->sql, t->what);
  if (rc != SQLITE_OK && !is_answer(t->what, rc)) bad("code %d at %ld of: %s", rc, n, t->sql);
  if (sqlite3_memory_used() != used)
    bad("%lld bytes leaked at %ld of: %s", (long long)(sqlite3_memory_used() - used), n, t->sql);
  if (open_descriptors() != descriptors)
    bad("%d descriptors leaked at %ld of: %s", open_descriptors() - descriptors, n, t->sql);
  now = rows_of_store();
  if (rc == SQLITE_OK && strcmp(now, t->after) != 0)
    bad("OK but not done at %ld of: %s\n  %s", n, t->sql, now);
  if (rc != SQLITE_OK && t->single && strcmp(now, t->before) != 0)
    bad("code %d but changed at %ld of: %s\n  %s", rc, n, t->sql, now);
  if (strcmp(now, t->before) != 0 && strcmp(now, t->after) != 0)
    bad("half done at %ld of: %s\n  %s", n, t->sql, now);
  free(now);
  return fault.hit;
}

static long try_all(enum what what, const char *sql) {
  trial t = { what, sql, strchr(sql, ';') == NULL, NULL, NULL };
  char *before, *after;
  long n, rounds = 0;
  restore_files();
  t.before = before = rows_of_store();
  run(sql, NOTHING);
  t.after = after = rows_of_store();
  for (fault.persistent = 0; fault.persistent < 2; fault.persistent++) {
    for (n = 1; try_once(&t, n); n++) rounds++;
  }
  if (rounds == 0) bad("nothing could fail in: %s", sql);
  free(before);
  free(after);
  return rounds;
}

static void begin(void) {
  set_up();
  remove_files();
  run("CREATE VIRTUAL TABLE t USING maph('t.maph', sync=off); CREATE TABLE p(k, v);"
      "INSERT INTO t VALUES('a',1),('b','two'),('c',3.5),('d',NULL),('e',x'ff')",
      NOTHING);
  keep_files();
}

void fault_memory(char **statements) {
  long rounds = 0;
  begin();
  for (; *statements; statements++) rounds += try_all(MEMORY, *statements);
  printf("%ld rounds\n", rounds);
}

void fault_io(char **statements) {
  static const int errors[] = { EIO, ENOSPC };
  long rounds = 0;
  begin();
  for (; *statements; statements++) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
      fault.error = errors[i];
      rounds += try_all(SYSTEM, *statements);
    }
  }
  printf("%ld rounds\n", rounds);
}
