/*
** attributes.c - what a file carries beside its bytes: owner, mode, access control list, security
** label, extended attributes, flags.
**
** A rewrite puts a new file in an old one's place.  os_keep_attributes gives the new file all of
** this, and takes away what it inherited from its folder and the old one has not.  Whatever decides
** who may read or write the file must succeed; the loss of the rest is told in a note.
**
** The list (ACL) is the attribute system.posix_acl_access: a version of 4 bytes, then entries of
** {tag 2, permissions 2, id 4}.  Where a file has one, the group bits of its mode are the list's
** mask: they say what is granted at most, not what the owning group may do.
*/
#include "os/error.h"
#include "os/fault.h"
#include "os/os.h"
#include "maph.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/fs.h>
#endif

enum { NAMES_MOST = 65536, VALUE_MOST = 65536, ACL_MOST = 8192 };
enum { ACL_OWNER = 1, ACL_GROUP = 4, ACL_MASK = 16 };
#define ACL_NAME "system.posix_acl_access"

/* ------------------------------------------------------------------------ access control lists */

typedef struct acl {
  uint32_t version;
  struct {
    uint16_t tag, permissions;
    uint32_t id;
  } entries[(ACL_MOST - 4) / 8];
} acl;

/* How many entries the file's list has; 0: it has none. */
static size_t acl_read(int fd, acl *list) {
  ssize_t n = fd < 0 ? -1 : fgetxattr(fd, ACL_NAME, list, sizeof *list);
  return n < 4 ? 0 : (size_t)(n - 4) / 8;
}

static int acl_write(int fd, const acl *list, size_t n) {
  return fsetxattr(fd, ACL_NAME, list, 4 + n * 8, 0);
}

/* Not inlined: one list at a time on the stack. */
__attribute__((noinline)) unsigned os_plain_mode(const os_file *file) {
  unsigned group = 0, mask = 7;
  size_t n, i;
  acl list;
  n = acl_read(file->fd, &list);
  if (n == 0) return file->mode;
  for (i = 0; i < n; i++) {
    if (list.entries[i].tag == ACL_GROUP) group = list.entries[i].permissions;
    if (list.entries[i].tag == ACL_MASK) mask = list.entries[i].permissions;
  }
  return (file->mode & ~070u) | (group & mask & 7) << 3;
}

/* Whoever may write the store may read and write the lock file, and nobody else: a reader's shared
** lock would stop writers. */
static unsigned lock_mode(unsigned store_mode) {
  return 0600 | (store_mode & 0020 ? 0060 : 0) | (store_mode & 0002 ? 0006 : 0);
}

unsigned os_lock_mode(const os_file *store) { return lock_mode(os_plain_mode(store)); }

void os_lock_like(const os_file *lock, const os_file *store) {
  size_t n, i;
  acl list;
  if (store->fd < 0) return;
  n = acl_read(store->fd, &list);
  for (i = 0; i < n; i++) {
    int writes = (list.entries[i].permissions & 2) != 0 || list.entries[i].tag == ACL_OWNER;
    list.entries[i].permissions = writes ? 6 : 0;
  }
  if (n > 0 && acl_write(lock->fd, &list, n) == 0) return;
  (void)!fremovexattr(lock->fd, ACL_NAME); /* the folder's default for new files */
  (void)!fchmod(lock->fd, os_lock_mode(store));
}

/* -------------------------------------------------------------------------- extended attributes */

/* Of the bytes, not of the file: whoever computed them has to do it again. */
static int is_of_the_bytes(const char *name) {
  return strcmp(name, "security.ima") == 0 || strcmp(name, "security.evm") == 0;
}

/* Does it decide who may do what with the file? */
static int is_of_access(const char *name) {
  return strncmp(name, "system.", 7) == 0 || strncmp(name, "security.", 9) == 0;
}

static void add_note(char *note, size_t size, const char *what) {
  size_t n = strlen(note);
  if (n == 0) snprintf(note, size, "not kept: %s (%s)", what, strerror(errno));
}

static int cannot_keep(const char *path, const char *what) {
  int rc = errno == ENOSPC || errno == EDQUOT ? MAPH_FULL : MAPH_CANTOPEN;
  return fail(rc,
              "%s: cannot give it the %s of the file it replaces (%s): run this as that file's "
              "owner or as root, or make room",
              path, what, strerror(errno));
}

