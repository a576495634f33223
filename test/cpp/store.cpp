/*
** store.cpp - every member of maph.hpp: what it does, what it answers when it cannot, and who owns
** what.  argv[1]: a folder.
*/
#include "maph.hpp"
#include "maph.h"

#include <list>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>
#if __cplusplus >= 202002L
#include <ranges>
#endif

#include "check.hpp"

using namespace std::literals;
using maph::condition;

static std::string folder;

template <class F> static maph::error thrown(F f) {
  try {
    f();
  } catch (const maph::failure &e) {
    return e.code();
  }
  return maph::error::none;
}

static void results() {
  auto db = maph::maph::create_memory();
  CHECK(db && db.error() == maph::error::none);
  CHECK(db.set("k", "value"));
  CHECK(db.set("empty", ""));
  CHECK(db.set("unset view", std::string_view()));
  CHECK(db.set("zero\0byte"sv, "a\0b"sv));

  auto found = db.get("k"), missing = db.get("absent");
  CHECK(found && found.has_value() && *found == "value" && found->size() == 5
        && found.value() == "value");
  CHECK(!missing && missing.error() == maph::error::not_found
        && missing.value_or("other") == "other" && found.value_or("other") == "value");
  CHECK(db.get("empty") && db.get("empty")->empty());
  CHECK(db.get("unset view") && db.get("unset view")->empty());
  CHECK(*db.get("zero\0byte"sv) == "a\0b"sv && !db.get("zero"));
  CHECK(db.contains("k") && !db.contains("absent"));

  CHECK(thrown([&] { missing.value(); }) == maph::error::not_found);
  CHECK(db.get("").error() == maph::error::misuse);
  try {
    db.get("").value();
    CHECK(false);
  } catch (const maph::failure &e) {
    CHECK(e.code() == maph::error::misuse && maph::message() == e.what());
  }
  CHECK(maph::to_string(maph::error::not_found) == "no such key"sv);

  static_assert(std::is_trivially_copyable_v<maph::result<std::string_view>>,
                "a get returns in registers or on the stack, with nothing to destroy");
  static_assert(
      !std::is_copy_constructible_v<maph::maph> && std::is_nothrow_move_constructible_v<maph::maph>,
      "one owner");
  static_assert(!std::is_copy_constructible_v<
                    maph::transaction> && !std::is_copy_constructible_v<maph::cursor>,
                "one owner");
}

static void opening() {
  maph::maph none;
  CHECK(!none && none.error() == maph::error::misuse);
  CHECK(none.get("k").error() == maph::error::misuse
        && none.set("k", "v").error() == maph::error::misuse && none.size() == 0);
  CHECK(!none.begin() && !none.snapshot() && !none.entries() && !none.changes(0));

  auto absent = maph::maph::open(folder + "/absent.maph", true);
  CHECK(!absent && absent.error() == maph::error::cannot_open);
  CHECK(maph::message().find("absent.maph") != std::string::npos);

  const std::string path = folder + "/opening.maph";
  auto first = maph::maph::open_or_create(path);
  CHECK(first.set("k", "v"));
  CHECK(maph::maph::create(path).error() == maph::error::exists);
  maph::maph second = std::move(first);
  CHECK(!first && second && *second.get("k") == "v");
  CHECK(second->get("k") && (*second).get("k"));
  first = std::move(second);
  maph::maph &same = first;
  first = std::move(same);
  CHECK(first && *first.get("k") == "v");
  CHECK(first.close() && !first && first.get("k").error() == maph::error::misuse && first.close());
  {
    auto reader = maph::maph::open(path, true);
    auto view = reader.snapshot();
    CHECK(reader.close().error() == maph::error::misuse && reader && *view.get("k") == "v");
    view.close();
    CHECK(reader.refresh() && reader.close());
  }
  CHECK(maph::maph::replace(path, path + ".none").error() == maph::error::cannot_open);
  CHECK(maph::maph::destroy(path) && !std::filesystem::exists(path)
        && maph::maph::destroy(path).error() == maph::error::cannot_open);
}

