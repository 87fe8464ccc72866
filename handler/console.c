/* See console.h. */
#include "handler/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/sb.h"
#include "handler/limits.h"
#include "proto/upgrade.h"

struct half { /* bytes on their way from one end to the other */
    int from, to;
    size_t at, len; /* of buf: what is still to be written */
    char buf[CONSOLE_BUFFER_BYTES];
};

struct console {
    struct loop *l;
    char *url, *path;
    int guest, stop;
    pthread_t thread;
    void (*done)(void *ctx, const struct err *why);
    void *ctx;
    struct err err;
    struct half out, in; /* from and to the guest */
};

static void *run(void *ctx);
static void finish(void *ctx);
static void pass_on(struct console *c, int fd);
static bool move(struct half *h);

struct console *
console_start(struct loop *l, const char *url, const char *path, int fd,
              void (*done)(void *ctx, const struct err *why), void *ctx)
{
    struct console *c = xcalloc(1, sizeof *c);

    c->l = l;
    c->url = xstrdup(url);
    c->path = xstrdup(path);
    c->guest = fd;
    c->done = done;
    c->ctx = ctx;
    c->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->stop < 0 || pthread_create(&c->thread, NULL, run, c) != 0)
        abort();
    return c;
}

void
console_stop(struct console *c)
{
    eventfd_write(c->stop, 1);
}

static void *
run(void *ctx)
{
    struct console *c = ctx;
    const struct upgrade u = {
        .url = c->url,
        .path = c->path,
        .protocol = UPGRADE_CONSOLE,
        .timeout_ms = CONSOLE_CONNECT_MS,
        .stop_fd = c->stop,
    };
    CLEANUP(rest_reply_done) struct rest_reply refusal = {0};
    int fd;

    if (upgrade_open(&u, &fd, NULL, &refusal, &c->err) == 0) {
        pass_on(c, fd);
        close(fd);
    } else if (refusal.status) {
        rest_reply_err(&refusal, &c->err);
    }
    loop_post(c->l, finish, c);
    return NULL;
}

static void
finish(void *ctx)
{
    struct console *c = ctx;

    pthread_join(c->thread, NULL);
    close(c->guest); /* before done: whoever asks next finds it free */
    close(c->stop);
    c->done(c->ctx, &c->err);
    free(c->url);
    free(c->path);
    free(c);
}

static void
pass_on(struct console *c, int fd)
{
    fcntl(fd, F_SETFL, O_NONBLOCK);
    fcntl(c->guest, F_SETFL, O_NONBLOCK);
    c->out.from = c->in.to = c->guest;
    c->out.to = c->in.from = fd;
    for (;;) {
        struct pollfd p[3] = {{.fd = c->stop, .events = POLLIN}};

        p[1].events = (c->out.len ? 0 : POLLIN) | (c->in.len ? POLLOUT : 0);
        p[2].events = (c->in.len ? 0 : POLLIN) | (c->out.len ? POLLOUT : 0);
        /* one that is not waited for would be reported when it hangs up, again and again */
        p[1].fd = p[1].events ? c->guest : -1;
        p[2].fd = p[2].events ? fd : -1;
        if (poll(p, 3, -1) < 0 && errno != EINTR)
            return;
        if (p[0].revents || !move(&c->out) || !move(&c->in))
            return;
    }
}

/* What can be moved without waiting; false: an end has gone. */
static bool
move(struct half *h)
{
    ssize_t n;

    if (h->len == 0) {
        n = read(h->from, h->buf, sizeof h->buf);
        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EINTR);
        h->at = 0;
        h->len = (size_t)n;
    }
    n = write(h->to, h->buf + h->at, h->len);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    h->at += (size_t)n;
    h->len -= (size_t)n;
    return true;
}
