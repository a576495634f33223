/*
** access_log.h - one line a request.
*/
#ifndef MAPH_HTTP_ACCESS_LOG_H
#define MAPH_HTTP_ACCESS_LOG_H

#include "http/request.h"

bool access_log_open(void);    /* also again, after it was renamed */
bool access_log_in_file(void); /* there is one that can be opened anew */
void access_log_request(const request *request, uint64_t duration_us);
void access_log_flush(void);

#endif
