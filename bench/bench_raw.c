/* See bench_raw.h. */
#include "bench/bench_raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "base/sb.h"
#include "bench/bench_aes.h"

#define CHUNK   (1u << 20) /* of one send or receive: larger is not faster */
#define WAIT_MS 10000
#define SEALED  (16 * (BENCH_AES_RECORD + BENCH_AES_EXTRA)) /* sent at once: stays in the cache */

struct stream {
    int fd;
    bool sends, encrypted;
    uint8_t *p;
    uint64_t len;
    pthread_t thread;
    int rc;
    struct err err;
};

static void stream_sealed(struct stream *s);

int
bench_send_all(int fd, const void *buf, size_t len, struct err *err)
{
    const uint8_t *p = buf;

    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, -errno, "send: %s", strerror(errno));
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int
bench_recv_all(int fd, void *buf, size_t len, struct err *err)
{
    uint8_t *p = buf;

    while (len > 0) {
        ssize_t n = recv(fd, p, len, MSG_WAITALL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(err, n < 0 ? -errno : -EPIPE, "receive: %s",
                           n < 0 ? strerror(errno) : "the peer closed");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static void *
stream_main(void *arg)
{
    struct stream *s = arg;

    if (s->encrypted) {
        stream_sealed(s);
        return NULL;
    }
    for (uint64_t at = 0; at < s->len && s->rc == 0;) {
        uint64_t n = s->len - at < CHUNK ? s->len - at : CHUNK;

        s->rc = s->sends ? bench_send_all(s->fd, s->p + at, n, &s->err)
                         : bench_recv_all(s->fd, s->p + at, n, &s->err);
        at += n;
    }
    return NULL;
}

/* Seals records into a small buffer and sends that, or receives it and opens them into place. */
static void
stream_sealed(struct stream *s)
{
    struct bench_aes *aes = bench_aes_new(s->sends);
    AUTO_FREE uint8_t *buf = xmalloc(SEALED);
    uint64_t at = 0;

    while (at < s->len && s->rc == 0) {
        uint64_t end = s->len - at < 16 * BENCH_AES_RECORD ? s->len : at + 16 * BENCH_AES_RECORD;
        uint64_t records = (end - at + BENCH_AES_RECORD - 1) / BENCH_AES_RECORD;
        size_t len = end - at + records * BENCH_AES_EXTRA;
        uint8_t *b = buf;

        if (!s->sends)
            s->rc = bench_recv_all(s->fd, buf, len, &s->err);
        while (at < end && s->rc == 0) {
            size_t n = end - at < BENCH_AES_RECORD ? end - at : BENCH_AES_RECORD;

            if (s->sends)
                bench_aes_seal(aes, s->p + at, n, b);
            else if (!bench_aes_open(aes, b, n, s->p + at))
                s->rc = err_set(&s->err, -EBADMSG, "a record does not open");
            b += n + BENCH_AES_EXTRA;
            at += n;
        }
        if (s->sends)
            s->rc = bench_send_all(s->fd, buf, len, &s->err);
    }
    bench_aes_free(aes);
}

static int
run(struct stream *s, unsigned streams, uint8_t *p, uint64_t len, bool sends, bool encrypted,
    struct err *err)
{
    uint64_t share = streams ? len / streams : 0;
    int rc = 0;

    for (unsigned i = 0; i < streams; i++) {
        s[i].sends = sends;
        s[i].encrypted = encrypted;
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

static int
dial(const struct bench_raw *r, int *ret, struct err *err)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    const char *colon = strrchr(r->addr, ':');
    AUTO_FREE char *ip = xstrndup(r->addr, colon ? (size_t)(colon - r->addr) : 0);
    AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (!colon || inet_pton(AF_INET, ip, &sa.sin_addr) != 1)
        return err_set(err, -EINVAL, "'%s' is no address", r->addr);
    sa.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
        return err_set(err, -errno, "connect to %s: %s", r->addr, strerror(errno));
    if (r->control &&
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, r->control, (socklen_t)strlen(r->control)) < 0)
        return err_set(err, -errno, "congestion control %s: %s", r->control, strerror(errno));
    *ret = take_fd(&fd);
    return 0;
}

int
bench_raw_send(const struct bench_raw *r, struct err *err)
{
    struct stream s[BENCH_RAW_MAX_STREAMS] = {0};

    for (unsigned i = 0; i < r->streams; i++) {
        int rc = dial(r, &s[i].fd, err);

        if (rc != 0) {
            while (i-- > 0)
                close(s[i].fd);
            return rc;
        }
    }
    return run(s, r->streams, (uint8_t *)(uintptr_t)r->memory, r->len, true, r->encrypted, err);
}

int
bench_raw_receive(int listen_fd, uint8_t *p, uint64_t len, unsigned streams, bool encrypted,
                  struct err *err)
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
    return run(s, streams, p, len, false, encrypted, err);
}
