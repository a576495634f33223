/*
** transaction.hpp - many writes at once.
*/
#ifndef MAPH_HPP_TRANSACTION
#define MAPH_HPP_TRANSACTION

#ifndef MAPH_HPP
#error "include maph.hpp, of which this is a part"
#endif

#include "convert.hpp"
#include "entry.hpp"
#include "result.hpp"
#include "snapshot.hpp"

#include <cstdint>
#include <string_view>
#include <utility>

namespace maph {

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

} /* namespace maph */

#endif
