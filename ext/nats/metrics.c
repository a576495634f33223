/*
** metrics.c - see metrics.h.
*/
#include "nats/metrics.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "nats/option.h"
#include "nats/replica.h"

enum { METRICS_MS = 5000 };

/* A label's value: as the format of Prometheus has it. */
static void add_label(FILE *file, const char *text) {
  for (; *text; text++) {
    if (*text == '\n')
      fputs("\\n", file);
    else {
      if (*text == '"' || *text == '\\') fputc('\\', file);
      fputc(*text, file);
    }
  }
}

void metrics_add(FILE *file, const metric *metric, const char *bucket, const char *path,
                 double value) {
  const char *prefix = metric->prefix, *name = metric->name;
  fprintf(file, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, metric->help, prefix, name,
          metric->counts ? "counter" : "gauge");
  fprintf(file, "%s%s{bucket=\"", prefix, name);
  add_label(file, bucket);
  fputs("\",file=\"", file);
  add_label(file, path);
  fprintf(file, "\"} %.15g\n", value);
}

/* False: errno says why. */
static bool replace(const char *to, metrics_writer writer, const char *path) {
  char *other = NULL;
  FILE *file;
  bool ok;
  if (asprintf(&other, "%s.%d", to, (int)getpid()) < 0) return false;
  file = fopen(other, "we");
  ok = file != NULL;
  if (file) {
    ok = writer(file, path);
    ok = fclose(file) == 0 && ok && rename(other, to) == 0;
    if (!ok) unlink(other);
  }
  free(other);
  return ok;
}

void metrics_tick(metrics_writer writer, const char *path) {
  static unsigned long long written;
  static bool told;
  if (option.metrics_file == NULL || (written && ticks_ms() - written < METRICS_MS)) return;
  written = ticks_ms();
  if (replace(option.metrics_file, writer, path)) {
    told = false;
  } else if (!told) {
    told = true;
    note("%s: cannot be written: %s", option.metrics_file, strerror(errno));
  }
}
