/*
** fake.h - a NATS server that does what a real one rarely does: fake.c takes orders, stream.c holds
** the one bucket, speak.c speaks the protocol, deliver.c hands messages to consumers, and well or
** badly.
*/
#ifndef MAPH_TEST_NATS_FAKE_H
#define MAPH_TEST_NATS_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---------------------------------------------------------------------------------------- bytes */
typedef struct bytes {
  char *data;
  size_t size, room;
} bytes;
void bytes_add(bytes *to, const void *data, size_t size);
__attribute__((format(printf, 2, 3))) void bytes_print(bytes *to, const char *format, ...);
/* What hexadecimal digits say; "-" is nothing.  False: they are none. */
bool bytes_hex(bytes *to, const char *digits);
void bytes_cut(bytes *of, size_t size); /* from the front */

/* --------------------------------------------------------------------------------------- stream */
enum { KEY_ROOM = 8192, MESSAGES_MOST = 200000 };
typedef struct message {
  bool alive;
  uint64_t time_ns;
  char *key;
  bytes headers, data;
} message;
typedef struct stream {
  char name[256], created[64];
  uint64_t last; /* sequence; message[1..last] */
  int replicas;
  bool drops; /* what is oldest, where it is full, as it says */
  message *messages;
} stream;
extern stream the_stream;
void stream_begin(const char *bucket); /* anew: another `created`, nothing in it */
uint64_t stream_put(const char *key, const bytes *headers, const bytes *data);
/* Another message under a sequence that was given out.  False: it was not. */
bool stream_place(uint64_t sequence, const char *key, const bytes *data);
void stream_forget(uint64_t sequence);
void stream_roll_back(uint64_t sequence);
uint64_t stream_first(void);
uint64_t stream_count(void);
/* The first living message from a sequence on; 0: none. */
uint64_t stream_next(uint64_t sequence);
uint64_t stream_behind(uint64_t sequence); /* so many living messages are */
void stream_time(uint64_t ns, char room[64]);
uint64_t stream_now_ns(void);

/* -------------------------------------------------------------------------------------- trouble */
/* What it does wrong, by orders; fake.c sets it. */
typedef enum mute {
  MUTE_NOTHING,
  MUTE_INFO,
  MUTE_ALL,
  MUTE_API,
  MUTE_DELIVERY,
  MUTE_HEARTBEAT
} mute;
typedef struct answer {
  char name[64]; /* STREAM.INFO and the like */
  int from;      /* which request of that name is the first one to get it */
  bytes text;
} answer;
typedef struct twist {
  uint64_t sequence;
  char kind[32];
  bytes argument;
  bool always; /* each time that message is delivered, not once */
} twist;
enum { ANSWERS = 16, TWISTS = 256 };
typedef struct trouble {
  mute mute;
  unsigned delay_ms; /* so old is a message before it is delivered */
  char ignored[64];  /* requests of that name get no answer, */
  int ignored_count; /* so many more of them */
  unsigned slow_ms;  /* so much later answers to requests come, */
  char slow[64];     /* of that name alone, where not empty */
  uint64_t held;     /* that message and those behind it are not delivered; 0: all are */
  uint64_t lag;      /* STREAM.INFO tells a last sequence that is so much lower */
  char sizes[32];    /* of all messages, where not empty: HEADERS,ALL or ALL */
  bytes info;
  answer answers[ANSWERS];
  twist twists[TWISTS];
  int answer_count, twist_count;
  uint64_t wild; /* random state; 0: none of it */
  unsigned percent;
} trouble;
extern trouble the_trouble;
uint64_t wild_below(uint64_t n); /* a random number */
bool wild_now(void);             /* whether something goes wrong now */

/* ---------------------------------------------------------------------------------------- speak */
enum { CONNECTIONS = 64, SUBSCRIPTIONS = 64, CONSUMERS = 4 };
typedef struct consumer {
  bool used;
  char name[64], inbox[512];
  char filter[KEY_ROOM]; /* of keys: "part.>" or a key; "": all */
  uint64_t next, sent;   /* stream sequence to deliver next; how many were delivered */
  uint64_t heard_ms;     /* when something was sent last */
  unsigned flow;         /* messages since it was asked for flow control */
} consumer;
typedef struct subscription {
  char subject[512], id[32];
} subscription;
typedef struct connection {
  int fd;
  bytes in, out;
  bytes late;       /* answers that are sent later, */
  uint64_t late_ms; /* then */
  bool ended;       /* once `out` is sent */
  subscription subscriptions[SUBSCRIPTIONS];
  int subscription_count;
  consumer consumers[CONSUMERS];
} connection;
extern connection the_connections[CONNECTIONS];
extern int the_connection_count;

uint64_t ticks_ms(void);
void speak_begin(connection *c);
/* All that is in c->in. */
void speak(connection *c);
void speak_message(connection *c, const char *subject, const char *inbox, const char *reply,
                   const bytes *headers, const bytes *data);
/* How often each request came: "INFO=3 ..." */
void speak_counts(bytes *to);

/* -------------------------------------------------------------------------------------- deliver */
consumer *deliver_create(connection *c, const char *inbox, const char *filter, uint64_t from);
bool deliver_delete(const char *name); /* false: there is none of that name */
void deliver(connection *c, uint64_t now_ms);
void deliver_heartbeat(connection *c, consumer *k, uint64_t consumer_last, uint64_t stream_last);

#endif
