/*
** write.c - the writer's part of the order of keys.
**
** A writer notes the new keys of what it commits, by their places.  Once there are so many, or the
** log has grown so much since the list, whoever has the turn sorts them, appends them as a run, and
** a list that names it, and stores the header's word.  What another process committed was not noted
** and is found in the log.
**
** MERGING.  Runs of about one size that follow each other become one, sixteen at a time: so there
** are few, and a key is written again a few times in the life of a large store.  For each size one
** merge is under way, and goes on by some hundred entries each time half as many new keys have
** come: no commit waits long, and small runs do not pile up behind the merge of large ones.  Merges
** are this process's own: when another one writes a list that does not name the inputs any more, a
** merge is dropped, and the leaves that it wrote lie in the file for nothing.
**
** FOR WHO READS.  A range is searched for in each run: sixteen of a size are many for whoever asks
** for ranges between the puts.  Readers count what runs cost them, in entries that could have been
** merged in that time (run.h).  Once they have lost as much to some of the runs as it takes to make
** these one, that is done, a slice with each commit.  So a store that is only written has no such
** merges, and one that is read loses at most twice the time that the best choice would take.  A run
** is merged only with as much as it has behind it: a key is not written again more often than the
** number of keys can be halved.
**
** LISTS are written whole, each time anew: some hundred bytes.
*/
#include "order/write.h"
#include "file/grant.h"
#include "file/header.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/changed.h"
#include "order/leaf.h"
#include "order/merge.h"
#include "order/run.h"
#include "order/sort.h"
#include "order/types.h"

enum {
  LOG_MOST = 16 * 1024 * 1024, /* the log may grow so much before the list is brought up to it */
  WALK_MOST = 4 * 1024 * 1024, /* of it at one time, looking for what was not noted */
  SLICES = 16,                 /* so often a merge goes on while the new keys of a run come */
  MERGE_TIMES = 2,             /* as many entries of each merge as keys come */
  TIERS = 8,                   /* sizes of runs */
  TOGETHER = 16,               /* runs that become one */
  TIDY_MOST = 2,               /* times run_least: entries in a slice of order_tidy */
  ASKED_PARTS = 2,             /* slices of a merge for readers in run_least */
  SPARE_FIRST = 2,             /* bytes of a word more than a leaf needs, for merges to come */
  SPARE_MERGED = 1             /* the same of a run that was merged once, not of all at once */
};

typedef struct order_writer {
  uint64_t listed; /* the list has all before */
  /* the new keys of [from, known) were noted; what lies between listed and from was not */
  uint64_t from, known;
  row noted;
  int retyped; /* types that keys put before got in that stretch, and perhaps more */
  _Atomic uint64_t seen_count, seen_known; /* of the two above, for who has no index_mutex */
  /* once so many are noted there is something to do: a run is not due before */
  uint64_t next;
  uint64_t merged;     /* so many were noted when merges went on */
  uint64_t not_before; /* count, after a failure */
  run_list *list;      /* that is continued; NULL: not looked at yet */
  merge *merge[TIERS]; /* under way, or NULL: of runs of that tier */
  merge *tidy;         /* of the last runs: for order_tidy, or for readers */
  int asked;           /* it is for readers */
  uint64_t look_at;    /* once readers lost so much, it is seen what is worth merging */
} order_writer;

static void let_go(void *p) {
  order_writer *writer = p;
  unsigned tier;
  os_free(writer->noted.e);
  runs_let_go(writer->list);
  for (tier = 0; tier < TIERS; tier++) merge_end(writer->merge[tier]);
  merge_end(writer->tidy);
  os_free(writer);
}

int order_is_kept(const store *store) {
  return (header_of(store->write_base)->optional & OPTIONAL_ORDER) != 0;
}

static uint64_t committed(const store *store) {
  return atomic_load_explicit(&header_of(store->write_base)->committed, memory_order_acquire);
}

