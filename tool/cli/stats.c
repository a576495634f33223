/*
** stats.c - stats: what is in the file, drawn so that a person sees it.
*/
#include <limits.h>
#include <stdio.h>
#include "cli.h"

enum { BAR_MOST = 64, BAR_LEAST = 10, PARTS_MOST = 8, MEANING_LEAST = 80, INDENT = 9 };

typedef struct part {
  const char *name, *meaning;
  char mark;
  uint64_t bytes;
} part;

/* A pipe is as wide as the longest line. */
static int columns(const output *o) { return o->terminal ? (int)terminal_width(o->fd) : INT_MAX; }

/* Marks between brackets. */
static int bar_width(const output *o) {
  int width = columns(o) - 5;
  return width < BAR_LEAST ? BAR_LEAST : width > BAR_MOST ? BAR_MOST : width;
}

/* A mark for each part that is not empty; the others go, one by one, to the part that lacks most of
** what its size would give it. */
static void draw_bar(output *o, const part *parts, int n, uint64_t total) {
  char bar[BAR_MOST + 1], *at = bar;
  int marks[PARTS_MOST], width = bar_width(o), left = width;
  for (int i = 0; i < n; i++) left -= marks[i] = parts[i].bytes > 0;
  for (; left > 0; left--) {
    int most = 0;
    double lacks = -BAR_MOST;
    for (int i = 0; i < n; i++) {
      double lack = total ? (double)parts[i].bytes / (double)total * width - marks[i] : 0;
      if (lack > lacks) {
        lacks = lack;
        most = i;
      }
    }
    marks[most]++;
  }
  for (int i = 0; i < n; i++) {
    memset(at, parts[i].mark, (size_t)marks[i]);
    at += marks[i];
  }
  *at = 0;
  output_format(o, "  [%s]\n", bar);
}

static void draw_file(output *o, const maph_stats *s) {
  uint64_t known = s->live_bytes + s->dead_bytes + s->index_bytes;
  part parts[] = {
    { "live", "records that a get can find", '#', s->live_bytes },
    { "index", "leads from keys to records", '=', s->index_bytes },
    { "dead", "overwritten or deleted; compact gives it back", 'x', s->dead_bytes },
    { "other", "header, and what is being prepared", '-',
      s->used_bytes > known ? s->used_bytes - known : 0 },
    { "room", "set aside to grow into", '.',
      s->file_bytes > s->used_bytes ? s->file_bytes - s->used_bytes : 0 },
  };
  char room[32];
  enum { PARTS = sizeof parts / sizeof parts[0] };
  draw_bar(o, parts, PARTS, s->file_bytes);
  for (int i = 0; i < PARTS; i++) {
    double percent = s->file_bytes ? 100.0 * (double)parts[i].bytes / (double)s->file_bytes : 0;
    output_format(o, "    %c %-6s %9s %5.1f %%", parts[i].mark, parts[i].name,
                  bytes_for_people(parts[i].bytes, room), percent);
    output_format(o, columns(o) < MEANING_LEAST ? "\n" : "   %s\n", parts[i].meaning);
  }
}

static void draw_index(output *o, const maph_stats *s) {
  char bar[BAR_MOST / 2 + 1], text[256], keys[40], moved[32], later[32];
  int width = bar_width(o) / 2, full = (int)(s->load_factor * width + 0.5);
  if (full > width) full = width;
  memset(bar, '#', (size_t)full);
  memset(bar + full, '.', (size_t)(width - full));
  bar[width] = 0;
  output_format(o, "\n  index  [%s]", bar);
  snprintf(text, sizeof text, "%.0f %% of its slots taken, in %s", 100 * s->load_factor,
           count_of(s->segments, "piece", keys));
  output_wrapped(o, text, (size_t)columns(o), INDENT, (size_t)(INDENT + width + 2));
  output_text(o, "  frozen ");
  if (s->perfect_hash) {
    snprintf(
        text, sizeof text,
        "%s under a perfect hash (%s%s, %.2f bits a key); %s of them changed since, %s came later",
        count_of(s->frozen_keys, "key", keys),
        s->perfect_hash == MAPH_PERFECT_CMPH ? "cmph" : "pilot", s->direct ? ", direct" : "",
        s->perfect_bits, count_for_people(s->moved_keys, moved),
        count_for_people(s->later_keys, later));
  } else {
    snprintf(text, sizeof text, "no keys: `maph optimize` builds a perfect hash over all of them");
  }
  output_wrapped(o, text, (size_t)columns(o), INDENT, INDENT);
}

static void draw_history(output *o, const maph_stats *s) {
  char text[256], since[48] = "", uuid[ENTRY_UUID_SIZE];
  if (s->oldest_version)
    snprintf(since, sizeof since, ", changes kept since %llu",
             (unsigned long long)s->oldest_version);
  snprintf(text, sizeof text, "version %llu%s; generation %llu; store %s",
           (unsigned long long)s->version, since, (unsigned long long)s->generation,
           entry_uuid_text(s->uuid, uuid));
  output_text(o, "\n  ");
  output_wrapped(o, text, (size_t)columns(o), 2, 2);
  if (!s->poisoned) return;
  output_text(o, "\n  ");
  output_wrapped(o, "A flush to disk failed: the store takes no more writes until `maph recover`.",
                 (size_t)columns(o), 2, 2);
}

static void show_picture(const arguments *a, const maph_stats *s) {
  output *o = &standard_output;
  char room[40];
  output_shown(o, maph_str(a->operand[0]));
  output_format(o, "   %s, ", count_of(s->records, "key", room));
  output_format(o, "%s\n\n", bytes_for_people(s->file_bytes, room));
  draw_file(o, s);
  draw_index(o, s);
  draw_history(o, s);
}

static void show_json(const maph_stats *s) {
  json_writer out;
  output_json(&standard_output, &out);
  json_write_text(&out, "{");
  entry_write_stats(&out, s);
  json_write_text(&out, "}\n");
  json_write_end(&out);
}

int command_stats(arguments *a) {
  const char *path = a->operand[0];
  maph *m = store_open(a, path, MAPH_RDONLY);
  maph_stats s;
  int rc, status;
  if (m == NULL) return FAILED;
  memset(&s, 0, sizeof s);
  rc = maph_stat(m, &s);
  if (rc != MAPH_OK)
    status = store_failed(path, rc);
  else {
    if (a->json)
      show_json(&s);
    else
      show_picture(a, &s);
    status = output_end(&standard_output) ? DONE : FAILED;
  }
  return store_close(m, path, status);
}
