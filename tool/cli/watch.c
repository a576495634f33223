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
  const arguments *a;
  maph *m;
  maph_changes *feed;
  maph_slice prefix;
  struct stat file; /* at the path when the feed was opened */
  uint64_t generation;
  uint8_t uuid[16];
} watching;

static void show_json(const arguments *a, const maph_change *c) {
  json_writer out;
  output_json(&standard_output, &out);
  json_write_text(&out, "{");
  entry_write_change(&out, c, a->values);
  json_write_text(&out, c->last ? ",\"last\":true}\n" : "}\n");
  json_write_end(&out);
}

static void show(const arguments *a, const maph_change *c) {
  output *o = &standard_output;
  if (a->json) {
    show_json(a, c);
    return;
  }
  output_format(o, "%s\t%llu\t", c->deleted ? "del" : "put", (unsigned long long)c->entry.version);
  output_escaped(o, c->entry.key);
  if (a->values && !c->deleted) {
    output_bytes(o, "\t", 1);
    output_escaped(o, c->entry.value);
  }
  output_bytes(o, "\n", 1);
}

static bool wanted(maph_slice prefix, const maph_change *c) {
  return c->entry.key.size >= prefix.size
         && memcmp(c->entry.key.data, prefix.data, prefix.size) == 0;
}

/* In the file that is there now. */
static int open_anew(watching *w, const struct stat *now, uint64_t generation) {
  maph_changes *fresh;
  int rc = maph_changes_open(w->m, maph_changes_version(w->feed), &fresh);
  if (rc != MAPH_OK) return rc;
  maph_changes_close(w->feed);
  w->feed = fresh;
  w->file = *now;
  w->generation = generation;
  return MAPH_NOTFOUND;
}

/* Is another file at the path?  NOTFOUND: no, or the feed goes on in it; OK: and here is a
** change. */
static int look(watching *w, maph_change *c) {
  const char *path = w->a->operand[0];
  maph_stats s;
  struct stat now;
  bool other =
      stat(path, &now) == 0 && (now.st_dev != w->file.st_dev || now.st_ino != w->file.st_ino);
  int rc = maph_refresh(w->m);
  if (rc != MAPH_OK || !other) return rc == MAPH_OK ? MAPH_NOTFOUND : rc;
  if ((rc = maph_stat(w->m, &s)) != MAPH_OK) return rc;
  if (memcmp(s.uuid, w->uuid, sizeof s.uuid) != 0) {
    complain("%s: another store has taken its place", path);
    return MAPH_CANCELLED;
  }
  rc = open_anew(w, &now, s.generation);
  if (rc != MAPH_COMPACTED) return rc;
  /* Perhaps a rewrite, just now: what came before it is in the old file, and the feed still has
  ** that. */
  rc = maph_changes_next(w->feed, 0, c);
  return rc == MAPH_NOTFOUND && s.generation <= w->generation ? open_anew(w, &now, s.generation)
                                                              : rc;
}

/* The next change, waited for in steps.  NOTFOUND: none came in time, or told to stop. */
static int next(watching *w, maph_change *c) {
  uint64_t waited = 0, most = w->a->timeout_ms;
  int rc = maph_changes_next(w->feed, 0, c);
  if (rc == MAPH_NOTFOUND) output_flush(&standard_output);
  while (rc == MAPH_NOTFOUND && !stop_asked() && !output_abandoned(&standard_output)
         && waited < most) {
    uint64_t step = most - waited < LOOK_MS ? most - waited : LOOK_MS;
    rc = maph_changes_next(w->feed, (int)step, c);
    waited += step;
    if (rc == MAPH_NOTFOUND) rc = look(w, c);
  }
  return rc;
}

static int watch(watching *w) {
  const arguments *a = w->a;
  maph_change c;
  uint64_t n = 0;
  int rc = MAPH_OK;
  while (n < a->limit && !standard_output.failed && !stop_asked()
         && (rc = next(w, &c)) == MAPH_OK) {
    if (!wanted(w->prefix, &c)) continue;
    show(a, &c);
    n++;
  }
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) output_flush(&standard_output);
  if ((rc != MAPH_OK && rc != MAPH_NOTFOUND) || stop_asked())
    return store_failed(a->operand[0], rc);
  return output_end(&standard_output) ? DONE : FAILED;
}

/* Begin after what --since says, or after the version of now. */
static int begin(watching *w, uint64_t *since) {
  maph_stats s;
  int rc = stat(w->a->operand[0], &w->file) == 0 ? maph_refresh(w->m) : MAPH_CANTOPEN;
  if (rc == MAPH_OK) rc = maph_stat(w->m, &s);
  if (rc != MAPH_OK) return rc;
  memcpy(w->uuid, s.uuid, sizeof w->uuid);
  w->generation = s.generation;
  *since = w->a->since != NOT_GIVEN ? w->a->since : s.version;
  return maph_changes_open(w->m, *since, &w->feed);
}

int command_watch(arguments *a) {
  const char *path = a->operand[0];
  watching w = { .a = a };
  uint64_t since = 0;
  int rc, status;
  if (!prefix_from(a, &w.prefix) || (w.m = store_open(a, path, MAPH_RDONLY)) == NULL) return FAILED;
  rc = begin(&w, &since);
  if (rc != MAPH_OK)
    status = store_failed(path, rc);
  else {
    note(a, "changes of %s after version %llu; Ctrl-C ends it", path, (unsigned long long)since);
    status = watch(&w);
  }
  maph_changes_close(w.feed);
  return store_close(w.m, path, status);
}
