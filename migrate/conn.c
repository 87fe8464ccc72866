/* One connection of a migration; see conn.h. */
#include "migrate/conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/sb.h"
#include "migrate/rdma_lane.h"
#include "migrate/xport.h"

#define STAGE_BYTES 16384 /* one record: what is smaller is gathered into it */

struct conn {
    /* constant */
    int fd;            /* blocking when plain, else not; -1: a lane */
    struct tls *tls;   /* NULL = plain */
    struct lane *lane; /* NULL = TCP */
    /* owned by the sending thread */
    uint8_t *stage; /* made by the first conn_send over TLS */
    size_t staged;
};

static void close_conn(struct conn *c);
static int send_tls(struct conn *c, struct iovec *iov, int iov_len, struct err *err);
static int send_all(struct conn *c, const uint8_t *p, size_t len, struct err *err);
static int recv_until(struct conn *c, uint8_t *p, size_t len, uint64_t timeout_us, struct err *err);

struct conn *
conn_plain(int fd)
{
    struct conn *c = xcalloc(1, sizeof *c);

    c->fd = fd;
    return c;
}

int
conn_tls(int fd, struct tls_ctx *ctx, bool accepts, const char *peer, struct conn **ret,
         struct err *err)
{
    struct conn *c = conn_plain(fd);
    int rc = tls_new(ctx, fd, accepts, peer, &c->tls, err);

    if (rc == 0)
        *ret = c;
    else
        conn_free(c);
    return rc;
}

struct conn *
conn_rdma(struct lane *l)
{
    struct conn *c = conn_plain(-1);

    c->lane = l;
    return c;
}

struct lane *
conn_lane(struct conn *c)
{
    return c ? c->lane : NULL;
}

int
conn_handshake(struct conn *c, struct err *err)
{
    return c->tls ? tls_handshake(c->tls, err) : 1;
}

short
conn_events(struct conn *c)
{
    return c && c->tls ? tls_events(c->tls) : POLLIN;
}

int
conn_handshake_wait(struct conn *c, uint64_t timeout_us, int cancel_fd, struct err *err)
{
    uint64_t deadline = clock_mono_us() + timeout_us;

    for (;;) {
        int rc = conn_handshake(c, err);
        uint64_t now = clock_mono_us();
        struct pollfd p[2] = {{.fd = c->fd, .events = conn_events(c)},
                              {.fd = cancel_fd, .events = POLLIN}};

        if (rc != 0)
            return rc < 0 ? rc : 0;
        if (now >= deadline)
            return err_set(err, -ETIMEDOUT, "TLS handshake: no answer for %llu ms",
                           (unsigned long long)timeout_us / 1000);
        poll(p, 2, (int)((deadline - now) / 1000 + 1));
        if (p[1].revents)
            return err_set(err, -ECANCELED, "cancelled");
    }
}

bool
conn_met_plaintext(struct conn *c)
{
    return c->tls && tls_met_plaintext(c->tls);
}

