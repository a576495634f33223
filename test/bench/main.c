/*
** main.c - the benchmark: options, the run loop, the data folder.
*/
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { MIN_GETS = 1000000, MAX_GETS = 4000000 };

typedef struct settings {
  const char *dir, *csv, *only, *peers, *reader;
  uint64_t    reader_order;
} settings;

static bench the_bench;
static settings chosen;
static volatile sig_atomic_t interrupted;

static void remove_data(void){
  if( the_bench.folder[0] ) folder_remove(the_bench.folder);
}

void fail(const char *format, ...){
  va_list args;
  fprintf(stderr, "bench: ");
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fprintf(stderr, "\n");
  exit(1);
}

void *must_alloc(size_t size){
  void *p = malloc(size ? size : 1);
  if( !p ) fail("out of memory for %zu bytes", size);
  return p;
}

uint64_t loop_ns(void){
  struct timespec t;
  if( !the_bench.cpu_time ) return now_ns();
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (uint64_t)t.tv_sec*1000000000u + (uint64_t)t.tv_nsec;
}

static void usage(FILE *out){
  fprintf(out,
    "usage: maph-bench [options]\n"
    "  --keys N          keys in the store (1000000)\n"
    "  --value N         bytes a value, or MIN-MAX (200)\n"
    "  --runs N          runs; the medians are reported (3)\n"
    "  --seconds S       length of one timed loop (1)\n"
    "  --gets N          keys asked for before the list starts over (as --keys, 1000000 to 4000000)\n"
    "  --batch N         keys a get_many (256)\n"
    "  --touch all|first what a get's caller reads of the value: every byte (the default) or one\n"
    "  --cpu-time        time gets and scans by processor time, for a machine that is busy\n"
    "  --seed N          of all that is random (1)\n"
    "  --peers A,B       some of:");
  for(int i = 0; all_peers[i]; i++) fprintf(out, " %s", all_peers[i]->name);
  fprintf(out,
    "\n"
    "  --only A,B        some of the sections below\n"
    "  --dir FOLDER      data goes to a new folder in it, removed at the end (build)\n"
    "  --csv FILE        write every figure there\n"
    "sections:\n");
  for(const section *s = all_sections; s->name; s++){
    fprintf(out, "  %-17s %s%s\n", s->name, s->help, s->asked_only ? "; only when asked for" : "");
  }
}

static uint64_t number_option(const char *name, const char *text, uint64_t min, uint64_t max){
  char *end;
  errno = 0;
  unsigned long long n = strtoull(text, &end, 10);
  if( errno || end==text || *end || n<min || n>max ){
    fail("--%s must be a number from %llu to %llu", name, (unsigned long long)min, (unsigned long long)max);
  }
  return n;
}

static void value_option(workload *w, const char *text){
  unsigned long long min, max;
  char rest;
  int n = sscanf(text, "%llu-%llu%c", &min, &max, &rest);
  if( n==1 ){
    max = min = number_option("value", text, VALUE_MIN, 1<<28);
  }else if( n!=2 || min<VALUE_MIN || max<min || max>1<<28 ){
    fail("--value must be a size or MIN-MAX, at least %d", VALUE_MIN);
  }
  w->value_min = min;
  w->value_max = max;
}

static touch touch_option(const char *text){
  if( strcmp(text, "first")==0 ) return TOUCH_FIRST;
  if( strcmp(text, "all")!=0 ) fail("--touch must be all or first");
  return TOUCH_ALL;
}

