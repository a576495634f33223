/*
** rate.h - option.rate requests a second for each client.
*/
#ifndef MAPH_ACCESS_RATE_H
#define MAPH_ACCESS_RATE_H

#include "http/request.h"

bool rate_allows(request *request); /* false: 429 answered */

#endif
