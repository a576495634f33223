/*
** result.hpp - what calls answer: a result, or the error that says why there is none, and the
** sentence about it.
*/
#ifndef MAPH_HPP_RESULT
#define MAPH_HPP_RESULT

#ifndef MAPH_HPP
#error "include maph.hpp, of which this is a part"
#endif

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#if __has_include(<version>)
#include <version>
#endif
#if defined(__cpp_lib_expected)
#include <expected>
#endif

namespace maph {

enum class error : int {
  none = MAPH_OK,
  not_found = MAPH_NOTFOUND,
  exists = MAPH_EXISTS,
  conflict = MAPH_CONFLICT,
  busy = MAPH_BUSY,
  readonly = MAPH_READONLY,
  full = MAPH_FULL,
  too_big = MAPH_TOOBIG,
  no_memory = MAPH_NOMEM,
  io = MAPH_IOERR,
  corrupt = MAPH_CORRUPT,
  format = MAPH_FORMAT,
  recover = MAPH_RECOVER,
  misuse = MAPH_MISUSE,
  cannot_open = MAPH_CANTOPEN,
  compacted = MAPH_COMPACTED,
  cancelled = MAPH_CANCELLED,
  mismatch = MAPH_MISMATCH
};

/* The name of a code: "no such key". */
inline const char *to_string(error e) noexcept { return maph_strerror(static_cast<int>(e)); }

/* One sentence about the last failure of this thread, but for a key that is not there: the file,
** the place, what to do. */
inline std::string message() { return maph_errmsg(nullptr); }

/* What value() of a failed result throws. */
class failure : public std::runtime_error {
public:
  failure(::maph::error e, const std::string &what) : std::runtime_error(what), code_(e) {}
  ::maph::error code() const noexcept { return code_; }

private:
  ::maph::error code_;
};

/* Where a failure is thrown; compiled with -fno-exceptions, the program ends with its sentence. */
[[noreturn]] inline void fail(::maph::error e, const std::string &what) {
#if defined(__cpp_exceptions)
  throw failure(e, what);
#else
  std::fprintf(stderr, "maph: %s (%s)\n", what.c_str(), maph_strerror(static_cast<int>(e)));
  std::abort();
#endif
}

#if defined(__cpp_lib_expected)
using std::unexpected;
#else
template <class E> class unexpected {
public:
  constexpr explicit unexpected(E e) : error_(std::move(e)) {}
  constexpr const E &error() const noexcept { return error_; }

private:
  E error_;
};
#endif

template <class T> class result {
public:
  result(T value) noexcept : value_(std::move(value)) {}
  result(::maph::error e) noexcept : error_(e) {}
  result(const unexpected<::maph::error> &e) noexcept : error_(e.error()) {}

  explicit operator bool() const noexcept { return error_ == ::maph::error::none; }
  bool has_value() const noexcept { return error_ == ::maph::error::none; }
  ::maph::error error() const noexcept { return error_; }

  T &operator*() &noexcept { return value_; }
  const T &operator*() const &noexcept { return value_; }
  T &&operator*() &&noexcept { return std::move(value_); }
  T *operator->() noexcept { return &value_; }
  const T *operator->() const noexcept { return &value_; }

  /* Or throw a failure: at the end of the call itself with its sentence, later with the name of the
  ** code. */
  T &value() & {
    demand(to_string(error_));
    return value_;
  }
  const T &value() const & {
    demand(to_string(error_));
    return value_;
  }
  T value() && {
    demand(error_ == ::maph::error::not_found ? to_string(error_) : message());
    return std::move(value_);
  }
  template <class U> T value_or(U &&other) const {
    return *this ? value_ : static_cast<T>(std::forward<U>(other));
  }

private:
  void demand(const std::string &what) const {
    if (!*this) fail(error_, what);
  }
  T value_{};
  ::maph::error error_ = ::maph::error::none;
};

struct done {}; /* what a call has that only succeeds or fails */

} /* namespace maph */

#endif
