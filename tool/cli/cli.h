/*
** cli.h - what the files of the program maph know of each other.
**
** The layers, each calling only downwards:
**
**     main                        descriptors, signals, which command
**     keys scan import export stats check rewrite watch bench     the commands
**     command help  one table of commands and one of options: parsing, help and completion come
**       from it
**     store                       opening, and what to say when the store fails
**     row columns ndjson csv form an entry to be put, and the formats it is read from
**     output input  standard output or a file; bytes, lines and fields in bounded memory
**     beside                      a file that appears whole or not at all
**     progress message            the terminal
**     stop text                   signals; escapes, numbers
**
** A command returns DONE, MISSING or FAILED, which is the exit status; whoever returns FAILED has
** said why on standard error.
*/
#ifndef MAPH_CLI_H
#define MAPH_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "entry/entry.h"
#include "entry/shown.h"
#include "entry/utf8.h"
#include "maph.h"

enum status { DONE = 0, MISSING = 1, FAILED = 2 };
#define NOT_GIVEN UINT64_MAX

/* --------------------------------------------------------------- Interface to code in command.c */
typedef struct arguments {
  char **operand; /* FILE first */
  int operands;
  bool help, json, quiet, escaped, null, raw, values, count, create, force, if_absent, if_present,
      no_header, atomic, keep_going, reverse, sorted, all;
  char *file, *prefix, *from, *to, *type, *media_type, *sync, *format, *columns, *key_column,
      *value_column, *perfect_hash;
  uint64_t if_version, since, ttl_ms, limit, batch, max_line, expect_keys, mode, busy_timeout_ms,
      timeout_ms, time_ms;
} arguments;

typedef struct command {
  const char *name;
  int (*run)(arguments *arguments);
  const char *operands; /* as the usage line shows them */
  int least, most;      /* how many */
  const char *options;  /* names, separated by spaces */
  const char *summary;  /* one line for the overview */
  const char *text;     /* what its own help says */
  const char *examples;
} command;

enum kind { FLAG, TEXT, CHOICE, COUNT, SIZE, TIME, OCTAL };
enum { BATCH = 10000 }; /* entries in a transaction of import */

typedef struct option_entry {
  const char *name;
  char letter; /* 0: none */
  enum kind kind;
  size_t offset;           /* in arguments */
  const char *placeholder; /* of a CHOICE: the words, separated by | */
  uint64_t least, most;
  const char *help;
} option_entry;

extern const command commands[]; /* ends with name NULL */
const command *command_find(const char *name);
/* what somebody who typed that may have meant; NULL */
const char *command_like(const char *name);
const option_entry *option_named(const char *name, size_t size);
/* argv[0] is the command; false: said why */
bool arguments_parse(const command *command, int argc, char **argv, arguments *args);

/* ------------------------------------------------------------------ Interface to code in help.c */
int help_overview(void);
int help_command(const command *command);

/* ----------------------------------------------------------------- the commands, by their files */
int command_create(arguments *args);
int command_get(arguments *args);
int command_set(arguments *args);
int command_increment(arguments *args);
int command_del(arguments *args);
int command_mget(arguments *args);
int command_scan(arguments *args);
int command_import(arguments *args);
int command_export(arguments *args);
int command_stats(arguments *args);
int command_check(arguments *args);
int command_recover(arguments *args);
int command_compact(arguments *args);
int command_optimize(arguments *args);
int command_backup(arguments *args);
int command_replace(arguments *args);
int command_watch(arguments *args);
int command_bench(arguments *args);

/* ----------------------------------------------------------------- Interface to code in store.c */
bool store_path(const char *path); /* may it be that of a store?  false: said why */
/* MAPH_RDONLY ...; reads verify checksums.  NULL: said why */
maph *store_open(const arguments *args, const char *path, int flags);
/* the same for writing, by calls that themselves wait for other writers */
maph *store_open_to_rewrite(const arguments *args, const char *path);
/* for writing; with --create; made: it was not there */
maph *store_open_or_make(const arguments *args, const char *path, bool *made);
/* a store that is not there yet, to be made at once.  *load NULL: it is there.  False: said why */
bool store_load(const arguments *args, const char *path, maph_load **load);
/* Of store_open's handle.  Waiting for another writer ends when the program is told to stop, and
** then nothing is committed. */
maph_txn *store_begin(const arguments *args, maph *m, const char *path); /* NULL: said why */
int store_commit(maph_txn *txn); /* ends it; CANCELLED: told to stop */
bool store_is_new(maph *m);      /* has nobody ever put anything there? */
/* say what the library said of its last failure; FAILED */
int store_failed(const char *path, int rc);
/* status, or FAILED when closing failed */
int store_close(maph *m, const char *path, int status);
int durability(const arguments *args); /* MAPH_SYNC_* of --sync */
/* --format, or what the name ends in */
const char *format_of(const arguments *args, const char *path);
bool prefix_from(arguments *args, maph_slice *prefix); /* --prefix; false: said why */
/* the same of --from, --to; data NULL: not given */
bool bounds_from(arguments *args, maph_slice *from, maph_slice *to);
bool same_file(const char *path, int fd); /* is fd the file at path? */

