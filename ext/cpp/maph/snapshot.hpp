/*
** snapshot.hpp - one moment of a store.
*/
#ifndef MAPH_HPP_SNAPSHOT
#define MAPH_HPP_SNAPSHOT

#ifndef MAPH_HPP
#error "include maph.hpp, of which this is a part"
#endif

#include "convert.hpp"
#include "entry.hpp"
#include "keys.hpp"
#include "result.hpp"

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace maph {

/* The store as of one commit, or as a transaction sees it. */
class snapshot : public detail::owner<maph_snapshot> {
public:
  using owner::owner;
  snapshot(snapshot &&) noexcept = default;
  snapshot &operator=(snapshot &&other) noexcept {
    snapshot moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~snapshot() { close(); }

  result<std::string_view> get(std::string_view key) const noexcept {
    maph_slice value{};
    int rc = maph_snapshot_get(handle(), detail::slice(key), &value);
    return detail::finish(rc, value);
  }
  result<entry> get_entry(std::string_view key) const noexcept {
    maph_entry e{};
    int rc = maph_snapshot_get_entry(handle(), detail::slice(key), &e);
    return detail::finish(rc, e);
  }
  template <class Keys> result<detail::values> get_many(Keys &&keys) const {
    auto &&staying = detail::staying(keys);
    std::vector<maph_slice> slices = detail::slices(staying), found(slices.size());
    int rc = maph_snapshot_get_many(handle(), slices.size(), slices.data(), found.data());
    return detail::finish(rc, found);
  }
  std::uint64_t version() const noexcept { return maph_snapshot_version(handle()); }
  std::uint64_t size() const noexcept { return maph_snapshot_records(handle()); }
  result<maph_stats> stats() const noexcept {
    maph_stats s{};
    int rc = maph_snapshot_stat(handle(), &s);
    return rc == MAPH_OK ? result<maph_stats>(s) : result<maph_stats>(detail::code(rc));
  }
  void close() noexcept { maph_snapshot_close(release()); }
};

} /* namespace maph */

#endif
