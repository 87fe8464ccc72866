/* See bench_raw.h. */
#include "bench/bench_raw.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "migrate/xport.h"

#define CHUNK   (1u << 20) /* of one send or receive: larger is not faster */
#define WAIT_MS 10000

struct stream {
    int fd;
    bool sends;
    uint8_t *p;
    uint64_t len;
    pthread_t thread;
    int rc;
    struct err err;
};

static void *
stream_main(void *arg)
{
    struct stream *s = arg;

    for (uint64_t at = 0; at < s->len && s->rc == 0;) {
        uint64_t n = s->len - at < CHUNK ? s->len - at : CHUNK;
        struct iovec iov = {.iov_base = s->p + at, .iov_len = n};

        s->rc = s->sends ? xport_send(s->fd, &iov, 1, &s->err)
                         : xport_recv(s->fd, s->p + at, n, &s->err);
        at += n;
    }
    return NULL;
}

static int
run(struct stream *s, unsigned streams, uint8_t *p, uint64_t len, bool sends, struct err *err)
{
    uint64_t share = streams ? len / streams : 0;
    int rc = 0;

    for (unsigned i = 0; i < streams; i++) {
        s[i].sends = sends;
        s[i].p = p + i * share;
        s[i].len = i + 1 < streams ? share : len - i * share;
        if (pthread_create(&s[i].thread, NULL, stream_main, &s[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < streams; i++) {
        pthread_join(s[i].thread, NULL);
        if (s[i].rc != 0 && rc == 0)
            rc = err_set(err, s[i].rc, "stream %u: %s", i, err_msg(&s[i].err));
        close(s[i].fd);
    }
    return rc;
}

int
bench_raw_send(const char *addr, const uint8_t *p, uint64_t len, unsigned streams, struct err *err)
{
    struct stream s[BENCH_RAW_MAX_STREAMS] = {0};
    struct xport_dial d = {.addr = addr,
                           .local_ip = "",
                           .device = "",
                           .timeout_us = WAIT_MS * 1000u,
                           .user_timeout_us = WAIT_MS * 1000u,
                           .cancel_fd = -1};
    uint64_t rtt;

    for (unsigned i = 0; i < streams; i++) {
        int rc = xport_dial(&d, &s[i].fd, &rtt, err);

        if (rc != 0)
            return rc;
    }
    return run(s, streams, (uint8_t *)(uintptr_t)p, len, true, err);
}

int
bench_raw_receive(int listen_fd, uint8_t *p, uint64_t len, unsigned streams, struct err *err)
{
    struct stream s[BENCH_RAW_MAX_STREAMS] = {0};

    for (unsigned i = 0; i < streams; i++) {
        struct pollfd pfd = {.fd = listen_fd, .events = POLLIN};

        if (poll(&pfd, 1, WAIT_MS) <= 0)
            return err_set(err, -ETIMEDOUT, "no connection came");
        s[i].fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (s[i].fd < 0)
            return err_set(err, -errno, "accept: %s", strerror(errno));
    }
    return run(s, streams, p, len, false, err);
}
