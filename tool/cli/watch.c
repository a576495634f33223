/*
** watch.c - watch: puts and deletes as they are committed, by whatever process.
**
** What came is written out as soon as nothing more is there, so whoever reads a pipe sees a commit when it happens.
*/
#include "cli.h"

enum { LOOK_MS = 200 };                /* how long a signal, or the reader's end, may have to wait */

static void show_json(const arguments *a, const maph_change *c){
  output *o = &standard_output;
  output_format(o, "{\"op\":\"%s\",", c->deleted ? "delete" : "put");
  if( c->deleted ){
    output_json_bytes(o, "key", "key_encoding", c->entry.key);
    output_format(o, ",\"version\":%llu", (unsigned long long)c->entry.version);
    if( c->entry.expires ) output_text(o, ",\"expired\":true");
  }else{
    output_json_members(o, &c->entry, a->values);
  }
  output_text(o, c->last ? ",\"last\":true}\n" : "}\n");
}

static void show(const arguments *a, const maph_change *c){
  output *o = &standard_output;
  if( a->json ){ show_json(a, c); return; }
  output_format(o, "%s\t%llu\t", c->deleted ? "del" : "put", (unsigned long long)c->entry.version);
  output_escaped(o, c->entry.key);
  if( a->values && !c->deleted ){
    output_bytes(o, "\t", 1);
    output_escaped(o, c->entry.value);
  }
  output_bytes(o, "\n", 1);
}

static bool wanted(maph_slice prefix, const maph_change *c){
  return c->entry.key.size >= prefix.size && memcmp(c->entry.key.data, prefix.data, prefix.size)==0;
}

/* The next change, waited for in steps.  NOTFOUND: none came in time, or told to stop. */
static int next(const arguments *a, maph *m, maph_changes *feed, maph_change *c){
  uint64_t waited = 0;
  int rc = maph_changes_next(feed, 0, c);
  if( rc==MAPH_NOTFOUND ) output_flush(&standard_output);
  while( rc==MAPH_NOTFOUND && !stop_asked() && !output_abandoned(&standard_output) && waited < a->timeout_ms ){
    uint64_t step = a->timeout_ms - waited < LOOK_MS ? a->timeout_ms - waited : LOOK_MS;
    rc = maph_changes_next(feed, (int)step, c);
    waited += step;
    if( rc==MAPH_NOTFOUND && (rc = maph_refresh(m))==MAPH_OK ) rc = MAPH_NOTFOUND;
  }
  return rc;
}

static int watch(const arguments *a, maph *m, maph_changes *feed, maph_slice prefix){
  maph_change c;
  uint64_t n = 0;
  int rc = MAPH_OK;
  while( n < a->limit && !standard_output.failed && !stop_asked() && (rc = next(a, m, feed, &c))==MAPH_OK ){
    if( !wanted(prefix, &c) ) continue;
    show(a, &c);
    n++;
  }
  if( rc!=MAPH_OK && rc!=MAPH_NOTFOUND ) output_flush(&standard_output);
  if( (rc!=MAPH_OK && rc!=MAPH_NOTFOUND) || stop_asked() ) return store_failed(a->operand[0], rc);
  return output_end(&standard_output) ? DONE : FAILED;
}

/* The version to begin after: what --since says, or that of now. */
static int begin(const arguments *a, maph *m, uint64_t *since){
  maph_stats s;
  int rc = MAPH_OK;
  if( a->since!=NOT_GIVEN ) *since = a->since;
  else if( (rc = maph_stat(m, &s))==MAPH_OK ) *since = s.version;
  return rc;
}

int command_watch(arguments *a){
  const char *path = a->operand[0];
  maph_changes *feed = NULL;
  maph_slice prefix;
  uint64_t since = 0;
  maph *m;
  int rc, status;
  if( !prefix_from(a, &prefix) || (m = store_open(a, path, MAPH_RDONLY))==NULL ) return FAILED;
  rc = begin(a, m, &since);
  if( rc==MAPH_OK ) rc = maph_changes_open(m, since, &feed);
  if( rc!=MAPH_OK ) status = store_failed(path, rc);
  else{
    note(a, "changes of %s after version %llu; Ctrl-C ends it", path, (unsigned long long)since);
    status = watch(a, m, feed, prefix);
  }
  maph_changes_close(feed);
  return store_close(m, path, status);
}
