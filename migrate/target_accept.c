/* The target's front door: connections come from anywhere that can reach the address, and only
 * those that show the right identity (and, for data, the secret of this session) get in. Each has
 * its own deadline, so a silent stranger holds up nobody. See target_int.h. */
#include "migrate/target_int.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/rng.h"
#include "migrate/xport.h"

#define FIRST_MAX     8192    /* bytes of a connection's first frame */
#define TOLD_US       1000000 /* cfg.refused is called so often at most */
#define TLS_HANDSHAKE 22      /* the first bytes of a ClientHello (RFC 8446, 5.1) */
#define TLS_MAJOR     3

/* A connection that has not shown yet what it is. */
struct pending {
    struct conn *conn; /* NULL = free */
    bool shaken;       /* the handshake of TLS is over */
    bool leaving;      /* turned away: it may still read why */
    bool held;         /* a data channel of a source that is about to say RDMA_OFF */
    bool around;       /* it came to the fallback address */
    uint64_t deadline_us;
    size_t have;
    uint8_t buf[FIRST_MAX];
};

struct door {
    struct mig_target *t;
    bool want_data;
    uint64_t deadline_us;
    uint64_t told_us; /* when cfg.refused was called */
    struct err why;   /* the last one that was turned away */
    struct pending pending[TARGET_PENDING];
};

static int serve(struct door *d);
static void take_listeners(struct mig_target *t);
static void take_new(struct door *d, int listen_fd, uint64_t now);
static short events(struct pending *p);
static void attend(struct door *d, struct pending *p);
static void turn_away(struct door *d, struct pending *p, const struct err *why);
static void read_first(struct door *d, struct pending *p);
static int want(const struct pending *p, size_t *ret, struct err *err);
static void on_first(struct door *d, struct pending *p);
static void on_control(struct door *d, struct pending *p);
static void on_hello(struct door *d, struct pending *p, const struct control_hello *h);
static void on_question(struct door *d, struct pending *p, const struct control_question *q);
static void on_data(struct door *d, struct pending *p);
static uint32_t expected(const struct mig_target *t);
static uint32_t attached(const struct mig_target *t);
static void on_rdma_off(struct door *d, const char *why);
static void mark_urgent(struct mig_target *t);
static void note_path(struct mig_target *t, uint32_t channel);
static bool may_begin(const struct mig_target *t, const struct control_hello *h);
static bool same_ident(const struct mig_target *t, const char *vmi, const char *migration,
                       uint64_t generation);
static int adopt(struct mig_target *t, struct pending *p);
static int check_control(struct door *d);
static void refuse(struct pending *p, uint64_t generation, enum control_error_code code,
                   const char *text);
static void encode_refusal(struct sb *out, uint64_t generation, enum control_error_code code,
                           const char *text);
static void drop(struct pending *p);

int
target_accept(struct mig_target *t, bool want_data, uint64_t deadline_us)
{
    struct door *d = xcalloc(1, sizeof *d);
    int rc;

    d->t = t;
    d->want_data = want_data;
    d->deadline_us = deadline_us;
    do
        rc = serve(d);
    while (rc == 0 && !(t->ctl && (!want_data || attached(t) == expected(t))));
    if (rc == 0 && want_data)
        target_lanes_say(t);
    for (int i = 0; i < TARGET_PENDING; i++)
        drop(&d->pending[i]);
    free(d);
    return rc;
}

