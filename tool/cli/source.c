/*
** source.c - the entries that a command goes through: all in the order they were last put, or those
** of a range in the order of their keys, as --sorted, --prefix, --from, --to and --reverse ask for.
*/
#include "cli.h"

bool source_ordered(const arguments *args) {
  return args->sorted || args->reverse || source_bounded(args);
}

bool source_bounded(const arguments *args) { return args->prefix || args->from || args->to; }

bool source_range(arguments *args, maph_range *range) {
  *range = (maph_range)MAPH_RANGE_INIT;
  if (args->reverse) range->flags = MAPH_RANGE_REVERSE;
  return prefix_from(args, &range->prefix) && bounds_from(args, &range->from, &range->to);
}

int source_open(const arguments *args, maph *m, maph_snapshot *snapshot, const maph_range *range,
                source *source) {
  *source = (struct source){ NULL, NULL };
  if (source_ordered(args)) return maph_range_open(m, snapshot, range, &source->ordered);
  return maph_cursor_open(m, snapshot, maph_str(""), &source->any);
}

int source_next(source *source, maph_entry *entry) {
  return source->ordered ? maph_range_next(source->ordered, entry)
                         : maph_cursor_next(source->any, entry);
}

void source_close(source *source) {
  maph_cursor_close(source->any);
  maph_range_close(source->ordered);
}
