/* Counters by topology: (label key, label value) -> number. Internal to sched/; used by inter-VM
 * affinity and topology spread. Not thread-safe. */
#ifndef SCHED_TOPO_H
#define SCHED_TOPO_H

#include "base/arena.h"
#include "sched/node_terms.h"

struct topo;

struct topo *topo_new(void);
void topo_free(struct topo *t); /* NULL is fine */
/* Adds n to the counter of the node's domain under key; nothing when the node has no such label.
 * n = 0 makes the domain known. */
void topo_add(struct topo *t, const char *key, const struct node_labels *node, int64_t n);
/* The counter of the node's domain; 0 when there is none. */
int64_t topo_get(const struct topo *t, const char *key, const struct node_labels *node);
bool topo_has(const struct topo *t, const char *key, const struct node_labels *node);
bool topo_empty(const struct topo *t); /* no counter at all */
/* Number of domains under key; *ret_min is the smallest counter among them. */
size_t topo_domains(const struct topo *t, const char *key, int64_t *ret_min);
/* The sum of the counters of the node's domains under all keys. */
int64_t topo_sum(const struct topo *t, const struct node_labels *node);
/* True when a counter of any of the node's domains is above zero. */
bool topo_any(const struct topo *t, const struct node_labels *node);

#endif
