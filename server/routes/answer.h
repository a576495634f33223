/*
** answer.h - what several handlers answer about stores and writes.
*/
#ifndef MAPH_ROUTES_ANSWER_H
#define MAPH_ROUTES_ANSWER_H

#include "http/reply.h"
#include "store/commit.h"

void reply_maph(request *r, int rc, maph *m); /* the core's code and sentence */
/* That sentence for the client; the log keeps the whole one of a failure. */
void reply_sentence(const request *r, int rc, maph *m, char *out, size_t room);
/* 404; 503 when the whole folder is away */
void reply_no_store(request *r, const char *sentence);
void reply_no_folder(request *r, bool to_write, int error);
void reply_store(request *r, int rc); /* the same for r->store, whose file may be gone */
/* Before and after a write: may it be tried, can its success be believed.  False: answered. */
bool write_allowed(request *r);
bool write_holds(request *r);
/* ?NAME=0 or 1; *flag stays without it.  False: answered 400 */
bool query_flag(request *r, const char *name, bool *flag);
bool query_durability(request *r, int *durability); /* ?sync=; false: answered 400 */
/* Whether the body may be JSON; false: 415 answered.  *lines: it is NDJSON. */
bool body_is_json(request *r, bool *lines);
/* Of option.memory, shared by all requests. */
bool memory_reserve(uint64_t bytes);
void memory_release(uint64_t bytes);

#endif
