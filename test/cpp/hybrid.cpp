/*
** hybrid.cpp - the deployments that maph is for, as programs of C++ users write them: readers
** beside one writer, stores behind file locks, stores that are reopened.  The test puts its own
** folder in place of /var/lib/maph/data.
**
** Inside a "snippet" block the text is a user's; what stands around it only completes it:
** constructors, functions that he has elsewhere.
*/
#include "maph.hpp"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.hpp"

using maph::slot_count;
using namespace std::literals;

static const std::string data = "/var/lib/maph/data/";

static void put(const std::string &store, std::string_view key, std::string_view value) {
  auto db = maph::maph::open_or_create(data + store);
  CHECK(db.set(key, value));
}

// ---------------------------------------------------------------------------------------------- a
// fast path for reads
static void read_path() {
  put("cache.maph", "hot_key", "new_value");
  // snippet
  // C++ application: Direct mmap access (read-only)
  auto db = maph::maph::open("/var/lib/maph/data/cache.maph", true);  // readonly=true

  // Direct memory access - no HTTP overhead
  auto value = db.get("hot_key");  // ~300ns latency vs ~1-2ms via REST
  // end
  CHECK(value);
  CHECK(*value == "new_value");
  CHECK(!db.get("cold_key"));
  CHECK(db.get("cold_key").error() == maph::error::not_found);
  CHECK(db.set("hot_key", "mine").error() == maph::error::readonly);
  put("cache.maph", "hot_key", "newer");
  CHECK(*value == "new_value");
  CHECK(*db.get("hot_key") == "newer");
}

// -------------------------------------------------------------------------------------------
// shared configuration
static void game_server() {
  // snippet
  // Process 1: Game server
  auto config = maph::maph::open("/var/lib/maph/data/config.maph", true);
  auto max_players = config.get("server.max_players");
  // end
  CHECK(max_players && *max_players == "64");
}
static void admin_daemon() {
  // snippet
  // Process 2: Admin daemon
  auto config = maph::maph::open("/var/lib/maph/data/config.maph", true);
  auto log_level = config.get("server.log_level");
  // end
  CHECK(log_level && *log_level == "debug");
}

/* Runs a function in a process of its own: whether all its checks held. */
static bool in_process(void (*function)()) {
  std::cout.flush();
  pid_t child = fork();
  if (child == 0) {
    function();
    _exit(failed_checks != 0);
  }
  int status = -1;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status)
         && WEXITSTATUS(status) == 0;
}
static void shared_configuration() {
  put("config.maph", "server.max_players", "64");
  put("config.maph", "server.log_level", "debug");
  CHECK(in_process(game_server));
  CHECK(in_process(admin_daemon));
}

// --------------------------------------------------------------------------------------- one
// writes, another reads
struct item {
  std::string text;
};
static item parse_json(const maph::result<std::string_view> &json) {
  return { std::string(json.value_or("")) };
}

static void order_processing() {
  struct {
    std::string sku;
  } order{ "WIDGET-123" };
  put("products.maph", "WIDGET-123", R"({"price":29.99})");
  // snippet
  // C++ order processing: Read product data
  auto products = maph::maph::open("/var/lib/maph/data/products.maph", true);

  // Ultra-fast product lookup in order processing
  auto product_json = products.get(order.sku);  // Sub-microsecond lookup
  auto product = parse_json(product_json);
  // end
  CHECK(product.text == R"({"price":29.99})");
}

static void single_writer() {
  put("mydb.maph", "key1", "value0");
  // snippet
  // REST API server: Writer
  auto db = maph::maph::open("/var/lib/maph/data/mydb.maph", false);  // read-write
  db.set("key1", "value1");                                           // Atomic write

  // C++ app: Reader
  auto db_read = maph::maph::open("/var/lib/maph/data/mydb.maph", true);  // readonly
  auto val = db_read.get("key1");  // Atomic read - sees committed write
  // end
  CHECK(val && *val == "value1");
  CHECK(db.remove("key1"));
  CHECK(!db_read.get("key1"));
  CHECK(db.remove("key1").error() == maph::error::not_found);
}

