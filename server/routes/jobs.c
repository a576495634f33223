/*
** jobs.c - work that outlives its request: each job is a thread, listed under /jobs until many
** newer ones have come.
**
** POST /stores/NAME/check, /compact, /optimize or /backup, and DELETE /stores/NAME/keys, answer 202
** with the job's place, or with ?wait=1 wait for its end.  The job holds its store; a client that
** goes away changes nothing.  GET /jobs/ID shows how far it is, DELETE /jobs/ID stops it, which
** then leaves everything as it was, or takes a finished job off the list.  A deletion that is
** stopped leaves what it has not come to (removal.c).
**
** Whoever is admin of a store sees and stops its jobs, whoever may write its deletions; to others
** there are none.
**
** A rewritten store is forgotten here, so that the next request opens the new file and the old one
** goes with its last user.
**
** With --auto-compact a job begins by itself where enough of a store is dead: optimize where it has
** a perfect hash, else compact.  On a full disk little is enough, once what is live fits beside it.
*/
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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
#include "routes/backups.h"
#include "routes/handlers.h"
#include "routes/jobs.h"
#include "routes/handling.h"
#include "routes/removal.h"

enum {
  KEEP_MAX = 100000,
  KEPT = 64,
  RUNNING_MAX = 4,
  SENTENCES_MAX = 50,
  LOOK_US = 5000000,
  RETRY_US = 600000000,
  RETRY_FULL_US = 10000000,
  FULL_ABOVE = 65536,
  NEW_BESIDE = 131072 /* a new file's index and the rest of a step that it grows by, at least */
};
enum state { RUNNING, DONE, FAILED, CANCELLED };
enum kind { CHECK, COMPACT, OPTIMIZE, BACKUP, REMOVAL, KINDS };
static const char *const kind_names[] = { "check", "compact", "optimize", "backup", "delete" };
static const char *const state_names[] = { "running", "done", "failed", "cancelled" };

typedef struct job {
  uint64_t id, started_ms, finished_ms, problems, done, total;
  uint64_t began_us; /* by the clock that nobody sets */
  enum kind kind;
  uint64_t keep; /* of a backup: how many there may be then; 0: any number */
  enum state state;
  bool cancel_asked;
  int rc;
  char store_name[72], phase[24], detail[512], file[128];
  store *store;
  buffer report; /* JSON of the first problems */
  maph_rewrite result;
  maph_range range; /* of a deletion: what goes, in `bounds`, and how far it came */
  char *bounds;
  int durability;
  buffer last_key;
} job;

static uint64_t ended[KINDS][CANCELLED]; /* by kind and outcome; jobs_mutex */
static job *jobs[KEPT];                  /* newest last; jobs_mutex for all of it */
static int job_count, running_count;
static uint64_t last_id; /* of this server or one before it: begins at the time of its start */
static atomic_bool stop_asked;
static pthread_mutex_t jobs_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t job_ended;

