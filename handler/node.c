/* The Node object of this host: registration, labels, capacity, heartbeat, and the dedicated migration
 * network's state as a condition. When the network is not there, migrations are refused instead of
 * going another way (rule 5); who makes it is handler/net.c. */
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api/names.h"
#include "base/log.h"
#include "handler/handler.h"
#include "handler/kvm_caps.h"
#include "handler/limits.h"
#include "netpolicy/nl_link.h"

#define RESOURCE_KVM "devices.kubevirt.io/kvm"
#define KVM_GUESTS   "1k" /* as KubeVirt's device plugin says */

#define PAYLOAD_PERMILLE 940 /* of a link's speed: what TCP brings over Ethernet of 1,500 bytes */

static void beat(void *ctx);
static void on_labels(void *ctx, const struct node_labels_news *news);
static void on_labels_written(void *ctx, int status, const struct tree *body, const char *error);
static void warn_obsolete(struct handler *h, const char *model);
static void write_node(struct handler *h);
static void on_created(void *ctx, int status, const struct tree *body, const char *error);
static void on_patched(void *ctx, int status, const struct tree *body, const char *error);
static void write_status(struct handler *h);
static void on_status_written(void *ctx, int status, const struct tree *body, const char *error);
static struct tree *metadata_of(struct handler *h);
static struct tree *status_of(struct handler *h);
static void add_encryption(struct handler *h, struct tree *conds);
static void add_rdma(struct handler *h, struct tree *conds);
static void on_rdma(void *ctx);

void
node_start(struct handler *h)
{
    const struct node_labels_config labels = {h->cfg.label_files, h->cfg.libvirt_uri,
                                              h->cfg.labels};

    h->rdma = node_rdma_new(h->l, h->work, "/proc/self/exe", h->cfg.no_rdma,
                            h->cfg.rdma_window_bytes, on_rdma, h);
    h->labels = node_labels_new(h->l, h->work, &labels, on_labels, h);
    beat(h);
}

void
node_stop(struct handler *h)
{
    loop_timer_del(h->heartbeat);
    h->heartbeat = NULL;
}

void
node_network_changed(struct handler *h)
{
    const struct mignet *net = &h->net;
    size_t it = 0;
    void *v;

    if (h->cfg.link_auto)
        h->cfg.link_bytes_per_s =
            net->ifname[0] ? nl_link_speed(net->ifname) * PAYLOAD_PERMILLE / 1000 : 0;
    share_set_caps(h->share, h->cfg.bandwidth_bytes_per_s, h->cfg.link_bytes_per_s,
                   loop_now_us(h->l));
    log_info("network.changed", LS("network", net->ref[0] ? net->ref : "management"),
             LS("ip", net->ip), LS("interface", net->ifname), LS("code", net->code),
             LS("reason", net->reason));
    node_rdma_network(h->rdma, net);
    if (h->node_written)
        write_status(h);
    while (strmap_next(h->vms, &it, NULL, &v))
        vm_reconcile(v);
}

void
node_hypervisor_changed(struct handler *h)
{
    h->node_again = h->node_busy;
    if (h->node_written)
        write_node(h);
}

void
node_cluster_changed(struct handler *h)
{
    if (h->labels)
        node_labels_cluster(h->labels, node_hco(h));
}

const struct tree *
node_hco(struct handler *h)
{
    const struct tree *best = informer_get(h->hcos, DEFAULT_HCO_NAMESPACE, DEFAULT_HCO_NAME);

    return best ? best : informer_first(h->hcos);
}

/* What differs from what the Node has. Nothing is lost when the write is: the next turn says it again. */
static void
on_labels(void *ctx, const struct node_labels_news *news)
{
    struct handler *h = ctx;
    AUTO_TREE struct tree *patch = news->patch;
    AUTO_FREE char *path = xasprintf("/api/v1/nodes/%s", h->cfg.node_name);

    if (news->obsolete_model)
        warn_obsolete(h, news->obsolete_model);
    if (!patch)
        return;
    log_info("labels.changed",
             LI("labels", tree_len(tree_find(patch, "metadata", "labels", NULL))));
    writer_send(h->writer, "node-labels", "PATCH", path, NULL, patch, on_labels_written, h);
}

