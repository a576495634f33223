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

enum { PROXIES_MAX = 64 };

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

/* Where the name=value pair ends that a text begins with: at a semicolon that is not quoted. */
static size_t size_of_pair(const char *text, size_t size) {
  bool quoted = false;
  for (size_t i = 0; i < size; i++) {
    if (text[i] == '"') quoted = !quoted;
    if (quoted && text[i] == '\\') i++;
    if (text[i] == ';' && !quoted) return i;
  }
  return size;
}

/* for=... of one element of Forwarded.  Where there are two, one may be a part of another parameter
** that the proxy did not quote: then there is none. */
static hop forwarded_for(const char *text, size_t size) {
  static const hop none = { "", 0 };
  hop found = none;
  while (size > 0) {
    size_t n = size_of_pair(text, size), blanks = strspn(text, " \t");
    if (n > blanks + 4 && strncasecmp(text + blanks, "for=", 4) == 0) {
      if (found.size > 0) return none;
      found = address_in(text + blanks + 4, n - blanks - 4);
    }
    n += n < size;
    text += n;
    size -= n;
  }
  return found;
}

static bool is_escaped(const char *list, size_t at) {
  size_t n = 0;
  while (n < at && list[at - n - 1] == '\\') n++;
  return n % 2 == 1;
}

/* Where the last element of a list begins.  A quoted string, which Forwarded has, may hold commas.
** Quotes are paired from the end: left of what a named proxy wrote anybody may have left one
** open. */
static size_t last_element(const char *list, size_t size, bool has_quotes) {
  bool quoted = false;
  for (size_t at = size; at > 0; at--) {
    char c = list[at - 1];
    if (c == '"' && has_quotes && !(quoted && is_escaped(list, at - 1))) quoted = !quoted;
    if (c == ',' && !quoted) return at;
  }
  return 0;
}

/* What all lines of a name list, from the last element of the last line on. */
typedef struct hops {
  const request *request;
  const char *name;
  bool forwarded;
  int lines;        /* so many headers are still to be looked at */
  const char *list; /* of one line, what is left of it */
  size_t size;
} hops;

static bool previous_element(hops *hops, hop *element) {
  size_t begin;
  while (hops->size == 0) {
    const header *header;
    if (hops->lines == 0) return false;
    header = &hops->request->headers[--hops->lines];
    if (strcasecmp(header->name, hops->name) != 0) continue;
    hops->list = header->value;
    hops->size = strlen(header->value);
  }
  begin = last_element(hops->list, hops->size, hops->forwarded);
  *element = (hop){ hops->list + begin, hops->size - begin };
  hops->size = begin > 0 ? begin - 1 : 0;
  return true;
}

/* An empty element is none (RFC 9110, 5.6.1). */
static bool previous_hop(hops *hops, hop *hop) {
  do {
    if (!previous_element(hops, hop)) return false;
  } while (address_in(hop->text, hop->size).size == 0);
  *hop = (hops->forwarded ? forwarded_for : address_in)(hop->text, hop->size);
  return true;
}

void client_find(request *request) {
  hops hops = { request, "X-Forwarded-For", false, request->header_count, NULL, 0 };
  unsigned char address[16];
  hop hop;
  bool found;
  if ((proxy_count == 0 && !through_socket) || !is_proxy(request->remote, strlen(request->remote)))
    return;
  if (!(found = previous_hop(&hops, &hop))) {
    hops = (struct hops){ request, "Forwarded", true, request->header_count, NULL, 0 };
    found = previous_hop(&hops, &hop);
  }
  while (found && read_address(hop.text, hop.size, address)) {
    snprintf(request->client, sizeof request->client, "%.*s", (int)hop.size, hop.text);
    request->remote = request->client;
    if (!is_proxy(hop.text, hop.size)) return;
    found = previous_hop(&hops, &hop);
  }
}
