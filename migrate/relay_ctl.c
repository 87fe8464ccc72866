/* Control connection of a relay; see relay_ctl.h. */
#include "migrate/relay_ctl.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/sb.h"
#include "proto/relay_frame.h"

#define HEARTBEATS   8      /* in each dead_peer_us, at least */
#define HEARTBEAT_US 250000 /* and so often at least: the peer may be less patient */

struct relay_ctl {
    /* constant */
    struct relay_ctl_config cfg;
    uint64_t dead_peer_us;
    pthread_t thread;
    /* guarded by send_mu */
    pthread_mutex_t send_mu;
    uint32_t sent_number;
    uint64_t sent_us;
    bool broken; /* a send failed: what is behind it makes no sense */
    /* guarded by mu */
    pthread_mutex_t mu;
    struct err why; /* the owner gave the peer up */
    /* written by the receiving thread */
    _Atomic uint64_t heard_us;
    _Atomic bool busy; /* it is in a callback, and hears nothing */
    _Atomic bool lost;
    _Atomic bool ending;
};

static void *ctl_main(void *arg);
static bool is_silent(struct relay_ctl *c, uint64_t now_us);
static int receive(struct relay_ctl *c, uint8_t *buf, uint32_t *number, struct err *err);
static int send_frame(struct relay_ctl *c, enum relay_frame_type type, const void *msg, size_t len,
                      struct err *err);