static void read_options(bench *b, int argc, char **argv){
  enum { KEYS = 256, VALUE, RUNS, SECONDS, GETS, BATCH, SEED, PEERS, ONLY, DIR_, CSV, TOUCH, CPU_TIME, READER, READER_ORDER, HELP };
  static const struct option options[] = {
    { "keys", 1, NULL, KEYS }, { "value", 1, NULL, VALUE }, { "runs", 1, NULL, RUNS }, { "seconds", 1, NULL, SECONDS },
    { "gets", 1, NULL, GETS }, { "batch", 1, NULL, BATCH }, { "seed", 1, NULL, SEED }, { "peers", 1, NULL, PEERS },
    { "only", 1, NULL, ONLY }, { "dir", 1, NULL, DIR_ }, { "csv", 1, NULL, CSV }, { "help", 0, NULL, HELP },
    { "touch", 1, NULL, TOUCH }, { "cpu-time", 0, NULL, CPU_TIME }, { "reader", 1, NULL, READER }, { "reader-order", 1, NULL, READER_ORDER }, { NULL, 0, NULL, 0 }
  };
  int c;
  while( (c = getopt_long(argc, argv, "h", options, NULL))!=-1 ){
    switch( c ){
      case KEYS:         b->work.keys = (uint32_t)number_option("keys", optarg, 1, 400000000); break;
      case VALUE:        value_option(&b->work, optarg); break;
      case RUNS:         b->runs = (int)number_option("runs", optarg, 1, MAX_RUNS); break;
      case SECONDS:      b->seconds = atof(optarg); break;
      case GETS:         b->work.gets = (uint32_t)number_option("gets", optarg, 1, 400000000); break;
      case BATCH:        b->batch = (uint32_t)number_option("batch", optarg, 1, 1000000); break;
      case SEED:         b->work.seed = number_option("seed", optarg, 0, UINT64_MAX); break;
      case PEERS:        chosen.peers = optarg; break;
      case ONLY:         chosen.only = optarg; break;
      case DIR_:         chosen.dir = optarg; break;
      case TOUCH:        b->touch = touch_option(optarg); break;
      case CPU_TIME:     b->cpu_time = 1; break;
      case CSV:          chosen.csv = optarg; break;
      case READER:       chosen.reader = optarg; break;
      case READER_ORDER: chosen.reader_order = number_option("reader-order", optarg, 0, 1000); break;
      case HELP: case 'h': usage(stdout); exit(0);
      default:           usage(stderr); exit(2);
    }
  }
  if( optind<argc || !(b->seconds>0) ){
    usage(stderr);
    exit(2);
  }
}

/* Is the name one of those in a list with commas?  A list that is not given holds all. */
static int list_has(const char *list, const char *name){
  size_t size = strlen(name);
  for(const char *p = list; p && *p; p += *p==','){
    size_t n = strcspn(p, ",");
    if( n==size && memcmp(p, name, n)==0 ) return 1;
    p += n;
  }
  return 0;
}

static const section *section_find(const char *name, size_t size){
  const section *s = all_sections;
  while( s->name && !(strlen(s->name)==size && memcmp(s->name, name, size)==0) ) s++;
  return s->name ? s : NULL;
}

static void check_lists(void){
  for(const char *p = chosen.peers; p && *p; p += *p==','){
    size_t n = strcspn(p, ",");
    if( !peer_find(p, n) ) fail("there is no peer named %.*s", (int)n, p);
    p += n;
  }
  for(const char *p = chosen.only; p && *p; p += *p==','){
    size_t n = strcspn(p, ",");
    if( !section_find(p, n) ) fail("there is no section named %.*s", (int)n, p);
    p += n;
  }
}

static void make_data_folder(bench *b){
  if( mkdir(chosen.dir, 0755) && errno!=EEXIST ) fail("cannot make %s: %s", chosen.dir, strerror(errno));
  char folder[sizeof b->folder];
  if( snprintf(folder, sizeof folder, "%s/bench-XXXXXX", chosen.dir)>=(int)sizeof folder ) fail("--dir is too long");
  if( !mkdtemp(folder) ) fail("cannot make a folder in %s: %s", chosen.dir, strerror(errno));
  memcpy(b->folder, folder, sizeof folder);
  atexit(remove_data);
}

static void add_peers(bench *b){
  for(int i = 0; all_peers[i]; i++){
    if( chosen.peers && !list_has(chosen.peers, all_peers[i]->name) ) continue;
    entrant *e = &b->entrants[b->peers];
    e->peer = b->results->peer[b->peers] = all_peers[i];
    e->index = b->peers++;
    snprintf(e->folder, sizeof e->folder, "%s/%s", b->folder, e->peer->name);
    snprintf(e->fresh, sizeof e->fresh, "%s/%s-new", b->folder, e->peer->name);
  }
  b->results->peers = b->peers;
  b->results->runs = b->runs;
}