static void conditions() {
  auto db = maph::maph::create_memory();
  auto first = db.set("k", "1", condition::if_absent());
  CHECK(first && !first.existed && first.version > 0);
  auto refused = db.set("k", "2", condition::if_absent());
  CHECK(!refused && refused.error() == maph::error::exists && refused.existed
        && refused.version == first.version);
  CHECK(db.set("k", "2", condition::if_version(first.version)));
  CHECK(db.set("k", "3", condition::if_version(first.version)).error() == maph::error::conflict);
  CHECK(db.set("other", "1", condition::if_present()).error() == maph::error::not_found);
  CHECK(db.remove("k", condition::if_version(first.version)).error() == maph::error::conflict);
  CHECK(db.remove("k", condition::if_version(db.get_entry("k")->version)) && !db.contains("k"));

  CHECK(db.set("page", "<p>",
               condition::always().type(maph::type::text).media_type("text/html").expires_in(1h)));
  auto page = db.get_entry("page");
  auto now = std::chrono::system_clock::now();
  CHECK(page && page->key == "page" && page->value == "<p>" && page->type == maph::type::text
        && page->media_type == "text/html");
  CHECK(page->expires > now + 59min && page->expires < now + 61min);
  CHECK(db.set("past", "x", condition::always().expires_at(maph::time(1ms)))
        && !db.contains("past"));
  CHECK(db.set("page", "<p>") && db.get_entry("page")->expires == maph::time{});
  // Times that the file cannot hold: long ago and never, not the other way round.
  for (auto past : { condition::always().expires_at(maph::time(-1h)),
                     condition::always().expires_in(-24h * 365 * 100),
                     condition::always().expires_in(std::chrono::hours::min()) }) {
    CHECK(db.set("past", "x", past) && !db.contains("past"));
  }
  CHECK(db.set("late", "x", condition::always().expires_in(std::chrono::hours::max()))
        && db.contains("late"));
}

static void many() {
  auto db = maph::maph::create_memory();
  db.set("a", "1");
  db.set("b", "");
  db.set("c", "3");
  auto values = db.get_many(std::vector<std::string>{ "c", "x", "b" });
  CHECK(values && values->size() == 3 && (*values)[0] == "3"sv && !(*values)[1]
        && (*values)[2] == ""sv);
  const char *names[] = { "a", "b" };
  CHECK(db.get_many(names)->at(0) == "1"sv);
  CHECK(db.get_many(std::list<std::string_view>{})->empty());
  CHECK(maph::maph().get_many(names).error() == maph::error::misuse);
  auto as_of = db.snapshot();
  db.set("a", "2");
  CHECK(as_of.get_many(names)->at(0) == "1"sv && db.get_many(names)->at(0) == "2"sv);
}

/* Ranges whose keys last for one step only: made by value, or the stream's last word. */
struct numbered {
  struct iterator {
    using iterator_category =
        std::random_access_iterator_tag;  // as many claim that make what they give
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = std::string;
    int n;
    std::string operator*() const {
      return std::to_string(n) + " is a key that is too long to be kept inside of a string";
    }
    iterator &operator++() {
      n++;
      return *this;
    }
    bool operator!=(const iterator &other) const { return n != other.n; }
  };
  iterator begin() const { return { 0 }; }
  iterator end() const { return { 3 }; }
};
struct words {
  std::istringstream in;
  auto begin() { return std::istream_iterator<std::string>(in); }
  auto end() { return std::istream_iterator<std::string>(); }
};
static void many_made() {
  auto db = maph::maph::create_memory();
  std::string value(1, '0');
  for (const auto &key : numbered()) {
    CHECK(db.set(key, value));
    value[0]++;
  }
  const auto all_of_them = [](const auto &found) {
    return found && found->size() == 3 && found->at(0) == "0"sv && found->at(1) == "1"sv
           && found->at(2) == "2"sv;
  };
  CHECK(all_of_them(db.get_many(numbered())) && all_of_them(db.snapshot().get_many(numbered())));
  for (const char *key : { "a", "b", "c" })
    CHECK(db.set(key, std::string(1, static_cast<char>(key[0] - 'a' + '0'))));
  CHECK(all_of_them(db.get_many(words{ std::istringstream("a b c") })));
#if defined(__cpp_lib_ranges) \
    && (!defined(__clang__)   \
        || __clang_major__ >= 16) /* clang 14 does not compile the views of libstdc++ 12 */
  const std::vector<int> numbers{ 0, 1, 2 };
  CHECK(all_of_them(db.get_many(numbers | std::views::transform([](int n) {
                                  return std::string(1, static_cast<char>('a' + n));
                                }))));
  CHECK(all_of_them(db.get_many(numbers | std::views::filter([](int) { return true; })
                                | std::views::transform([](int n) {
                                    return "abc"sv.substr(static_cast<std::size_t>(n), 1);
                                  }))));
#endif
}

