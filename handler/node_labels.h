/* The labels of this host's Node that say what its CPU, KVM and QEMU can do: asks libvirt (or reads
 * files) on a worker, has sched/labeller.h say what follows, and gives back what is to be written. Does
 * not write itself: handler/node.c does. Loop thread, but for its own job. */
#ifndef HANDLER_NODE_LABELS_H
#define HANDLER_NODE_LABELS_H

#include "api/tree.h"
#include "base/loop.h"
#include "handler/work.h"
#include "sched/labeller_files.h"

struct node_labels_config {
    struct labeller_files files; /* domcapabilities set: these instead of libvirt */
    const char *libvirt_uri;     /* NULL: libvirt is not asked */
    struct kv_list own;          /* labels that the operator gave: never touched. Borrowed */
};

struct node_labels_news {
    struct tree *patch; /* a merge patch of the Node, or NULL: it is as it should be. Given */
    const char
        *obsolete_model; /* set when the node is about to be labelled as obsolete; borrowed */
};

typedef void (*node_labels_fn)(void *ctx, const struct node_labels_news *news);

struct node_labels;

/* Nothing happens before the Node and the cluster's configuration were seen. Then a turn every
 * HANDLER_LABELS_US, when obsoleteCPUs change, and when libvirt comes or goes; fn is called after each. cfg is copied, its texts
 * borrowed. */
struct node_labels *node_labels_new(struct loop *l, struct work *w,
                                    const struct node_labels_config *cfg, node_labels_fn fn,
                                    void *ctx);
/* A job that runs must have ended: after work_free. NULL is fine. */
void node_labels_free(struct node_labels *n);
/* The Node as it is, from each answer of the API. Borrowed. */
void node_labels_node(struct node_labels *n, const struct tree *node);
/* The HyperConverged as it is; NULL: there is none. Borrowed. */
void node_labels_cluster(struct node_labels *n, const struct tree *hco);
/* Begins a turn now; when one is running, it is followed by another. */
void node_labels_turn(struct node_labels *n);

#endif
