/*
** main.c - the benchmark: options, one set after the other, the files it writes.
*/
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIN_GETS = 1000000, MAX_GETS = 4000000, MAX_SETS = 16 };

static const set own_set = { .name = "own" }; /* of --keys and --value */

typedef struct settings {
  const char *dir, *csv, *svg, *markdown, *only, *peers, *sets, *reader;
  uint64_t reader_order;
  int own_set; /* --keys or --value was given */
} settings;

static bench the_bench;
static settings chosen;

static char data_folder[400]; /* all data, removed at the end */

static void remove_data(void) { folder_remove(data_folder); }

void fail(const char *format, ...) {
  va_list args;
  fprintf(stderr, "bench: ");
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fprintf(stderr, "\n");
  exit(1);
}

void *must_alloc(size_t size) {
  void *p = malloc(size ? size : 1);
  if (!p) fail("out of memory for %zu bytes", size);
  return p;
}

uint64_t thread_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t loop_ns(void) { return the_bench.cpu_time ? thread_ns() : now_ns(); }

static void usage(FILE *out) {
  fprintf(
      out,
      "usage: maph-bench [options]\n"
      "  --sets A,B        some of the sets below, or all (1M)\n"
      "  --keys N          a set of its own: keys in the store (1000000)\n"
      "  --value N         the same: bytes a value, or MIN-MAX (200)\n"
      "  --runs N          runs; the medians are reported (3)\n"
      "  --seconds S       length of one timed loop (1)\n"
      "  --gets N          keys asked for before the list starts over (as many as there are, "
      "1000000 to 4000000)\n"
      "  --batch N         keys a get_many (256)\n"
      "  --touch HOW       what a get's caller reads of the value: all (the default), ends: the "
      "first and\n"
      "                    the last byte, or first\n"
      "  --cpu-time        time gets and scans by processor time, for a machine that is busy\n"
      "  --seed N          of all that is random (1)\n"
      "  --peers A,B       some of:");
  for (const known_peer *known = all_peers; known->name; known++)
    fprintf(out, " %s%s", known->name, known->peer ? "" : " (left out)");
  fprintf(out,
          "\n"
          "  --only A,B        some of the sections below\n"
          "  --readers N       readers side by side at most (as many as there are processors)\n"
          "  --dir FOLDER      data goes to a new folder in it, removed at the end (build)\n"
          "  --csv FILE        write every figure there\n"
          "  --svg FILE        a chart of the medians\n"
          "  --markdown FILE   a table of the medians\n"
          "  --machine         say what machine this is, and end\n"
          "sets:\n");
  for (const set *s = all_sets; s->name; s++) fprintf(out, "  %-17s %s\n", s->name, s->help);
  fprintf(out, "sections:\n");
  for (const section *s = all_sections; s->name; s++) {
    fprintf(out, "  %-17s %s%s\n", s->name, s->help, s->asked_only ? "; only when asked for" : "");
  }
}

static uint64_t number_option(const char *name, const char *text, uint64_t min, uint64_t max) {
  char *end;
  errno = 0;
  unsigned long long n = strtoull(text, &end, 10);
  if (errno || end == text || *end || n < min || n > max) {
    fail("--%s must be a number from %llu to %llu", name, (unsigned long long)min,
         (unsigned long long)max);
  }
  return n;
}

static double seconds_option(const char *text) {
  char *end;
  double seconds = strtod(text, &end);
  if (end == text || *end || !(seconds > 0 && seconds <= 3600))
    fail("--seconds must be a number above 0, at most 3600");
  return seconds;
}

static void value_option(workload *workload, const char *text) {
  unsigned long long min, max;
  char rest;
  int n = sscanf(text, "%llu-%llu%c", &min, &max, &rest);
  if (n == 1) {
    max = min = number_option("value", text, VALUE_MIN, 1 << 28);
  } else if (n != 2 || min < VALUE_MIN || max < min || max > 1 << 28) {
    fail("--value must be a size or MIN-MAX, at least %d", VALUE_MIN);
  }
  workload->value_min = min;
  workload->value_max = max;
}

static touch touch_option(const char *text) {
  if (strcmp(text, "first") == 0) return TOUCH_FIRST;
  if (strcmp(text, "ends") == 0) return TOUCH_ENDS;
  if (strcmp(text, "all") != 0) fail("--touch must be all, ends or first");
  return TOUCH_ALL;
}

