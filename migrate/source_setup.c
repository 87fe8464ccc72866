/* Everything before the first page: the guest's memory, the connections, the handshake, the
 * tracker; and the reverse. See source_int.h. */
#include "migrate/source_int.h"

#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "migrate/xport.h"

static int get_regions(struct mig_source *s, struct err *err);
static int connect_control(struct mig_source *s);
static int connect_data(struct mig_source *s);
static int connect_channel(struct mig_source *s, uint32_t channel, struct conn **ret);
static void mark_urgent(struct mig_source *s);
static int read_answer(struct mig_source *s, struct conn *c, struct err *err);

int
source_setup(struct mig_source *s)
{
    struct err err = {0};
    int rc = get_regions(s, &err);

    if (rc == 0)
        rc = track_probe(&err);
    if (rc != 0)
        return source_trouble(s, MIG_CAUSE_GUEST, rc, &err);
    s->words = s->layout.stripes * LAYOUT_STRIPE_PAGES / 64;
    s->dirty = xcalloc(s->words, 8);
    s->sent = xcalloc(s->words, 8);
    s->again = xcalloc(s->words, 8);
    s->unconfirmed = xcalloc(s->words, 8);
    s->heat = xcalloc(s->layout.stripes, 1);
    if (s->cfg.recovering)
        return 0;
    rc = source_connect(s);
    if (rc != 0)
        return rc;
    rc = track_new(&s->cfg.guest, s->regions, s->layout.regions, &s->track, &err);
    return rc ? source_trouble(s, MIG_CAUSE_GUEST, rc, &err) : 0;
}

int
source_connect(struct mig_source *s)
{
    int rc;

    s->epoch++;
    rc = connect_control(s);
    if (rc == 0)
        rc = source_lanes_dial(s);
    if (rc == 0 && !s->lanes)
        rc = connect_data(s);
    if (rc != 0)
        return rc;
    source_lanes_say(s);
    source_rdma_open(s);
    mark_urgent(s);
    source_look_at_path(s);
    pthread_mutex_lock(&s->mu);
    s->stats.link = s->around ? MIG_LINK_FALLBACK : MIG_LINK_MAIN;
    pthread_mutex_unlock(&s->mu);
    return 0;
}

/* That the network may treat it as any other is worth a word, and no reason to stop. */
static void
mark_urgent(struct mig_source *s)
{
    char text[MIG_DECISION_TEXT];
    struct err err = {0};

    if (!s->urgent.conn || s->lanes || s->mark_said ||
        xport_mark(conn_fd(s->urgent.conn), s->cfg.urgent_priority, s->cfg.urgent_dscp, &err) == 0)
        return;
    s->mark_said = true;
    snprintf(text, sizeof text, "post-copy's answers are not marked as urgent: %.200s",
             err_msg(&err));
    source_log(s, text);
}

void
source_teardown(struct mig_source *s)
{
    source_unthrottle(s);
    source_workers_stop(s);
    source_rdma_close(s);
    source_post_done(s);
    for (uint32_t i = 0; i < s->channels && s->workers; i++) {
        struct source_worker *w = &s->workers[i];

        conn_free(TAKE_PTR(w->conn));
        for (uint32_t r = 0; r < s->layout.regions; r++)
            present_done(&w->present[r]);
        track_buf_free(w->scan);
        free(w->batch.pages);
        w->batch.pages = NULL;
        w->scan = NULL;
        source_encode_done(w);
    }
    source_lanes_drop(s);
    track_free(s->track, NULL);
    s->track = NULL;
    pthread_mutex_lock(&s->mu);
    source_sum_stats(s, &s->stats);
    s->stats.again_pages = s->again_pages;
    s->stats.link = MIG_LINK_NONE;
    s->stats.remaining_bytes = s->sw.state == SWITCH_SRC_MOVED ? 0 : s->stats.remaining_bytes;

    struct ctl *ctl = s->ctl;

    s->ctl_bytes += ctl ? ctl_bytes(ctl) : 0;
    s->ctl = NULL;
    pthread_mutex_unlock(&s->mu);
    ctl_free(ctl);
    free(s->dirty);
    free(s->sent);
    free(s->again);
    free(s->digests);
    free(s->unconfirmed);
    free(s->heat);
    s->dirty = s->sent = s->again = s->unconfirmed = s->digests = NULL;
    s->heat = NULL;
}

