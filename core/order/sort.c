/*
** sort.c - the order of keys, made from their records' places.
**
** Most keys differ in few bytes.  So 8 bytes of each are taken at a time, from the first on in
** which they do not all agree, as numbers, and these are sorted by radix: from their first bits
** on, until the processor's cache holds a part, and there by as many of their first bytes as tell
** most of them apart, from the last of these on, skipping the bytes that agree in all.  Numbers
** that agree in these are sorted by the bytes behind them; groups whose numbers agree are sorted
** by the next 8 bytes in the same way.  Each round reads a key once, with the next ones asked for
** from memory.  Where a group is small, or keys agree in very many bytes, whole keys are compared:
** no set of keys takes more than n log n comparisons.
*/
#include "order/sort.h"
#include "file/record.h"
#include "file/store.h"
#include "order/node.h"
#include "order/types.h"

enum {
  AHEAD = 16,        /* records asked for in advance */
  FEW = 16,          /* are sorted by comparing keys */
  RADIX_LEAST = 256, /* below, passes over the counts would cost more than the sorting */
  IN_CACHE = 16384,  /* are sorted there, what is more is parted first */
  PART_BITS = 10,
  PART_MASK = (1 << PART_BITS) - 1,
  ROUNDS_MOST = 64,
  SPARE_BITS = 6, /* past as many as could number the words */
  SAMPLES = 8,    /* keys that tell what all have in common, mostly */
  AGREE = 16      /* words, of which more than one agrees, are worth taking from further on */
};

static int row_begin(row *row, uint64_t n) {
  row->e = os_alloc_table(n * sizeof *row->e);
  row->room = row->e ? n : 0;
  return row->e ? MAPH_OK : MAPH_NOMEM;
}

int row_make_room(row *row, uint64_t n) {
  uint64_t room = row->room ? row->room : 256;
  order_entry *more;
  if (likely(n <= row->room - row->count)) return MAPH_OK;
  if (row->room == 0) return row_begin(row, MAX(n, room));
  while (room - row->count < n) room *= 2;
  more = os_realloc(row->e, room * sizeof *more);
  if (more == NULL) return MAPH_NOMEM;
  row->e = more;
  row->room = room;
  return MAPH_OK;
}

int row_add(row *row, uint64_t offset) {
  int rc = row_make_room(row, 1);
  if (likely(rc == MAPH_OK)) row->e[row->count++].offset = offset;
  return rc;
}

typedef struct sorting {
  const view *view;
  order_entry *scratch;
  int rc;
} sorting;

static inline void ask_for(const view *view, const order_entry *entry, uint64_t i, uint64_t n) {
  if (i + AHEAD < n) __builtin_prefetch(record_start(view, entry[i + AHEAD].offset) + RECORD_HEAD);
}

static inline __attribute__((always_inline)) maph_slice
read_put(sorting *sorting, const order_entry *entry, int *flags) {
  const view *view = sorting->view;
  maph_slice key;
  if (unlikely(entry->offset >= view->snapshot
               || !record_put_key(view, entry->offset, view->snapshot, 0, &key, flags))) {
    sorting->rc = fail_corrupt(view->store->path, entry->offset,
                               "no put is where the order of keys is to have one");
    *flags = 0;
    key = maph_bytes("", 0);
  }
  return key;
}

static maph_slice read_key(sorting *sorting, const order_entry *entry) {
  int flags;
  return read_put(sorting, entry, &flags);
}

static int is_above(sorting *sorting, const order_entry *entry, const order_entry *b) {
  maph_slice key = read_key(sorting, entry), other = read_key(sorting, b);
  return sorting->rc == MAPH_OK && key_compare(key.data, key.size, other.data, other.size) > 0;
}

