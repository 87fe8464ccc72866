/* What is read of a node, an occupant or a request, as bytes: two with the same bytes get the same
 * decision. Each text goes in with its length, each list with its number. */
#include <string.h>

#include "api/names.h"
#include "sched/fast_priv.h"
#include "sched/filter.h"
#include "sched/host_rule.h"

#define OUR_LABELS "kubevirt.io/" /* read by filters of ours, whoever asks */

static void put(struct sb *out, int64_t n);
static void put_text(struct sb *out, const char *s);
static void put_pairs(struct sb *out, const struct kv_list *l);
static void put_texts(struct sb *out, const struct str_list *l);
static void put_labels(struct sb *out, const struct kv_list *l, const struct strmap *keys);
static void put_requirements(struct sb *out, const struct requirement *r, size_t len);
static void put_selector(struct sb *out, const struct label_selector *s);
static void put_peer(struct sb *out, const struct pod_term *t);
static void put_peers(struct sb *out, const struct affinity *a);
static void put_node_term(struct sb *out, const struct node_term *t);
static void put_node_affinity(struct sb *out, const struct affinity *a);
static void put_spreads(struct sb *out, const struct spread *l, size_t len);
static void put_tolerations(struct sb *out, const struct toleration *l, size_t len);
static void put_resources(struct sb *out, const struct resource_list *l);
static void put_domain(struct sb *out, const struct vmi_domain *d);
static void put_vmi(const struct fast *f, const struct place_request *rq, struct sb *out);
static void put_pod(const struct pod *p, struct sb *out);
static bool selector_keys(struct strmap *keys, const struct label_selector *s);
static bool list_keys(struct strmap *keys, const struct str_list *l);
static bool one_key(struct strmap *keys, const char *key);

uint64_t
fast_hash(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = len * 0x9e3779b97f4a7c15u, w;

    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xd6e8feb86659fd93u;
        h ^= h >> 32;
    }
    w = 0;
    if (len > 0)
        memcpy(&w, p, len);
    h = (h ^ w) * 0xd6e8feb86659fd93u;
    return h ^ (h >> 29);
}

void
fast_sig_shape(const struct fast *f, const struct cluster_node *n, struct sb *out)
{
    const struct node *o = n->node;

    put(out, n->not_ready | n->no_network << 1 | n->cpu_labelled << 2 | o->unschedulable << 3 |
                 filter_heartbeat_missing(f->c, n) << 4);
    put_text(out, n->schedulable);
    put(out, (int64_t)o->taints_len);
    for (size_t i = 0; i < o->taints_len; i++) {
        put_text(out, o->taints[i].key);
        put_text(out, o->taints[i].value);
        put_text(out, o->taints[i].effect);
    }
    for (size_t i = 0; i < n->labels.len; i++) {
        const struct kv *kv = &n->labels.items[i];
        bool host = strcmp(kv->key, LABEL_HOSTNAME) == 0;

        if (!strstr(kv->key, OUR_LABELS) && !strmap_get(f->node_keys, kv->key))
            continue;
        put_text(out, kv->key);
        /* requests that name hosts treat those apart */
        put_text(out, host ? "" : kv->value);
    }
}

void
fast_sig_kind(const struct fast *f, const struct occupant *o, struct sb *out)
{
    put(out, o->terminating);
    put_text(out, o->ns);
    put_labels(out, o->labels, f->vm_keys);
    put_peers(out, o->affinity);
}

void
fast_sig_request(const struct fast *f, const struct place_request *rq, struct sb *out)
{
    put(out, (rq->pod != NULL) | (rq->purpose == PLACE_MIGRATE) << 1 | rq->needs_network << 2);
    put_text(out, rq->target);
    if (rq->added_node_selector)
        put_pairs(out, rq->added_node_selector);
    if (rq->pod)
        put_pod(rq->pod, out);
    else
        put_vmi(f, rq, out);
    if (f->kinds_on) {
        const struct meta *m = rq->pod ? &rq->pod->meta : &rq->vmi->meta;

        put_text(out, m->namespace_);
        put_labels(out, &m->labels, f->vm_keys);
    }
}

