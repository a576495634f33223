/*
** upkeep.h - what is done each second.
*/
#ifndef MAPH_UPKEEP_H
#define MAPH_UPKEEP_H

int upkeep_start(void); /* 0: its thread runs */
void upkeep_stop(void);

#endif
