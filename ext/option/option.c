/*
** option.c - the one reader of command lines, config files and variables (option.h).
*/
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "maph.h"
#include "option/nearest.h"
#include "option/option.h"

const char *option_source(const option_table *table, const void *target) {
  for (int i = 0; i < table->count; i++)
    if (table->rows[i].target == target) return table->given_by[i];
  return NULL;
}

static void set_text(char **target, const char *value) {
  char *copy = value ? strdup(value) : NULL;
  free(*target);
  *target = copy;
}

/* A list goes on where the same place says it again, and begins anew where a later place does. */
static void add_text(char **target, const char *value, bool goes_on) {
  char *joined = NULL;
  if (!goes_on || *target == NULL || **target == 0) {
    set_text(target, value);
    return;
  }
  if (asprintf(&joined, "%s,%s", *target, value) < 0) joined = NULL;
  free(*target);
  *target = joined;
}

/* Seconds without a unit; to milliseconds. */
static bool unit_of_time(const char *unit, double *value) {
  static const struct {
    const char *name;
    double ms;
  } units[] = {
    { "", 1e3 }, { "ms", 1 }, { "s", 1e3 }, { "m", 6e4 }, { "h", 36e5 }, { "d", 864e5 }
  };
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (strcmp(unit, units[i].name) != 0) continue;
    *value *= units[i].ms;
    return true;
  }
  return false;
}

/* "12", "1.5", "16M", "250ms": digits, at most one point, a unit.  False when it is not one. */
static bool number(const char *text, option_kind kind, uint64_t *result) {
  char *end;
  double value;
  if (!isdigit((unsigned char)text[0])) return false;
  value = strtod(text, &end);
  if (memchr(text, 'x', (size_t)(end - text)) || memchr(text, 'e', (size_t)(end - text)))
    return false;
  if (kind == OPTION_TIME) {
    if (!unit_of_time(end, &value)) return false;
  } else if (kind == OPTION_SIZE) {
    const char *unit = "KMGT", *at = *end ? strchr(unit, toupper((unsigned char)*end)) : NULL;
    if (*end && at == NULL) return false;
    for (int i = 0; at && i <= at - unit; i++) value *= 1024;
    if (at && end[1] && strcmp(end + 1, "iB") != 0 && strcmp(end + 1, "B") != 0) return false;
  } else if (*end) {
    return false;
  }
  if (value >= 9e18 || (kind == OPTION_COUNT && value != (double)(uint64_t)value)) return false;
  *result = (uint64_t)value;
  return true;
}

static bool flag(const char *text, bool *result) {
  static const char *const yes[] = { "yes", "true", "on", "1" }, *const no[] = { "no", "false",
                                                                                 "off", "0" };
  for (int i = 0; i < 4; i++) {
    if (strcmp(text, yes[i]) == 0) {
      *result = true;
      return true;
    }
    if (strcmp(text, no[i]) == 0) {
      *result = false;
      return true;
    }
  }
  return false;
}

/* Set one option from text; `from` says where the text stands, `place` which of the four places
** that is. */
static const char *values_of(int kind) {
  switch (kind) {
    case OPTION_FLAG: return "yes or no";
    case OPTION_SIZE: return "a size such as 64M";
    case OPTION_TIME: return "seconds, or 250ms";
    default: return "a whole number";
  }
}

enum place { DEFAULT, CONFIG, ENVIRONMENT, ARGUMENTS };
static bool set(option_table *table, const option_row *row, const char *text, const char *from,
                enum place place) {
  static const char *const places[] = { NULL, "config", "environment", "arguments" };
  const char **given_by = &table->given_by[row - table->rows], *before = *given_by;
  uint64_t value;
  *given_by = places[place];
  switch (row->kind) {
    case OPTION_TEXT: set_text(row->target, text); return true;
    case OPTION_LIST:
      add_text(row->target, text, place != DEFAULT && before == places[place]);
      return true;
    case OPTION_FLAG:
      if (flag(text, row->target)) return true;
      break;
    default:
      if (!number(text, row->kind, &value)) break;
      if (value < row->least || value > row->most) {
        fprintf(stderr, "%s: %s: %s is out of range for %s\n", table->program, from, text,
                row->name);
        return false;
      }
      *(uint64_t *)row->target = value;
      return true;
  }
  fprintf(stderr, "%s: %s: \"%s\" is not a value for %s (%s)\n", table->program, from, text,
          row->name, values_of(row->kind));
  return false;
}