static void read_options(bench *bench, int argc, char **argv) {
  enum {
    KEYS = 256,
    VALUE,
    RUNS,
    SECONDS,
    GETS,
    BATCH,
    SEED,
    PEERS,
    ONLY,
    SETS,
    READERS,
    DIR_,
    CSV,
    SVG,
    MARKDOWN,
    MACHINE,
    TOUCH,
    CPU_TIME,
    READER,
    READER_ORDER,
    HELP
  };
  static const struct option options[] = { { "keys", 1, NULL, KEYS },
                                           { "value", 1, NULL, VALUE },
                                           { "runs", 1, NULL, RUNS },
                                           { "seconds", 1, NULL, SECONDS },
                                           { "gets", 1, NULL, GETS },
                                           { "batch", 1, NULL, BATCH },
                                           { "seed", 1, NULL, SEED },
                                           { "peers", 1, NULL, PEERS },
                                           { "only", 1, NULL, ONLY },
                                           { "dir", 1, NULL, DIR_ },
                                           { "csv", 1, NULL, CSV },
                                           { "help", 0, NULL, HELP },
                                           { "touch", 1, NULL, TOUCH },
                                           { "cpu-time", 0, NULL, CPU_TIME },
                                           { "sets", 1, NULL, SETS },
                                           { "readers", 1, NULL, READERS },
                                           { "svg", 1, NULL, SVG },
                                           { "markdown", 1, NULL, MARKDOWN },
                                           { "machine", 0, NULL, MACHINE },
                                           { "reader", 1, NULL, READER },
                                           { "reader-order", 1, NULL, READER_ORDER },
                                           { NULL, 0, NULL, 0 } };
  int c;
  while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
    switch (c) {
      case KEYS:
        bench->work.keys = (uint32_t)number_option("keys", optarg, 1, 400000000);
        chosen.own_set = 1;
        break;
      case VALUE:
        value_option(&bench->work, optarg);
        chosen.own_set = 1;
        break;
      case RUNS: bench->runs = (int)number_option("runs", optarg, 1, MAX_RUNS); break;
      case SECONDS: bench->seconds = seconds_option(optarg); break;
      case GETS: bench->work.gets = (uint32_t)number_option("gets", optarg, 1, 400000000); break;
      case BATCH: bench->batch = (uint32_t)number_option("batch", optarg, 1, 1000000); break;
      case SEED: bench->work.seed = number_option("seed", optarg, 0, UINT64_MAX); break;
      case PEERS: chosen.peers = optarg; break;
      case ONLY: chosen.only = optarg; break;
      case DIR_: chosen.dir = optarg; break;
      case TOUCH: bench->touch = touch_option(optarg); break;
      case CPU_TIME: bench->cpu_time = 1; break;
      case SETS: chosen.sets = optarg; break;
      case READERS:
        most_readers = (int)number_option("readers", optarg, 1, 1 << (READER_STEPS - 1));
        break;
      case CSV: chosen.csv = optarg; break;
      case SVG: chosen.svg = optarg; break;
      case MARKDOWN: chosen.markdown = optarg; break;
      case MACHINE: puts(machine_line()); exit(0);
      case READER: chosen.reader = optarg; break;
      case READER_ORDER:
        chosen.reader_order = number_option("reader-order", optarg, 0, 1000);
        break;
      case HELP:
      case 'h': usage(stdout); exit(0);
      default: usage(stderr); exit(2);
    }
  }
  if (optind < argc) {
    usage(stderr);
    exit(2);
  }
}

static const section *section_find(const char *name, size_t size) {
  const section *section = all_sections;
  while (section->name
         && !(strlen(section->name) == size && memcmp(section->name, name, size) == 0))
    section++;
  return section->name ? section : NULL;
}

static const set *set_find(const char *name, size_t size) {
  const set *set = all_sets;
  while (set->name && !(strlen(set->name) == size && memcmp(set->name, name, size) == 0)) set++;
  return set->name ? set : NULL;
}

static void check_lists(void) {
  for (const char *p = chosen.peers; p && *p; p += *p == ',') {
    size_t n = strcspn(p, ",");
    if (!peer_find(p, n))
      fail("there is no peer named %.*s, or it was left out when this was built", (int)n, p);
    p += n;
  }
  for (const char *p = chosen.only; p && *p; p += *p == ',') {
    size_t n = strcspn(p, ",");
    if (!section_find(p, n)) fail("there is no section named %.*s", (int)n, p);
    p += n;
  }
  for (const char *p = chosen.sets; p && *p; p += *p == ',') {
    size_t n = strcspn(p, ",");
    if (!set_find(p, n) && !(n == 3 && memcmp(p, "all", 3) == 0))
      fail("there is no set named %.*s", (int)n, p);
    p += n;
  }
}

