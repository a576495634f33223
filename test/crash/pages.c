/*
** pages.c - which versions of a page a power cut may leave.
**
** The kernel may write any page at any time, and only a flush makes it.  So after a cut a page may
** hold any content that it had since the last flush that covered it, each page for itself; in the
** second mode each sector of 512 bytes for itself.  The file may have any size that it had since
** the last flush of any of it, because a flush takes the size with it.
**
** A rewrite makes a second file and gives it the store's name; so does a backup, PATH.copy, that
** then replaces the store.  Each file has pages of its own: a SIDE.  Which file a store is to, the
** hash seed in its header tells, which no two files share; a file without a header yet is the new
** one.  Until a flush of the folder has succeeded the name may still be, on the disk, that of the
** file which had it at the flush before.
**
** The hooks run before each store: what the page holds then is a version that ends with this store.
** A flush that began after a version had ended makes it impossible.  (Between its begin, seen by
** the fault hook, and its end other threads may store: those versions stay.)
**
** The memory is shared: writers are processes that die.
*/
#include "crash.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, SECTOR = 512, PAGES_MAX = 1024, VERSIONS_MAX = 16000, SIZES_MAX = 64 };

typedef struct version {
  uint32_t next;
  uint64_t until;
  uint8_t bytes[PAGE];
} version;

typedef struct side {
  uint32_t newest[PAGES_MAX]; /* place of the version that ended last, 0: none */
  struct {
    uint64_t size, until;
  } sizes[SIZES_MAX];
  int size_count;
  uint64_t inode, seed; /* seed 0: it has no header yet */
} side;
enum { SIDES = 3, NEW_NAMES = 3 }; /* one has the name, one had it, one is made */

static struct pages {
  atomic_int lock;
  uint64_t now; /* stores so far */
  uint32_t spare, used;
  side sides[SIDES];
  int named;    /* the side whose file has the name, as far as the parent knows */
  int on_disk;  /* the one that had it when the folder was flushed last */
  int flushing; /* that is under way */
  char path[400], new_names[NEW_NAMES][420];
  version versions[VERSIONS_MAX];
} * p;
/* in the parent: those that had the name, open, so that they can be read when they have none */
static int files[SIDES] = { -1, -1, -1 };

static _Thread_local uint64_t flush_began;

static void enter(void) {
  while (atomic_exchange(&p->lock, 1)) {}
}
static void leave(void) { atomic_store(&p->lock, 0); }

static uint64_t inode_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? st.st_ino : 0;
}

static int side_of_inode(uint64_t inode) {
  int i;
  for (i = 0; i < SIDES && (inode == 0 || p->sides[i].inode != inode); i++) {}
  return i < SIDES ? i : -1;
}

/* Which side has the name now? */
static void look_at_name(void) {
  int fd = open(p->path, O_RDONLY | O_CLOEXEC);
  p->named = side_of_inode(inode_of(p->path));
  must(fd >= 0 && p->named >= 0, p->path);
  if (files[p->named] >= 0) close(files[p->named]);
  files[p->named] = fd;
}

void pages_start(const char *path) {
  static const char *const suffixes[NEW_NAMES] = { ".new", ".copy.new", ".copy" };
  size_t size;
  uint8_t *bytes = file_read(path, &size);
  int i;
  if (p == NULL) p = shared(sizeof *p);
  p->lock = 0;
  p->now = 0;
  p->spare = 0;
  p->used = 1;
  memset(p->sides, 0, sizeof p->sides);
  snprintf(p->path, sizeof p->path, "%s", path);
  for (i = 0; i < NEW_NAMES; i++)
    snprintf(p->new_names[i], sizeof p->new_names[i], "%s%s", path, suffixes[i]);
  p->sides[0].inode = inode_of(path);
  p->sides[0].seed = header_of(bytes)->hash_seed;
  free(bytes);
  p->on_disk = 0;
  p->flushing = 0;
  look_at_name();
}

void pages_session_over(void) {
  p->flushing = 0; /* who flushed it is dead: the next one's steps show nothing */
  look_at_name();
}

/* ---------------------------------------------------------------------------------------- hooks */

