/*
** main.c - maphcrash WHAT ?COUNT?: run one of the crash tests, COUNT cases of it.
**
** Prints the seed, the troubles, and last one line of counts.  Exit status 0 no trouble, 1 some, 77
** this machine cannot.
*/
#include "crash.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

board *the;

static const struct {
  const char *name;
  int (*run)(long);
  long count;
} tests[] = {
  { "kill", kill_main, 300 },
  { "steps", steps_main, 1 },
  { "power", power_main, 2000 },
  { "interleave", interleave_main, 1 },
  { "processes", processes_main, 5000 },
  { "rig", rig_main, 20 },
  { "order", order_main, 1 },
  { "storm", storm_main, 200 },
  { "http-kill", http_kill_main, 40 },
  { "http-power", http_power_main, 500 },
  { "http-rig", http_rig_main, 10 },
};
enum { TESTS = sizeof tests / sizeof tests[0], LEAF = 3 };

int main(int argc, char **argv) {
  const char *given = getenv("MAPH_TEST_SEED");
  struct timeval now;
  long count;
  int i, rc;
  for (i = 0; i < TESTS && (argc < 2 || strcmp(argv[1], tests[i].name) != 0); i++) {}
  if (i == TESTS) {
    fprintf(stderr, "usage: maphcrash "
                    "kill|steps|power|interleave|processes|rig|order|storm|http-kill|http-power|"
                    "http-rig ?COUNT?\n");
    return 2;
  }
  gettimeofday(&now, NULL);
  seed = given ? strtoull(given, NULL, 10)
               : (uint64_t)(now.tv_sec * 1000000 + now.tv_usec) % 1000000007;
  count = argc > 2 ? atol(argv[2]) : tests[i].count;
  printf("  maphcrash %s %ld: seed %llu (replay with MAPH_TEST_SEED=%llu)\n", argv[1], count,
         (unsigned long long)seed, (unsigned long long)seed);
  fflush(stdout);
  make_folder();
  rng_start(1);
  os_test.leaf = LEAF; /* a few keys make runs, and merge them */
  the = shared(sizeof *the);
  rc = tests[i].run(count);
  remove_folder();
  if (rc != 0) return rc;
  printf("%d troubles\n", troubles);
  return troubles ? 1 : 0;
}
