/*
** ask.c - questions to a server, and their answers (ask.h).
*/
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "entry/json.h"
#include "nats/answer.h"
#include "nats/ask.h"
#include "nats/child.h"
#include "nats/connect.h"
#include "nats/option.h"
#include "nats/replica.h"

bool ask_write(void *to, const void *bytes, size_t size) {
  ask_text *text = to;
  if (size > text->room - text->size) return false;
  memcpy(text->bytes + text->size, bytes, size);
  text->size += size;
  return true;
}

/* ----------------------------------------------------------------------------------------- once */
void ask_subject(const char *what, char room[ASK_SUBJECT]) {
  if (option.domain)
    snprintf(room, ASK_SUBJECT, "$JS.%s.API.%s", option.domain, what);
  else
    snprintf(room, ASK_SUBJECT, "$JS.API.%s", what);
}

stream_rc ask_not_believed(connection *connection, const char *what) {
  return stream_fail(STREAM_WRONG, "%s: what it answers to %s cannot be believed",
                     connection->server.url, what);
}

stream_rc ask_look_at(connection *connection, const char *what, message *answer) {
  maph_slice text = message_data(answer), error;
  char description[256];
  uint64_t code;
  json_reader in;
  if (!json_whole(text, &in)) return ask_not_believed(connection, what);
  if (!answer_find(text, "error", &error)) return STREAM_OK;
  if (!answer_number(error, "err_code", UINT_MAX, 0, &code)
      || !answer_text(error, "description", description, sizeof description))
    return ask_not_believed(connection, what);
  return connect_refused((unsigned)code, what, description);
}

/* nats.c keeps the beginning of the sentence, which ends with the subject. */
bool ask_was_denied(connection *connection, const char *subject) {
  char begins[128];
  const char *said = NULL;
  natsConnection_GetLastError(connection->nats, &said);
  snprintf(begins, sizeof begins, "\"%.*s", (int)sizeof begins - 2, subject);
  return said && strcasestr(said, "permissions violation") && strstr(said, begins);
}

stream_rc ask_once(connection *connection, const char *what, message *question, int timeout_ms,
                   message **answer) {
  natsMsg *came = NULL;
  natsStatus status = natsConnection_RequestMsg(&came, connection->nats, question, timeout_ms);
  stream_rc rc = status == NATS_OK ? ask_look_at(connection, what, came)
                                   : connect_failed(status, what, connection->server.url);
  if (rc == STREAM_TIMEOUT && ask_was_denied(connection, natsMsg_GetSubject(question)))
    rc = stream_fail(STREAM_DENIED, "%s: %s: no permission", connection->server.url, what);
  if (rc == STREAM_OK)
    *answer = came;
  else
    natsMsg_Destroy(came);
  return rc;
}

stream_rc stream_ask(connection *connection, const char *what, maph_slice json, int timeout_ms,
                     message **answer) {
  char subject[ASK_SUBJECT];
  natsMsg *question = NULL;
  natsStatus status;
  stream_rc rc;
  *answer = NULL;
  ask_subject(what, subject);
  status = natsMsg_Create(&question, subject, NULL, json.data, (int)json.size);
  if (status != NATS_OK) return connect_failed(status, what, connection->server.url);
  rc = ask_once(connection, what, question, timeout_ms, answer);
  natsMsg_Destroy(question);
  return rc;
}

/* ---------------------------------------------------------------------------------------- again */
enum { AGAIN_MS = 1000, AGAIN_MOST_MS = 2000 };

static stream_rc listen_for_answers(connection *connection) {
  char all[300];
  natsStatus status;
  if (connection->answers) return STREAM_OK;
  connect_inbox(connection->inbox);
  snprintf(all, sizeof all, "%s.*", connection->inbox);
  status = natsConnection_SubscribeSync(&connection->answers, connection->nats, all);
  if (status == NATS_OK) status = natsSubscription_SetPendingLimits(connection->answers, -1, -1);
  return connect_failed(status, "subscribe", connection->server.url);
}

static stream_rc put_question(const questions *of, size_t which) {
  char room[ASK_SUBJECT], reply[300];
  maph_slice question;
  natsStatus status;
  stream_rc rc = of->write(of->arg, which, room, &question);
  if (rc != STREAM_OK) return rc;
  snprintf(reply, sizeof reply, "%s.%llu", of->connection->inbox, of->first + which);
  status = natsConnection_PublishRequest(of->connection->nats, of->subject, reply, question.data,
                                         (int)question.size);
  return connect_failed(status, of->what, of->connection->server.url);
}