/* --------------------------------------------------------------- Interface to code in removal.c */
int delete_range(arguments *args); /* del with --prefix, --from, --to or --all */

/* ---------------------------------------------------------------- Interface to code in source.c */
typedef struct source {
  maph_cursor *any; /* one of these two */
  maph_range_cursor *ordered;
} source;
bool source_ordered(const arguments *args);            /* asked for in key order? */
bool source_bounded(const arguments *args);            /* asked for in part? */
bool source_range(arguments *args, maph_range *range); /* false: said why */
/* snapshot NULL: one of its own.  Ends with source_close, whatever it answers */
int source_open(const arguments *args, maph *m, maph_snapshot *snapshot, const maph_range *range,
                source *source);
int source_next(source *source, maph_entry *entry); /* NOTFOUND at the end */
void source_close(source *source);

/* ------------------------------------------------------------------- Interface to code in row.c */
/* An entry to be put, with its bytes in an arena. */
typedef struct row {
  maph_slice key, value, media_type;
  uint64_t expires;
  int type, key_type, when; /* when: MAPH_ALWAYS ... */
} row;
const char *row_check(const row *row);           /* NULL, or what is wrong with it */
const char *row_ttl(uint64_t seconds, row *row); /* the same */
uint64_t wall_ms(void);
uint64_t steady_ms(void); /* of a clock that nobody sets */

/* ---------------------------------------------------------------- Interface to code in ndjson.c */
/* One line of NDJSON.  NULL, or what is wrong with it. */
const char *ndjson_row(maph_slice line, arena *arena, row *row, char room[JSON_SENTENCE_ROOM]);

/* ---------------------------------------------------------------- Interface to code in beside.c */
typedef struct beside {
  char *target, *path; /* path: TARGET.maph-part, until it took its name */
  /* TARGET.maph-part.store, for a store that goes when the file is dropped */
  char *store;
  int fd;
} beside;
bool beside_open(beside *beside, const char *target); /* a new, empty file; false: said why */
bool beside_take_name(beside *beside, bool replace);  /* false: said why */
void beside_drop(beside *beside);                     /* close, and remove what took no name */

/* ---------------------------------------------------------------- Interface to code in output.c */
/* Errors stick: check output_end, or `failed` to stop early. */
typedef struct output {
  int fd;
  bool failed, terminal;
  char *path;  /* NULL: standard output */
  beside file; /* one that is to appear whole */
  bool replace;
  size_t size;
  char bytes[65536];
} output;

