/*
** export.c - export: the entries of a store as NDJSON, CSV or TSV, or as another store.
**
** All is of one snapshot, and the target appears whole or not at all.  Another store is a backup,
** which gets its name as its last step.  With a prefix the backup is one of a store beside the
** target that holds only those entries, and is removed afterwards.
*/
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"

enum { GROUP = 100000, COLUMNS_MOST = 16 };

/* -------------------------------------------------------------------------------------- columns */
static const char *const column_names[] = { "key",        "value",    "type",    "media_type",
                                            "expires_at", "key_type", "version", "size" };
enum column_name {
  KEY,
  VALUE,
  TYPE,
  MEDIA_TYPE,
  EXPIRES_AT,
  KEY_TYPE,
  VERSION,
  SIZE_OF_VALUE,
  COLUMN_NAMES
};

typedef struct table {
  output *o;
  bool tabs;
  enum column_name column[COLUMNS_MOST];
  size_t columns;
} table;

static bool choose_columns(table *t, const char *list) {
  for (const char *p = list ? list : "key,value,type,media_type,expires_at,key_type";; p++) {
    size_t size = strcspn(p, ","), i = 0;
    while (i < COLUMN_NAMES
           && (strlen(column_names[i]) != size || memcmp(column_names[i], p, size) != 0))
      i++;
    if (i == COLUMN_NAMES) {
      complain("--columns: there is no column %.*s", (int)size, p);
      return false;
    }
    if (t->columns == COLUMNS_MOST) {
      complain("--columns: too many");
      return false;
    }
    t->column[t->columns++] = (enum column_name)i;
    p += size;
    if (*p == 0) return true;
  }
}

static void show_field(table *t, size_t i, maph_slice field) {
  if (i) output_bytes(t->o, t->tabs ? "\t" : ",", 1);
  if (t->tabs)
    output_escaped(t->o, field);
  else
    output_csv_field(t->o, field);
}

static void end_record(table *t) { output_text(t->o, t->tabs ? "\n" : "\r\n"); }

static void show_number(table *t, size_t i, uint64_t number) {
  show_field(t, i, maph_str(""));
  output_number(t->o, number);
}

static void show_record(table *t, const maph_entry *e) {
  for (size_t i = 0; i < t->columns; i++) {
    switch (t->column[i]) {
      case KEY: show_field(t, i, e->key); break;
      case VALUE: show_field(t, i, e->value); break;
      case TYPE: show_field(t, i, maph_str(entry_type_name(e->type))); break;
      case MEDIA_TYPE: show_field(t, i, e->media_type); break;
      case EXPIRES_AT:
        if (e->expires)
          show_number(t, i, e->expires);
        else
          show_field(t, i, maph_str(""));
        break;
      case KEY_TYPE: show_field(t, i, maph_str(entry_key_type_name(e->key_type))); break;
      case VERSION: show_number(t, i, e->version); break;
      default: show_number(t, i, e->value.size); break;
    }
  }
  end_record(t);
}

/* ---------------------------------------------------------------------------------- every entry */
typedef struct sink {
  const arguments *a;
  maph_slice prefix;
  uint64_t n;
  output *o; /* NULL: a store */
  bool json;
  table table;
  maph *to; /* the store, its path, and the transaction that is open */
  const char *path;
  maph_txn *txn;
} sink;

static int put(sink *s, const maph_entry *e) {
  maph_condition condition = {
    .expires = e->expires, .type = e->type, .key_type = e->key_type, .media_type = e->media_type
  };
  int rc = s->txn ? MAPH_OK : maph_txn_begin(s->to, MAPH_SYNC_OFF, &s->txn);
  if (rc == MAPH_OK) rc = maph_txn_put_if(s->txn, e->key, e->value, &condition);
  if (rc == MAPH_OK && file_cut_short()) rc = MAPH_IOERR;
  if (rc == MAPH_OK && s->n % GROUP == GROUP - 1) {
    rc = maph_txn_commit(s->txn);
    s->txn = NULL;
  }
  if (rc != MAPH_OK) store_failed(s->path, rc);
  return rc;
}

static int give(sink *s, const maph_entry *e) {
  if (s->o == NULL) return put(s, e);
  if (s->json)
    output_json_entry(s->o, e, true);
  else
    show_record(&s->table, e);
  return s->o->failed ? MAPH_CANCELLED : MAPH_OK;
}

/* Every entry into the sink.  False: not all of them, and said why. */
static bool give_all(sink *s, maph *m) {
  maph_snapshot *snapshot = NULL;
  maph_cursor *c = NULL;
  maph_entry e;
  uint64_t total = 0;
  bool ok = true;
  int rc = maph_snapshot_open(m, &snapshot);
  if (rc == MAPH_OK) {
    total = s->prefix.size ? 0 : maph_snapshot_records(snapshot);
    rc = maph_cursor_open(m, snapshot, s->prefix, &c);
  }
  while (rc == MAPH_OK && ok && !stop_asked() && (rc = maph_cursor_next(c, &e)) == MAPH_OK) {
    ok = give(s, &e) == MAPH_OK;
    progress_show(++s->n, total, NUMBER);
  }
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) store_failed(s->a->operand[0], rc);
  maph_cursor_close(c);
  maph_snapshot_close(snapshot);
  return ok && rc == MAPH_NOTFOUND;
}

