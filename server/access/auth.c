/*
** auth.c - bearer tokens: who may do what with which store.
**
** The file named by --tokens has one grant a line:
**
**     TOKEN ROLE STORES            # comment
**     0f1e2d3c4b5a69788796a5b4 read  *
**     c2VjcmV0LWZvci10aGUtYXBw write cache,sessions
**
** ROLE is metrics (which reads /metrics alone), read, write (and read) or admin (all, and making,
** deleting and checking stores).  STORES are names with commas, or *.  A token on several lines has
** all their grants.  The file is read at start and at SIGHUP; a file with a mistake changes
** nothing.
**
** A token is compared with every line, each time over the whole length of both, so that the time
** says nothing of how much of it was right.  Tokens come in the Authorization header alone and are
** never logged.  Without --tokens everything is allowed, and the server listens on loopback only.
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
#include "http/reply.h"

enum { TOKEN_LEAST = 16, TOKEN_MAX = 128, GRANTS_MAX = 1024 };
typedef struct grant {
  char token[TOKEN_MAX]; /* zero after its end */
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

/* One line into a grant.  1: a grant; 0: an empty line; -1: a mistake. */
static int parse_line(char *line, grant *g) {
  static const char blanks[] = " \t\r\n";
  char *rest, *token, *role, *stores;
  line[strcspn(line, "#")] = 0;
  token = strtok_r(line, blanks, &rest);
  if (token == NULL) return 0;
  role = strtok_r(NULL, blanks, &rest);
  stores = strtok_r(NULL, blanks, &rest);
  if (stores == NULL || strtok_r(NULL, blanks, &rest) != NULL) return -1;
  memset(g, 0, sizeof *g);
  g->role = role_from_name(role);
  if (g->role == 0 || strlen(token) < TOKEN_LEAST || strlen(token) >= TOKEN_MAX) return -1;
  memcpy(g->token, token, strlen(token));
  g->stores = strdup(stores);
  return g->stores ? 1 : -1;
}

static bool read_grants(FILE *file, grant *list, int *count) {
  char line[4096];
  for (int number = 1; fgets(line, sizeof line, file); number++) {
    int found = *count < GRANTS_MAX ? parse_line(line, &list[*count]) : -1;
    if (found < 0) {
      log_line("%s line %d: a grant is TOKEN (%d to %d characters) metrics|read|write|admin "
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

const char *auth_token(const request *r) {
  const char *given = request_header(r, "Authorization");
  if (given == NULL || strncasecmp(given, "Bearer ", 7) != 0) return NULL;
  return given + 7 + strspn(given + 7, " ");
}

/* The best role that the request's token has for the store (name size 0: for all stores, data NULL:
** for any).  -1: no such token. */
static int role_of(const request *r, maph_slice name) {
  const char *given = auth_token(r);
  char token[TOKEN_MAX] = { 0 };
  int best = -1;
  size_t size;
  if (given == NULL) return -1;
  size = strlen(given);
  memcpy(token, given, size < TOKEN_MAX - 1 ? size : TOKEN_MAX - 1);
  pthread_rwlock_rdlock(&grants_lock);
  for (int i = 0; i < grant_count; i++) {
    unsigned difference = size >= TOKEN_MAX;
    for (int k = 0; k < TOKEN_MAX; k++)
      difference |= (unsigned char)token[k] ^ (unsigned char)grants[i].token[k];
    if (difference) continue;
    if (best < 0) best = 0;
    if (grants[i].role > best && covers(grants[i].stores, name)) best = grants[i].role;
  }
  pthread_rwlock_unlock(&grants_lock);
  return best;
}

bool auth_knows(const request *r) {
  static const maph_slice all = { "", 0 };
  return auth_on() && role_of(r, all) >= 0;
}

const char *auth_role_name(const request *r, const char *name) {
  static const char *const role_names[] = { "none", "none", "read", "write", "admin" };
  static const maph_slice any = { NULL, 0 };
  int role = auth_on() ? role_of(r, name ? maph_str(name) : any) : ROLE_ADMIN;
  return role_names[role > 0 ? role : 0];
}

bool auth_holds(const request *r, int role, const char *name) {
  return !auth_on() || role_of(r, maph_str(name)) >= role;
}

bool auth_allows(request *r, int role, maph_slice name) {
  int has;
  if (role == ROLE_NONE || !auth_on()) return true;
  has = role_of(r, name);
  if (has >= 0 && has >= role) return true;
  if (has < 0) {
    reply_extra(r, "WWW-Authenticate: Bearer realm=\"maph\"");
    reply_problem(r, 401, "unauthorized",
                  "this server asks for a token: Authorization: Bearer TOKEN");
  } else {
    reply_problem(r, 403, "forbidden", "this token may not do that here");
  }
  return false;
}
