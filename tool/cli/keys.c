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

int command_create(arguments *args) {
  const char *path = args->operand[0];
  int fresh = is_empty_file(path) ? 0 : MAPH_EXCL;
  maph *m = store_open(args, path, MAPH_RDWR | MAPH_CREATE | fresh);
  if (m == NULL) return FAILED;
  if (!fresh && !store_is_new(m)) return store_close(m, path, complain("%s: exists already", path));
  if (args->json) output_text(&standard_output, "{\"created\":true}\n");
  if (store_close(m, path, DONE) != DONE) return FAILED;
  return output_end(&standard_output) ? DONE : FAILED;
}

/* ----------------------------------------------------------------------------------------- keys */
/* Text that somebody gave as a key; decoded in place.  False: said why. */
static bool key_from(const arguments *args, char *text, size_t size, maph_slice *key) {
  if (args->escaped) {
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
  const arguments *args;
  int next; /* operand */
  bool reads;
  input in;
} key_source;

static bool keys_open(key_source *source, const arguments *args) {
  memset(source, 0, sizeof *source);
  source->args = args;
  source->next = 1;
  source->reads = args->operands == 1;
  if (source->reads) note_typing(args, "the keys");
  return !source->reads || input_open(&source->in, "-", KEY_LINE_MOST);
}

static enum taken keys_next(key_source *source, maph_slice *key) {
  maph_slice line;
  enum taken taken;
  if (!source->reads) {
    if (source->next == source->args->operands) return AT_END;
    char *text = source->args->operand[source->next++];
    return key_from(source->args, text, strlen(text), key) ? TAKEN : TAKE_FAILED;
  }
  taken = input_line(&source->in, source->args->null ? 0 : '\n', &line);
  if (taken != TAKEN) return taken;
  return key_from(source->args, (char *)(uintptr_t)line.data, line.size, key) ? TAKEN : TAKE_FAILED;
}

static void keys_close(key_source *source) {
  if (source->reads) input_close(&source->in);
}

static int missing(const arguments *args, maph_slice key) {
  note(args, "%.*s: no such key", (int)(key.size < 200 ? key.size : 200), (const char *)key.data);
  return MISSING;
}

static void answer_missing(const arguments *args, maph_slice key) {
  if (!args->json) return;
  output_text(&standard_output, "{");
  output_json_bytes(&standard_output, "key", "key_encoding", key);
  output_text(&standard_output, ",\"found\":false}\n");
}

/* ------------------------------------------------------------------------------------------ get */
static int show_value(const arguments *args, const maph_entry *entry) {
  output *out = &standard_output;
  if (args->json)
    output_json_entry(out, entry, true);
  else if (out->terminal && !args->raw) {
    output_shown(out, entry->value);
    if (entry->value.size == 0 || ((const char *)entry->value.data)[entry->value.size - 1] != '\n')
      output_bytes(out, "\n", 1);
  } else
    output_bytes(out, entry->value.data, entry->value.size);
  return output_end(out) ? DONE : FAILED;
}

int command_get(arguments *args) {
  const char *path = args->operand[0];
  maph_slice key;
  maph_entry entry;
  maph *m;
  int rc, status;
  if (!key_from(args, args->operand[1], strlen(args->operand[1]), &key)
      || (m = store_open(args, path, MAPH_RDONLY)) == NULL)
    return FAILED;
  rc = maph_get_entry(m, key, &entry);
  if (rc == MAPH_NOTFOUND && !file_cut_short()) {
    answer_missing(args, key);
    status = missing(args, key);
    if (!output_end(&standard_output)) status = FAILED;
  } else {
    status = rc == MAPH_OK ? show_value(args, &entry) : store_failed(path, rc);
  }
  return store_close(m, path, status);
}

/* ------------------------------------------------------------------------------------------ set */
static bool read_condition(const arguments *args, maph_condition *condition) {
  if (args->if_absent + args->if_present + (args->if_version != NOT_GIVEN) > 1) {
    complain("one of --if-absent, --if-present and --if-version, not more");
    return false;
  }
  if (args->if_absent) condition->when = MAPH_IF_ABSENT;
  if (args->if_present) condition->when = MAPH_IF_PRESENT;
  if (args->if_version != NOT_GIVEN) {
    condition->when = MAPH_IF_VERSION;
    condition->version = args->if_version;
  }
  return true;
}

/* The value, from the command line, a file or standard input, which stays open in *in. */
static bool read_value(const arguments *args, input *in, maph_slice *value) {
  if (args->operands == 3 && args->file) {
    complain("a VALUE or --file, not both");
    return false;
  }
  if (args->operands == 3) {
    *value = maph_str(args->operand[2]);
    return true;
  }
  if (args->file == NULL || strcmp(args->file, "-") == 0) note_typing(args, "the value");
  return input_open(in, args->file ? args->file : "-", VALUE_MOST)
         && input_all(in, VALUE_MOST, value);
}

static int set_value(const arguments *args, maph *m, maph_slice key, maph_slice value,
                     maph_condition *condition) {
  const char *path = args->operand[0];
  maph_outcome outcome = { 0, 0 };
  maph_txn *txn;
  int rc;
  condition->outcome = &outcome;
  if ((txn = store_begin(args, m, path)) == NULL) return FAILED;
  rc = maph_txn_put_if(txn, key, value, condition);
  if (rc == MAPH_OK)
    rc = store_commit(txn);
  else
    maph_txn_abort(txn);
  if ((rc == MAPH_EXISTS || rc == MAPH_NOTFOUND || rc == MAPH_CONFLICT)
      && condition->when != MAPH_ALWAYS) {
    if (args->json)
      output_format(&standard_output, "{\"success\":false,\"version\":%llu}\n",
                    (unsigned long long)outcome.version);
    if (rc == MAPH_EXISTS)
      note(args, "the key is there already");
    else if (rc == MAPH_CONFLICT && outcome.version)
      note(args, "the key is at version %llu", (unsigned long long)outcome.version);
    else
      note(args, "no such key");
    return output_end(&standard_output) ? MISSING : FAILED;
  }
  if (rc != MAPH_OK) return store_failed(path, rc);
  if (args->json) {
    output_format(&standard_output, "{\"success\":true,\"created\":%s,\"version\":%llu}\n",
                  outcome.existed ? "false" : "true", (unsigned long long)outcome.version);
  }
  return output_end(&standard_output) ? DONE : FAILED;
}

/* As the server keeps a Content-Type: what can stand in a header's line. */
static bool media_type_given(const arguments *args, maph_condition *condition) {
  const unsigned char *c = (const unsigned char *)args->media_type;
  if (c == NULL) return true;
  while (*c >= ' ' && *c < 127) c++;
  condition->media_type = maph_str(args->media_type);
  if (*c == 0) return true;
  complain("--media-type: a media type, such as text/html, is of printable ASCII characters");
  return false;
}

int command_set(arguments *args) {
  const char *path = args->operand[0];
  maph_condition condition;
  maph_slice key, value;
  input in;
  maph *m = NULL;
  int status = FAILED;
  memset(&condition, 0, sizeof condition);
  memset(&in, 0, sizeof in);
  if (!key_from(args, args->operand[1], strlen(args->operand[1]), &key)
      || !read_condition(args, &condition) || !media_type_given(args, &condition))
    return FAILED;
  if (read_value(args, &in, &value)) {
    condition.type = args->type ? entry_type_from_name(args->type) : entry_type_of_bytes(value);
    if (args->ttl_ms != NOT_GIVEN) condition.expires = wall_ms() + args->ttl_ms;
    m = store_open(args, path, args->create ? MAPH_RDWR | MAPH_CREATE : MAPH_RDWR);
  }
  if (m) status = store_close(m, path, set_value(args, m, key, value, &condition));
  input_close(&in);
  return status;
}

/* ------------------------------------------------------------------------------------ increment */
static bool read_by(const arguments *args, int64_t *by) {
  const char *text = args->operands == 3 ? args->operand[2] : "1";
  char *end;
  errno = 0;
  *by = strtoll(text, &end, 10);
  if (errno == 0 && end != text && *end == 0) return true;
  complain("BY is a whole number of 64 bits, such as 5, or -- -1, and not \"%s\"", text);
  return false;
}

static int increment(const arguments *args, maph *m, maph_slice key, int64_t by,
                     maph_condition *condition) {
  const char *path = args->operand[0];
  maph_outcome outcome = { 0, 0 };
  int64_t sum;
  maph_txn *txn;
  int rc;
  condition->outcome = &outcome;
  if ((txn = store_begin(args, m, path)) == NULL) return FAILED;
  rc = maph_txn_increment(txn, key, by, condition, &sum);
  if (rc == MAPH_OK)
    rc = store_commit(txn);
  else
    maph_txn_abort(txn);
  if (rc != MAPH_OK) return store_failed(path, rc);
  if (args->json)
    output_format(
        &standard_output, "{\"success\":true,\"created\":%s,\"version\":%llu,\"value\":%lld}\n",
        outcome.existed ? "false" : "true", (unsigned long long)outcome.version, (long long)sum);
  else
    output_format(&standard_output, "%lld\n", (long long)sum);
  return output_end(&standard_output) ? DONE : FAILED;
}

int command_increment(arguments *args) {
  const char *path = args->operand[0];
  maph_condition condition;
  maph_slice key;
  int64_t by;
  maph *m;
  memset(&condition, 0, sizeof condition);
  if (!key_from(args, args->operand[1], strlen(args->operand[1]), &key) || !read_by(args, &by))
    return FAILED;
  if (args->ttl_ms != NOT_GIVEN) condition.expires = wall_ms() + args->ttl_ms;
  m = store_open(args, path, args->create ? MAPH_RDWR | MAPH_CREATE : MAPH_RDWR);
  return m ? store_close(m, path, increment(args, m, key, by, &condition)) : FAILED;
}

/* ------------------------------------------------------------------------------------------ del */
typedef struct key_list {
  maph_slice *key;
  size_t n, room;
  arena arena;
} key_list;

static bool keys_collect(const arguments *args, key_list *list) {
  key_source source;
  maph_slice key;
  enum taken taken;
  if (!keys_open(&source, args)) return false;
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

static int delete_keys(const arguments *args, maph *m, const key_list *list) {
  maph_condition condition;
  maph_txn *txn;
  uint64_t deleted = 0;
  int rc = MAPH_OK, status = DONE;
  memset(&condition, 0, sizeof condition);
  if (!read_condition(args, &condition) || (txn = store_begin(args, m, args->operand[0])) == NULL)
    return FAILED;
  for (size_t i = 0; i < list->n && rc == MAPH_OK && !stop_asked(); i++) {
    rc = maph_txn_delete_if(txn, list->key[i], &condition);
    if (rc == MAPH_OK) deleted++;
    if (rc != MAPH_NOTFOUND && rc != MAPH_CONFLICT) continue;
    if (rc == MAPH_NOTFOUND)
      status = missing(args, list->key[i]);
    else {
      note(args, "%.*s: not at version %llu", (int)list->key[i].size,
           (const char *)list->key[i].data, (unsigned long long)condition.version);
      status = MISSING;
    }
    rc = MAPH_OK;
  }
  if (rc == MAPH_OK)
    rc = store_commit(txn);
  else
    maph_txn_abort(txn);
  if (rc != MAPH_OK) return store_failed(args->operand[0], rc);
  if (args->json)
    output_format(&standard_output, "{\"deleted\":%llu,\"missing\":%llu}\n",
                  (unsigned long long)deleted, (unsigned long long)(list->n - deleted));
  return output_end(&standard_output) ? status : FAILED;
}

int command_del(arguments *args) {
  const char *path = args->operand[0];
  key_list list;
  maph *m;
  int status = FAILED;
  if (source_bounded(args) || args->all) return delete_range(args);
  memset(&list, 0, sizeof list);
  if (keys_collect(args, &list) && (m = store_open(args, path, MAPH_RDWR)) != NULL)
    status = store_close(m, path, delete_keys(args, m, &list));
  arena_free(&list.arena);
  free(list.key);
  return status;
}

/* ----------------------------------------------------------------------------------------- mget */
static void answer(const arguments *args, const maph_entry *entry) {
  output *out = &standard_output;
  if (args->json)
    output_json_entry(out, entry, true);
  else if (args->null) {
    output_exact(out, entry->key);
    output_bytes(out, "", 1);
    output_exact(out, entry->value);
    output_bytes(out, "", 1);
  } else {
    output_escaped(out, entry->key);
    output_bytes(out, "\t", 1);
    output_escaped(out, entry->value);
    output_bytes(out, "\n", 1);
  }
}

static int get_keys(const arguments *args, maph *m, key_source *source) {
  maph_snapshot *snapshot = NULL;
  maph_slice key;
  maph_entry entry;
  enum taken taken = AT_END;
  int rc = maph_snapshot_open(m, &snapshot), status = DONE;
  while (rc == MAPH_OK && !standard_output.failed && (taken = keys_next(source, &key)) == TAKEN) {
    rc = maph_snapshot_get_entry(snapshot, key, &entry);
    if (rc == MAPH_OK) answer(args, &entry);
    if (rc != MAPH_NOTFOUND) continue;
    answer_missing(args, key);
    status = MISSING;
    rc = MAPH_OK;
  }
  maph_snapshot_close(snapshot);
  if (rc != MAPH_OK) {
    output_flush(&standard_output);
    return store_failed(args->operand[0], rc);
  }
  return output_end(&standard_output) && taken != TAKE_FAILED ? status : FAILED;
}

int command_mget(arguments *args) {
  const char *path = args->operand[0];
  key_source source;
  maph *m;
  int status;
  if (!keys_open(&source, args)) return FAILED;
  m = store_open(args, path, MAPH_RDONLY);
  status = m ? store_close(m, path, get_keys(args, m, &source)) : FAILED;
  keys_close(&source);
  return status;
}
