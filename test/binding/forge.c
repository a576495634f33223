/*
** forge.c - see forge.h.  Written from format.h: where a field lies, which values are extreme for
** it, what is summed.
*/
#include "forge.h"
#include "format.h"
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t forge_random(forge *forge, uint64_t below) {
  uint64_t z = (forge->state += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  z ^= z >> 31;
  return below ? z % below : z;
}

static uint64_t get(const forge *forge, uint64_t at, unsigned n) {
  uint64_t v = 0;
  if (at <= forge->size && n <= forge->size - at) memcpy(&v, forge->image + at, n);
  return v;
}

static void put(forge *forge, uint64_t at, unsigned n, uint64_t v) {
  if (at <= forge->size && n <= forge->size - at) memcpy(forge->image + at, &v, n);
}

/* -------------------------------------------------------------------------------------- records */

/* The frozen records in the short form, if the image has any; past 0: it has none. */
static short_form form_of(const forge *forge) {
  short_form form = { 0 };
  if (!(get(forge, offsetof(header, required), 8) & REQUIRED_SHORT)) return form;
  memcpy(&form, forge->image + offsetof(header, short_form), sizeof form);
  if (form.first < LOG_START || form.first % 8 || form.past % 8 || form.past <= form.first
      || form.past > forge->size || form.unit == 0 || form.key_size > 2 || form.value_size > 4
      || form.distance > 6)
    form.past = 0;
  return form;
}

static uint64_t short_flags(const forge *forge, const short_form *form, uint64_t at) {
  return form->no_flags ? form->one_flags : get(forge, at + 4, 1);
}
static uint64_t short_key_size(const forge *forge, const short_form *form, uint64_t at) {
  return form->key_size ? get(forge, at + 4 + !form->no_flags, form->key_size) : form->one_key;
}
static uint64_t short_value_size(const forge *forge, const short_form *form, uint64_t at) {
  return form->value_size ? get(forge, at + 4 + !form->no_flags + form->key_size, form->value_size)
                          : form->one_value;
}

/* Bytes of the one that begins there; 0: none can. */
static size_t short_record(const forge *forge, const short_form *form, uint64_t at) {
  uint64_t n = 4u + !form->no_flags + form->key_size + form->value_size + form->distance, flags;
  if (form->past - at < 8) return 0;
  flags = short_flags(forge, form, at);
  if (flags & FLAG_ATTRIBUTES) n += 2 + get(forge, at + n + (flags & FLAG_EXPIRY ? 8 : 0), 2);
  n += (flags & FLAG_EXPIRY ? 8u : 0u) + short_key_size(forge, form, at)
       + short_value_size(forge, form, at);
  return n > form->past - at ? 0 : n;
}

/* Where the next one begins. */
static uint64_t short_after(const forge *forge, const short_form *form, uint64_t at, size_t n) {
  uint64_t payload = get(forge, offsetof(header, perfect_offset), 8), unit = form->unit;
  if (get(forge, payload + 4, 4) == PLACED_DIRECT) return at + unit;
  return form->first + (at + n - form->first + unit - 1) / unit * unit;
}

/* All of the frozen records in the short form count as one. */
size_t forge_record(forge *forge, uint64_t at) {
  uint64_t n = RECORD_HEAD, kind, flags, left;
  short_form form = form_of(forge);
  if (form.past && at == form.first) return form.past - at;
  if (at < LOG_START || at % 8 || forge->size < RECORD_HEAD || at > forge->size - RECORD_HEAD)
    return 0;
  kind = get(forge, at + 12, 1);
  flags = get(forge, at + 13, 1);
  left = forge->size - at;
  if (kind == KIND_END || kind == KIND_EPOCH) return left < END_SIZE ? 0 : END_SIZE;
  if (kind == KIND_PAD || kind == KIND_EXTENT) {
    n = get(forge, at + 16, 8);
    return n < RECORD_HEAD || n % 8 || n > left ? 0 : n;
  }
  if (kind != KIND_PUT && kind != KIND_DELETE) return 0;
  if (flags & FLAG_ATTRIBUTES) {
    uint64_t size = get(forge, at + n + (flags & FLAG_EXPIRY ? 8 : 0), 8);
    if (size > left) return 0;
    n += 8 + size;
  }
  n += (flags & FLAG_EXPIRY ? 8u : 0u) + get(forge, at + 14, 2) + get(forge, at + 16, 4);
  n = ((n + 7) & ~UINT64_C(7)) + (kind == KIND_PUT ? 8 * get(forge, at + 31, 1) : 0);
  return n > left ? 0 : n;
}

/* Offset of a record of that kind (0: of any), picked at random; 0: there is none. */
static uint64_t pick_record(forge *forge, uint64_t kind) {
  uint64_t at = LOG_START, found = 0, seen = 0;
  size_t n;
  for (; (n = forge_record(forge, at)) != 0; at += n) {
    if ((kind == 0 || get(forge, at + 12, 1) == kind) && forge_random(forge, ++seen) == 0)
      found = at;
  }
  return found;
}

static uint64_t pick_extent(forge *forge, uint64_t which) {
  uint64_t at = LOG_START, found = 0, seen = 0;
  size_t n;
  for (; (n = forge_record(forge, at)) != 0; at += n) {
    if (get(forge, at + 12, 1) == KIND_EXTENT && get(forge, at + 24, 1) == which
        && forge_random(forge, ++seen) == 0)
      found = at;
  }
  return found;
}

/* A number that is likely to hurt where an offset or a size is expected. */
static uint64_t extreme(forge *forge) {
  static const uint64_t fixed[] = { 0,
                                    1,
                                    7,
                                    8,
                                    31,
                                    32,
                                    63,
                                    64,
                                    256,
                                    4088,
                                    4096,
                                    4104,
                                    4128,
                                    4160,
                                    65535,
                                    0x7fffffff,
                                    0x80000000u,
                                    0xfffffff8u,
                                    0xffffffffu,
                                    UINT64_C(1) << 32,
                                    (UINT64_C(1) << 40) - 1,
                                    UINT64_C(1) << 43,
                                    (UINT64_C(1) << 43) - 64,
                                    (UINT64_C(1) << 48) - 1,
                                    UINT64_C(1) << 62,
                                    UINT64_C(1) << 63,
                                    ~UINT64_C(7),
                                    ~UINT64_C(0) };
  uint64_t near = 0;
  switch (forge_random(forge, 5)) {
    case 0: near = forge->size; break;
    case 1: near = get(forge, offsetof(header, committed), 8); break;
    case 2: near = pick_record(forge, 0); break;
    case 3:
      return forge_random(forge, 2) ? forge_random(forge, forge->size)
                                    : forge_random(forge, forge->size / 64) * 64;
    default: return fixed[forge_random(forge, sizeof fixed / sizeof *fixed)];
  }
  return near + (forge_random(forge, 17) - 8) * 8 * (forge_random(forge, 2) ? 1 : 8);
}

/* -------------------------------------------------------------------------------------- changes */

static void change_live_word(forge *forge) {
  static const uint16_t at[] = { 256, 264, 272, 320, 328, 336, 384, 392,
                                 400, 408, 416, 424, 432, 448, 456, 464 };
  unsigned i = (unsigned)forge_random(forge, sizeof at / sizeof *at);
  uint64_t v = forge_random(forge, 4)
                   ? extreme(forge)
                   : get(forge, at[i], 8) ^ UINT64_C(1) << forge_random(forge, 64);
  if (at[i] == 384) v = forge_random(forge, 6);
  if (at[i] == 272 && forge_random(forge, 2))
    v = (get(forge, 272, 8) & ~UINT64_C(63)) | forge_random(forge, 64);
  if (at[i] == 264 && forge_random(forge, 2))
    v = (get(forge, 272, 8) & ~UINT64_C(63)) | forge_random(forge, 16);
  put(forge, at[i], 8, v);
  snprintf(forge->what, sizeof forge->what, "header word %u = %llx", at[i], (unsigned long long)v);
}

static void change_static(forge *forge) {
  uint64_t at = forge_random(forge, 31) * 8, v = extreme(forge);
  put(forge, at, 8, v);
  snprintf(forge->what, sizeof forge->what, "header bytes %llu = %llx", (unsigned long long)at,
           (unsigned long long)v);
}

static void change_record(forge *forge) {
  static const struct {
    const char *name;
    uint8_t at, size;
  } fields[] = { { "link", 0, 8 },      { "checksum", 8, 4 },  { "kind", 12, 1 },
                 { "flags", 13, 1 },    { "key size", 14, 2 }, { "value size", 16, 4 },
                 { "prev low", 20, 4 }, { "version", 24, 6 },  { "prev high", 30, 1 },
                 { "padding", 31, 1 },  { "size", 16, 8 },     { "32", 32, 8 },
                 { "40", 40, 8 },       { "48", 48, 8 } };
  unsigned i = (unsigned)forge_random(forge, sizeof fields / sizeof *fields);
  uint64_t at = pick_record(forge, forge_random(forge, 7)), v = extreme(forge);
  if (at == 0) return;
  if (forge_random(forge, 4) == 0)
    v = get(forge, at + fields[i].at, fields[i].size)
        ^ UINT64_C(1) << forge_random(forge, fields[i].size * 8u);
  if (fields[i].at == 20) v = forge_random(forge, 2) ? pick_record(forge, KIND_PUT) / 8 : at / 8;
  if (fields[i].at == 12) v = forge_random(forge, 9);
  if (fields[i].at == 13) v = forge_random(forge, 256);
  put(forge, at + fields[i].at, fields[i].size, v);
  snprintf(forge->what, sizeof forge->what, "record %llu: %s = %llx", (unsigned long long)at,
           fields[i].name, (unsigned long long)v);
}

static void change_extent(forge *forge) {
  static const struct {
    const char *name;
    uint8_t at, size;
  } fields[] = { { "link", 0, 8 },
                 { "size", 16, 8 },
                 { "extent", 24, 1 },
                 { "depth", 25, 1 },
                 { "prefix", 28, 4 } };
  unsigned i = (unsigned)forge_random(forge, sizeof fields / sizeof *fields);
  uint64_t at = pick_extent(forge, 1 + forge_random(forge, 2)),
           other = pick_extent(forge, EXTENT_SEGMENT), v = extreme(forge);
  if (at == 0) return;
  if (i == 0)
    v = forge_random(forge, 3) == 0
            ? v
            : (forge_random(forge, 2) ? (other + RECORD_HEAD) & ~UINT64_C(63) : 0)
                  | forge_random(forge, 64);
  if (i == 3) v = forge_random(forge, 66);
  put(forge, at + fields[i].at, fields[i].size, v);
  snprintf(forge->what, sizeof forge->what, "extent %llu: %s = %llx", (unsigned long long)at,
           fields[i].name, (unsigned long long)v);
}

/* The perfect hash: where the header says that it is, the head of its payload, the start of its
** function, its group lines. */
static void change_perfect(forge *forge) {
  uint64_t payload = get(forge, offsetof(header, perfect_offset), 8),
           size = get(forge, offsetof(header, perfect_size), 8), at, v = extreme(forge), span,
           field;
  if (payload == 0 || size < sizeof(perfect_head)) return;
  switch (forge_random(forge, 4)) {
    case 0: at = offsetof(header, perfect_offset) + 8 * forge_random(forge, 3); break;
    case 1: at = payload + 8 * forge_random(forge, 8); break;
    case 2: at = payload + sizeof(perfect_head) + 8 * forge_random(forge, 4); break;
    default: at = payload + 8 * forge_random(forge, size / 8); break;
  }
  if (forge_random(forge, 3) == 0) v = get(forge, at, 8) ^ UINT64_C(1) << forge_random(forge, 64);
  if (forge_random(forge, 3) == 0)
    v = get(forge, at, 8) + (forge_random(forge, 9) - 4) * (forge_random(forge, 2) ? 8 : 1);
  span = get(forge, payload + 24, 8) - get(forge, payload + 16, 8);
  field = get(forge, payload + 8, 8);
  if (at == payload + 32 && field && forge_random(forge, 2)) v = span / field;
  put(forge, at, 8, v);
  snprintf(forge->what, sizeof forge->what, "perfect hash: word at %llu = %llx",
           (unsigned long long)at, (unsigned long long)v);
}

/* The short form: what the header says of it, a field of a record, a moved bit. */
static void change_short(forge *forge) {
  short_form form = form_of(forge);
  uint64_t payload = get(forge, offsetof(header, perfect_offset), 8), at = form.first, seen = 0,
           found = 0, v = extreme(forge), next, past;
  unsigned size = 1;
  size_t n;
  if (form.past == 0) return;
  switch (forge_random(forge, 4)) {
    case 0:
      at = offsetof(header, short_form) + forge_random(forge, sizeof form);
      if (forge_random(forge, 2)) size = 8, at &= ~UINT64_C(7);
      if (size == 1 && forge_random(forge, 2)) v = forge_random(forge, 9);
      break;
    case 1:
      past = payload + get(forge, offsetof(header, perfect_size), 8);
      at = past - 1 - forge_random(forge, get(forge, payload + 8, 8) / 8 + 9);
      break;
    default:
      for (; (n = short_record(forge, &form, at)) != 0; at = next) {
        next = short_after(forge, &form, at, n);
        if (forge_random(forge, ++seen) == 0) found = at;
        if (next <= at || next >= form.past) break;
      }
      if (found == 0) return;
      at = found + 4 + forge_random(forge, 20);
      break;
  }
  if (forge_random(forge, 3) == 0) v = get(forge, at, size) ^ UINT64_C(1) << forge_random(forge, 8);
  put(forge, at, size, v);
  snprintf(forge->what, sizeof forge->what, "short form: %u bytes at %llu = %llx", size,
           (unsigned long long)at, (unsigned long long)v);
}

static void change_directory(forge *forge) {
  uint64_t root = get(forge, offsetof(header, root), 8),
           at = (root & ~UINT64_C(63)) + 8 * forge_random(forge, UINT64_C(1) << (root & 3)),
           v = extreme(forge);
  switch (forge_random(forge, 4)) {
    case 0: v = pick_extent(forge, EXTENT_SEGMENT) + RECORD_HEAD; break;
    case 1: v = pick_extent(forge, EXTENT_DIRECTORY) + RECORD_HEAD; break;
    case 2: v &= ~UINT64_C(63); break;
    default: break;
  }
  put(forge, at, 8, v);
  snprintf(forge->what, sizeof forge->what, "directory word at %llu = %llx", (unsigned long long)at,
           (unsigned long long)v);
}

/* Slots: one elsewhere, one tag everywhere, a segment that is full. */
static void change_slots(forge *forge) {
  uint64_t segment = pick_extent(forge, EXTENT_SEGMENT) + RECORD_HEAD, slot, from, at,
           how = forge_random(forge, 4), i;
  const uint64_t offset_bits = (UINT64_C(1) << 40) - 1;
  if (segment == RECORD_HEAD) return;
  for (i = 0; i < 2048; i++)
    if (get(forge, segment + i * 8, 8) != 0 && forge_random(forge, 40) == 0) break;
  at = segment + (i % 2048) * 8;
  slot = get(forge, at, 8);
  from = pick_record(forge, KIND_PUT);
  if (how == 0) put(forge, at, 8, (slot & ~offset_bits) | (extreme(forge) / 8 & offset_bits));
  if (how == 1) put(forge, at, 8, (slot & ~offset_bits) | from / 8);
  if (how == 2) put(forge, at, 8, slot ^ UINT64_C(1) << forge_random(forge, 64));
  if (how == 3)
    for (i = 0; i < 2048; i++)
      put(forge, segment + i * 8, 8,
          get(forge, segment + i * 8, 8) ? get(forge, segment + i * 8, 8)
                                         : (slot & ~offset_bits) | from / 8);
  snprintf(forge->what, sizeof forge->what, "slots of segment %llu, way %llu, at %llu",
           (unsigned long long)segment, (unsigned long long)how, (unsigned long long)at);
}

static void change_bytes(forge *forge) {
  uint64_t at = forge_random(forge, forge->size),
           n = 1 + forge_random(forge, forge_random(forge, 2) ? 8 : 512), i;
  for (i = 0; i < n && at + i < forge->size; i++)
    forge->image[at + i] = (uint8_t)forge_random(forge, 256);
  snprintf(forge->what, sizeof forge->what, "%llu random bytes at %llu", (unsigned long long)n,
           (unsigned long long)at);
}

static void change_size(forge *forge) {
  size_t n = forge_random(forge, 4)
                 ? forge_random(forge, forge->size + 1)
                 : forge->size + forge_random(forge, forge->room - forge->size + 1);
  if (n > forge->size) memset(forge->image + forge->size, 0, n - forge->size);
  forge->size = n;
  snprintf(forge->what, sizeof forge->what, "size = %zu", n);
}

static void change_checkpoint(forge *forge) {
  uint64_t at = (forge_random(forge, 2) ? 512 : 1024) + 8 * forge_random(forge, 8),
           v = extreme(forge);
  put(forge, at, 8, v);
  snprintf(forge->what, sizeof forge->what, "checkpoint word at %llu = %llx",
           (unsigned long long)at, (unsigned long long)v);
}

void forge_change(forge *forge) {
  static void (*const changes[])(struct forge *) = {
    change_live_word, change_live_word, change_static,    change_record,  change_record,
    change_record,    change_extent,    change_extent,    change_perfect, change_perfect,
    change_short,     change_short,     change_directory, change_slots,   change_slots,
    change_bytes,     change_size,      change_checkpoint
  };
  snprintf(forge->what, sizeof forge->what, "nothing");
  changes[forge_random(forge, sizeof changes / sizeof *changes)](forge);
}

void forge_dirty(forge *forge, int trusted) {
  put(forge, offsetof(header, clean), 8, CLEAN_DIRTY);
  if (!trusted) put(forge, offsetof(header, place), 8, 0);
}

/* --------------------------------------------------------------------------------------- repair */

static uint64_t digest_step(uint64_t d, uint64_t offset, uint64_t bytes) {
  d = (d ^ offset) * UINT64_C(0x9E3779B97F4A7C15);
  return (d << 29 | d >> 35) ^ bytes;
}

static void repair_short(forge *forge, const short_form *form, uint64_t salt, int which,
                         uint64_t *digest) {
  uint64_t at = form->first, place = at, next;
  size_t n;
  for (; (n = short_record(forge, form, at)) != 0; at = next, place += PLACE_STEP) {
    next = short_after(forge, form, at, n);
    if (which & REPAIR_RECORDS)
      put(forge, at, 4, (uint32_t)XXH3_64bits_withSeed(forge->image + at + 4, n - 4, salt ^ at));
    *digest = digest_step(*digest, place,
                          get(forge, at, 4) | (uint64_t)KIND_PUT << 32
                              | short_flags(forge, form, at) << 40
                              | short_key_size(forge, form, at) << 48);
    if (next <= at || next >= form->past) return;
  }
}

static void repair_log(forge *forge, uint64_t salt, int which) {
  uint64_t at = LOG_START, chain = 0, digest = 0, kind;
  short_form form = form_of(forge);
  uint8_t in[60];
  size_t n;
  for (; (n = forge_record(forge, at)) != 0; at += n) {
    if (form.past && at == form.first) {
      repair_short(forge, &form, salt, which, &digest);
      continue;
    }
    kind = get(forge, at + 12, 1);
    if ((kind == KIND_END || kind == KIND_EPOCH) && (which & REPAIR_CHAIN)) {
      if (kind == KIND_EPOCH) digest = 0;
      memcpy(in, &chain, 8);
      memcpy(in + 8, forge->image + at + 12, 44);
      memcpy(in + 52, &digest, 8);
      put(forge, at + 56, 8, XXH3_64bits_withSeed(in, sizeof in, salt));
    }
    if (which & REPAIR_RECORDS) {
      size_t summed = kind == KIND_PAD || kind == KIND_EXTENT ? RECORD_HEAD : n;
      put(forge, at + 8, 4,
          (uint32_t)XXH3_64bits_withSeed(forge->image + at + 12, summed - 12, salt ^ at));
    }
    if (kind == KIND_PUT || kind == KIND_DELETE)
      digest = digest_step(digest, at, get(forge, at + 8, 8));
    if (kind == KIND_END || kind == KIND_EPOCH) {
      chain = get(forge, at + 56, 8);
      digest = 0;
    }
  }
}

static void repair_perfect(forge *forge, uint64_t salt) {
  uint64_t at = get(forge, offsetof(header, perfect_offset), 8),
           size = get(forge, offsetof(header, perfect_size), 8), sum, moved;
  if (at < LOG_START || at > forge->size || size < sizeof(perfect_head) || size > forge->size - at)
    return;
  moved = form_of(forge).past ? (get(forge, at + 8, 8) + 63) / 64 * 8 : 0;
  if (moved > size - sizeof(perfect_head)) return;
  size -= moved;
  sum = XXH3_64bits_withSeed(forge->image + at, offsetof(perfect_head, checksum), salt);
  put(forge, at + offsetof(perfect_head, checksum), 8,
      XXH3_64bits_withSeed(forge->image + at + sizeof(perfect_head), size - sizeof(perfect_head),
                           sum));
}

void forge_repair(forge *forge, int which) {
  uint64_t salt, at;
  if (forge->size < HEADER_SIZE) return;
  if (which & REPAIR_HEADER) put(forge, 248, 8, XXH3_64bits(forge->image, 248));
  salt = XXH3_64bits(forge->image + 32, 24);
  if (which & (REPAIR_RECORDS | REPAIR_CHAIN)) repair_log(forge, salt, which);
  if (which & REPAIR_RECORDS) repair_perfect(forge, salt);
  for (at = 512; at <= 1024 && (which & REPAIR_CHECKPOINTS); at += 512)
    put(forge, at + 56, 8, XXH3_64bits_withSeed(forge->image + at, 56, salt));
}