static stream_rc put_questions(const questions *of) {
  stream_rc rc = STREAM_OK;
  for (size_t i = 0; i < of->count && rc == STREAM_OK; i++)
    if (!of->answered[i]) rc = put_question(of, i);
  return rc;
}

static stream_rc take_answer(questions *of, message **answer) {
  const char *number = message_subject(*answer) + strlen(of->connection->inbox) + 1;
  uint64_t which;
  if (!json_whole_number(maph_str(number), UINT64_MAX, &which) || which < of->first
      || which - of->first >= of->count || of->answered[which - of->first])
    return STREAM_OK;
  of->answered[which - of->first] = true;
  of->missing--;
  return of->take(of->arg, (size_t)(which - of->first), answer);
}

/* The answers, in whatever order they come. */
static stream_rc gather(questions *of) {
  unsigned long long heard = ticks_ms();
  int first_ms = of->again_ms ? of->again_ms : AGAIN_MS, again_ms = first_ms;
  int most_ms = of->again_most_ms ? of->again_most_ms : AGAIN_MOST_MS;
  size_t missing;
  stream_rc rc = STREAM_OK;
  while (of->missing > 0 && rc == STREAM_OK) {
    unsigned long long silent = ticks_ms() - heard;
    int left = silent < (unsigned)of->silence_ms ? of->silence_ms - (int)silent : 1;
    natsMsg *answer = NULL;
    natsStatus status = natsSubscription_NextMsg(&answer, of->connection->answers,
                                                 left < again_ms ? left : again_ms);
    if (status == NATS_TIMEOUT && child_told())
      return stream_fail(STREAM_LOST, "%s: told to end", of->connection->server.url);
    if (status == NATS_TIMEOUT && ask_was_denied(of->connection, of->subject))
      return stream_fail(STREAM_DENIED, "%s: %s: no permission", of->connection->server.url,
                         of->what);
    if (status == NATS_TIMEOUT && left > again_ms) {
      again_ms = 2 * again_ms < most_ms ? 2 * again_ms : most_ms;
      rc = put_questions(of);
      continue;
    }
    if (status != NATS_OK) return connect_failed(status, of->what, of->connection->server.url);
    missing = of->missing;
    rc = take_answer(of, &answer);
    natsMsg_Destroy(answer);
    if (of->missing == missing) continue; /* of an earlier question, or for a second time */
    heard = ticks_ms();
    again_ms = first_ms;
  }
  return rc;
}

stream_rc ask_all(questions *of) {
  stream_rc rc = listen_for_answers(of->connection);
  ask_subject(of->what, of->subject);
  of->answered = calloc(of->count + 1, sizeof *of->answered);
  if (of->answered == NULL) return stream_fail(STREAM_MEMORY, "out of memory");
  of->missing = of->count;
  of->first = of->connection->asked + 1;
  of->connection->asked += of->count;
  if (rc == STREAM_OK) rc = put_questions(of);
  if (rc == STREAM_OK) rc = gather(of);
  free(of->answered);
  return rc;
}

/* One question. */
typedef struct asking {
  connection *connection;
  const char *what;
  maph_slice question;
  message **answer;
} asking;

static stream_rc write_one(void *arg, size_t which, char room[ASK_SUBJECT], maph_slice *question) {
  const asking *asking = arg;
  (void)which;
  (void)room;
  *question = asking->question;
  return STREAM_OK;
}

/* Whoever is asked takes the answer out. */
static stream_rc take_one(void *arg, size_t which, message **answer) {
  asking *asking = arg;
  stream_rc rc = ask_look_at(asking->connection, asking->what, *answer);
  (void)which;
  if (rc != STREAM_OK) return rc;
  *asking->answer = *answer;
  *answer = NULL;
  return STREAM_OK;
}

stream_rc ask_again(connection *connection, const char *what, maph_slice json, message **answer) {
  asking asking = { connection, what, json, answer };
  questions all = { .connection = connection,
                    .what = what,
                    .count = 1,
                    .silence_ms = connection->patience_ms,
                    .write = write_one,
                    .take = take_one,
                    .arg = &asking };
  *answer = NULL;
  return ask_all(&all);
}
