/*
** keys.c - the list of keys to look up for key IN (...), and for key = x where x is a number.
**
** TEXT and BLOB are looked up by their bytes: 'a' and x'61' are one key.  SQLite compares again, by
** type too, so a key that was sought as the other type is shown as the type that was sought
** (keys_sought).  A number stands for every key that one of SQLite's two comparisons of TEXT with a
** number may call equal: its decimal text, the same as an INTEGER, and the odd ones of numbers.c.
*/
#include "sql.h"
#include <stdlib.h>

int bytes_grow(void *buffer, size_t *have, size_t need) {
  void *old, *larger;
  size_t size = *have ? *have : 1024;
  if (need <= *have) return SQLITE_OK;
  while (size < need) size *= 2;
  memcpy(&old, buffer, sizeof(old));
  larger = sqlite3_realloc64(old, size);
  if (larger == NULL) return SQLITE_NOMEM;
  memcpy(buffer, &larger, sizeof(larger));
  *have = size;
  return SQLITE_OK;
}

int keys_compare(const void *a, const void *b) {
  const maph_slice *x = a, *y = b;
  int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);
  return order ? order : (x->size > y->size) - (x->size < y->size);
}

int keys_possible(maph_slice key) { return key.size > 0 && key.size <= 65535; }

void keys_clear(key_list *list) {
  sqlite3_free(list->arena);
  sqlite3_free(list->keys);
  memset(list, 0, sizeof(*list));
}

/* The bytes move while the arena grows, so that the list holds sizes until keys_finish. */
static int add(key_list *list, maph_slice key, int sought) {
  int rc;
  if (!keys_possible(key)) return SQLITE_OK;
  rc = bytes_grow(&list->arena, &list->arena_room, list->arena_size + key.size + 1);
  if (rc == SQLITE_OK)
    rc = bytes_grow(&list->keys, &list->room, (list->count + 1) * sizeof(list->keys[0]));
  if (rc != SQLITE_OK) return rc;
  list->arena[list->arena_size] = (char)sought;
  memcpy(list->arena + list->arena_size + 1, key.data, key.size);
  list->arena_size += key.size + 1;
  list->keys[list->count++] = maph_bytes(NULL, key.size);
  list->sought |= 1 << sought;
  return SQLITE_OK;
}

static int add_number(key_list *list, sql_view *view, sqlite3_value *value, char **message) {
  char text[32];
  double number = sqlite3_value_double(value);
  maph_slice key;
  size_t i, count, first;
  int rc = value_lookup_key(value, &key);
  if (rc == SQLITE_OK) rc = add(list, key, 0);
  if (rc == SQLITE_OK && sqlite3_value_type(value) == SQLITE_FLOAT && number > -1e18
      && number < 1e18) {
    sqlite3_snprintf(sizeof(text), text, "%lld", (sqlite3_int64)number);
    rc = add(list, maph_str(text), 0);
  }
  if (rc == SQLITE_OK) rc = numbers_find(view, number, &first, &count, message);
  for (i = 0; rc == SQLITE_OK && i < count; i++)
    rc = add(list, numbers_key(view->store, first + i), 0);
  return rc;
}

int keys_add(key_list *list, sql_view *view, sqlite3_value *value, char **message) {
  maph_slice key;
  int rc, type = sqlite3_value_type(value);
  if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) return add_number(list, view, value, message);
  rc = value_lookup_key(value, &key);
  return rc == SQLITE_OK ? add(list, key, type) : rc;
}

/* A list of one type has each key once; 'a', x'61' and a number may lead to one key. */
static void drop_twins(key_list *list) {
  size_t i, n = 0;
  qsort(list->keys, list->count, sizeof(list->keys[0]), keys_compare);
  for (i = 0; i < list->count; i++) {
    if (n == 0 || keys_compare(&list->keys[n - 1], &list->keys[i]) != 0)
      list->keys[n++] = list->keys[i];
  }
  list->count = n;
}

void keys_finish(key_list *list) {
  size_t i, at = 1;
  for (i = 0; i < list->count; at += list->keys[i++].size + 1)
    list->keys[i].data = list->arena + at;
  if ((list->sought & (list->sought - 1)) || (list->sought & 1)) drop_twins(list);
}

int keys_sought(maph_slice key) { return ((const char *)key.data)[-1]; }
