/*
** sql.h - what the files of the SQLite extension know of each other.
**
** Calls go down: extension -> vtab, stat -> plan, read, write -> command -> store -> option,
** values.  Nothing here is seen outside of the extension; it knows maph.h and sqlite3ext.h and
** nothing else of the project.
**
** ERRORS.  Every function that returns `int rc` returns an SQLite code.  Where it takes `char
** **message` it leaves a sentence there that was made with sqlite3_mprintf: SQLite's own convention
** for sqlite3_vtab.zErrMsg.
*/
#ifndef MAPH_SQL_H
#define MAPH_SQL_H

#include "maph.h"
#include <sqlite3ext.h>
#ifdef MAPH_SQL_MAIN /* extension.c defines the pointer that the others use */
SQLITE_EXTENSION_INIT1
#else
SQLITE_EXTENSION_INIT3
#endif

#if SQLITE_VERSION_NUMBER < 3040000
#error "the maph extension needs the headers of SQLite 3.40 or later"
#endif

/* Answer rc with a sentence; without the memory for one the answer is SQLITE_NOMEM. */
static inline int fail(char **message, int rc, char *sentence) {
  sqlite3_free(*message);
  *message = sentence;
  return sentence ? rc : SQLITE_NOMEM;
}

/* ------------------------------------------------------------------------------ option.c: words */
enum { OPTION_RO = 1, OPTION_RW = 2, OPTION_RWC = 3 };

typedef struct sql_options {
  char *path;           /* as written; sqlite3_malloc */
  int mode;             /* OPTION_RO ... */
  int sync;             /* MAPH_SYNC_*; MAPH_SYNC_DEFAULT if not said */
  int busy_timeout_ms;  /* -1 if not said */
  sqlite3_int64 ttl_ms; /* default life of a row; 0: for ever */
} sql_options;

/* The words between the parentheses of USING maph(...).  Frees nothing on failure that
** options_clear would not. */
int option_parse(sql_options *options, int argc, const char *const *argv, char **message);
void option_clear(sql_options *options);

/* The one name of the file that `path` means in this connection, in *resolved (sqlite3_malloc), if
** the connection may open it. */
int option_resolve(sqlite3 *db, const char *schema, int is_own, const char *path, char **resolved,
                   /* is_own: the application says so now, not a stored schema */
                   char **message);

/* ------------------------------------------------------------- store.c: stores and transactions */
typedef struct sql_store sql_store;
typedef struct sql_view sql_view;

typedef struct sql_connection {
  /* all of the process, so that loading twice into one connection is harmless */
  struct sql_connection *next;
  sqlite3 *db;
  /* those that some table, cursor or function of this connection holds */
  sql_store *stores;
} sql_connection;

/* What the last command did (command.c). */
typedef struct sql_result {
  const char *command; /* NULL: there was none */
  /* of one that rewrites nothing: records, bytes_before==bytes_after, took_ns */
  maph_rewrite figures;
} sql_result;

struct sql_store {
  sql_connection *connection;
  sql_store *next;
  int holders;  /* tables, cursors, statements: at none it is closed */
  char *path;   /* resolved: two tables that name one file share one sql_store */
  maph *reader; /* MAPH_RDONLY, opened by the first read */
  maph *writer; /* MAPH_RDWR, opened by the first write */
  int sync;     /* the strongest that a table of it asked for */
  int busy_timeout_ms;
  /* the write transaction of this connection, for all tables on this store */
  maph_txn *txn;
  int prepared;          /* xSync went well: only commit or rollback may follow */
  int depth;             /* savepoints 0..depth-1 are open */
  int views;             /* snapshots open */
  uint64_t looked_ms;    /* when the path was last looked at; 0: look at the next use */
  sql_view *view;        /* what a cursor that opens now may share, or NULL */
  sql_view *spare;       /* a released one, for the next statement */
  sqlite3_int64 records; /* at the last snapshot, for the planner; -1: none yet */
  sql_result result;     /* of this connection's last command */
};

/* One snapshot, shared by the cursors that read the store as of one moment. */
struct sql_view {
  sql_store *store;
  maph *handle; /* that the snapshot belongs to */
  maph_snapshot *snapshot;
  int holders;
};

/* opens nothing; SQLITE_NOMEM */
int store_hold(sql_connection *c, const char *resolved, sql_store **store);
void store_release(sql_store *store); /* NULL: no-op */

enum { STORE_MAY_WRITE = 1, STORE_MAY_CREATE = 2 };
int store_open_reader(sql_store *store, int may, char **message);
int store_open_writer(sql_store *store, int may, char **message);
int store_view(sql_store *store, int may, sql_view **view, char **message);
void store_view_release(sql_view *view); /* NULL: no-op */

