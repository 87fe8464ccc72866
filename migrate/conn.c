/* One connection of a migration; see conn.h. */
#include "migrate/conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sb.h"
#include "migrate/xport.h"

struct conn {
    int fd; /* constant; blocking */
};

static int recv_until(struct conn *c, uint8_t *p, size_t len, uint64_t timeout_us, struct err *err);

struct conn *
conn_plain(int fd)
{
    struct conn *c = xcalloc(1, sizeof *c);

    c->fd = fd;
    return c;
}

void
conn_free(struct conn *c)
{
    if (!c)
        return;
    close(c->fd);
    free(c);
}

int
conn_fd(const struct conn *c)
{
    return c ? c->fd : -1;
}

bool
conn_is_plain(const struct conn *c)
{
    return c != NULL;
}

int
conn_send(struct conn *c, struct iovec *iov, int iov_len, struct err *err)
{
    return xport_send(c->fd, iov, iov_len, err);
}

int
conn_recv(struct conn *c, void *buf, size_t len, uint64_t timeout_us, struct err *err)
{
    return timeout_us ? recv_until(c, buf, len, timeout_us, err) : xport_recv(c->fd, buf, len, err);
}

ssize_t
conn_send_some(struct conn *c, const void *buf, size_t len, struct err *err)
{
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

bool
conn_pending(struct conn *c)
{
    (void)c;
    return false; /* the kernel holds everything */
}

bool
conn_readable(struct conn *c)
{
    uint8_t b;

    return conn_pending(c) || recv(c->fd, &b, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void
conn_shut(struct conn *c)
{
    if (c)
        xport_shut(c->fd);
}

static int
recv_until(struct conn *c, uint8_t *p, size_t len, uint64_t timeout_us, struct err *err)
{
    uint64_t deadline = clock_mono_us() + timeout_us;

    while (len > 0) {
        ssize_t n = conn_recv_some(c, p, len, err);
        uint64_t now = clock_mono_us();
        struct pollfd pfd = {.fd = c->fd, .events = POLLIN};

        if (n == 0)
            return err_set(err, -EPIPE, "receive: the peer closed the connection");
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            continue;
        }
        if (now >= deadline)
            return err_set(err, -ETIMEDOUT, "no answer for %llu ms",
                           (unsigned long long)timeout_us / 1000);
        poll(&pfd, 1, (int)((deadline - now) / 1000 + 1));
    }
    return 0;
}
