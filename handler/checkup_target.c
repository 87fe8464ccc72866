/* The answering end of a checkup; see checkup_target.h, checkup_wire.h. One thread polls the
 * listener, those who have not said who they are, the control connection and the probes; each
 * stream has a thread of its own, as a migration's channels have, which only receives and counts. */
#include "handler/checkup_target.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/sb.h"
#include "handler/checkup_wire.h"
#include "handler/limits.h"
#include "migrate/xport.h"

struct pending { /* accepted, and has not said HELLO */
    int fd;      /* -1 = free */
    uint64_t since_us;
    uint8_t buf[CHECKUP_HELLO_SIZE];
    size_t len;
};

struct stream {
    int fd;
    pthread_t thread;
    struct checkup_target *t;
};

struct checkup_target {
    struct checkup_target_config cfg;
    char addr[MIG_ADDR_SIZE], nonce[CHECKUP_NONCE_LEN + 1];
    int listen_fd, udp_fd, stop_fd, control_fd;
    uint16_t udp_port;
    struct sockaddr_storage peer; /* of the control connection: the only one probes come from */
    uint64_t heard_us;            /* when it last said something */
    uint8_t buf[CHECKUP_MSG_SIZE];
    size_t len; /* of buf */
    struct pending pending[CHECKUP_PENDING];
    struct stream streams[CHECKUP_MAX_STREAMS];
    unsigned streams_len;
    atomic_uint_fast64_t bytes;
};

static int open_udp(struct checkup_target *t, struct err *err);
static void take_connection(struct checkup_target *t);
static void hear(struct checkup_target *t, struct pending *p);
static void admit(struct checkup_target *t, int fd, const struct checkup_msg *m);
static int serve(struct checkup_target *t);
static void answer_probes(struct checkup_target *t);
static void *receive(void *ctx);

int
checkup_target_new(const struct checkup_target_config *cfg, struct checkup_target **ret,
                   struct err *err)
{
    struct checkup_target *t = xcalloc(1, sizeof *t);
    uint8_t secret[CHECKUP_NONCE_LEN / 2];
    int rc;

    t->cfg = *cfg;
    if (t->cfg.hello_us == 0)
        t->cfg.hello_us = CHECKUP_HELLO_US;
    t->listen_fd = t->udp_fd = t->control_fd = -1;
    for (int i = 0; i < CHECKUP_PENDING; i++)
        t->pending[i].fd = -1;
    t->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = t->stop_fd < 0 ? err_set(err, -errno, "eventfd: %s", strerror(errno)) : 0;
    if (rc == 0 && (rc = rng_secret(secret, sizeof secret)) != 0)
        err_set(err, rc, "no random bytes: %s", strerror(-rc));
    if (rc == 0)
        rc = xport_listen(cfg->ip, cfg->device, &t->listen_fd, t->addr, err);
    if (rc == 0)
        rc = open_udp(t, err);
    if (rc != 0) {
        checkup_target_free(t);
        return rc;
    }
    for (size_t i = 0; i < sizeof secret; i++)
        snprintf(t->nonce + 2 * i, 3, "%02x", secret[i]);
    *ret = t;
    return 0;
}

const char *
checkup_target_address(const struct checkup_target *t)
{
    return t->addr;
}

const char *
checkup_target_nonce(const struct checkup_target *t)
{
    return t->nonce;
}