bool
fast_sig_has_peers(const struct affinity *a)
{
    return a->pod_required_len + a->pod_anti_required_len + a->pod_preferred_len +
               a->pod_anti_preferred_len >
           0;
}

bool
fast_sig_vm_keys(struct strmap *keys, const struct affinity *a, const struct spread *spreads,
                 size_t spreads_len)
{
    const struct pod_term *plain[] = {a->pod_required, a->pod_anti_required};
    const struct weighted_pod_term *weighted[] = {a->pod_preferred, a->pod_anti_preferred};
    size_t plain_len[] = {a->pod_required_len, a->pod_anti_required_len};
    size_t weighted_len[] = {a->pod_preferred_len, a->pod_anti_preferred_len};
    bool grew = false;

    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < plain_len[k] + weighted_len[k]; i++) {
            const struct pod_term *t =
                i < plain_len[k] ? &plain[k][i] : &weighted[k][i - plain_len[k]].term;

            grew |= selector_keys(keys, t->selector);
            grew |= list_keys(keys, &t->match_label_keys);
            grew |= list_keys(keys, &t->mismatch_label_keys);
        }
    }
    for (size_t i = 0; i < spreads_len; i++) {
        grew |= selector_keys(keys, spreads[i].selector);
        grew |= list_keys(keys, &spreads[i].match_label_keys);
    }
    return grew;
}

static bool
selector_keys(struct strmap *keys, const struct label_selector *s)
{
    bool grew = false;

    for (size_t i = 0; s && i < s->match_labels.len; i++)
        grew |= one_key(keys, s->match_labels.items[i].key);
    for (size_t i = 0; s && i < s->exprs_len; i++)
        grew |= one_key(keys, s->exprs[i].key);
    return grew;
}

static bool
list_keys(struct strmap *keys, const struct str_list *l)
{
    bool grew = false;

    for (size_t i = 0; i < l->len; i++)
        grew |= one_key(keys, l->items[i]);
    return grew;
}

static bool
one_key(struct strmap *keys, const char *key)
{
    if (!key || strmap_get(keys, key))
        return false;
    strmap_put(keys, key, keys);
    return true;
}

static void
put_vmi(const struct fast *f, const struct place_request *rq, struct sb *out)
{
    const struct vmi *v = rq->vmi;
    const struct vmi_spec *s = &v->spec;

    put_domain(out, &s->domain);
    put_pairs(out, &s->node_selector);
    put_node_affinity(out, &s->affinity);
    put_peers(out, &s->affinity);
    put_spreads(out, s->spreads, s->spreads_len);
    put_tolerations(out, s->tolerations, s->tolerations_len);
    put_text(out, s->scheduler_name);
    put_text(out, s->architecture);
    put_text(out, host_rule_hypervisor(v));
    put(out, v->status.tsc_frequency_hz);
    put(out, (int64_t)s->networks_len);
    for (size_t i = 0; i < s->networks_len; i++) {
        put(out, s->networks[i].pod);
        put_text(out, s->networks[i].multus_name);
        if (s->networks[i].multus_name) /* a name without a namespace is in its own */
            put_text(out, v->meta.namespace_);
    }
    if (rq->purpose == PLACE_MIGRATE) {
        const char *name = v->status.node_name;
        const struct cluster_node *source = cluster_find(f->c, name);

        /* what it brings from its source: its model and vendor */
        put(out, name && *name);
        put(out, source && source->node ? (int64_t)f->shapes[f->shape_of[source->row]].id : -1);
        for (size_t i = 0; i < v->meta.annotations.len; i++)
            if (strcmp(v->meta.annotations.items[i].key, PLACE_ANN_HOST_MODEL) == 0)
                put_text(out, v->meta.annotations.items[i].value);
    }
}

