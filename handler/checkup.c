/* The objects' side of network checkups; see checkup.h. What is done next follows from the newest
 * objects alone:
 *   target: it is my turn, and it has not begun -> listen, and publish address and nonce
 *   source: it is my turn, and an address is there -> write startTimestamp, measure, write results
 *   source: it has begun, but not in this process -> failed: this handler was restarted
 *   source, and some seconds later the target: spec.timeout is over -> failed
 * A write that says how it ended without having measured is made only on the version that was
 * looked at. */
#include "handler/checkup.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>

#include "api/names.h"
#include "base/log.h"
#include "handler/checkup_source.h"
#include "handler/checkup_target.h"
#include "handler/handler.h"
#include "handler/limits.h"

#define PATH_CHECKUPS \
    "/api/v1/configmaps?labelSelector=kiagnose%2Fcheckup-type%3D" CHECKUP_TYPE_LATENCY

struct item { /* what this process remembers of an object */
    uint64_t since_us;
    bool over; /* its end was written, whatever the newest known version says */
};

struct run {
    struct checkup *c;
    char *uid, *path, *name; /* name: "NS/NAME" */
    bool source, unwanted;   /* unwanted: nobody waits for what it finds */
    bool timed_out;
    struct checkup_params p;
    int64_t start_us;              /* wall clock */
    struct checkup_target *target; /* constant while its thread runs */
    struct checkup_source_config cfg;
    int cancel_fd;
    /* the worker's answers */
    struct checkup_result result;
    int rc;
    struct err err;
};

struct outcome { /* to be written */
    char *uid, *path, *name;
    struct tree *patch;
};

struct checkup {
    struct handler *h;
    struct informer *objects;
    struct strmap *items; /* uid -> struct item */
    struct run *run;
    struct outcome *outcome;
    struct loop_timer *timer;
    bool writing, stopped;
};

static void on_object(void *ctx, const struct tree *obj, bool gone);
static void on_synced(void *ctx);
static void look(struct checkup *c);
static void on_timer(void *ctx);
static void look_later(struct checkup *c, uint64_t us);
static const struct tree *next_in_turn(struct checkup *c, struct checkup_params *ret);
static bool give_up_if_late(struct checkup *c, const struct tree *cm, const struct item *item,
                            const struct checkup_params *p);
static void look_at_run(struct checkup *c);
static void begin(struct checkup *c, const struct tree *cm, const struct checkup_params *p);
static struct run *run_new(struct checkup *c, const struct tree *cm,
                           const struct checkup_params *p);
static void run_free(struct run *r);
static void cancel(struct run *r);
static void begin_target(struct checkup *c, const struct tree *cm, const struct checkup_params *p);
static void on_published(void *ctx, int status, const struct tree *body, const char *error);
static void target_job(void *ctx);
static void target_done(void *ctx);
static void begin_source(struct checkup *c, const struct tree *cm, const struct checkup_params *p);
static void on_claimed(void *ctx, int status, const struct tree *body, const char *error);
static void source_job(void *ctx);
static void source_done(void *ctx);
static void fail(struct checkup *c, const struct tree *cm, const struct checkup_params *p,
                 const char *fmt, ...) PRINTF_LIKE(4, 5);
static void write_outcome(struct checkup *c);
static void on_written(void *ctx, int status, const struct tree *body, const char *error);
static struct tree *patch_of(const struct tree *cm, struct tree *data, bool this_version);
static char *path_of(const struct tree *cm);

struct checkup *
checkup_new(struct handler *h, const char *url, struct err *err)
{
    struct checkup *c = xcalloc(1, sizeof *c);
    const struct informer_events ev = {on_object, on_synced, c};

    c->h = h;
    c->items = strmap_new();
    c->objects = informer_new(h->l, url, PATH_CHECKUPS, &ev, err);
    if (!c->objects) {
        checkup_free(c);
        return NULL;
    }
    return c;
}

void
checkup_stop(struct checkup *c)
{
    if (!c)
        return;
    c->stopped = true;
    loop_timer_del(c->timer);
    c->timer = NULL;
    if (c->run)
        cancel(c->run);
}

