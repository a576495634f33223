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
__attribute__((noinline)) unsigned os_plain_mode(const os_file *f) {
  unsigned group = 0, mask = 7;
  size_t n, i;
  acl list;
  n = acl_read(f->fd, &list);
  if (n == 0) return f->mode;
  for (i = 0; i < n; i++) {
    if (list.entries[i].tag == ACL_GROUP) group = list.entries[i].permissions;
    if (list.entries[i].tag == ACL_MASK) mask = list.entries[i].permissions;
  }
  return (f->mode & ~070u) | (group & mask & 7) << 3;
}

/* Who may write the store may read and write the lock file, and nobody else: a reader's shared lock
** would stop writers. */
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

static int keep_one(keeping *k, const char *name) {
  ssize_t n = SYS("fgetxattr", -1, fgetxattr(k->from->fd, name, k->value, VALUE_MOST)), m;
  if (n >= 0) {
    m = fgetxattr(k->to->fd, name, k->there, VALUE_MOST);
    if (n == m && memcmp(k->value, k->there, (size_t)n) == 0) return MAPH_OK;
    if (SYS("fsetxattr", -1, fsetxattr(k->to->fd, name, k->value, (size_t)n, 0)) == 0)
      return MAPH_OK;
  } else if (errno == ENODATA) {
    return MAPH_OK; /* it went just now */
  }
  if (is_of_access(name)) return cannot_keep(k->path, name);
  add_note(k->note, k->note_size, name);
  return MAPH_OK;
}

static int keep_named(keeping *k) {
  size_t size, at;
  char *names = list_names(k->from->fd, &size);
  int rc = MAPH_OK;
  for (at = 0; rc == MAPH_OK && at < size; at += strlen(names + at) + 1) {
    if (!is_of_the_bytes(names + at)) rc = keep_one(k, names + at);
  }
  os_free(names);
  return rc;
}

/* A folder's default list is for files that are new to it: not for one that was there before. */
static int drop_inherited(const keeping *k) {
  acl list;
  if (acl_read(k->from->fd, &list) > 0 || acl_read(k->to->fd, &list) == 0) return MAPH_OK;
  if (SYS("fremovexattr", -1, fremovexattr(k->to->fd, ACL_NAME)) == 0) return MAPH_OK;
  return cannot_keep(k->path, ACL_NAME);
}

static int keep_extended(keeping *k) {
  int rc = MAPH_NOMEM;
  k->value = os_alloc(VALUE_MOST);
  k->there = k->value ? os_alloc(VALUE_MOST) : NULL;
  if (k->there) {
    rc = drop_inherited(k);
    if (rc == MAPH_OK) rc = keep_named(k);
  }
  os_free(k->value);
  os_free(k->there);
  return rc;
}

/* --------------------------------------------------------------------------------------- flags */

/* Those of chattr that can be set on a file which stays writable; +C only while it is empty. */
static void keep_flags(keeping *k) {
#ifdef FS_IOC_GETFLAGS
  const int kept = FS_NOCOW_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_COMPR_FL | FS_SYNC_FL;
  int from = 0, to = 0;
  if (ioctl(k->from->fd, FS_IOC_GETFLAGS, &from) != 0) return;
  if (ioctl(k->to->fd, FS_IOC_GETFLAGS, &to) != 0 || ((from ^ to) & kept) == 0) return;
  to = (to & ~kept) | (from & kept);
  if (ioctl(k->to->fd, FS_IOC_SETFLAGS, &to) != 0)
    add_note(k->note, k->note_size, "flags of chattr");
#else
  (void)k;
#endif
}

int os_keep_attributes(const char *path, os_file *to, const os_file *from, char *note,
                       size_t note_size) {
  keeping k = { path, from, to, note, note_size, NULL, NULL };
  int rc;
  if ((to->owner != from->owner || to->group != from->group)
      && SYS("fchown", -1, fchown(to->fd, from->owner, from->group)) != 0) {
    return cannot_keep(path, "owner");
  }
  to->owner = from->owner;
  to->group = from->group;
  rc = keep_extended(&k);
  if (rc != MAPH_OK) return rc;
  if (SYS("fchmod", -1, fchmod(to->fd, from->mode)) != 0) return cannot_keep(path, "mode");
  to->mode = from->mode;
  keep_flags(&k);
  return MAPH_OK;
}