static std::set<std::string> keys_of(maph::cursor entries) {
  std::set<std::string> keys;
  for (const maph::entry &e : entries) keys.insert(std::string(e.key));
  return keys;
}
static void scans() {
  auto db = maph::maph::create_memory();
  for (const char *key : { "user/1", "user/2", "group/1" }) db.set(key, "v");
  CHECK((keys_of(db.entries()) == std::set<std::string>{ "user/1", "user/2", "group/1" }));
  CHECK((keys_of(db.entries("user/")) == std::set<std::string>{ "user/1", "user/2" }));
  CHECK(keys_of(db.entries("nobody/")).empty());
  std::string in_order;
  for (const maph::entry &e : db.prefix("user/")) in_order += std::string(e.key) + ' ';
  CHECK(in_order == "user/1 user/2 ");
  in_order.clear();
  for (const maph::entry &e : db.range("user/1", "user/2")) in_order += std::string(e.key) + ' ';
  CHECK(in_order == "user/1 ");
  maph_range backwards = MAPH_RANGE_INIT;
  backwards.flags = MAPH_RANGE_REVERSE;
  maph::range_cursor walk = db.range(db.snapshot(), backwards);
  CHECK(walk && walk.seek("user/1~"));
  CHECK(walk.next()->key == "user/1" && walk.prev()->key == "user/2");
  CHECK(walk.next()->key == "user/1" && walk.estimate() > 1);
  auto before = db.snapshot();
  CHECK(db.remove("user/1") && before.size() == 3 && db.size() == 2
        && before.version() + 1 == db.snapshot().version());
  auto then = before.stats();
  CHECK(then && then->records == 3 && then->version == before.version()
        && db.stats()->records == 2);
  CHECK((keys_of(db.entries(before, "user/")) == std::set<std::string>{ "user/1", "user/2" }));
  CHECK(before.get("user/1") && before.get_entry("user/1")->value == "v"
        && before.get("absent").error() == maph::error::not_found);
  // A snapshot that is none is not the store of now.
  auto moved = std::move(before);
  CHECK(db.entries(moved, "user/") && !db.entries(before)
        && db.entries(before).error() == maph::error::misuse);
  CHECK(thrown([&] { keys_of(db.entries(before)); }) == maph::error::misuse
        && maph::message().find("snapshot") != std::string::npos);
  moved.close();
  CHECK(moved.stats().error() == maph::error::misuse);
  CHECK(db.entries(moved, "user/").error() == maph::error::misuse);
  // A cursor keeps its snapshot, whoever closes that.
  auto last = db.snapshot();
  auto kept = db.entries(last, "user/");
  last.close();
  CHECK(db.set("user/2", "later") && db.set("user/3", "later") && db.compact());
  auto only = kept.next();
  CHECK(only && only->key == "user/2" && only->value == "v"
        && kept.next().error() == maph::error::not_found);
  CHECK(db.close().error() == maph::error::misuse && db);
  kept.close();
  CHECK(db.increment("visits").value() == 1 && db.increment("visits", -43).value() == -42
        && db.get("visits").value() == "-42");
  CHECK(db.increment("user/2").error() == maph::error::mismatch
        && db.increment("visits", 1, maph::condition::if_absent()).error() == maph::error::exists);
  CHECK(db.remove("visits"));
  CHECK(db.remove("user/3") && db.set("user/2", "v"));
  std::size_t seen = 0;
  for (const auto &e : db.entries()) seen += e.value.size();
  CHECK(seen == 2);

  auto part = db.entries();
  auto first = part.next();
  std::string first_key(first->key);
  auto rest = db.entries();
  CHECK(rest.seek(part.tell()) && rest.next()->key != first_key
        && rest.next().error() == maph::error::not_found);
  CHECK(rest.seek(3).error() == maph::error::misuse);
  CHECK(thrown([] { keys_of(maph::maph().entries()); }) == maph::error::misuse);
}

