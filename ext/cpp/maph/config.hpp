/*
** config.hpp - how a store is opened or made.
*/
#ifndef MAPH_HPP_CONFIG
#define MAPH_HPP_CONFIG

#ifndef MAPH_HPP
#error "include maph.hpp, of which this is a part"
#endif

#include "convert.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>

namespace maph {

enum class durability : int {
  by_default = MAPH_SYNC_DEFAULT,
  off = MAPH_SYNC_OFF,
  normal = MAPH_SYNC_NORMAL,
  full = MAPH_SYNC_FULL
};
enum class advice : int {
  normal = MAPH_ADVISE_NORMAL,
  random = MAPH_ADVISE_RANDOM,
  willneed = MAPH_ADVISE_WILLNEED
};
enum class perfect_hash : int {
  by_default = MAPH_PERFECT_DEFAULT,
  pilot = MAPH_PERFECT_PILOT,
  cmph = MAPH_PERFECT_CMPH
};
/* Of a new store.  given: by who writes, see transaction::at. */
enum class versions : int { own = MAPH_VERSIONS_OWN, given = MAPH_VERSIONS_GIVEN };

/* How many keys to make room for at once; more only make the index grow.  0: grow as needed. */
struct slot_count {
  std::uint64_t value = 0;
};

/* maph_options of maph.h, which says what each one does. */
struct config {
  slot_count slots{};
  /* every commit is on disk before it returns: durability::full */
  bool enable_journal = false;
  ::maph::durability durability = ::maph::durability::normal;
  std::chrono::milliseconds busy_timeout{ 5000 };
  bool verify = false;
  bool prefault = false;
  bool lock_memory = false;
  bool huge_pages = false;
  ::maph::advice advice = ::maph::advice::normal;
  int mode = 0644;
  ::maph::perfect_hash perfect_hash = ::maph::perfect_hash::by_default;
  int auto_compact = 0;
  /* of a store that is made; uuid: where versions are given, of their source */
  std::uint64_t after_version = 0;
  ::maph::versions versions = ::maph::versions::own;
  std::array<std::uint8_t, 16> uuid{};

  maph_options c() const noexcept {
    maph_options o = MAPH_OPTIONS_INIT;
    o.durability = enable_journal ? MAPH_SYNC_FULL : static_cast<int>(durability);
    o.busy_timeout_ms = detail::milliseconds(busy_timeout);
    o.expected_keys = slots.value;
    o.verify = verify;
    o.prefault = prefault;
    o.lock_memory = lock_memory;
    o.huge_pages = huge_pages;
    o.advice = static_cast<int>(advice);
    o.mode = mode;
    o.perfect_hash = static_cast<int>(perfect_hash);
    o.auto_compact = auto_compact;
    o.after_version = after_version;
    o.versions = static_cast<int>(versions);
    std::copy(uuid.begin(), uuid.end(), o.uuid);
    return o;
  }
};

} /* namespace maph */

#endif
