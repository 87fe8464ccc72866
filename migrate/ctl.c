/* Control connection with heartbeat; see ctl.h. */
#include "migrate/ctl.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"
#include "migrate/conn.h"
#include "migrate/xport.h"

#define HEARTBEATS         8      /* in each dead_peer_us, at least */
#define HEARTBEAT_US       250000 /* and so often at least: the peer may be less patient */
#define HEARTBEATS_AT_ONCE 32
#define WAIT_SLICE_US      50000 /* between two looks at the peer's heartbeat */

struct ctl {
    /* constant */
    struct conn *conn;
    uint64_t generation, dead_peer_us;
    pthread_t heart;
    /* guarded by send_mu */
    pthread_mutex_t send_mu;
    /* guarded by heart_mu */
    pthread_mutex_t heart_mu;
    pthread_cond_t heart_cv;
    bool stop;
    /* owned by the receiving thread */
    uint8_t *in;
    size_t in_len;
    uint64_t heard_us;

    _Atomic uint64_t bytes;
};

static void *heart_main(void *arg);
static int fill(struct ctl *c, size_t need, struct err *err);

int
ctl_new(struct conn *conn, uint64_t generation, uint64_t dead_peer_us, struct ctl **ret,
        struct err *err)
{
    struct ctl *c = xcalloc(1, sizeof *c);
    pthread_condattr_t attr;
    int rc;

    c->conn = conn;
    c->generation = generation;
    c->dead_peer_us = dead_peer_us ? dead_peer_us : CTL_DEAD_PEER_US;
    c->in = xmalloc(CONTROL_HEADER_SIZE + CONTROL_MAX_PAYLOAD);
    c->heard_us = clock_mono_us();
    xport_tune(conn_fd(conn), c->dead_peer_us);
    pthread_mutex_init(&c->send_mu, NULL);
    pthread_mutex_init(&c->heart_mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->heart_cv, &attr);
    pthread_condattr_destroy(&attr);
    rc = pthread_create(&c->heart, NULL, heart_main, c);
    if (rc != 0) {
        c->stop = true; /* no thread to join */
        ctl_free(c);
        return err_set(err, -rc, "heartbeat thread: %s", strerror(rc));
    }
    *ret = c;
    return 0;
}

void
ctl_free(struct ctl *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->heart_mu);

    bool running = !c->stop;

    c->stop = true;
    pthread_cond_signal(&c->heart_cv);
    pthread_mutex_unlock(&c->heart_mu);
    if (running)
        pthread_join(c->heart, NULL);
    pthread_cond_destroy(&c->heart_cv);
    pthread_mutex_destroy(&c->heart_mu);
    pthread_mutex_destroy(&c->send_mu);
    conn_free(c->conn);
    free(c->in);
    free(c);
}

void
ctl_shut(struct ctl *c)
{
    conn_shut(c->conn);
}

int
ctl_fd(const struct ctl *c)
{
    return conn_fd(c->conn);
}

int
ctl_poll_ms(struct ctl *c, int ms)
{
    return conn_pending(c->conn) ? 0 : ms;
}

int
ctl_send(struct ctl *c, struct control_msg *m, struct err *err)
{
    AUTO_SB struct sb out = SB_INIT;
    size_t at = 0;
    int rc = 0;

    m->generation = c->generation;
    control_encode(&out, m);
    pthread_mutex_lock(&c->send_mu);

    uint64_t deadline = clock_mono_us() + c->dead_peer_us;

    if (FAULT(XPORT_SEND_SHORT)) {
        at = 1; /* whatever went out: no other frame may follow */
        conn_send_some(c->conn, out.buf, out.len / 2, NULL);
        rc = err_set(err, -EIO, "%s: fault point xport.send.short", control_type_name(m->type));
    }
    for (bool done = false; !done && rc == 0;) {
        ssize_t n = at < out.len ? conn_send_some(c->conn, out.buf + at, out.len - at, err)
                                 : conn_flush(c->conn, err);

        if (n == 0) {
            done = true;
        } else if (n > 0) {
            at += (size_t)n;
            deadline = clock_mono_us() + c->dead_peer_us;
        } else if (n == -EAGAIN) {
            struct pollfd p = {.fd = conn_fd(c->conn), .events = POLLOUT};
            uint64_t now = clock_mono_us();

            if (now >= deadline)
                rc = err_set(err, -ETIMEDOUT, "the peer has not read for %llu ms",
                             (unsigned long long)c->dead_peer_us / 1000);
            else
                poll(&p, 1, (int)((deadline - now) / 1000 + 1));
        } else {
            rc = err_prefix(err, (int)n, "%s", control_type_name(m->type));
        }
    }
    /* A frame that was sent in part would be garbage with another behind it. */
    if (rc != 0 && at > 0)
        conn_shut(c->conn);
    pthread_mutex_unlock(&c->send_mu);
    atomic_fetch_add_explicit(&c->bytes, at, memory_order_relaxed);
    return rc;
}

