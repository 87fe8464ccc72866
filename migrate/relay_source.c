/* The source's end of a relay; see relay.h. One thread accepts, counts and keeps time; each stream
 * dials on its own, so that a slow one holds up no other: in which order the target connects them is
 * in their hellos. */
#include "migrate/relay.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/sb.h"
#include "migrate/relay_end.h"
#include "migrate/xport.h"
#include "proto/relay_frame.h"

/* For the target to connect its own socket, and for the way there and back. */
#define ANSWER_US (RELAY_CONNECT_US + 5000000)

struct relay_source {
    struct relay_end end;
    struct relay_source_config cfg;
    uint64_t session;
    struct share_member share;
    pthread_t thread;
    bool running;
    _Atomic bool around; /* the fallback address is the one that answers */
    _Atomic bool stop, cut;
    /* owned by the thread, after the start */
    int rpc_fd, data_fd;
    uint32_t next[RELAY_DATA + 1];
};

static int listen_unix(const char *path, int *ret, struct err *err);
static void close_listener(int *fd, const char *path);
static int open_control(struct relay_source *r, enum mig_cause *ret_cause, struct err *err);
static int dial_either(struct relay_source *r, const struct relay_hello *h, int cancel_fd,
                       struct conn **ret, enum mig_cause *ret_cause, struct err *err);
static int dial(struct relay_source *r, bool around, const struct relay_hello *h, int cancel_fd,
                struct conn **ret, enum mig_cause *ret_cause, struct err *err);
static int greet(struct conn *conn, const struct relay_hello *h, int cancel_fd, struct err *err);
static int await(struct conn *conn, uint8_t *buf, size_t len, uint64_t timeout_us, int cancel_fd,
                 struct err *err);
static void fill_hello(const struct relay_source *r, enum relay_kind kind, uint32_t index,
                       struct relay_hello *ret);
static void *source_main(void *arg);
static void take_new(struct relay_source *r, enum relay_kind kind, int listen_fd);
static int dial_stream(void *dial_ctx, const struct relay_stream_config *c, int cancel_fd,
                       struct conn **ret, struct err *err);

int
relay_source_new(const struct relay_source_config *cfg, struct relay_source **ret,
                 enum mig_cause *ret_cause, struct err *err)
{
    struct relay_source *r = xcalloc(1, sizeof *r);
    enum mig_cause cause = MIG_CAUSE_LOCAL;
    sigset_t all, old;
    int rc = relay_end_init(&r->end, err);

    if (rc != 0) {
        free(r);
        *ret_cause = cause;
        return rc;
    }
    r->cfg = *cfg;
    r->rpc_fd = r->data_fd = -1;
    r->end.dead_peer_us = cfg->dead_peer_us;
    r->end.message = cfg->message;
    r->end.broken = cfg->broken;
    r->end.ctx = cfg->ctx;
    share_join(cfg->share, &r->share, cfg->weight, cfg->bandwidth_bytes_per_s, clock_mono_us());
    r->end.share = &r->share;
    rc = rng_secret(&r->session, sizeof r->session);
    if (rc != 0)
        rc = err_set(err, rc, "random bytes: %s", strerror(-rc));
    if (rc == 0)
        rc = listen_unix(cfg->rpc_path, &r->rpc_fd, err);
    if (rc == 0)
        rc = listen_unix(cfg->data_path, &r->data_fd, err);
    if (rc == 0)
        rc = open_control(r, &cause, err);
    if (rc == 0) {
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &old);
        rc = -pthread_create(&r->thread, NULL, source_main, r);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        r->running = rc == 0;
        if (rc != 0)
            err_set(err, rc, "a thread for the relay: %s", strerror(-rc));
    }
    if (rc != 0) {
        relay_source_free(r);
        *ret_cause = cause;
        return rc;
    }
    *ret = r;
    return 0;
}

void
relay_source_free(struct relay_source *r)
{
    if (!r)
        return;
    atomic_store(&r->stop, true);
    if (r->running) {
        eventfd_write(r->end.wake_fd, 1);
        pthread_join(r->thread, NULL);
    }
    close_listener(&r->rpc_fd, r->cfg.rpc_path);
    close_listener(&r->data_fd, r->cfg.data_path);
    relay_end_done(&r->end);
    share_leave(&r->share, clock_mono_us());
    free(r);
}

int
relay_source_send(struct relay_source *r, const void *msg, size_t len, struct err *err)
{
    return relay_end_send(&r->end, msg, len, err);
}

void
relay_source_cut(struct relay_source *r)
{
    atomic_store(&r->cut, true);
    relay_end_cut(&r->end, NULL);
    eventfd_write(r->end.wake_fd, 1);
}

