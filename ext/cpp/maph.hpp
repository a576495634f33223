/*
** maph.hpp - maph in C++17: the interface of maph.h with owners, string_views and results.  Header
** only; link with -lmaph.
**
**     auto db = maph::maph::open("cache.maph", true);              // true: for reading only
**     if( !db ) throw std::runtime_error(maph::message());
**     if( auto value = db.get("hot_key") ) std::cout << *value;    // a view into the mapped file
**
** RESULTS.  Calls that can fail return a result<T>: it tests true and dereferences to what was
** asked for, or error() says why there is none. Stores, transactions, snapshots, cursors and feeds
** are their own results: they test true while they are open.  A call on one that is not answers
** error::misuse.  maph::message() is the sentence about the last failure of this thread.  Nothing
** throws, but for value() of a failed result, a range-for over entries that cannot be read to the
** end, and memory for a vector or path.  With -fno-exceptions these end the program, and say why.
**
** LIFETIME.  A view stays valid until refresh() or close() of its store (for one read through a
** snapshot or cursor: until that goes too, at least; of what a transaction itself wrote: until that
** is undone).  Closing is also what the destructor does, and moving another store into a store.  A
** store must outlive its transactions, snapshots, cursors and feeds.
**
** THREADS.  As in maph.h: a store is for any thread at any time; the others are for one at a time;
** refresh, close and moving need it alone.
**
** maph.h comes along, its functions under their own names.  Its `maph` is called maph_handle here,
** because a namespace has the name: include this header and not maph.h.
*/
#ifndef MAPH_HPP
#define MAPH_HPP

#if __cplusplus < 201703L && (!defined(_MSVC_LANG) || _MSVC_LANG < 201703L)
#error "maph.hpp needs C++17 or newer: compile with -std=c++17"
#else

#if defined(MAPH_H) && !defined(MAPH_HPP_TOOK_NAME)
#error "maph.h was included before maph.hpp: include maph.hpp alone, it brings maph.h along"
#endif
#define MAPH_HPP_TOOK_NAME
#define maph maph_handle
#include "maph.h"
#undef maph

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>
#if __has_include(<version>)
#include <version>
#endif
#if defined(__cpp_lib_expected)
#include <expected>
#endif