/* ----------------------------------------------------------------------------------- what is new
** */

/* Whoever has the turn may look at what was noted while others note.  relaxed: they are counts that
** tell when to begin, and what is done then takes index_mutex and reads what was noted. */
static void show_noted(order_writer *writer) {
  atomic_store_explicit(&writer->seen_count, writer->noted.count, memory_order_relaxed);
  atomic_store_explicit(&writer->seen_known, writer->known, memory_order_relaxed);
}

/* relaxed: see show_noted. */
static uint64_t seen_count(const order_writer *writer) {
  return atomic_load_explicit(&writer->seen_count, memory_order_relaxed);
}

/* relaxed: see show_noted. */
static uint64_t seen_known(const order_writer *writer) {
  return atomic_load_explicit(&writer->seen_known, memory_order_relaxed);
}

/* From here on, as nothing is known of what was before. */
static void note_from(order_writer *writer, uint64_t from) {
  writer->noted.count = 0;
  writer->from = writer->known = from;
  show_noted(writer);
}

static inline int is_new(const pending *pending) {
  return pending->newest != 0 && pending->base == 0;
}

/* NOMEM: then the log is read instead, and nothing is said. */
static __attribute__((noinline)) int make_room_to_note(row *noted, size_t n) {
  sentence before;
  int rc;
  error_keep(&before);
  rc = row_make_room(noted, n);
  error_put_back(&before);
  return rc;
}

/* From the key of that number on, which is new. */
static int note_keys(row *noted, const changed_keys *changed, size_t i) {
  size_t n = changed->count - i;
  if (unlikely(n > noted->room - noted->count) && make_room_to_note(noted, n) != MAPH_OK)
    return MAPH_NOMEM;
  for (; i < changed->count; i++) {
    noted->e[noted->count].offset = changed->key[i].first;
    noted->count += is_new(&changed->key[i]);
  }
  return MAPH_OK;
}

void order_note(store *store, const changed_keys *changed, uint64_t from, uint64_t to) {
  order_writer *writer = store->order_writer.p;
  size_t i = 0;
  if (writer == NULL) return;
  if (unlikely(writer->known != from)) note_from(writer, from); /* another process committed */
  while (i < changed->count && !is_new(&changed->key[i])) i++;
  if (i < changed->count && unlikely(note_keys(&writer->noted, changed, i) != MAPH_OK)) {
    note_from(writer, to);
    return;
  }
  writer->retyped |= changed->retyped;
  writer->known = to;
  show_noted(writer);
  /* the base of a rewritten file is not noted key by key; where versions are given, a transaction
  ** may have no keys */
  if (unlikely(changed->count == 0) && !store->given) note_from(writer, to);
}

static int is_log_long(const order_writer *writer) {
  return seen_known(writer) > writer->listed + LOG_MOST + writer->not_before * NODE_WORD;
}

static int is_run_due(const order_writer *writer) {
  return seen_count(writer) >= MAX(run_least(), writer->not_before) || is_log_long(writer);
}

/* Is there to be seen what readers lost, or is a merge for them under way?  relaxed: it is a count.
*/
static int is_asked(const store *store, const order_writer *writer) {
  return writer->asked
         || atomic_load_explicit(&store->order_lost, memory_order_relaxed) >= writer->look_at;
}

static int is_due(const store *store, const order_writer *writer) {
  return seen_count(writer) >= writer->next || is_log_long(writer) || is_asked(store, writer);
}

