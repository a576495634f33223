/*
** jobs.h - work that outlives its request.
*/
#ifndef MAPH_ROUTES_JOBS_H
#define MAPH_ROUTES_JOBS_H

#include <stdint.h>

uint64_t jobs_running(void);
/* How many ended, by kind and outcome; the names are NULL after the last. */
uint64_t jobs_ended(int kind, int outcome);
const char *jobs_kind_name(int kind);
const char *jobs_outcome_name(int outcome);
void jobs_upkeep(void); /* begin the compactions that --auto-compact asks for */
void jobs_start(void);  /* before the first request */
void jobs_stop(void);   /* asks the running ones to stop, and waits */

#endif
