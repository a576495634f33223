/*
** relay.c - maph-replica relay: takes writes from maph-server over a Unix socket to their buckets.
**
** The parent makes the socket, so that who connects while a child is replaced waits for the next
** one.  In the child one thread accepts and looks who it is that connects; some workers, each with
** a connection to NATS of its own, take a question each, do the write and answer.  One that is past
** its time by WORKER_LATE_MS hangs in libnats: then the whole child is replaced, and whoever waited
** for it asks again.
**
** Nobody waits without an end: a question comes whole within QUESTION_MS, says until when it is of
** use, and one that finds WAITING_MOST before it is told to come again.
*/
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "entry/entry.h"
#include "nats/child.h"
#include "nats/forward.h"
#include "nats/option.h"
#include "nats/put.h"
#include "nats/replica.h"

enum {
  QUESTION_MS = 10000,
  ANSWER_MS = 5000,
  LONGEST_MS = 60000,
  WORKER_LATE_MS = 20000,
  WAITING_MOST = 256,
  WORKERS_MOST = 64,
  LOOK_MS = 200,
  STOP_MS = 12000,
  NOTE_MS = 1000,
  USERS_MOST = 64
};

typedef struct relay {
  const char *path;
  int listener;
  uid_t users[USERS_MOST];
  int users_count;
} relay;

typedef struct worker {
  pthread_t thread;
  put_session session;
  _Atomic uint64_t until_ms; /* when what it does should be done; 0: it waits */
} worker;

static worker workers[WORKERS_MOST];
/* Connections that no worker has taken yet, a ring. */
static int waiting[WAITING_MOST];
static size_t waiting_first, waiting_count;
static bool ending;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER;

/* ------------------------------------------------------------------------------------ the write */
static bool is_in(const forward_tags *tags, bool there, uint64_t revision) {
  if (!there) return false;
  if (tags->any) return true;
  for (uint32_t i = 0; i < tags->count; i++)
    if (tags->revisions[i] == revision) return true;
  return false;
}

static bool tags_hold(const void *arg, bool there, uint64_t revision) {
  const forward_question *question = arg;
  if (question->match.present && !is_in(&question->match, there, revision)) return false;
  return !question->none_match.present || !is_in(&question->none_match, there, revision);
}

static maph_slice header_of_question(const void *message, const char *name) {
  const forward_question *question = message;
  if (strcmp(name, "Content-Type") == 0 && question->media_type.size) return question->media_type;
  return maph_bytes(NULL, 0);
}

/* NULL where that is what a reader takes the value for anyway. */
static const char *type_to_say(const forward_question *question) {
  kv_entry entry;
  kv_read(header_of_question, question, question->value, 0, 0, &entry);
  return entry.type == question->type ? NULL : entry_type_name(question->type);
}

static void answer_put(forward_answer *answer, put_outcome outcome, const put_result *result) {
  static const forward_outcome reasons[] = { [PUT_UNAVAILABLE] = FORWARD_UNAVAILABLE,
                                             [PUT_BAD_KEY] = FORWARD_BAD_KEY,
                                             [PUT_TOO_LARGE] = FORWARD_TOO_BIG,
                                             [PUT_DENIED] = FORWARD_DENIED };
  switch (outcome) {
    case PUT_DONE: answer->outcome = FORWARD_DONE; break;
    case PUT_NOT_HELD: answer->outcome = FORWARD_NOT_HELD; break;
    case PUT_REFUSED: answer->outcome = reasons[result->reason]; break;
    case PUT_UNKNOWN: answer->outcome = FORWARD_UNKNOWN; break;
  }
  answer->revision = result->revision;
  answer->existed = result->existed;
  if (outcome != PUT_DONE)
    snprintf(answer->sentence, sizeof answer->sentence, "%s", result->sentence);
}

static void refuse(forward_answer *answer, forward_outcome outcome, const char *sentence) {
  answer->outcome = outcome;
  snprintf(answer->sentence, sizeof answer->sentence, "%s", sentence);
}

static void get(worker *worker, const put_request *request, forward_answer *answer) {
  put_result result;
  kv_entry entry;
  stored found;
  stream_rc rc = put_read(&worker->session, request, &found, &entry, &result);
  if (rc != STREAM_OK) {
    answer_put(answer, rc == STREAM_NONE ? PUT_NOT_HELD : PUT_REFUSED, &result);
    return;
  }
  answer->outcome = FORWARD_DONE;
  answer->revision = found.sequence;
  answer->expires = entry.expires;
  answer->type = entry.type;
  answer->media_type = entry.media_type;
  answer->value = found.data;
  answer->memory = found.memory;
}

static bool may_be_written(const char *bucket) {
  size_t size = strlen(bucket);
  if (!keys_bucket_valid(maph_str(bucket))) return false;
  if (option.buckets == NULL || option.buckets[0] == 0) return true;
  for (const char *at = option.buckets; *at;) {
    size_t n = strcspn(at, ",");
    if (n == size && memcmp(at, bucket, n) == 0) return true;
    at += n + (at[n] == ',');
  }
  return false;
}

