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
  findings *f = arg;
  output *o = &standard_output;
  if (f->json) {
    output_format(o, "%s{\"offset\":%llu,", f->n ? ",\n" : "\n", (unsigned long long)offset);
    output_json_bytes(o, "detail", "detail_encoding", maph_str(sentence));
    output_text(o, "}");
  } else {
    output_format(o, "offset %llu: ", (unsigned long long)offset);
    output_escaped(o, maph_str(sentence));
    output_text(o, "\n");
  }
  f->n++;
  if (!o->terminal) return o->failed;
  progress_end(); /* the bar comes back below it */
  output_flush(o);
  return o->failed;
}

static int show_sound(const arguments *a, maph *m, uint64_t problems) {
  output *o = &standard_output;
  maph_stats s;
  char records[40], bytes[32];
  memset(&s, 0, sizeof s);
  if (a->json)
    output_format(o, "],\"sound\":%s}\n", problems ? "false" : "true");
  else if (problems)
    output_format(o, "%s; `maph recover` saves what can be read\n",
                  count_of(problems, "problem", records));
  else if (!a->quiet && maph_stat(m, &s) == MAPH_OK) {
    output_format(o, "sound: %s, %s read\n", count_of(s.records, "key", records),
                  bytes_for_people(s.used_bytes, bytes));
  }
  return output_end(o) && problems == 0 ? DONE : FAILED;
}

int command_check(arguments *a) {
  const char *path = a->operand[0];
  findings f = { a->json, 0 };
  maph *m = store_open(a, path, MAPH_RDONLY);
  int rc;
  if (m == NULL) return FAILED;
  progress_start(a, "check");
  if (a->json) output_text(&standard_output, "{\"problems\":[");
  rc = maph_check_progress(m, report, &f, progress_callback, NULL);
  progress_end();
  if (rc == MAPH_CANCELLED) output_flush(&standard_output); /* what was found until then */
  if (rc == MAPH_CANCELLED || (rc != MAPH_OK && f.n == 0))
    return store_close(m, path, store_failed(path, rc));
  return store_close(m, path, show_sound(a, m, f.n));
}

/* -------------------------------------------------------------------------------------- recover */
/* Was the store usable before?  Opening it for reading repairs nothing and tells. */
static bool needs_repair(const char *path) {
  maph *m = NULL;
  int rc = maph_open(path, MAPH_RDONLY, NULL, &m);
  maph_close(m);
  return rc != MAPH_OK;
}

int command_recover(arguments *a) {
  const char *path = a->operand[0];
  output *o = &standard_output;
  findings f = { a->json, 0 };
  bool needed;
  int rc;
  if (!store_path(path)) return FAILED;
  needed = needs_repair(path);
  progress_start(a, "recover");
  if (a->json) output_text(o, "{\"report\":[");
  rc = maph_recover_progress(path, report, &f, progress_callback, NULL);
  progress_end();
  if (rc == MAPH_CANCELLED) note(a, "stopped: nothing was saved into a new file");
  if (rc == MAPH_OK && file_cut_short()) rc = MAPH_IOERR;
  if (a->json)
    output_format(o, "],\"success\":%s,\"result\":\"%s\"}\n", rc == MAPH_OK ? "true" : "false",
                  rc != MAPH_OK ? "failed"
                  : f.n         ? "saved"
                  : needed      ? "repaired"
                                : "sound");
  else if (rc == MAPH_OK && !a->quiet)
    output_text(o, f.n      ? "saved into a new file\n"
                   : needed ? "repaired\n"
                            : "sound: nothing to do\n");
  if (rc != MAPH_OK) {
    output_flush(o);
    return store_failed(path, rc);
  }
  return output_end(o) ? DONE : FAILED;
}
