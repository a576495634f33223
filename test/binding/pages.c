/*
** pages.c - what a file is mapped in.
**
**   maph_huge_mapped PATH   maps the file for reading, touches all of it, and answers how many KiB
**                           of it the kernel mapped in pages larger than the usual ones
*/
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tcl.h>
#include <unistd.h>

int Maphpages_Init(Tcl_Interp *interp);

/* Of the mapping that begins there; -1: the system does not tell. */
static long huge_at(const void *base) {
  FILE *f = fopen("/proc/self/smaps", "r");
  char line[1000];
  unsigned long from;
  long kib = -1, n;
  int mine = 0;
  while (f && fgets(line, sizeof line, f)) {
    if (sscanf(line, "%lx-", &from) == 1 && strstr(line, "-")) mine = from == (unsigned long)base;
    if (!mine) continue;
    if (sscanf(line, "FilePmdMapped: %ld", &n) == 1 || sscanf(line, "ShmemPmdMapped: %ld", &n) == 1)
      kib = (kib < 0 ? 0 : kib) + n;
  }
  if (f) fclose(f);
  return kib;
}

static int huge_mapped(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[]) {
  unsigned sum = 0;
  struct stat st;
  unsigned char *p;
  long kib = -1, i;
  int fd;
  (void)data;
  if (argc != 2) {
    Tcl_WrongNumArgs(interp, 1, argv, "PATH");
    return TCL_ERROR;
  }
  fd = open(Tcl_GetString(argv[1]), O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && fstat(fd, &st) == 0) {
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED) {
      for (i = 0; i < st.st_size; i += 4096) sum += p[i];
      kib = sum > 0 ? huge_at(p) : -1; /* each page was touched */
      munmap(p, (size_t)st.st_size);
    }
  }
  if (fd >= 0) close(fd);
  Tcl_SetObjResult(interp, Tcl_NewWideIntObj(kib));
  return TCL_OK;
}

int Maphpages_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_huge_mapped", huge_mapped, NULL, NULL);
  return TCL_OK;
}
