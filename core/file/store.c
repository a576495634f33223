/*
** store.c - the store object: made with nothing open, and freed with all that it opened.
*/
#include "file/store.h"

store *store_new(const char *path) {
  store *s = os_alloc(sizeof *s);
  if (s == NULL) return NULL;
  s->path = os_alloc(strlen(path) + 1);
  if (s->path == NULL) {
    os_free(s);
    return NULL;
  }
  strcpy(s->path, path);
  s->file.fd = s->lock.fd = -1;
  s->references = 1;
  pthread_mutex_init(&s->door, NULL);
  pthread_mutex_init(&s->mapping_mutex, NULL);
  pthread_mutex_init(&s->turn_mutex, NULL);
  pthread_mutex_init(&s->held_mutex, NULL);
  pthread_mutex_init(&s->index_mutex, NULL);
  pthread_mutex_init(&s->flush_mutex, NULL);
  pthread_mutex_init(&s->trust_mutex, NULL);
  pthread_mutex_init(&s->order_mutex, NULL);
  pthread_cond_init(&s->flush_done, NULL);
  pthread_cond_init(&s->released, NULL);
  return s;
}

store *store_bare(const char *path, os_file *f) {
  store *s = store_new(path);
  if (s == NULL) return NULL;
  s->file = *f;
  f->fd = -1;
  s->lockless = 1;
  return s;
}

static void unmap_all(store *s) {
  mapping *m, *next;
  uint8_t *base = atomic_load(&s->base), *write_base = atomic_load(&s->write_base);
  for (m = s->outgrown; m != NULL; m = next) {
    next = m->next;
    os_unmap(m->base, m->length);
    os_free(m);
  }
  if (write_base != base) os_unmap(write_base, s->write_mapped);
  os_unmap(base, s->mapped);
}

static void destroy_mutexes(store *s) {
  pthread_mutex_destroy(&s->door);
  pthread_mutex_destroy(&s->mapping_mutex);
  pthread_mutex_destroy(&s->turn_mutex);
  pthread_mutex_destroy(&s->held_mutex);
  pthread_mutex_destroy(&s->index_mutex);
  pthread_mutex_destroy(&s->flush_mutex);
  pthread_mutex_destroy(&s->trust_mutex);
  pthread_mutex_destroy(&s->order_mutex);
  pthread_cond_destroy(&s->flush_done);
  pthread_cond_destroy(&s->released);
}

void store_free(store *s) {
  if (s == NULL) return;
  attach(&s->order_tail, NULL, NULL);
  attach(&s->order_runs, NULL, NULL);
  attach(&s->order_writer, NULL, NULL);
  unmap_all(s);
  os_close(&s->file);
  os_close(&s->lock);
  /* in a child of fork they may wait for threads that it does not have */
  if (!s->dead) destroy_mutexes(s);
  os_free(s->path);
  os_free(s);
}
