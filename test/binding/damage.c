/*
** damage.c - a store damaged in every way, each time opened, read, checked, written and recovered
** (exercise.c says what must hold).
**
**   maph_damage build PATH ?plain|pilot|cmph|direct?   a small store of which everything is known
**   maph_damage flip  PATH FROM TO STEP EVERY    every STEPth bit from FROM to TO flipped
**   maph_damage cut   PATH FROM TO STEP EVERY    the file cut off at every STEPth byte
**   maph_damage noise PATH N SEED EVERY          random bytes over random ranges
**   maph_damage forge PATH N SEED EVERY  hostile fields with checksums that fit, in clean, dirty
**   and untrusted files
**
** Every EVERYth variant is also written to and recovered, as a copy PATH.copy (0: none).  The
** answer is a dict: variants, opened (those that were), unnoticed (list of places where neither
** open nor check nor any answer told), complaints (list of {VARIANT COMPLAINT}), slowest_ms
** (processor time), variant (its name).
*/
#include "exercise.h"
#include "forge.h"
#include "os/os.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tcl.h>
#include <time.h>
#include <unistd.h>

int Maphdamage_Init(Tcl_Interp *interp);

enum { IMAGE_MAX = 256 * 1024, COMPLAINTS_MOST = 20, LIMIT_SECONDS = 60 };

static uint8_t pristine[IMAGE_MAX], image[IMAGE_MAX];
static size_t pristine_size;
static truth known;
static char variant[400], path[1000], copy[1010];

typedef struct tally {
  Tcl_Obj *complaints, *unnoticed;
  long variants, opened, complained, unnoticed_count, every;
  double slowest;
  char slowest_variant[400];
} tally;

/* ------------------------------------------------------------------------ what went wrong where */

static void say_variant(void) {
  static const char before[] = "\ndamage.c: while trying: ";
  ssize_t n = write(2, before, sizeof before - 1);
  n = write(2, variant, strlen(variant));
  n = write(2, "\n", 1);
  (void)n;
}

static void on_signal(int number) {
  say_variant();
  signal(number, SIG_DFL);
  raise(number);
}

void __asan_on_error(void) __attribute__((visibility("default")));
void __asan_on_error(void) { say_variant(); }

static void watch_signals(void) {
  signal(SIGALRM, on_signal);
  signal(SIGABRT, on_signal);
#if !defined(__SANITIZE_ADDRESS__)
  signal(SIGSEGV, on_signal);
  signal(SIGBUS, on_signal);
#endif
}

static double cpu_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---------------------------------------------------------------------------------------- files */

static int read_file(const char *name, uint8_t *bytes, size_t *size) {
  int fd = open(name, O_RDONLY);
  ssize_t n = fd >= 0 ? pread(fd, bytes, IMAGE_MAX, 0) : -1;
  if (fd >= 0) close(fd);
  *size = n > 0 ? (size_t)n : 0;
  return n >= 0;
}

static void write_file(const char *name, const uint8_t *bytes, size_t size) {
  int fd = open(name, O_RDWR | O_CREAT, 0644);
  if (fd < 0 || pwrite(fd, bytes, size, 0) != (ssize_t)size || ftruncate(fd, (off_t)size) != 0)
    Tcl_Panic("cannot write %s", name);
  close(fd);
}

/* Nothing of the copy is left: neither it nor what recovery made of it. */
static void remove_copies(void) {
  char name[1030];
  int n;
  unlink(copy);
  snprintf(name, sizeof name, "%s.new", copy);
  unlink(name);
  for (n = 0; n < 1000; n++) {
    if (n == 0)
      snprintf(name, sizeof name, "%s.damaged", copy);
    else
      snprintf(name, sizeof name, "%s.damaged.%d", copy, n);
    if (unlink(name) != 0) break;
  }
}

/* Make a dirty image one that this machine, now, believes: with the words that a writer of that
** very file leaves. */
static void adopt_place(const char *name) {
  static uint8_t now[IMAGE_MAX];
  size_t got;
  maph *m;
  write_file(name, pristine, pristine_size);
  if (maph_open(name, MAPH_RDWR, NULL, &m) != MAPH_OK)
    Tcl_Panic("the pristine copy does not open: %s", maph_errmsg(NULL));
  if (maph_put(m, maph_str("x"), maph_str("y")) != MAPH_OK)
    Tcl_Panic("the pristine copy takes no write: %s", maph_errmsg(NULL));
  read_file(name, now, &got);
  memcpy(image + PLACE_FROM, now + PLACE_FROM, PLACE_TO - PLACE_FROM);
  maph_close(m);
}

/* ---------------------------------------------------------------------------------- one variant */

