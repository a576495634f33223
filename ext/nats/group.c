/*
** group.c - which messages of a bucket belong together (group.h).
*/
#include <string.h>
#include "entry/json.h"
#include "nats/group.h"

#define VERSION_MOST ((UINT64_C(1) << 48) - 1)

txn_part group_read(maph_slice header, uint64_t *version) {
  static const char mark[] = ";last";
  const char *text = header.data, *end = text ? memchr(text, ';', header.size) : NULL;
  size_t digits = end ? (size_t)(end - text) : header.size, rest = header.size - digits;
  *version = 0;
  if (text == NULL || !json_whole_number(maph_bytes(text, digits), VERSION_MOST, version))
    return TXN_NONE;
  if (rest == 0) return TXN_PART;
  return rest == sizeof mark - 1 && memcmp(end, mark, rest) == 0 ? TXN_LAST : TXN_NONE;
}

void group_hole(group *g) { g->hole = true; }

void group_take(group *g, txn_part part, size_t size, unsigned long long now_ms) {
  g->came_ms = now_ms;
  if (part == TXN_NONE && g->open) g->torn++;
  if (part != TXN_NONE) g->published = true;
  g->bytes = g->open ? g->bytes + size : size;
  g->open = part == TXN_PART;
}

bool group_asks(const group *g, uint64_t at) { return g->published && g->hole && at >= g->cover; }

void group_cover(group *g, uint64_t last) {
  g->cover = last;
  g->hole = false;
}

bool group_is_whole(const group *g, uint64_t at) {
  return !g->open && (!g->published || (!g->hole && at >= g->cover));
}

bool group_is_overdue(const group *g, unsigned long long now_ms, uint64_t patience_ms) {
  return (g->open && g->bytes > GROUP_BYTES) || now_ms - g->came_ms >= patience_ms;
}

void group_give_up(group *g) {
  g->torn++;
  g->open = g->hole = false;
  g->cover = 0;
}
