/*
** command.c - the commands and their options, in two tables that the parser, the help and so the
** completion are made from.
**
** getopt_long does the parsing: options may stand anywhere, may be shortened while they are
** unambiguous, and -- ends them.  Its own messages are off, because they would print what was typed
** as it is.
*/
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include "cli.h"

enum { OPTIONS_MOST = 40, FIRST_LONG = 256 };
#define AT(field) offsetof(arguments, field)

static const option_entry option_entries[] = {
  { "json", 'j', FLAG, AT(json), NULL, 0, 0, "answer in JSON, one object a line" },
  { "escaped", 'e', FLAG, AT(escaped), NULL, 0, 0,
    "keys and PREFIX are given with the escapes that scan shows" },
  { "null", '0', FLAG, AT(null), NULL, 0, 0,
    "keys and values end with a NUL byte, and nothing is escaped" },
  { "raw", 'r', FLAG, AT(raw), NULL, 0, 0, "the bytes as they are, also to a terminal" },
  { "prefix", 'p', TEXT, AT(prefix), "PREFIX", 0, 0, "only keys that begin with PREFIX" },
  { "from", 0, TEXT, AT(from), "KEY", 0, 0, "only KEY and keys after it" },
  { "to", 0, TEXT, AT(to), "KEY", 0, 0, "only keys before KEY" },
  { "reverse", 0, FLAG, AT(reverse), NULL, 0, 0, "from the last key to the first" },
  { "sorted", 0, FLAG, AT(sorted), NULL, 0, 0, "in the order of the keys' bytes" },
  { "all", 0, FLAG, AT(all), NULL, 0, 0, "every key" },
  { "values", 'v', FLAG, AT(values), NULL, 0, 0, "each value too, behind a tab" },
  { "count", 'c', FLAG, AT(count), NULL, 0, 0, "only how many there are" },
  { "limit", 'n', COUNT, AT(limit), "N", 0, UINT64_MAX - 1, "stop after N" },
  { "file", 'f', TEXT, AT(file), "PATH", 0, 0,
    "the value is what is in the file PATH (-: standard input)" },
  { "ttl", 't', TIME, AT(ttl_ms), "TIME", 1, 100000000000000u,
    "expires after TIME: seconds, or 500ms 10m 12h 30d" },
  { "type", 0, CHOICE, AT(type), "blob|text|json|integer|real|null", 0, 0,
    "what SQL takes the value for; else text if it is UTF-8, or blob" },
  { "media-type", 0, TEXT, AT(media_type), "TYPE", 0, 0,
    "the Content-Type it has over HTTP, such as image/png" },
  { "if-absent", 0, FLAG, AT(if_absent), NULL, 0, 0, "put it only where no such key is" },
  { "if-present", 0, FLAG, AT(if_present), NULL, 0, 0, "put it only where the key is" },
  { "if-version", 0, COUNT, AT(if_version), "N", 0, UINT64_MAX - 1,
    "only if the key is at version N" },
  { "create", 0, FLAG, AT(create), NULL, 0, 0, "make the store if it is missing" },
  { "keys", 0, COUNT, AT(expect_keys), "N", 0, (uint64_t)1 << 40,
    "make a new store's index for N keys at once" },
  { "mode", 0, OCTAL, AT(mode), "MODE", 0, 0777,
    "permission bits of a new store, before umask: 0644" },
  { "sync", 0, CHOICE, AT(sync), "off|normal|full", 0, 0,
    "full: on disk when the command ends; else normal" },
  { "busy-timeout", 0, TIME, AT(busy_timeout_ms), "TIME", 0, INT_MAX,
    "how long to wait for another writer: 5" },
  { "format", 0, CHOICE, AT(format), "ndjson|csv|tsv|maph", 0, 0,
    "else by the name's ending, else ndjson" },
  { "no-header", 0, FLAG, AT(no_header), NULL, 0, 0,
    "CSV, TSV: no first line with the names of columns" },
  { "columns", 0, TEXT, AT(columns), "NAME,...", 0, 0, "CSV, TSV: which columns, in order" },
  { "key-column", 0, TEXT, AT(key_column), "NAME", 0, 0,
    "CSV, TSV: the column that is the key; else key" },
  { "value-column", 0, TEXT, AT(value_column), "NAME", 0, 0,
    "CSV, TSV: the column that is the value; else value, or the other columns as JSON" },
  { "batch", 0, COUNT, AT(batch), "N", 1, 1000000000, "entries a transaction: 10000" },
  { "atomic", 0, FLAG, AT(atomic), NULL, 0, 0, "all of it in one transaction, or nothing" },
  { "keep-going", 'k', FLAG, AT(keep_going), NULL, 0, 0,
    "leave out what is wrong, say so, and go on" },
  { "max-line", 0, SIZE, AT(max_line), "SIZE", 1, (uint64_t)1 << 40,
    "longest line or record to accept: 1G" },
  { "force", 0, FLAG, AT(force), NULL, 0, 0, "NDJSON, CSV, TSV: replace a file that is there" },
  { "perfect-hash", 0, CHOICE, AT(perfect_hash), "pilot|cmph", 0, 0, "which one: pilot" },
  { "since", 0, COUNT, AT(since), "VERSION", 0, UINT64_MAX - 1,
    "all that was committed after VERSION; 0: all there ever was; else from now on" },
  { "timeout", 0, TIME, AT(timeout_ms), "TIME", 0, INT_MAX, "end when nothing came for TIME" },
  { "time", 0, TIME, AT(time_ms), "TIME", 1, 3600000, "how long each measurement lasts: 1" },
  { "quiet", 'q', FLAG, AT(quiet), NULL, 0, 0, "no progress, no remarks; errors are still said" },
  { "help", 'h', FLAG, AT(help), NULL, 0, 0, "this" },
};
enum { OPTION_ENTRIES = sizeof option_entries / sizeof option_entries[0] };