static void transactions() {
  auto db = maph::maph::open_or_create(folder + "/transactions.maph");
  {
    auto t = db.begin();
    CHECK(t && t.set("a", "1") && t.set("b", "2", condition::if_absent()) && *t.get("a") == "1"
          && t.operations() == 2);
    CHECK(!db.get("a"));
    t.prefetch("a");
    t.prefetch("");
    CHECK(t.savepoint(0) && t.remove("a") && t.set("c", "3") && !t.get("a"));
    auto inside = t.snapshot();
    CHECK(inside.get("c") && !inside.get("a"));
    CHECK(t.rollback_to(0) && t.get("a") && !t.get("c")
          && inside.get("c").error() == maph::error::conflict);
    CHECK(t.set("b", "x", condition::if_absent()).error() == maph::error::exists);
    CHECK(t.remove("absent").error() == maph::error::not_found
          && t.remove("b", condition::if_version(1u << 30)).error() == maph::error::conflict);
    CHECK(t.release_savepoint(0));
    std::uint64_t version = t.version();
    CHECK(t.get_entry("a")->version == version && t.prepare() && t.commit());
    CHECK(!t && t.commit().error() == maph::error::misuse
          && t.set("a", "2").error() == maph::error::misuse);
    CHECK(db.get_entry("a")->version == version && *db.get("b") == "2");
  }
  {
    auto dropped = db.begin(maph::durability::full);
    CHECK(dropped.set("a", "lost"));
  }
  CHECK(*db.get("a") == "1");
  {
    auto held = db.begin();
    maph::config impatient;
    impatient.busy_timeout = 0ms;
    auto other = maph::maph::open(folder + "/transactions.maph", false, impatient);
    CHECK(other.set("a", "2").error() == maph::error::busy
          && other.begin().error() == maph::error::busy);
    maph::transaction taken = std::move(held);
    CHECK(!held && taken.set("a", "3") && taken.commit());
    CHECK(other.set("a", "4"));
    taken = other.begin();
    taken = db.begin(maph::durability::off);
    CHECK(!taken && taken.error() == maph::error::busy);
  }
  CHECK(*db.get("a") == "4" && db.sync());
}

/* What a callback throws comes out of the call, and the call has ended in order. */
static void checking() {
  const std::string path = folder + "/checked.maph";
  CHECK(maph::maph::create(path).set("k", std::string(1000, 'v')));
  auto db = maph::maph::open(path, true, [] {
    maph::config c;
    c.verify = true;
    return c;
  }());
  int problems = 0;
  maph::report count = [&](std::uint64_t, std::string_view sentence) {
    problems++;
    return !sentence.empty();
  };
  CHECK(db.check() && db.check(count) && problems == 0);
  CHECK(maph::maph::recover(path, count) && problems == 0);
  // The functions of maph.h are there too, with the handle inside.
  maph_slice value;
  CHECK(maph_get(db.handle(), maph_str("k"), &value) == MAPH_OK);
  const char *byte = static_cast<const char *>(value.data) + 500;
  std::size_t place = 0;
  {
    std::FILE *f = std::fopen(path.c_str(), "r+b");
    std::vector<char> bytes(std::filesystem::file_size(path));
    CHECK(std::fread(bytes.data(), 1, bytes.size(), f) == bytes.size());
    place = std::string_view(bytes.data(), bytes.size()).find(std::string(1000, *byte)) + 500;
    std::fseek(f, static_cast<long>(place), SEEK_SET);
    std::fputc('w', f);
    std::fclose(f);
  }
  CHECK(db.get("k").error() == maph::error::corrupt);
  CHECK(db.check(count).error() == maph::error::corrupt && problems > 0);
  CHECK(maph::message().find("checked.maph") != std::string::npos);
  bool caught = false;
  try {
    db.check([](std::uint64_t, std::string_view) -> bool { throw std::runtime_error("mine"); });
  } catch (const std::runtime_error &e) {
    caught = e.what() == "mine"sv;
  }
  CHECK(caught && db.check().error() == maph::error::corrupt);
}

