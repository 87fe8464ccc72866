/* fast_place(): the request's class, brought up to date; what the newcomer itself has there
 * taken out; the best group; all put back. See fast.h and fast_priv.h. */
#include "sched/fast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sched/fast_priv.h"
#include "sched/profile.h"
#include "sched/score.h"

static void on_node(void *arg, struct cluster_node *n);
static void on_gone(void *arg, struct cluster_node *n);
static void on_came(void *arg, struct occupant *o);
static void on_leaves(void *arg, struct occupant *o);
static void on_left(void *arg, struct cluster_node *n);
static void on_relations(void *arg);
static void on_settings(void *arg);
static void read_profile(struct fast *f);
static void meet(struct fast *f, const struct place_request *rq);
static bool decide_by_class(struct fast_ask *ask, struct fast_decision *ret);
static void plainly(struct fast *f, const struct place_request *rq, struct fast_decision *ret);

static const struct cluster_watch watch = {
    .node = on_node,
    .gone = on_gone,
    .came = on_came,
    .leaves = on_leaves,
    .left = on_left,
    .relations = on_relations,
    .settings = on_settings,
};

struct fast *
fast_new(struct cluster *c)
{
    struct fast *f = xcalloc(1, sizeof(*f));

    f->c = c;
    fast_rows_init(f);
    fast_kinds_init(f);
    read_profile(f);
    cluster_set_watch(c, &watch, f);
    return f;
}

void
fast_free(struct fast *f)
{
    if (!f)
        return;
    cluster_set_watch(f->c, NULL, NULL);
    fast_classes_done(f);
    fast_kinds_done(f);
    fast_rows_done(f);
    sb_done(&f->sig);
    sb_done(&f->message);
    sb_done(&f->scratch);
    place_result_free(f->plain);
    free(f);
}

void
fast_place(struct fast *f, const struct place_request *rq, struct fast_decision *ret)
{
    struct fast_ask ask = {.f = f, .rq = rq};

    place_result_free(f->plain);
    f->plain = NULL;
    f->last = NULL;
    *ret = (struct fast_decision){.message = ""};
    if (f->plain_profile || (!rq->vmi && !rq->pod) || request_is_special(f->c, rq)) {
        plainly(f, rq, ret);
        return;
    }
    fast_rows_refresh(f);
    meet(f, rq);
    fast_kinds_refresh(f);
    if (!decide_by_class(&ask, ret))
        plainly(f, rq, ret);
    if (ask.arena) {
        request_done(&ask.r);
        arena_free(ask.arena);
    }
}

size_t
fast_best(const struct fast *f, const char **out, size_t max)
{
    const struct fast_class *k = f->last;
    size_t len = 0;

    if (f->plain) {
        for (size_t i = 0; i < f->plain->best.len && len < max; i++)
            out[len++] = cluster_find(f->c, f->plain->best.items[i])->name;
        if (len > 1)
            qsort(out, len, sizeof(*out), text_compare);
        return len;
    }
    for (size_t row = 0; k && row < f->rows_len && len < max; row++) {
        uint8_t gid = k->gid[row];

        if (gid != FAST_NO_GROUP && f->group_total[gid] == f->last_total &&
            k->leaf[row] == k->groups[gid].most)
            out[len++] = f->nodes[row]->name;
    }
    if (f->c->seed && len > 1)
        qsort(out, len, sizeof(*out), text_compare);
    return len;
}

void
fast_scores(const struct fast *f, const struct place_request *rq, int64_t ret[PLACE_PLUGINS])
{
    const struct profile *p = f->c->profile;

    memset(ret, 0, PLACE_PLUGINS * sizeof(*ret));
    for (size_t i = 0; f->plain && i < f->plain->nodes_len; i++) {
        const struct place_node *n = &f->plain->nodes[i];

        if (!f->plain->node || strcmp(n->name, f->plain->node) != 0)
            continue;
        for (size_t s = 0; s < n->scores_len; s++)
            for (size_t j = 0; j < PLACE_PLUGINS; j++)
                if (strcmp(profile_plugin_name((enum place_plugin)j), n->scores[s].plugin) == 0)
                    ret[j] = n->scores[s].score;
    }
    if (f->plain || !f->last)
        return;

    const struct meta *m = rq->pod ? &rq->pod->meta : &rq->vmi->meta;
    const struct cluster_node *n = f->nodes[f->last_row];
    const struct occupant *here = cluster_occupant_on(
        cluster_occupants_of(f->c, rq->pod != NULL, m->namespace_ ? m->namespace_ : "",
                             m->name ? m->name : ""),
        n);
    const struct need *own = here ? &here->need : NULL;

    memcpy(ret, f->last_scores, sizeof(f->last_scores));
    ret[PLACE_FIT] = score_fit(p, &f->last->need, own, &n->room);
    ret[PLACE_BALANCED] = score_balanced(p, &f->last->need, own, &n->room);
    for (size_t j = 0; j < PLACE_PLUGINS; j++)
        if (p->weights[j] == 0)
            ret[j] = 0;
}

uint64_t
fast_plain(const struct fast *f)
{
    return f->plain_len;
}

size_t
fast_bytes(const struct fast *f)
{
    size_t bytes = sizeof(*f) + fast_rows_bytes(f) + f->kinds_cap * sizeof(*f->kinds);

    for (size_t i = 0; i < f->kinds_len; i++)
        bytes += f->kinds[i].len;
    for (const struct fast_class *k = f->newest; k; k = k->older)
        bytes += fast_class_bytes(f, k);
    return bytes;
}

static void
on_node(void *arg, struct cluster_node *n)
{
    fast_rows_node(arg, n);
}

