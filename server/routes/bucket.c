/*
** bucket.c - writes of replicas, which their buckets take.
**
**     PUT, PATCH and DELETE /stores/NAME/keys/KEY, and its increment, go to the bucket where
**     --replica-socket is given.  The answer's version is the revision in the bucket, and so its
**     ETag, with which any machine may write on.
**
** What reads afterwards reads the replica, which has it a moment later: ?wait=SECONDS says how long
** the answer waits for that, and Maph-Visible whether it came.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/options.h"
#include "entry/json.h"
#include "routes/bucket.h"
#include "routes/handling.h"
#include "routes/keys.h"
#include "store/bucket.h"

enum { WAIT_MOST_S = 60, WAIT_STANDARD_S = 2 };

/* ------------------------------------------------------------------------------------ the query */
/* What was said, or the standard; WAIT_MOST_S + 1: no such number. */
static uint64_t wait_of(const request *request) {
  maph_slice text;
  uint64_t seconds;
  if (!request_query(request, "wait", &text)) return WAIT_STANDARD_S;
  return json_whole_number(text, WAIT_MOST_S, &seconds) ? seconds : WAIT_MOST_S + 1;
}

bool bucket_read_wait(request *request) {
  if (wait_of(request) <= WAIT_MOST_S) return true;
  reply_problem(request, 400, "bad_wait", "wait is a whole number of seconds, 0 to %d",
                WAIT_MOST_S);
  return false;
}

/* ---------------------------------------------------------------------------------- the answers */
/* What came of it, as of commit_one; what that has no code for is answered. */
static int outcome_of(request *request, const write_request *write, const forward_answer *answer,
                      maph_outcome *outcome) {
  bool conditional = write->if_match.present || write->if_none_match.present;
  outcome->existed = answer->outcome == FORWARD_DONE ? answer->existed : answer->revision != 0;
  outcome->version = answer->revision;
  switch (answer->outcome) {
    case FORWARD_DONE: return MAPH_OK;
    case FORWARD_NOT_HELD: return conditional ? MAPH_CONFLICT : MAPH_NOTFOUND;
    case FORWARD_BAD_KEY:
      reply_problem(request, 400, "bad_key", "%s", answer->sentence);
      return BUCKET_ANSWERED;
    case FORWARD_TOO_BIG:
      reply_problem(request, 413, "too_big", "%s", answer->sentence);
      return BUCKET_ANSWERED;
    case FORWARD_DENIED:
      reply_problem(request, 403, "bucket_denied", "%s", answer->sentence);
      return BUCKET_ANSWERED;
    case FORWARD_UNKNOWN:
      if (answer->revision)
        snprintf(request->reply.members, sizeof request->reply.members, ",\"revision\":%llu",
                 (unsigned long long)answer->revision);
      reply_problem(request, 504, "outcome_unknown", "%s", answer->sentence);
      return BUCKET_ANSWERED;
    case FORWARD_UNAVAILABLE:
    case FORWARD_OUTCOMES: break;
  }
  reply_problem(request, 503, "bucket_unavailable", "nothing was written: %s", answer->sentence);
  return BUCKET_ANSWERED;
}

bool bucket_settle(request *request, uint64_t revision) {
  bool visible = bucket_shown(store_of(request), revision, wait_of(request) * 1000);
  reply_extra(request, "Maph-Visible: %s", visible ? "true" : "false");
  return visible;
}

/* -------------------------------------------------------------------------------- the questions */
static forward_tags tags_of(const tag_list *list) {
  forward_tags tags = { .present = list->present,
                        .any = list->any,
                        .count = (uint32_t)list->count };
  memcpy(tags.revisions, list->versions, (size_t)list->count * sizeof *tags.revisions);
  return tags;
}

static uint64_t deadline(void) { return forward_ticks() + option.bucket_timeout_ms; }

static int ask(request *request, const write_request *write, uint64_t until,
               maph_outcome *outcome) {
  forward_question question = { .what = write->is_delete ? FORWARD_DELETE : FORWARD_PUT,
                                .type = write->entry.type,
                                .expires = write->entry.expires,
                                .match = tags_of(&write->if_match),
                                .none_match = tags_of(&write->if_none_match),
                                .key = write->key,
                                .value = write->value,
                                .media_type = write->entry.media_type };
  forward_answer answer;
  int rc;
  if (write->value.size > FORWARD_VALUE) {
    reply_problem(request, 413, "too_big", "the value is too large: NATS takes none above 64 MiB");
    return BUCKET_ANSWERED;
  }
  rc = bucket_ask(store_of(request), &question, until, &answer);
  if (rc != MAPH_OK) return rc;
  rc = outcome_of(request, write, &answer, outcome);
  free(answer.memory);
  return rc;
}

