/*
** sqltest.h - what the files of maphsql share.
*/
#ifndef SQLTEST_H
#define SQLTEST_H

#include <sqlite3.h>

int sqlite3_maph_init(sqlite3 *db, char **message, const void *api);

void bad(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fault_memory(char **statements);
void fault_io(char **statements);
void host_run(const char *extension);
void threads_run(int threads, int commits);

#endif
