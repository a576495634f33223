/*
** check.c - check and recover: what is wrong with a store, and making it usable again.
**
** A signal interrupts the library (stop.c).  A recovery that was stopped, or killed, leaves the
** store as it was, or repaired in place.
*/
#include "cli.h"

typedef struct findings {
  bool json;
  uint64_t n;
} findings;

static int report(void *arg, uint64_t offset, const char *sentence) {
  findings *findings = arg;
  output *out = &standard_output;
  if (findings->json) {
    output_format(out, "%s{\"offset\":%llu,", findings->n ? ",\n" : "\n",
                  (unsigned long long)offset);
    output_json_bytes(out, "detail", "detail_encoding", maph_str(sentence));
    output_text(out, "}");
  } else {
    output_format(out, "offset %llu: ", (unsigned long long)offset);
    output_escaped(out, maph_str(sentence));
    output_text(out, "\n");
  }
  findings->n++;
  if (!out->terminal) return out->failed;
  progress_end(); /* the bar comes back below it */
  output_flush(out);
  return out->failed;
}

static int show_sound(const arguments *args, maph *m, uint64_t problems) {
  output *out = &standard_output;
  maph_stats stats;
  char records[40], bytes[32];
  memset(&stats, 0, sizeof stats);
  if (args->json)
    output_format(out, "],\"sound\":%s}\n", problems ? "false" : "true");
  else if (problems)
    output_format(out, "%s; `maph recover` saves what can be read\n",
                  count_of(problems, "problem", records));
  else if (!args->quiet && maph_stat(m, &stats) == MAPH_OK) {
    output_format(out, "sound: %s, %s read\n", count_of(stats.records, "key", records),
                  bytes_for_people(stats.used_bytes, bytes));
  }
  return output_end(out) && problems == 0 ? DONE : FAILED;
}

int command_check(arguments *args) {
  const char *path = args->operand[0];
  findings findings = { args->json, 0 };
  maph *m = store_open(args, path, MAPH_RDONLY);
  int rc;
  if (m == NULL) return FAILED;
  progress_start(args, "check");
  if (args->json) output_text(&standard_output, "{\"problems\":[");
  rc = maph_check_progress(m, report, &findings, progress_callback, NULL);
  progress_end();
  if (rc == MAPH_CANCELLED) output_flush(&standard_output); /* what was found until then */
  if (rc == MAPH_CANCELLED || (rc != MAPH_OK && findings.n == 0))
    return store_close(m, path, store_failed(path, rc));
  return store_close(m, path, show_sound(args, m, findings.n));
}

/* -------------------------------------------------------------------------------------- recover */
/* Was the store usable before?  Opening it for reading repairs nothing and tells. */
static bool needs_repair(const char *path) {
  maph *m = NULL;
  int rc = maph_open(path, MAPH_RDONLY, NULL, &m);
  maph_close(m);
  return rc != MAPH_OK;
}

/* What became of a store, as JSON and as a line. */
typedef struct recovered {
  const char *name, *line;
} recovered;
static const recovered saved = { "saved", "saved into a new file\n" },
                       repaired = { "repaired", "repaired\n" },
                       sound = { "sound", "sound: nothing to do\n" };

int command_recover(arguments *args) {
  const char *path = args->operand[0];
  output *out = &standard_output;
  findings findings = { args->json, 0 };
  const recovered *now;
  int rc;
  if (!store_path(path)) return FAILED;
  now = needs_repair(path) ? &repaired : &sound;
  progress_start(args, "recover");
  if (args->json) output_text(out, "{\"report\":[");
  rc = maph_recover_progress(path, report, &findings, progress_callback, NULL);
  progress_end();
  if (rc == MAPH_CANCELLED) note(args, "stopped: nothing was saved into a new file");
  if (rc == MAPH_OK && file_cut_short()) rc = FILE_CUT_SHORT;
  if (findings.n) now = &saved;
  if (args->json)
    output_format(out, "],\"success\":%s,\"result\":\"%s\"}\n", rc == MAPH_OK ? "true" : "false",
                  rc == MAPH_OK ? now->name : "failed");
  else if (rc == MAPH_OK && !args->quiet)
    output_text(out, now->line);
  if (rc != MAPH_OK) {
    output_flush(out);
    return store_failed(path, rc);
  }
  return output_end(out) ? DONE : FAILED;
}
