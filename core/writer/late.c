/*
** late.c - the last records of a large transaction, kept back and written many at a time.
**
** A store into a new page of a mapping costs the system far more than the bytes do: it clears the
** page, asks the file system for it, and enters it into the tables of this process.  A write of
** many pages at once costs little more than copying.  So the records of a transaction that has
** become large are laid out in memory, and go to the log some hundred at a time by pwrite.  Small
** transactions store into pages that are there already, which no call of the system can match.
**
** INVARIANT  The bytes of the log in [late.at, late.at + late.size) are in late.bytes alone, and
** late.at + late.size is the transaction's position.  Whoever reads the transaction's records or
** stores into them has them written before: a lookup that meets a record kept back, a snapshot, a
** savepoint that is rolled back, the commit.  Abort forgets them.
**
** A transaction that looks up what it has just put would have each record written by itself.  So
** after the first such lookup, and the put that may have made it, nothing more is kept back.
**
** Wherever records are kept back anew, at the begin, after a write, a snapshot or a savepoint that
** was rolled back, room is granted for as many as can be, and it is asked again whether that pays.
**
** On copy-on-write file systems records go through pwrite one by one (log.c), and where the disk is
** nearly full they take no more room than they need: there nothing is kept back.
*/
#include "writer/late.h"
#include "file/grant.h"
#include "file/log.h"
#include "file/reserve.h"

enum {
  LATE_ROOM = 256 * 1024,  /* bytes kept back at most */
  LATE_RECORD = 32 * 1024, /* larger records are stored at once */
  LATE_FROM = 1024 * 1024  /* bytes of a large transaction; as reserve_room has it */
};

static int pays(const late *late, store *store, uint64_t position, uint64_t need) {
  return !late->never && !store->bulk && need <= LATE_RECORD
         && position + need - store->space_end > LATE_FROM && store->file.file_system == OS_LOCAL
         && !store->in_memory && !grant_scarce(store);
}

/* Memory, and granted room in the file.  Without them records go to the log at once, and nothing is
** said. */
static int begin(late *late, store *store, uint64_t position, uint64_t need) {
  sentence before;
  int rc = MAPH_OK;
  if (!pays(late, store, position, need)) return 0;
  error_keep(&before);
  if (late->bytes == NULL && (late->bytes = os_alloc(LATE_ROOM)) == NULL) rc = MAPH_NOMEM;
  if (rc == MAPH_OK) rc = reserve_space(store, position + LATE_ROOM);
  if (rc != MAPH_OK) error_put_back(&before);
  return rc == MAPH_OK;
}

int late_room(late *late, store *store, uint64_t position, uint64_t need) {
  int rc;
  /* begin has asked for LATE_ROOM from late->at on */
  if (late->size > 0 && !late->never && need <= LATE_RECORD && late->size + need <= LATE_ROOM)
    return MAPH_OK;
  rc = late_write(late, store);
  if (rc != MAPH_OK || begin(late, store, position, need)) return rc;
  late_finish(late, store, position);
  return reserve_room(store, position + need);
}

void late_put(late *late, store *store, uint64_t position, const put_parts *put, uint64_t *size,
              uint64_t *bytes_8_to_15) {
  if (late->size == 0) late->at = position;
  assert(late->at + late->size == position);
  log_lay_out(store, position, put, late->bytes + late->size, size, bytes_8_to_15);
  late->size += *size;
  assert(late->size <= LATE_ROOM);
}

int late_write(late *late, store *store) {
  int rc;
  if (likely(late->size == 0)) return MAPH_OK;
  rc = log_write_bytes(store, late->at, late->bytes, late->size);
  if (rc != MAPH_OK) return rc;
  late->at += late->size;
  late->size = 0;
  return MAPH_OK;
}

/* What was written needs no page of the mapping; what is stored behind it does. */
int late_finish(late *late, store *store, uint64_t position) {
  int rc = late_write(late, store);
  if (rc != MAPH_OK || likely(late->bytes == NULL)) return rc;
  os_free(late->bytes);
  late->bytes = NULL;
  store->populated = MAX(store->populated, position);
  return MAPH_OK;
}

int late_show(late *late, store *store) {
  late->never = 1;
  late->failed = late_write(late, store);
  return late->failed == MAPH_OK;
}
