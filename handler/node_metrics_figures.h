/* Which figures the handler has: the rows of the table in node_metrics.c. For handler/node_metrics*.c
 * only. */
#ifndef HANDLER_NODE_METRICS_FIGURES_H
#define HANDLER_NODE_METRICS_FIGURES_H

#include "base/metrics.h"

struct handler;

enum figure {
    DATA_TOTAL,
    DATA_PROCESSED,
    DATA_REMAINING,
    DIRTY_RATE,
    DIRTY_RATE_412,
    TRANSFER_RATE,
    START_TIME,
    END_TIME,
    VM_ROUND,
    VM_LIMIT,
    VM_PREDICTED,
    VM_THROTTLE,
    VM_ENC_PAGES,
    VM_ENC_BYTES,
    VM_MISSING,
    VM_PLACED,
    VM_REGISTERED,
    LAST_OF_VM =
        VM_REGISTERED, /* those above live as long as their migration, and a while longer */
    ENDED,
    SENT,
    RECEIVED,
    PAGES,
    ENC_BYTES,
    CPU,
    DOWNTIME,
    FAULT_SECONDS,
    THROTTLED,
    WRITE_FAULT_SECONDS,
    RECONNECTS,
    TRANSPORTS,
    PLACED,
    READ_FAULTS,
    CAP,
    SHARERS,
    GUESTS,
    WRITES,
    SHAPING_WAIT,
    NETWORK_BYTES,
    FIRST_OF_NET = NETWORK_BYTES, /* these are read anew each time (node_metrics_net.c) */
    NETWORK_DROPPED,
    NETWORK_UP,
    NETWORK_MTU,
    NETWORK_SPEED,
    NETWORK_LIMIT,
    NETWORK_LIMIT_DROPPED,
    NETWORK_LIMIT_OVER,
    NETWORK_READY,
    NETWORK_RDMA,
    NETWORK_INTERFACES,
    LAST_OF_NET = NETWORK_INTERFACES,
    VMI_HYPERVISOR,
    FIRST_OF_VMI = VMI_HYPERVISOR, /* of guests that run here (node_metrics_vmi.c) */
    VMI_CPU,
    VMI_RESIDENT,
    VMI_DOMAIN_MEMORY,
    VMI_AVAILABLE,
    VMI_UNUSED,
    VMI_USABLE,
    VMI_BALLOON,
    VMI_DIRTY_RATE,
    VMI_NET_RX,
    VMI_NET_TX,
    VMI_NET_RX_DROPS,
    VMI_NET_TX_DROPS,
    VMI_READ_BYTES,
    VMI_WRITE_BYTES,
    VMI_READS,
    VMI_WRITES,
    LAST_OF_VMI = VMI_WRITES
};

/* What the kernel says of the networks at this moment (node_metrics_net.c). */
void node_metrics_networks(const struct handler *h, struct metrics *m);
/* The guests that run here (node_metrics_vmi.c). */
void node_metrics_vmis(const struct handler *h, struct metrics *m);

#endif
