/*
** jobs.c - work that outlives its request: each job is a thread, listed under /jobs until many
** newer ones have come.
**
** POST /stores/NAME/check, /compact, /optimize or /backup answers 202 with the job's place, or with
** ?wait=1 waits for its end.  The job holds its store; a client that goes away changes nothing.
** GET /jobs/ID shows how far it is, DELETE /jobs/ID stops it, which then leaves everything as it
** was, or takes a finished job off the list.
**
** Who is admin of a store sees and stops its jobs; to others there are none.
**
** A rewritten store is forgotten here, so that the next request opens the new file and the old one
** goes with its last user.
**
** With --auto-compact a job begins by itself where enough of a store is dead: optimize where it has
** a perfect hash, else compact.  On a full disk little is enough, once what is live fits beside it.
*/
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "access/auth.h"
#include "base/clock.h"
#include "base/emit.h"
#include "base/log.h"
#include "base/options.h"
#include "base/room.h"
#include "base/sentence.h"
#include "base/uri.h"
#include "entry/json.h"
#include "http/http.h"
#include "routes/answer.h"
#include "routes/handlers.h"
#include "routes/jobs.h"
#include "routes/retention.h"

enum {
  KEEP_MAX = 100000,
  KEPT = 64,
  RUNNING_MAX = 4,
  SENTENCES_MAX = 50,
  PATH_ROOM = 4096,
  LOOK_US = 5000000,
  RETRY_US = 600000000,
  RETRY_FULL_US = 10000000,
  FULL_ABOVE = 65536
};
enum state { RUNNING, DONE, FAILED, CANCELLED };
enum kind { CHECK, COMPACT, OPTIMIZE, BACKUP };
static const char *const kind_names[] = { "check", "compact", "optimize", "backup" };
static const char *const state_names[] = { "running", "done", "failed", "cancelled" };

typedef struct job {
  uint64_t id, started_ms, finished_ms, problems, done, total;
  enum kind kind;
  uint64_t keep; /* of a backup: how many there may be then; 0: any number */
  enum state state;
  bool cancel_asked;
  int rc;
  char store_name[72], phase[24], detail[512], file[128];
  store *store;
  buffer report; /* JSON of the first problems */
  maph_rewrite result;
} job;

static uint64_t ended[BACKUP + 1][CANCELLED]; /* by kind and outcome; jobs_mutex */
static job *jobs[KEPT];                       /* newest last; jobs_mutex for all of it */
static int job_count, running_count;
static uint64_t last_id;
static atomic_bool stop_asked;
static pthread_mutex_t jobs_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t job_ended;

static void job_free(job *j) {
  buffer_free(&j->report);
  free(j);
}

static void job_remove(int i) {
  job_free(jobs[i]);
  memmove(&jobs[i], &jobs[i + 1], (size_t)(--job_count - i) * sizeof jobs[0]);
}

/* Room for one more: the oldest finished job goes. */
static bool make_room(void) {
  for (int i = 0; job_count == KEPT && i < KEPT; i++)
    if (jobs[i]->state != RUNNING) job_remove(i);
  return job_count < KEPT;
}

static int job_index(uint64_t id) {
  for (int i = 0; i < job_count; i++)
    if (jobs[i]->id == id) return i;
  return -1;
}

static bool may_see(const request *r, const job *j) {
  return auth_holds(r, ROLE_ADMIN, j->store_name);
}

static job *job_find(uint64_t id) {
  int i = job_index(id);
  return i < 0 ? NULL : jobs[i];
}

static const job *rewrite_of(const char *store_name) {
  for (int i = 0; i < job_count; i++) {
    if (jobs[i]->state == RUNNING && jobs[i]->kind != CHECK
        && strcmp(jobs[i]->store_name, store_name) == 0)
      return jobs[i];
  }
  return NULL;
}

