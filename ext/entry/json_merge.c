/*
** json_merge.c - JSON merge patches (RFC 7396): members of the patch take the place of the target's
** of the same name, null takes them away, objects are merged, and anything else replaces what was.
**
**     {"price":29.99,"tags":["a"],"old":1}  and  {"price":19.99,"old":null,"new":{"x":null,"y":1}}
**     make  {"price":19.99,"tags":["a"],"new":{"y":1}}
**
** What stays keeps its order and its text, so a number stays the digits that it is; what is new
** follows.  The members of an object of the patch are sorted once, so a large patch of a large
** object costs n log n.  Names are compared as what they mean, escapes or not.  It recurses once a
** level, and the reader takes 32 of them.
*/
#include <stdlib.h>
#include <string.h>
#include "entry/arena.h"
#include "entry/json.h"

typedef struct merging {
  arena arena;
  json_put put;
  void *to;
  bool failed; /* no memory, or put takes no more */
} merging;

typedef struct member {
  maph_slice name; /* what it means */
  maph_slice text; /* as it is written, with quotes */
  maph_slice value;
  bool used; /* the target has one of that name */
} member;

static void add(merging *merging, const void *bytes, size_t size) {
  if (size > 0 && !merging->failed && !merging->put(merging->to, bytes, size))
    merging->failed = true;
}

static bool is_object(maph_slice text) { return text.size > 0 && *(const char *)text.data == '{'; }
static bool is_null(maph_slice text) { return text.size == 4 && memcmp(text.data, "null", 4) == 0; }

static int by_name(const void *a, const void *b) {
  const member *member = a, *y = b;
  size_t size = member->name.size < y->name.size ? member->name.size : y->name.size;
  int order = memcmp(member->name.data, y->name.data, size);
  if (order != 0) return order;
  if (member->name.size != y->name.size) return member->name.size < y->name.size ? -1 : 1;
  /* Of two of one name the later one counts: the first here. */
  return member->text.data > y->text.data ? -1 : member->text.data < y->text.data;
}

static bool name_of(maph_slice text, arena *arena, maph_slice *name) {
  maph_slice inner = maph_bytes((const char *)text.data + 1, text.size - 2);
  char *out;
  *name = inner;
  if (memchr(inner.data, '\\', inner.size) == NULL) return true;
  if ((out = arena_take(arena, inner.size)) == NULL) return false;
  *name = maph_bytes(out, json_unescape(inner, out));
  return true;
}

/* How many members an object has. */
static size_t count_members(maph_slice object) {
  json_reader in = json_begin(object);
  maph_slice name, value;
  size_t n = 0;
  bool first = true;
  if (!json_next(&in, '{')) return 0;
  while (json_member(&in, &first, &name, &value)) n++;
  return n;
}

/* The members of an object, sorted, each name once. */
static bool read_members(maph_slice object, arena *arena, member **list, size_t *count) {
  json_reader in = json_begin(object);
  maph_slice name, value;
  size_t n = 0;
  bool first = true;
  *count = 0;
  *list = arena_take(arena, (count_members(object) + 1) * sizeof **list);
  if (*list == NULL || !json_next(&in, '{')) return false;
  while (json_member(&in, &first, &name, &value)) {
    member *member = &(*list)[n++];
    *member = (struct member){ { "", 0 }, name, value, false };
    if (!name_of(name, arena, &member->name)) return false;
  }
  qsort(*list, n, sizeof **list, by_name);
  for (size_t i = 0; i < n; i++) {
    struct member *member = &(*list)[i], *last = *count ? &(*list)[*count - 1] : NULL;
    if (last == NULL || last->name.size != member->name.size
        || memcmp(last->name.data, member->name.data, member->name.size) != 0)
      (*list)[(*count)++] = *member;
  }
  return true;
}

static member *find(member *list, size_t count, maph_slice name) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = (low + high) / 2, size;
    maph_slice other = list[middle].name;
    int order;
    size = other.size < name.size ? other.size : name.size;
    order = memcmp(other.data, name.data, size);
    if (order == 0 && other.size == name.size) return &list[middle];
    if (order < 0 || (order == 0 && other.size < name.size))
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

static void begin_member(merging *merging, maph_slice text, bool *any) {
  add(merging, *any ? "," : "{", 1);
  *any = true;
  add(merging, text.data, text.size);
  add(merging, ":", 1);
}

static bool merge(merging *merging, maph_slice target, maph_slice patch);

/* The target's members, as the patch leaves them. */
static bool merge_target(merging *merging, maph_slice target, member *list, size_t count,
                         bool *any) {
  json_reader in = json_begin(target);
  maph_slice text, value, name;
  bool first = true;
  if (!json_next(&in, '{')) return true;
  while (json_member(&in, &first, &text, &value)) {
    member *of_patch;
    if (!name_of(text, &merging->arena, &name)) return false;
    of_patch = find(list, count, name);
    if (of_patch) of_patch->used = true;
    if (of_patch && is_null(of_patch->value)) continue;
    begin_member(merging, text, any);
    if (of_patch == NULL)
      add(merging, value.data, value.size);
    else if (!merge(merging, value, of_patch->value))
      return false;
  }
  return true;
}

static int by_place(const void *a, const void *b) {
  const member *member = a, *y = b;
  return member->text.data < y->text.data ? -1 : member->text.data > y->text.data;
}

static bool merge(merging *merging, maph_slice target, maph_slice patch) {
  static const maph_slice nothing = { "", 0 };
  member *list;
  size_t count;
  bool any = false;
  if (!is_object(patch)) {
    add(merging, patch.data, patch.size);
    return !merging->failed;
  }
  if (!read_members(patch, &merging->arena, &list, &count)) return false;
  if (is_object(target) && !merge_target(merging, target, list, count, &any)) return false;
  qsort(list, count, sizeof *list, by_place);
  for (size_t i = 0; i < count; i++) {
    if (list[i].used || is_null(list[i].value)) continue;
    begin_member(merging, list[i].text, &any);
    if (!merge(merging, nothing, list[i].value)) return false;
  }
  add(merging, any ? "}" : "{}", any ? 1 : 2);
  return !merging->failed;
}

/* The text without blanks around it and between its tokens. */
static bool squeeze(maph_slice *text, arena *arena) {
  json_reader in = json_begin(*text);
  char *squeezed;
  if (text->size == 0 || !json_value(&in, text)) return true;
  squeezed = arena_take(arena, text->size);
  if (squeezed == NULL) return false;
  *text = maph_bytes(squeezed, json_squeeze(*text, squeezed));
  return true;
}

bool json_merge(maph_slice target, maph_slice patch, json_put put, void *to) {
  merging merging = { { 0 }, put, to, false };
  bool done = squeeze(&target, &merging.arena) && squeeze(&patch, &merging.arena)
              && merge(&merging, target, patch);
  arena_free(&merging.arena);
  return done;
}
