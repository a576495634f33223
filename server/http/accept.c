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

static const char *next_element(const char *list, element *element) {
  list += strspn(list, " \t,");
  element->name = list;
  element->size = span(list, ",;");
  element->quality = 1000;
  list += element->size;
  element->size = trimmed(element->name, element->size);
  while (*list == ';') {
    const char *name = list + 1 + strspn(list + 1, " \t");
    size_t size = span(name, ",;");
    if (trimmed(name, size) >= 2 && strncasecmp(name, "q=", 2) == 0)
      element->quality = read_quality(name + 2, trimmed(name, size) - 2);
    list = name + size;
  }
  return list;
}

/* How well a range matches: 3 the type itself, 2 type/..., 1 anything, 0 not. */
static int match(const element *element, const char *type) {
  size_t major = strcspn(type, "/"), size = strcspn(type, "; \t");
  if (element->size == 3 && memcmp(element->name, "*/*", 3) == 0) return 1;
  if (element->size == size && strncasecmp(element->name, type, size) == 0) return 3;
  return element->size == major + 2 && memcmp(element->name + major, "/*", 2) == 0
                 && strncasecmp(element->name, type, major) == 0
             ? 2
             : 0;
}

int accept_quality(const request *request, const char *media_type, bool *named) {
  int best = 0, quality = 0;
  bool any = false;
  for (int i = 0; i < request->header_count; i++) {
    const char *list = request->headers[i].value;
    element element;
    if (request->headers[i].name_size != 6 || strcasecmp(request->headers[i].name, "Accept") != 0)
      continue;
    while (*(list = next_element(list, &element)) || element.size > 0) {
      int how = element.quality < 0 ? 0 : match(&element, media_type);
      any = any || element.size > 0;
      if (how > best || (how == best && how > 0 && element.quality > quality))
        quality = element.quality;
      if (how > best) best = how;
      if (*list == 0) break;
    }
  }
  *named = best == 3;
  return any ? quality : 1000;
}

int accept_encoding_quality(const request *request, const char *encoding) {
  bool identity = strcmp(encoding, "identity") == 0;
  int best = 0, quality = identity ? 1000 : 0;
  for (int i = 0; i < request->header_count; i++) {
    const char *list = request->headers[i].value;
    element element;
    if (request->headers[i].name_size != 15
        || strcasecmp(request->headers[i].name, "Accept-Encoding") != 0)
      continue;
    while (*(list = next_element(list, &element)) || element.size > 0) {
      int how = 0;
      if (element.size == 1 && *element.name == '*') how = 1;
      if (element.size == strlen(encoding)
          && strncasecmp(element.name, encoding, element.size) == 0)
        how = 2;
      if (element.quality < 0) how = 0;
      if (how > best) {
        best = how;
        quality = element.quality;
      }
      if (*list == 0) break;
    }
  }
  return quality;
}
