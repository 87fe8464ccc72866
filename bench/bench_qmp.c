/* See bench_qmp.h. */
#include "bench/bench_qmp.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/clock.h"
#include "bench/bench_raw.h"

#define ANSWER_S   60
#define LINE_BYTES (1u << 20) /* longer lines are not QEMU's */

struct bench_qmp {
    int fd;
    char *buf; /* LINE_BYTES */
    size_t len;
};

static int
read_line(struct bench_qmp *q, struct tree **ret, struct err *err)
{
    for (;;) {
        char *end = memchr(q->buf, '\n', q->len);
        ssize_t n;

        if (end) {
            size_t line = (size_t)(end - q->buf) + 1;
            int rc = tree_from_json(q->buf, line, ret, err);

            memmove(q->buf, q->buf + line, q->len - line);
            q->len -= line;
            return rc;
        }
        if (q->len == LINE_BYTES)
            return err_set(err, -EPROTO, "QEMU: a line without an end");
        n = recv(q->fd, q->buf + q->len, LINE_BYTES - q->len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(err, n < 0 ? -errno : -EPIPE, "QEMU %s",
                           n < 0 && errno == EAGAIN ? "does not answer" : "ended");
        q->len += (size_t)n;
    }
}

int
bench_qmp_connect(const char *path, int pidfd, uint64_t timeout_us, struct bench_qmp **ret,
                  struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    uint64_t until = clock_mono_us() + timeout_us;
    struct timeval limit = {.tv_sec = ANSWER_S};
    AUTO_TREE struct tree *greeting = NULL;
    struct bench_qmp *q;
    int rc, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_set(err, -errno, "socket: %s", strerror(errno));
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    while (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
        struct pollfd p = {.fd = pidfd, .events = POLLIN};

        if (poll(&p, 1, 10) > 0 || clock_mono_us() > until) {
            close(fd);
            return err_set(err, -ECHILD, "QEMU %s",
                           p.revents ? "ended at its start" : "does not start");
        }
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    q = xcalloc(1, sizeof *q);
    q->fd = fd;
    q->buf = xmalloc(LINE_BYTES);
    rc = read_line(q, &greeting, err);
    if (rc == 0)
        rc = bench_qmp_call(q, "qmp_capabilities", NULL, NULL, err);
    if (rc == 0)
        *ret = q;
    else
        bench_qmp_free(q);
    return rc;
}

void
bench_qmp_free(struct bench_qmp *q)
{
    if (!q)
        return;
    close(q->fd);
    free(q->buf);
    free(q);
}

int
bench_qmp_call(struct bench_qmp *q, const char *command, struct tree *args, struct tree **ret,
               struct err *err)
{
    AUTO_TREE struct tree *request = tree_map();
    AUTO_SB struct sb text = SB_INIT;
    int rc;

    tree_set(request, "execute", tree_string(command));
    if (args)
        tree_set(request, "arguments", args);
    tree_to_json(request, 0, &text);
    sb_putc(&text, '\n');
    rc = bench_send_all(q->fd, text.buf, text.len, NULL);
    if (rc != 0)
        return err_set(err, rc, "QEMU ended");
    for (;;) {
        AUTO_TREE struct tree *answer = NULL;

        rc = read_line(q, &answer, err);
        if (rc != 0)
            return err_prefix(err, rc, "%s", command);
        if (tree_get(answer, "error"))
            return err_set(err, -EIO, "QEMU: %s: %s", command,
                           tree_find_string(answer, "refused", "error", "desc", NULL));
        if (tree_get(answer, "return")) {
            if (ret)
                *ret = tree_take(answer, "return");
            return 0;
        }
    }
}
