/*
** views.c - the views that one statement goes on reading.
**
** SQLite tells nobody when a statement ends.  A cursor ends with it, and so does what a function
** set as auxiliary data; each keeps a list of the views that it read.  So a form that is called
** with one file after another, and then with the first again, sees the first as it saw it before,
** and the other cursors and functions of the statement share that view (store.c).
**
** A cursor ends before its statement where a subquery runs again for the next row: SQLite then
** opens a new cursor and closes the old one at once.  So a cursor that closes while another of its
** table was opened and not yet used leaves its views to that one, the heir.
**
** A list has one view of a store, the newest: an older one is what was there before the statement
** itself wrote.  Each view keeps a file open, so the list is bounded: of more than VIEWS_MOST
** stores those that were read first are let go.
*/
#include "sql.h"

enum { VIEWS_MOST = 200 };

static void take_out(sql_views *views, size_t i) {
  sql_view *view = views->list[i];
  views->count--;
  memmove(views->list + i, views->list + i + 1, (views->count - i) * sizeof(views->list[0]));
  store_view_release(view);
}

int views_keep(sql_views *views, sql_view *view) {
  size_t i;
  int rc;
  for (i = views->count; i > 0; i--) {
    if (views->list[i - 1] == view) return SQLITE_OK;
    if (views->list[i - 1]->store == view->store) break;
  }
  rc = bytes_grow(&views->list, &views->room, (views->count + 1) * sizeof(views->list[0]));
  if (rc != SQLITE_OK) return rc;
  view->holders++;
  views->list[views->count++] = view;
  if (i > 0)
    take_out(views, i - 1);
  else if (views->count > VIEWS_MOST)
    take_out(views, 0);
  return SQLITE_OK;
}

void views_leave(sql_views *views, sql_views *heir) {
  if (heir == NULL || heir == views || heir->count > 0) {
    views_release(views);
    return;
  }
  sqlite3_free(heir->list);
  *heir = *views;
  memset(views, 0, sizeof(*views));
}

void views_release(sql_views *views) {
  while (views->count > 0) store_view_release(views->list[--views->count]);
  if (views->list == NULL) return;
  sqlite3_free(views->list);
  memset(views, 0, sizeof(*views));
}
