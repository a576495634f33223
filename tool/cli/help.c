/*
** help.c - what --help shows, made from the tables of command.c.
*/
#include <stdio.h>
#include "cli.h"

enum { COLUMN = 26, WIDTH = 79 };

int help_overview(void) {
  output *o = &standard_output;
  output_text(o,
              "maph - a key-value store in one file that every process maps into its memory\n\n");
  for (const command *c = commands; c->name; c++)
    output_format(o, "  maph %-8s %-18s %s\n", c->name, c->operands, c->summary);
  output_text(o, "\nmaph COMMAND --help says more of each; maph --version which one this is.\n\n"
                 "  maph create cache.maph\n"
                 "  maph set cache.maph hot_key 'some value'\n"
                 "  maph get cache.maph hot_key\n\n"
                 "Exit status: 0 found, or done; 1 not found; 2 an error, which is named.\n");
  return output_end(o) ? DONE : FAILED;
}

static void show_option(output *o, const option_entry *e) {
  char left[128], letter[8] = "    ";
  int n;
  if (e->letter) snprintf(letter, sizeof letter, "-%c, ", e->letter);
  n = snprintf(left, sizeof left, "  %s--%s%s%s", letter, e->name, e->placeholder ? " " : "",
               e->placeholder ? e->placeholder : "");
  output_text(o, left);
  output_format(o, n < COLUMN - 1 ? "%*s" : "\n%*s", n < COLUMN - 1 ? COLUMN - n : COLUMN, "");
  output_wrapped(o, e->help, WIDTH, COLUMN, COLUMN);
}

static void show_options(output *o, const char *list) {
  for (const char *p = list; *p; p += strspn(p, " ")) {
    size_t size = strcspn(p, " ");
    show_option(o, option_named(p, size));
    p += size;
  }
}

static void show_examples(output *o, const char *examples) {
  output_text(o, "\nFor example\n\n");
  for (const char *p = examples; *p; p += strcspn(p, "\n") + 1)
    output_format(o, "  %.*s\n", (int)strcspn(p, "\n"), p);
}

int help_command(const command *c) {
  output *o = &standard_output;
  output_format(o, "maph %s - %s\n\n  maph %s [OPTION...] %s\n\n", c->name, c->summary, c->name,
                c->operands);
  output_wrapped(o, c->text, WIDTH, 0, 0);
  output_bytes(o, "\n", 1);
  show_options(o, c->options);
  show_options(o, "json quiet help");
  show_examples(o, c->examples);
  return output_end(o) ? DONE : FAILED;
}
