/*
** differ.h - how a bucket differs from a store that is published to it.
**
** The bucket is read once, with 16 bytes of memory a key.  What is told of a key is what the last
** message of it says.
*/
#ifndef MAPH_NATS_DIFFER_H
#define MAPH_NATS_DIFFER_H

#include "nats/outgoing.h"

typedef struct differences differences;

/* Read all that the bucket has, up to its last message now, which is *last. */
stream_rc differences_find(connection *connection, const outgoing_rules *rules,
                           maph_snapshot *snapshot, uint64_t *last, differences **found);
/* Each key that is not in the bucket as it is in the snapshot: what it should be.  there: the
** bucket has the key.  False ends it.  It may be told again.  OK, or what maph says. */
typedef bool (*difference_tell)(void *arg, const maph_entry *entry, bool deleted, bool there);
int differences_tell(const differences *differences, maph *store, difference_tell tell, void *arg);
void differences_free(differences *differences); /* NULL: no-op */

#endif
