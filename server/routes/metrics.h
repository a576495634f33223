/*
** metrics.h - counts and times of requests.
*/
#ifndef MAPH_ROUTES_METRICS_H
#define MAPH_ROUTES_METRICS_H

#include "http/request.h"

void metrics_count(const request *request, uint64_t duration_us);

#endif
