/*
** serve.h - the life of a request between its head and its answer.
*/
#ifndef MAPH_SERVE_H
#define MAPH_SERVE_H

#include "http/http.h"

http_callbacks serve_callbacks(void);

#endif
