/*
** sets.c - the sets of keys and values that "make bench" goes through, and what it measures with
** each.
**
** 1M is the usual case, and measures everything; mixed asks what values of all sizes change; 100k
** fits into the processor's caches; 10M is far beyond them, and beyond what its translation buffers
** cover; it is loaded but once; small and 30M are of values no longer than a key, where what a
** store keeps of its own counts most.  quick is all of it in less than two minutes, for a look, not
** for figures to quote.
*/
#include "bench.h"

#define READING "size,get,ends,latency,dependent,miss,many,scan"
#define YCSB ",ycsb-a,ycsb-b,ycsb-c,ycsb-d,ycsb-e,ycsb-f"

const set all_sets[] = {
  { "1M", 1000000, 200, 200, NULL, 0, 0, "1,000,000 keys, values of 200 bytes: everything" },
  { "mixed", 1000000, 20, 2000, READING ",load,bulk,put,update,rewrite" YCSB, 0, 0,
    "the same with values of 20 to 2000 bytes" },
  { "100k", 100000, 200, 200, READING, 0, 0, "100,000 keys: reading, in the processor's caches" },
  { "small", 1000000, 16, 16, READING ",load,bulk,rewrite", 0, 0,
    "1,000,000 keys, values of 16 bytes" },
  { "10M", 10000000, 200, 200, READING ",ordered,load,rewrite,options", 0, 0,
    "10,000,000 keys: reading, in key order too, rewriting, huge pages" },
  { "30M", 30000000, 16, 16, "load", 1, 0, "30,000,000 keys, values of 16 bytes: made at once" },
  { "quick", 100000, 200, 200,
    READING ",load,bulk,readers,put,durable,batch,put-full,update,kinds,rewrite" YCSB, 1, 0.1,
    "100,000 keys, one short run; not part of all" },
  { NULL, 0, 0, 0, NULL, 0, 0, NULL }
};

int list_has(const char *list, const char *name) {
  size_t size = strlen(name);
  for (const char *p = list; p && *p; p += *p == ',') {
    size_t n = strcspn(p, ",");
    if (n == size && memcmp(p, name, n) == 0) return 1;
    p += n;
  }
  return 0;
}
