/*
** log.h - sentences for the operator.
*/
#ifndef MAPH_BASE_LOG_H
#define MAPH_BASE_LOG_H

#include <stddef.h>

/* To stderr, with the time. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_time(char *out, size_t size); /* 2026-01-31T12:00:00.000Z */

#endif
