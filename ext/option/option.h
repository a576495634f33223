/*
** option.h - one table of a program makes its command line, its config file, its part of the
** environment and its --help.
**
**     --max-body 1G        max-body = 1G        MAPH_MAX_BODY=1G
**
** The command line beats the environment, the environment the config file, that the default.  A
** mistake is explained on stderr, with the place where it stands and the nearest name.
*/
#ifndef MAPH_OPTION_H
#define MAPH_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum option_kind {
  OPTION_TEXT, /* char *, of the heap; NULL: not said, and no default */
  OPTION_LIST, /* the same; said again in one place, it goes on behind a comma */
  OPTION_COUNT,
  OPTION_SIZE, /* uint64_t: a whole number; bytes, as 64M; milliseconds, as 5, 1.5 or 250ms */
  OPTION_TIME,
  OPTION_FLAG /* bool */
} option_kind;

typedef struct option_row {
  const char *name;
  option_kind kind;
  void *target;
  const char *standard; /* the default, as one would type it */
  uint64_t least, most;
  const char *placeholder, *help;
} option_row;

enum { OPTION_ROWS = 64 };
typedef struct option_table {
  const char *program;  /* for the sentences */
  const char *variable; /* how the names of its variables begin: MAPH_ */
  const option_row *rows;
  int count;     /* at most OPTION_ROWS */
  char **config; /* the target of the row that names the config file; its variable is VARIABLE
                 ** CONFIG */
  /* Whether a variable that begins so is another program's: its name without the beginning.
  ** NULL: none is. */
  bool (*foreign)(const char *name, size_t size);
  void (*help)(void); /* the whole of --help */
  /* What is no option, and all behind --: at most words_most.  words NULL: there may be none. */
  const char **words;
  int words_most, words_count;
  const char *given_by[OPTION_ROWS]; /* "config" "environment" "arguments"; NULL: nowhere */
} option_table;

/* Fill the targets from the defaults, the config file, the environment and the arguments, later
** ones first.  0: go on; else the exit status + 1, after --help, --version or a mistake. */
int option_read(option_table *table, int argc, char **argv);
/* Where it was said last, as given_by tells it; NULL: it has its default. */
const char *option_source(const option_table *table, const void *target);
/* One line of --help. */
void option_help(const option_row *row);

#endif
