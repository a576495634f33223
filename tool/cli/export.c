/*
** export.c - export: the entries of a store as NDJSON, CSV or TSV, or into another store.
**
** All is of one snapshot.  A file appears whole or not at all; a store that could not be filled is removed.
*/
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"

enum { GROUP = 100000, COLUMNS_MOST = 16 };

/* ------------------------------------------------------------------------------------------------------------- columns */
static const char *const column_names[] = { "key", "value", "type", "media_type", "expires_at", "key_type", "version", "size" };
enum column_name { KEY, VALUE, TYPE, MEDIA_TYPE, EXPIRES_AT, KEY_TYPE, VERSION, SIZE_OF_VALUE, COLUMN_NAMES };

typedef struct table {
  output         *o;
  bool            tabs;
  enum column_name column[COLUMNS_MOST];
  size_t          columns;
} table;

static bool choose_columns(table *t, const char *list){
  for(const char *p = list ? list : "key,value,type,media_type,expires_at,key_type"; ; p++){
    size_t size = strcspn(p, ","), i = 0;
    while( i < COLUMN_NAMES && (strlen(column_names[i])!=size || memcmp(column_names[i], p, size)!=0) ) i++;
    if( i==COLUMN_NAMES ){ complain("--columns: there is no column %.*s", (int)size, p); return false; }
    if( t->columns==COLUMNS_MOST ){ complain("--columns: too many"); return false; }
    t->column[t->columns++] = (enum column_name)i;
    p += size;
    if( *p==0 ) return true;
  }
}

static void show_field(table *t, size_t i, maph_slice field){
  if( i ) output_bytes(t->o, t->tabs ? "\t" : ",", 1);
  if( t->tabs ) output_escaped(t->o, field);
  else output_csv_field(t->o, field);
}

static void end_record(table *t){ output_text(t->o, t->tabs ? "\n" : "\r\n"); }

static void show_number(table *t, size_t i, uint64_t number){
  show_field(t, i, maph_str(""));
  output_number(t->o, number);
}

static void show_record(table *t, const maph_entry *e){
  for(size_t i = 0; i < t->columns; i++){
    switch( t->column[i] ){
      case KEY: show_field(t, i, e->key); break;
      case VALUE: show_field(t, i, e->value); break;
      case TYPE: show_field(t, i, maph_str(type_name(e->type))); break;
      case MEDIA_TYPE: show_field(t, i, e->media_type); break;
      case EXPIRES_AT: if( e->expires ) show_number(t, i, e->expires); else show_field(t, i, maph_str("")); break;
      case KEY_TYPE: show_field(t, i, maph_str(key_type_name(e->key_type))); break;
      case VERSION: show_number(t, i, e->version); break;
      default: show_number(t, i, e->value.size); break;
    }
  }
  end_record(t);
}

/* -------------------------------------------------------------------------------------------------------- another store */
typedef struct copy {
  maph     *to;
  maph_txn *txn;
  uint64_t  n;
} copy;

static int copy_entry(copy *c, const maph_entry *e){
  maph_condition condition = { .expires = e->expires, .type = e->type, .key_type = e->key_type, .media_type = e->media_type };
  int rc = c->txn ? MAPH_OK : maph_txn_begin(c->to, MAPH_SYNC_OFF, &c->txn);
  if( rc==MAPH_OK ) rc = maph_txn_put_if(c->txn, e->key, e->value, &condition);
  if( rc==MAPH_OK && file_cut_short() ) rc = MAPH_IOERR;
  if( rc!=MAPH_OK || ++c->n%GROUP ) return rc;
  rc = maph_txn_commit(c->txn);
  c->txn = NULL;
  return rc;
}

static int copy_end(copy *c, int rc){
  if( rc==MAPH_OK && c->txn ) rc = maph_txn_commit(c->txn);
  else maph_txn_abort(c->txn);
  if( rc==MAPH_OK ) rc = maph_sync(c->to);
  return rc;
}

/* ----------------------------------------------------------------------------------------------------------- the command */
typedef struct sink {
  const arguments *a;
  output *o;                       /* NULL: a store */
  bool    json;
  table   table;
  copy    copy;
} sink;

static int give(sink *s, const maph_entry *e){
  if( s->o==NULL ) return copy_entry(&s->copy, e);
  if( s->json ) output_json_entry(s->o, e, true);
  else show_record(&s->table, e);
  return s->o->failed ? MAPH_CANCELLED : MAPH_OK;
}

