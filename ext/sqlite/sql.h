/*
** sql.h - what the files of the SQLite extension know of each other.
**
** Calls go down: extension -> vtab, stat, form, function -> plan, read, write -> command -> table
** -> views, change -> store.  What they all use stands apart: connection, buffer, option, values,
** keys, range, numbers, member, patch and pulse.  Nothing here is seen outside of the extension.
** It knows maph.h, sqlite3ext.h, and of ext/entry what is text and JSON; nothing else of the
** project.
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
  if (message == NULL) {
    sqlite3_free(sentence);
    return rc;
  }
  sqlite3_free(*message);
  *message = sentence;
  return sentence ? rc : SQLITE_NOMEM;
}

/* ------------------------------------------------------------------------------ option.c: words */
enum { OPTION_RO = 1, OPTION_RW = 2, OPTION_RWC = 3 };

/* A declared column over JSON (member.c). */
enum { MEMBER_ANY, MEMBER_TEXT, MEMBER_INTEGER, MEMBER_REAL, MEMBER_NUMERIC, MEMBER_JSON };
typedef struct sql_member {
  char *name, *type;
  int affinity;            /* MEMBER_* */
  int digits;              /* of a REAL as text, in this connection */
  char **path;             /* the names that lead to it, the outermost first */
  size_t depth, path_room; /* path_room: in bytes */
} sql_member;

typedef struct sql_members {
  sql_member *list;
  size_t count, room; /* room: in bytes */
} sql_members;

typedef struct sql_options {
  char *path;           /* as written; sqlite3_malloc */
  int mode;             /* OPTION_RO ... */
  int sync;             /* MAPH_SYNC_*; MAPH_SYNC_DEFAULT if not said */
  int busy_timeout_ms;  /* -1 if not said */
  sqlite3_int64 ttl_ms; /* default life of a row; 0: for ever */
  sql_members members;  /* columns=: behind the key and before the value */
  const char *why;      /* what was wrong with a word, where there is more to say; or NULL */
} sql_options;

/* The words between the parentheses of USING maph(...).  Frees nothing on failure that
** options_clear would not. */
int option_parse(sql_options *options, int argc, const char *const *argv, char **message);
void option_clear(sql_options *options);

const char *option_file(sqlite3_value *value); /* a file's name, or NULL if value is none */

/* The one name of the file that `path` means in this connection, in *resolved (sqlite3_malloc), if
** the connection may open it.  is_own: the application says so now, not a stored schema. */
int option_resolve(sqlite3 *db, const char *schema, int is_own, const char *path, char **resolved,
                   char **message);

/* ----------------------------------------------------------------------- error.c: core's errors */
/* the SQLite code for a core code, with core's sentence */
int error_of(maph *m, int maph_rc, char **message);

/* ------------------------------------------------------------- store.c: stores and transactions */
typedef struct sql_store sql_store;
typedef struct sql_view sql_view;

typedef struct sql_connection {
  struct sql_connection *next; /* all of the process, so that loading twice is harmless */
  sqlite3 *db;
  int holders; /* modules, functions, tables and stores: at none it is freed */
  int modules; /* registered and not dropped */
  int has_functions;
  sql_store *stores; /* those that some table, cursor or function of this connection holds */
  struct sql_table *tables;
  sqlite3_stmt *ticker; /* pulse.c */
  unsigned beats;
  struct sql_buffer *buffers; /* those that are not lent (buffer.c) */
  int buffer_count;
} sql_connection;

/* What the last command did (command.c). */
typedef struct sql_result {
  const char *command; /* NULL: there was none */
  /* of one that rewrites nothing: records, bytes_before==bytes_after, took_ns */
  maph_rewrite figures;
} sql_result;

/* A key that spells a number in another way than SQLite writes it (numbers.c). */
typedef struct odd_key {
  double number;
  size_t at, size; /* its bytes, in the arena */
} odd_key;

