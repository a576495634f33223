/*
** intake.h - a load into a store that is there and empty.
*/
#ifndef MAPH_INTAKE_H
#define MAPH_INTAKE_H

#include "calls/handle.h"
#include "file/header.h"
#include "file/store.h"
#include "writer/create.h"

/* The store that the load is for.  handle NULL: there is none, and a new one is made. */
typedef struct intake {
  maph *handle;
  store *store;
  uint64_t keys; /* that its index is made for */
} intake;

/* creation, identity: of the file that the load fills, which belongs to that store.  EXISTS: it is
** not empty, or not as it was made.  CANTOPEN BUSY IOERR NOMEM.  Call intake_end
** after a failure too. */
int intake_begin(intake *intake, const char *path, int busy_timeout_ms, creation *creation,
                 header_identity *identity);
/* What was loaded into `from`, which is complete, is in the store and on disk.  `from` has the
** store's name then, or is not needed any more.  BUSY FULL IOERR CANTOPEN CANCELLED NOMEM */
int intake_finish(intake *intake, const creation *creation, store *from);
void intake_end(intake *intake);

#endif
