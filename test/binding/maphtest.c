/*
** maphtest.c - a tclsh that knows maph: `build/maphtest SCRIPT ARGS...`
**
** The core inside is compiled with MAPH_TEST and with asserts; sanitizers watch it with the rest of
** the program, which a package loaded into the system's tclsh would not give.
*/
#include "os/os.h"
#include <stdlib.h>
#include <tcl.h>

int Maphtcl_Init(Tcl_Interp *interp);
int Maphhooks_Init(Tcl_Interp *interp);
int Maphthreads_Init(Tcl_Interp *interp);
int Maphdamage_Init(Tcl_Interp *interp);
int Maphoutgrow_Init(Tcl_Interp *interp);
int Maphcollide_Init(Tcl_Interp *interp);
int Maphmisuse_Init(Tcl_Interp *interp);
int Maphwaits_Init(Tcl_Interp *interp);
int Maphload_Init(Tcl_Interp *interp);
int Maphpages_Init(Tcl_Interp *interp);
int Maphports_Init(Tcl_Interp *interp);
int Maphkeys_Init(Tcl_Interp *interp);
int Maphdevice_Init(Tcl_Interp *interp);

static int app_init(Tcl_Interp *interp) {
  if (Tcl_Init(interp) != TCL_OK) return TCL_ERROR;
  if (Maphtcl_Init(interp) != TCL_OK || Maphhooks_Init(interp) != TCL_OK) return TCL_ERROR;
  if (Maphthreads_Init(interp) != TCL_OK || Maphdamage_Init(interp) != TCL_OK) return TCL_ERROR;
  if (Maphcollide_Init(interp) != TCL_OK || Maphmisuse_Init(interp) != TCL_OK) return TCL_ERROR;
  if (Maphwaits_Init(interp) != TCL_OK || Maphload_Init(interp) != TCL_OK) return TCL_ERROR;
  if (Maphpages_Init(interp) != TCL_OK || Maphports_Init(interp) != TCL_OK) return TCL_ERROR;
  if (Maphkeys_Init(interp) != TCL_OK || Maphdevice_Init(interp) != TCL_OK) return TCL_ERROR;
  return Maphoutgrow_Init(interp);
}

/* MAPH_TEST_LEAF=N: the order of keys in leaves of N entries, so that a few keys make many runs. */
int main(int argc, char **argv) {
  const char *leaf = getenv("MAPH_TEST_LEAF");
  if (leaf) os_test.leaf = strtoull(leaf, NULL, 10);
  Tcl_Main(argc, argv, app_init);
  return 0;
}