/* Two sorted halves become one.  by_word: else by whole keys. */
static void merge_halves(sorting *sorting, order_entry *entry, uint64_t half, uint64_t n,
                         int by_word) {
  uint64_t i = 0, j = half, to = 0;
  memcpy(sorting->scratch, entry, half * sizeof *entry);
  while (i < half && j < n) {
    int above = by_word ? sorting->scratch[i].word > entry[j].word
                        : is_above(sorting, &sorting->scratch[i], &entry[j]);
    entry[to++] = above ? entry[j++] : sorting->scratch[i++];
  }
  while (i < half) entry[to++] = sorting->scratch[i++];
}

static void merge_sort(sorting *sorting, order_entry *entry, uint64_t n, int by_word) {
  uint64_t i, j;
  if (n > FEW) {
    merge_sort(sorting, entry, n / 2, by_word);
    merge_sort(sorting, entry + n / 2, n - n / 2, by_word);
    merge_halves(sorting, entry, n / 2, n, by_word);
    return;
  }
  for (i = 1; i < n; i++) {
    order_entry one = entry[i];
    for (j = i;
         j > 0 && (by_word ? entry[j - 1].word > one.word : is_above(sorting, &entry[j - 1], &one));
         j--)
      entry[j] = entry[j - 1];
    entry[j] = one;
  }
}

/* The bytes of the words in which bits differ, from the first on, that tell nearly all of n words
** apart, if these are as different as they can be. */
static uint64_t telling_bytes(uint64_t n, uint64_t differ) {
  int need = 64 - __builtin_clzll(n) + SPARE_BITS, byte = NODE_WORD;
  while (byte > 0 && need > 0) need -= __builtin_popcountll(differ >> 8 * --byte & 0xFF);
  return differ >> 8 * byte << 8 * byte;
}

/* How many entries have which value in each byte of their words that `differ` has bits of. */
static void count_bytes(const order_entry *entry, uint64_t n, uint64_t differ,
                        uint32_t count[NODE_WORD][256]) {
  uint64_t i;
  int byte;
  memset(count, 0, NODE_WORD * sizeof *count);
  for (byte = 0; byte < NODE_WORD; byte++) {
    if ((differ >> 8 * byte & 0xFF) == 0) continue;
    for (i = 0; i < n; i++) count[byte][entry[i].word >> 8 * byte & 0xFF]++;
  }
}

/* Counts become the places where each value's entries begin. */
static void counts_to_places(uint32_t *count, unsigned values) {
  uint32_t sum = 0, here;
  unsigned i;
  for (i = 0; i < values; i++) {
    here = count[i];
    count[i] = sum;
    sum += here;
  }
}

/* By the bytes of the words that `differ` has bits of, from the last to the first. */
static __attribute__((noinline)) void radix_passes(sorting *sorting, order_entry *entry, uint64_t n,
                                                   uint64_t differ) {
  order_entry *from = entry, *to = sorting->scratch, *other;
  uint32_t count[NODE_WORD][256];
  uint64_t i;
  int byte;
  count_bytes(entry, n, differ, count);
  for (byte = 0; byte < NODE_WORD; byte++) {
    uint32_t *place = count[byte];
    int shift = 8 * byte;
    if ((differ >> shift & 0xFF) == 0 || place[from->word >> shift & 0xFF] == n) continue;
    counts_to_places(place, 256);
    for (i = 0; i < n; i++) to[place[from[i].word >> shift & 0xFF]++] = from[i];
    other = from;
    from = to;
    to = other;
  }
  if (from != entry) memcpy(entry, from, n * sizeof *entry);
}

static void sort_by_word(sorting *sorting, order_entry *entry, uint64_t n, uint64_t differ);

/* By so many of the bytes that differ, the first ones, that few words agree in all of these; then
** those that do, by the others. */
static void radix_sort(sorting *sorting, order_entry *entry, uint64_t n, uint64_t differ) {
  uint64_t telling = telling_bytes(n, differ), i, next;
  radix_passes(sorting, entry, n, telling);
  if (telling == differ) return;
  for (i = 0; i < n; i = next) {
    for (next = i + 1; next < n && ((entry[next].word ^ entry[i].word) & telling) == 0;) next++;
    if (next - i > 1) sort_by_word(sorting, entry + i, next - i, differ & ~telling);
  }
}

