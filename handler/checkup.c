/* The objects' side of network checkups; see checkup.h. What is done next follows from the newest
 * objects alone:
 *   target: it is my turn, and it has not begun -> listen, and publish address and nonce
 *   source: it is my turn, and an address is there -> write startTimestamp, measure, write results
 *   source: it has begun, but not in this process -> failed: this handler was restarted
 *   source, and some seconds later the target: spec.timeout is over -> failed
 * A write that says how it ended without having measured is made only on the version that was
 * looked at. */
#include "handler/checkup.h"

#include <string.h>

#include "api/names.h"
#include "base/log.h"
#include "handler/checkup_int.h"
#include "handler/handler.h"
#include "handler/limits.h"

#define PATH_CHECKUPS \
    "/api/v1/configmaps?labelSelector=kiagnose%2Fcheckup-type%3D" CHECKUP_TYPE_LATENCY

static void on_object(void *ctx, const struct tree *obj, bool gone);
static void on_synced(void *ctx);
static void on_timer(void *ctx);
static const struct tree *next_in_turn(struct checkup *c, struct checkup_params *ret);
static bool give_up_if_late(struct checkup *c, const struct tree *cm,
                            const struct checkup_item *item, const struct checkup_params *p);
static void look_at_run(struct checkup *c, const struct tree *next);
static void begin(struct checkup *c, const struct tree *cm, const struct checkup_params *p);
static void write_outcome(struct checkup *c);
static void on_written(void *ctx, int status, const struct tree *body, const char *error);

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
        checkup_run_cancel(c->run);
}

void
checkup_free(struct checkup *c)
{
    if (!c)
        return;
    informer_free(c->objects);
    checkup_run_free(c->run);
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
        checkup_look(c);
}

static void
on_synced(void *ctx)
{
    checkup_look(ctx);
}

static void
on_timer(void *ctx)
{
    struct checkup *c = ctx;

    c->timer = NULL;
    checkup_look(c);
}

void
checkup_look_later(struct checkup *c, uint64_t us)
{
    if (!c->timer && !c->stopped)
        c->timer = loop_timer_add(c->h->l, us, on_timer, c);
}

