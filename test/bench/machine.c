/*
** machine.c - what machine this is, for the head of the report, the CSV and the chart: figures
** without it say little.
*/
#include "bench.h"

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