static void rewrites() {
  const std::string path = folder + "/rewritten.maph";
  maph::config how;
  how.perfect_hash = maph::perfect_hash::pilot;
  auto db = maph::maph::create(path, how);
  for (int i = 0; i < 2000; i++)
    db.set("key" + std::to_string(i % 1000), "value" + std::to_string(i));
  auto held = db.get("key7");

  bool called = false;
  auto compacted = db.compact([&](std::string_view phase, std::uint64_t, std::uint64_t) {
    called = true;
    return !phase.empty();
  });
  CHECK(compacted && called && compacted->records == 1000
        && compacted->bytes_after <= compacted->bytes_before && *held == "value1007");
  std::uint64_t generation = db.stats()->generation;
  auto interrupted = db.compact([&](std::string_view, std::uint64_t, std::uint64_t) {
    db.interrupt();
    return true;
  });
  CHECK(!interrupted && interrupted.error() == maph::error::cancelled);
  auto stopped = db.compact([](std::string_view, std::uint64_t, std::uint64_t) { return false; });
  CHECK(!stopped && stopped.error() == maph::error::cancelled
        && db.stats()->generation == generation);
  bool caught = false;
  try {
    db.optimize([](std::string_view, std::uint64_t, std::uint64_t) -> bool {
      throw std::runtime_error("mine");
    });
  } catch (const std::runtime_error &e) {
    caught = e.what() == "mine"sv;
  }
  CHECK(caught && db.stats()->generation == generation && db.set("after", "1"));

  auto optimized = db.optimize();
  CHECK(optimized && optimized->frozen_keys == 1001 && db.stats()->frozen_keys == 1001
        && *db.get("key999") == "value1999");
  auto copied = db.backup(folder + "/backup.maph");
  CHECK(copied && copied->records == 1001
        && *maph::maph::open(folder + "/backup.maph", true).get("key0") == "value1000");
  CHECK(db.backup(folder + "/backup.maph").error() == maph::error::exists);
  CHECK(maph::maph::open(path, true).compact().error() == maph::error::readonly);
  // Restored: the backup takes the store's place, and a reader is moved to it by its refresh.
  auto reader = maph::maph::open(path, true);
  CHECK(db.set("later", "1") && reader.contains("later") && *held == "value1007" && db.refresh()
        && *db.get("key7") == "value1007" && db.check() && db.close());
  std::filesystem::rename(folder + "/backup.maph", path);
  CHECK(reader.refresh() && !reader.contains("later") && *reader.get("key7") == "value1007");
  CHECK(maph::maph::open(path).set("later", "2") && *reader.get("later") == "2");
}

static void feeds() {
  auto db = maph::maph::create(folder + "/feed.maph");
  db.set("a", "1");
  auto feed = db.changes(db.stats()->version);
  CHECK(feed && feed.next().error() == maph::error::not_found);
  auto t = db.begin();
  CHECK(t.set("b", "2") && t.remove("a") && t.commit());
  auto first = feed.next(1s);
  CHECK(first && first->entry.key == "b" && first->entry.value == "2" && !first->deleted
        && !first->last);
  auto second = feed.next(1s);
  CHECK(second && second->entry.key == "a" && second->deleted && second->last
        && feed.version() == db.stats()->version);
  auto all = db.changes(0);
  int seen = 0;
  while (all.next()) seen++;
  CHECK(seen == 3 && all.next().error() == maph::error::not_found);
  maph::changes moved = std::move(all);
  CHECK(!all && moved && all.next().error() == maph::error::misuse);
  CHECK(db.changes(1u << 30).error() == maph::error::compacted);
  // 2^32 milliseconds are more than an int holds: they are waited for, not taken for none.
  std::thread writer([&] { db.set("late", "1"); });
  auto late = feed.next(std::chrono::milliseconds(std::int64_t(1) << 32));
  writer.join();
  CHECK(late && late->entry.key == "late");
  maph::config patient;
  patient.busy_timeout = 24h * 30;
  CHECK(maph::maph::create_memory(patient));
}

