/* The door for libvirt's connection at the source; see libvirt_gate.h. */
#include "handler/libvirt_gate.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sb.h"
#include "handler/limits.h"

#define HEADER         28u /* length, program, version, procedure, type, serial, status */
#define PROGRAM_REMOTE 0x20008086u
#define PROC_FINISH3   306u /* virDomainMigrateFinish3Params */
#define TYPE_CALL      0u
#define TYPE_REPLY     1u
#define STATUS_OK      0u

struct door {  /* one connection */
    int fd[2]; /* 0: this host's libvirtd, 1: onward; -1 = ended */
    struct sb in[2];
    uint32_t finish_serial;
    bool finish_called;
    uint32_t waits_serial; /* of the last call */
};

struct lv_gate {
    struct lv_gate_config cfg;
    int listen_fd, wake_fd;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint_fast64_t waits_since_us; /* 0 = no call waits */
    struct door doors[LV_GATE_CONNECTIONS];
};

static void *run(void *ctx);
static void let_in(struct lv_gate *g);
static bool pass(struct lv_gate *g, struct door *d, int from);
static bool pass_message(struct lv_gate *g, struct door *d, int from, uint8_t *m, uint32_t len);
static bool write_all(int fd, const void *data, size_t len);
static bool was_read(int fd);
static void shut(struct lv_gate *g, struct door *d);

static uint32_t
get32(const uint8_t *p) /* XDR: big-endian */
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void
put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static void
fill_address(struct sockaddr_un *sa, const char path[LV_GATE_PATH_SIZE])
{
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(sa->sun_path, path, sizeof sa->sun_path - 1);
}

int
lv_gate_new(const struct lv_gate_config *cfg, struct lv_gate **ret, struct err *err)
{
    struct lv_gate *g = xcalloc(1, sizeof *g);
    struct sockaddr_un sa;
    int rc = 0;

    g->cfg = *cfg;
    for (size_t i = 0; i < ARRAY_LEN(g->doors); i++)
        g->doors[i].fd[0] = g->doors[i].fd[1] = -1;
    g->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fill_address(&sa, cfg->path);
    (void)unlink(cfg->path); /* of a handler that was killed */
    if (g->listen_fd < 0 || g->wake_fd < 0 ||
        bind(g->listen_fd, (struct sockaddr *)&sa, sizeof sa) != 0 || chmod(cfg->path, 0600) != 0 ||
        listen(g->listen_fd, LV_GATE_CONNECTIONS) != 0)
        rc = err_set(err, -errno, "%s: %s", cfg->path, strerror(errno));
    if (rc == 0) {
        rc = -pthread_create(&g->thread, NULL, run, g);
        if (rc != 0)
            err_set(err, rc, "no thread for libvirt's connection: %s", strerror(-rc));
    }
    if (rc != 0) {
        clean_fd(&g->listen_fd);
        clean_fd(&g->wake_fd);
        free(g);
        return rc;
    }
    *ret = g;
    return 0;
}

void
lv_gate_free(struct lv_gate *g)
{
    if (!g)
        return;
    atomic_store(&g->stop, true);
    eventfd_write(g->wake_fd, 1);
    pthread_join(g->thread, NULL);
    for (size_t i = 0; i < ARRAY_LEN(g->doors); i++)
        shut(g, &g->doors[i]);
    close(g->listen_fd);
    close(g->wake_fd);
    (void)unlink(g->cfg.path);
    free(g);
}

uint64_t
lv_gate_waits_us(struct lv_gate *g, uint64_t now_us)
{
    uint64_t since = atomic_load(&g->waits_since_us);

    return since && now_us > since ? now_us - since : 0;
}

static void *
run(void *ctx)
{
    struct lv_gate *g = ctx;

    while (!atomic_load(&g->stop)) {
        struct pollfd p[2 + 2 * LV_GATE_CONNECTIONS] = {{.fd = g->wake_fd, .events = POLLIN},
                                                        {.fd = g->listen_fd, .events = POLLIN}};

        for (int i = 0; i < LV_GATE_CONNECTIONS; i++)
            for (int k = 0; k < 2; k++)
                p[2 + 2 * i + k] = (struct pollfd){.fd = g->doors[i].fd[k], .events = POLLIN};
        if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
            break;
        if (p[1].revents)
            let_in(g);
        for (int i = 0; i < LV_GATE_CONNECTIONS; i++)
            for (int k = 0; k < 2; k++)
                if (p[2 + 2 * i + k].revents && g->doors[i].fd[k] == p[2 + 2 * i + k].fd &&
                    !pass(g, &g->doors[i], k))
                    shut(g, &g->doors[i]);
    }
    return NULL;
}

