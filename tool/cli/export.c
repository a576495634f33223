/*
** export.c - export: the entries of a store as NDJSON, CSV or TSV, or as another store.
**
** All is of one snapshot, and the target appears whole or not at all.  Another store is a backup,
** which gets its name as its last step.  Where a part is asked for, or an order, the backup is one
** of a store beside the target that holds only those entries, and in that order; it is removed
** afterwards.
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
  output *out;
  bool tabs;
  enum column_name column[COLUMNS_MOST];
  size_t columns;
} table;

static bool choose_columns(table *table, const char *list) {
  for (const char *p = list ? list : "key,value,type,media_type,expires_at,key_type";; p++) {
    size_t size = strcspn(p, ","), i = 0;
    while (i < COLUMN_NAMES
           && (strlen(column_names[i]) != size || memcmp(column_names[i], p, size) != 0))
      i++;
    if (i == COLUMN_NAMES) {
      complain("--columns: there is no column %.*s", (int)size, p);
      return false;
    }
    if (table->columns == COLUMNS_MOST) {
      complain("--columns: too many");
      return false;
    }
    table->column[table->columns++] = (enum column_name)i;
    p += size;
    if (*p == 0) return true;
  }
}

static void show_field(table *table, size_t i, maph_slice field) {
  if (i) output_bytes(table->out, table->tabs ? "\t" : ",", 1);
  if (table->tabs)
    output_escaped(table->out, field);
  else
    output_csv_field(table->out, field);
}

static void end_record(table *table) { output_text(table->out, table->tabs ? "\n" : "\r\n"); }

static void show_number(table *table, size_t i, uint64_t number) {
  show_field(table, i, maph_str(""));
  output_number(table->out, number);
}

static void show_record(table *table, const maph_entry *entry) {
  for (size_t i = 0; i < table->columns; i++) {
    switch (table->column[i]) {
      case KEY: show_field(table, i, entry->key); break;
      case VALUE: show_field(table, i, entry->value); break;
      case TYPE: show_field(table, i, maph_str(entry_type_name(entry->type))); break;
      case MEDIA_TYPE: show_field(table, i, entry->media_type); break;
      case EXPIRES_AT:
        if (entry->expires)
          show_number(table, i, entry->expires);
        else
          show_field(table, i, maph_str(""));
        break;
      case KEY_TYPE: show_field(table, i, maph_str(entry_key_type_name(entry->key_type))); break;
      case VERSION: show_number(table, i, entry->version); break;
      default: show_number(table, i, entry->value.size); break;
    }
  }
  end_record(table);
}

/* ---------------------------------------------------------------------------------- every entry */
typedef struct sink {
  const arguments *args;
  maph_range range;
  uint64_t n;
  output *out; /* NULL: a store */
  bool json;
  table table;
  maph *to; /* the store, its path, and the transaction that is open */
  const char *path;
  maph_txn *txn;
} sink;

static int put(sink *sink, const maph_entry *entry) {
  maph_condition condition = { .expires = entry->expires,
                               .type = entry->type,
                               .key_type = entry->key_type,
                               .media_type = entry->media_type };
  int rc = sink->txn ? MAPH_OK : maph_txn_begin(sink->to, MAPH_SYNC_OFF, &sink->txn);
  if (rc == MAPH_OK) rc = maph_txn_put_if(sink->txn, entry->key, entry->value, &condition);
  if (rc == MAPH_OK && file_cut_short()) rc = FILE_CUT_SHORT;
  if (rc == MAPH_OK && sink->n % GROUP == GROUP - 1) {
    rc = maph_txn_commit(sink->txn);
    sink->txn = NULL;
  }
  if (rc != MAPH_OK) store_failed(sink->path, rc);
  return rc;
}

static int give(sink *sink, const maph_entry *entry) {
  if (sink->out == NULL) return put(sink, entry);
  if (sink->json)
    output_json_entry(sink->out, entry, true);
  else
    show_record(&sink->table, entry);
  return sink->out->failed ? MAPH_CANCELLED : MAPH_OK;
}

/* Every entry into the sink.  False: not all of them, and said why. */
static bool give_all(sink *sink, maph *m) {
  maph_snapshot *snapshot = NULL;
  source source = { NULL, NULL };
  maph_entry entry;
  uint64_t total = 0;
  bool ok = true;
  int rc = maph_snapshot_open(m, &snapshot);
  if (rc == MAPH_OK) rc = source_open(sink->args, m, snapshot, &sink->range, &source);
  if (rc == MAPH_OK)
    total = source_bounded(sink->args) ? maph_range_estimate(source.ordered)
                                       : maph_snapshot_records(snapshot);
  while (rc == MAPH_OK && ok && !stop_asked() && (rc = source_next(&source, &entry)) == MAPH_OK) {
    ok = give(sink, &entry) == MAPH_OK;
    progress_show(++sink->n, total, NUMBER);
  }
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) store_failed(sink->args->operand[0], rc);
  source_close(&source);
  maph_snapshot_close(snapshot);
  return ok && rc == MAPH_NOTFOUND;
}

