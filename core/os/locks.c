/*
** locks.c - the lock file, and locks on bytes of a file.
**
** They are open-file-description locks: a reader's descriptor cannot take the exclusive one,
** closing another descriptor of the file does not drop them as it drops POSIX locks, and the kernel
** releases them when the process dies.
*/
#include "os/error.h"
#include "os/fault.h"
#include "os/fork.h"
#include "os/os.h"
#include "os/status.h"
#include "maph.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -------------------------------------------------------------------------------- the lock file */

enum { LOCK_TRIES = 100 };

static int make_lock(const char *path, const os_file *store) {
  unsigned mode = os_lock_mode(store);
  os_file made = { .fd = -1 };
  made.fd = SYS("open", -1,
                open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, mode));
  if (made.fd < 0) return -1;
  if (fchown(made.fd, store->owner, store->group) != 0
      || fchmod(made.fd, mode) != 0) { /* not the store's owner: what umask gave will do */
  }
  os_lock_like(&made, store);
  return made.fd;
}

/* Most often it is there. */
static int open_or_make_lock(const char *path, const os_file *store) {
  int fd = SYS("open", -1, open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  return fd < 0 && errno == ENOENT ? make_lock(path, store) : fd;
}

static int no_lock_file(const char *path, int e) {
  int rc = os_open_code(e);
  if (rc == MAPH_FULL || rc == MAPH_NOMEM || rc == MAPH_IOERR || e == EMFILE || e == ENFILE)
    return fail(rc, "%s: cannot make or open the lock file, which every writer needs: %s", path,
                strerror(e));
  return fail(MAPH_CANTOPEN,
              "%s: cannot open the lock file, which every writer needs (%s): give this user write "
              "permission on it and its folder, or open the store read-only",
              path, strerror(e));
}

int os_open_lock(const char *path, const os_file *store, os_file *file) {
  int rc, tries = 0;
  memset(file, 0, sizeof *file);
  do /* somebody makes it between the two */
    file->fd = os_above_standard(open_or_make_lock(path, store));
  while (file->fd < 0 && errno == EEXIST && ++tries < LOCK_TRIES);
  if (file->fd < 0) return no_lock_file(path, errno);
  file->writable = file->is_lock = 1;
  file->forks = os_forks();
  rc = os_take_status(file, path);
  if (rc == MAPH_OK
      && (file->links > 1
          || (file->owner != store->owner && file->owner != geteuid() && file->owner != 0))) {
    rc = fail(MAPH_CANTOPEN,
              "%s: this lock file belongs to a stranger or has a second name: remove it while no "
              "writer runs",
              path);
  }
  if (rc != MAPH_OK) os_close(file);
  return rc;
}

/* ------------------------------------------------------------------------------- locks on bytes */

static struct flock byte_lock(short type, uint64_t byte, uint64_t length) {
  struct flock l;
  memset(&l, 0, sizeof l);
  l.l_type = type;
  l.l_whence = SEEK_SET;
  l.l_start = (off_t)byte;
  l.l_len = (off_t)length;
  return l;
}

int os_lock(const os_file *file, uint64_t byte, int exclusive) {
  struct flock l = byte_lock(exclusive ? F_WRLCK : F_RDLCK, byte, 1);
  int r;
  do r = SYS("fcntl", -1, fcntl(file->fd, F_OFD_SETLK, &l));
  while (r != 0 && errno == EINTR);
  if (r == 0) os_fork_closes(file->fd);
  if (r == 0) return 1;
  if (errno == EAGAIN || errno == EACCES) return 0;
  return -fail(MAPH_IOERR, "a lock on byte %llu cannot be had: %s", (unsigned long long)byte,
               strerror(errno));
}

void os_unlock(const os_file *file, uint64_t byte) {
  struct flock l = byte_lock(F_UNLCK, byte, 1);
  if (file->is_lock && file->forks != os_forks()) return;
  fcntl(file->fd, F_OFD_SETLK, &l);
}

int os_locked(const os_file *file, uint64_t byte) {
  struct flock l = byte_lock(F_WRLCK, byte, 1);
  return fcntl(file->fd, F_OFD_GETLK, &l) != 0 || l.l_type != F_UNLCK;
}

/* Asked as if for a shared lock: only an exclusive one stands in its way. */
int os_write_locked(const os_file *file, uint64_t from, uint64_t length) {
  struct flock l = byte_lock(F_RDLCK, from, length);
  return fcntl(file->fd, F_OFD_GETLK, &l) == 0 && l.l_type == F_WRLCK;
}