static int
get_regions(struct mig_source *s, struct err *err)
{
    struct layout_region r[GUEST_MAX_REGIONS];
    int n = s->cfg.guest.ops->regions(s->cfg.guest.impl, s->regions, err);

    if (n < 0)
        return n;
    for (int i = 0; i < n && i < GUEST_MAX_REGIONS; i++)
        r[i] = (struct layout_region){.size_bytes = s->regions[i].size,
                                      .page_bytes = s->regions[i].page_bytes};

    int rc = layout_init(&s->layout, r, (uint32_t)n, s->channels, err);

    pthread_mutex_lock(&s->mu);
    s->stats.total_bytes = s->stats.remaining_bytes = rc ? 0 : s->layout.total_bytes;
    pthread_mutex_unlock(&s->mu);
    return rc;
}

int
source_dial(const struct mig_source_config *cfg, uint64_t user_timeout_us, int cancel_fd,
            struct conn **ret, uint64_t *ret_rtt_us, struct err *err)
{
    struct xport_dial d = {.addr = cfg->target_addr,
                           .local_ip = cfg->local_ip,
                           .device = cfg->bind_device,
                           .timeout_us = SOURCE_DIAL_US,
                           .user_timeout_us = user_timeout_us,
                           .cancel_fd = cancel_fd};
    struct conn *c;
    int fd, rc = xport_dial(&d, &fd, ret_rtt_us, err);

    if (rc != 0)
        return rc;
    if (cfg->tls) {
        rc = conn_tls(fd, cfg->tls, false, cfg->tls_peer, &c, err);
        if (rc != 0)
            return rc;
        rc = conn_handshake_wait(c, SOURCE_DIAL_US, cancel_fd, err);
        if (rc != 0) {
            conn_free(c);
            return err_prefix(err, rc, "connect to %s", cfg->target_addr);
        }
    } else {
        c = conn_plain(fd);
    }
    *ret = c;
    return 0;
}

static int
dial(struct mig_source *s, uint64_t user_timeout_us, struct conn **ret)
{
    struct err err = {0};
    uint64_t rtt;
    int rc = source_dial(&s->cfg, user_timeout_us, s->wake_fd, ret, &rtt, &err);

    if (rc == 0 && (s->rtt_us == 0 || rtt < s->rtt_us))
        s->rtt_us = rtt;
    if (rc == -ECANCELED)
        return source_trouble(s, MIG_CAUSE_CANCELLED, rc, &err);
    return rc ? source_trouble(s, MIG_CAUSE_CONNECT, rc, &err) : 0;
}