static void complain(tally *tally, const char *what) {
  Tcl_Obj *pair;
  if (tally->complained++ >= COMPLAINTS_MOST) return;
  pair = Tcl_NewListObj(0, NULL);
  Tcl_ListObjAppendElement(NULL, pair, Tcl_NewStringObj(variant, -1));
  Tcl_ListObjAppendElement(NULL, pair, Tcl_NewStringObj(what, -1));
  Tcl_ListObjAppendElement(NULL, tally->complaints, pair);
}

static void time_out(tally *tally, double began) {
  double took = cpu_ms() - began;
  if (took <= tally->slowest) return;
  tally->slowest = took;
  snprintf(tally->slowest_variant, sizeof tally->slowest_variant, "%s", variant);
}

/* Every check of exercise.c on image[0..size).  place: what to note when nobody noticed, or -1.
** How: what a live file would hold. */
enum { AS_IT_IS, DIRTY, UNTRUSTED };
static void try_variant(tally *tally, size_t size, const truth *truth, long place, int how) {
  exercise exercise;
  double began;
  alarm(LIMIT_SECONDS);
  os_test.hint = how == DIRTY ? 2 : 0;
  memset(&exercise, 0, sizeof exercise);
  exercise.t = truth;
  if (how == DIRTY) adopt_place(path);
  write_file(path, image, size);
  began = cpu_ms();
  exercise_read(path, &exercise);
  time_out(tally, began);
  tally->opened += exercise.opened == MAPH_OK;
  if (exercise.opened == MAPH_OK && exercise.problems == 0 && place >= 0) {
    if (tally->unnoticed_count++ < 200000)
      Tcl_ListObjAppendElement(NULL, tally->unnoticed, Tcl_NewWideIntObj(place));
  }
  if (tally->every > 0 && tally->variants % tally->every == 0) {
    began = cpu_ms();
    remove_copies();
    write_file(copy, image, 0);
    if (how == DIRTY) adopt_place(copy);
    write_file(copy, image, size);
    exercise_write(copy, &exercise);
    time_out(tally, began);
  }
  if (exercise.complaint[0]) complain(tally, exercise.complaint);
  tally->variants++;
  alarm(0);
}

/* ---------------------------------------------------------------------------------- the damages */