extern output standard_output;
void output_start(void);                                       /* standard output */
bool output_open(output *out, const char *path, bool replace); /* false: said why */
void output_bytes(output *out, const void *data, size_t size);
void output_text(output *out, const char *text);
void output_format(output *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void output_number(output *out, uint64_t number);
/* Text in lines of at most width columns, and a line end; the first goes on at column `at`, the
** others are indented.  A line of the text that begins with a space stays as it is. */
void output_wrapped(output *out, const char *text, size_t width, size_t indent, size_t at);
void output_flush(output *out);
/* has who read it gone?  Says so, and it has failed */
bool output_abandoned(output *out);
/* flush, and give a file its name; false: said why, no file is left */
bool output_end(output *out);
void output_drop(output *out); /* forget the file */

/* \t \n \r \\ \xHH, a U+FEFF at the beginning too; the rest as it is */
void output_escaped(output *out, maph_slice bytes);
/* for a terminal: lines and tabs as they are, nothing that commands it */
void output_shown(output *out, maph_slice bytes);
/* as they are; to a terminal as output_shown */
void output_exact(output *out, maph_slice bytes);
/* Begin JSON, which any json_write_ and entry_write_ goes on with and json_write_end ends. */
void output_json(output *o, json_writer *out);
/* {...} and a line end */
void output_json_entry(output *out, const maph_entry *entry, bool with_value);
/* "name":"text", or "name":"base64","encoding_name":"base64" where the bytes are not UTF-8. */
void output_json_bytes(output *out, const char *name, const char *encoding_name, maph_slice bytes);
void output_csv_field(output *out, maph_slice field);

/* ----------------------------------------------------------------- Interface to code in input.c */
typedef struct input {
  int fd;
  const char *name;            /* for messages */
  char *data;                  /* bytes read and not yet taken: [at, end) */
  size_t at, end, room, most;  /* most: longest line or record */
  uint64_t taken, total, line; /* bytes taken so far; of the whole, 0: not known; lines taken */
  bool ended, failed;
  bool too_long;    /* what begins at `at` is longer than `most`; not yet said */
  bool keeps_going; /* a mistake in a line is said and counted, and the line left out */
  uint64_t wrong;   /* lines with mistakes */
  /* Called once, when nothing has come for INPUT_PAUSE_MS; false: said why it cannot go on. */
  bool (*pauses)(void *whose);
  void *whose;
} input;
enum { INPUT_PAUSE_MS = 2000 };

/* TAKE_WRONG: the line had a mistake and is left out; said why */
enum taken { TAKEN, AT_END, TAKE_FAILED, TAKE_WRONG };
bool input_open(input *in, const char *path,
                size_t most); /* "-" is standard input; false: said why */
void input_close(input *in);
/* The next line without its newline, or up to a NUL byte; valid until the next call.  Failing says
** why, with the line. */
enum taken input_line(input *in, char separator, maph_slice *line);
/* more bytes behind [at, end); false at the end, when it failed or it is too long */
bool input_fill(input *in);
/* Say what is wrong with the line of that number: TAKE_WRONG, or TAKE_FAILED if that is the end. */
enum taken input_wrong(input *in, uint64_t line, const char *mistake);
/* The same, of the line that begins at `at`, which is then left out. */
enum taken input_wrong_here(input *in, const char *mistake);
/* The same, because it is too long. */
enum taken input_too_long(input *in);
/* everything; false: said why */
bool input_all(input *in, size_t most, maph_slice *bytes);

/* ------------------------------------------------------------------- Interface to code in csv.c */
typedef struct record {
  maph_slice *field;
  size_t fields, room;
  uint64_t line; /* where it begins */
} record;
/* RFC 4180; failing says why, with the line */
enum taken csv_record(input *in, record *record);
/* fields with the escapes of output_escaped */
enum taken tsv_record(input *in, record *record);
void record_free(record *record);

/* --------------------------------------------------------------- Interface to code in columns.c */
/* Zeroed until it is planned. */
typedef struct column_plan {
  const arguments *args;
  const char *source;  /* for messages */
  struct column *list; /* each with its name and its meaning */
  size_t count, room;
} column_plan;
enum { COLUMNS_SENTENCE_ROOM = 128 };
/* What each column means, by the names in the header or of --columns; header NULL: there is none.
** False: said why */
bool columns_plan(column_plan *columns, const arguments *args, const char *source,
                  const record *header);
/* A record as a row, with its bytes in the arena.  NULL, or what is wrong with it. */
const char *columns_row(const column_plan *columns, const record *rec, arena *arena, row *row,
                        char room[COLUMNS_SENTENCE_ROOM]);
void columns_free(column_plan *columns);

/* ------------------------------------------------------------------ Interface to code in form.c */
/* What a file that begins so is, where that is no text to import, and what to do; NULL: it may
** be. */
const char *form_of(maph_slice head);
/* the same of text that is of another format than asked for */
const char *form_of_text(const char *format, maph_slice head);
enum { FORM_SIZE = 262 }; /* bytes of the beginning that may tell */

/* -------------------------------------------------------------- Interface to code in progress.c */
/* A bar on standard error, when that is a terminal. */
void progress_start(const arguments *args, const char *verb);
enum amount { NUMBER, BYTES, NO_AMOUNT }; /* what is shown beside the bar */
/* total 0: not known */
void progress_show(uint64_t done, uint64_t total, enum amount amount);
/* a maph_progress_fn: nonzero when told to stop */
int progress_callback(void *none, const char *phase, uint64_t done, uint64_t total);
void progress_end(void);       /* take it away */
size_t terminal_width(int fd); /* in columns; 80 when it is no terminal */

/* --------------------------------------------------------------- Interface to code in message.c */
int complain(const char *format, ...)
    __attribute__((format(printf, 1, 2))); /* "maph: ..." on standard error; FAILED */
/* the same, but for --quiet */
void note(const arguments *args, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* that standard input is waited for, when it is a terminal */
void note_typing(const arguments *args, const char *what);
const char *bytes_for_people(uint64_t bytes, char room[32]);           /* "1.2 GB" */
const char *count_for_people(uint64_t count, char room[32]);           /* "1,234,567" */
const char *count_of(uint64_t count, const char *what, char room[40]); /* "1 key", "2 keys" */

/* ------------------------------------------------------------------ Interface to code in stop.c */
void stop_start(void);
int stop_asked(void); /* the signal that asks to stop; 0: none */
/* Nobody reads what is written any more: stop without a word.  False: that is to be said. */
bool stop_at_closed_pipe(void);
/* a second signal removes this file on its way out; NULL: none */
void stop_removes(const char *path);
bool stop_wait_readable(int fd); /* false: told to stop while waiting */
int stop_status(int status);     /* told to stop: end as that signal ends a program */
/* somebody shortened a mapped file: what was read since is not to be believed */
bool file_cut_short(void);
enum { FILE_CUT_SHORT = -1 }; /* for store_failed: every call succeeded, and yet that happened */

/* ------------------------------------------------------------------ Interface to code in text.c */
/* what SHOWN_EXACT wrote; in place is fine.  NULL, or what is wrong */
const char *unescape(maph_slice from, char *to, size_t *size);
bool number_parse(const char *text, enum kind kind, uint64_t *number);

#endif
