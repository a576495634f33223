/*
** handlers.h - the handlers of the requests, which routes.c names.
*/
#ifndef MAPH_ROUTES_HANDLERS_H
#define MAPH_ROUTES_HANDLERS_H

#include "http/request.h"

/* stores.c */
void stores_list(request *r);
void store_create(request *r);
void store_destroy(request *r);
void store_stats(request *r);
void store_sync(request *r);
/* keys.c */
void key_get(request *r); /* and HEAD */
void key_put(request *r);
void key_delete(request *r);
/* update.c */
void key_increment(request *r);
void key_patch(request *r);
/* list.c batch.c transfer.c changes.c */
void keys_list(request *r);
void keys_get(request *r); /* those that the query names; keys_list hands over */
void batch_run(request *r);
void store_export(request *r);
void store_import(request *r);
void changes_show(request *r);
void changes_socket(request *r);
/* jobs.c */
void store_check(request *r);
void store_compact(request *r);
void store_optimize(request *r);
void store_backup(request *r);
void jobs_list(request *r);
void job_show(request *r);
void job_cancel(request *r);
/* metrics.c openapi.c page.c */
void metrics_show(request *r);
void health_show(request *r);
void ready_show(request *r);
void openapi_show(request *r);
void page_show(request *r); /* the web page */
void page_file(request *r); /* its scripts and style */

#endif
