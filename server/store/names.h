/*
** names.h - what lies under the name of a store and is none.
*/
#ifndef MAPH_STORE_NAMES_H
#define MAPH_STORE_NAMES_H

#include <stdbool.h>

/* What is at path, in words: "a symbolic link".  NULL: nothing, or a regular file. */
const char *name_occupant(const char *path);
/* Remove it: a link, never what it leads to; a folder, if it is empty.  An errno. */
int name_clear(const char *path);
/* Remove a regular file that cannot be opened as a store, and its lock file.  An errno. */
int name_remove_file(const char *path);

#endif
