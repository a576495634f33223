/*
** cursor.hpp - many entries, one after the other: in the order of their keys, or as they lie in the
** store, which is faster.
*/
#ifndef MAPH_HPP_CURSOR
#define MAPH_HPP_CURSOR

#ifndef MAPH_HPP
#error "include maph.hpp, of which this is a part"
#endif

#include "convert.hpp"
#include "entry.hpp"
#include "result.hpp"

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>

namespace maph {

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

} /* namespace maph */

#endif
