/* Compiles a placement request; see request.h. */
#include "sched/request.h"

#include <string.h>

#include "api/names.h"
#include "sched/attach.h"
#include "sched/filter.h"
#include "sched/profile.h"
#include "sched/workload.h"

static const char *compile(struct request *r, const struct cluster *c,
                           const struct place_request *rq, struct arena *a, bool alone);
static const char *compile_vm(struct request *r, const struct place_request *rq);
static const char *compile_pod(struct request *r, const struct pod *p);
static bool is_ours(const struct request *r, const char *name);
static const char *other_scheduler(const char *name, struct arena *a);
static const char *gates_text(const struct str_list *gates, struct arena *a);

const char *
request_compile(struct request *r, const struct cluster *c, const struct place_request *rq,
                struct arena *a)
{
    return compile(r, c, rq, a, false);
}

const char *
request_compile_alone(struct request *r, const struct cluster *c, const struct place_request *rq,
                      struct arena *a)
{
    return compile(r, c, rq, a, true);
}

bool
request_is_special(const struct cluster *c, const struct place_request *rq)
{
    const struct vmi_spec *s = rq->vmi && !rq->pod ? &rq->vmi->spec : NULL;
    size_t spreads_len = s ? s->spreads_len : rq->pod ? rq->pod->spreads_len : 0;

    if (spreads_len == 0 && c->profile->default_constraints_len > 0 && (s || rq->pod) &&
        spread_set_of(s ? &rq->vmi->meta : &rq->pod->meta))
        return true;
    if (!s)
        return false;
    /* the frequency that a VM starts with depends on all nodes and who runs there, until it is noted */
    return rq->force || s->domain.cpu.numa_passthrough ||
           (host_rule_wants_tsc(&s->domain) && rq->purpose == PLACE_START &&
            rq->vmi->status.tsc_frequency_hz <= 0) ||
           volumes_matter(c, rq->vmi);
}

void
request_done(struct request *r)
{
    peers_free(r->peers);
    spread_free(r->spread);
    r->peers = NULL;
    r->spread = NULL;
}

bool
request_selects(const struct request *r, const struct cluster_node *n)
{
    struct str_list reasons = {0};

    if (!node_terms_match(&r->nodes, &n->labels, n->name))
        return false;
    if (!r->is_vm)
        return true;
    filter_handler(r, n, &reasons);
    return reasons.len == 0 && node_terms_match(&r->workload, &n->labels, n->name) &&
           cpu_rule_check(&r->cpu, n, r->arena, &reasons) == 0 &&
           host_rule_check(&r->host, n, r->arena, &reasons) == 0;
}

static const char *
compile(struct request *r, const struct cluster *c, const struct place_request *rq, struct arena *a,
        bool alone)
{
    const struct affinity *affinity;
    struct affinity *both;
    const struct spread *spreads;
    size_t spreads_len;
    const char *why;

    *r = (struct request){
        .c = c, .arena = a, .target = rq->target, .is_vm = rq->pod == NULL, .alone = alone};
    if (!rq->vmi && !rq->pod)
        return "nothing to place";
    why = rq->pod ? compile_pod(r, rq->pod) : compile_vm(r, rq);
    if (why)
        return why;
    r->self = cluster_occupants_of(c, !r->is_vm, r->ns, r->name);
    affinity = rq->pod ? &rq->pod->affinity : &rq->vmi->spec.affinity;
    spreads = rq->pod ? rq->pod->spreads : rq->vmi->spec.spreads;
    spreads_len = rq->pod ? rq->pod->spreads_len : rq->vmi->spec.spreads_len;
    r->nodes = node_terms_compile(rq->pod ? &rq->pod->node_selector : &rq->vmi->spec.node_selector,
                                  rq->added_node_selector, affinity, a);
    r->enforced = node_terms_compile(NULL, NULL, c->profile->added_affinity, a);
    node_terms_preferred(affinity, a, &r->preferred);
    node_terms_preferred(c->profile->added_affinity, a, &r->preferred);
    r->peers = peers_new(r, r->is_vm ? workload_affinity(c->hco, affinity, a, &both) : affinity);
    r->set = spread_set_of(rq->pod ? &rq->pod->meta : &rq->vmi->meta);
    r->spread = spread_new(r, spreads, spreads_len);
    return NULL;
}

static const char *
compile_vm(struct request *r, const struct place_request *rq)
{
    const struct vmi *v = rq->vmi;
    const struct hco *hco = r->c->hco;

    r->ns = v->meta.namespace_ ? v->meta.namespace_ : "";
    r->name = v->meta.name ? v->meta.name : "";
    r->labels = &v->meta.labels;
    r->tolerations = (struct tolerations){v->spec.tolerations, v->spec.tolerations_len};
    r->vmi = v;
    r->migrate = rq->purpose == PLACE_MIGRATE;
    r->forced = rq->force && rq->target;
    r->needs_network = r->migrate && rq->needs_network;
    if (!is_ours(r, v->spec.scheduler_name))
        return other_scheduler(v->spec.scheduler_name, r->arena);
    if (r->migrate) {
        r->source_name = v->status.node_name;
        if (!r->source_name || !*r->source_name)
            return "the VMI runs on no node: there is nothing to migrate";
        r->source = cluster_find(r->c, r->source_name);
        if (r->source && !r->source->node)
            r->source = NULL;
    }
    r->need = need_of_vmi(&v->spec, cluster_cpu_ratio(r->c), r->arena);
    need_add_cpu(&r->need, vmi_align_milli(&v->spec, hco));
    attach_network_needs(r->c, v, &r->need, r->arena);
    r->cpu = cpu_rule_compile(v, hco, r->migrate, r->source, r->arena);
    r->host = host_rule_compile(r->c, v, r->migrate, r->source, r->arena);
    r->volumes = volumes_compile(r->c, v, r->arena);
    r->workload = node_terms_compile(hco ? &hco->workloads.node_selector : NULL, NULL,
                                     hco ? &hco->workloads.affinity : NULL, r->arena);
    if (hco)
        node_terms_preferred(&hco->workloads.affinity, r->arena, &r->preferred);
    return NULL;
}

static const char *
compile_pod(struct request *r, const struct pod *p)
{
    r->ns = p->meta.namespace_ ? p->meta.namespace_ : "";
    r->name = p->meta.name ? p->meta.name : "";
    r->labels = &p->meta.labels;
    r->tolerations = (struct tolerations){p->tolerations, p->tolerations_len};
    if (!is_ours(r, p->scheduler_name))
        return other_scheduler(p->scheduler_name, r->arena);
    if (p->gates.len > 0)
        return gates_text(&p->gates, r->arena);
    r->need = need_of_pod(p, r->arena);
    return NULL;
}

static bool
is_ours(const struct request *r, const char *name)
{
    const char *own = r->c->profile->scheduler_name;

    return !name || strcmp(name, SCHEDULER_NAME) == 0 || strcmp(name, "default-scheduler") == 0 ||
           (own && strcmp(name, own) == 0);
}

static const char *
other_scheduler(const char *name, struct arena *a)
{
    return arena_printf(a, "waiting for scheduler %s: this is " SCHEDULER_NAME, name);
}

static const char *
gates_text(const struct str_list *gates, struct arena *a)
{
    const char *text = "waiting for scheduling gates: [";

    for (size_t i = 0; i < gates->len; i++)
        text = arena_printf(a, "%s%s%s", text, i > 0 ? " " : "", gates->items[i]);
    return arena_printf(a, "%s]", text);
}
