/* Between the objects and the network agent (handler/net.h): HyperConverged, the migration network's
 * definition, this Node's annotation and its enactments go in; the Node's condition, the enactments'
 * status and the NodeNetworkState come out. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/log.h"
#include "handler/handler.h"
#include "netpolicy/nad.h"
#include "netpolicy/nl_link.h"
#include "proto/rest.h"

#define PATH_NNCES  "/apis/nmstate.io/v1beta1/nodenetworkconfigurationenactments"
#define PATH_NNSS   "/apis/nmstate.io/v1beta1/nodenetworkstates"
#define ASK_MS      1000
#define NET_THREADS 2

static void on_changed(void *ctx, const struct mignet *now);
static void on_enacted(void *ctx, const char *name, const struct tree *status);
static void on_observed(void *ctx, struct tree *current_state);
static void on_state_written(void *ctx, int status, const struct tree *body, const char *error);
static void make_state(struct handler *h);
static void on_state_made(void *ctx, int status, const struct tree *body, const char *error);
static unsigned on_busy(void *ctx);
static int on_ask(void *ctx, struct err *err);

int
node_network_start(struct handler *h, struct err *err)
{
    const struct net_agent_config cfg = {h->cfg.node_name, h->cfg.state_dir, h->cfg.address,
                                         h->cfg.probe_timeout_us};
    const struct net_agent_hooks hooks = {on_changed, on_enacted, on_observed, on_busy, on_ask, h};

    h->net_work = work_new(h->l, NET_THREADS);
    h->net_agent = net_agent_new(h->l, h->net_work, &cfg, &hooks, err);
    return h->net_agent ? 0 : err && err->code ? err->code : -EINVAL;
}

void
node_network_stop(struct handler *h)
{
    net_agent_stop(h->net_agent);
    if (h->net_work)
        work_free(h->net_work);
    net_agent_free(h->net_agent);
    h->net_work = NULL;
    h->net_agent = NULL;
}

/* As the controller reads it (netpolicy/policy.h): a HyperConverged that is there counts alone. */
static const char *
network_of_cluster(struct handler *h, struct arena *a)
{
    const struct tree *hco = node_hco(h), *kv = informer_first(h->kubevirts);

    if (hco)
        return hco_decode(hco, a)->live_migration.network;
    return kv ? kubevirt_decode(kv, a)->migrations.network : NULL;
}

void
node_network_objects(struct handler *h)
{
    const struct tree *nad = NULL, *node;
    struct arena *a;
    const char *network, *ns, *name, *assignment;
    AUTO_FREE char *ref = NULL;

    if (!h->hcos || !h->kubevirts || !h->nads || !h->node || !informer_synced(h->hcos) ||
        !informer_synced(h->kubevirts) || !informer_synced(h->nads) || !informer_synced(h->node))
        return;
    a = arena_new();
    network = network_of_cluster(h, a);
    node = informer_get(h->node, "", h->cfg.node_name);
    if (node && h->network_state_due)
        make_state(h);
    assignment = node ? object_annotation(node, ANN_MIGRATION_ADDRESS) : NULL;
    if (network && *network) {
        nad_ref_split(network, DEFAULT_HCO_NAMESPACE, a, &ns, &name);
        ref = xasprintf("%.63s/%.190s", ns, name);
        nad = informer_get(h->nads, ns, name);
    }
    net_agent_network(h->net_agent, ref ? ref : "", nad,
                      assignment && *assignment ? assignment : NULL);
    arena_free(a);
}

void
node_network_enactments(struct handler *h)
{
    AUTO_TREE struct tree *list = NULL;
    const struct tree *obj;
    size_t it = 0;

    if (!h->enactments || !informer_synced(h->enactments))
        return;
    list = tree_list();
    while ((obj = informer_next(h->enactments, &it)) != NULL)
        tree_append(list, tree_copy(obj));
    net_agent_enactments(h->net_agent, list);
}

struct tree *
node_network_link(struct handler *h)
{
    const struct mignet *m = &h->net;
    struct nl_counters own = {0}, below = {0};
    struct tree *t;

    if (!m->ref[0] || !m->ifname[0])
        return NULL;
    nl_link_counters(m->ifname, &own, NULL);
    /* a macvlan's own counters leave out what it received (nl_link.h) */
    if (m->base[0] && nl_link_counters(m->base, &below, NULL) == 0) {
        own.rx_bytes = below.rx_bytes;
        own.rx_dropped += below.rx_dropped;
    }
    t = tree_map();
    tree_set(t, "interface", tree_string(m->ifname));
    tree_set(t, "address", tree_string(m->ip));
    tree_set(t, "mtu", tree_int(m->mtu));
    tree_set(t, "speedMbps", tree_int((int64_t)m->speed_mbps));
    tree_set(t, "state", tree_string(m->state == MIGNET_READY ? "ready" : m->code));
    tree_set(t, "rxBytes", tree_int((int64_t)own.rx_bytes));
    tree_set(t, "txBytes", tree_int((int64_t)own.tx_bytes));
    tree_set(t, "rxDropped", tree_int((int64_t)own.rx_dropped));
    tree_set(t, "txDropped", tree_int((int64_t)own.tx_dropped));
    tree_set(t, "limitBytesPerSecond", tree_int((int64_t)m->limit_bytes_per_s));
    tree_set(t, "trusted", tree_bool(m->trusted));
    return t;
}

