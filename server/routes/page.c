/*
** page.c - the web page at /: the files of server/page/, embedded as they are.
**
** The page is public: it holds nothing of any store and asks for a token when the routes it reads
** from do.
**
** Stored values can never run as script in it.  Its own code writes text nodes alone; and should
** that ever slip, the policy below allows no inline script, no eval and no HTML from strings
** (trusted types), so a browser refuses what got through.
*/
#include <string.h>
#include "http/reply.h"
#include "routes/handlers.h"
#include "routes/handling.h"

/* Every file of the page, the one that / answers first. */
#define FILES(X)                                                \
  X(index_html, "index.html", "text/html; charset=utf-8")       \
  X(style_css, "style.css", "text/css; charset=utf-8")          \
  X(icon_svg, "icon.svg", "image/svg+xml")                      \
  X(main_js, "main.js", "text/javascript; charset=utf-8")       \
  X(api_js, "api.js", "text/javascript; charset=utf-8")         \
  X(bytes_js, "bytes.js", "text/javascript; charset=utf-8")     \
  X(dom_js, "dom.js", "text/javascript; charset=utf-8")         \
  X(stores_js, "stores.js", "text/javascript; charset=utf-8")   \
  X(store_js, "store.js", "text/javascript; charset=utf-8")     \
  X(keys_js, "keys.js", "text/javascript; charset=utf-8")       \
  X(folders_js, "folders.js", "text/javascript; charset=utf-8") \
  X(value_js, "value.js", "text/javascript; charset=utf-8")     \
  X(picks_js, "picks.js", "text/javascript; charset=utf-8")     \
  X(picture_js, "picture.js", "text/javascript; charset=utf-8") \
  X(json_js, "json.js", "text/javascript; charset=utf-8")       \
  X(changes_js, "changes.js", "text/javascript; charset=utf-8") \
  X(manage_js, "manage.js", "text/javascript; charset=utf-8")   \
  X(jobs_js, "jobs.js", "text/javascript; charset=utf-8")       \
  X(activity_js, "activity.js", "text/javascript; charset=utf-8")

#define EMBED(symbol, file, type)                                              \
  extern const char page_##symbol[], page_##symbol##_end[];                    \
  __asm__(".pushsection .rodata\n.globl page_" #symbol ", page_" #symbol       \
          "_end\n.hidden page_" #symbol ", page_" #symbol "_end\n"             \
          "page_" #symbol ":\n.incbin \"server/page/" file "\"\npage_" #symbol \
          "_end:\n.popsection\n");
#define ROW(symbol, file, type) { file, type, page_##symbol, page_##symbol##_end },

FILES(EMBED)
static const char version_js[] = "export const version = \"" MAPH_VERSION "\";\n";
static const struct file {
  const char *name, *type, *data, *end;
} files[] = {
  FILES(ROW){ "version.js", "text/javascript; charset=utf-8", version_js,
              version_js + sizeof version_js - 1 },
};
enum { FILE_COUNT = sizeof files / sizeof files[0] };

static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src "
                             "'self'; img-src 'self' data: blob:; base-uri 'none'; "
                             "form-action 'none'; frame-ancestors 'none'; "
                             "require-trusted-types-for 'script'; trusted-types 'none'";

static void send_file(request *request, const struct file *file) {
  size_t size = (size_t)(file->end - file->data);
  reply_start(request, 200);
  reply_header(request, "Content-Security-Policy", policy);
  reply_header(request, "Referrer-Policy", "no-referrer");
  reply_header(request, "X-Frame-Options", "DENY");
  reply_header(request, "Cross-Origin-Opener-Policy", "same-origin");
  if (request->method == METHOD_HEAD)
    reply_head_only(request, file->type, size);
  else
    reply_send(request, file->type, file->data, size);
}

void page_show(request *request) { send_file(request, &files[0]); }

void page_file(request *request) {
  maph_slice name = segment_of(request, 0);
  for (int i = 1; i < FILE_COUNT; i++) {
    if (strlen(files[i].name) == name.size && memcmp(files[i].name, name.data, name.size) == 0) {
      send_file(request, &files[i]);
      return;
    }
  }
  reply_problem(request, 404, "no_such_path", "the page has no such file");
}
