/* Inside the double of libibverbs and librdmacm: its objects. One lock guards all of them. */
#ifndef TESTS_MIGRATE_VERBS_DOUBLE_INT_H
#define TESTS_MIGRATE_VERBS_DOUBLE_INT_H

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "tests/migrate/verbs_double.h"

#undef ibv_reg_mr
#undef ibv_reg_mr_iova
#undef ibv_query_port

#define DBL_SGE_MAX    32
#define DBL_INLINE_MAX 512
#define DBL_KINDS      8

#define LIST_APPEND(head, item)      \
    do {                             \
        typeof(head) *at_ = &(head); \
        while (*at_)                 \
            at_ = &(*at_)->next;     \
        *at_ = (item);               \
    } while (0)
#define LIST_REMOVE(head, item)        \
    do {                               \
        typeof(head) *at_ = &(head);   \
        while (*at_ && *at_ != (item)) \
            at_ = &(*at_)->next;       \
        if (*at_)                      \
            *at_ = (*at_)->next;       \
    } while (0)

struct dbl_device {
    struct ibv_device pub;
    char ip[64];
    bool removed;
    struct verbs_context *cm; /* what rdma_cm_id.verbs shows */
    struct dbl_device *next;
};

struct dbl_mr {
    struct ibv_mr pub;
    unsigned access;
    uint64_t pinned;
    struct dbl_mr *next;
};

struct dbl_channel {
    struct ibv_comp_channel pub;
    struct dbl_cq *fired; /* by next_fired */
    unsigned users;
};

struct dbl_cqe {
    struct ibv_wc wc;
    unsigned frees; /* slots of the send queue */
};

struct dbl_cq {
    struct ibv_cq pub;
    struct dbl_cqe *ring;
    unsigned first, len;
    unsigned users;
    bool armed, fired;
    unsigned got, acked;
    struct dbl_cq *next_fired;
};

struct dbl_work {
    struct ibv_send_wr wr;
    struct ibv_sge sge[DBL_SGE_MAX];
    uint8_t *copy; /* of what went inline */
    uint32_t bytes;
    struct dbl_work *next;
};

struct dbl_recv {
    uint64_t wr_id;
    int sges;
    struct ibv_sge sge[DBL_SGE_MAX];
    struct dbl_recv *next;
};

struct dbl_qp {
    struct ibv_qp pub;
    struct ibv_qp_cap cap;
    bool all_signalled, dialled, held;
    unsigned access; /* what its peer may do */
    unsigned reads, peer_reads;
    unsigned rnr_retry; /* 7: for ever */
    struct dbl_qp *peer;
    struct dbl_work *work, **work_end;
    struct dbl_recv *recv, **recv_end;
    unsigned waiting, used, unsignalled, recvs;
    uint64_t sent[DBL_KINDS];
    struct timespec hole; /* until then nothing is answered, then it fails; 0: no black hole */
    struct dbl_qp *next;
};

struct dbl_event {
    struct rdma_cm_event pub;
    uint8_t data[256];
    struct dbl_event *next;
};

struct dbl_events {
    struct rdma_event_channel pub;
    struct dbl_event *first;
    unsigned users;
};

enum dbl_id_state {
    ID_IDLE,
    ID_BOUND,
    ID_RESOLVED,
    ID_ROUTED,
    ID_LISTENS,
    ID_CONNECTING, /* dialled, not answered */
    ID_ASKED,      /* came, not answered */
    ID_CONNECTED,
    ID_ENDED,
};

struct dbl_id {
    struct rdma_cm_id pub;
    enum dbl_id_state state;
    struct dbl_device *dev;
    struct dbl_id *peer, *listener;
    struct rdma_conn_param param; /* of its own connect or accept */
    unsigned got, acked;
    struct dbl_id *next;
};

struct dbl_state {
    pthread_mutex_t mu;
    pthread_cond_t work, change;
    struct dbl_device *devices;
    struct dbl_mr *mrs;
    struct dbl_qp *qps;
    struct dbl_id *ids;
    struct verbs_counts n;
    uint32_t next_key, next_qp, next_device;
    uint16_t next_port;
    bool running; /* the thread that carries work out */
    bool on_demand, no_write_imm, no_disconnects, hold_all;
    unsigned read_depth;
    uint64_t lock_limit, seed;
    unsigned struck;
};

extern struct dbl_state dbl;

void __attribute__((noreturn, format(printf, 1, 2))) dbl_die(const char *fmt, ...);
/* Whether this call is one that has to fail: then errno, else 0. */
int dbl_trouble(const char *function);
/* What has to happen to the next work request of this kind, which is counted by it. */
struct dbl_fate {
    enum ibv_wc_status status;
    uint32_t read_bytes; /* at most */
    bool corrupt, remove;
    unsigned hole_ms; /* 0: none */
};
struct dbl_fate dbl_fate_of_work(enum ibv_wr_opcode kind);

void dbl_device_gone(struct dbl_device *dev);
struct dbl_device *dbl_device_of_ip(const char *ip);
struct verbs_context *dbl_context_new(struct dbl_device *dev);
struct dbl_device *dbl_device_of(struct ibv_context *c);

/* An eventfd as a level: readable while something waits. */
void dbl_fd_set(int fd);
void dbl_fd_clear(int fd);
/* The caller holds the lock, which is open meanwhile. EAGAIN for a descriptor that does not block. */
int dbl_fd_wait(int fd);

void dbl_complete(struct dbl_cq *cq, const struct ibv_wc *wc, unsigned frees);
/* The bytes under a key, or NULL. `local`: an sge; need: access flags. */
uint8_t *dbl_memory(const struct ibv_pd *pd, uint32_t key, uint64_t addr, uint64_t bytes,
                    unsigned need);

int dbl_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad);
int dbl_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
int dbl_poll(struct ibv_cq *cq, int max, struct ibv_wc *wc);
int dbl_notify(struct ibv_cq *cq, int solicited_only);
void dbl_qp_fail(struct dbl_qp *q, enum ibv_wc_status first);
void dbl_run(void);

void dbl_cm_device_gone(struct dbl_device *dev);

#endif
