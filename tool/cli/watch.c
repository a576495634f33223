/*
** watch.c - watch: puts and deletes as they are committed, by whatever process.
**
** What came is written out as soon as nothing more is there, so whoever reads a pipe sees a commit
** when it happens.
**
** A feed goes on across rewrites by itself.  A file that somebody moved to the path says nothing to
** it, so while nothing comes the path is looked at: in another file of the same store the feed is
** opened anew, and another store ends it.
*/
#include <sys/stat.h>
#include "cli.h"

/* how long a signal, the reader's end, or another file may have to wait */
enum { LOOK_MS = 200 };

typedef struct watching {
  const arguments *args;
  maph *m;
  maph_changes *feed;
  maph_slice prefix;
  struct stat file; /* at the path when the feed was opened */
  uint64_t generation;
  uint8_t uuid[16];
} watching;

static void show_json(const arguments *args, const maph_change *change) {
  json_writer out;
  output_json(&standard_output, &out);
  json_write_text(&out, "{");
  entry_write_change(&out, change, args->values);
  json_write_text(&out, change->last ? ",\"last\":true}\n" : "}\n");
  json_write_end(&out);
}

static void show(const arguments *args, const maph_change *change) {
  output *out = &standard_output;
  if (args->json) {
    show_json(args, change);
    return;
  }
  output_format(out, "%s\t%llu\t", change->deleted ? "del" : "put",
                (unsigned long long)change->entry.version);
  output_escaped(out, change->entry.key);
  if (args->values && !change->deleted) {
    output_bytes(out, "\t", 1);
    output_escaped(out, change->entry.value);
  }
  output_bytes(out, "\n", 1);
}

static bool wanted(maph_slice prefix, const maph_change *change) {
  return change->entry.key.size >= prefix.size
         && memcmp(change->entry.key.data, prefix.data, prefix.size) == 0;
}

/* In the file that is there now. */
static int open_anew(watching *watching, const struct stat *now, uint64_t generation) {
  maph_changes *fresh;
  int rc = maph_changes_open(watching->m, maph_changes_version(watching->feed), &fresh);
  if (rc != MAPH_OK) return rc;
  maph_changes_close(watching->feed);
  watching->feed = fresh;
  watching->file = *now;
  watching->generation = generation;
  return MAPH_NOTFOUND;
}

/* Is another file at the path?  NOTFOUND: no, or the feed goes on in it; OK: and here is a
** change. */
static int look(watching *watching, maph_change *change) {
  const char *path = watching->args->operand[0];
  maph_stats stats;
  struct stat now;
  bool other = stat(path, &now) == 0
               && (now.st_dev != watching->file.st_dev || now.st_ino != watching->file.st_ino);
  int rc = maph_refresh(watching->m);
  if (rc != MAPH_OK || !other) return rc == MAPH_OK ? MAPH_NOTFOUND : rc;
  if ((rc = maph_stat(watching->m, &stats)) != MAPH_OK) return rc;
  if (memcmp(stats.uuid, watching->uuid, sizeof stats.uuid) != 0) {
    complain("%s: another store has taken its place", path);
    return MAPH_CANCELLED;
  }
  rc = open_anew(watching, &now, stats.generation);
  if (rc != MAPH_COMPACTED) return rc;
  /* Perhaps a rewrite, just now: what came before it is in the old file, and the feed still has
  ** that. */
  rc = maph_changes_next(watching->feed, 0, change);
  return rc == MAPH_NOTFOUND && stats.generation <= watching->generation
             ? open_anew(watching, &now, stats.generation)
             : rc;
}

/* The next change, waited for in steps.  NOTFOUND: none came in time, or told to stop. */
static int next(watching *watching, maph_change *change) {
  uint64_t waited = 0, most = watching->args->timeout_ms;
  int rc = maph_changes_next(watching->feed, 0, change);
  if (rc == MAPH_NOTFOUND) output_flush(&standard_output);
  while (rc == MAPH_NOTFOUND && !stop_asked() && !output_abandoned(&standard_output)
         && waited < most) {
    uint64_t step = most - waited < LOOK_MS ? most - waited : LOOK_MS;
    rc = maph_changes_next(watching->feed, (int)step, change);
    waited += step;
    if (rc == MAPH_NOTFOUND) rc = look(watching, change);
  }
  return rc;
}

static int watch(watching *watching) {
  const arguments *args = watching->args;
  maph_change change;
  uint64_t n = 0;
  int rc = MAPH_OK;
  while (n < args->limit && !standard_output.failed && !stop_asked()
         && (rc = next(watching, &change)) == MAPH_OK) {
    if (!wanted(watching->prefix, &change)) continue;
    show(args, &change);
    n++;
  }
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) output_flush(&standard_output);
  if ((rc != MAPH_OK && rc != MAPH_NOTFOUND) || stop_asked())
    return store_failed(args->operand[0], rc);
  return output_end(&standard_output) ? DONE : FAILED;
}

/* Begin after what --since says, or after the version of now. */
static int begin(watching *watching, uint64_t *since) {
  maph_stats stats;
  int rc = stat(watching->args->operand[0], &watching->file) == 0 ? maph_refresh(watching->m)
                                                                  : MAPH_CANTOPEN;
  if (rc == MAPH_OK) rc = maph_stat(watching->m, &stats);
  if (rc != MAPH_OK) return rc;
  memcpy(watching->uuid, stats.uuid, sizeof watching->uuid);
  watching->generation = stats.generation;
  *since = watching->args->since != NOT_GIVEN ? watching->args->since : stats.version;
  return maph_changes_open(watching->m, *since, &watching->feed);
}

int command_watch(arguments *args) {
  const char *path = args->operand[0];
  watching watching = { .args = args };
  uint64_t since = 0;
  int rc, status;
  if (!prefix_from(args, &watching.prefix)
      || (watching.m = store_open(args, path, MAPH_RDONLY)) == NULL)
    return FAILED;
  rc = begin(&watching, &since);
  if (rc != MAPH_OK)
    status = store_failed(path, rc);
  else {
    note(args, "changes of %s after version %llu; Ctrl-C ends it", path, (unsigned long long)since);
    status = watch(&watching);
  }
  maph_changes_close(watching.feed);
  return store_close(watching.m, path, status);
}