static const option_row *find(const option_table *table, const char *name, size_t size) {
  for (int i = 0; i < table->count; i++) {
    const option_row *row = &table->rows[i];
    if (strlen(row->name) == size && memcmp(row->name, name, size) == 0) return row;
  }
  return NULL;
}

/* The option's name that is nearest to what was written, for the sentence that refuses it. */
static const char *nearest_option(const option_table *table, const char *name, size_t size) {
  static char names[32 * OPTION_ROWS], found[64];
  const char *nearest;
  names[0] = 0;
  for (int i = 0; i < table->count; i++) {
    if (i > 0) strcat(names, " ");
    strncat(names, table->rows[i].name, 30);
  }
  nearest = name_nearest(names, maph_bytes(name, size));
  snprintf(found, sizeof found, "%.*s", (int)strcspn(nearest, " "), nearest);
  return found;
}

static void variable_of(const option_table *table, const char *option, char room[96]) {
  int at = snprintf(room, 96, "%s%s", table->variable, option);
  for (int k = (int)strlen(table->variable); k < at && k < 95; k++)
    room[k] = room[k] == '-' ? '_' : (char)toupper((unsigned char)room[k]);
}

/* MAPH_TOKEN instead of MAPH_TOKENS would be a server that asks nobody for a token. */
static bool variable_known(const option_table *table, const char *text) {
  char name[64], variable[96];
  size_t size = strcspn(text, "="), begins = strlen(table->variable), k;
  if (table->foreign && table->foreign(text + begins, size - begins)) return true;
  for (k = 0; k < size - begins && k + 1 < sizeof name; k++) {
    char c = text[begins + k];
    name[k] = c == '_' ? '-' : (char)tolower((unsigned char)c);
  }
  variable_of(table, nearest_option(table, name, k), variable);
  if (strlen(variable) == size && memcmp(variable, text, size) == 0) return true;
  fprintf(stderr, "%s: there is no option %.*s; the nearest is %s\n", table->program, (int)size,
          text, variable);
  return false;
}

static bool read_environment(option_table *table) {
  size_t begins = strlen(table->variable);
  for (char **at = environ; *at; at++) {
    if (strncmp(*at, table->variable, begins) == 0 && !variable_known(table, *at)) return false;
  }
  for (int i = 0; i < table->count; i++) {
    char name[96];
    const char *value;
    variable_of(table, table->rows[i].name, name);
    value = getenv(name);
    if (value && !set(table, &table->rows[i], value, name, ENVIRONMENT)) return false;
  }
  return true;
}

static char *trim(char *text) {
  char *end = text + strlen(text);
  while (end > text && isspace((unsigned char)end[-1])) *--end = 0;
  while (isspace((unsigned char)*text)) text++;
  return text;
}

static bool read_line(option_table *table, char *line, const char *place) {
  char *name = trim(line), *equals = strchr(name, '=');
  const option_row *row;
  if (*name == 0 || *name == '#') return true;
  if (equals) *equals = 0;
  name = trim(name);
  row = find(table, name, strlen(name));
  if (row == NULL) {
    fprintf(stderr, "%s: %s: \"%s\" is not an option; the nearest is %s\n", table->program, place,
            name, nearest_option(table, name, strlen(name)));
    return false;
  }
  if (row->target == table->config || (equals == NULL && row->kind != OPTION_FLAG)) {
    fprintf(stderr, "%s: %s: \"%s\" is not an option with a value\n", table->program, place, name);
    return false;
  }
  return set(table, row, equals ? trim(equals + 1) : "yes", place, CONFIG);
}

