/*
** pages.c - which versions of a page a power cut may leave.
**
** The kernel may write any page at any time, and only a flush makes it.  So after a cut a page may hold any content that it had since the last
** flush that covered it, each page for itself; in the second mode each sector of 512 bytes for itself.  The file may have any size that
** it had since the last flush of any of it, because a flush takes the size with it.
**
** The hooks run before each store: what the page holds then is a version that ends with this store.  A flush that began after a version had
** ended makes it impossible.  (Between its begin, seen by the fault hook, and its end other threads may store: those versions stay.)
**
** The memory is shared: writers are processes that die.
*/
#include "crash.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, SECTOR = 512, PAGES_MAX = 1024, VERSIONS_MAX = 6000, SIZES_MAX = 64 };

typedef struct version { uint32_t next; uint64_t until; uint8_t bytes[PAGE]; } version;

static struct pages {
  atomic_int lock;
  uint64_t now;                                  /* stores so far */
  uint32_t newest[PAGES_MAX];                    /* place of the version that ended last, 0: none */
  uint32_t spare, used;
  struct { uint64_t size, until; } sizes[SIZES_MAX];
  int      size_count;
  char     path[400];
  version  versions[VERSIONS_MAX];
} *p;

static _Thread_local uint64_t flush_began;

static void enter(void){ while( atomic_exchange(&p->lock, 1) ){} }
static void leave(void){ atomic_store(&p->lock, 0); }

void pages_start(const char *path){
  if( p==NULL ) p = shared(sizeof *p);
  p->lock = 0;
  p->now = 0;
  p->spare = 0;
  p->used = 1;
  p->size_count = 0;
  memset(p->newest, 0, sizeof p->newest);
  snprintf(p->path, sizeof p->path, "%s", path);
}

/* ----------------------------------------------------------------------------------------------------------- hooks */

static void remember(const uint8_t *base, uint64_t page){
  const uint8_t *bytes = base+page*PAGE;
  uint32_t at = p->newest[page];
  version *v;
  if( at!=0 && memcmp(p->versions[at].bytes, bytes, PAGE)==0 ){ p->versions[at].until = p->now; return; }
  at = p->spare;
  if( at!=0 ) p->spare = p->versions[at].next; else at = p->used++;
  must(at<VERSIONS_MAX, "more versions of pages than there is room for");
  v = &p->versions[at];
  memcpy(v->bytes, bytes, PAGE);
  v->until = p->now;
  v->next = p->newest[page];
  p->newest[page] = at;
}

static void count_and_die(void){
  if( atomic_fetch_add(&the->step, 1)+1==atomic_load(&the->kill_at) ){ leave(); kill(getpid(), SIGKILL); }
}

static void before_store(const uint8_t *base, uint64_t offset, size_t size){
  uint64_t page;
  if( size==0 ) return;
  enter();
  p->now++;
  for(page=offset/PAGE; page<=(offset+size-1)/PAGE && page<PAGES_MAX; page++) remember(base, page);
  must(page<PAGES_MAX, "the store is larger than the test thought");
  count_and_die();
  leave();
}

/* The versions of a page that ended before a flush began are gone. */
static void forget(uint64_t page, uint64_t began){
  uint32_t *at = &p->newest[page];
  while( *at!=0 ){
    version *v = &p->versions[*at];
    if( v->until<=began ){
      uint32_t gone = *at;
      *at = v->next;
      v->next = p->spare;
      p->spare = gone;
    }else{
      at = &v->next;
    }
  }
}

static void after_flush(const uint8_t *base, uint64_t from, uint64_t to){
  uint64_t page;
  int i, n = 0;
  enter();
  if( base==NULL ){ from = 0; to = (uint64_t)PAGES_MAX*PAGE; }
  for(page=from/PAGE; page<to/PAGE && page<PAGES_MAX; page++) forget(page, flush_began);
  for(i=0; i<p->size_count; i++) if( p->sizes[i].until>flush_began ) p->sizes[n++] = p->sizes[i];
  p->size_count = n;
  count_and_die();
  leave();
}

static void remember_size(void){
  struct stat st;
  if( stat(p->path, &st)!=0 ) return;
  must(p->size_count<SIZES_MAX, "more sizes than there is room for");
  p->sizes[p->size_count].size = (uint64_t)st.st_size;
  p->sizes[p->size_count++].until = ++p->now;
}

static int before_call(const char *call){
  enter();
  if( strcmp(call, "msync")==0 || strcmp(call, "fdatasync")==0 ) flush_began = p->now;
  if( strcmp(call, "fallocate")==0 || strcmp(call, "ftruncate")==0 ) remember_size();
  if( strcmp(call, "malloc")!=0 ) count_and_die();
  leave();
  return 0;
}

void pages_watch(const char *path){
  (void)path;
  atomic_store(&p->lock, 0);
  os_test.store = before_store;
  os_test.flush = after_flush;
  os_test.fault = before_call;
}

/* ---------------------------------------------------------------------------------------------------------- images */

/* The distinct bytes [at, at+size) that a page may hold, its content now last. */
static int choices(uint64_t page, const uint8_t *now, int at, int size, const uint8_t **out){
  uint32_t v;
  int n = 0, i;
  for(v=p->newest[page]; v!=0; v=p->versions[v].next){
    const uint8_t *bytes = p->versions[v].bytes+at;
    for(i=0; i<n && memcmp(out[i], bytes, (size_t)size)!=0; i++){}
    if( i==n && memcmp(bytes, now+at, (size_t)size)!=0 ) out[n++] = bytes;
  }
  out[n++] = now+at;
  return n;
}

double pages_images(int sectors){
  static const uint8_t *out[VERSIONS_MAX];
  size_t size;
  uint8_t *now = file_read(p->path, &size);
  double product = 1+p->size_count;
  int unit = sectors ? SECTOR : PAGE, at;
  uint64_t page;
  for(page=0; page<size/PAGE; page++) for(at=0; at<PAGE && p->newest[page]!=0; at+=unit) product *= choices(page, now+page*PAGE, at, unit, out);
  free(now);
  return product;
}

/* How a random image is inclined: to the newest content, to the oldest, or not. */
static int pick(int n, long *number, int random, int inclined){
  int i;
  if( !random ){ i = (int)(*number%n); *number /= n; return i; }
  switch( inclined ){
    case 0:  return (int)below((uint32_t)n);
    case 1:  return below(4) ? n-1 : (int)below((uint32_t)n);
    case 2:  return n>1 && below(4) ? n-2 : (int)below((uint32_t)n);
    default: return below(2) ? n-1 : 0;
  }
}

uint8_t *pages_image(int sectors, long number, int random, size_t *size){
  static const uint8_t *out[VERSIONS_MAX];
  uint8_t *image = file_read(p->path, size), *now = malloc(*size);
  int unit = sectors ? SECTOR : PAGE, inclined = random ? (int)below(4) : 0, at, i;
  uint64_t page;
  must(now!=NULL, "memory");
  memcpy(now, image, *size);
  for(page=0; page<*size/PAGE; page++){
    for(at=0; at<PAGE && p->newest[page]!=0; at+=unit){
      int n = choices(page, now+page*PAGE, at, unit, out);
      memcpy(image+page*PAGE+at, out[pick(n, &number, random, inclined)], (size_t)unit);
    }
  }
  i = pick(p->size_count+1, &number, random, 1);
  if( i<p->size_count && p->sizes[i].size<*size ) *size = p->sizes[i].size;
  free(now);
  return image;
}