int
checkup_target_run(struct checkup_target *t, struct err *err)
{
    uint64_t deadline = clock_mono_us() + t->cfg.timeout_us;

    for (;;) {
        struct pollfd p[4 + CHECKUP_PENDING] = {{.fd = t->stop_fd, .events = POLLIN},
                                                {.fd = t->listen_fd, .events = POLLIN},
                                                {.fd = t->control_fd, .events = POLLIN},
                                                {.fd = t->udp_fd, .events = POLLIN}};
        uint64_t now = clock_mono_us(), wake = deadline;

        if (t->control_fd >= 0 && t->heard_us + CHECKUP_IDLE_US < wake)
            wake = t->heard_us + CHECKUP_IDLE_US;
        if (now >= wake)
            return err_set(
                err, -ETIMEDOUT, "nothing was heard of the source for %llu s",
                (unsigned long long)(wake == deadline ? t->cfg.timeout_us : CHECKUP_IDLE_US) /
                    1000000);

        for (int i = 0; i < CHECKUP_PENDING; i++) {
            struct pending *q = &t->pending[i];

            if (q->fd >= 0 && now - q->since_us >= t->cfg.hello_us) {
                close(q->fd);
                q->fd = -1;
            }
            if (q->fd >= 0 && q->since_us + t->cfg.hello_us < wake)
                wake = q->since_us + t->cfg.hello_us;
            p[4 + i] = (struct pollfd){.fd = q->fd, .events = POLLIN};
        }
        if (poll(p, ARRAY_LEN(p), (int)((wake - now) / 1000 + 1)) < 0 && errno != EINTR)
            return err_set(err, -errno, "poll: %s", strerror(errno));
        if (p[0].revents)
            return err_set(err, -ECANCELED, "cancelled");
        if (p[2].revents && serve(t) != 0)
            return 0;
        if (p[3].revents)
            answer_probes(t);
        for (int i = 0; i < CHECKUP_PENDING; i++)
            if (p[4 + i].revents && t->pending[i].fd >= 0)
                hear(t, &t->pending[i]);
        if (p[1].revents)
            take_connection(t);
    }
}

void
checkup_target_stop(struct checkup_target *t)
{
    eventfd_write(t->stop_fd, 1);
}

void
checkup_target_free(struct checkup_target *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < t->streams_len; i++)
        xport_shut(t->streams[i].fd);
    for (unsigned i = 0; i < t->streams_len; i++) {
        pthread_join(t->streams[i].thread, NULL);
        close(t->streams[i].fd);
    }
    for (int i = 0; i < CHECKUP_PENDING; i++)
        clean_fd(&t->pending[i].fd);
    clean_fd(&t->control_fd);
    clean_fd(&t->udp_fd);
    clean_fd(&t->listen_fd);
    clean_fd(&t->stop_fd);
    free(t);
}

/* On the listener's address and device; the port is told by READY. */
static int
open_udp(struct checkup_target *t, struct err *err)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof sa;
    char port[8];

    if (getsockname(t->listen_fd, (struct sockaddr *)&sa, &len) < 0)
        return err_set(err, -errno, "listen on %s: %s", t->cfg.ip, strerror(errno));
    if (sa.ss_family == AF_INET)
        ((struct sockaddr_in *)&sa)->sin_port = 0;
    else
        ((struct sockaddr_in6 *)&sa)->sin6_port = 0;
    t->udp_fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->udp_fd < 0)
        return err_set(err, -errno, "socket: %s", strerror(errno));
    if ((*t->cfg.device && setsockopt(t->udp_fd, SOL_SOCKET, SO_BINDTODEVICE, t->cfg.device,
                                      (socklen_t)strlen(t->cfg.device)) < 0) ||
        bind(t->udp_fd, (struct sockaddr *)&sa, len) < 0 ||
        getsockname(t->udp_fd, (struct sockaddr *)&sa, &len) < 0 ||
        getnameinfo((struct sockaddr *)&sa, len, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0)
        return err_set(err, -errno, "UDP on %s: %s", t->cfg.ip, strerror(errno));
    t->udp_port = (uint16_t)atoi(port);
    return 0;
}

