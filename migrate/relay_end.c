/* What both ends of a relay have; see relay_end.h. */
#include "migrate/relay_end.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "migrate/xport.h"

#define UNSENT_BYTES (64 << 10) /* that wait in a socket for the network to take them */
/* And at the other end for a process that does not read: a peer that is near needs no
 * more to be on its way (1 GB/s). Farther away the kernel finds what the path needs. */
#define WINDOW_BYTES (192 << 10)

static void drop_ctl(struct relay_end *e);
static void on_message(void *ctx, const void *msg, size_t len);
static void on_lost(void *ctx, const struct err *err);
static void on_broken(void *ctx, enum relay_kind kind, const struct err *err);

int
relay_end_init(struct relay_end *e, struct err *err)
{
    e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->wake_fd < 0)
        return err_set(err, -errno, "eventfd: %s", strerror(errno));
    relay_meter_init(&e->meter);
    pthread_mutex_init(&e->mu, NULL);
    pthread_cond_init(&e->unused, NULL);
    return 0;
}

void
relay_end_done(struct relay_end *e)
{
    atomic_store(&e->ending, true);
    relay_end_cut(e, NULL);
    drop_ctl(e);
    relay_end_reap(e, true);
    relay_meter_done(&e->meter);
    pthread_mutex_destroy(&e->mu);
    pthread_cond_destroy(&e->unused);
    close(e->wake_fd);
}

int
relay_end_add(struct relay_end *e, struct relay_stream_config *cfg, struct err *err)
{
    struct relay_stream *s = NULL;
    int rc = -ENOSPC;

    cfg->meter = &e->meter;
    cfg->share = e->share;
    cfg->wake_fd = e->wake_fd;
    cfg->broken = on_broken;
    cfg->ctx = e;
    pthread_mutex_lock(&e->mu);
    for (unsigned i = 0; i < RELAY_MAX_STREAMS && rc == -ENOSPC; i++) {
        if (e->streams[i])
            continue;
        rc = relay_stream_new(cfg, &s, err);
        e->streams[i] = s;
    }
    pthread_mutex_unlock(&e->mu);
    if (rc == -ENOSPC) {
        err_set(err, rc, "%d streams are open: no more are allowed", RELAY_MAX_STREAMS);
        close(cfg->local);
        conn_break(cfg->conn);
    }
    return rc;
}

void
relay_end_cut(struct relay_end *e, const struct err *why)
{
    pthread_mutex_lock(&e->mu);
    for (unsigned i = 0; i < RELAY_MAX_STREAMS; i++) {
        if (e->streams[i])
            relay_stream_cut(e->streams[i], why);
    }
    pthread_mutex_unlock(&e->mu);
}

void
relay_end_reap(struct relay_end *e, bool all)
{
    for (unsigned i = 0; i < RELAY_MAX_STREAMS; i++) {
        struct relay_stream *s = NULL;

        pthread_mutex_lock(&e->mu);
        if (e->streams[i] && (all || relay_stream_is_done(e->streams[i])))
            s = TAKE_PTR(e->streams[i]);
        pthread_mutex_unlock(&e->mu);
        if (s)
            relay_stream_free(s);
    }
}

int
relay_end_set_ctl(struct relay_end *e, struct conn *conn, struct err *err)
{
    struct relay_ctl_config cfg = {.conn = conn,
                                   .dead_peer_us = e->dead_peer_us,
                                   .wire = &e->meter.wire,
                                   .message = on_message,
                                   .lost = on_lost,
                                   .ctx = e};
    struct relay_ctl *ctl;
    bool encrypted = !conn_is_plain(conn);
    char suite[TLS_SUITE_SIZE];
    int rc;

    drop_ctl(e);
    conn_suite(conn, suite);
    /* Locked, so that its first callback finds it. */
    pthread_mutex_lock(&e->mu);
    rc = relay_ctl_new(&cfg, &ctl, err);
    if (rc == 0) {
        e->ctl = ctl;
        e->encrypted = encrypted;
        memcpy(e->suite, suite, sizeof suite);
    }
    pthread_mutex_unlock(&e->mu);
    return rc;
}

static void
drop_ctl(struct relay_end *e)
{
    struct relay_ctl *ctl;

    pthread_mutex_lock(&e->mu);
    ctl = TAKE_PTR(e->ctl);
    if (ctl)
        relay_ctl_shut(ctl);
    while (e->ctl_users > 0)
        pthread_cond_wait(&e->unused, &e->mu);
    pthread_mutex_unlock(&e->mu);
    relay_ctl_free(ctl);
}

void
relay_end_tick(struct relay_end *e, uint64_t now_us)
{
    relay_meter_tick(&e->meter, now_us);
    if (e->ctl)
        relay_ctl_tick(e->ctl, now_us);
    if (e->share)
        share_look(e->share, now_us);
}

int
relay_end_send(struct relay_end *e, const void *msg, size_t len, struct err *err)
{
    struct relay_ctl *ctl;
    int rc;

    pthread_mutex_lock(&e->mu);
    ctl = e->ctl && !relay_ctl_is_lost(e->ctl) ? e->ctl : NULL;
    e->ctl_users += ctl != NULL;
    pthread_mutex_unlock(&e->mu);
    if (!ctl)
        return err_set(err, -ENOTCONN, "there is no control connection");
    rc = relay_ctl_send(ctl, msg, len, err);
    pthread_mutex_lock(&e->mu);
    if (--e->ctl_users == 0)
        pthread_cond_broadcast(&e->unused);
    pthread_mutex_unlock(&e->mu);
    return rc;
}

void
relay_end_stats(struct relay_end *e, struct relay_stats *ret)
{
    uint32_t segment;

    *ret = (struct relay_stats){0};
    relay_meter_stats(&e->meter, ret);
    ret->limit_bytes_per_s = e->share ? share_rate(e->share) : 0;
    pthread_mutex_lock(&e->mu);
    ret->encrypted = e->encrypted;
    memcpy(ret->suite, e->suite, sizeof ret->suite);
    if (e->ctl)
        xport_path(conn_fd(relay_ctl_conn(e->ctl)), &ret->path_mtu_bytes, &segment);
    pthread_mutex_unlock(&e->mu);
}

void
relay_end_tune(int fd)
{
    int unsent = UNSENT_BYTES, window = WINDOW_BYTES;

    xport_tune(fd, RELAY_USER_US);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    if (xport_is_near(fd))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window); /* the clamp would grow */
}

static void
on_message(void *ctx, const void *msg, size_t len)
{
    struct relay_end *e = ctx;

    e->message(e->ctx, msg, len);
}

/* The peer is gone, and the streams with it, whether their connections know it or not. */
static void
on_lost(void *ctx, const struct err *err)
{
    struct relay_end *e = ctx;

    if (atomic_load(&e->ending))
        return;
    relay_end_cut(e, err);
    e->broken(e->ctx, RELAY_CONTROL, err);
}

static void
on_broken(void *ctx, enum relay_kind kind, const struct err *err)
{
    struct relay_end *e = ctx;

    if (!atomic_load(&e->ending))
        e->broken(e->ctx, kind, err);
}