int
ctl_send_text(struct ctl *c, enum control_type type, int code, const char *text, struct err *err)
{
    struct control_msg m = {.type = type, .text.code = code};

    snprintf(m.text.text, sizeof m.text.text, "%s", text);
    return ctl_send(c, &m, err);
}

int
ctl_recv(struct ctl *c, struct control_msg *ret, struct err *err)
{
    for (int beats = 0; beats < HEARTBEATS_AT_ONCE; beats++) {
        struct control_header h;
        int rc = fill(c, CONTROL_HEADER_SIZE, err);

        if (rc <= 0)
            return rc;
        rc = control_decode_header(c->in, &h, err);
        if (rc != 0)
            return rc;
        rc = fill(c, CONTROL_HEADER_SIZE + h.length, err);
        if (rc <= 0)
            return rc;
        c->in_len = 0;
        c->heard_us = clock_mono_us();
        if (h.generation != c->generation)
            return err_set(err, -EPROTO, "control: %s of generation %llu: this is %llu",
                           control_type_name(h.type), (unsigned long long)h.generation,
                           (unsigned long long)c->generation);
        rc = control_decode(&h, c->in + CONTROL_HEADER_SIZE, ret, err);
        if (rc != 0)
            return rc;
        if (ret->type != CONTROL_HEARTBEAT)
            return 1;
    }
    return 0; /* a flood of them must not keep the caller from its clocks */
}

int
ctl_wait(struct ctl *c, uint64_t timeout_us, int cancel_fd, struct control_msg *ret,
         struct err *err)
{
    uint64_t start = clock_mono_us(), deadline = start + timeout_us;

    for (;;) {
        int rc = ctl_recv(c, ret, err);
        uint64_t now = clock_mono_us();
        struct pollfd p[2] = {{.fd = ctl_fd(c), .events = POLLIN},
                              {.fd = cancel_fd, .events = POLLIN}};

        if (rc != 0)
            return rc;
        if (now >= deadline || ctl_dead(c, now))
            return err_set(err, -ETIMEDOUT, "no answer for %llu ms",
                           (unsigned long long)(now - start) / 1000);

        uint64_t slice = deadline - now < WAIT_SLICE_US ? deadline - now : WAIT_SLICE_US;

        poll(p, 2, ctl_poll_ms(c, (int)(slice / 1000 + 1)));
        if (p[1].revents)
            return err_set(err, -ECANCELED, "cancelled");
    }
}

bool
ctl_dead(const struct ctl *c, uint64_t now_us)
{
    return now_us > c->heard_us && now_us - c->heard_us > c->dead_peer_us;
}

uint64_t
ctl_dead_peer_us(const struct ctl *c)
{
    return c->dead_peer_us;
}

uint64_t
ctl_bytes(const struct ctl *c)
{
    return atomic_load_explicit(&c->bytes, memory_order_relaxed);
}

/* Reads until `need` bytes are there: 1; 0 when there are not yet; -errno. */
static int
fill(struct ctl *c, size_t need, struct err *err)
{
    while (c->in_len < need) {
        ssize_t n = conn_recv_some(c->conn, c->in + c->in_len, need - c->in_len, err);

        if (n == -EAGAIN)
            return 0;
        if (n < 0)
            return err_prefix(err, (int)n, "control connection");
        if (n == 0)
            return err_set(err, -EPIPE, "control connection: closed by the peer");
        if (FAULT(XPORT_RECV_SHORT))
            return err_set(err, -EIO, "control connection: fault point xport.recv.short");
        c->in_len += (size_t)n;
        atomic_fetch_add_explicit(&c->bytes, (uint64_t)n, memory_order_relaxed);
    }
    return 1;
}

static void *
heart_main(void *arg)
{
    struct ctl *c = arg;
    uint64_t interval =
        c->dead_peer_us / HEARTBEATS < HEARTBEAT_US ? c->dead_peer_us / HEARTBEATS : HEARTBEAT_US;
    uint64_t next = clock_mono_us() + interval;
    struct control_msg m = {.type = CONTROL_HEARTBEAT};

    pthread_mutex_lock(&c->heart_mu);
    while (!c->stop) {
        struct timespec ts = {.tv_sec = (time_t)(next / 1000000),
                              .tv_nsec = (long)(next % 1000000) * 1000};

        if (pthread_cond_timedwait(&c->heart_cv, &c->heart_mu, &ts) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&c->heart_mu);
        m.heartbeat_seq++;

        int rc = ctl_send(c, &m, NULL);

        pthread_mutex_lock(&c->heart_mu);
        if (rc != 0)
            break; /* the receiving thread finds out by itself */
        next = clock_mono_us() + interval;
    }
    pthread_mutex_unlock(&c->heart_mu);
    return NULL;
}
