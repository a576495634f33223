/*
** sidecar.h - FILE.replica, beside a replica FILE: what its follower knows of the bucket, for
** itself and for whoever looks.
**
** 4096 bytes, mapped by the follower and readable by all.
**
**     0      text: "maph-replica 1", then lines NAME=VALUE: bucket, keys, filter, servers
**     1024   a record, and another one at 2560: of those whose checksum fits the one that was
**            written later counts, so a follower may die at any moment; behind each one anchors,
**            which belong to the record whose `written` they carry
**
** It holds an OFD lock, which its follower takes and its children share: one follower a file.
** Nothing in the file depends on it: the position is the version of FILE.  If it is lost, all
** keys are compared once.
**
** This includes nothing of NATS: maph-server reads it too.
*/
#ifndef MAPH_NATS_SIDECAR_H
#define MAPH_NATS_SIDECAR_H

#include <stdbool.h>
#include <stdint.h>

typedef enum replica_state {
  REPLICA_STOPPED,
  REPLICA_CONNECTING,
  REPLICA_SYNCING, /* the file is being made for the first time */
  REPLICA_FOLLOWING,
  REPLICA_REBUILDING, /* a new file is being made, the old one is served meanwhile */
  REPLICA_DISCONNECTED,
  REPLICA_NO_BUCKET,
  REPLICA_COMPARING, /* all keys, with the bucket's */
  REPLICA_PUBLISHING,
  REPLICA_STATES
} replica_state;

typedef struct sidecar_record {
  uint64_t written; /* counts up with each record */
  char created[64]; /* of the stream that the file is of */
  /* The file's version; the time of the message of that sequence, 0: unknown. */
  uint64_t position, position_time_ns;
  uint64_t last_seen;   /* the bucket's last sequence, as it was last told */
  uint64_t heard_ms;    /* when the server was last heard, of our clock as all below */
  uint64_t followed_ms; /* when it last had a session that brings all deletes */
  /* The bucket's latest moment that the file is known to have all of: a message's own time, or when
  ** the server said that there is no more; 0: there was none. */
  uint64_t caught_up_ms;
  uint64_t state; /* replica_state */
  uint64_t pid;
  uint64_t sessions, applied, losses, rebuilds, ghosts, left_out, listings, restarts, torn;
  /* Of a store that is published: the transaction up to which the bucket has it; the file's last;
  ** whose messages the bucket has; whether it may be overwritten.  `position` is the bucket's. */
  uint64_t version, file_version, store_id, publisher, overwrite;
  uint64_t unsure; /* entries up to that version may be none of the bucket's: see decide.h */
  char server[256], error[400]; /* of the last session; "" */
  uint64_t checksum;            /* XXH3-64 of all before */
} sidecar_record;

/* Messages that the file is made of, the last one of each of as many keys: so each was there when
** it was noted.  Where the bucket has one still, it has the same history up to it. */
typedef struct sidecar_anchor {
  uint64_t sequence, time_ns; /* sequence 0: none */
  uint64_t key;               /* XXH3-64 of the bucket's key */
} sidecar_anchor;
enum { SIDECAR_ANCHORS = 23 };
typedef struct sidecar_anchors {
  sidecar_anchor list[SIDECAR_ANCHORS]; /* in no order */
  uint64_t written;                     /* of the record that they belong to */
  uint64_t checksum;                    /* XXH3-64 of all before */
} sidecar_anchors;
void anchors_note(sidecar_anchors *to, const void *key, size_t size, uint64_t sequence,
                  uint64_t time_ns);

typedef struct sidecar_header {
  char bucket[256], filter[256], servers[384];
  bool escaped;
} sidecar_header;

/* --------------------------------------------------------------------------------- the follower */
typedef struct sidecar {
  const char *suffix;
  int fd;
  unsigned char *base;
  sidecar_header header;
  sidecar_record record; /* change them, then sidecar_write */
  sidecar_anchors anchors;
} sidecar;

/* Open or make PATH.replica, and take the lock.  What stands there is read to *sidecar; where
** nothing can be believed the record is zeros.  PATH is no symbolic link: under its name would be
** another lock.  NULL, or a sentence (in memory of the thread), and errno: 0 where the system did
** not refuse it. */
const char *sidecar_open(const char *path, unsigned mode, sidecar *sidecar);
/* What is there for ever, under the name of the file or of what lies beside it, and is no file: a
** sentence; NULL: nothing. */
const char *sidecar_obstacle(const char *path, const char *suffix);
/* The same of PATH.publish, which a publisher has beside a store (publish.h). */
#define SIDECAR_REPLICA ".replica"
#define SIDECAR_PUBLISHED ".publish"
const char *sidecar_open_as(const char *path, const char *suffix, unsigned mode, sidecar *sidecar);
void sidecar_name(sidecar *sidecar, const sidecar_header *header);
void sidecar_write(sidecar *sidecar);
/* Is it still what PATH.replica names? */
bool sidecar_named(const char *path, const sidecar *sidecar);
/* Where it is not, somebody removed it: make it anew, with what *held has.  NULL, or a sentence;
** then *held is as it was. */
const char *sidecar_renew(const char *path, unsigned mode, sidecar *held);
/* Forget what it has: the file that it told of is not there. */
void sidecar_begin(sidecar *sidecar);
/* Remove it, if it is still the one that has the name. */
void sidecar_remove(const char *path, const sidecar *sidecar);
/* What a process that shared *sidecar wrote since. */
void sidecar_reload(sidecar *sidecar);
/* ------------------------------------------------------------------------------------ who looks */
/* What PATH.replica tells.  False: there is none that can be believed; errno 0: it is not one. */
bool sidecar_read(const char *path, sidecar_header *header, sidecar_record *record);
/* The part that names the bucket alone, which is believed by itself.  False: there is none, or
** another name than a bucket has. */
bool sidecar_read_header(const char *path, sidecar_header *header);
/* Does a follower hold it? */
bool sidecar_followed(const char *path);
bool sidecar_read_as(const char *path, const char *suffix, sidecar_header *header,
                     sidecar_record *record);
bool sidecar_held_as(const char *path, const char *suffix);
const char *replica_state_name(uint64_t state); /* "no bucket" */
/* How old what the replica shows may be: by how much it was behind when the server was last heard,
** and where that is longer ago than 5 seconds, or more is known to wait, by how much it is now.
** UINT64_MAX: it never had all. */
uint64_t sidecar_lag_ms(const sidecar_record *record, uint64_t now_ms);

#endif
