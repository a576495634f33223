/*
** types.c - of which types the keys of a store are, found by walking the log.
**
** Whoever sorts TEXT keys before BLOB keys, as SQLite does, need not look for the ones where all
** are the others.  A store keeps what is known for all its handles in this process: the types of
** all puts up to a place of the log.  The walk goes on from there when more is asked for, and ends
** for good once both types were seen.  A key that was deleted or put again as the other type counts
** until a rewrite, so that never too little is answered.  Where the log cannot be read any type may
** follow: what reads the keys will say so.
**
** Locking: order_mutex of the store.
*/
#include "order/types.h"
#include "file/record.h"
#include "file/store.h"
#include "file/walk.h"

typedef struct known {
  uint64_t to; /* of the log */
  int types;
} known;

/* How many bytes the character of UTF-8 at p takes.  0: there is none, or it is the zero byte. */
static size_t character(const uint8_t *p, const uint8_t *end) {
  static const uint8_t least[] = { [0xE0 - 0xC2] = 0xA0, [0xF0 - 0xC2] = 0x90 };
  static const uint8_t most[] = { [0xED - 0xC2] = 0x9F, [0xF4 - 0xC2] = 0x8F };
  size_t size = 1 + (*p >= 0xC2) + (*p >= 0xE0) + (*p >= 0xF0), i;
  unsigned lead = *p - 0xC2u;
  if (*p < 0x80) return *p != 0;
  if (size == 1 || *p > 0xF4 || (size_t)(end - p) < size) return 0;
  for (i = 1; i < size; i++)
    if ((p[i] & 0xC0) != 0x80) return 0;
  if (lead < sizeof least && least[lead] && p[1] < least[lead]) return 0;
  return lead < sizeof most && most[lead] && p[1] > most[lead] ? 0 : size;
}

/* UTF-8 without a zero byte */
static int is_text(const uint8_t *p, size_t size) {
  const uint8_t *end = p + size;
  while (p < end) {
    size_t n = character(p, end);
    if (n == 0) return 0;
    p += n;
  }
  return 1;
}

static int type_of(const item *put) {
  int said = (put->flags & FLAG_KEY_TYPE) / FLAG_TEXT_KEY;
  if (said != MAPH_KEY_BYTES) return said == MAPH_KEY_TEXT ? TYPES_TEXT : TYPES_BLOB;
  return is_text(put->key, put->key_size) ? TYPES_TEXT : TYPES_BLOB;
}

static int find(const view *view, uint64_t from, int types) {
  walk walk = walk_from(view, from, view->snapshot);
  int rc = MAPH_OK;
  while (types != TYPES_ALL && walk_next(&walk, &rc))
    if (walk.it.kind == KIND_PUT) types |= type_of(&walk.it);
  return rc == MAPH_OK ? types : TYPES_ALL;
}

static void let_go(void *known) { os_free(known); }

int types_take(const view *view) {
  store *store = view->store;
  known *known;
  int types = TYPES_ALL;
  pthread_mutex_lock(&store->order_mutex);
  known = store->order_types.p;
  if (known == NULL && (known = os_alloc(sizeof *known)) != NULL) {
    known->to = LOG_START;
    known->types = 0;
    attach(&store->order_types, known, let_go);
  }
  if (known && known->to < view->snapshot) {
    known->types = find(view, known->to, known->types);
    known->to = view->snapshot;
  }
  if (known) types = known->types;
  pthread_mutex_unlock(&store->order_mutex);
  return types;
}

int types_take_alone(const view *view, uint64_t from) { return find(view, from, 0); }