typedef struct sql_numbers {
  int is_made, is_sorted;
  uint64_t version; /* of the store, up to which the list is complete */
  uint64_t serial;  /* of the newest view that was passed over: an older one sees other keys */
  uint64_t device, inode; /* of the file that was passed over */
  odd_key *odd;
  size_t count, odd_room; /* odd_room, arena_room: in bytes */
  char *arena;
  size_t arena_size, arena_room;
} sql_numbers;

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
  int was_pending;       /* at the last look: a commit was decided, not visible */
  uint64_t looked_ms;    /* when the path was last looked at; 0: look at the next use */
  sql_view *view;        /* what a cursor that opens now may share, or NULL */
  sql_view *spare;       /* a released one, for the next statement */
  sqlite3_int64 records; /* at the last snapshot, for the planner; -1: none yet */
  sql_result result;     /* of this connection's last command */
  sql_numbers numbers;
  uint64_t serial; /* of the last view */
};

/* One snapshot, shared by the cursors that read the store as of one moment. */
struct sql_view {
  sql_store *store;
  maph *handle; /* that the snapshot belongs to */
  maph_snapshot *snapshot;
  int holders;
  uint64_t serial;   /* views of a store are numbered in the order in which they opened */
  int knows_numbers; /* the store's list has the odd keys of this view */
};

/* ---------------------------------------------- views.c: those that a statement goes on reading */
typedef struct sql_views {
  sql_view **list;    /* each held, one for each store */
  size_t count, room; /* room: in bytes */
} sql_views;

int views_keep(sql_views *views, sql_view *view); /* SQLITE_NOMEM */
void views_release(sql_views *views);
/* the same, but where there is an heir it has them; NULL: none */
void views_leave(sql_views *views, sql_views *heir);

/* ----------------------------------------------------------- connection.c: one for each sqlite3 */
sql_connection *connection_of(sqlite3 *db);  /* held for the caller; NULL: none */
sql_connection *connection_new(sqlite3 *db); /* held for the caller; NULL: no memory */
sql_connection *connection_hold(sql_connection *connection); /* answers connection */
void connection_release(void *connection);                   /* NULL: no-op */

/* --------------------------------------------------- buffer.c: where the bytes of a result lie */
enum { BUFFER_SIZE = 2048 };
char *buffer_lend(sql_connection *connection); /* of BUFFER_SIZE bytes; NULL: allocate */
void buffer_back(void *bytes);                 /* the destructor of a result that lies in one */
void buffer_forget(sql_connection *connection);

/* opens nothing; SQLITE_NOMEM */
int store_hold(sql_connection *connection, const char *resolved, sql_store **store);
void store_release(sql_store *store); /* NULL: no-op */

enum { STORE_MAY_WRITE = 1, STORE_MAY_CREATE = 2 };
int store_open_reader(sql_store *store, int may, char **message);
int store_open_writer(sql_store *store, int may, char **message);
/* To write, for a long call; the caller closes *m. */
int store_open_patient(sql_store *store, maph **m, char **message);
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
/* A change is part of this connection's transaction on the store, or else is one of its own.  It is
** made in store->txn; an SQLite code. */
typedef int (*store_change)(sql_store *store, void *arg, char **message);
int store_write(sql_store *store, store_change change, void *arg, char **message);
int store_put(sql_store *store, maph_slice key, maph_slice value, const maph_condition *how,
              char **message);
int store_delete(sql_store *store, maph_slice key, int *existed, char **message);
/* cursors opened from now on see what was just written */
void store_wrote(sql_store *store);

/* ----------------------------------------------------- change.c: by what is there, at one time */
/* Both make a key that is not there, and keep what else is known of one that is: its media type,
** and its expiry where `how` names none. */
int change_increment(sql_store *store, maph_slice key, sqlite3_int64 by, const maph_condition *how,
                     sqlite3_int64 *sum, char **message);
/* *json: sqlite3_malloc, what the value is now */
int change_merge(sql_store *store, maph_slice key, maph_slice patch, const maph_condition *how,
                 char **json, size_t *size, char **message);

