/*
** accept.c - which of two representations a client would rather have (RFC 9110, 12.4 and 12.5).
**
**     Accept: application/vnd.maph.entry+json, text/html;q=0.8, image/x;q=0, x/x
**
** Of the ranges that match, the most specific one counts: type/subtype, then type, then any.  Of
** two that are alike the higher quality counts.  Parameters but q are not looked at, and a range
** that is malformed, or whose q is, is none.
*/
#include <string.h>
#include <strings.h>
#include "http/accept.h"

/* q=0.8 as 800; -1: that is none. */
static int read_quality(const char *text, size_t size) {
  int quality, weight = 100;
  if (size == 0 || size > 5 || (text[0] != '0' && text[0] != '1')) return -1;
  if (size > 1 && text[1] != '.') return -1;
  quality = 1000 * (text[0] - '0');
  for (size_t i = 2; i < size; i++, weight /= 10) {
    if (text[i] < '0' || text[i] > '9') return -1;
    quality += weight * (text[i] - '0');
  }
  return quality <= 1000 ? quality : -1;
}

static size_t trimmed(const char *text, size_t size) {
  while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\t')) size--;
  return size;
}

/* The end of what begins at text, at one of the separators; those between quotes are none. */
static size_t span(const char *text, const char *separators) {
  bool quoted = false;
  size_t n = 0;
  for (; text[n] && (quoted || strchr(separators, text[n]) == NULL); n++) {
    if (text[n] == '"') quoted = !quoted;
    if (quoted && text[n] == '\\' && text[n + 1]) n++;
  }
  return n;
}

/* One element of a list: its name and quality; the rest of the list. */
typedef struct element {
  const char *name;
  size_t size;
  int quality; /* -1: malformed */
} element;

static const char *next_element(const char *list, element *e) {
  list += strspn(list, " \t,");
  e->name = list;
  e->size = span(list, ",;");
  e->quality = 1000;
  list += e->size;
  e->size = trimmed(e->name, e->size);
  while (*list == ';') {
    const char *name = list + 1 + strspn(list + 1, " \t");
    size_t size = span(name, ",;");
    if (trimmed(name, size) >= 2 && strncasecmp(name, "q=", 2) == 0)
      e->quality = read_quality(name + 2, trimmed(name, size) - 2);
    list = name + size;
  }
  return list;
}

/* How well a range matches: 3 the type itself, 2 type/..., 1 anything, 0 not. */
static int match(const element *e, const char *type) {
  size_t major = strcspn(type, "/"), size = strcspn(type, "; \t");
  if (e->size == 3 && memcmp(e->name, "*/*", 3) == 0) return 1;
  if (e->size == size && strncasecmp(e->name, type, size) == 0) return 3;
  return e->size == major + 2 && memcmp(e->name + major, "/*", 2) == 0
                 && strncasecmp(e->name, type, major) == 0
             ? 2
             : 0;
}

int accept_quality(const request *r, const char *media_type, bool *named) {
  int best = 0, quality = 0;
  bool any = false;
  for (int i = 0; i < r->header_count; i++) {
    const char *list = r->headers[i].value;
    element e;
    if (strcasecmp(r->headers[i].name, "Accept") != 0) continue;
    while (*(list = next_element(list, &e)) || e.size > 0) {
      int how = e.quality < 0 ? 0 : match(&e, media_type);
      any = any || e.size > 0;
      if (how > best || (how == best && how > 0 && e.quality > quality)) quality = e.quality;
      if (how > best) best = how;
      if (*list == 0) break;
    }
  }
  *named = best == 3;
  return any ? quality : 1000;
}

int accept_encoding_quality(const request *r, const char *encoding) {
  bool identity = strcmp(encoding, "identity") == 0;
  int best = 0, quality = identity ? 1000 : 0;
  for (int i = 0; i < r->header_count; i++) {
    const char *list = r->headers[i].value;
    element e;
    if (strcasecmp(r->headers[i].name, "Accept-Encoding") != 0) continue;
    while (*(list = next_element(list, &e)) || e.size > 0) {
      bool same = e.size == strlen(encoding) && strncasecmp(e.name, encoding, e.size) == 0;
      int how = e.quality < 0 ? 0 : same ? 2 : e.size == 1 && *e.name == '*' ? 1 : 0;
      if (how > best) {
        best = how;
        quality = e.quality;
      }
      if (*list == 0) break;
    }
  }
  return quality;
}
