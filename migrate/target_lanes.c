/* The target's data channels over RDMA: a listener of their own beside the TCP one, at the address that
 * the source has reached, for one connection of one migration. Who does not show its token does not get
 * in. See target_int.h, rdma_choose.h, docs/protocol.md. */
#include "migrate/target_int.h"

#include <errno.h>
#include <string.h>

#include "base/rng.h"
#include "migrate/rdma_choose.h"
#include "migrate/rdma_lane.h"
#include "migrate/rdma_nic.h"
#include "migrate/xport.h"

#define REQUESTS_AT_ONCE 16 /* then a look at the others, however many come */
#define READS_AT_ONCE    16 /* where the device has as many: faults that are open at a time */

static int listen_there(struct mig_target *t, uint16_t *ret_port, struct err *err);
static void take(struct mig_target *t, struct nic_request *r,
                 const uint8_t preamble[FRAME_PREAMBLE_SIZE]);

void
target_lanes_offer(struct mig_target *t, bool around, struct control_rdma *ret)
{
    struct choose_facts f = {.transport = MIG_TRANSPORT_RDMA,
                             .encoding = MIG_ENC_RAW,
                             .trusted = t->cfg.network_trusted,
                             .around = around,
                             .looked = t->cfg.rdma_off,
                             .no_device = t->cfg.rdma_off ? "RDMA is turned off at this host" : ""};
    struct err err = {0};
    enum choose c = choose_target(&f, ret->why);

    memset(ret->token, 0, sizeof ret->token);
    ret->port = 0;
    ret->window_bytes = 0;
    if (c == CHOOSE_LOOK) {
        f.looked = true;
        f.no_device = listen_there(t, &ret->port, &err) == 0 ? "" : err_msg(&err);
        c = choose_target(&f, ret->why);
    }
    if (c != CHOOSE_RDMA)
        return;
    memcpy(ret->token, t->rdma_token, sizeof ret->token);
    ret->window_bytes = target_rdma_budget(t);
    t->lanes = true;
}

int
target_lanes_fd(const struct mig_target *t)
{
    return t->nic ? nic_listen_fd(t->nic) : -1;
}

void
target_lanes_take(struct mig_target *t)
{
    for (int i = 0; i < REQUESTS_AT_ONCE && t->nic; i++) {
        uint8_t preamble[FRAME_PREAMBLE_SIZE];
        struct nic_request *r;
        struct err err = {0};
        int rc = nic_next_request(t->nic, &r, preamble, &err);

        if (rc == 0)
            return;
        if (rc < 0) {
            /* No lane comes any more, and none that came is good: the source finds out, and its
             * RDMA_OFF, or the deadline, is what is waited for. */
            target_lanes_drop(t);
            t->lanes = true;
            return;
        }
        take(t, r, preamble);
    }
}

void
target_lanes_say(struct mig_target *t)
{
    uint32_t mtu = 0, segment = 0;

    if (t->lanes) /* they have no socket: the control connection goes the same way */
        xport_path(ctl_fd(t->ctl), &mtu, &segment);
    pthread_mutex_lock(&t->mu);
    t->stats.transport = t->lanes ? MIG_TRANSPORT_RDMA : MIG_TRANSPORT_TCP;
    snprintf(t->stats.rdma_device, sizeof t->stats.rdma_device, "%s",
             t->nic ? nic_facts(t->nic)->device : "");
    if (t->lanes)
        t->rdma_used = true;
    if (t->rdma_used) /* whatever the control connection is */
        t->stats.encrypted = false;
    if (t->lanes) {
        t->stats.path_mtu_bytes = mtu;
        t->stats.segment_bytes = segment;
    }
    pthread_mutex_unlock(&t->mu);
}

void
target_lanes_drop(struct mig_target *t)
{
    pthread_mutex_lock(&t->mu);
    for (uint32_t i = 0; i < t->chans_len && t->chans; i++)
        if (t->chans[i].conn && conn_lane(t->chans[i].conn))
            conn_free(TAKE_PTR(t->chans[i].conn));
    pthread_mutex_unlock(&t->mu);
    lane_free(TAKE_PTR(t->read_lane));
    nic_close(TAKE_PTR(t->nic));
    t->lanes = false;
}

static int
listen_there(struct mig_target *t, uint16_t *ret_port, struct err *err)
{
    char ip[MIG_ADDR_SIZE];
    int rc = xport_local_ip(ctl_fd(t->ctl), ip, err);

    if (rc == 0)
        rc = rng_secret(t->rdma_token, sizeof t->rdma_token);
    if (rc == 0)
        rc = nic_open(ip, "", &t->nic, err);
    if (rc == 0)
        rc = nic_listen(t->nic, ret_port, err);
    if (rc != 0)
        nic_close(TAKE_PTR(t->nic));
    return rc;
}

/* Attaches or refuses it. */
static void
take(struct mig_target *t, struct nic_request *r, const uint8_t preamble[FRAME_PREAMBLE_SIZE])
{
    struct frame_preamble p = {0};
    bool ok = target_preamble_ok(t, preamble, t->rdma_token, &p) && t->lanes;
    bool reads = p.channel == FRAME_READ_CHANNEL, urgent = p.channel == FRAME_URGENT_CHANNEL;
    uint32_t at = urgent ? t->channels : p.channel; /* the urgent one is the last */
    uint32_t depth = nic_facts(t->nic)->read_depth;
    struct lane_config cfg = {.reads = !reads                  ? 0
                                       : depth < READS_AT_ONCE ? depth
                                                               : READS_AT_ONCE,
                              .dscp = reads || urgent ? t->cfg.urgent_dscp : 0};
    struct lane *l;

    ok = ok && (reads ? t->urgent && !t->read_lane
                      : at < (urgent ? t->chans_len : t->channels) && !t->chans[at].conn);
    if (!ok) {
        lane_refuse(r);
        return;
    }
    if (lane_accept(r, &cfg, &l, NULL) != 0)
        return; /* the source knows, too */
    if (reads)
        t->read_lane = l;
    else
        t->chans[at].conn = conn_rdma(l);
}
