/* The target's front door; see relay_door.h. */
#include "migrate/relay_door.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/sb.h"
#include "migrate/xport.h"

#define TOLD_US       1000000 /* cfg.refused is called so often at most */
#define RETRY_US      10000   /* between two looks at whether QEMU's socket is there */
#define LEAVE_US      1000000 /* who was turned away may read why for so long */
#define TLS_HANDSHAKE 22      /* the first bytes of a ClientHello (RFC 8446, 5.1) */
#define TLS_MAJOR     3

enum state { EMPTY, SHAKING, READING, WAITING, LEAVING };

struct place {
    enum state state;
    struct conn *conn;
    uint64_t deadline_us;
    size_t have;
    uint8_t buf[RELAY_FRAME_HELLO_SIZE];
    struct relay_hello hello; /* WAITING */
    struct err why;           /* its socket here is not there yet */
};

struct relay_door {
    struct relay_door_config cfg;
    uint64_t told_us;
    bool in_session;
    uint64_t session;
    uint32_t next; /* data stream to be connected */
    struct place places[RELAY_DOOR_PLACES];
    unsigned polled[RELAY_DOOR_PLACES]; /* which place each of the last poll is */
};

static struct place *free_place(struct relay_door *d);
static void attend(struct relay_door *d, struct place *p, uint64_t now_us);
static void read_hello(struct relay_door *d, struct place *p, uint64_t now_us);
static void on_hello(struct relay_door *d, struct place *p, uint64_t now_us);
static const char *objection(const struct relay_door *d, const struct relay_hello *h);
static void begin_session(struct relay_door *d, struct place *p, uint64_t now_us);
static void try_connect(struct relay_door *d, struct place *p, uint64_t now_us);
static int connect_local(const char *path, int *ret, struct err *err);
static bool answer_ok(struct place *p);
static void refuse(struct relay_door *d, struct place *p, const char *why, uint64_t now_us);
static void tell(struct relay_door *d, const char *why, uint64_t now_us);
static void leave(struct place *p, uint64_t now_us);
static void drop(struct place *p);

struct relay_door *
relay_door_new(const struct relay_door_config *cfg)
{
    struct relay_door *d = xcalloc(1, sizeof *d);

    d->cfg = *cfg;
    return d;
}

void
relay_door_free(struct relay_door *d)
{
    for (unsigned i = 0; d && i < RELAY_DOOR_PLACES; i++)
        drop(&d->places[i]);
    free(d);
}

size_t
relay_door_poll(struct relay_door *d, struct pollfd *p, uint64_t *ret_wait_us)
{
    size_t n = 0;

    for (unsigned i = 0; i < RELAY_DOOR_PLACES; i++) {
        struct place *at = &d->places[i];

        if (at->state == EMPTY)
            continue;
        p[n] = (struct pollfd){.fd = conn_fd(at->conn),
                               .events = at->state == SHAKING ? conn_events(at->conn) : POLLIN};
        d->polled[n++] = i;
        if (at->state == WAITING && *ret_wait_us > RETRY_US)
            *ret_wait_us = RETRY_US;
    }
    return n;
}

void
relay_door_look(struct relay_door *d, const struct pollfd *p, size_t len, uint64_t now_us)
{
    bool connected = true;

    for (size_t i = 0; i < len; i++) {
        struct place *at = &d->places[d->polled[i]];

        if (at->state != EMPTY && p[i].revents)
            attend(d, at, now_us);
    }
    /* One may be connected after the other. */
    while (connected) {
        uint32_t next = d->next;

        for (unsigned i = 0; i < RELAY_DOOR_PLACES; i++) {
            if (d->places[i].state == WAITING)
                try_connect(d, &d->places[i], now_us);
        }
        connected = d->next != next;
    }
    for (unsigned i = 0; i < RELAY_DOOR_PLACES; i++) {
        struct place *at = &d->places[i];

        if (at->state == EMPTY || now_us <= at->deadline_us)
            continue;
        if (at->state == WAITING)
            refuse(d, at,
                   at->why.code ? err_msg(&at->why)
                                : "the data stream before it was not connected in time",
                   now_us);
        else
            drop(at);
    }
}

void
relay_door_accept(struct relay_door *d, int listen_fd, uint64_t now_us)
{
    const struct relay_target_config *t = d->cfg.target;

    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        struct place *p;
        struct err err = {0};

        if (fd < 0)
            return;
        p = free_place(d);
        if (!p) {
            close(fd);
            continue;
        }
        relay_end_tune(fd);
        p->have = 0;
        p->why = (struct err){0};
        p->deadline_us = now_us + RELAY_HELLO_US;
        if (!t->tls)
            p->conn = conn_plain(fd);
        else if (conn_tls(fd, t->tls, true, t->tls_peer, &p->conn, &err) != 0) {
            tell(d, err_msg(&err), now_us);
            continue;
        }
        p->state = t->tls ? SHAKING : READING;
        attend(d, p, now_us);
    }
}

