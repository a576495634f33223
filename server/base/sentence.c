/*
** sentence.c - the core's sentences as clients may read them.
**
** A sentence of the core names the file by its whole path.  Where the folders lie is the operator's
** business: a client is told the name alone, `s.maph: the disk is full`, and the log keeps the path
** beside the request's id.  Nor does it open files: what the core says of its flags is said in
** words of HTTP.
*/
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/options.h"
#include "base/sentence.h"

enum { FOLDERS = 4 };
/* as given and as resolved, without a slash at the end; written once, at the start */
static char *folders[FOLDERS];
static int folder_count;

static void add_folder(const char *path) {
  size_t size = strlen(path);
  while (size > 1 && path[size - 1] == '/') size--;
  if (size == 0 || (size == 1 && *path == '/')) return;
  if ((folders[folder_count] = strndup(path, size)) != NULL) folder_count++;
}

void sentence_setup(void) {
  const char *given[] = { option.data, option.backups };
  for (int i = 0; i < 2; i++) {
    char *resolved = given[i][0] ? realpath(given[i], NULL) : NULL;
    add_folder(given[i]);
    if (resolved) add_folder(resolved);
    free(resolved);
  }
}

/* Where a path may begin: not in the middle of a word. */
static bool begins_here(const char *text, const char *p) {
  return p == text || (!isalnum((unsigned char)p[-1]) && strchr("._-/", p[-1]) == NULL);
}

/* How much of what stands at p is one of the folders and the slashes after it; 0: none is. */
static size_t folder_at(const char *p) {
  for (int i = 0; i < folder_count; i++) {
    size_t size = strlen(folders[i]);
    if (strncmp(p, folders[i], size) != 0 || p[size] != '/') continue;
    return size + strspn(p + size, "/");
  }
  return 0;
}

static const char *const words[][2] = {
  { "open it with MAPH_RDWR|MAPH_CREATE to make it a store", "DELETE it and POST the store anew" },
  { "open it with MAPH_RDWR|MAPH_CREATE", "POST it" },
};

/* How much of what stands at p is said otherwise, at out, which has room; 0: nothing. */
static size_t word_at(const char *p, char *out, size_t room, size_t *written) {
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    size_t size = strlen(words[i][0]);
    if (strncmp(p, words[i][0], size) != 0) continue;
    *written = strnlen(words[i][1], room);
    memcpy(out, words[i][1], *written);
    return size;
  }
  return 0;
}

bool sentence_public(char *out, size_t room, const char *sentence) {
  const char *p = sentence;
  size_t n = 0;
  bool changed = false;
  while (*p && n + 1 < room) {
    size_t skip = begins_here(sentence, p) ? folder_at(p) : 0, written = 0;
    if (skip == 0 && (skip = word_at(p, out + n, room - n - 1, &written)) > 0) {
      n += written;
      p += skip;
      continue;
    }
    if (skip > 0)
      changed = true;
    else {
      out[n++] = *p;
      skip = 1;
    }
    p += skip;
  }
  out[n] = 0;
  return changed;
}
