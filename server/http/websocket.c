/*
** websocket.c - the server's side of RFC 6455, for feeds that only send.
**
** civetweb's own WebSocket code is not used: 1.15 allocates too little for what a client sends.
** Here a client may send control frames alone, which hold at most 125 bytes, so the input is one
** small array; a data frame ends the connection with 1003. The bytes come straight from the socket:
** a client may not send any before the handshake is answered.
*/
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/emit.h"
#include "entry/base64.h"
#include "http/http.h"
#include "http/reply.h"
#include "http/websocket.h"

enum { CONTINUATION = 0, TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };
enum {
  FIN = 0x80,
  MASKED = 0x80,
  CONTROL = 8,
  CONTROL_MAX = 125,
  MASK_SIZE = 4,
  ROUNDS = 16,
  KEY_SIZE = 24
};

/* ---------------------------------------------------------------------------------------- SHA-1 */
/* Only the handshake wants it, of one short text; nothing secret rests on it. */
static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1_block(uint32_t h[5], const unsigned char *p) {
  uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
  for (int i = 0; i < 16; i++, p += 4)
    w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
  for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  for (int i = 0; i < 80; i++) {
    static const uint32_t k[] = { 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6 };
    uint32_t f = b ^ c ^ d, next;
    if (i < 20) f = (b & c) | (~b & d);
    if (i >= 40 && i < 60) f = (b & c) | (b & d) | (c & d);
    next = rotate(a, 5) + f + e + k[i / 20] + w[i];
    e = d;
    d = c;
    c = rotate(b, 30);
    b = a;
    a = next;
  }
  h[0] += a;
  h[1] += b;
  h[2] += c;
  h[3] += d;
  h[4] += e;
}

/* Of at most 119 bytes: two blocks with the padding. */
static void sha1(const char *text, size_t size, unsigned char digest[20]) {
  uint32_t h[5] = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 };
  unsigned char blocks[128] = { 0 };
  size_t end = size < 56 ? 64 : 128;
  memcpy(blocks, text, size);
  blocks[size] = 0x80;
  blocks[end - 2] = (unsigned char)(size * 8 >> 8);
  blocks[end - 1] = (unsigned char)(size * 8);
  for (size_t at = 0; at < end; at += 64) sha1_block(h, blocks + at);
  for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - i % 4 * 8));
}

/* ------------------------------------------------------------------------------------ handshake */
static bool asks_for_it(const request *request) {
  const char *connection = request_header(request, "Connection"),
             *upgrade = request_header(request, "Upgrade");
  const char *version = request_header(request, "Sec-WebSocket-Version");
  return request->method == METHOD_GET && connection && strcasestr(connection, "upgrade") && upgrade
         && strcasecmp(upgrade, "websocket") == 0 && version && strcmp(version, "13") == 0;
}

bool websocket_accept(request *request) {
  const char *key = request_header(request, "Sec-WebSocket-Key");
  char text[KEY_SIZE + 37], nonce[KEY_SIZE];
  unsigned char digest[20];
  if (!asks_for_it(request)) {
    reply_extra(request, "Upgrade: websocket");
    reply_extra(request, "Sec-WebSocket-Version: 13");
    reply_problem(request, 426, "upgrade_required", "this path speaks WebSocket, version 13");
    return false;
  }
  if (key == NULL || strlen(key) != KEY_SIZE || base64_decode(key, KEY_SIZE, nonce) != 16) {
    reply_problem(request, 400, "bad_websocket_key", "Sec-WebSocket-Key is 16 bytes in base64");
    return false;
  }
  snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  sha1(text, strlen(text), digest);
  request->reply.close = true;
  request->reply.status = 101;
  request->reply.head->size = 0;
  buffer_printf(request->reply.head,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                "Upgrade\r\nX-Request-Id: %s\r\nSec-WebSocket-Accept: ",
                request->id);
  emit_base64(request->reply.head, digest, sizeof digest);
  buffer_text(request->reply.head, "\r\n\r\n");
  if (request->reply.head->failed) request->reply.broken = true;
  return !request->reply.broken
         && http_write(request, request->reply.head->data, request->reply.head->size);
}

/* --------------------------------------------------------------------------------------- frames */
static void frame(buffer *buffer, int opcode, const void *payload, size_t size) {
  unsigned char head[10] = { (unsigned char)(FIN | opcode) };
  int extended = size <= 65535 ? 2 : 8;
  head[1] = extended == 2 ? 126 : 127;
  if (size <= 125) {
    extended = 0;
    head[1] = (unsigned char)size;
  }
  for (int i = 0; i < extended; i++)
    head[2 + i] = (unsigned char)((uint64_t)size >> 8 * (extended - 1 - i));
  buffer_append(buffer, head, 2 + (size_t)extended);
  buffer_append(buffer, payload, size);
}

void websocket_text(buffer *buffer, const void *text, size_t size) {
  frame(buffer, TEXT, text, size);
}
void websocket_ping(buffer *buffer) { frame(buffer, PING, NULL, 0); }

static void send_control(request *request, int opcode, const void *payload, size_t size) {
  request->reply.head->size = 0;
  frame(request->reply.head, opcode, payload, size);
  if (request->reply.head->failed)
    request->reply.broken = true;
  else
    http_write(request, request->reply.head->data, request->reply.head->size);
}

void websocket_close(request *request, int code) {
  unsigned char bytes[2] = { (unsigned char)(code >> 8), (unsigned char)code };
  send_control(request, CLOSE, bytes, sizeof bytes);
}

/* One frame of the client's, at the start of socket->input. Its size; 0: not all of it is there;
** -1: the connection is over. */
static int take_frame(request *request, websocket *socket) {
  unsigned char *p = socket->input, *payload = p + 2 + MASK_SIZE;
  int opcode = p[0] & 15, size = p[1] & 127;
  if (socket->size < 2) return 0;
  if ((p[1] & MASKED) == 0 || (opcode >= CONTROL && ((p[0] & FIN) == 0 || size > CONTROL_MAX))
      || (p[0] & 0x70)) {
    websocket_close(request, WEBSOCKET_PROTOCOL_ERROR);
    return -1;
  }
  if (opcode < CONTROL) {
    websocket_close(request, WEBSOCKET_NO_DATA_TAKEN);
    return -1;
  }
  if (socket->size < 2 + MASK_SIZE + (size_t)size) return 0;
  for (int i = 0; i < size; i++) payload[i] ^= p[2 + i % MASK_SIZE];
  if (opcode == CLOSE) {
    send_control(request, CLOSE, payload, size >= 2 ? 2 : 0);
    return -1;
  }
  if (opcode == PING) send_control(request, PONG, payload, (size_t)size);
  return 2 + MASK_SIZE + size;
}

bool websocket_take(request *request, websocket *socket) {
  for (int round = 0; round < ROUNDS && !request->reply.broken; round++) {
    long n =
        http_receive(request, socket->input + socket->size, sizeof socket->input - socket->size);
    int used;
    if (n < 0) return false;
    if (n == 0) return true;
    socket->size += (size_t)n;
    while ((used = take_frame(request, socket)) > 0) {
      socket->size -= (size_t)used;
      memmove(socket->input, socket->input + used, socket->size);
    }
    if (used < 0) return false;
  }
  return !request->reply.broken;
}
