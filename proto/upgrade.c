/* See upgrade.h. libcurl could connect, too, but keeps the descriptor; this one is the caller's. */
#include "proto/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sb.h"

static int dial(const struct upgrade *u, char host[256], struct err *err);
static int dial_tcp(const struct upgrade *u, const char *host, struct err *err);
static int connect_to(const struct upgrade *u, const struct sockaddr *addr, socklen_t len,
                      struct err *err);
static int wait_for(const struct upgrade *u, int fd, short events, struct err *err);
static int send_all(const struct upgrade *u, int fd, const struct sb *text, struct err *err);
static int read_head(const struct upgrade *u, int fd, struct sb *head, struct err *err);
static int read_refusal(const struct upgrade *u, int fd, const char *head, int status,
                        struct rest_reply *ret, struct err *err);
static void find_header(const char *head, const char *name, char *ret, size_t size);

static int
sys_err(const struct upgrade *u, int code, struct err *err)
{
    return err_set(err, -code, "%s: %s", u->url, strerror(code));
}

int
upgrade_open(const struct upgrade *u, int *ret_fd, char value[UPGRADE_VALUE_SIZE],
             struct rest_reply *ret_refusal, struct err *err)
{
    AUTO_SB struct sb text = SB_INIT, head = SB_INIT;
    char host[256];
    int status = 0, fd = dial(u, host, err), rc;

    if (fd < 0)
        return fd;
    sb_printf(&text,
              "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nConnection: Upgrade\r\n"
              "Upgrade: %s\r\n%s\r\n",
              u->path, host, u->protocol, u->headers ? u->headers : "");
    rc = send_all(u, fd, &text, err);
    if (rc == 0)
        rc = read_head(u, fd, &head, err);
    if (rc == 0 && sscanf(sb_str(&head), "HTTP/1.1 %3d ", &status) != 1)
        rc = err_set(err, -EPROTO, "%s: the answer is not HTTP/1.1", u->url);
    if (rc == 0 && status != 101)
        rc = read_refusal(u, fd, sb_str(&head), status, ret_refusal, err);
    if (rc == 0 && fcntl(fd, F_SETFL, 0) != 0)
        rc = sys_err(u, errno, err);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    if (value)
        find_header(sb_str(&head), u->want ? u->want : "", value, UPGRADE_VALUE_SIZE);
    *ret_fd = fd;
    return 0;
}

/* A socket that does not block, or -errno. host: for the Host header. */
static int
dial(const struct upgrade *u, char host[256], struct err *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n;

    if (strncmp(u->url, "unix:/", 6) == 0) {
        snprintf(host, 256, "localhost");
        if (strlen(u->url + 5) >= sizeof(un.sun_path))
            return err_set(err, -ENAMETOOLONG, "%s: the path is too long", u->url);
        memcpy(un.sun_path, u->url + 5, strlen(u->url + 5) + 1);
        return connect_to(u, (const struct sockaddr *)&un, sizeof(un), err);
    }
    if (strncmp(u->url, "http://", 7) != 0)
        return err_set(err, -EINVAL, "%s: want http://HOST:PORT or unix:/PATH", u->url);
    n = strcspn(u->url + 7, "/");
    if (n == 0 || n >= 256)
        return err_set(err, -EINVAL, "%s: want http://HOST:PORT or unix:/PATH", u->url);
    memcpy(host, u->url + 7, n);
    host[n] = '\0';
    return dial_tcp(u, host, err);
}

static int
dial_tcp(const struct upgrade *u, const char *host, struct err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    AUTO_FREE char *name = xstrdup(host);
    const char *port = "80";
    struct addrinfo *list = NULL;
    char *node = name, *end = strrchr(name, ':'), *bracket = strrchr(name, ']');
    int rc, one = 1, fd = -1;

    if (end && end > bracket) {
        *end = '\0';
        port = end + 1;
    }
    if (*node == '[' && bracket) {
        *bracket = '\0';
        node++;
    }
    rc = getaddrinfo(node, port, &hints, &list);
    if (rc != 0)
        return err_set(err, -EHOSTUNREACH, "%s: %s", u->url, gai_strerror(rc));
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = connect_to(u, a->ai_addr, a->ai_addrlen, err);
    freeaddrinfo(list);
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* keys, one by one */
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    }
    return fd;
}

