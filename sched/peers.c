/* Inter-VM affinity; see peers.h. "Peer": another VM or Pod that is on a node already. */
#include "sched/peers.h"

#include <string.h>

#include "api/selector.h"
#include "base/sb.h"
#include "sched/profile.h"
#include "sched/request.h"
#include "sched/topo.h"

/* Who wrote the term: its namespace is the default, its labels fill matchLabelKeys. */
struct author {
    const char *ns;
    const struct kv_list *labels;
};

struct peers {
    const struct request *r;
    const struct affinity *affinity; /* never NULL */
    struct author me;
    struct topo *wanted;  /* peers that match all required affinity terms */
    int64_t wanted_sum;   /* of all its counters */
    struct topo *avoided; /* peers that match a required anti-affinity term */
    struct topo *guarded; /* peers whose required anti-affinity matches the newcomer */
    struct topo *scores;
    bool scored; /* false: the profile passes over what peers prefer, and it prefers nothing */
    struct peers_shares *shares; /* where shares go instead, or NULL */
};

static void count_peer(struct peers *p, const struct occupant *o, const struct node_labels *at,
                       int64_t by);
static void add(struct peers *p, enum peers_what what, const char *key,
                const struct node_labels *at, int64_t n);
static void score_peer(struct peers *p, const struct occupant *o, const struct node_labels *at);
static bool stands_in_the_way(const struct peers *p, const struct occupant *o,
                              const struct cluster_node *at, const struct cluster_node *n,
                              struct peers_blame *ret);
static bool same_domain(const struct cluster_node *x, const struct cluster_node *y,
                        const char *key);
static bool wanted_here(const struct peers *p, const struct cluster_node *n);
static bool avoided_here(const struct peers *p, const struct cluster_node *n);
static bool matches_all(const struct peers *p, const char *ns, const struct kv_list *labels);
static bool term_matches(const struct peers *p, const struct pod_term *t, const struct author *by,
                         const char *ns, const struct kv_list *labels);
static bool in_namespace(const struct peers *p, const struct pod_term *t, const struct author *by,
                         const char *ns);
static int64_t weight_of(const struct weighted_pod_term *w);
static bool is_self(const struct request *r, const struct occupant *o);

struct peers *
peers_new(const struct request *r, const struct affinity *affinity)
{
    static const struct affinity none;
    struct peers *p = xcalloc(1, sizeof(*p));

    *p = (struct peers){
        .r = r,
        .affinity = affinity ? affinity : &none,
        .me = {.ns = r->ns, .labels = r->labels},
        .wanted = topo_new(),
        .avoided = topo_new(),
        .guarded = topo_new(),
        .scores = topo_new(),
    };
    p->scored = !r->c->profile->ignore_preferred_terms_of_existing ||
                p->affinity->pod_preferred_len > 0 || p->affinity->pod_anti_preferred_len > 0;
    for (size_t i = 0; !r->alone && i < r->c->nodes_len; i++) {
        const struct cluster_node *n = r->c->nodes[i];

        for (const struct occupant *o = n->occupants; o; o = o->next) {
            if (is_self(r, o))
                continue;
            count_peer(p, o, &n->labels, 1);
            if (p->scored)
                score_peer(p, o, &n->labels);
        }
    }
    return p;
}

void
peers_free(struct peers *p)
{
    if (!p)
        return;
    topo_free(p->wanted);
    topo_free(p->avoided);
    topo_free(p->guarded);
    topo_free(p->scores);
    free(p);
}

const char *
peers_check(const struct peers *p, const struct cluster_node *n)
{
    if (!wanted_here(p, n))
        return PEERS_NOT_NEAR;
    if (avoided_here(p, n))
        return "node(s) didn't match pod anti-affinity rules";
    if (topo_any(p->guarded, &n->labels))
        return "node(s) didn't satisfy existing pods anti-affinity rules";
    return NULL;
}

void
peers_shift(struct peers *p, const struct cluster_node *n, const struct occupant *o, int64_t by)
{
    count_peer(p, o, &n->labels, by);
}

void
peers_shares(struct peers *p, const struct occupant *o, struct peers_shares *ret)
{
    p->shares = ret;
    count_peer(p, o, NULL, 1);
    if (p->scored)
        score_peer(p, o, NULL);
    p->shares = NULL;
}

bool
peers_near_itself(const struct peers *p)
{
    return matches_all(p, p->me.ns, p->me.labels);
}