/* --------------------------------------------------------------- values.c: SQL values and bytes */
typedef struct value_bytes {
  maph_slice bytes;
  int type;        /* MAPH_BLOB ... MAPH_NULL */
  char number[40]; /* where the text of an INTEGER or REAL lies */
} value_bytes;

int value_start(sqlite3 *db);  /* before the others; SQLITE_NOMEM */
int value_digits(sqlite3 *db); /* that the connection writes of a REAL */
maph_slice value_up_to_zero(maph_slice text);
/* what of a text this SQLite looks at where it looks for a number */
maph_slice value_numeric_part(maph_slice text);
double value_real_of(const char *text); /* a number with '.', as strtod reads it */
/* a JSON number; 1: it is whole, and *whole has it; 0: *real has it */
int value_number_of(maph_slice text, sqlite3_int64 *whole, double *real);
int value_read(sqlite3_value *value, value_bytes *out); /* SQL to bytes; SQLITE_NOMEM */
/* the value of an entry, as it went in; lender: who has buffers for it, or NULL */
void value_result(sqlite3_context *ctx, const maph_entry *entry, sql_connection *lender);
/* as SQL shows it: who wrote it through another door may not have said */
int value_key_is_text(const maph_entry *entry);
void value_result_key(sqlite3_context *ctx, maph_slice key, int is_text, sql_connection *lender);
/* what to look up for key=v; size 0: no key equals it */
int value_lookup_key(sqlite3_value *value, maph_slice *key);
/* seconds from now; NULL: for ever */
int value_read_ttl(sqlite3_value *value, uint64_t *expires, char **message);
int value_read_expiry(sqlite3_value *value, uint64_t *expires, char **message);
void value_result_expiry(sqlite3_context *ctx, uint64_t expires);
uint64_t value_now_ms(void); /* since 1970 */

/* ----------------------------------------------- member.c, patch.c: declared columns over JSON */
/* SQLITE_ERROR: *why says what is wrong with the words. */
int members_parse(sql_members *members, const char *words, const char **why);
void members_clear(sql_members *members);
/* Where in the JSON text of a value each member's own lies; data NULL: nowhere. */
int members_find(const sql_members *members, maph_slice json, maph_slice *texts);
int member_is_named(maph_slice quoted, const char *name);
/* What a member reads as in its column. */
typedef struct member_value {
  int type; /* SQLITE_NULL, SQLITE_INTEGER, SQLITE_FLOAT or SQLITE_TEXT */
  sqlite3_int64 whole;
  double real;
  maph_slice text;
  char *owned; /* where the text lies if not in the JSON; sqlite3_free */
} member_value;
void member_number(const sql_member *member, member_value *value); /* the affinity of a number */
/* json.data NULL: the member is missing.  SQLITE_NOMEM */
int member_read(const sql_member *member, maph_slice json, member_value *value);
void member_result(sqlite3_context *ctx, const sql_member *member, maph_slice json);
/* The object `base` with the members that `columns` has, one for each, but for those that are as in
** `old`; *json: sqlite3_malloc. */
int members_patch(const sql_members *members, maph_slice base, maph_slice old,
                  sqlite3_value **columns, char **json, size_t *size, char **message);

/* ------------------------------------------------------- pulse.c: who wants a long call to stop */
/* SQLITE_INTERRUPT: sqlite3_interrupt() or the progress handler says so */
int pulse_tick(sql_connection *connection);
void pulse_rest(sql_connection *connection);      /* the long call has ended */
int pulse_timeout_ms(sql_connection *connection); /* how long the connection waits for a lock */

/* Once for each record that SQLite does not get to see. */
static inline int pulse_beat(sql_connection *connection) {
  return ++connection->beats % 1000 ? SQLITE_OK : pulse_tick(connection);
}

/* ------------------------------------------------------------------ keys.c: the keys to look up */
typedef struct key_list {
  char *arena; /* their bytes, each behind the type that was sought */
  size_t arena_size, arena_room;
  maph_slice *keys;
  size_t count, room; /* room: in bytes */
  int sought;         /* a bit for each type */
} key_list;

