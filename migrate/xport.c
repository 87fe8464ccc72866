/* TCP under the engine; see xport.h. */
#include "migrate/xport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fs.h"

/* A peer that answers so fast is in the same room. There CUBIC is asked for: where BBR is the
 * system's choice its pacing by timers halves what a fast link carries and doubles what a byte
 * costs (docs/decisions/0005-speed-of-the-raw-path.md). Farther away the system's choice stays. */
#define XPORT_NEAR_US      1000
#define XPORT_NEAR_CONTROL "cubic"

static int parse(const char *addr, struct sockaddr_storage *ret, socklen_t *ret_len,
                 struct err *err);
static int resolve(const char *ip, const char *port, struct sockaddr_storage *ret,
                   socklen_t *ret_len, struct err *err);
static int bind_to(int fd, const char *ip, const char *device, struct err *err);
static int wait_connected(int fd, const struct xport_dial *d, struct err *err);
static void advance(struct msghdr *m, size_t n);

int
xport_dial(const struct xport_dial *d, int *ret_fd, uint64_t *ret_rtt_us, struct err *err)
{
    struct sockaddr_storage sa = {0};
    char control[16] = ""; /* the system's choice */
    socklen_t len = 0, control_len = sizeof control;
    uint64_t start;
    int rc = parse(d->addr, &sa, &len, err);

    if (rc != 0)
        return rc;

    AUTO_FD int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return err_set(err, -errno, "socket: %s", strerror(errno));
    rc = bind_to(fd, d->local_ip, d->device, err);
    if (rc != 0)
        return rc;
    /* Before connecting: a socket that BBR once had keeps its pacing by timers for ever. */
    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, control, &control_len) < 0)
        control_len = 0;
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, XPORT_NEAR_CONTROL, sizeof XPORT_NEAR_CONTROL - 1);
    start = clock_mono_us();
    if (connect(fd, (struct sockaddr *)&sa, len) < 0) {
        if (errno != EINPROGRESS)
            return err_set(err, -errno, "connect to %s: %s", d->addr, strerror(errno));
        rc = wait_connected(fd, d, err);
        if (rc != 0)
            return rc;
    }
    *ret_rtt_us = clock_mono_us() - start;
    rc = fs_set_nonblock(fd, false);
    if (rc != 0)
        return err_set(err, rc, "socket: %s", strerror(-rc));
    xport_tune(fd, d->user_timeout_us);
    if (!xport_is_near(fd) && control_len > 0)
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, control, control_len);
    *ret_fd = take_fd(&fd);
    return 0;
}

int
xport_listen(const char *ip, const char *device, int *ret_fd, char ret_addr[MIG_ADDR_SIZE],
             struct err *err)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = 0;
    int rc = resolve(ip, "0", &sa, &len, err);
    char host[INET6_ADDRSTRLEN], port[8];

    if (rc != 0)
        return rc;

    AUTO_FD int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return err_set(err, -errno, "socket: %s", strerror(errno));
    rc = bind_to(fd, "", device, err);
    if (rc != 0)
        return rc;
    if (bind(fd, (struct sockaddr *)&sa, len) < 0)
        return err_set(err, -errno, "listen on %s: %s", ip, strerror(errno));
    if (listen(fd, 2 * CONTROL_MAX_CHANNELS) < 0)
        return err_set(err, -errno, "listen on %s: %s", ip, strerror(errno));
    len = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
        getnameinfo((struct sockaddr *)&sa, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return err_set(err, -EIO, "listen on %s: the socket has no address", ip);
    snprintf(ret_addr, MIG_ADDR_SIZE, sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    *ret_fd = take_fd(&fd);
    return 0;
}

/* As the kernel measured it: how long a connect took on a busy machine says little. */
bool
xport_is_near(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_rtt < XPORT_NEAR_US;
}

void
xport_tune(int fd, uint64_t user_timeout_us)
{
    int one = 1;
    unsigned ms = (unsigned)(user_timeout_us / 1000 < 1 ? 1 : user_timeout_us / 1000);

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

int
xport_mark(int fd, uint32_t priority, uint8_t dscp, struct err *err)
{
    int domain = AF_INET, rc = 0, tos = 0;
    socklen_t len = sizeof domain;

    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);

    bool v6 = domain == AF_INET6;
    int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, name = v6 ? IPV6_TCLASS : IP_TOS;

    len = sizeof tos;
    if (dscp && getsockopt(fd, level, name, &tos, &len) == 0) {
        tos = dscp << 2 | (tos & IPTOS_ECN_MASK);
        if (setsockopt(fd, level, name, &tos, sizeof tos) < 0)
            rc = err_set(err, -errno, "DSCP %u: %s", dscp, strerror(errno));
    }
    /* After IP_TOS, which sets it, too. */
    if (priority && setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority) < 0)
        rc = err_set(err, -errno, "priority %#x: %s%s", priority, strerror(errno),
                     errno == EPERM ? " (it takes CAP_NET_ADMIN)" : "");
    return rc;
}

void
xport_path(int fd, uint32_t *ret_mtu, uint32_t *ret_segment)
{
    int domain = AF_INET, mtu = 0, segment = 0;
    socklen_t len = sizeof domain;

    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
    len = sizeof mtu;
    if (domain == AF_INET6)
        getsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &mtu, &len);
    else
        getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &len);
    len = sizeof segment;
    getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, &len);
    *ret_mtu = mtu > 0 ? (uint32_t)mtu : 0;
    *ret_segment = segment > 0 ? (uint32_t)segment : 0;
}