/* Another process may have written a newer list, or it may be the first time.  Under
** index_mutex. */
static int look_at_list(store *store, order_writer *writer) {
  run_list *list;
  uint64_t i, kept = 0;
  view view;
  int rc;
  assert(is_locked(&store->index_mutex));
  view_for_writing(store, committed(store), &view);
  rc = runs_take(&view, store->last.version, &list);
  if (rc != MAPH_OK) return rc;
  if (list == writer->list) {
    runs_let_go(list);
    return MAPH_OK;
  }
  for (i = 0; i < writer->noted.count; i++)
    if (writer->noted.e[i].offset >= list->to) writer->noted.e[kept++] = writer->noted.e[i];
  writer->noted.count = kept;
  writer->from = MAX(writer->from, list->to);
  writer->known = MAX(writer->known, list->to);
  show_noted(writer);
  writer->listed = list->to;
  runs_let_go(writer->list);
  writer->list = list;
  return MAPH_OK;
}

/* What is committed from now on is noted.  The list itself is looked at once there is something to
** do; how far it goes tells whether there is now.  NULL: no memory.  Under index_mutex. */
static order_writer *start(store *store) {
  order_writer *writer = os_alloc(sizeof *writer);
  view view;
  assert(is_locked(&store->index_mutex));
  if (writer == NULL) return NULL;
  view_for_writing(store, committed(store), &view);
  note_from(writer, view.snapshot);
  writer->listed = runs_reach(&view, store->last.version);
  writer->look_at = run_least();
  writer->next = run_least() / SLICES + 1;
  attach(&store->order_writer, writer, let_go);
  return writer;
}

static int begin(store *store, order_writer **out) {
  order_writer *writer;
  int rc;
  pthread_mutex_lock(&store->index_mutex);
  writer = store->order_writer.p;
  if (writer == NULL) writer = start(store);
  if (writer && writer->known != committed(store)) note_from(writer, committed(store));
  rc = writer ? look_at_list(store, writer) : MAPH_NOMEM;
  pthread_mutex_unlock(&store->index_mutex);
  *out = writer;
  return rc;
}

/* Some of what was not noted, from the log: *to is how far it goes. */
static int find_unknown(store *store, const order_writer *writer, uint64_t most, row *row,
                        uint64_t *to, int *types) {
  int rc = MAPH_OK;
  view view;
  walk log;
  view_for_writing(store, writer->from, &view);
  walk_begin(&log, &view, writer->listed, writer->from);
  while (log.at < writer->listed + most && walk_next(&log, &rc)) {
    if (log.it.kind != KIND_PUT) continue;
    if ((*types & TYPES_ALL) != TYPES_ALL) *types |= types_of_put(&log.it);
    if (log.it.prev == 0) rc = row_add(row, log.it.offset);
  }
  *to = log.at;
  return rc;
}

/* What was noted.  Of the keys put anew the types are told when they are read to be sorted. */
static int copy_noted(store *store, const order_writer *writer, row *row, uint64_t *to,
                      int *types) {
  int rc;
  pthread_mutex_lock(&store->index_mutex);
  rc = row_make_room(row, writer->noted.count);
  if (rc == MAPH_OK) {
    if (writer->noted.count) memcpy(row->e, writer->noted.e, writer->noted.count * sizeof *row->e);
    row->count = writer->noted.count;
  }
  *to = writer->known;
  *types |= writer->retyped;
  pthread_mutex_unlock(&store->index_mutex);
  return rc;
}

/* --------------------------------------------------------------------------------------- writing
** */

/* A list of these runs takes the place of the one before. */
static int show(store *store, order_writer *writer, const uint64_t *payloads, size_t count,
                uint64_t to, int types) {
  uint64_t payload;
  int rc = leaf_write_list(store, payloads, count, to, types, &payload);
  if (rc != MAPH_OK) return rc;
  store_word(store->write_base, &header_of(store->write_base)->order, payload);
  pthread_mutex_lock(&store->index_mutex);
  rc = look_at_list(store, writer);
  pthread_mutex_unlock(&store->index_mutex);
  return rc;
}

