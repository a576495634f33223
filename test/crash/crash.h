/*
** crash.h - what the crash tests share: random numbers, a model of what the store must hold, child
** processes that die on command.
**
** The program build/maphcrash stands on core compiled with MAPH_TEST and looks inside it (store.h),
** as only tests may.
**
**     main.c        the command line
**     base.c        random numbers, troubles, processes, files
**     model.c       random transactions, run and foretold; is this store one of the states that it
**                   may be in?
**     kill.c        kill -9 at any microsecond
**     steps.c       ... at every store and system call
**     pages.c       which versions of a page a power cut may leave
**     power.c       lives, cuts, recoveries
**     interleave.c  a reader at every step of a writer, and at every instruction of its own
**     processes.c   several processes write and read by turns
**     rig.c         a real ext4 on a loop device, shut down
**     order.c       calls that must come in an order
**     storm.c       processes read and write while the store is rewritten again and again
**     http.c        the server, written to by many clients, killed or cut off: with http.h,
**                   client.c and asked.c
**
** Everything is driven by one seed, which is printed: MAPH_TEST_SEED replays.  Troubles are
** counted, printed, and make the exit status 1.
*/
#ifndef MAPH_CRASH_H
#define MAPH_CRASH_H

#include "file/store.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

/* --------------------------------------------------------------------------------------- base.c */
extern uint64_t seed;
extern const char *folder; /* ours, on tmpfs if there is one */
void make_folder(void);
void remove_folder(void);
uint64_t mix(uint64_t a, uint64_t b);
uint64_t rng(void);
uint32_t below(uint32_t n); /* 0..n-1 */
/* the tests' numbers, and what getrandom gives the store, from here on */
void rng_start(uint64_t from);
/* the tests' numbers alone: the same work, by a writer with another identity */
void rng_again(uint64_t from);

