/*
** replica.c - what the follower of a replica, another process, tells of it beside its file.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/emit.h"
#include "base/options.h"
#include "http/reply.h"
#include "nats/figures.h"
#include "routes/replica.h"
#include "store/stores.h"

static bool path_of(char *out, size_t room, const char *name, size_t size) {
  return snprintf(out, room, "%s/%.*s.maph", option.data, (int)size, name) < (int)room;
}

/* Its position is the version of the file, which is exact at every moment. */
static bool look(const char *name, const maph_stats *stats, replica_view *view) {
  char path[4096];
  if (stats->versions != MAPH_VERSIONS_GIVEN) return false;
  if (!path_of(path, sizeof path, name, strlen(name))) return false;
  if (!replica_look(path, view)) return false;
  view->record.position = stats->version;
  if (view->record.last_seen < stats->version) view->record.last_seen = stats->version;
  return true;
}

/* ---------------------------------------------------------------------------------- refusals */
void replica_sentence(const char *name, char *out, size_t room) {
  char path[4096];
  sidecar_header header;
  if (path_of(path, sizeof path, name, strlen(name)) && sidecar_read_header(path, &header))
    snprintf(out, room,
             "%s.maph: a replica of the bucket %s, which only its follower may write: write to the "
             "bucket, as with `maph-replica put %s`",
             name, header.bucket, header.bucket);
  else
    snprintf(out, room,
             "%s.maph: a replica, which only the program that copies its source into it may write: "
             "write to the source",
             name);
}

static bool is_replica(maph_slice name) {
  int rc;
  store *store = store_acquire(name.data, name.size, true, &rc);
  bool replica = store && store->replica;
  store_release(store);
  return replica;
}

bool replica_spares(request *request, maph_slice name) {
  char path[4096];
  sidecar_header header;
  bool told =
      path_of(path, sizeof path, name.data, name.size) && sidecar_read_header(path, &header);
  if (!(told && sidecar_followed(path)) && !is_replica(name)) return true;
  if (told)
    reply_problem(request, 403, "replica",
                  "%.*s.maph: a replica of the bucket %s, which its follower makes and keeps: end "
                  "that, and remove the files, where the server runs",
                  (int)name.size, (const char *)name.data, header.bucket);
  else
    reply_problem(request, 403, "replica",
                  "%.*s.maph: a replica, which the program that copies its source into it keeps: "
                  "end that, and remove the file, where the server runs",
                  (int)name.size, (const char *)name.data);
  return false;
}

static bool put(void *to, const void *bytes, size_t size) {
  buffer *buffer = to;
  buffer_append(buffer, bytes, size);
  return !buffer->failed;
}

void replica_emit(buffer *buffer, const char *name, const maph_stats *stats) {
  replica_view view;
  json_writer out;
  if (!look(name, stats, &view)) return;
  json_write_begin(&out, put, buffer);
  json_write_text(&out, ",\"replica\":{");
  replica_write(&out, &view, wall_ms());
  json_write_text(&out, "}");
  json_write_end(&out);
}

/* -------------------------------------------------------------------------------------- metrics */
/* Series of one name stand together, and each store is looked at once. */
typedef struct looks {
  replica_view *view;
  char (*name)[sizeof((store *)0)->name];
  size_t count, room;
} looks;

static bool make_room(looks *looks) {
  size_t room = looks->room ? 2 * looks->room : 8;
  void *more;
  if (looks->count < looks->room) return true;
  if ((more = realloc(looks->view, room * sizeof *looks->view)) == NULL) return false;
  looks->view = more;
  if ((more = realloc(looks->name, room * sizeof *looks->name)) == NULL) return false;
  looks->name = more;
  looks->room = room;
  return true;
}

static void look_at_all(looks *looks) {
  maph_stats stats;
  for (struct store *store = store_next(NULL); store; store = store_next(store)) {
    if (maph_stat(store->m, &stats) != MAPH_OK || !make_room(looks)) continue;
    if (!look(store->name, &stats, &looks->view[looks->count])) continue;
    memcpy(looks->name[looks->count], store->name, sizeof store->name);
    looks->count++;
  }
}

static void show_figure(buffer *buffer, const looks *looks, int figure, uint64_t now_ms) {
  const replica_figure *is = &replica_figures[figure];
  buffer_printf(buffer, "# HELP maph_replica_%s %s\n# TYPE maph_replica_%s %s\n", is->metric,
                is->help, is->metric, is->counts ? "counter" : "gauge");
  for (size_t i = 0; i < looks->count; i++) {
    double value;
    if (!replica_figure_value(&looks->view[i], figure, now_ms, &value)) continue;
    buffer_printf(buffer, "maph_replica_%s{store=\"%s\",bucket=\"%s\"} %.17g\n", is->metric,
                  looks->name[i], looks->view[i].header.bucket, value);
  }
}

void replica_metrics(buffer *buffer) {
  looks looks = { .view = NULL };
  look_at_all(&looks);
  for (int i = 0; i < REPLICA_FIGURES && looks.count > 0; i++)
    show_figure(buffer, &looks, i, wall_ms());
  free(looks.view);
  free(looks.name);
}
