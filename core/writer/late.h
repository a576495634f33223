/*
** late.h - the last records of a large transaction, kept back and written many at a time.
**
** All calls are made in a session.  `position` is where the transaction's next record goes.
*/
#ifndef MAPH_LATE_H
#define MAPH_LATE_H

#include "file/layout.h"
#include "file/store.h"

/* All zero: nothing is kept back. */
typedef struct late {
  uint8_t *bytes; /* NULL: all records are in the log, and go there at once */
  uint64_t at, size;
  int never;  /* nothing more is kept back */
  int failed; /* what a lookup wanted could not be written: why */
} late;

/* Room for `need` bytes, in the log or kept back.  FULL NOMEM IOERR */
int late_room(late *late, store *store, uint64_t position, uint64_t need);
/* Keep a record back, where bytes is not NULL, after late_room. */
void late_put(late *late, store *store, uint64_t position, const put_parts *put, uint64_t *size,
              uint64_t *bytes_8_to_15);
/* What was kept back is in the log.  FULL NOMEM IOERR */
int late_write(late *late, store *store);
/* The same, and nothing is kept back until late_room begins anew. */
int late_finish(late *late, store *store, uint64_t position);
/* Write it for a lookup; 0: it could not, and `failed` says why. */
int late_show(late *late, store *store);

/* Does the record lie where no reader finds it? */
static inline int late_has(const late *late, uint64_t offset) {
  return late->size > 0 && offset >= late->at;
}

#endif