/* ------------------------------------------------------------------------------------- the work */
static int note_problem(void *arg, uint64_t offset, const char *problem) {
  char sentence[SENTENCE_ROOM];
  job *j = arg;
  sentence_public(sentence, sizeof sentence, problem);
  pthread_mutex_lock(&jobs_mutex);
  if (j->problems++ < SENTENCES_MAX) {
    buffer_printf(&j->report, "%s{\"offset\":%llu,", j->report.size ? "," : "",
                  (unsigned long long)offset);
    emit_bytes(&j->report, "sentence", "sentence_encoding", maph_str(sentence));
    buffer_text(&j->report, "}");
  }
  pthread_mutex_unlock(&jobs_mutex);
  return atomic_load(&stop_asked);
}

static int note_progress(void *arg, const char *phase, uint64_t done, uint64_t total) {
  job *j = arg;
  bool cancel;
  pthread_mutex_lock(&jobs_mutex);
  snprintf(j->phase, sizeof j->phase, "%s", phase);
  j->done = done;
  j->total = total;
  cancel = j->cancel_asked;
  pthread_mutex_unlock(&jobs_mutex);
  return cancel || atomic_load(&stop_asked);
}

static void backup_path(char *out, const char *file) {
  snprintf(out, PATH_ROOM, "%s%s%s%s", option.backups[0] ? option.backups : option.data,
           option.backups[0] ? "" : "/backups", *file ? "/" : "", file);
}

