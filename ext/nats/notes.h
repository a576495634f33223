/*
** notes.h - the notes beside a file (sidecar.h) of who begins to follow or publish it.
*/
#ifndef MAPH_NATS_NOTES_H
#define MAPH_NATS_NOTES_H

#include "nats/sidecar.h"

/* sidecar_open_as.  Where the file system is full, or can only be read, that may pass: it says so,
** and tries again each second. */
const char *notes_open(const char *path, const char *suffix, unsigned mode, sidecar *notes);

#endif