static void
on_labels_written(void *ctx, int status, const struct tree *body, const char *error)
{
    struct handler *h = ctx;

    if (status == 200 && body)
        node_labels_node(h->labels, body);
    else
        log_warn("labels.write", LI("status", status), LS("error", error));
}

/* As KubeVirt's node-labeller does, but once. */
static void
warn_obsolete(struct handler *h, const char *model)
{
    AUTO_TREE struct tree *e = tree_map();
    struct tree *on = tree_ensure_map(e, "involvedObject");
    char now[40];

    time_format(loop_wall_us(h->l), false, now, sizeof now);
    tree_set(e, "apiVersion", tree_string("v1"));
    tree_set(e, "kind", tree_string("Event"));
    tree_set_path(e, tree_string("default"), "metadata", "namespace", NULL);
    tree_set_path(
        e, tree_stringf("%.230s.%016llx", h->cfg.node_name, (unsigned long long)loop_wall_us(h->l)),
        "metadata", "name", NULL);
    tree_set(on, "apiVersion", tree_string("v1"));
    tree_set(on, "kind", tree_string("Node"));
    tree_set(on, "name", tree_string(h->cfg.node_name));
    tree_set(e, "type", tree_string("Warning"));
    tree_set(e, "reason", tree_string("HostModelIsObsolete"));
    tree_set(
        e, "message",
        tree_stringf("the host's CPU model %.64s is obsolete: VMs of the default host-model start "
                     "here all the same, none that names the model does",
                     model));
    tree_set(e, "count", tree_int(1));
    tree_set(e, "firstTimestamp", tree_string(now));
    tree_set(e, "lastTimestamp", tree_string(now));
    tree_set_path(e, tree_string("drover-handler"), "source", "component", NULL);
    tree_set_path(e, tree_string(h->cfg.node_name), "source", "host", NULL);
    writer_send(h->writer, NULL, "POST", "/api/v1/namespaces/default/events", "application/json", e,
                NULL, NULL);
}

static void
beat(void *ctx)
{
    struct handler *h = ctx;

    h->heartbeat = loop_timer_add(h->l, h->cfg.heartbeat_us, beat, h);
    write_node(h);
}

/* Creates the Node when it is not there, else renews labels and heartbeat by a patch. */
static void
write_node(struct handler *h)
{
    AUTO_TREE struct tree *obj = tree_map();
    AUTO_FREE char *path = xasprintf("/api/v1/nodes/%s", h->cfg.node_name);

    if (h->node_busy)
        return;
    h->node_busy = true;
    h->node_again = false;
    tree_set(obj, "metadata", metadata_of(h));
    writer_send(h->writer, NULL, "PATCH", path, NULL, obj, on_patched, h);
}

static void
on_patched(void *ctx, int status, const struct tree *body, const char *error)
{
    struct handler *h = ctx;

    h->node_busy = false;
    if (status == 404) {
        AUTO_TREE struct tree *obj = tree_map();

        tree_set(obj, "apiVersion", tree_string("v1"));
        tree_set(obj, "kind", tree_string("Node"));
        tree_set(obj, "metadata", metadata_of(h));
        tree_set_path(obj, tree_string(h->cfg.node_name), "metadata", "name", NULL);
        h->node_busy = true;
        h->node_written = false;
        writer_send(h->writer, NULL, "POST", "/api/v1/nodes", "application/json", obj, on_created,
                    h);
        return;
    }
    if (status < 200 || status >= 300) {
        log_warn("node.write", LI("status", status), LS("error", error));
        return;
    }
    h->node_written = true;
    if (body)
        node_labels_node(h->labels, body);
    write_status(h);
    if (h->node_again)
        write_node(h);
}

static void
on_created(void *ctx, int status, const struct tree *body, const char *error)
{
    struct handler *h = ctx;

    h->node_busy = false;
    if (status == 201 || status == 200) {
        h->node_written = true;
        if (body)
            node_labels_node(h->labels, body);
        tree_free(h->node_status);
        h->node_status = NULL;
        write_status(h);
    } else if (status != 409) {
        log_warn("node.create", LI("status", status), LS("error", error));
    }
}

