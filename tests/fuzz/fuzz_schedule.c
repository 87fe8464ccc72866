/* Manifests in, decisions out. Every document of a YAML stream is decoded as it is, and once more only
 * where the API accepts it; from both a cluster is made, and everything that asks for a place or for a target
 * gets one. What must hold whatever the bytes: no crash, the same answer twice and from the fast engine,
 * an answer that agrees with itself, and a cluster that forgets a reservation as it took it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/object.h"
#include "sched/evict.h"
#include "sched/fast.h"
#include "sched/nearest.h"
#include "sched/place.h"
#include "sched/preempt.h"
#include "sched/profile.h"

#define OBJECTS_MAX 40 /* of one input; a decision costs nodes times neighbours */

struct item {
    enum kind kind;
    void *object;
};

struct run {
    struct arena *arena;
    struct cluster *cluster;
    struct fast *fast;
    struct item items[OBJECTS_MAX];
    size_t len;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static void run_all(struct tree *docs, bool check);
static void read_item(struct run *run, struct tree *doc, bool check);
static void add_settings(struct run *run);
static void add_item(struct run *run, const struct item *it);
static void place_item(struct run *run, const struct item *it);
static void change_item(struct run *run, const struct item *it);
static const struct vmi *find_vmi(const struct run *run, const struct vmim *m);
static void decide(struct run *run, const struct place_request *rq);
static void check_fast(struct run *run, const struct place_request *rq,
                       const struct place_result *want);
static void check_result(const struct place_result *r);
static void check_node(const struct place_result *r, const struct place_node *n);
static void check_same(const struct place_result *x, const struct place_result *y,
                       const char *what);
static bool same_texts(const struct str_list *x, const struct str_list *y);
static void reserve(struct run *run, const struct place_request *rq, const char *node);
static void must(bool holds, const char *what);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_TREE struct tree *docs = NULL;
    struct err err;

    if (tree_from_yaml("fuzz", (const char *)data, size, &docs, &err) != 0)
        return 0;
    run_all(docs, false);
    run_all(docs, true); /* last: the check changes the documents */
    return 0;
}

static void
run_all(struct tree *docs, bool check)
{
    struct run run = {.arena = arena_new(), .cluster = cluster_new()};

    for (size_t i = 0; i < tree_len(docs) && run.len < OBJECTS_MAX; i++)
        read_item(&run, tree_at(docs, i), check);
    cluster_set_heartbeat(run.cluster, INT64_C(1767225600) * 1000000, 300);
    add_settings(&run);
    run.fast = fast_new(run.cluster);
    for (size_t i = 0; i < run.len; i++)
        add_item(&run, &run.items[i]);
    for (size_t i = 0; i < run.len; i++)
        place_item(&run, &run.items[i]);
    for (size_t i = 0; i < run.len; i++)
        change_item(&run, &run.items[i]);
    fast_free(run.fast);
    cluster_free(run.cluster);
    arena_free(run.arena);
}

static void
read_item(struct run *run, struct tree *doc, bool check)
{
    const struct kind_info *k = object_kind(doc);
    struct field_errors errs = {.arena = run->arena};
    struct item *it = &run->items[run->len];
    void *object = NULL;

    if (!k || (check && object_validate(doc, VALIDATE_CREATE | VALIDATE_STATUS | VALIDATE_OFFLINE,
                                        &errs, NULL) != 0))
        return;
    switch (k->kind) {
    case KIND_VM: {
        const struct vm *vm = vm_decode(doc, run->arena);
        struct vmi *v = arena_alloc(run->arena, sizeof(*v));

        v->meta = vm->meta;
        v->spec = vm->spec;
        object = v;
        break;
    }
    case KIND_VMI:
        object = vmi_decode(doc, run->arena);
        break;
    case KIND_VMIM:
        object = vmim_decode(doc, run->arena);
        break;
    case KIND_POD:
        object = pod_decode(doc, run->arena);
        break;
    case KIND_NODE:
        object = node_decode(doc, run->arena);
        break;
    case KIND_NAMESPACE:
        object = namespace_decode(doc, run->arena);
        break;
    case KIND_HCO:
        object = hco_decode(doc, run->arena);
        break;
    case KIND_NAD:
        object = nad_decode(doc, run->arena);
        break;
    case KIND_PVC:
        object = pvc_decode(doc, run->arena);
        break;
    case KIND_PV:
        object = pv_decode(doc, run->arena);
        break;
    case KIND_STORAGE_CLASS:
        object = storage_class_decode(doc, run->arena);
        break;
    case KIND_PRIORITY:
        object = priority_class_decode(doc, run->arena);
        break;
    case KIND_PDB:
        object = pdb_decode(doc, run->arena);
        break;
    case KIND_SCHED_CONFIG:
        object = sched_config_decode(doc, run->arena);
        break;
    default:
        return;
    }
    *it = (struct item){.kind = k->kind, .object = object};
    run->len++;
}

