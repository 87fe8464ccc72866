/* Random clusters that change: nodes, VMs, Pods and namespaces from seeds, for the tests that
 * hold a changed cluster, or the fast engine on one, against a plain decision. */
#ifndef TESTS_SCHED_GEN_H
#define TESTS_SCHED_GEN_H

#include "api/types.h"
#include "base/arena.h"
#include "base/rng.h"
#include "sched/place.h"
#include "sched/profile.h"

#define GEN_NOW_US (INT64_C(1767225600) * 1000000) /* 2026-01-01T00:00:00Z */

/* How rich the objects are. */
enum gen_style { GEN_BASIC, GEN_NEIGHBOURS, GEN_RICH };

struct gen_thing { /* an object in an arena of its own, so that a use after its end is seen */
    struct arena *arena;
    struct node *node;
    struct vmi *vmi;
    struct pod *pod;
    struct namespace_ *ns;
    const char
        *reserved; /* a VMI or Pod without a node in its status: where it is reserved, or NULL */
    uint64_t template_; /* of a VMI or Pod */
};

struct gen_list {
    struct gen_thing *items;
    size_t len, cap;
};

struct gen {
    struct rng rng;
    enum gen_style style;
    size_t nodes_max, templates;
    uint64_t seed;
    struct gen_list nodes, vms, spaces; /* nodes in the cluster's order; vms: VMIs and Pods */
    unsigned names;                     /* given so far */
    struct hco hco;
    struct profile profile;
    uint64_t tie_seed;
    bool profiled, networked; /* profile is set; the network is there */
    bool networks_change; /* the network comes and goes: VMs that are there keep what they took */
    int64_t now_us, timeout_s;
    struct cluster *c; /* what all changes go to */
};

/* A cluster of up to nodes_max nodes with some VMs. */
void gen_init(struct gen *g, uint64_t seed, enum gen_style style, size_t nodes_max);
void gen_done(struct gen *g);
/* One random change to the objects and to the cluster. */
void gen_change(struct gen *g);
/* A new cluster of the same objects, never changed. The caller's. */
struct cluster *gen_fresh(const struct gen *g);
/* A request: a new VMI or Pod (ret_new: the caller gives it to gen_keep or gen_drop afterwards),
 * or one that is there, to migrate. */
void gen_request(struct gen *g, struct place_request *rq, struct gen_thing *ret_new);
/* Reserves what gen_request made on the node. */
void gen_keep(struct gen *g, struct gen_thing *made, const char *node);
void gen_remove_vm(struct gen *g); /* a random one, if there is any */
void gen_drop(struct gen_thing *made);
size_t gen_below(struct gen *g, size_t n);

#endif
