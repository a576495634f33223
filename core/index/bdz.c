/*
** bdz.c - the perfect hash "cmph": BDZ (Botelho, Pagh, Ziviani 2007) as libcmph builds and packs
** it, searched in place.
**
** The library takes its keys' bytes: here the 8 bytes of their hashes, which one round of its
** mixing covers.  It builds with rand(), so one build at a time in a process.
**
** THE SEARCH is ours.  The library's reads its tables' sizes from the packed bytes at every call,
** and aborts or runs outside where they have been damaged; this one takes them once, checked, so
** that whatever becomes of the bytes later it stays inside.  Each function is compared with the
** library's own search, key by key, before it is used.
**
** A key's hash is three vertices, one in each third of the table; two bits at each, added up,
** choose one of the three, and its rank among the vertices in use is the key's number.  The hash is
** Jenkins's of 1996 ("lookup2").
*/
#include "index/bdz.h"
#include "os/error.h"
#include "os/os.h"
#include "maph.h"

#include <cmph.h>
#include <pthread.h>
#include <string.h>

enum { KEYS_MOST = 1000000000 };

static pthread_mutex_t one_build = PTHREAD_MUTEX_INITIALIZER;

/* --------------------------------------------------------------------------------------- search */

static inline void mix(uint32_t *a, uint32_t *b, uint32_t *c) {
  *a -= *b;
  *a -= *c;
  *a ^= *c >> 13;
  *b -= *c;
  *b -= *a;
  *b ^= *a << 8;
  *c -= *a;
  *c -= *b;
  *c ^= *b >> 13;
  *a -= *b;
  *a -= *c;
  *a ^= *c >> 12;
  *b -= *c;
  *b -= *a;
  *b ^= *a << 16;
  *c -= *a;
  *c -= *b;
  *c ^= *b >> 5;
  *a -= *b;
  *a -= *c;
  *a ^= *c >> 3;
  *b -= *c;
  *b -= *a;
  *b ^= *a << 10;
  *c -= *a;
  *c -= *b;
  *c ^= *b >> 15;
}

static inline unsigned bits_at(const uint8_t *vertices, uint32_t i) {
  return vertices[i >> 2] >> (i & 3) * 2 & 3;
}

/* How many of the 32 two-bit fields of a word are not 3, which stands for a vertex without a
** key? */
static inline unsigned in_use(uint64_t fields) {
  uint64_t unused = fields & fields >> 1 & UINT64_C(0x5555555555555555);
  return 32 - (unsigned)__builtin_popcountll(unused);
}

static uint32_t rank_of(const bdz *bdz, const uint8_t *data, uint32_t vertex) {
  const uint8_t *vertices = data + bdz->vertices;
  uint32_t at = vertex >> bdz->shift << bdz->shift, rank;
  memcpy(&rank, data + bdz->ranks + (uint64_t)(vertex >> bdz->shift) * 4, 4);
  for (; vertex - at >= 32; at += 32) {
    uint64_t fields;
    memcpy(&fields, vertices + at / 4, 8);
    rank += in_use(fields);
  }
  for (; at < vertex; at++) rank += bits_at(vertices, at) != 3;
  return rank;
}

uint64_t bdz_find(const bdz *bdz, const uint8_t *data, uint64_t hash) {
  const uint8_t *vertices = data + bdz->vertices;
  uint32_t vertex[3] = { UINT32_C(0x9e3779b9) + (uint32_t)hash,
                         UINT32_C(0x9e3779b9) + (uint32_t)(hash >> 32), bdz->seed + 8 };
  mix(&vertex[0], &vertex[1], &vertex[2]);
  vertex[0] %= bdz->third;
  vertex[1] = vertex[1] % bdz->third + bdz->third;
  vertex[2] = vertex[2] % bdz->third + 2 * bdz->third;
  return rank_of(bdz, data,
                 vertex[(bits_at(vertices, vertex[0]) + bits_at(vertices, vertex[1])
                         + bits_at(vertices, vertex[2]))
                        % 3]);
}