static void
let_in(struct lv_gate *g)
{
    int fd = accept4(g->listen_fd, NULL, NULL, SOCK_CLOEXEC), onward;
    struct timeval patience = {.tv_sec = LV_GATE_WRITE_US / 1000000};
    struct sockaddr_un sa;

    if (fd < 0)
        return;
    onward = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fill_address(&sa, g->cfg.onward);
    if (onward >= 0 && connect(onward, (struct sockaddr *)&sa, sizeof sa) == 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        setsockopt(onward, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        for (size_t i = 0; i < ARRAY_LEN(g->doors); i++)
            if (g->doors[i].fd[0] < 0) {
                g->doors[i] = (struct door){.fd = {fd, onward}};
                return;
            }
    }
    clean_fd(&onward);
    close(fd);
}

/* What has come from one side, message by message, to the other. False: the connection is over. */
static bool
pass(struct lv_gate *g, struct door *d, int from)
{
    struct sb *in = &d->in[from];
    uint8_t buf[65536];
    ssize_t n = recv(d->fd[from], buf, sizeof buf, MSG_DONTWAIT);
    size_t at = 0;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    sb_add(in, buf, (size_t)n);
    while (in->len - at >= 4) {
        uint8_t *m = (uint8_t *)in->buf + at;
        uint32_t len = get32(m);

        if (len < HEADER || len > LV_RPC_MAX)
            return false;
        if (in->len - at < len)
            break;
        if (!pass_message(g, d, from, m, len))
            return false;
        at += len;
    }
    if (at > 0) {
        memmove(in->buf, in->buf + at, in->len - at);
        in->len -= at;
    }
    return true;
}

static bool
pass_message(struct lv_gate *g, struct door *d, int from, uint8_t *m, uint32_t len)
{
    uint32_t type = get32(m + 16), serial = get32(m + 20), status = get32(m + 24);
    bool remote = get32(m + 4) == PROGRAM_REMOTE, finish = remote && get32(m + 12) == PROC_FINISH3;
    bool answer =
        finish && from == 1 && type == TYPE_REPLY && d->finish_called && serial == d->finish_serial;

    if (remote && from == 0 && type == TYPE_CALL) {
        d->waits_serial = serial;
        atomic_store(&g->waits_since_us, clock_mono_us());
        if (finish && len >= HEADER + 8) { /* ..., flags, cancelled */
            uint32_t flags = get32(m + len - 8);

            if (!g->cfg.finish_call(g->cfg.ctx, get32(m + len - 4) != 0, &flags))
                return false;
            put32(m + len - 8, flags);
            d->finish_called = true;
            d->finish_serial = serial;
        }
    }
    if (remote && from == 1 && type == TYPE_REPLY && serial == d->waits_serial)
        atomic_store(&g->waits_since_us, 0);
    if (!answer || status != STATUS_OK)
        return write_all(d->fd[!from], m, len);
    d->finish_called = false;
    if (!g->cfg.finish_answer(g->cfg.ctx))
        return false;

    bool delivered = write_all(d->fd[0], m, len) && was_read(d->fd[0]);

    g->cfg.finished(g->cfg.ctx, delivered);
    return delivered;
}

static bool
write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* Written is not read: a peer that closes just then has not taken it. Read, and the connection is still
 * there: libvirt has it (it closes only when it has ended its QEMU). Anything else is not known, and is
 * found out by looking. */
static bool
was_read(int fd)
{
    for (uint64_t until = clock_mono_us() + LV_GATE_READ_US; clock_mono_us() < until;) {
        struct pollfd p = {.fd = fd};
        int left = 0;

        if (ioctl(fd, SIOCOUTQ, &left) != 0)
            return false;
        (void)poll(&p, 1, left > 0 ? 1 : 0);
        if (p.revents & (POLLHUP | POLLERR))
            return false;
        if (left == 0)
            return true;
    }
    return false;
}

static void
shut(struct lv_gate *g, struct door *d)
{
    if (d->fd[0] >= 0)
        atomic_store(&g->waits_since_us, 0);
    for (int k = 0; k < 2; k++) {
        clean_fd(&d->fd[k]);
        d->fd[k] = -1;
        sb_done(&d->in[k]);
    }
}