static void
on_changed(void *ctx, const struct mignet *now)
{
    struct handler *h = ctx;

    h->net = *now;
    node_network_changed(h);
}

static void
on_enacted(void *ctx, const char *name, const struct tree *status)
{
    struct handler *h = ctx;
    AUTO_FREE char *path = xasprintf(PATH_NNCES "/%s/status", name);
    AUTO_FREE char *key = xasprintf("enactment %s", name);
    AUTO_TREE struct tree *patch = tree_map();

    tree_set(patch, "status", tree_copy(status));
    writer_send(h->writer, key, "PATCH", path, NULL, patch, NULL, NULL);
}

static void
on_observed(void *ctx, struct tree *current_state)
{
    struct handler *h = ctx;
    AUTO_FREE char *path = xasprintf(PATH_NNSS "/%s/status", h->cfg.node_name);
    AUTO_TREE struct tree *patch = tree_map();
    struct tree *status = tree_ensure_map(patch, "status");
    char now[40];

    time_format(loop_wall_us(h->l), false, now, sizeof now);
    tree_set(status, "currentState", current_state);
    tree_set(status, "lastSuccessfulUpdateTime", tree_string(now));
    tree_free(h->network_state);
    h->network_state = tree_copy(patch);
    writer_send(h->writer, "network-state", "PATCH", path, NULL, patch, on_state_written, h);
}

static void
on_state_written(void *ctx, int status, const struct tree *body, const char *error)
{
    (void)body;
    if (status == 404)
        make_state(ctx);
    else if (status != 0 && status != 200)
        log_warn("network.state", LI("status", status), LS("error", error));
}

/* The object is the Node's: it goes with it. */
static void
make_state(struct handler *h)
{
    const struct tree *node = informer_get(h->node, "", h->cfg.node_name);
    AUTO_TREE struct tree *obj = tree_map();
    struct tree *owner, *owners;

    h->network_state_due = !node;
    if (!node)
        return;
    owner = tree_map();
    owners = tree_list();
    tree_set(owner, "apiVersion", tree_string("v1"));
    tree_set(owner, "kind", tree_string("Node"));
    tree_set(owner, "name", tree_string(h->cfg.node_name));
    tree_set(owner, "uid", tree_string(object_uid(node)));
    tree_append(owners, owner);
    tree_set(obj, "apiVersion", tree_string("nmstate.io/v1beta1"));
    tree_set(obj, "kind", tree_string("NodeNetworkState"));
    tree_set_path(obj, tree_string(h->cfg.node_name), "metadata", "name", NULL);
    tree_set_path(obj, owners, "metadata", "ownerReferences", NULL);
    writer_send(h->writer, NULL, "POST", PATH_NNSS, REST_JSON, obj, on_state_made, h);
}

static void
on_state_made(void *ctx, int status, const struct tree *body, const char *error)
{
    struct handler *h = ctx;
    AUTO_FREE char *path = xasprintf(PATH_NNSS "/%s/status", h->cfg.node_name);

    (void)body;
    if (status == 201) {
        writer_send(h->writer, "network-state", "PATCH", path, NULL, h->network_state, NULL, NULL);
    } else if (status != 409) {
        h->network_state_due = true;
        log_warn("network.state", LI("status", status), LS("error", error));
    }
}

static unsigned
on_busy(void *ctx)
{
    bool cut_off;
    unsigned n = migrations_over_network(ctx, &cut_off);

    return cut_off ? 0 : n;
}

/* On a worker. A connection of its own: one that stood before the change may live on although no new
 * one can be made. */
static int
on_ask(void *ctx, struct err *err)
{
    const struct handler *h = ctx;
    struct rest_reply reply = {0};
    struct rest *r = rest_new(h->cfg.controller, err);
    int rc;

    if (!r)
        return err && err->code ? err->code : -EINVAL;
    rest_set_timeout(r, ASK_MS);
    rc = rest_call(r, "GET", "/api/v1/namespaces/kube-system", NULL, NULL, NULL, 0, &reply, err);
    if (rc == 0)
        rest_reply_done(&reply);
    rest_free(r);
    return rc;
}
