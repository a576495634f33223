/*
** stats.c - stats: what is in the file, drawn so that a person sees it.
*/
#include <stdio.h>
#include "cli.h"

enum { WIDTH = 64, PARTS_MOST = 8 };

typedef struct part {
  const char *name, *meaning;
  char        mark;
  uint64_t    bytes;
} part;

/* A mark for each part that is not empty; the others go, one by one, to the part that lacks most of what its size would give it. */
static void draw_bar(output *o, const part *parts, int n, uint64_t total){
  char bar[WIDTH + 1], *at = bar;
  int marks[PARTS_MOST], left = WIDTH;
  for(int i = 0; i < n; i++) left -= marks[i] = parts[i].bytes > 0;
  for(; left > 0; left--){
    int most = 0;
    double lacks = -WIDTH;
    for(int i = 0; i < n; i++){
      double lack = total ? (double)parts[i].bytes/(double)total*WIDTH - marks[i] : 0;
      if( lack > lacks ){ lacks = lack; most = i; }
    }
    marks[most]++;
  }
  for(int i = 0; i < n; i++){
    memset(at, parts[i].mark, (size_t)marks[i]);
    at += marks[i];
  }
  bar[WIDTH] = 0;
  output_format(o, "  [%s]\n", bar);
}

static void draw_file(output *o, const maph_stats *s){
  uint64_t known = s->live_bytes + s->dead_bytes + s->index_bytes;
  part parts[] = {
    { "live", "records that a get can find", '#', s->live_bytes },
    { "index", "leads from keys to records", '=', s->index_bytes },
    { "dead", "overwritten or deleted; compact gives it back", 'x', s->dead_bytes },
    { "other", "header, and what is being prepared", '-', s->used_bytes > known ? s->used_bytes - known : 0 },
    { "room", "set aside to grow into", '.', s->file_bytes > s->used_bytes ? s->file_bytes - s->used_bytes : 0 },
  };
  char room[32];
  enum { PARTS = sizeof parts/sizeof parts[0] };
  draw_bar(o, parts, PARTS, s->file_bytes);
  for(int i = 0; i < PARTS; i++){
    double percent = s->file_bytes ? 100.0*(double)parts[i].bytes/(double)s->file_bytes : 0;
    output_format(o, "    %c %-6s %9s %5.1f %%   %s\n", parts[i].mark, parts[i].name, bytes_for_people(parts[i].bytes, room), percent, parts[i].meaning);
  }
}

static void draw_index(output *o, const maph_stats *s){
  char keys[40], moved[32], later[32];
  int full = (int)(s->load_factor*WIDTH/2 + 0.5);
  if( full > WIDTH/2 ) full = WIDTH/2;
  output_format(o, "\n  index  [%.*s%.*s] %.0f %% of its slots taken, in %s\n", full, "################################", WIDTH/2 - full,
                "................................", 100*s->load_factor, count_of(s->segments, "piece", keys));
  if( s->perfect_hash ){
    output_format(o, "  frozen %s under a perfect hash (%s%s, %.2f bits a key); %s of them changed since, %s came later\n",
                  count_of(s->frozen_keys, "key", keys), s->perfect_hash==MAPH_PERFECT_CMPH ? "cmph" : "pilot", s->direct ? ", direct" : "",
                  s->perfect_bits, count_for_people(s->moved_keys, moved), count_for_people(s->later_keys, later));
  }else{
    output_text(o, "  frozen no keys: `maph optimize` builds a perfect hash over all of them\n");
  }
}

static void show_uuid(output *o, const uint8_t *uuid){
  for(int i = 0; i < 16; i++) output_format(o, i==4 || i==6 || i==8 || i==10 ? "-%02x" : "%02x", uuid[i]);
}

static void show_picture(const arguments *a, const maph_stats *s){
  output *o = &standard_output;
  char room[40];
  output_shown(o, maph_str(a->operand[0]));
  output_format(o, "   %s, ", count_of(s->records, "key", room));
  output_format(o, "%s\n\n", bytes_for_people(s->file_bytes, room));
  draw_file(o, s);
  draw_index(o, s);
  output_format(o, "\n  version %llu", (unsigned long long)s->version);
  if( s->oldest_version ) output_format(o, ", changes kept since %llu", (unsigned long long)s->oldest_version);
  output_format(o, "; generation %llu; store ", (unsigned long long)s->generation);
  show_uuid(o, s->uuid);
  output_text(o, "\n");
  if( s->poisoned ) output_text(o, "\n  A flush to disk failed: the store takes no more writes until `maph recover`.\n");
}

static void show_json(const maph_stats *s){
  static const char *const perfect[] = { "none", "pilot", "cmph" };
  output *o = &standard_output;
  output_format(o, "{\"size\":%llu,\"load_factor\":%.4f,\"bytes\":%llu,\"used_bytes\":%llu,\"live_bytes\":%llu,\"dead_bytes\":%llu,\"index_bytes\":%llu,",
                (unsigned long long)s->records, s->load_factor, (unsigned long long)s->file_bytes, (unsigned long long)s->used_bytes,
                (unsigned long long)s->live_bytes, (unsigned long long)s->dead_bytes, (unsigned long long)s->index_bytes);
  output_format(o, "\"version\":%llu,\"oldest_version\":%llu,\"generation\":%llu,\"flushed_bytes\":%llu,\"segments\":%llu,\"poisoned\":%s,",
                (unsigned long long)s->version, (unsigned long long)s->oldest_version, (unsigned long long)s->generation,
                (unsigned long long)s->flushed_bytes, (unsigned long long)s->segments, s->poisoned ? "true" : "false");
  output_format(o, "\"perfect_hash\":\"%s\",\"direct\":%s,\"frozen_keys\":%llu,\"moved_keys\":%llu,\"later_keys\":%llu,\"frozen_bytes\":%llu,\"perfect_bits\":%.3f,\"uuid\":\"",
                perfect[s->perfect_hash==MAPH_PERFECT_PILOT || s->perfect_hash==MAPH_PERFECT_CMPH ? s->perfect_hash : 0], s->direct ? "true" : "false",
                (unsigned long long)s->frozen_keys, (unsigned long long)s->moved_keys, (unsigned long long)s->later_keys,
                (unsigned long long)s->frozen_bytes, s->perfect_bits);
  show_uuid(o, s->uuid);
  output_text(o, "\"}\n");
}

int command_stats(arguments *a){
  const char *path = a->operand[0];
  maph *m = store_open(a, path, MAPH_RDONLY);
  maph_stats s;
  int rc, status;
  if( m==NULL ) return FAILED;
  memset(&s, 0, sizeof s);
  rc = maph_stat(m, &s);
  if( rc!=MAPH_OK ) status = store_failed(path, rc);
  else{
    if( a->json ) show_json(&s);
    else show_picture(a, &s);
    status = output_end(&standard_output) ? DONE : FAILED;
  }
  return store_close(m, path, status);
}
