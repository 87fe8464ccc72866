/* Control socket of the native guest; see guest_control.h. Requests that take time (pause, resume,
 * verify) stay pending with their client, which is not read from meanwhile; whatever changes,
 * settle() looks whether one of them is done. */
#include "handler/guest_control.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"

#define POLL_LISTEN 0
#define POLL_SIGNAL 1
#define POLL_EVENT  2
#define POLL_FIXED  3

struct client {
    int fd;           /* -1 = free */
    uint16_t pending; /* operation that it waits for, 0 = none */
    uint64_t used;    /* when it last said something, as a count */
    bool throttles;   /* what it asked for lasts as long as it does */
};

struct server {
    struct guest_machine *m;
    int listen_fd;
    struct client clients[GUEST_MAX_CLIENTS];
    uint64_t uses;
    bool quit;
    uint8_t buf[GUEST_WIRE_MAX];
    uint8_t out[GUEST_WIRE_MAX];
};

static void server_accept(struct server *s);
static void client_read(struct server *s, struct client *c);
static void client_drop(struct server *s, struct client *c);
static void settle(struct server *s);

int
guest_control_listen(int dir_fd, struct err *err)
{
    AUTO_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    mode_t mask;
    int r;

    if (fd < 0)
        return err_set(err, -errno, "control socket: %s", strerror(errno));
    /* Through the descriptor: a path may be longer than an address holds. */
    snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/control", dir_fd);
    mask = umask(0177);
    r = bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
    umask(mask);
    if (r == 0 && listen(fd, GUEST_MAX_CLIENTS) < 0)
        r = -errno;
    if (r < 0)
        return err_set(err, r, "control socket: %s", strerror(-r));
    return take_fd(&fd);
}

static int
serve_once(struct server *s, int signal_fd)
{
    struct pollfd p[POLL_FIXED + GUEST_MAX_CLIENTS];
    struct signalfd_siginfo si;

    p[POLL_LISTEN] = (struct pollfd){.fd = s->listen_fd, .events = POLLIN};
    p[POLL_SIGNAL] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
    p[POLL_EVENT] = (struct pollfd){.fd = guest_machine_eventfd(s->m), .events = POLLIN};
    for (unsigned i = 0; i < GUEST_MAX_CLIENTS; i++)
        p[POLL_FIXED + i] =
            (struct pollfd){.fd = s->clients[i].fd, .events = s->clients[i].pending ? 0 : POLLIN};
    if (poll(p, POLL_FIXED + GUEST_MAX_CLIENTS, -1) < 0)
        return errno == EINTR ? 0 : -errno;
    if (p[POLL_SIGNAL].revents && read(signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
        return (int)si.ssi_signo;
    if (p[POLL_EVENT].revents)
        guest_machine_poll(s->m);
    settle(s);
    for (unsigned i = 0; i < GUEST_MAX_CLIENTS && !s->quit; i++) {
        struct client *c = &s->clients[i];

        if (!p[POLL_FIXED + i].revents || c->fd != p[POLL_FIXED + i].fd)
            continue;
        if (!c->pending)
            client_read(s, c);
        else if (p[POLL_FIXED + i].revents & (POLLHUP | POLLERR))
            client_drop(s, c);
        settle(s);
    }
    if (p[POLL_LISTEN].revents)
        server_accept(s);
    return 0;
}

int
guest_control_run(struct guest_machine *m, int listen_fd, int signal_fd, struct err *err)
{
    AUTO_FREE struct server *s = calloc(1, sizeof(*s));
    int r = 0;

    if (!s)
        return err_set(err, -ENOMEM, "control socket: no memory");
    s->m = m;
    s->listen_fd = listen_fd;
    for (unsigned i = 0; i < GUEST_MAX_CLIENTS; i++)
        s->clients[i].fd = -1;
    while (r == 0 && !s->quit)
        r = serve_once(s, signal_fd);
    for (unsigned i = 0; i < GUEST_MAX_CLIENTS; i++)
        if (s->clients[i].fd >= 0)
            close(s->clients[i].fd);
    return r < 0 ? err_set(err, r, "control socket: %s", strerror(-r)) : r;
}

static void
client_drop(struct server *s, struct client *c)
{
    if (c->pending == GUEST_WIRE_VERIFY)
        guest_machine_verify_cancel(s->m); /* nobody is left to hear, and vCPUs stand for it */
    if (c->throttles)
        guest_machine_throttle(s->m, 0, false, NULL);
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct client){.fd = -1};
}

/* The free slot, or the one of the client that has been silent longest; NULL when all wait for an
 * answer. */
static struct client *
slot_for_new(struct server *s)
{
    struct client *oldest = NULL;

    for (unsigned i = 0; i < GUEST_MAX_CLIENTS; i++) {
        struct client *c = &s->clients[i];

        if (c->fd < 0)
            return c;
        if (!c->pending && !c->throttles && (!oldest || c->used < oldest->used))
            oldest = c;
    }
    return oldest;
}

static void
server_accept(struct server *s)
{
    AUTO_FD int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *c = slot_for_new(s);
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (fd < 0) {
        /* Out of descriptors: let go of one, or poll would come back at once for ever. */
        if (c && (errno == EMFILE || errno == ENFILE))
            client_drop(s, c);
        return;
    }
    if (!c || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ||
        (cred.uid != 0 && cred.uid != geteuid()))
        return;
    client_drop(s, c);
    *c = (struct client){.fd = take_fd(&fd), .used = ++s->uses};
}

/* --- replies --- */

static void
reply(struct server *s, struct client *c, uint16_t op, int error, const void *data, size_t len,
      int fd)
{
    struct guest_wire_reply h = {.magic = GUEST_WIRE_MAGIC,
                                 .version = GUEST_WIRE_VERSION,
                                 .op = op,
                                 .error = error,
                                 .len = (uint32_t)len};
    struct iovec iov[2] = {{.iov_base = &h, .iov_len = sizeof(h)},
                           {.iov_base = s->out, .iov_len = len}};
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

    if (len > 0)
        memmove(s->out, data, len);
    if (fd >= 0) {
        struct cmsghdr *cm;

        msg.msg_control = control.buf;
        msg.msg_controllen = sizeof(control.buf);
        cm = CMSG_FIRSTHDR(&msg);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cm), &fd, sizeof(fd));
    }
    c->pending = 0;
    if (sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        client_drop(s, c);
}