static int
connect_to(const struct upgrade *u, const struct sockaddr *addr, socklen_t len, struct err *err)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc = 0;
    int failed = 0;
    socklen_t size = sizeof(failed);

    if (fd < 0)
        return sys_err(u, errno, err);
    if (connect(fd, addr, len) != 0) {
        if (errno != EINPROGRESS)
            rc = sys_err(u, errno, err);
        else
            rc = wait_for(u, fd, POLLOUT, err);
        if (rc == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) == 0 && failed)
            rc = sys_err(u, failed, err);
    }
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

static int
wait_for(const struct upgrade *u, int fd, short events, struct err *err)
{
    struct pollfd p[2] = {{.fd = fd, .events = events}, {.fd = u->stop_fd, .events = POLLIN}};
    int n;

    n = poll(p, 2, (int)u->timeout_ms); /* a signal ends it: -EINTR */
    if (n < 0)
        return sys_err(u, errno, err);
    if (n == 0)
        return err_set(err, -ETIMEDOUT, "%s: no answer within %u ms", u->url, u->timeout_ms);
    return p[1].revents ? err_set(err, -ECANCELED, "%s: stopped", u->url) : 0;
}

static int
send_all(const struct upgrade *u, int fd, const struct sb *text, struct err *err)
{
    for (size_t at = 0; at < text->len;) {
        ssize_t n = send(fd, text->buf + at, text->len - at, MSG_NOSIGNAL);
        int rc = 0;

        if (n < 0 && errno != EAGAIN)
            rc = sys_err(u, errno, err);
        else if (n < 0)
            rc = wait_for(u, fd, POLLOUT, err);
        if (rc != 0)
            return rc;
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Byte by byte: what follows the head is not ours. One head a session. */
static int
read_head(const struct upgrade *u, int fd, struct sb *head, struct err *err)
{
    while (head->len < UPGRADE_MAX_HEAD_BYTES) {
        char c;
        ssize_t n = recv(fd, &c, 1, 0);
        int rc = 0;

        if (n == 0)
            rc = err_set(err, -ECONNRESET, "%s: the connection was closed", u->url);
        else if (n < 0 && errno != EAGAIN)
            rc = sys_err(u, errno, err);
        else if (n < 0)
            rc = wait_for(u, fd, POLLIN, err);
        if (rc != 0)
            return rc;
        if (n != 1)
            continue;
        sb_putc(head, c);
        if (head->len >= 4 && memcmp(head->buf + head->len - 4, "\r\n\r\n", 4) == 0)
            return 0;
    }
    return err_set(err, -EPROTO, "%s: the answer's head is too long", u->url);
}

static int
read_refusal(const struct upgrade *u, int fd, const char *head, int status, struct rest_reply *ret,
             struct err *err)
{
    AUTO_SB struct sb body = SB_INIT;
    char length[UPGRADE_VALUE_SIZE];
    size_t want;

    find_header(head, "content-length", length, sizeof(length));
    want = strtoul(length, NULL, 10);
    if (want > UPGRADE_MAX_BODY_BYTES)
        want = UPGRADE_MAX_BODY_BYTES;
    while (body.len < want) {
        char buf[1024];
        ssize_t n = recv(fd, buf, want - body.len < sizeof(buf) ? want - body.len : sizeof(buf), 0);

        if (n > 0)
            sb_add(&body, buf, (size_t)n);
        else if (n == 0 || errno != EAGAIN || wait_for(u, fd, POLLIN, err) != 0)
            break;
    }
    *ret = (struct rest_reply){.status = status, .len = body.len};
    ret->body = sb_steal(&body);
    return err_set(err, -EPROTO, "%s: refused with HTTP status %d", u->url, status);
}

static void
find_header(const char *head, const char *name, char *ret, size_t size)
{
    size_t n = strlen(name);

    *ret = '\0';
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (n == 0 || strncasecmp(line, name, n) != 0 || line[n] != ':')
            continue;
        line += n + 1;
        line += strspn(line, " \t");
        snprintf(ret, size, "%.*s", (int)strcspn(line, "\r\n"), line);
        return;
    }
}
