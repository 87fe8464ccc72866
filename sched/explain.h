/* Why a node is unfit, and the one line that sums it up as kube-scheduler does. Internal to sched/. */
#ifndef SCHED_EXPLAIN_H
#define SCHED_EXPLAIN_H

#include "api/types.h"
#include "base/arena.h"
#include "base/cleanup.h"

/* Appends a text that lives as long as the arena. */
void explain_add(struct str_list *reasons, struct arena *a, const char *text);
void explain_addf(struct str_list *reasons, struct arena *a, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* "0/5 nodes are available: 1 Insufficient memory, 2 node(s) were unschedulable." nodes: the reasons of
 * the nodes that count in the histogram; total: all nodes. Parts are sorted as text. In the arena. */
const char *explain_message(size_t total, const struct str_list *const *nodes, size_t nodes_len,
                            struct arena *a);

#endif
