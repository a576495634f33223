/*
** put.c - single puts and deletes: each is a transaction of one operation.
**
** Where it need not wait for the disk, its end is spelled out here: session_commit would find the
** same, by some calls more.
*/
#include "calls/count.h"
#include "calls/handle.h"
#include "calls/rewrite.h"
#include "format.h"
#include "writer/commit.h"
#include "writer/session.h"
#include "writer/txn.h"

/* End the transaction as rc says. */
static inline int end_alone(maph *m, txn *txn, int rc) {
  if (rc == MAPH_OK) rc = commit_reserve(txn);
  if (rc == MAPH_OK && txn->durability != MAPH_SYNC_FULL) {
    rc = commit_publish_now(txn);
    session_end(txn->store);
  } else if (rc == MAPH_OK) {
    rc = session_commit(txn);
  } else {
    session_give_up(txn);
  }
  txn_clear(txn);
  if (unlikely(rc != MAPH_OK)) return handle_failed(m, rc);
  rewrite_if_due(m);
  return rc;
}

static int write_alone(maph *m, int kind, maph_slice key, maph_slice value,
                       const maph_condition *condition) {
  txn txn;
  int rc = handle_begin(m, condition ? condition->durability : MAPH_SYNC_DEFAULT, &txn);
  if (unlikely(rc != MAPH_OK)) return handle_failed(m, rc);
  return end_alone(m, &txn, txn_write(&txn, kind, key, value, condition));
}

int maph_put(maph *m, maph_slice key, maph_slice value) {
  return write_alone(m, KIND_PUT, key, value, NULL);
}
int maph_delete(maph *m, maph_slice key) {
  return write_alone(m, KIND_DELETE, key, maph_bytes(NULL, 0), NULL);
}
int maph_put_if(maph *m, maph_slice key, maph_slice value, const maph_condition *condition) {
  return write_alone(m, KIND_PUT, key, value, condition);
}
int maph_delete_if(maph *m, maph_slice key, const maph_condition *condition) {
  return write_alone(m, KIND_DELETE, key, maph_bytes(NULL, 0), condition);
}

int maph_increment(maph *m, maph_slice key, int64_t by, const maph_condition *condition,
                   int64_t *sum) {
  txn txn;
  int rc = handle_begin(m, condition ? condition->durability : MAPH_SYNC_DEFAULT, &txn);
  if (unlikely(rc != MAPH_OK)) return handle_failed(m, rc);
  return end_alone(m, &txn, count_up(&txn, m->options.verify, key, by, condition, sum));
}
