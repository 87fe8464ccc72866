/* Why a node does not do, rule by rule: what the VM wants, what the node has, and what would have to change.
 * All rules that fail, not only the first one that refuses the node. Internal to sched/; behind place_explain()
 * and nearest_miss(). Made when it is asked for: a decision does not pay for it. */
#ifndef SCHED_WHY_H
#define SCHED_WHY_H

#include "sched/filter.h"

/* What a change costs the people who make it, to compare nodes by: the sums are compared, so that one
 * dear change weighs as much as several cheap ones. */
#define WHY_COST_CORDON   1    /* one command */
#define WHY_COST_TAINT    2    /* a toleration, or a taint that goes */
#define WHY_COST_LABEL    4    /* a label on the node, or a selector that asks for less */
#define WHY_COST_ROOM     8    /* other VMs go; and up to as much again the more is lacking */
#define WHY_COST_ROOM_ALL 40   /* the node is too small for it when it is empty */
#define WHY_COST_PEERS    24   /* other VMs go, or a rule */
#define WHY_COST_HANDLER  32   /* the node must be brought back */
#define WHY_COST_VM       48   /* the VM must be another: model, features, volumes */
#define WHY_COST_NEVER    1000 /* nothing changes that */

struct why {
    const char *rule;         /* kube-scheduler's name of the plugin, or ours */
    const char *wanted, *has; /* "memory 8546Mi", "6Gi free of 8Gi" */
    const char *change;       /* "free 2402Mi of memory there"; NULL: nothing helps */
    int cost;
};

struct why_list {
    struct why *items;
    size_t len, cap;
};

/* Of a node of the cluster; in the order of the filters. Texts are in r's arena. */
struct why_list why_node(const struct request *r, const struct cluster_node *n);

/* --- for why_*.c --- */
struct why_ctx {
    const struct request *r;
    const struct cluster_node *n;
    struct arena *a;
    const char *rule;
    struct why_list list;
};

void why_add(struct why_ctx *w, const char *wanted, const char *has, int cost, const char *change);
/* "zone=a" or "no label zone" */
const char *why_label(const struct why_ctx *w, const char *key);

/* why_labels.c: terms that nodes are selected by */
void why_selection(struct why_ctx *w, const struct node_terms *t, const char *whose);
void why_cpu(struct why_ctx *w);
void why_host(struct why_ctx *w);
/* why_room.c */
void why_fit(struct why_ctx *w);
void why_numa(struct why_ctx *w);
void why_volumes(struct why_ctx *w);
/* why_peers.c */
void why_spread(struct why_ctx *w);
void why_peers(struct why_ctx *w);

#endif
