/*
** replica.h - the commands of maph-replica, and what they say.
*/
#ifndef MAPH_NATS_REPLICA_H
#define MAPH_NATS_REPLICA_H

#include <stdbool.h>

enum { DONE = 0, UNMET = 1, FAILED = 2 }; /* exit statuses: UNMET: no such key, it is behind, ... */

/* What is said behind the command: words[0] is the first of its `count` arguments. */
typedef int (*command_fn)(const char *const *words, int count);

/* replica.c's table has a row for each. */
int command_wait(const char *const *words, int count);
int command_put(const char *const *words, int count);
int command_get(const char *const *words, int count);
int command_del(const char *const *words, int count);
int command_create(const char *const *words, int count);
int command_follow(const char *const *words, int count);
int command_publish(const char *const *words, int count);
int command_status(const char *const *words, int count);
int command_verify(const char *const *words, int count);
int command_relay(const char *const *words, int count);

/* One sentence on standard error, what would command a terminal escaped; FAILED. */
__attribute__((format(printf, 1, 2))) int complain(const char *format, ...);
/* The same with the time before it, but for --quiet: of a session, a decision, a repair. */
__attribute__((format(printf, 1, 2))) void note(const char *format, ...);

/* Of the machine's clock; of one that only goes on. */
unsigned long long now_ms(void);
unsigned long long ticks_ms(void);

#endif