/* Writes the status when it differs from what was written last. */
static void
write_status(struct handler *h)
{
    struct tree *status = status_of(h);
    AUTO_TREE struct tree *obj = tree_map();
    AUTO_FREE char *path = xasprintf("/api/v1/nodes/%s/status", h->cfg.node_name);

    if (h->node_status && tree_equal(status, h->node_status)) {
        tree_free(status);
        return;
    }
    tree_free(h->node_status);
    h->node_status = tree_copy(status);
    tree_set(obj, "status", status);
    writer_send(h->writer, "node-status", "PATCH", path, NULL, obj, on_status_written, h);
}

/* What was lost is said again with the next heartbeat. */
static void
on_status_written(void *ctx, int status, const struct tree *body, const char *error)
{
    struct handler *h = ctx;

    (void)body;
    (void)error;
    if (status == 200)
        return;
    tree_free(h->node_status);
    h->node_status = NULL;
}

/* Kubernetes' name of this machine's architecture, as Go has it; "" for others. */
static const char *
arch_name(void)
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"}, {"aarch64", "arm64"}, {"s390x", "s390x"}, {"ppc64le", "ppc64le"}};
    struct utsname u;

    if (uname(&u) < 0)
        return "";
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(u.machine, names[i][0]) == 0)
            return names[i][1];
    return "";
}

/* JSON, or null: without a network there is no annotation. */
static struct tree *
link_text(struct handler *h)
{
    AUTO_TREE struct tree *link = node_network_link(h);
    AUTO_SB struct sb json = SB_INIT;

    if (!link)
        return tree_null();
    tree_to_json(link, 0, &json);
    return tree_string(sb_str(&json));
}

static bool
ready(struct handler *h, enum hv_kind kind)
{
    struct hv_driver *d = h->drivers[kind];

    return d && d->ops->ready(d, NULL) == 0;
}

static struct tree *
metadata_of(struct handler *h)
{
    struct tree *meta = tree_map(), *labels = tree_map(), *annotations = tree_map();
    char now[40];

    time_format(loop_wall_us(h->l), false, now, sizeof now);
    tree_set(labels, LABEL_HOSTNAME, tree_string(h->cfg.node_name));
    if (*arch_name())
        tree_set(labels, LABEL_ARCH, tree_string(arch_name()));
    tree_set(labels, LABEL_SCHEDULABLE, tree_string("true"));
    if (ready(h, HV_LIBVIRT) && sysconf(_SC_NPROCESSORS_ONLN) > 1) /* one is never given away */
        tree_set(labels, LABEL_CPUMANAGER, tree_string("true"));
    for (size_t i = 0; i < h->cfg.labels.len; i++)
        tree_set(labels, h->cfg.labels.items[i].key, tree_string(h->cfg.labels.items[i].value));
    tree_set(labels, LABEL_HYPERVISOR_LIBVIRT,
             tree_string(ready(h, HV_LIBVIRT) ? "true" : "false"));
    tree_set(labels, LABEL_HYPERVISOR_NATIVE, tree_string(ready(h, HV_NATIVE) ? "true" : "false"));
    tree_set(annotations, ANN_HEARTBEAT, tree_string(now));
    tree_set(annotations, ANN_MIGRATION_LINK, link_text(h));
    tree_set(meta, "labels", labels);
    tree_set(meta, "annotations", annotations);
    return meta;
}

static void
add_condition(struct tree *list, const char *type, const char *status, const char *reason,
              const char *message)
{
    struct tree *c = tree_map();

    tree_set(c, "type", tree_string(type));
    tree_set(c, "status", tree_string(status));
    tree_set(c, "reason", tree_string(reason));
    tree_set(c, "message", tree_string(message));
    tree_append(list, c);
}

/* VMs under KVM can be started here. Native guests need none, so that without libvirt it says nothing. */
static bool
has_kvm_guests(struct handler *h)
{
    return ready(h, HV_LIBVIRT) && kvm_caps_usable();
}