void trouble(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern int troubles;
/* printed with the next trouble: how to find the case again */
void context(const char *format, ...) __attribute__((format(printf, 1, 2)));
void must(int ok, const char *what); /* the test itself cannot go on */

/* a child with random numbers of its own; it ends with 0 */
pid_t spawn(void (*body)(void *), void *arg);
int reap(pid_t pid);                /* 0 ended well, -9 killed, else a trouble is told */
void *shared(size_t size);          /* memory that children share, zeroed */
char *file_named(const char *name); /* in folder; to be freed */
uint8_t *file_read(const char *path, size_t *size);
/* the same inode gets these bytes */
void file_restore(const char *path, const uint8_t *bytes, size_t size);
/* the same, while others have it mapped: never shorter */
void file_restore_mapped(const char *path, const uint8_t *bytes, size_t size);
double seconds(void);

/* -------------------------------------------------------------------------------------- model.c */
enum { KEYS_MAX = 512, ACCOUNTS = 8, OPENING_BALANCE = 1000, OPS_MAX = 64, HISTORY_MAX = 400 };

/* The keys a test uses.  Crowded ones share a bucket, so that two dozen of them split a segment;
** twins share the directory's bits too, so that they force overflow. */
typedef struct universe {
  int plain, crowded, twins, keys;
  char name[KEYS_MAX][24];
} universe;
void universe_make(universe *universe, uint64_t hash_seed, int plain, int crowded, int twins);
uint64_t store_hash_seed(const char *path);

/* What a store holds: a digest of each key's value, 0: absent.  Accounts are the first keys.  Where
** versions are given, the digest is of an entry's version too, and `version` is the store's. */
typedef struct state {
  uint64_t content[KEYS_MAX];
  uint64_t version;
  int balance[ACCOUNTS];
} state;

int state_same(const state *a, const state *b); /* balances follow from contents */

enum { OP_PUT, OP_DELETE, OP_TRANSFER, OP_SAVEPOINT, OP_ROLLBACK };
enum { END_ALONE, END_COMMIT, END_ABORT, END_PREPARE_COMMIT, END_PREPARE_ABORT };
typedef struct op {
  int what, key, to, amount;
  uint32_t stamp;
} op;
typedef struct script {
  int durability, ending, n;
  op ops[OPS_MAX];
} script;

/* Shared between processes: what was acknowledged, what is under way. */
typedef struct board {
  atomic_long step, kill_at; /* steps seen; the one to die at, 0: none */
  /* die so many steps after the next rename begins, 0: no matter */
  long kill_near_rename, renames_before;
  int n;       /* transactions acknowledged: history[n] is the state */
  int durable; /* history[durable] and later ones may follow a power loss */
  /* what is under way may be there after a crash; must be there */
  enum { NOTHING, MAYBE, PROMISED } flight;
  int flight_survives_power; /* it was promised at full */
  uint64_t top_version;      /* the highest that anyone was told */
  uint64_t given;            /* by the store that is replaced, whose uuid this is */
  uint8_t replaced[16];
  uint32_t stamp;
  int numbered; /* versions are given by who writes (MAPH_VERSIONS_GIVEN) */
  int done;     /* the child ended its work */
  /* entries that nobody sees, at most: they count as records until they are swept */
  int expired;
  state maybe; /* the state if what is under way counts */
  state history[HISTORY_MAX];
  universe u;
} board;
extern board *the;

/* Handles of one store at each durability, [MAPH_SYNC_*]. */
typedef struct writer {
  maph *m[4];
} writer;
int writer_open(writer *writer, const char *path, int flags);
int writer_close(writer *writer);

void script_random(script *script, int crowd); /* crowd: many new keys */
void script_apply(const script *script, state *after);
int script_run(writer *writer, const script *script); /* and say so on the board */
uint64_t value_digest(maph_slice value);
uint64_t entry_digest(maph_slice value, uint64_t version); /* as states have it */
/* What the model knows nothing of is put.  It takes a version where those are given. */
int put_unknown(maph *m, int durability, maph_slice key, maph_slice value,
                const maph_condition *condition);
void board_start(void);              /* history begins here */
void board_accounts(writer *writer); /* every account gets its opening balance */

/* by every way of reading, compared; maph_check too.  0 when sound */
int content_read(maph *m, state *got);
/* index in the history from..n; n+1: the one under way; -1: none */
int content_match(const state *got, int from, int promised);
/* After a kill: the one state the store may be in; it becomes history. */
int board_settle(writer *writer, const char *when);

/* count each store, flush and call on the board, and die at kill_at */
void hooks_count(void);
void hooks_none(void);

/* -------------------------------------------------------------------------------------- drivers */
int kill_main(long count);
int steps_main(long count);
int power_main(long count);
int interleave_main(long count);
int processes_main(long count);
int rig_main(long count);
int order_main(long count);
int storm_main(long count);
int http_kill_main(long count);
int http_power_main(long count);
int http_rig_main(long count);

/* -------------------------------------------------------------------------------------- pages.c */
void pages_start(const char *path); /* what is in the file is on the disk */
/* in the process that writes: hooks that remember, count and die */
void pages_watch(const char *path);
void pages_session_over(void); /* in the parent, when it is dead */
/* how many files the store's name may lead to after a cut here: 0 is the newest */
int pages_names(void);
/* how many images of file `before` there may be */
double pages_images(int before, int sectors);
/* One of them: number 0.. if there are few, at random else.  To be freed. */
uint8_t *pages_image(int before, int sectors, long number, int random, size_t *size);

/* ---------------------------------------------------------------------------------------- rig.c */
int rig_mount(const char *size); /* a new ext4 at file_named("mounted"); 0: this machine cannot */
void rig_write_back_some(const char *file); /* random pages of the file reach the disk */
int rig_cut(void);                          /* nothing more does; 0: this machine cannot */
/* what is on the disk is there again, as after a power cut */
void rig_mount_again(void);
void rig_unmount(void);

#endif