static bool read_config(option_table *table, const char *path) {
  char line[4096], place[600];
  FILE *file = fopen(path, "re");
  bool ok = true;
  if (file == NULL) {
    fprintf(stderr, "%s: cannot read %s: %s\n", table->program, path, strerror(errno));
    return false;
  }
  for (int number_of_line = 1; ok && fgets(line, sizeof line, file); number_of_line++) {
    snprintf(place, sizeof place, "%.500s line %d", path, number_of_line);
    ok = read_line(table, line, place);
  }
  fclose(file);
  return ok;
}

void option_help(const option_row *row) {
  char left[64];
  snprintf(left, sizeof left, "--%s%s%s", row->name, row->placeholder ? " " : "",
           row->placeholder ? row->placeholder : "");
  printf("  %-28s %s", left, row->help);
  if (row->kind != OPTION_FLAG && row->standard && row->standard[0]) printf(" [%s]", row->standard);
  printf("\n");
}

/* What is no option.  False: there is no place for it. */
static bool take_word(option_table *table, const char *word) {
  if (table->words == NULL) return false;
  if (table->words_count < table->words_most) {
    table->words[table->words_count++] = word;
    return true;
  }
  fprintf(stderr, "%s: \"%s\" is one argument too many\n", table->program, word);
  return false;
}

static int no_option(const option_table *table, const char *name) {
  size_t size = strcspn(name, "="), dashes = strspn(name, "-");
  if (dashes > size) dashes = size;
  fprintf(stderr, "%s: there is no option %.*s; the nearest is --%s; see %s --help\n",
          table->program, (int)size, name, nearest_option(table, name + dashes, size - dashes),
          table->program);
  return 3;
}

/* One pass over the arguments: `config_only` looks for --config, which must be known before the
** rest is read. */
static int read_arguments(option_table *table, int argc, char **argv, bool config_only) {
  bool words_alone = false;
  table->words_count = 0;
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i], *equals = strchr(name, '='), *value = NULL;
    const option_row *row = NULL;
    char place[80];
    if (table->words && (words_alone || name[0] != '-' || name[1] == 0)) {
      if (!take_word(table, name)) return 3;
      continue;
    }
    if (table->words && strcmp(name, "--") == 0) {
      words_alone = true;
      continue;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
      table->help();
      return 1;
    }
    if (strcmp(name, "--version") == 0) {
      printf("%s %s\n", table->program, maph_version());
      return 1;
    }
    if (strncmp(name, "--", 2) == 0)
      row = find(table, name + 2, equals ? (size_t)(equals - name - 2) : strlen(name + 2));
    if (row == NULL) return no_option(table, name);
    if (equals)
      value = equals + 1;
    else if (row->kind == OPTION_FLAG)
      value = "yes";
    else if (i + 1 < argc)
      value = argv[++i];
    else {
      fprintf(stderr, "%s: --%s needs a value: %s\n", table->program, row->name, row->placeholder);
      return 3;
    }
    if (config_only && row->target != table->config) continue;
    snprintf(place, sizeof place, "--%s", row->name);
    if (!set(table, row, value, place, ARGUMENTS)) return 3;
  }
  return 0;
}

int option_read(option_table *table, int argc, char **argv) {
  char variable[96];
  int rc;
  for (int i = 0; i < table->count; i++) {
    const option_row *row = &table->rows[i];
    if (row->standard && !set(table, row, row->standard, "default", DEFAULT)) return 3;
  }
  variable_of(table, "config", variable);
  set_text(table->config, getenv(variable));
  if ((rc = read_arguments(table, argc, argv, true)) != 0) return rc;
  if (*table->config && !read_config(table, *table->config)) return 3;
  if (!read_environment(table)) return 3;
  return read_arguments(table, argc, argv, false);
}
