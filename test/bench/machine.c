/*
** machine.c - what machine this is, for the head of the report, the CSV and the chart: figures
** without it say little.
*/
#include "bench.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

static void processor_name(char name[128]) {
  char line[256];
  FILE *f = fopen("/proc/cpuinfo", "r");
  while (f && fgets(line, sizeof line, f)) {
    if (sscanf(line, "model name : %127[^\n]", name) == 1) break;
  }
  if (f) fclose(f);
}

const char *machine_line(void) {
  static char line[384];
  char name[128] = "";
  struct utsname host;
  if (line[0]) return line;
  uname(&host);
  processor_name(name);
  long processors = sysconf(_SC_NPROCESSORS_ONLN), page = sysconf(_SC_PAGESIZE);
  double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)page / (1 << 30);
  snprintf(line, sizeof line, "%s, %ld processors, %.0f GiB, %s %.*s, pages of %ld KiB",
           name[0] ? name : host.machine, processors, memory, host.sysname,
           (int)strcspn(host.release, "-"), host.release, page / 1024);
  return line;
}

uint64_t machine_memory(void) {
  unsigned long long kib = 0;
  char line[256];
  FILE *f = fopen("/proc/meminfo", "r");
  while (f && fgets(line, sizeof line, f)) {
    if (sscanf(line, "MemAvailable: %llu", &kib) == 1) break;
  }
  if (f) fclose(f);
  return (uint64_t)kib * 1024;
}

/* As much as a store of all keys takes twice, of what can be had. */
void memory_settle(void) {
  uint64_t most = machine_memory() / 2, bytes = 2 * (peer_hint.bytes + 64 * peer_hint.keys);
  if (bytes > most) bytes = most;
  char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return;
  madvise(p, bytes, MADV_HUGEPAGE);
  memset(p, 1, bytes);
  munmap(p, bytes);
}
