/*
** entry.hpp - entries, and the conditions under which they are written.
*/
#ifndef MAPH_HPP_ENTRY
#define MAPH_HPP_ENTRY

#ifndef MAPH_HPP
#error "include maph.hpp, of which this is a part"
#endif

#include "result.hpp"

#include <chrono>
#include <cstdint>
#include <string_view>

namespace maph {

/* Milliseconds since 1970, as the file keeps them; time{}: never. */
using time = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;

enum class type : int {
  blob = MAPH_BLOB,
  text = MAPH_TEXT,
  json = MAPH_JSON,
  integer = MAPH_INTEGER,
  real = MAPH_REAL,
  null = MAPH_NULL
};

struct entry {
  std::string_view key, value;
  std::uint64_t version = 0;
  time expires{};
  ::maph::type type = ::maph::type::blob;
  std::string_view media_type;
};

/* What a conditional write did; on a failed condition, what it found.  Tests true when it wrote. */
struct outcome {
  /* written, or found when the condition failed (0: none) */
  std::uint64_t version = 0;
  bool existed = false;
  ::maph::error code = ::maph::error::none;
  explicit operator bool() const noexcept { return code == ::maph::error::none; }
  ::maph::error error() const noexcept { return code; }
};

/* When to write, and what to keep beside the value:
**     db.set("session/7", user, maph::condition::if_absent().expires_in(30min));
**     db.set("counter", "8", maph::condition::if_version(seen.version)); */
class condition {
public:
  static condition always() noexcept { return condition(MAPH_ALWAYS, 0); }
  static condition if_absent() noexcept { return condition(MAPH_IF_ABSENT, 0); }
  static condition if_present() noexcept { return condition(MAPH_IF_PRESENT, 0); }
  static condition if_version(std::uint64_t version) noexcept {
    return condition(MAPH_IF_VERSION, version);
  }

  condition &expires_at(time t) noexcept {
    expires_ = t;
    return *this;
  }
  template <class Rep, class Period> condition &expires_in(std::chrono::duration<Rep, Period> d) {
    using real = std::chrono::duration<double, std::milli>;
    const auto now =
        std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
    /* what would overflow is never, or long ago */
    if (real(d) >= real(time::max() - now))
      expires_ = time::max();
    else if (real(d) < real(-now.time_since_epoch()))
      expires_ = time::min();
    else
      expires_ = now + std::chrono::ceil<std::chrono::milliseconds>(d);
    return *this;
  }
  condition &type(::maph::type t) noexcept {
    type_ = t;
    return *this;
  }
  condition &media_type(std::string_view name) noexcept {
    media_type_ = name;
    return *this;
  }

  maph_condition c(maph_outcome *o) const noexcept {
    maph_condition result{};
    result.when = when_;
    result.version = version_;
    /* 0 is never */
    result.expires =
        expires_ < time{} ? 1 : static_cast<std::uint64_t>(expires_.time_since_epoch().count());
    result.type = static_cast<int>(type_);
    result.media_type = maph_bytes(media_type_.data(), media_type_.size());
    result.outcome = o;
    return result;
  }

private:
  condition(int when, std::uint64_t version) noexcept : when_(when), version_(version) {}
  int when_;
  std::uint64_t version_;
  time expires_{};
  ::maph::type type_ = ::maph::type::blob;
  std::string_view media_type_;
};

} /* namespace maph */

#endif
