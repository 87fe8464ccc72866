/* See chaos_net.h. */
#include "tests/migrate/chaos_net.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "migrate/xport.h"
#include "proto/control.h"
#include "proto/frame.h"

#define ROOM (4u << 20) /* of a direction: a frame is smaller */

static const char *const effect_names[NET_EFFECTS] = {
    [NET_CUT] = "cut",     [NET_CUT_ALL] = "cut-all", [NET_REFUSE] = "refuse",
    [NET_HALF] = "half",   [NET_STALL] = "stall",     [NET_HOLE] = "hole",
    [NET_FLIP] = "flip",   [NET_DUP] = "dup",         [NET_SWAP] = "swap",
    [NET_DROP] = "drop",   [NET_TRUNC] = "trunc",     [NET_INSERT] = "insert",
    [NET_NOISE] = "noise",
};

bool
net_tampers(enum net_effect e)
{
    return e >= NET_FLIP;
}

const char *
net_effect_name(enum net_effect e)
{
    return effect_names[e];
}

/* --- connections --- */

static void
conn_close(struct net_conn *c, bool reset)
{
    struct linger l = {.l_onoff = 1};

    for (int i = 0; i < 2; i++) {
        if (c->fd[i] < 0)
            continue;
        if (reset)
            setsockopt(c->fd[i], SOL_SOCKET, SO_LINGER, &l, sizeof l);
        close(c->fd[i]);
        c->fd[i] = -1;
        sb_done(&c->dir[i].in);
        sb_done(&c->dir[i].out);
        sb_done(&c->dir[i].held);
        c->dir[i] = (struct net_dir){0};
    }
}

static void
close_all(struct chaos_net *n, bool reset)
{
    for (int i = 0; i < n->conns_len; i++)
        conn_close(&n->conns[i], reset);
}

static void
take(struct chaos_net *n)
{
    struct xport_dial d = {.addr = n->target,
                           .local_ip = "",
                           .device = "",
                           .timeout_us = 1000000,
                           .user_timeout_us = 30000000,
                           .cancel_fd = n->stop_fd};
    int fd = accept4(n->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct net_conn *c = &n->conns[n->conns_len];
    uint64_t rtt;

    if (fd < 0)
        return;
    *c = (struct net_conn){.fd = {fd, -1}};
    if (n->refuse || n->conns_len + 1 == NET_CONNS ||
        (!n->hole && xport_dial(&d, &c->fd[1], &rtt, NULL) != 0)) {
        conn_close(c, true);
        return;
    }
    xport_tune(fd, 30000000);
    n->conns_len++;
}

/* --- what is passed on --- */

/* As much as goes at once; waits a moment when told to. */
static void
flush(struct net_conn *c, int to_source, bool wait)
{
    struct net_dir *d = &c->dir[to_source];
    int fd = c->fd[!to_source];
    uint64_t until = clock_mono_us() + 50000;

    while (fd >= 0 && d->out.len > 0) {
        ssize_t k = send(fd, d->out.buf, d->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (k < 0 && errno == EAGAIN && wait && clock_mono_us() < until) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 10);
            continue;
        }
        if (k < 0 && errno != EAGAIN)
            conn_close(c, true); /* as it would without us */
        if (k <= 0)
            return;
        memmove(d->out.buf, d->out.buf + k, d->out.len - (size_t)k);
        d->out.len -= (size_t)k;
    }
    if (fd >= 0 && d->eof && d->in.len == 0 && d->held.len == 0 && !d->shut) {
        shutdown(fd, SHUT_WR);
        d->shut = true;
    }
}

/* A trick on the connection itself; what came before it gets through. */
static void
play(struct chaos_net *n, struct net_conn *c, int to_source, const struct net_trick *t)
{
    struct net_dir *d = &c->dir[to_source];

    flush(c, to_source, true);
    switch (t->effect) {
    case NET_CUT:
        conn_close(c, true);
        break;
    case NET_REFUSE:
        n->refuse = true;
        close_all(n, true);
        break;
    case NET_CUT_ALL:
        close_all(n, true);
        break;
    case NET_HALF:
        if (c->fd[!to_source] >= 0)
            shutdown(c->fd[!to_source], SHUT_WR);
        d->shut = true;
        break;
    case NET_STALL:
        if (t->salt & 1)
            c->stalled_until = clock_mono_us() + t->ms * 1000;
        else
            n->stalled_until = clock_mono_us() + t->ms * 1000;
        break;
    case NET_HOLE:
        n->hole = true;
        break;
    default:
        break;
    }
}

