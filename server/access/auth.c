/*
** auth.c - bearer tokens: who may do what with which store.
**
** The file named by --tokens has one grant a line:
**
**     TOKEN ROLE STORES            # comment
**     0f1e2d3c4b5a69788796a5b4 read  *
**     c2VjcmV0LWZvci10aGUtYXBw write cache,sessions
**     sha256:9f86d081...0f00a08 admin *
**
** Instead of a token its SHA-256 may stand there, in 64 hex digits: then whoever reads the file has
** no token.  That is enough for tokens that are random; a word can be guessed from its digest.
**
** ROLE is metrics (which reads /metrics alone), read, write (and read) or admin (all, and making,
** deleting and checking stores).  STORES are names with commas, or *.  A token on several lines has
** all their grants.  The file is read at start and at SIGHUP; a file with a mistake changes
** nothing.
**
** The digest of a token is compared with that of every line, each time over the whole length, so
** that the time says nothing of how much of it was right.  Tokens come in the Authorization header
** alone and are never logged.  Without --tokens everything is allowed, and the server listens on
** loopback only.
*/
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "access/auth.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sha256.h"
#include "http/reply.h"

enum { TOKEN_LEAST = 16, TOKEN_MAX = 128, GRANTS_MAX = 1024, DIGEST_SIZE = 32 };
typedef struct grant {
  uint8_t digest[DIGEST_SIZE]; /* of the token */
  int role;
  char *stores; /* "*" or "a,b" */
} grant;

static grant *grants; /* grants_lock */
static int grant_count;
static pthread_rwlock_t grants_lock = PTHREAD_RWLOCK_INITIALIZER;

static int role_from_name(const char *name) {
  static const char *const names[] = { "metrics", "read", "write", "admin" };
  for (int i = 0; i < 4; i++)
    if (strcmp(name, names[i]) == 0) return ROLE_METRICS + i;
  return 0;
}

static void free_grants(grant *list, int count) {
  for (int i = 0; i < count; i++) free(list[i].stores);
  free(list);
}

/* A token, or sha256: and its digest.  False: neither. */
static bool read_token(const char *token, uint8_t digest[DIGEST_SIZE]) {
  size_t size = strlen(token);
  if (strncmp(token, "sha256:", 7) != 0) {
    sha256(token, size, digest);
    return size >= TOKEN_LEAST && size < TOKEN_MAX;
  }
  if (size != 7 + 2 * DIGEST_SIZE || strspn(token + 7, "0123456789abcdefABCDEF") != size - 7)
    return false;
  for (int i = 0; i < DIGEST_SIZE; i++) {
    char digits[3] = { token[7 + 2 * i], token[8 + 2 * i], 0 };
    digest[i] = (uint8_t)strtoul(digits, NULL, 16);
  }
  return true;
}

/* One line into a grant.  1: a grant; 0: an empty line; -1: a mistake. */
static int parse_line(char *line, grant *grant) {
  static const char blanks[] = " \t\r\n";
  char *rest, *token, *role, *stores;
  line[strcspn(line, "#")] = 0;
  token = strtok_r(line, blanks, &rest);
  if (token == NULL) return 0;
  role = strtok_r(NULL, blanks, &rest);
  stores = strtok_r(NULL, blanks, &rest);
  if (stores == NULL || strtok_r(NULL, blanks, &rest) != NULL) return -1;
  memset(grant, 0, sizeof *grant);
  grant->role = role_from_name(role);
  if (grant->role == 0 || !read_token(token, grant->digest)) return -1;
  grant->stores = strdup(stores);
  return grant->stores ? 1 : -1;
}

static bool read_grants(FILE *file, grant *list, int *count) {
  char line[4096];
  for (int number = 1; fgets(line, sizeof line, file); number++) {
    int found = *count < GRANTS_MAX ? parse_line(line, &list[*count]) : -1;
    if (found < 0) {
      log_line("%s line %d: a grant is TOKEN (%d to %d characters, or sha256: and its digest) "
               "metrics|read|write|admin "
               "NAME,NAME or "
               "*; at most %d of them",
               option.tokens, number, TOKEN_LEAST, TOKEN_MAX - 1, GRANTS_MAX);
      return false;
    }
    *count += found;
  }
  return true;
}

