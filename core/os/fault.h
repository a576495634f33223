/*
** fault.h - SYS: a call of the system that a test build can make fail; and what its failure means.
**
** SYS(name, bad, call) is `call`; in a test build whose hook says so it is `bad` with errno set.
*/
#ifndef MAPH_FAULT_H
#define MAPH_FAULT_H

#ifdef MAPH_TEST
int os_faulted(const char *call); /* errno to fail it with, also set; 0: let it happen */
#define SYS(name, bad, call) (os_faulted(name) ? (bad) : (call))
#else
#define SYS(name, bad, call) (call)
#endif

int os_open_code(int e);  /* which code an errno is, when a path is opened or renamed */
int os_space_code(int e); /* when bytes are written or room is granted */

#endif