/* What a reader sees while the writer goes on: an old value or a new one, never a part of either,
** and never an older one again. */
static void read_consistency() {
  auto value_of = [](int n) {
    return std::string(20000, static_cast<char>('a' + n % 26)) + std::to_string(n);
  };
  put("mydb.maph", "turn", value_of(0));
  std::atomic<bool> done{ false };
  std::thread readers[2];
  for (std::thread &t : readers)
    t = std::thread([&] {
      auto db = maph::maph::open(data + "mydb.maph", true);
      int seen = 0;
      while (!done) {
        std::string value(*db.get("turn"));
        int n = std::stoi(value.substr(20000));
        bool whole_and_no_older = value == value_of(n) && n >= seen;
        CHECK(whole_and_no_older);
        if (!whole_and_no_older) break;
        seen = n;
      }
    });
  auto db = maph::maph::open(data + "mydb.maph");
  for (int n = 1; n <= 500; n++) CHECK(db.set("turn", value_of(n)));
  done = true;
  for (std::thread &t : readers) t.join();
}

// -------------------------------------------------------------------------------------------------
// file locks
// snippet
class LockedMaphStore {
  int lock_fd_;
  maph::maph db_;

public:
  LockedMaphStore(const std::filesystem::path &path) {
    // Open lock file
    auto lock_path = path.string() + ".lock";
    lock_fd_ = open(lock_path.c_str(), O_CREAT | O_RDWR, 0666);

    // Acquire exclusive lock for write
    flock(lock_fd_, LOCK_EX);

    // Open maph database
    auto result = maph::maph::open(path, false);
    db_ = std::move(*result);
  }

  ~LockedMaphStore() {
    // Release lock
    flock(lock_fd_, LOCK_UN);
    close(lock_fd_);
  }

  // Wrapper methods with guaranteed exclusion
  auto get(std::string_view key) { return db_.get(key); }
  auto set(std::string_view key, std::string_view value) { return db_.set(key, value); }
};
// end

static void locked_snippet() {
  // snippet
  // Usage:
  {
    LockedMaphStore db("/var/lib/maph/data/mydb.maph");
    db.set("key1", "value1");
  }  // Lock automatically released
  // end
}
/* Its lock makes a read and the write that follows one step: no increment of any process is
** lost. */
static void count_up() {
  for (int i = 0; i < 100; i++) {
    LockedMaphStore db(data + "mydb.maph");
    auto count = db.get("count");
    CHECK(db.set("count", std::to_string(1 + std::stoi(std::string(count.value_or("0"))))));
  }
}
static void file_locking() {
  put("mydb.maph", "key1", "value0");
  locked_snippet();
  CHECK(*maph::maph::open(data + "mydb.maph", true).get("key1") == "value1");
  std::thread other([] { CHECK(in_process(count_up)); });
  CHECK(in_process(count_up));
  other.join();
  CHECK(*LockedMaphStore(data + "mydb.maph").get("count") == "200");
}

// snippet
class RWLockedMaphStore {
  int lock_fd_;
  maph::maph db_;

public:
  // end
  RWLockedMaphStore(const std::filesystem::path &path)
      : lock_fd_(open((path.string() + ".rwlock").c_str(), O_CREAT | O_RDWR, 0666)),
        db_(maph::maph::open_or_create(path)) {}
  ~RWLockedMaphStore() { close(lock_fd_); }
  // snippet
  // Acquire shared lock for read
  void read_lock() { flock(lock_fd_, LOCK_SH); }

  // Acquire exclusive lock for write
  void write_lock() { flock(lock_fd_, LOCK_EX); }

  void unlock() { flock(lock_fd_, LOCK_UN); }

