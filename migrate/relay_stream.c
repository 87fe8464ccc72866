/* One stream of a relay; see relay_stream.h. */
#include "migrate/relay_stream.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sb.h"
#include "migrate/relay_way.h"

#define CPU_LOOK_US 50000 /* what its thread used is counted so often */

struct relay_stream {
    /* constant */
    struct relay_stream_config cfg;
    int cut_fd;
    pthread_t thread;
    /* written once */
    _Atomic bool cut, done;
    /* guarded by mu */
    pthread_mutex_t mu;
    struct err why; /* it was cut for */
    bool tell;
    /* owned by its thread */
    struct conn *conn;
    struct relay_way ways[2]; /* to the network, from it */
    unsigned opened;          /* of them */
    bool local_hup, net_hup;  /* poll says so whatever it is asked */
    uint64_t cpu_ns, cpu_looked_us;
};

static void *stream_main(void *arg);
static int open_ways(struct relay_stream *s, struct err *err);
static int carry(struct relay_stream *s, struct err *err);
static int wait_ready(struct relay_stream *s, struct err *err);
static void count_cpu(struct relay_stream *s, bool now);

int
relay_stream_new(const struct relay_stream_config *cfg, struct relay_stream **ret, struct err *err)
{
    struct relay_stream *s = xcalloc(1, sizeof *s);
    sigset_t all, old;
    int rc;

    s->cfg = *cfg;
    s->conn = cfg->conn;
    s->cut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&s->mu, NULL);
    fs_set_nonblock(cfg->local, true);
    atomic_fetch_add(&cfg->meter->opened, cfg->kind == RELAY_DATA);
    atomic_fetch_add(&cfg->meter->streams, cfg->kind == RELAY_DATA);
    sigfillset(&all); /* SIGPIPE, too: splice has no MSG_NOSIGNAL */
    pthread_sigmask(SIG_BLOCK, &all, &old);
    rc = s->cut_fd < 0 ? errno : pthread_create(&s->thread, NULL, stream_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0) {
        *ret = s;
        return 0;
    }
    atomic_fetch_sub(&cfg->meter->streams, cfg->kind == RELAY_DATA);
    if (s->cut_fd >= 0)
        close(s->cut_fd);
    close(cfg->local);
    conn_break(cfg->conn);
    pthread_mutex_destroy(&s->mu);
    free(s);
    return err_set(err, -rc, "a thread for a stream: %s", strerror(rc));
}

void
relay_stream_cut(struct relay_stream *s, const struct err *why)
{
    pthread_mutex_lock(&s->mu);
    if (!atomic_load(&s->cut) && why) {
        s->why = *why;
        s->tell = true;
    }
    atomic_store(&s->cut, true);
    pthread_mutex_unlock(&s->mu);
    eventfd_write(s->cut_fd, 1);
}

bool
relay_stream_is_done(struct relay_stream *s)
{
    return atomic_load(&s->done);
}

void
relay_stream_free(struct relay_stream *s)
{
    relay_stream_cut(s, NULL);
    pthread_join(s->thread, NULL);
    close(s->cut_fd);
    pthread_mutex_destroy(&s->mu);
    free(s);
}

static void *
stream_main(void *arg)
{
    struct relay_stream *s = arg;
    const struct relay_stream_config *c = &s->cfg;
    struct err err = {0};
    bool tell;
    int rc = 0;

    if (!s->conn)
        rc = c->dial(c->dial_ctx, c, s->cut_fd, &s->conn, &err);
    if (rc == 0)
        rc = open_ways(s, &err);
    if (rc == 0)
        rc = carry(s, &err);
    if (rc != 0)
        conn_break(s->conn);
    else
        conn_free(s->conn);
    close(c->local);
    for (unsigned i = 0; i < s->opened; i++)
        relay_way_done(&s->ways[i]);
    count_cpu(s, true);
    pthread_mutex_lock(&s->mu);
    tell = atomic_load(&s->cut) ? s->tell : rc != 0;
    if (s->tell)
        err = s->why;
    pthread_mutex_unlock(&s->mu);
    atomic_fetch_sub(&c->meter->streams, c->kind == RELAY_DATA);
    if (tell) {
        err_prefix(&err, err.code, "%s stream %u", c->kind == RELAY_DATA ? "data" : "RPC",
                   c->index);
        c->broken(c->ctx, c->kind, &err);
    }
    atomic_store(&s->done, true);
    eventfd_write(c->wake_fd, 1);
    return NULL;
}

