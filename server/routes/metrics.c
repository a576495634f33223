/*
** metrics.c - /healthz, /readyz, and /metrics in Prometheus' text format.
**
** Counters are atomic and never reset.  Latencies go into fixed buckets per route, so a scrape is a
** pass over an array.  What is known of stores is read from their headers at the scrape.
*/
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/options.h"
#include "base/room.h"
#include "base/shard.h"
#include "base/waits.h"
#include "http/http.h"
#include "routes/answer.h"
#include "routes/handlers.h"
#include "routes/jobs.h"
#include "routes/metrics.h"
#include "routes/bucket.h"
#include "routes/replica.h"
#include "store/folder.h"
#include "store/openings.h"

enum { ROUTE_SLOTS = 64, STATUSES = 48, BUCKETS = 15 };
static const uint64_t bucket_us[BUCKETS] = { 5,     10,    25,     50,      100,
                                             250,   500,   1000,   2500,    5000,
                                             10000, 50000, 250000, 1000000, 5000000 };
typedef struct counters {
  atomic_uint_fast64_t statuses[STATUSES], buckets[BUCKETS], count, sum_us, bytes_in, bytes_out;
} counters;
static struct { _Alignas(CACHE_LINE) counters of[ROUTE_SLOTS]; } shards[SHARDS];
static _Atomic(const char *) names[ROUTE_SLOTS]; /* of the routes; NULL: none */

/* Of a counter in the first shard: over all of them. */
static uint64_t total(const atomic_uint_fast64_t *first) {
  size_t place = (size_t)((const char *)first - (const char *)&shards[0]);
  uint64_t sum = 0;
  for (int i = 0; i < SHARDS; i++)
    sum += atomic_load((const atomic_uint_fast64_t *)((const char *)&shards[i] + place));
  return sum;
}

void metrics_count(const request *request, uint64_t duration_us) {
  int i = request->route && request->route_number < ROUTE_SLOTS - 1 ? request->route_number
                                                                    : ROUTE_SLOTS - 1,
      s = 0, b = 0;
  counters *counters = &shards[shard_of_thread()].of[i];
  while (s < STATUSES && status_at(s) != 0 && status_at(s) != request->reply.status) s++;
  if (request->route && atomic_load(&names[i]) == NULL) atomic_store(&names[i], request->route);
  if (s < STATUSES) atomic_fetch_add(&counters->statuses[s], 1);
  while (b < BUCKETS && duration_us > bucket_us[b]) b++;
  if (b < BUCKETS) atomic_fetch_add(&counters->buckets[b], 1);
  atomic_fetch_add(&counters->count, 1);
  atomic_fetch_add(&counters->sum_us, duration_us);
  if (request->upload.read) atomic_fetch_add(&counters->bytes_in, request->upload.read);
  atomic_fetch_add(&counters->bytes_out, request->reply.bytes_out);
}

/* The name of a slot: the last is of requests that had no route. */
static const char *route_name(int i) {
  const char *name = atomic_load(&names[i]);
  return name ? name : "none";
}

void health_show(request *request) {
  reply_start(request, 200);
  reply_send(request, "text/plain; charset=utf-8", "ok\n", 3);
}

/* While draining a request does not get this far: it is answered 503 at once.  No store is asked: a
** probe costs three system calls. */
void ready_show(request *request) {
  int trouble = folder_trouble(!option.read_only);
  if (maph_guarded(NULL)) {
    reply_problem(request, 503, "file_truncated",
                  "the file of a store that is open was shortened or made immutable, or its disk "
                  "fails; writes to it are refused until a restart");
    return;
  }
  if (trouble) {
    reply_no_folder(request, !option.read_only, trouble);
    return;
  }
  if (!option.read_only && room_is_full()) {
    reply_problem(request, 503, "full", "the disk, or a quota on it, is full: reads go on%s",
                  room_for_deletes() ? ", and so do deletes; delete keys and compact their stores, "
                                       "delete a store, or make room"
                                     : "; deletes of keys may find no room either; delete a "
                                       "store, or make room");
    return;
  }
  reply_start(request, 200);
  reply_send(request, "text/plain; charset=utf-8", "ready\n", 6);
}

