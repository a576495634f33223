/*
** main.c - maph: a store from the command line.
**
** Descriptors 0, 1 and 2 are made sure of first, so that no store is ever opened as one of them and
** then written on by mistake.
*/
#include <fcntl.h>
#include <unistd.h>
#include "cli.h"

/* What is closed is opened the other way round: using it fails, as it should. */
static void hold_standard_descriptors(void) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) _exit(FAILED);
  }
}

static int no_command(const char *name) {
  const char *like = command_like(name);
  if (name[0] == '-')
    return complain("the command comes first: maph COMMAND %s; see maph --help", name);
  if (like) return complain("there is no command %s; did you mean %s?", name, like);
  return complain("there is no command %s; see maph --help", name);
}

static int help(int argc, char **argv) {
  const command *command = argc > 2 ? command_find(argv[2]) : NULL;
  if (argc > 3) return complain("usage: maph help [COMMAND]");
  if (argc > 2 && command == NULL) return no_command(argv[2]);
  return command ? help_command(command) : help_overview();
}

static int version(void) {
  output_format(&standard_output, "maph %s\n", maph_version());
  return output_end(&standard_output) ? DONE : FAILED;
}

static int run(int argc, char **argv) {
  static arguments args;
  const command *command;
  if (argc < 2) return complain("which command? maph --help names them");
  if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
    return help(argc, argv);
  if (strcmp(argv[1], "--version") == 0) return version();
  if ((command = command_find(argv[1])) == NULL) return no_command(argv[1]);
  if (!arguments_parse(command, argc - 1, argv + 1, &args)) return FAILED;
  if (args.help) return help_command(command);
  return command->run(&args);
}

int main(int argc, char **argv) {
  hold_standard_descriptors();
  stop_start();
  output_start();
  return stop_status(run(argc, argv));
}
