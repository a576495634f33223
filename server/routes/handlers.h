/*
** handlers.h - the handlers of the requests, which routes.c names.
*/
#ifndef MAPH_ROUTES_HANDLERS_H
#define MAPH_ROUTES_HANDLERS_H

#include "http/request.h"

/* stores.c */
void stores_list(request *request);
void store_create(request *request);
void store_destroy(request *request);
void store_stats(request *request);
void store_sync(request *request);
/* keys.c */
void key_get(request *request); /* and HEAD */
void key_put(request *request);
void key_delete(request *request);
/* update.c */
void key_increment(request *request);
void key_patch(request *request);
/* list.c batch.c transfer.c changes.c */
void keys_list(request *request);
void keys_get(request *request); /* those that the query names; keys_list hands over */
void batch_run(request *request);
void store_export(request *request);
void store_import(request *request);
void changes_show(request *request);
void changes_socket(request *request);
/* jobs.c */
void store_check(request *request);
void store_compact(request *request);
void store_optimize(request *request);
void store_backup(request *request);
void keys_delete(request *request); /* of a range */
void jobs_list(request *request);
void job_show(request *request);
void job_cancel(request *request);
/* metrics.c openapi.c page.c */
void metrics_show(request *request);
void health_show(request *request);
void ready_show(request *request);
void openapi_show(request *request);
void page_show(request *request); /* the web page */
void page_file(request *request); /* its scripts and style */

#endif
