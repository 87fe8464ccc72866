/* A lane's life: made by lane_dial and lane_accept (rdma_lane_dial.c), broken by whoever notices,
 * freed by its owner; see rdma_lane.h. */
#include "migrate/rdma_lane.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sb.h"
#include "migrate/rdma_int.h"

#define LINGER_US 1000000 /* for what was sent before the lane is freed */

static size_t memory_bytes(void);
static int make_queues(struct lane *l, struct err *err);
static int make_memory(struct lane *l, struct err *err);
static void linger(struct lane *l);

struct lane *
lane_new(struct nic *n)
{
    struct lane *l = xcalloc(1, sizeof *l);

    l->nic = n;
    for (int i = 0; i < LANE_ROLES; i++)
        l->wake[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&l->why_mu, NULL);
    pthread_mutex_init(&l->cm_mu, NULL);
    pthread_mutex_init(&l->tx_mu, NULL);
    pthread_mutex_init(&l->rx_mu, NULL);
    atomic_store(&l->credits, LANE_CREDITS);
    return l;
}

int
lane_equip(struct lane *l, const struct lane_config *cfg, struct err *err)
{
    int rc;

    if (l->wake[LANE_SENDER] < 0 || l->wake[LANE_RECEIVER] < 0)
        return err_set(err, -EMFILE, "RDMA: no descriptor is left");
    if (l->id->verbs != l->nic->id->verbs)
        return err_set(err, -ENODEV, "RDMA: the way to the peer is not over %s",
                       l->nic->facts.device);
    l->reads = cfg->reads < l->nic->facts.read_depth ? cfg->reads : l->nic->facts.read_depth;
    rc = make_memory(l, err);
    if (rc == 0)
        rc = make_queues(l, err);
    for (uint32_t i = 0; i < LANE_RECV_BUFFERS && rc == 0; i++) {
        rc = lane_post_receive(l, i);
        if (rc != 0)
            err_set(err, rc, "RDMA: post receive: %s", strerror(-rc));
    }
    return rc;
}

void
lane_break(struct lane *l, int rc, const char *fmt, ...)
{
    uint64_t one = 1;
    va_list ap;

    pthread_mutex_lock(&l->why_mu);
    if (!atomic_load(&l->broken)) {
        va_start(ap, fmt);
        vsnprintf(l->why, sizeof l->why, fmt, ap);
        va_end(ap);
        atomic_store(&l->broken, rc);
    }
    pthread_mutex_unlock(&l->why_mu);
    for (int i = 0; i < LANE_ROLES; i++)
        (void)!write(l->wake[i], &one, sizeof one);
}

int
lane_why(struct lane *l, struct err *err)
{
    char why[LANE_WHY_SIZE];

    pthread_mutex_lock(&l->why_mu);
    memcpy(why, l->why, sizeof why);
    pthread_mutex_unlock(&l->why_mu);
    return err_set(err, atomic_load(&l->broken), "RDMA: %s", why);
}

void
lane_disconnect(struct lane *l)
{
    if (atomic_load(&l->connected) && !atomic_exchange(&l->disconnected, true))
        rdma_disconnect(l->id);
}

void
lane_shut(struct lane *l)
{
    if (!l)
        return;
    atomic_store(&l->shut, true);
    lane_break(l, -ENOTCONN, "the lane was shut");
    lane_disconnect(l);
}

void
lane_free(struct lane *l)
{
    if (!l)
        return;
    linger(l);
    lane_disconnect(l);
    if (l->id && l->id->qp)
        rdma_destroy_qp(l->id);
    nic_unregister(l->mem_mr);
    if (l->mem)
        munmap(l->mem, memory_bytes());
    for (int i = 0; i < LANE_CQS; i++) {
        if (l->cq[i])
            ibv_destroy_cq(l->cq[i]);
        if (l->comp[i])
            ibv_destroy_comp_channel(l->comp[i]);
    }
    if (l->id)
        rdma_destroy_id(l->id);
    if (l->channel)
        rdma_destroy_event_channel(l->channel);
    for (int i = 0; i < LANE_ROLES; i++)
        clean_fd(&l->wake[i]);
    pthread_mutex_destroy(&l->why_mu);
    pthread_mutex_destroy(&l->cm_mu);
    pthread_mutex_destroy(&l->tx_mu);
    pthread_mutex_destroy(&l->rx_mu);
    free(l);
}

uint64_t
lane_bytes(const struct lane *l)
{
    return atomic_load(&l->bytes);
}

static size_t
memory_bytes(void)
{
    return (size_t)(LANE_RECV_BUFFERS + LANE_SEND_BUFFERS) * LANE_BUFFER_BYTES +
           LANE_NOTE_BUFFERS * LANE_NOTE_BYTES;
}

/* Shared, because a handler forks: of private memory the device would keep the parent's or the child's
 * pages, whichever writes last. */
static int
make_memory(struct lane *l, struct err *err)
{
    uint8_t *p =
        mmap(NULL, memory_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return err_set(err, -errno, "RDMA: buffers of a lane: %s", strerror(errno));
    l->mem = p;
    return nic_register(l->nic, p, memory_bytes(), NIC_LOCAL, &l->mem_mr, err);
}

static int
make_queues(struct lane *l, struct err *err)
{
    struct ibv_context *v = l->id->verbs;
    uint32_t depth = l->reads > LANE_SEND_DEPTH ? l->reads : LANE_SEND_DEPTH;
    int entries[LANE_CQS] = {[LANE_SCQ] = (int)depth, [LANE_RCQ] = LANE_RECV_BUFFERS};
    struct ibv_qp_init_attr qp = {
        .qp_type = IBV_QPT_RC,
        .cap = {.max_send_wr = depth,
                .max_recv_wr = LANE_RECV_BUFFERS,
                .max_send_sge = 1,
                .max_recv_sge = 1},
    };

    for (int i = 0; i < LANE_CQS; i++) {
        l->comp[i] = ibv_create_comp_channel(v);
        if (!l->comp[i])
            return err_set(err, -errno, "RDMA: completion channel: %s", strerror(errno));
        fs_set_nonblock(l->comp[i]->fd, true);
        l->cq[i] = ibv_create_cq(v, entries[i], NULL, l->comp[i], 0);
        if (!l->cq[i])
            return err_set(err, -errno, "RDMA: completion queue of %d: %s", entries[i],
                           strerror(errno));
    }
    qp.send_cq = l->cq[LANE_SCQ];
    qp.recv_cq = l->cq[LANE_RCQ];
    if (rdma_create_qp(l->id, l->nic->pd, &qp) != 0)
        return err_set(err, -errno, "RDMA: queue pair: %s", strerror(errno));
    return 0;
}

/* As a socket does when it is closed: what was sent still goes. */
static void
linger(struct lane *l)
{
    struct lane_nap z = {.role = LANE_SENDER, .cqs = 1u << LANE_SCQ};

    if (!atomic_load(&l->connected) || l->reads)
        return;
    z.deadline_us = clock_mono_us() + LINGER_US;
    while (!atomic_load(&l->broken)) {
        bool left;

        pthread_mutex_lock(&l->tx_mu);
        lane_drain_tx_locked(l);
        left = l->done == l->posted;
        pthread_mutex_unlock(&l->tx_mu);
        if (left || lane_nap(l, &z) != 0)
            return;
    }
}
