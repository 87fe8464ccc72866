/* See relay.h. One thread, poll. */
#include "tests/migrate/relay.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migrate/xport.h"

static void
reset(int *fd)
{
    struct linger l = {.l_onoff = 1};

    if (*fd >= 0) {
        setsockopt(*fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
        close(*fd);
    }
    *fd = -1;
}

static void
take(struct relay *r)
{
    struct xport_dial d = {.addr = r->target,
                           .local_ip = "",
                           .device = "",
                           .timeout_us = 5000000,
                           .user_timeout_us = 30000000,
                           .cancel_fd = -1};
    uint64_t rtt;
    int fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    assert(r->len < RELAY_MAX);
    if (r->hole || xport_dial(&d, &r->dst[r->len], &rtt, NULL) != 0) {
        r->dst[r->len] = -1;
        if (!r->hole) {
            close(fd);
            fd = -1;
        }
    }
    r->src[r->len++] = fd;
}

/* Returns false when the connection is over in this direction. */
static bool
forward(struct relay *r, int i, bool to_source)
{
    int *from = to_source ? &r->dst[i] : &r->src[i], *to = to_source ? &r->src[i] : &r->dst[i];
    uint64_t *passed = &r->passed[i][to_source];
    bool here = r->trick != RELAY_NOTHING && i == r->connection && to_source == r->to_source;
    uint8_t buf[65536];
    size_t room = sizeof buf;
    ssize_t n;

    if (here && !r->done && *passed < r->at && r->at - *passed < room)
        room = r->at - *passed;
    n = recv(*from, buf, room, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return true;
    if (n <= 0)
        return false;
    if (here && !r->done && *passed == r->at) {
        r->done = true;
        if (r->trick == RELAY_FLIP)
            buf[0] ^= 4;
        r->hole = r->trick == RELAY_HOLE;
        if (r->trick == RELAY_CUT) {
            for (int k = 0; k < r->len; k++) {
                reset(&r->src[k]);
                reset(&r->dst[k]);
            }
            return true;
        }
        if (r->hole)
            return true;
    }
    *passed += (uint64_t)n;
    for (ssize_t at = 0; at < n;) {
        ssize_t k = send(*to, buf + at, (size_t)(n - at), MSG_NOSIGNAL);

        if (k <= 0)
            return false;
        at += k;
    }
    return true;
}

static void *
relay_main(void *arg)
{
    struct relay *r = arg;

    for (;;) {
        struct pollfd p[3 + 2 * RELAY_MAX] = {{.fd = r->stop_fd, .events = POLLIN},
                                              {.fd = r->listen_fd, .events = POLLIN}};
        eventfd_t n;

        for (int i = 0; i < r->len; i++) {
            p[2 + 2 * i] = (struct pollfd){.fd = r->hole ? -1 : r->src[i], .events = POLLIN};
            p[3 + 2 * i] = (struct pollfd){.fd = r->hole ? -1 : r->dst[i], .events = POLLIN};
        }

        int len = r->len;

        p[2 + 2 * len] = (struct pollfd){.fd = r->cut_fd, .events = POLLIN};
        poll(p, (nfds_t)(3 + 2 * len), -1);
        if (p[0].revents)
            return NULL;
        if (p[2 + 2 * len].revents) {
            eventfd_read(r->cut_fd, &n);
            for (int k = 0; k < len; k++) {
                reset(&r->src[k]);
                reset(&r->dst[k]);
            }
            continue;
        }
        for (int i = 0; i < len; i++) {
            for (int to_source = 0; to_source < 2; to_source++) {
                if (!p[2 + 2 * i + to_source].revents || r->hole || r->src[i] < 0)
                    continue;
                if (!forward(r, i, to_source)) {
                    close(r->src[i]);
                    close(r->dst[i]);
                    r->src[i] = r->dst[i] = -1;
                }
            }
        }
        if (p[1].revents)
            take(r);
    }
}

void
relay_start(struct relay *r, const char *target)
{
    r->target = target;
    r->stop_fd = eventfd(0, EFD_CLOEXEC);
    r->cut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert(xport_listen("127.0.0.1", "", &r->listen_fd, r->addr, NULL) == 0);
    assert(pthread_create(&r->thread, NULL, relay_main, r) == 0);
}

void
relay_cut(struct relay *r)
{
    eventfd_write(r->cut_fd, 1);
}

void
relay_stop(struct relay *r)
{
    eventfd_write(r->stop_fd, 1);
    pthread_join(r->thread, NULL);
    for (int i = 0; i < r->len; i++) {
        if (r->src[i] >= 0)
            close(r->src[i]);
        if (r->dst[i] >= 0)
            close(r->dst[i]);
    }
    close(r->listen_fd);
    close(r->stop_fd);
    close(r->cut_fd);
}
