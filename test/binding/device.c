/*
** device.c - a disk that fails when told to, and files without a name.
**
**   maph_device_ends DEVICE BYTES    what lies past that byte of a loop device answers EIO, to
**                                    reads and to writes; 0: none of it does any more
**   maph_memory_file PATH SEALS      a file of memory (memfd_create) with the bytes of PATH, sealed
**                                    with those of write|grow|shrink|future_write: the path of
**                                    /proc that leads to it as long as this process lives
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <tcl.h>
#include <unistd.h>

int Maphdevice_Init(Tcl_Interp *interp);

static int failed(Tcl_Interp *interp, const char *what, int fd) {
  int e = errno;
  if (fd >= 0) close(fd);
  Tcl_SetObjResult(interp, Tcl_ObjPrintf("%s: %s", what, strerror(e)));
  return TCL_ERROR;
}

static int device_ends(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[]) {
  struct loop_info64 info;
  Tcl_WideInt bytes;
  int fd;
  (void)data;
  if (argc != 3 || Tcl_GetWideIntFromObj(interp, argv[2], &bytes) != TCL_OK) {
    Tcl_WrongNumArgs(interp, 1, argv, "DEVICE BYTES");
    return TCL_ERROR;
  }
  fd = open(Tcl_GetString(argv[1]), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ioctl(fd, LOOP_GET_STATUS64, &info) != 0)
    return failed(interp, Tcl_GetString(argv[1]), fd);
  info.lo_sizelimit = (__u64)bytes;
  if (ioctl(fd, LOOP_SET_STATUS64, &info) != 0) return failed(interp, Tcl_GetString(argv[1]), fd);
  close(fd);
  return TCL_OK;
}

static int copy_to(int from, int to) {
  char bytes[4096];
  ssize_t n;
  while ((n = read(from, bytes, sizeof bytes)) > 0)
    if (write(to, bytes, (size_t)n) != n) return -1;
  return (int)n;
}

static int memory_file(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[]) {
  static const char *const names[] = { "write", "grow", "shrink", "future_write", NULL };
  static const int seals[] = { F_SEAL_WRITE, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_FUTURE_WRITE };
  int i, n, from, to, seal, all = 0;
  Tcl_Obj **words;
  (void)data;
  if (argc != 3) {
    Tcl_WrongNumArgs(interp, 1, argv, "PATH SEALS");
    return TCL_ERROR;
  }
  if (Tcl_ListObjGetElements(interp, argv[2], &n, &words) != TCL_OK) return TCL_ERROR;
  for (i = 0; i < n; i++) {
    if (Tcl_GetIndexFromObj(interp, words[i], names, "seal", 0, &seal) != TCL_OK) return TCL_ERROR;
    all |= seals[seal];
  }
  from = open(Tcl_GetString(argv[1]), O_RDONLY | O_CLOEXEC);
  if (from < 0) return failed(interp, Tcl_GetString(argv[1]), -1);
  to = memfd_create("store", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (to < 0 || copy_to(from, to) != 0 || fcntl(to, F_ADD_SEALS, all) != 0) {
    close(from);
    return failed(interp, "a file of memory", to);
  }
  close(from);
  Tcl_SetObjResult(interp, Tcl_ObjPrintf("/proc/%d/fd/%d", (int)getpid(), to));
  return TCL_OK;
}

int Maphdevice_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_device_ends", device_ends, NULL, NULL);
  Tcl_CreateObjCommand(interp, "maph_memory_file", memory_file, NULL, NULL);
  return TCL_OK;
}