const command commands[] = {
  { "create", command_create, "FILE", 1, 1, "keys mode", "make an empty store",
    "A store grows by itself; --keys only saves the growing. If FILE is there already, and not "
    "empty, nothing is changed and the exit status is 2.",
    "maph create cache.maph\n" },
  { "get", command_get, "FILE KEY", 2, 2, "escaped raw",
    "write the value of a key to standard output",
    "The bytes come out as they were put, with nothing added. On a terminal, bytes that could "
    "command it are shown as \\xHH; --raw "
    "shows them as they are. Exit status 1: there is no such key.",
    "maph get cache.maph hot_key\nmaph get --json cache.maph hot_key\nmaph get images.maph logo "
    ">logo.png\n" },
  { "set", command_set, "FILE KEY [VALUE]", 2, 3,
    "escaped file ttl type media-type if-absent if-present if-version create sync busy-timeout",
    "put a value from an argument, file or pipe",
    "Without VALUE and --file the value is what standard input gives until its end. Exit status 1: "
    "a condition (--if-...) did not "
    "hold, and nothing was written.",
    "maph set cache.maph hot_key value\nmaph set --ttl 30m sessions.maph alice '{\"cart\":[]}' "
    "--type json\ncurl -s example.org | maph set pages.maph example.org\n"
    "maph set --if-version 17 config.maph limits 250\n" },
  { "increment", command_increment, "FILE KEY [BY]", 2, 3, "escaped ttl create sync busy-timeout",
    "add to a counter, and write the sum",
    "The value is a whole number of 64 bits; a key that is not there counts from 0. BY is 1 if it "
    "is not given; one below 0 comes behind --. Of any number of programs that count at once none "
    "is lost.",
    "maph increment cache.maph visits\nmaph increment cache.maph stock -- -5\n" },
  { "del", command_del, "FILE [KEY...]", 1, INT_MAX,
    "prefix from to all escaped null if-version batch atomic sync busy-timeout",
    "delete keys, or a range of them",
    "Keys go in one transaction. Without KEY, prefix and bounds they are the lines of standard "
    "input. Exit status 1: some were not there; the others are deleted all the same.\n\n"
    "With a prefix or bounds the entries go that have such keys and were there when the command "
    "began, by transactions of 10000 (--batch); with --atomic in one. What others put meanwhile "
    "stays. A signal ends it between two keys: what was committed until then is gone, and the same "
    "command deletes the rest. `maph delete` is the same command.",
    "maph del cache.maph hot_key\nmaph del --prefix tmp: cache.maph\n"
    "maph del --from 2026-01 --to 2026-02 cache.maph\n"
    "maph scan -0 --prefix tmp: cache.maph | maph del -0 cache.maph\n" },
  { "mget", command_mget, "FILE [KEY...]", 1, INT_MAX, "escaped null",
    "the values of many keys, a line each",
    "Each answer is key, tab, value. Without KEY the keys are the lines of standard input, and "
    "each is answered as it comes. What would break a line is escaped, as scan "
    "does it; --json and --null give the bytes exactly. Keys that are missing are left out (with "
    "--json: \"found\":false), and the exit "
    "status is then 1. The values are of one moment.",
    "maph mget cache.maph a b c\nmaph mget --json cache.maph <wanted\n" },
  { "scan", command_scan, "FILE", 1, 1,
    "prefix from to reverse sorted escaped values count limit null", "list the keys",
    "Each key is listed once, as of one moment. Sorted, reversed, or where a prefix or a bound is "
    "given, they come in the order of their bytes, and only what is listed is read. Else they come "
    "in the order they were last put (in none, where `maph optimize` has frozen them), which is "
    "the "
    "fastest way through all. Bytes that would break a line or command a terminal are "
    "written \\t \\n \\r \\\\ \\xHH; the commands that take keys understand that with --escaped.",
    "maph scan cache.maph\nmaph scan --values --prefix user: cache.maph\n"
    "maph scan --from 2026-01 --to 2026-02 --reverse --limit 10 cache.maph\n"
    "maph scan --json --values cache.maph | jq .\n" },
  { "import", command_import, "FILE [SOURCE]", 1, 2,
    "format no-header columns key-column value-column batch atomic keep-going if-absent ttl "
    "max-line create keys mode sync busy-timeout",
    "put what NDJSON, CSV, TSV or a store holds",
    "SOURCE is a file, or - for standard input, which is read when there is none.\n\n"
    "  ndjson  a line is {\"key\":\"k\",\"value\":...}, as export and the server write it.\n"
    "          A value that is a string is its bytes; any other is kept as JSON.\n"
    "          Also \"encoding\":\"base64\", type, media_type, ttl (in seconds) and\n"
    "          expires_at (ms since 1970).\n"
    "  csv     RFC 4180. The first line names the columns: key, value and, when\n"
    "          wanted, type, media_type, expires_at, ttl, key_type. With no column\n"
    "          named value the row's other columns become one JSON object.\n"
    "  tsv     the same with tabs; \\t \\n \\r \\0 \\\\ \\xHH stand for what a field\n"
    "          cannot hold\n"
    "  maph    another store\n\n"
    "Entries are put in transactions of 10000 (--batch). Nothing is locked while it waits for "
    "input. A line that is wrong, or a signal, "
    "ends it: what was committed until then stays and is counted, the rest is not put. With "
    "--atomic nothing stays. From a file, or another store, into one that is not there yet "
    "(--create) all is put at once: it is seen when the import ends, and it is on disk then.",
    "maph import --create products.maph products.ndjson\nmaph import --key-column sku "
    "products.maph products.csv\nzcat dump.gz | maph import --atomic products.maph\n" },
  { "export", command_export, "FILE [TARGET]", 1, 2,
    "format prefix from to reverse sorted escaped no-header columns force",
    "write all as NDJSON, CSV, TSV or a store",
    "TARGET is a file, which appears whole or not at all, or - for standard output. The entries "
    "are of one moment, and import puts them back "
    "as they were: keys, bytes, types, expiry. Sorted, reversed, or where a prefix or a bound is "
    "given, they are in the order of their keys' bytes; a store written so has them in that order "
    "in its file too, and is the fastest to read in order. The columns of CSV and TSV are key, "
    "value, type, "
    "media_type, expires_at, key_type; "
    "--columns chooses from these, version and size.",
    "maph export products.maph products.ndjson\nmaph export --format csv --columns key,value "
    "products.maph\nmaph export products.maph copy.maph\n"
    "maph export --sorted products.maph products.ndjson\n"
    "maph export --from 2026-01 --to 2026-02 cache.maph january.csv\n" },
  { "stats", command_stats, "FILE", 1, 1, "", "what is in the file, as a picture",
    "Live are the records that a get can find; dead are overwritten and deleted ones, which `maph "
    "compact` gives back; room is space "
    "the file has set aside to grow into. Expired entries count as live until a write, or compact, "
    "meets them.",
    "maph stats cache.maph\nmaph stats --json cache.maph\n" },
  { "check", command_check, "FILE", 1, 1, "", "read everything and report what is wrong",
    "Every record, checksum, transaction and index slot is looked at, as of one moment, while "
    "others may write. It changes nothing. Exit "
    "status 2: something is wrong, and each finding is a line with its place in the file.",
    "maph check cache.maph\n" },
  { "recover", command_recover, "FILE", 1, 1, "", "make a damaged store usable again",
    "What a power loss left is repaired in place, as the first write would do it. From a damaged "
    "file every whole transaction that can be read "
    "is saved into a new file, which takes its place; the damaged one stays beside it as "
    "FILE.damaged. A sound store is left "
    "as it is. No other process may have the store open for writing. Ctrl-C leaves the store as it "
    "was, or repaired in place.",
    "maph recover cache.maph\n" },
  { "compact", command_compact, "FILE", 1, 1, "busy-timeout",
    "give back the room of what was overwritten",
    "A new file is written beside the old one and takes its name. Others read and write meanwhile, "
    "and are moved to the new one. "
    "Entries that expired are deleted first. On a full disk: delete, then compact; both have room "
    "that puts leave. Ctrl-C leaves everything as it was.",
    "maph compact cache.maph\n" },
  { "optimize", command_optimize, "FILE", 1, 1, "perfect-hash busy-timeout",
    "compact, and put keys under a perfect hash",
    "Reading becomes faster and the index smaller. The store stays writable: what is put later is "
    "found through the ordinary index, until the "
    "next optimize. Others read and write meanwhile. Ctrl-C leaves everything as it was.",
    "maph optimize products.maph\n" },
  { "backup", command_backup, "FILE TARGET", 2, 2, "busy-timeout",
    "a compact, verified copy of the store",
    "The copy is of one moment; others read and write meanwhile. Nothing may be at TARGET yet, and "
    "what is there at the end is whole.",
    "maph backup cache.maph /backup/cache-$(date +%F).maph\n" },
  { "replace", command_replace, "FILE WITH", 2, 2, "busy-timeout",
    "put a prebuilt store in another's place",
    "The store WITH takes the name FILE, whole or not at all; it has to be in the same file "
    "system, "
    "and nobody may have it open for writing. Whoever has FILE open, in any process, is moved to "
    "it "
    "at the next call. What was written to the store replaced is gone with it: back it up first if "
    "it is wanted. FILE may be damaged.",
    "maph backup products.maph next.maph\nmaph optimize next.maph\n"
    "maph replace products.maph next.maph\n" },
  { "watch", command_watch, "FILE", 1, 1, "since prefix escaped values limit timeout",
    "follow the changes, whoever makes them",
    "Each put and delete is a line as soon as it is committed: put or del, the version, the key "
    "and with --values the value, between tabs, "
    "escaped as scan does it. With --json the last change of a transaction has \"last\":true: its "
    "version is a place to go on from with --since.",
    "maph watch cache.maph\nmaph watch --json --values --since 1234 cache.maph\n" },
  { "bench", command_bench, "FILE", 1, 1, "time", "how fast this store answers on this machine",
    "Measures gets of keys in random order, misses, get_many and a scan, in one thread, changing "
    "nothing. The keys are a sample of at "
    "most 100000. The first round brings their pages into memory and is not counted: these are "
    "figures of a warm cache.",
    "maph bench cache.maph\n" },
  { NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL }
};

