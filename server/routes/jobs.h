/*
** jobs.h - work that outlives its request.
*/
#ifndef MAPH_ROUTES_JOBS_H
#define MAPH_ROUTES_JOBS_H

#include <stdint.h>

uint64_t jobs_running(void);
void jobs_upkeep(void); /* begin the compactions that --auto-compact asks for */
void jobs_start(void);  /* before the first request */
void jobs_stop(void);   /* asks the running ones to stop, and waits */

#endif