void
relay_source_set_bandwidth(struct relay_source *r, uint64_t bytes_per_s)
{
    share_set_limit(&r->share, bytes_per_s, clock_mono_us());
}

void
relay_source_stats(struct relay_source *r, struct relay_stats *ret)
{
    relay_end_stats(&r->end, ret);
}

/* --- the two sockets --- */

static int
listen_unix(const char *path, int *ret, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return err_set(err, -errno, "socket: %s", strerror(errno));
    if (!*path || strlen(path) >= sizeof sa.sun_path)
        return err_set(err, -ENAMETOOLONG, "socket %s: want a path of 1 to %zu bytes", path,
                       sizeof sa.sun_path - 1);
    memcpy(sa.sun_path, path, strlen(path) + 1);
    /* One that a handler left behind that was killed. */
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
    /* The mode that the file is made with: at no moment may others connect. */
    if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
        return err_set(err, -errno, "socket %s: %s", path, strerror(errno));
    if (listen(fd, RELAY_MAX_STREAMS) < 0) {
        int error = errno;

        unlink(path);
        return err_set(err, -error, "socket %s: %s", path, strerror(error));
    }
    *ret = take_fd(&fd);
    return 0;
}

static void
close_listener(int *fd, const char *path)
{
    if (*fd < 0)
        return;
    close(take_fd(fd));
    unlink(path);
}

/* --- towards the target --- */

static int
open_control(struct relay_source *r, enum mig_cause *ret_cause, struct err *err)
{
    struct relay_hello h;
    struct conn *conn;
    int rc;

    fill_hello(r, RELAY_CONTROL, 0, &h);
    rc = dial_either(r, &h, -1, &conn, ret_cause, err);
    return rc ? rc : relay_end_set_ctl(&r->end, conn, err);
}

/* The address that answered last, then the other one. */
static int
dial_either(struct relay_source *r, const struct relay_hello *h, int cancel_fd, struct conn **ret,
            enum mig_cause *ret_cause, struct err *err)
{
    bool around = atomic_load(&r->around);
    int rc = dial(r, around, h, cancel_fd, ret, ret_cause, err);
    struct err second = {0};

    if (rc == 0 || *ret_cause != MIG_CAUSE_CONNECT || !r->cfg.fallback_addr[0] || rc == -ECANCELED)
        return rc;
    if (dial(r, !around, h, cancel_fd, ret, ret_cause, &second) != 0)
        return rc;
    atomic_store(&r->around, !around);
    return 0;
}

static int
dial(struct relay_source *r, bool around, const struct relay_hello *h, int cancel_fd,
     struct conn **ret, enum mig_cause *ret_cause, struct err *err)
{
    const struct relay_source_config *c = &r->cfg;
    /* Around: another network, and the kernel knows the way. */
    struct xport_dial d = {.addr = around ? c->fallback_addr : c->target_addr,
                           .local_ip = around ? "" : c->local_ip,
                           .device = around ? "" : c->bind_device,
                           .timeout_us = RELAY_DIAL_US,
                           .user_timeout_us = RELAY_DIAL_US,
                           .cancel_fd = cancel_fd};
    struct conn *conn;
    uint64_t rtt;
    int fd, rc;

    *ret_cause = MIG_CAUSE_CONNECT;
    rc = xport_dial(&d, &fd, &rtt, err);
    if (rc != 0)
        return rc;
    relay_end_tune(fd);
    if (h->urgent)
        xport_mark(fd, c->urgent_priority, c->urgent_dscp, NULL);
    if (c->tls) {
        rc = conn_tls(fd, c->tls, false, c->tls_peer, &conn, err);
        if (rc != 0)
            return rc;
        rc = conn_handshake_wait(conn, RELAY_DIAL_US, cancel_fd, err);
    } else {
        conn = conn_plain(fd);
    }
    if (rc == 0)
        rc = greet(conn, h, cancel_fd, err);
    if (rc == 0) {
        *ret = conn;
        return 0;
    }
    conn_break(conn);
    *ret_cause = rc == -EPROTO   ? MIG_CAUSE_PROTOCOL
                 : rc == -EACCES ? MIG_CAUSE_PEER
                                 : MIG_CAUSE_CONNECT;
    return err_prefix(err, rc, "relay to %s", d.addr);
}

