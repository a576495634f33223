/*
** publish.h - a store that one machine writes, on its way to a bucket.
**
** The feed of the store goes to the bucket, change by change, in order; each message says of which
** store and of which transaction it is, the last one of a transaction that it is the last:
**
**     Maph-Store: STORE-PUBLISHER     16 digits of the store's uuid, 8 of who sent it
**     Maph-Txn: VERSION[;last]        what followers keep together (group.h)
**     Maph-Part: BEFORE;N             but of the last: the N-th change behind version BEFORE
**     Nats-Expected-Last-Sequence     nobody wrote to the bucket since the one before (pipe.h)
**
** WHERE IT GOES ON.  The bucket's last message says what the bucket has, so whatever dies, nothing
** is sent twice or left out.  It is believed where what is behind the last message that was
** acknowledged is this store's (pipe.h), and is there as far as it counts (tail.h).  Where it is
** not, or the feed does not reach back to there, the bucket is compared with the store, and what
** differs is sent as one transaction.
**
** ANOTHER STORE may take the file's name at any time.  Feeds of the one before end with COMPACTED,
** so that nothing of the two is mixed: a transaction that was sent in part stays open until the
** comparison's has come, which is the other store's content whole.
**
** ONE WRITER.  A bucket that somebody else has written to is left alone, and the publisher ends:
** somebody has to say which of the two is right.  So does one where a message is of this store, but
** by another publisher that began later, as of a copy of the file on another machine; within the
** first seconds that is what the one before had on its way.  A bucket that is ahead of the file, as
** after the file was restored from an older copy, is left alone too.
**
** WHAT CANNOT BE SENT.  A transaction is judged before its first message leaves: each key by the
** form that it has in the bucket, each value by what the server and the bucket take.  Where one of
** them cannot be sent nothing of the transaction is, and the publisher ends.  With --skip-too-large
** such a value goes as a delete and such a key not at all, and the rest of the transaction goes.
** A change that a later one undid stops nothing.
**
** FILE.publish is beside the store what FILE.replica is beside a replica (sidecar.h): its lock
** makes sure of one publisher a file.
*/
#ifndef MAPH_NATS_PUBLISH_H
#define MAPH_NATS_PUBLISH_H

#include <sys/types.h>
#include "nats/outgoing.h"
#include "nats/pipe.h"
#include "nats/sidecar.h"

typedef struct publisher {
  const char *path, *bucket;
  sidecar notes;
  unsigned me;              /* of this run, its children included */
  unsigned long long began; /* ticks_ms */
  maph *store;              /* NULL: not open */
  dev_t device;             /* of its file, when it was opened */
  ino_t inode;
  uint64_t store_id;
  uint64_t target; /* the file's version when it was opened first */
  bool compare;    /* all keys are to be compared before it goes on */
  bool reopen;     /* the handle is no use any more */
  bool refused;    /* the bucket had another last message than was expected */
} publisher;

typedef enum publishing {
  PUBLISHING_DONE,  /* told to end, or --once has all */
  PUBLISHING_AGAIN, /* after a while, longer each time */
  PUBLISHING_NOW,   /* at once */
  PUBLISHING_FATAL  /* never: what stands in the way was said */
} publishing;

/* One connection, until something is not in order. */
publishing publish_session(publisher *publisher);
/* The server was heard now.  Where the clock was set back since it was heard last, a comparison may
** have taken entries for over that are not: there is another one. */
void publisher_heard(publisher *publisher);
/* Note what ended a session, or stands in the way; returns `end`. */
__attribute__((format(printf, 3, 4))) publishing publish_says(publisher *publisher, publishing end,
                                                              const char *format, ...);
/* The server did not do what it was asked for. */
publishing publish_lost(publisher *publisher, stream_rc rc, replica_state state);
/* The store is opened anew.  What hangs on its handle is closed before, at the session's end. */
publishing publish_reopens(publisher *publisher, publishing end);
/* The same where a call on the store failed just now. */
publishing publish_unread(publisher *publisher);

/* sending.c: changes of transactions, through a pipe. */
typedef struct sending {
  publisher *publisher;
  pipeline *pipe;
  outgoing_rules rules;
  uint64_t version; /* of the transaction that is sent */
  uint64_t before;  /* of the one before it; 0: none is known, it is not of the feed */
  uint64_t index;   /* of its changes, that of the one that waits */
  uint64_t whole;   /* the last transaction of which all was sent */
} sending;
/* May that change be sent?  NOW: it may, or need not be.  FATAL: its transaction cannot. */
publishing sending_judge(sending *sending, const maph_entry *entry, bool deleted);
/* The next change, of that transaction, which was judged.  NOW: go on. */
publishing sending_take(sending *sending, const maph_entry *entry, bool deleted, uint64_t index);
/* All of the transaction was taken. */
publishing sending_end(sending *sending);
/* Take acknowledgements, while more is on its way than `most`; at least those that have come. */
publishing sending_listen(sending *sending, size_t most, int timeout_ms);

#endif
