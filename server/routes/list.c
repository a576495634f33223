/*
** list.c - GET /stores/NAME/keys: a page of keys in order, and where the next one begins; with
** ?key= the named ones (many.c).
**
** Order is that of the keys' bytes.  from and to bound it, `to` itself left out; prefix narrows it;
** reverse turns it round.  With a delimiter, keys that have it behind the prefix are shown as one
** group, the text up to it, as object stores show folders: a group costs one seek, however many
** keys it has.
**
** A cursor is the last key or group of a page, so it costs the server nothing to keep, and outlives
** rewrites and restarts.  A key that stays is given exactly once, whatever is put meanwhile.
*/
#include <stdlib.h>
#include <string.h>
#include "base/emit.h"
#include "entry/base64.h"
#include "routes/answer.h"
#include "routes/handlers.h"

enum {
  LIMIT_STANDARD = 100,
  LIMIT_MAX = 1000,
  PAGE_BYTES = 4 * 1024 * 1024,
  VALUE_MAX = 1024 * 1024,
  DELIMITER_MAX = 64,
  LINK_MAX = 4096 /* a head that carries more is refused by many */
};

/* What is asked for, and how far it is answered. */
typedef struct page {
  maph_range range;
  maph_slice delimiter;
  uint64_t limit, count, keys; /* of `count`, keys */
  bool values;
  maph_range_cursor *cursor;
  bool more;       /* there are keys behind the page */
  char kind;       /* of what came last, KEY or GROUP; 0: nothing yet */
  maph_slice last; /* it, in `given` or in the store */
  char *given;     /* what `after` says */
  buffer groups, edge;
} page;
enum { KEY = 'k', GROUP = 'g' };

/* ---------------------------------------------------------------------------------- the question */

static bool read_limit(request *r, uint64_t *limit) {
  char digits[8] = "";
  maph_slice value;
  *limit = LIMIT_STANDARD;
  if (!request_query(r, "limit", &value)) return true;
  if (value.size > 0 && value.size < sizeof digits) memcpy(digits, value.data, value.size);
  *limit = strspn(digits, "0123456789") == value.size ? strtoull(digits, NULL, 10) : 0;
  if (*limit >= 1 && *limit <= LIMIT_MAX) return true;
  reply_problem(r, 400, "bad_limit", "limit is from 1 to %d", LIMIT_MAX);
  return false;
}

/* An empty bound bounds nothing. */
static void read_bound(request *r, const char *name, maph_slice *bound) {
  if (!request_query(r, name, bound) || bound->size == 0) *bound = (maph_slice){ NULL, 0 };
}

static bool read_delimiter(request *r, page *p) {
  if (!request_query(r, "delimiter", &p->delimiter)) return true;
  if (p->delimiter.size >= 1 && p->delimiter.size <= DELIMITER_MAX) return true;
  reply_problem(r, 400, "bad_delimiter", "delimiter is of 1 to %d bytes", DELIMITER_MAX);
  return false;
}

static bool bad_cursor(request *r) {
  reply_problem(r, 400, "bad_cursor", "after is the `next` of an earlier page");
  return false;
}

static bool read_after(request *r, page *p) {
  maph_slice text;
  size_t size;
  if (!request_query(r, "after", &text) || text.size == 0) return true;
  p->given = malloc(text.size);
  if (p->given == NULL) {
    reply_store(r, MAPH_NOMEM);
    return false;
  }
  size = base64_decode(text.data, text.size, p->given);
  if (size == SIZE_MAX || size < 2 || (p->given[0] != KEY && p->given[0] != GROUP))
    return bad_cursor(r);
  p->kind = p->given[0];
  p->last = (maph_slice){ p->given + 1, size - 1 };
  return p->kind != GROUP || p->delimiter.size > 0 || bad_cursor(r);
}

static bool read_page(request *r, page *p) {
  bool reverse = false;
  memset(p, 0, sizeof *p);
  p->range = (maph_range)MAPH_RANGE_INIT;
  if (!read_limit(r, &p->limit) || !read_delimiter(r, p) || !read_after(r, p)) return false;
  read_bound(r, "from", &p->range.from);
  read_bound(r, "to", &p->range.to);
  read_bound(r, "prefix", &p->range.prefix);
  if (!query_flag(r, "values", &p->values) || !query_flag(r, "reverse", &reverse)) return false;
  p->range.flags = reverse ? MAPH_RANGE_REVERSE : 0;
  return true;
}

/* -------------------------------------------------------------------------------------- the page */

