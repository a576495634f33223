/*
** scan.c - scan: the keys of a store, and with --values its entries.
*/
#include <stdlib.h>
#include "cli.h"

static void show(const arguments *a, const maph_entry *e) {
  output *o = &standard_output;
  if (a->json) {
    output_json_entry(o, e, a->values);
    return;
  }
  if (a->null) {
    output_exact(o, e->key);
    output_bytes(o, "", 1);
    if (!a->values) return;
    output_exact(o, e->value);
    output_bytes(o, "", 1);
    return;
  }
  output_escaped(o, e->key);
  if (a->values) {
    output_bytes(o, "\t", 1);
    output_escaped(o, e->value);
  }
  output_bytes(o, "\n", 1);
}

/* The entries one after the other, from either kind of cursor. */
typedef struct source {
  maph_cursor *any;
  maph_range_cursor *ordered;
} source;

static int next(source *s, maph_entry *e) {
  return s->ordered ? maph_range_next(s->ordered, e) : maph_cursor_next(s->any, e);
}

static int open_source(const arguments *a, maph *m, const maph_range *range, source *s) {
  *s = (source){ NULL, NULL };
  if (a->prefix || a->from || a->to || a->reverse || a->sorted)
    return maph_range_open(m, NULL, range, &s->ordered);
  return maph_cursor_open(m, NULL, maph_str(""), &s->any);
}

static int scan(const arguments *a, maph *m, const maph_range *range) {
  output *o = &standard_output;
  source s;
  maph_entry e;
  uint64_t n = 0;
  int rc = open_source(a, m, range, &s);
  while (rc == MAPH_OK && n < a->limit && !o->failed && !stop_asked()
         && (rc = next(&s, &e)) == MAPH_OK) {
    n++;
    if (!a->count) show(a, &e);
  }
  maph_cursor_close(s.any);
  maph_range_close(s.ordered);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) output_flush(o);
  if ((rc != MAPH_OK && rc != MAPH_NOTFOUND) || stop_asked())
    return store_failed(a->operand[0], rc);
  if (a->count) output_format(o, a->json ? "{\"count\":%llu}\n" : "%llu\n", (unsigned long long)n);
  return output_end(o) ? DONE : FAILED;
}

int command_scan(arguments *a) {
  const char *path = a->operand[0];
  maph_range range = MAPH_RANGE_INIT;
  maph *m;
  if (!prefix_from(a, &range.prefix) || !bounds_from(a, &range.from, &range.to)) return FAILED;
  if (a->reverse) range.flags = MAPH_RANGE_REVERSE;
  m = store_open(a, path, MAPH_RDONLY);
  return m ? store_close(m, path, scan(a, m, &range)) : FAILED;
}