/* What must be known before anything is added. */
static void
add_settings(struct run *run)
{
    for (size_t i = 0; i < run->len; i++) {
        if (run->items[i].kind == KIND_HCO)
            cluster_set_hco(run->cluster, run->items[i].object);
        else if (run->items[i].kind == KIND_SCHED_CONFIG)
            cluster_set_profile(run->cluster, profile_compile(run->items[i].object, run->arena));
        else if (run->items[i].kind == KIND_PRIORITY)
            cluster_add_priority_class(run->cluster, run->items[i].object);
        else if (run->items[i].kind == KIND_PDB)
            cluster_add_pdb(run->cluster, run->items[i].object);
        else if (run->items[i].kind == KIND_NAD)
            cluster_add_nad(run->cluster, run->items[i].object);
        else if (run->items[i].kind == KIND_PVC)
            cluster_add_pvc(run->cluster, run->items[i].object);
        else if (run->items[i].kind == KIND_PV)
            cluster_add_pv(run->cluster, run->items[i].object);
        else if (run->items[i].kind == KIND_STORAGE_CLASS)
            cluster_add_storage_class(run->cluster, run->items[i].object);
    }
}

static void
add_item(struct run *run, const struct item *it)
{
    switch (it->kind) {
    case KIND_NODE:
        cluster_add_node(run->cluster, it->object);
        break;
    case KIND_NAMESPACE:
        cluster_add_namespace(run->cluster, it->object);
        break;
    case KIND_VMI:
        cluster_add_vmi(run->cluster, it->object);
        break;
    case KIND_POD:
        cluster_add_pod(run->cluster, it->object);
        break;
    default:
        break;
    }
}

static void
place_item(struct run *run, const struct item *it)
{
    struct place_request rq = {.purpose = PLACE_START};

    if (it->kind == KIND_VM || it->kind == KIND_VMI) {
        rq.vmi = it->object;
        vmi_migratable(rq.vmi, NULL, 0, run->arena);
        decide(run, &rq);
        rq.purpose = PLACE_MIGRATE;
        decide(run, &rq);
    } else if (it->kind == KIND_POD) {
        rq.pod = it->object;
        decide(run, &rq);
    } else if (it->kind == KIND_VMIM) {
        const struct vmim *m = it->object;

        rq.purpose = PLACE_MIGRATE;
        rq.vmi = find_vmi(run, m);
        rq.added_node_selector = &m->added_node_selector;
        rq.target = m->phase; /* any text will do: mostly no node's name */
        decide(run, &rq);
        rq.target = NULL;
        decide(run, &rq);
    }
}

/* The same again, then gone, then back: what is left must still be a cluster. */
static void
change_item(struct run *run, const struct item *it)
{
    const struct meta *m;

    switch (it->kind) {
    case KIND_NODE:
        m = &((const struct node *)it->object)->meta;
        cluster_update_node(run->cluster, it->object);
        cluster_remove_node(run->cluster, m->name);
        cluster_update_node(run->cluster, it->object);
        break;
    case KIND_NAMESPACE:
        m = &((const struct namespace_ *)it->object)->meta;
        cluster_update_namespace(run->cluster, it->object);
        cluster_remove_namespace(run->cluster, m->name);
        break;
    case KIND_VMI:
        m = &((const struct vmi *)it->object)->meta;
        cluster_update_vmi(run->cluster, it->object);
        place_item(run, it);
        cluster_remove_vmi(run->cluster, m->namespace_, m->name);
        break;
    case KIND_POD:
        m = &((const struct pod *)it->object)->meta;
        cluster_update_pod(run->cluster, it->object);
        place_item(run, it);
        cluster_remove_pod(run->cluster, m->namespace_, m->name);
        break;
    default:
        break;
    }
}

/* NULL is as good: place() has to bear it. */
static const struct vmi *
find_vmi(const struct run *run, const struct vmim *m)
{
    for (size_t i = 0; i < run->len; i++) {
        const struct vmi *v = run->items[i].object;

        if (run->items[i].kind == KIND_VMI && m->vmi_name && v->meta.name &&
            strcmp(v->meta.name, m->vmi_name) == 0)
            return v;
    }
    return NULL;
}

