/*
** keys.c - create, get, set, increment, del, mget.
**
** Keys come from the command line or, a line or a NUL-ended string each, from standard input.
*/
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "cli.h"

enum { KEY_LINE_MOST = 4 * 65535 + 1 };
#define VALUE_MOST ((size_t)UINT32_MAX)

/* As mktemp makes one. */
static bool is_empty_file(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

int command_create(arguments *a) {
  const char *path = a->operand[0];
  int fresh = is_empty_file(path) ? 0 : MAPH_EXCL;
  maph *m = store_open(a, path, MAPH_RDWR | MAPH_CREATE | fresh);
  if (m == NULL) return FAILED;
  if (!fresh && !store_is_new(m)) return store_close(m, path, complain("%s: exists already", path));
  if (a->json) output_text(&standard_output, "{\"created\":true}\n");
  if (store_close(m, path, DONE) != DONE) return FAILED;
  return output_end(&standard_output) ? DONE : FAILED;
}

/* ----------------------------------------------------------------------------------------- keys */
/* Text that somebody gave as a key; decoded in place.  False: said why. */
static bool key_from(const arguments *a, char *text, size_t size, maph_slice *key) {
  if (a->escaped) {
    const char *mistake = unescape(maph_bytes(text, size), text, &size);
    if (mistake) {
      complain("key %.200s: %s", text, mistake);
      return false;
    }
  }
  *key = maph_bytes(text, size);
  if (size == 0) complain("a key has at least one byte");
  return size > 0;
}

/* The keys, one after the other. */
typedef struct key_source {
  const arguments *a;
  int next; /* operand */
  bool reads;
  input in;
} key_source;

static bool keys_open(key_source *k, const arguments *a) {
  memset(k, 0, sizeof *k);
  k->a = a;
  k->next = 1;
  k->reads = a->operands == 1;
  if (k->reads) note_typing(a, "the keys");
  return !k->reads || input_open(&k->in, "-", KEY_LINE_MOST);
}

static enum taken keys_next(key_source *k, maph_slice *key) {
  maph_slice line;
  enum taken taken;
  if (!k->reads) {
    if (k->next == k->a->operands) return AT_END;
    char *text = k->a->operand[k->next++];
    return key_from(k->a, text, strlen(text), key) ? TAKEN : TAKE_FAILED;
  }
  taken = input_line(&k->in, k->a->null ? 0 : '\n', &line);
  if (taken != TAKEN) return taken;
  return key_from(k->a, (char *)(uintptr_t)line.data, line.size, key) ? TAKEN : TAKE_FAILED;
}

static void keys_close(key_source *k) {
  if (k->reads) input_close(&k->in);
}

static int missing(const arguments *a, maph_slice key) {
  note(a, "%.*s: no such key", (int)(key.size < 200 ? key.size : 200), (const char *)key.data);
  return MISSING;
}

static void answer_missing(const arguments *a, maph_slice key) {
  if (!a->json) return;
  output_text(&standard_output, "{");
  output_json_bytes(&standard_output, "key", "key_encoding", key);
  output_text(&standard_output, ",\"found\":false}\n");
}

/* ------------------------------------------------------------------------------------------ get */
static int show_value(const arguments *a, const maph_entry *e) {
  output *o = &standard_output;
  if (a->json)
    output_json_entry(o, e, true);
  else if (o->terminal && !a->raw) {
    output_shown(o, e->value);
    if (e->value.size == 0 || ((const char *)e->value.data)[e->value.size - 1] != '\n')
      output_bytes(o, "\n", 1);
  } else
    output_bytes(o, e->value.data, e->value.size);
  return output_end(o) ? DONE : FAILED;
}

int command_get(arguments *a) {
  const char *path = a->operand[0];
  maph_slice key;
  maph_entry e;
  maph *m;
  int rc, status;
  if (!key_from(a, a->operand[1], strlen(a->operand[1]), &key)
      || (m = store_open(a, path, MAPH_RDONLY)) == NULL)
    return FAILED;
  rc = maph_get_entry(m, key, &e);
  if (rc == MAPH_NOTFOUND && !file_cut_short()) {
    answer_missing(a, key);
    status = missing(a, key);
    if (!output_end(&standard_output)) status = FAILED;
  } else {
    status = rc == MAPH_OK ? show_value(a, &e) : store_failed(path, rc);
  }
  return store_close(m, path, status);
}

/* ------------------------------------------------------------------------------------------ set */
static bool read_condition(const arguments *a, maph_condition *c) {
  if (a->if_absent + a->if_present + (a->if_version != NOT_GIVEN) > 1) {
    complain("one of --if-absent, --if-present and --if-version, not more");
    return false;
  }
  if (a->if_absent) c->when = MAPH_IF_ABSENT;
  if (a->if_present) c->when = MAPH_IF_PRESENT;
  if (a->if_version != NOT_GIVEN) {
    c->when = MAPH_IF_VERSION;
    c->version = a->if_version;
  }
  return true;
}

/* The value, from the command line, a file or standard input, which stays open in *in. */
static bool read_value(const arguments *a, input *in, maph_slice *value) {
  if (a->operands == 3 && a->file) {
    complain("a VALUE or --file, not both");
    return false;
  }
  if (a->operands == 3) {
    *value = maph_str(a->operand[2]);
    return true;
  }
  if (a->file == NULL || strcmp(a->file, "-") == 0) note_typing(a, "the value");
  return input_open(in, a->file ? a->file : "-", VALUE_MOST) && input_all(in, VALUE_MOST, value);
}

static int set_value(const arguments *a, maph *m, maph_slice key, maph_slice value,
                     maph_condition *c) {
  const char *path = a->operand[0];
  maph_outcome outcome = { 0, 0 };
  maph_txn *t;
  int rc;
  c->outcome = &outcome;
  if ((t = store_begin(a, m, path)) == NULL) return FAILED;
  rc = maph_txn_put_if(t, key, value, c);
  if (rc == MAPH_OK)
    rc = store_commit(t);
  else
    maph_txn_abort(t);
  if ((rc == MAPH_EXISTS || rc == MAPH_NOTFOUND || rc == MAPH_CONFLICT) && c->when != MAPH_ALWAYS) {
    if (a->json)
      output_format(&standard_output, "{\"success\":false,\"version\":%llu}\n",
                    (unsigned long long)outcome.version);
    note(a,
         rc == MAPH_EXISTS     ? "the key is there already"
         : rc == MAPH_NOTFOUND ? "no such key"
         : outcome.version     ? "the key is at version %llu"
                               : "no such key",
         (unsigned long long)outcome.version);
    return output_end(&standard_output) ? MISSING : FAILED;
  }
  if (rc != MAPH_OK) return store_failed(path, rc);
  if (a->json) {
    output_format(&standard_output, "{\"success\":true,\"created\":%s,\"version\":%llu}\n",
                  outcome.existed ? "false" : "true", (unsigned long long)outcome.version);
  }
  return output_end(&standard_output) ? DONE : FAILED;
}

int command_set(arguments *a) {
  const char *path = a->operand[0];
  maph_condition c;
  maph_slice key, value;
  input in;
  maph *m = NULL;
  int status = FAILED;
  memset(&c, 0, sizeof c);
  memset(&in, 0, sizeof in);
  if (!key_from(a, a->operand[1], strlen(a->operand[1]), &key) || !read_condition(a, &c))
    return FAILED;
  if (read_value(a, &in, &value)) {
    c.type = a->type ? entry_type_from_name(a->type) : entry_type_of_bytes(value);
    if (a->media_type) c.media_type = maph_str(a->media_type);
    if (a->ttl_ms != NOT_GIVEN) c.expires = wall_ms() + a->ttl_ms;
    m = store_open(a, path, a->create ? MAPH_RDWR | MAPH_CREATE : MAPH_RDWR);
  }
  if (m) status = store_close(m, path, set_value(a, m, key, value, &c));
  input_close(&in);
  return status;
}

/* ------------------------------------------------------------------------------------ increment */
static bool read_by(const arguments *a, int64_t *by) {
  const char *text = a->operands == 3 ? a->operand[2] : "1";
  char *end;
  errno = 0;
  *by = strtoll(text, &end, 10);
  if (errno == 0 && end != text && *end == 0) return true;
  complain("BY is a whole number of 64 bits, such as 5, or -- -1, and not \"%s\"", text);
  return false;
}

static int increment(const arguments *a, maph *m, maph_slice key, int64_t by, maph_condition *c) {
  const char *path = a->operand[0];
  maph_outcome outcome = { 0, 0 };
  int64_t sum;
  maph_txn *t;
  int rc;
  c->outcome = &outcome;
  if ((t = store_begin(a, m, path)) == NULL) return FAILED;
  rc = maph_txn_increment(t, key, by, c, &sum);
  if (rc == MAPH_OK)
    rc = store_commit(t);
  else
    maph_txn_abort(t);
  if (rc != MAPH_OK) return store_failed(path, rc);
  if (a->json)
    output_format(
        &standard_output, "{\"success\":true,\"created\":%s,\"version\":%llu,\"value\":%lld}\n",
        outcome.existed ? "false" : "true", (unsigned long long)outcome.version, (long long)sum);
  else
    output_format(&standard_output, "%lld\n", (long long)sum);
  return output_end(&standard_output) ? DONE : FAILED;
}

int command_increment(arguments *a) {
  const char *path = a->operand[0];
  maph_condition c;
  maph_slice key;
  int64_t by;
  maph *m;
  memset(&c, 0, sizeof c);
  if (!key_from(a, a->operand[1], strlen(a->operand[1]), &key) || !read_by(a, &by)) return FAILED;
  if (a->ttl_ms != NOT_GIVEN) c.expires = wall_ms() + a->ttl_ms;
  m = store_open(a, path, a->create ? MAPH_RDWR | MAPH_CREATE : MAPH_RDWR);
  return m ? store_close(m, path, increment(a, m, key, by, &c)) : FAILED;
}

/* ------------------------------------------------------------------------------------------ del */
typedef struct key_list {
  maph_slice *key;
  size_t n, room;
  arena arena;
} key_list;

static bool keys_collect(const arguments *a, key_list *list) {
  key_source source;
  maph_slice key;
  enum taken taken;
  if (!keys_open(&source, a)) return false;
  while ((taken = keys_next(&source, &key)) == TAKEN) {
    if (list->n == list->room) {
      size_t room = list->room ? 2 * list->room : 64;
      maph_slice *more = realloc(list->key, room * sizeof *more);
      if (more == NULL) break;
      list->key = more;
      list->room = room;
    }
    if (!arena_copy(&list->arena, key, &list->key[list->n])) break;
    list->n++;
  }
  keys_close(&source);
  if (taken == TAKEN) complain("out of memory for the keys");
  return taken == AT_END;
}

static int delete_keys(const arguments *a, maph *m, const key_list *list) {
  maph_condition c;
  maph_txn *t;
  uint64_t deleted = 0;
  int rc = MAPH_OK, status = DONE;
  memset(&c, 0, sizeof c);
  if (!read_condition(a, &c) || (t = store_begin(a, m, a->operand[0])) == NULL) return FAILED;
  for (size_t i = 0; i < list->n && rc == MAPH_OK && !stop_asked(); i++) {
    rc = maph_txn_delete_if(t, list->key[i], &c);
    if (rc == MAPH_OK) deleted++;
    if (rc != MAPH_NOTFOUND && rc != MAPH_CONFLICT) continue;
    if (rc == MAPH_NOTFOUND)
      status = missing(a, list->key[i]);
    else {
      note(a, "%.*s: not at version %llu", (int)list->key[i].size, (const char *)list->key[i].data,
           (unsigned long long)c.version);
      status = MISSING;
    }
    rc = MAPH_OK;
  }
  if (rc == MAPH_OK)
    rc = store_commit(t);
  else
    maph_txn_abort(t);
  if (rc != MAPH_OK) return store_failed(a->operand[0], rc);
  if (a->json)
    output_format(&standard_output, "{\"deleted\":%llu,\"missing\":%llu}\n",
                  (unsigned long long)deleted, (unsigned long long)(list->n - deleted));
  return output_end(&standard_output) ? status : FAILED;
}

int command_del(arguments *a) {
  const char *path = a->operand[0];
  key_list list;
  maph *m;
  int status = FAILED;
  memset(&list, 0, sizeof list);
  if (keys_collect(a, &list) && (m = store_open(a, path, MAPH_RDWR)) != NULL)
    status = store_close(m, path, delete_keys(a, m, &list));
  arena_free(&list.arena);
  free(list.key);
  return status;
}

/* ----------------------------------------------------------------------------------------- mget */
static void answer(const arguments *a, const maph_entry *e) {
  output *o = &standard_output;
  if (a->json)
    output_json_entry(o, e, true);
  else if (a->null) {
    output_exact(o, e->key);
    output_bytes(o, "", 1);
    output_exact(o, e->value);
    output_bytes(o, "", 1);
  } else {
    output_escaped(o, e->key);
    output_bytes(o, "\t", 1);
    output_escaped(o, e->value);
    output_bytes(o, "\n", 1);
  }
}

static int get_keys(const arguments *a, maph *m, key_source *source) {
  maph_snapshot *s = NULL;
  maph_slice key;
  maph_entry e;
  enum taken taken = AT_END;
  int rc = maph_snapshot_open(m, &s), status = DONE;
  while (rc == MAPH_OK && !standard_output.failed && (taken = keys_next(source, &key)) == TAKEN) {
    rc = maph_snapshot_get_entry(s, key, &e);
    if (rc == MAPH_OK) answer(a, &e);
    if (rc != MAPH_NOTFOUND) continue;
    answer_missing(a, key);
    status = MISSING;
    rc = MAPH_OK;
  }
  maph_snapshot_close(s);
  if (rc != MAPH_OK) {
    output_flush(&standard_output);
    return store_failed(a->operand[0], rc);
  }
  return output_end(&standard_output) && taken != TAKE_FAILED ? status : FAILED;
}

int command_mget(arguments *a) {
  const char *path = a->operand[0];
  key_source source;
  maph *m;
  int status;
  if (!keys_open(&source, a)) return FAILED;
  m = store_open(a, path, MAPH_RDONLY);
  status = m ? store_close(m, path, get_keys(a, m, &source)) : FAILED;
  keys_close(&source);
  return status;
}
