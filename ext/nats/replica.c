/*
** replica.c - maph-replica: a maph file that is kept equal to a NATS JetStream key-value bucket.
*/
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "entry/shown.h"
#include "maph.h"
#include "nats/child.h"
#include "nats/option.h"
#include "nats/replica.h"
#include "option/nearest.h"

typedef struct command {
  const char *name;
  command_fn run;
  const char *usage;
  int least, most; /* arguments */
  const char *options, *summary;
  const char *lost; /* what is not known where libnats dies of it; NULL: it has a parent already */
} command;

static const command commands[] = {
  { "follow", command_follow, "BUCKET FILE", 2, 2,
    "filter batch batch-time txn-time sync mode marker-age verify-every metrics-file auto-compact",
    "keep FILE equal to the bucket, until told to stop", NULL },
  { "put", command_put, "BUCKET KEY [VALUE]", 2, 3,
    "file if-absent if-revision ttl type media-type wait",
    "put a value, from --file or standard input where none is given, and print its revision",
    "whether it was written is unknown" },
  { "get", command_get, "BUCKET KEY", 2, 2, "", "the value as the leader of the bucket has it",
    "the value was not read" },
  { "del", command_del, "BUCKET KEY", 2, 2, "if-revision wait", "delete the key",
    "whether it was deleted is unknown" },
  { "create", command_create, "BUCKET", 1, 1, "keys history ttl replicas storage max-value",
    "make the bucket", "whether the bucket was made is unknown" },
  { "wait", command_wait, "FILE", 1, 1, "revision",
    "until the replica FILE is complete, or has --revision", NULL },
  { "publish", command_publish, "FILE BUCKET", 2, 2,
    "once skip-too-large compare overwrite metrics-file",
    "bring all that is written to FILE to the bucket, until told to stop", NULL },
  { "status", command_status, "FILE...", 1, OPTION_WORDS - 1, "max-lag",
    "where replicas are, and how far behind", NULL },
  { "verify", command_verify, "BUCKET FILE", 2, 2, "filter",
    "compare every key of the bucket and the file", "the bucket was not read" },
  { "relay", command_relay, "SOCKET", 1, 1, "users buckets writers",
    "take writes from maph-server --replica-socket to their buckets", NULL },
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* ------------------------------------------------------------------------------------- messages */
static void say(const char *before, const char *format, va_list ap) {
  char text[1536], line[4 * sizeof text + 96];
  int n = vsnprintf(text, sizeof text, format, ap);
  size_t size, done;
  ssize_t written;
  if (n < 0) return;
  if ((size_t)n >= sizeof text) n = sizeof text - 1;
  size = (size_t)sprintf(line, "%smaph-replica: ", before);
  size += shown_text(maph_bytes(text, (size_t)n), SHOWN_SENTENCE, line + size);
  line[size++] = '\n';
  for (done = 0; done < size; done += (size_t)written) {
    written = write(STDERR_FILENO, line + done, size - done);
    if (written <= 0) return;
  }
}

int complain(const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  say("", format, ap);
  va_end(ap);
  return FAILED;
}

void note(const char *format, ...) {
  char when[64];
  struct timespec now;
  struct tm tm;
  size_t size;
  va_list ap;
  if (option.quiet) return;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &tm);
  size = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(when + size, sizeof when - size, ".%03ldZ ", now.tv_nsec / 1000000);
  va_start(ap, format);
  say(when, format, ap);
  va_end(ap);
}

unsigned long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000;
}

unsigned long long ticks_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000;
}

/* ----------------------------------------------------------------------------------------- help */
static void show_help(void) {
  printf("maph-replica - a maph file that is kept equal to a NATS JetStream key-value bucket\n\n");
  for (int i = 0; i < COMMANDS; i++) {
    printf("    maph-replica %s %s\n        %s\n", commands[i].name, commands[i].usage,
           commands[i].summary);
  }
  printf(
      "\nEvery option can also be a line `name = value` of a config file, or MAPH_REPLICA_NAME in "
      "the\nenvironment.  All commands take:\n\n");
  options_help(NULL);
  printf("  %-28s %s\n  %-28s %s\n", "--help", "this", "--version", "which version this is");
  for (int i = 0; i < COMMANDS; i++) {
    if (commands[i].options[0] == 0) continue;
    printf("\n%s:\n", commands[i].name);
    options_help(commands[i].options);
  }
  printf("\nExit status: 0 done, 1 no such key or a condition that did not hold, 2 an error.\n");
}

/* ----------------------------------------------------------------------------------------- main */
static const command *find(const char *name) {
  for (int i = 0; i < COMMANDS; i++)
    if (strcmp(commands[i].name, name) == 0) return &commands[i];
  return NULL;
}

static int no_command(const char *name) {
  char names[256] = "";
  const char *nearest;
  for (int i = 0; i < COMMANDS; i++) {
    if (i > 0) strcat(names, " ");
    strncat(names, commands[i].name, 20);
  }
  nearest = name_nearest(names, maph_str(name));
  return complain("there is no command %s; the nearest is %.*s; see maph-replica --help", name,
                  (int)strcspn(nearest, " "), nearest);
}

/* What is closed is opened the other way round, so that no store and no connection is ever one of
** the three. */
static void hold_standard_descriptors(void) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) _exit(FAILED);
  }
}

int main(int argc, char **argv) {
  arguments args = { .count = 0 };
  const command *command;
  int rc;
  hold_standard_descriptors();
  rc = options_read(argc, argv, show_help, &args);
  if (rc != 0) return fflush(stdout) == 0 ? rc - 1 : FAILED;
  if (args.count == 0) return complain("which command? maph-replica --help names them");
  if ((command = find(args.words[0])) == NULL) return no_command(args.words[0]);
  if (args.count - 1 < command->least || args.count - 1 > command->most)
    return complain("usage: maph-replica %s %s", command->name, command->usage);
  if (!options_suit(command->name, command->options)) return FAILED;
  if (command->lost && child_guard(command->lost, &rc)) return rc;
  rc = command->run(args.words + 1, args.count - 1);
  if (fflush(stdout) != 0) return complain("standard output: it cannot be written to");
  return rc;
}
