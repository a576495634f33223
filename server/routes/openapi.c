/* openapi.c - GET /openapi.json: server/openapi.json, which describes every route, as it stood when
** this was assembled. */
#include "http/reply.h"
#include "routes/handlers.h"

__asm__(".section .rodata\n"
        "openapi_json: .incbin \"server/openapi.json\"\n"
        "openapi_json_end: .byte 0\n"
        ".previous\n");
extern const char openapi_json[], openapi_json_end[];

void openapi_show(request *r) {
  reply_start(r, 200);
  reply_send(r, "application/json", openapi_json, (size_t)(openapi_json_end - openapi_json));
}