static void
reply_error(struct server *s, struct client *c, uint16_t op, int error, const char *text)
{
    size_t len = strlen(text);

    reply(s, c, op, error, text, len < GUEST_WIRE_TEXT ? len : GUEST_WIRE_TEXT, -1);
}

/* 0 or an error that err describes. */
static void
reply_done(struct server *s, struct client *c, uint16_t op, int r, const struct err *err)
{
    if (r < 0)
        reply_error(s, c, op, r, err_msg(err));
    else
        reply(s, c, op, 0, NULL, 0, -1);
}

static void
settle_verify(struct server *s, struct client *c)
{
    struct guest_wire_verify v;
    struct err err = {0};
    int r = guest_machine_verify_result(s->m, &v, &err);

    if (r < 0)
        reply_error(s, c, GUEST_WIRE_VERIFY, r, err_msg(&err));
    else
        reply(s, c, GUEST_WIRE_VERIFY, 0, &v, sizeof(v), -1);
}

static void
settle(struct server *s)
{
    struct guest_wire_status st;
    bool paused;

    for (unsigned i = 0; i < GUEST_MAX_CLIENTS; i++) {
        struct client *c = &s->clients[i];

        if (c->pending == GUEST_WIRE_VERIFY && !guest_machine_verifying(s->m))
            settle_verify(s, c);
        if (c->pending != GUEST_WIRE_PAUSE && c->pending != GUEST_WIRE_RESUME)
            continue;
        guest_machine_status(s->m, &st);
        paused = st.state != GUEST_STATE_RUNNING;
        if (c->pending == GUEST_WIRE_PAUSE && paused)
            reply(s, c, GUEST_WIRE_PAUSE, 0, NULL, 0, -1);
        else if (c->pending == GUEST_WIRE_PAUSE && !(st.flags & GUEST_STATUS_PAUSING))
            reply_error(s, c, GUEST_WIRE_PAUSE, -ECANCELED, "resumed by another request");
        else if (c->pending == GUEST_WIRE_RESUME && guest_machine_running(s->m))
            reply(s, c, GUEST_WIRE_RESUME, 0, NULL, 0, -1);
        else if (c->pending == GUEST_WIRE_RESUME && (paused || st.flags & GUEST_STATUS_PAUSING))
            reply_error(s, c, GUEST_WIRE_RESUME, -ECANCELED, "paused by another request");
    }
}

/* --- requests --- */

static void
do_status(struct server *s, struct client *c)
{
    struct guest_wire_status st;

    guest_machine_status(s->m, &st);
    reply(s, c, GUEST_WIRE_STATUS, 0, &st, sizeof(st), -1);
}

static void
do_memory(struct server *s, struct client *c)
{
    struct guest_wire_memory w;
    int fd;

    guest_machine_memory(s->m, &w, &fd);
    reply(s, c, GUEST_WIRE_MEMORY, 0, &w, sizeof(w), fd);
}

