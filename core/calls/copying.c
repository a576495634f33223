/*
** copying.c - the live records of a snapshot, read in the old file and written to a new generation.
**
** The checksum of each record is verified in the old file before the record is copied, so that
** damage is reported and does not get a new checksum.  writer/load.c makes the file.
*/
#include "calls/copying.h"
#include "file/record.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/lookup.h"
#include "order/node.h"

#include <string.h>

enum {
  BROUGHT_BYTES = 512, /* of each record that is brought into the cache */
  LINE = 64
};

int copying_begin(copying *copying, rewriting *rewriting) {
  int rc;
  memset(copying, 0, sizeof *copying);
  copying->rewriting = rewriting;
  rc = view_at(rewriting->from, rewriting->snapshot->snapshot, &copying->view);
  return rc == MAPH_OK ? load_begin(&copying->load, rewriting->to, &rewriting->how) : rc;
}

int copying_end(copying *copying, int rc) {
  rewriting *rewriting = copying->rewriting;
  if (rc == MAPH_OK) rc = load_finish(&copying->load);
  rewriting->result.records = copying->load.records;
  load_clear(&copying->load);
  rewriting->result.memory_bytes =
      MAX(rewriting->result.memory_bytes, rewriting->memory + copying->load.peak);
  return rc;
}

int copying_indexed(copying *copying, const item *it) {
  uint64_t hash = index_hash(copying->rewriting->to, maph_bytes(it->key, it->key_size));
  int rc = record_verify(&copying->view, it->offset, it->size);
  return rc == MAPH_OK ? load_copy(&copying->load, it, hash) : rc;
}

static int is_wanted(rewriting *rewriting, const view *view, const item *it, int *rc) {
  if (it->kind != KIND_PUT || !item_newest(view, it, rc)) return 0;
  if (!rewriting->drop_expired || !item_expired(it, rewriting->snapshot->now)) return 1;
  rewriting->dropped++;
  return 0;
}

int copying_each_live(rewriting *rewriting, const char *phase, copying_fn each, void *arg) {
  uint64_t n = 0;
  view view;
  walk walk;
  int rc = view_at(rewriting->from, rewriting->snapshot->snapshot, &view);
  walk = walk_from(&view, LOG_START, view.snapshot);
  rewriting->dropped = 0;
  while (walk_next(&walk, &rc)) {
    if (is_wanted(rewriting, &view, &walk.it, &rc)) rc = each(arg, &walk.it);
    if (rc == MAPH_OK && (++n % COPYING_BATCH == 0 || walk.it.size > COPYING_LARGE))
      rc = rewrite_tell(rewriting, phase, walk.at, view.snapshot);
  }
  return rc;
}

/* By loads: see node_bring. */
void copying_bring(const view *view, const uint64_t *offset, uint64_t n) {
  const uint8_t *start[COPYING_BROUGHT];
  uint64_t i, at;
  for (i = 0; i < n; i++) bring(start[i] = record_start(view, offset[i]));
  for (i = 0; i < n; i++) {
    uint64_t size = MIN(record_about(view, offset[i], start[i]), (uint64_t)BROUGHT_BYTES);
    if (offset[i] + BROUGHT_BYTES > view->snapshot) continue;
    for (at = LINE; at < size; at += LINE) bring(start[i] + at);
    bring(start[i] + size - 1);
  }
}