/* One turn. */
static int
serve(struct door *d)
{
    struct mig_target *t = d->t;
    struct pollfd p[5 + TARGET_PENDING] = {{.events = POLLIN},
                                           {.fd = t->wake_fd, .events = POLLIN},
                                           {.fd = t->ctl ? ctl_fd(t->ctl) : -1, .events = POLLIN},
                                           {.events = POLLIN},
                                           {.fd = target_lanes_fd(t), .events = POLLIN}};
    uint64_t now;
    struct err err = {0};
    eventfd_t n;
    int rc;

    take_listeners(t);
    p[0].fd = t->listen_fd;
    p[3].fd = t->fallback_fd;
    for (int i = 0; i < TARGET_PENDING; i++)
        p[5 + i] =
            (struct pollfd){.fd = conn_fd(d->pending[i].conn), .events = events(&d->pending[i])};
    poll(p, 5 + TARGET_PENDING, TARGET_TICK_US / 1000);
    now = clock_mono_us();
    if (p[1].revents)
        eventfd_read(t->wake_fd, &n);
    if (atomic_load(&t->stop) || atomic_load(&t->hopeless)) {
        rc = err_set(&err, -ECANCELED, "stopped");
        return target_trouble(t, CONTROL_ERR_LOCAL, rc, &err);
    }
    for (int i = 0; i < TARGET_PENDING; i++) {
        if (d->pending[i].conn && p[5 + i].revents)
            attend(d, &d->pending[i]);
        if (d->pending[i].conn && now > d->pending[i].deadline_us)
            drop(&d->pending[i]);
    }
    if (p[0].revents)
        take_new(d, t->listen_fd, now);
    if (p[3].revents)
        take_new(d, t->fallback_fd, now);
    if (p[4].revents)
        target_lanes_take(t);
    if (t->ctl && d->want_data && attached(t) < expected(t)) { /* else the first round may begin */
        rc = check_control(d);
        if (rc != 0)
            return rc;
    }
    if (d->deadline_us && now > d->deadline_us) {
        rc = err_set(&err, -ETIMEDOUT,
                     t->ctl ? "the source opened %u of %u data channels in time"
                            : "no source came in time",
                     attached(t), expected(t));
        if (!t->ctl && d->why.code) {
            struct err last = d->why;

            rc = err_set(&err, rc, "no source came in time; the last that tried: %s",
                         err_msg(&last));
        }
        return t->ctl ? target_lost(t, rc, &err) : target_trouble(t, CONTROL_ERR_LOCAL, rc, &err);
    }
    return 0;
}

/* The network has changed: mig_target_relisten left other sockets. What has been accepted stays. */
static void
take_listeners(struct mig_target *t)
{
    pthread_mutex_lock(&t->mu);
    if (t->relisten) {
        if (t->listen_fd >= 0)
            close(t->listen_fd);
        if (t->fallback_fd >= 0)
            close(t->fallback_fd);
        t->listen_fd = take_fd(&t->next_listen_fd);
        t->fallback_fd = take_fd(&t->next_fallback_fd);
        t->cfg.network_trusted = t->next_trusted;
        t->relisten = false;
    }
    pthread_mutex_unlock(&t->mu);
}

static void
take_new(struct door *d, int listen_fd, uint64_t now)
{
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        struct pending *p = &d->pending[0];

        if (fd < 0)
            return;
        /* A free place, or that of the one that has been silent for longest. */
        for (int i = 0; i < TARGET_PENDING; i++) {
            if (!d->pending[i].conn) {
                p = &d->pending[i];
                break;
            }
            if (d->pending[i].deadline_us < p->deadline_us)
                p = &d->pending[i];
        }
        drop(p);
        p->have = 0;
        p->shaken = p->leaving = p->held = false;
        p->around = listen_fd == d->t->fallback_fd;
        p->deadline_us = now + TARGET_HANDSHAKE_US;
        if (!d->t->cfg.tls)
            p->conn = conn_plain(fd);
        else if (conn_tls(fd, d->t->cfg.tls, true, d->t->cfg.tls_peer, &p->conn, &d->why) != 0)
            continue;
        attend(d, p);
    }
}

static short
events(struct pending *p)
{
    if (p->held)
        return 0; /* it waits for its answer */
    return p->shaken || p->leaving ? POLLIN : conn_events(p->conn);
}

