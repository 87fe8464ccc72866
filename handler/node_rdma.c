/* One look at a time, on a worker; see node_rdma.h. */
#include "handler/node_rdma.h"

#include <stdio.h>
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "base/log.h"
#include "handler/limits.h"
#include "migrate/rdma_nic.h"

struct node_rdma {
    struct loop *l;
    struct work *w;
    struct node_rdma_facts facts;
    void (*changed)(void *ctx);
    void *ctx;
    struct loop_timer *timer;
    bool busy, again;
    struct { /* of the worker while busy */
        char ip[INET6_ADDRSTRLEN];
        int rc;
        struct nic_facts nic;
        struct err err;
    } job;
};

static void look(struct node_rdma *n);
static void run_look(void *ctx);
static void look_done(void *ctx);
static void on_timer(void *ctx);
static void limit_text(const struct node_rdma_facts *f, char *buf, size_t size);

void
node_rdma_say(const struct node_rdma_facts *f, struct node_rdma_condition *ret)
{
    const struct mignet *net = &f->net;
    char limit[80];

    ret->status = "False";
    if (f->off) {
        ret->reason = "SwitchedOff";
        snprintf(ret->message, sizeof ret->message, "--no-rdma: migrations go over TCP");
    } else if (net->state == MIGNET_NONE) {
        ret->reason = "NoDedicatedNetwork";
        snprintf(ret->message, sizeof ret->message,
                 "RDMA is used on a dedicated migration network only, and there is none");
    } else if (net->state == MIGNET_BROKEN) {
        ret->reason = "NetworkNotReady";
        snprintf(ret->message, sizeof ret->message, "the migration network is not ready: %s",
                 net->code);
    } else if (net->state == MIGNET_UNKNOWN || !f->looked) {
        ret->status = "Unknown";
        ret->reason = "NotLooked";
        snprintf(ret->message, sizeof ret->message, "nobody has looked yet");
    } else if (!f->device[0]) {
        ret->reason = "NoDevice";
        snprintf(ret->message, sizeof ret->message, "%s", f->why);
    } else if (!net->trusted) {
        ret->reason = "NetworkNotTrusted";
        snprintf(ret->message, sizeof ret->message,
                 "%s serves %s, but RDMA does not encrypt, and %.200s is not declared trusted "
                 "(" ANN_TRUSTED_NETWORK ")",
                 f->device, net->ip, net->ref);
    } else {
        ret->status = "True";
        ret->reason = "DeviceFound";
        limit_text(f, limit, sizeof limit);
        snprintf(ret->message, sizeof ret->message, "%s serves %s; %s", f->device, net->ip, limit);
    }
}

/* How much of a guest a migration has registered at once. */
static void
limit_text(const struct node_rdma_facts *f, char *buf, size_t size)
{
    bool locked = f->lock_bytes < f->window_bytes;
    char bytes[32];

    quantity_format_human(locked ? f->lock_bytes : f->window_bytes, bytes, sizeof bytes);
    if (f->on_demand)
        snprintf(buf, size, "memory is registered on demand");
    else
        snprintf(buf, size, "a migration registers at most %s at once%s", bytes,
                 locked ? ", the limit of locked memory" : "");
}

struct node_rdma *
node_rdma_new(struct loop *l, struct work *w, bool off, uint64_t window_bytes,
              void (*changed)(void *ctx), void *ctx)
{
    struct node_rdma *n = xcalloc(1, sizeof *n);

    n->l = l;
    n->w = w;
    n->facts.off = off;
    n->facts.window_bytes = window_bytes;
    n->changed = changed;
    n->ctx = ctx;
    return n;
}

void
node_rdma_free(struct node_rdma *n)
{
    if (!n)
        return;
    loop_timer_del(n->timer);
    free(n);
}

const struct node_rdma_facts *
node_rdma_facts(const struct node_rdma *n)
{
    return &n->facts;
}

void
node_rdma_network(struct node_rdma *n, const struct mignet *net)
{
    bool same = net->state == n->facts.net.state && strcmp(net->ip, n->facts.net.ip) == 0;

    n->facts.net = *net;
    if (!same)
        n->facts.looked = false;
    if (n->facts.off)
        return;
    if (n->busy)
        n->again = true;
    else
        look(n);
}

static void
look(struct node_rdma *n)
{
    loop_timer_del(n->timer);
    n->timer = NULL;
    n->again = false;
    if (n->facts.net.state != MIGNET_READY)
        return;
    n->busy = true;
    memcpy(n->job.ip, n->facts.net.ip, sizeof n->job.ip);
    work_run(n->w, run_look, look_done, n);
}

/* On a worker. */
static void
run_look(void *ctx)
{
    struct node_rdma *n = ctx;
    struct nic *nic = NULL;

    n->job.rc = nic_open(n->job.ip, "", &nic, &n->job.err);
    if (n->job.rc == 0)
        n->job.nic = *nic_facts(nic);
    nic_close(nic);
}

static void
look_done(void *ctx)
{
    struct node_rdma *n = ctx;
    struct node_rdma_facts *f = &n->facts;
    struct node_rdma_condition was, is;

    n->busy = false;
    if (strcmp(n->job.ip, f->net.ip) == 0) {
        node_rdma_say(f, &was);
        f->looked = true;
        snprintf(f->device, sizeof f->device, "%s", n->job.rc == 0 ? n->job.nic.device : "");
        snprintf(f->why, sizeof f->why, "%s", n->job.rc == 0 ? "" : err_msg(&n->job.err));
        f->lock_bytes = n->job.rc == 0 ? n->job.nic.lock_bytes : 0;
        f->on_demand = n->job.rc == 0 && n->job.nic.on_demand;
        node_rdma_say(f, &is);
        if (strcmp(was.reason, is.reason) != 0 || strcmp(was.message, is.message) != 0) {
            log_info("rdma.looked", LS("ip", f->net.ip), LS("device", f->device),
                     LS("reason", is.reason), LS("message", is.message));
            n->changed(n->ctx);
        }
    }
    if (n->again)
        look(n);
    else
        n->timer = loop_timer_add(n->l, HANDLER_RDMA_LOOK_US, on_timer, n);
}

static void
on_timer(void *ctx)
{
    struct node_rdma *n = ctx;

    n->timer = NULL;
    look(n);
}