/* In the middle of the frame's payload: the checksum of one page is wrong. */
static bool
noise(struct chaos_net *n, const struct net_conn *c, const char *p, size_t len, struct sb *ret)
{
    const struct net_dir *d = &c->dir[0];

    for (unsigned i = 0; i < n->tricks_len; i++) {
        struct net_trick *t = &n->tricks[i];
        struct frame_header h;
        size_t at;

        t->salt = t->salt * 6364136223846793005u + 1442695040888963407u;
        if (t->effect != NET_NOISE || t->where != d || (t->salt >> 40) % 3 == 0 || !c->data ||
            len <= FRAME_HEADER_SIZE || frame_decode_header((const uint8_t *)p, &h, NULL) != 0 ||
            h.bytes == 0)
            continue;
        at = frame_head_size(&h) + (t->salt >> 20) % h.bytes;
        sb_reset(ret);
        sb_add(ret, p, len);
        ret->buf[at] ^= (char)(1 << (t->salt >> 60) % 8);
        return true;
    }
    return false;
}

static struct net_trick *
due(struct chaos_net *n, const struct net_conn *c, int to_source, enum net_when when)
{
    for (unsigned i = 0; i < n->tricks_len; i++) {
        struct net_trick *t = &n->tricks[i];

        if (t->when == when && t->data == c->data && t->to_source == to_source &&
            (t->connection < 0 || t->connection == c->index) && !atomic_load(&n->played[i]))
            return t;
    }
    return NULL;
}

static void
note_played(struct chaos_net *n, struct net_trick *t, const struct net_dir *d)
{
    t->where = d;
    atomic_store(&n->played[t - n->tricks], true);
}

static void
put_garbage(struct net_dir *d, uint64_t salt)
{
    uint64_t v = salt;

    for (uint64_t i = 0; i < 1 + salt % 90; i++) {
        v = v * 6364136223846793005u + 1442695040888963407u;
        sb_putc(&d->out, (char)(v >> 56));
    }
}

/* Puts bytes into out, with the tricks that are due at a byte among them. */
static void
put(struct chaos_net *n, struct net_conn *c, int to_source, const char *p, size_t len)
{
    struct net_dir *d = &c->dir[to_source];
    struct net_trick *t;

    while (len > 0 && c->fd[0] >= 0 && (t = due(n, c, to_source, NET_AT_BYTE)) &&
           t->n < d->passed + len) {
        size_t before = t->n > d->passed ? t->n - d->passed : 0;
        size_t some = 1 + t->salt % 64;

        sb_add(&d->out, p, before);
        d->passed += before;
        p += before;
        len -= before;
        note_played(n, t, d);
        if (some > len)
            some = len;
        switch (t->effect) {
        case NET_FLIP:
        case NET_NOISE:
            sb_putc(&d->out, (char)(*p ^ (1 << (t->salt >> 8) % 8)));
            some = 1;
            break;
        case NET_DUP:
            sb_add(&d->out, p, some);
            some = 0;
            break;
        case NET_SWAP:
            sb_add(&d->out, p + some / 2, some - some / 2);
            sb_add(&d->out, p, some / 2);
            break;
        case NET_DROP:
        case NET_TRUNC:
            break;
        case NET_INSERT:
            put_garbage(d, t->salt);
            some = 0;
            break;
        default:
            play(n, c, to_source, t);
            some = 0;
            break;
        }
        p += some;
        len -= some;
        d->passed += some;
    }
    if (c->fd[0] < 0 || d->shut)
        return;
    for (unsigned i = 0; i < n->tricks_len; i++)
        n->tricks[i].since += n->tricks[i].where == d ? len : 0;
    sb_add(&d->out, p, len);
    d->passed += len;
}

