/*
** web_catalogue.cpp - a web back end in C++ that reads its catalogue straight from a maph store,
** while maph-server writes it.
**
** usage: web_catalogue STORE PORT  GET /products/SKU answers the JSON under that key; PORT 0: any
** free one, which is printed
**
** Each thread has a store of its own and refreshes it between requests, and each second without
** one: a value goes from the mapped file to the socket without a copy, and after a compaction
** nobody holds on to the old file.
*/
#include <maph.hpp>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::literals;

class connection {
public:
  explicit connection(int s) : socket_(s) {}
  ~connection() {
    if (socket_ >= 0) close(socket_);
  }
  connection(const connection &) = delete;
  connection &operator=(const connection &) = delete;

  /* The head of one request, up to its empty line; "" when there is none. */
  std::string request() const {
    std::string text;
    char piece[2048];
    while (text.find("\r\n\r\n") == text.npos && text.size() < 8192) {
      ssize_t n = recv(socket_, piece, sizeof piece, 0);
      if (n <= 0) return {};
      text.append(piece, static_cast<std::size_t>(n));
    }
    return text;
  }
  void answer(std::string_view status, std::string_view body) const {
    send_all("HTTP/1.1 " + std::string(status)
                 + "\r\nContent-Type: application/json\r\nContent-Length: "
                 + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n",
             MSG_MORE);
    send_all(body, 0);
  }

private:
  void send_all(std::string_view bytes, int more) const {
    while (!bytes.empty()) {
      ssize_t n = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | more);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  int socket_;
};

/* The SKU of "GET /products/SKU HTTP/1.1", where "%2F" is a slash; "" when that is not what was
** asked. */
static std::string sku_of(std::string_view request) {
  constexpr auto prefix = "GET /products/"sv;
  std::size_t end = request.find(" HTTP/1.");
  if (request.substr(0, prefix.size()) != prefix || end == request.npos) return {};
  std::string_view path = request.substr(prefix.size(), end - prefix.size());
  std::string sku;
  for (std::size_t i = 0; i < path.size(); i++) {
    if (path[i] != '%') {
      sku += path[i];
      continue;
    }
    unsigned value = 0;
    const char *digits = path.data() + i + 1, *after = i + 2 < path.size() ? digits + 2 : digits;
    if (std::from_chars(digits, after, value, 16).ptr != digits + 2) return {};
    sku += static_cast<char>(value);
    i += 2;
  }
  return sku;
}

static void serve(const connection &c, const maph::maph &products) {
  std::string sku = sku_of(c.request());
  if (sku.empty()) return c.answer("400 Bad Request", R"({"error":"GET /products/SKU"})");
  auto product = products.get(sku);
  if (product) return c.answer("200 OK", *product);
  if (product.error() == maph::error::not_found)
    return c.answer("404 Not Found", R"({"error":"no such product"})");
  std::cerr << "web_catalogue: " << maph::message() << std::endl;
  c.answer("500 Internal Server Error", R"({"error":"the catalogue cannot be read"})");
}

static void work(maph::maph &products, int listener) {
  for (;;) {
    int s = accept(listener, nullptr, nullptr);
    products.refresh();
    if (s < 0) continue;  // nobody came for a second
    serve(connection(s), products);
  }
}

static int listen_on(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto *any = reinterpret_cast<sockaddr *>(&address);
  timeval wait{ 1, 0 };
  socklen_t size = sizeof address;
  int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
      || bind(s, any, size) != 0 || listen(s, 64) != 0
      || setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0
      || getsockname(s, any, &size) != 0) {
    std::cerr << "web_catalogue: port " << port << " of 127.0.0.1: " << std::strerror(errno)
              << std::endl;
    std::exit(1);
  }
  std::cout << "http://127.0.0.1:" << ntohs(address.sin_port) << std::endl;
  return s;
}

/* -1: not the number of a port. */
static int port_of(std::string_view text) {
  int port = -1;
  auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), port);
  return wrong == std::errc() && end == text.data() + text.size() && port <= 65535 ? port : -1;
}

int main(int argc, char **argv) {
  int port = argc == 3 ? port_of(argv[2]) : -1;
  if (port < 0) {
    std::cerr << "usage: web_catalogue STORE PORT     (0 to 65535)" << std::endl;
    return 2;
  }
  maph::maph stores[4];
  for (maph::maph &products : stores) {
    products = maph::maph::open(argv[1], true);
    if (products) continue;
    std::cerr << "web_catalogue: " << maph::message() << std::endl;
    return 1;
  }
  int listener = listen_on(port);
  std::thread threads[4];
  for (int i = 0; i < 4; i++) threads[i] = std::thread(work, std::ref(stores[i]), listener);
  threads[0].join();
}
