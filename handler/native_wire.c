/* Requests to a native guest: one connection each, so that they need no order, no shared state and
 * no repair after an error. The guest is trusted as far as it is ours (its socket must belong to
 * the process that we know), yet what it says is checked for length. See native_priv.h and
 * guest_wire.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/sb.h"
#include "handler/native_priv.h"

static int exchange(struct native_guest *g, int fd, const struct native_request *q, void *buf,
                    size_t cap, size_t *ret_len, int *ret_fd, struct err *err);

static int
ended(struct native_guest *g, int error, const char *what, struct err *err)
{
    struct native_exit why;

    /* A guest that just died closes its socket a moment before its pidfd tells. */
    if (!native_proc_wait(g->pidfd, error == -ECONNREFUSED || error == -ECONNRESET ? 1000 : 0))
        return err_set(err, error, "guest %s: %s: %s", g->uid, what, strerror(-error));
    native_exit_reason(g, &why);
    return err_set(err, -ESRCH, "guest %s has ended: %s", g->uid, why.text);
}

static int
set_timeout(int fd, int option, uint64_t us)
{
    struct timeval tv = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};

    return setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv)) < 0 ? -errno : 0;
}

static int
connect_to(struct native_guest *g, uint64_t timeout_us, int *ret_fd, struct err *err)
{
    AUTO_FD int dir = open(g->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct ucred cred = {0};
    socklen_t len = sizeof(cred);

    if (dir < 0 || fd < 0)
        return ended(g, -errno, "connecting", err);
    snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/control", dir);
    if (set_timeout(fd, SO_SNDTIMEO, NATIVE_CALL_US) < 0 ||
        set_timeout(fd, SO_RCVTIMEO, timeout_us) < 0)
        return ended(g, -errno, "connecting", err);
    if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
        return ended(g, errno == EAGAIN ? -ETIMEDOUT : -errno, "connecting", err);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return ended(g, -errno, "connecting", err);
    if (cred.pid != g->pid)
        return err_set(err, -EPERM, "guest %s: process %d listens on its socket, not %d", g->uid,
                       (int)cred.pid, (int)g->pid);
    *ret_fd = take_fd(&fd);
    return 0;
}

static int
send_request(int fd, const struct native_request *q)
{
    struct guest_wire_request h = {.magic = GUEST_WIRE_MAGIC,
                                   .version = GUEST_WIRE_VERSION,
                                   .op = (uint16_t)q->op,
                                   .arg = q->arg,
                                   .len = (uint32_t)q->len};
    AUTO_FREE uint8_t *msg = xmalloc(sizeof(h) + q->len);
    ssize_t n;

    memcpy(msg, &h, sizeof(h));
    if (q->len > 0)
        memcpy(msg + sizeof(h), q->data, q->len);
    do
        n = send(fd, msg, sizeof(h) + q->len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? -ETIMEDOUT : errno == EPIPE ? -ECONNRESET : -errno;
    return 0;
}

/* One message and at most one descriptor; its length or -errno. */
static ssize_t
receive(int fd, uint8_t *buf, size_t size, int *ret_fd)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = buf, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.buf,
                         .msg_controllen = sizeof(control.buf)};
    const struct cmsghdr *cm;
    ssize_t n;

    do
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    cm = CMSG_FIRSTHDR(&msg);
    if (cm && cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS &&
        cm->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(cm), sizeof(int));
    if (n == 0)
        return -ECONNRESET;
    return msg.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
}

int
native_call(struct native_guest *g, const struct native_request *q, void *buf, size_t cap,
            size_t *ret_len, int *ret_fd, struct err *err)
{
    AUTO_FD int fd = -1;

    return native_call_on(g, &fd, q, buf, cap, ret_len, ret_fd, err);
}

int
native_call_on(struct native_guest *g, int *fd, const struct native_request *q, void *buf,
               size_t cap, size_t *ret_len, int *ret_fd, struct err *err)
{
    int r = *fd >= 0 ? 0 : connect_to(g, q->timeout_us ? q->timeout_us : NATIVE_CALL_US, fd, err);

    if (r == 0)
        r = exchange(g, *fd, q, buf, cap, ret_len, ret_fd, err);
    if (r < 0 && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return r;
}

static int
exchange(struct native_guest *g, int fd, const struct native_request *q, void *buf, size_t cap,
         size_t *ret_len, int *ret_fd, struct err *err)
{
    AUTO_FREE uint8_t *in = xmalloc(GUEST_WIRE_MAX);
    AUTO_FD int got_fd = -1;
    struct guest_wire_reply h;
    ssize_t n;
    int r;

    if (q->len > GUEST_MAX_STATE_BYTES)
        return err_set(err, -EINVAL, "guest %s: %zu bytes are more than a state has", g->uid,
                       q->len);
    r = send_request(fd, q);
    if (r < 0)
        return ended(g, r, "asking", err);
    n = receive(fd, in, GUEST_WIRE_MAX, &got_fd);
    if (n < 0)
        return ended(g, (int)n, "waiting for its answer", err);
    if ((size_t)n < sizeof(h))
        return err_set(err, -EPROTO, "guest %s: an answer of %zd bytes", g->uid, n);
    memcpy(&h, in, sizeof(h));
    if (h.magic != GUEST_WIRE_MAGIC || h.op != q->op || h.len != (size_t)n - sizeof(h) ||
        h.error > 0)
        return err_set(err, -EPROTO, "guest %s: an answer that is none", g->uid);
    if (h.error < 0)
        return err_set(err, h.error, "guest %s: %.*s", g->uid, (int)h.len, in + sizeof(h));
    if (ret_len && h.len > cap)
        return err_set(err, -EPROTO, "guest %s: an answer of %u bytes, want at most %zu", g->uid,
                       h.len, cap);
    if (ret_fd && got_fd < 0)
        return err_set(err, -EPROTO, "guest %s: no descriptor came with its answer", g->uid);
    if (cap > 0) {
        memset(buf, 0, cap);
        memcpy(buf, in + sizeof(h), h.len < cap ? h.len : cap);
    }
    if (ret_len)
        *ret_len = h.len;
    if (ret_fd)
        *ret_fd = take_fd(&got_fd);
    return 0;
}