static void
decide(struct run *run, const struct place_request *rq)
{
    struct place_result *r = place(run->cluster, rq), *again = place(run->cluster, rq);

    check_result(r);
    check_same(r, again, "asked twice");
    place_result_free(again);
    check_fast(run, rq, r);
    if (!r->node && (rq->vmi || rq->pod)) {
        struct preempt_result p = preempt(run->cluster, rq, run->arena);

        nearest_miss(run->cluster, rq, r, run->arena);
        must(p.node ? p.victims_len > 0 && !*p.message : p.victims_len == 0, "victims");
        again = place(run->cluster, rq);
        check_same(r, again, "asked after preempt()");
        place_result_free(again);
    }
    if (r->node)
        reserve(run, rq, r->node);
    place_result_free(r);
}

static void
check_fast(struct run *run, const struct place_request *rq, const struct place_result *want)
{
    struct fast_decision got;
    size_t fits = 0;

    fast_place(run->fast, rq, &got);
    must(!got.node == !want->node && (!got.node || strcmp(got.node, want->node) == 0),
         "the fast engine's node");
    if (strcmp(got.message, want->message) != 0)
        fprintf(stderr, "fast:  %s\nplace: %s\n", got.message, want->message);
    must(strcmp(got.message, want->message) == 0, "the fast engine's message");
    must(got.best_len == want->best.len, "the fast engine's best");
    for (size_t i = 0; i < want->nodes_len; i++) {
        const struct place_node *n = &want->nodes[i];

        fits += n->fits;
        if (got.node && strcmp(n->name, got.node) == 0)
            must(n->total == got.total && n->score == got.score, "the fast engine's total");
    }
    must(got.fits_len == fits, "how many fit, says the fast engine");
}

static void
check_result(const struct place_result *r)
{
    bool best = false;

    must(r->node ? !*r->message : *r->message != '\0', "node and message");
    for (size_t i = 0; i < r->nodes_len; i++)
        check_node(r, &r->nodes[i]);
    for (size_t i = 0; i < r->best.len; i++)
        best = best || strcmp(r->best.items[i], r->node) == 0;
    must(best == (r->node != NULL), "the node is one of the best");
}

static void
check_node(const struct place_result *r, const struct place_node *n)
{
    must(n->fits == (n->reasons.len == 0), "reasons");
    must(!n->fits || r->node, "fits, but nowhere");
    must(n->score >= 0 && n->score <= 100, "score");
    for (size_t p = 0; p < n->scores_len; p++)
        must(n->scores[p].score >= 0 && n->scores[p].score <= 100, n->scores[p].plugin);
}

static void
check_same(const struct place_result *x, const struct place_result *y, const char *what)
{
    must(!x->node == !y->node && (!x->node || strcmp(x->node, y->node) == 0), what);
    must(strcmp(x->message, y->message) == 0, what);
    must(x->nodes_len == y->nodes_len && same_texts(&x->best, &y->best), what);
    for (size_t i = 0; i < x->nodes_len; i++)
        must(x->nodes[i].fits == y->nodes[i].fits && x->nodes[i].total == y->nodes[i].total &&
                 same_texts(&x->nodes[i].reasons, &y->nodes[i].reasons),
             what);
}

static bool
same_texts(const struct str_list *x, const struct str_list *y)
{
    if (x->len != y->len)
        return false;
    for (size_t i = 0; i < x->len; i++)
        if (strcmp(x->items[i], y->items[i]) != 0)
            return false;
    return true;
}

/* Takes the room, gives it back, asks again, and takes it. */
static void
reserve(struct run *run, const struct place_request *rq, const char *node)
{
    const struct meta *m = rq->vmi ? &rq->vmi->meta : &rq->pod->meta;
    struct place_result *before = place(run->cluster, rq), *after;

    if (rq->vmi) {
        cluster_reserve(run->cluster, rq->vmi, node);
        cluster_unreserve(run->cluster, m->namespace_, m->name, node);
        after = place(run->cluster, rq);
        check_same(before, after, "reserved and not");
        check_fast(run, rq, after);
        place_result_free(after);
        cluster_reserve(run->cluster, rq->vmi, node);
    } else {
        cluster_reserve_pod(run->cluster, rq->pod, node);
    }
    place_result_free(before);
}

static void
must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}