/* A free one, or that of the stranger who has been silent for longest. */
static struct place *
free_place(struct relay_door *d)
{
    struct place *oldest = NULL;

    for (unsigned i = 0; i < RELAY_DOOR_PLACES; i++) {
        struct place *p = &d->places[i];

        if (p->state == EMPTY)
            return p;
        if (p->state != WAITING && (!oldest || p->deadline_us < oldest->deadline_us))
            oldest = p;
    }
    if (oldest)
        drop(oldest);
    return oldest;
}

static void
attend(struct relay_door *d, struct place *p, uint64_t now_us)
{
    struct err err = {0};
    uint8_t rest[256];
    ssize_t n;

    if (p->state == SHAKING) {
        int rc = conn_handshake(p->conn, &err);

        if (rc < 0 && err.code == -ECONNRESET) {
            drop(p); /* it left by itself */
        } else if (rc < 0) {
            tell(d, err_msg(&err), now_us);
            if (conn_met_plaintext(p->conn)) {
                uint8_t buf[RELAY_FRAME_ANSWER_SIZE];

                relay_frame_encode_answer(
                    buf, RELAY_ANSWER_REFUSED,
                    "the source sends in the clear, and this target wants TLS 1.3: encryption must "
                    "be on, or turned off, at both");
                conn_answer_plaintext(p->conn, buf, sizeof buf);
                shutdown(conn_fd(p->conn), SHUT_WR);
            } else {
                conn_finish(p->conn);
            }
            leave(p, now_us);
        }
        if (rc <= 0)
            return;
        p->state = READING;
    }
    if (p->state == READING) {
        read_hello(d, p, now_us);
        return;
    }
    /* Nothing is due from it: either it has gone, or it talks out of turn. */
    n = p->state == LEAVING ? recv(conn_fd(p->conn), rest, sizeof rest, MSG_DONTWAIT)
                            : conn_recv_some(p->conn, rest, sizeof rest, NULL);
    if (n == -EAGAIN || (p->state == LEAVING && (n > 0 || (n < 0 && errno == EAGAIN))))
        return;
    drop(p);
}

static void
read_hello(struct relay_door *d, struct place *p, uint64_t now_us)
{
    while (p->have < sizeof p->buf) {
        ssize_t n = conn_recv_some(p->conn, p->buf + p->have, sizeof p->buf - p->have, NULL);

        if (n == -EAGAIN)
            break;
        if (n <= 0) {
            drop(p);
            return;
        }
        p->have += (size_t)n;
    }
    if (p->have >= 2 && p->buf[0] == TLS_HANDSHAKE && p->buf[1] == TLS_MAJOR) {
        refuse(d, p,
               "the source encrypts, and this target was told not to: encryption must be on, or "
               "turned off, at both",
               now_us);
        return;
    }
    if (p->have >= 4 && !relay_frame_is_hello(p->buf))
        drop(p); /* no drover at the other end: no answer either */
    else if (p->have == sizeof p->buf)
        on_hello(d, p, now_us);
}

static void
on_hello(struct relay_door *d, struct place *p, uint64_t now_us)
{
    struct err err = {0};
    const char *why;

    if (relay_frame_decode_hello(p->buf, &p->hello, &err) != 0) {
        refuse(d, p, err_msg(&err), now_us);
        return;
    }
    why = objection(d, &p->hello);
    if (why) {
        refuse(d, p, why, now_us);
    } else if (p->hello.kind == RELAY_CONTROL) {
        begin_session(d, p, now_us);
    } else {
        p->state = WAITING;
        p->deadline_us = now_us + RELAY_CONNECT_US;
    }
}

/* Why it may not come in; NULL = it may. */
static const char *
objection(const struct relay_door *d, const struct relay_hello *h)
{
    const struct mig_ident *i = &d->cfg.target->ident;

    if (strcmp(h->vmi_uid, i->vmi_uid) != 0 || strcmp(h->migration_uid, i->migration_uid) != 0 ||
        h->generation != i->generation)
        return "another VM, migration or generation is expected here";
    if (h->kind == RELAY_CONTROL)
        return NULL;
    if (!d->in_session || h->session != d->session)
        return "its control connection is not the one that came last";
    if (atomic_load(d->cfg.cut))
        return "the target has ended the streams of this migration";
    if (h->kind == RELAY_DATA && h->index < d->next)
        return "a data stream of this number was there before";
    if (h->kind == RELAY_DATA && h->index - d->next >= RELAY_MAX_STREAMS)
        return "a data stream of this number is far from its turn";
    for (unsigned k = 0; k < RELAY_DOOR_PLACES; k++) {
        const struct place *p = &d->places[k];

        if (p->state == WAITING && p->hello.kind == h->kind && p->hello.index == h->index)
            return "a stream of this number waits already";
    }
    return NULL;
}