static void loads() {
  const std::string path = folder + "/loaded.maph";
  {
    auto dropped = maph::load::begin(path);
    CHECK(dropped && dropped.set("a", "1"));
  }
  CHECK(maph::maph::open(path).error() == maph::error::cannot_open);
  maph::load::config how;
  how.optimize = true;
  auto l = maph::load::begin(path, how);
  for (int i = 0; i < 1000; i++) CHECK(l.set("key" + std::to_string(i), std::to_string(i)));
  CHECK(l.set("key7", "again"));
  CHECK(l.set("typed", "{}", maph::condition::always().type(maph::type::json).media_type("a/b")));
  CHECK(l.set("absent", "", maph::condition::if_absent()).error() == maph::error::misuse);
  CHECK(l.set("", "").error() == maph::error::misuse);
  CHECK(l.entries() == 1002);
  CHECK(l.finish() && l.finish().error() == maph::error::misuse);
  auto db = maph::maph::open(path);
  CHECK(db.size() == 1001 && *db.get("key7") == "again" && *db.get("key999") == "999");
  CHECK(db.get_entry("typed")->media_type == "a/b" && db.stats()->frozen_keys > 0 && db.check());
  CHECK(maph::load::begin(path).error() == maph::error::exists);
}

static void given_versions() {
  maph::config how;
  how.versions = maph::versions::given;
  how.uuid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
  const std::string path = folder + "/copy.maph";
  auto db = maph::maph::create(path, how);
  CHECK(db.set("a", "1").error() == maph::error::readonly);
  {
    auto t = db.begin();
    CHECK(t.set("a", "1").error() == maph::error::readonly && t.version() == 0);
    CHECK(t.at(70) && t.set("a", "1") && t.at(69).error() == maph::error::conflict);
    CHECK(t.at(75) && t.set("b", "2") && t.at(80) && t.version() == 80 && t.commit());
  }
  auto s = db.stats();
  CHECK(s && s->version == 80 && s->versions == MAPH_VERSIONS_GIVEN && s->uuid[15] == 16);
  CHECK(db.get_entry("a")->version == 70 && db.get_entry("b")->version == 75);
  CHECK(db.begin().at(80).error() == maph::error::conflict);
  db.close();
  CHECK(maph::maph::open(path).get_entry("b")->version == 75);

  maph::load::config fast;
  fast.versions = how.versions;
  fast.uuid = how.uuid;
  const std::string next = folder + "/next-copy.maph";
  auto l = maph::load::begin(next, fast);
  CHECK(l.set("a", "1").error() == maph::error::readonly);
  CHECK(l.at(90) && l.set("a", "2") && l.at(89).error() == maph::error::conflict);
  CHECK(l.at(95) && l.finish() && maph::maph::replace(path, next));
  db = maph::maph::open(path);
  s = db.stats();
  CHECK(s && s->version == 95 && s->uuid[0] == 1 && db.get_entry("a")->version == 90);

  maph::config own;
  own.after_version = 1000;
  db = maph::maph::create(folder + "/after.maph", own);
  CHECK(db.set("a", "1") && db.get_entry("a")->version == 1001);
  CHECK(db.begin().at(2000).error() == maph::error::misuse);
}

static void figures() {
  auto db = maph::maph::create_memory();
  CHECK(db.load_factor() == 0.0);
  for (int i = 0; i < 1000; i++) db.set(std::to_string(i), "v");
  auto s = db.stats();
  CHECK(s && s->records == 1000 && db.size() == 1000 && db.load_factor() > 0
        && db.load_factor() <= 1 && s->version == 1000);
}

int main(int, char **argv) {
  folder = argv[1];
  results();
  opening();
  conditions();
  many();
  many_made();
  scans();
  transactions();
  checking();
  rewrites();
  feeds();
  loads();
  given_versions();
  figures();
  return finish();
}
