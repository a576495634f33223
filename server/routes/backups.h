/*
** backups.h - the folder of backups.
*/
#ifndef MAPH_ROUTES_BACKUPS_H
#define MAPH_ROUTES_BACKUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The path of a backup's file; of the folder, where file is empty. */
enum { BACKUPS_PATH_ROOM = 4096 };
void backups_path(char out[BACKUPS_PATH_ROOM], const char *file);
/* Make the folder, if need be, and have its name on disk.  An errno. */
int backups_make_folder(void);
bool backups_exists(const char *file);
/* A name that no backup has: the store's and the time.  The caller sees to it that nobody else
** looks for one of that store until the file is there. */
void backups_name_by_time(char *file, size_t room, const char *store_name);
/* A new backup is there: older ones go, but for so many (retention.h). */
void backups_prune(const char *store_name, uint64_t keep, const char *made);
/* Before the first request: what a server that was killed left half made goes. */
void backups_start(void);

#endif
