/*
** load.hpp - a store made at once.
*/
#ifndef MAPH_HPP_LOAD
#define MAPH_HPP_LOAD

#ifndef MAPH_HPP
#error "include maph.hpp, of which this is a part"
#endif

#include "config.hpp"
#include "convert.hpp"
#include "entry.hpp"
#include "result.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>

namespace maph {

/* A new store made at the speed of write(): nobody sees it before finish(), and then it is there
** whole and on disk.  One that goes out of scope is aborted. */
class load : public detail::owner<maph_load> {
public:
  struct config {
    bool optimize = false; /* as maph::optimize leaves a store */
    std::uint64_t expected_keys = 0, memory_bytes = 0, after_version = 0;
    int mode = 0644;
    std::chrono::milliseconds busy_timeout{ 5000 };
    bool into_empty = false; /* into a store that is there and was not written to yet */
    ::maph::versions versions = ::maph::versions::own; /* as in maph::config */
    std::array<std::uint8_t, 16> uuid{};
  };
  using owner::owner;
  load(load &&) noexcept = default;
  load &operator=(load &&other) noexcept {
    load moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~load() { abort(); }

  static load begin(const std::filesystem::path &path) noexcept { return begin(path, config()); }
  static load begin(const std::filesystem::path &path, const config &how) noexcept {
    maph_load_options options = MAPH_LOAD_OPTIONS_INIT;
    options.optimize = how.optimize;
    options.expected_keys = how.expected_keys;
    options.memory_bytes = how.memory_bytes;
    options.after_version = how.after_version;
    options.mode = how.mode;
    options.busy_timeout_ms = detail::milliseconds(how.busy_timeout);
    options.into_empty = how.into_empty;
    options.versions = static_cast<int>(how.versions);
    std::copy(how.uuid.begin(), how.uuid.end(), options.uuid);
    maph_load *l = nullptr;
    int rc = maph_load_begin(path.c_str(), &options, &l);
    return { l, rc };
  }

  result<done> set(std::string_view key, std::string_view value) noexcept {
    return detail::finish(
        maph_load_put(handle(), detail::slice(key), detail::slice(value), nullptr));
  }
  /* With expiry, types and media type; its condition has to be none. */
  result<done> set(std::string_view key, std::string_view value, const condition &as) noexcept {
    maph_condition c = as.c(nullptr);
    return detail::finish(maph_load_put(handle(), detail::slice(key), detail::slice(value), &c));
  }
  /* Where versions are given: of what is put from now on, and of the store when it is finished. */
  result<done> at(std::uint64_t version) noexcept {
    return detail::finish(maph_load_at(handle(), version));
  }
  std::uint64_t entries() const noexcept { return maph_load_entries(handle()); }
  result<done> finish() noexcept { return detail::finish(maph_load_finish(release())); }
  void abort() noexcept { maph_load_abort(release()); }
};

} /* namespace maph */

#endif
