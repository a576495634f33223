/*
** sort.c - the order of keys, made from their records' places.
**
** Most keys differ in few bytes.  So 8 bytes of each are taken at a time, as numbers, and these are
** sorted by radix, skipping the bytes that agree in all; groups whose numbers agree are sorted by
** the next 8 in the same way.  Each round reads a key once, with the next ones asked for from
** memory.  Where a group is small, or keys agree in very many bytes, whole keys are compared: no
** set of keys takes more than n log n comparisons.
*/
#include "order/sort.h"
#include "file/record.h"
#include "file/store.h"
#include "order/node.h"

enum {
  AHEAD = 16,        /* records asked for in advance */
  FEW = 16,          /* are sorted by comparing keys */
  RADIX_LEAST = 256, /* below, passes over the counts would cost more than the sorting */
  ROUNDS_MOST = 64,
  AGREE = 16 /* words, of which more than one agrees, are worth taking from further on */
};

int row_add(row *row, uint64_t offset, uint64_t first_word) {
  order_entry *more;
  if (row->count == row->room) {
    uint64_t room = row->room ? 2 * row->room : 256;
    more = os_realloc(row->e, room * sizeof *more);
    if (more == NULL) return MAPH_NOMEM;
    row->e = more;
    row->room = room;
  }
  row->e[row->count++] = (order_entry){ first_word, offset };
  return MAPH_OK;
}

typedef struct sorting {
  const view *view;
  order_entry *scratch;
  int rc;
} sorting;

static void ask_for(const view *view, const order_entry *entry, uint64_t i, uint64_t n) {
  if (i + AHEAD < n) __builtin_prefetch(view->base + entry[i + AHEAD].offset + RECORD_HEAD);
}

static void read_item(sorting *sorting, const order_entry *entry, item *it) {
  int rc = record_item(sorting->view, entry->offset, sorting->view->snapshot, it);
  if (likely(rc == MAPH_OK)) return;
  sorting->rc = rc;
  memset(it, 0, sizeof *it);
}

static int is_above(sorting *sorting, const order_entry *entry, const order_entry *b) {
  item of_a, of_b;
  read_item(sorting, entry, &of_a);
  read_item(sorting, b, &of_b);
  return sorting->rc == MAPH_OK
         && key_compare(of_a.key, of_a.key_size, of_b.key, of_b.key_size) > 0;
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

/* By the bytes of the words that differ somewhere, from the last to the first. */
static void radix_sort(sorting *sorting, order_entry *entry, uint64_t n, uint64_t differ) {
  order_entry *from = entry, *to = sorting->scratch, *other;
  uint64_t count[256], i, sum, here;
  int shift;
  for (shift = 0; shift < 64; shift += 8) {
    if ((differ >> shift & 0xFF) == 0) continue;
    memset(count, 0, sizeof count);
    for (i = 0; i < n; i++) count[from[i].word >> shift & 0xFF]++;
    for (i = sum = 0; i < 256; i++) {
      here = count[i];
      count[i] = sum;
      sum += here;
    }
    for (i = 0; i < n; i++) to[count[from[i].word >> shift & 0xFF]++] = from[i];
    other = from;
    from = to;
    to = other;
  }
  if (from != entry) memcpy(entry, from, n * sizeof *entry);
}

/* The words at `depth`.  Their bits that are not the same in all. */
static uint64_t load_words(sorting *sorting, order_entry *entry, uint64_t n, uint64_t depth) {
  uint64_t i, differ = 0;
  item it;
  for (i = 0; i < n; i++) {
    ask_for(sorting->view, entry, i, n);
    read_item(sorting, &entry[i], &it);
    entry[i].word = key_word(it.key, it.key_size, depth);
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
  item it;
  if (n <= FEW || depth >= ROUNDS_MOST * NODE_WORD) {
    merge_sort(sorting, entry, n, 0);
    return;
  }
  for (i = 0; i < n; i++) {
    order_entry one = entry[i];
    read_item(sorting, &one, &it);
    if (it.key_size > depth) continue;
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
  if (differ && n >= RADIX_LEAST)
    radix_sort(sorting, entry, n, differ);
  else if (differ)
    merge_sort(sorting, entry, n, 1);
  for (i = 0; i < n && sorting->rc == MAPH_OK; i = next) {
    own = entry[i].word;
    for (next = i + 1; next < n && entry[next].word == own;) next++;
    if (next - i == 1) continue;
    sort_group(sorting, entry + i, next - i, depth + NODE_WORD);
    for (j = i; j < next; j++) entry[j].word = own;
  }
}

static uint64_t differing(const order_entry *entry, uint64_t n) {
  uint64_t i, differ = 0;
  for (i = 1; i < n; i++) differ |= entry[i].word ^ entry[0].word;
  return differ;
}

int order_sort(const view *view, order_entry *entry, uint64_t n, int known) {
  sorting sorting = { view, NULL, MAPH_OK };
  uint64_t differ;
  if (n == 0) return MAPH_OK;
  sorting.scratch = os_alloc(n * sizeof *entry);
  if (sorting.scratch == NULL) return MAPH_NOMEM;
  differ = known ? differing(entry, n) : load_words(&sorting, entry, n, 0);
  sort_words(&sorting, entry, n, 0, differ);
  os_free(sorting.scratch);
  return sorting.rc;
}

int order_words(const view *view, order_entry *entry, uint64_t n, uint64_t agree,
                uint32_t *shared) {
  sorting sorting = { view, NULL, MAPH_OK };
  item first, last;
  if (agree <= n / AGREE) return MAPH_OK;
  read_item(&sorting, &entry[0], &first);
  read_item(&sorting, &entry[n - 1], &last);
  if (sorting.rc != MAPH_OK) return sorting.rc;
  *shared = (uint32_t)key_common(&first, &last);
  load_words(&sorting, entry, n, *shared);
  return sorting.rc;
}

int order_words_of_sorted(const view *view, order_entry *entry, uint64_t n, uint32_t *shared) {
  uint64_t i, agree = 0;
  for (i = 1; i < n; i++) agree += entry[i].word == entry[i - 1].word;
  *shared = 0;
  return order_words(view, entry, n, agree, shared);
}