static void
attend(struct door *d, struct pending *p)
{
    struct err err = {0};

    if (p->held) {
        drop(p); /* poll reports nothing but its end */
        return;
    }
    if (p->leaving) {
        ssize_t n = recv(conn_fd(p->conn), p->buf, sizeof p->buf, MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            drop(p);
        return;
    }
    if (!p->shaken) {
        int rc = conn_handshake(p->conn, &err);

        if (rc < 0)
            turn_away(d, p, &err);
        if (rc <= 0)
            return;
        p->shaken = true;
    }
    read_first(d, p);
}

/* Its certificate is not good, or one side encrypts and the other does not. It gets to know, if it
 * is ours: what was said must not be lost because the connection closes with bytes unread, so it
 * closes when the other end has, or at the deadline. */
static void
turn_away(struct door *d, struct pending *p, const struct err *why)
{
    uint64_t now = clock_mono_us();
    uint64_t generation = d->t->cfg.ident.generation;

    if (why->code != -ECONNRESET) { /* that one left by itself */
        d->why = *why;
        if (d->t->cfg.refused && (!d->told_us || now - d->told_us > TOLD_US)) {
            d->t->cfg.refused(d->t->cfg.ctx, err_msg(why));
            d->told_us = now;
        }
    }
    if (conn_met_plaintext(p->conn)) {
        AUTO_SB struct sb out = SB_INIT;

        encode_refusal(&out, generation, CONTROL_ERR_PROTOCOL,
                       "the source sends in the clear, and this target wants TLS 1.3: encryption "
                       "must be on, or turned off, at both");
        conn_answer_plaintext(p->conn, out.buf, out.len);
        shutdown(conn_fd(p->conn), SHUT_WR);
    } else {
        conn_finish(p->conn);
    }
    p->leaving = true;
}

static void
read_first(struct door *d, struct pending *p)
{
    for (;;) {
        struct err err = {0};
        size_t need;
        ssize_t n;

        if (p->have >= 4 && p->buf[0] == TLS_HANDSHAKE && p->buf[1] == TLS_MAJOR) {
            refuse(p, d->t->cfg.ident.generation, CONTROL_ERR_PROTOCOL, "encryption is off here");
            err_set(&err, -EPROTO,
                    "the source encrypts, and this target was told not to: "
                    "encryption must be on, or turned off, at both");
            turn_away(d, p, &err);
            return;
        }
        if (want(p, &need, &err) != 0) {
            drop(p); /* no drover at the other end: no answer either */
            return;
        }
        if (p->have == need) {
            on_first(d, p);
            return;
        }
        n = conn_recv_some(p->conn, p->buf + p->have, need - p->have, NULL);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            drop(p);
            return;
        }
        p->have += (size_t)n;
    }
}

/* How many bytes the first frame has, as far as can be told from what is there. */
static int
want(const struct pending *p, size_t *ret, struct err *err)
{
    struct control_header h;

    *ret = 4;
    if (p->have < 4)
        return 0;
    if (frame_is_preamble(p->buf)) {
        *ret = FRAME_PREAMBLE_SIZE;
        return 0;
    }
    if (!control_is_frame(p->buf))
        return err_set(err, -EPROTO, "not a drover stream");
    *ret = CONTROL_HEADER_SIZE;
    if (p->have < CONTROL_HEADER_SIZE)
        return 0;

    int rc = control_decode_header(p->buf, &h, err);

    if (rc == 0 && h.length > FIRST_MAX - CONTROL_HEADER_SIZE)
        rc = err_set(err, -EPROTO, "first message of %u bytes", h.length);
    if (rc == 0)
        *ret = CONTROL_HEADER_SIZE + h.length;
    return rc;
}

static void
on_first(struct door *d, struct pending *p)
{
    if (frame_is_preamble(p->buf))
        on_data(d, p);
    else
        on_control(d, p);
    if (!p->held)
        drop(p); /* unless adopted */
}

static void
on_control(struct door *d, struct pending *p)
{
    struct control_header h;
    struct control_msg m;
    struct err err = {0};

    if (control_decode_header(p->buf, &h, &err) != 0 ||
        control_decode(&h, p->buf + CONTROL_HEADER_SIZE, &m, &err) != 0) {
        refuse(p, d->t->cfg.ident.generation, CONTROL_ERR_PROTOCOL, err_msg(&err));
        return;
    }
    if (d->t->ctl)
        refuse(p, h.generation, CONTROL_ERR_BUSY, "another source is being served");
    else if (m.type == CONTROL_HELLO)
        on_hello(d, p, &m.hello);
    else if (m.type == CONTROL_QUESTION)
        on_question(d, p, &m.question);
    else
        refuse(p, h.generation, CONTROL_ERR_PROTOCOL,
               "the first message must be HELLO or QUESTION");
    control_msg_done(&m);
}