/* The file that is being made.  What is known of its side is of one that is gone. */
static int new_side(void) {
  int named = side_of_inode(inode_of(p->path)), i, n;
  uint64_t inode = 0;
  for (n = 0; n < NEW_NAMES && inode == 0; n++) inode = inode_of(p->new_names[n]);
  must(inode != 0, "a store to a file that nobody knows");
  i = side_of_inode(inode);
  if (i >= 0 && p->sides[i].seed == 0) return i;
  if (i < 0)
    for (i = 0; i == named || i == p->on_disk; i++) {}
  memset(&p->sides[i], 0, sizeof p->sides[i]);
  p->sides[i].inode = inode;
  return i;
}

static int side_of_base(const uint8_t *base) {
  uint64_t hash_seed = header_of(base)->hash_seed;
  int i;
  if (hash_seed == 0) return new_side();
  for (i = 0; i < SIDES && p->sides[i].seed != hash_seed; i++) {}
  if (i < SIDES) return i;
  i = new_side();
  p->sides[i].seed = hash_seed;
  return i;
}

static int side_of_file(int fd) {
  struct stat st;
  int i;
  must(fstat(fd, &st) == 0, "fstat");
  i = side_of_inode(st.st_ino);
  return i >= 0 ? i : new_side();
}

static void remember(side *side, const uint8_t *base, uint64_t page) {
  const uint8_t *bytes = base + page * PAGE;
  uint32_t at = side->newest[page];
  version *version;
  if (at != 0 && memcmp(p->versions[at].bytes, bytes, PAGE) == 0) {
    p->versions[at].until = p->now;
    return;
  }
  at = p->spare;
  if (at != 0)
    p->spare = p->versions[at].next;
  else
    at = p->used++;
  must(at < VERSIONS_MAX, "more versions of pages than there is room for");
  version = &p->versions[at];
  memcpy(version->bytes, bytes, PAGE);
  version->until = p->now;
  version->next = side->newest[page];
  side->newest[page] = at;
}

/* What is done next shows that the flush of the folder was done. */
static void folder_was_flushed(void) {
  if (!p->flushing) return;
  p->flushing = 0;
  p->on_disk = side_of_inode(inode_of(p->path));
}

static void count_and_die(void) {
  if (atomic_fetch_add(&the->step, 1) + 1 == atomic_load(&the->kill_at)) {
    leave();
    kill(getpid(), SIGKILL);
  }
}

static void before_store(const uint8_t *base, uint64_t offset, size_t size) {
  uint64_t page;
  if (size == 0) return;
  enter();
  folder_was_flushed();
  p->now++;
  for (page = offset / PAGE; page <= (offset + size - 1) / PAGE && page < PAGES_MAX; page++)
    remember(&p->sides[side_of_base(base)], base, page);
  must(page < PAGES_MAX, "the store is larger than the test thought");
  count_and_die();
  leave();
}

/* The versions of a page that ended before a flush began are gone. */
static void forget(side *side, uint64_t page, uint64_t began) {
  uint32_t *at = &side->newest[page];
  while (*at != 0) {
    version *version = &p->versions[*at];
    if (version->until <= began) {
      uint32_t gone = *at;
      *at = version->next;
      version->next = p->spare;
      p->spare = gone;
    } else {
      at = &version->next;
    }
  }
}

static void after_flush(const uint8_t *base, uint64_t from, uint64_t to) {
  uint64_t page;
  int i, n = 0;
  side *side;
  enter();
  side = &p->sides[base ? side_of_base(base) : side_of_file((int)from)];
  if (base == NULL) {
    from = 0;
    to = (uint64_t)PAGES_MAX * PAGE;
  }
  for (page = from / PAGE; page < to / PAGE && page < PAGES_MAX; page++)
    forget(side, page, flush_began);
  for (i = 0; i < side->size_count; i++)
    if (side->sizes[i].until > flush_began) side->sizes[n++] = side->sizes[i];
  side->size_count = n;
  count_and_die();
  leave();
}

/* Some file's size will change: of each the one that it has. */
static void remember_size(const char *path) {
  struct stat st;
  side *side;
  int i;
  if (stat(path, &st) != 0) return;
  i = side_of_inode(st.st_ino);
  if (i < 0) return;
  side = &p->sides[i];
  if (side->size_count > 0 && side->sizes[side->size_count - 1].size == (uint64_t)st.st_size) {
    side->sizes[side->size_count - 1].until = ++p->now;
    return;
  }
  must(side->size_count < SIZES_MAX, "more sizes than there is room for");
  side->sizes[side->size_count].size = (uint64_t)st.st_size;
  side->sizes[side->size_count++].until = ++p->now;
}