const command *command_find(const char *name) {
  if (strcmp(name, "delete") == 0) name = "del";
  for (const command *command = commands; command->name; command++)
    if (strcmp(command->name, name) == 0) return command;
  return NULL;
}

/* How many letters to change, add or leave out to make b of a. */
static size_t distance(const char *a, const char *b) {
  enum { MOST = 16 };
  size_t cost[MOST + 1], n = strlen(b);
  if (strlen(a) > MOST || n > MOST) return MOST;
  for (size_t j = 0; j <= n; j++) cost[j] = j;
  for (; *a; a++) {
    size_t diagonal = cost[0]++;
    for (size_t j = 1; j <= n; j++) {
      size_t changed = diagonal + (*a != b[j - 1]),
             least = cost[j] < cost[j - 1] ? cost[j] + 1 : cost[j - 1] + 1;
      diagonal = cost[j];
      cost[j] = changed < least ? changed : least;
    }
  }
  return cost[n];
}

const char *command_like(const char *name) {
  static const char *const other[][2] = {
    { "put", "set" },        { "remove", "del" },    { "erase", "del" },
    { "rm", "del" },         { "list", "scan" },     { "ls", "scan" },
    { "keys", "scan" },      { "stat", "stats" },    { "info", "stats" },
    { "dump", "export" },    { "load", "import" },   { "repair", "recover" },
    { "verify", "check" },   { "new", "create" },    { "init", "create" },
    { "vacuum", "compact" }, { "copy", "backup" },   { "changes", "watch" },
    { "follow", "watch" },   { "mv", "replace" },    { "rename", "replace" },
    { "incr", "increment" }, { "add", "increment" },
  };
  const char *best = NULL;
  size_t least = 3;
  for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
    if (strcmp(name, other[i][0]) == 0 && command_find(other[i][1])) return other[i][1];
  }
  for (const command *command = commands; command->name; command++) {
    size_t d = distance(name, command->name);
    if (d < least) {
      least = d;
      best = command->name;
    }
  }
  return best;
}

