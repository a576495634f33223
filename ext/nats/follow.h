/*
** follow.h - a replica and its follower: what outlives a session with a server.
*/
#ifndef MAPH_NATS_FOLLOW_H
#define MAPH_NATS_FOLLOW_H

#include <sys/types.h>
#include "nats/batch.h"
#include "nats/sidecar.h"

/* A new file on its way: it goes on in the next session where the bucket is the same. */
typedef struct building {
  batch batch;   /* its load NULL: none is being built */
  delivery last; /* one that may be the last; its message NULL: none */
  uint8_t uuid[16];
  uint64_t target;    /* the bucket's last sequence when it began: then the file is whole */
  uint64_t target_ms; /* when the server told it, by our clock */
  bool unsure;        /* whether all of it is still the bucket's */
} building;

/* A key that the bucket has no more, and no message tells of it. */
typedef struct ghost {
  struct ghost *next;
  uint64_t version;
  size_t size;
  char key[];
} ghost;

typedef struct follower {
  const char *bucket, *path;
  char *sync_path; /* FILE.sync, where the new file is made */
  unsigned mode;
  int durability;
  sidecar sidecar;
  maph *store;  /* the replica; NULL: there is none */
  dev_t device; /* of its file, when it was opened */
  ino_t inode;
  building building;
  bool warned;   /* that the bucket lets go of keys where it is full */
  bool doubt;    /* all keys are to be compared before it goes on */
  bool reopen;   /* the handle is no use any more */
  bool rebuild;  /* a new file is to be built */
  ghost *ghosts; /* to be deleted with the next message */
  uint64_t ghosts_count;
  unsigned long long listed; /* when all keys were compared last; 0: never */
  /* Where the leader's last messages differed last, since when, and how often: decide_again. */
  uint64_t disputed;
  unsigned long long disputed_at;
  unsigned disputes;
} follower;

typedef enum ending {
  ENDING_TOLD,  /* it was told to end */
  ENDING_AGAIN, /* after a while, longer each time */
  ENDING_LOST,  /* soon: messages were left out, and are asked for again */
  ENDING_FULL,  /* in a second: the store takes nothing at the moment */
  ENDING_NOW,   /* at once */
  ENDING_FATAL  /* never: what stands in the way was said */
} ending;

/* follow.c: the notes have their name, or get it again. */
ending follower_keep_notes(follower *follower);
/* session.c: one connection, from the store's version on, until something is not in order. */
ending session_run(follower *follower);
/* Open the replica, if it is there and one.  FATAL: the file is something else. */
ending follower_open(follower *follower);
/* Let those that look know. */
void follower_show(follower *follower, replica_state state);
/* build.c: what a follower that was killed left of a file that it built, or had just finished.
** This one holds the lock, so it is nobody's.  False: what has its name stays, as a folder. */
bool follower_remove_leftover(follower *follower);
/* Note what ended a session, or stands in the way. */
__attribute__((format(printf, 2, 3))) void follower_error(follower *follower, const char *format,
                                                          ...);

#endif
