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
static int columns(const output *out) {
  return out->terminal ? (int)terminal_width(out->fd) : INT_MAX;
}

/* Marks between brackets. */
static int bar_width(const output *out) {
  int width = columns(out) - 5;
  if (width < BAR_LEAST) return BAR_LEAST;
  return width > BAR_MOST ? BAR_MOST : width;
}

/* A mark for each part that is not empty; the others go, one by one, to the part that lacks most of
** what its size would give it. */
static void draw_bar(output *out, const part *parts, int n, uint64_t total) {
  char bar[BAR_MOST + 1], *at = bar;
  int marks[PARTS_MOST], width = bar_width(out), left = width;
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
  output_format(out, "  [%s]\n", bar);
}

static void draw_file(output *out, const maph_stats *stats) {
  uint64_t known = stats->live_bytes + stats->dead_bytes + stats->index_bytes;
  part parts[] = {
    { "live", "records that a get can find", '#', stats->live_bytes },
    { "index", "leads from keys to records", '=', stats->index_bytes },
    { "dead", "overwritten or deleted; compact gives it back", 'x', stats->dead_bytes },
    { "other", "header, and what is being prepared", '-',
      stats->used_bytes > known ? stats->used_bytes - known : 0 },
    { "room", "set aside to grow into", '.',
      stats->file_bytes > stats->used_bytes ? stats->file_bytes - stats->used_bytes : 0 },
  };
  char room[32];
  enum { PARTS = sizeof parts / sizeof parts[0] };
  draw_bar(out, parts, PARTS, stats->file_bytes);
  for (int i = 0; i < PARTS; i++) {
    double percent =
        stats->file_bytes ? 100.0 * (double)parts[i].bytes / (double)stats->file_bytes : 0;
    output_format(out, "    %c %-6s %9s %5.1f %%", parts[i].mark, parts[i].name,
                  bytes_for_people(parts[i].bytes, room), percent);
    output_format(out, columns(out) < MEANING_LEAST ? "\n" : "   %s\n", parts[i].meaning);
  }
}

static void draw_index(output *out, const maph_stats *stats) {
  char bar[BAR_MOST / 2 + 1], text[256], keys[40], moved[32], later[32];
  int width = bar_width(out) / 2, full = (int)(stats->load_factor * width + 0.5);
  if (full > width) full = width;
  memset(bar, '#', (size_t)full);
  memset(bar + full, '.', (size_t)(width - full));
  bar[width] = 0;
  output_format(out, "\n  index  [%s]", bar);
  snprintf(text, sizeof text, "%.0f %% of its slots taken, in %s", 100 * stats->load_factor,
           count_of(stats->segments, "piece", keys));
  output_wrapped(out, text, (size_t)columns(out), INDENT, (size_t)(INDENT + width + 2));
  output_text(out, "  frozen ");
  if (stats->perfect_hash) {
    snprintf(
        text, sizeof text,
        "%s under a perfect hash (%s%s, %.2f bits a key); %s of them changed since, %s came later",
        count_of(stats->frozen_keys, "key", keys),
        stats->perfect_hash == MAPH_PERFECT_CMPH ? "cmph" : "pilot",
        stats->direct ? ", direct" : "", stats->perfect_bits,
        count_for_people(stats->moved_keys, moved), count_for_people(stats->later_keys, later));
  } else {
    snprintf(text, sizeof text, "no keys: `maph optimize` builds a perfect hash over all of them");
  }
  output_wrapped(out, text, (size_t)columns(out), INDENT, INDENT);
}

static void draw_history(output *out, const maph_stats *stats) {
  char text[256], since[48] = "", uuid[ENTRY_UUID_SIZE];
  if (stats->oldest_version)
    snprintf(since, sizeof since, ", changes kept since %llu",
             (unsigned long long)stats->oldest_version);
  snprintf(text, sizeof text, "version %llu%s; generation %llu; %s %s",
           (unsigned long long)stats->version, since, (unsigned long long)stats->generation,
           stats->versions == MAPH_VERSIONS_GIVEN ? "replica, its source is" : "store",
           entry_uuid_text(stats->uuid, uuid));
  output_text(out, "\n  ");
  output_wrapped(out, text, (size_t)columns(out), 2, 2);
  if (!stats->poisoned) return;
  output_text(out, "\n  ");
  output_wrapped(out,
                 "A flush to disk failed: the store takes no more writes until `maph recover`.",
                 (size_t)columns(out), 2, 2);
}

static void show_picture(const arguments *args, const maph_stats *stats) {
  output *out = &standard_output;
  char room[40];
  output_shown(out, maph_str(args->operand[0]));
  output_format(out, "   %s, ", count_of(stats->records, "key", room));
  output_format(out, "%s\n\n", bytes_for_people(stats->file_bytes, room));
  draw_file(out, stats);
  draw_index(out, stats);
  draw_history(out, stats);
}

static void show_json(const maph_stats *stats) {
  json_writer out;
  output_json(&standard_output, &out);
  json_write_text(&out, "{");
  entry_write_stats(&out, stats);
  json_write_text(&out, "}\n");
  json_write_end(&out);
}

int command_stats(arguments *args) {
  const char *path = args->operand[0];
  maph *m = store_open(args, path, MAPH_RDONLY);
  maph_stats stats;
  int rc, status;
  if (m == NULL) return FAILED;
  memset(&stats, 0, sizeof stats);
  rc = maph_stat(m, &stats);
  if (rc != MAPH_OK)
    status = store_failed(path, rc);
  else {
    if (args->json)
      show_json(&stats);
    else
      show_picture(args, &stats);
    status = output_end(&standard_output) ? DONE : FAILED;
  }
  return store_close(m, path, status);
}
