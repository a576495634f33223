/*
** place.c - where a process runs, and what its kernel remembers of a file.
**
** THE BOOT has an identity in /proc.  A container may be shown another one there (LXC,
** systemd-nspawn): that is a file of another file system, which says nothing.
**
** THE HINT is the inode's write life time, RWH_WRITE_LIFE_NONE, which asks the disk for nothing.
** It lies in the kernel's inode and nowhere else: all who open the file see it, by whatever path
** and in whatever container, and no process needs to live for it.  It is gone after a reboot, when
** the file system was unmounted, and when the kernel has written all pages of a file that nobody
** has open and forgets it.  Only the owner may set it (Linux 6.9; before, whoever may open the
** file).
*/
#include "os/fault.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif
#ifndef F_GET_RW_HINT
#define F_GET_RW_HINT 1035
#define F_SET_RW_HINT 1036
#endif
enum { HINT_NOT_SET = 0, HINT_NONE = 1, PROC_MAGIC = 0x9FA0 };

/* What hindered it, as an errno; 0: nothing, or the system does not tell. */
static int boot_of(uint8_t boot[64]) {
  struct statfs b;
  int fd = SYS("open_boot", -1, open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  int e = fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM) ? errno : 0;
  ssize_t n = -1;
  if (fd >= 0 && fstatfs(fd, &b) == 0 && b.f_type == PROC_MAGIC) n = read(fd, boot, 64);
  memset(boot + (n > 0 ? n : 0), 0, 64 - (size_t)(n > 0 ? n : 0));
  if (fd >= 0) close(fd);
  return e;
}

void os_place_of(const os_file *file, os_place *place) {
  place->failed = boot_of(place->boot);
  place->mount = 0;
#ifdef STATX_MNT_ID
  struct statx sx;
  memset(&sx, 0, sizeof sx);
  if (statx(file->fd, "", AT_EMPTY_PATH, STATX_MNT_ID | STATX_MNT_ID_UNIQUE, &sx) == 0)
    place->mount = sx.stx_mnt_id;
#else
  (void)file; /* the C library knows no statx */
#endif
#ifdef MAPH_TEST
  if (os_test.boot == OS_TEST_NO_BOOT) place->boot[0] = 0;
  /* not the first: a zero there says that the boot is unknown */
  place->boot[1] ^= (uint8_t)os_test.boot;
  place->boot[2] ^= (uint8_t)(os_test.boot >> 8);
#endif
}

int os_hint(const os_file *file) {
  uint64_t hint = HINT_NOT_SET;
#ifdef MAPH_TEST
  if (os_test.hint) return os_test.hint == 2;
#endif
  return fcntl(file->fd, F_GET_RW_HINT, &hint) == 0 && hint == HINT_NONE;
}

int os_set_hint(const os_file *file, int on) {
  uint64_t hint = on ? HINT_NONE : HINT_NOT_SET;
#ifdef MAPH_TEST
  if (os_test.hint) return os_test.hint == 2;
#endif
  return SYS("fcntl", -1, fcntl(file->fd, F_SET_RW_HINT, &hint)) == 0;
}
