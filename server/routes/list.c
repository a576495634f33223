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
#include "routes/handling.h"

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

/* --------------------------------------------------------------------------------- the question */

static bool read_limit(request *request, uint64_t *limit) {
  char digits[8] = "";
  maph_slice value;
  *limit = LIMIT_STANDARD;
  if (!request_query(request, "limit", &value)) return true;
  if (value.size > 0 && value.size < sizeof digits) memcpy(digits, value.data, value.size);
  *limit = strspn(digits, "0123456789") == value.size ? strtoull(digits, NULL, 10) : 0;
  if (*limit >= 1 && *limit <= LIMIT_MAX) return true;
  reply_problem(request, 400, "bad_limit", "limit is from 1 to %d", LIMIT_MAX);
  return false;
}

static bool read_delimiter(request *request, page *page) {
  if (!request_query(request, "delimiter", &page->delimiter)) return true;
  if (page->delimiter.size >= 1 && page->delimiter.size <= DELIMITER_MAX) return true;
  reply_problem(request, 400, "bad_delimiter", "delimiter is of 1 to %d bytes", DELIMITER_MAX);
  return false;
}

static bool bad_cursor(request *request) {
  reply_problem(request, 400, "bad_cursor", "after is the `next` of an earlier page");
  return false;
}

static bool read_after(request *request, page *page) {
  maph_slice text;
  size_t size;
  if (!request_query(request, "after", &text) || text.size == 0) return true;
  page->given = malloc(text.size);
  if (page->given == NULL) {
    reply_store(request, MAPH_NOMEM);
    return false;
  }
  size = base64_decode(text.data, text.size, page->given);
  if (size == SIZE_MAX || size < 2 || (page->given[0] != KEY && page->given[0] != GROUP))
    return bad_cursor(request);
  page->kind = page->given[0];
  page->last = (maph_slice){ page->given + 1, size - 1 };
  return page->kind != GROUP || page->delimiter.size > 0 || bad_cursor(request);
}

static bool read_page(request *request, page *page) {
  memset(page, 0, sizeof *page);
  page->range = (maph_range)MAPH_RANGE_INIT;
  return read_limit(request, &page->limit) && read_delimiter(request, page)
         && read_after(request, page) && query_range(request, &page->range)
         && query_flag(request, "values", &page->values);
}

/* ------------------------------------------------------------------------------------- the page */