void
checkup_free(struct checkup *c)
{
    if (!c)
        return;
    informer_free(c->objects);
    run_free(c->run);
    if (c->outcome) {
        free(c->outcome->uid);
        free(c->outcome->path);
        free(c->outcome->name);
        tree_free(c->outcome->patch);
        free(c->outcome);
    }
    strmap_free(c->items, free);
    free(c);
}

void
checkup_estimate(const struct checkup *c, struct checkup_estimate *ret)
{
    const struct checkup_link link = {c->h->cfg.node_name, c->h->net.ref, c->h->net.ifname};
    const struct tree *cm;
    size_t it = 0;

    *ret = (struct checkup_estimate){0};
    while ((cm = informer_next(c->objects, &it)))
        checkup_object_estimate(cm, &link, loop_wall_us(c->h->l), ret);
}

static void
on_object(void *ctx, const struct tree *obj, bool gone)
{
    struct checkup *c = ctx;

    if (gone)
        free(strmap_del(c->items, object_uid(obj)));
    if (informer_synced(c->objects))
        look(c);
}

static void
on_synced(void *ctx)
{
    look(ctx);
}

static void
on_timer(void *ctx)
{
    struct checkup *c = ctx;

    c->timer = NULL;
    look(c);
}

static void
look_later(struct checkup *c, uint64_t us)
{
    if (!c->timer && !c->stopped)
        c->timer = loop_timer_add(c->h->l, us, on_timer, c);
}

static void
look(struct checkup *c)
{
    struct checkup_params p;
    const struct tree *cm;

    if (c->stopped || c->writing)
        return;
    if (c->outcome) {
        write_outcome(c);
        return;
    }
    if (c->run) {
        look_at_run(c);
        return;
    }
    cm = next_in_turn(c, &p);
    if (cm && !c->writing)
        begin(c, cm, &p);
}

/* Whether a stands before b: by age, then by name. */
static bool
is_older(const struct tree *a, const struct tree *b)
{
    int by_age = strcmp(tree_find_string(a, "", "metadata", "creationTimestamp", NULL),
                        tree_find_string(b, "", "metadata", "creationTimestamp", NULL));
    int by_ns = strcmp(object_namespace(a), object_namespace(b));

    return by_age ? by_age < 0 : by_ns ? by_ns < 0 : strcmp(object_name(a), object_name(b)) < 0;
}

/* The oldest one of this node's that is not over. One that is late or wrong is ended on the way (then
 * c->writing, and the others wait for that). */
static const struct tree *
next_in_turn(struct checkup *c, struct checkup_params *ret)
{
    const char *me = c->h->cfg.node_name;
    const struct tree *cm, *oldest = NULL;
    size_t it = 0;

    while ((cm = informer_next(c->objects, &it)) && !c->writing) {
        struct item *item = strmap_get(c->items, object_uid(cm));
        struct checkup_params p = {0};
        struct err err = {0};

        if (checkup_object_finished(cm))
            continue;
        if (!item) {
            item = xcalloc(1, sizeof *item);
            item->since_us = loop_now_us(c->h->l);
            strmap_put(c->items, object_uid(cm), item);
        }
        if (item->over)
            continue;
        if (checkup_object_params(cm, &p, &err) != 0) {
            if (strcmp(checkup_object_get(cm, CHECKUP_SOURCE), me) == 0)
                fail(c, cm, &p, "%s", err_msg(&err));
            continue;
        }
        if (strcmp(p.source, me) != 0 && strcmp(p.target, me) != 0)
            continue;
        look_later(c, CHECKUP_LOOK_US);
        if (!give_up_if_late(c, cm, item, &p) && (!oldest || is_older(cm, oldest))) {
            oldest = cm;
            *ret = p;
        }
    }
    return oldest;
}