  // Read operation (acquires shared lock)
  auto read(std::string_view key) {
    read_lock();
    auto result = db_.get(key);
    unlock();
    return result;
  }

  // Write operation (acquires exclusive lock)
  auto write(std::string_view key, std::string_view value) {
    write_lock();
    auto result = db_.set(key, value);
    unlock();
    return result;
  }
};
// end

/* Whether another process could lock the file now. */
static bool lockable(const std::string &path, int how) {
  int fd = open(path.c_str(), O_RDWR);
  bool locked = flock(fd, how | LOCK_NB) == 0;
  close(fd);
  return locked;
}
static void read_write_locks() {
  RWLockedMaphStore db(data + "rw.maph");
  CHECK(db.write("k", "v"));
  auto value = db.read("k");
  CHECK(value && *value == "v");
  CHECK(!db.read("absent"));
  db.read_lock();
  CHECK(lockable(data + "rw.maph.rwlock", LOCK_SH) && !lockable(data + "rw.maph.rwlock", LOCK_EX));
  db.unlock();
  db.write_lock();
  CHECK(!lockable(data + "rw.maph.rwlock", LOCK_SH));
  db.unlock();
  CHECK(lockable(data + "rw.maph.rwlock", LOCK_EX));
}

// -------------------------------------------------------------------------------------------------
// good practice
static void read_only_when_possible() {
  std::filesystem::path path = data + "mydb.maph";
  {
    // snippet
    // Good: Explicit read-only mode
    auto db = maph::maph::open(path, true);  // readonly=true
    // end
    CHECK(db);
    CHECK(db.set("k", "v").error() == maph::error::readonly);
  }
  {
    // snippet
    // Bad: Unnecessary write access
    auto db = maph::maph::open(path, false);  // Can cause conflicts
    // end
    CHECK(db);
    CHECK(db.set("k", "v"));
  }
}

/* A lambda's returns must agree in C++, so the type of the result stands behind its parameters. */
static void retry() {
  auto db = maph::maph::open(data + "mydb.maph", true);
  {
    // snippet
    // Retry on hash mismatch (rare but possible)
    auto read_with_retry = [&](std::string_view key,
                               int max_retries = 3) -> maph::result<std::string_view> {
      for (int i = 0; i < max_retries; ++i) {
        auto result = db.get(key);
        if (result) return result;  // Success
        // Hash mismatch or version conflict - retry
        std::this_thread::sleep_for(std::chrono::microseconds(10));
      }
      return maph::unexpected(maph::error::not_found);
    };
    // end
    CHECK(*read_with_retry("k") == "v");
    CHECK(!read_with_retry("absent"));
    CHECK(read_with_retry("absent", 1).error() == maph::error::not_found);
  }
#if defined(__cpp_lib_expected)
  {
    auto read = [&](std::string_view key) -> maph::result<std::string_view> {
      auto result = db.get(key);
      if (result) return result;
      return std::unexpected(maph::error::not_found);
    };
    CHECK(*read("k") == "v");
    CHECK(read("absent").error() == maph::error::not_found);
  }
#endif
}

static void journal() {
  std::filesystem::path path = data + "journal.maph";
  // snippet
  // Enable journal for crash recovery
  maph::maph::config cfg{ slot_count{ 10000 } };
  cfg.enable_journal = true;  // Write-ahead log
  auto db = maph::maph::create(path, cfg);
  // end
  CHECK(db);
  CHECK(db.set("k", "v"));
  // What is committed is on disk already: all of it is known to be there.
  auto after = db.stats();
  CHECK(after && after->flushed_bytes > 0);
  CHECK(db.set("k", "w"));
  auto later = db.stats();
  CHECK(later && later->flushed_bytes > after->flushed_bytes);
  auto lazy = maph::maph::create(data + "lazy.maph", { slot_count{ 10000 } });
  auto before = lazy.stats();
  CHECK(lazy.set("k", "v"));
  CHECK(before && before->flushed_bytes == lazy.stats()->flushed_bytes);
  // A store that is there is never written over.
  auto again = maph::maph::create(path, cfg);
  CHECK(!again);
  CHECK(again.error() == maph::error::exists);
  CHECK(maph::message().find("journal.maph") != std::string::npos);
  CHECK(*db.get("k") == "w");
  // Room for the keys is there from the start.
  CHECK(after->index_bytes > maph::maph::create(data + "small.maph").stats()->index_bytes);
}

