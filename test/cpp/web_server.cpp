/*
** web_server.cpp - the web server of the deployment description; its connections are lines of
** standard input here, a SKU each. The test puts its own folder in place of /var/lib/maph/data.
*/
#include <functional>
#include <string>
#include <string_view>

static std::string serve_product(std::string_view json) { return "200 " + std::string(json); }
static std::string serve_404() { return "404"; }
static void run_server(const std::function<std::string(const std::string &)> &handle);

// snippet
// web_server.cpp - High-performance web server
#include "maph.hpp"
#include <iostream>

int main() {
  // Open all stores read-only
  auto cache = maph::maph::open("/var/lib/maph/data/cache.maph", true);
  auto config = maph::maph::open("/var/lib/maph/data/config.maph", true);
  auto products = maph::maph::open("/var/lib/maph/data/products.maph", true);

  // Request handler
  auto handle_request = [&](const std::string &sku) {
    // Direct mmap lookup - sub-microsecond latency
    auto product_data = products.get(sku);

    if (product_data) {
      return serve_product(*product_data);
    } else {
      return serve_404();
    }
  };

  // Start server...
  run_server(handle_request);
}
// end

static void run_server(const std::function<std::string(const std::string &)> &handle) {
  std::string sku;
  while (std::getline(std::cin, sku)) std::cout << handle(sku) << std::endl;
}
