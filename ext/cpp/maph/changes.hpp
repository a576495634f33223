/*
** changes.hpp - the feed of what was written to a store.
*/
#ifndef MAPH_HPP_CHANGES
#define MAPH_HPP_CHANGES

#ifndef MAPH_HPP
#error "include maph.hpp, of which this is a part"
#endif

#include "convert.hpp"
#include "entry.hpp"
#include "result.hpp"

#include <chrono>
#include <cstdint>
#include <utility>

namespace maph {

struct change {
  ::maph::entry entry;
  bool deleted = false;
  bool last = false; /* of its transaction: a place to resume from */
};

/* The puts and deletes since a version, in commit order.  The views of a change are valid until the
** next call on the feed. */
class changes : public detail::owner<maph_changes> {
public:
  using owner::owner;
  changes(changes &&) noexcept = default;
  changes &operator=(changes &&other) noexcept {
    changes moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~changes() { close(); }

  /* Waits that long for one: error::not_found when none came.  Negative: without end. */
  result<change> next(std::chrono::milliseconds timeout = std::chrono::milliseconds(0)) noexcept {
    maph_change c{};
    int rc = maph_changes_next(handle(), detail::milliseconds(timeout), &c);
    if (rc != MAPH_OK) return detail::code(rc);
    return change{ detail::convert(c.entry), c.deleted != 0, c.last != 0 };
  }
  std::uint64_t version() const noexcept { return maph_changes_version(handle()); }
  void close() noexcept { maph_changes_close(release()); }
};

} /* namespace maph */

#endif
