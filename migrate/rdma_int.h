/* What the files rdma_nic*.c and rdma_lane*.c share: the structures behind rdma_nic.h and
 * rdma_lane.h. Nobody else includes it. */
#ifndef MIGRATE_RDMA_INT_H
#define MIGRATE_RDMA_INT_H

#include <pthread.h>
#include <rdma/rdma_cma.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "migrate/rdma_lane.h"
#include "migrate/rdma_nic.h"

/* --- nic --- */

#define NIC_BACKLOG 64 /* requests that wait in the kernel */

struct nic {
    /* constant after nic_open */
    struct rdma_event_channel *channel;
    struct rdma_cm_id *id; /* holds the device open; the one that listens */
    struct ibv_pd *pd;
    struct sockaddr_storage local; /* ss_family 0: none was given */
    struct ibv_device_attr attr;
    struct nic_facts facts;
    atomic_bool listens, gone;
    _Atomic uint64_t pinned_bytes;
    /* guarded by mu */
    pthread_mutex_t mu;
    struct nic_mr *mrs;
    struct nic_request *requests; /* not answered yet */
};

struct nic_mr {
    struct nic *nic;
    struct ibv_mr *mr;
    size_t bytes;
    bool pinned;
    struct nic_mr *next, *prev; /* guarded by nic->mu */
};

struct nic_request {
    struct nic *nic;
    struct rdma_cm_id *id;
    uint8_t responder_resources, initiator_depth; /* as the CM event said */
    /* guarded by nic->mu */
    int gone; /* 0, or why it cannot be accepted any more */
    struct nic_request *next;
};

/* "ip:port", "[ip]:port" -> ret. -EINVAL. */
int nic_parse(const char *addr, struct sockaddr_storage *ret, struct err *err);
int nic_parse_ip(const char *ip, const char *port, struct sockaddr_storage *ret, struct err *err);
/* A channel whose descriptor does not block, or -errno (-ENODEV: this kernel has no RDMA). */
int nic_channel(struct rdma_event_channel **ret, struct err *err);
/* The next event, acknowledged already (its private data is gone): 0, -ETIMEDOUT at deadline_us
 * (monotonic), -ECANCELED, -errno. */
int nic_event(struct rdma_event_channel *c, uint64_t deadline_us, int cancel_fd,
              struct rdma_cm_event *ret);
/* Ends all of them. */
void nic_unregister_all(struct nic *n);
/* Takes it from the list of those that wait: what r->gone said. */
int nic_request_take(struct nic_request *r);

/* --- lane --- */

/* Both ends have the same: part of the protocol of a lane's stream. */
#define LANE_BUFFER_BYTES (64u << 10) /* one message, its head included */
#define LANE_CREDITS      16          /* messages with data that a peer may have on the way */
/* A peer says that buffers are free again when half of them are. So two messages that say only this can
 * be here unread; they need buffers besides. */
#define LANE_CREDIT_STEP  (LANE_CREDITS / 2)
#define LANE_RECV_BUFFERS (LANE_CREDITS + 4)
#define LANE_SEND_BUFFERS 8
#define LANE_NOTE_BUFFERS 4 /* for messages that only return credits */
#define LANE_NOTE_BYTES   64
/* Of the send queue: for WRITEs, and all. */
#define LANE_WRITE_DEPTH 192
#define LANE_SEND_DEPTH  (LANE_WRITE_DEPTH + LANE_SEND_BUFFERS + LANE_NOTE_BUFFERS)
#define LANE_READS_MAX   64
#define LANE_WHY_SIZE    160

enum lane_message { LANE_DATA = 1, LANE_NOTE = 2 };

struct lane_head { /* of each message; little-endian */
    uint16_t type;
    uint16_t credits; /* returned */
    uint32_t bytes;   /* that follow */
};

enum lane_role { LANE_SENDER, LANE_RECEIVER, LANE_ROLES }; /* threads that may sleep */
enum lane_cq { LANE_SCQ, LANE_RCQ, LANE_CQS };

