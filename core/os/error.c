/*
** error.c - result codes and their sentences.
**
** A sentence belongs to the thread in which the call failed, so that threads sharing a handle do
** not overwrite each other's. It names the file, the place and what to do.  Callers above pass
** codes on untouched.
**
** A call that succeeds leaves the sentence that it found.  So who goes on after a failure puts that
** back.  The calls that may take long do so where they return; the rest, where that happens, so
** that it costs nothing where nothing fails.
*/
#include "os/error.h"
#include "maph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local sentence said;

int fail(int rc, const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  vsnprintf(said.text, sizeof said.text, format, ap);
  va_end(ap);
  said.rc = rc;
  said.nameless = 0;
  return rc;
}

/* As much of it as there is text. */
static void copy(sentence *to, const sentence *from) {
  memcpy(to, from, offsetof(sentence, text) + strlen(from->text) + 1);
}

void error_keep(sentence *kept) { copy(kept, &said); }

void error_put_back(const sentence *kept) { copy(&said, kept); }

void say_corrupt(const char *path, uint64_t offset, const char *what) {
  fail(MAPH_CORRUPT,
       "%s: offset %llu: %s; the file is damaged: restore a backup, or run `maph recover` on it",
       path, (unsigned long long)offset, what);
}

int fail_memory(uint64_t size) {
  fail(MAPH_NOMEM, "no memory for %llu bytes", (unsigned long long)size);
  said.nameless = size;
  return MAPH_NOMEM;
}

int error_name(int rc, const char *path) {
  uint64_t size = said.nameless;
  return rc == MAPH_NOMEM && size && path
             ? fail(rc, "%s: no memory for %llu bytes", path, (unsigned long long)size)
             : rc;
}

int error_done(int rc, const sentence *kept, const char *path) {
  if (rc != MAPH_OK) return error_name(rc, path);
  error_put_back(kept);
  return rc;
}

const char *maph_errmsg(maph *m) {
  (void)m;
  return said.text[0] ? said.text : "no error";
}

const char *maph_strerror(int rc) {
  static const char *const names[] = {
    [MAPH_OK] = "ok",
    [MAPH_NOTFOUND] = "no such key",
    [MAPH_EXISTS] = "exists already",
    [MAPH_CONFLICT] = "not at the version asked for",
    [MAPH_BUSY] = "another writer holds the store",
    [MAPH_READONLY] = "opened for reading only",
    [MAPH_FULL] = "no room",
    [MAPH_TOOBIG] = "too big",
    [MAPH_NOMEM] = "out of memory",
    [MAPH_IOERR] = "input/output error",
    [MAPH_CORRUPT] = "the file is damaged",
    [MAPH_FORMAT] = "not a maph file of a known format",
    [MAPH_RECOVER] = "needs recovery",
    [MAPH_MISUSE] = "misuse of the interface",
    [MAPH_CANTOPEN] = "cannot open",
    [MAPH_COMPACTED] = "the changes asked for were compacted away",
    [MAPH_CANCELLED] = "stopped on request",
    [MAPH_MISMATCH] = "not a whole number of 64 bits",
  };
  if (rc < 0 || rc >= (int)(sizeof names / sizeof *names)) return "unknown result";
  return names[rc];
}

const char *maph_version(void) { return MAPH_VERSION; }
