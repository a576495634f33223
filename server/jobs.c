/*
** jobs.c - work that outlives its request: each job is a thread, listed under /jobs until many newer ones have come.
**
** POST /stores/NAME/check answers 202 with the job's place, or with ?wait=1 the finished job.  The job holds its store; a client that
** goes away changes nothing.
*/
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include "server.h"

enum { KEPT = 64, RUNNING_MAX = 4, SENTENCES_MAX = 50 };
enum state { RUNNING, DONE, FAILED };

typedef struct job {
  uint64_t id, started_ms, finished_ms, problems;
  enum state state;
  int      rc;
  char     store_name[72], detail[512];
  store   *store;
  buffer   report;                  /* JSON of the first problems */
} job;

static job *jobs[KEPT];             /* newest last; jobs_mutex for all of it */
static int job_count, running_count;
static uint64_t last_id;
static atomic_bool stop_asked;
static pthread_mutex_t jobs_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t job_ended = PTHREAD_COND_INITIALIZER;

static void job_free(job *j){
  buffer_free(&j->report);
  free(j);
}

/* Room for one more: the oldest finished job goes. */
static bool make_room(void){
  for(int i = 0; job_count==KEPT && i < KEPT; i++){
    if( jobs[i]->state==RUNNING ) continue;
    job_free(jobs[i]);
    memmove(&jobs[i], &jobs[i+1], (size_t)(KEPT - i - 1)*sizeof jobs[0]);
    job_count--;
  }
  return job_count < KEPT;
}

static int note_problem(void *arg, uint64_t offset, const char *sentence){
  job *j = arg;
  pthread_mutex_lock(&jobs_mutex);
  if( j->problems++ < SENTENCES_MAX ){
    buffer_printf(&j->report, "%s{\"offset\":%llu,", j->report.size ? "," : "", (unsigned long long)offset);
    emit_bytes(&j->report, "sentence", "sentence_encoding", maph_str(sentence));
    buffer_text(&j->report, "}");
  }
  pthread_mutex_unlock(&jobs_mutex);
  return atomic_load(&stop_asked);
}

static void *job_run(void *arg){
  job *j = arg;
  store *s = j->store;
  int rc = maph_check(s->m, note_problem, j);
  pthread_mutex_lock(&jobs_mutex);
  j->rc = rc;
  if( rc!=MAPH_OK ) snprintf(j->detail, sizeof j->detail, "%s", maph_errmsg(s->m));
  j->state = rc==MAPH_OK || rc==MAPH_CORRUPT ? DONE : FAILED;
  j->finished_ms = wall_ms();
  j->store = NULL;
  running_count--;
  pthread_cond_broadcast(&job_ended);
  pthread_mutex_unlock(&jobs_mutex);
  store_release(s);
  return NULL;
}

/* Begin a check; jobs_mutex is held.  NULL: too many, or no memory or thread. */
static job *job_start(store *s){
  pthread_attr_t detached;
  pthread_t thread;
  job *j;
  bool started;
  if( running_count==RUNNING_MAX || !make_room() || (j = calloc(1, sizeof *j))==NULL ) return NULL;
  j->id = ++last_id;
  j->started_ms = wall_ms();
  j->store = s;
  strcpy(j->store_name, s->name);
  store_hold(s);
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  started = pthread_create(&thread, &detached, job_run, j)==0;
  pthread_attr_destroy(&detached);
  if( !started ){ store_release(s); job_free(j); return NULL; }
  jobs[job_count++] = j;
  running_count++;
  return j;
}

static void job_json(buffer *b, const job *j){
  static const char *const states[] = { "running", "done", "failed" };
  buffer_printf(b, "{\"id\":\"%llu\",\"kind\":\"check\",\"store\":\"%s\",\"state\":\"%s\",\"started_at\":%llu", (unsigned long long)j->id,
                j->store_name, states[j->state], (unsigned long long)j->started_ms);
  if( j->finished_ms ) buffer_printf(b, ",\"finished_at\":%llu", (unsigned long long)j->finished_ms);
  if( j->state!=RUNNING ) buffer_printf(b, ",\"success\":%s,\"code\":\"%s\"", j->rc==MAPH_OK ? "true" : "false", maph_code(j->rc));
  if( j->detail[0] ){
    buffer_text(b, ",");
    emit_bytes(b, "detail", "detail_encoding", maph_str(j->detail));
  }
  buffer_printf(b, ",\"problems\":%llu,\"report\":[", (unsigned long long)j->problems);
  if( !j->report.failed ) buffer_append(b, j->report.data, j->report.size);
  buffer_text(b, "]}");
}

static job *job_find(uint64_t id){
  for(int i = 0; i < job_count; i++) if( jobs[i]->id==id ) return jobs[i];
  return NULL;
}

/* Answer with one job.  It may have gone while this request waited for it. */
static void answer(request *r, int status, uint64_t id){
  job *j;
  r->body->size = 0;
  pthread_mutex_lock(&jobs_mutex);
  if( (j = job_find(id))!=NULL ) job_json(r->body, j);
  pthread_mutex_unlock(&jobs_mutex);
  if( j==NULL ){ reply_problem(r, 404, "job_not_found", "there is no such job, or many newer ones came since"); return; }
  buffer_text(r->body, "\n");
  reply_start(r, status);
  if( status==202 ) reply_header_number(r, "Location", "/jobs/", id, "");
  reply_json(r, status, r->body);
}

void store_check(request *r){
  maph_slice wait;
  uint64_t id;
  bool ended;
  job *j;
  pthread_mutex_lock(&jobs_mutex);
  j = job_start(r->store);
  id = j ? j->id : 0;
  if( j && request_query(r, "wait", &wait) && wait.size==1 && *(const char*)wait.data=='1' ){
    while( (j = job_find(id))!=NULL && j->state==RUNNING && !http_draining() ){
      struct timespec until;
      clock_gettime(CLOCK_REALTIME, &until);
      until.tv_sec++;
      pthread_cond_timedwait(&job_ended, &jobs_mutex, &until);
    }
  }
  ended = j && j->state!=RUNNING;
  pthread_mutex_unlock(&jobs_mutex);
  if( id==0 ) reply_problem(r, 429, "too_many_jobs", "at most %d jobs run at once", RUNNING_MAX);
  else answer(r, ended ? 200 : 202, id);
}

void job_show(request *r){
  char digits[24] = "";
  maph_slice id = r->segments[0];
  if( id.size < sizeof digits ) memcpy(digits, id.data, id.size);
  answer(r, 200, strtoull(digits, NULL, 10));
}

void jobs_list(request *r){
  r->body->size = 0;
  buffer_text(r->body, "[");
  pthread_mutex_lock(&jobs_mutex);
  for(int i = 0; i < job_count; i++){
    if( i ) buffer_text(r->body, ",\n");
    job_json(r->body, jobs[i]);
  }
  pthread_mutex_unlock(&jobs_mutex);
  buffer_text(r->body, "]\n");
  reply_json(r, 200, r->body);
}

void jobs_stop(void){
  struct timespec until;
  atomic_store(&stop_asked, true);
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += (time_t)(option.drain_timeout_ms/1000) + 1;
  pthread_mutex_lock(&jobs_mutex);
  while( running_count > 0 && pthread_cond_timedwait(&job_ended, &jobs_mutex, &until)==0 );
  for(int i = 0; running_count==0 && i < job_count; i++) job_free(jobs[i]);
  if( running_count==0 ) job_count = 0;
  pthread_mutex_unlock(&jobs_mutex);
}