static void
do_userfaultfd(struct server *s, struct client *c, uint16_t op)
{
    struct err err = {0};
    int fd = -1, r = op == GUEST_WIRE_USERFAULTFD ? guest_machine_userfaultfd(s->m, &fd, &err)
                                                  : guest_machine_userfaultfd_kept(s->m, &fd, &err);

    if (r < 0)
        reply_error(s, c, op, r, err_msg(&err));
    else
        reply(s, c, op, 0, NULL, 0, fd);
}

static void
do_save(struct server *s, struct client *c)
{
    struct err err = {0};
    size_t len = 0;
    int r = guest_machine_save(s->m, s->out, &len, &err);

    if (r < 0)
        reply_error(s, c, GUEST_WIRE_SAVE, r, err_msg(&err));
    else
        reply(s, c, GUEST_WIRE_SAVE, 0, s->out, len, -1);
}

/* The last who asks is the one whose end lifts it. */
static int
do_throttle(struct server *s, struct client *c, uint64_t arg, struct err *err)
{
    uint64_t percent = arg & ~(uint64_t)GUEST_THROTTLE_WRITERS;
    int r = guest_machine_throttle(s->m, percent > 100 ? 100 : (unsigned)percent,
                                   arg & GUEST_THROTTLE_WRITERS, err);

    if (r != 0)
        return r;
    for (unsigned i = 0; i < GUEST_MAX_CLIENTS; i++)
        s->clients[i].throttles = false;
    c->throttles = percent > 0;
    return 0;
}

static void
handle(struct server *s, struct client *c, const struct guest_wire_request *q, const void *data)
{
    struct err err = {0};
    int r = 0;

    if (q->len > 0 && q->op != GUEST_WIRE_LOAD) {
        reply_error(s, c, q->op, -EBADMSG, "this request takes no data");
        return;
    }
    switch (q->op) {
    case GUEST_WIRE_STATUS:
        do_status(s, c);
        return;
    case GUEST_WIRE_MEMORY:
        do_memory(s, c);
        return;
    case GUEST_WIRE_USERFAULTFD:
    case GUEST_WIRE_USERFAULTFD_KEPT:
        do_userfaultfd(s, c, q->op);
        return;
    case GUEST_WIRE_USERFAULTFD_CLOSE:
        guest_machine_userfaultfd_close(s->m);
        break;
    case GUEST_WIRE_PAUSE:
        guest_machine_pause(s->m);
        c->pending = GUEST_WIRE_PAUSE;
        return;
    case GUEST_WIRE_RESUME:
        r = guest_machine_resume(s->m, &err);
        if (r == 0) {
            c->pending = GUEST_WIRE_RESUME;
            return;
        }
        break;
    case GUEST_WIRE_SAVE:
        do_save(s, c);
        return;
    case GUEST_WIRE_LOAD:
        r = guest_machine_load(s->m, data, q->len, &err);
        break;
    case GUEST_WIRE_VERIFY:
        r = guest_machine_verify(s->m, &err);
        if (r == 0) {
            c->pending = GUEST_WIRE_VERIFY;
            return;
        }
        break;
    case GUEST_WIRE_SET_RATE:
        r = guest_machine_set_rate(s->m, q->arg, &err);
        break;
    case GUEST_WIRE_THROTTLE:
        r = do_throttle(s, c, q->arg, &err);
        break;
    case GUEST_WIRE_QUIT:
        s->quit = true;
        break;
    default:
        r = err_set(&err, -EOPNOTSUPP, "unknown request %u", q->op);
        break;
    }
    reply_done(s, c, q->op, r, &err);
}

static void
client_read(struct server *s, struct client *c)
{
    struct guest_wire_request q;
    ssize_t n = recv(c->fd, s->buf, sizeof(s->buf), MSG_DONTWAIT | MSG_TRUNC);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* What is no request at all gets no answer. */
    if (n < (ssize_t)sizeof(q) || n > (ssize_t)sizeof(s->buf)) {
        client_drop(s, c);
        return;
    }
    memcpy(&q, s->buf, sizeof(q));
    if (q.magic != GUEST_WIRE_MAGIC || q.len != (size_t)n - sizeof(q)) {
        client_drop(s, c);
        return;
    }
    c->used = ++s->uses;
    if (q.version != GUEST_WIRE_VERSION)
        reply_error(s, c, q.op, -EPROTONOSUPPORT, "this guest speaks version 1 of the protocol");
    else
        handle(s, c, &q, s->buf + sizeof(q));
}
