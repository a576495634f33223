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

void group_hole(group *group, uint64_t behind) {
  group->hole = true;
  group->behind = behind;
}

void group_take(group *group, txn_part part, size_t size, uint64_t behind,
                unsigned long long now_ms) {
  group->came_ms = now_ms;
  if (group->behind > 0) group->behind--;
  if (group->behind > behind) group->behind = behind; /* of those, some were superseded */
  if (part == TXN_NONE && group->open) group->torn++;
  if (part != TXN_NONE) group->published = true;
  group->bytes = group->open ? group->bytes + size : size;
  group->open = part == TXN_PART;
}

void group_at_rest(group *group) { group->behind = 0; }

bool group_asks(const group *group, uint64_t at, unsigned long long now_ms) {
  if (!group->published || !group->hole || at < group->cover) return false;
  return !group->replicated || (group->behind == 0 && now_ms >= group->again_ms);
}

void group_cover(group *group, uint64_t at, uint64_t last, unsigned long long now_ms) {
  if (group->replicated && last < at) {
    group->again_ms = now_ms + GROUP_AGAIN_MS;
    return;
  }
  group->cover = last;
  group->hole = false;
}

bool group_is_whole(const group *group, uint64_t at) {
  return !group->open && (!group->published || (!group->hole && at >= group->cover));
}

bool group_is_overdue(const group *group, unsigned long long now_ms, uint64_t patience_ms) {
  return (group->open && group->bytes > GROUP_BYTES) || now_ms - group->came_ms >= patience_ms;
}

void group_give_up(group *group) {
  group->torn++;
  group->open = group->hole = false;
  group->cover = 0;
}
