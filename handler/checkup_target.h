/* The target's end of a network checkup: listens while one runs, echoes, counts what streams bring,
 * and answers probes of the path's MTU. Whoever cannot show the nonce gets no answer. Blocking
 * calls for a worker thread; knows nothing of objects (handler/checkup.c does). */
#ifndef HANDLER_CHECKUP_TARGET_H
#define HANDLER_CHECKUP_TARGET_H

#include <netinet/in.h>
#include <stdint.h>

#include "migrate/engine.h"
#include "netpolicy/checkup_object.h"
#include "netpolicy/limits.h"

struct checkup_target;

struct checkup_target_config {
    char ip[INET6_ADDRSTRLEN], device[NL_IFNAME_SIZE]; /* listens there alone; device "" = any */
    uint64_t timeout_us;                               /* of run */
    uint64_t hello_us; /* a connection that has not said who it is by then is closed; 0 = 2 s */
};

/* Listens; a fresh nonce is drawn. */
int checkup_target_new(const struct checkup_target_config *cfg, struct checkup_target **ret,
                       struct err *err);
const char *checkup_target_address(const struct checkup_target *t); /* "ip:port"; borrowed */
const char *checkup_target_nonce(const struct checkup_target *t);   /* likewise */
/* Serves one source until it has closed its control connection: 0. -ETIMEDOUT, -ECANCELED
 * (stopped). */
int checkup_target_run(struct checkup_target *t, struct err *err);
void checkup_target_stop(struct checkup_target *t); /* any thread */
void checkup_target_free(struct checkup_target *t); /* NULL is fine */

#endif
