/*
** folder.h - the folder of the stores: which there are, and opening those at start.
*/
#ifndef MAPH_STORE_FOLDER_H
#define MAPH_STORE_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The names of the stores in the folder, sorted; NULL when it cannot be read (errno).  Free each,
** and the array. */
char **folder_names(size_t *count);
/* Why stores cannot be found now, or made, as errno; 0: they can. */
int folder_trouble(bool to_write);

/* At start: which there are; false: no such folder, which was said. */
bool folder_find(void);
size_t folder_found(void); /* how many those were */
/* Begin to open those, as many as that many open files allow; one that cannot be opened is reported
** and tried again at its first use. */
int folder_open(uint64_t files);
void folder_stop_opening(void);

#endif
