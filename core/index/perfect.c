/*
** perfect.c - the perfect hash of a file: read from its header when the file is opened, and summed
** when it is checked.
**
** What a find relies on is looked at once, in perfect_open: after that no bytes of the payload can
** lead it outside the payload, and whatever number or offset it yields is bounded where it is used.
*/
#include "file/record.h"
#include "file/store.h"
#include "index/perfect.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static int damaged(const store *store, uint64_t offset) {
  return fail_corrupt(store->path, offset, "the perfect hash is not one that can be");
}

/* Is there room for a table of so many bytes where it should begin? */
static int has_table(const perfect_head *head, uint64_t payload_size, uint64_t bytes) {
  return head->table % 64 == 0 && head->table >= sizeof *head + head->function_size
         && head->table <= payload_size && bytes <= payload_size - head->table;
}

uint64_t short_form_least(const short_form *form) {
  return short_key_at(form) + (uint64_t)form->key_size + form->value_size + form->distance
         + (form->key_size ? 1 : form->one_key) + form->one_value;
}

/* Each has a field, or all are alike; and no record is too short. */
static int fields_are_sound(const short_form *form) {
  int one_key = form->key_size == 0;
  return form->key_size <= 2 && form->value_size <= 4 && (form->one_key > 0) == one_key
         && form->one_key <= KEY_MAX && (form->value_size == 0 || form->one_value == 0)
         && form->no_flags <= 1 && (form->no_flags || form->one_flags == 0) && form->zero == 0
         && (form->one_flags & ~(uint32_t)(FLAG_TYPE | FLAG_KEY_TYPE)) == 0
         && short_form_least(form) >= SHORT_LEAST;
}

int short_form_sound(const short_form *form, uint64_t size) {
  return fields_are_sound(form) && form->distance <= 6 && form->unit >= 1
         && form->first >= LOG_START && form->first % 64 == 0 && form->past % 8 == 0
         && form->past > form->first && form->past <= size && size - form->past >= SHORT_BEHIND
         && form->newest <= VERSION_MAX;
}

/* The masks of numbers of so many bytes. */
static uint64_t mask(unsigned bytes) { return (UINT64_C(1) << 8 * bytes) - 1; }

void short_form_take(perfect *perfect, const short_form *form) {
  perfect->first = form->first;
  perfect->past = form->past;
  perfect->unit = form->unit;
  perfect->newest = form->newest;
  perfect->value_at = short_key_at(form) + form->key_size;
  perfect->distance_at = perfect->value_at + form->value_size;
  perfect->least = perfect->distance_at + form->distance;
  perfect->key_mask = (uint32_t)mask(form->key_size);
  perfect->kind_at = short_key_at(form) - 1;
  perfect->kind_mask = perfect->key_mask << 8 | (form->no_flags ? 0 : UINT8_MAX);
  perfect->plain_mask =
      perfect->kind_mask & (perfect->key_mask << 8 | FLAG_EXPIRY | FLAG_ATTRIBUTES);
  perfect->one_flags = form->one_flags;
  perfect->value_mask = (uint32_t)mask(form->value_size);
  perfect->one_key = form->one_key;
  perfect->one_key_above = form->one_key << 8;
  perfect->one_value = form->one_value;
  perfect->distance_mask = mask(form->distance);
}

/* Bytes of the table. */
static uint64_t table_size(const perfect_head *head) {
  if (head->placement == PLACED_DIRECT) return head->table ? head->keys : 0;
  return (head->keys + GROUP_KEYS - 1) / GROUP_KEYS * sizeof(group_line);
}

/* The short form: where the moved bits begin in the payload; 0: it cannot be. */
static uint64_t moved_at(const perfect_head *head, const short_form *form, uint64_t payload_size) {
  uint64_t at = (head->table + table_size(head) + 63) / 64 * 64;
  if (head->first != form->first || head->past != form->past || head->stride != form->unit
      || head->table == 0 || (head->past - head->first) / SHORT_LEAST < head->keys)
    return 0;
  if (head->placement == PLACED_DIRECT
          ? head->stride < SHORT_LEAST || (head->past - head->first) / head->stride < head->keys
          : head->stride > SHORT_UNIT_MOST || (head->stride & (head->stride - 1)))
    return 0;
  return at == payload_size - short_moved_size(head->keys) ? at : 0;
}

/* Does the function's data fit, and do the records and group lines lie where they can? */
static int sound(const perfect_head *head, int is_short, const uint8_t *payload,
                 uint64_t payload_at, uint64_t payload_size, uint64_t size, pilot_head *pilot,
                 bdz *cmph) {
  uint64_t left = payload_size - sizeof *head, span = head->past - head->first;
  if (head->keys == 0 || head->keys > UINT32_MAX || head->function_size > left) return 0;
  if (head->first < LOG_START || head->first % 64 || head->past < head->first || head->past > size
      || (!is_short && span / RECORD_HEAD < head->keys))
    return 0;
  if (head->first < payload_at && head->past > payload_at) return 0;
  switch (head->algorithm) {
    case MAPH_PERFECT_PILOT:
      if (!pilot_sound(payload + sizeof *head, head->function_size, head->keys, pilot)) return 0;
      break;
    case MAPH_PERFECT_CMPH:
      if (!bdz_sound(payload + sizeof *head, head->function_size, head->keys, cmph)) return 0;
      break;
    default: return 0;
  }
  if (head->placement == PLACED_DIRECT && is_short)
    return has_table(head, payload_size, head->keys);
  if (head->placement == PLACED_DIRECT)
    return (head->table == 0 || has_table(head, payload_size, head->keys)) && head->stride % 8 == 0
           && head->stride >= RECORD_HEAD && head->stride <= span
           && span / head->stride == head->keys && span % head->stride == 0;
  return head->placement == PLACED_IN_GROUPS && has_table(head, payload_size, table_size(head));
}