/* The list with `count` runs from `at` on replaced by one, or by none where payload is 0. */
static int show_with(store *store, order_writer *writer, size_t at, size_t count, uint64_t payload,
                     uint64_t to, int types) {
  const run_list *list = writer->list;
  uint64_t payloads[RUNS_MOST + 1];
  size_t n = 0, i;
  for (i = 0; i < at; i++) payloads[n++] = list->run[i].payload;
  if (payload) payloads[n++] = payload;
  for (i = at + count; i < list->count; i++) payloads[n++] = list->run[i].payload;
  return show(store, writer, payloads, n, to, types);
}

/* The types of the keys that the list has, to which those of a new stretch are added; 0: they are
** not known, and whatever is added will not be. */
static int listed_types(store *store, const order_writer *writer) {
  if (writer->list->to == LOG_START) return TYPES_KNOWN;
  return writer->list->types ? writer->list->types : types_known(store, writer->list->to);
}

/* The list with a run of these keys, of which each put before `to` is one or was listed.
** adds_types: those of its keys are not in `types` yet.  for_merges: it is the first of many. */
static int write_run(store *store, order_writer *writer, row *row, uint64_t to, int types,
                     int adds_types, int for_merges) {
  run_making making;
  uint64_t payload = 0;
  view view;
  int rc = MAPH_OK;
  memset(&making, 0, sizeof making);
  making.from = writer->listed;
  making.to = to;
  making.spare = for_merges ? SPARE_FIRST : 0;
  making.dense = !for_merges;
  view_for_writing(store, committed(store), &view);
  view.base = store->write_base; /* its pages are there already */
  if (writer->list->count == RUNS_MOST)
    rc = fail(MAPH_FULL, "%s: the order of keys is in too many runs", store->path);
  if (rc == MAPH_OK)
    rc = order_sort(&view, row->e, row->count, &making.shared, adds_types && types ? &types : NULL);
  if (rc == MAPH_OK) rc = leaf_write_all(store, &view, &making, row->e, row->count);
  if (rc == MAPH_OK && row->count > 0) rc = leaf_finish(store, &view, &making, &payload);
  if (rc == MAPH_OK) rc = show_with(store, writer, writer->list->count, 0, payload, to, types);
  leaf_discard(&making);
  return rc;
}

/* A run of what is new: of a stretch that was not noted, of `most` bytes, if
** there is one.  *n: how many keys. */
static int append_run(store *store, order_writer *writer, uint64_t most, uint64_t *n) {
  row row = { NULL, 0, 0 };
  uint64_t to;
  int rc, listed = listed_types(store, writer), types = listed ? listed : TYPES_ALL,
          was_noted = writer->listed >= writer->from;
  rc = was_noted ? copy_noted(store, writer, &row, &to, &types)
                 : find_unknown(store, writer, most, &row, &to, &types);
  if (rc == MAPH_OK) rc = write_run(store, writer, &row, to, listed ? types : 0, was_noted, 1);
  *n = row.count;
  os_free(row.e);
  return rc;
}

/* --------------------------------------------------------------------------------------- merging
** */

/* How often runs of the least size, or twice that, were merged to make one as large. */
static unsigned tier_of(const run *run) {
  uint64_t most = 2 * run_least();
  unsigned tier = 0;
  for (; run->keys > most && tier < TIERS - 1; tier++) most *= TOGETHER;
  return tier;
}

/* Where the runs begin that no other merge has. */
static size_t first_free(const order_writer *writer) {
  int at = writer->tidy ? merge_place(writer->tidy, writer->list) : -1;
  return at < 0 ? 0 : (size_t)at + merge_count(writer->tidy);
}

/* Sixteen runs or more of a tier, or below it, that follow each other, with larger ones before.  0:
** there are not. */
static size_t due_to_merge(const order_writer *writer, unsigned tier, size_t *at) {
  const run_list *list = writer->list;
  size_t i = list->count, least = first_free(writer), first;
  while (i > least && tier_of(&list->run[i - 1]) < tier) i--;
  first = i;
  while (first > least && tier_of(&list->run[first - 1]) <= tier) first--;
  *at = first;
  return i - first >= TOGETHER ? i - first : 0;
}

