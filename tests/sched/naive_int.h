/* Shared by naive.c (filters), naive_spread.c and naive_score.c (scores). */
#ifndef TESTS_SCHED_NAIVE_INT_H
#define TESTS_SCHED_NAIVE_INT_H

#include "tests/sched/naive.h"

struct who { /* a VM or a Pod, as far as both have the same */
    const struct vmi *vmi;
    const struct pod *pod;
    const struct meta *meta;
    const struct affinity *affinity;
    const struct kv_list *selector;
    const struct spread *spreads;
    size_t spreads_len;
    const struct toleration *tolerations;
    size_t tolerations_len;
};

struct who naive_who(const struct naive_one *one);
size_t naive_others(const struct naive_cluster *c); /* how many VMs and Pods there are */
struct who naive_other(const struct naive_cluster *c, size_t i);
bool naive_same(const struct who *a, const struct who *b);
bool naive_is_on(const struct who *w, const struct node *n);

const char *naive_value(const struct kv_list *l, const char *key);
bool naive_same_domain(const char *key, const struct node *a, const struct node *b);
bool naive_term_holds(const struct node_term *t, const struct node *n);
bool naive_tolerates(const struct who *w, const struct taint *t);
/* Does owner's term t take other? */
bool naive_takes(const struct naive_cluster *c, const struct pod_term *t, const struct who *owner,
                 const struct who *other);

bool naive_selects(const struct label_selector *s, const struct kv_list *labels);
bool naive_taints_allow(const struct who *w, const struct node *n);
/* Node affinity and, for VMs, what KubeVirt renders as node selectors. */
bool naive_selected(const struct naive_cluster *c, const struct who *w, int source,
                    const struct node *n);

/* What w asks for of a resource; absent: what a container that does not name it counts as. */
int64_t naive_asks(const struct naive_cluster *c, const struct who *w, const char *resource,
                   int64_t absent);
int64_t naive_total(const struct node *n, const char *resource); /* -1: not listed */
/* What the others ask of the node. */
int64_t naive_used(const struct naive_cluster *c, const struct who *w, const struct node *n,
                   const char *resource, int64_t absent);

/* The arguments of a plugin, or NULL. */
const struct sched_config_args *naive_args(const struct naive_cluster *c, const char *plugin);

struct naive_rules { /* the spread constraints that hold for somebody */
    const struct spread *items;
    size_t len;
    bool by_set;    /* they are defaults: members of the same set count */
    bool some_keys; /* a node need not have all keys */
};
struct naive_rules naive_spreads(const struct naive_cluster *c, const struct who *w);
bool naive_is_soft(const struct spread *s);
/* Do the node and its VMs count for this constraint? */
bool naive_counts(const struct naive_cluster *c, const struct who *w, int source,
                  const struct spread *s, const struct node *n);
/* How many on the node count. */
int64_t naive_matching(const struct naive_cluster *c, const struct who *w,
                       const struct naive_rules *rules, const struct spread *s,
                       const struct node *n);
/* Has the node the keys of all constraints that are soft, or hard? */
bool naive_has_keys(const struct naive_rules *rules, bool soft, const struct node *n);
bool naive_spread_holds(const struct naive_cluster *c, const struct who *w, int source,
                        const struct node *n);

#endif