int perfect_open(store *store, const uint8_t *base, uint64_t size) {
  const header *live = header_of(base);
  uint64_t at = live->perfect_offset, n = live->perfect_size, moved = 0;
  perfect *perfect = &store->perfect;
  short_form form = live->short_form;
  int is_short = (live->required & REQUIRED_SHORT) != 0,
      is_alike = (live->required & REQUIRED_ALIKE) != 0;
  perfect_head h;
  pilot_head head;
  bdz cmph;
  memset(perfect, 0, sizeof *perfect);
  if (at == 0) return is_short ? damaged(store, offsetof(header, required)) : MAPH_OK;
  if (is_short ? !short_form_sound(&form, size) || has_alike(&form) != is_alike : is_alike)
    return damaged(store, offsetof(header, short_form));
  if (at < LOG_START || at % 64 || at > size || n > size - at || n < sizeof h)
    return damaged(store, offsetof(header, perfect_offset));
  memcpy(&h, base + at, sizeof h);
  if (h.algorithm != live->perfect_algorithm
      || !sound(&h, is_short, base + at, at, n, size, &head, &cmph))
    return damaged(store, at);
  if (is_short && (moved = moved_at(&h, &form, n)) == 0) return damaged(store, at);
  perfect->algorithm = (int)h.algorithm;
  perfect->direct = h.placement == PLACED_DIRECT;
  perfect->first = h.first;
  perfect->past = h.past;
  perfect->stride = h.stride;
  perfect->unit = perfect->direct ? h.stride : 8;
  perfect->usual_end = usual_end(perfect->direct && !is_short ? record_about_long(base + h.first)
                                                              : (h.past - h.first) / h.keys);
  perfect->payload = at;
  perfect->size = n;
  perfect->summed = is_short ? moved : n;
  perfect->function = at + sizeof h;
  perfect->function_size = h.function_size;
  perfect->table = h.table ? at + h.table : 0;
  perfect->marks = perfect->direct ? perfect->table : 0;
  if (h.algorithm == MAPH_PERFECT_PILOT) {
    perfect->buckets = head.buckets;
    perfect->slots = head.slots;
    perfect->multiplier = head.multiplier;
    perfect->remap = perfect->function + pilot_remap_at(head.buckets);
    perfect->function += sizeof head;
  } else {
    perfect->bdz = cmph;
  }
  perfect->keys = h.keys;
  if (!is_short) return MAPH_OK;
  short_form_take(perfect, &form);
  perfect->moved = at + moved;
  perfect->places = h.keys * PLACE_STEP;
  perfect->simple = perfect->algorithm == MAPH_PERFECT_PILOT;
  return MAPH_OK;
}

/* A log that ends below would be continued over the perfect hash or its records. */
int perfect_within(const store *store, uint64_t log_end) {
  const perfect *perfect = &store->perfect;
  if (perfect->keys == 0
      || (log_end >= perfect->past && log_end >= perfect->payload + perfect->size))
    return MAPH_OK;
  return fail_corrupt(store->path, log_end, "the log ends before what the perfect hash covers");
}

uint64_t perfect_checksum(const store *store, const uint8_t *payload, uint64_t size) {
  uint64_t head = XXH3_64bits_withSeed(payload, offsetof(perfect_head, checksum), store->salt);
  return XXH3_64bits_withSeed(payload + sizeof(perfect_head), size - sizeof(perfect_head), head);
}

int perfect_verify(const store *store, const uint8_t *base) {
  const perfect *perfect = &store->perfect;
  perfect_head head;
  if (perfect->keys == 0) return MAPH_OK;
  memcpy(&head, base + perfect->payload, sizeof head);
  if (head.checksum == perfect_checksum(store, base + perfect->payload, perfect->summed))
    return MAPH_OK;
  return fail_corrupt(store->path, perfect->payload,
                      "the perfect hash's checksum does not fit its bytes");
}

int perfect_find(const view *view, maph_slice key, uint64_t hash, item *it) {
  const perfect *perfect = &view->store->perfect;
  uint64_t address, offset, number;
  int rc;
  if (perfect->keys == 0) return MAPH_NOTFOUND;
  address = perfect_address(view->store, view->base, hash, &number, 0);
  if (address == 0) return MAPH_NOTFOUND;
  offset = perfect->places ? short_place(perfect, number) : address;
  if (offset % 8 || offset < LOG_START || offset >= view->snapshot) return MAPH_NOTFOUND;
  rc = likely(perfect->places) ? record_read_short(view, offset, &address, it)
                               : record_item(view, offset, view->snapshot, it);
  if (rc != MAPH_OK) return rc;
  return it->kind == KIND_PUT && it->key_size == key.size
                 && memcmp(it->key, key.data, key.size) == 0
             ? MAPH_OK
             : MAPH_NOTFOUND;
}
