/*
** group.h - which messages of a bucket belong together, and behind which a replica may commit.
**
** A store that is published (publish.h) has transactions of several keys.  Each message of one says
** so in a header, and the last one that it is the last:
**
**     Maph-Txn: VERSION
**     Maph-Txn: VERSION;last
**
** A replica commits behind a last one, so that its readers never see a part of a transaction.  An
** open one that goes on under another version is still one: its publisher died in the middle, and
** compared the store with the bucket since.
**
** SUPERSEDED.  A bucket keeps the latest messages of a key.  One that was superseded before it was
** delivered leaves a hole in the sequences, and its transaction is incomplete.  The message that
** superseded it is on its way: its sequence is at most the bucket's last one when the hole was
** seen.  Whoever has all messages up to there lacks nothing, at the next end of a transaction.
**
** SEVERAL SERVERS.  Where they hold the bucket, its leader tells its last sequence, and another one
** may deliver, which can be ahead of the leader: under load by some hundred messages, or more
** where the leader is a new one.  So what that server says counts too: with each message, how many
** it has behind it.  Those that it had behind the hole are taken first; then the leader is asked,
** and again where it has less than was delivered.
**
** NOT PROVEN.  nats-server counts a message a moment after it has stored it.  What superseded the
** hole is missed where it is neither counted nor delivered while the question is under way, and the
** leader has not stored it either.
**
** GIVEN UP.  A transaction that grows beyond GROUP_BYTES, or of which nothing comes for a time, or
** that is followed by a message of none, is taken as it comes, and counted.
*/
#ifndef MAPH_NATS_GROUP_H
#define MAPH_NATS_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "maph.h"

#define GROUP_BYTES (UINT64_C(64) << 20)
enum { GROUP_AGAIN_MS = 20 }; /* a leader that is behind is asked again so much later */

typedef enum txn_part { TXN_NONE, TXN_PART, TXN_LAST } txn_part;
/* What the header says, and of which version; data NULL: there is none.  NONE: also of one that is
** no such thing. */
txn_part group_read(maph_slice header, uint64_t *version);

typedef struct group {
  bool published;              /* a message of a transaction came: then holes matter */
  bool open;                   /* its last message has not come */
  bool hole;                   /* one was seen since the bucket's last sequence was asked */
  bool replicated;             /* the server that delivers may be ahead of the one that is asked */
  uint64_t behind;             /* so many messages are to come that it had when the hole was seen */
  unsigned long long again_ms; /* when the leader may be asked again */
  uint64_t cover;              /* that sequence: below it something may lack */
  uint64_t bytes;              /* of the open transaction */
  unsigned long long came_ms;  /* the last message */
  uint64_t torn;               /* transactions that were given up */
} group;

/* behind: so many messages the server has to deliver still; UINT64_MAX: the next one will tell. */
void group_hole(group *group, uint64_t behind);
void group_take(group *group, txn_part part, size_t size, uint64_t behind,
                unsigned long long now_ms);
/* The server has nothing more to deliver, whatever it had counted. */
void group_at_rest(group *group);
/* Is the bucket's last sequence to be asked, before anything can be whole?  Then tell it. */
bool group_asks(const group *group, uint64_t at, unsigned long long now_ms);
void group_cover(group *group, uint64_t at, uint64_t last, unsigned long long now_ms);
/* Does it end with whole transactions, where the last message is the one at `at`? */
bool group_is_whole(const group *group, uint64_t at);
/* Is it too large, or too long in coming?  Then give it up: it counts as whole. */
bool group_is_overdue(const group *group, unsigned long long now_ms, uint64_t patience_ms);
void group_give_up(group *group);

#endif