static int
connect_control(struct mig_source *s)
{
    struct control_msg m = {.type = CONTROL_HELLO,
                            .hello = {.version_min = PROTO_VERSION_MIN,
                                      .version_max = PROTO_VERSION,
                                      .capabilities = CONTROL_CAPS_ENCODINGS,
                                      .regions_len = s->layout.regions,
                                      .channels = s->channels,
                                      .stripe_bytes = LAYOUT_STRIPE_BYTES,
                                      .urgent = s->cfg.policy.allow_post_copy || s->cfg.recovering,
                                      .resume = s->epoch > 1,
                                      .serve = s->sw.state == SWITCH_SRC_SERVING,
                                      .epoch = s->epoch,
                                      .round = s->round}};
    struct err err = {0};
    struct conn *conn = NULL;
    struct ctl *ctl;
    int rc;

    if (FAULT(SRC_CONNECT)) {
        rc = err_set(&err, -EIO, "fault point src.connect");
        return source_trouble(s, MIG_CAUSE_CONNECT, rc, &err);
    }
    /* first: it takes time, and the target does not wait for a HELLO for long */
    m.hello.rdma = source_lanes_offer(s);
    rc = dial(s, s->cfg.dead_peer_us, &conn);
    if (rc != 0)
        return rc;
    rc = ctl_new(conn, s->cfg.ident.generation, s->cfg.dead_peer_us, &ctl, &err);
    if (rc != 0)
        return source_trouble(s, MIG_CAUSE_LOCAL, rc, &err);
    pthread_mutex_lock(&s->mu);
    s->ctl = ctl;
    s->stats.encrypted = !conn_is_plain(conn) && !s->rdma_used;
    conn_suite(conn, s->stats.suite);
    pthread_mutex_unlock(&s->mu);
    memcpy(m.hello.vmi_uid, s->cfg.ident.vmi_uid, sizeof m.hello.vmi_uid);
    memcpy(m.hello.migration_uid, s->cfg.ident.migration_uid, sizeof m.hello.migration_uid);
    for (uint32_t i = 0; i < s->layout.regions; i++)
        m.hello.regions[i] = (struct layout_region){.size_bytes = s->regions[i].size,
                                                    .page_bytes = s->regions[i].page_bytes};
    rc = ctl_send(ctl, &m, &err);
    if (rc == 0)
        rc = ctl_wait(ctl, ctl_dead_peer_us(ctl), s->wake_fd, &m, &err);
    if (rc == -ECANCELED)
        return source_trouble(s, MIG_CAUSE_CANCELLED, rc, &err);
    if (rc < 0) {
        err_prefix(&err, rc, "handshake with %s", s->cfg.target_addr);
        return source_trouble(s, rc == -EPROTO ? MIG_CAUSE_PROTOCOL : MIG_CAUSE_CONNECT, rc, &err);
    }
    rc = 0;
    if (m.type == CONTROL_ERROR) {
        rc = err_set(&err, -ECONNREFUSED, "the target refuses: %s", m.text.text);
        s->refused = m.text.code;
        source_trouble(s, MIG_CAUSE_PEER, rc, &err);
    } else if (m.type != CONTROL_ACCEPT || m.accept.channels != s->channels) {
        rc = err_set(&err, -EPROTO, "handshake: the target answers %s to HELLO with %u channels",
                     control_type_name(m.type), s->channels);
        source_trouble(s, MIG_CAUSE_PROTOCOL, rc, &err);
    } else {
        memcpy(s->token, m.accept.token, CONTROL_TOKEN_SIZE);
        s->can_post_copy = m.accept.urgent;
        s->capabilities = m.accept.capabilities & CONTROL_CAPS_ENCODINGS;
        s->rdma_answered = m.accept.has_rdma;
        s->rdma_answer = m.accept.rdma;
    }
    control_msg_done(&m);
    return rc;
}

static int
connect_data(struct mig_source *s)
{
    int rc = 0;

    for (uint32_t i = 0; i < s->channels && rc == 0; i++)
        rc = connect_channel(s, i, &s->workers[i].conn);
    if (rc == 0 && s->can_post_copy)
        rc = connect_channel(s, FRAME_URGENT_CHANNEL, &s->urgent.conn);
    return rc;
}

static int
connect_channel(struct mig_source *s, uint32_t channel, struct conn **ret)
{
    struct frame_preamble p = {
        .channel = channel,
        .epoch = s->epoch,
        .uid_sum = frame_uid_sum(s->cfg.ident.migration_uid, s->cfg.ident.generation)};
    uint8_t buf[FRAME_PREAMBLE_SIZE];
    struct iovec iov = {.iov_base = buf, .iov_len = sizeof buf};
    struct err err = {0};
    int rc = dial(s, SOURCE_DATA_USER_US, ret);

    if (rc != 0)
        return rc;
    memcpy(p.token, s->token, CONTROL_TOKEN_SIZE);
    frame_encode_preamble(buf, &p);
    rc = conn_send(*ret, &iov, 1, &err);
    if (rc == 0)
        rc = read_answer(s, *ret, &err);
    if (rc == 0)
        return 0;
    err_prefix(&err, rc, "data channel %u", channel);
    return source_trouble(s, rc == -EPROTO ? MIG_CAUSE_PROTOCOL : MIG_CAUSE_CONNECT, rc, &err);
}

/* The target's word on a data channel, within the time after which it would count as dead. */
static int
read_answer(struct mig_source *s, struct conn *c, struct err *err)
{
    uint8_t buf[FRAME_ANSWER_SIZE];
    enum frame_answer a;
    int rc = conn_recv(c, buf, sizeof buf, ctl_dead_peer_us(s->ctl), err);

    if (rc == 0)
        rc = frame_decode_answer(buf, &a, err);
    if (rc == 0 && a != FRAME_ANSWER_OK)
        rc = err_set(err, -ECONNREFUSED, "the target refuses it");
    return rc;
}