static void flip(tally *tally, long from, long to, long step) {
  long bit;
  memcpy(image, pristine, pristine_size);
  for (bit = from; bit < to && bit / 8 < (long)pristine_size; bit += step) {
    snprintf(variant, sizeof variant, "flip of bit %ld of byte %ld", bit % 8, bit / 8);
    image[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    try_variant(tally, pristine_size, &known, bit, AS_IT_IS);
    image[bit / 8] ^= (uint8_t)(1 << (bit % 8));
  }
}

static void cut(tally *tally, long from, long to, long step) {
  long size;
  memcpy(image, pristine, pristine_size);
  for (size = from; size < to && size <= (long)pristine_size; size += step) {
    snprintf(variant, sizeof variant, "cut at byte %ld", size);
    try_variant(tally, (size_t)size, &known, size, AS_IT_IS);
  }
}

static void noise(tally *tally, long n, uint64_t seed) {
  forge forge = { .image = image, .room = IMAGE_MAX };
  long i;
  for (i = 0; i < n; i++) {
    uint64_t at, length, k;
    memcpy(image, pristine, pristine_size);
    forge.size = pristine_size;
    forge.state = seed + (uint64_t)i;
    at = forge_random(&forge, forge_random(&forge, 4) ? pristine_size : 600);
    length = 1 + forge_random(&forge, UINT64_C(1) << forge_random(&forge, 15));
    for (k = 0; k < length && at + k < pristine_size; k++)
      image[at + k] = (uint8_t)forge_random(&forge, 256);
    snprintf(variant, sizeof variant, "noise, seed %llu: %llu bytes at %llu",
             (unsigned long long)forge.state, (unsigned long long)length, (unsigned long long)at);
    try_variant(tally, pristine_size, &known, -1, AS_IT_IS);
  }
}

/* Checksums fit, so the values may be anything: no truth. */
static void forge_many(tally *tally, long n, uint64_t seed) {
  static const char *const states[] = { "clean", "dirty", "untrusted" };
  forge forge = { .image = image, .room = IMAGE_MAX };
  long i, k;
  for (i = 0; i < n; i++) {
    char whole[300] = "";
    int how = (int)((seed + (uint64_t)i) % 3);
    memcpy(image, pristine, pristine_size);
    forge.size = pristine_size;
    forge.state = (seed + (uint64_t)i) * 1000003u;
    for (k = 1 + (long)forge_random(&forge, 3); k > 0; k--) {
      forge_change(&forge);
      snprintf(whole + strlen(whole), sizeof whole - strlen(whole), "; %.90s", forge.what);
    }
    if (forge_random(&forge, 8))
      forge_repair(&forge, forge_random(&forge, 2) ? REPAIR_ALL : (int)forge_random(&forge, 16));
    if (how != AS_IT_IS) forge_dirty(&forge, how == DIRTY);
    snprintf(variant, sizeof variant, "forged, seed %llu, %s%s",
             (unsigned long long)(seed + (uint64_t)i), states[how], whole);
    try_variant(tally, forge.size, NULL, -1, how);
  }
}

/* ---------------------------------------------------------------------------------- the command */

static int result(Tcl_Interp *interp, tally *tally) {
  Tcl_Obj *d = Tcl_NewDictObj();
  Tcl_DictObjPut(NULL, d, Tcl_NewStringObj("variants", -1), Tcl_NewWideIntObj(tally->variants));
  Tcl_DictObjPut(NULL, d, Tcl_NewStringObj("opened", -1), Tcl_NewWideIntObj(tally->opened));
  Tcl_DictObjPut(NULL, d, Tcl_NewStringObj("unnoticed", -1), tally->unnoticed);
  Tcl_DictObjPut(NULL, d, Tcl_NewStringObj("complaints", -1), tally->complaints);
  Tcl_DictObjPut(NULL, d, Tcl_NewStringObj("complained", -1), Tcl_NewWideIntObj(tally->complained));
  Tcl_DictObjPut(NULL, d, Tcl_NewStringObj("slowest_ms", -1), Tcl_NewDoubleObj(tally->slowest));
  Tcl_DictObjPut(NULL, d, Tcl_NewStringObj("variant", -1),
                 Tcl_NewStringObj(tally->slowest_variant, -1));
  Tcl_SetObjResult(interp, d);
  return TCL_OK;
}

static int build(Tcl_Interp *interp, int kind) {
  if (truth_build(path, kind, &known) != MAPH_OK || !read_file(path, pristine, &pristine_size)) {
    Tcl_SetObjResult(interp, Tcl_NewStringObj(maph_errmsg(NULL), -1));
    return TCL_ERROR;
  }
  Tcl_SetObjResult(interp, Tcl_NewWideIntObj((Tcl_WideInt)pristine_size));
  return TCL_OK;
}

static int damage_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "build", "flip", "cut", "noise", "forge", NULL };
  static const char *const kinds[] = { "plain", "pilot", "cmph", "direct", NULL };
  static const int words[] = { 3, 7, 7, 6, 6 };
  uint64_t reserve = os_test.reserve;
  Tcl_WideInt a[4];
  tally tally;
  int verb, i, kind = TRUTH_PLAIN;
  (void)data;
  if (objc < 3 || Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", 0, &verb) != TCL_OK
      || (objc != words[verb] && (verb != 0 || objc != 4))) {
    Tcl_WrongNumArgs(interp, 1, objv, "build|flip|cut|noise|forge PATH ?args?");
    return TCL_ERROR;
  }
  snprintf(path, sizeof path, "%s", Tcl_GetString(objv[2]));
  snprintf(copy, sizeof copy, "%s.copy", path);
  if (verb == 0 && objc == 4
      && Tcl_GetIndexFromObj(interp, objv[3], kinds, "kind", 0, &kind) != TCL_OK)
    return TCL_ERROR;
  if (verb == 0) return build(interp, kind);
  for (i = 3; i < objc; i++)
    if (Tcl_GetWideIntFromObj(interp, objv[i], &a[i - 3]) != TCL_OK) return TCL_ERROR;
  memset(&tally, 0, sizeof tally);
  tally.complaints = Tcl_NewListObj(0, NULL);
  tally.unnoticed = Tcl_NewListObj(0, NULL);
  tally.every = (long)(objc == 7 ? a[3] : a[2]);
  watch_signals();
  os_test.reserve = 1024 * 1024; /* many short-lived mappings */
  if (verb == 1) flip(&tally, (long)a[0], (long)a[1], (long)a[2]);
  if (verb == 2) cut(&tally, (long)a[0], (long)a[1], (long)a[2]);
  if (verb == 3) noise(&tally, (long)a[0], (uint64_t)a[1]);
  if (verb == 4) forge_many(&tally, (long)a[0], (uint64_t)a[1]);
  os_test.reserve = reserve;
  write_file(path, pristine, pristine_size);
  remove_copies();
  return result(interp, &tally);
}

int Maphdamage_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_damage", damage_cmd, NULL, NULL);
  return TCL_OK;
}
