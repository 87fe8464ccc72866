/* The largest IP packet that comes through from source to target, by trying: UDP packets that may
 * not be fragmented (IP_PMTUDISC_PROBE: whatever the kernel thinks of the path), each answered by a
 * small one. What the two ends' own sockets say stands beside it: a path that silently drops what
 * they think fits is what makes connections hang (RFC 2923, section 2.1; RFC 8899 searches the
 * same way). See checkup_source.h. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/sb.h"
#include "handler/checkup_source.h"
#include "handler/checkup_wire.h"
#include "handler/limits.h"

#define UDP_HEADER 8
#define MIN_V4     576
#define MIN_V6     1280
#define MAX_PACKET 65535

struct prober {
    struct checkup_session *s;
    int fd;
    bool v6;
    uint64_t seq;
    uint8_t *buf; /* MAX_PACKET bytes */
};

static int connect_udp(struct prober *p, struct err *err);
static int kernel_mtu(const struct prober *p, unsigned *ret);
static int fits(struct prober *p, unsigned packet_bytes, bool *ret, struct err *err);
static int wait_answer(struct prober *p, uint64_t first_seq, bool *ret, struct err *err);
static int search(struct prober *p, unsigned min, unsigned max, unsigned *ret, struct err *err);

int
checkup_mtu(struct checkup_session *s, unsigned *ret_bytes, struct err *err)
{
    struct prober p = {.s = s, .fd = -1};
    unsigned ends = 0, found = 0, now = 0;
    int rc = connect_udp(&p, err);

    p.buf = xcalloc(1, MAX_PACKET);
    if (rc == 0 && (rc = kernel_mtu(&p, &ends)) != 0)
        err_set(err, rc, "the kernel does not say: %s", strerror(-rc));
    if (rc == 0) {
        ends = ends < MAX_PACKET ? ends : MAX_PACKET;
        rc = search(&p, p.v6 ? MIN_V6 : MIN_V4, ends, &found, err);
    }
    /* A router on the way that says "too big" has told the kernel by now: TCP knows, too. */
    if (rc == 0 && kernel_mtu(&p, &now) == 0 && now < ends)
        ends = now;
    free(p.buf);
    clean_fd(&p.fd);
    if (rc != 0)
        return err_prefix(err, rc, "path MTU");
    *ret_bytes = found;
    if (found < ends)
        return err_set(err, -EMSGSIZE,
                       "path MTU: the ends think that packets of %u bytes fit, but what is larger "
                       "than %u bytes vanishes on the way: set the MTU of both interfaces to what "
                       "every switch between them carries",
                       ends, found);
    return 0;
}

static int
connect_udp(struct prober *p, struct err *err)
{
    const struct checkup_source_config *cfg = p->s->cfg;
    struct sockaddr_storage local = {0}, peer = {0};
    socklen_t local_len = sizeof local, peer_len = sizeof peer;

    /* as the control connection's ends, but for the ports */
    if (getsockname(p->s->control_fd, (struct sockaddr *)&local, &local_len) < 0 ||
        getpeername(p->s->control_fd, (struct sockaddr *)&peer, &peer_len) < 0)
        return err_set(err, -errno, "%s", strerror(errno));
    p->v6 = peer.ss_family == AF_INET6;
    if (p->v6) {
        ((struct sockaddr_in6 *)&local)->sin6_port = 0;
        ((struct sockaddr_in6 *)&peer)->sin6_port = htons(p->s->udp_port);
    } else {
        ((struct sockaddr_in *)&local)->sin_port = 0;
        ((struct sockaddr_in *)&peer)->sin_port = htons(p->s->udp_port);
    }
    p->fd = socket(peer.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->fd < 0)
        return err_set(err, -errno, "socket: %s", strerror(errno));

    int probe = p->v6 ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE, send = 1 << 20;

    setsockopt(p->fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof send);
    if ((*cfg->device && setsockopt(p->fd, SOL_SOCKET, SO_BINDTODEVICE, cfg->device,
                                    (socklen_t)strlen(cfg->device)) < 0) ||
        setsockopt(p->fd, p->v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                   p->v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &probe, sizeof probe) < 0 ||
        bind(p->fd, (struct sockaddr *)&local, local_len) < 0 ||
        connect(p->fd, (struct sockaddr *)&peer, peer_len) < 0)
        return err_set(err, -errno, "UDP: %s", strerror(errno));
    return 0;
}

