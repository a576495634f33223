/*
** error.c - core's codes and sentences as SQLite's.
*/
#include "sql.h"

static const int codes[] = {
  [MAPH_OK] = SQLITE_OK,
  /* answered where it occurs; never reaches SQLite */
  [MAPH_NOTFOUND] = SQLITE_NOTFOUND,
  [MAPH_EXISTS] = SQLITE_CONSTRAINT_PRIMARYKEY,
  [MAPH_CONFLICT] = SQLITE_ABORT_ROLLBACK, /* a cursor whose rows were rolled back */
  [MAPH_BUSY] = SQLITE_BUSY,
  [MAPH_READONLY] = SQLITE_READONLY,
  [MAPH_FULL] = SQLITE_FULL,
  [MAPH_TOOBIG] = SQLITE_TOOBIG,
  [MAPH_NOMEM] = SQLITE_NOMEM,
  [MAPH_IOERR] = SQLITE_IOERR,
  [MAPH_CORRUPT] = SQLITE_CORRUPT_VTAB,
  [MAPH_FORMAT] = SQLITE_NOTADB,
  /* it must be written to once, and this table may only read */
  [MAPH_RECOVER] = SQLITE_READONLY_RECOVERY,
  [MAPH_MISUSE] = SQLITE_MISUSE,
  [MAPH_CANTOPEN] = SQLITE_CANTOPEN,
  [MAPH_COMPACTED] = SQLITE_ERROR,
  [MAPH_CANCELLED] = SQLITE_INTERRUPT,
  [MAPH_MISMATCH] = SQLITE_MISMATCH,
};
#define CODE_COUNT ((int)(sizeof(codes) / sizeof(codes[0])))
_Static_assert(CODE_COUNT == MAPH_MISMATCH + 1, "every code of maph.h has its SQLite code");

/* Core speaks of its own flags; what a user of SQL writes instead. */
static char *in_sql(const char *sentence) {
  static const char *const words[][2] = {
    { "open it with MAPH_RDWR|MAPH_CREATE", "make it with CREATE VIRTUAL TABLE and mode=rwc" },
    { "open it with MAPH_RDWR", "open it with mode=rw" },
    { "MAPH_RDWR|MAPH_CREATE", "mode=rwc" },
    { "MAPH_RDONLY", "mode=ro" },
    { "MAPH_RDWR", "mode=rw" },
  };
  char *text = sqlite3_mprintf("%s", sentence), *old;
  const char *found;
  size_t i;
  for (i = 0; text && i < sizeof(words) / sizeof(words[0]); i++) {
    found = strstr(text, words[i][0]);
    if (found == NULL) continue;
    old = text;
    text = sqlite3_mprintf("%.*s%s%s", (int)(found - old), old, words[i][1],
                           found + strlen(words[i][0]));
    sqlite3_free(old);
  }
  return text;
}

int error_of(maph *m, int maph_rc, char **message) {
  const char *sentence;
  if (maph_rc == MAPH_OK) return SQLITE_OK;
  if (message) {
    sentence = maph_errmsg(m);
    sqlite3_free(*message);
    *message = in_sql(sentence && sentence[0] ? sentence : maph_strerror(maph_rc));
  }
  return maph_rc > 0 && maph_rc < CODE_COUNT ? codes[maph_rc] : SQLITE_ERROR;
}
