/*
** keys.c - what ext/nats makes of keys, as Tcl commands.
**
**   maph_bucket_encode MODE BUCKET KEY     the form of a key; an error says why it has none
**   maph_bucket_decode MODE FORM           {} for no key, else a list of one
**   maph_bucket_random COUNT SEED          so many random keys there and back, escaped, and as many
**                                          forms with a byte changed; the first that is wrong, or
**                                          {}
*/
#include <string.h>
#include "answer.h"
#include "nats/keys.h"

int Maphkeys_Init(Tcl_Interp *interp);

static const char *const modes[] = { "plain", "escaped", NULL };

static int encode(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[]) {
  char form[KEYS_LINE];
  const char *mistake;
  size_t size;
  int mode;
  (void)data;
  if (argc != 4) return usage(interp, argv, 1, "MODE BUCKET KEY");
  if (Tcl_GetIndexFromObj(interp, argv[1], modes, "mode", TCL_EXACT, &mode) != TCL_OK)
    return TCL_ERROR;
  mistake = keys_encode((key_mode)mode, slice_of(argv[2]), slice_of(argv[3]), form, &size);
  if (mistake) {
    Tcl_SetObjResult(interp, Tcl_NewStringObj(mistake, -1));
    return TCL_ERROR;
  }
  Tcl_SetObjResult(interp, obj_of(maph_bytes(form, size)));
  return TCL_OK;
}

static int decode(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[]) {
  Tcl_Obj *found = Tcl_NewObj();
  maph_slice form;
  size_t size;
  char *key;
  int mode;
  (void)data;
  if (argc != 3) return usage(interp, argv, 1, "MODE FORM");
  if (Tcl_GetIndexFromObj(interp, argv[1], modes, "mode", TCL_EXACT, &mode) != TCL_OK)
    return TCL_ERROR;
  form = slice_of(argv[2]);
  key = ckalloc((unsigned)form.size + 1);
  if (keys_decode((key_mode)mode, form, key, &size))
    Tcl_ListObjAppendElement(interp, found, obj_of(maph_bytes(key, size)));
  ckfree(key);
  Tcl_SetObjResult(interp, found);
  return TCL_OK;
}

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
  uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

/* Mostly short, with many of the bytes that forms are made of. */
static size_t random_key(uint64_t *state, char key[64]) {
  static const char often[] = "..==/aA09_-F";
  size_t size = 1 + next_random(state) % (next_random(state) % 4 ? 8 : 64);
  for (size_t i = 0; i < size; i++) {
    uint64_t r = next_random(state);
    key[i] = r % 2 ? often[(r >> 8) % (sizeof often - 1)] : (char)(r >> 8);
  }
  return size;
}

/* Is a changed form no key, or the one form of the key that it stands for? */
static bool is_canonical(maph_slice form) {
  static char key[KEYS_LINE], again[KEYS_LINE];
  size_t size, written;
  if (!keys_decode(KEYS_ESCAPED, form, key, &size)) return true;
  return keys_encode(KEYS_ESCAPED, maph_str("b"), maph_bytes(key, size), again, &written) == NULL
         && written == form.size && memcmp(again, form.data, written) == 0;
}

static bool returns(maph_slice key, uint64_t *state) {
  static char form[KEYS_LINE], back[KEYS_LINE];
  size_t size, read;
  if (keys_encode(KEYS_ESCAPED, maph_str("b"), key, form, &size)) return false;
  if (!keys_decode(KEYS_ESCAPED, maph_bytes(form, size), back, &read)) return false;
  if (read != key.size || memcmp(back, key.data, read) != 0) return false;
  random_key(state, back);
  form[next_random(state) % size] = back[0];
  return is_canonical(maph_bytes(form, size));
}

static int random_keys(ClientData data, Tcl_Interp *interp, int argc, Tcl_Obj *const argv[]) {
  uint64_t count, state;
  (void)data;
  if (argc != 3) return usage(interp, argv, 1, "COUNT SEED");
  if (get_u64(interp, argv[1], &count) != TCL_OK || get_u64(interp, argv[2], &state) != TCL_OK)
    return TCL_ERROR;
  for (uint64_t i = 0; i < count; i++) {
    char key[64];
    size_t size = random_key(&state, key);
    if (returns(maph_bytes(key, size), &state)) continue;
    Tcl_SetObjResult(interp, obj_of(maph_bytes(key, size)));
    return TCL_OK;
  }
  return TCL_OK;
}

int Maphkeys_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_bucket_encode", encode, NULL, NULL);
  Tcl_CreateObjCommand(interp, "maph_bucket_decode", decode, NULL, NULL);
  Tcl_CreateObjCommand(interp, "maph_bucket_random", random_keys, NULL, NULL);
  return TCL_OK;
}