/* OK also when this connection's transaction is under way */
int store_begin(sql_store *store, int may, char **message);
int store_prepare(sql_store *store, char **message);
void store_commit(sql_store *store);
void store_rollback(sql_store *store);
/* of these SQLite takes the code alone, no sentence */
int store_savepoint(sql_store *store, int n);
int store_release_savepoint(sql_store *store, int n);
int store_rollback_to(sql_store *store, int n);
/* cursors opened from now on see what was just written */
void store_wrote(sql_store *store);

/* the SQLite code for a core code, with core's sentence */
int store_error(maph *m, int maph_rc, char **message);

/* --------------------------------------------------------------- values.c: SQL values and bytes */
typedef struct value_bytes {
  maph_slice bytes;
  int type;        /* MAPH_BLOB ... MAPH_NULL */
  char number[40]; /* where the text of an INTEGER or REAL lies */
} value_bytes;

int value_read(sqlite3_value *v, value_bytes *out); /* SQL to bytes; SQLITE_NOMEM */
/* the value of an entry, as it went in */
void value_result(sqlite3_context *ctx, const maph_entry *entry);
/* as SQL shows it: who wrote it through another door may not have said */
int value_key_is_text(const maph_entry *e);
void value_result_key(sqlite3_context *ctx, maph_slice key, int is_text);
/* what to look up for key=v; size 0: no key equals it */
int value_lookup_key(sqlite3_value *v, maph_slice *key);
int value_read_expiry(sqlite3_value *v, uint64_t *expires, char **message);
void value_result_expiry(sqlite3_context *ctx, uint64_t expires);
uint64_t value_now_ms(void); /* since 1970 */

/* ---------------------------------------------------------------------------- vtab.c: the table */
/* Columns, by position.  The third is the hidden column named as the table for commands, or, in the
** table-valued form, the hidden argument `file`; it comes before the other hidden ones because
** arguments are handed out in that order. */
enum {
  COLUMN_KEY,
  COLUMN_VALUE,
  COLUMN_COMMAND,
  COLUMN_VERSION,
  COLUMN_EXPIRES,
  COLUMN_ROWID,
  COLUMN_COUNT
};

typedef struct sql_table {
  sqlite3_vtab base; /* first: SQLite's part */
  sql_connection *connection;
  char *name, *schema;
  int is_function; /* maph('file'): read-only, the file is an argument */
  int is_own;      /* made by a CREATE of this connection, not found in a schema */
  int is_fresh;    /* the transaction of that CREATE goes on */
  sql_options options;
  sql_store *store;         /* NULL until first used */
  struct row_cursor *spare; /* a closed cursor, for the next statement (read.c) */
} sql_table;

extern const sqlite3_module vtab_module;
int table_may(const sql_table *t); /* STORE_MAY_* */
int table_use(sql_table *t);       /* resolve the path, hold the store; message in zErrMsg */

/* --------------------------------------------------------------------------- plan.c: xBestIndex */
enum {
  PLAN_SCAN = 0,
  PLAN_RANGE = 1,
  PLAN_KEY = 2,
  PLAN_KEYS = 3,
  PLAN_NOCASE = 4,
  PLAN_NOTHING = 5
};

/* idxStr has one letter for each argument of xFilter, in order. */
enum {
  TERM_FILE = 'f',
  TERM_EQUAL = '=',
  TERM_IN = 'i',
  TERM_ABOVE = '>',
  TERM_FROM = 'g',
  TERM_BELOW = '<',
  TERM_UPTO = 'l',
  TERM_LIMIT = 'n',
  TERM_OFFSET = 'o'
};
int plan_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info);

/* ------------------------------------------------------------------------------ read.c: cursors */
int read_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor);
int read_close(sqlite3_vtab_cursor *cursor);
void read_forget(sql_table *t); /* free what read_close kept */
int read_filter(sqlite3_vtab_cursor *cursor, int plan, const char *letters, int argc,
                sqlite3_value **argv);
int read_next(sqlite3_vtab_cursor *cursor);
int read_eof(sqlite3_vtab_cursor *cursor);
int read_column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int column);
int read_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid);

/* --------------------------------------------------------------- write.c: xUpdate, transactions */
int write_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid);
int write_begin(sqlite3_vtab *vtab);
int write_sync(sqlite3_vtab *vtab);
int write_commit(sqlite3_vtab *vtab);
int write_rollback(sqlite3_vtab *vtab);
int write_savepoint(sqlite3_vtab *vtab, int n);
int write_release(sqlite3_vtab *vtab, int n);
int write_rollback_to(sqlite3_vtab *vtab, int n);

/* ------------------------------------------------------ command.c: INSERT INTO t(t) VALUES(...) */
int command_run(sql_table *t, sqlite3_value *word);
#if SQLITE_VERSION_NUMBER >= 3044000
int command_integrity(sqlite3_vtab *vtab, const char *schema, const char *name, int flags,
                      char **problem);
#endif

/* ----------------------------------------------- stat.c: maph_stat('file'), maph_result('file') */
/* of both: it looks at the name it is registered under */
extern const sqlite3_module stat_module;

#endif