/* The source, or the one that goes on with its migration: whatever was before is over. */
static void
begin_session(struct relay_door *d, struct place *p, uint64_t now_us)
{
    struct err err = {0};

    for (unsigned i = 0; i < RELAY_DOOR_PLACES; i++) {
        if (d->places[i].state == WAITING)
            refuse(d, &d->places[i], "another control connection came", now_us);
    }
    relay_end_cut(d->cfg.end, NULL);
    d->in_session = true;
    d->session = p->hello.session;
    d->next = 0;
    atomic_store(d->cfg.cut, false);
    if (answer_ok(p)) {
        p->state = EMPTY;
        if (relay_end_set_ctl(d->cfg.end, TAKE_PTR(p->conn), &err) != 0)
            d->cfg.end->broken(d->cfg.end->ctx, RELAY_CONTROL, &err);
    }
}

static void
try_connect(struct relay_door *d, struct place *p, uint64_t now_us)
{
    const struct relay_target_config *t = d->cfg.target;
    bool data = p->hello.kind == RELAY_DATA;
    struct relay_stream_config c = {
        .kind = p->hello.kind, .index = p->hello.index, .urgent = p->hello.urgent};
    struct err err = {0};

    if (data && p->hello.index != d->next)
        return;
    if (atomic_load(d->cfg.cut)) {
        refuse(d, p, "the target has ended the streams of this migration", now_us);
        return;
    }
    if (connect_local(data ? t->data_path : t->rpc_path, &c.local, &p->why) != 0) {
        if (p->why.code != -EAGAIN && p->why.code != -ENOENT && p->why.code != -ECONNREFUSED)
            p->deadline_us = 0; /* that does not change by waiting */
        return;
    }
    if (!answer_ok(p)) {
        close(c.local);
        return;
    }
    if (c.urgent)
        xport_mark(conn_fd(p->conn), t->urgent_priority, t->urgent_dscp, NULL);
    c.conn = TAKE_PTR(p->conn);
    p->state = EMPTY;
    d->next += data;
    if (relay_end_add(d->cfg.end, &c, &err) != 0)
        d->cfg.end->broken(d->cfg.end->ctx, c.kind, &err);
    if (atomic_load(d->cfg.cut)) /* meanwhile */
        relay_end_cut(d->cfg.end, NULL);
}

static int
connect_local(const char *path, int *ret, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return err_set(err, -errno, "socket: %s", strerror(errno));
    memcpy(sa.sun_path, path, strlen(path) + 1);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
        return err_set(err, -errno, "connect to %s at the target: %s", path, strerror(errno));
    *ret = take_fd(&fd);
    return 0;
}

/* What fits into an empty socket buffer. False: the other end has gone. */
static bool
answer_ok(struct place *p)
{
    uint8_t buf[RELAY_FRAME_ANSWER_SIZE];

    relay_frame_encode_answer(buf, RELAY_ANSWER_OK, "");
    if (conn_send_some(p->conn, buf, sizeof buf, NULL) == (ssize_t)sizeof buf)
        return true;
    drop(p);
    return false;
}

static void
refuse(struct relay_door *d, struct place *p, const char *why, uint64_t now_us)
{
    uint8_t buf[RELAY_FRAME_ANSWER_SIZE];

    relay_frame_encode_answer(buf, RELAY_ANSWER_REFUSED, why);
    conn_send_some(p->conn, buf, sizeof buf, NULL);
    conn_finish(p->conn);
    tell(d, why, now_us);
    leave(p, now_us);
}

static void
tell(struct relay_door *d, const char *why, uint64_t now_us)
{
    const struct relay_target_config *t = d->cfg.target;

    if (!t->refused || (d->told_us && now_us - d->told_us <= TOLD_US))
        return;
    d->told_us = now_us;
    t->refused(t->ctx, why);
}

/* What was said must not be lost because the connection closes with bytes unread: it closes when the
 * other end has, or at the deadline. */
static void
leave(struct place *p, uint64_t now_us)
{
    p->state = LEAVING;
    p->deadline_us = now_us + LEAVE_US;
}

static void
drop(struct place *p)
{
    conn_free(TAKE_PTR(p->conn));
    p->state = EMPTY;
}
