/*
** ndjson.c - a line of NDJSON as an entry to be put; entry.h says what may stand on it.
**
** The line lies in the buffer of its input, which the next line will overwrite.  So what the reader
** took from where it lies is copied.
*/
#include "cli.h"

/* Into the arena, unless it is there already. */
static bool keep(maph_slice line, maph_slice bytes, arena *arena, maph_slice *kept) {
  uintptr_t start = (uintptr_t)line.data, at = (uintptr_t)bytes.data;
  *kept = bytes;
  return at < start || at >= start + line.size || arena_copy(arena, bytes, kept);
}

const char *ndjson_row(maph_slice line, arena *arena, row *row, char room[JSON_SENTENCE_ROOM]) {
  static const entry_rules rules = { ENTRY_PUT, wall_ms };
  json_reader in = json_begin(line);
  entry_operation put;
  const maph_condition *condition = &put.condition;
  memset(row, 0, sizeof *row);
  if (!entry_read_line(&in, &rules, arena, &put)) {
    json_sentence(&in, room);
    return room;
  }
  if (!keep(line, put.key, arena, &row->key) || !keep(line, put.value, arena, &row->value)
      || !keep(line, condition->media_type, arena, &row->media_type))
    return "out of memory";
  row->expires = condition->expires;
  row->type = condition->type;
  row->key_type = condition->key_type;
  row->when = condition->when;
  return NULL;
}