/* the keys that value may equal */
int keys_add(key_list *list, sql_view *view, sqlite3_value *value, char **message);
void keys_finish(key_list *list); /* each key once; nothing may be added then */
int keys_sought(maph_slice key);  /* SQLITE_TEXT, SQLITE_BLOB, or 0: a number was sought */
void keys_clear(key_list *list);
int keys_possible(maph_slice key);
int keys_compare(const void *a, const void *b); /* by bytes; of two maph_slice */
/* to at least need, doubling; as it was on failure */
int bytes_grow(void *buffer, size_t *have, size_t need);

/* ----------------------------------------------------- numbers.c: keys that spell numbers oddly */
int numbers_find(sql_view *view, double number, size_t *first, size_t *count, char **message);
maph_slice numbers_key(const sql_store *store, size_t i); /* of those found */
int numbers_note(sql_store *store, maph_slice key);       /* this connection puts it */
int numbers_value(maph_slice text, double *number);       /* does it spell a number? */
int numbers_spelled(maph_slice key);                      /* does the key spell a number? */
void numbers_clear(sql_numbers *numbers);

/* -------------------------------------------------------------- range.c: keys in SQLite's order */
/* One end of a range. */
typedef struct key_bound {
  int type;             /* SQLITE_*; 0: there is none */
  unsigned char *bytes; /* sqlite3_malloc; of a number its text */
  size_t size;
  int is_inclusive;
  int is_spelled; /* by the statement itself, as far as the letter tells */
  int is_known;   /* no affinity stands between it and the key */
} key_bound;

/* A piece of the store's order, read for keys of some types. */
typedef struct key_stretch {
  int types;           /* bits; 0: it is not read */
  maph_slice from, to; /* data NULL: no end */
  int after_from;      /* without `from` itself */
  int up_to;           /* with `to` itself */
  int has_prefix;
} key_stretch;

typedef struct key_range {
  key_bound lower, upper; /* range_bound */
  int no_case;            /* what TEXT bounds compare with */
  int is_utf8;            /* what TEXT is in */
  int order;              /* 1 upwards, -1 downwards, 0 none is asked for */
  int is_nothing;         /* a bound is NULL */
  sql_view *view;
  key_stretch stretch[2]; /* as they are read */
  int at, was_read, is_alike;
  unsigned skipped; /* keys of the other type, in this stretch */
  int types;        /* of all keys; 0: not asked for yet */
  maph_range_cursor *cursor;
  unsigned char *least, *greatest, *prefix, *spelling; /* one allocation */
  size_t prefix_size;
} key_range;

/* letter: TERM_ABOVE ... TERM_UPTO_FOUND.  SQLITE_NOMEM */
int range_bound(key_range *range, int letter, sqlite3_value *value);
int range_start(key_range *range, sql_view *view);                   /* SQLITE_NOMEM */
int range_is_all(const key_range *range);                            /* all keys, in no order */
int range_next(key_range *range, maph_entry *entry, char **message); /* SQLITE_DONE */
double range_estimate(key_range *range, char **message);  /* how many rows; -1: unknown */
void range_close(key_range *range);                       /* it is all zero then */
static inline int range_is_used(const key_range *range) { /* has it anything to close? */
  return range->cursor || range->least || range->lower.bytes || range->upper.bytes;
}

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
  COLUMN_ROWID, /* and two more names of it */
  COLUMN_OID = COLUMN_ROWID + 2,
  COLUMN_TTL,
  COLUMN_COUNT
};
enum { COLUMN_MEMBER = -1 }; /* a declared one */

