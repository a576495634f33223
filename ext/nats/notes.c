/*
** notes.c - the notes beside a file of who begins to follow or publish it (notes.h).
*/
#include <errno.h>
#include <time.h>
#include "nats/notes.h"
#include "nats/replica.h"

static bool may_pass(int error) { return error == ENOSPC || error == EDQUOT || error == EROFS; }

const char *notes_open(const char *path, const char *suffix, unsigned mode, sidecar *notes) {
  struct timespec pause = { .tv_sec = 1 };
  bool said = false;
  const char *wrong;
  while ((wrong = sidecar_open_as(path, suffix, mode, notes)) != NULL && may_pass(errno)) {
    if (!said) note("%s: it is tried again each second", wrong);
    said = true;
    nanosleep(&pause, NULL);
  }
  return wrong;
}
