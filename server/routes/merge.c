/*
** merge.c - JSON merge patches (RFC 7396): members of the patch take the place of the target's of
** the same name, null takes them away, objects are merged, and anything else replaces what was.
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
#include "entry/json.h"
#include "routes/merge.h"

typedef struct member {
  maph_slice name; /* what it means */
  maph_slice text; /* as it is written, with quotes */
  maph_slice value;
  bool used; /* the target has one of that name */
} member;


static bool is_object(maph_slice text) { return text.size > 0 && *(const char *)text.data == '{'; }
static bool is_null(maph_slice text) { return text.size == 4 && memcmp(text.data, "null", 4) == 0; }

static int by_name(const void *a, const void *b) {
  const member *x = a, *y = b;
  size_t size = x->name.size < y->name.size ? x->name.size : y->name.size;
  int order = memcmp(x->name.data, y->name.data, size);
  if (order != 0) return order;
  if (x->name.size != y->name.size) return x->name.size < y->name.size ? -1 : 1;
  /* Of two of one name the later one counts: the first here. */
  return x->text.data > y->text.data ? -1 : x->text.data < y->text.data;
}

static bool name_of(maph_slice text, arena *a, maph_slice *name) {
  maph_slice inner = maph_bytes((const char *)text.data + 1, text.size - 2);
  char *out;
  *name = inner;
  if (memchr(inner.data, '\\', inner.size) == NULL) return true;
  if ((out = arena_take(a, inner.size)) == NULL) return false;
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
static bool read_members(maph_slice object, arena *a, member **list, size_t *count) {
  json_reader in = json_begin(object);
  maph_slice name, value;
  size_t n = 0;
  bool first = true;
  *count = 0;
  *list = arena_take(a, (count_members(object) + 1) * sizeof **list);
  if (*list == NULL || !json_next(&in, '{')) return false;
  while (json_member(&in, &first, &name, &value)) {
    member *m = &(*list)[n++];
    *m = (member){ { "", 0 }, name, value, false };
    if (!name_of(name, a, &m->name)) return false;
  }
  qsort(*list, n, sizeof **list, by_name);
  for (size_t i = 0; i < n; i++) {
    member *m = &(*list)[i], *last = *count ? &(*list)[*count - 1] : NULL;
    if (last == NULL || last->name.size != m->name.size
        || memcmp(last->name.data, m->name.data, m->name.size) != 0)
      (*list)[(*count)++] = *m;
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

static void begin_member(buffer *out, maph_slice text, bool *any) {
  buffer_append(out, *any ? "," : "{", 1);
  *any = true;
  buffer_append(out, text.data, text.size);
  buffer_append(out, ":", 1);
}

/* The target's members, as the patch leaves them. */
static bool merge_target(maph_slice target, member *list, size_t count, arena *a, buffer *out,
                         bool *any) {
  json_reader in = json_begin(target);
  maph_slice text, value, name;
  bool first = true;
  if (!json_next(&in, '{')) return true;
  while (json_member(&in, &first, &text, &value)) {
    member *m;
    if (!name_of(text, a, &name)) return false;
    m = find(list, count, name);
    if (m) m->used = true;
    if (m && is_null(m->value)) continue;
    begin_member(out, text, any);
    if (m == NULL)
      buffer_append(out, value.data, value.size);
    else if (!merge_patch(value, m->value, a, out))
      return false;
  }
  return true;
}

static int by_place(const void *a, const void *b) {
  const member *x = a, *y = b;
  return x->text.data < y->text.data ? -1 : x->text.data > y->text.data;
}

bool merge_patch(maph_slice target, maph_slice patch, arena *a, buffer *out) {
  static const maph_slice nothing = { "", 0 };
  member *list;
  size_t count;
  bool any = false;
  if (!is_object(patch)) {
    buffer_append(out, patch.data, patch.size);
    return !out->failed;
  }
  if (!read_members(patch, a, &list, &count)) return false;
  if (is_object(target) && !merge_target(target, list, count, a, out, &any)) return false;
  qsort(list, count, sizeof *list, by_place);
  for (size_t i = 0; i < count; i++) {
    if (list[i].used || is_null(list[i].value)) continue;
    begin_member(out, list[i].text, &any);
    if (!merge_patch(nothing, list[i].value, a, out)) return false;
  }
  buffer_text(out, any ? "}" : "{}");
  return !out->failed;
}