static void
on_hello(struct door *d, struct pending *p, const struct control_hello *h)
{
    struct mig_target *t = d->t;
    struct control_msg m = {.type = CONTROL_ACCEPT,
                            .accept = {.version = PROTO_VERSION,
                                       .capabilities = h->capabilities & CONTROL_CAPS_ENCODINGS,
                                       .channels = h->channels}};
    struct control_header head;
    struct err err = {0};

    if (control_decode_header(p->buf, &head, &err) != 0)
        return;
    if (!same_ident(t, h->vmi_uid, h->migration_uid, head.generation)) {
        refuse(p, head.generation, CONTROL_ERR_IDENT,
               "another VM, migration or generation is expected here");
        return;
    }
    if (!d->want_data) {
        refuse(p, head.generation, CONTROL_ERR_BUSY, "this target is whole and waits for QUESTION");
        return;
    }
    if (!may_begin(t, h)) {
        refuse(p, head.generation, CONTROL_ERR_LOCAL,
               h->resume ? "there is nothing here to go on with" : "this migration has begun");
        return;
    }
    if (h->version_min > PROTO_VERSION || h->version_max < PROTO_VERSION_MIN) {
        refuse(p, head.generation, CONTROL_ERR_VERSION, "no common protocol version");
        return;
    }
    if (h->regions_len != t->regions_len) {
        refuse(p, head.generation, CONTROL_ERR_MEMORY, "the guests have different memory regions");
        return;
    }
    for (uint32_t i = 0; i < h->regions_len; i++) {
        if (h->regions[i].size_bytes != t->regions[i].size ||
            h->regions[i].page_bytes != t->regions[i].page_bytes) {
            refuse(p, head.generation, CONTROL_ERR_MEMORY, "the guests' memory differs in size");
            return;
        }
    }
    if (layout_init(&t->layout, h->regions, h->regions_len, h->channels, &err) != 0 ||
        rng_secret(t->token, sizeof t->token) != 0) {
        refuse(p, head.generation, CONTROL_ERR_LOCAL, err_msg(&err));
        return;
    }
    bool around = p->around;

    if (adopt(t, p) != 0)
        return;

    t->urgent = h->urgent && mig_probe_post_copy(NULL) == 0;

    uint32_t chans_len = h->channels + (t->urgent ? 1 : 0);
    struct target_chan *chans = xcalloc(chans_len, sizeof *chans);

    for (uint32_t i = 0; i < chans_len; i++) {
        chans[i].t = t;
        chans[i].index = i;
        chans[i].round = h->round + 1;
    }
    target_verify_free(t); /* of an earlier connection */
    t->kinds = FRAME_KINDS_PLAIN |
               (m.accept.capabilities & CONTROL_CAP_DELTA ? FRAME_KIND_BIT(FRAME_DELTA) : 0) |
               (m.accept.capabilities & CONTROL_CAP_LZ4 ? FRAME_KIND_BIT(FRAME_LZ4) : 0) |
               (m.accept.capabilities & CONTROL_CAP_ZSTD ? FRAME_KIND_BIT(FRAME_ZSTD) : 0);
    m.accept.urgent = t->urgent;
    m.accept.has_rdma = h->rdma;
    if (h->rdma)
        target_lanes_offer(t, around, &m.accept.rdma);
    t->epoch = h->epoch;
    t->round = h->round;
    pthread_mutex_lock(&t->mu);
    t->chans = chans;
    t->channels = t->stats.channels = h->channels;
    t->chans_len = chans_len;
    pthread_mutex_unlock(&t->mu);
    d->deadline_us = clock_mono_us() + TARGET_ATTACH_US;
    memcpy(m.accept.token, t->token, sizeof t->token);
    if (ctl_send(t->ctl, &m, &err) != 0)
        target_lost(t, -EPIPE, &err); /* check_control finds it, too */
}

static void
on_question(struct door *d, struct pending *p, const struct control_question *q)
{
    struct mig_target *t = d->t;
    struct control_header head;

    if (control_decode_header(p->buf, &head, NULL) != 0)
        return;
    if (!same_ident(t, q->vmi_uid, q->migration_uid, head.generation)) {
        refuse(p, head.generation, CONTROL_ERR_IDENT,
               "another VM, migration or generation is expected here");
        return;
    }
    if (t->post && d->want_data) { /* it runs: the source shall bring what is missing */
        struct control_msg m = {
            .type = CONTROL_ANSWER,
            .generation = head.generation,
            .text = {.code = CONTROL_GUEST_RUNNING, .missing_pages = target_post_left(t)}};
        AUTO_SB struct sb out = SB_INIT;

        control_encode(&out, &m);
        conn_send_some(p->conn, out.buf, out.len, NULL);
        return;
    }
    if (d->want_data) {
        refuse(p, head.generation, CONTROL_ERR_BUSY, "this target has not received the guest yet");
        return;
    }
    if (adopt(t, p) != 0)
        return;
    t->asked = true;
    t->asked_commit = q->commit;
}