/* The first bits that differ part them; then each part is sorted. */
static __attribute__((noinline)) void sort_parts(sorting *sorting, order_entry *entry, uint64_t n,
                                                 uint64_t differ) {
  uint32_t end[1 << PART_BITS] = { 0 };
  int shift = MAX(64 - __builtin_clzll(differ) - PART_BITS, 0);
  uint64_t i, start;
  for (i = 0; i < n; i++) end[entry[i].word >> shift & PART_MASK]++;
  counts_to_places(end, 1 << PART_BITS);
  for (i = 0; i < n; i++) sorting->scratch[end[entry[i].word >> shift & PART_MASK]++] = entry[i];
  memcpy(entry, sorting->scratch, n * sizeof *entry);
  for (i = start = 0; i < 1 << PART_BITS; start = end[i++])
    sort_by_word(sorting, entry + start, end[i] - start, differ & ((UINT64_C(1) << shift) - 1));
}

static uint64_t in_cache(void) {
#ifdef MAPH_TEST
  if (os_test.leaf) return RADIX_LEAST;
#endif
  return IN_CACHE;
}

static int are_sorted(const order_entry *entry, uint64_t n) {
  uint64_t i;
  for (i = 1; i < n; i++)
    if (entry[i].word < entry[i - 1].word) return 0;
  return 1;
}

/* Words whose bits outside `differ` are the same in all. */
static void sort_by_word(sorting *sorting, order_entry *entry, uint64_t n, uint64_t differ) {
  if (differ == 0 || are_sorted(entry, n)) return;
  if (n < RADIX_LEAST)
    merge_sort(sorting, entry, n, 1);
  else if (n <= in_cache())
    radix_sort(sorting, entry, n, differ);
  else
    sort_parts(sorting, entry, n, differ);
}

/* The words at `depth`.  Their bits that are not the same in all. */
static uint64_t load_words(sorting *sorting, order_entry *entry, uint64_t n, uint64_t depth) {
  uint64_t i, differ = 0;
  for (i = 0; i < n; i++) {
    maph_slice key;
    ask_for(sorting->view, entry, i, n);
    key = read_key(sorting, &entry[i]);
    entry[i].word = key_word(key.data, key.size, depth);
    differ |= entry[i].word ^ entry[0].word;
  }
  return differ;
}

static void sort_words(sorting *sorting, order_entry *entry, uint64_t n, uint64_t depth,
                       uint64_t differ);

/* A group that agrees in all bytes before `depth`, zeros past a key's end.  Keys that end before it
** are prefixes of the others. */
static void sort_group(sorting *sorting, order_entry *entry, uint64_t n, uint64_t depth) {
  uint64_t i, ended = 0;
  if (n <= FEW || depth >= ROUNDS_MOST * NODE_WORD) {
    merge_sort(sorting, entry, n, 0);
    return;
  }
  for (i = 0; i < n; i++) {
    order_entry one = entry[i];
    if (read_key(sorting, &one).size > depth) continue;
    entry[i] = entry[ended];
    entry[ended++] = one;
  }
  merge_sort(sorting, entry, ended, 0);
  entry += ended;
  n -= ended;
  sort_words(sorting, entry, n, depth, load_words(sorting, entry, n, depth));
}

/* Keys that agree in all bytes before `depth`, and are longer, by their words there and what comes
** behind.  They keep these words. */
static void sort_words(sorting *sorting, order_entry *entry, uint64_t n, uint64_t depth,
                       uint64_t differ) {
  uint64_t i, j, next, own;
  if (sorting->rc != MAPH_OK) return;
  sort_by_word(sorting, entry, n, differ);
  for (i = 0; i < n && sorting->rc == MAPH_OK; i = next) {
    own = entry[i].word;
    for (next = i + 1; next < n && entry[next].word == own;) next++;
    if (next - i == 1) continue;
    sort_group(sorting, entry + i, next - i, depth + NODE_WORD);
    for (j = i; j < next; j++) entry[j].word = own;
  }
}