/* Every entry into the sink.  MAPH_OK: all of them. */
static int give_all(sink *s, maph *m, const char *failing){
  maph_snapshot *snapshot = NULL;
  maph_cursor *c = NULL;
  maph_entry e;
  uint64_t n = 0, total = 0;
  int rc = maph_snapshot_open(m, &snapshot);
  if( rc==MAPH_OK ){
    total = s->a->prefix ? 0 : maph_snapshot_records(snapshot);
    rc = maph_cursor_open(m, snapshot, maph_str(s->a->prefix ? s->a->prefix : ""), &c);
  }
  if( rc!=MAPH_OK ) store_failed(s->a->operand[0], rc);
  while( rc==MAPH_OK ){
    if( stop_asked() ){ rc = MAPH_CANCELLED; break; }
    rc = maph_cursor_next(c, &e);
    if( rc==MAPH_NOTFOUND ) break;
    if( rc!=MAPH_OK ){ store_failed(s->a->operand[0], rc); break; }
    if( (rc = give(s, &e))!=MAPH_OK ) store_failed(failing, rc);
    progress_show(++n, total, false);
  }
  maph_cursor_close(c);
  maph_snapshot_close(snapshot);
  return rc==MAPH_NOTFOUND ? MAPH_OK : rc;
}

static int export_to_store(sink *s, maph *m, const char *target){
  int rc, status = DONE;
  s->copy.to = store_open(s->a, target, MAPH_RDWR|MAPH_CREATE|MAPH_EXCL);
  if( s->copy.to==NULL ) return FAILED;
  rc = give_all(s, m, target);
  if( rc!=MAPH_OK ){ copy_end(&s->copy, rc); status = FAILED; }
  else if( (rc = copy_end(&s->copy, rc))!=MAPH_OK ) status = store_failed(target, rc);
  status = store_close(s->copy.to, target, status);
  if( status!=DONE ) maph_destroy(target, 0);
  return status;
}

static bool export_text(sink *s, maph *m){
  s->table.o = s->o;
  if( !s->json && !s->a->no_header ){
    for(size_t i = 0; i < s->table.columns; i++) show_field(&s->table, i, maph_str(column_names[s->table.column[i]]));
    end_record(&s->table);
  }
  return give_all(s, m, s->a->operand[0])==MAPH_OK;
}

static int export_to_file(sink *s, maph *m, const char *target){
  static output file;
  s->o = strcmp(target, "-")==0 ? &standard_output : &file;
  if( s->o==&file && !output_open(&file, target, s->a->force) ) return FAILED;
  if( same_file(s->a->operand[0], s->o->fd) ){
    complain("%s is the store itself", s->o==&file ? target : "standard output");
    s->o->failed = true;
  }
  if( !s->o->failed && export_text(s, m) ) return output_end(s->o) ? DONE : FAILED;
  if( s->o==&file ) output_drop(&file);
  else output_flush(&standard_output);
  return FAILED;
}

/* With --force the store's own name must not be taken by the export. */
static bool names_store(const char *path, const char *target){
  struct stat a, b;
  return stat(path, &a)==0 && stat(target, &b)==0 && a.st_dev==b.st_dev && a.st_ino==b.st_ino;
}

int command_export(arguments *a){
  const char *path = a->operand[0], *target = a->operands > 1 ? a->operand[1] : "-", *format = format_of(a, target);
  bool to_store = strcmp(format, "maph")==0;
  sink s = { .a = a, .json = strcmp(format, "ndjson")==0 };
  maph *m;
  int status;
  if( to_store && strcmp(target, "-")==0 ) return complain("a store is not written to standard output: name a TARGET");
  if( names_store(path, target) ) return complain("%s is the store itself", target);
  s.table.tabs = strcmp(format, "tsv")==0;
  if( !choose_columns(&s.table, a->columns) || (m = store_open(a, path, MAPH_RDONLY))==NULL ) return FAILED;
  if( strcmp(target, "-")!=0 || !standard_output.terminal ) progress_start(a, "export");      /* a bar would stand among the entries */
  status = to_store ? export_to_store(&s, m, target) : export_to_file(&s, m, target);
  progress_end();
  return store_close(m, path, status);
}