/* For a tidy order: the largest stretch at the end in which the later runs are not much smaller,
** together, than the first. */
static size_t worth_merging(const run_list *list, size_t *at) {
  uint64_t behind = 0;
  size_t i, count = 0;
  for (i = list->count; i-- > 0; behind += list->run[i].keys) {
    if (behind == 0 || behind * 4 < list->run[i].keys) continue;
    *at = i;
    count = list->count - i;
  }
  return count;
}

/* For readers, who lost so much: the largest stretch at the end to which they lost as much as it
** has entries, and of which no run is much larger than those behind it together. */
static size_t worth_to_readers(const run_list *list, uint64_t lost, size_t *at) {
  uint64_t behind = 0, keys;
  size_t i, fewer, count = 0;
  for (i = list->count; i-- > 0; behind += keys) {
    keys = list->run[i].keys;
    fewer = list->count - i - 1;
    if (fewer == 0 || behind + behind / 8 < keys) continue;
    if (lost / (list->count - 1) * fewer < behind + keys) continue;
    *at = i;
    count = fewer + 1;
  }
  return count;
}

static void drop(merge **merge) {
  merge_end(*merge);
  *merge = NULL;
}

/* Some entries more of a merge.  It goes when it is done. */
static int merge_on(store *store, order_writer *writer, merge **merge, uint64_t entries) {
  uint64_t payload = 0;
  int rc = merge_some(store, *merge, entries, &payload);
  if (rc == MAPH_OK && payload)
    rc = show_with(store, writer, (size_t)merge_place(*merge, writer->list), merge_count(*merge),
                   payload, writer->list->to, writer->list->types);
  if (rc != MAPH_OK || payload) drop(merge);
  return rc;
}

static int merge_from(store *store, order_writer *writer, size_t at, size_t count, unsigned spare,
                      merge **merge) {
  view view;
  view_for_writing(store, writer->list->to, &view);
  return merge_begin(&view, &writer->list->run[at], count, spare, merge);
}

/* Each tier's merge goes on, or begins. */
static int merge_tiers(store *store, order_writer *writer, uint64_t entries) {
  unsigned tier;
  int rc = MAPH_OK;
  for (tier = 0; rc == MAPH_OK && tier < TIERS; tier++) {
    merge **merge = &writer->merge[tier];
    size_t at, count;
    if (*merge && merge_place(*merge, writer->list) < 0) drop(merge);
    if (*merge == NULL) {
      count = due_to_merge(writer, tier, &at);
      if (count == 0) continue;
      rc = merge_from(store, writer, at, count, SPARE_MERGED, merge);
    }
    if (rc == MAPH_OK) rc = merge_on(store, writer, merge, entries);
  }
  return rc;
}

/* A merge of the runs from `at` on begins.  Others that have some of these end. */
static int begin_tidy(store *store, order_writer *writer, size_t at, int asked) {
  unsigned tier;
  int rc;
  for (tier = 0; tier < TIERS; tier++) {
    merge **merge = &writer->merge[tier];
    if (*merge && merge_place(*merge, writer->list) + (int)merge_count(*merge) > (int)at)
      drop(merge);
  }
  rc = merge_from(store, writer, at, writer->list->count - at, asked ? SPARE_MERGED : 0,
                  &writer->tidy);
  writer->asked = rc == MAPH_OK && asked;
  return rc;
}

/* That merge goes on, if there is one and its runs are listed. */
static int tidy_on(store *store, order_writer *writer, uint64_t entries) {
  int rc = MAPH_OK;
  if (writer->tidy && merge_place(writer->tidy, writer->list) < 0) drop(&writer->tidy);
  if (writer->tidy) rc = merge_on(store, writer, &writer->tidy, entries);
  if (writer->tidy == NULL) writer->asked = 0;
  return rc;
}