static int
kernel_mtu(const struct prober *p, unsigned *ret)
{
    int mtu;
    socklen_t len = sizeof mtu;

    if (getsockopt(p->fd, p->v6 ? IPPROTO_IPV6 : IPPROTO_IP, p->v6 ? IPV6_MTU : IP_MTU, &mtu,
                   &len) < 0)
        return -errno;
    if (mtu <= 0)
        return -EIO;
    *ret = (unsigned)mtu;
    return 0;
}

/* Halves what is between the largest that came through and the smallest that did not. */
static int
search(struct prober *p, unsigned min, unsigned max, unsigned *ret, struct err *err)
{
    /* what paths are made for: most searches end at one of these, and just above it */
    static const unsigned usual[] = {9000, 1500, 1450, 1400};
    unsigned low = 0, high = max + 1;
    bool yes = false;
    int rc = fits(p, max, &yes, err);

    if (rc == 0 && yes)
        low = max;
    for (size_t i = 0; rc == 0 && low == 0 && i < ARRAY_LEN(usual); i++) {
        high = i == 0 ? max : high;
        if (usual[i] >= high)
            continue;
        rc = fits(p, usual[i], &yes, err);
        if (yes)
            low = usual[i];
        else
            high = usual[i];
    }
    if (rc == 0 && low == 0) {
        min = min < high ? min : high - 1;
        rc = fits(p, min, &yes, err);
        if (rc == 0 && !yes)
            return err_set(err, -ETIMEDOUT,
                           "UDP packets of %u bytes to port %u are not answered (a firewall?)", min,
                           p->s->udp_port);
        low = min;
    }
    for (unsigned middle = low + 1; rc == 0 && high - low > 1; middle = low + (high - low) / 2) {
        rc = fits(p, middle, &yes, err);
        if (yes)
            low = middle;
        else
            high = middle;
    }
    if (rc == 0)
        *ret = low;
    return rc;
}

static int
fits(struct prober *p, unsigned packet_bytes, bool *ret, struct err *err)
{
    size_t len = packet_bytes - UDP_HEADER - (p->v6 ? 40 : 20);
    uint64_t first = p->seq + 1;

    *ret = false;
    for (int i = 0; i < CHECKUP_PROBE_TRIES && !*ret; i++) {
        const struct checkup_msg m = {.type = CHECKUP_PROBE, .seq = ++p->seq, .a = len};
        int rc;

        checkup_hello_encode(p->buf, &m, p->s->cfg->nonce);
        if (send(p->fd, p->buf, len, 0) < 0 && errno == EMSGSIZE)
            return 0;                         /* this host's own interface does not take it */
        rc = wait_answer(p, first, ret, err); /* other errors are those of earlier packets */
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* An answer to any of the tries counts. */
static int
wait_answer(struct prober *p, uint64_t first_seq, bool *ret, struct err *err)
{
    uint64_t until = clock_mono_us() + CHECKUP_PROBE_US + 4 * p->s->rtt_us, now;

    while ((now = clock_mono_us()) < until) {
        struct pollfd fds[2] = {{.fd = p->fd, .events = POLLIN},
                                {.fd = p->s->cfg->cancel_fd, .events = POLLIN}};
        uint8_t buf[CHECKUP_MSG_SIZE];
        struct checkup_msg m;

        if (poll(fds, 2, (int)((until - now) / 1000 + 1)) < 0 && errno != EINTR)
            return err_set(err, -errno, "poll: %s", strerror(errno));
        if (fds[1].revents)
            return err_set(err, -ECANCELED, "cancelled");
        if (!fds[0].revents)
            continue;

        ssize_t n = recv(p->fd, buf, sizeof buf, MSG_TRUNC);

        if (n < 0 && errno == EMSGSIZE)
            return 0; /* a router says that it is too big */
        if (n == sizeof buf && checkup_msg_decode(buf, &m) && m.type == CHECKUP_PROBE &&
            m.seq >= first_seq && m.seq <= p->seq) {
            *ret = true;
            return 0;
        }
    }
    return 0;
}