static bool
give_up_if_late(struct checkup *c, const struct tree *cm, const struct item *item,
                const struct checkup_params *p)
{
    bool source = strcmp(p->source, c->h->cfg.node_name) == 0;
    bool begun = *checkup_object_get(cm, CHECKUP_STARTED) != '\0';

    if (loop_now_us(c->h->l) - item->since_us < p->timeout_us + (source ? 0 : CHECKUP_GRACE_US))
        return false;
    if (source)
        fail(c, cm, p, "not done within %.0f s: %s", (double)p->timeout_us / 1e6,
             *checkup_object_get(cm, CHECKUP_TARGET_ADDRESS)
                 ? "this node was busy with checkups before it"
                 : "the handler of the target has published no address");
    else
        fail(c, cm, p, "not done within %.0f s: the handler of the source has %s",
             (double)p->timeout_us / 1e6, begun ? "begun and is gone" : "not begun");
    return true;
}

/* Whether what runs is still wanted, and in time. */
static void
look_at_run(struct checkup *c)
{
    struct run *r = c->run;
    const struct tree *cm = informer_get_uid(c->objects, r->uid);
    const struct item *item = strmap_get(c->items, r->uid);

    look_later(c, CHECKUP_LOOK_US);
    if (!cm || checkup_object_finished(cm)) {
        r->unwanted = true;
        cancel(r);
    } else if (r->source && item && loop_now_us(c->h->l) - item->since_us >= r->p.timeout_us) {
        r->timed_out = true;
        cancel(r);
    }
}

static void
begin(struct checkup *c, const struct tree *cm, const struct checkup_params *p)
{
    const struct mignet *net = &c->h->net;
    bool source = strcmp(p->source, c->h->cfg.node_name) == 0;
    bool begun = *checkup_object_get(cm, CHECKUP_STARTED) != '\0';

    if (begun && source)
        fail(c, cm, p, "the handler of node %s was restarted during the checkup", p->source);
    else if (begun || net->state == MIGNET_UNKNOWN)
        return;
    else if (net->state == MIGNET_BROKEN)
        fail(c, cm, p, "node %s: %s", c->h->cfg.node_name, net->reason);
    else if (*p->network && strcmp(p->network, net->ref) != 0)
        fail(c, cm, p,
             "network %s: node %s has its migration address on %s (liveMigrationConfig.network), "
             "and that is what is measured",
             p->network, c->h->cfg.node_name, *net->ref ? net->ref : "the management network");
    else if (!source)
        begin_target(c, cm, p);
    else if (*checkup_object_get(cm, CHECKUP_TARGET_ADDRESS))
        begin_source(c, cm, p);
}

static struct run *
run_new(struct checkup *c, const struct tree *cm, const struct checkup_params *p)
{
    struct run *r = xcalloc(1, sizeof *r);

    r->c = c;
    r->uid = xstrdup(object_uid(cm));
    r->path = path_of(cm);
    r->name = xasprintf("%s/%s", object_namespace(cm), object_name(cm));
    r->p = *p;
    r->cancel_fd = -1;
    return r;
}

static void
run_free(struct run *r)
{
    if (!r)
        return;
    checkup_target_free(r->target);
    clean_fd(&r->cancel_fd);
    free(r->uid);
    free(r->path);
    free(r->name);
    free(r);
}

static void
cancel(struct run *r)
{
    if (r->target)
        checkup_target_stop(r->target);
    else
        eventfd_write(r->cancel_fd, 1);
}

/* --- target --- */

static void
begin_target(struct checkup *c, const struct tree *cm, const struct checkup_params *p)
{
    struct checkup_target_config cfg = {.timeout_us = p->timeout_us + CHECKUP_GRACE_US};
    struct run *r = run_new(c, cm, p);
    struct tree *data;

    memcpy(cfg.ip, c->h->net.ip, sizeof cfg.ip);
    memcpy(cfg.device, c->h->net.ifname, sizeof cfg.device);
    if (checkup_target_new(&cfg, &r->target, &r->err) != 0) {
        fail(c, cm, p, "node %s: %s", p->target, err_msg(&r->err));
        run_free(r);
        return;
    }
    data = tree_map();
    tree_set(data, CHECKUP_TARGET_ADDRESS, tree_string(checkup_target_address(r->target)));
    tree_set(data, CHECKUP_TARGET_NONCE, tree_string(checkup_target_nonce(r->target)));

    AUTO_TREE struct tree *patch = patch_of(cm, data, true);

    c->run = r;
    c->writing = true;
    writer_send(c->h->writer, NULL, "PATCH", r->path, NULL, patch, on_published, c);
    work_run(c->h->work, target_job, target_done, r);
}

