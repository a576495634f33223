/*
** scan.c - scan: the keys of a store, and with --values its entries.
*/
#include <stdlib.h>
#include "cli.h"

static void show(const arguments *args, const maph_entry *entry) {
  output *out = &standard_output;
  if (args->json) {
    output_json_entry(out, entry, args->values);
    return;
  }
  if (args->null) {
    output_exact(out, entry->key);
    output_bytes(out, "", 1);
    if (!args->values) return;
    output_exact(out, entry->value);
    output_bytes(out, "", 1);
    return;
  }
  output_escaped(out, entry->key);
  if (args->values) {
    output_bytes(out, "\t", 1);
    output_escaped(out, entry->value);
  }
  output_bytes(out, "\n", 1);
}

static int scan(const arguments *args, maph *m, const maph_range *range) {
  output *out = &standard_output;
  source source;
  maph_entry entry;
  uint64_t n = 0;
  int rc = source_open(args, m, NULL, range, &source);
  while (rc == MAPH_OK && n < args->limit && !out->failed && !stop_asked()
         && (rc = source_next(&source, &entry)) == MAPH_OK) {
    n++;
    if (!args->count) show(args, &entry);
  }
  source_close(&source);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) output_flush(out);
  if ((rc != MAPH_OK && rc != MAPH_NOTFOUND) || stop_asked())
    return store_failed(args->operand[0], rc);
  if (args->count)
    output_format(out, args->json ? "{\"count\":%llu}\n" : "%llu\n", (unsigned long long)n);
  return output_end(out) ? DONE : FAILED;
}

int command_scan(arguments *args) {
  const char *path = args->operand[0];
  maph_range range;
  maph *m;
  if (!source_range(args, &range)) return FAILED;
  m = store_open(args, path, MAPH_RDONLY);
  return m ? store_close(m, path, scan(args, m, &range)) : FAILED;
}
