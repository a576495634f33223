/*
** server.h - what the files of maph-server know of each other.
**
** The layers, each calling only downwards:
**
**     main                    start, signals, drain
**     routes                  which handler answers which path and method
**     keys stores batch list transfer changes jobs metrics openapi page   the handlers
**     commit store            how a write reaches a store; the stores that are open
**     reply                   answers, problem+json, the table from maph's codes to HTTP's
**     sentence                the core's sentences without the folders' paths
**     operation               one get, put or delete as JSON
**     guard auth rate uri     what is refused before any handler runs; strict percent-decoding
**     body websocket http     request bodies; frames; http.c alone knows civetweb
**     buffer json options log
**
** One request is one thread's from begin to end.  Worker threads have 100 KB of stack: whatever is
** larger than a few KB lives in the connection's buffers, which are kept from request to request.
*/
#ifndef MAPH_SERVER_H
#define MAPH_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include "maph.h"

/* ---------------------------------------------------------------- Interface to code in buffer.c */
/* Bytes that grow.  After an allocation failed `failed` stays set and appends do nothing: check it
** once, at the end. */
typedef struct buffer {
  char *data;
  size_t size, capacity;
  bool failed;
} buffer;

bool buffer_reserve(buffer *b, size_t more); /* room for that many more bytes */
void buffer_append(buffer *b, const void *data, size_t size);
void buffer_text(buffer *b, const char *text);
void buffer_number(buffer *b, uint64_t number);
void buffer_printf(buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* empty it; give memory above that size back */
void buffer_reset(buffer *b, size_t keep_at_most);
void buffer_free(buffer *b);

/* ------------------------------------------------------------------ Interface to code in json.c */
bool utf8_valid(const void *data, size_t size);
void emit_string(buffer *b, const void *utf8, size_t size); /* "..." escaped */
/* the same without the quotes, also of a part */
void emit_escaped(buffer *b, const void *utf8, size_t size);
/* "name":"text", or "name":"base64","encoding_name":"base64" where the bytes are not UTF-8. */
void emit_bytes(buffer *b, const char *name, const char *encoding_name, maph_slice bytes);
/* the members, without braces */
void emit_entry(buffer *b, const maph_entry *entry, bool with_value);
/* standard or url alphabet; SIZE_MAX: not base64 */
size_t base64_decode(const char *text, size_t size, void *out);
void emit_base64(buffer *b, const void *data, size_t size);
void emit_base64url(buffer *b, const void *data, size_t size);

/* Reading: blanks are skipped before each thing, and after a mistake nothing is read.  `mistake`
** says what is wrong at p. */
typedef struct json_reader {
  const char *p, *end, *mistake;
} json_reader;
bool reader_next(json_reader *r, char c);   /* take c if it is next */
bool reader_expect(json_reader *r, char c); /* it must be */
bool reader_end(json_reader *r);            /* nothing more may come */
/* any value: its text, with lists in it at most that deep */
bool reader_value(json_reader *r, int depth, maph_slice *text);
/* a string: its text with the quotes */
bool reader_string(json_reader *r, maph_slice *text);
/* what a string that was read means, without its quotes: not more than its size */
size_t reader_unescape(maph_slice inner, char *out);
/* a value that was read without the blanks between its tokens; out may be the text */
size_t reader_squeeze(maph_slice text, char *out);
/* checked before a recursive parser sees it */
bool json_depth_within(const char *text, size_t size, int depth);
const char *type_name(int type);            /* MAPH_TEXT -> "text" */
int type_from_name(const char *name);       /* -1: no such type */
const char *perfect_name(int perfect_hash); /* MAPH_PERFECT_PILOT -> "pilot"; 0: "none" */

/* --------------------------------------------------------------- Interface to code in options.c */
typedef struct options {
  char *data, *listen, *config, *host, *origin, *access_log, *spool, *tokens, *sync, *backups;
  uint64_t threads, watchers, rate, max_body, max_batch, spool_above, memory;
  uint64_t request_timeout_ms, idle_timeout_ms, body_timeout_ms, busy_timeout_ms, drain_timeout_ms,
      heartbeat_ms;
  uint64_t auto_compact, auto_compact_above;
  bool read_only, open_to_network, conditional;
} options;
extern options option;

/* Fill `option` from the defaults, the config file, MAPH_* and the arguments, later ones first.  0:
** go on; else the exit status + 1, after --help, --version or a mistake (which is explained on
** stderr). */
int options_read(int argc, char **argv);
/* off normal full; -1: none of them */
int durability_from_name(const char *name, size_t size);

/* ------------------------------------------------------------------- Interface to code in uri.c */
enum { QUERY_MAX = 16 };
typedef struct query_item {
  maph_slice name, value;
} query_item;

/* Decode %XX in text into out (which has room for size bytes).  SIZE_MAX when a % is not followed
** by two hex digits. */
size_t percent_decode(const char *text, size_t size, char *out, bool plus_is_space);
bool store_name_valid(const char *name, size_t size);
/* Decode a query string into at most QUERY_MAX items, their bytes in out (room: strlen(query)).
** -1: malformed; -2: too many. */
int query_parse(const char *query, char *out, query_item *items);
/* Which of the names (blanks between them) takes the fewest changes to become that one. */
const char *name_nearest(const char *names, maph_slice name);

/* ---------------------------------------------------------------------------------- the request */
enum method {
  METHOD_GET = 1,
  METHOD_HEAD = 2,
  METHOD_PUT = 4,
  METHOD_POST = 8,
  METHOD_DELETE = 16,
  METHOD_OPTIONS = 32,
  METHOD_OTHER = 64
};
typedef struct header {
  const char *name, *value;
} header;
enum { HEADER_MAX = 64, SEGMENT_MAX = 4 };

struct connection;
struct store;
struct route;

typedef struct request {
  struct connection *connection;
  const struct route *route;
  const char *method_name, *path, *query_text, *version, *remote;
  int method;
  int header_count;
  header headers[HEADER_MAX];
  bool truncated_headers; /* civetweb kept 64 and dropped the rest */
  /* a line of it could not be read: those after it are not among the headers */
  bool malformed_head;
  /* decoded; the last one of a key route holds all that follows keys/ */
  maph_slice segments[SEGMENT_MAX];
  int segment_count;
  query_item query[QUERY_MAX];
  int query_count;
  struct store *store; /* held for the request by the route, when it has one */

  int64_t content_length; /* -1: chunked */
  uint64_t body_read;     /* bytes taken so far */
  bool body_done, body_failed, continue_sent, expects_continue;

  char id[72]; /* X-Request-Id, theirs when it is sane, else ours */
  uint64_t started_us;
  int status; /* 0: nothing sent yet */
  uint64_t bytes_out;
  bool close;           /* no keep-alive after this answer */
  bool chunked, broken; /* streaming answer; the client is gone */
  const char *origin;   /* of a page that may see the answer; NULL: none */
  char extra[512];      /* header lines that the answer will carry, whichever it is */
  char members[96];     /* members that a problem will carry: how far an import came */
  /* the connection's: answer head, answer body, request body */
  buffer *head, *body, *scratch;
  char *decoded; /* the connection's room for the decoded path and query */
  void *spool;   /* a body that waits in a file, mapped */
  size_t spool_size;
} request;

/* ------------------------------------------------------------------ Interface to code in http.c */
/* first of that name, or NULL */
const char *request_header(const request *r, const char *name);
/* false: not there, value empty */
bool request_query(const request *r, const char *name, maph_slice *value);

/* listen as `option` says; 0 ok, else a sentence went to stderr */
int http_start(void);
/* new requests get 503; returns when none is running or the drain timeout is over */
void http_drain(void);
void http_stop(void);
bool http_draining(void);
bool http_crowded(void);        /* every worker has a connection: others may wait for one */
const char *http_address(void); /* host:port for people, the first of them */
typedef struct http_counts {
  uint64_t connections, requests_running, accepted, evicted, timed_out, workers, watchers;
} http_counts;
http_counts http_count(void);
uint64_t now_us(void);  /* monotonic */
uint64_t wall_ms(void); /* since 1970 */
/* Waits are on the monotonic clock: one that is set back must not stop them. */
/* make one whose deadlines are of that clock */
void clock_condition(pthread_cond_t *condition);
struct timespec clock_after(uint64_t seconds); /* a deadline of it */

/* Read body bytes: >0; 0 at the end of a chunked body, or after silence; <0 when the client is gone
** or broke the rules. Write: false when the client is gone.  Both have deadlines that move by
** progress of at least 16 KB/s. */
long http_read(request *r, void *data, size_t size);
bool http_write(request *r, const void *data, size_t size);
bool http_timed_out(const request *r);
/* A handler that lasts takes a watcher's place first (false: all are taken) and gives it back.
** Receive: bytes that the client sent after its request; 0: none now; -1: it is gone. */
bool http_watch_begin(void);
void http_watch_end(void);
bool http_client_there(const request *r);
long http_receive(request *r, void *data, size_t size);
/* at once: without it civetweb goes on reading a body that nobody wants */
void http_disable_keep_alive(request *r);

/* ------------------------------------------------------------------ Interface to code in body.c */
/* The whole body as one slice, in memory or, above option.spool_above, mapped from a file without a
** name; at most limit bytes; lasts until the request ends.  False: the problem has been answered.
*/
bool body_all(request *r, uint64_t limit, maph_slice *body);
/* the next bytes; 0: the end; -1: failed and answered */
long body_some(request *r, void *data, size_t size, uint64_t limit);
/* before an answer: read a small body nobody asked for; false: too much, close instead */
bool body_skip(request *r);
void body_release(request *r);
int spool_open(void); /* a file without a name; -1: errno */
bool spool_write(int fd, const char *data, size_t size);
bool spool_failed(request *r, int fd); /* answers why, by errno, and closes; false */

/* ----------------------------------------------------------------- Interface to code in guard.c */
/* Refuse what must not reach a handler.  True: go on.  False: a problem has been answered. */
bool guard_request(request *r);
bool guard_setup(void);                        /* parse option.host and option.origin */
bool guard_origin_allowed(const char *origin); /* named by --origin */
/* a browser says that a page of another site made it */
bool guard_foreign(const request *r);
/* before stored bytes go out: false: a browser would run or apply them, and that was answered */
bool guard_destination(request *r);

/* ------------------------------------------------------------------ Interface to code in auth.c */
/* ANY: a good token, for anything at all */
enum { ROLE_NONE = 0, ROLE_READ = 1, ROLE_WRITE = 2, ROLE_ADMIN = 3, ROLE_ANY = -1 };
bool auth_on(void); /* tokens are asked for */
/* read the tokens, again at SIGHUP; false: a mistake, and nothing changed */
bool auth_load(void);
/* store empty: all stores.  False: 401 or 403 answered */
bool auth_allows(request *r, int role, maph_slice store);
/* the same question, unanswered */
bool auth_holds(const request *r, int role, const char *store);
bool auth_knows(const request *r);        /* it has a good token */
const char *auth_token(const request *r); /* what it gives as one; NULL: nothing */
/* the most it may do there; NULL: anywhere */
const char *auth_role_name(const request *r, const char *name);

/* ------------------------------------------------------------------ Interface to code in rate.c */
bool rate_allows(request *r); /* false: 429 answered */

/* ----------------------------------------------------------------- Interface to code in reply.c */
/* A streamed answer is sent whenever so much of it is there; a value above LONG_VALUE (a multiple
** of 3, for base64) is never in memory as a whole. */
enum { STREAM_AT = 128 * 1024, LONG_VALUE = 96 * 1024 };
/* reply_start, then headers (never with the client's bytes in them), then one of send, head_only or
** stream. */
void reply_start(request *r, int status);
void reply_header(request *r, const char *name, const char *value);
void reply_header_number(request *r, const char *name, const char *before, uint64_t number,
                         const char *after);
/* a line for any answer to come */
void reply_extra(request *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* type NULL: none */
void reply_send(request *r, const char *content_type, const void *body, size_t size);
void reply_empty(request *r, int status);
void reply_json(request *r, int status, const buffer *json);
/* of a body of that size: HEAD */
void reply_head_only(request *r, const char *content_type, uint64_t size);
void reply_problem(request *r, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void reply_maph(request *r, int rc, maph *m); /* the core's code and sentence */
/* that sentence for the client; the log keeps the whole one of a failure */
void reply_sentence(const request *r, int rc, maph *m, char *out, size_t room);
/* 404; 503 when the whole folder is away */
void reply_no_store(request *r, const char *sentence);
void reply_no_folder(request *r, bool to_write, int error);
/* the same for r->store, whose file may be gone */
void reply_store(request *r, int rc);
int maph_status(int rc);
const char *maph_code(int rc);
const char *status_title(int status);
/* the i-th of the statuses that are answered; 0: there are fewer */
int status_at(int i);
/* A body of unknown length, after reply_start: chunked for HTTP/1.1, until the end of the
** connection for 1.0. */
bool reply_stream(request *r, const char *content_type);
bool reply_stream_write(request *r, const void *data, size_t size);
void reply_stream_end(request *r);
/* send what r->body holds when it is more than that, and empty it */
bool reply_stream_body(request *r, size_t above);
/* An entry's members into r->body, its value in pieces that are sent on the way: whatever its size
** it costs no memory. */
bool reply_stream_entry(request *r, const maph_entry *e);

/* -------------------------------------------------------------- Interface to code in sentence.c */
enum { SENTENCE_ROOM = 1024 };
void sentence_setup(void); /* after the options are read */
/* without the folders' paths; whether it had one */
bool sentence_public(char *out, size_t room, const char *sentence);

/* ---------------------------------------------------------------- Interface to code in stores.c */
typedef struct store {
  char name[72];
  maph *m;
  bool read_only;
  atomic_uint references;  /* the table's and the requests' */
  atomic_bool written;     /* since the last background sync */
  atomic_bool sync_failed; /* a background sync; said once */
  /* when it was compacted by itself last, or that was tried; 0: never */
  uint64_t rewritten_us;
  uint64_t device, inode; /* what the name led to just before */
  /* when a request that reads looked whether it still does */
  atomic_uint_fast64_t looked_us;
  /* when it was opened, or, while it may only be read, that was tried again for writing */
  atomic_uint_fast64_t tried_us;
  char obstacle[200]; /* why it may only be read; table_lock */
  /* no longer in the table: who holds it for long should acquire it anew */
  atomic_bool retired;
  struct store *next;
} store;

/* at start: which there are; false: no such folder, which was said */
bool stores_find(void);
size_t stores_found(void); /* how many those were */
/* begin to open those, as many as that many open files allow; one that cannot be opened is reported
** and tried again at its first use */
int stores_start(uint64_t files);
/* why stores cannot be found now, or made, as errno; 0: they can */
int stores_folder_trouble(bool to_write);
void stores_close_all(void);
/* The store of that name, opened if need be; release it.  NULL: *rc is MAPH_NOTFOUND, MAPH_MISUSE
** (name), STORE_OPENING (another request opens it for long already) or why it cannot be opened. */
enum { STORE_OPENING = -1 };
store *store_acquire(const char *name, size_t size, bool to_read, int *rc);
void store_obstacle(const store *s, char *out, size_t room); /* why it may only be read */
const char *store_errmsg(int rc, maph *m); /* maph_errmsg, or that it is being opened */
void store_hold(store *s);
void store_release(store *s);
/* its file is gone or another: the next acquire looks again */
void store_forget(store *s);
/* forget those whose file was rewritten, replaced or removed: the old file goes when its last user
** does */
void stores_renew(void);
bool store_file_exists(const char *name, size_t size);
/* walks the open ones; releases `after`, acquires what it returns */
store *store_next(store *after);

void stores_list(request *r);
void store_create(request *r);
void store_destroy(request *r);
void store_stats(request *r);
void store_sync(request *r);
void store_stats_json(buffer *b, const char *name, const maph_stats *stats, bool read_only);

/* ---------------------------------------------------------------- Interface to code in commit.c */
enum { TAG_MAX = 32 };
/* If-Match, If-None-Match */
typedef struct tag_list {
  bool present, any;
  int count;
  uint64_t versions[TAG_MAX];
} tag_list;
typedef struct write_request {
  maph_slice key, value;
  bool is_delete;
  int durability; /* MAPH_SYNC_* */
  tag_list if_match, if_none_match;
  maph_condition entry; /* expires, type, media type; outcome is ours */
} write_request;

bool tags_match(const tag_list *tags, bool exists, uint64_t version);
/* Before and after a write: may it be tried, can its success be believed.  False: answered. */
bool write_allowed(request *r);
bool write_holds(request *r);
/* Do one write under its preconditions, as one transaction.  MAPH_CONFLICT: a precondition
** failed. */
int commit_one(store *s, const write_request *w, maph_outcome *outcome);
int commit_start(void); /* the thread that flushes what was written, each second */
void commit_stop(void);
typedef struct commit_counts {
  uint64_t writes, durable_writes, flushes, flush_failures, waiting;
} commit_counts;
commit_counts commit_count(void);
/* around a transaction made elsewhere: how many are under way, for metrics */
void commit_enter(void);
void commit_leave(void);
/* a transaction made elsewhere has committed */
void commit_note(store *s, int durability, uint64_t writes);

/* ------------------------------------------------------------------ Interface to code in keys.c */
void key_get(request *r); /* and HEAD */
void key_put(request *r);
void key_delete(request *r);
bool query_durability(request *r, int *durability); /* ?sync=; false: answered 400 */

/* ------------------------------------------------------------- Interface to code in websocket.c */
/* what the client sent of a control frame */
typedef struct websocket {
  unsigned char input[132];
  size_t size;
} websocket;
enum {
  WEBSOCKET_GOING_AWAY = 1001,
  WEBSOCKET_PROTOCOL_ERROR = 1002,
  WEBSOCKET_NO_DATA_TAKEN = 1003,
  WEBSOCKET_FAILED = 1011
};
/* false: it is no handshake, and that was answered */
bool websocket_accept(request *r);
void websocket_text(buffer *b, const void *text, size_t size); /* append a message */
void websocket_ping(buffer *b);
/* say so; the connection ends with the request */
void websocket_close(request *r, int code);
/* deal with what the client sent; false: it is over */
bool websocket_take(request *r, websocket *w);

/* ---------- Interface to code in list.c batch.c transfer.c changes.c jobs.c metrics.c openapi.c */
void keys_list(request *r);
void batch_run(request *r);
bool memory_reserve(uint64_t bytes); /* of option.memory, shared by all requests */
void memory_release(uint64_t bytes);
void store_export(request *r);
void store_import(request *r);
void changes_show(request *r);
void changes_socket(request *r);
void store_check(request *r);
void store_compact(request *r);
void store_optimize(request *r);
void store_backup(request *r);
void jobs_list(request *r);
void job_show(request *r);
void job_cancel(request *r);
uint64_t jobs_running(void);
void jobs_upkeep(void); /* begin the compactions that --auto-compact asks for */
void jobs_start(void);  /* before the first request */
void jobs_stop(void);   /* asks the running ones to stop, and waits */
void metrics_show(request *r);
void metrics_count(const request *r, uint64_t duration_us);
void health_show(request *r);
void ready_show(request *r);
void openapi_show(request *r);

/* ------------------------------------------------------------------ Interface to code in page.c */
void page_show(request *r); /* the web page */
void page_file(request *r); /* its scripts and style */

/* ---------------------------------------------------------------- Interface to code in routes.c */
typedef struct route {
  const char *name; /* for logs and metrics */
  int methods;
  const char *pattern; /* segments; NAME a store, ID one segment, KEY all the rest */
  void (*handler)(request *r);
  int role;          /* that a token needs, for the store NAME or for all */
  bool needs_store;  /* r->store is held while the handler runs */
  const char *query; /* names it takes, blanks between; NULL: any */
} route;
void routes_dispatch(request *r);
int routes_count(void);
const char *route_name(int i);
int route_index(const route *one);

/* ---------------------------------------------------------------- Interface to code in sigbus.c */
/* from here on a page that a file lost reads as zeros instead of killing the process */
bool sigbus_guard(void);
bool sigbus_happened(void); /* it did: no write may be acknowledged any more */

/* ------------------------------------------------------------------- Interface to code in log.c */
bool log_open(void);
bool log_in_file(void); /* there is an access log that can be opened anew */
void log_request(const request *r, uint64_t duration_us);
/* to stderr, with the time */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_flush(void);

#endif
