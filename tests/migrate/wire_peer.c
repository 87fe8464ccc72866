/* See wire_peer.h. */
#include "tests/migrate/wire_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migrate/xport.h"

#define WAIT_MS 10000

void
wire_peer_init(struct wire_peer *w, const struct mig_ident *id, const struct fake_guest *g,
               uint32_t channels)
{
    struct err err = {0};

    memset(w, 0, sizeof *w);
    w->ctl = w->listen_fd = -1;
    w->listen_ip = "127.0.0.1";
    for (int i = 0; i <= FRAME_READ_CHANNEL; i++)
        w->data[i] = -1;
    w->generation = id->generation;
    w->hello = (struct control_hello){.version_min = PROTO_VERSION_MIN,
                                      .version_max = PROTO_VERSION,
                                      .regions_len = (uint32_t)g->regions_len,
                                      .channels = channels,
                                      .stripe_bytes = LAYOUT_STRIPE_BYTES,
                                      .epoch = 1};
    memcpy(w->hello.vmi_uid, id->vmi_uid, sizeof w->hello.vmi_uid);
    memcpy(w->hello.migration_uid, id->migration_uid, sizeof w->hello.migration_uid);
    for (int i = 0; i < g->regions_len; i++)
        w->hello.regions[i] =
            (struct layout_region){.size_bytes = g->regions[i].size, .page_bytes = FAKE_PAGE};
    if (layout_init(&w->layout, w->hello.regions, w->hello.regions_len, channels, &err) != 0)
        abort();
}

void
wire_peer_done(struct wire_peer *w)
{
    for (int i = 0; i <= FRAME_READ_CHANNEL; i++) {
        if (w->data[i] >= 0)
            close(w->data[i]);
    }
    if (w->ctl >= 0)
        close(w->ctl);
    if (w->listen_fd >= 0)
        close(w->listen_fd);
    w->ctl = w->listen_fd = -1;
}

int
wire_connect(const char *addr)
{
    struct xport_dial d = {.addr = addr,
                           .local_ip = "",
                           .device = "",
                           .timeout_us = WAIT_MS * 1000u,
                           .user_timeout_us = WAIT_MS * 1000u,
                           .cancel_fd = -1};
    uint64_t rtt;
    int fd;

    return xport_dial(&d, &fd, &rtt, NULL) == 0 ? fd : -1;
}

bool
wire_send(int fd, const void *buf, size_t len)
{
    const uint8_t *p = buf;

    while (len > 0) {
        struct pollfd pfd = {.fd = fd, .events = POLLOUT};
        ssize_t n;

        if (poll(&pfd, 1, WAIT_MS) <= 0)
            return false;
        n = send(fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return true;
}

bool
wire_recv(int fd, void *buf, size_t len)
{
    uint8_t *p = buf;

    while (len > 0) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&pfd, 1, WAIT_MS) <= 0)
            return false;
        n = recv(fd, p, len, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return false;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return true;
}

bool
wire_closed(int fd)
{
    uint8_t buf[4096];
    struct pollfd pfd = {.fd = fd, .events = POLLIN};

    while (poll(&pfd, 1, WAIT_MS) > 0) {
        ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN))
            return true;
    }
    return false;
}

bool
wire_say(struct wire_peer *w, struct control_msg m)
{
    AUTO_SB struct sb out = SB_INIT;

    m.generation = w->generation;
    control_encode(&out, &m);
    return wire_send(w->ctl, out.buf, out.len);
}

bool
wire_say_simple(struct wire_peer *w, enum control_type t)
{
    return wire_say(w, (struct control_msg){.type = t});
}

bool
wire_hear(struct wire_peer *w, struct control_msg *ret)
{
    for (;;) {
        uint8_t head[CONTROL_HEADER_SIZE];
        struct control_header h;

        if (!wire_recv(w->ctl, head, sizeof head) || control_decode_header(head, &h, NULL) != 0)
            return false;

        AUTO_FREE uint8_t *payload = xmalloc(h.length + 1);

        if (!wire_recv(w->ctl, payload, h.length) || control_decode(&h, payload, ret, NULL) != 0)
            return false;
        if (ret->type != CONTROL_HEARTBEAT)
            return true;
    }
}

bool
wire_hear_type(struct wire_peer *w, enum control_type t)
{
    struct control_msg m;
    bool right;

    if (!wire_hear(w, &m))
        return false;
    right = m.type == t;
    control_msg_done(&m);
    return right;
}

/* --- source --- */

bool
wire_source_hello(struct wire_peer *w, const char *addr)
{
    struct control_msg m = {.type = CONTROL_HELLO, .hello = w->hello};

    w->ctl = wire_connect(addr);
    if (w->ctl < 0 || !wire_say(w, m) || !wire_hear(w, &m) || m.type != CONTROL_ACCEPT)
        return false;
    w->accept = m.accept;
    memcpy(w->token, m.accept.token, sizeof w->token);
    return true;
}

bool
wire_source_data(struct wire_peer *w, const char *addr, uint32_t channel)
{
    struct frame_preamble p = {.channel = channel,
                               .epoch = w->hello.epoch,
                               .uid_sum = frame_uid_sum(w->hello.migration_uid, w->generation)};
    uint8_t buf[FRAME_PREAMBLE_SIZE], answer[FRAME_ANSWER_SIZE];
    enum frame_answer a;
    int fd = wire_connect(addr);

    memcpy(p.token, w->token, sizeof p.token);
    frame_encode_preamble(buf, &p);
    if (fd < 0 || !wire_send(fd, buf, sizeof buf) || !wire_recv(fd, answer, sizeof answer) ||
        frame_decode_answer(answer, &a, NULL) != 0 || a != FRAME_ANSWER_OK) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    w->data[channel] = fd;
    return true;
}

