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

static void show_json(const maph_rewrite *rewrite) {
  json_writer out;
  output_json(&standard_output, &out);
  json_write_text(&out, "{");
  entry_write_rewrite(&out, rewrite);
  json_write_text(&out, "}\n");
  json_write_end(&out);
}

static void show(const maph_rewrite *rewrite) {
  output *out = &standard_output;
  char a[40], b[40];
  output_format(out, "%s -> ", bytes_for_people(rewrite->bytes_before, a));
  output_format(out, "%s, %s", bytes_for_people(rewrite->bytes_after, a),
                count_of(rewrite->records, "key", b));
  if (rewrite->frozen_keys)
    output_format(out, ", %s of them under a perfect hash (%s, %.2f bits a key)",
                  count_for_people(rewrite->frozen_keys, a),
                  entry_perfect_name(rewrite->perfect_hash), rewrite->perfect_bits);
  if (rewrite->swept) output_format(out, ", %s swept", count_of(rewrite->swept, "expired key", a));
  if (rewrite->caught_up)
    output_format(out, ", %s of others taken along",
                  count_of(rewrite->caught_up, "transaction", a));
  output_format(out, "; %.1f s, writers waited %.1f ms\n", (double)rewrite->took_ns / 1e9,
                (double)rewrite->pause_ns / 1e6);
  if (rewrite->note[0]) output_format(out, "%s\n", rewrite->note);
}

static int rewrite(arguments *args, int flags, rewrite_fn run, const char *verb) {
  const char *path = args->operand[0], *target = args->operands > 1 ? args->operand[1] : NULL;
  maph *m = flags == MAPH_RDWR ? store_open_to_rewrite(args, path) : store_open(args, path, flags);
  maph_rewrite result;
  int rc, status = DONE;
  if (m == NULL) return FAILED;
  progress_start(args, verb);
  rc = run(m, target);
  progress_end();
  if (rc == MAPH_OK && file_cut_short()) rc = FILE_CUT_SHORT;
  if (rc == MAPH_OK) rc = maph_rewritten(m, &result);
  if (rc != MAPH_OK) {
    if (rc == MAPH_CANCELLED) note(args, "stopped: nothing was changed");
    status = store_failed(path, rc);
  } else {
    if (args->json)
      show_json(&result);
    else if (!args->quiet)
      show(&result);
  }
  status = store_close(m, path, status);
  return output_end(&standard_output) ? status : FAILED;
}

int command_compact(arguments *args) { return rewrite(args, MAPH_RDWR, compact, "compact"); }
int command_optimize(arguments *args) { return rewrite(args, MAPH_RDWR, optimize, "optimize"); }
int command_backup(arguments *args) {
  if (args->operand[1][0] == 0) return complain("the path of the backup is empty");
  return rewrite(args, MAPH_RDONLY, backup, "backup");
}

int command_replace(arguments *args) {
  const char *path = args->operand[0], *with = args->operand[1];
  int rc;
  if (!store_path(path) || !store_path(with)) return FAILED;
  rc = maph_replace(path, with, (int)args->busy_timeout_ms);
  if (rc == MAPH_CANCELLED) note(args, "stopped: nothing was changed");
  return rc == MAPH_OK ? DONE : store_failed(rc == MAPH_CANTOPEN ? with : path, rc);
}
