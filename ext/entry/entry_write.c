/*
** entry_write.c - an entry, a change, and the figures of a store as JSON; and the names of types.
**
** The figures are tables of fields, so that one that is new in maph.h is one line here.
*/
#include <stdio.h>
#include <string.h>
#include "entry/entry.h"
#include "entry/utf8.h"

/* --------------------------------------------------------------------------------------- names */
static const char *const type_names[] = {
  [MAPH_BLOB] = "blob",       [MAPH_TEXT] = "text", [MAPH_JSON] = "json",
  [MAPH_INTEGER] = "integer", [MAPH_REAL] = "real", [MAPH_NULL] = "null",
};
static const char *const key_type_names[] = {
  [MAPH_KEY_BYTES] = "bytes",
  [MAPH_KEY_TEXT] = "text",
  [MAPH_KEY_BLOB] = "blob",
};
static const char *const perfect_names[] = {
  [MAPH_PERFECT_DEFAULT] = "none",
  [MAPH_PERFECT_PILOT] = "pilot",
  [MAPH_PERFECT_CMPH] = "cmph",
};

static int place_of(const char *name, const char *const *names, int count) {
  for (int i = 0; i < count; i++) {
    if (strcmp(name, names[i]) == 0) return i;
  }
  return -1;
}

static const char *name_at(int place, const char *const *names, int count) {
  return names[place >= 0 && place < count ? place : 0];
}

#define COUNT(list) ((int)(sizeof(list) / sizeof((list)[0])))

const char *entry_type_name(int type) { return name_at(type, type_names, COUNT(type_names)); }

int entry_type_from_name(const char *name) { return place_of(name, type_names, COUNT(type_names)); }

const char *entry_key_type_name(int key_type) {
  return name_at(key_type, key_type_names, COUNT(key_type_names));
}

int entry_key_type_from_name(const char *name) {
  return place_of(name, key_type_names, COUNT(key_type_names));
}

const char *entry_perfect_name(int perfect_hash) {
  return name_at(perfect_hash, perfect_names, COUNT(perfect_names));
}

int entry_type_of_bytes(maph_slice value) { return utf8_is_text(value) ? MAPH_TEXT : MAPH_BLOB; }

const char *entry_uuid_text(const uint8_t *uuid, char room[ENTRY_UUID_SIZE]) {
  char *to = room;
  for (int i = 0; i < 16; i++) {
    bool hyphen = i == 4 || i == 6 || i == 8 || i == 10;
    to += snprintf(to, 4, hyphen ? "-%02x" : "%02x", uuid[i]);
  }
  return room;
}

/* ------------------------------------------------------------------------------------- entries */
void entry_write(json_writer *out, const maph_entry *entry, bool with_value) {
  json_write_bytes(out, "key", "key_encoding", entry->key);
  if (entry->key_type == MAPH_KEY_TEXT) json_write_text(out, ",\"key_is_text\":true");
  if (entry->key_type == MAPH_KEY_BLOB) json_write_text(out, ",\"key_is_text\":false");
  if (with_value) {
    json_write_raw(out, ",", 1);
    json_write_bytes(out, "value", "encoding", entry->value);
  }
  json_write_text(out, ",\"version\":");
  json_write_number(out, entry->version);
  json_write_text(out, ",\"size\":");
  json_write_number(out, entry->value.size);
  json_write_text(out, ",\"type\":\"");
  json_write_text(out, entry_type_name(entry->type));
  json_write_raw(out, "\"", 1);
  if (entry->media_type.size > 0) {
    json_write_raw(out, ",", 1);
    json_write_bytes(out, "media_type", "media_type_encoding", entry->media_type);
  }
  if (entry->expires > 0) {
    json_write_text(out, ",\"expires_at\":");
    json_write_number(out, entry->expires);
  }
}

void entry_write_change(json_writer *out, const maph_change *change, bool with_value) {
  if (!change->deleted) {
    json_write_text(out, "\"op\":\"put\",");
    entry_write(out, &change->entry, with_value);
  } else {
    json_write_text(out, "\"op\":\"delete\",");
    json_write_bytes(out, "key", "key_encoding", change->entry.key);
    json_write_text(out, ",\"version\":");
    json_write_number(out, change->entry.version);
    if (change->entry.expires > 0) json_write_text(out, ",\"expired\":true");
  }
}

