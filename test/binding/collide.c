/*
** collide.c - keys made to collide, as who can read a store's hash seed could make them.
**
**   maph_colliding PATH COUNT BITS  COUNT keys whose hashes in that store have their top BITS bits
**   0
**
** They make the index split one segment in vain, until the directory's limit; then overflow
** segments carry them.
*/
#include "file/store.h"
#include "index/find.h"

#include <stdio.h>
#include <tcl.h>

int Maphcollide_Init(Tcl_Interp *interp);

/* The hash seed is in the header; the store need not be open. */
static int read_seed(const char *path, store *store) {
  header header;
  FILE *f = fopen(path, "rb");
  size_t n = f ? fread(&header, sizeof header, 1, f) : 0;
  if (f) fclose(f);
  memset(store, 0, sizeof *store);
  store->hash_seed = header.hash_seed;
  return n == 1;
}

static int colliding(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[]) {
  Tcl_Obj *keys = Tcl_NewListObj(0, NULL);
  int count, bits, found = 0;
  uint64_t i;
  store store;
  (void)data;
  if (argc != 4 || Tcl_GetIntFromObj(interp, argv[2], &count) != TCL_OK
      || Tcl_GetIntFromObj(interp, argv[3], &bits) != TCL_OK || bits < 1 || bits > HASH_BITS) {
    Tcl_WrongNumArgs(interp, 1, argv, "PATH COUNT BITS");
    return TCL_ERROR;
  }
  if (!read_seed(Tcl_GetString(argv[1]), &store)) {
    Tcl_SetObjResult(interp, Tcl_NewStringObj("cannot read the store's header", -1));
    return TCL_ERROR;
  }
  for (i = 0; found < count; i++) {
    char key[256];
    int n = snprintf(key, sizeof key, "c%llu", (unsigned long long)i);
    uint64_t hash = index_hash(&store, maph_bytes(key, (size_t)n));
    if (hash >> (64 - bits) != 0) continue;
    Tcl_ListObjAppendElement(interp, keys, Tcl_NewStringObj(key, n));
    found++;
  }
  Tcl_SetObjResult(interp, keys);
  return TCL_OK;
}

int Maphcollide_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_colliding", colliding, NULL, NULL);
  return TCL_OK;
}