static uint64_t common(maph_slice key, maph_slice other, uint64_t most) {
  uint64_t i = 0;
  const uint8_t *x = key.data, *y = other.data;
  most = MIN(most, MIN(key.size, other.size));
  while (i < most && x[i] == y[i]) i++;
  return i;
}

/* How many bytes some of the keys have in common with the first one, spread over all. */
static uint64_t guess_shared(sorting *sorting, const order_entry *entry, uint64_t n) {
  maph_slice first = read_key(sorting, &entry[0]);
  uint64_t shared = first.size, step = n / SAMPLES + 1, i;
  for (i = n - 1; i > 0 && shared > 0; i -= MIN(i, step))
    shared = common(first, read_key(sorting, &entry[i]), shared);
  return shared;
}

/* Does the key begin with so many bytes of the first one? */
static inline int begins_as(maph_slice key, maph_slice first, uint64_t held) {
  uint64_t w, first_word;
  if (key.size < held) return 0;
  if (held == 0) return 1;
  if (unlikely(held > NODE_WORD || key.size < NODE_WORD || first.size < NODE_WORD))
    return memcmp(key.data, first.data, held) == 0;
  memcpy(&w, key.data, sizeof w);
  memcpy(&first_word, first.data, sizeof first_word);
  return (w ^ first_word) << (NODE_WORD - held) * 8 == 0;
}

/* The words past what all keys have in common, and that, and the keys' types.  Mostly the guess is
** right, and each key is read once. */
static uint64_t load_first_words(sorting *sorting, order_entry *entry, uint64_t n, uint32_t *shared,
                                 int *types) {
  uint64_t guess = guess_shared(sorting, entry, n), held = guess, i, differ = 0;
  maph_slice first = read_key(sorting, &entry[0]);
  for (i = 0; i < n; i++) {
    maph_slice key;
    int flags;
    ask_for(sorting->view, entry, i, n);
    key = read_put(sorting, &entry[i], &flags);
    if ((*types & TYPES_ALL) != TYPES_ALL) *types |= types_of_key(flags, key);
    if (unlikely(!begins_as(key, first, held))) held = common(first, key, held);
    entry[i].word = key_word(key.data, key.size, guess);
    differ |= entry[i].word ^ entry[0].word;
  }
  *shared = (uint32_t)held;
  return held == guess ? differ : load_words(sorting, entry, n, held);
}

int order_sort(const view *view, order_entry *entry, uint64_t n, uint32_t *shared, int *types) {
  sorting sorting = { view, NULL, MAPH_OK };
  uint64_t differ;
  int all = TYPES_ALL;
  *shared = 0;
  if (n == 0) return MAPH_OK;
  sorting.scratch = os_alloc_table(n * sizeof *entry);
  if (sorting.scratch == NULL) return MAPH_NOMEM;
  differ = load_first_words(&sorting, entry, n, shared, types ? types : &all);
  sort_words(&sorting, entry, n, *shared, differ);
  os_free(sorting.scratch);
  return sorting.rc;
}

int order_words(const view *view, order_entry *entry, uint64_t n, uint64_t agree, uint32_t *shared,
                unsigned *known) {
  sorting sorting = { view, NULL, MAPH_OK };
  maph_slice first, last;
  if (agree <= n / AGREE) return MAPH_OK;
  first = read_key(&sorting, &entry[0]);
  last = read_key(&sorting, &entry[n - 1]);
  if (sorting.rc != MAPH_OK) return sorting.rc;
  *shared = (uint32_t)common(first, last, UINT64_MAX);
  if (known) *known = NODE_WORD;
  load_words(&sorting, entry, n, *shared);
  return sorting.rc;
}

int order_words_of_sorted(const view *view, order_entry *entry, uint64_t n, uint32_t *shared) {
  uint64_t i, agree = 0;
  for (i = 1; i < n; i++) agree += entry[i].word == entry[i - 1].word;
  return order_words(view, entry, n, agree, shared, NULL);
}
