/*
** shared_config.cpp - one process of several that share their configuration: it maps the store,
** prints its settings, and each change as it is made.
**
** usage: shared_config STORE PREFIX [COUNT]  settings whose key begins with PREFIX; ends after
** COUNT changes, else never
**
** A game server and an admin daemon run it with prefixes of their own; maph-server writes.  No
** process asks another for anything: a setting is a read of memory, and a change wakes those who
** wait for one.
*/
#include <maph.hpp>

#include <cstdlib>
#include <iostream>

using namespace std::literals;

static bool begins(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

/* Follow the changes until there have been enough of them: error::none. */
static maph::error follow(maph::changes &feed, std::string_view prefix, long &left) {
  while (left != 0) {
    auto change = feed.next(1s);
    if (!change && change.error() == maph::error::not_found) continue;
    if (!change) return change.error();
    if (!begins(change->entry.key, prefix)) continue;
    if (change->deleted)
      std::cout << change->entry.key << " is no longer set" << std::endl;
    else
      std::cout << change->entry.key << " = " << change->entry.value << std::endl;
    left--;
  }
  return maph::error::none;
}

/* Everything as of one commit, then what came after that commit: nothing is missed and nothing told
** twice. */
static maph::error show(const maph::maph &config, std::string_view prefix, long &left) {
  auto now = config.snapshot();
  if (!now) return now.error();
  for (const maph::entry &e : config.entries(now, prefix))
    std::cout << e.key << " = " << e.value << std::endl;
  auto feed = config.changes(now.version());
  now.close();
  return feed ? follow(feed, prefix, left) : feed.error();
}

int main(int argc, char **argv) {
  char *end = nullptr;
  long left = argc > 3 ? std::strtol(argv[3], &end, 10) : -1;
  if (argc < 3 || argc > 4 || (end && (end == argv[3] || *end || left < 0))) {
    std::cerr << "usage: shared_config STORE PREFIX [COUNT]" << std::endl;
    return 2;
  }
  auto config = maph::maph::open(argv[1], true);
  maph::error why = config.error();
  if (config) {
    // A process that slept so long that the changes are gone from the file begins again.
    do why = show(config, argv[2], left);
    while (why == maph::error::compacted);
  }
  if (why == maph::error::none) return 0;
  std::cerr << "shared_config: " << maph::to_string(why) << ": " << maph::message() << std::endl;
  return 1;
}