static bool begins_with(maph_slice key, maph_slice prefix) {
  return key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

/* Is the key what was given last, or in the group that was? */
static bool is_given(const page *p, maph_slice key) {
  return p->kind != 0 && begins_with(key, p->last)
         && (p->kind == GROUP || key.size == p->last.size);
}

/* The key to and with the first delimiter behind the prefix; size 0: it has none there. */
static maph_slice group_of(const page *p, maph_slice key) {
  const char *rest = (const char *)key.data + p->range.prefix.size, *found = NULL;
  maph_slice group = { NULL, 0 };
  if (p->delimiter.size > 0)
    found = memmem(rest, key.size - p->range.prefix.size, p->delimiter.data, p->delimiter.size);
  if (found)
    group = (maph_slice){ key.data, (size_t)(found - (const char *)key.data) + p->delimiter.size };
  return group;
}

/* To behind what was given last.  A group ends before the next text of its length. */
static int pass_given(page *p) {
  buffer *edge = &p->edge;
  if (p->kind == KEY || (p->range.flags & MAPH_RANGE_REVERSE))
    return maph_range_seek(p->cursor, p->last);
  edge->size = 0;
  buffer_append(edge, p->last.data, p->last.size);
  if (edge->failed) return MAPH_NOMEM;
  while (edge->size > 0 && (unsigned char)edge->data[edge->size - 1] == 255) edge->size--;
  if (edge->size == 0) return MAPH_NOTFOUND; /* no key is above the group */
  edge->data[edge->size - 1]++;
  return maph_range_seek(p->cursor, (maph_slice){ edge->data, edge->size });
}

static int give_group(page *p, maph_slice group) {
  buffer *groups = &p->groups;
  buffer_text(groups, groups->size ? ",\n{" : "\n{");
  emit_bytes(groups, "prefix", "prefix_encoding", group);
  buffer_text(groups, "}");
  p->kind = GROUP;
  p->last = group;
  return pass_given(p);
}

static int give_key(page *p, buffer *b, const maph_entry *entry) {
  bool omitted = p->values && entry->value.size > VALUE_MAX;
  buffer_text(b, p->keys++ ? ",\n{" : "\n{");
  emit_entry(b, entry, p->values && !omitted);
  buffer_text(b, omitted ? ",\"value_omitted\":true}" : "}");
  p->kind = KEY;
  p->last = entry->key;
  return MAPH_OK;
}

/* Until the page is full, or there is no more. */
static int fill_page(page *p, buffer *b) {
  maph_entry entry;
  maph_slice group;
  int rc = p->kind ? pass_given(p) : MAPH_OK;
  while (rc == MAPH_OK && (rc = maph_range_next(p->cursor, &entry)) == MAPH_OK) {
    if (is_given(p, entry.key)) continue;
    p->more = p->count == p->limit || b->size + p->groups.size >= PAGE_BYTES;
    if (p->more) return MAPH_OK;
    p->count++;
    group = group_of(p, entry.key);
    rc = group.size > 0 ? give_group(p, group) : give_key(p, b, &entry);
  }
  return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
}

/* ------------------------------------------------------------------------------------ the answer */

/* What the client asked for, again, but for its `after`, as a URL; quotes and angles would end
** it. */
static void put_target(buffer *out, const request *r) {
  const char *query = r->query_text ? r->query_text : "", *separator = "?";
  buffer_text(out, r->path);
  while (*query) {
    size_t size = strcspn(query, "&");
    bool after = size >= 5 && strncmp(query, "after", 5) == 0 && (size == 5 || query[5] == '=');
    if (size > 0 && !after) {
      buffer_text(out, separator);
      separator = "&";
      for (size_t i = 0; i < size; i++)
        if (strchr("<>\"", query[i]))
          buffer_printf(out, "%%%02X", (unsigned char)query[i]);
        else
          buffer_append(out, query + i, 1);
    }
    query += size + (query[size] == '&');
  }
  buffer_text(out, separator);
}

/* Answer the page; where there is a next one, `next` and a Link header lead to it. */
static void end_page(request *r, page *p) {
  buffer *b = r->body, *next = r->scratch;
  next->size = 0;
  if (p->more) {
    p->edge.size = 0;
    buffer_append(&p->edge, &p->kind, 1);
    buffer_append(&p->edge, p->last.data, p->last.size);
    emit_base64url(next, p->edge.data, p->edge.size);
  }
  buffer_text(b, "\n]");
  if (p->delimiter.size > 0) {
    buffer_text(b, ",\"prefixes\":[");
    buffer_append(b, p->groups.data, p->groups.size);
    buffer_text(b, "\n]");
  }
  buffer_text(b, ",\"next\":");
  buffer_text(b, p->more ? "\"" : "null}\n");
  buffer_append(b, next->data, next->size);
  if (p->more) buffer_text(b, "\"}\n");
  b->failed |= p->groups.failed || p->edge.failed || next->failed;
  reply_start(r, 200);
  if (p->more && next->size <= LINK_MAX) {
    buffer_text(r->head, "Link: <");
    put_target(r->head, r);
    buffer_text(r->head, "after=");
    buffer_append(r->head, next->data, next->size);
    buffer_text(r->head, ">; rel=\"next\"\r\n");
  }
  reply_json(r, 200, b);
}

static void answer_page(request *r, page *p) {
  int rc = maph_range_open(r->store->m, NULL, &p->range, &p->cursor);
  r->body->size = 0;
  buffer_text(r->body, "{\"keys\":[");
  if (rc == MAPH_OK) rc = fill_page(p, r->body);
  if (rc == MAPH_OK)
    end_page(r, p);
  else
    reply_store(r, rc);
  maph_range_close(p->cursor);
}

void keys_list(request *r) {
  maph_slice key;
  page p;
  if (request_query(r, "key", &key)) {
    keys_get(r);
    return;
  }
  if (read_page(r, &p)) answer_page(r, &p);
  free(p.given);
  buffer_free(&p.groups);
  buffer_free(&p.edge);
}
