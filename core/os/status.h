/* status.h - what a path or a descriptor leads to, for those who open files. */
#ifndef MAPH_STATUS_H
#define MAPH_STATUS_H

#include "os/os.h"

#include <stdint.h>

/* Which file is at path.  0 or errno; no sentence is set. */
int os_look(const char *path, uint64_t *device, uint64_t *inode);
/* What os_status takes, but for the kind of file system.  CANTOPEN: no regular file.  IOERR */
int os_take_status(os_file *file, const char *path);

#endif
