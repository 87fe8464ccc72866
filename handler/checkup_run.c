/* One checkup of this node, as target or as source: claimed by a write, then run on a worker, then
 * handed back to checkup.c. See checkup_int.h. */
#include "handler/checkup_int.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/log.h"
#include "handler/handler.h"
#include "handler/limits.h"

static struct checkup_run *run_new(struct checkup *c, const struct tree *cm,
                                   const struct checkup_params *p);
static void on_published(void *ctx, int status, const struct tree *body, const char *error);
static void on_yielded(void *ctx, int status, const struct tree *body, const char *error);
static void target_job(void *ctx);
static void target_done(void *ctx);
static void on_claimed(void *ctx, int status, const struct tree *body, const char *error);
static void source_job(void *ctx);
static void source_done(void *ctx);

static struct checkup_run *
run_new(struct checkup *c, const struct tree *cm, const struct checkup_params *p)
{
    struct checkup_run *r = xcalloc(1, sizeof *r);

    r->c = c;
    r->uid = xstrdup(object_uid(cm));
    r->path = checkup_path(cm);
    r->name = xasprintf("%s/%s", object_namespace(cm), object_name(cm));
    r->p = *p;
    r->cancel_fd = -1;
    return r;
}

void
checkup_run_free(struct checkup_run *r)
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

void
checkup_run_cancel(struct checkup_run *r)
{
    if (r->target)
        checkup_target_stop(r->target);
    else
        eventfd_write(r->cancel_fd, 1);
}

/* --- target --- */

void
checkup_run_target(struct checkup *c, const struct tree *cm, const struct checkup_params *p)
{
    struct checkup_target_config cfg = {.timeout_us = p->timeout_us + CHECKUP_GRACE_US};
    struct checkup_run *r = run_new(c, cm, p);
    struct tree *data;

    memcpy(cfg.ip, c->h->net.ip, sizeof cfg.ip);
    memcpy(cfg.device, c->h->net.ifname, sizeof cfg.device);
    if (checkup_target_new(&cfg, &r->target, &r->err) != 0) {
        checkup_fail(c, cm, p, "node %s: %s", p->target, err_msg(&r->err));
        checkup_run_free(r);
        return;
    }
    data = tree_map();
    tree_set(data, CHECKUP_TARGET_ADDRESS, tree_string(checkup_target_address(r->target)));
    tree_set(data, CHECKUP_TARGET_NONCE, tree_string(checkup_target_nonce(r->target)));

    AUTO_TREE struct tree *patch = checkup_patch(cm, data, true);

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
        checkup_run_cancel(c->run);
    }
    checkup_look_later(c, HANDLER_RETRY_US);
}

/* Refused when the source has claimed it: then it goes on. */
void
checkup_run_yield(struct checkup *c, const struct tree *cm)
{
    struct tree *data = tree_map();

    tree_set(data, CHECKUP_TARGET_ADDRESS, tree_null());
    tree_set(data, CHECKUP_TARGET_NONCE, tree_null());

    AUTO_TREE struct tree *patch = checkup_patch(cm, data, true);

    c->writing = true;
    writer_send(c->h->writer, NULL, "PATCH", c->run->path, NULL, patch, on_yielded, c);
}

static void
on_yielded(void *ctx, int status, const struct tree *body, const char *error)
{
    struct checkup *c = ctx;

    (void)body;
    c->writing = false;
    if (status == 200 && c->run) {
        log_info("checkup.yielded", LS("checkup", c->run->name));
        c->run->unwanted = true;
        checkup_run_cancel(c->run);
    } else if (status != 200) {
        log_debug("checkup.yield", LS("error", error));
    }
    checkup_look_later(c, HANDLER_RETRY_US);
}

static void
target_job(void *ctx)
{
    struct checkup_run *r = ctx;

    r->rc = checkup_target_run(r->target, &r->err);
}