bool auth_load(void) {
  grant *list, *old;
  struct stat st;
  FILE *file;
  int count = 0, old_count;
  bool ok;
  if (!auth_on()) return true;
  file = fopen(option.tokens, "re");
  list = calloc(GRANTS_MAX, sizeof *list);
  if (file == NULL || list == NULL) {
    log_line("cannot read the tokens in %s: %s", option.tokens, strerror(errno));
    if (file) fclose(file);
    free(list);
    return false;
  }
  if (fstat(fileno(file), &st) == 0 && (st.st_mode & 07))
    log_line("%s can be read by every user of this machine: chmod o= it", option.tokens);
  ok = read_grants(file, list, &count);
  fclose(file);
  if (!ok) {
    free_grants(list, count);
    return false;
  }
  pthread_rwlock_wrlock(&grants_lock);
  old = grants;
  old_count = grant_count;
  grants = list;
  grant_count = count;
  pthread_rwlock_unlock(&grants_lock);
  free_grants(old, old_count);
  return true;
}

bool auth_on(void) { return option.tokens && option.tokens[0]; }

static bool covers(const char *stores, maph_slice name) {
  if (name.data == NULL || strcmp(stores, "*") == 0) return true;
  while (*stores && name.size > 0) {
    size_t size = strcspn(stores, ",");
    if (size == name.size && memcmp(stores, name.data, size) == 0) return true;
    stores += size + (stores[size] == ',');
  }
  return false;
}

const char *auth_token(const request *request) {
  const char *given = request_header(request, "Authorization");
  if (given == NULL || strncasecmp(given, "Bearer ", 7) != 0) return NULL;
  return given + 7 + strspn(given + 7, " ");
}

/* The best role that the request's token has for the store (name size 0: for all stores, data NULL:
** for any).  -1: no such token. */
static int role_of(const request *request, maph_slice name) {
  const char *given = auth_token(request);
  uint8_t digest[DIGEST_SIZE];
  int best = -1;
  size_t size = given ? strlen(given) : 0;
  if (size < TOKEN_LEAST || size >= TOKEN_MAX) return -1;
  sha256(given, size, digest);
  pthread_rwlock_rdlock(&grants_lock);
  for (int i = 0; i < grant_count; i++) {
    unsigned difference = 0;
    for (int k = 0; k < DIGEST_SIZE; k++) difference |= digest[k] ^ grants[i].digest[k];
    if (difference) continue;
    if (best < 0) best = 0;
    if (grants[i].role > best && covers(grants[i].stores, name)) best = grants[i].role;
  }
  pthread_rwlock_unlock(&grants_lock);
  return best;
}

bool auth_knows(const request *request) {
  static const maph_slice all = { "", 0 };
  return auth_on() && role_of(request, all) >= 0;
}

const char *auth_role_name(const request *request, const char *name) {
  static const char *const role_names[] = { "none", "none", "read", "write", "admin" };
  static const maph_slice any = { NULL, 0 };
  int role = auth_on() ? role_of(request, name ? maph_str(name) : any) : ROLE_ADMIN;
  return role_names[role > 0 ? role : 0];
}

bool auth_holds(const request *request, int role, const char *name) {
  return !auth_on() || role_of(request, maph_str(name)) >= role;
}

bool auth_allows(request *request, int role, maph_slice name) {
  int has;
  if (role == ROLE_NONE || !auth_on()) return true;
  has = role_of(request, name);
  if (has >= 0 && has >= role) return true;
  if (has < 0) {
    reply_extra(request, "WWW-Authenticate: Bearer realm=\"maph\"");
    reply_problem(request, 401, "unauthorized",
                  "this server asks for a token: Authorization: Bearer TOKEN");
  } else {
    reply_problem(request, 403, "forbidden", "this token may not do that here");
  }
  return false;
}