/* One merge alone, of what is worth it. */
static int merge_to_tidy(store *store, order_writer *writer, int *more) {
  size_t at = 0;
  int rc = MAPH_OK;
  if (writer->tidy && merge_place(writer->tidy, writer->list) < 0) drop(&writer->tidy);
  if (writer->tidy == NULL) {
    if (worth_merging(writer->list, &at) < 2) return MAPH_OK;
    rc = begin_tidy(store, writer, at, 0);
  }
  if (rc == MAPH_OK) rc = tidy_on(store, writer, TIDY_MOST * run_least());
  *more = rc == MAPH_OK;
  return rc;
}

/* A slice of a merge for readers, if they lost enough.  relaxed: it is a count, and what they lose
** meanwhile may be lost. */
static int merge_for_readers(store *store, order_writer *writer) {
  uint64_t lost;
  size_t at = 0;
  int rc = MAPH_OK;
  if (!is_asked(store, writer)) return MAPH_OK;
  if (writer->tidy == NULL) {
    writer->asked = 0;
    lost = atomic_load_explicit(&store->order_lost, memory_order_relaxed);
    writer->look_at = lost + run_least();
    if (worth_to_readers(writer->list, lost, &at) < 2) return MAPH_OK;
    atomic_store_explicit(&store->order_lost, 0, memory_order_relaxed);
    writer->look_at = run_least();
    rc = begin_tidy(store, writer, at, 1);
  }
  return rc == MAPH_OK ? tidy_on(store, writer, run_least() / ASKED_PARTS) : rc;
}

/* ------------------------------------------------------------------------------------- the calls
** */

/* A run if one is due, of what was not noted first, then of what was; and slices of merging, for
** the keys that came since the last one, and for readers. */
static int keep_up(store *store, order_writer *writer) {
  uint64_t noted = seen_count(writer), came = noted - MIN(noted, writer->merged), n;
  int rc = MAPH_OK, times, unknown;
  writer->merged = noted;
  for (times = 0; rc == MAPH_OK && times < 2 && is_run_due(writer); times++) {
    unknown = writer->listed < writer->from;
    rc = append_run(store, writer, WALK_MOST, &n);
    if (unknown) came += n;
    writer->merged = seen_count(writer);
  }
  if (rc == MAPH_OK && came) rc = merge_tiers(store, writer, MERGE_TIMES * came);
  return rc == MAPH_OK ? merge_for_readers(store, writer) : rc;
}

static int is_merging(const order_writer *writer) {
  unsigned tier;
  size_t at;
  for (tier = 0; tier < TIERS; tier++)
    if (writer->merge[tier] || due_to_merge(writer, tier, &at)) return 1;
  return 0;
}

static int make_runs(store *store) {
  order_writer *writer = store->order_writer.p;
  uint64_t least;
  int rc;
  if (writer == NULL) {
    pthread_mutex_lock(&store->index_mutex);
    writer = start(store);
    pthread_mutex_unlock(&store->index_mutex);
    if (writer == NULL || !is_due(store, writer)) return MAPH_OK;
  }
  least = run_least();
  rc = begin(store, &writer);
  if (rc == MAPH_OK) rc = keep_up(store, writer);
  if (writer == NULL) return store->unsettled ? rc : MAPH_OK;
  writer->not_before = rc == MAPH_OK ? 0 : seen_count(writer) + least;
  writer->next = MAX(writer->not_before, least);
  if (rc == MAPH_OK && is_merging(writer))
    writer->next = MIN(least, seen_count(writer) + least / SLICES + 1);
  return store->unsettled ? rc : MAPH_OK;
}

/* What fails and leaves the store as it was is tried again later, and nothing is said of it. */
static __attribute__((noinline)) int follow(store *store, int said) {
  sentence before;
  int rc;
  error_keep(&before);
  rc = grant_header(store) == MAPH_OK ? make_runs(store) : MAPH_OK;
  if (!said) error_put_back(&before);
  return error_done(rc, &before, store->path);
}

