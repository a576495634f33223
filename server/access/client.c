/*
** client.c - who asks, where a proxy stands in between: for the log and the rate limit.
**
**     --proxies 10.0.0.0/8,2001:db8::1,unix
**
** X-Forwarded-For, or Forwarded (RFC 7239), is believed only as far as named proxies have written
** it: from the right, past each address that is one of them, to the first that is not.  What stands
** left of that anybody may have made up.  From a peer that is no named proxy neither is looked at.
*/
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "access/client.h"
#include "base/options.h"

enum { PROXIES_MAX = 64, HOPS_MAX = 32 };

/* An address with as many bits as count; an IPv4 one as ::ffff:a.b.c.d. */
typedef struct network {
  unsigned char address[16];
  unsigned bits;
} network;

static network proxies[PROXIES_MAX];
static int proxy_count;
static bool through_socket; /* a proxy connects to a Unix socket */

/* 192.0.2.1 or 2001:db8::1. */
static bool read_address(const char *text, size_t size, unsigned char address[16]) {
  static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };
  char copy[INET6_ADDRSTRLEN];
  if (size == 0 || size >= sizeof copy) return false;
  memcpy(copy, text, size);
  copy[size] = 0;
  memcpy(address, mapped, sizeof mapped);
  return inet_pton(AF_INET, copy, address + 12) == 1 || inet_pton(AF_INET6, copy, address) == 1;
}

static bool add_proxy(const char *text, size_t size) {
  network *network = &proxies[proxy_count];
  const char *slash = memchr(text, '/', size);
  size_t length = slash ? (size_t)(slash - text) : size;
  unsigned most = memchr(text, ':', length) ? 128 : 32, bits = most;
  if (size == 4 && memcmp(text, "unix", 4) == 0) return through_socket = true;
  if (proxy_count == PROXIES_MAX || !read_address(text, length, network->address)) return false;
  if (slash) {
    size_t digits = strspn(slash + 1, "0123456789");
    if (digits == 0 || digits > 3 || digits != size - length - 1) return false;
    bits = (unsigned)strtoul(slash + 1, NULL, 10);
  }
  if (bits > most) return false;
  network->bits = bits + (128 - most);
  proxy_count++;
  return true;
}

bool client_setup(void) {
  const char *text = option.proxies;
  while (text && *text) {
    size_t size = strcspn(text, ",");
    if (size > 0 && !add_proxy(text, size)) {
      fprintf(stderr,
              "maph-server: \"%.*s\" is no proxy: say an address, a network such as 10.0.0.0/8, or "
              "unix; at most %d of them\n",
              (int)size, text, PROXIES_MAX);
      return false;
    }
    text += size + (text[size] == ',');
  }
  return true;
}

static bool is_in(const unsigned char address[16], const network *network) {
  unsigned bytes = network->bits / 8, rest = network->bits % 8;
  if (memcmp(address, network->address, bytes) != 0) return false;
  return rest == 0 || (address[bytes] ^ network->address[bytes]) >> (8 - rest) == 0;
}

static bool is_proxy(const char *text, size_t size) {
  unsigned char address[16];
  if (size == 4 && memcmp(text, "unix", 4) == 0) return through_socket;
  if (!read_address(text, size, address)) return false;
  for (int i = 0; i < proxy_count; i++)
    if (is_in(address, &proxies[i])) return true;
  return false;
}

typedef struct hop {
  const char *text;
  size_t size;
} hop;

/* 192.0.2.1, 192.0.2.1:4711, [2001:db8::1]:4711 or 2001:db8::1, without what is around it. */
static hop address_in(const char *text, size_t size) {
  const char *colon, *end;
  while (size > 0 && strchr(" \t\"", *text)) text++, size--;
  while (size > 0 && strchr(" \t\"", text[size - 1])) size--;
  if (size > 0 && *text == '[' && (end = memchr(text, ']', size)) != NULL)
    return (hop){ text + 1, (size_t)(end - text - 1) };
  colon = memchr(text, ':', size);
  if (colon && memchr(colon + 1, ':', size - (size_t)(colon + 1 - text)) == NULL)
    size = (size_t)(colon - text);
  return (hop){ text, size };
}

/* for=... of one element of Forwarded. */
static hop forwarded_for(const char *text, size_t size) {
  while (size > 0) {
    const char *end = memchr(text, ';', size);
    size_t n = end ? (size_t)(end - text) : size, blanks = strspn(text, " \t");
    if (n > blanks + 4 && strncasecmp(text + blanks, "for=", 4) == 0)
      return address_in(text + blanks + 4, n - blanks - 4);
    text += n + (end != NULL);
    size -= n + (end != NULL);
  }
  return (hop){ "", 0 };
}

/* The addresses in all lines of that name, the last HOPS_MAX of them. */
static int read_hops(const request *request, const char *name, bool forwarded, hop *hops) {
  int count = 0;
  for (int i = 0; i < request->header_count; i++) {
    const char *list = request->headers[i].value;
    if (strcasecmp(request->headers[i].name, name) != 0) continue;
    while (*list) {
      size_t size = strcspn(list, ",");
      if (count == HOPS_MAX) memmove(hops, hops + 1, (size_t)--count * sizeof *hops);
      hops[count++] = forwarded ? forwarded_for(list, size) : address_in(list, size);
      list += size + (list[size] == ',');
    }
  }
  return count;
}

void client_find(request *request) {
  hop hops[HOPS_MAX];
  unsigned char address[16];
  int count;
  if ((proxy_count == 0 && !through_socket) || !is_proxy(request->remote, strlen(request->remote)))
    return;
  count = read_hops(request, "X-Forwarded-For", false, hops);
  if (count == 0) count = read_hops(request, "Forwarded", true, hops);
  while (count > 0 && read_address(hops[count - 1].text, hops[count - 1].size, address)) {
    hop *last = &hops[--count];
    snprintf(request->client, sizeof request->client, "%.*s", (int)last->size, last->text);
    request->remote = request->client;
    if (!is_proxy(last->text, last->size)) return;
  }
}