static void
put_pod(const struct pod *p, struct sb *out)
{
    const struct pod_container *lists[] = {p->containers, p->init_containers};
    const size_t lens[] = {p->containers_len, p->init_containers_len};

    for (size_t k = 0; k < 2; k++) {
        put(out, (int64_t)lens[k]);
        for (size_t i = 0; i < lens[k]; i++)
            put_resources(out, &lists[k][i].requests);
    }
    put_resources(out, &p->overhead);
    put_pairs(out, &p->node_selector);
    put_node_affinity(out, &p->affinity);
    put_peers(out, &p->affinity);
    put_spreads(out, p->spreads, p->spreads_len);
    put_tolerations(out, p->tolerations, p->tolerations_len);
    put_text(out, p->scheduler_name);
    put_texts(out, &p->gates);
}

static void
put_domain(struct sb *out, const struct vmi_domain *d)
{
    const struct vmi_cpu *cpu = &d->cpu;
    const struct vmi_device *devices[] = {d->gpus, d->host_devices};
    const size_t lens[] = {d->gpus_len, d->host_devices_len};

    put(out, cpu->cores);
    put(out, cpu->sockets);
    put(out, cpu->threads);
    put(out, cpu->dedicated_placement | cpu->isolate_emulator_thread << 1 |
                 cpu->numa_passthrough << 2 | cpu->realtime << 3 | d->has_autoattach_graphics << 4 |
                 d->autoattach_graphics << 5 | d->has_tpm << 6 | d->tpm_persistent << 7 |
                 d->sev << 8 | d->tdx << 9 | d->secure_execution << 10 | d->sev_es << 11 |
                 d->sev_snp << 12 | d->hyperv_reenlightenment << 13 | d->hyperv_passthrough << 14 |
                 d->hyperv_evmcs << 15 | d->hyperv_vpindex << 16 | d->hyperv_runtime << 17 |
                 d->hyperv_synic << 18 | d->hyperv_synictimer << 19 | d->hyperv_reset << 20 |
                 d->hyperv_tlbflush << 21 | d->hyperv_ipi << 22 | d->hyperv_frequencies << 23 |
                 d->guest_memory.set << 24);
    put_text(out, cpu->model);
    put(out, (int64_t)cpu->features_len);
    for (size_t i = 0; i < cpu->features_len; i++) {
        put_text(out, cpu->features[i].name);
        put_text(out, cpu->features[i].policy);
    }
    put(out, d->guest_memory.units);
    put_text(out, d->hugepages_size);
    put_resources(out, &d->requests);
    put_resources(out, &d->limits);
    put_text(out, d->machine_type);
    put(out, (int64_t)d->interfaces_len);
    for (size_t i = 0; i < d->interfaces_len; i++)
        put_text(out, d->interfaces[i].binding);
    for (size_t k = 0; k < 2; k++) {
        put(out, (int64_t)lens[k]);
        for (size_t i = 0; i < lens[k]; i++)
            put_text(out, devices[k][i].device_name);
    }
}

static void
put_peers(struct sb *out, const struct affinity *a)
{
    if (!fast_sig_has_peers(a)) {
        put(out, 0);
        return;
    }
    put(out, 1);
    put(out, (int64_t)a->pod_required_len);
    for (size_t i = 0; i < a->pod_required_len; i++)
        put_peer(out, &a->pod_required[i]);
    put(out, (int64_t)a->pod_anti_required_len);
    for (size_t i = 0; i < a->pod_anti_required_len; i++)
        put_peer(out, &a->pod_anti_required[i]);
    put(out, (int64_t)a->pod_preferred_len);
    for (size_t i = 0; i < a->pod_preferred_len; i++) {
        put(out, a->pod_preferred[i].weight);
        put_peer(out, &a->pod_preferred[i].term);
    }
    put(out, (int64_t)a->pod_anti_preferred_len);
    for (size_t i = 0; i < a->pod_anti_preferred_len; i++) {
        put(out, a->pod_anti_preferred[i].weight);
        put_peer(out, &a->pod_anti_preferred[i].term);
    }
}

static void
put_peer(struct sb *out, const struct pod_term *t)
{
    put_selector(out, t->selector);
    put_selector(out, t->namespace_selector);
    put_texts(out, &t->namespaces);
    put_text(out, t->topology_key);
    put_texts(out, &t->match_label_keys);
    put_texts(out, &t->mismatch_label_keys);
}

