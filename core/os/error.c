/*
** error.c - result codes and their sentences.
**
** A sentence belongs to the thread in which the call failed, so that threads sharing a handle do
** not overwrite each other's. It names the file, the place and what to do.  Callers above pass
** codes on untouched.
*/
#include "os/error.h"
#include "maph.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char sentence[1024];

int fail(int rc, const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  vsnprintf(sentence, sizeof sentence, format, ap);
  va_end(ap);
  return rc;
}

void say_corrupt(const char *path, uint64_t offset, const char *what) {
  fail(MAPH_CORRUPT,
       "%s: offset %llu: %s; the file is damaged: restore a backup, or run `maph recover` on it",
       path, (unsigned long long)offset, what);
}

int fail_memory(uint64_t size) {
  return fail(MAPH_NOMEM, "no memory for %llu bytes", (unsigned long long)size);
}

const char *maph_errmsg(maph *m) {
  (void)m;
  return sentence[0] ? sentence : "no error";
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
