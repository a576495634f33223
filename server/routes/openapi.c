/* openapi.c - GET /openapi.json: server/openapi.json, which describes every route, as it stood when
** this was assembled. */
#include "http/reply.h"
#include "routes/handlers.h"

/* Global names, and hidden ones: link-time optimization may move the code away from here. */
extern const char openapi_json[], openapi_json_end[];
__asm__(".pushsection .rodata\n"
        ".globl openapi_json, openapi_json_end\n"
        ".hidden openapi_json, openapi_json_end\n"
        "openapi_json: .incbin \"server/openapi.json\"\n"
        "openapi_json_end: .byte 0\n"
        ".popsection\n");

void openapi_show(request *request) {
  reply_start(request, 200);
  reply_send(request, "application/json", openapi_json, (size_t)(openapi_json_end - openapi_json));
}