typedef struct sql_table {
  sqlite3_vtab base; /* first: SQLite's part */
  sql_connection *connection;
  struct sql_table *next; /* of the connection's */
  char *name, *schema;
  int is_function; /* maph('file'): read-only, the file is an argument */
  int is_own;      /* made by a CREATE of this connection, not found in a schema */
  int is_fresh;    /* the transaction of that CREATE goes on */
  int is_utf8;     /* the database keeps its text so: else its order is another */
  sql_options options;
  sql_store *store;         /* NULL until first used */
  struct row_cursor *spare; /* a closed cursor, for the next statement (read.c) */
  struct row_cursor *heir;  /* the last one opened, until it is used (views.c) */
} sql_table;

int table_has_column(const char *name); /* every table has it */
/* COLUMN_*: what SQLite's column `place` is */
int table_column(const sql_table *table, int place);
/* of xUpdate's columns; the declared ones are those from 1 on */
static inline sqlite3_value *table_value(const sql_table *table, sqlite3_value **columns,
                                         int column) {
  return columns[column == COLUMN_KEY ? 0 : column + (int)table->options.members.count];
}
int table_is_fresh(const sql_table *table); /* made by the transaction that goes on */
int table_may(const sql_table *table);      /* STORE_MAY_* */
int table_use(sql_table *table); /* resolve the path, hold the store; message in zErrMsg */

/* A module as SQLite 3.44 knows it: it has xIntegrity, with the headers of an older one too. */
typedef struct sql_module {
  sqlite3_module module;
#if SQLITE_VERSION_NUMBER < 3044000
  int (*xIntegrity)(sqlite3_vtab *, const char *schema, const char *name, int flags,
                    char **problem);
#endif
} sql_module;
extern const sql_module vtab_module;

/* --------------------------------------------------------------------------- plan.c: xBestIndex */
enum {
  PLAN_SCAN = 0,
  PLAN_RANGE = 1,
  PLAN_KEY = 2,
  PLAN_KEYS = 3,
  PLAN_NOCASE = 4,
  PLAN_NOTHING = 5
};

/* idxStr has one letter for each argument of xFilter, in order, and at its end ORDER_* where the
** rows come in the order of their keys.  SPELLED, and the bounds but the capital ones: the
** statement spells the key out. */
enum {
  TERM_FILE = 'f',
  TERM_EQUAL = 'e',
  TERM_SPELLED = '=',
  TERM_IN = 'i',
  TERM_ABOVE = '>',
  TERM_FROM = 'g',
  TERM_BELOW = '<',
  TERM_UPTO = 'l',
  TERM_ABOVE_FOUND = 'A',
  TERM_FROM_FOUND = 'G',
  TERM_BELOW_FOUND = 'B',
  TERM_UPTO_FOUND = 'L',
  TERM_LIMIT = 'n',
  TERM_OFFSET = 'o'
};
enum { ORDER_UP = '+', ORDER_DOWN = '-' };
int plan_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info);

/* ------------------------------------------------------------------------------ read.c: cursors */
int read_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor);
int read_close(sqlite3_vtab_cursor *cursor);
void read_forget(sql_table *table); /* free what read_close kept */
int read_filter(sqlite3_vtab_cursor *cursor, int plan, const char *letters, int argc,
                sqlite3_value **argv);
int read_next(sqlite3_vtab_cursor *cursor);
int read_eof(sqlite3_vtab_cursor *cursor);
int read_column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int place);
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
int command_run(sql_table *table, sqlite3_value *word, sqlite3_value *value);
int command_integrity(sqlite3_vtab *vtab, const char *schema, const char *name, int flags,
                      char **problem);

/* ---------------------------------------------------- form.c: maph_changes(...), maph_list(...) */
extern const sqlite3_module form_module; /* of both, as stat_module */
/* xBestIndex of a table-valued form whose arguments are the `count` hidden columns from `first` on.
** idxNum: a bit for each that xFilter gets, in order.  Without the first there is no plan. */
int form_best_index(sqlite3_index_info *info, int first, int count);

/* ----------------------------------------------------------------- function.c: scalar functions */
int function_register(sql_connection *connection);

/* ----------------------------------------------- stat.c: maph_stat('file'), maph_result('file') */
/* of both: it looks at the name it is registered under */
extern const sqlite3_module stat_module;

#endif