static void job_free(job *job) {
  buffer_free(&job->report);
  buffer_free(&job->last_key);
  free(job->bounds);
  free(job);
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

static bool may_see(const request *request, const job *job) {
  return auth_holds(request, job->kind == REMOVAL ? ROLE_WRITE : ROLE_ADMIN, job->store_name);
}

static job *job_find(uint64_t id) {
  int i = job_index(id);
  return i < 0 ? NULL : jobs[i];
}

static bool rewrites(enum kind kind) {
  return kind == COMPACT || kind == OPTIMIZE || kind == BACKUP;
}

static const job *rewrite_of(const char *store_name) {
  for (int i = 0; i < job_count; i++) {
    if (jobs[i]->state == RUNNING && rewrites(jobs[i]->kind)
        && strcmp(jobs[i]->store_name, store_name) == 0)
      return jobs[i];
  }
  return NULL;
}

/* ------------------------------------------------------------------------------------- the work */
static int note_problem(void *arg, uint64_t offset, const char *problem) {
  char sentence[SENTENCE_ROOM];
  job *job = arg;
  sentence_public(sentence, sizeof sentence, problem);
  pthread_mutex_lock(&jobs_mutex);
  if (job->problems++ < SENTENCES_MAX) {
    buffer_printf(&job->report, "%s{\"offset\":%llu,", job->report.size ? "," : "",
                  (unsigned long long)offset);
    emit_bytes(&job->report, "sentence", "sentence_encoding", maph_str(sentence));
    buffer_text(&job->report, "}");
  }
  pthread_mutex_unlock(&jobs_mutex);
  return atomic_load(&stop_asked);
}

/* Here a job hears that it is cancelled, and not by maph_interrupt: that would end the writes of
** others too, which wait through the same handle. */
static int note_progress(void *arg, const char *phase, uint64_t done, uint64_t total) {
  job *job = arg;
  bool cancel;
  pthread_mutex_lock(&jobs_mutex);
  snprintf(job->phase, sizeof job->phase, "%s", phase);
  job->done = done;
  job->total = total;
  cancel = job->cancel_asked;
  pthread_mutex_unlock(&jobs_mutex);
  return cancel || atomic_load(&stop_asked);
}

static int note_deleted(void *arg, uint64_t deleted, uint64_t total, maph_slice last) {
  job *job = arg;
  pthread_mutex_lock(&jobs_mutex);
  job->last_key.size = 0;
  buffer_append(&job->last_key, last.data, last.size);
  pthread_mutex_unlock(&jobs_mutex);
  return note_progress(job, "delete", deleted, total > deleted ? total : deleted);
}

static int work(job *job) {
  char path[BACKUPS_PATH_ROOM];
  maph *m = job->store->m;
  switch (job->kind) {
    case COMPACT: return maph_compact(m, note_progress, job);
    case OPTIMIZE: return maph_optimize(m, note_progress, job);
    case BACKUP: backups_path(path, job->file); return maph_backup(m, path, note_progress, job);
    case REMOVAL: return removal_run(job->store, &job->range, job->durability, note_deleted, job);
    default: return maph_check_progress(m, note_problem, job, note_progress, job);
  }
}

static enum state outcome_of(const job *job, int rc) {
  if (rc == MAPH_OK || (job->kind == CHECK && rc == MAPH_CORRUPT)) return DONE;
  return rc == MAPH_CANCELLED ? CANCELLED : FAILED;
}

static void *job_run(void *arg) {
  job *job = arg;
  store *store = job->store;
  maph_rewrite result = { 0 };
  int rc = work(job);
  if (rc == MAPH_OK && job->keep > 0) backups_prune(job->store_name, job->keep, job->file);
  bool rewritten =
      rc == MAPH_OK && rewrites(job->kind) && maph_rewritten(store->m, &result) == MAPH_OK;
  if (rewritten && job->kind != BACKUP) store_forget(store);
  pthread_mutex_lock(&jobs_mutex);
  job->rc = rc;
  if (job->kind == REMOVAL && rc == MAPH_CANCELLED)
    snprintf(job->detail, sizeof job->detail,
             "it was stopped; the keys deleted until then are gone, and the same request deletes "
             "the others");
  else if (rc != MAPH_OK && sentence_public(job->detail, sizeof job->detail, maph_errmsg(store->m)))
    log_line("job %llu: %s", (unsigned long long)job->id, maph_errmsg(store->m));
  job->result = result;
  job->state = outcome_of(job, rc);
  job->finished_ms = job->started_ms + (now_us() - job->began_us) / 1000;
  ended[job->kind][job->state - DONE]++;
  job->store = NULL;
  running_count--;
  pthread_cond_broadcast(&job_ended);
  pthread_mutex_unlock(&jobs_mutex);
  store_release(store);
  return NULL;
}

static maph_slice keep_bound(char **room, maph_slice bound) {
  maph_slice kept = { bound.data ? *room : NULL, bound.size };
  if (bound.data) memcpy(*room, bound.data, bound.size);
  *room += bound.size;
  return kept;
}

/* The bounds are the request's until here.  False: no memory. */
static bool keep_range(job *job) {
  char *room = malloc(job->range.from.size + job->range.to.size + job->range.prefix.size + 1);
  job->bounds = room;
  if (room == NULL) return false;
  job->range.from = keep_bound(&room, job->range.from);
  job->range.to = keep_bound(&room, job->range.to);
  job->range.prefix = keep_bound(&room, job->range.prefix);
  return true;
}

/* A job for what is asked; NULL: no memory.  jobs_mutex is held, and a store has one rewrite at a
** time: so until a backup is done nobody else looks for a name of its store. */
static job *job_make(store *store, const job *asked) {
  job *job = malloc(sizeof *job);
  if (job == NULL) return NULL;
  *job = *asked;
  job->store = store;
  job->started_ms = wall_ms();
  job->began_us = now_us();
  strcpy(job->store_name, store->name);
  if (job->kind == BACKUP && job->file[0] == 0)
    backups_name_by_time(job->file, sizeof job->file, store->name);
  if (keep_range(job)) return job;
  job_free(job);
  return NULL;
}

/* Begin a job such as is asked, which names its backup itself where file is empty; jobs_mutex is
** held.  NULL: too many, or no memory or thread. */
static job *job_start(store *store, const job *asked) {
  pthread_attr_t detached;
  pthread_t thread;
  job *job;
  bool started;
  if (running_count == RUNNING_MAX || !make_room() || (job = job_make(store, asked)) == NULL)
    return NULL;
  job->id = ++last_id;
  store_hold(store);
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  started = pthread_create(&thread, &detached, job_run, job) == 0;
  pthread_attr_destroy(&detached);
  if (!started) {
    store_release(store);
    job_free(job);
    return NULL;
  }
  jobs[job_count++] = job;
  running_count++;
  return job;
}

/* --------------------------------------------------------------------------------- descriptions */
static void result_json(buffer *buffer, const maph_rewrite *rewrite) {
  buffer_text(buffer, ",\"result\":{");
  emit_rewrite(buffer, rewrite);
  buffer_text(buffer, "}");
}

/* How far it is; of its rest nothing is known. */
static void removal_json(buffer *buffer, const job *job) {
  buffer_printf(buffer, ",\"deleted\":%llu", (unsigned long long)job->done);
  if (job->last_key.size == 0 || job->last_key.failed) return;
  buffer_text(buffer, ",");
  emit_bytes(buffer, "last_key", "last_key_encoding",
             (maph_slice){ job->last_key.data, job->last_key.size });
}

static void job_json(buffer *buffer, const job *job) {
  buffer_printf(
      buffer,
      "{\"id\":\"%llu\",\"kind\":\"%s\",\"store\":\"%s\",\"state\":\"%s\",\"started_at\":%llu",
      (unsigned long long)job->id, kind_names[job->kind], job->store_name, state_names[job->state],
      (unsigned long long)job->started_ms);
  if (job->finished_ms)
    buffer_printf(buffer, ",\"finished_at\":%llu", (unsigned long long)job->finished_ms);
  if (job->phase[0])
    buffer_printf(buffer, ",\"phase\":\"%s\",\"done\":%llu,\"total\":%llu", job->phase,
                  (unsigned long long)job->done, (unsigned long long)job->total);
  if (job->file[0]) buffer_printf(buffer, ",\"file\":\"%s\"", job->file);
  if (job->state != RUNNING)
    buffer_printf(buffer, ",\"success\":%s,\"code\":\"%s\"", job->rc == MAPH_OK ? "true" : "false",
                  maph_code(job->rc));
  if (job->detail[0]) {
    buffer_text(buffer, ",");
    emit_bytes(buffer, "detail", "detail_encoding", maph_str(job->detail));
  }
  if (job->kind == CHECK) {
    buffer_printf(buffer, ",\"problems\":%llu,\"report\":[", (unsigned long long)job->problems);
    if (!job->report.failed) buffer_append(buffer, job->report.data, job->report.size);
    buffer_text(buffer, "]");
  } else if (job->kind == REMOVAL) {
    removal_json(buffer, job);
  } else if (job->state == DONE) {
    result_json(buffer, &job->result);
  }
  buffer_text(buffer, "}");
}

static void reply_no_job(request *request) {
  reply_problem(request, 404, "job_not_found",
                "there is no such job, or many newer ones came since, or the server was started "
                "anew, which ends a job");
}

/* Answer with one job, which may have gone meanwhile: 202 if it was begun or stopped by this
** request and its end was not waited for, though it may have come.  Who waited for a job that did
** not succeed gets its problem. */
static void answer(request *request, uint64_t id, bool asked, bool waited) {
  char detail[512];
  int rc = MAPH_OK, status = 200;
  job *job;
  request->reply.body->size = 0;
  pthread_mutex_lock(&jobs_mutex);
  if ((job = job_find(id)) != NULL && !may_see(request, job)) job = NULL;
  if (job) {
    job_json(request->reply.body, job);
    if (asked && (!waited || job->state == RUNNING)) status = 202;
    if (waited && (job->state == FAILED || job->state == CANCELLED)) rc = job->rc;
    if (rc != MAPH_OK && job->kind == REMOVAL)
      snprintf(request->reply.members, sizeof request->reply.members, ",\"deleted\":%llu",
               (unsigned long long)job->done);
    strcpy(detail, job->detail);
  }
  pthread_mutex_unlock(&jobs_mutex);
  if (job == NULL) {
    reply_no_job(request);
    return;
  }
  if (asked) reply_extra(request, "Location: /jobs/%llu", (unsigned long long)id);
  if (rc != MAPH_OK) {
    reply_problem(request, maph_status(rc), maph_code(rc), "%s", detail);
    return;
  }
  buffer_text(request->reply.body, "\n");
  reply_start(request, status);
  reply_json(request, status, request->reply.body);
}

/* --------------------------------------------------------------------------------------- upkeep */
/* Enough of it is dead, and it was not tried a short while ago? */
static bool due(const store *store, const maph_stats *stats) {
  bool full = room_is_full();
  uint64_t retry = full ? RETRY_FULL_US : RETRY_US, above = option.auto_compact_above,
           needed = stats->live_bytes + stats->live_bytes / 8 + NEW_BESIDE;
  if (full && above > FULL_ABOVE) above = FULL_ABOVE;
  if (store->rewritten_us && now_us() - store->rewritten_us < retry) return false;
  /* what the file has and does not use goes to the new one, if need be */
  if (full && stats->used_bytes + needed > room_free() + stats->file_bytes) return false;
  return stats->dead_bytes >= above
         && stats->dead_bytes / 100 * 100 >= stats->used_bytes / 100 * option.auto_compact;
}

static void compact_if_due(store *store) {
  maph_stats stats;
  const job *begun = NULL;
  job rewrite = { .kind = COMPACT };
  if (store->read_only || maph_stat(store->m, &stats) != MAPH_OK || stats.poisoned
      || !due(store, &stats))
    return;
  if (stats.frozen_keys) rewrite.kind = OPTIMIZE;
  pthread_mutex_lock(&jobs_mutex);
  if (running_count == 0) begun = job_start(store, &rewrite);
  pthread_mutex_unlock(&jobs_mutex);
  if (begun == NULL) return;
  store->rewritten_us = now_us();
  log_line("%s: %llu of %llu bytes are dead: compacting it", store->name,
           (unsigned long long)stats.dead_bytes, (unsigned long long)stats.used_bytes);
}

void jobs_upkeep(void) {
  static uint64_t looked_us;
  if (option.auto_compact == 0 || http_draining() || now_us() - looked_us < LOOK_US) return;
  looked_us = now_us();
  for (store *store = store_next(NULL); store; store = store_next(store)) compact_if_due(store);
}

/* ------------------------------------------------------------------------------------- requests */
/* Wait for the end of a job; jobs_mutex is held. */
static void await(request *request, uint64_t id) {
  const job *job;
  while ((job = job_find(id)) != NULL && job->state == RUNNING && !http_draining()
         && http_client_there(request)) {
    struct timespec until = clock_after(1);
    pthread_cond_timedwait(&job_ended, &jobs_mutex, &until);
  }
}

static void run_job(request *request, const job *asked) {
  const job *begun, *other;
  bool wait = false;
  uint64_t id = 0;
  if (!query_flag(request, "wait", &wait)) return;
  pthread_mutex_lock(&jobs_mutex);
  other = rewrites(asked->kind) ? rewrite_of(store_of(request)->name) : NULL;
  begun = other ? NULL : job_start(store_of(request), asked);
  if (begun) id = begun->id;
  if (begun && wait) await(request, id);
  pthread_mutex_unlock(&jobs_mutex);
  if (other)
    reply_problem(request, 409, "job_running", "a rewrite of %s is running",
                  store_of(request)->name);
  else if (id == 0)
    reply_problem(request, 429, "too_many_jobs", "at most %d jobs run at once", RUNNING_MAX);
  else
    answer(request, id, true, wait);
}

void store_check(request *request) { run_job(request, &(job){ .kind = CHECK }); }
void store_compact(request *request) {
  if (write_allowed(request)) run_job(request, &(job){ .kind = COMPACT });
}
void store_optimize(request *request) {
  if (write_allowed(request)) run_job(request, &(job){ .kind = OPTIMIZE });
}

void keys_delete(request *request) {
  job asked = { .kind = REMOVAL, .range = MAPH_RANGE_INIT };
  if (removal_read(request, &asked.range) && query_durability(request, &asked.durability)
      && change_allowed(request))
    run_job(request, &asked);
}

/* The backup's file by ?name=; empty without it. */
static bool name_backup(request *request, char *file, size_t room) {
  maph_slice name;
  *file = 0;
  if (!request_query(request, "name", &name)) return true;
  snprintf(file, room, "%.*s.maph", (int)(name.size < 80 ? name.size : 80),
           (const char *)name.data);
  if (store_name_valid(name.data, name.size)) return true;
  reply_problem(request, 400, "bad_backup_name",
                "a backup's name is a letter or digit and then up to 63 of letters, digits, . _ -");
  return false;
}

/* ?keep=, 0 without it: all are kept.  False: answered. */
static bool read_keep(request *request, uint64_t *keep) {
  maph_slice text;
  *keep = 0;
  if (!request_query(request, "keep", &text)) return true;
  if (json_whole_number(text, KEEP_MAX, keep) && *keep > 0) return true;
  reply_problem(request, 400, "bad_keep",
                "keep is from 1 to %d: so many backups of the store are kept", KEEP_MAX);
  return false;
}

void store_backup(request *request) {
  job asked = { .kind = BACKUP };
  int trouble;
  if (!name_backup(request, asked.file, sizeof asked.file) || !read_keep(request, &asked.keep))
    return;
  if ((trouble = backups_make_folder()) == ENOSPC || trouble == EDQUOT)
    reply_problem(request, 507, maph_code(MAPH_FULL),
                  "the folder for backups cannot be made: the disk is full");
  else if (trouble != 0)
    reply_problem(request, 500, "io_error", "the folder for backups cannot be made: %s",
                  strerror(trouble));
  else if (asked.file[0] && backups_exists(asked.file))
    reply_problem(request, 409, "backup_exists", "there is a backup of that name");
  else
    run_job(request, &asked);
}

/* 0, which no job has, where it is not written as a job's is. */
static uint64_t asked_id(const request *request) {
  uint64_t id;
  return json_whole_number(segment_of(request, 0), UINT64_MAX, &id) ? id : 0;
}

void job_show(request *request) { answer(request, asked_id(request), false, false); }

void job_cancel(request *request) {
  uint64_t id = asked_id(request);
  int i;
  enum { GONE, ASKED, REMOVED } did = GONE;
  pthread_mutex_lock(&jobs_mutex);
  if ((i = job_index(id)) >= 0 && may_see(request, jobs[i])) {
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
    reply_no_job(request);
  else if (did == REMOVED)
    reply_empty(request, 204);
  else
    answer(request, id, true, false);
}

void jobs_list(request *request) {
  request->reply.body->size = 0;
  buffer_text(request->reply.body, "[");
  pthread_mutex_lock(&jobs_mutex);
  for (int i = 0; i < job_count; i++) {
    if (!may_see(request, jobs[i])) continue;
    if (request->reply.body->size > 1) buffer_text(request->reply.body, ",\n");
    job_json(request->reply.body, jobs[i]);
  }
  pthread_mutex_unlock(&jobs_mutex);
  buffer_text(request->reply.body, "]\n");
  reply_json(request, 200, request->reply.body);
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

const char *jobs_kind_name(int kind) { return kind < KINDS ? kind_names[kind] : NULL; }
const char *jobs_outcome_name(int outcome) {
  return DONE + outcome <= CANCELLED ? state_names[DONE + outcome] : NULL;
}

/* Who asks after a restart for a job of before is not answered with another. */
void jobs_start(void) {
  clock_condition(&job_ended);
  last_id = wall_ms();
  backups_start();
}

/* A job that works hears of it by its progress, and one that waits for another process's writer by
** the interrupt.  That one ends calls which have begun: so again each second. */
void jobs_stop(void) {
  uint64_t until_us = now_us() + (option.drain_timeout_ms + 1000) * 1000;
  atomic_store(&stop_asked, true);
  pthread_mutex_lock(&jobs_mutex);
  while (running_count > 0 && now_us() < until_us) {
    struct timespec again = clock_after(1);
    maph_interrupt(NULL);
    pthread_cond_timedwait(&job_ended, &jobs_mutex, &again);
  }
  for (int i = 0; running_count == 0 && i < job_count; i++) job_free(jobs[i]);
  if (running_count == 0) job_count = 0;
  pthread_mutex_unlock(&jobs_mutex);
}
