/* The source's data channels over RDMA: offered, set up, or given up for TCP, with the reason in the
 * decision log. What is decided is rdma_choose.h's; what a lane is, rdma_lane.h's. See source_int.h,
 * docs/protocol.md. */
#include "migrate/source_int.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/rdma_choose.h"
#include "migrate/rdma_lane.h"
#include "migrate/rdma_nic.h"

static struct choose_facts facts(const struct mig_source *s);
static void look(struct mig_source *s, struct err *err);
static int dial_all(struct mig_source *s, struct err *err);
static int dial_one(struct mig_source *s, uint32_t channel, const char *addr, uint64_t deadline_us,
                    struct lane **ret, struct err *err);
static int lane_address(const struct mig_source *s, char ret[MIG_ADDR_SIZE], struct err *err);
static void free_lanes(struct mig_source *s);
static int give_up(struct mig_source *s, const struct err *why);
static void count_failure(struct mig_source *s, const struct err *why);

bool
source_lanes_offer(struct mig_source *s)
{
    struct choose_facts f = facts(s);
    struct err err = {0};
    enum choose c = choose_source(&f, s->rdma_why);

    s->rdma_answered = false;
    source_lanes_drop(s); /* of a target that could not be dialled */
    if (c == CHOOSE_LOOK) {
        look(s, &err);
        f.looked = true;
        f.no_device = s->nic ? "" : err_msg(&err);
        c = choose_source(&f, s->rdma_why);
    }
    if (c == CHOOSE_ASK)
        return true;
    source_lanes_drop(s);
    return false;
}

int
source_lanes_dial(struct mig_source *s)
{
    struct choose_facts f = facts(s);
    struct err err = {0};
    int rc;

    if (!s->nic)
        return 0;
    f.looked = f.answered = true;
    f.answer = s->rdma_answered ? &s->rdma_answer : NULL;
    if (choose_source(&f, s->rdma_why) != CHOOSE_RDMA) {
        source_lanes_drop(s);
        return 0;
    }
    rc = dial_all(s, &err);
    if (rc == 0) {
        s->lanes = true;
        s->window_bytes = s->rdma_answer.window_bytes;
        return 0;
    }
    free_lanes(s);
    if (rc == -ECANCELED)
        return source_trouble(s, MIG_CAUSE_CANCELLED, rc, &err);
    return give_up(s, &err);
}

void
source_lanes_say(struct mig_source *s)
{
    const char *device = s->lanes ? nic_facts(s->nic)->device : "";
    enum mig_transport is = s->lanes ? MIG_TRANSPORT_RDMA : MIG_TRANSPORT_TCP;
    char text[MIG_DECISION_TEXT], why[MIG_ESTIMATE_SIZE];
    uint32_t pairs = s->channels + (s->can_post_copy ? 2 : 0);
    bool same;

    snprintf(why, sizeof why, "%s", s->rdma_why);
    pthread_mutex_lock(&s->mu);
    same = is == s->stats.transport && strcmp(why, s->stats.transport_why) == 0 &&
           strcmp(device, s->stats.rdma_device) == 0;
    s->stats.transport = is;
    memcpy(s->stats.transport_why, why, sizeof why);
    snprintf(s->stats.rdma_device, sizeof s->stats.rdma_device, "%s", device);
    if (s->lanes)
        s->rdma_used = true;
    if (s->rdma_used) /* whatever the control connection is */
        s->stats.encrypted = false;
    pthread_mutex_unlock(&s->mu);
    if (same || (!s->lanes && !why[0]))
        return;
    if (s->lanes)
        snprintf(text, sizeof text,
                 "data channels over RDMA: %s, %u queue pairs, not encrypted: the network is "
                 "declared trusted",
                 device, pairs);
    else
        snprintf(text, sizeof text, "data channels over TCP: %s", why);
    source_log(s, text);
}

void
source_lanes_lost(struct mig_source *s)
{
    if (s->lanes)
        count_failure(s, &s->err);
    s->lanes = false;
}

void
source_lanes_drop(struct mig_source *s)
{
    lane_free(TAKE_PTR(s->read_lane));
    nic_close(TAKE_PTR(s->nic));
    s->lanes = false;
}

