/*
** shard.h - counters that several threads raise at once.
**
** A counter that every request raises is kept SHARDS times, each in cache lines of its own, and a
** thread raises that of its shard: so two threads that answer at once do not take the line from
** each other.  Its value is the sum.
*/
#ifndef MAPH_BASE_SHARD_H
#define MAPH_BASE_SHARD_H

enum { SHARDS = 16, CACHE_LINE = 64 };

/* This thread's, below SHARDS; threads get them in turn. */
unsigned shard_of_thread(void);

#endif
