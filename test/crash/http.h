/*
** http.h - what the crash tests of the server share.
**
** The server is the real one, all of server/ over civetweb, linked in over core with its hooks and
** run in a child process: server_main is its main. This process is its clients.
**
**     client.c      connections and answers
**     asked.c       what was asked and answered
**     judged.c      is this store one that may follow from it?
**     http.c        lives of a server, cuts, recoveries
*/
#ifndef MAPH_CRASH_HTTP_H
#define MAPH_CRASH_HTTP_H

#include "crash.h"

int server_main(int argc, char **argv);

/* ------------------------------------------------------------------------------------- client.c */
enum { CLIENTS_MAX = 64 };
/* version: the ETag, or what the body says */
typedef struct answer {
  int status;
  uint64_t version;
  const char *body;
  size_t body_size;
} answer;
int clients_connect(int port, int n); /* 0: the server is not there (any more) */
void clients_close(void);
int client_is_free(int i); /* connected, and nothing asked */
void client_send(int i, const char *head, const char *body, size_t body_size);
/* Send and receive what can be, waiting so long for something; `answered` may send the next
** request.  How many were connected. */
int clients_poll(int timeout_ms, void (*answered)(int i, const answer *answer));

/* -------------------------------------------------------------------------------------- asked.c */
typedef struct asked_counts {
  long answered, durable, lost, unpromised, transactions;
} asked_counts;
extern asked_counts asked;

/* the store was made anew, holds nothing, and is at this version */
void asked_anew(uint64_t since);
/* A new life begins: it ends with a power cut, or else a kill.  many: stores may be made, and
** imports long.  The server's --sync. */
const char *asked_begin(int with_power, int with_many);
void ask(int i); /* client i asks for something */
void asked_answered(int i, const answer *answer);
void asked_may_fail(void); /* from here on 5xx is no trouble */
long asked_number(void);   /* requests in this life */
/* ------------------------------------------------------------------------------------- judged.c */
/* Open the store, which recovers it, and hold it against what was answered.  What it holds is what
** the next life begins with, if it is kept. */
void asked_judge(const char *file, int was_clean, int kept);
/* those that clients made in this folder; removes them */
void asked_judge_stores(const char *data, int (*mend)(const char *file));

#endif
