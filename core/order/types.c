/*
** types.c - of which types the keys of a store are.
**
** Whoever sorts TEXT keys before BLOB keys, as SQLite does, need not look for the ones where all
** are the others.  The list of runs says it of all puts that it covers; where it does not, as one
** of an older library, and past it, the log is walked.  A store keeps what is known for all its
** handles in this process: the types of all puts up to a place of the log.  The walk goes on from
** there when more is asked for, and ends for good once both types were seen.  A key that was
** deleted or put again as the other type counts until a rewrite, so that never too little is
** answered.  Where the log cannot be read any type may follow: what reads the keys will say so.
**
** A list that lies, with a sum that fits, hides keys as one does that lacks an entry: maph_check
** finds both.
**
** Locking: order_mutex of the store.
*/
#include "order/types.h"
#include "file/record.h"
#include "file/store.h"
#include "file/walk.h"
#include "order/run.h"

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

/* Are 8 bytes ASCII, and none of them zero? */
static inline int are_ascii(const uint8_t *p) {
  const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
  uint64_t w;
  memcpy(&w, p, sizeof w);
  return ((w | (w - ones)) & high) == 0;
}

/* UTF-8 without a zero byte */
static int is_text(const uint8_t *p, size_t size) {
  enum { TOGETHER = sizeof(uint64_t) };
  const uint8_t *end = p + size;
  while (end - p >= TOGETHER && are_ascii(p)) p += TOGETHER;
  if (end - p < TOGETHER && size >= TOGETHER && are_ascii(end - TOGETHER)) return 1;
  while (p < end) {
    size_t n = character(p, end);
    if (n == 0) return 0;
    p += n;
  }
  return 1;
}

int types_of_key(int flags, maph_slice key) {
  int said = (flags & FLAG_KEY_TYPE) / FLAG_TEXT_KEY;
  if (said != MAPH_KEY_BYTES) return said == MAPH_KEY_TEXT ? TYPES_TEXT : TYPES_BLOB;
  return is_text(key.data, key.size) ? TYPES_TEXT : TYPES_BLOB;
}

int types_of_put(const item *put) {
  return types_of_key(put->flags, maph_bytes(put->key, put->key_size));
}

static int find(const view *view, uint64_t from, int types) {
  walk walk = walk_from(view, from, view->snapshot);
  int rc = MAPH_OK;
  while (types != TYPES_ALL && walk_next(&walk, &rc))
    if (walk.it.kind == KIND_PUT) types |= types_of_put(&walk.it);
  return rc == MAPH_OK ? types : TYPES_ALL;
}

static void let_go(void *known) { os_free(known); }

/* What the process has noted; NULL: no memory.  Under order_mutex. */
static known *noted(store *store) {
  known *known = store->order_types.p;
  assert(is_locked(&store->order_mutex));
  if (known == NULL && (known = os_alloc(sizeof *known)) != NULL) {
    known->to = LOG_START;
    known->types = 0;
    attach(&store->order_types, known, let_go);
  }
  return known;
}

/* Of the list, if that goes further than what was noted. */
static void note_list(known *known, const run_list *list) {
  if (!(list->types & TYPES_KNOWN) || list->to <= known->to) return;
  known->types |= list->types & TYPES_ALL;
  known->to = list->to;
}

int types_take(const view *view, uint64_t version) {
  store *store = view->store;
  run_list *list = NULL;
  known *known;
  int types = TYPES_ALL;
  if (runs_take(view, version, &list) != MAPH_OK) return types;
  pthread_mutex_lock(&store->order_mutex);
  known = noted(store);
  if (known) note_list(known, list);
  if (known && known->to < view->snapshot) {
    known->types = find(view, known->to, known->types);
    known->to = view->snapshot;
  }
  if (known) types = known->types;
  pthread_mutex_unlock(&store->order_mutex);
  runs_let_go(list);
  return types;
}

int types_known(store *store, uint64_t to) {
  const known *known;
  int types = 0;
  pthread_mutex_lock(&store->order_mutex);
  known = store->order_types.p;
  if (known && known->to >= to) types = TYPES_KNOWN | known->types;
  pthread_mutex_unlock(&store->order_mutex);
  return types;
}

int types_take_alone(const view *view, uint64_t from) { return find(view, from, 0); }