static struct tree *
status_of(struct handler *h)
{
    struct tree *st = tree_map(), *cap = tree_map(), *addrs = tree_list(), *conds = tree_list();
    struct tree *a = tree_map();
    char buf[64];

    quantity_format_cpu(h->cfg.capacity_cpu_milli, buf, sizeof buf);
    tree_set(cap, "cpu", tree_string(buf));
    quantity_format_bytes(h->cfg.capacity_memory_bytes, buf, sizeof buf);
    tree_set(cap, "memory", tree_string(buf));
    tree_set(cap, "pods", tree_stringf("%lld", (long long)h->cfg.capacity_pods));
    /* null: taken away, where libvirt or KVM went */
    tree_set(cap, RESOURCE_KVM, has_kvm_guests(h) ? tree_string(KVM_GUESTS) : tree_null());
    tree_set(st, "allocatable", tree_copy(cap));
    tree_set(st, "capacity", cap);
    tree_set(a, "type", tree_string("InternalIP"));
    tree_set(a, "address", tree_string(h->cfg.address));
    tree_append(addrs, a);
    if (h->net.state == MIGNET_READY) {
        a = tree_map();
        tree_set(a, "type", tree_string("MigrationIP"));
        tree_set(a, "address", tree_string(h->net.ip));
        tree_append(addrs, a);
    }
    tree_set(st, "addresses", addrs);
    add_condition(conds, "Ready", "True", "HandlerReady", "drover-handler beats");
    add_condition(conds, COND_MIGRATION_NETWORK,
                  h->net.state == MIGNET_UNKNOWN  ? "Unknown"
                  : h->net.state == MIGNET_BROKEN ? "False"
                                                  : "True",
                  h->net.state == MIGNET_UNKNOWN ? "NotRead" : h->net.code,
                  h->net.state == MIGNET_UNKNOWN ? "the cluster's configuration was not read yet"
                                                 : h->net.reason);
    add_encryption(h, conds);
    add_rdma(h, conds);
    tree_set(st, "conditions", conds);
    return st;
}

int
node_tls(struct handler *h, const struct migration_configuration *mc, struct tls_ctx **ret,
         struct err *err)
{
    if (h->cfg.plaintext || (mc && mc->has_disable_tls && mc->disable_tls)) {
        *ret = NULL;
        return 0;
    }

    int rc = tls_dir_get(h->tls, ret, err);

    return rc ? err_prefix(err, rc, "encryption (node %s)", h->cfg.node_name) : 0;
}

/* The node's own side of it; that the cluster turned encryption off is said by each migration. */
static void
add_encryption(struct handler *h, struct tree *conds)
{
    struct tls_ctx *ctx = NULL;
    struct err err = {0};

    if (h->cfg.plaintext) {
        add_condition(conds, "MigrationEncryptionReady", "False", "PlaintextChosen",
                      "--insecure-plaintext: migrations of this node are not encrypted");
    } else if (tls_dir_get(h->tls, &ctx, &err) == 0) {
        AUTO_FREE char *msg =
            xasprintf("TLS 1.3, encrypted by %s; the certificate is good for %lld days",
                      tls_kernel_offers() ? "the kernel" : "OpenSSL",
                      (long long)(tls_ctx_left_s(ctx) / 86400));

        add_condition(conds, "MigrationEncryptionReady", "True", "CertificateReady", msg);
        tls_ctx_unref(ctx);
    } else {
        add_condition(conds, "MigrationEncryptionReady", "False",
                      err.code == -ENOENT && !h->cfg.tls_dir ? "NoCertificates"
                                                             : "CertificateUnusable",
                      err_msg(&err));
    }
}

static void
add_rdma(struct handler *h, struct tree *conds)
{
    struct node_rdma_condition c;

    node_rdma_say(node_rdma_facts(h->rdma), &c);
    add_condition(conds, COND_MIGRATION_RDMA, c.status, c.reason, c.message);
}

static void
on_rdma(void *ctx)
{
    struct handler *h = ctx;

    if (h->node_written)
        write_status(h);
}
