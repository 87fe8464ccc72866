/* Connections and round trips of a checkup; see checkup_source.h, checkup_wire.h. */
#include "handler/checkup_source.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/sb.h"
#include "handler/checkup_wire.h"
#include "handler/limits.h"
#include "migrate/xport.h"

static int measure_latency(struct checkup_session *s, struct checkup_result *r, struct err *err);
static int round_trip(struct checkup_session *s, uint64_t *ret_ns, struct err *err);
static int rest_until(const struct checkup_session *s, uint64_t until_us, struct err *err);

int
checkup_source_measure(const struct checkup_source_config *cfg, struct checkup_result *ret,
                       struct err *err)
{
    struct checkup_session s = {.cfg = cfg, .control_fd = -1};
    struct checkup_result r = {0};
    int rc;

    rc =
        checkup_source_dial(cfg, CHECKUP_HELLO_CONTROL, &s.control_fd, &s.udp_port, &s.rtt_us, err);
    if (rc != 0)
        return rc;
    rc = measure_latency(&s, &r, err);
    if (rc == 0) {
        rc = checkup_mtu(&s, &r.path_mtu_bytes, err);
        if (rc == 0)
            rc = checkup_bandwidth(&s, &r, err);
    }
    close(s.control_fd);
    *ret = r;
    return rc;
}

int
checkup_source_dial(const struct checkup_source_config *cfg, uint16_t role, int *ret_fd,
                    uint16_t *ret_udp_port, uint64_t *ret_rtt_us, struct err *err)
{
    const struct xport_dial d = {.addr = cfg->target_addr,
                                 .local_ip = cfg->local_ip,
                                 .device = cfg->device,
                                 .timeout_us = CHECKUP_IO_US,
                                 .user_timeout_us = CHECKUP_IO_US,
                                 .cancel_fd = cfg->cancel_fd};
    struct checkup_msg m = {.type = role};
    uint8_t hello[CHECKUP_HELLO_SIZE];
    struct iovec iov = {.iov_base = hello, .iov_len = sizeof hello};
    uint64_t rtt_us;
    int fd, rc = xport_dial(&d, &fd, &rtt_us, err);

    if (rc != 0)
        return rc;
    checkup_hello_encode(hello, &m, cfg->nonce);
    rc = xport_send(fd, &iov, 1, err);
    if (rc == 0)
        rc = checkup_source_hear(fd, cfg->cancel_fd, &m, err);
    if (rc == 0 && (m.type != CHECKUP_READY || m.a == 0 || m.a > UINT16_MAX))
        rc = err_set(err, -EPROTO, "the target answers HELLO with type %u", m.type);
    if (rc != 0) {
        close(fd);
        return err_prefix(err, rc, "%s", cfg->target_addr);
    }
    *ret_fd = fd;
    if (ret_udp_port)
        *ret_udp_port = (uint16_t)m.a;
    if (ret_rtt_us)
        *ret_rtt_us = rtt_us;
    return 0;
}

int
checkup_source_hear(int fd, int cancel_fd, struct checkup_msg *ret, struct err *err)
{
    uint64_t deadline = clock_mono_us() + CHECKUP_IO_US;
    uint8_t buf[CHECKUP_MSG_SIZE];
    size_t len = 0;

    while (len < sizeof buf) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};
        uint64_t now = clock_mono_us();
        ssize_t n;

        if (now >= deadline)
            return err_set(err, -ETIMEDOUT, "no answer for %u s", CHECKUP_IO_US / 1000000);
        if (poll(p, 2, (int)((deadline - now) / 1000 + 1)) < 0 && errno != EINTR)
            return err_set(err, -errno, "poll: %s", strerror(errno));
        if (p[1].revents)
            return err_set(err, -ECANCELED, "cancelled");
        if (!p[0].revents)
            continue;
        n = recv(fd, buf + len, sizeof buf - len, 0);
        if (n == 0)
            return err_set(err, -EPIPE, "the target closed the connection");
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return err_set(err, -errno, "receive: %s", strerror(errno));
        len += n > 0 ? (size_t)n : 0;
    }
    if (!checkup_msg_decode(buf, ret))
        return err_set(err, -EPROTO, "the target's answer is not of a checkup");
    return 0;
}

static int
by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Round trips at a steady pace for the time that was asked for: every one of them counts, whatever
 * it took. */
static int
measure_latency(struct checkup_session *s, struct checkup_result *r, struct err *err)
{
    size_t max = s->cfg->sample_us / CHECKUP_PERIOD_US + 1, len = 0;
    AUTO_FREE uint64_t *ns = xcalloc(max, sizeof *ns);
    uint64_t start_us, sum = 0, trip;
    int rc = 0;

    for (int i = 0; i < CHECKUP_WARM_UP && rc == 0; i++) {
        rc = round_trip(s, &trip, err);
        if (rc == 0 && trip / 1000 < s->rtt_us)
            s->rtt_us = trip / 1000;
    }
    start_us = clock_mono_us();
    while (rc == 0 && len < max && clock_mono_us() - start_us < s->cfg->sample_us) {
        rc = round_trip(s, &ns[len], err);
        if (rc == 0)
            sum += ns[len++];
        if (rc == 0)
            rc = rest_until(s, start_us + len * CHECKUP_PERIOD_US, err);
    }
    r->measured_us = clock_mono_us() - start_us;
    if (len > 0) {
        qsort(ns, len, sizeof *ns, by_value);
        r->min_ns = ns[0];
        r->max_ns = ns[len - 1];
        r->p99_ns = ns[(len - 1) * 99 / 100];
        r->avg_ns = sum / len;
        r->samples = len;
    }
    return rc ? err_prefix(err, rc, "latency") : 0;
}

static int
round_trip(struct checkup_session *s, uint64_t *ret_ns, struct err *err)
{
    struct checkup_msg m = {.type = CHECKUP_ECHO, .seq = ++s->seq};
    uint8_t buf[CHECKUP_MSG_SIZE];
    struct iovec iov = {.iov_base = buf, .iov_len = sizeof buf};
    uint64_t start_ns;
    int rc;

    checkup_msg_encode(buf, &m);
    start_ns = clock_mono_ns();
    rc = xport_send(s->control_fd, &iov, 1, err);
    if (rc == 0)
        rc = checkup_source_hear(s->control_fd, s->cfg->cancel_fd, &m, err);
    if (rc != 0)
        return rc;
    *ret_ns = clock_mono_ns() - start_ns;
    if (m.type != CHECKUP_ECHO || m.seq != s->seq)
        return err_set(err, -EPROTO, "the target answers another question than was asked");
    return 0;
}

static int
rest_until(const struct checkup_session *s, uint64_t until_us, struct err *err)
{
    struct pollfd p = {.fd = s->cfg->cancel_fd, .events = POLLIN};
    uint64_t now = clock_mono_us(), us = until_us > now ? until_us - now : 0;
    const struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

    ppoll(&p, 1, &t, NULL);
    return p.revents ? err_set(err, -ECANCELED, "cancelled") : 0;
}
