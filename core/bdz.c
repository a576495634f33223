/*
** bdz.c - the perfect hash "cmph": libcmph's BDZ (Botelho, Pagh, Ziviani 2007), packed in the file and searched in place.
**
** The library takes its keys' bytes: here the 8 bytes of their hashes, which one round of its mixing covers.  It builds with rand(), so one
** build at a time in a process.  What it packs it later searches without a look at sizes, so bdz_sound makes sure first that no byte of the
** data can lead it outside.
*/
#include "error.h"
#include "maph.h"
#include "os.h"
#include "perfect.h"

#include <cmph.h>
#include <pthread.h>
#include <string.h>

enum { PACKED_BDZ = CMPH_BDZ, PACKED_JENKINS = CMPH_HASH_JENKINS, KEYS_MOST = 1000000000 };

static pthread_mutex_t one_build = PTHREAD_MUTEX_INITIALIZER;

uint64_t bdz_find(const uint8_t *data, uint64_t hash){
  return cmph_search_packed((void*)(uintptr_t)data, (const char*)&hash, sizeof hash);
}

static int pack(cmph_t *f, const uint64_t *hash, uint32_t n, uint32_t *number, uint8_t **data, uint64_t *size, perfect_progress_fn progress, void *arg){
  uint32_t i;
  int rc = MAPH_OK;
  *size = cmph_packed_size(f);
  *data = os_alloc(*size);
  if( *data==NULL ) return MAPH_NOMEM;
  cmph_pack(f, *data);
  if( !bdz_sound(*data, *size, n) ) rc = fail(MAPH_NOTFOUND, "libcmph packed a function in a form that is not known");
  for(i=0; rc==MAPH_OK && i<n; i++){
    number[i] = (uint32_t)bdz_find(*data, hash[i]);
    if( number[i]>=n ) rc = fail(MAPH_NOTFOUND, "libcmph built a function that is not minimal");
    if( rc==MAPH_OK && progress && i%65536==0 ) rc = progress(arg, i, n);
  }
  if( rc!=MAPH_OK ){ os_free(*data); *data = NULL; }
  return rc;
}

static int build(const uint64_t *hash, uint32_t n, uint32_t *number, uint8_t **data, uint64_t *size, uint64_t *memory,
                 perfect_progress_fn progress, void *arg){
  cmph_io_adapter_t *source;
  cmph_config_t *config;
  cmph_t *f = NULL;
  int rc = progress ? progress(arg, 0, n) : MAPH_OK;
  if( rc!=MAPH_OK ) return rc;
  if( n>KEYS_MOST ) return fail(MAPH_NOTFOUND, "libcmph's sizes do not reach %u keys", n);
  *memory = (uint64_t)n*40;                /* its graph: 3 edges a key and two tables over 1.23 vertices */
  pthread_mutex_lock(&one_build);
  source = cmph_io_struct_vector_adapter((void*)(uintptr_t)hash, sizeof *hash, 0, sizeof *hash, n);
  config = source ? cmph_config_new(source) : NULL;
  if( config ){
    cmph_config_set_algo(config, CMPH_BDZ);
    f = cmph_new(config);
    cmph_config_destroy(config);
  }
  if( source ) cmph_io_struct_vector_adapter_destroy(source);
  pthread_mutex_unlock(&one_build);
  if( f==NULL ) return fail(MAPH_NOTFOUND, "libcmph found no function for these %u keys", n);
  rc = pack(f, hash, n, number, data, size, progress, arg);
  cmph_destroy(f);
  return rc;
}

const perfect_builder bdz_builder = { "cmph", build };

/* {algorithm, hash kind, seed, r, size of the rank table} of 4 bytes, the table, b of one byte, two bits for each of 3r vertices. */
int bdz_sound(const uint8_t *data, uint64_t size, uint64_t n){
  uint32_t field[5];
  uint64_t vertices, table, b;
  if( size<sizeof field+1 ) return 0;
  memcpy(field, data, sizeof field);
  vertices = (uint64_t)field[3]*3;
  table = field[4];
  if( field[0]!=PACKED_BDZ || field[1]!=PACKED_JENKINS || field[3]==0 || vertices<n || vertices>UINT32_MAX ) return 0;
  if( size-sizeof field-1<table*4 ) return 0;
  b = data[sizeof field+table*4];
  return b>=2 && b<32 && table>=((vertices-1)>>b)+1 && size-sizeof field-1-table*4>=(vertices+3)/4;
}