static void
target_done(void *ctx)
{
    struct checkup_run *r = ctx;
    struct checkup *c = r->c;

    log_info("checkup.served", LS("checkup", r->name), LS("source", r->p.source),
             LS("error", r->rc && !r->unwanted ? err_msg(&r->err) : ""));
    c->run = NULL;
    checkup_run_free(r);
    checkup_look_later(c, HANDLER_RETRY_US); /* the source's result is on its way */
}

/* --- source --- */

/* Claimed by a write, so that a handler that ends from now on is known to have begun. */
void
checkup_run_source(struct checkup *c, const struct tree *cm, const struct checkup_params *p)
{
    struct checkup_run *r = run_new(c, cm, p);
    struct tree *data = tree_map();
    char now[40];

    r->source = true;
    r->start_us = loop_wall_us(c->h->l);
    r->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->cfg = (struct checkup_source_config){
        .sample_us = p->sample_us,
        .streams = p->streams ? p->streams : mig_channels(c->h->cfg.channels),
        .cancel_fd = r->cancel_fd};
    snprintf(r->cfg.target_addr, sizeof r->cfg.target_addr, "%s",
             checkup_object_get(cm, CHECKUP_TARGET_ADDRESS));
    snprintf(r->cfg.nonce, sizeof r->cfg.nonce, "%s", checkup_object_get(cm, CHECKUP_TARGET_NONCE));
    snprintf(r->network, sizeof r->network, "%s", *c->h->net.ref ? c->h->net.ref : "management");
    memcpy(r->cfg.local_ip, c->h->net.ip, sizeof r->cfg.local_ip);
    memcpy(r->cfg.device, c->h->net.ifname, sizeof r->cfg.device);
    time_format(r->start_us, false, now, sizeof now);
    tree_set(data, CHECKUP_STARTED, tree_string(now));

    AUTO_TREE struct tree *patch = checkup_patch(cm, data, true);

    c->run = r;
    c->writing = true;
    writer_send(c->h->writer, NULL, "PATCH", r->path, NULL, patch, on_claimed, c);
}

static void
on_claimed(void *ctx, int status, const struct tree *body, const char *error)
{
    struct checkup *c = ctx;
    struct checkup_run *r = c->run;

    (void)body;
    c->writing = false;
    if (status == 200 && !c->stopped) {
        log_info("checkup.started", LS("checkup", r->name), LS("target", r->cfg.target_addr),
                 LS("from", r->cfg.local_ip), LI("streams", r->cfg.streams));
        work_run(c->h->work, source_job, source_done, r);
        checkup_look_later(c, CHECKUP_LOOK_US);
        return;
    }
    log_debug("checkup.claim", LS("checkup", r->name), LS("error", error));
    c->run = NULL;
    checkup_run_free(r);
    checkup_look_later(c, HANDLER_RETRY_US);
}

static void
source_job(void *ctx)
{
    struct checkup_run *r = ctx;

    r->rc = checkup_source_measure(&r->cfg, &r->result, &r->err);
}

static void
source_done(void *ctx)
{
    struct checkup_run *r = ctx;

    r->over = true;
    checkup_look(r->c);
}

struct checkup_outcome *
checkup_run_outcome(struct checkup *c)
{
    struct checkup_run *r = c->run;
    struct checkup_outcome *o;
    char reason[ERR_MSG_SIZE];

    c->run = NULL;
    if (r->unwanted) {
        checkup_run_free(r);
        return NULL;
    }
    snprintf(r->result.network, sizeof r->result.network, "%s", r->network);
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
    o = xcalloc(1, sizeof *o);
    o->patch = tree_map();
    tree_set_path(o->patch, tree_string(r->uid), "metadata", "uid", NULL);
    tree_set(o->patch, "data",
             checkup_object_outcome(&r->p, &r->result, reason, r->start_us, loop_wall_us(c->h->l)));
    o->uid = TAKE_PTR(r->uid);
    o->path = TAKE_PTR(r->path);
    o->name = TAKE_PTR(r->name);
    checkup_run_free(r);
    return o;
}
