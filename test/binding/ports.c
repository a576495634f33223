/*
** ports.c - a port for a server that is told its port.
**
**   maph_hold_port   a TCP port that is this process's until it ends
**
** A port that was free when a test looked may be another process's before the server binds it, or
** between two servers that shall have the same.  So the port stays bound, at all addresses, by a
** socket that does not listen: connections to it are refused, the system gives it to nobody who
** asks for any port, and a server that sets SO_REUSEADDR, as all do, can bind it all the same.
*/
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <tcl.h>

int Maphports_Init(Tcl_Interp *interp);

static int hold_port(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[]) {
  struct sockaddr_in address = { .sin_family = AF_INET };
  socklen_t size = sizeof address;
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  (void)data;
  if (argc != 1) {
    Tcl_WrongNumArgs(interp, 1, argv, "");
    return TCL_ERROR;
  }
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
      || bind(fd, (struct sockaddr *)&address, sizeof address) != 0
      || getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
    Tcl_SetObjResult(interp, Tcl_ObjPrintf("no port: %s", strerror(errno)));
    return TCL_ERROR;
  }
  Tcl_SetObjResult(interp, Tcl_NewIntObj(ntohs(address.sin_port)));
  return TCL_OK;
}

int Maphports_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_hold_port", hold_port, NULL, NULL);
  return TCL_OK;
}