/* -------------------------------------------------------------------------------------- parsing */
const option_entry *option_named(const char *name, size_t size) {
  for (int i = 0; i < OPTION_ENTRIES; i++) {
    if (strlen(option_entries[i].name) == size && memcmp(option_entries[i].name, name, size) == 0)
      return &option_entries[i];
  }
  return NULL;
}

/* The options of a command as getopt_long wants them; val is FIRST_LONG plus the place in
** option_entries. */
static void options_of(const command *command, struct option *longs, char *letters) {
  const char *lists[] = { command->options, "json quiet help" };
  int n = 0;
  *letters++ = ':';
  for (int k = 0; k < 2; k++) {
    for (const char *p = lists[k]; *p && n < OPTIONS_MOST - 1; p += strspn(p, " ")) {
      size_t size = strcspn(p, " ");
      const option_entry *option = option_named(p, size);
      p += size;
      longs[n++] =
          (struct option){ option->name, option->kind == FLAG ? no_argument : required_argument,
                           NULL, FIRST_LONG + (int)(option - option_entries) };
      if (option->letter) *letters++ = option->letter;
      if (option->letter && option->kind != FLAG) *letters++ = ':';
    }
  }
  longs[n] = (struct option){ NULL, 0, NULL, 0 };
  *letters = 0;
}

