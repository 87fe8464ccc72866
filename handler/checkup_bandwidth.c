/* Bandwidth as the receiver has it: streams like a migration's channels send as fast as they can;
 * when they are past their slow start the target is asked twice how many bytes have come, and when
 * that was by its own clock. See checkup_source.h. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/sb.h"
#include "handler/checkup_source.h"
#include "handler/checkup_wire.h"
#include "handler/limits.h"
#include "migrate/xport.h"

struct sender {
    int fd;
    const uint8_t *bytes; /* CHECKUP_STREAM_BYTES */
    pthread_t thread;
};

static void *send_all(void *ctx);
static int count(struct checkup_session *s, struct checkup_msg *ret, struct err *err);
static int rest(const struct checkup_session *s, uint64_t us, struct err *err);
static int measure(struct checkup_session *s, struct checkup_result *r, struct err *err);

int
checkup_bandwidth(struct checkup_session *s, struct checkup_result *r, struct err *err)
{
    struct sender senders[CHECKUP_MAX_STREAMS];
    AUTO_FREE uint8_t *bytes = xmalloc(CHECKUP_STREAM_BYTES);
    unsigned started = 0;
    int rc = rng_secret(bytes, CHECKUP_STREAM_BYTES); /* nothing on the way can make it smaller */

    if (rc != 0)
        return err_set(err, rc, "bandwidth: no random bytes: %s", strerror(-rc));
    while (rc == 0 && started < s->cfg->streams && started < CHECKUP_MAX_STREAMS) {
        struct sender *d = &senders[started];

        *d = (struct sender){.fd = -1, .bytes = bytes};
        rc = checkup_source_dial(s->cfg, CHECKUP_HELLO_STREAM, &d->fd, NULL, NULL, err);
        if (rc == 0 && (rc = -pthread_create(&d->thread, NULL, send_all, d)) != 0) {
            err_set(err, rc, "no thread for a stream: %s", strerror(-rc));
            close(d->fd);
        }
        started += rc == 0;
    }
    if (rc == 0)
        rc = measure(s, r, err);
    for (unsigned i = 0; i < started; i++)
        xport_shut(senders[i].fd);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(senders[i].thread, NULL);
        close(senders[i].fd);
    }
    r->streams = rc == 0 ? started : 0;
    return rc ? err_prefix(err, rc, "bandwidth") : 0;
}

static int
measure(struct checkup_session *s, struct checkup_result *r, struct err *err)
{
    uint64_t us = s->cfg->bandwidth_us ? s->cfg->bandwidth_us : CHECKUP_BANDWIDTH_US;
    struct checkup_msg from, to;
    int rc = rest(s, CHECKUP_SLOW_START_US, err);

    if (rc == 0)
        rc = count(s, &from, err);
    if (rc == 0)
        rc = rest(s, us, err);
    if (rc == 0)
        rc = count(s, &to, err);
    if (rc != 0)
        return rc;
    if (to.b <= from.b || to.a < from.a)
        return err_set(err, -EPROTO, "the target's counts go backwards");
    if (to.a == from.a)
        return err_set(err, -ETIMEDOUT, "nothing arrived for %.1f s",
                       (double)(to.b - from.b) / 1e9);
    r->bandwidth_bytes_per_s =
        (uint64_t)((unsigned __int128)(to.a - from.a) * 1000000000u / (to.b - from.b));
    return 0;
}

/* A stream's thread: until its socket is shut. */
static void *
send_all(void *ctx)
{
    struct sender *d = ctx;
    int rc = 0;

    while (rc == 0) {
        struct iovec iov = {.iov_base = (void *)(uintptr_t)d->bytes,
                            .iov_len = CHECKUP_STREAM_BYTES};

        rc = xport_send(d->fd, &iov, 1, NULL);
    }
    return NULL;
}

static int
count(struct checkup_session *s, struct checkup_msg *ret, struct err *err)
{
    const struct checkup_msg m = {.type = CHECKUP_COUNT, .seq = ++s->seq};
    uint8_t buf[CHECKUP_MSG_SIZE];
    struct iovec iov = {.iov_base = buf, .iov_len = sizeof buf};
    int rc;

    checkup_msg_encode(buf, &m);
    rc = xport_send(s->control_fd, &iov, 1, err);
    if (rc == 0)
        rc = checkup_source_hear(s->control_fd, s->cfg->cancel_fd, ret, err);
    if (rc == 0 && (ret->type != CHECKUP_COUNT || ret->seq != m.seq))
        rc = err_set(err, -EPROTO, "the target answers another question than was asked");
    return rc;
}

static int
rest(const struct checkup_session *s, uint64_t us, struct err *err)
{
    uint64_t until = clock_mono_us() + us, now;

    while ((now = clock_mono_us()) < until) {
        struct pollfd p = {.fd = s->cfg->cancel_fd, .events = POLLIN};

        if (poll(&p, 1, (int)((until - now) / 1000 + 1)) < 0 && errno != EINTR)
            return err_set(err, -errno, "poll: %s", strerror(errno));
        if (p.revents)
            return err_set(err, -ECANCELED, "cancelled");
    }
    return 0;
}
