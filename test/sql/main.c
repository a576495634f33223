/*
** main.c - maphsql: the SQL tests that are written in C, with the extension linked in and core's
** test hooks below it.
**
**     maphsql memory STATEMENT...  each allocation of SQLite, the extension and core fails in turn
**                                  (fault.c)
**     maphsql io STATEMENT...      each system call of core and each write of SQLite
**     maphsql threads N COMMITS    a connection each for N threads (threads.c)
**     maphsql host MAPH.SO  a SQLite that lacks a routine, modules dropped while in use (host.c)
**
** Works in the current folder.  The last line is "N bad"; what was bad is told before.
*/
#include "sqltest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int bad_count;

void bad(const char *format, ...) {
  va_list list;
  if (__atomic_add_fetch(&bad_count, 1, __ATOMIC_RELAXED) > 20) return;
  va_start(list, format);
  vprintf(format, list);
  va_end(list);
  printf("\n");
}

int main(int argc, char **argv) {
  if (argc > 2 && strcmp(argv[1], "memory") == 0)
    fault_memory(argv + 2);
  else if (argc > 2 && strcmp(argv[1], "io") == 0)
    fault_io(argv + 2);
  else if (argc == 3 && strcmp(argv[1], "host") == 0)
    host_run(argv[2]);
  else if (argc == 4 && strcmp(argv[1], "threads") == 0)
    threads_run(atoi(argv[2]), atoi(argv[3]));
  else
    bad("usage: maphsql memory|io STATEMENT... or maphsql threads N COMMITS or maphsql host "
        "MAPH.SO");
  printf("%d bad\n", bad_count);
  return bad_count > 0;
}
