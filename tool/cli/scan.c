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

static int scan(const arguments *a, maph *m, maph_slice prefix) {
  output *o = &standard_output;
  maph_cursor *c = NULL;
  maph_entry e;
  uint64_t n = 0;
  int rc = maph_cursor_open(m, NULL, prefix, &c);
  while (rc == MAPH_OK && n < a->limit && !o->failed && !stop_asked()
         && (rc = maph_cursor_next(c, &e)) == MAPH_OK) {
    n++;
    if (!a->count) show(a, &e);
  }
  maph_cursor_close(c);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) output_flush(o);
  if ((rc != MAPH_OK && rc != MAPH_NOTFOUND) || stop_asked())
    return store_failed(a->operand[0], rc);
  if (a->count) output_format(o, a->json ? "{\"count\":%llu}\n" : "%llu\n", (unsigned long long)n);
  return output_end(o) ? DONE : FAILED;
}

int command_scan(arguments *a) {
  const char *path = a->operand[0];
  maph_slice prefix;
  maph *m;
  if (!prefix_from(a, &prefix)) return FAILED;
  m = store_open(a, path, MAPH_RDONLY);
  return m ? store_close(m, path, scan(a, m, prefix)) : FAILED;
}
