/*
** convert.hpp - between the C interface and this one: slices and views, codes and results, and the
** owners of C handles.
*/
#ifndef MAPH_HPP_CONVERT
#define MAPH_HPP_CONVERT

#ifndef MAPH_HPP
#error "include maph.hpp, of which this is a part"
#endif

#include "entry.hpp"
#include "result.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

namespace maph {

namespace detail {
/* What C takes as an int, for as long as that lasts: over three weeks. */
inline int milliseconds(std::chrono::milliseconds t) noexcept {
  constexpr std::chrono::milliseconds most(std::numeric_limits<int>::max()),
      least(std::numeric_limits<int>::min());
  return static_cast<int>(std::clamp(t, least, most).count());
}

inline maph_slice slice(std::string_view s) noexcept {
  return maph_bytes(s.data() ? s.data() : "", s.size());
}
inline std::string_view view(const maph_slice &s) noexcept {
  return { static_cast<const char *>(s.data), s.size };
}
inline error code(int rc) noexcept { return static_cast<error>(rc); }

inline result<done> finish(int rc) noexcept {
  return rc == MAPH_OK ? result<done>(done{}) : result<done>(code(rc));
}
inline result<std::string_view> finish(int rc, const maph_slice &value) noexcept {
  return rc == MAPH_OK ? result<std::string_view>(view(value)) : result<std::string_view>(code(rc));
}
inline entry convert(const maph_entry &e) noexcept {
  return { view(e.key),
           view(e.value),
           e.version,
           time(std::chrono::milliseconds(static_cast<std::int64_t>(e.expires))),
           static_cast<type>(e.type),
           view(e.media_type) };
}
inline result<entry> finish(int rc, const maph_entry &e) noexcept {
  return rc == MAPH_OK ? result<entry>(convert(e)) : result<entry>(code(rc));
}
inline outcome finish(int rc, const maph_outcome &o) noexcept {
  return { o.version, o.existed != 0, code(rc) };
}

/* The only owner of a C handle, and why there is none. */
template <class C> class owner {
public:
  owner() noexcept = default;
  owner(C *handle, int rc) noexcept : handle_(handle), error_(code(rc)) {}
  owner(owner &&other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)),
        error_(std::exchange(other.error_, ::maph::error::misuse)) {}
  explicit operator bool() const noexcept { return handle_ != nullptr; }
  ::maph::error error() const noexcept { return error_; }
  C *handle() const noexcept { return handle_; }

protected:
  ~owner() = default;
  void swap(owner &other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(error_, other.error_);
  }
  C *release() noexcept {
    error_ = ::maph::error::misuse;
    return std::exchange(handle_, nullptr);
  }

private:
  C *handle_ = nullptr;
  ::maph::error error_ = ::maph::error::misuse;
};
} /* namespace detail */

} /* namespace maph */

#endif
