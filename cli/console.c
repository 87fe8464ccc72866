/* See console.h. */
#include "cli/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/sb.h"
#include "cli/client.h"
#include "proto/upgrade.h"

#define ANSWER_MS   20000u /* the controller asks the VM's node first */
#define CHUNK_BYTES 4096

struct copying {
    struct console *c;
    struct sb send; /* frames that are not sent yet: one chunk, and answers to pings */
    char *reason;
    size_t reason_size;
    enum console_end end;
};

static bool read_input(struct copying *k, int *in, bool escape);
static bool read_console(struct copying *k, int out);
static bool take(struct copying *k, uint8_t *data, size_t len, int out);
static bool send_some(struct copying *k);
static void put_frame(struct copying *k, enum ws_opcode opcode, const void *data, size_t len);
static bool write_all(int fd, const uint8_t *data, size_t len);

int
console_connect(const char *url, const char *path, struct console *ret, int *ret_status,
                struct err *err)
{
    CLEANUP(rest_reply_done) struct rest_reply refusal = {0};
    char key[WS_KEY_SIZE], accept[WS_ACCEPT_SIZE], got[UPGRADE_VALUE_SIZE];
    AUTO_FREE char *headers = NULL;
    uint8_t random[16];
    struct upgrade u = {
        .url = url,
        .path = path,
        .protocol = "websocket",
        .want = "sec-websocket-accept",
        .timeout_ms = ANSWER_MS,
        .stop_fd = -1,
    };
    int fd, rc = rng_secret(random, sizeof(random));

    *ret_status = 0;
    if (rc < 0)
        return err_set(err, rc, "no random bytes: %s", strerror(-rc));
    ws_key(random, key);
    headers = xasprintf("Sec-WebSocket-Version: " WS_VERSION "\r\nSec-WebSocket-Key: %s\r\n"
                        "Sec-WebSocket-Protocol: " WS_PROTOCOL_PLAIN "\r\n",
                        key);
    u.headers = headers;
    rc = upgrade_open(&u, &fd, got, &refusal, err);
    *ret_status = refusal.status;
    if (rc < 0)
        return refusal.status ? rest_reply_err(&refusal, err) : rc;
    ws_accept(key, accept);
    if (strcmp(got, accept) != 0) {
        close(fd);
        return err_set(err, -EPROTO, "%s: the answer is not to our WebSocket request", url);
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    ret->fd = fd;
    ws_reader_init(&ret->ws, false);
    return 0;
}

void
console_close(struct console *c)
{
    close(c->fd);
}

enum console_end
console_copy(struct console *c, int in, int out, bool escape, int64_t for_us, char *reason,
             size_t size)
{
    struct copying k = {.c = c, .send = SB_INIT, .reason = reason, .reason_size = size};
    uint64_t start_us = clock_mono_us();
    bool on = true;

    *reason = '\0';
    while (on && !atomic_load(&client_stop)) {
        struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = in, .events = POLLIN}};
        int64_t left_us = for_us - (int64_t)(clock_mono_us() - start_us);
        int n;

        if (k.send.len > 0) { /* what is typed waits for what was typed before */
            p[0].events |= POLLOUT;
            p[1].fd = -1;
        }
        if (for_us > 0 && left_us <= 0)
            break;
        n = poll(p, 2, for_us > 0 ? (int)((left_us + 999) / 1000) : -1);
        if (n <= 0)
            continue;
        if (p[0].revents & ~POLLOUT)
            on = read_console(&k, out);
        if (on && p[1].revents)
            on = read_input(&k, &in, escape);
        if (on && k.send.len > 0)
            on = send_some(&k);
    }
    if (k.end == CONSOLE_LEFT) {
        uint8_t payload[WS_CONTROL_MAX];

        put_frame(&k, WS_CLOSE, payload, ws_close_payload(payload, WS_NORMAL, ""));
        send_some(&k); /* it sees the end of the connection else */
    }
    sb_done(&k.send);
    return k.end;
}

static bool
read_input(struct copying *k, int *in, bool escape)
{
    uint8_t buf[CHUNK_BYTES];
    ssize_t n = read(*in, buf, sizeof(buf));
    const uint8_t *at;

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n == 0) {
        *in = -1;
        return true;
    }
    at = escape ? memchr(buf, CONSOLE_ESCAPE, (size_t)n) : NULL;
    if (at)
        n = at - buf;
    if (n > 0)
        put_frame(k, WS_BINARY, buf, (size_t)n);
    return !at;
}

static bool
read_console(struct copying *k, int out)
{
    uint8_t buf[CHUNK_BYTES * 4];
    ssize_t n = recv(k->c->fd, buf, sizeof(buf), 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n > 0)
        return take(k, buf, (size_t)n, out);
    snprintf(k->reason, k->reason_size, "the connection to the controller was lost%s%s",
             n < 0 ? ": " : "", n < 0 ? strerror(errno) : "");
    k->end = CONSOLE_CLOSED;
    return false;
}

static bool
take(struct copying *k, uint8_t *data, size_t len, int out)
{
    for (size_t at = 0; at < len;) {
        struct ws_event ev;
        struct err err = {0};
        unsigned status;
        size_t used;

        if (ws_read(&k->c->ws, data + at, len - at, &used, &ev, &status, &err) != 0) {
            snprintf(k->reason, k->reason_size, "the controller: %s", err_msg(&err));
            k->end = CONSOLE_CLOSED;
            return false;
        }
        at += used;
        if (ev.kind == WS_EVENT_DATA && !write_all(out, ev.data, ev.len))
            return false; /* nobody reads what we print */
        if (ev.kind == WS_EVENT_PING && k->send.len < 2 * CHUNK_BYTES)
            put_frame(k, WS_PONG, ev.data, ev.len);
        if (ev.kind == WS_EVENT_CLOSE) {
            snprintf(k->reason, k->reason_size, "%.*s", (int)ev.len, (const char *)ev.data);
            k->end = ev.status == WS_SERVICE_RESTART ? CONSOLE_MOVED : CONSOLE_CLOSED;
            return false;
        }
    }
    return true;
}

static bool
send_some(struct copying *k)
{
    ssize_t n = send(k->c->fd, k->send.buf, k->send.len, MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR || errno == EPIPE || errno == ECONNRESET;
    memmove(k->send.buf, k->send.buf + n, k->send.len - (size_t)n);
    k->send.len -= (size_t)n;
    return true;
}

static void
put_frame(struct copying *k, enum ws_opcode opcode, const void *data, size_t len)
{
    uint8_t head[WS_HEAD_MAX], mask[4];

    if (rng_secret(mask, sizeof(mask)) != 0)
        memset(mask, 0x5a, sizeof(mask)); /* masks are for proxies' sake, not for secrecy */
    sb_add(&k->send, head, ws_head(head, opcode, len, mask));
    sb_add(&k->send, data, len);
    ws_mask((uint8_t *)k->send.buf + k->send.len - len, len, mask, 0);
}

static bool
write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        struct pollfd p = {.fd = fd, .events = POLLOUT};

        if (n < 0 && errno == EAGAIN) { /* the terminal was left so by others */
            poll(&p, 1, -1);
            continue;
        }
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}
