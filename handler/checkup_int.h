/* What checkup.c (which one, and when) and checkup_run.c (its course) share, and no one else. Loop
 * thread, but where it says otherwise. */
#ifndef HANDLER_CHECKUP_INT_H
#define HANDLER_CHECKUP_INT_H

#include <stdbool.h>

#include "api/tree.h"
#include "base/loop.h"
#include "base/strmap.h"
#include "handler/checkup.h"
#include "handler/checkup_source.h"
#include "handler/checkup_target.h"
#include "handler/informer.h"

struct checkup_item { /* what this process remembers of an object */
    uint64_t since_us;
    bool over; /* its end was written, whatever the newest known version says */
};

struct checkup_run {
    struct checkup *c;
    char *uid, *path, *name; /* name: "NS/NAME" */
    bool source, unwanted;   /* unwanted: nobody waits for what it finds */
    bool timed_out;
    bool over; /* a source's thread has ended; the answers are below */
    struct checkup_params p;
    int64_t start_us;              /* wall clock */
    char network[256];             /* as the result names it */
    struct checkup_target *target; /* constant while its thread runs */
    struct checkup_source_config cfg;
    int cancel_fd;
    /* the worker's answers */
    struct checkup_result result;
    int rc;
    struct err err;
};

struct checkup_outcome { /* to be written */
    char *uid, *path, *name;
    struct tree *patch;
};

struct checkup {
    struct handler *h;
    struct informer *objects;
    struct strmap *items; /* uid -> struct checkup_item */
    struct checkup_run *run;
    struct checkup_outcome *outcome;
    struct loop_timer *timer;
    bool writing, stopped;
};

/* --- checkup.c --- */
void checkup_look(struct checkup *c);                    /* does what is to be done next */
void checkup_look_later(struct checkup *c, uint64_t us); /* at the latest */
/* It ended without a measurement: written on the version that was seen. */
void checkup_fail(struct checkup *c, const struct tree *cm, const struct checkup_params *p,
                  const char *fmt, ...) PRINTF_LIKE(4, 5);
/* Takes data. this_version: refused when the object is not as it was seen. The caller's. */
struct tree *checkup_patch(const struct tree *cm, struct tree *data, bool this_version);
char *checkup_path(const struct tree *cm); /* the caller's */

/* --- checkup_run.c --- */
/* Both set c->run (or end it by checkup_fail), and clear it when it is over. */
void checkup_run_target(struct checkup *c, const struct tree *cm, const struct checkup_params *p);
void checkup_run_source(struct checkup *c, const struct tree *cm, const struct checkup_params *p);
/* Takes back the published address of c->run, a target that nobody has dialled, and ends it: unless
 * the source has begun meanwhile. */
void checkup_run_yield(struct checkup *c, const struct tree *cm);
/* Ends c->run, which is over: what is to be written about it, or NULL. The caller's. */
struct checkup_outcome *checkup_run_outcome(struct checkup *c);
void checkup_run_cancel(struct checkup_run *r); /* it ends soon */
void checkup_run_free(struct checkup_run *r);   /* NULL is fine; nothing of it runs any more */

#endif
