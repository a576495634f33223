/*
** sessions.c - login sessions that end by themselves: each is an entry with an expiry time, which
** every reader honours and nobody has to sweep.
**
** usage: sessions STORE login USER SECONDS     prints the new session's token
**        sessions STORE check TOKEN            prints the user; exit status 1 when there is no such
**                                              session any more
**        sessions STORE renew TOKEN SECONDS    lets a session that is there live longer
**        sessions STORE logout TOKEN
**        sessions STORE list                   the live sessions' users
*/
#include <maph.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { TOKEN_BYTES = 16 };

enum { SECONDS_MAX = 1000000000 }; /* over thirty years */

/* -1: not a number of seconds. */
static long seconds_of(const char *text) {
  char *end;
  long seconds = strtol(text, &end, 10);
  return end != text && *end == 0 && seconds >= 0 && seconds <= SECONDS_MAX ? seconds : -1;
}

static uint64_t in_seconds(long seconds) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return ((uint64_t)now.tv_sec + (uint64_t)seconds) * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int login(maph *m, const char *user, long seconds) {
  unsigned char random[TOKEN_BYTES];
  char token[2 * TOKEN_BYTES + 1];
  maph_condition condition = { .when = MAPH_IF_ABSENT,
                               .expires = in_seconds(seconds),
                               .type = MAPH_TEXT };
  int rc;
  do {
    if (getrandom(random, sizeof random, 0) != sizeof random) return MAPH_IOERR;
    for (int i = 0; i < TOKEN_BYTES; i++) snprintf(token + 2 * i, 3, "%02x", random[i]);
    rc = maph_put_if(m, maph_str(token), maph_str(user), &condition);
  } while (rc == MAPH_EXISTS);
  if (rc == MAPH_OK) puts(token);
  return rc;
}

static int check(maph *m, const char *token) {
  maph_slice user;
  int rc = maph_get(m, maph_str(token), &user);
  if (rc == MAPH_OK) printf("%.*s\n", (int)user.size, (const char *)user.data);
  return rc;
}

/* The entry is written as it was, but for its end; if somebody logs out in between, the version
** differs and the session stays ended. */
static int renew(maph *m, const char *token, long seconds) {
  maph_entry entry;
  int rc = maph_get_entry(m, maph_str(token), &entry);
  if (rc != MAPH_OK) return rc;
  maph_condition condition = { .when = MAPH_IF_VERSION,
                               .version = entry.version,
                               .expires = in_seconds(seconds),
                               .type = entry.type };
  return maph_put_if(m, entry.key, entry.value, &condition);
}

static int list(maph *m) {
  maph_cursor *cursor;
  maph_entry entry;
  int rc = maph_cursor_open(m, NULL, maph_str(""), &cursor);
  if (rc != MAPH_OK) return rc;
  while ((rc = maph_cursor_next(cursor, &entry)) == MAPH_OK)
    printf("%.*s\n", (int)entry.value.size, (const char *)entry.value.data);
  maph_cursor_close(cursor);
  return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
}

static int usage(void) {
  fprintf(stderr, "usage: sessions STORE login USER SECONDS | check TOKEN | renew TOKEN SECONDS | "
                  "logout TOKEN | list\n");
  return 2;
}

int main(int argc, char **argv) {
  const char *command = argc > 2 ? argv[2] : "";
  long seconds = argc == 5 ? seconds_of(argv[4]) : 0;
  maph *m;
  int rc;
  if (argc < 3 || seconds < 0) return usage();
  rc = maph_open(argv[1], MAPH_RDWR | MAPH_CREATE, NULL, &m);
  if (rc == MAPH_OK) {
    if (strcmp(command, "login") == 0 && argc == 5)
      rc = login(m, argv[3], seconds);
    else if (strcmp(command, "check") == 0 && argc == 4)
      rc = check(m, argv[3]);
    else if (strcmp(command, "renew") == 0 && argc == 5)
      rc = renew(m, argv[3], seconds);
    else if (strcmp(command, "logout") == 0 && argc == 4)
      rc = maph_delete(m, maph_str(argv[3]));
    else if (strcmp(command, "list") == 0 && argc == 3)
      rc = list(m);
    else {
      maph_close(m);
      return usage();
    }
  }
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND && rc != MAPH_CONFLICT)
    fprintf(stderr, "sessions: %s\n", maph_errmsg(m));
  maph_close(m);
  if (rc == MAPH_OK) return 0;
  return rc == MAPH_NOTFOUND || rc == MAPH_CONFLICT ? 1 : 2;
}
