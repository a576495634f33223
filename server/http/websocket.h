/*
** websocket.h - the server's side of RFC 6455, for feeds that only send.
*/
#ifndef MAPH_HTTP_WEBSOCKET_H
#define MAPH_HTTP_WEBSOCKET_H

#include "http/request.h"

/* What the client sent of a control frame. */
typedef struct websocket {
  unsigned char input[132];
  size_t size;
} websocket;
enum {
  WEBSOCKET_GOING_AWAY = 1001,
  WEBSOCKET_PROTOCOL_ERROR = 1002,
  WEBSOCKET_NO_DATA_TAKEN = 1003,
  WEBSOCKET_FAILED = 1011
};
bool websocket_accept(request *request); /* false: it is no handshake, and that was answered */
void websocket_text(buffer *buffer, const void *text, size_t size); /* append a message */
void websocket_ping(buffer *buffer);
/* say so; the connection ends with the request */
void websocket_close(request *request, int code);
bool websocket_take(request *request,
                    websocket *socket); /* deal with what came; false: it is over */

#endif
