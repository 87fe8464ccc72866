/* One direction of a stream; see relay_way.h. */
#include "migrate/relay_way.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/sb.h"

static ssize_t fill(struct relay_way *w, struct err *err);
static ssize_t fill_local(struct relay_way *w, size_t max, struct err *err);
static ssize_t fill_net(struct relay_way *w, struct err *err);
static ssize_t drain(struct relay_way *w, size_t len, struct err *err);
static size_t allowed(struct relay_way *w);
static size_t batch_size(const struct relay_way *w);
static uint64_t take_first(struct relay_way *w, size_t bytes, uint64_t now_us);
static int finish(struct relay_way *w, struct err *err);
static ssize_t local_err(struct err *err, int error);

int
relay_way_init(struct relay_way *w, struct err *err)
{
    w->pipe[0] = w->pipe[1] = -1;
    bucket_init(&w->own, 0);
    if (!conn_is_plain(w->conn)) {
        w->buf = xmalloc(RELAY_BUFFER);
        return 0;
    }
    if (pipe2(w->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_set(err, -errno, "pipe: %s", strerror(errno));
    /* Where it is not granted, a smaller one does. */
    fcntl(w->pipe[1], F_SETPIPE_SZ, RELAY_BUFFER);
    return 0;
}

void
relay_way_done(struct relay_way *w)
{
    bucket_done(&w->own);
    free(TAKE_PTR(w->buf));
    for (int i = 0; i < 2; i++) {
        if (w->pipe[i] >= 0)
            close(w->pipe[i]);
        w->pipe[i] = -1;
    }
}

int
relay_way_step(struct relay_way *w, struct err *err)
{
    ssize_t n;

    w->want_in = w->want_out = false;
    if (w->over)
        return 0;
    /* Only into an empty pipe: then -EAGAIN says that there is nothing to read, and not that the
     * pipe is full. */
    if (w->held == 0 && !w->eof) {
        n = fill(w, err);
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        w->want_in = n == -EAGAIN;
        w->eof = n == 0;
        w->held = n > 0 ? (size_t)n : 0;
        w->at = 0;
    }
    if (w->held == 0)
        return finish(w, err);

    size_t len = allowed(w);

    if (len == 0)
        return 0;
    n = drain(w, len, err);
    if (n < 0 && n != -EAGAIN)
        return (int)n;
    if (n <= 0) {
        w->want_out = true;
        return 0;
    }
    w->held -= (size_t)n;
    w->at += (size_t)n;
    w->credit -= w->credit < (size_t)n ? w->credit : (size_t)n;
    atomic_fetch_add_explicit(w->payload, (uint64_t)n, memory_order_relaxed);
    if (w->wire)
        atomic_fetch_add_explicit(w->wire, (uint64_t)n, memory_order_relaxed);
    return 1;
}

static ssize_t
fill(struct relay_way *w, struct err *err)
{
    size_t max = RELAY_BUFFER;

    /* Under a limit no more than may go soon: the rest waits where its writer sees it. */
    if (w->share && share_rate(w->share))
        max = bucket_batch(&w->share->bucket, max);
    for (;;) {
        ssize_t n;

        if (w->buf)
            return w->to_net ? fill_local(w, max, err) : fill_net(w, err);
        n = splice(w->to_net ? w->local : conn_fd(w->conn), NULL, w->pipe[1], NULL, max,
                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n >= 0)
            return n;
        if (errno == EAGAIN)
            return -EAGAIN;
        if (errno != EINTR)
            return w->to_net ? local_err(err, errno)
                             : err_set(err, -errno, "receive: %s", strerror(errno));
    }
}

static ssize_t
fill_local(struct relay_way *w, size_t max, struct err *err)
{
    for (;;) {
        ssize_t n = recv(w->local, w->buf, max, MSG_DONTWAIT);

        if (n >= 0)
            return n;
        if (errno == EAGAIN)
            return -EAGAIN;
        if (errno != EINTR)
            return local_err(err, errno);
    }
}

/* As much as there is: fewer and larger writes. */
static ssize_t
fill_net(struct relay_way *w, struct err *err)
{
    size_t got = 0;

    while (got < RELAY_BUFFER) {
        ssize_t n = conn_recv_some(w->conn, w->buf + got, RELAY_BUFFER - got, err);

        if (n <= 0)
            return got > 0 ? (ssize_t)got : n; /* what it was comes up again */
        got += (size_t)n;
    }
    return (ssize_t)got;
}

static ssize_t
drain(struct relay_way *w, size_t len, struct err *err)
{
    for (;;) {
        ssize_t n;

        if (w->buf && w->to_net)
            return conn_send_some(w->conn, w->buf + w->at, len, err);
        if (w->buf)
            n = send(w->local, w->buf + w->at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        else
            n = splice(w->pipe[0], NULL, w->to_net ? conn_fd(w->conn) : w->local, NULL, len,
                       SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n >= 0)
            return n;
        if (errno == EAGAIN)
            return -EAGAIN;
        if (errno != EINTR)
            return w->to_net ? err_set(err, -errno, "send: %s", strerror(errno))
                             : local_err(err, errno);
    }
}

/* How much of what is held may go now. */
static size_t
allowed(struct relay_way *w)
{
    uint64_t now, wait, batch;

    w->wait_until_us = 0;
    if (!w->share)
        return w->held;
    if (w->credit > 0)
        return w->credit < w->held ? w->credit : w->held;
    now = clock_mono_us();
    batch = batch_size(w);
    wait = w->urgent ? take_first(w, batch, now) : share_take(w->share, batch, now);
    if (wait > 0) {
        w->wait_until_us = now + wait;
        w->waits_since_us = w->waits_since_us ? w->waits_since_us : now;
        return 0;
    }
    if (w->waits_since_us)
        atomic_fetch_add(&w->meter->shaping_wait_us, now - w->waits_since_us);
    w->waits_since_us = 0;
    w->credit = batch;
    return batch;
}

/* What all streams together may hold of unused credit is one batch. */
static size_t
batch_size(const struct relay_way *w)
{
    uint32_t streams = atomic_load_explicit(&w->meter->streams, memory_order_relaxed);
    size_t batch = bucket_batch(&w->share->bucket, RELAY_BUFFER) / (streams ? streams : 1);

    if (batch < LAYOUT_PAGE_BYTES)
        batch = LAYOUT_PAGE_BYTES;
    return share_rate(w->share) && batch < w->held ? batch : w->held;
}

/* The others wait for what is taken, and it waits for nobody: but alone it keeps to the limit, too. */
static uint64_t
take_first(struct relay_way *w, size_t bytes, uint64_t now_us)
{
    uint64_t wait;

    bucket_set_rate(&w->own, share_rate(w->share), now_us);
    wait = bucket_take(&w->own, bytes, now_us);
    if (wait == 0)
        bucket_charge(&w->share->bucket, bytes, now_us);
    return wait;
}

/* Nothing is held: what is still under way in the connection, and then the end. */
static int
finish(struct relay_way *w, struct err *err)
{
    struct pollfd p = {.fd = conn_fd(w->conn), .events = POLLOUT};
    int rc = w->to_net ? conn_flush(w->conn, err) : 0;

    if (rc != 0 && rc != -EAGAIN)
        return rc;
    w->want_out = rc == -EAGAIN;
    if (!w->eof || w->want_out)
        return 0;
    if (w->to_net) {
        /* The last word of TLS must find room, or the peer takes the end for a cut. */
        if (!conn_is_plain(w->conn) && poll(&p, 1, 0) == 0) {
            w->want_out = true;
            return 0;
        }
        conn_finish(w->conn);
    } else {
        shutdown(w->local, SHUT_WR);
    }
    w->over = true;
    return 1;
}

static ssize_t
local_err(struct err *err, int error)
{
    return err_set(err, -error, "the process here: %s", strerror(error));
}
