/*
** sidecar.c - FILE.replica (sidecar.h).
*/
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "nats/sidecar.h"

enum {
  SIDECAR_SIZE = 4096,
  RECORD_AT = 1024,
  RECORD_ROOM = 1536,
  HEARD_MS = 5000,
  LOCK_TRIES = 40
};
static const char magic[] = "maph-replica 1\n";
_Static_assert(sizeof(sidecar_record) + sizeof(sidecar_anchors) <= RECORD_ROOM,
               "two records have room, and so have their anchors");
_Static_assert(sizeof(sidecar_header) < RECORD_AT - 64, "so has the text");

const char *replica_state_name(uint64_t state) {
  static const char *const names[REPLICA_STATES] = { "stopped",   "connecting", "syncing",
                                                     "following", "rebuilding", "disconnected",
                                                     "no bucket", "comparing",  "publishing" };
  return state < REPLICA_STATES ? names[state] : "stopped";
}

static uint64_t sum(const sidecar_record *record) {
  return XXH3_64bits(record, offsetof(sidecar_record, checksum));
}

/* Texts have their ends where they should be, whoever wrote them. */
static bool believed(const sidecar_record *record) {
  return sum(record) == record->checksum && memchr(record->created, 0, sizeof record->created)
         && memchr(record->server, 0, sizeof record->server)
         && memchr(record->error, 0, sizeof record->error);
}

static uint64_t sum_of_anchors(const sidecar_anchors *anchors) {
  return XXH3_64bits(anchors, offsetof(sidecar_anchors, checksum));
}

/* Those that were written with the record; none. */
static void read_anchors(const unsigned char *bytes, const sidecar_record *record,
                         sidecar_anchors *anchors) {
  memcpy(anchors, bytes + RECORD_AT + (record->written & 1) * RECORD_ROOM + sizeof *record,
         sizeof *anchors);
  if (anchors->written != record->written || anchors->checksum != sum_of_anchors(anchors))
    memset(anchors, 0, sizeof *anchors);
}

void anchors_note(sidecar_anchors *to, const void *key, size_t size, uint64_t sequence,
                  uint64_t time_ns) {
  sidecar_anchor one = { sequence, time_ns, XXH3_64bits(key, size) };
  size_t oldest = 0;
  for (size_t i = 0; i < SIDECAR_ANCHORS; i++) {
    if (to->list[i].key == one.key) {
      to->list[i] = one;
      return;
    }
    if (to->list[i].sequence < to->list[oldest].sequence) oldest = i;
  }
  to->list[oldest] = one;
}

/* The record that was written last; zeros. */
static bool latest(const unsigned char *bytes, sidecar_record *record) {
  sidecar_record other;
  bool found = false;
  memset(record, 0, sizeof *record);
  for (int i = 0; i < 2; i++) {
    memcpy(&other, bytes + RECORD_AT + i * RECORD_ROOM, sizeof other);
    if (!believed(&other) || (found && other.written <= record->written)) continue;
    *record = other;
    found = true;
  }
  return found;
}

static void take_line(const char *line, size_t size, const char *name, char *room, size_t most) {
  size_t length = strlen(name);
  if (size <= length || memcmp(line, name, length) != 0 || line[length] != '=') return;
  snprintf(room, most, "%.*s", (int)(size - length - 1), line + length + 1);
}

static bool read_header(const unsigned char *bytes, sidecar_header *header) {
  char text[RECORD_AT + 1], keys[16] = "";
  memset(header, 0, sizeof *header);
  memcpy(text, bytes, RECORD_AT);
  text[RECORD_AT] = 0;
  if (strncmp(text, magic, strlen(magic)) != 0) return false;
  for (const char *line = text + strlen(magic); *line;) {
    size_t size = strcspn(line, "\n");
    take_line(line, size, "bucket", header->bucket, sizeof header->bucket);
    take_line(line, size, "filter", header->filter, sizeof header->filter);
    take_line(line, size, "servers", header->servers, sizeof header->servers);
    take_line(line, size, "keys", keys, sizeof keys);
    line += size + (line[size] == '\n');
  }
  header->escaped = strcmp(keys, "escaped") == 0;
  return true;
}

static const char *failed(const char *path, const char *suffix, const char *what) {
  static __thread char sentence[600];
  snprintf(sentence, sizeof sentence, "%.400s%s: %s", path, suffix, what);
  return sentence;
}

static char *name_of(const char *path, const char *suffix) {
  char *name = NULL;
  return asprintf(&name, "%s%s", path, suffix) < 0 ? NULL : name;
}