struct peers_blame
peers_blame(const struct peers *p, const struct cluster_node *n)
{
    const struct affinity *mine = p->affinity;
    struct peers_blame b = {.what = PEERS_WANTED};

    if (!wanted_here(p, n)) {
        for (size_t i = 0; i < mine->pod_required_len; i++) {
            const char *key = mine->pod_required[i].topology_key;

            b.term = &mine->pod_required[i];
            if (!key || topo_get(p->wanted, key, &n->labels) <= 0)
                break;
        }
        return b;
    }
    for (size_t i = 0; i < p->r->c->nodes_len; i++) {
        const struct cluster_node *at = p->r->c->nodes[i];

        for (const struct occupant *o = at->occupants; o; o = o->next)
            if (!is_self(p->r, o) && stands_in_the_way(p, o, at, n, &b))
                return b;
    }
    return b;
}

int64_t
peers_score(const struct peers *p, const struct cluster_node *n)
{
    return topo_sum(p->scores, &n->labels);
}

bool
peers_scores(const struct peers *p)
{
    return !topo_empty(p->scores);
}

static void
count_peer(struct peers *p, const struct occupant *o, const struct node_labels *at, int64_t by)
{
    const struct affinity *mine = p->affinity, *theirs = o->affinity;
    struct author them = {.ns = o->ns, .labels = o->labels};

    if (mine->pod_required_len > 0 && matches_all(p, o->ns, o->labels)) {
        for (size_t i = 0; i < mine->pod_required_len; i++)
            add(p, PEERS_WANTED, mine->pod_required[i].topology_key, at, by);
    }
    for (size_t i = 0; i < mine->pod_anti_required_len; i++)
        if (term_matches(p, &mine->pod_anti_required[i], &p->me, o->ns, o->labels))
            add(p, PEERS_AVOIDED, mine->pod_anti_required[i].topology_key, at, by);
    for (size_t i = 0; i < theirs->pod_anti_required_len; i++)
        if (term_matches(p, &theirs->pod_anti_required[i], &them, p->me.ns, p->me.labels))
            add(p, PEERS_GUARDED, theirs->pod_anti_required[i].topology_key, at, by);
}

static void
score_peer(struct peers *p, const struct occupant *o, const struct node_labels *at)
{
    const struct affinity *mine = p->affinity, *theirs = o->affinity;
    struct author them = {.ns = o->ns, .labels = o->labels};
    const struct weighted_pod_term *w;

    for (size_t i = 0; i < mine->pod_preferred_len; i++) {
        w = &mine->pod_preferred[i];
        if (term_matches(p, &w->term, &p->me, o->ns, o->labels))
            add(p, PEERS_SCORE, w->term.topology_key, at, weight_of(w));
    }
    for (size_t i = 0; i < mine->pod_anti_preferred_len; i++) {
        w = &mine->pod_anti_preferred[i];
        if (term_matches(p, &w->term, &p->me, o->ns, o->labels))
            add(p, PEERS_SCORE, w->term.topology_key, at, -weight_of(w));
    }
    for (size_t i = 0; i < theirs->pod_required_len; i++)
        if (term_matches(p, &theirs->pod_required[i], &them, p->me.ns, p->me.labels))
            add(p, PEERS_SCORE, theirs->pod_required[i].topology_key, at,
                p->r->c->profile->hard_pod_affinity_weight);
    for (size_t i = 0; i < theirs->pod_preferred_len; i++) {
        w = &theirs->pod_preferred[i];
        if (term_matches(p, &w->term, &them, p->me.ns, p->me.labels))
            add(p, PEERS_SCORE, w->term.topology_key, at, weight_of(w));
    }
    for (size_t i = 0; i < theirs->pod_anti_preferred_len; i++) {
        w = &theirs->pod_anti_preferred[i];
        if (term_matches(p, &w->term, &them, p->me.ns, p->me.labels))
            add(p, PEERS_SCORE, w->term.topology_key, at, -weight_of(w));
    }
}

/* Does o, which is at a node, keep the newcomer off n? */
static bool
stands_in_the_way(const struct peers *p, const struct occupant *o, const struct cluster_node *at,
                  const struct cluster_node *n, struct peers_blame *ret)
{
    const struct affinity *mine = p->affinity, *theirs = o->affinity;
    struct author them = {.ns = o->ns, .labels = o->labels};

    for (size_t i = 0; i < mine->pod_anti_required_len; i++) {
        const struct pod_term *t = &mine->pod_anti_required[i];

        if (same_domain(at, n, t->topology_key) && term_matches(p, t, &p->me, o->ns, o->labels)) {
            *ret = (struct peers_blame){PEERS_AVOIDED, t, o};
            return true;
        }
    }
    if (avoided_here(p, n)) /* that is the reason that is given */
        return false;
    for (size_t i = 0; i < theirs->pod_anti_required_len; i++) {
        const struct pod_term *t = &theirs->pod_anti_required[i];

        if (same_domain(at, n, t->topology_key) &&
            term_matches(p, t, &them, p->me.ns, p->me.labels)) {
            *ret = (struct peers_blame){PEERS_GUARDED, t, o};
            return true;
        }
    }
    return false;
}

