/*
** stat.c - maph_stat('file'): the figures of a store as one row.  A table-valued function, read-only, with no DDL:
**
**     SELECT records, file_bytes, dead_bytes*100/used_bytes AS percent_dead FROM maph_stat('products.maph');
**
** The columns are the fields of maph_stats in maph.h.  It is also the smallest complete eponymous virtual table: one plan, one row.
*/
#include "sql.h"
#include <stddef.h>

enum { KIND_U64, KIND_INT, KIND_DOUBLE, KIND_UUID };

static const struct figure {
  const char *name;
  size_t offset;
  int kind;
} figures[] = {
  { "records",       offsetof(maph_stats, records),       KIND_U64 },
  { "live_bytes",    offsetof(maph_stats, live_bytes),    KIND_U64 },
  { "dead_bytes",    offsetof(maph_stats, dead_bytes),    KIND_U64 },
  { "index_bytes",   offsetof(maph_stats, index_bytes),   KIND_U64 },
  { "used_bytes",    offsetof(maph_stats, used_bytes),    KIND_U64 },
  { "file_bytes",    offsetof(maph_stats, file_bytes),    KIND_U64 },
  { "version",       offsetof(maph_stats, version),       KIND_U64 },
  { "generation",    offsetof(maph_stats, generation),    KIND_U64 },
  { "flushed_bytes", offsetof(maph_stats, flushed_bytes), KIND_U64 },
  { "segments",      offsetof(maph_stats, segments),      KIND_U64 },
  { "load_factor",   offsetof(maph_stats, load_factor),   KIND_DOUBLE },
  { "uuid",          offsetof(maph_stats, uuid),          KIND_UUID },
  { "poisoned",      offsetof(maph_stats, poisoned),      KIND_INT },
};
#define FIGURE_COUNT ((int)(sizeof(figures)/sizeof(figures[0])))

typedef struct stat_table {
  sqlite3_vtab    base;
  sql_connection *connection;
} stat_table;

typedef struct stat_cursor {
  sqlite3_vtab_cursor base;
  int        at_end;
  char      *file;
  maph_stats stats;
} stat_cursor;

static int stat_connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **vtab, char **message){
  stat_table *t = sqlite3_malloc64(sizeof(*t));
  char *sql = sqlite3_mprintf("CREATE TABLE x(");
  int i, rc = SQLITE_NOMEM;
  (void)argc; (void)argv; (void)message;
  for(i=0; i<FIGURE_COUNT && sql; i++){
    char *longer = sqlite3_mprintf("%s%s, ", sql, figures[i].name);
    sqlite3_free(sql);
    sql = longer;
  }
  if( sql ){
    char *whole = sqlite3_mprintf("%sfile HIDDEN)", sql);
    if( whole ) rc = sqlite3_declare_vtab(db, whole);
    sqlite3_free(whole);
  }
  if( rc==SQLITE_OK ) rc = sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
  if( t==NULL ) rc = SQLITE_NOMEM;
  if( rc==SQLITE_OK ){
    memset(t, 0, sizeof(*t));
    t->connection = aux;
    *vtab = &t->base;
  }else{
    sqlite3_free(t);
  }
  sqlite3_free(sql);
  return rc;
}

static int stat_disconnect(sqlite3_vtab *vtab){
  sqlite3_free(vtab);
  return SQLITE_OK;
}

/* idxNum: 1 with the file, 0 without, which xFilter refuses. */
static int stat_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info){
  int i, asked = 0;
  (void)vtab;
  info->estimatedCost = 1e50;
  for(i=0; i<info->nConstraint; i++){
    if( info->aConstraint[i].iColumn!=FIGURE_COUNT || info->aConstraint[i].op!=SQLITE_INDEX_CONSTRAINT_EQ ) continue;
    asked = 1;
    if( !info->aConstraint[i].usable || info->idxNum ) continue;
    info->aConstraintUsage[i].argvIndex = 1;
    info->aConstraintUsage[i].omit = 1;
    info->idxNum = 1;
    info->estimatedRows = 1;
    info->estimatedCost = 10;
  }
  return asked && info->idxNum==0 ? SQLITE_CONSTRAINT : SQLITE_OK;
}