/* When all places are taken the oldest stranger goes: a source says who it is at once. */
static void
take_connection(struct checkup_target *t)
{
    struct pending *p = &t->pending[0];

    for (int i = 1; i < CHECKUP_PENDING; i++)
        if (p->fd >= 0 && (t->pending[i].fd < 0 || t->pending[i].since_us < p->since_us))
            p = &t->pending[i];
    clean_fd(&p->fd);
    p->fd = accept4(t->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    p->since_us = clock_mono_us();
    p->len = 0;
}

static void
hear(struct checkup_target *t, struct pending *p)
{
    struct checkup_msg m;
    ssize_t n = recv(p->fd, p->buf + p->len, sizeof p->buf - p->len, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    p->len += n > 0 ? (size_t)n : 0;
    if (n > 0 && p->len < sizeof p->buf)
        return;
    if (n > 0 && checkup_hello_decode(p->buf, t->nonce, &m))
        admit(t, take_fd(&p->fd), &m);
    clean_fd(&p->fd);
    p->fd = -1;
}

/* Takes fd: one control connection, and streams only beside it. */
static void
admit(struct checkup_target *t, int fd, const struct checkup_msg *m)
{
    const struct checkup_msg ready = {.type = CHECKUP_READY, .seq = m->seq, .a = t->udp_port};
    bool control = m->type == CHECKUP_HELLO_CONTROL && t->control_fd < 0;
    bool stream = m->type == CHECKUP_HELLO_STREAM && t->control_fd >= 0 &&
                  t->streams_len < CHECKUP_MAX_STREAMS;
    socklen_t len = sizeof t->peer;
    uint8_t buf[CHECKUP_MSG_SIZE];

    checkup_msg_encode(buf, &ready);
    xport_tune(fd, CHECKUP_IO_US);
    if ((!control && !stream) || (stream && fs_set_nonblock(fd, false) != 0) ||
        (control && getpeername(fd, (struct sockaddr *)&t->peer, &len) < 0) ||
        send(fd, buf, sizeof buf, MSG_NOSIGNAL) != sizeof buf) {
        close(fd);
        return;
    }
    t->heard_us = clock_mono_us();
    if (control) {
        t->control_fd = fd;
        return;
    }

    struct stream *s = &t->streams[t->streams_len];

    *s = (struct stream){.fd = fd, .t = t};
    if (pthread_create(&s->thread, NULL, receive, s) != 0)
        close(fd);
    else
        t->streams_len++;
}

/* Non-zero when the source is done, or is not one. */
static int
serve(struct checkup_target *t)
{
    struct checkup_msg m;
    ssize_t n = recv(t->control_fd, t->buf + t->len, sizeof t->buf - t->len, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    t->heard_us = clock_mono_us();
    t->len += (size_t)n;
    if (t->len < sizeof t->buf)
        return 0;
    t->len = 0;
    if (!checkup_msg_decode(t->buf, &m) || (m.type != CHECKUP_ECHO && m.type != CHECKUP_COUNT))
        return -1;
    if (m.type == CHECKUP_COUNT) {
        m.a = atomic_load(&t->bytes);
        m.b = clock_mono_ns();
        checkup_msg_encode(t->buf, &m);
    }
    /* what does not fit belongs to a source that does not read its answers */
    return send(t->control_fd, t->buf, sizeof t->buf, MSG_NOSIGNAL) == sizeof t->buf ? 0 : -1;
}

static bool
same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

static void
answer_probes(struct checkup_target *t)
{
    for (int i = 0; i < CHECKUP_PROBES_A_TURN; i++) {
        struct sockaddr_storage from = {0};
        socklen_t len = sizeof from;
        uint8_t buf[CHECKUP_PROBE_SIZE];
        struct checkup_msg m;
        ssize_t n = recvfrom(t->udp_fd, buf, sizeof buf, MSG_TRUNC, (struct sockaddr *)&from, &len);

        if (n < 0)
            return;
        if (n < (ssize_t)sizeof buf || t->control_fd < 0 || !same_host(&from, &t->peer) ||
            !checkup_hello_decode(buf, t->nonce, &m) || m.type != CHECKUP_PROBE)
            continue;
        t->heard_us = clock_mono_us();
        m.a = (uint64_t)n;
        checkup_msg_encode(buf, &m);
        sendto(t->udp_fd, buf, CHECKUP_MSG_SIZE, 0, (struct sockaddr *)&from, len);
    }
}

/* A stream's thread: ends with the stream. */
static void *
receive(void *ctx)
{
    struct stream *s = ctx;
    uint8_t *buf = xmalloc(CHECKUP_STREAM_BYTES);
    ssize_t n;

    while ((n = recv(s->fd, buf, CHECKUP_STREAM_BYTES, 0)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            atomic_fetch_add(&s->t->bytes, (uint64_t)n);
    free(buf);
    return NULL;
}