/* One whole frame, with the trick that is due at it. */
static void
put_frame(struct chaos_net *n, struct net_conn *c, int to_source, const char *p, size_t len,
          struct net_trick *t)
{
    struct net_dir *d = &c->dir[to_source];
    size_t cut = t ? 1 + t->salt % (len - 1) : 0;

    if (!t) {
        AUTO_SB struct sb copy = SB_INIT;

        put(n, c, to_source, !to_source && noise(n, c, p, len, &copy) ? copy.buf : p, len);
        if (c->fd[0] >= 0 && d->held.len > 0) {
            put(n, c, to_source, d->held.buf, d->held.len);
            sb_reset(&d->held);
        }
        return;
    }
    note_played(n, t, d);
    switch (t->effect) {
    case NET_FLIP: {
        AUTO_FREE char *copy = xmalloc(len);

        memcpy(copy, p, len);
        copy[cut] ^= (char)(1 << (t->salt >> 40) % 8);
        put(n, c, to_source, copy, len);
        break;
    }
    case NET_DUP:
        put(n, c, to_source, p, len);
        put(n, c, to_source, p, len);
        break;
    case NET_SWAP:
        sb_add(&d->held, p, len);
        break;
    case NET_DROP:
        break;
    case NET_NOISE:
        put(n, c, to_source, p, len);
        break;
    case NET_TRUNC:
        put(n, c, to_source, p, cut);
        break;
    case NET_INSERT:
        put_garbage(d, t->salt);
        put(n, c, to_source, p, len);
        break;
    default:
        if (t->place != 1)
            cut = t->place ? len : 0;
        put(n, c, to_source, p, cut);
        play(n, c, to_source, t);
        put(n, c, to_source, p + cut, len - cut);
        break;
    }
}

/* Length of the frame at the start of `in`: 0 = not all of it is there, or it is none (raw is
 * set). */
static size_t
frame_len(const struct net_conn *c, struct net_dir *d, int to_source, int *ret_type)
{
    const uint8_t *p = (const uint8_t *)d->in.buf;
    size_t len = 0;

    *ret_type = -1;
    if (c->data && d->frames == 0) {
        len = to_source ? FRAME_ANSWER_SIZE : FRAME_PREAMBLE_SIZE;
    } else if (c->data) {
        struct frame_header h;

        if (d->in.len < FRAME_HEADER_SIZE)
            return 0;
        if (to_source || frame_decode_header(p, &h, NULL) != 0) {
            d->raw = true;
            return 0;
        }
        len = frame_head_size(&h) + h.bytes;
    } else {
        struct control_header h;

        if (d->in.len < CONTROL_HEADER_SIZE)
            return 0;
        if (control_decode_header(p, &h, NULL) != 0) {
            d->raw = true;
            return 0;
        }
        len = CONTROL_HEADER_SIZE + h.length;
        *ret_type = (int)h.type;
    }
    return d->in.len >= len ? len : 0;
}

static void
pass(struct chaos_net *n, struct net_conn *c, int to_source)
{
    struct net_dir *d = &c->dir[to_source];
    size_t len;
    int type;

    if (!c->known) {
        if (to_source ? c->dir[0].frames == 0 : d->in.len < 4)
            return; /* the source speaks first */
        c->known = true;
        c->data = frame_is_preamble((const uint8_t *)d->in.buf);
        if (!n->framed) /* TLS: the first is control */
            c->data = n->seen[0] > 0;
        c->index = n->seen[c->data]++;
    }
    while (n->framed && !d->raw && c->fd[0] >= 0 && !n->hole &&
           (len = frame_len(c, d, to_source, &type)) > 0) {
        struct net_trick *t = due(n, c, to_source, NET_AT_FRAME), *u;

        if (t && t->n != d->frames)
            t = NULL;
        u = type >= 0 ? due(n, c, to_source, NET_AT_TYPE) : NULL;
        if (u && u->type == type && u->n == d->types[type])
            t = u;
        d->frames++;
        if (type >= 0)
            d->types[type]++;
        put_frame(n, c, to_source, d->in.buf, len, t);
        if (c->fd[0] < 0)
            return;
        memmove(d->in.buf, d->in.buf + len, d->in.len - len);
        d->in.len -= len;
    }
    if ((!n->framed || d->raw || d->eof) && c->fd[0] >= 0 && !n->hole) {
        AUTO_SB struct sb all = d->in;

        d->in = SB_INIT;
        put(n, c, to_source, all.buf, all.len);
    }
    if (c->fd[0] >= 0)
        flush(c, to_source, false);
}

