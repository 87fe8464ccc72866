/* drover-handler's life: connects the informers, the Node object and the VMs to one loop, and ends
 * in order. A handler that is killed instead loses nothing: see journal.h. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "api/names.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "handler/handler.h"
#include "handler/libvirt_guest.h"
#include "handler/limits.h"

#define PATH_VMIS      "/apis/kubevirt.io/v1/virtualmachineinstances"
#define PATH_VMIMS     "/apis/kubevirt.io/v1/virtualmachineinstancemigrations"
#define PATH_HCOS      "/apis/hco.kubevirt.io/v1beta1/hyperconvergeds"
#define STOP_TURN_US   100000u
#define PATH_NADS      "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions"
#define PATH_NODES     "/api/v1/nodes"
#define PATH_KUBEVIRTS "/apis/kubevirt.io/v1/kubevirts"
#define PATH_PVCS      "/api/v1/persistentvolumeclaims"
#define PATH_PVS       "/api/v1/persistentvolumes"
#define PATH_NNCES     "/apis/nmstate.io/v1beta1/nodenetworkconfigurationenactments"

static int start(struct handler *h, struct err *err);
static void open_libvirt(struct handler *h);
static void on_libvirt(void *ctx, bool up);
static void fill_metrics(void *ctx, struct sb *out);
static void ask_cluster(struct handler *h);
static void on_cluster(void *ctx, int status, const struct tree *body, const char *error);
static void on_retry(void *ctx);
static void on_signal(void *ctx);
static void on_stop_check(void *ctx);
static void on_vmi(void *ctx, const struct tree *obj, bool gone);
static void on_vmis_synced(void *ctx);
static void on_vmim(void *ctx, const struct tree *obj, bool gone);
static void on_network_object(void *ctx, const struct tree *obj, bool gone);
static void on_network_synced(void *ctx);
static void on_volume(void *ctx, const struct tree *obj, bool gone);
static void on_volumes_synced(void *ctx);
static void on_node(void *ctx, const struct tree *obj, bool gone);
static void on_node_synced(void *ctx);
static void on_enactment(void *ctx, const struct tree *obj, bool gone);
static void on_enactments_synced(void *ctx);

int
handler_run(const struct handler_config *cfg, struct err *err)
{
    struct handler h = {.cfg = *cfg};
    int rc;

    h.l = loop_event_new();
    h.vms = strmap_new();
    h.tls = tls_dir_new(cfg->tls_dir, cfg->node_name);
    h.metrics = node_metrics_new();
    h.share = share_new();
    share_set_caps(h.share, cfg->bandwidth_bytes_per_s, cfg->link_bytes_per_s, clock_mono_us());
    signal(SIGPIPE, SIG_IGN);
    loop_signal(h.l, SIGTERM, on_signal, &h);
    loop_signal(h.l, SIGINT, on_signal, &h);
    rc = start(&h, err);
    if (rc == 0) {
        log_info("handler.started", LS("node", cfg->node_name), LS("controller", cfg->controller),
                 LI("vms", strmap_len(h.vms)));
        loop_run(h.l);
        log_info("handler.stopped", LS("node", cfg->node_name));
        if (!vm_sessions_end(&h))
            return 0; /* their threads still use all this; the journals say what is true */
    }
    informer_free(h.vmis);
    informer_free(h.vmims);
    informer_free(h.hcos);
    informer_free(h.kubevirts);
    informer_free(h.nads);
    informer_free(h.pvcs);
    informer_free(h.pvs);
    informer_free(h.node);
    informer_free(h.enactments);
    node_stop(&h);
    checkup_stop(h.checkup);
    loop_timer_del(h.retry);
    loop_timer_del(h.stop_deadline);
    node_network_stop(&h);
    if (h.work)
        work_free(h.work);
    vm_stats_stop(&h);
    checkup_free(h.checkup);
    node_labels_free(h.labels);
    node_rdma_free(h.rdma);
    vm_free_all(&h);
    for (int k = 0; k < HV_KIND_COUNT; k++)
        if (h.drivers[k])
            h.drivers[k]->ops->free(h.drivers[k]);
    share_free(h.share);
    tls_dir_free(h.tls);
    metrics_http_free(h.metrics_http);
    node_metrics_free(h.metrics);
    writer_free(h.writer);
    strmap_free(h.vms, NULL);
    tree_free(h.node_status);
    tree_free(h.network_state);
    loop_free(h.l);
    return rc;
}