static void
on_data(struct door *d, struct pending *p)
{
    struct mig_target *t = d->t;
    struct frame_preamble pre = {0};
    uint8_t answer[FRAME_ANSWER_SIZE];
    bool ok = target_preamble_ok(t, p->buf, t->token, &pre) && d->want_data;
    bool urgent = pre.channel == FRAME_URGENT_CHANNEL;
    uint32_t at = urgent ? t->channels : pre.channel; /* the urgent one is the last */

    ok = ok && at < (urgent ? t->chans_len : t->channels);
    if (ok && t->lanes) { /* RDMA_OFF travels on another connection and may be later */
        p->held = true;
        return;
    }
    ok = ok && !t->chans[at].conn;
    frame_encode_answer(answer, ok ? FRAME_ANSWER_OK : FRAME_ANSWER_REFUSED);
    if (conn_send_some(p->conn, answer, sizeof answer, NULL) != (ssize_t)sizeof answer || !ok)
        return;
    xport_tune(conn_fd(p->conn), TARGET_DATA_USER_US);
    t->chans[at].conn = TAKE_PTR(p->conn);
    if (urgent)
        mark_urgent(t);
    else
        note_path(t, pre.channel);
}

/* The source and nobody else knows the token: it is compared in constant time. */
bool
target_preamble_ok(const struct mig_target *t, const uint8_t buf[FRAME_PREAMBLE_SIZE],
                   const uint8_t token[CONTROL_TOKEN_SIZE], struct frame_preamble *ret)
{
    bool ok = frame_decode_preamble(buf, ret, NULL) == 0 && t->ctl && ret->epoch == t->epoch &&
              ret->uid_sum == frame_uid_sum(t->cfg.ident.migration_uid, t->cfg.ident.generation);
    uint8_t differ = 0;

    for (size_t i = 0; i < CONTROL_TOKEN_SIZE; i++)
        differ |= ret->token[i] ^ token[i];
    return ok && differ == 0;
}

/* Connections that there must be: with RDMA one more, for READs. */
static uint32_t
expected(const struct mig_target *t)
{
    return t->chans_len + (t->lanes && t->urgent ? 1 : 0);
}

static uint32_t
attached(const struct mig_target *t)
{
    uint32_t n = t->read_lane ? 1 : 0;

    for (uint32_t i = 0; i < t->chans_len; i++)
        n += t->chans[i].conn ? 1 : 0;
    return n;
}

/* The source could not set it up: none of its lanes stays, and TCP it is. */
static void
on_rdma_off(struct door *d, const char *why)
{
    char text[CONTROL_TEXT_SIZE + 64];

    target_lanes_drop(d->t);
    d->deadline_us = clock_mono_us() + TARGET_ATTACH_US;
    if (d->t->cfg.noted) {
        snprintf(text, sizeof text, "data channels over TCP: the source: %s", why);
        d->t->cfg.noted(d->t->cfg.ctx, text);
    }
    for (int i = 0; i < TARGET_PENDING; i++) {
        struct pending *p = &d->pending[i];

        if (!p->conn || !p->held)
            continue;
        p->held = false;
        on_data(d, p);
        drop(p); /* unless attached */
    }
}

/* As the source does with its end: what it answers is nothing without what it was asked. */
static void
mark_urgent(struct mig_target *t)
{
    struct err err = {0};
    char text[MIG_DECISION_TEXT];

    if (xport_mark(conn_fd(t->chans[t->channels].conn), t->cfg.urgent_priority, t->cfg.urgent_dscp,
                   &err) == 0 ||
        !t->cfg.noted)
        return;
    snprintf(text, sizeof text, "post-copy's requests are not marked as urgent: %.200s",
             err_msg(&err));
    t->cfg.noted(t->cfg.ctx, text);
}