void
checkup_look(struct checkup *c)
{
    struct checkup_params p;
    const struct tree *cm;

    if (c->stopped || c->writing)
        return;
    if (c->run && c->run->over && !c->outcome)
        c->outcome = checkup_run_outcome(c);
    if (c->outcome) {
        write_outcome(c);
        return;
    }
    cm = next_in_turn(c, &p);
    if (c->writing)
        return;
    if (c->run)
        look_at_run(c, cm);
    else if (cm)
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

/* The oldest one of this node's that is not over, nor running here. One that is late or wrong is
 * ended on the way (then c->writing, and the others wait for that). */
static const struct tree *
next_in_turn(struct checkup *c, struct checkup_params *ret)
{
    const char *me = c->h->cfg.node_name;
    const struct tree *cm, *oldest = NULL;
    size_t it = 0;

    while ((cm = informer_next(c->objects, &it)) && !c->writing) {
        struct checkup_item *item = strmap_get(c->items, object_uid(cm));
        struct checkup_params p = {0};
        struct err err = {0};

        if (checkup_object_finished(cm))
            continue;
        if (!item) {
            item = xcalloc(1, sizeof *item);
            item->since_us = loop_now_us(c->h->l);
            strmap_put(c->items, object_uid(cm), item);
        }
        if (item->over || (c->run && strcmp(c->run->uid, object_uid(cm)) == 0))
            continue;
        if (checkup_object_params(cm, &p, &err) != 0) {
            if (strcmp(checkup_object_get(cm, CHECKUP_SOURCE), me) == 0)
                checkup_fail(c, cm, &p, "%s", err_msg(&err));
            continue;
        }
        if (strcmp(p.source, me) != 0 && strcmp(p.target, me) != 0)
            continue;
        checkup_look_later(c, CHECKUP_LOOK_US);
        if (!give_up_if_late(c, cm, item, &p) && (!oldest || is_older(cm, oldest))) {
            oldest = cm;
            *ret = p;
        }
    }
    return oldest;
}

static bool
give_up_if_late(struct checkup *c, const struct tree *cm, const struct checkup_item *item,
                const struct checkup_params *p)
{
    bool source = strcmp(p->source, c->h->cfg.node_name) == 0;
    bool begun = *checkup_object_get(cm, CHECKUP_STARTED) != '\0';

    if (loop_now_us(c->h->l) - item->since_us < p->timeout_us + (source ? 0 : CHECKUP_GRACE_US))
        return false;
    if (source && c->run)
        checkup_fail(c, cm, p, "not done within %.0f s: node %s was busy with checkup %s",
                     (double)p->timeout_us / 1e6, p->source, c->run->name);
    else if (source)
        checkup_fail(c, cm, p,
                     "not done within %.0f s: the handler of the target has published no address",
                     (double)p->timeout_us / 1e6);
    else
        checkup_fail(c, cm, p, "not done within %.0f s: the handler of the source has %s",
                     (double)p->timeout_us / 1e6, begun ? "begun and is gone" : "not begun");
    return true;
}

/* Whether what runs is still wanted, in time and in turn: objects of one second are ordered by name,
 * so one that comes later may stand before it (next: the oldest of the others, or NULL). */
static void
look_at_run(struct checkup *c, const struct tree *next)
{
    struct checkup_run *r = c->run;
    const struct tree *cm = informer_get_uid(c->objects, r->uid);
    const struct checkup_item *item = strmap_get(c->items, r->uid);

    checkup_look_later(c, CHECKUP_LOOK_US);
    if (!cm || checkup_object_finished(cm)) {
        r->unwanted = true;
        checkup_run_cancel(r);
    } else if (r->source && item && loop_now_us(c->h->l) - item->since_us >= r->p.timeout_us) {
        r->timed_out = true;
        checkup_run_cancel(r);
    } else if (!r->source && next && is_older(next, cm) &&
               *checkup_object_get(cm, CHECKUP_TARGET_ADDRESS) &&
               !*checkup_object_get(cm, CHECKUP_STARTED)) {
        checkup_run_yield(c, cm);
    }
}

static void
begin(struct checkup *c, const struct tree *cm, const struct checkup_params *p)
{
    const struct mignet *net = &c->h->net;
    bool source = strcmp(p->source, c->h->cfg.node_name) == 0;
    bool begun = *checkup_object_get(cm, CHECKUP_STARTED) != '\0';

    if (begun && source)
        checkup_fail(c, cm, p, "the handler of node %s was restarted during the checkup",
                     p->source);
    else if (begun || net->state == MIGNET_UNKNOWN)
        return;
    else if (net->state == MIGNET_BROKEN)
        checkup_fail(c, cm, p, "node %s: %s", c->h->cfg.node_name, net->reason);
    else if (*p->network && strcmp(p->network, net->ref) != 0)
        checkup_fail(
            c, cm, p,
            "network %s: node %s has its migration address on %s (liveMigrationConfig.network), "
            "and that is what is measured",
            p->network, c->h->cfg.node_name, *net->ref ? net->ref : "the management network");
    else if (!source)
        checkup_run_target(c, cm, p);
    else if (*checkup_object_get(cm, CHECKUP_TARGET_ADDRESS))
        checkup_run_source(c, cm, p);
}

/* --- the end --- */

void
checkup_fail(struct checkup *c, const struct tree *cm, const struct checkup_params *p,
             const char *fmt, ...)
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
    c->outcome->path = checkup_path(cm);
    c->outcome->name = xasprintf("%s/%s", object_namespace(cm), object_name(cm));
    c->outcome->patch =
        checkup_patch(cm, checkup_object_outcome(p, NULL, reason, start, now), true);
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
    struct checkup_outcome *o = c->outcome;
    struct checkup_item *item = strmap_get(c->items, o->uid);

    (void)body;
    c->writing = false;
    if (status == 0 || status >= 500) {
        checkup_look_later(c, HANDLER_RETRY_US);
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
    checkup_look_later(c, HANDLER_RETRY_US);
}

struct tree *
checkup_patch(const struct tree *cm, struct tree *data, bool this_version)
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

char *
checkup_path(const struct tree *cm)
{
    return xasprintf("/api/v1/namespaces/%s/configmaps/%s", object_namespace(cm), object_name(cm));
}
