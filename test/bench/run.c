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

static void add_peers(bench *bench, const char *wanted) {
  bench->peers = 0;
  for (const known_peer *known = all_peers; known->name; known++) {
    if (!known->peer || (wanted && !list_has(wanted, known->name))) continue;
    entrant *entrant = &bench->entrants[bench->peers];
    *entrant = (struct entrant){ .peer = known->peer, .index = bench->peers };
    bench->results->peer[bench->peers++] = known->peer;
    snprintf(entrant->folder, sizeof entrant->folder, "%s/%s", bench->folder, known->name);
    snprintf(entrant->fresh, sizeof entrant->fresh, "%s/%s-new", bench->folder, known->name);
  }
  bench->results->peers = bench->peers;
  bench->results->runs = bench->runs;
}

/* How many peers fit side by side.  The third that is left is for what only some need: a second
** store, a cache beside the file. */
static int group_size(const bench *bench) {
  uint64_t one = (peer_hint.bytes + 64 * peer_hint.keys) * 7 / 5,
           n = machine_memory() / 3 * 2 / one;
  return n < 1 ? 1 : n > (uint64_t)bench->peers ? bench->peers : (int)n;
}

static void print_head(const bench *bench, int group) {
  static const char *const said[] = { [TOUCH_NONE] = "nothing",
                                      [TOUCH_FIRST] = "its first byte",
                                      [TOUCH_ENDS] = "its first and last byte",
                                      [TOUCH_ALL] = "all of it" };
  double load = 0;
  if (getloadavg(&load, 1) < 1) load = 0;
  printf("%s, load average %.2f\n", machine_line(), load);
  results_say_set(bench->results, stdout);
  printf(", gets read %s, seed %llu, median of %d runs%s\n", said[bench->touch],
         (unsigned long long)bench->work.seed, bench->runs,
         bench->cpu_time ? ", reading by processor time" : "");
  for (int i = 0; i < bench->peers; i++) {
    const peer *peer = bench->entrants[i].peer;
    printf("  %-10s %s: %s\n", peer->name, peer->version(), peer->settings);
  }
  for (const known_peer *known = all_peers; known->name; known++) {
    if (!known->peer)
      printf("  %-10s left out: this was built without %s\n", known->name, known->package);
  }
  if (group < bench->peers)
    printf("  memory for %d of them side by side: they take part in groups of so many\n", group);
  if (folder_in_memory(bench->folder))
    printf("  %s is in memory: the durable figures mean nothing\n", bench->folder);
  printf("\n");
  fflush(stdout);
}

static int is_wanted(const bench *bench, const section *section) {
  return bench->wanted ? list_has(bench->wanted, section->name) : !section->asked_only;
}

static void run_group(bench *bench, entrant *first, int n) {
  for (bench->run = 0; bench->run < bench->runs; bench->run++) {
    for (const section *section = all_sections; section->name; section++) {
      if (!is_wanted(bench, section)) continue;
      for (entrant *entrant = first; entrant < first + n; entrant++) {
        if (interrupted) fail("interrupted");
        if (isatty(2))
          fprintf(stderr, "\r\033[Krun %d of %d: %s %s", bench->run + 1, bench->runs, section->name,
                  entrant->peer->name);
        section->measure(bench, entrant);
      }
    }
  }
  if (isatty(2)) fprintf(stderr, "\r\033[K");
  for (struct entrant *entrant = first; entrant < first + n; entrant++) entrant_drop(entrant);
}

void run_set(bench *bench, const char *peers) {
  const workload *workload = &bench->work;
  bench->results = results_new();
  bench->results->keys = workload->keys;
  bench->results->value_min = workload->value_min;
  bench->results->value_max = workload->value_max;
  add_peers(bench, peers);
  key_set_init(&bench->hits, workload->gets, 0);
  key_set_fill(&bench->hits, workload, workload->asked, workload->gets, "", 0);
  key_set_init(&bench->misses, workload->gets, 0);
  key_set_fill(&bench->misses, workload, workload->asked, workload->gets, "!", 0);
  peer_hint.keys = workload->keys;
  peer_hint.bytes = workload_bytes(workload);
  int group = group_size(bench);
  print_head(bench, group);
  for (int at = 0; at < bench->peers; at += group)
    run_group(bench, bench->entrants + at, bench->peers - at < group ? bench->peers - at : group);
  key_set_free(&bench->hits);
  key_set_free(&bench->misses);
}
