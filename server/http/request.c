/*
** request.c - what is in a request.
*/
#include <string.h>
#include <strings.h>
#include "http/request.h"

int method_from_name(const char *name) {
  static const char *const names[] = { "GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS" };
  for (int i = 0; i < 7; i++)
    if (strcmp(name, names[i]) == 0) return 1 << i;
  return METHOD_OTHER;
}

const char *request_header(const request *r, const char *name) {
  for (int i = 0; i < r->header_count; i++)
    if (strcasecmp(r->headers[i].name, name) == 0) return r->headers[i].value;
  return NULL;
}

static bool has_token(const char *list, const char *token) {
  size_t wanted = strlen(token);
  while (*list) {
    size_t size;
    list += strspn(list, " \t,");
    size = strcspn(list, ",");
    if (size >= wanted && strncasecmp(list, token, wanted) == 0
        && wanted + strspn(list + wanted, " \t") == size)
      return true;
    list += size;
  }
  return false;
}

bool request_lists(const request *r, const char *name, const char *token) {
  for (int i = 0; i < r->header_count; i++)
    if (strcasecmp(r->headers[i].name, name) == 0 && has_token(r->headers[i].value, token))
      return true;
  return false;
}

const char *request_host(const request *r) {
  return r->authority[0] ? r->authority : request_header(r, "Host");
}

bool request_query(const request *r, const char *name, maph_slice *value) {
  size_t size = strlen(name);
  for (int i = 0; i < r->query_count; i++) {
    if (r->query[i].name.size == size && memcmp(r->query[i].name.data, name, size) == 0) {
      *value = r->query[i].value;
      return true;
    }
  }
  *value = maph_bytes("", 0);
  return false;
}
