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

const char *request_find(const request *request, const char *name, size_t size) {
  for (int i = 0; i < request->header_count; i++)
    if (request->headers[i].name_size == size && strcasecmp(request->headers[i].name, name) == 0)
      return request->headers[i].value;
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

bool request_lists(const request *request, const char *name, const char *token) {
  size_t size = strlen(name);
  if (!request_may_have(request, size)) return false;
  for (int i = 0; i < request->header_count; i++)
    if (request->headers[i].name_size == size && strcasecmp(request->headers[i].name, name) == 0
        && has_token(request->headers[i].value, token))
      return true;
  return false;
}

const char *request_host(const request *request) {
  return request->authority[0] ? request->authority : request_header(request, "Host");
}

bool request_query(const request *request, const char *name, maph_slice *value) {
  size_t size = strlen(name);
  for (int i = 0; i < request->query_count; i++) {
    if (request->query[i].name.size == size
        && memcmp(request->query[i].name.data, name, size) == 0) {
      *value = request->query[i].value;
      return true;
    }
  }
  *value = maph_bytes("", 0);
  return false;
}
