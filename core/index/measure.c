/*
** measure.c - walks over the index: its segments, each once, and their slots.
*/
#include "file/store.h"
#include "index/measure.h"
#include "index/segment.h"
#include "index/slot.h"

/* The distinct segments of the directory, overflow included, each once. */
typedef int (*segment_fn)(void *arg, const view *view, uint64_t segment, uint64_t hash,
                          uint64_t depth);
static int each_segment(const view *view, uint64_t *depth_of_directory, segment_fn each,
                        void *arg) {
  uint64_t root = acquire(&header_of(view->base)->root), directory = word_place(root),
           depth = word_depth(root), i, last = 0, seen = 0;
  int rc = MAPH_OK;
  if (depth > HASH_BITS || directory < LOG_START + RECORD_HEAD || directory > OFFSET_MAX) {
    return fail_corrupt(view->store->path, offsetof(header, root), "the index's root is damaged");
  }
  rc = view_reach(view, directory + ((uint64_t)8 << depth));
  *depth_of_directory = depth;
  for (i = 0; rc == MAPH_OK && i >> depth == 0; i++) {
    uint64_t segment = acquire(word_at(view->base, directory) + i),
             hash = depth ? i << (64 - depth) : 0;
    if (segment == last) continue;
    last = segment;
    while (rc == MAPH_OK && segment != 0) {
      uint64_t next;
      rc = segment_sound(view, segment);
      if (rc != MAPH_OK) break;
      if (segment != last && depth_of(view->base, segment) != depth_of(view->base, last)) {
        return fail_corrupt(view->store->path, segment,
                            "an overflow segment's depth is not that of the one that names it");
      }
      if (++seen > view->size / SEGMENT_SIZE)
        return fail_corrupt(view->store->path, directory + 8 * i,
                            "the directory names more segments than the file has room for");
      rc = each(arg, view, segment, hash, depth_of(view->base, segment));
      next = word_place(acquire(link_of(view->base, segment)));
      if (rc == MAPH_OK && next != 0 && next < segment + SEGMENT_SIZE)
        rc = fail_corrupt(view->store->path, segment,
                          "an overflow segment does not lie behind the one that names it");
      segment = next;
    }
  }
  return rc;
}

typedef struct measuring {
  index_shape *shape;
  index_visit_fn visit;
  void *arg;
} measuring;

static int measure_segment(void *arg, const view *view, uint64_t segment, uint64_t hash,
                           uint64_t depth) {
  measuring *measuring = arg;
  uint64_t i;
  int rc = MAPH_OK;
  /* root is stored before depth when the directory grows */
  atomic_thread_fence(memory_order_acquire);
  if (depth > HASH_BITS || depth > word_depth(acquire(&header_of(view->base)->root)))
    return fail_corrupt(view->store->path, segment, "a segment's depth is impossible");
  measuring->shape->segments++;
  measuring->shape->bytes += RECORD_HEAD + SEGMENT_SIZE + RECORD_HEAD;
  if (!measuring->visit) return MAPH_OK;
  for (i = 0; rc == MAPH_OK && i < SEGMENT_BUCKETS * BUCKET_SLOTS; i++) {
    uint64_t slot = acquire(word_at(view->base, segment) + i);
    if (slot_free(slot, hash, depth)) continue;
    rc = measuring->visit(measuring->arg, segment + i * 8, (unsigned)(i / BUCKET_SLOTS), slot);
  }
  return rc;
}

int index_measure(const view *view, index_shape *shape) {
  measuring measuring = { shape, NULL, NULL };
  int rc;
  memset(shape, 0, sizeof *shape);
  rc = each_segment(view, &shape->depth, measure_segment, &measuring);
  shape->bytes += RECORD_HEAD + ((uint64_t)8 << shape->depth);
  return rc;
}

int index_walk(const view *view, index_visit_fn visit, void *arg) {
  index_shape shape;
  measuring measuring = { &shape, visit, arg };
  memset(&shape, 0, sizeof shape);
  return each_segment(view, &shape.depth, measure_segment, &measuring);
}