/* ------------------------------------------------------------------------------------- figures */
enum figure_kind { WHOLE, RATIO, BITS, YES_OR_NO, UUID, VERSIONS, PERFECT, NOTE };
typedef struct figure {
  const char *name;
  size_t offset;
  enum figure_kind kind;
} figure;

#define STATS(name, field, kind) \
  { name, offsetof(maph_stats, field), kind }
static const figure stats_figures[] = {
  STATS("size", records, WHOLE),
  STATS("load_factor", load_factor, RATIO),
  STATS("bytes", file_bytes, WHOLE),
  STATS("used_bytes", used_bytes, WHOLE),
  STATS("live_bytes", live_bytes, WHOLE),
  STATS("dead_bytes", dead_bytes, WHOLE),
  STATS("index_bytes", index_bytes, WHOLE),
  STATS("version", version, WHOLE),
  STATS("generation", generation, WHOLE),
  STATS("flushed_bytes", flushed_bytes, WHOLE),
  STATS("segments", segments, WHOLE),
  STATS("poisoned", poisoned, YES_OR_NO),
  STATS("oldest_version", oldest_version, WHOLE),
  STATS("perfect_hash", perfect_hash, PERFECT),
  STATS("direct", direct, YES_OR_NO),
  STATS("frozen_keys", frozen_keys, WHOLE),
  STATS("moved_keys", moved_keys, WHOLE),
  STATS("later_keys", later_keys, WHOLE),
  STATS("frozen_bytes", frozen_bytes, WHOLE),
  STATS("perfect_bits", perfect_bits, BITS),
  STATS("order_bytes", order_bytes, WHOLE),
  STATS("order_runs", order_runs, WHOLE),
  STATS("uuid", uuid, UUID),
  STATS("versions", versions, VERSIONS),
};

#define REWRITE(field, kind) \
  { #field, offsetof(maph_rewrite, field), kind }
static const figure rewrite_figures[] = {
  REWRITE(bytes_before, WHOLE),
  REWRITE(bytes_after, WHOLE),
  REWRITE(records, WHOLE),
  REWRITE(swept, WHOLE),
  REWRITE(caught_up, WHOLE),
  REWRITE(frozen_keys, WHOLE),
  REWRITE(perfect_hash, PERFECT),
  REWRITE(direct, YES_OR_NO),
  REWRITE(perfect_bits, BITS),
  REWRITE(took_ns, WHOLE),
  REWRITE(pause_ns, WHOLE),
  REWRITE(memory_bytes, WHOLE),
  REWRITE(note, NOTE),
};

static void write_text(json_writer *out, const char *text) {
  json_write_string(out, maph_str(text));
}

static void write_figure(json_writer *out, const void *field, enum figure_kind kind) {
  char uuid[ENTRY_UUID_SIZE];
  switch (kind) {
    case WHOLE: json_write_number(out, *(const uint64_t *)field); break;
    case RATIO: json_write_decimals(out, *(const double *)field, 4); break;
    case BITS: json_write_decimals(out, *(const double *)field, 3); break;
    case YES_OR_NO: json_write_text(out, *(const int *)field ? "true" : "false"); break;
    case UUID: write_text(out, entry_uuid_text(field, uuid)); break;
    case VERSIONS:
      write_text(out, *(const int *)field == MAPH_VERSIONS_GIVEN ? "given" : "own");
      break;
    case PERFECT: write_text(out, entry_perfect_name(*(const int *)field)); break;
    case NOTE: json_write_bytes(out, "note", "note_encoding", maph_str(field)); break;
  }
}

static void write_figures(json_writer *out, const void *facts, const figure *figures, int count) {
  for (int i = 0; i < count; i++) {
    if (i > 0) json_write_raw(out, ",", 1);
    if (figures[i].kind != NOTE) {
      write_text(out, figures[i].name);
      json_write_raw(out, ":", 1);
    }
    write_figure(out, (const char *)facts + figures[i].offset, figures[i].kind);
  }
}

void entry_write_stats(json_writer *out, const maph_stats *stats) {
  write_figures(out, stats, stats_figures, COUNT(stats_figures));
}

void entry_write_rewrite(json_writer *out, const maph_rewrite *rewrite) {
  write_figures(out, rewrite, rewrite_figures, COUNT(rewrite_figures));
}
