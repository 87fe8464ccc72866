/* Which RDMA device serves this node's address on the migration network, or why none does: for the
 * Node's condition and for people. Migrations look for themselves (migrate/engine.h). librdmacm keeps a
 * device open until its process ends, and some drivers do not let it go as long: so a process of its
 * own looks (drover-handler --print-rdma). Loop thread, but for its own job. */
#ifndef HANDLER_NODE_RDMA_H
#define HANDLER_NODE_RDMA_H

#include <stdbool.h>
#include <stdint.h>

#include "api/tree.h"
#include "handler/net.h"
#include "handler/work.h"

#define NODE_RDMA_TEXT 512

/* What is known when the condition is asked for. */
struct node_rdma_facts {
    bool off;          /* --no-rdma */
    struct mignet net; /* the migration network */
    bool looked;       /* the rest counts */
    char device[64];   /* "" = none: why says */
    char why[NODE_RDMA_TEXT];
    uint64_t lock_bytes;   /* of memory that this process may lock; UINT64_MAX = no limit */
    bool on_demand;        /* the device needs none locked */
    uint64_t window_bytes; /* --rdma-window */
};

struct node_rdma_condition {
    const char *status, *reason;
    char message[NODE_RDMA_TEXT];
};

/* Pure. */
void node_rdma_say(const struct node_rdma_facts *f, struct node_rdma_condition *ret);

struct node_rdma;

/* program: drover-handler, borrowed. changed is called when the condition may be another one. */
struct node_rdma *node_rdma_new(struct loop *l, struct work *w, const char *program, bool off,
                                uint64_t window_bytes, void (*changed)(void *ctx), void *ctx);
void node_rdma_free(struct node_rdma *n); /* after work_free. NULL is fine */
/* The network is like that now: looks on a worker, and again every HANDLER_RDMA_LOOK_US: devices come
 * and go without a word. */
void node_rdma_network(struct node_rdma *n, const struct mignet *net);
const struct node_rdma_facts *node_rdma_facts(const struct node_rdma *n);

/* What that process prints: {"device":"rxe0","lockBytes":-1,"onDemand":false} (-1: no limit), or
 * {"why":"..."}. Blocks for a second at most, and leaves the device open. The caller's. */
struct tree *node_rdma_tree(const char *ip);

#endif