/* May a run be due?  It takes room of its own, which a nearly full disk keeps for transactions. */
static inline int may_be_due(store *store) {
  const order_writer *writer = store->order_writer.p;
  assert(store_has_turn(store) && store_has_lock(store));
  if (likely(writer != NULL && !is_due(store, writer))) return 0;
  return order_is_kept(store) && !(grant_needed(store) && grant_scarce(store));
}

int order_keep_up(store *store) { return may_be_due(store) ? follow(store, 1) : MAPH_OK; }

void order_follow(store *store) {
  if (may_be_due(store)) follow(store, 0);
}

int order_tidy(store *store, int *more) {
  order_writer *writer;
  uint64_t n;
  int rc;
  assert(store_has_turn(store) && store_has_lock(store));
  *more = 0;
  if (!order_is_kept(store)) return MAPH_OK;
  rc = grant_header(store);
  if (rc == MAPH_OK) rc = begin(store, &writer);
  if (rc != MAPH_OK || seen_known(writer) == writer->listed)
    return rc == MAPH_OK ? merge_to_tidy(store, writer, more) : rc;
  *more = 1;
  if (writer->asked) drop(&writer->tidy); /* the one that follows has what is appended too */
  writer->asked = 0;
  return append_run(store, writer, WALK_MOST, &n);
}

int order_make_all(store *store, row *row, int types) {
  order_writer *writer;
  int rc = begin(store, &writer);
  assert(order_is_kept(store));
  return rc == MAPH_OK ? write_run(store, writer, row, committed(store), TYPES_KNOWN | types, 0, 0)
                       : rc;
}

/* Every node of a run has its sum, and lies where nothing will be written. */
static int verify_run(const view *view, const run *run) {
  uint64_t i, most = view->store->space_end, at = run->payload;
  int rc = MAPH_OK;
  for (i = 0;; i++) {
    node node;
    rc = run_node(view, at, &node);
    if (rc == MAPH_OK && (at > most || node_bytes(&node) > most - at)) rc = MAPH_NOTFOUND;
    if (rc == MAPH_OK) rc = run_verify(view, at);
    if (rc != MAPH_OK || i == run->root.entries) return rc;
    at = node_offset(&run->root, i);
  }
}

/* The runs that the word leads to, all of them whole, as a list of this life. */
static int renew(store *store, const run_list *list, uint64_t life, uint64_t limit,
                 uint64_t *payload) {
  uint64_t payloads[RUNS_MOST];
  size_t i;
  view view;
  int rc = MAPH_OK;
  view_for_writing(store, limit, &view);
  if (list->to == LOG_START || list->to > limit || list->life != life) return MAPH_NOTFOUND;
  for (i = 0; rc == MAPH_OK && i < list->count; i++) {
    payloads[i] = list->run[i].payload;
    rc = verify_run(&view, &list->run[i]);
  }
  return rc == MAPH_OK
             ? leaf_write_list(store, payloads, list->count, list->to, list->types, payload)
             : rc;
}

int order_renew(store *store, uint64_t life, uint64_t limit) {
  word *order = &header_of(store->write_base)->order;
  uint64_t payload = 0;
  run_list *list = NULL;
  view view;
  int rc, unsettled = store->unsettled;
  attach(&store->order_writer, NULL, NULL);
  if (!order_is_kept(store) || atomic_load(order) == 0) return MAPH_OK;
  store->unsettled = 0;
  view_for_writing(store, limit, &view);
  rc = runs_load(&view, atomic_load(order), &list);
  if (rc == MAPH_OK) rc = renew(store, list, life, limit, &payload);
  store_word(store->write_base, &header_of(store->write_base)->order, rc == MAPH_OK ? payload : 0);
  runs_let_go(list);
  if (store->unsettled) return rc;
  store->unsettled = unsettled;
  return MAPH_OK;
}