static struct choose_facts
facts(const struct mig_source *s)
{
    return (struct choose_facts){.transport = s->cfg.policy.transport,
                                 .encoding = s->cfg.policy.encoding,
                                 .trusted = s->cfg.network_trusted,
                                 .around = s->around,
                                 .failures = s->rdma_failures,
                                 .failure = s->rdma_failure,
                                 .looked = s->cfg.rdma_off,
                                 .no_device =
                                     s->cfg.rdma_off ? "RDMA is turned off at this host" : ""};
}

/* The device is the one behind the address that the control connection will have here. */
static void
look(struct mig_source *s, struct err *err)
{
    (void)nic_open(s->cfg.local_ip, s->cfg.target_addr, &s->nic, err);
}

/* One after the other: the target takes them in any order, but one at a time. */
static int
dial_all(struct mig_source *s, struct err *err)
{
    uint64_t deadline = clock_mono_us() + SOURCE_LANES_US;
    char addr[MIG_ADDR_SIZE];
    struct lane *l;
    int rc = lane_address(s, addr, err);

    for (uint32_t i = 0; i < s->channels && rc == 0; i++) {
        rc = dial_one(s, i, addr, deadline, &l, err);
        if (rc == 0)
            s->workers[i].conn = conn_rdma(l);
    }
    if (rc != 0 || !s->can_post_copy)
        return rc;
    rc = dial_one(s, FRAME_URGENT_CHANNEL, addr, deadline, &l, err);
    if (rc != 0)
        return rc;
    s->urgent.conn = conn_rdma(l);
    return dial_one(s, FRAME_READ_CHANNEL, addr, deadline, &s->read_lane, err);
}

static int
dial_one(struct mig_source *s, uint32_t channel, const char *addr, uint64_t deadline_us,
         struct lane **ret, struct err *err)
{
    struct frame_preamble p = {
        .channel = channel,
        .epoch = s->epoch,
        .uid_sum = frame_uid_sum(s->cfg.ident.migration_uid, s->cfg.ident.generation)};
    struct lane_config cfg = {.read_by_peer = channel == FRAME_READ_CHANNEL,
                              .dscp = channel < s->channels ? 0 : s->cfg.urgent_dscp};
    uint8_t buf[FRAME_PREAMBLE_SIZE];
    uint64_t now = clock_mono_us();
    int rc;

    memcpy(p.token, s->rdma_answer.token, CONTROL_TOKEN_SIZE);
    frame_encode_preamble(buf, &p);
    rc = lane_dial(s->nic, addr, buf, &cfg, deadline_us > now ? deadline_us - now : 1, s->wake_fd,
                   ret, err);
    return rc ? err_prefix(err, rc, "queue pair %u", channel) : 0;
}

/* Where the target's device listens: on the control connection's address, at a port of its own. */
static int
lane_address(const struct mig_source *s, char ret[MIG_ADDR_SIZE], struct err *err)
{
    const char *colon = strrchr(s->cfg.target_addr, ':');
    int n = colon ? snprintf(ret, MIG_ADDR_SIZE, "%.*s:%u", (int)(colon - s->cfg.target_addr),
                             s->cfg.target_addr, s->rdma_answer.port)
                  : MIG_ADDR_SIZE;

    return n < MIG_ADDR_SIZE ? 0 : err_set(err, -EINVAL, "%s: want ip:port", s->cfg.target_addr);
}

static void
free_lanes(struct mig_source *s)
{
    for (uint32_t i = 0; i < s->channels; i++)
        conn_free(TAKE_PTR(s->workers[i].conn));
    conn_free(TAKE_PTR(s->urgent.conn));
    source_lanes_drop(s);
}

/* The same connection goes on over TCP; the target waits for this word. */
static int
give_up(struct mig_source *s, const struct err *why)
{
    struct control_msg m = {.type = CONTROL_RDMA_OFF};

    count_failure(s, why);
    snprintf(s->rdma_why, sizeof s->rdma_why, "RDMA could not be set up: %.400s", err_msg(why));
    snprintf(m.text.text, sizeof m.text.text, "%.500s", err_msg(why));
    return source_say(s, &m);
}

static void
count_failure(struct mig_source *s, const struct err *why)
{
    s->rdma_failures++;
    snprintf(s->rdma_failure, sizeof s->rdma_failure, "%s", err_msg(why));
}