static void
on_published(void *ctx, int status, const struct tree *body, const char *error)
{
    struct checkup *c = ctx;

    (void)body;
    c->writing = false;
    if (status != 200 && c->run) { /* somebody changed it: what is to be done is asked anew */
        log_debug("checkup.publish", LS("checkup", c->run->name), LS("error", error));
        c->run->unwanted = true;
        cancel(c->run);
    }
    look_later(c, HANDLER_RETRY_US);
}

static void
target_job(void *ctx)
{
    struct run *r = ctx;

    r->rc = checkup_target_run(r->target, &r->err);
}

static void
target_done(void *ctx)
{
    struct run *r = ctx;
    struct checkup *c = r->c;

    log_info("checkup.served", LS("checkup", r->name), LS("source", r->p.source),
             LS("error", r->rc && !r->unwanted ? err_msg(&r->err) : ""));
    c->run = NULL;
    run_free(r);
    look_later(c, HANDLER_RETRY_US); /* the source's result is on its way */
}

/* --- source --- */

static unsigned
default_streams(const struct handler *h)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 2;

    if (h->cfg.channels)
        return h->cfg.channels;
    return cores < 2 ? 2 : cores > CHECKUP_AUTO_STREAMS ? CHECKUP_AUTO_STREAMS : (unsigned)cores;
}

/* Claimed by a write, so that a handler that ends from now on is known to have begun. */
static void
begin_source(struct checkup *c, const struct tree *cm, const struct checkup_params *p)
{
    struct run *r = run_new(c, cm, p);
    struct tree *data = tree_map();
    char now[40];

    r->source = true;
    r->start_us = loop_wall_us(c->h->l);
    r->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->cfg =
        (struct checkup_source_config){.sample_us = p->sample_us,
                                       .streams = p->streams ? p->streams : default_streams(c->h),
                                       .cancel_fd = r->cancel_fd};
    snprintf(r->cfg.target_addr, sizeof r->cfg.target_addr, "%s",
             checkup_object_get(cm, CHECKUP_TARGET_ADDRESS));
    snprintf(r->cfg.nonce, sizeof r->cfg.nonce, "%s", checkup_object_get(cm, CHECKUP_TARGET_NONCE));
    memcpy(r->cfg.local_ip, c->h->net.ip, sizeof r->cfg.local_ip);
    memcpy(r->cfg.device, c->h->net.ifname, sizeof r->cfg.device);
    time_format(r->start_us, false, now, sizeof now);
    tree_set(data, CHECKUP_STARTED, tree_string(now));

    AUTO_TREE struct tree *patch = patch_of(cm, data, true);

    c->run = r;
    c->writing = true;
    writer_send(c->h->writer, NULL, "PATCH", r->path, NULL, patch, on_claimed, c);
}

static void
on_claimed(void *ctx, int status, const struct tree *body, const char *error)
{
    struct checkup *c = ctx;
    struct run *r = c->run;

    (void)body;
    c->writing = false;
    if (status == 200 && !c->stopped) {
        log_info("checkup.started", LS("checkup", r->name), LS("target", r->cfg.target_addr),
                 LS("from", r->cfg.local_ip), LI("streams", r->cfg.streams));
        work_run(c->h->work, source_job, source_done, r);
        look_later(c, CHECKUP_LOOK_US);
        return;
    }
    log_debug("checkup.claim", LS("checkup", r->name), LS("error", error));
    c->run = NULL;
    run_free(r);
    look_later(c, HANDLER_RETRY_US);
}

static void
source_job(void *ctx)
{
    struct run *r = ctx;

    r->rc = checkup_source_measure(&r->cfg, &r->result, &r->err);
}