bool
wire_source_up(struct wire_peer *w, const char *addr)
{
    bool ok = wire_source_hello(w, addr);

    for (uint32_t i = 0; i < w->hello.channels && ok; i++)
        ok = wire_source_data(w, addr, i);
    return ok;
}

bool
wire_frame(struct wire_peer *w, uint32_t channel, struct frame_header h,
           const struct frame_run *runs, const uint8_t *payload, uint64_t wrong)
{
    uint8_t head[FRAME_MAX_HEAD];
    uint64_t sums[FRAME_MAX_RAW_PAGES] = {0};
    AUTO_FREE uint8_t *zeros = xcalloc(1, h.bytes + 1);
    const uint8_t *p = payload ? payload : zeros;
    size_t n;

    h.seq = w->seq[channel]++;
    for (uint64_t i = 0; i < h.bytes / FAKE_PAGE; i++)
        sums[i] = frame_page_sum(p + i * FAKE_PAGE) + (wrong >> i % 64 & 1);
    n = frame_encode(head, &h, runs, sums);
    return wire_send(w->data[channel], head, n) && wire_send(w->data[channel], p, h.bytes);
}

bool
wire_page(struct wire_peer *w, uint32_t channel, uint32_t round, uint8_t fill)
{
    const struct frame_run run = {
        .offset = (uint64_t)channel * LAYOUT_STRIPE_BYTES, .pages = 1, .kind = FRAME_RAW};
    uint8_t page[FAKE_PAGE];

    memset(page, fill, sizeof page);
    return wire_frame(
        w, channel,
        (struct frame_header){
            .type = FRAME_BATCH, .round = round, .runs = 1, .pages = 1, .bytes = FAKE_PAGE},
        &run, page, 0);
}

bool
wire_round(struct wire_peer *w, uint32_t round, bool paused)
{
    struct control_msg m = {.type = CONTROL_ROUND_BEGIN,
                            .round_begin = {.round = round, .paused = paused}};
    bool ok = wire_say(w, m);

    m = (struct control_msg){.type = CONTROL_ROUND_END,
                             .round_end = {.round = round, .channels = w->hello.channels}};
    for (uint32_t i = 0; i < w->hello.channels && ok; i++) {
        ok = wire_page(w, i, round, (uint8_t)(round + i)) &&
             wire_frame(w, i, (struct frame_header){.type = FRAME_ROUND_END, .round = round}, NULL,
                        NULL, 0);
        m.round_end.totals[i] = (struct control_totals){.batches = round, .raw_pages = round};
    }
    return ok && wire_say(w, m) && wire_hear_type(w, CONTROL_ROUND_DONE);
}

/* --- target --- */

bool
wire_target_listen(struct wire_peer *w, char addr[MIG_ADDR_SIZE])
{
    return xport_listen(w->listen_ip, "", &w->listen_fd, addr, NULL) == 0;
}

static int
take(struct wire_peer *w)
{
    struct pollfd p = {.fd = w->listen_fd, .events = POLLIN};

    return poll(&p, 1, WAIT_MS) > 0 ? accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
}

bool
wire_target_accept(struct wire_peer *w)
{
    w->ctl = take(w);
    return w->ctl >= 0;
}

bool
wire_target_hello(struct wire_peer *w)
{
    struct control_msg m;

    if (!wire_target_accept(w) || !wire_hear(w, &m) || m.type != CONTROL_HELLO)
        return false;
    w->hello = m.hello;
    m = (struct control_msg){.type = CONTROL_ACCEPT,
                             .accept = {.version = PROTO_VERSION, .channels = w->hello.channels}};
    return wire_say(w, m);
}

bool
wire_target_data(struct wire_peer *w, enum frame_answer a)
{
    uint8_t buf[FRAME_PREAMBLE_SIZE];
    struct frame_preamble p;
    int fd = take(w);

    if (fd < 0 || !wire_recv(fd, buf, sizeof buf) || frame_decode_preamble(buf, &p, NULL) != 0)
        return false;
    w->data[p.channel] = fd;
    frame_encode_answer(buf, a);
    return wire_send(fd, buf, FRAME_ANSWER_SIZE);
}

bool
wire_target_up(struct wire_peer *w)
{
    bool ok = wire_target_hello(w);

    for (uint32_t i = 0; i < w->hello.channels && ok; i++)
        ok = wire_target_data(w, FRAME_ANSWER_OK);
    return ok;
}

bool
wire_target_drain_data(struct wire_peer *w)
{
    AUTO_FREE uint8_t *buf = xmalloc((FRAME_MAX_RAW_PAGES + 8) * FAKE_PAGE);

    for (uint32_t i = 0; i < w->hello.channels; i++) {
        struct frame_header h;

        do {
            if (!wire_recv(w->data[i], buf, FRAME_HEADER_SIZE) ||
                frame_decode_header(buf, &h, NULL) != 0 ||
                !wire_recv(w->data[i], buf, frame_head_size(&h) - FRAME_HEADER_SIZE) ||
                !wire_recv(w->data[i], buf, h.bytes))
                return false;
        } while (h.type != FRAME_ROUND_END);
    }
    return true;
}

bool
wire_target_drain_round(struct wire_peer *w)
{
    return wire_hear_type(w, CONTROL_ROUND_BEGIN) && wire_target_drain_data(w) &&
           wire_hear_type(w, CONTROL_ROUND_END);
}