static void make_data_folder(void) {
  if (mkdir(chosen.dir, 0755) && errno != EEXIST)
    fail("cannot make %s: %s", chosen.dir, strerror(errno));
  if (snprintf(data_folder, sizeof data_folder, "%s/bench-XXXXXX", chosen.dir)
      >= (int)sizeof data_folder)
    fail("--dir is too long");
  if (!mkdtemp(data_folder)) fail("cannot make a folder in %s: %s", chosen.dir, strerror(errno));
  atexit(remove_data);
}

static int reader(bench *bench) {
  const peer *peer = peer_find(chosen.reader, strlen(chosen.reader));
  if (!peer) fail("there is no peer named %s", chosen.reader);
  return reader_main(bench, peer, chosen.dir);
}

/* What a set says, and what the options say where they say anything. */
static void prepare(bench *bench, const struct bench *options, const set *set) {
  *bench = *options;
  if (!chosen.own_set) {
    bench->work.keys = set->keys;
    bench->work.value_min = set->value_min;
    bench->work.value_max = set->value_max;
  }
  bench->wanted = chosen.only ? chosen.only : set->sections;
  if (bench->runs == 0) bench->runs = set->runs ? set->runs : 3;
  if (bench->seconds <= 0) bench->seconds = set->seconds > 0 ? set->seconds : 1;
  if (bench->work.gets == 0) {
    uint32_t least = bench->seconds < 1 ? (uint32_t)(MIN_GETS * bench->seconds) + 1 : MIN_GETS;
    bench->work.gets = bench->work.keys < least      ? least
                       : bench->work.keys > MAX_GETS ? MAX_GETS
                                                     : bench->work.keys;
  }
  workload_init(&bench->work, chosen.reader_order);
  peer_hint.keys = bench->work.keys;
  peer_hint.bytes = workload_bytes(&bench->work);
}

static results *run_one(const bench *options, const set *set) {
  bench *bench = &the_bench;
  prepare(bench, options, set);
  run_set(bench, chosen.peers);
  report_medians(bench->results, stdout);
  report_ratios(bench->results, stdout);
  report_targets(bench->results, set->name, stdout);
  printf("\n");
  fflush(stdout);
  workload_free(&bench->work);
  return bench->results;
}

static int is_chosen(const set *set) {
  if (list_has(chosen.sets, "all") && strcmp(set->name, "quick") != 0) return 1;
  return list_has(chosen.sets, set->name);
}

/* Writes a file by a function of its own; 0, or 1 after saying why not. */
static int write_file(const char *path, const set_results *sets, int n,
                      void (*write)(const set_results *sets, int n, FILE *out)) {
  if (!path) return 0;
  FILE *out = fopen(path, "w");
  if (out) write(sets, n, out);
  if (out && ferror(out) == 0 && fclose(out) == 0) return 0;
  fprintf(stderr, "bench: cannot write %s: %s\n", path, strerror(errno));
  return 1;
}

static void write_csv(const set_results *sets, int n, FILE *out) {
  results_csv_head(out);
  for (int i = 0; i < n; i++) results_csv(sets[i].results, sets[i].set, out);
}

/* After each set, so that what was measured is not lost when a later one fails. */
static int write_files(const set_results *done, int n) {
  return write_file(chosen.csv, done, n, write_csv) | write_file(chosen.svg, done, n, chart_write)
         | write_file(chosen.markdown, done, n, report_markdown);
}

int main(int argc, char **argv) {
  static bench options = {
    .work = { .keys = 1000000, .value_min = 200, .value_max = 200, .seed = 1 },
    .batch = 256,
    .touch = TOUCH_ALL
  };
  set_results done[MAX_SETS];
  int n = 0, rc = 0;
  chosen.dir = "build";
  chosen.sets = "1M";
  most_readers = (int)sysconf(_SC_NPROCESSORS_ONLN);
  read_options(&options, argc, argv);
  check_lists();
  if (chosen.reader) {
    prepare(&the_bench, &options, &own_set);
    return reader(&the_bench);
  }
  make_data_folder();
  options.folder = data_folder;
  signal(SIGINT, stop_runs);
  signal(SIGTERM, stop_runs);
  if (chosen.own_set) {
    done[n++] = (set_results){ own_set.name, run_one(&options, &own_set) };
    rc = write_files(done, n);
  }
  for (const set *set = all_sets; set->name && !chosen.own_set; set++) {
    if (!is_chosen(set)) continue;
    done[n++] = (set_results){ set->name, run_one(&options, set) };
    rc = write_files(done, n);
  }
  for (int i = 0; i < n; i++) free((void *)done[i].results);
  return rc;
}