/* -------------------------------------------------------------------------------- another store */
static int back_up(sink *s, maph *from, const char *path, const char *target) {
  maph_rewrite result;
  int rc = maph_backup(from, target, progress_callback, NULL);
  if (rc == MAPH_OK && file_cut_short()) rc = MAPH_IOERR;
  if (rc == MAPH_OK) rc = maph_rewritten(from, &result);
  if (rc != MAPH_OK) return store_failed(path, rc);
  s->n = result.records;
  return DONE;
}

static bool fill(sink *s, maph *m) {
  bool ok = give_all(s, m);
  int rc = MAPH_OK;
  if (!ok)
    maph_txn_abort(s->txn);
  else if (s->txn && (rc = maph_txn_commit(s->txn)) != MAPH_OK)
    store_failed(s->path, rc);
  return ok && rc == MAPH_OK;
}

/* The store of what has the prefix, beside the target. */
static int export_part(sink *s, maph *m, const char *path, const char *target) {
  arguments own = *s->a;
  struct stat st;
  int status = FAILED;
  own.mode = stat(own.operand[0], &st) == 0 ? st.st_mode & 0777 : 0600;
  s->path = path;
  s->to = store_open(&own, path, MAPH_RDWR | MAPH_CREATE | MAPH_EXCL);
  if (s->to && fill(s, m)) status = back_up(s, s->to, path, target);
  maph_close(s->to);
  return status;
}

static int export_to_store(sink *s, maph *m, const char *target) {
  struct stat st;
  beside b;
  int status;
  if (lstat(target, &st) == 0)
    return complain("%s is there already, and no store is replaced", target);
  if (!beside_open(&b, target)) return FAILED;
  status =
      s->prefix.size ? export_part(s, m, b.store, target) : back_up(s, m, s->a->operand[0], target);
  beside_drop(&b);
  return status;
}

/* ---------------------------------------------------------------------------------- the command */
static bool export_text(sink *s, maph *m) {
  s->table.o = s->o;
  if (!s->json && !s->a->no_header) {
    for (size_t i = 0; i < s->table.columns; i++)
      show_field(&s->table, i, maph_str(column_names[s->table.column[i]]));
    end_record(&s->table);
  }
  return give_all(s, m);
}

static int export_to_file(sink *s, maph *m, const char *target) {
  static output file;
  s->o = strcmp(target, "-") == 0 ? &standard_output : &file;
  if (s->o == &file && !output_open(&file, target, s->a->force)) return FAILED;
  if (export_text(s, m)) return output_end(s->o) ? DONE : FAILED;
  if (s->o == &file)
    output_drop(&file);
  else
    output_flush(&standard_output);
  return FAILED;
}

/* With --force the store's own name must not be taken by the export. */
static bool names_store(const char *path, const char *target) {
  struct stat a, b;
  return stat(path, &a) == 0 && stat(target, &b) == 0 && a.st_dev == b.st_dev
         && a.st_ino == b.st_ino;
}

/* PATH.new and PATH.lock belong to a store at PATH: what stood there would be taken for that, and
** removed. */
static bool is_beside_a_store(const char *target) {
  static const char *const endings[] = { ".new", ".lock" };
  char store[PATH_MAX];
  struct stat st;
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
    size_t size = strlen(target), n = strlen(endings[i]);
    if (size <= n || size >= sizeof store || strcmp(target + size - n, endings[i]) != 0) continue;
    snprintf(store, sizeof store, "%.*s", (int)(size - n), target);
    if (stat(store, &st) == 0) return true;
  }
  return false;
}

static int show_exported(const arguments *a, uint64_t n) {
  char keys[40];
  if (a->json)
    output_format(&standard_output, "{\"success\":true,\"exported\":%llu}\n",
                  (unsigned long long)n);
  else if (!a->quiet)
    output_format(&standard_output, "exported %s\n", count_of(n, "key", keys));
  return output_end(&standard_output) ? DONE : FAILED;
}

int command_export(arguments *a) {
  const char *path = a->operand[0], *target = a->operands > 1 ? a->operand[1] : "-",
             *format = format_of(a, target);
  bool to_store = strcmp(format, "maph") == 0, to_file = strcmp(target, "-") != 0;
  sink s = { .a = a, .json = strcmp(format, "ndjson") == 0 };
  maph *m;
  int status;
  if (target[0] == 0) return complain("the path of the target is empty");
  if (to_store && !to_file)
    return complain("a store is not written to standard output: name a TARGET");
  if (names_store(path, target)) return complain("%s is the store itself", target);
  if (is_beside_a_store(target))
    return complain("%s: that name belongs to the store beside it: choose another", target);
  s.table.tabs = strcmp(format, "tsv") == 0;
  if (!prefix_from(a, &s.prefix) || !choose_columns(&s.table, a->columns)
      || (m = store_open(a, path, MAPH_RDONLY)) == NULL)
    return FAILED;
  /* a bar would stand among the entries */
  if (to_file || !standard_output.terminal) progress_start(a, "export");
  status = to_store ? export_to_store(&s, m, target) : export_to_file(&s, m, target);
  progress_end();
  status = store_close(m, path, status);
  return status == DONE && to_file ? show_exported(a, s.n) : status;
}
