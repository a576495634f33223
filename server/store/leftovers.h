/*
** leftovers.h - what a process that was killed left behind, half made.
*/
#ifndef MAPH_STORE_LEFTOVERS_H
#define MAPH_STORE_LEFTOVERS_H

/* Remove each NAME.maph.new of a folder that nobody makes any more, where there is no NAME.maph. */
void leftovers_remove(const char *folder);

#endif
