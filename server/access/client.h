/*
** client.h - who asks, where a proxy stands in between.
*/
#ifndef MAPH_ACCESS_CLIENT_H
#define MAPH_ACCESS_CLIENT_H

#include "http/request.h"

bool client_setup(void); /* parse option.proxies; false: said what is wrong */
/* Where the request came through proxies that are named: the address they say. */
void client_find(request *request);

#endif