/* -------------------------------------------------------------------------------- another store */
static int back_up(sink *sink, maph *from, const char *path, const char *target) {
  maph_rewrite result;
  int rc = maph_backup(from, target, progress_callback, NULL);
  if (rc == MAPH_OK && file_cut_short()) rc = FILE_CUT_SHORT;
  if (rc == MAPH_OK) rc = maph_rewritten(from, &result);
  if (rc != MAPH_OK) return store_failed(path, rc);
  sink->n = result.records;
  return DONE;
}

static bool fill(sink *sink, maph *m) {
  bool ok = give_all(sink, m);
  int rc = MAPH_OK;
  if (!ok)
    maph_txn_abort(sink->txn);
  else if (sink->txn && (rc = maph_txn_commit(sink->txn)) != MAPH_OK)
    store_failed(sink->path, rc);
  return ok && rc == MAPH_OK;
}

/* The store of what was asked for, beside the target. */
static int export_part(sink *sink, maph *m, const char *path, const char *target) {
  arguments own = *sink->args;
  struct stat st;
  int status = FAILED;
  own.mode = stat(own.operand[0], &st) == 0 ? st.st_mode & 0777 : 0600;
  sink->path = path;
  sink->to = store_open(&own, path, MAPH_RDWR | MAPH_CREATE | MAPH_EXCL);
  if (sink->to && fill(sink, m)) status = back_up(sink, sink->to, path, target);
  maph_close(sink->to);
  return status;
}

static int export_to_store(sink *sink, maph *m, const char *target) {
  struct stat st;
  beside beside;
  int status;
  if (lstat(target, &st) == 0)
    return complain("%s is there already, and no store is replaced", target);
  if (!beside_open(&beside, target)) return FAILED;
  status = source_ordered(sink->args) ? export_part(sink, m, beside.store, target)
                                      : back_up(sink, m, sink->args->operand[0], target);
  beside_drop(&beside);
  return status;
}

/* ---------------------------------------------------------------------------------- the command */
static bool export_text(sink *sink, maph *m) {
  sink->table.out = sink->out;
  if (!sink->json && !sink->args->no_header) {
    for (size_t i = 0; i < sink->table.columns; i++)
      show_field(&sink->table, i, maph_str(column_names[sink->table.column[i]]));
    end_record(&sink->table);
  }
  return give_all(sink, m);
}

static int export_to_file(sink *sink, maph *m, const char *target) {
  static output file;
  sink->out = strcmp(target, "-") == 0 ? &standard_output : &file;
  if (sink->out == &file && !output_open(&file, target, sink->args->force)) return FAILED;
  if (export_text(sink, m)) return output_end(sink->out) ? DONE : FAILED;
  if (sink->out == &file)
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

static int show_exported(const arguments *args, uint64_t n) {
  char keys[40];
  if (args->json)
    output_format(&standard_output, "{\"success\":true,\"exported\":%llu}\n",
                  (unsigned long long)n);
  else if (!args->quiet)
    output_format(&standard_output, "exported %s\n", count_of(n, "key", keys));
  return output_end(&standard_output) ? DONE : FAILED;
}

int command_export(arguments *args) {
  const char *path = args->operand[0], *target = args->operands > 1 ? args->operand[1] : "-",
             *format = format_of(args, target);
  bool to_store = strcmp(format, "maph") == 0, to_file = strcmp(target, "-") != 0;
  sink sink = { .args = args, .json = strcmp(format, "ndjson") == 0 };
  maph *m;
  int status;
  if (target[0] == 0) return complain("the path of the target is empty");
  if (to_store && !to_file)
    return complain("a store is not written to standard output: name a TARGET");
  if (names_store(path, target)) return complain("%s is the store itself", target);
  if (is_beside_a_store(target))
    return complain("%s: that name belongs to the store beside it: choose another", target);
  sink.table.tabs = strcmp(format, "tsv") == 0;
  if (!source_range(args, &sink.range) || !choose_columns(&sink.table, args->columns)
      || (m = store_open(args, path, MAPH_RDONLY)) == NULL)
    return FAILED;
  /* a bar would stand among the entries */
  if (to_file || !standard_output.terminal) progress_start(args, "export");
  status = to_store ? export_to_store(&sink, m, target) : export_to_file(&sink, m, target);
  progress_end();
  status = store_close(m, path, status);
  return status == DONE && to_file ? show_exported(args, sink.n) : status;
}