/* An open file description's lock: children that inherit the descriptor hold it too. */
static int lock(int fd, int command, short *type) {
  struct flock whole = { .l_type = *type, .l_whence = SEEK_SET };
  int rc = fcntl(fd, command, &whole);
  *type = whole.l_type;
  return rc;
}

/* The child of a follower that was killed ends a moment after it. */
static int take_lock(int fd) {
  struct timespec pause = { .tv_nsec = 50000000 };
  for (int i = 0;; i++) {
    short type = F_WRLCK;
    if (lock(fd, F_OFD_SETLK, &type) == 0) return 0;
    if ((errno != EAGAIN && errno != EACCES) || i == LOCK_TRIES) return -1;
    nanosleep(&pause, NULL);
  }
}

const char *sidecar_open(const char *path, unsigned mode, sidecar *sidecar) {
  return sidecar_open_as(path, SIDECAR_REPLICA, mode, sidecar);
}

/* Under a link's name lies another lock than under the file's.  A pipe or a device does something
** when it is opened. */
const char *sidecar_obstacle(const char *path, const char *suffix) {
  char *name = name_of(path, suffix);
  bool is_file = true;
  struct stat st;
  if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
    free(name);
    return failed(path, "", "a symbolic link: name the file that it leads to");
  }
  if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
    free(name);
    return failed(path, "", "no regular file: name a store's file");
  }
  if (name && lstat(name, &st) == 0) is_file = S_ISREG(st.st_mode);
  free(name);
  return is_file ? NULL
                 : failed(path, suffix,
                          "no regular file, where the notes of a follower or publisher have their "
                          "place: move it away");
}

static const char *close_failed(int fd, const char *path, const char *suffix, const char *what) {
  int error = errno;
  const char *sentence = failed(path, suffix, what);
  close(fd);
  errno = error;
  return sentence;
}

const char *sidecar_open_as(const char *path, const char *suffix, unsigned mode, sidecar *sidecar) {
  char *name;
  void *base;
  struct stat st;
  const char *wrong = sidecar_obstacle(path, suffix);
  memset(sidecar, 0, sizeof *sidecar);
  errno = 0;
  if (wrong) return wrong;
  name = name_of(path, suffix);
  sidecar->suffix = suffix;
  sidecar->fd =
      name ? open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, mode) : -1;
  free(name);
  if (sidecar->fd < 0) return failed(path, suffix, strerror(errno));
  if (fstat(sidecar->fd, &st) == 0 && st.st_size > SIDECAR_SIZE) {
    errno = 0;
    return close_failed(sidecar->fd, path, suffix,
                        "larger than what a follower or publisher notes: move it away");
  }
  if (take_lock(sidecar->fd) != 0)
    return close_failed(sidecar->fd, path, suffix,
                        errno != EAGAIN && errno != EACCES ? strerror(errno)
                        : strcmp(suffix, SIDECAR_PUBLISHED) == 0
                            ? "the file is published by another process"
                            : "the file is followed by another process");
  if (ftruncate(sidecar->fd, SIDECAR_SIZE) != 0
      || (errno = posix_fallocate(sidecar->fd, 0, SIDECAR_SIZE)) != 0)
    return close_failed(sidecar->fd, path, suffix, strerror(errno));
  base = mmap(NULL, SIDECAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, sidecar->fd, 0);
  if (base == MAP_FAILED) return close_failed(sidecar->fd, path, suffix, strerror(errno));
  sidecar->base = base;
  /* Nothing of another form may count as written later than what is written now. */
  if (!read_header(sidecar->base, &sidecar->header) || !latest(sidecar->base, &sidecar->record))
    sidecar_begin(sidecar);
  read_anchors(sidecar->base, &sidecar->record, &sidecar->anchors);
  return NULL;
}

void sidecar_begin(sidecar *sidecar) {
  memset(sidecar->base, 0, SIDECAR_SIZE);
  memset(&sidecar->record, 0, sizeof sidecar->record);
  memset(&sidecar->anchors, 0, sizeof sidecar->anchors);
  memset(&sidecar->header, 0, sizeof sidecar->header);
}

void sidecar_remove(const char *path, const sidecar *sidecar) {
  char *name = sidecar_named(path, sidecar) ? name_of(path, sidecar->suffix) : NULL;
  if (name) unlink(name);
  free(name);
}