static bool
same_domain(const struct cluster_node *x, const struct cluster_node *y, const char *key)
{
    const char *a = key ? node_labels_get(&x->labels, key) : NULL;
    const char *b = key ? node_labels_get(&y->labels, key) : NULL;

    return a && b && strcmp(a, b) == 0;
}

static void
add(struct peers *p, enum peers_what what, const char *key, const struct node_labels *at, int64_t n)
{
    struct topo *const counters[PEERS_WHATS] = {[PEERS_WANTED] = p->wanted,
                                                [PEERS_AVOIDED] = p->avoided,
                                                [PEERS_GUARDED] = p->guarded,
                                                [PEERS_SCORE] = p->scores};
    struct peers_shares *l = p->shares;

    if (!l) {
        if (what == PEERS_WANTED && node_labels_get(at, key))
            p->wanted_sum += n;
        topo_add(counters[what], key, at, n);
        return;
    }
    if (l->len == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 4;
        l->items = xreallocarray(l->items, l->cap, sizeof(*l->items));
    }
    l->items[l->len++] = (struct peers_share){what, key, n};
}

static bool
wanted_here(const struct peers *p, const struct cluster_node *n)
{
    const struct affinity *mine = p->affinity;
    bool there = true;

    for (size_t i = 0; i < mine->pod_required_len; i++) {
        const char *key = mine->pod_required[i].topology_key;

        if (!key || !node_labels_get(&n->labels, key))
            return false;
        if (topo_get(p->wanted, key, &n->labels) <= 0)
            there = false;
    }
    /* the first of its kind: nobody is there to be near to, and it would be near to itself */
    return there || (p->wanted_sum == 0 && matches_all(p, p->me.ns, p->me.labels));
}

static bool
avoided_here(const struct peers *p, const struct cluster_node *n)
{
    const struct affinity *mine = p->affinity;

    for (size_t i = 0; i < mine->pod_anti_required_len; i++)
        if (topo_get(p->avoided, mine->pod_anti_required[i].topology_key, &n->labels) > 0)
            return true;
    return false;
}

static bool
matches_all(const struct peers *p, const char *ns, const struct kv_list *labels)
{
    const struct affinity *mine = p->affinity;

    for (size_t i = 0; i < mine->pod_required_len; i++)
        if (!term_matches(p, &mine->pod_required[i], &p->me, ns, labels))
            return false;
    return mine->pod_required_len > 0;
}

static bool
term_matches(const struct peers *p, const struct pod_term *t, const struct author *by,
             const char *ns, const struct kv_list *labels)
{
    if (!t->selector || !t->topology_key || !in_namespace(p, t, by, ns) ||
        !label_selector_matches(t->selector, labels))
        return false;
    for (size_t i = 0; i < t->match_label_keys.len; i++) {
        const char *want = kv_get(by->labels, t->match_label_keys.items[i]);
        const char *have = kv_get(labels, t->match_label_keys.items[i]);

        if (want && (!have || strcmp(want, have) != 0))
            return false;
    }
    for (size_t i = 0; i < t->mismatch_label_keys.len; i++) {
        const char *want = kv_get(by->labels, t->mismatch_label_keys.items[i]);
        const char *have = kv_get(labels, t->mismatch_label_keys.items[i]);

        if (want && have && strcmp(want, have) == 0)
            return false;
    }
    return true;
}

static bool
in_namespace(const struct peers *p, const struct pod_term *t, const struct author *by,
             const char *ns)
{
    if (t->namespaces.len == 0 && !t->namespace_selector)
        return strcmp(ns, by->ns) == 0;
    for (size_t i = 0; i < t->namespaces.len; i++)
        if (strcmp(t->namespaces.items[i], ns) == 0)
            return true;
    return t->namespace_selector &&
           label_selector_matches(t->namespace_selector,
                                  cluster_namespace_labels(p->r->c, ns, p->r->arena));
}

/* As upstream's type, whatever comes. */
static int64_t
weight_of(const struct weighted_pod_term *w)
{
    return w->weight < 0 ? 0 : w->weight > INT32_MAX ? INT32_MAX : w->weight;
}

static bool
is_self(const struct request *r, const struct occupant *o)
{
    for (const struct occupant *s = r->self; s; s = s->elsewhere)
        if (s == o)
            return true;
    return false;
}
