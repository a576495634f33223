/*
** status.c - what is known of a file without reading it: which one it is, its size, names, mode and
** owner, and what kind of file system holds it.
*/
#include "os/status.h"
#include "os/error.h"
#include "os/fault.h"
#include "os/os.h"
#include "maph.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

static int kind_of_file_system(unsigned long magic) {
  switch (magic) {
    case 0x6969:
    case 0x517B:
    case 0xFF534D42:
    case 0xFE534D42:
    case 0x01021997:
    case 0x65735546:
    case 0x00C36400:
    case 0x73757245:
    case 0x5346414F:
    case 0x6B414653:
    case 0x0BD00BD0:
    case 0x786F4256:
    case 0x47504653:
    case 0x7461636F:
      /* NFS SMB CIFS SMB2 9p FUSE Ceph Coda AFS AFS Lustre vboxsf GPFS OCFS2 */
      return OS_NETWORK;
    case 0x9123683E:
    case 0x2FC12FC1:
    case 0xCA451A4E: return OS_COPY_ON_WRITE; /* btrfs ZFS bcachefs */
    case 0x01021994:
    case 0x858458F6:
    case 0x958458F6: return OS_MEMORY; /* tmpfs ramfs hugetlbfs */
    case 0xEF53: return OS_LOCAL;      /* ext2 ext3 ext4 */
    default: return OS_SHARING;        /* XFS, overlays of it, and what is not known */
  }
}

static void look_at_file_system(os_file *file) {
  struct statfs b;
  unsigned long magic = fstatfs(file->fd, &b) == 0 ? (unsigned long)b.f_type & 0xFFFFFFFFul : 0;
  file->file_system = magic ? kind_of_file_system(magic) : OS_LOCAL;
#ifdef MAPH_TEST
  if (os_test.file_system) file->file_system = os_test.file_system - 1;
#endif
  file->layered = magic == 0x794C7630; /* overlay */
}

/* What a path or, where that is empty, a descriptor leads to, by one call. */
typedef struct status {
  uint64_t device, inode, size, links, born; /* born: in ns, 0 where that is not known */
  unsigned mode, owner, group;
} status;

static int plain_status(int fd, const char *path, int flags, status *out) {
  struct stat st;
  if (fstatat(fd, path, &st, flags) != 0) return -1;
  *out = (status){ st.st_dev, st.st_ino, (uint64_t)st.st_size, st.st_nlink, 0, st.st_mode,
                   st.st_uid, st.st_gid };
  return 0;
}

static int status_of(int fd, const char *path, status *out) {
  int flags = path[0] ? 0 : AT_EMPTY_PATH;
#ifdef STATX_BTIME
  struct statx sx;
  if (statx(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &sx) == 0) {
    *out = (status){ makedev(sx.stx_dev_major, sx.stx_dev_minor),
                     sx.stx_ino,
                     sx.stx_size,
                     sx.stx_nlink,
                     0,
                     sx.stx_mode,
                     sx.stx_uid,
                     sx.stx_gid };
    if (sx.stx_mask & STATX_BTIME)
      out->born = (uint64_t)sx.stx_btime.tv_sec * 1000000000u + sx.stx_btime.tv_nsec;
    return 0;
  }
  if (errno == ENOENT) return -1;
#endif
  return plain_status(fd, path, flags, out); /* an old kernel, or one that forbids the other */
}

/* On overlayfs a file keeps device and inode when its first writer makes it a copy of its own; its
** time of birth is the copy's.  So that is a part of `device`, which is only ever compared. */
static uint64_t device_of(const status *status) {
  return status->device ^ status->born * UINT64_C(0x9E3779B97F4A7C15);
}

int os_look(const char *path, uint64_t *device, uint64_t *inode) {
  status status;
  if (SYS("stat", -1, status_of(AT_FDCWD, path, &status)) != 0) return errno;
  *device = device_of(&status);
  *inode = status.inode;
  return 0;
}

int os_take_status(os_file *file, const char *path) {
  status status;
  if (SYS("fstat", -1, status_of(file->fd, "", &status)) != 0)
    return fail(MAPH_IOERR, "%s: cannot read its status: %s", path, strerror(errno));
  if (!S_ISREG(status.mode)) {
    return fail(MAPH_CANTOPEN,
                "%s: not a regular file (a directory, pipe or device): name a store's file", path);
  }
  file->device = device_of(&status);
  file->inode = status.inode;
  file->size = status.size;
  file->links = status.links;
  file->mode = status.mode & 07777;
  file->owner = status.owner;
  file->group = status.group;
  return MAPH_OK;
}

int os_status(os_file *file, const char *path) {
  int rc = os_take_status(file, path);
  if (rc == MAPH_OK) look_at_file_system(file);
  return rc;
}

int os_identity(const char *path, uint64_t *device, uint64_t *inode) {
  int e = os_look(path, device, inode);
  return e ? fail(os_open_code(e), "%s: %s", path, strerror(e)) : MAPH_OK;
}

int os_is_there(const char *path) {
  uint64_t device, inode;
  return os_look(path, &device, &inode) == 0;
}

int os_is_another(const char *path, const os_file *file) {
  uint64_t device = 0, inode = 0;
  return os_look(path, &device, &inode) == 0 && (device != file->device || inode != file->inode);
}

int os_links(const os_file *file, const char *path, uint64_t *links) {
  struct stat st;
  if (SYS("fstat", -1, fstat(file->fd, &st)) != 0)
    return fail(MAPH_IOERR, "%s: cannot read its status: %s", path, strerror(errno));
  *links = st.st_nlink;
  return MAPH_OK;
}

int os_size(const os_file *file, uint64_t *size) {
  struct stat st;
  if (SYS("fstat", -1, fstat(file->fd, &st)) != 0)
    return fail(MAPH_IOERR, "cannot read a store's size: %s", strerror(errno));
  *size = (uint64_t)st.st_size;
  return MAPH_OK;
}
