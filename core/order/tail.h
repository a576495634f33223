/*
** tail.h - the keys that came since the last run, sorted in memory.
*/
#ifndef MAPH_TAIL_H
#define MAPH_TAIL_H

#include "file/store.h"
#include "order/node.h"
#include "order/sort.h"

/* Nodes in memory, each of its own stretch of the log; together all new keys of [from, to).  It
** does not change. */
typedef struct cover {
  atomic_uint users;
  uint64_t from, to;
  size_t count;
  struct piece *piece[];
} cover;

/* New keys of the log from `from` up to the view's end at least: perhaps from before `from` too,
** or past that end.  To be let go.  CORRUPT NOMEM */
int tail_take(const view *view, uint64_t from, cover **cover);
/* The same of an open transaction's records [from, the view's end), kept for nobody else. */
int tail_take_alone(const view *view, uint64_t from, cover **cover);
void tail_let_go(cover *cover); /* NULL: no-op */
const node *tail_node(const cover *cover, size_t i);

#endif