/* Make the folder of backups, if need be, and have its name on disk: who made it may have died
** before.  A folder above that may not be read cannot be flushed.  An errno. */
static int backup_folder(void) {
  char path[PATH_ROOM];
  int parent, trouble = 0;
  backup_path(path, "");
  if (mkdir(path, 0700) != 0 && errno != EEXIST) return errno;
  backup_path(path, "..");
  if ((parent = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
    return errno == EACCES ? 0 : errno;
  if (fsync(parent) != 0 && errno != EINVAL) trouble = errno;
  close(parent);
  return trouble;
}

static bool backup_exists(const char *file) {
  char path[PATH_ROOM];
  struct stat st;
  backup_path(path, file);
  return lstat(path, &st) == 0;
}

/* A name that no backup has: the store's and the time, from the second one of a second on with its
** number.  jobs_mutex is held, and a store has one rewrite at a time: until this one is done nobody
** else looks for a name of that beginning. */
static void name_by_time(char *file, size_t room, const char *store_name) {
  char stamp[32];
  time_t now = time(NULL);
  struct tm tm;
  gmtime_r(&now, &tm);
  strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
  snprintf(file, room, "%s-%s.maph", store_name, stamp);
  for (int i = 2; backup_exists(file); i++)
    snprintf(file, room, "%s-%s-%d.maph", store_name, stamp, i);
}

static int work(job *j, maph *m) {
  char path[PATH_ROOM];
  switch (j->kind) {
    case COMPACT: return maph_compact(m, note_progress, j);
    case OPTIMIZE: return maph_optimize(m, note_progress, j);
    case BACKUP: backup_path(path, j->file); return maph_backup(m, path, note_progress, j);
    default: return maph_check_progress(m, note_problem, j, note_progress, j);
  }
}

static enum state outcome_of(const job *j, int rc) {
  if (rc == MAPH_OK || (j->kind == CHECK && rc == MAPH_CORRUPT)) return DONE;
  return rc == MAPH_CANCELLED ? CANCELLED : FAILED;
}

/* The new backup is there: older ones go. */
static void prune(const job *j) {
  char folder[PATH_ROOM];
  int error;
  backup_path(folder, "");
  error = retention_prune(folder, j->store_name, j->keep);
  if (error) log_line("older backups of %s cannot be removed: %s", j->store_name, strerror(error));
}

static void *job_run(void *arg) {
  job *j = arg;
  store *s = j->store;
  maph_rewrite result = { 0 };
  int rc = work(j, s->m);
  if (rc == MAPH_OK && j->keep > 0) prune(j);
  bool rewritten = rc == MAPH_OK && j->kind != CHECK && maph_rewritten(s->m, &result) == MAPH_OK;
  if (rewritten && j->kind != BACKUP) store_forget(s);
  pthread_mutex_lock(&jobs_mutex);
  j->rc = rc;
  if (rc != MAPH_OK && sentence_public(j->detail, sizeof j->detail, maph_errmsg(s->m)))
    log_line("job %llu: %s", (unsigned long long)j->id, maph_errmsg(s->m));
  j->result = result;
  j->state = outcome_of(j, rc);
  j->finished_ms = wall_ms();
  ended[j->kind][j->state - DONE]++;
  j->store = NULL;
  running_count--;
  pthread_cond_broadcast(&job_ended);
  pthread_mutex_unlock(&jobs_mutex);
  store_release(s);
  return NULL;
}

/* Begin a job, which names its backup itself where file is empty; jobs_mutex is held.  NULL: too
** many, or no memory or thread. */
static job *job_start(store *s, enum kind kind, const char *file, uint64_t keep) {
  pthread_attr_t detached;
  pthread_t thread;
  job *j;
  bool started;
  if (running_count == RUNNING_MAX || !make_room() || (j = calloc(1, sizeof *j)) == NULL)
    return NULL;
  j->id = ++last_id;
  j->kind = kind;
  j->keep = keep;
  j->started_ms = wall_ms();
  j->store = s;
  strcpy(j->store_name, s->name);
  if (kind == BACKUP && *file == 0)
    name_by_time(j->file, sizeof j->file, s->name);
  else
    snprintf(j->file, sizeof j->file, "%s", file);
  store_hold(s);
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  started = pthread_create(&thread, &detached, job_run, j) == 0;
  pthread_attr_destroy(&detached);
  if (!started) {
    store_release(s);
    job_free(j);
    return NULL;
  }
  jobs[job_count++] = j;
  running_count++;
  return j;
}

/* --------------------------------------------------------------------------------- descriptions */
static void result_json(buffer *b, const maph_rewrite *w) {
  buffer_text(b, ",\"result\":{");
  emit_rewrite(b, w);
  buffer_text(b, "}");
}

static void job_json(buffer *b, const job *j) {
  buffer_printf(
      b, "{\"id\":\"%llu\",\"kind\":\"%s\",\"store\":\"%s\",\"state\":\"%s\",\"started_at\":%llu",
      (unsigned long long)j->id, kind_names[j->kind], j->store_name, state_names[j->state],
      (unsigned long long)j->started_ms);
  if (j->finished_ms) buffer_printf(b, ",\"finished_at\":%llu", (unsigned long long)j->finished_ms);
  if (j->phase[0])
    buffer_printf(b, ",\"phase\":\"%s\",\"done\":%llu,\"total\":%llu", j->phase,
                  (unsigned long long)j->done, (unsigned long long)j->total);
  if (j->file[0]) buffer_printf(b, ",\"file\":\"%s\"", j->file);
  if (j->state != RUNNING)
    buffer_printf(b, ",\"success\":%s,\"code\":\"%s\"", j->rc == MAPH_OK ? "true" : "false",
                  maph_code(j->rc));
  if (j->detail[0]) {
    buffer_text(b, ",");
    emit_bytes(b, "detail", "detail_encoding", maph_str(j->detail));
  }
  if (j->kind == CHECK) {
    buffer_printf(b, ",\"problems\":%llu,\"report\":[", (unsigned long long)j->problems);
    if (!j->report.failed) buffer_append(b, j->report.data, j->report.size);
    buffer_text(b, "]");
  } else if (j->state == DONE) {
    result_json(b, &j->result);
  }
  buffer_text(b, "}");
}

static void reply_no_job(request *r) {
  reply_problem(r, 404, "job_not_found", "there is no such job, or many newer ones came since");
}

/* Answer with one job, which may have gone meanwhile: 202 while it runs, if it was begun or stopped
** by this request.  Who waited for a job that did not succeed gets its problem. */
static void answer(request *r, uint64_t id, bool asked, bool waited) {
  char detail[512];
  int rc = MAPH_OK, status = 200;
  job *j;
  r->body->size = 0;
  pthread_mutex_lock(&jobs_mutex);
  if ((j = job_find(id)) != NULL && !may_see(r, j)) j = NULL;
  if (j) {
    job_json(r->body, j);
    if (asked && j->state == RUNNING) status = 202;
    if (waited && (j->state == FAILED || j->state == CANCELLED)) rc = j->rc;
    strcpy(detail, j->detail);
  }
  pthread_mutex_unlock(&jobs_mutex);
  if (j == NULL) {
    reply_no_job(r);
    return;
  }
  if (asked) reply_extra(r, "Location: /jobs/%llu", (unsigned long long)id);
  if (rc != MAPH_OK) {
    reply_problem(r, maph_status(rc), maph_code(rc), "%s", detail);
    return;
  }
  buffer_text(r->body, "\n");
  reply_start(r, status);
  reply_json(r, status, r->body);
}

/* --------------------------------------------------------------------------------------- upkeep */
/* Enough of it is dead, and it was not tried a short while ago? */
static bool due(const store *s, const maph_stats *stats) {
  bool full = room_is_full();
  uint64_t retry = full ? RETRY_FULL_US : RETRY_US, above = option.auto_compact_above;
  if (full && above > FULL_ABOVE) above = FULL_ABOVE;
  if (s->rewritten_us && now_us() - s->rewritten_us < retry) return false;
  /* what the file has and does not use goes to the new one, if need be */
  if (full && stats->live_bytes + stats->used_bytes > room_free() + stats->file_bytes) return false;
  return stats->dead_bytes >= above
         && stats->dead_bytes / 100 * 100 >= stats->used_bytes / 100 * option.auto_compact;
}

static void compact_if_due(store *s) {
  maph_stats stats;
  const job *begun = NULL;
  if (s->read_only || maph_stat(s->m, &stats) != MAPH_OK || stats.poisoned || !due(s, &stats))
    return;
  pthread_mutex_lock(&jobs_mutex);
  if (running_count == 0) begun = job_start(s, stats.frozen_keys ? OPTIMIZE : COMPACT, "", 0);
  pthread_mutex_unlock(&jobs_mutex);
  if (begun == NULL) return;
  s->rewritten_us = now_us();
  log_line("%s: %llu of %llu bytes are dead: compacting it", s->name,
           (unsigned long long)stats.dead_bytes, (unsigned long long)stats.used_bytes);
}

void jobs_upkeep(void) {
  static uint64_t looked_us;
  if (option.auto_compact == 0 || http_draining() || now_us() - looked_us < LOOK_US) return;
  looked_us = now_us();
  for (store *s = store_next(NULL); s; s = store_next(s)) compact_if_due(s);
}

/* ------------------------------------------------------------------------------------- requests */
/* Wait for the end of a job; jobs_mutex is held. */
static void await(request *r, uint64_t id) {
  const job *j;
  while ((j = job_find(id)) != NULL && j->state == RUNNING && !http_draining()
         && http_client_there(r)) {
    struct timespec until = clock_after(1);
    pthread_cond_timedwait(&job_ended, &jobs_mutex, &until);
  }
}

static void run_job(request *r, enum kind kind, const char *file, uint64_t keep) {
  const job *j, *other;
  bool wait = false;
  uint64_t id = 0;
  if (!query_flag(r, "wait", &wait)) return;
  pthread_mutex_lock(&jobs_mutex);
  other = kind == CHECK ? NULL : rewrite_of(r->store->name);
  j = other ? NULL : job_start(r->store, kind, file, keep);
  if (j) id = j->id;
  if (j && wait) await(r, id);
  pthread_mutex_unlock(&jobs_mutex);
  if (other)
    reply_problem(r, 409, "job_running", "a rewrite of %s is running", r->store->name);
  else if (id == 0)
    reply_problem(r, 429, "too_many_jobs", "at most %d jobs run at once", RUNNING_MAX);
  else
    answer(r, id, true, wait);
}

void store_check(request *r) { run_job(r, CHECK, "", 0); }
void store_compact(request *r) {
  if (write_allowed(r)) run_job(r, COMPACT, "", 0);
}
void store_optimize(request *r) {
  if (write_allowed(r)) run_job(r, OPTIMIZE, "", 0);
}

/* The backup's file by ?name=; empty without it. */
static bool name_backup(request *r, char *file, size_t room) {
  maph_slice name;
  *file = 0;
  if (!request_query(r, "name", &name)) return true;
  snprintf(file, room, "%.*s.maph", (int)(name.size < 80 ? name.size : 80),
           (const char *)name.data);
  if (store_name_valid(name.data, name.size)) return true;
  reply_problem(r, 400, "bad_backup_name",
                "a backup's name is a letter or digit and then up to 63 of letters, digits, . _ -");
  return false;
}

/* ?keep=, 0 without it: all are kept.  False: answered. */
static bool read_keep(request *r, uint64_t *keep) {
  maph_slice text;
  *keep = 0;
  if (!request_query(r, "keep", &text)) return true;
  if (json_whole_number(text, KEEP_MAX, keep) && *keep > 0) return true;
  reply_problem(r, 400, "bad_keep", "keep is from 1 to %d: so many backups of the store are kept",
                KEEP_MAX);
  return false;
}

void store_backup(request *r) {
  char file[128];
  uint64_t keep;
  int trouble;
  if (!name_backup(r, file, sizeof file) || !read_keep(r, &keep)) return;
  if ((trouble = backup_folder()) != 0)
    reply_problem(r, 500, "io_error", "the folder for backups cannot be made: %s",
                  strerror(trouble));
  else if (*file && backup_exists(file))
    reply_problem(r, 409, "backup_exists", "there is a backup of that name");
  else
    run_job(r, BACKUP, file, keep);
}

static uint64_t asked_id(const request *r) {
  char digits[24] = "";
  maph_slice id = r->segments[0];
  if (id.size < sizeof digits) memcpy(digits, id.data, id.size);
  return strtoull(digits, NULL, 10);
}

void job_show(request *r) { answer(r, asked_id(r), false, false); }

void job_cancel(request *r) {
  uint64_t id = asked_id(r);
  int i;
  enum { GONE, ASKED, REMOVED } did = GONE;
  pthread_mutex_lock(&jobs_mutex);
  if ((i = job_index(id)) >= 0 && may_see(r, jobs[i])) {
    if (jobs[i]->state != RUNNING) {
      job_remove(i);
      did = REMOVED;
    } else {
      jobs[i]->cancel_asked = true;
      did = ASKED;
    }
  }
  pthread_mutex_unlock(&jobs_mutex);
  if (did == GONE)
    reply_no_job(r);
  else if (did == REMOVED)
    reply_empty(r, 204);
  else
    answer(r, id, true, false);
}

void jobs_list(request *r) {
  r->body->size = 0;
  buffer_text(r->body, "[");
  pthread_mutex_lock(&jobs_mutex);
  for (int i = 0; i < job_count; i++) {
    if (!may_see(r, jobs[i])) continue;
    if (r->body->size > 1) buffer_text(r->body, ",\n");
    job_json(r->body, jobs[i]);
  }
  pthread_mutex_unlock(&jobs_mutex);
  buffer_text(r->body, "]\n");
  reply_json(r, 200, r->body);
}

uint64_t jobs_running(void) {
  int n;
  pthread_mutex_lock(&jobs_mutex);
  n = running_count;
  pthread_mutex_unlock(&jobs_mutex);
  return (uint64_t)n;
}

uint64_t jobs_ended(int kind, int outcome) {
  uint64_t n;
  pthread_mutex_lock(&jobs_mutex);
  n = ended[kind][outcome];
  pthread_mutex_unlock(&jobs_mutex);
  return n;
}

const char *jobs_kind_name(int kind) { return kind <= BACKUP ? kind_names[kind] : NULL; }
const char *jobs_outcome_name(int outcome) {
  return DONE + outcome <= CANCELLED ? state_names[DONE + outcome] : NULL;
}

void jobs_start(void) { clock_condition(&job_ended); }

void jobs_stop(void) {
  struct timespec until = clock_after(option.drain_timeout_ms / 1000 + 1);
  atomic_store(&stop_asked, true);
  pthread_mutex_lock(&jobs_mutex);
  while (running_count > 0 && pthread_cond_timedwait(&job_ended, &jobs_mutex, &until) == 0)
    ;
  for (int i = 0; running_count == 0 && i < job_count; i++) job_free(jobs[i]);
  if (running_count == 0) job_count = 0;
  pthread_mutex_unlock(&jobs_mutex);
}