static void
put_selector(struct sb *out, const struct label_selector *s)
{
    put(out, s != NULL);
    if (!s)
        return;
    put_pairs(out, &s->match_labels);
    put_requirements(out, s->exprs, s->exprs_len);
}

static void
put_requirements(struct sb *out, const struct requirement *r, size_t len)
{
    put(out, (int64_t)len);
    for (size_t i = 0; i < len; i++) {
        put_text(out, r[i].key);
        put(out, r[i].op);
        put_texts(out, &r[i].values);
    }
}

static void
put_node_affinity(struct sb *out, const struct affinity *a)
{
    put(out, a->has_node_required);
    put(out, (int64_t)a->node_required_len);
    for (size_t i = 0; i < a->node_required_len; i++)
        put_node_term(out, &a->node_required[i]);
    put(out, (int64_t)a->node_preferred_len);
    for (size_t i = 0; i < a->node_preferred_len; i++) {
        put(out, a->node_preferred[i].weight);
        put_node_term(out, &a->node_preferred[i].preference);
    }
}

static void
put_node_term(struct sb *out, const struct node_term *t)
{
    put_requirements(out, t->exprs, t->exprs_len);
    put_requirements(out, t->fields, t->fields_len);
}

static void
put_spreads(struct sb *out, const struct spread *l, size_t len)
{
    put(out, (int64_t)len);
    for (size_t i = 0; i < len; i++) {
        put(out, l[i].max_skew);
        put(out, l[i].has_min_domains);
        put(out, l[i].min_domains);
        put_text(out, l[i].topology_key);
        put_text(out, l[i].when_unsatisfiable);
        put_selector(out, l[i].selector);
        put_text(out, l[i].node_affinity_policy);
        put_text(out, l[i].node_taints_policy);
        put_texts(out, &l[i].match_label_keys);
    }
}

static void
put_tolerations(struct sb *out, const struct toleration *l, size_t len)
{
    put(out, (int64_t)len);
    for (size_t i = 0; i < len; i++) {
        put_text(out, l[i].key);
        put_text(out, l[i].operator_);
        put_text(out, l[i].value);
        put_text(out, l[i].effect);
    }
}

static void
put_resources(struct sb *out, const struct resource_list *l)
{
    put(out, (int64_t)l->len);
    for (size_t i = 0; i < l->len; i++) {
        put_text(out, l->items[i].name);
        put(out, l->items[i].q.units);
        put(out, l->items[i].q.milli);
    }
}

static void
put_labels(struct sb *out, const struct kv_list *l, const struct strmap *keys)
{
    for (size_t i = 0; i < l->len; i++) {
        if (!strmap_get(keys, l->items[i].key))
            continue;
        put_text(out, l->items[i].key);
        put_text(out, l->items[i].value);
    }
    put(out, -1);
}

static void
put_pairs(struct sb *out, const struct kv_list *l)
{
    put(out, (int64_t)l->len);
    for (size_t i = 0; i < l->len; i++) {
        put_text(out, l->items[i].key);
        put_text(out, l->items[i].value);
    }
}

static void
put_texts(struct sb *out, const struct str_list *l)
{
    put(out, (int64_t)l->len);
    for (size_t i = 0; i < l->len; i++)
        put_text(out, l->items[i]);
}

static void
put_text(struct sb *out, const char *s)
{
    size_t len = s ? strlen(s) : 0;

    put(out, s ? (int64_t)len : -1);
    if (len > 0)
        sb_add(out, s, len);
}

/* Small numbers, which are most, in one byte. */
static void
put(struct sb *out, int64_t n)
{
    char buf[9];

    if (n >= -100 && n <= 100) {
        buf[0] = (char)n;
        sb_add(out, buf, 1);
        return;
    }
    buf[0] = 127;
    memcpy(buf + 1, &n, sizeof(n));
    sb_add(out, buf, sizeof(buf));
}
