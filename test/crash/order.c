/*
** order.c - calls that must come in an order which no crash of a process shows: of creating, of a
** name that may not be on disk yet, of leaving.
*/
#include "crash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char *path, calls[4000];
static const char *refused;
static uint64_t pad_at, epoch_at; /* of a recovery */

static void note(const char *what) {
  if (strlen(calls) + strlen(what) + 2 < sizeof calls) {
    strcat(calls, what);
    strcat(calls, " ");
  }
}

static int note_call(const char *call) {
  static const char *const interesting[] = { "msync", "fdatasync", "fsync", "rename", "link" };
  size_t i;
  for (i = 0; i < sizeof interesting / sizeof interesting[0]; i++)
    if (strcmp(call, interesting[i]) == 0) note(call);
  return refused && strcmp(call, refused) == 0 ? EIO : 0;
}

static void note_store(const uint8_t *at, uint64_t offset, size_t size) {
  (void)size;
  if (offset == offsetof(header, clean))
    note(header_of(at)->clean == CLEAN_OPENING ? "dirty" : "mark");
  if (offset == offsetof(header, unborn)) note("born");
  if (pad_at && offset == pad_at) note("pad");
  if (epoch_at && offset == epoch_at) note("epoch");
  if (offset >= LOG_START) note("log");
}

static void expect(const char *what, const char *before, const char *after) {
  const char *a = strstr(calls, before), *b = a ? strstr(a + strlen(before), after) : NULL;
  context("order, %s", what);
  if (b == NULL) trouble("%s must come before %s, but the order is: %.300s", before, after, calls);
}

static void watch(const char *refuse) {
  calls[0] = 0;
  refused = refuse;
  os_test.fault = note_call;
  os_test.store = note_store;
}

/* Mark the store as one whose name may not be on disk. */
static void make_unborn(void) {
  uint64_t yes = 1;
  size_t size;
  uint8_t *bytes = file_read(path, &size);
  memcpy(bytes + offsetof(header, unborn), &yes, 8);
  file_restore(path, bytes, size);
  free(bytes);
}

static void a_name_is_flushed_first(void) {
  maph *m;
  make_unborn();
  must(maph_open(path, MAPH_RDWR, NULL, &m) == MAPH_OK, "opening a store");
  watch("fsync");
  context("order, the folder's flush fails");
  if (maph_put(m, maph_str("k"), maph_str("v")) != MAPH_IOERR)
    trouble("a put succeeds though the store's name cannot be flushed");
  if (strstr(calls, "born")) trouble("the name counts as flushed though it was not");
  watch(NULL);
  if (maph_put(m, maph_str("k"), maph_str("v")) != MAPH_OK) trouble("put: %s", maph_errmsg(m));
  expect("a name that may not be on disk", "fsync", "born");
  expect("a name that may not be on disk", "born", "log");
  hooks_none();
  maph_close(m);
}

/* As a power loss leaves a store whose writer had taken space behind the last commit. */
static void lose_power_with_space(uint64_t space) {
  uint64_t dirty = CLEAN_DIRTY, end;
  size_t size;
  uint8_t *bytes = file_read(path, &size), *longer;
  memcpy(&pad_at, bytes + offsetof(header, committed), 8);
  epoch_at = end = pad_at + space;
  longer = calloc(1, size + space);
  must(longer != NULL, "memory");
  memcpy(longer, bytes, (size_t)pad_at);
  memcpy(longer + offsetof(header, end), &end, 8);
  memcpy(longer + offsetof(header, clean), &dirty, 8);
  file_restore(path, longer, size + space);
  free(longer);
  free(bytes);
  os_test.boot++;
}

/* A transaction that the power cut off may lie whole where the epoch is to be: no pad may lead
** there before the epoch is on disk. */
static void a_recovery_writes_its_epoch_first(void) {
  maph *m;
  lose_power_with_space(640);
  watch(NULL);
  must(maph_open(path, MAPH_RDWR, NULL, &m) == MAPH_OK, "opening a store");
  expect("a recovery", "epoch", "msync");
  expect("a recovery", "msync", "pad");
  expect("a recovery's pad", "epoch", "pad");
  expect("a recovery's pad", "pad", "msync");
  if (strstr(calls, "pad") < strstr(calls, "epoch"))
    trouble("a recovery's pad comes before the epoch: %.300s", calls);
  hooks_none();
  if (maph_check(m, NULL, NULL) != MAPH_OK) trouble("maph_check: %s", maph_errmsg(m));
  maph_close(m);
  pad_at = epoch_at = 0;
}

int order_main(long count) {
  maph *m;
  (void)count;
  path = file_named("order.maph");
  watch(NULL);
  must(maph_open(path, MAPH_RDWR | MAPH_CREATE, NULL, &m) == MAPH_OK, "creating a store");
  expect("creating", "log", "fdatasync");
  expect("creating", "fdatasync", "rename");
  expect("creating", "rename", "fsync");
  watch(NULL);
  if (maph_put(m, maph_str("k"), maph_str("v")) != MAPH_OK) trouble("put: %s", maph_errmsg(m));
  expect("a session's first write", "mark", "msync");
  expect("a session's first write", "msync", "dirty");
  expect("a session's first write", "dirty", "log");
  watch(NULL);
  if (maph_close(m) != MAPH_OK) trouble("close: %s", maph_errmsg(NULL));
  expect("leaving", "fdatasync", "mark");
  expect("leaving", "mark", "msync");
  hooks_none();
  a_name_is_flushed_first();
  a_recovery_writes_its_epoch_first();
  printf("the order of calls\n");
  free(path);
  return 0;
}
