/*
** clock.h - time.  Waits are on the monotonic clock: one that is set back must not stop them.
*/
#ifndef MAPH_BASE_CLOCK_H
#define MAPH_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

uint64_t now_us(void);  /* monotonic */
uint64_t wall_ms(void); /* since 1970 */
/* Make a condition whose deadlines are of the monotonic clock; a deadline of it. */
void clock_condition(pthread_cond_t *condition);
struct timespec clock_after(uint64_t seconds);

#endif