static int
greet(struct conn *conn, const struct relay_hello *h, int cancel_fd, struct err *err)
{
    uint8_t out[RELAY_FRAME_HELLO_SIZE], in[RELAY_FRAME_ANSWER_SIZE];
    struct iovec iov = {.iov_base = out, .iov_len = sizeof out};
    char text[RELAY_FRAME_TEXT_SIZE];
    enum relay_answer answer;
    struct err sent = {0};
    int rc;

    relay_frame_encode_hello(out, h);
    rc = conn_send(conn, &iov, 1, &sent);
    /* Who is turned away may find the connection closed, and why in what was received. */
    if (await(conn, in, sizeof in, h->kind == RELAY_CONTROL ? RELAY_DIAL_US : ANSWER_US, cancel_fd,
              err) != 0) {
        if (rc != 0 && err)
            *err = sent;
        return rc ? rc : err ? err->code : -EIO;
    }
    rc = relay_frame_decode_answer(in, &answer, text, err);
    if (rc == 0 && answer != RELAY_ANSWER_OK)
        rc = err_set(err, -EACCES, "the target refuses: %s", text);
    return rc;
}

static int
await(struct conn *conn, uint8_t *buf, size_t len, uint64_t timeout_us, int cancel_fd,
      struct err *err)
{
    uint64_t deadline = clock_mono_us() + timeout_us;

    for (;;) {
        struct pollfd p[2] = {{.fd = conn_fd(conn), .events = POLLIN},
                              {.fd = cancel_fd, .events = POLLIN}};
        ssize_t n = conn_recv_some(conn, buf, len, err);
        uint64_t now = clock_mono_us();

        if (n == 0)
            return err_set(err, -EPIPE, "the target closed the connection");
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        if (n > 0) {
            buf += n;
            len -= (size_t)n;
            if (len == 0)
                return 0;
            continue;
        }
        if (now >= deadline)
            return err_set(err, -ETIMEDOUT, "no answer for %llu ms",
                           (unsigned long long)timeout_us / 1000);
        poll(p, 2, (int)((deadline - now) / 1000 + 1));
        if (p[1].revents)
            return err_set(err, -ECANCELED, "cancelled");
    }
}

static void
fill_hello(const struct relay_source *r, enum relay_kind kind, uint32_t index,
           struct relay_hello *ret)
{
    uint32_t bulk = r->cfg.bulk_streams;

    *ret = (struct relay_hello){.kind = kind,
                                .urgent = kind == RELAY_DATA && bulk > 0 && index >= bulk,
                                .index = index,
                                .session = r->session,
                                .generation = r->cfg.ident.generation};
    snprintf(ret->vmi_uid, sizeof ret->vmi_uid, "%s", r->cfg.ident.vmi_uid);
    snprintf(ret->migration_uid, sizeof ret->migration_uid, "%s", r->cfg.ident.migration_uid);
}

/* --- its thread --- */

static void *
source_main(void *arg)
{
    struct relay_source *r = arg;
    struct pollfd p[3] = {
        {.fd = r->end.wake_fd, .events = POLLIN}, {.events = POLLIN}, {.events = POLLIN}};
    uint64_t ticked = 0;

    while (!atomic_load(&r->stop)) {
        uint64_t now;
        eventfd_t n;

        if (atomic_load(&r->cut)) {
            close_listener(&r->rpc_fd, r->cfg.rpc_path);
            close_listener(&r->data_fd, r->cfg.data_path);
        }
        p[1].fd = r->rpc_fd;
        p[2].fd = r->data_fd;
        poll(p, 3, RELAY_TICK_US / 1000);
        now = clock_mono_us();
        if (p[0].revents)
            eventfd_read(r->end.wake_fd, &n);
        if (p[1].revents)
            take_new(r, RELAY_RPC, r->rpc_fd);
        if (p[2].revents)
            take_new(r, RELAY_DATA, r->data_fd);
        relay_end_reap(&r->end, false);
        if (now - ticked >= RELAY_TICK_US) {
            relay_end_tick(&r->end, now);
            ticked = now;
        }
    }
    return NULL;
}

static void
take_new(struct relay_source *r, enum relay_kind kind, int listen_fd)
{
    struct relay_stream_config c = {
        .kind = kind, .source = true, .dial = dial_stream, .dial_ctx = r};
    struct relay_hello h;
    struct err err = {0};

    for (;;) {
        c.local = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (c.local < 0)
            return;
        c.index = r->next[kind]++;
        fill_hello(r, kind, c.index, &h);
        c.urgent = h.urgent;
        if (relay_end_add(&r->end, &c, &err) != 0)
            r->end.broken(r->end.ctx, kind, &err);
        if (atomic_load(&r->cut)) /* meanwhile */
            relay_end_cut(&r->end, NULL);
    }
}

static int
dial_stream(void *dial_ctx, const struct relay_stream_config *c, int cancel_fd, struct conn **ret,
            struct err *err)
{
    struct relay_source *r = dial_ctx;
    enum mig_cause cause;
    struct relay_hello h;

    fill_hello(r, c->kind, c->index, &h);
    return dial_either(r, &h, cancel_fd, ret, &cause, err);
}