void
handler_retry_later(struct handler *h)
{
    if (!h->retry && !h->stopping)
        h->retry = loop_timer_add(h->l, HANDLER_RETRY_US, on_retry, h);
}

static int
start(struct handler *h, struct err *err)
{
    const char *url = h->cfg.controller;
    const struct informer_events vmi = {on_vmi, on_vmis_synced, h};
    const struct informer_events vmim = {on_vmim, NULL, h};
    const struct informer_events net = {on_network_object, on_network_synced, h};
    const struct informer_events volume = {on_volume, on_volumes_synced, h};
    const struct informer_events own = {on_node, on_node_synced, h};
    const struct informer_events enactment = {on_enactment, on_enactments_synced, h};
    AUTO_FREE char *node =
        xasprintf(PATH_NODES "?fieldSelector=metadata.name%%3D%s", h->cfg.node_name);
    AUTO_FREE char *enactments =
        xasprintf(PATH_NNCES "?labelSelector=nmstate.io%%2Fnode%%3D%s", h->cfg.node_name);
    int rc = fs_mkdirs(h->cfg.state_dir, 0711, err); /* QEMU runs as another user */

    if (rc != 0)
        return rc;
    h->started_us = loop_now_us(h->l);
    h->work = work_new(h->l, HANDLER_WORKERS);
    h->drivers[HV_NATIVE] = hv_native_driver(h->cfg.state_dir, h->cfg.guest_program);
    h->movers[HV_NATIVE] = &mover_engine;
    open_libvirt(h);
    rc = vm_load_all(h, err);
    if (rc != 0)
        return rc;
    h->writer = writer_new(h->l, url, err);
    if (!h->writer)
        return err ? err->code : -EINVAL;
    ask_cluster(h);
    rc = node_network_start(h, err);
    if (rc != 0)
        return rc;
    h->hcos = informer_new(h->l, url, PATH_HCOS, &net, err);
    h->kubevirts = informer_new(h->l, url, PATH_KUBEVIRTS, &net, err);
    h->nads = informer_new(h->l, url, PATH_NADS, &net, err);
    h->pvcs = informer_new(h->l, url, PATH_PVCS, &volume, err);
    h->pvs = informer_new(h->l, url, PATH_PVS, &volume, err);
    h->node = informer_new(h->l, url, node, &own, err);
    h->enactments = informer_new(h->l, url, enactments, &enactment, err);
    h->vmims = informer_new(h->l, url, PATH_VMIMS, &vmim, err);
    h->vmis = informer_new(h->l, url, PATH_VMIS, &vmi, err);
    if (!h->hcos || !h->kubevirts || !h->nads || !h->pvcs || !h->pvs || !h->node ||
        !h->enactments || !h->vmims || !h->vmis)
        return err ? err->code : -EINVAL;
    if (h->cfg.metrics_listen) {
        rc = metrics_http_new(h->l, h->cfg.metrics_listen, fill_metrics, h, &h->metrics_http, err);
        if (rc != 0)
            return err_prefix(err, rc, "--metrics-listen");
        log_info("handler.metrics", LI("port", metrics_http_port(h->metrics_http)));
    }
    h->checkup = checkup_new(h, url, err);
    if (!h->checkup)
        return err ? err->code : -EINVAL;
    node_start(h);
    vm_stats_start(h);
    return 0;
}

/* Without it there are native guests only, and the log says why. */
static void
open_libvirt(struct handler *h)
{
    const struct lv_driver_config c = {
        .state_dir = h->cfg.state_dir,
        .uri = h->cfg.libvirt_uri,
        .images = h->cfg.images,
        .vm_bridge = h->cfg.vm_bridge,
        .loop = h->l,
        .changed = on_libvirt,
        .ctx = h,
    };
    struct err err = {0};

    if (h->cfg.hypervisor == HANDLER_HV_NATIVE || !h->cfg.libvirt_uri)
        return;
    if (lv_driver_new(&c, &h->drivers[HV_LIBVIRT], &err) != 0) {
        log_info("hypervisor.none", LS("kind", "libvirt"), LS("why", err_msg(&err)));
        return;
    }
    h->movers[HV_LIBVIRT] = &mover_relay;
}

