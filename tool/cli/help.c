/*
** help.c - what --help shows, made from the tables of command.c.
*/
#include <stdio.h>
#include "cli.h"

enum { COLUMN = 26, WIDTH = 79 };

int help_overview(void) {
  output *out = &standard_output;
  output_text(out,
              "maph - a key-value store in one file that every process maps into its memory\n\n");
  for (const command *command = commands; command->name; command++)
    output_format(out, "  maph %-8s %-18s %s\n", command->name, command->operands,
                  command->summary);
  output_text(out, "\nmaph COMMAND --help says more of each; maph --version which one this is.\n\n"
                   "  maph create cache.maph\n"
                   "  maph set cache.maph hot_key 'some value'\n"
                   "  maph get cache.maph hot_key\n\n"
                   "Exit status: 0 found, or done; 1 not found; 2 an error, which is named.\n");
  return output_end(out) ? DONE : FAILED;
}

static void show_option(output *out, const option_entry *option) {
  char left[128], letter[8] = "    ";
  int n;
  if (option->letter) snprintf(letter, sizeof letter, "-%c, ", option->letter);
  n = snprintf(left, sizeof left, "  %s--%s%s%s", letter, option->name,
               option->placeholder ? " " : "", option->placeholder ? option->placeholder : "");
  output_text(out, left);
  output_format(out, n < COLUMN - 1 ? "%*s" : "\n%*s", n < COLUMN - 1 ? COLUMN - n : COLUMN, "");
  output_wrapped(out, option->help, WIDTH, COLUMN, COLUMN);
}

static void show_options(output *out, const char *list) {
  for (const char *p = list; *p; p += strspn(p, " ")) {
    size_t size = strcspn(p, " ");
    show_option(out, option_named(p, size));
    p += size;
  }
}

static void show_examples(output *out, const char *examples) {
  output_text(out, "\nFor example\n\n");
  for (const char *p = examples; *p; p += strcspn(p, "\n") + 1)
    output_format(out, "  %.*s\n", (int)strcspn(p, "\n"), p);
}

int help_command(const command *command) {
  output *out = &standard_output;
  output_format(out, "maph %s - %s\n\n  maph %s [OPTION...] %s\n\n", command->name,
                command->summary, command->name, command->operands);
  output_wrapped(out, command->text, WIDTH, 0, 0);
  output_bytes(out, "\n", 1);
  show_options(out, command->options);
  show_options(out, "json quiet help");
  show_examples(out, command->examples);
  return output_end(out) ? DONE : FAILED;
}
