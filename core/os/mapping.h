/*
** mapping.h - the pages that mappings are advised, populated and flushed by: 4 KiB, on some arm64
** machines 16 or 64.
*/
#ifndef MAPH_MAPPING_H
#define MAPH_MAPPING_H

#include <stdint.h>

/* Where the page that holds this offset begins. */
uint64_t os_page_down(uint64_t offset);
/* Where the first page at or after this offset begins. */
uint64_t os_page_up(uint64_t offset);

#endif
