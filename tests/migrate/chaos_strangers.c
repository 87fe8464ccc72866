/* Strangers who find the target's address: silent ones, garbage, frames that are nearly right. None
 * of them may disturb a migration. See chaos.h. */
#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rng.h"
#include "proto/control.h"
#include "proto/frame.h"
#include "tests/migrate/chaos.h"

static int
dial(const char *addr)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned port;
    int fd;

    if (sscanf(addr, "127.0.0.1:%u", &port) != 1)
        return -1;
    sa.sin_port = htons((uint16_t)port);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)!connect(fd, (struct sockaddr *)&sa, sizeof sa);
    return fd;
}

/* What it says: nearly a HELLO, nearly a QUESTION, nearly a data channel, or nothing like it. */
static void
speech(struct rng *r, struct sb *out)
{
    struct control_msg m = {.generation = 7};
    struct frame_preamble pre = {.channel = (uint32_t)rng_below(r, 8),
                                 .uid_sum = frame_uid_sum("migration-1", 7)};
    uint8_t buf[FRAME_PREAMBLE_SIZE];

    switch (rng_below(r, 6)) {
    case 0:
        return; /* silent */
    case 1:
        m.type = CONTROL_HELLO;
        m.hello = (struct control_hello){.version_min = 1,
                                         .version_max = 1,
                                         .regions_len = 1,
                                         .regions = {{.size_bytes = 1u << 20, .page_bytes = 4096}},
                                         .channels = 1 + (uint32_t)rng_below(r, 64),
                                         .stripe_bytes = LAYOUT_STRIPE_BYTES};
        snprintf(m.hello.vmi_uid, sizeof m.hello.vmi_uid, "vmi-1");
        snprintf(m.hello.migration_uid, sizeof m.hello.migration_uid, "migration-%d",
                 (int)rng_below(r, 1000) + 2);
        control_encode(out, &m);
        break;
    case 2:
        m.type = CONTROL_QUESTION;
        m.generation = 6 + rng_below(r, 2) * 2;
        m.question.commit = true;
        snprintf(m.question.vmi_uid, sizeof m.question.vmi_uid, "vmi-1");
        snprintf(m.question.migration_uid, sizeof m.question.migration_uid, "migration-1");
        control_encode(out, &m);
        break;
    case 3:
        frame_encode_preamble(buf, &pre); /* without the secret */
        sb_add(out, buf, sizeof buf);
        break;
    default:
        for (uint64_t i = 0; i < rng_below(r, 4000); i++)
            sb_putc(out, (char)rng_u64(r));
        break;
    }
    if (out->len > 0 && rng_below(r, 3) == 0)
        out->len = rng_below(r, out->len); /* and then nothing more */
}

static void *
strangers_main(void *arg)
{
    struct chaos_strangers *s = arg;
    struct rng r;
    int fds[16];
    unsigned len = s->count < ARRAY_LEN(fds) ? s->count : ARRAY_LEN(fds);

    prctl(PR_SET_NAME, "chaos-stranger");
    rng_seed(&r, s->seed);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = -1;
    while (!atomic_load(&s->stop)) {
        unsigned i = (unsigned)rng_below(&r, len);
        AUTO_SB struct sb say = SB_INIT;

        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = dial(s->addr);
        poll(NULL, 0, 1);
        speech(&r, &say);
        if (fds[i] >= 0 && say.len > 0)
            (void)!send(fds[i], say.buf, say.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        poll(NULL, 0, (int)rng_below(&r, 6));
    }
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    return NULL;
}

void
chaos_strangers_start(struct chaos_strangers *s)
{
    atomic_store(&s->stop, false);
    assert(pthread_create(&s->thread, NULL, strangers_main, s) == 0);
}

void
chaos_strangers_end(struct chaos_strangers *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
}