int
xport_local_ip(int fd, char ret[MIG_ADDR_SIZE], struct err *err)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    int rc = getsockname(fd, (struct sockaddr *)&a, &len);

    if (rc != 0)
        return err_set(err, -errno, "own address: %s", strerror(errno));
    rc = getnameinfo((struct sockaddr *)&a, len, ret, MIG_ADDR_SIZE, NULL, 0, NI_NUMERICHOST);
    return rc ? err_set(err, -EINVAL, "own address: %s", gai_strerror(rc)) : 0;
}

void
xport_short_queue(int fd)
{
    int send = 256 << 10, unsent = 64 << 10;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof send);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
}

void
xport_pace(int fd, uint64_t bytes_per_s)
{
    uint64_t rate = bytes_per_s ? bytes_per_s : ~UINT64_C(0); /* an unsigned long in the kernel */

    setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate);
}

int
xport_send(int fd, struct iovec *iov, int iov_len, struct err *err)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)iov_len};

    if (FAULT(XPORT_SEND_SHORT)) {
        if (send(fd, iov[0].iov_base, iov[0].iov_len / 2, MSG_NOSIGNAL) < 0)
            return err_set(err, -errno, "send: %s", strerror(errno));
        return err_set(err, -EIO, "send: fault point xport.send.short");
    }
    while (m.msg_iovlen > 0) {
        ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return err_set(err, -errno, "send: %s", strerror(errno));
        }
        advance(&m, (size_t)n);
    }
    return 0;
}

int
xport_recv(int fd, void *buf, size_t len, struct err *err)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};

    return xport_recvv(fd, &iov, 1, err);
}

int
xport_recvv(int fd, struct iovec *iov, int iov_len, struct err *err)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)iov_len};

    if (FAULT(XPORT_RECV_SHORT))
        return err_set(err, -EIO, "receive: fault point xport.recv.short");
    advance(&m, 0);
    while (m.msg_iovlen > 0) {
        ssize_t n = recvmsg(fd, &m, MSG_WAITALL);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return err_set(err, -errno, "receive: %s", strerror(errno));
        }
        if (n == 0)
            return err_set(err, -EPIPE, "receive: the peer closed the connection");
        advance(&m, (size_t)n);
    }
    return 0;
}

void
xport_shut(int fd)
{
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
}

/* n bytes of it are done, and what is empty behind them. */
static void
advance(struct msghdr *m, size_t n)
{
    while (m->msg_iovlen > 0 && n >= m->msg_iov->iov_len) {
        n -= m->msg_iov->iov_len;
        m->msg_iov++;
        m->msg_iovlen--;
    }
    if (m->msg_iovlen > 0) {
        m->msg_iov->iov_base = (uint8_t *)m->msg_iov->iov_base + n;
        m->msg_iov->iov_len -= n;
    }
}

static int
parse(const char *addr, struct sockaddr_storage *ret, socklen_t *ret_len, struct err *err)
{
    char copy[MIG_ADDR_SIZE];
    char *host = copy, *colon;

    snprintf(copy, sizeof copy, "%s", addr);
    colon = strrchr(copy, ':');
    if (!colon || colon == copy)
        return err_set(err, -EINVAL, "address '%s': want ip:port", addr);
    *colon = '\0';
    if (copy[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        host++;
    }
    return resolve(host, colon + 1, ret, ret_len, err);
}

static int
resolve(const char *ip, const char *port, struct sockaddr_storage *ret, socklen_t *ret_len,
        struct err *err)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *ai;

    if (!*ip || !*port || getaddrinfo(ip, port, &hints, &ai) != 0)
        return err_set(err, -EINVAL, "address '%s', port '%s': want an IPv4 or IPv6 address", ip,
                       port);
    memset(ret, 0, sizeof *ret);
    memcpy(ret, ai->ai_addr, ai->ai_addrlen);
    *ret_len = ai->ai_addrlen;
    freeaddrinfo(ai);
    return 0;
}

static int
bind_to(int fd, const char *ip, const char *device, struct err *err)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = 0;

    if (*device &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0)
        return err_set(err, -errno, "network device %s: %s", device, strerror(errno));
    if (!*ip)
        return 0;

    int rc = resolve(ip, "0", &sa, &len, err);

    if (rc == 0 && bind(fd, (struct sockaddr *)&sa, len) < 0)
        rc = err_set(err, -errno, "migration address %s: %s", ip, strerror(errno));
    return rc;
}

static int
wait_connected(int fd, const struct xport_dial *d, struct err *err)
{
    uint64_t deadline = clock_mono_us() + d->timeout_us;

    for (;;) {
        uint64_t now = clock_mono_us();
        struct pollfd p[2] = {{.fd = fd, .events = POLLOUT},
                              {.fd = d->cancel_fd, .events = POLLIN}};
        int error = 0;
        socklen_t len = sizeof error;

        if (now >= deadline)
            return err_set(err, -ETIMEDOUT, "connect to %s: no answer for %llu ms", d->addr,
                           (unsigned long long)d->timeout_us / 1000);
        if (poll(p, 2, (int)((deadline - now) / 1000 + 1)) < 0 && errno != EINTR)
            return err_set(err, -errno, "poll: %s", strerror(errno));
        if (p[1].revents)
            return err_set(err, -ECANCELED, "cancelled");
        if (!p[0].revents)
            continue;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
            error = errno;
        if (error)
            return err_set(err, -error, "connect to %s: %s", d->addr, strerror(error));
        return 0;
    }
}
