/* fork.h - descriptors that the child of a fork must not keep. */
#ifndef MAPH_FORK_H
#define MAPH_FORK_H

/* This one holds a lock: a child closes it. */
void os_fork_closes(int fd);
/* It is about to be closed: a child has nothing to close. */
void os_fork_spares(int fd);

#endif