static bool begins_with(maph_slice key, maph_slice prefix) {
  return key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

/* Is the key what was given last, or in the group that was? */
static bool is_given(const page *page, maph_slice key) {
  return page->kind != 0 && begins_with(key, page->last)
         && (page->kind == GROUP || key.size == page->last.size);
}

/* The key to and with the first delimiter behind the prefix; size 0: it has none there. */
static maph_slice group_of(const page *page, maph_slice key) {
  const char *rest = (const char *)key.data + page->range.prefix.size, *found = NULL;
  maph_slice group = { NULL, 0 };
  if (page->delimiter.size > 0)
    found = memmem(rest, key.size - page->range.prefix.size, page->delimiter.data,
                   page->delimiter.size);
  if (found)
    group =
        (maph_slice){ key.data, (size_t)(found - (const char *)key.data) + page->delimiter.size };
  return group;
}

/* To behind what was given last.  A group ends before the next text of its length. */
static int pass_given(page *page) {
  buffer *edge = &page->edge;
  if (page->kind == KEY || (page->range.flags & MAPH_RANGE_REVERSE))
    return maph_range_seek(page->cursor, page->last);
  edge->size = 0;
  buffer_append(edge, page->last.data, page->last.size);
  if (edge->failed) return MAPH_NOMEM;
  while (edge->size > 0 && (unsigned char)edge->data[edge->size - 1] == 255) edge->size--;
  if (edge->size == 0) return MAPH_NOTFOUND; /* no key is above the group */
  edge->data[edge->size - 1]++;
  return maph_range_seek(page->cursor, (maph_slice){ edge->data, edge->size });
}

static int give_group(page *page, maph_slice group) {
  buffer *groups = &page->groups;
  buffer_text(groups, groups->size ? ",\n{" : "\n{");
  emit_bytes(groups, "prefix", "prefix_encoding", group);
  buffer_text(groups, "}");
  page->kind = GROUP;
  page->last = group;
  return pass_given(page);
}

static int give_key(page *page, buffer *buffer, const maph_entry *entry) {
  bool omitted = page->values && entry->value.size > VALUE_MAX;
  buffer_text(buffer, page->keys++ ? ",\n{" : "\n{");
  emit_entry(buffer, entry, page->values && !omitted);
  buffer_text(buffer, omitted ? ",\"value_omitted\":true}" : "}");
  page->kind = KEY;
  page->last = entry->key;
  return MAPH_OK;
}

/* Until the page is full, or there is no more. */
static int fill_page(page *page, buffer *buffer) {
  maph_entry entry;
  maph_slice group;
  int rc = page->kind ? pass_given(page) : MAPH_OK;
  while (rc == MAPH_OK && (rc = maph_range_next(page->cursor, &entry)) == MAPH_OK) {
    if (is_given(page, entry.key)) continue;
    page->more = page->count == page->limit || buffer->size + page->groups.size >= PAGE_BYTES;
    if (page->more) return MAPH_OK;
    page->count++;
    group = group_of(page, entry.key);
    rc = group.size > 0 ? give_group(page, group) : give_key(page, buffer, &entry);
  }
  return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
}

/* ----------------------------------------------------------------------------------- the answer */

/* What the client asked for, again, but for its `after`, as a URL; quotes and angles would end
** it. */
static void put_target(buffer *out, const request *request) {
  const char *query = request->query_text ? request->query_text : "", *separator = "?";
  buffer_text(out, request->path);
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
static void end_page(request *request, page *page) {
  buffer *buffer = request->reply.body, *next = request->upload.scratch;
  next->size = 0;
  if (page->more) {
    page->edge.size = 0;
    buffer_append(&page->edge, &page->kind, 1);
    buffer_append(&page->edge, page->last.data, page->last.size);
    emit_base64url(next, page->edge.data, page->edge.size);
  }
  buffer_text(buffer, "\n]");
  if (page->delimiter.size > 0) {
    buffer_text(buffer, ",\"prefixes\":[");
    buffer_append(buffer, page->groups.data, page->groups.size);
    buffer_text(buffer, "\n]");
  }
  buffer_text(buffer, ",\"next\":");
  buffer_text(buffer, page->more ? "\"" : "null}\n");
  buffer_append(buffer, next->data, next->size);
  if (page->more) buffer_text(buffer, "\"}\n");
  buffer->failed |= page->groups.failed || page->edge.failed || next->failed;
  reply_start(request, 200);
  if (page->more && next->size <= LINK_MAX) {
    buffer_text(request->reply.head, "Link: <");
    put_target(request->reply.head, request);
    buffer_text(request->reply.head, "after=");
    buffer_append(request->reply.head, next->data, next->size);
    buffer_text(request->reply.head, ">; rel=\"next\"\r\n");
  }
  reply_json(request, 200, buffer);
}

static void answer_page(request *request, page *page) {
  int rc = maph_range_open(store_of(request)->m, NULL, &page->range, &page->cursor);
  atomic_store(&store_of(request)->listed, true);
  request->reply.body->size = 0;
  buffer_text(request->reply.body, "{\"keys\":[");
  if (rc == MAPH_OK) rc = fill_page(page, request->reply.body);
  if (rc == MAPH_OK)
    end_page(request, page);
  else
    reply_store(request, rc);
  maph_range_close(page->cursor);
}

void keys_list(request *request) {
  maph_slice key;
  page page;
  if (request_query(request, "key", &key)) {
    keys_get(request);
    return;
  }
  if (read_page(request, &page)) answer_page(request, &page);
  free(page.given);
  buffer_free(&page.groups);
  buffer_free(&page.edge);
}