static bool one_of(const char *text, const char *choices) {
  size_t size = strlen(text);
  for (const char *p = choices; *p; p += strspn(p, "|")) {
    size_t n = strcspn(p, "|");
    if (n == size && memcmp(p, text, n) == 0) return true;
    p += n;
  }
  return false;
}

static bool set_option(const option_entry *option, char *text, arguments *args) {
  static const char *const examples[] = { [COUNT] = "a whole number",
                                          [SIZE] = "a size such as 64M",
                                          [TIME] = "a time such as 30, 500ms or 2h",
                                          [OCTAL] = "permission bits such as 0640" };
  void *target = (char *)args + option->offset;
  uint64_t number;
  switch (option->kind) {
    case FLAG: *(bool *)target = true; return true;
    case TEXT: *(char **)target = text; return true;
    case CHOICE:
      if (!one_of(text, option->placeholder)) {
        complain("--%s %s: it is one of %s", option->name, text, option->placeholder);
        return false;
      }
      *(char **)target = text;
      return true;
    default:
      if (!number_parse(text, option->kind, &number)) {
        complain("--%s %s: that is not %s", option->name, text, examples[option->kind]);
        return false;
      }
      if (number < option->least || number > option->most) {
        complain("--%s %s: out of range", option->name, text);
        return false;
      }
      *(uint64_t *)target = number;
      return true;
  }
}

