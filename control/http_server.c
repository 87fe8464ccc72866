/* The HTTP server's listeners and its clock; connections are http_conn.c's. See http_server.h. */
#include "control/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "control/control_limits.h"
#include "control/http_conn.h"

#define KEEPALIVE_S 30

struct http_listener {
    struct http_listener *next;
    struct http_server *server;
    struct evconnlistener *ev;
    char *unlink_path; /* of a UNIX socket */
};

static int open_unix(const char *path, struct err *err);
static int open_tcp(const char *where, char *ret_url, size_t size, struct err *err);
static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *addr,
                      int addr_len, void *arg);
static void on_accept_error(struct evconnlistener *l, void *arg);
static void on_sweep(void *ctx);
static void pause_accept(struct http_server *s, bool pause);

static unsigned
or_default(unsigned v, unsigned dflt)
{
    return v ? v : dflt;
}

struct http_server *
http_server_new(struct loop *loop, const struct http_config *config)
{
    struct http_server *s = xcalloc(1, sizeof(*s));

    s->loop = loop;
    s->config = *config;
    s->config.head_timeout_ms = or_default(config->head_timeout_ms, HTTP_HEAD_TIMEOUT_S * 1000);
    s->config.body_timeout_ms = or_default(config->body_timeout_ms, HTTP_BODY_TIMEOUT_S * 1000);
    s->config.idle_timeout_ms = or_default(config->idle_timeout_ms, HTTP_IDLE_TIMEOUT_S * 1000);
    s->config.write_timeout_ms = or_default(config->write_timeout_ms, HTTP_WRITE_TIMEOUT_S * 1000);
    s->config.max_conns = or_default(config->max_conns, HTTP_MAX_CONNS);
    on_sweep(s);
    return s;
}

void
http_server_free(struct http_server *s)
{
    if (!s)
        return;
    loop_timer_del(TAKE_PTR(s->sweep));
    for (struct http_listener *l = s->listeners, *next; l; l = next) {
        next = l->next;
        evconnlistener_free(l->ev);
        if (l->unlink_path)
            unlink(l->unlink_path);
        free(l->unlink_path);
        free(l);
    }
    s->listeners = NULL;
    while (s->conns)
        http_conn_close(s->conns);
    free(s);
}

size_t
http_server_conns(const struct http_server *s)
{
    return s->conns_len;
}

int
http_server_listen(struct http_server *s, const char *where, char *ret_url, size_t size,
                   struct err *err)
{
    bool is_unix = strncmp(where, "unix:", 5) == 0;
    char url[sizeof(((struct sockaddr_un *)0)->sun_path) + 16];
    struct http_listener *l;
    int fd;

    if (is_unix) {
        snprintf(url, sizeof(url), "%s", where);
        fd = open_unix(where + 5, err);
    } else if (strncmp(where, "tcp:", 4) == 0) {
        fd = open_tcp(where + 4, url, sizeof(url), err);
    } else {
        return err_set(err, -EINVAL, "listen '%s': want unix:PATH or tcp:ADDRESS:PORT", where);
    }
    if (fd < 0)
        return fd;
    l = xcalloc(1, sizeof(*l));
    l->server = s;
    l->unlink_path = is_unix ? xstrdup(where + 5) : NULL;
    l->ev = evconnlistener_new(loop_event_base(s->loop), on_accept, l,
                               LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 512, fd);
    if (!l->ev)
        abort();
    evconnlistener_set_error_cb(l->ev, on_accept_error);
    l->next = s->listeners;
    s->listeners = l;
    if (ret_url)
        snprintf(ret_url, size, "%s", url);
    return 0;
}

/* Only this user may connect: the mode is set before anyone can. */
static int
open_unix(const char *path, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return err_set(err, -errno, "listen unix:%s: %s", path, strerror(errno));
    if (!*path || strlen(path) >= sizeof(sa.sun_path))
        return err_set(err, -EINVAL, "listen unix:%s: want a path of 1 to %zu bytes", path,
                       sizeof(sa.sun_path) - 1);
    memcpy(sa.sun_path, path, strlen(path) + 1);
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 || errno == EAGAIN)
        return err_set(err, -EADDRINUSE, "listen unix:%s: another process listens there", path);
    if (errno == ECONNREFUSED)
        unlink(path); /* left over by one that was killed */
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || chmod(path, 0600) != 0)
        return err_set(err, -errno, "listen unix:%s: %s", path, strerror(errno));
    return take_fd(&fd);
}

