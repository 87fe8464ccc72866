/* Network checkups that this node takes part in: watches their objects, listens as a target,
 * measures as a source (handler/checkup_target.h, checkup_source.h, on worker threads) and writes
 * the results. One at a time, oldest first: the order is the same for all nodes, so that two that
 * wait for each other cannot be. Loop thread. docs/checkup.md. */
#ifndef HANDLER_CHECKUP_H
#define HANDLER_CHECKUP_H

#include "base/err.h"
#include "netpolicy/checkup_object.h"

struct handler;
struct checkup;

/* url: the controller's. */
struct checkup *checkup_new(struct handler *h, const char *url, struct err *err);
/* Ends what runs, soon: before work_free. Nothing is written about it: the next life of this handler
 * says that it was restarted, or the target that the source is gone. */
void checkup_stop(struct checkup *c); /* NULL is fine */
void checkup_free(struct checkup *c); /* after work_free; NULL is fine */
/* What is known of the way over the migration network as it is now; bytes_per_s 0 = nothing. */
void checkup_estimate(const struct checkup *c, struct checkup_estimate *ret);

#endif