static void
source_done(void *ctx)
{
    struct run *r = ctx;
    struct checkup *c = r->c;
    char reason[ERR_MSG_SIZE];

    c->run = NULL;
    if (r->unwanted || c->stopped) {
        run_free(r);
        look(c);
        return;
    }
    snprintf(r->result.network, sizeof r->result.network, "%s",
             *c->h->net.ref ? c->h->net.ref : "management");
    memcpy(r->result.interface_name, r->cfg.device, sizeof r->result.interface_name);
    if (r->timed_out)
        snprintf(reason, sizeof reason, "not done within %.0f s", (double)r->p.timeout_us / 1e6);
    else if (r->rc != 0)
        snprintf(reason, sizeof reason, "%s", err_msg(&r->err));
    else
        checkup_object_judge(&r->p, &r->result, reason, sizeof reason);
    log_info("checkup.ended", LS("checkup", r->name), LS("reason", reason),
             LI("max_ns", (int64_t)r->result.max_ns),
             LI("bytes_per_s", (int64_t)r->result.bandwidth_bytes_per_s),
             LI("mtu", r->result.path_mtu_bytes));
    c->outcome = xcalloc(1, sizeof *c->outcome);
    c->outcome->patch = tree_map();
    tree_set_path(c->outcome->patch, tree_string(r->uid), "metadata", "uid", NULL);
    tree_set(c->outcome->patch, "data",
             checkup_object_outcome(&r->p, &r->result, reason, r->start_us, loop_wall_us(c->h->l)));
    c->outcome->uid = TAKE_PTR(r->uid);
    c->outcome->path = TAKE_PTR(r->path);
    c->outcome->name = TAKE_PTR(r->name);
    run_free(r);
    look(c);
}

/* --- the end --- */

/* Without a measurement. */
static void
fail(struct checkup *c, const struct tree *cm, const struct checkup_params *p, const char *fmt, ...)
{
    char reason[ERR_MSG_SIZE];
    int64_t now = loop_wall_us(c->h->l), start = now;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    if (time_parse(checkup_object_get(cm, CHECKUP_STARTED), &start, NULL) != 0)
        start = now;
    log_info("checkup.failed", LS("checkup", object_name(cm)), LS("reason", reason));
    c->outcome = xcalloc(1, sizeof *c->outcome);
    c->outcome->uid = xstrdup(object_uid(cm));
    c->outcome->path = path_of(cm);
    c->outcome->name = xasprintf("%s/%s", object_namespace(cm), object_name(cm));
    c->outcome->patch = patch_of(cm, checkup_object_outcome(p, NULL, reason, start, now), true);
    write_outcome(c);
}

static void
write_outcome(struct checkup *c)
{
    c->writing = true;
    writer_send(c->h->writer, NULL, "PATCH", c->outcome->path, NULL, c->outcome->patch, on_written,
                c);
}

/* No answer: it is said again. Refused: the object is another one by now, and is looked at anew. */
static void
on_written(void *ctx, int status, const struct tree *body, const char *error)
{
    struct checkup *c = ctx;
    struct outcome *o = c->outcome;
    struct item *item = strmap_get(c->items, o->uid);

    (void)body;
    c->writing = false;
    if (status == 0 || status >= 500) {
        look_later(c, HANDLER_RETRY_US);
        return;
    }
    if (status == 200 && item)
        item->over = true;
    else
        log_warn("checkup.write", LS("checkup", o->name), LI("status", status), LS("error", error));
    c->outcome = NULL;
    free(o->uid);
    free(o->path);
    free(o->name);
    tree_free(o->patch);
    free(o);
    look_later(c, HANDLER_RETRY_US);
}

/* Takes data. this_version: refused when the object is not as it was seen. */
static struct tree *
patch_of(const struct tree *cm, struct tree *data, bool this_version)
{
    struct tree *patch = tree_map();

    tree_set_path(patch, tree_string(object_uid(cm)), "metadata", "uid", NULL);
    if (this_version)
        tree_set_path(patch,
                      tree_string(tree_find_string(cm, "", "metadata", "resourceVersion", NULL)),
                      "metadata", "resourceVersion", NULL);
    tree_set(patch, "data", data);
    return patch;
}

static char *
path_of(const struct tree *cm)
{
    return xasprintf("/api/v1/namespaces/%s/configmaps/%s", object_namespace(cm), object_name(cm));
}
