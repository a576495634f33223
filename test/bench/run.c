/*
** run.c - one set through all its runs.
**
** The order is group, run, section, peer.  A group is as many peers as fit into two thirds of the
** memory with their stores and what they keep besides: normally all of them.  What reads a store
** finds it in the page cache then, whoever was measured before.
*/
#include "bench.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

void stop_runs(int signal) {
  (void)signal;
  if (interrupted) _exit(1);
  interrupted = 1;
}

static void add_peers(bench *b, const char *wanted) {
  b->peers = 0;
  for (const known_peer *k = all_peers; k->name; k++) {
    if (!k->peer || (wanted && !list_has(wanted, k->name))) continue;
    entrant *e = &b->entrants[b->peers];
    *e = (entrant){ .peer = k->peer, .index = b->peers };
    b->results->peer[b->peers++] = k->peer;
    snprintf(e->folder, sizeof e->folder, "%s/%s", b->folder, k->name);
    snprintf(e->fresh, sizeof e->fresh, "%s/%s-new", b->folder, k->name);
  }
  b->results->peers = b->peers;
  b->results->runs = b->runs;
}

/* How many peers fit side by side.  The third that is left is for what only some need: a second
** store, a cache beside the file. */
static int group_size(const bench *b) {
  uint64_t one = (peer_hint.bytes + 64 * peer_hint.keys) * 7 / 5,
           n = machine_memory() / 3 * 2 / one;
  return n < 1 ? 1 : n > (uint64_t)b->peers ? b->peers : (int)n;
}

static void print_head(const bench *b, int group) {
  double load = 0;
  if (getloadavg(&load, 1) < 1) load = 0;
  printf("%s, load average %.2f\n", machine_line(), load);
  results_say_set(b->results, stdout);
  printf(", gets read %s, seed %llu, median of %d runs%s\n",
         b->touch == TOUCH_ALL ? "all of it" : "its first byte", (unsigned long long)b->work.seed,
         b->runs, b->cpu_time ? ", reading by processor time" : "");
  for (int i = 0; i < b->peers; i++) {
    const peer *p = b->entrants[i].peer;
    printf("  %-10s %s: %s\n", p->name, p->version(), p->settings);
  }
  for (const known_peer *k = all_peers; k->name; k++) {
    if (!k->peer) printf("  %-10s left out: this was built without %s\n", k->name, k->package);
  }
  if (group < b->peers)
    printf("  memory for %d of them side by side: they take part in groups of so many\n", group);
  if (folder_in_memory(b->folder))
    printf("  %s is in memory: the durable figures mean nothing\n", b->folder);
  printf("\n");
  fflush(stdout);
}

static int is_wanted(const bench *b, const section *s) {
  return b->wanted ? list_has(b->wanted, s->name) : !s->asked_only;
}

static void run_group(bench *b, entrant *first, int n) {
  for (b->run = 0; b->run < b->runs; b->run++) {
    for (const section *s = all_sections; s->name; s++) {
      if (!is_wanted(b, s)) continue;
      for (entrant *e = first; e < first + n; e++) {
        if (interrupted) fail("interrupted");
        if (isatty(2))
          fprintf(stderr, "\r\033[Krun %d of %d: %s %s", b->run + 1, b->runs, s->name,
                  e->peer->name);
        s->measure(b, e);
      }
    }
  }
  if (isatty(2)) fprintf(stderr, "\r\033[K");
  for (entrant *e = first; e < first + n; e++) entrant_drop(e);
}

void run_set(bench *b, const char *peers) {
  const workload *w = &b->work;
  b->results = results_new();
  b->results->keys = w->keys;
  b->results->value_min = w->value_min;
  b->results->value_max = w->value_max;
  add_peers(b, peers);
  key_set_init(&b->hits, w->gets, 0);
  key_set_fill(&b->hits, w, w->asked, w->gets, "", 0);
  key_set_init(&b->misses, w->gets, 0);
  key_set_fill(&b->misses, w, w->asked, w->gets, "!", 0);
  peer_hint.keys = w->keys;
  peer_hint.bytes = workload_bytes(w);
  int group = group_size(b);
  print_head(b, group);
  for (int at = 0; at < b->peers; at += group)
    run_group(b, b->entrants + at, b->peers - at < group ? b->peers - at : group);
  key_set_free(&b->hits);
  key_set_free(&b->misses);
}
