/* The filters, in their order; the first that refuses a node gives the reasons. Internal to sched/. */
#ifndef SCHED_FILTER_H
#define SCHED_FILTER_H

#include "sched/request.h"

/* kube-scheduler's text when the required terms name different nodes. */
#define FILTER_CONFLICT "pod affinity terms conflict"

/* In their order. */
enum filter {
    FILTER_SOURCE,
    FILTER_UNSCHEDULABLE,
    FILTER_TARGET,
    FILTER_READY,
    FILTER_HANDLER,
    FILTER_WORKLOAD,
    FILTER_TAINTS,
    FILTER_AFFINITY,
    FILTER_CPU,
    FILTER_HOST,
    FILTER_FIT,
    FILTER_NUMA,
    FILTER_VOLUMES,
    FILTER_SPREAD,
    FILTER_PEERS,
    FILTER_NETWORK,
    FILTERS
};

/* True when the node does; else reasons has at least one text. */
bool filter_node(const struct request *r, const struct cluster_node *n, struct str_list *reasons);

/* The same for the filters before room and neighbours: what does not change when VMs come and go. */
bool filter_static(const struct request *r, const struct cluster_node *n, struct str_list *reasons);

/* Of a node that filter_node refused: may it do when others leave it? kube-scheduler's Unschedulable; the
 * rest is its UnschedulableAndUnresolvable. */
bool filter_resolvable(const struct request *r, const struct cluster_node *n);

/* One of them alone: appends its reasons, none when the node does or the filter does not apply. */
void filter_run(const struct request *r, const struct cluster_node *n, enum filter f,
                struct str_list *reasons);
/* Why no node at all can do (kube-scheduler's PreFilter), or NULL. It stands once in the message, without
 * a count. */
const char *filter_all_refused(const struct request *r);
/* False: the required terms name other nodes, and this one is not counted in the message. */
bool filter_looks_at(const struct request *r, const struct cluster_node *n);

/* One filter: appends its reasons, none when the node does. */
typedef void (*filter_fn)(const struct request *r, const struct cluster_node *n,
                          struct str_list *reasons);

/* filter_state.c: the node itself, whoever asks */
void filter_source(const struct request *r, const struct cluster_node *n, struct str_list *reasons);
void filter_unschedulable(const struct request *r, const struct cluster_node *n,
                          struct str_list *reasons);
void filter_target(const struct request *r, const struct cluster_node *n, struct str_list *reasons);
void filter_ready(const struct request *r, const struct cluster_node *n, struct str_list *reasons);
void filter_handler(const struct request *r, const struct cluster_node *n,
                    struct str_list *reasons);
void filter_network(const struct request *r, const struct cluster_node *n,
                    struct str_list *reasons);
/* Is the handler one that has not been heard lately, as the cluster's settings have it? */
bool filter_heartbeat_missing(const struct cluster *c, const struct cluster_node *n);
/* filter_fit.c: room for it */
void filter_fit(const struct request *r, const struct cluster_node *n, struct str_list *reasons);

#endif