static const option_entry *option_of(int value) {
  if (value >= FIRST_LONG) return &option_entries[value - FIRST_LONG];
  for (int i = 0; i < OPTION_ENTRIES; i++)
    if (option_entries[i].letter == value) return &option_entries[i];
  return NULL;
}

/* What getopt_long did not like.  optopt is the letter, or 0 or a value of ours for a long
** option. */
static bool unknown_option(const command *command, char **argv, int answer) {
  if (answer == ':')
    complain("%s %s needs a value; see maph %s --help", command->name, argv[optind - 1],
             command->name);
  else if (optopt >= FIRST_LONG)
    complain("%s --%s takes no value", command->name, option_entries[optopt - FIRST_LONG].name);
  else if (optopt)
    complain(
        "%s has no option -%c (write -- before what begins with - and is none); see maph %s --help",
        command->name, optopt, command->name);
  else
    complain(
        "%s has no option %s (write -- before what begins with - and is none); see maph %s --help",
        command->name, argv[optind - 1], command->name);
  return false;
}

bool arguments_parse(const command *command, int argc, char **argv, arguments *args) {
  struct option longs[OPTIONS_MOST];
  char letters[3 * OPTIONS_MOST + 2];
  int answer;
  memset(args, 0, sizeof *args);
  args->if_version = args->ttl_ms = args->limit = args->expect_keys = args->mode = args->since =
      args->timeout_ms = NOT_GIVEN;
  args->batch = BATCH;
  args->max_line = (uint64_t)1 << 30;
  args->busy_timeout_ms = 5000;
  args->time_ms = 1000;
  options_of(command, longs, letters);
  opterr = 0;
  while ((answer = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
    const option_entry *option;
    if (answer == '?' || answer == ':') return unknown_option(command, argv, answer);
    option = option_of(answer);
    if (!set_option(option, optarg, args)) return false;
  }
  args->operand = argv + optind;
  args->operands = argc - optind;
  if (args->help) return true;
  if (args->operands < command->least || args->operands > command->most) {
    complain("%s: usage: maph %s [OPTION...] %s; see maph %s --help",
             args->operands < command->least ? "something is missing" : "too much is given",
             command->name, command->operands, command->name);
    return false;
  }
  return true;
}