static void text_of(maph_slice bytes, char *room) {
  if (bytes.size) memcpy(room, bytes.data, bytes.size);
  room[bytes.size] = 0;
}

static void carry_out(worker *worker, const forward_question *question, forward_answer *answer) {
  char bucket[FORWARD_BUCKET + 1], filter[FORWARD_FILTER + 1], media_type[FORWARD_MEDIA_TYPE + 1];
  uint64_t now = forward_ticks();
  put_request request = { .bucket = bucket,
                          .key = question->key,
                          .value = question->value,
                          .deletes = question->what == FORWARD_DELETE,
                          .when = PUT_IF_HELD,
                          .holds = tags_hold,
                          .arg = question,
                          .expires = question->expires,
                          .identity = question->identity[0] ? question->identity : NULL,
                          .sent_ms = question->sent_ms,
                          .tells_existed = true,
                          .type = type_to_say(question),
                          .media_type = question->media_type.size ? media_type : NULL,
                          .filter = question->filter.size ? filter : NULL };
  put_result result;
  put_outcome outcome;
  text_of(question->bucket, bucket);
  text_of(question->filter, filter);
  text_of(question->media_type, media_type);
  if (!question->match.present && !question->none_match.present)
    request.when = request.deletes ? PUT_IF_PRESENT : PUT_ALWAYS;
  request.timeout_ms = question->deadline_ms > now ? question->deadline_ms - now : 0;
  if (request.timeout_ms > LONGEST_MS) request.timeout_ms = LONGEST_MS;
  if (!may_be_written(bucket)) {
    refuse(answer, FORWARD_DENIED, "maph-replica relay takes no writes for this bucket: --buckets");
  } else if (request.timeout_ms == 0) {
    refuse(answer,
           question->sent_ms && question->what != FORWARD_GET ? FORWARD_UNKNOWN
                                                              : FORWARD_UNAVAILABLE,
           "so many writes wait for the bucket that this one's time is over");
  } else if (request.media_type && kv_check_media_type(request.media_type)) {
    refuse(answer, FORWARD_BAD_KEY, kv_check_media_type(request.media_type));
  } else {
    atomic_store(&worker->until_ms, now + request.timeout_ms);
    if (question->what == FORWARD_GET) {
      get(worker, &request, answer);
      return;
    }
    outcome = put_write(&worker->session, &request, &result);
    answer_put(answer, outcome, &result);
  }
}

/* Whoever hung up has answered already that nobody knows. */
static bool is_there(int fd) {
  struct pollfd one = { .fd = fd, .events = POLLIN | POLLRDHUP };
  return poll(&one, 1, 0) == 0;
}

static void serve(worker *worker, int fd) {
  forward_question question;
  forward_answer answer = { .outcome = FORWARD_UNAVAILABLE };
  const char *wrong;
  atomic_store(&worker->until_ms, forward_ticks() + QUESTION_MS);
  wrong = forward_receive_question(fd, &question, forward_ticks() + QUESTION_MS);
  if (wrong) {
    refuse(&answer, FORWARD_UNAVAILABLE, wrong);
  } else if (is_there(fd)) {
    carry_out(worker, &question, &answer);
  }
  atomic_store(&worker->until_ms, forward_ticks() + ANSWER_MS);
  forward_send_answer(fd, &answer, forward_ticks() + ANSWER_MS);
  free(answer.memory);
  free(question.memory);
  close(fd);
}

/* ---------------------------------------------------------------------------------- the workers */
/* -1: it is time to end. */
static int next_waiting(void) {
  int fd = -1;
  pthread_mutex_lock(&mutex);
  while (waiting_count == 0 && !ending) pthread_cond_wait(&came, &mutex);
  if (waiting_count > 0) {
    fd = waiting[waiting_first];
    waiting_first = (waiting_first + 1) % WAITING_MOST;
    waiting_count--;
  }
  pthread_mutex_unlock(&mutex);
  return fd;
}

static void *work(void *arg) {
  worker *worker = arg;
  int fd;
  while ((fd = next_waiting()) >= 0) {
    serve(worker, fd);
    atomic_store(&worker->until_ms, 0);
  }
  put_session_end(&worker->session);
  return NULL;
}

/* False: so many wait already. */
static bool let_wait(int fd) {
  bool room;
  pthread_mutex_lock(&mutex);
  room = waiting_count < WAITING_MOST;
  if (room) waiting[(waiting_first + waiting_count++) % WAITING_MOST] = fd;
  pthread_cond_signal(&came);
  pthread_mutex_unlock(&mutex);
  return room;
}

static bool one_hangs(void) {
  for (uint64_t i = 0; i < option.writers; i++) {
    uint64_t until = atomic_load(&workers[i].until_ms);
    if (until != 0 && forward_ticks() > until + WORKER_LATE_MS) return true;
  }
  return false;
}

static bool all_wait(void) {
  bool none;
  pthread_mutex_lock(&mutex);
  none = waiting_count == 0;
  pthread_mutex_unlock(&mutex);
  for (uint64_t i = 0; i < option.writers && none; i++)
    none = atomic_load(&workers[i].until_ms) == 0;
  return none;
}

