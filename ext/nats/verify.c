/*
** verify.c - maph-replica verify: every key of a bucket and of its replica, both ways.
*/
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "entry/json.h"
#include "entry/shown.h"
#include "nats/apply.h"
#include "nats/option.h"
#include "nats/replica.h"
#include "nats/walk.h"

enum { NAMED_MOST = 20 };

static bool to_standard_output(void *to, const void *bytes, size_t size) {
  return fwrite(bytes, 1, size, to) == size;
}

static bool tell(void *arg, difference what, maph_slice key, uint64_t version) {
  int *named = arg;
  json_writer out;
  if (++*named > NAMED_MOST) return true;
  if (!option.json) {
    printf("%s ", difference_name(what));
    shown_write(key, SHOWN_EXACT, to_standard_output, stdout);
    if (version)
      printf(" (here at %" PRIu64 ")\n", version);
    else
      printf("\n");
    return true;
  }
  json_write_begin(&out, to_standard_output, stdout);
  json_write_text(&out, "{\"difference\":\"");
  json_write_text(&out, difference_name(what));
  json_write_text(&out, "\",");
  json_write_bytes(&out, "key", "key_encoding", key);
  json_write_text(&out, ",\"version\":");
  json_write_number(&out, version);
  json_write_text(&out, "}\n");
  json_write_end(&out);
  return true;
}

static int conclude(const char *bucket, const char *path, const comparison *seen) {
  uint64_t all = seen->found[0] + seen->found[1] + seen->found[2];
  if (option.json) {
    printf("{\"equal\":%s,\"keys\":%" PRIu64 ",\"version\":%" PRIu64 ",\"missing\":%" PRIu64
           ",\"ghosts\":%" PRIu64 ",\"other\":%" PRIu64 "}\n",
           all ? "false" : "true", seen->keys, seen->version, seen->found[DIFFERENCE_MISSING],
           seen->found[DIFFERENCE_GHOST], seen->found[DIFFERENCE_OTHER]);
  } else if (all == 0) {
    if (!option.quiet)
      printf("%s: equal to bucket %s at %" PRIu64 ", %" PRIu64 " keys\n", path, bucket,
             seen->version, seen->keys);
  } else {
    printf("%s: not equal to bucket %s at %" PRIu64 ": %" PRIu64 " missing, %" PRIu64
           " ghosts, %" PRIu64 " other than there\n",
           path, bucket, seen->version, seen->found[DIFFERENCE_MISSING],
           seen->found[DIFFERENCE_GHOST], seen->found[DIFFERENCE_OTHER]);
  }
  return all ? UNMET : DONE;
}

/* Is the file of this incarnation of the bucket? */
static bool is_of(maph *store, const char *bucket, const stream_info *info) {
  maph_stats stats;
  uint8_t uuid[16];
  bucket_identity(bucket, option.filter, info, uuid);
  return maph_stat(store, &stats) == MAPH_OK && memcmp(stats.uuid, uuid, 16) == 0;
}

static int verify(connection *connection, const char *bucket, const char *path, maph *store) {
  comparison seen;
  stream_info info;
  int named = 0;
  if (stream_look(connection, bucket, &info) != STREAM_OK) return complain("%s", stream_errmsg());
  if (!is_of(store, bucket, &info)) {
    printf("%s: is no replica of bucket %s as it is now\n", path, bucket);
    return UNMET;
  }
  if (bucket_compare(connection, bucket, option.filter, store, &seen, tell, &named) != STREAM_OK)
    return complain("%s", stream_errmsg());
  return conclude(bucket, path, &seen);
}

int command_verify(const char *const *words, int count) {
  const char *bucket = words[0], *path = words[1];
  connection *connection = NULL;
  maph *store;
  int rc;
  (void)count;
  if (!keys_bucket_valid(maph_str(bucket)))
    return complain("%s: a bucket's name is letters, digits, - and _", bucket);
  if (maph_open(path, MAPH_RDONLY, NULL, &store) != MAPH_OK)
    return complain("%s", maph_errmsg(NULL));
  rc = connection_open_alone(&connection) == STREAM_OK ? verify(connection, bucket, path, store)
                                                       : complain("%s", stream_errmsg());
  connection_close(connection);
  maph_close(store);
  return rc;
}