int bucket_write(request *request, const write_request *write, maph_outcome *outcome) {
  memset(outcome, 0, sizeof *outcome);
  return ask(request, write, deadline(), outcome);
}

/* What the bucket has of the key. */
static int look(request *request, const write_request *write, uint64_t until, maph_entry *entry,
                forward_answer *answer) {
  forward_question question = { .what = FORWARD_GET, .key = write->key };
  maph_outcome outcome = { 0 };
  const write_request get = { .key = write->key };
  int rc = bucket_ask(store_of(request), &question, until, answer);
  if (rc != MAPH_OK) return rc;
  memset(entry, 0, sizeof *entry);
  entry->key = write->key;
  entry->value = answer->value;
  entry->type = answer->type;
  entry->key_type = MAPH_TEXT;
  entry->media_type = answer->media_type;
  entry->expires = answer->expires;
  entry->version = answer->revision;
  return outcome_of(request, &get, answer, &outcome);
}

static bool conditions_hold(const write_request *write, bool exists, uint64_t version) {
  if (write->if_match.present && !tags_match(&write->if_match, exists, version)) return false;
  return !write->if_none_match.present || !tags_match(&write->if_none_match, exists, version);
}

/* The write of what was just read: where it still is as it was. */
static void expect(write_request *write, bool exists, uint64_t version) {
  memset(&write->if_match, 0, sizeof write->if_match);
  memset(&write->if_none_match, 0, sizeof write->if_none_match);
  if (exists) {
    write->if_match.present = true;
    write->if_match.count = 1;
    write->if_match.versions[0] = version;
  } else {
    write->if_none_match.present = write->if_none_match.any = true;
  }
}

/* One look and one write.  MAPH_BUSY: somebody wrote the key between the two. */
static int update_once(request *request, write_request *write, commit_change change, void *arg,
                       uint64_t until, maph_outcome *outcome) {
  write_request now = *write;
  forward_answer answer = { .memory = NULL };
  maph_entry entry;
  int rc = look(request, write, until, &entry, &answer);
  bool exists = rc == MAPH_OK;
  if (rc == MAPH_OK || rc == MAPH_NOTFOUND) {
    outcome->existed = exists;
    outcome->version = exists ? entry.version : 0;
    rc = conditions_hold(write, exists, outcome->version)
             ? change(arg, exists ? &entry : NULL, &now)
             : MAPH_CONFLICT;
    if (rc == MAPH_OK) {
      expect(&now, exists, outcome->version);
      rc = ask(request, &now, until, outcome);
      if (rc == MAPH_CONFLICT) rc = MAPH_BUSY;
      outcome->existed = exists;
      write->value = now.value;
    }
  }
  free(answer.memory);
  return rc;
}

int bucket_update(request *request, write_request *write, commit_change change, void *arg,
                  maph_outcome *outcome) {
  uint64_t until = deadline();
  int rc;
  memset(outcome, 0, sizeof *outcome);
  do rc = update_once(request, write, change, arg, until, outcome);
  while (rc == MAPH_BUSY && forward_ticks() < until);
  if (rc != MAPH_BUSY) return rc;
  reply_problem(request, 503, "bucket_unavailable",
                "nothing was written: other writers of the key were first each time");
  return BUCKET_ANSWERED;
}

/* -------------------------------------------------------------------------------------- metrics */
void bucket_metrics(buffer *buffer) {
  if (!bucket_takes(true)) return;
  buffer_text(buffer, "# HELP maph_bucket_requests_total Questions to the buckets of replicas, by "
                      "what came of them.\n# TYPE maph_bucket_requests_total counter\n");
  for (int i = FORWARD_DONE; i < FORWARD_OUTCOMES; i++)
    buffer_printf(buffer, "maph_bucket_requests_total{outcome=\"%s\"} %llu\n",
                  bucket_outcome_name((forward_outcome)i),
                  (unsigned long long)bucket_count((forward_outcome)i));
}
