/*
** sigbus.h - what happens when a stranger shortens a file that is mapped.
*/
#ifndef MAPH_BASE_SIGBUS_H
#define MAPH_BASE_SIGBUS_H

#include <stdbool.h>

/* From here on a page that a file lost reads as zeros instead of killing the process. */
bool sigbus_guard(void);
bool sigbus_happened(void); /* it did: no write may be acknowledged any more */

#endif