static void print_head(const bench *b){
  char model[128] = "", line[256];
  struct utsname host;
  double load = 0;
  FILE *f = fopen("/proc/cpuinfo", "r");
  while( f && fgets(line, sizeof line, f) ){
    if( sscanf(line, "model name : %127[^\n]", model)==1 ) break;
  }
  if( f ) fclose(f);
  uname(&host);
  if( getloadavg(&load, 1)<1 ) load = 0;
  printf("%s, %ld processors, %s %s, load average %.2f\n", model[0] ? model : host.machine, sysconf(_SC_NPROCESSORS_ONLN),
         host.sysname, host.release, load);
  printf("%u keys, values of %zu", b->work.keys, b->work.value_min);
  if( b->work.value_max!=b->work.value_min ) printf("-%zu", b->work.value_max);
  printf(" bytes, gets read %s, seed %llu, median of %d runs%s\n", b->touch==TOUCH_ALL ? "all of it" : "its first byte",
         (unsigned long long)b->work.seed, b->runs, b->cpu_time ? ", reading by processor time" : "");
  for(int i = 0; i<b->peers; i++){
    const peer *p = b->entrants[i].peer;
    printf("  %-8s %s: %s\n", p->name, p->version(), p->settings);
  }
  if( folder_in_memory(b->folder) ) printf("  %s is in memory: the durable figures mean nothing\n", b->folder);
  printf("\n");
  fflush(stdout);
}

static void on_signal(int number){
  (void)number;
  if( interrupted ) _exit(1);
  interrupted = 1;
}

static void run_all(bench *b){
  for(b->run = 0; b->run<b->runs; b->run++){
    for(int i = 0; i<b->peers; i++) b->entrants[i].loaded &= !b->entrants[i].changed;
    for(const section *s = all_sections; s->name; s++){
      if( chosen.only ? !list_has(chosen.only, s->name) : s->asked_only ) continue;
      for(int i = 0; i<b->peers; i++){
        if( interrupted ) fail("interrupted");
        if( isatty(2) ) fprintf(stderr, "\r\033[Krun %d of %d: %s %s", b->run+1, b->runs, s->name, b->entrants[i].peer->name);
        s->measure(b, &b->entrants[i]);
      }
    }
  }
  if( isatty(2) ) fprintf(stderr, "\r\033[K");
  for(int i = 0; i<b->peers; i++) entrant_close(&b->entrants[i]);
}

static int reader(bench *b){
  const peer *p = peer_find(chosen.reader, strlen(chosen.reader));
  if( !p ) fail("there is no peer named %s", chosen.reader);
  return reader_main(b, p, chosen.dir);
}

int main(int argc, char **argv){
  bench *b = &the_bench;
  int rc = 0;
  *b = (bench){ .work = { .keys = 1000000, .value_min = 200, .value_max = 200, .seed = 1 },
                .runs = 3, .seconds = 1, .batch = 256, .touch = TOUCH_ALL };
  chosen.dir = "build";
  read_options(b, argc, argv);
  check_lists();
  if( b->work.gets==0 ){
    b->work.gets = b->work.keys<MIN_GETS ? MIN_GETS : b->work.keys>MAX_GETS ? MAX_GETS : b->work.keys;
  }
  workload_init(&b->work, chosen.reader_order);
  if( chosen.reader ) return reader(b);
  b->results = results_new();
  make_data_folder(b);
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  add_peers(b);
  key_set_init(&b->hits, b->work.gets, 0);
  key_set_fill(&b->hits, &b->work, b->work.asked, b->work.gets, "", 0);
  key_set_init(&b->misses, b->work.gets, 0);
  key_set_fill(&b->misses, &b->work, b->work.asked, b->work.gets, "!", 0);
  print_head(b);
  run_all(b);
  report_medians(b->results, stdout);
  report_targets(b->results, stdout);
  if( chosen.csv && results_write_csv(b->results, chosen.csv) ){
    fprintf(stderr, "bench: cannot write %s: %s\n", chosen.csv, strerror(errno));
    rc = 1;
  }
  key_set_free(&b->hits);
  key_set_free(&b->misses);
  workload_free(&b->work);
  free(b->results);
  return rc;
}