static void
note_path(struct mig_target *t, uint32_t channel)
{
    uint32_t mtu, segment;

    xport_path(conn_fd(t->chans[channel].conn), &mtu, &segment);
    pthread_mutex_lock(&t->mu);
    t->stats.path_mtu_bytes = mtu;
    t->stats.segment_bytes = segment;
    pthread_mutex_unlock(&t->mu);
}

/* A first connection begins a migration; later ones go on with it, where it is. */
static bool
may_begin(const struct mig_target *t, const struct control_hello *h)
{
    if (t->post)
        return h->serve;
    if (t->epoch == 0)
        return !h->resume && h->round == 0;
    return h->resume && !h->serve && h->epoch > t->epoch && h->channels == t->layout.channels &&
           (h->round == t->round || h->round == t->round + 1);
}

static bool
same_ident(const struct mig_target *t, const char *vmi, const char *migration, uint64_t generation)
{
    return strcmp(vmi, t->cfg.ident.vmi_uid) == 0 &&
           strcmp(migration, t->cfg.ident.migration_uid) == 0 &&
           generation == t->cfg.ident.generation;
}

/* The pending connection becomes the control connection. */
static int
adopt(struct mig_target *t, struct pending *p)
{
    struct err err = {0};
    struct conn *conn = TAKE_PTR(p->conn);
    bool around = p->around;
    struct ctl *ctl;
    int rc = ctl_new(conn, t->cfg.ident.generation, t->cfg.dead_peer_us, &ctl, &err);

    if (rc != 0)
        return target_trouble(t, CONTROL_ERR_LOCAL, rc, &err);
    pthread_mutex_lock(&t->mu);
    t->ctl = ctl;
    t->stats.link = around ? MIG_LINK_FALLBACK : MIG_LINK_MAIN;
    t->stats.encrypted = !conn_is_plain(conn) && !t->rdma_used;
    conn_suite(conn, t->stats.suite);
    pthread_mutex_unlock(&t->mu);
    return 0;
}

/* While data channels are waited for: the source may give up. */
static int
check_control(struct door *d)
{
    struct mig_target *t = d->t;
    struct control_msg m;
    struct err err = {0};
    int rc;

    if (t->err.code)
        return t->err.code;
    rc = ctl_recv(t->ctl, &m, &err);
    if (rc == 0 && ctl_dead(t->ctl, clock_mono_us()))
        rc = err_set(&err, -ETIMEDOUT, "nothing was heard from the source for %llu ms",
                     (unsigned long long)ctl_dead_peer_us(t->ctl) / 1000);
    if (rc == 1) {
        if (m.type == CONTROL_RDMA_OFF && t->lanes) {
            on_rdma_off(d, m.text.text);
            rc = 0;
        } else if (m.type == CONTROL_ABORT)
            rc = err_set(&err, -ECANCELED, "the source gave up: %s", m.text.text);
        else /* a lane that is good at the source may have failed here: no fault of its own */
            rc = err_set(&err, t->lanes ? -ENOTCONN : -EPROTO,
                         "the source says %s before its data channels are there",
                         control_type_name(m.type));
        control_msg_done(&m);
    }
    if (rc == -EPROTO || rc == -ECANCELED)
        return target_trouble(t, rc == -EPROTO ? CONTROL_ERR_PROTOCOL : CONTROL_ERR_LOCAL, rc,
                              &err);
    return rc ? target_lost(t, rc, &err) : 0;
}

static void
refuse(struct pending *p, uint64_t generation, enum control_error_code code, const char *text)
{
    AUTO_SB struct sb out = SB_INIT;

    encode_refusal(&out, generation, code, text);
    /* What fits into an empty socket buffer; nobody waits for a stranger. */
    conn_send_some(p->conn, out.buf, out.len, NULL);
}

static void
encode_refusal(struct sb *out, uint64_t generation, enum control_error_code code, const char *text)
{
    struct control_msg m = {
        .type = CONTROL_ERROR, .generation = generation, .text.code = (int)code};

    snprintf(m.text.text, sizeof m.text.text, "%s", text);
    control_encode(out, &m);
}

static void
drop(struct pending *p)
{
    conn_free(TAKE_PTR(p->conn));
}