/* "1.2.3.4:80" or "[::1]:80"; port 0 is allowed. The length of the address, or 0. */
static socklen_t
parse_tcp(const char *where, struct sockaddr_storage *ret)
{
    struct sockaddr_in *in = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    const char *colon = strrchr(where, ':');
    size_t len = colon ? (size_t)(colon - where) : 0, digits = colon ? strlen(colon + 1) : 0;
    AUTO_FREE char *host = xstrndup(where, len);
    unsigned long port;

    if (digits == 0 || digits > 5 || strspn(colon + 1, "0123456789") != digits)
        return 0;
    port = strtoul(colon + 1, NULL, 10);
    if (port > 65535)
        return 0;
    if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        return sizeof(*in);
    }
    if (len < 3 || host[0] != '[' || host[len - 1] != ']')
        return 0;
    host[len - 1] = '\0';
    if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) != 1)
        return 0;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)port);
    return sizeof(*in6);
}

static int
open_tcp(const char *where, char *ret_url, size_t size, struct err *err)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = parse_tcp(where, &sa), got = sizeof(sa);
    int one = 1, port;
    char text[INET6_ADDRSTRLEN] = "";
    AUTO_FD int fd = -1;

    if (len == 0)
        return err_set(err, -EINVAL, "listen tcp:%s: want tcp:ADDRESS:PORT with a numeric address",
                       where);
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, (struct sockaddr *)&sa, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&sa, &got) != 0)
        return err_set(err, -errno, "listen tcp:%s: %s", where, strerror(errno));
    if (sa.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&sa;

        port = ntohs(in6->sin6_port);
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        snprintf(ret_url, size, "http://[%s]:%d", text, port);
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&sa;

        port = ntohs(in->sin_port);
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        snprintf(ret_url, size, "http://%s:%d", text, port);
    }
    return take_fd(&fd);
}

static void
on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *addr, int addr_len,
          void *arg)
{
    struct http_listener *listener = arg;
    struct http_server *s = listener->server;
    int one = 1, idle = KEEPALIVE_S;

    (void)l;
    (void)addr_len;
    if (addr->sa_family != AF_UNIX) {
        setsockopt((int)fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        setsockopt((int)fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)); /* silent watchers */
        setsockopt((int)fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
        setsockopt((int)fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
    }
    http_conn_new(s, (int)fd);
    if (s->conns_len >= s->config.max_conns)
        pause_accept(s, true);
}

/* No descriptors, most likely: wait for the next sweep, or for a connection to go. */
static void
on_accept_error(struct evconnlistener *l, void *arg)
{
    struct http_listener *listener = arg;

    (void)l;
    pause_accept(listener->server, true);
}

void
http_server_conn_gone(struct http_server *s)
{
    if (s->paused && s->conns_len < s->config.max_conns)
        pause_accept(s, false);
}

static void
pause_accept(struct http_server *s, bool pause)
{
    s->paused = pause;
    for (struct http_listener *l = s->listeners; l; l = l->next) {
        if (pause)
            evconnlistener_disable(l->ev);
        else
            evconnlistener_enable(l->ev);
    }
}

/* Cuts off what is past its deadline. One timer for all: deadlines are kept to a second, or, when
 * they are set to less, to a quarter of the shortest. */
static void
on_sweep(void *ctx)
{
    struct http_server *s = ctx;
    uint64_t now_us = loop_now_us(s->loop), every_ms = 1000;
    const unsigned all[] = {s->config.head_timeout_ms, s->config.body_timeout_ms,
                            s->config.idle_timeout_ms};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i] / 4 < every_ms)
            every_ms = all[i] / 4 + 1;
    for (struct http_conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        if (c->deadline_us && c->deadline_us <= now_us)
            http_conn_close(c);
    }
    if (s->paused && s->conns_len < s->config.max_conns)
        pause_accept(s, false);
    s->sweep = loop_timer_add(s->loop, every_ms * 1000, on_sweep, s);
}
