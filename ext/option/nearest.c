/*
** nearest.c - which name somebody meant.
*/
#include "option/nearest.h"

/* How many letters are to be changed, added or removed, of names that long at most. */
enum { NAME_MOST = 40 };
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size) {
  size_t row[NAME_MOST + 1];
  if (a_size > NAME_MOST || b_size > NAME_MOST) return NAME_MOST + 1;
  for (size_t k = 0; k <= b_size; k++) row[k] = k;
  for (size_t i = 1; i <= a_size; i++) {
    size_t corner = row[0];
    row[0] = i;
    for (size_t k = 1; k <= b_size; k++) {
      size_t least = corner + (a[i - 1] != b[k - 1]);
      corner = row[k];
      if (row[k] + 1 < least) least = row[k] + 1;
      if (row[k - 1] + 1 < least) least = row[k - 1] + 1;
      row[k] = least;
    }
  }
  return row[b_size];
}

const char *name_nearest(const char *names, maph_slice name) {
  const char *nearest = names;
  size_t least = SIZE_MAX;
  while (*names) {
    size_t size = strcspn(names, " "), d = distance(name.data, name.size, names, size);
    if (d < least) {
      least = d;
      nearest = names;
    }
    names += size + (names[size] == ' ');
  }
  return nearest;
}
