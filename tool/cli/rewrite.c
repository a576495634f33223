/*
** rewrite.c - compact, optimize, backup, replace: the store written anew.
**
** Readers and writers go on meanwhile.  A signal interrupts the library (stop.c), and all is as it
** was.
*/
#include <stdio.h>
#include "cli.h"

typedef int (*rewrite_fn)(maph *m, const char *target);

static int compact(maph *m, const char *target) {
  (void)target;
  return maph_compact(m, progress_callback, NULL);
}
static int optimize(maph *m, const char *target) {
  (void)target;
  return maph_optimize(m, progress_callback, NULL);
}
static int backup(maph *m, const char *target) {
  return maph_backup(m, target, progress_callback, NULL);
}

static void show_json(const maph_rewrite *r) {
  json_writer out;
  output_json(&standard_output, &out);
  json_write_text(&out, "{");
  entry_write_rewrite(&out, r);
  json_write_text(&out, "}\n");
  json_write_end(&out);
}

static void show(const maph_rewrite *r) {
  output *o = &standard_output;
  char a[40], b[40];
  output_format(o, "%s -> ", bytes_for_people(r->bytes_before, a));
  output_format(o, "%s, %s", bytes_for_people(r->bytes_after, a), count_of(r->records, "key", b));
  if (r->frozen_keys)
    output_format(o, ", %s of them under a perfect hash (%s, %.2f bits a key)",
                  count_for_people(r->frozen_keys, a), entry_perfect_name(r->perfect_hash),
                  r->perfect_bits);
  if (r->swept) output_format(o, ", %s swept", count_of(r->swept, "expired key", a));
  if (r->caught_up)
    output_format(o, ", %s of others taken along", count_of(r->caught_up, "transaction", a));
  output_format(o, "; %.1f s, writers waited %.1f ms\n", (double)r->took_ns / 1e9,
                (double)r->pause_ns / 1e6);
  if (r->note[0]) output_format(o, "%s\n", r->note);
}

static int rewrite(arguments *a, int flags, rewrite_fn run, const char *verb) {
  const char *path = a->operand[0], *target = a->operands > 1 ? a->operand[1] : NULL;
  maph *m = flags == MAPH_RDWR ? store_open_to_rewrite(a, path) : store_open(a, path, flags);
  maph_rewrite result;
  int rc, status = DONE;
  if (m == NULL) return FAILED;
  progress_start(a, verb);
  rc = run(m, target);
  progress_end();
  if (rc == MAPH_OK && file_cut_short()) rc = MAPH_IOERR;
  if (rc == MAPH_OK) rc = maph_rewritten(m, &result);
  if (rc != MAPH_OK) {
    if (rc == MAPH_CANCELLED) note(a, "stopped: nothing was changed");
    status = store_failed(path, rc);
  } else {
    if (a->json)
      show_json(&result);
    else if (!a->quiet)
      show(&result);
  }
  status = store_close(m, path, status);
  return output_end(&standard_output) ? status : FAILED;
}

int command_compact(arguments *a) { return rewrite(a, MAPH_RDWR, compact, "compact"); }
int command_optimize(arguments *a) { return rewrite(a, MAPH_RDWR, optimize, "optimize"); }
int command_backup(arguments *a) {
  if (a->operand[1][0] == 0) return complain("the path of the backup is empty");
  return rewrite(a, MAPH_RDONLY, backup, "backup");
}

int command_replace(arguments *a) {
  const char *path = a->operand[0], *with = a->operand[1];
  int rc;
  if (!store_path(path) || !store_path(with)) return FAILED;
  rc = maph_replace(path, with, (int)a->busy_timeout_ms);
  if (rc == MAPH_CANCELLED) note(a, "stopped: nothing was changed");
  return rc == MAPH_OK ? DONE : store_failed(rc == MAPH_CANTOPEN ? with : path, rc);
}
