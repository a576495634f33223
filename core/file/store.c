/*
** store.c - the store object: made with nothing open, and freed with all that it opened.
*/
#include "file/store.h"

store *store_new(const char *path) {
  static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
  size_t n = strlen(path) + 1;
  store *store = os_alloc(sizeof *store + n);
  if (store == NULL) return NULL;
  store->path = memcpy(store + 1, path, n);
  store->file.fd = store->lock.fd = -1;
  store->references = 1;
  store->door = store->mapping_mutex = store->turn_mutex = store->held_mutex = fresh;
  store->index_mutex = store->flush_mutex = store->trust_mutex = store->order_mutex = fresh;
  pthread_cond_init(&store->none_decided, NULL);
  pthread_cond_init(&store->released, NULL);
  return store;
}

store *store_bare(const char *path, os_file *file) {
  store *store = store_new(path);
  if (store == NULL) return NULL;
  store->file = *file;
  file->fd = -1;
  store->lockless = store->unsettled = 1;
  return store;
}

static void unmap_all(store *store) {
  mapping *mapping, *next;
  uint8_t *base = atomic_load(&store->base), *write_base = atomic_load(&store->write_base);
  for (mapping = store->outgrown; mapping != NULL; mapping = next) {
    next = mapping->next;
    os_unmap(mapping->base, mapping->length);
    os_free(mapping);
  }
  if (write_base != base) os_unmap(write_base, store->write_mapped);
  os_unmap(base, store->mapped);
}

static void destroy_mutexes(store *store) {
  pthread_mutex_destroy(&store->door);
  pthread_mutex_destroy(&store->mapping_mutex);
  pthread_mutex_destroy(&store->turn_mutex);
  pthread_mutex_destroy(&store->held_mutex);
  pthread_mutex_destroy(&store->index_mutex);
  pthread_mutex_destroy(&store->flush_mutex);
  pthread_mutex_destroy(&store->trust_mutex);
  pthread_mutex_destroy(&store->order_mutex);
  pthread_cond_destroy(&store->none_decided);
  pthread_cond_destroy(&store->released);
}

void store_free(store *store) {
  if (store == NULL) return;
  attach(&store->order_tail, NULL, NULL);
  attach(&store->order_runs, NULL, NULL);
  attach(&store->order_types, NULL, NULL);
  attach(&store->order_writer, NULL, NULL);
  unmap_all(store);
  os_close(&store->file);
  os_close(&store->lock);
  /* in a child of fork they may wait for threads that it does not have */
  if (!store->dead) destroy_mutexes(store);
  os_free(store);
}