static int stat_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor){
  stat_cursor *c = sqlite3_malloc64(sizeof(*c));
  (void)vtab;
  if( c==NULL ) return SQLITE_NOMEM;
  memset(c, 0, sizeof(*c));
  c->at_end = 1;
  *cursor = &c->base;
  return SQLITE_OK;
}

static int stat_close(sqlite3_vtab_cursor *cursor){
  sqlite3_free(((stat_cursor*)cursor)->file);
  sqlite3_free(cursor);
  return SQLITE_OK;
}

static int stat_filter(sqlite3_vtab_cursor *cursor, int plan, const char *letters, int argc, sqlite3_value **argv){
  stat_cursor *c = (stat_cursor*)cursor;
  stat_table *t = (stat_table*)cursor->pVtab;
  char *resolved = NULL;
  sql_store *store = NULL;
  int rc;
  (void)letters; (void)argc;
  c->at_end = 1;
  sqlite3_free(c->file);
  c->file = NULL;
  if( plan==0 || sqlite3_value_type(argv[0])!=SQLITE_TEXT ){
    sqlite3_free(t->base.zErrMsg);
    t->base.zErrMsg = sqlite3_mprintf("maph_stat: name the file, as in SELECT * FROM maph_stat('cache.maph')");
    return SQLITE_ERROR;
  }
  c->file = sqlite3_mprintf("%s", sqlite3_value_text(argv[0]));
  if( c->file==NULL ) return SQLITE_NOMEM;
  rc = option_resolve(t->connection->db, c->file, &resolved, &t->base.zErrMsg);
  if( rc==SQLITE_OK ) rc = store_hold(t->connection, resolved, &store);
  if( rc==SQLITE_OK ) rc = store_open_reader(store, 0, &t->base.zErrMsg);
  if( rc==SQLITE_OK ) rc = store_error(store->reader, maph_stat(store->reader, &c->stats), &t->base.zErrMsg);
  c->at_end = rc!=SQLITE_OK;
  store_release(store);
  sqlite3_free(resolved);
  return rc;
}

static int stat_next(sqlite3_vtab_cursor *cursor){
  ((stat_cursor*)cursor)->at_end = 1;
  return SQLITE_OK;
}

static int stat_eof(sqlite3_vtab_cursor *cursor){
  return ((stat_cursor*)cursor)->at_end;
}

static void uuid_result(sqlite3_context *ctx, const uint8_t *uuid){
  static const char digits[] = "0123456789abcdef";
  char text[36];
  int i, n = 0;
  for(i=0; i<16; i++){
    if( i==4 || i==6 || i==8 || i==10 ) text[n++] = '-';
    text[n++] = digits[uuid[i]>>4];
    text[n++] = digits[uuid[i]&15];
  }
  sqlite3_result_text(ctx, text, n, SQLITE_TRANSIENT);
}

static int stat_column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int column){
  stat_cursor *c = (stat_cursor*)cursor;
  const void *field;
  if( column>=FIGURE_COUNT ){
    sqlite3_result_text(ctx, c->file, -1, SQLITE_TRANSIENT);
    return SQLITE_OK;
  }
  field = (const char*)&c->stats + figures[column].offset;
  switch( figures[column].kind ){
    case KIND_U64:    sqlite3_result_int64(ctx, (sqlite3_int64)*(const uint64_t*)field); break;
    case KIND_INT:    sqlite3_result_int(ctx, *(const int*)field); break;
    case KIND_DOUBLE: sqlite3_result_double(ctx, *(const double*)field); break;
    default:          uuid_result(ctx, field); break;
  }
  return SQLITE_OK;
}

static int stat_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid){
  (void)cursor;
  *rowid = 1;
  return SQLITE_OK;
}

const sqlite3_module stat_module = {
  .xConnect    = stat_connect,
  .xBestIndex  = stat_best_index,
  .xDisconnect = stat_disconnect,
  .xOpen       = stat_open,
  .xClose      = stat_close,
  .xFilter     = stat_filter,
  .xNext       = stat_next,
  .xEof        = stat_eof,
  .xColumn     = stat_column,
  .xRowid      = stat_rowid,
};