static void
receive(struct chaos_net *n, struct net_conn *c, int to_source)
{
    struct net_dir *d = &c->dir[to_source];
    char buf[65536];
    ssize_t k = recv(c->fd[to_source], buf, sizeof buf, MSG_DONTWAIT);

    if (k < 0 && errno == EAGAIN)
        return;
    if (k < 0) {
        conn_close(c, true);
        return;
    }
    if (k == 0)
        d->eof = true;
    else if (!d->shut)
        sb_add(&d->in, buf, (size_t)k);
    pass(n, c, to_source);
    if (c->fd[0] >= 0 && c->dir[0].shut && c->dir[1].shut && c->dir[0].eof && c->dir[1].eof)
        conn_close(c, false);
}

static bool
stalled(struct chaos_net *n, const struct net_conn *c, uint64_t now)
{
    return n->hole || now < n->stalled_until || now < c->stalled_until;
}

static void *
net_main(void *arg)
{
    struct chaos_net *n = arg;

    pthread_setname_np(pthread_self(), "chaos-net");
    for (;;) {
        struct pollfd p[2 + 2 * NET_CONNS] = {{.fd = n->stop_fd, .events = POLLIN},
                                              {.fd = n->listen_fd, .events = POLLIN}};
        uint64_t now = clock_mono_us();
        int len = n->conns_len;
        nfds_t fds = 2;
        bool wait = false;

        for (int i = 0; i < len; i++) {
            struct net_conn *c = &n->conns[i];
            bool here = stalled(n, c, now);

            wait = wait || here;
            for (int to_source = 0; to_source < 2; to_source++) {
                struct net_dir *d = &c->dir[to_source];
                /* reads of this direction, writes of the other one */
                short events = !d->eof && d->in.len + d->out.len < ROOM ? POLLIN : 0;

                events |= (short)(c->dir[!to_source].out.len > 0 ? POLLOUT : 0);
                p[2 + 2 * i + to_source] = (struct pollfd){
                    .fd = here || !events ? -1 : c->fd[to_source], .events = events};
            }
        }
        fds += 2 * (nfds_t)len;
        poll(p, fds, wait ? 2 : -1);
        if (p[0].revents)
            break;
        for (int i = 0; i < len; i++) {
            struct net_conn *c = &n->conns[i];

            for (int k = 0; k < 2; k++) {
                short got = p[2 + 2 * i + k].revents;

                if (c->fd[k] >= 0 && got & POLLOUT)
                    flush(c, !k, false);
                if (c->fd[k] >= 0 && got & (POLLIN | POLLHUP | POLLERR) && !stalled(n, c, now))
                    receive(n, c, k);
            }
        }
        if (p[1].revents && now >= n->stalled_until)
            take(n);
    }
    close_all(n, false);
    return NULL;
}

void
net_listen(struct chaos_net *n)
{
    n->stop_fd = eventfd(0, EFD_CLOEXEC);
    assert(xport_listen("127.0.0.1", "", &n->listen_fd, n->addr, NULL) == 0);
}

void
net_start(struct chaos_net *n, const char *target)
{
    snprintf(n->target, sizeof n->target, "%s", target);
    assert(pthread_create(&n->thread, NULL, net_main, n) == 0);
    n->running = true;
}

void
net_stop(struct chaos_net *n)
{
    if (n->running) {
        eventfd_write(n->stop_fd, 1);
        pthread_join(n->thread, NULL);
    }
    n->running = false;
    close(n->listen_fd);
    close(n->stop_fd);
}
