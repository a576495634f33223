/*
** rewrite.h - compaction by threshold; compact, optimize and backup are in maph.h.
*/
#ifndef MAPH_REWRITE_H
#define MAPH_REWRITE_H

#include "maph.h"

void rewrite_if_due(maph *m); /* after a commit: options.auto_compact */

#endif
