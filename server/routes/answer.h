/*
** answer.h - what several handlers answer about stores and writes.
*/
#ifndef MAPH_ROUTES_ANSWER_H
#define MAPH_ROUTES_ANSWER_H

#include "http/reply.h"
#include "store/commit.h"

void reply_maph(request *request, int rc, maph *m); /* the core's code and sentence */
/* That sentence for the client; the log keeps the whole one of a failure. */
void reply_sentence(const request *request, int rc, maph *m, char *out, size_t room);
/* 404; 503 when the whole folder is away */
void reply_no_store(request *request, const char *sentence);
void reply_no_folder(request *request, bool to_write, int error);
void reply_store(request *request,
                 int rc); /* the same for the store of the request, whose file may be gone */
/* of a problem: as maph_code, but a write to a replica is `replica` */
const char *problem_code(int rc, maph *m);
/* Before and after a write: may it be tried, can its success be believed.  False: answered. */
bool write_allowed(request *request);
bool change_allowed(request *request); /* the same, for what changes entries */
bool write_holds(request *request);
/* ?NAME=0 or 1; *flag stays without it.  False: answered 400 */
bool query_flag(request *request, const char *name, bool *flag);
/* ?from=, ?to=, ?prefix= and ?reverse=, the range's other members untouched; an empty bound bounds
** nothing.  False: answered 400 */
bool query_range(request *request, maph_range *range);
bool query_durability(request *request, int *durability); /* ?sync=; false: answered 400 */
/* Whether the body may be JSON; false: 415 answered.  *lines: it is NDJSON. */
bool body_is_json(request *request, bool *lines);
/* Of option.memory, shared by all requests. */
bool memory_reserve(uint64_t bytes);
void memory_release(uint64_t bytes);

#endif