static void
on_gone(void *arg, struct cluster_node *n)
{
    fast_rows_gone(arg, n);
}

static void
on_came(void *arg, struct occupant *o)
{
    struct fast *f = arg;

    fast_kinds_came(f, o);
    if (f->rows_stale || o->node->row == CLUSTER_NO_ROW)
        return;
    fast_rows_touch(f, o->node->row);
    fast_event(f, (struct fast_event){.row = o->node->row, .kind = o->kind, .by = 1});
}

static void
on_leaves(void *arg, struct occupant *o)
{
    struct fast *f = arg;

    if (!f->rows_stale && o->node->row != CLUSTER_NO_ROW)
        fast_event(f, (struct fast_event){.row = o->node->row, .kind = o->kind, .by = -1});
    fast_kinds_leaves(f, o);
}

static void
on_left(void *arg, struct cluster_node *n)
{
    struct fast *f = arg;

    if (!f->rows_stale && n->row != CLUSTER_NO_ROW)
        fast_rows_touch(f, n->row);
}

static void
on_relations(void *arg)
{
    struct fast *f = arg;

    f->epoch++;
}

static void
on_settings(void *arg)
{
    struct fast *f = arg;

    f->rows_stale = true;
    read_profile(f);
}

static void
read_profile(struct fast *f)
{
    const struct profile *p = f->c->profile;
    bool usual[2] = {false, false};

    f->plain_profile = 100 * (p->weights[PLACE_FIT] + p->weights[PLACE_BALANCED]) > FAST_MAX_SCORE;
    for (int balanced = 0; balanced < 2; balanced++) {
        const struct profile_resource *l = balanced ? p->balanced : p->fit;
        size_t len = balanced ? p->balanced_len : p->fit_len;

        usual[balanced] = len == 2 && l[0].kind + l[1].kind == PROFILE_CPU + PROFILE_MEMORY &&
                          l[0].kind != l[1].kind && l[0].weight == l[1].weight;
    }
    f->vector_scores = usual[0] && usual[1] && p->strategy == PROFILE_LEAST;
}

/* Rules between VMs that come with the request: then what runs is told apart, by all that they
 * read. */
static void
meet(struct fast *f, const struct place_request *rq)
{
    const struct affinity *a = rq->pod ? &rq->pod->affinity : &rq->vmi->spec.affinity;
    const struct affinity *all = f->c->hco && !rq->pod ? &f->c->hco->workloads.affinity : NULL;
    const struct spread *l = rq->pod ? rq->pod->spreads : rq->vmi->spec.spreads;
    size_t len = rq->pod ? rq->pod->spreads_len : rq->vmi->spec.spreads_len;

    if (all && !fast_sig_has_peers(all))
        all = NULL;
    if (len == 0 && !fast_sig_has_peers(a) && !all)
        return;
    if (!f->kinds_on)
        f->kinds_on = f->kinds_stale = true;
    if (fast_sig_vm_keys(f->vm_keys, a, l, len))
        f->kinds_stale = true;
    if (all && fast_sig_vm_keys(f->vm_keys, all, NULL, 0))
        f->kinds_stale = true;
}

/* False: place() must do it. */
static bool
decide_by_class(struct fast_ask *ask, struct fast_decision *ret)
{
    struct fast *f = ask->f;
    struct fast_class *k = fast_class_get(ask);
    const struct place_request *rq = ask->rq;
    const struct meta *m = rq->pod ? &rq->pod->meta : &rq->vmi->meta;
    const char *ns = m->namespace_ ? m->namespace_ : "", *name = m->name ? m->name : "";
    const struct cluster_node *source = NULL;
    const struct occupant *self;

    if (k->why) {
        sb_reset(&f->message);
        sb_puts(&f->message, k->why);
        ret->message = sb_str(&f->message);
        return true;
    }
    if (f->c->nodes_len == 0) {
        ret->message = "no nodes available to schedule pods";
        return true;
    }
    if (k->plain || (k->migrate && k->pinned))
        return false;
    self = cluster_occupants_of(f->c, rq->pod != NULL, ns, name);
    if (k->migrate)
        source = cluster_find(f->c, rq->vmi->status.node_name);
    if (source && source->row == CLUSTER_NO_ROW)
        source = NULL;
    for (const struct occupant *o = self; o; o = o->elsewhere)
        fast_class_count(k, ask, o->node->row, o->kind, -1);
    fast_class_settle(k, ask);
    for (const struct occupant *o = self; o; o = o->elsewhere) {
        if (o->node->row == CLUSTER_NO_ROW)
            continue;
        fast_class_row(k, ask, o->node->row, o);
        fast_class_undo(k, (struct fast_event){.row = o->node->row, .kind = o->kind, .by = 1});
    }
    if (source) {
        fast_class_refuse(k, ask, source->row);
        fast_class_undo(k, (struct fast_event){.row = source->row, .kind = FAST_NONE});
    }
    if (k->plain)
        return false;
    fast_decide(f, k, ret);
    f->last = k;
    return true;
}

static void
plainly(struct fast *f, const struct place_request *rq, struct fast_decision *ret)
{
    const struct place_result *r = f->plain = place(f->c, rq);

    f->plain_len++;
    *ret = (struct fast_decision){.message = r->message, .best_len = r->best.len};
    for (size_t i = 0; i < r->nodes_len; i++) {
        const struct place_node *n = &r->nodes[i];

        ret->fits_len += n->fits;
        if (!r->node || strcmp(n->name, r->node) != 0)
            continue;
        ret->node = cluster_find(f->c, n->name)->name;
        ret->total = n->total;
        ret->score = n->score;
    }
}