/* The names of a file's attributes, each ended by a zero; NULL: none, or the system has none. */
static char *list_names(int fd, size_t *size) {
  char *names;
  ssize_t n = flistxattr(fd, NULL, 0);
  *size = 0;
  if (n <= 0 || n > NAMES_MOST || (names = os_alloc((size_t)n + 1)) == NULL) return NULL;
  n = flistxattr(fd, names, (size_t)n);
  if (n <= 0) {
    os_free(names);
    return NULL;
  }
  *size = (size_t)n;
  return names;
}

typedef struct keeping {
  const char *path;
  const os_file *from, *to;
  char *note;
  size_t note_size;
  uint8_t *value, *there; /* of VALUE_MOST bytes each */
} keeping;

static int keep_one(keeping *keeping, const char *name) {
  ssize_t n = SYS("fgetxattr", -1, fgetxattr(keeping->from->fd, name, keeping->value, VALUE_MOST)),
          m;
  if (n >= 0) {
    m = fgetxattr(keeping->to->fd, name, keeping->there, VALUE_MOST);
    if (n == m && memcmp(keeping->value, keeping->there, (size_t)n) == 0) return MAPH_OK;
    if (SYS("fsetxattr", -1, fsetxattr(keeping->to->fd, name, keeping->value, (size_t)n, 0)) == 0)
      return MAPH_OK;
  } else if (errno == ENODATA) {
    return MAPH_OK; /* it went just now */
  }
  if (is_of_access(name)) return cannot_keep(keeping->path, name);
  add_note(keeping->note, keeping->note_size, name);
  return MAPH_OK;
}

static int keep_named(keeping *keeping) {
  size_t size, at;
  char *names = list_names(keeping->from->fd, &size);
  int rc = MAPH_OK;
  for (at = 0; rc == MAPH_OK && at < size; at += strlen(names + at) + 1) {
    if (!is_of_the_bytes(names + at)) rc = keep_one(keeping, names + at);
  }
  os_free(names);
  return rc;
}

/* A folder's default list is for files that are new to it: not for one that was there before. */
static int drop_inherited(const keeping *keeping) {
  acl list;
  if (acl_read(keeping->from->fd, &list) > 0 || acl_read(keeping->to->fd, &list) == 0)
    return MAPH_OK;
  if (SYS("fremovexattr", -1, fremovexattr(keeping->to->fd, ACL_NAME)) == 0) return MAPH_OK;
  return cannot_keep(keeping->path, ACL_NAME);
}

static int keep_extended(keeping *keeping) {
  int rc = MAPH_NOMEM;
  keeping->value = os_alloc(VALUE_MOST);
  keeping->there = keeping->value ? os_alloc(VALUE_MOST) : NULL;
  if (keeping->there) {
    rc = drop_inherited(keeping);
    if (rc == MAPH_OK) rc = keep_named(keeping);
  }
  os_free(keeping->value);
  os_free(keeping->there);
  return rc;
}

/* --------------------------------------------------------------------------------------- flags */

/* Those of chattr that can be set on a file which stays writable; +C only while it is empty. */
static void keep_flags(keeping *keeping) {
#ifdef FS_IOC_GETFLAGS
  const int kept = FS_NOCOW_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_COMPR_FL | FS_SYNC_FL;
  int from = 0, to = 0;
  if (ioctl(keeping->from->fd, FS_IOC_GETFLAGS, &from) != 0) return;
  if (ioctl(keeping->to->fd, FS_IOC_GETFLAGS, &to) != 0 || ((from ^ to) & kept) == 0) return;
  to = (to & ~kept) | (from & kept);
  if (ioctl(keeping->to->fd, FS_IOC_SETFLAGS, &to) != 0)
    add_note(keeping->note, keeping->note_size, "flags of chattr");
#else
  (void)keeping;
#endif
}

int os_keep_attributes(const char *path, os_file *to, const os_file *from, char *note,
                       size_t note_size) {
  keeping keeping = { path, from, to, note, note_size, NULL, NULL };
  int rc;
  if ((to->owner != from->owner || to->group != from->group)
      && SYS("fchown", -1, fchown(to->fd, from->owner, from->group)) != 0) {
    return cannot_keep(path, "owner");
  }
  to->owner = from->owner;
  to->group = from->group;
  rc = keep_extended(&keeping);
  if (rc != MAPH_OK) return rc;
  if (SYS("fchmod", -1, fchmod(to->fd, from->mode)) != 0) return cannot_keep(path, "mode");
  to->mode = from->mode;
  keep_flags(&keeping);
  return MAPH_OK;
}
