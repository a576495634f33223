/*
** rig.c - a real ext4 on a loop device, shut down in the middle: what the kernel does, not a model
** of it.
**
** sync_file_range on random pages lets some of what was not flushed reach the disk; FS_IOC_SHUTDOWN
** without a log flush drops the rest; the file system is unmounted and mounted again.  Then the
** rules of power.c hold.  Needs root, loop devices and mkfs.ext4.
**
** The disk is small, so that making it and mounting it is quick.  Between two cuts the store is
** compacted once its log fills a good part of the disk.
*/
#include "crash.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef FS_IOC_SHUTDOWN
#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#endif

enum {
  COMPACT_AT = 8 * 1024 * 1024
}; /* of a disk of 40 MB: old and new file fit, and what a
                                       ** cut leaves of a child's work */

static char *place, *disk, *path;
static int is_mounted;
static long compactions;

static int shell(const char *format, const char *a, const char *b) {
  char command[1000], whole[1100];
  snprintf(command, sizeof command, format, a, b);
  snprintf(whole, sizeof whole, "{ %s; } >/dev/null 2>&1", command);
  return system(whole);
}

static int mounted(void) { return is_mounted = shell("mount -o loop '%s' '%s'", disk, place) == 0; }
static int unmounted(void) { return is_mounted && shell("umount '%s'%s", place, "") == 0; }

/* In a mount namespace of our own: one that somebody else makes meanwhile would hold the file
** system, shut down as it is, and mounting the disk again would find it. */
static int alone(void) {
  return geteuid() == 0 && unshare(CLONE_NEWNS) == 0
         && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

int rig_mount(const char *size) {
  place = file_named("mounted");
  disk = file_named("disk");
  return alone() && shell("truncate -s %s '%s'", size, disk) == 0
         && shell("mkfs.ext4 -q -F '%s'%s", disk, "") == 0
         && shell("mkdir -p '%s'%s", place, "") == 0 && mounted();
}

void rig_mount_again(void) { must(unmounted() && mounted(), "mounting again"); }

void rig_unmount(void) { unmounted(); }

static void work(void *arg) {
  writer writer;
  script script;
  (void)arg;
  if (writer_open(&writer, path, MAPH_RDWR) != MAPH_OK) {
    trouble("a writer cannot open the store: %s", maph_errmsg(NULL));
    return;
  }
  while (the->n < HISTORY_MAX - 2) {
    script_random(&script, below(6) == 0);
    if (script_run(&writer, &script) != MAPH_OK) {
      trouble("a writer cannot write: %s", maph_errmsg(NULL));
      return;
    }
  }
  the->done = 1;
}

void rig_write_back_some(const char *file) {
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  struct stat st;
  off_t at;
  must(fd >= 0 && fstat(fd, &st) == 0, file);
  for (at = 0; at < st.st_size; at += 4096) {
    if (below(2))
      sync_file_range(fd, at, 4096,
                      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE
                          | SYNC_FILE_RANGE_WAIT_AFTER);
  }
  close(fd);
}

int rig_cut(void) {
  int fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
  uint32_t no_log_flush = 2;
  must(fd >= 0, place);
  rc = ioctl(fd, FS_IOC_SHUTDOWN, &no_log_flush);
  close(fd);
  return rc == 0;
}

static int make_room(writer *writer) {
  maph *m = writer->m[MAPH_SYNC_OFF];
  struct stat st;
  must(stat(path, &st) == 0, path);
  if (st.st_size < COMPACT_AT) return MAPH_OK;
  compactions++;
  return maph_compact(m, NULL, NULL);
}

static void judge(long i) {
  writer writer;
  state got;
  int at;
  context("rig, cut %ld", i);
  if (writer_open(&writer, path, MAPH_RDWR) != MAPH_OK) {
    trouble("it cannot be opened: %s", maph_errmsg(NULL));
    return;
  }
  if (content_read(writer.m[MAPH_SYNC_OFF], &got) == 0) {
    at = content_match(&got, the->durable, the->flight == PROMISED && the->flight_survives_power);
    if (at < 0)
      trouble("what is recovered is no state from %d, the last at full, to %d", the->durable,
              the->n);
    else if (at == the->n + 1)
      the->history[at] = the->maybe;
    if (at >= 0) the->n = at;
    if (at >= 0) memcpy(the->history[at].balance, got.balance, sizeof got.balance);
  }
  board_start();
  if (make_room(&writer) != MAPH_OK) trouble("it cannot be compacted: %s", maph_errmsg(NULL));
  if (writer_close(&writer) != MAPH_OK) trouble("it cannot be closed: %s", maph_errmsg(NULL));
}

static int set_up(void) {
  writer writer;
  if (!rig_mount("40M")) return 0;
  must(writer_open(&writer, path, MAPH_RDWR | MAPH_CREATE) == MAPH_OK, "creating a store");
  universe_make(&the->u, store_hash_seed(path), 100, 60, 30);
  board_accounts(&writer);
  must(writer_close(&writer) == MAPH_OK, "closing a store");
  return 1;
}

int rig_main(long count) {
  long i, transactions = 0;
  int can;
  path = file_named("mounted/rig.maph");
  can = set_up();
  for (i = 0; can && i < count && troubles == 0; i++) {
    pid_t child = spawn(work, NULL);
    usleep(below(20000));
    kill(child, SIGKILL);
    reap(child);
    transactions += the->n;
    rig_write_back_some(path);
    if (!rig_cut()) {
      can = 0;
      break;
    }
    rig_mount_again();
    judge(i);
  }
  rig_unmount();
  if (!can)
    printf("this machine cannot mount and shut down an ext4\n");
  else
    printf("%ld cuts of a real file system, %ld transactions acknowledged, %ld compactions\n", i,
           transactions, compactions);
  return can ? 0 : 77;
}