static void fence() {
  put("config.maph", "critical_config", "7");
  auto db = maph::maph::open(data + "config.maph", true);
  // snippet
  // Force memory barrier if needed
  std::atomic_thread_fence(std::memory_order_acquire);
  auto value = db.get("critical_config");
  // end
  CHECK(value && *value == "7");
}

static std::filesystem::path get_path() { return data + "growing.maph"; }

// snippet
// Periodically remap to pick up size changes
class RefreshingMaphStore {
  maph::maph db_;
  std::chrono::steady_clock::time_point last_refresh_;

public:
  void maybe_refresh() {
    auto now = std::chrono::steady_clock::now();
    if (now - last_refresh_ > std::chrono::minutes(5)) {
      // Close and reopen to pick up mmap changes
      auto path = get_path();
      db_ = *maph::maph::open(path, true);
      last_refresh_ = now;
    }
  }

  auto get(std::string_view key) {
    maybe_refresh();
    return db_.get(key);
  }
  // end
  RefreshingMaphStore()
      : last_refresh_(std::chrono::steady_clock::now() - std::chrono::minutes(6)) {}
  void grow_old() { last_refresh_ -= std::chrono::minutes(6); }
  // snippet
};
// end

static void refreshing() {
  auto writer = maph::maph::create(get_path());
  CHECK(writer.set("k", "v"));
  RefreshingMaphStore db;
  CHECK(*db.get("k") == "v");
  // The file becomes many times as large, and the same mapping follows; reopening does no harm.
  std::string large(100000, 'x');
  for (int i = 0; i < 100; i++) CHECK(writer.set("k" + std::to_string(i), large));
  CHECK(*db.get("k99") == large);
  db.grow_old();
  CHECK(*db.get("k99") == large);
  CHECK(*db.get("k") == "v");
}

// A store can be advised as it is opened; the call on the mapping itself is allowed too.
static void hugepages() {
  auto store = maph::maph::open(data + "growing.maph", true);
  auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  void *addr = reinterpret_cast<void *>(reinterpret_cast<std::uintptr_t>(store.get("k99")->data())
                                        & ~(page - 1));
  std::size_t len = page;
  // snippet
  // Advise kernel about access pattern
  madvise(addr, len, MADV_RANDOM);    // Random access
  madvise(addr, len, MADV_WILLNEED);  // Preload pages
  // end
  CHECK(store.get("k99")->size() == 100000);
  maph::config how;
  how.advice = maph::advice::random;
  how.huge_pages = true;
  CHECK(*maph::maph::open(data + "growing.maph", true, how).get("k") == "v");
}

static void sensitive() {
  auto secrets = maph::maph::create(data + "secrets.maph", [] {
    maph::config c;
    c.mode = 0600;
    return c;
  }());
  CHECK(secrets);
  CHECK(std::filesystem::status(data + "secrets.maph").permissions()
        == (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
  try {
    // snippet
    // Only privileged processes can mmap
    if (geteuid() != 0) {
      throw std::runtime_error("Must run as root");
    }
    // end
    CHECK(geteuid() == 0);
  } catch (const std::runtime_error &e) {
    CHECK(e.what() == "Must run as root"sv && geteuid() != 0);
  }
}

int main() {
  read_path();
  shared_configuration();
  order_processing();
  single_writer();
  read_consistency();
  file_locking();
  read_write_locks();
  read_only_when_possible();
  retry();
  journal();
  fence();
  refreshing();
  hugepages();
  sensitive();
  return finish();
}