namespace maph {

/* -------------------------------------------------------------------------------------- results */
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

namespace detail {
/* What C takes as an int, for as long as that lasts: over three weeks. */
inline int milliseconds(std::chrono::milliseconds t) noexcept {
  constexpr std::chrono::milliseconds most(std::numeric_limits<int>::max()),
      least(std::numeric_limits<int>::min());
  return static_cast<int>(std::clamp(t, least, most).count());
}
}  // namespace detail

struct done {}; /* what a call has that only succeeds or fails */

/* -------------------------------------------------------------------------------------- entries */
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

struct change {
  ::maph::entry entry;
  bool deleted = false;
  bool last = false; /* of its transaction: a place to resume from */
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

namespace detail {

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

/* Whether what an iterator points at stays when it goes on: not what it makes for each step, nor
** what it reads from a stream or generator. */
template <class Iterator, class = void> struct stays : std::false_type {};
template <class Iterator>
struct stays<Iterator, std::void_t<typename std::iterator_traits<Iterator>::iterator_category>> {
  using category = typename std::iterator_traits<Iterator>::iterator_category;
  static constexpr bool value =
      std::is_lvalue_reference_v<
          decltype(*std::declval<
                   Iterator &>())> && std::is_base_of_v<std::forward_iterator_tag, category>;
};

/* The keys themselves if they stay, else copies of them. */
template <class Keys> decltype(auto) staying(Keys &keys) {
  if constexpr (stays<decltype(std::begin(keys))>::value)
    return (keys);
  else {
    std::vector<std::string> copies;
    for (auto &&key : keys) copies.emplace_back(std::string_view(key));
    return copies;
  }
}

/* The slices of a range of what converts to a string_view. */
template <class Keys> std::vector<maph_slice> slices(Keys &keys) {
  std::vector<maph_slice> all;
  for (const auto &key : keys) all.push_back(slice(key));
  return all;
}
using values = std::vector<std::optional<std::string_view>>;
inline result<values> finish(int rc, const std::vector<maph_slice> &found) {
  if (rc != MAPH_OK) return code(rc);
  values all;
  all.reserve(found.size());
  for (const maph_slice &s : found)
    all.push_back(s.data ? std::optional<std::string_view>(view(s)) : std::nullopt);
  return all;
}

/* A C++ function called from C: what it throws waits here until C has returned. */
template <class Function> struct callback {
  const Function &function;
  std::exception_ptr thrown;
#if defined(__cpp_exceptions)
  template <class... Arguments> int operator()(Arguments... arguments) noexcept {
    try {
      return function(arguments...) ? 0 : 1;
    } catch (...) {
      thrown = std::current_exception();
      return 1;
    }
  }
  int finish(int rc) {
    if (thrown) std::rethrow_exception(thrown);
    return rc;
  }
#else
  template <class... Arguments> int operator()(Arguments... arguments) noexcept {
    return function(arguments...) ? 0 : 1;
  }
  int finish(int rc) { return rc; }
#endif
};

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

/* -------------------------------------------------------------------------------------- options */
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

/* ------------------------------------------------------------------------ snapshots and cursors */
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

namespace detail {
struct end_of_entries {};
/* The entries that next() of a cursor gives. */
template <class Cursor> class entry_iterator {
public:
  using iterator_category = std::input_iterator_tag;
  using value_type = entry;
  using difference_type = std::ptrdiff_t;
  using pointer = const entry *;
  using reference = const entry &;
  explicit entry_iterator(Cursor &c) : cursor_(&c) { ++*this; }
  reference operator*() const noexcept { return *current_; }
  pointer operator->() const noexcept { return &*current_; }
  entry_iterator &operator++() {
    current_ = cursor_->next();
    if (!current_ && current_.error() != ::maph::error::not_found)
      fail(current_.error(), message());
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const entry_iterator &i, end_of_entries) noexcept { return !i.current_; }
  friend bool operator!=(const entry_iterator &i, end_of_entries) noexcept {
    return static_cast<bool>(i.current_);
  }

private:
  Cursor *cursor_;
  result<entry> current_{ ::maph::error::not_found };
};
}  // namespace detail

/* The live entries of a range of keys in the order of their bytes, both ways, of one snapshot,
** which the cursor keeps though that is closed:
**     for( const maph::entry &e : db.range("a", "b") ) std::cout << e.key << '\n';
** next() and prev() answer error::not_found at an end; the range-for throws a failure when it is
** something else. */
class range_cursor : public detail::owner<maph_range_cursor> {
public:
  using owner::owner;
  range_cursor(range_cursor &&) noexcept = default;
  range_cursor &operator=(range_cursor &&other) noexcept {
    range_cursor moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~range_cursor() { close(); }

  result<entry> next() noexcept {
    maph_entry e{};
    int rc = maph_range_next(handle(), &e);
    return detail::finish(rc, e);
  }
  result<entry> prev() noexcept {
    maph_entry e{};
    int rc = maph_range_prev(handle(), &e);
    return detail::finish(rc, e);
  }
  result<done> seek(std::string_view key) noexcept {
    return detail::finish(maph_range_seek(handle(), detail::slice(key)));
  }
  std::uint64_t estimate() const noexcept { return maph_range_estimate(handle()); }
  void close() noexcept { maph_range_close(release()); }

  using end_of_entries = detail::end_of_entries;
  using iterator = detail::entry_iterator<range_cursor>;
  iterator begin() {
    if (!*this) fail(error(), message());
    return iterator(*this);
  }
  end_of_entries end() const noexcept { return {}; }
};

/* Every live entry of one snapshot, which the cursor keeps though that is closed, whose key begins
** with a prefix:
**     for( const maph::entry &e : db.entries("user/") ) std::cout << e.key << '\n';
** next() answers error::not_found at the end; the range-for throws a failure when it is something
** else. */
class cursor : public detail::owner<maph_cursor> {
public:
  using owner::owner;
  cursor(cursor &&) noexcept = default;
  cursor &operator=(cursor &&other) noexcept {
    cursor moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~cursor() { close(); }

  result<entry> next() noexcept {
    maph_entry e{};
    int rc = maph_cursor_next(handle(), &e);
    return detail::finish(rc, e);
  }
  std::uint64_t tell() const noexcept { return maph_cursor_tell(handle()); }
  result<done> seek(std::uint64_t place) noexcept {
    return detail::finish(maph_cursor_seek(handle(), place));
  }
  void close() noexcept { maph_cursor_close(release()); }

  using end_of_entries = detail::end_of_entries;
  using iterator = detail::entry_iterator<cursor>;
  iterator begin() {
    if (!*this) fail(error(), message());
    return iterator(*this);
  }
  end_of_entries end() const noexcept { return {}; }
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

/* --------------------------------------------------------------------------------- transactions */
/* Many writes that others see whole, at the commit, or not at all.  One that goes out of scope is
** aborted. */
class transaction : public detail::owner<maph_txn> {
public:
  using owner::owner;
  transaction(transaction &&) noexcept = default;
  transaction &operator=(transaction &&other) noexcept {
    transaction moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~transaction() { abort(); }

  result<std::string_view> get(std::string_view key) const noexcept {
    maph_slice value{};
    int rc = maph_txn_get(handle(), detail::slice(key), &value);
    return detail::finish(rc, value);
  }
  result<entry> get_entry(std::string_view key) const noexcept {
    maph_entry e{};
    int rc = maph_txn_get_entry(handle(), detail::slice(key), &e);
    return detail::finish(rc, e);
  }
  /* A hint: the key is about to be read or written.  It pays where other work lies between. */
  void prefetch(std::string_view key) const noexcept {
    maph_txn_prefetch(handle(), detail::slice(key));
  }
  result<done> set(std::string_view key, std::string_view value) noexcept {
    return detail::finish(maph_txn_put(handle(), detail::slice(key), detail::slice(value)));
  }
  outcome set(std::string_view key, std::string_view value, const condition &when) noexcept {
    maph_outcome o{};
    maph_condition c = when.c(&o);
    int rc = maph_txn_put_if(handle(), detail::slice(key), detail::slice(value), &c);
    return detail::finish(rc, o);
  }
  /* Add to the whole number that the value spells, and answer the sum; error::mismatch. */
  result<std::int64_t> increment(std::string_view key, std::int64_t by = 1,
                                 const condition &when = condition::always()) noexcept {
    std::int64_t sum = 0;
    maph_condition c = when.c(nullptr);
    int rc = maph_txn_increment(handle(), detail::slice(key), by, &c, &sum);
    return rc == MAPH_OK ? result<std::int64_t>(sum) : result<std::int64_t>(detail::code(rc));
  }
  result<done> remove(std::string_view key) noexcept {
    return detail::finish(maph_txn_delete(handle(), detail::slice(key)));
  }
  outcome remove(std::string_view key, const condition &when) noexcept {
    maph_outcome o{};
    maph_condition c = when.c(&o);
    int rc = maph_txn_delete_if(handle(), detail::slice(key), &c);
    return detail::finish(rc, o);
  }

  /* Where versions are given: of what is written from now on, and of the commit. */
  result<done> at(std::uint64_t version) noexcept {
    return detail::finish(maph_txn_at(handle(), version));
  }

  result<done> savepoint(int n) noexcept { return detail::finish(maph_txn_savepoint(handle(), n)); }
  result<done> release_savepoint(int n) noexcept {
    return detail::finish(maph_txn_release(handle(), n));
  }
  result<done> rollback_to(int n) noexcept {
    return detail::finish(maph_txn_rollback_to(handle(), n));
  }

  ::maph::snapshot snapshot() const noexcept {
    maph_snapshot *s = nullptr;
    int rc = maph_txn_snapshot(handle(), &s);
    return { s, rc };
  }
  std::uint64_t version() const noexcept { return maph_txn_version(handle()); }
  std::uint64_t operations() const noexcept { return maph_txn_operations(handle()); }

  result<done> prepare() noexcept { return detail::finish(maph_txn_prepare(handle())); }
  result<done> unprepare() noexcept { return detail::finish(maph_txn_unprepare(handle())); }
  result<done> commit() noexcept { return detail::finish(maph_txn_commit(release())); }
  void abort() noexcept { maph_txn_abort(release()); }
};

/* --------------------------------------------------------------------------------------- stores */
/* Called now and then during a rewrite, with its phase and how much of it is done; false stops it:
** error::cancelled. */
using progress =
    std::function<bool(std::string_view phase, std::uint64_t done, std::uint64_t total)>;

/* Called for each problem found, with its place in the file and a sentence; false stops. */
using report = std::function<bool(std::uint64_t offset, std::string_view sentence)>;

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

class maph : public detail::owner<maph_handle> {
public:
  using config = ::maph::config;

  /* A store that is there. */
  static maph open(const std::filesystem::path &path, bool readonly = false,
                   const config &how = {}) {
    return make(path.c_str(), readonly ? MAPH_RDONLY : MAPH_RDWR, how);
  }
  /* A new store; error::exists when there is a file of that name, which is not touched. */
  static maph create(const std::filesystem::path &path, const config &how = {}) {
    return make(path.c_str(), MAPH_RDWR | MAPH_CREATE | MAPH_EXCL, how);
  }
  static maph open_or_create(const std::filesystem::path &path, const config &how = {}) {
    return make(path.c_str(), MAPH_RDWR | MAPH_CREATE, how);
  }
  /* A store of this process alone, with no file. */
  static maph create_memory(const config &how = {}) noexcept {
    return make(":memory:", MAPH_RDWR | MAPH_CREATE, how);
  }

  maph() noexcept = default;
  maph(maph &&) noexcept = default;
  maph &operator=(maph &&other) noexcept {
    maph moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~maph() { close(); }

  maph &operator*() &noexcept { return *this; }
  const maph &operator*() const &noexcept { return *this; }
  maph &&operator*() &&noexcept { return std::move(*this); }
  maph *operator->() noexcept { return this; }
  const maph *operator->() const noexcept { return this; }

  /* ---- reading: any number of threads, no lock ---- */
  result<std::string_view> get(std::string_view key) const noexcept {
    maph_slice value{};
    int rc = maph_get(handle(), detail::slice(key), &value);
    return detail::finish(rc, value);
  }
  result<entry> get_entry(std::string_view key) const noexcept {
    maph_entry e{};
    int rc = maph_get_entry(handle(), detail::slice(key), &e);
    return detail::finish(rc, e);
  }
  /* The values of any range of keys, at one snapshot, in their order; faster than one by one.  Keys
  ** that the range makes as it goes are copied. */
  template <class Keys> result<detail::values> get_many(Keys &&keys) const {
    auto &&staying = detail::staying(keys);
    std::vector<maph_slice> slices = detail::slices(staying), found(slices.size());
    int rc = maph_get_many(handle(), slices.size(), slices.data(), found.data());
    return detail::finish(rc, found);
  }
  bool contains(std::string_view key) const noexcept {
    return maph_exists(handle(), detail::slice(key)) == MAPH_OK;
  }

  ::maph::snapshot snapshot() const noexcept {
    maph_snapshot *s = nullptr;
    int rc = maph_snapshot_open(handle(), &s);
    return { s, rc };
  }
  cursor entries(std::string_view prefix = {}) const noexcept { return entries(nullptr, prefix); }
  cursor entries(const ::maph::snapshot &as_of, std::string_view prefix = {}) const noexcept {
    /* maph.h would read the store as it is now */
    if (!as_of) return { nullptr, static_cast<int>(as_of.get({}).error()) };
    return entries(as_of.handle(), prefix);
  }

  /* In key order: from the one, itself in, to the other, itself left out; {}: no bound. */
  range_cursor range(std::string_view from = {}, std::string_view to = {}) const noexcept {
    maph_range r = MAPH_RANGE_INIT;
    r.from = detail::slice(from);
    if (!to.empty()) r.to = detail::slice(to);
    return range(nullptr, r);
  }
  range_cursor prefix(std::string_view begins) const noexcept {
    maph_range r = MAPH_RANGE_INIT;
    r.prefix = detail::slice(begins);
    return range(nullptr, r);
  }
  /* With all that maph.h knows of ranges: reverse, limit, bounds in or out. */
  range_cursor range(const maph_range &r) const noexcept { return range(nullptr, r); }
  range_cursor range(const ::maph::snapshot &as_of, const maph_range &r) const noexcept {
    if (!as_of) return { nullptr, static_cast<int>(as_of.get({}).error()) };
    return range(as_of.handle(), r);
  }

  /* Everything after the transaction of that version; 0: since the store's creation. */
  ::maph::changes changes(std::uint64_t since) const noexcept {
    maph_changes *c = nullptr;
    int rc = maph_changes_open(handle(), since, &c);
    return { c, rc };
  }

  /* ---- writing: each call a transaction of its own ---- */
  result<done> set(std::string_view key, std::string_view value) noexcept {
    return detail::finish(maph_put(handle(), detail::slice(key), detail::slice(value)));
  }
  outcome set(std::string_view key, std::string_view value, const condition &when) noexcept {
    maph_outcome o{};
    maph_condition c = when.c(&o);
    int rc = maph_put_if(handle(), detail::slice(key), detail::slice(value), &c);
    return detail::finish(rc, o);
  }
  /* Add to the whole number that the value spells, and answer the sum; error::mismatch. */
  result<std::int64_t> increment(std::string_view key, std::int64_t by = 1,
                                 const condition &when = condition::always()) noexcept {
    std::int64_t sum = 0;
    maph_condition c = when.c(nullptr);
    int rc = maph_increment(handle(), detail::slice(key), by, &c, &sum);
    return rc == MAPH_OK ? result<std::int64_t>(sum) : result<std::int64_t>(detail::code(rc));
  }
  result<done> remove(std::string_view key) noexcept {
    return detail::finish(maph_delete(handle(), detail::slice(key)));
  }
  outcome remove(std::string_view key, const condition &when) noexcept {
    maph_outcome o{};
    maph_condition c = when.c(&o);
    int rc = maph_delete_if(handle(), detail::slice(key), &c);
    return detail::finish(rc, o);
  }
  transaction begin(durability level = durability::by_default) noexcept {
    maph_txn *t = nullptr;
    int rc = maph_txn_begin(handle(), static_cast<int>(level), &t);
    return { t, rc };
  }
  result<done> sync() noexcept { return detail::finish(maph_sync(handle())); }

  /* ---- the file ---- */
  result<maph_rewrite> compact(const progress &p = {}) { return rewrite(maph_compact, p); }
  result<maph_rewrite> optimize(const progress &p = {}) { return rewrite(maph_optimize, p); }
  result<maph_rewrite> backup(const std::filesystem::path &to, const progress &p = {}) const {
    return rewrite([&to](maph_handle *m, maph_progress_fn f,
                         void *arg) { return maph_backup(m, to.c_str(), f, arg); },
                   p);
  }
  result<maph_stats> stats() const noexcept {
    maph_stats s{};
    int rc = maph_stat(handle(), &s);
    return rc == MAPH_OK ? result<maph_stats>(s) : result<maph_stats>(detail::code(rc));
  }
  std::uint64_t size() const noexcept {
    auto s = stats();
    return s ? s->records : 0;
  }
  double load_factor() const noexcept {
    auto s = stats();
    return s ? s->load_factor : 0;
  }
  result<done> check(const report &r = {}) const {
    return reported(r,
                    [this](maph_report_fn f, void *arg) { return maph_check(handle(), f, arg); });
  }
  /* End what is under way through this store, in any thread: error::cancelled.  From a signal
  ** handler too. */
  void interrupt() const noexcept {
    if (handle() != nullptr) maph_interrupt(handle());
  }
  result<done> refresh() noexcept { return detail::finish(maph_refresh(handle())); }

  /* error::misuse, and still open, while a snapshot or cursor is open. */
  result<done> close() noexcept {
    int rc = maph_close(handle());
    if (rc != MAPH_MISUSE) release();
    return detail::finish(rc);
  }

  static result<done> recover(const std::filesystem::path &path, const report &r = {}) {
    return reported(
        r, [&path](maph_report_fn f, void *arg) { return maph_recover(path.c_str(), f, arg); });
  }
  static result<done>
  destroy(const std::filesystem::path &path,
          std::chrono::milliseconds busy_timeout = std::chrono::milliseconds(5000)) {
    return detail::finish(maph_destroy(path.c_str(), detail::milliseconds(busy_timeout)));
  }
  static result<done>
  replace(const std::filesystem::path &path, const std::filesystem::path &with,
          std::chrono::milliseconds busy_timeout = std::chrono::milliseconds(5000)) {
    return detail::finish(
        maph_replace(path.c_str(), with.c_str(), detail::milliseconds(busy_timeout)));
  }

private:
  using owner::owner;
  static maph make(const char *path, int flags, const config &how) noexcept {
    maph_options options = how.c();
    maph_handle *m = nullptr;
    int rc = maph_open(path, flags, &options, &m);
    return maph(m, rc);
  }
  range_cursor range(maph_snapshot *as_of, const maph_range &r) const noexcept {
    maph_range_cursor *c = nullptr;
    int rc = maph_range_open(handle(), as_of, &r, &c);
    return { c, rc };
  }
  cursor entries(maph_snapshot *as_of, std::string_view prefix) const noexcept {
    maph_cursor *c = nullptr;
    int rc = maph_cursor_open(handle(), as_of, detail::slice(prefix), &c);
    return { c, rc };
  }
  template <class Call> result<maph_rewrite> rewrite(Call call, const progress &p) const {
    detail::callback<progress> back{ p, nullptr };
    maph_progress_fn f = [](void *arg, const char *phase, std::uint64_t finished,
                            std::uint64_t total) {
      return (*static_cast<detail::callback<progress> *>(arg))(std::string_view(phase), finished,
                                                               total);
    };
    int rc = back.finish(call(handle(), p ? f : nullptr, &back));
    maph_rewrite did{};
    if (rc == MAPH_OK) rc = maph_rewritten(handle(), &did);
    return rc == MAPH_OK ? result<maph_rewrite>(did) : result<maph_rewrite>(detail::code(rc));
  }
  template <class Call> static result<done> reported(const report &r, Call call) {
    detail::callback<report> back{ r, nullptr };
    maph_report_fn f = [](void *arg, std::uint64_t offset, const char *sentence) {
      return (*static_cast<detail::callback<report> *>(arg))(offset, std::string_view(sentence));
    };
    return detail::finish(back.finish(call(r ? f : nullptr, &back)));
  }
};

} /* namespace maph */

#endif
#endif