static void
on_libvirt(void *ctx, bool up)
{
    handler_hypervisor_changed(ctx, HV_LIBVIRT, up);
}

static void
fill_metrics(void *ctx, struct sb *out)
{
    node_metrics_text(ctx, out);
}

/* Whose objects are these? Guests of another cluster are never touched (vm.c). */
static void
ask_cluster(struct handler *h)
{
    writer_send(h->writer, "cluster", "GET", "/api/v1/namespaces/kube-system", NULL, NULL,
                on_cluster, h);
}

static void
on_cluster(void *ctx, int status, const struct tree *body, const char *error)
{
    struct handler *h = ctx;
    const char *uid = body ? object_uid(body) : "";

    (void)error;
    if (status == 200 && uid && *uid && strlen(uid) < sizeof h->cluster) {
        memcpy(h->cluster, uid, strlen(uid) + 1);
        handler_retry_later(h);
        return;
    }
    handler_retry_later(h);
}

static void
on_retry(void *ctx)
{
    struct handler *h = ctx;
    size_t it = 0;
    void *v;

    h->retry = NULL;
    if (!h->cluster[0]) {
        ask_cluster(h);
        return;
    }
    for (int k = 0; k < HV_KIND_COUNT; k++) {
        struct hv_driver *d = h->drivers[k];

        if (d && !h->found[k] && d->ops->ready(d, NULL) == 0)
            vm_find(h, (enum hv_kind)k);
    }
    while (strmap_next(h->vms, &it, NULL, &v))
        vm_reconcile(v);
}

static void
on_vmi(void *ctx, const struct tree *obj, bool gone)
{
    vm_object_changed(ctx, obj, gone);
}

static void
on_vmis_synced(void *ctx)
{
    vm_list_synced(ctx);
}

static void
on_vmim(void *ctx, const struct tree *obj, bool gone)
{
    if (!gone)
        source_vmim_changed(ctx, obj);
}

static void
on_network_object(void *ctx, const struct tree *obj, bool gone)
{
    struct handler *h = ctx;

    (void)obj;
    (void)gone;
    if (h->hcos && informer_synced(h->hcos))
        node_cluster_changed(h);
    node_network_objects(h);
    vm_refused_again(h);
}

/* What a start that was refused had asked for may be there now. */
static void
on_volume(void *ctx, const struct tree *obj, bool gone)
{
    (void)obj;
    if (!gone)
        vm_refused_again(ctx);
}

static void
on_volumes_synced(void *ctx)
{
    vm_refused_again(ctx);
}

static void
on_network_synced(void *ctx)
{
    on_network_object(ctx, NULL, false);
}

static void
on_node(void *ctx, const struct tree *obj, bool gone)
{
    (void)obj;
    (void)gone;
    node_network_objects(ctx);
}

static void
on_node_synced(void *ctx)
{
    node_network_objects(ctx);
}

static void
on_enactment(void *ctx, const struct tree *obj, bool gone)
{
    (void)obj;
    (void)gone;
    node_network_enactments(ctx);
}

static void
on_enactments_synced(void *ctx)
{
    node_network_enactments(ctx);
}

static void
on_signal(void *ctx)
{
    struct handler *h = ctx;

    if (h->stopping)
        return;
    h->stopping = true;
    log_info("handler.stopping", LS("node", h->cfg.node_name));
    on_stop_check(h);
}

/* Migrations that have not committed are cancelled and reported; guests run on. */
static void
on_stop_check(void *ctx)
{
    struct handler *h = ctx;

    h->stop_deadline = NULL;
    if (vm_sessions_end(h) || ++h->stop_turns * STOP_TURN_US > HANDLER_STOP_GRACE_US) {
        loop_stop(h->l);
        return;
    }
    h->stop_deadline = loop_timer_add(h->l, STOP_TURN_US, on_stop_check, h);
}