bool sidecar_named(const char *path, const sidecar *sidecar) {
  struct stat named, ours;
  char *name = name_of(path, sidecar->suffix);
  bool there = name && stat(name, &named) == 0;
  bool missing = name && !there && errno == ENOENT;
  free(name);
  if (!there || fstat(sidecar->fd, &ours) != 0) return !missing;
  return named.st_dev == ours.st_dev && named.st_ino == ours.st_ino;
}

const char *sidecar_renew(const char *path, unsigned mode, sidecar *held) {
  sidecar other;
  const char *wrong = sidecar_open_as(path, held->suffix, mode, &other);
  if (wrong) return wrong;
  munmap(held->base, SIDECAR_SIZE);
  close(held->fd);
  held->fd = other.fd;
  held->base = other.base;
  /* A child before this one may have made it. */
  if (other.record.written > held->record.written) {
    held->record = other.record;
    held->anchors = other.anchors;
  }
  sidecar_name(held, &held->header);
  sidecar_write(held);
  return NULL;
}

void sidecar_reload(sidecar *sidecar) {
  latest(sidecar->base, &sidecar->record);
  read_anchors(sidecar->base, &sidecar->record, &sidecar->anchors);
}

void sidecar_name(sidecar *sidecar, const sidecar_header *header) {
  char text[RECORD_AT] = "";
  snprintf(text, sizeof text, "%sbucket=%s\nkeys=%s\nfilter=%s\nservers=%s\n", magic,
           header->bucket, header->escaped ? "escaped" : "plain", header->filter, header->servers);
  sidecar->header = *header;
  if (memcmp(sidecar->base, text, sizeof text) != 0) memcpy(sidecar->base, text, sizeof text);
}

void sidecar_write(sidecar *sidecar) {
  unsigned char *to;
  sidecar->record.written++;
  sidecar->record.checksum = sum(&sidecar->record);
  sidecar->anchors.written = sidecar->record.written;
  sidecar->anchors.checksum = sum_of_anchors(&sidecar->anchors);
  to = sidecar->base + RECORD_AT + (sidecar->record.written & 1) * RECORD_ROOM;
  memcpy(to + sizeof sidecar->record, &sidecar->anchors, sizeof sidecar->anchors);
  memcpy(to, &sidecar->record, sizeof sidecar->record);
}

bool sidecar_read(const char *path, sidecar_header *header, sidecar_record *record) {
  return sidecar_read_as(path, SIDECAR_REPLICA, header, record);
}

bool sidecar_read_as(const char *path, const char *suffix, sidecar_header *header,
                     sidecar_record *record) {
  unsigned char bytes[SIDECAR_SIZE];
  char *name = name_of(path, suffix);
  int fd = name ? open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
  bool found = false;
  free(name);
  if (fd < 0) return false;
  /* Between two looks its follower may have written both records. */
  for (int i = 0; i < 8 && !found; i++) {
    if (pread(fd, bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) break;
    found = read_header(bytes, header) && latest(bytes, record);
  }
  close(fd);
  errno = 0;
  return found;
}

bool sidecar_read_header(const char *path, sidecar_header *header) {
  unsigned char bytes[RECORD_AT] = { 0 };
  char *name = name_of(path, SIDECAR_REPLICA);
  int fd = name ? open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
  ssize_t size = fd < 0 ? -1 : pread(fd, bytes, sizeof bytes, 0);
  free(name);
  if (fd >= 0) close(fd);
  if (size < 0 || !read_header(bytes, header)) return false;
  for (const char *p = header->bucket; *p; p++)
    if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_') return false;
  return header->bucket[0] != 0;
}

bool sidecar_followed(const char *path) { return sidecar_held_as(path, SIDECAR_REPLICA); }

bool sidecar_held_as(const char *path, const char *suffix) {
  char *name = name_of(path, suffix);
  int fd = name ? open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
  short type = F_RDLCK;
  int rc;
  free(name);
  if (fd < 0) return false;
  rc = lock(fd, F_OFD_GETLK, &type);
  close(fd);
  return rc == 0 && type != F_UNLCK;
}

uint64_t sidecar_lag_ms(const sidecar_record *record, uint64_t now_ms) {
  bool heard = record->state == REPLICA_FOLLOWING && record->position >= record->last_seen
               && record->heard_ms + HEARD_MS >= now_ms;
  uint64_t until = heard ? record->heard_ms : now_ms;
  if (record->caught_up_ms == 0) return UINT64_MAX;
  return until > record->caught_up_ms ? until - record->caught_up_ms : 0;
}