void
conn_answer_plaintext(struct conn *c, const void *buf, size_t len)
{
    /* What fits into an empty socket buffer; nobody waits for a stranger. */
    (void)!send(c->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
conn_suite(struct conn *c, char ret[TLS_SUITE_SIZE])
{
    ret[0] = '\0';
    if (c->tls)
        tls_suite(c->tls, ret);
}

void
conn_finish(struct conn *c)
{
    if (c->tls)
        tls_bye(c->tls);
    shutdown(c->fd, SHUT_WR);
}

void
conn_free(struct conn *c)
{
    if (!c)
        return;
    if (c->tls)
        tls_bye(c->tls);
    close_conn(c);
}

void
conn_break(struct conn *c)
{
    struct linger now = {.l_onoff = 1};

    if (!c)
        return;
    if (c->lane)
        lane_shut(c->lane);
    else
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close_conn(c);
}

int
conn_fd(const struct conn *c)
{
    return c ? c->fd : -1;
}

bool
conn_is_plain(const struct conn *c)
{
    return c && !c->tls;
}

int
conn_send(struct conn *c, struct iovec *iov, int iov_len, struct err *err)
{
    if (c->lane)
        return lane_send(c->lane, iov, iov_len, err);
    return c->tls ? send_tls(c, iov, iov_len, err) : xport_send(c->fd, iov, iov_len, err);
}

int
conn_settle(struct conn *c, struct err *err)
{
    return c->lane ? lane_settle(c->lane, err) : 0;
}

int
conn_recv(struct conn *c, void *buf, size_t len, uint64_t timeout_us, struct err *err)
{
    if (c->lane)
        return lane_recv(c->lane, buf, len, timeout_us, err);
    if (c->tls && FAULT(XPORT_RECV_SHORT))
        return err_set(err, -EIO, "receive: fault point xport.recv.short");
    return timeout_us || c->tls ? recv_until(c, buf, len, timeout_us, err)
                                : xport_recv(c->fd, buf, len, err);
}

int
conn_recvv(struct conn *c, struct iovec *iov, int iov_len, struct err *err)
{
    int rc = 0;

    if (!c->tls && !c->lane)
        return xport_recvv(c->fd, iov, iov_len, err);
    for (int i = 0; i < iov_len && rc == 0; i++)
        rc = conn_recv(c, iov[i].iov_base, iov[i].iov_len, 0, err);
    return rc;
}

ssize_t
conn_send_some(struct conn *c, const void *buf, size_t len, struct err *err)
{
    if (c->tls) {
        ssize_t n = tls_send_some(c->tls, buf, len, err);
        int rc = n > 0 ? tls_flush(c->tls, err) : 0;

        /* What is a record already goes with the next call, or with the end. */
        return rc && rc != -EAGAIN ? rc : n;
    }
    for (;;) {
        ssize_t n = send(c->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0)
            return n;
        if (errno == EAGAIN)
            return -EAGAIN;
        if (errno != EINTR)
            return err_set(err, -errno, "send: %s", strerror(errno));
    }
}

ssize_t
conn_recv_some(struct conn *c, void *buf, size_t len, struct err *err)
{
    if (c->tls)
        return tls_recv_some(c->tls, buf, len, err);
    for (;;) {
        ssize_t n = recv(c->fd, buf, len, MSG_DONTWAIT);

        if (n >= 0)
            return n;
        if (errno == EAGAIN)
            return -EAGAIN;
        if (errno != EINTR)
            return err_set(err, -errno, "receive: %s", strerror(errno));
    }
}

int
conn_flush(struct conn *c, struct err *err)
{
    return c->tls ? tls_flush(c->tls, err) : 0;
}

bool
conn_pending(struct conn *c)
{
    return c->tls && tls_pending(c->tls); /* else the kernel holds everything */
}

bool
conn_readable(struct conn *c)
{
    uint8_t b;

    if (c->lane)
        return lane_readable(c->lane);
    return c->tls ? tls_readable(c->tls) : recv(c->fd, &b, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void
conn_shut(struct conn *c)
{
    if (c && c->lane)
        lane_shut(c->lane);
    else if (c)
        xport_shut(c->fd);
}

static void
close_conn(struct conn *c)
{
    lane_free(c->lane);
    tls_free(c->tls);
    clean_fd(&c->fd);
    free(c->stage);
    free(c);
}

/* Records are full wherever they can be: whole ones straight from where the bytes lie, the rest and
 * what is small through the stage. */
static int
send_tls(struct conn *c, struct iovec *iov, int iov_len, struct err *err)
{
    int rc = 0;

    if (FAULT(XPORT_SEND_SHORT)) {
        rc = send_all(c, iov[0].iov_base, iov[0].iov_len / 2, err);
        return rc ? rc : err_set(err, -EIO, "send: fault point xport.send.short");
    }
    if (!c->stage)
        c->stage = xmalloc(STAGE_BYTES);
    for (int i = 0; i < iov_len && rc == 0; i++) {
        const uint8_t *p = iov[i].iov_base;
        size_t len = iov[i].iov_len;

        while (len > 0 && rc == 0) {
            size_t n = len - len % STAGE_BYTES;

            if (c->staged == 0 && n > 0) {
                rc = send_all(c, p, n, err);
            } else {
                n = len < STAGE_BYTES - c->staged ? len : STAGE_BYTES - c->staged;
                memcpy(c->stage + c->staged, p, n);
                c->staged += n;
                if (c->staged == STAGE_BYTES) {
                    rc = send_all(c, c->stage, c->staged, err);
                    c->staged = 0;
                }
            }
            p += n;
            len -= n;
        }
    }
    if (rc == 0 && c->staged > 0)
        rc = send_all(c, c->stage, c->staged, err);
    c->staged = 0;
    while (rc == 0) {
        struct pollfd pfd = {.fd = c->fd, .events = POLLOUT};

        rc = tls_flush(c->tls, err);
        if (rc != -EAGAIN)
            break;
        poll(&pfd, 1, -1);
        rc = 0;
    }
    return rc;
}

static int
send_all(struct conn *c, const uint8_t *p, size_t len, struct err *err)
{
    while (len > 0) {
        struct pollfd pfd = {.fd = c->fd, .events = POLLOUT};
        ssize_t n = tls_send_some(c->tls, p, len, err);

        if (n > 0) {
            p += n;
            len -= (size_t)n;
        } else if (n == -EAGAIN) {
            poll(&pfd, 1, -1);
        } else {
            return (int)n;
        }
    }
    return 0;
}

static int
recv_until(struct conn *c, uint8_t *p, size_t len, uint64_t timeout_us, struct err *err)
{
    uint64_t deadline = timeout_us ? clock_mono_us() + timeout_us : 0;

    while (len > 0) {
        ssize_t n = conn_recv_some(c, p, len, err);
        struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
        int ms = -1;

        if (n == 0)
            return err_set(err, -EPIPE, "receive: the peer closed the connection");
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            continue;
        }
        if (deadline) {
            uint64_t now = clock_mono_us();

            if (now >= deadline)
                return err_set(err, -ETIMEDOUT, "no answer for %llu ms",
                               (unsigned long long)timeout_us / 1000);
            ms = (int)((deadline - now) / 1000 + 1);
        }
        poll(&pfd, 1, conn_pending(c) ? 0 : ms);
    }
    return 0;
}
