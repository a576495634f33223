/*
** store.hpp - a store: opened, read, written, rewritten, checked.
*/
#ifndef MAPH_HPP_STORE
#define MAPH_HPP_STORE

#ifndef MAPH_HPP
#error "include maph.hpp, of which this is a part"
#endif

#include "changes.hpp"
#include "config.hpp"
#include "convert.hpp"
#include "cursor.hpp"
#include "entry.hpp"
#include "keys.hpp"
#include "result.hpp"
#include "snapshot.hpp"
#include "transaction.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

namespace maph {

/* Called now and then during a rewrite, with its phase and how much of it is done; false stops it:
** error::cancelled. */
using progress =
    std::function<bool(std::string_view phase, std::uint64_t done, std::uint64_t total)>;

/* Called for each problem found, with its place in the file and a sentence; false stops. */
using report = std::function<bool(std::uint64_t offset, std::string_view sentence)>;

namespace detail {
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
} /* namespace detail */

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