int
relay_ctl_new(const struct relay_ctl_config *cfg, struct relay_ctl **ret, struct err *err)
{
    struct relay_ctl *c = xcalloc(1, sizeof *c);
    sigset_t all, old;
    int rc;

    c->cfg = *cfg;
    c->dead_peer_us = cfg->dead_peer_us ? cfg->dead_peer_us : RELAY_CTL_DEAD_PEER_US;
    c->heard_us = clock_mono_us();
    pthread_mutex_init(&c->send_mu, NULL);
    pthread_mutex_init(&c->mu, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    rc = pthread_create(&c->thread, NULL, ctl_main, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0) {
        *ret = c;
        return 0;
    }
    conn_free(c->cfg.conn);
    pthread_mutex_destroy(&c->send_mu);
    pthread_mutex_destroy(&c->mu);
    free(c);
    return err_set(err, -rc, "a thread for the control connection: %s", strerror(rc));
}

void
relay_ctl_shut(struct relay_ctl *c)
{
    atomic_store(&c->ending, true);
    conn_shut(c->cfg.conn);
}

void
relay_ctl_free(struct relay_ctl *c)
{
    if (!c)
        return;
    relay_ctl_shut(c);
    pthread_join(c->thread, NULL);
    conn_free(c->cfg.conn);
    pthread_mutex_destroy(&c->send_mu);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

int
relay_ctl_send(struct relay_ctl *c, const void *msg, size_t len, struct err *err)
{
    int rc;

    if (len == 0 || len > RELAY_MAX_MESSAGE)
        return err_set(err, -EMSGSIZE, "control message of %zu bytes: want 1 to %u", len,
                       RELAY_MAX_MESSAGE);
    pthread_mutex_lock(&c->send_mu);
    rc = send_frame(c, RELAY_FRAME_MESSAGE, msg, len, err);
    pthread_mutex_unlock(&c->send_mu);
    return rc;
}

void
relay_ctl_tick(struct relay_ctl *c, uint64_t now_us)
{
    struct pollfd p = {.fd = conn_fd(c->cfg.conn), .events = POLLOUT};
    uint64_t every = c->dead_peer_us / HEARTBEATS;

    if (every > HEARTBEAT_US)
        every = HEARTBEAT_US;
    /* Who holds the lock is sending. And where there is no room the peer does not read, and has
     * enough from us that it has not heard yet. */
    if (pthread_mutex_trylock(&c->send_mu) == 0) {
        if (now_us - c->sent_us >= every && poll(&p, 1, 0) > 0 && !(p.revents & POLLERR))
            send_frame(c, RELAY_FRAME_HEARTBEAT, NULL, 0, NULL);
        pthread_mutex_unlock(&c->send_mu);
    }
    if (is_silent(c, now_us)) {
        pthread_mutex_lock(&c->mu);
        if (!c->why.code)
            err_set(&c->why, -ETIMEDOUT, "nothing was heard from the peer for %llu ms",
                    (unsigned long long)c->dead_peer_us / 1000);
        pthread_mutex_unlock(&c->mu);
        conn_shut(c->cfg.conn);
    }
}

static bool
is_silent(struct relay_ctl *c, uint64_t now_us)
{
    struct pollfd p = {.fd = conn_fd(c->cfg.conn), .events = POLLIN};
    bool busy = atomic_load(&c->busy); /* before the time, which it writes before it is not busy */
    uint64_t heard = atomic_load(&c->heard_us);

    /* What waits in the socket was said, though the other thread has not come to it yet. */
    return !busy && now_us > heard && now_us - heard > c->dead_peer_us && poll(&p, 1, 0) == 0;
}

bool
relay_ctl_is_lost(struct relay_ctl *c)
{
    return atomic_load(&c->lost);
}

struct conn *
relay_ctl_conn(struct relay_ctl *c)
{
    return c->cfg.conn;
}

static void *
ctl_main(void *arg)
{
    struct relay_ctl *c = arg;
    AUTO_FREE uint8_t *buf = xmalloc(RELAY_MAX_MESSAGE);
    uint32_t number = 0;
    struct err err = {0};

    while (receive(c, buf, &number, &err) == 0)
        continue;
    pthread_mutex_lock(&c->mu);
    if (c->why.code)
        err = c->why;
    pthread_mutex_unlock(&c->mu);
    conn_shut(c->cfg.conn);
    atomic_store(&c->lost, true);
    if (!atomic_load(&c->ending)) {
        err_prefix(&err, err.code, "control connection");
        c->cfg.lost(c->cfg.ctx, &err);
    }
    return NULL;
}

/* One frame. */
static int
receive(struct relay_ctl *c, uint8_t *buf, uint32_t *number, struct err *err)
{
    uint8_t head[RELAY_FRAME_HEADER_SIZE];
    struct relay_frame f;
    int rc = conn_recv(c->cfg.conn, head, sizeof head, 0, err);

    if (rc == 0)
        rc = relay_frame_decode(head, *number, &f, err);
    if (rc != 0)
        return rc;
    *number = f.number;
    atomic_store(&c->heard_us, clock_mono_us());
    if (f.type == RELAY_FRAME_HEARTBEAT)
        return 0;
    rc = conn_recv(c->cfg.conn, buf, f.length, 0, err);
    if (rc != 0)
        return rc;
    atomic_store(&c->busy, true);
    c->cfg.message(c->cfg.ctx, buf, f.length);
    atomic_store(&c->heard_us, clock_mono_us());
    atomic_store(&c->busy, false);
    return 0;
}

/* send_mu held. */
static int
send_frame(struct relay_ctl *c, enum relay_frame_type type, const void *msg, size_t len,
           struct err *err)
{
    uint8_t head[RELAY_FRAME_HEADER_SIZE];
    struct relay_frame f = {.type = type,
                            .length = (uint32_t)len,
                            .number = c->sent_number + (type == RELAY_FRAME_MESSAGE)};
    struct iovec iov[2] = {{.iov_base = head, .iov_len = sizeof head},
                           {.iov_base = (void *)(uintptr_t)msg, .iov_len = len}};
    int rc;

    if (c->broken)
        return err_set(err, -EPIPE, "the control connection is broken");
    relay_frame_encode(head, &f);
    rc = conn_send(c->cfg.conn, iov, len > 0 ? 2 : 1, err);
    c->sent_number = f.number;
    c->sent_us = clock_mono_us();
    c->broken = rc != 0;
    atomic_fetch_add(c->cfg.wire, sizeof head + len);
    return rc;
}