struct lane_read_slot {
    bool open;
    uint32_t bytes;
    uint64_t cookie;
};

struct lane {
    /* constant once the lane is made */
    struct nic *nic;
    struct rdma_event_channel *channel;
    struct rdma_cm_id *id;
    struct ibv_comp_channel *comp[LANE_CQS];
    struct ibv_cq *cq[LANE_CQS];
    uint8_t *mem; /* buffers: to receive, to send, for notes */
    struct nic_mr *mem_mr;
    uint32_t reads;
    int wake[LANE_ROLES]; /* eventfds; readable for ever once the lane broke */

    atomic_bool connected, disconnected, shut;
    atomic_bool sleeps[LANE_ROLES];
    atomic_int broken; /* 0 or -errno; why: under why_mu */
    _Atomic uint64_t bytes;
    atomic_int credits; /* messages that may be sent */
    atomic_uint owed;   /* buffers that are free again and the peer was not told of */
    atomic_uint given;  /* that it was told of, ever */

    pthread_mutex_t why_mu;
    char why[LANE_WHY_SIZE];
    pthread_mutex_t cm_mu; /* whoever reads the event channel */

    pthread_mutex_t tx_mu; /* the send queue and its completions */
    uint64_t posted, done; /* work requests, ever: each one's number is its wr_id */
    uint64_t send_seq[LANE_SEND_BUFFERS], note_seq[LANE_NOTE_BUFFERS];
    unsigned notes;
    struct lane_read_slot slots[LANE_READS_MAX];
    uint32_t reads_open;

    pthread_mutex_t rx_mu; /* the receive queue's completions */
    uint32_t ready[LANE_RECV_BUFFERS], ready_bytes[LANE_RECV_BUFFERS];
    unsigned ready_first, ready_count;
    unsigned data_received;

    /* the sending thread's */
    unsigned sends;
    /* the receiving thread's */
    uint32_t read_offset; /* into the first ready message */
    /* the reaping thread's */
    uint64_t give_up_us; /* on READs that a broken lane does not report; 0 = it is whole */
};

/* rdma_lane.c */
/* An empty one with its events: everything else comes by lane_equip. */
struct lane *lane_new(struct nic *n);
/* Queue pair, completion queues, buffers, for l->id; receive buffers are posted. */
int lane_equip(struct lane *l, const struct lane_config *cfg, struct err *err);
/* The first reason stays. */
void lane_break(struct lane *l, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
int lane_why(struct lane *l, struct err *err); /* of a lane that broke */
/* Once: the peer is told, and what is in the queues is flushed. Any thread. */
void lane_disconnect(struct lane *l);

/* rdma_lane_wait.c */
struct lane_nap {
    enum lane_role role;
    unsigned cqs;         /* bits 1 << enum lane_cq */
    uint64_t deadline_us; /* monotonic; 0 = none */
    bool armed;
};
/* Called in a loop that looks, calls it, looks again: first it asks for events, then it sleeps. 0, or
 * -ETIMEDOUT. A lane that breaks ends the sleep. */
int lane_nap(struct lane *l, struct lane_nap *z);
void lane_pump_events(struct lane *l);
/* Takes what has completed. */
void lane_drain_tx_locked(struct lane *l);
void lane_drain_rx_locked(struct lane *l);
/* A work completion that says no. */
void lane_failed(struct lane *l, const struct ibv_wc *wc, enum lane_cq which);
int lane_status(enum ibv_wc_status s); /* -errno */
/* Waits until `room` more can be posted among at most `depth`: 0 or why the lane broke. */
int lane_room(struct lane *l, uint64_t depth, uint64_t room, struct err *err);

/* rdma_lane_stream.c */
int lane_post_receive(struct lane *l, uint32_t buffer); /* -errno */
/* Of a message that came; -EPROTO: the lane is broken by it. */
int lane_take_message_locked(struct lane *l, uint32_t buffer, uint32_t bytes);

#endif