static void head(buffer *buffer, const char *name, const char *type, const char *help) {
  buffer_printf(buffer, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(buffer *buffer, const char *name, const char *type, const char *help,
                uint64_t value) {
  head(buffer, name, type, help);
  buffer_printf(buffer, "%s %llu\n", name, (unsigned long long)value);
}

static void show_requests(buffer *buffer) {
  head(buffer, "maph_http_requests_total", "counter", "Requests answered, by route and status.");
  for (int i = 0; i < ROUTE_SLOTS; i++) {
    for (int s = 0; s < STATUSES && status_at(s) != 0; s++) {
      uint64_t n = total(&shards[0].of[i].statuses[s]);
      if (n)
        buffer_printf(buffer, "maph_http_requests_total{route=\"%s\",status=\"%d\"} %llu\n",
                      route_name(i), status_at(s), (unsigned long long)n);
    }
  }
}

static void show_latency(buffer *buffer) {
  head(buffer, "maph_http_request_duration_seconds", "histogram",
       "From the request's head read to the answer written.");
  for (int i = 0; i < ROUTE_SLOTS; i++) {
    uint64_t so_far = 0, count = total(&shards[0].of[i].count);
    if (count == 0) continue;
    for (int k = 0; k < BUCKETS; k++) {
      so_far += total(&shards[0].of[i].buckets[k]);
      buffer_printf(buffer,
                    "maph_http_request_duration_seconds_bucket{route=\"%s\",le=\"%g\"} %llu\n",
                    route_name(i), (double)bucket_us[k] / 1e6, (unsigned long long)so_far);
    }
    buffer_printf(buffer,
                  "maph_http_request_duration_seconds_bucket{route=\"%s\",le=\"+Inf\"} %llu\n",
                  route_name(i), (unsigned long long)count);
    buffer_printf(buffer,
                  "maph_http_request_duration_seconds_sum{route=\"%s\"} "
                  "%.6f\nmaph_http_request_duration_seconds_count{route=\"%s\"} %llu\n",
                  route_name(i), (double)total(&shards[0].of[i].sum_us) / 1e6, route_name(i),
                  (unsigned long long)count);
  }
}

static void show_server(buffer *buffer) {
  http_counts h = http_count();
  commit_counts counts = commit_count();
  uint64_t in = 0, out = 0;
  for (int i = 0; i < ROUTE_SLOTS; i++) {
    in += total(&shards[0].of[i].bytes_in);
    out += total(&shards[0].of[i].bytes_out);
  }
  one(buffer, "maph_http_received_bytes_total", "counter", "Bytes of request bodies.", in);
  one(buffer, "maph_http_sent_bytes_total", "counter", "Bytes of answers.", out);
  one(buffer, "maph_http_connections", "gauge", "Open connections.", h.connections);
  one(buffer, "maph_http_connections_waiting", "gauge",
      "Of the open connections, those without a worker: their request is not there, or all are "
      "busy.",
      h.waiting);
  one(buffer, "maph_http_connections_max", "gauge", "Connections that can be served at once.",
      h.workers);
  one(buffer, "maph_http_requests_running", "gauge", "Requests in flight.", h.requests_running);
  one(buffer, "maph_http_connections_accepted_total", "counter", "Connections accepted.",
      h.accepted);
  one(buffer, "maph_http_connections_evicted_total", "counter",
      "Connections closed to make room: idle, or without a whole request.", h.evicted);
  one(buffer, "maph_http_timeouts_total", "counter",
      "Bodies and answers that missed their deadline.", h.timed_out);
  one(buffer, "maph_http_watchers", "gauge",
      "Of the requests in flight, those that wait for changes.", h.watchers);
  one(buffer, "maph_http_watchers_max", "gauge", "How many may.", option.watchers);
  one(buffer, "maph_jobs_running", "gauge", "Checks, rewrites and backups in progress.",
      jobs_running());
  one(buffer, "maph_writes_waiting", "gauge",
      "Writes that wait for the writer's lock or for the disk.", counts.waiting);
  one(buffer, "maph_http_bodies_waiting", "gauge", "Requests that wait for a client's body.",
      waits_count(WAIT_BODY));
  one(buffer, "maph_http_answers_waiting", "gauge", "Answers that wait for their client to read.",
      waits_count(WAIT_ANSWER));
  one(buffer, "maph_disk_free_bytes", "gauge", "Of the disk of the stores' folder.", room_free());
  one(buffer, "maph_disk_full", "gauge",
      "1: it has no room for puts; /readyz says whether deletes go.", room_is_full());
  one(buffer, "maph_stores_unopenable", "gauge", "Stores of the folder that could not be opened.",
      openings_failed());
  one(buffer, "maph_writes_total", "counter", "Puts and deletes committed.", counts.writes);
  one(buffer, "maph_durable_writes_total", "counter",
      "Of those, on disk before they were answered.", counts.durable_writes);
  one(buffer, "maph_background_flushes_total", "counter",
      "Stores flushed by the background thread.", counts.flushes);
  one(buffer, "maph_background_flush_failures_total", "counter", "Background flushes that failed.",
      counts.flush_failures);
}

static uint64_t poisoned_of(const store *store, const maph_stats *stats) {
  return (void)store, stats->poisoned != 0;
}
static uint64_t read_only_of(const store *store, const maph_stats *stats) {
  return (void)stats, store->read_only;
}

/* Series of one name must stand together, so the stores are walked once a name. */
static void show_stores(buffer *buffer) {
  static const struct {
    const char *name, *help;
    size_t offset;
    /* instead of the number there */
    uint64_t (*of)(const store *store, const maph_stats *stats);
  } rows[] = {
    { "maph_store_records", "Live keys.", offsetof(maph_stats, records), NULL },
    { "maph_store_live_bytes", "Bytes of live records.", offsetof(maph_stats, live_bytes), NULL },
    { "maph_store_dead_bytes", "Bytes that a rewrite frees.", offsetof(maph_stats, dead_bytes),
      NULL },
    { "maph_store_file_bytes", "Size of the file.", offsetof(maph_stats, file_bytes), NULL },
    { "maph_store_version", "Version of the last transaction.", offsetof(maph_stats, version),
      NULL },
    { "maph_store_flushed_bytes", "Log known to be on disk.", offsetof(maph_stats, flushed_bytes),
      NULL },
    { "maph_store_generation", "How often the file was rewritten.",
      offsetof(maph_stats, generation), NULL },
    { "maph_store_oldest_version", "The first version from which changes can be followed.",
      offsetof(maph_stats, oldest_version), NULL },
    { "maph_store_poisoned", "1: a flush of the disk failed, and nothing is written any more.", 0,
      poisoned_of },
    { "maph_store_read_only", "1: it can only be read.", 0, read_only_of },
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    head(buffer, rows[i].name, "gauge", rows[i].help);
    for (struct store *store = store_next(NULL); store; store = store_next(store)) {
      maph_stats stats;
      uint64_t value;
      if (maph_stat(store->m, &stats) != MAPH_OK) continue;
      memcpy(&value, (const char *)&stats + rows[i].offset, sizeof value);
      if (rows[i].of) value = rows[i].of(store, &stats);
      buffer_printf(buffer, "%s{store=\"%s\"} %llu\n", rows[i].name, store->name,
                    (unsigned long long)value);
    }
  }
}

static void show_jobs(buffer *buffer) {
  head(buffer, "maph_jobs_total", "counter", "Checks, rewrites and backups that ended, by how.");
  for (int kind = 0; jobs_kind_name(kind); kind++)
    for (int state = 0; jobs_outcome_name(state); state++)
      buffer_printf(buffer, "maph_jobs_total{kind=\"%s\",outcome=\"%s\"} %llu\n",
                    jobs_kind_name(kind), jobs_outcome_name(state),
                    (unsigned long long)jobs_ended(kind, state));
}

/* ------------------------------------------------------------------------------ the process */
static uint64_t open_files(void) {
  struct dirent *e;
  uint64_t n = 0;
  DIR *dir = opendir("/proc/self/fd");
  while (dir && (e = readdir(dir)) != NULL) n += e->d_name[0] != '.';
  if (dir) closedir(dir);
  return n > 0 ? n - 1 : 0; /* but for the folder itself */
}

/* The fields of /proc/self/stat after the name; false: there is none. */
static bool read_stat(unsigned long long *started, unsigned long long *virtual_bytes,
                      long long *resident_pages) {
  char text[1024];
  FILE *file = fopen("/proc/self/stat", "re");
  size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
  const char *end;
  if (file) fclose(file);
  text[n] = 0;
  end = strrchr(text, ')');
  return end
         && sscanf(end + 2,
                   "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
                   "%llu %llu %lld",
                   started, virtual_bytes, resident_pages)
                == 3;
}

static void real(buffer *buffer, const char *name, const char *type, const char *help,
                 double value) {
  head(buffer, name, type, help);
  buffer_printf(buffer, "%s %.3f\n", name, value);
}

static void show_process(buffer *buffer) {
  unsigned long long started = 0, virtual_bytes = 0;
  long long resident = 0;
  struct rusage used;
  struct rlimit files;
  struct timespec up = { 0, 0 };
  head(buffer, "maph_build_info", "gauge", "Always 1; which version this is.");
  buffer_printf(buffer, "maph_build_info{version=\"%s\"} 1\n", maph_version());
  if (getrusage(RUSAGE_SELF, &used) == 0)
    real(buffer, "process_cpu_seconds_total", "counter", "Time of the processor, user and system.",
         (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
             + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
  one(buffer, "process_open_fds", "gauge", "Open files.", open_files());
  if (getrlimit(RLIMIT_NOFILE, &files) == 0)
    one(buffer, "process_max_fds", "gauge", "How many may be open.", files.rlim_cur);
  if (!read_stat(&started, &virtual_bytes, &resident)) return;
  one(buffer, "process_virtual_memory_bytes", "gauge", "Of the address space.", virtual_bytes);
  one(buffer, "process_resident_memory_bytes", "gauge", "In memory, mapped files too.",
      (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE));
  clock_gettime(CLOCK_BOOTTIME, &up);
  real(buffer, "process_start_time_seconds", "gauge", "Since 1970.",
       (double)wall_ms() / 1e3 - (double)up.tv_sec - (double)up.tv_nsec / 1e9
           + (double)started / (double)sysconf(_SC_CLK_TCK));
}

void metrics_show(request *request) {
  buffer *buffer = request->reply.body;
  buffer->size = 0;
  show_requests(buffer);
  show_latency(buffer);
  show_server(buffer);
  show_stores(buffer);
  replica_metrics(buffer);
  bucket_metrics(buffer);
  show_jobs(buffer);
  show_process(buffer);
  if (buffer->failed) {
    reply_problem(request, 503, "no_memory", "out of memory for the answer");
    return;
  }
  reply_start(request, 200);
  reply_send(request, "text/plain; version=0.0.4; charset=utf-8", buffer->data, buffer->size);
}