static int
open_ways(struct relay_stream *s, struct err *err)
{
    const struct relay_stream_config *c = &s->cfg;
    struct relay_meter *m = c->meter;
    int rc = 0;

    fs_set_nonblock(conn_fd(s->conn), true);
    for (int i = 0; i < 2; i++) {
        bool forward = (i == 0) == c->source;

        s->ways[i] = (struct relay_way){
            .to_net = i == 0,
            .local = c->local,
            .conn = s->conn,
            .meter = m,
            .share = forward && c->source && c->kind == RELAY_DATA ? c->share : NULL,
            .urgent = c->urgent,
            .payload = c->kind != RELAY_DATA ? &m->rpc
                       : forward             ? &m->sent
                                             : &m->received,
            .wire = i == 0 ? &m->wire : NULL,
        };
    }
    while (s->opened < 2 && rc == 0)
        rc = relay_way_init(&s->ways[s->opened++], err);
    return rc;
}

static int
carry(struct relay_stream *s, struct err *err)
{
    while (!s->ways[0].over || !s->ways[1].over) {
        int moved = 0;

        if (atomic_load_explicit(&s->cut, memory_order_relaxed))
            return err_set(err, -ECANCELED, "cut");
        for (int i = 0; i < 2; i++) {
            int rc = relay_way_step(&s->ways[i], err);

            if (rc < 0)
                return rc;
            moved |= rc;
        }
        if (!moved) {
            int rc = wait_ready(s, err);

            if (rc != 0)
                return rc;
        }
        count_cpu(s, false);
    }
    return 0;
}

static int
wait_ready(struct relay_stream *s, struct err *err)
{
    struct relay_way *out = &s->ways[0], *in = &s->ways[1];
    uint64_t until = out->wait_until_us, now;
    struct timespec ts;
    struct pollfd p[3] = {
        {.fd = s->cfg.local,
         .events = (short)((out->want_in ? POLLIN : 0) | (in->want_out ? POLLOUT : 0))},
        {.fd = conn_fd(s->conn),
         .events = (short)((in->want_in ? POLLIN : 0) | (out->want_out ? POLLOUT : 0))},
        {.fd = s->cut_fd, .events = POLLIN}};

    if (!p[0].events && s->local_hup)
        p[0].fd = -1;
    if (!p[1].events && s->net_hup)
        p[1].fd = -1;
    if (until) {
        now = clock_mono_us();
        until = until > now ? until - now : 0;
        ts = (struct timespec){.tv_sec = (time_t)(until / 1000000),
                               .tv_nsec = (long)(until % 1000000) * 1000};
    }
    if (ppoll(p, 3, out->wait_until_us ? &ts : NULL, NULL) < 0)
        return errno == EINTR ? 0 : err_set(err, -errno, "poll: %s", strerror(errno));
    s->local_hup = s->local_hup || p[0].revents & (POLLHUP | POLLERR);
    s->net_hup = s->net_hup || p[1].revents & POLLHUP;
    if (p[1].revents & POLLERR) {
        int error = 0;
        socklen_t len = sizeof error;

        getsockopt(p[1].fd, SOL_SOCKET, SO_ERROR, &error, &len);
        error = error ? error : EIO;
        return err_set(err, -error, "connection: %s", strerror(error));
    }
    return 0;
}

static void
count_cpu(struct relay_stream *s, bool now)
{
    uint64_t us = clock_mono_us(), ns;

    if (!now && us - s->cpu_looked_us < CPU_LOOK_US)
        return;
    s->cpu_looked_us = us;
    ns = clock_thread_ns();
    atomic_fetch_add(&s->cfg.meter->cpu_us, ns / 1000 - s->cpu_ns / 1000);
    s->cpu_ns = ns;
}
