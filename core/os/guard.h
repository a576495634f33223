/*
** guard.h - the mappings whose SIGBUS this library may catch (maph_guard).
*/
#ifndef MAPH_GUARD_H
#define MAPH_GUARD_H

#include <stdint.h>

void guard_add(uint8_t *base, uint64_t length, int fd); /* fd: of a writable one; else -1 */
void guard_drop(const uint8_t *base);                   /* before it is unmapped */

#endif