/* Packed are {algorithm, hash kind, seed, a third of the vertices, ranks} of 4 bytes each, the
** ranks, the shift in one byte, the vertices' bits. */
int bdz_sound(const uint8_t *data, uint64_t size, uint64_t n, bdz *bdz) {
  uint32_t field[5];
  uint64_t all, ranks;
  if (size < sizeof field + 1) return 0;
  memcpy(field, data, sizeof field);
  all = (uint64_t)field[3] * 3;
  ranks = field[4];
  if (field[0] != CMPH_BDZ || field[1] != CMPH_HASH_JENKINS || field[3] == 0 || all < n
      || all > UINT32_MAX || size - sizeof field - 1 < ranks * 4)
    return 0;
  bdz->seed = field[2];
  bdz->third = field[3];
  bdz->ranks = sizeof field;
  bdz->shift = data[bdz->ranks + ranks * 4];
  bdz->vertices = bdz->ranks + ranks * 4 + 1;
  return bdz->shift >= 2 && bdz->shift < 32 && ranks >= ((all - 1) >> bdz->shift) + 1
         && size - bdz->vertices >= (all + 3) / 4;
}

/* ---------------------------------------------------------------------------------------- build */

static int pack(cmph_t *f, const uint64_t *hash, uint32_t n, uint32_t *number, uint8_t **data,
                uint64_t *size, perfect_progress_fn progress, void *arg) {
  uint32_t i;
  int rc = MAPH_OK;
  bdz own;
  *size = cmph_packed_size(f);
  *data = os_alloc(*size);
  if (*data == NULL) return MAPH_NOMEM;
  cmph_pack(f, *data);
  if (!bdz_sound(*data, *size, n, &own))
    rc = fail(MAPH_NOTFOUND, "libcmph packed a function in a form that is not known");
  for (i = 0; rc == MAPH_OK && i < n; i++) {
    number[i] = (uint32_t)bdz_find(&own, *data, hash[i]);
    if (number[i] != cmph_search_packed(*data, (const char *)&hash[i], sizeof *hash))
      rc = fail(MAPH_NOTFOUND, "libcmph searches what it packed in a way that is not known");
    if (number[i] >= n) rc = fail(MAPH_NOTFOUND, "libcmph built a function that is not minimal");
    if (rc == MAPH_OK && progress && i % 65536 == 0) rc = progress(arg, i, n);
  }
  if (rc != MAPH_OK) {
    os_free(*data);
    *data = NULL;
  }
  return rc;
}

static int build(const uint64_t *hash, uint32_t n, uint32_t *number, uint8_t **data, uint64_t *size,
                 uint64_t *memory, perfect_progress_fn progress, void *arg) {
  cmph_io_adapter_t *source;
  cmph_config_t *config;
  cmph_t *f = NULL;
  int rc = progress ? progress(arg, 0, n) : MAPH_OK;
  if (rc != MAPH_OK) return rc;
  if (n > KEYS_MOST) return fail(MAPH_NOTFOUND, "libcmph's sizes do not reach %u keys", n);
  *memory = (uint64_t)n * 40; /* its graph: 3 edges a key and two tables over 1.23 vertices */
  pthread_mutex_lock(&one_build);
  source = cmph_io_struct_vector_adapter((void *)(uintptr_t)hash, sizeof *hash, 0, sizeof *hash, n);
  config = source ? cmph_config_new(source) : NULL;
  if (config) {
    cmph_config_set_algo(config, CMPH_BDZ);
    f = cmph_new(config);
    cmph_config_destroy(config);
  }
  if (source) cmph_io_struct_vector_adapter_destroy(source);
  pthread_mutex_unlock(&one_build);
  if (f == NULL) return fail(MAPH_NOTFOUND, "libcmph found no function for these %u keys", n);
  rc = pack(f, hash, n, number, data, size, progress, arg);
  cmph_destroy(f);
  return rc;
}

const perfect_builder bdz_builder = { "cmph", build };
