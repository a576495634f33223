/*
** create.c - maph-replica create: a stream as every client of NATS makes it for a bucket.
*/
#include <stdio.h>
#include <string.h>
#include "nats/keys.h"
#include "nats/option.h"
#include "nats/replica.h"
#include "nats/stream.h"

#define NANOSECONDS UINT64_C(1000000)
enum { DUPLICATES_MS = 120000 }; /* how long the identity of a message is remembered */

static int check_options(const char *bucket) {
  if (!keys_bucket_valid(maph_str(bucket)))
    return complain("%s: the name of a bucket is of letters, digits, - and _, at most %d", bucket,
                    KEYS_BUCKET);
  if (strcmp(option.keys, "plain") != 0 && strcmp(option.keys, "escaped") != 0)
    return complain("--keys: plain or escaped, and not \"%s\"", option.keys);
  if (strcmp(option.storage, "file") != 0 && strcmp(option.storage, "memory") != 0)
    return complain("--storage: file or memory, and not \"%s\"", option.storage);
  if (option.ttl_ms > 0 && option.ttl_ms < 100)
    return complain("--ttl: the entries of a bucket live for 100ms at least");
  return DONE;
}

static void describe(const char *bucket, char *text, size_t size) {
  uint64_t duplicates =
      option.ttl_ms > 0 && option.ttl_ms < DUPLICATES_MS ? option.ttl_ms : DUPLICATES_MS;
  char most[24] = "-1";
  if (option.max_value > 0)
    snprintf(most, sizeof most, "%llu", (unsigned long long)option.max_value);
  snprintf(text, size,
           "{\"name\":\"KV_%s\",\"description\":\"%s\",\"subjects\":[\"$KV.%s.>\"],"
           "\"retention\":\"limits\",\"storage\":\"%s\",\"discard\":\"new\",\"num_replicas\":%llu,"
           "\"max_msgs_per_subject\":%llu,\"max_age\":%llu,\"max_msg_size\":%s,"
           "\"duplicate_window\":%llu,\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,"
           "\"deny_delete\":true,\"allow_rollup_hdrs\":true,\"allow_direct\":true}",
           bucket, strcmp(option.keys, "escaped") == 0 ? "maph keys=escaped" : "", bucket,
           option.storage, (unsigned long long)option.replicas, (unsigned long long)option.history,
           (unsigned long long)(option.ttl_ms * NANOSECONDS), most,
           (unsigned long long)(duplicates * NANOSECONDS));
}

static int make(connection *link, const char *bucket) {
  char what[STREAM_NAME + 32], text[2048];
  message *answer;
  stream_info there;
  stream_rc rc = stream_look(link, bucket, &there);
  if (rc == STREAM_OK)
    rc = STREAM_REFUSED;
  else if (rc == STREAM_NONE) {
    snprintf(what, sizeof what, "STREAM.CREATE.KV_%s", bucket);
    describe(bucket, text, sizeof text);
    rc = stream_ask(link, what, maph_str(text), (int)option.timeout_ms, &answer);
    if (rc == STREAM_OK) {
      message_free(answer);
      return DONE;
    }
    if (rc != STREAM_REFUSED || stream_code() != STREAM_CODE_EXISTS)
      return complain("%s", stream_errmsg());
  } else {
    return complain("%s", stream_errmsg());
  }
  if (!option.quiet) complain("the bucket %s is there already, and stays as it is", bucket);
  return UNMET;
}

int command_create(const char *const *words, int count) {
  connection *link;
  int status = check_options(words[0]);
  (void)count;
  if (status != DONE) return status;
  if (connection_open_alone(&link) != STREAM_OK) return complain("%s", stream_errmsg());
  connection_patience(link, (int)option.timeout_ms);
  status = make(link, words[0]);
  connection_close(link);
  if (option.json && status != FAILED)
    printf("{\"success\":%s}\n", status == DONE ? "true" : "false");
  return status;
}