static int before_call(const char *call) {
  enter();
  folder_was_flushed();
  if (strcmp(call, "rename") == 0) {
    p->flushing = 0;
    if (the->kill_near_rename && the->renames_before-- <= 0)
      atomic_store(&the->kill_at, atomic_load(&the->step) + the->kill_near_rename);
  }
  if (strcmp(call, "fsync") == 0) p->flushing = 1; /* of nothing else */
  if (strcmp(call, "msync") == 0 || strcmp(call, "fdatasync") == 0) flush_began = p->now;
  if (strcmp(call, "fallocate") == 0 || strcmp(call, "ftruncate") == 0) {
    int n;
    remember_size(p->path);
    for (n = 0; n < NEW_NAMES; n++) remember_size(p->new_names[n]);
  }
  if (strcmp(call, "malloc") != 0) count_and_die();
  leave();
  return 0;
}

void pages_watch(const char *path) {
  (void)path;
  atomic_store(&p->lock, 0);
  os_test.store = before_store;
  os_test.flush = after_flush;
  os_test.fault = before_call;
}

/* --------------------------------------------------------------------------------------- images */

/* The distinct bytes [at, at+size) that a page may hold, its content now last. */
static int choices(const side *side, uint64_t page, const uint8_t *now, int at, int size,
                   const uint8_t **out) {
  uint32_t v;
  int n = 0, i;
  for (v = side->newest[page]; v != 0; v = p->versions[v].next) {
    const uint8_t *bytes = p->versions[v].bytes + at;
    for (i = 0; i < n && memcmp(out[i], bytes, (size_t)size) != 0; i++) {}
    if (i == n && memcmp(bytes, now + at, (size_t)size) != 0) out[n++] = bytes;
  }
  out[n++] = now + at;
  return n;
}

int pages_names(void) { return p->on_disk != p->named ? 2 : 1; }

/* The file that the name leads to: 0 the one that has it now, 1 the one that had it before. */
static const side *side_named(int before, uint8_t **now, size_t *size) {
  int i = before ? p->on_disk : p->named;
  struct stat st;
  must(fstat(files[i], &st) == 0, "fstat");
  *size = (size_t)st.st_size;
  *now = malloc(*size + 1);
  must(*now != NULL && pread(files[i], *now, *size, 0) == st.st_size, "reading a file");
  return &p->sides[i];
}

double pages_images(int before, int sectors) {
  static const uint8_t *out[VERSIONS_MAX];
  size_t size;
  uint8_t *now;
  const side *side = side_named(before, &now, &size);
  double product = 1 + side->size_count;
  int unit = sectors ? SECTOR : PAGE, at;
  uint64_t page;
  for (page = 0; page < size / PAGE; page++)
    for (at = 0; at < PAGE && side->newest[page] != 0; at += unit)
      product *= choices(side, page, now + page * PAGE, at, unit, out);
  free(now);
  return product;
}

/* How a random image is inclined: to the newest content, to the oldest, or not. */
static int pick(int n, long *number, int random, int inclined) {
  int i;
  if (!random) {
    i = (int)(*number % n);
    *number /= n;
    return i;
  }
  switch (inclined) {
    case 0: return (int)below((uint32_t)n);
    case 1: return below(4) ? n - 1 : (int)below((uint32_t)n);
    case 2: return n > 1 && below(4) ? n - 2 : (int)below((uint32_t)n);
    default: return below(2) ? n - 1 : 0;
  }
}

uint8_t *pages_image(int before, int sectors, long number, int random, size_t *size) {
  static const uint8_t *out[VERSIONS_MAX];
  uint8_t *now, *image;
  const side *side = side_named(before, &now, size);
  int unit = sectors ? SECTOR : PAGE, inclined = random ? (int)below(4) : 0, at, i;
  uint64_t page;
  image = malloc(*size + 1);
  must(image != NULL, "memory");
  memcpy(image, now, *size);
  for (page = 0; page < *size / PAGE; page++) {
    for (at = 0; at < PAGE && side->newest[page] != 0; at += unit) {
      int n = choices(side, page, now + page * PAGE, at, unit, out);
      memcpy(image + page * PAGE + at, out[pick(n, &number, random, inclined)], (size_t)unit);
    }
  }
  i = pick(side->size_count + 1, &number, random, 1);
  if (i < side->size_count && side->sizes[i].size < *size) *size = side->sizes[i].size;
  free(now);
  return image;
}