/* ------------------------------------------------------------------------------------ the child */
static bool may_ask(const relay *relay, int fd, uid_t *user) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  *user = peer.uid;
  if (peer.uid == geteuid() || peer.uid == 0) return true;
  for (int i = 0; i < relay->users_count; i++)
    if (relay->users[i] == peer.uid) return true;
  return false;
}

/* Without reading what it asks for. */
static void turn_away(int fd, forward_outcome outcome, const char *sentence) {
  forward_answer answer = { .outcome = outcome };
  refuse(&answer, outcome, sentence);
  forward_send_answer(fd, &answer, forward_ticks());
  close(fd);
}

static void accept_one(const relay *relay) {
  static uint64_t noted_ms;
  char sentence[160];
  uid_t user = 0;
  int fd = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) {
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) child_sleep(LOOK_MS);
    return;
  }
  if (!may_ask(relay, fd, &user)) {
    snprintf(sentence, sizeof sentence,
             "maph-replica relay takes no writes of the user %u: say --users", (unsigned)user);
    if (noted_ms == 0 || forward_ticks() > noted_ms + NOTE_MS) note("%s", sentence);
    noted_ms = forward_ticks();
    turn_away(fd, FORWARD_DENIED, sentence);
  } else if (!let_wait(fd)) {
    turn_away(fd, FORWARD_UNAVAILABLE, "so many writes wait for their buckets that no more may");
  }
}

static int run(void *arg) {
  const relay *relay = arg;
  struct pollfd one = { .fd = relay->listener, .events = POLLIN };
  uint64_t stop_by;
  for (uint64_t i = 0; i < option.writers; i++)
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) return 1;
  while (!child_told()) {
    child_stamp();
    if (one_hangs()) {
      note("a write does not come to an end: the process that writes (%d) is replaced",
           (int)getpid());
      return 1;
    }
    if (poll(&one, 1, LOOK_MS) == 1) accept_one(relay);
  }
  for (stop_by = forward_ticks() + STOP_MS; forward_ticks() < stop_by && !all_wait();) {
    child_stamp();
    poll(NULL, 0, 10);
  }
  return CHILD_ENDED;
}

/* ----------------------------------------------------------------------------------- the socket */
static void tick(void *arg, uint64_t replaced) {
  (void)arg;
  (void)replaced;
}

/* Names or numbers, with commas between them. */
static bool read_users(relay *relay) {
  for (const char *at = option.users ? option.users : ""; *at;) {
    size_t size = strcspn(at, ",");
    char name[64], *end;
    struct passwd *found;
    if (size >= sizeof name || relay->users_count == USERS_MOST)
      return complain("--users: too many, or too long a name") == DONE;
    snprintf(name, sizeof name, "%.*s", (int)size, at);
    at += size + (at[size] == ',');
    if (size == 0) continue;
    found = getpwnam(name);
    relay->users[relay->users_count] = found ? found->pw_uid : (uid_t)strtoul(name, &end, 10);
    if (found == NULL && *end != 0) return complain("--users: there is no user %s", name) == DONE;
    relay->users_count++;
  }
  return true;
}

/* What another one left is removed, what another one serves is not. */
static bool make_room(const char *path) {
  struct stat st;
  int fd;
  if (lstat(path, &st) != 0) return true;
  if (!S_ISSOCK(st.st_mode)) return complain("%s: something else has that name", path) == DONE;
  fd = forward_connect(path, forward_ticks());
  if (fd >= 0 || errno == EAGAIN) {
    if (fd >= 0) close(fd);
    return complain("%s: another process serves it", path) == DONE;
  }
  return unlink(path) == 0 || complain("%s: %s", path, strerror(errno)) == DONE;
}

/* Who is let in is decided for each that connects; without --users others need not even try. */
static bool listen_at(relay *relay) {
  struct sockaddr_un to = { .sun_family = AF_UNIX };
  mode_t mask;
  int rc;
  if (strlen(relay->path) >= sizeof to.sun_path)
    return complain("%s: the name of a socket has at most %zu bytes", relay->path,
                    sizeof to.sun_path - 1)
           == DONE;
  strcpy(to.sun_path, relay->path);
  if (!make_room(relay->path)) return false;
  relay->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  mask = umask(relay->users_count > 0 ? 0111 : 0177);
  rc = relay->listener < 0 ? -1 : bind(relay->listener, (struct sockaddr *)&to, sizeof to);
  umask(mask);
  if (rc == 0) rc = listen(relay->listener, WAITING_MOST);
  return rc == 0 || complain("%s: %s", relay->path, strerror(errno)) == DONE;
}

int command_relay(const char *const *words, int count) {
  static relay relay;
  struct stat ours, named;
  int status;
  (void)count;
  relay.path = words[0];
  if (!read_users(&relay) || !listen_at(&relay)) return FAILED;
  if (lstat(relay.path, &ours) != 0) return complain("%s: %s", relay.path, strerror(errno));
  note("takes writes at %s", relay.path);
  status = child_supervise(run, tick, &relay);
  if (lstat(relay.path, &named) == 0 && named.st_dev == ours.st_dev && named.st_ino == ours.st_ino)
    unlink(relay.path);
  return status;
}
