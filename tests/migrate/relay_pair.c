/* Both ends of a relay; see relay_pair.h. */
#include "tests/migrate/relay_pair.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/sb.h"
#include "tests/migrate/certs.h"

#define PATIENCE_S 30 /* more than any wait takes, on a slow machine under a sanitizer */

static void told_source(void *ctx, const void *msg, size_t len);
static void told_target(void *ctx, const void *msg, size_t len);
static void broken_source(void *ctx, enum relay_kind kind, const struct err *err);
static void broken_target(void *ctx, enum relay_kind kind, const struct err *err);
static void refused(void *ctx, const char *why);
static bool wait_event(struct relay_pair *p, uint64_t deadline_us);
static void patient(int fd);

void
relay_pair_init(struct relay_pair *p, bool tls)
{
    pthread_condattr_t attr;

    *p = (struct relay_pair){.listen_fd = {-1, -1, -1}};
    pthread_mutex_init(&p->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->cv, &attr);
    pthread_condattr_destroy(&attr);
    snprintf(p->dir, sizeof p->dir, "/tmp/drover-relay-XXXXXX");
    assert_non_null(mkdtemp(p->dir));

    struct mig_ident ident = {.vmi_uid = "vmi-1", .migration_uid = "mig-1", .generation = 7};

    p->src = (struct relay_source_config){.ident = ident,
                                          .dead_peer_us = 10000000,
                                          .message = told_source,
                                          .broken = broken_source,
                                          .ctx = p};
    p->dst = (struct relay_target_config){.ident = ident,
                                          .listen_ip = "127.0.0.1",
                                          .dead_peer_us = 10000000,
                                          .message = told_target,
                                          .broken = broken_target,
                                          .refused = refused,
                                          .ctx = p};
    snprintf(p->src.rpc_path, RELAY_PATH_SIZE, "%s/src-rpc.sock", p->dir);
    snprintf(p->src.data_path, RELAY_PATH_SIZE, "%s/src-data.sock", p->dir);
    snprintf(p->dst.rpc_path, RELAY_PATH_SIZE, "%s/dst-rpc.sock", p->dir);
    snprintf(p->dst.data_path, RELAY_PATH_SIZE, "%s/dst-data.sock", p->dir);
    if (tls) {
        p->src.tls = certs_node("n1");
        p->dst.tls = certs_node("n2");
        snprintf(p->src.tls_peer, sizeof p->src.tls_peer, "n2");
        snprintf(p->dst.tls_peer, sizeof p->dst.tls_peer, "n1");
    }
}

void
relay_pair_serve(struct relay_pair *p, enum relay_kind kind)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    snprintf(sa.sun_path, sizeof sa.sun_path, "%s",
             kind == RELAY_RPC ? p->dst.rpc_path : p->dst.data_path);
    p->listen_fd[kind] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listen_fd[kind], (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(p->listen_fd[kind], 64), 0);
    patient(p->listen_fd[kind]);
}

void
relay_pair_listen(struct relay_pair *p)
{
    relay_pair_serve(p, RELAY_RPC);
    relay_pair_serve(p, RELAY_DATA);
    assert_int_equal(relay_target_new(&p->dst, &p->target, &p->err), 0);
    snprintf(p->src.target_addr, sizeof p->src.target_addr, "%s", relay_target_address(p->target));
}

int
relay_pair_dial(struct relay_pair *p)
{
    return relay_source_new(&p->src, &p->source, &p->cause, &p->err);
}

void
relay_pair_start(struct relay_pair *p)
{
    relay_pair_listen(p);
    if (relay_pair_dial(p) != 0)
        fail_msg("%s", p->err.msg);
}

void
relay_pair_done(struct relay_pair *p)
{
    relay_source_free(p->source);
    relay_target_free(p->target);
    for (int i = 0; i <= RELAY_DATA; i++) {
        if (p->listen_fd[i] >= 0)
            close(p->listen_fd[i]);
    }
    fs_rmtree(p->dir, NULL);
    pthread_mutex_destroy(&p->mu);
    pthread_cond_destroy(&p->cv);
}

int
relay_pair_connect(struct relay_pair *p, enum relay_kind kind)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(sa.sun_path, sizeof sa.sun_path, "%s",
             kind == RELAY_RPC ? p->src.rpc_path : p->src.data_path);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    patient(fd);
    return fd;
}

int
relay_pair_accept(struct relay_pair *p, enum relay_kind kind)
{
    int fd = accept4(p->listen_fd[kind], NULL, NULL, SOCK_CLOEXEC);

    assert_true(fd >= 0);
    patient(fd);
    return fd;
}

void
relay_pair_stream(struct relay_pair *p, enum relay_kind kind, int ret[2])
{
    ret[0] = relay_pair_connect(p, kind);
    ret[1] = relay_pair_accept(p, kind);
}

void
relay_pair_wait_messages(struct relay_pair *p, int end, unsigned n)
{
    uint64_t deadline = clock_mono_us() + PATIENCE_S * 1000000u;

    pthread_mutex_lock(&p->mu);
    while (p->at[end].messages < n && wait_event(p, deadline))
        continue;
    n = p->at[end].messages >= n;
    pthread_mutex_unlock(&p->mu);
    assert_true(n);
}

void
relay_pair_wait_broken(struct relay_pair *p, int end, enum relay_kind kind, unsigned n)
{
    uint64_t deadline = clock_mono_us() + PATIENCE_S * 1000000u;

    pthread_mutex_lock(&p->mu);
    while (p->at[end].broken[kind] < n && wait_event(p, deadline))
        continue;
    n = p->at[end].broken[kind] >= n;
    pthread_mutex_unlock(&p->mu);
    assert_true(n);
}

unsigned
relay_pair_broken(struct relay_pair *p, int end, enum relay_kind kind)
{
    unsigned n;

    pthread_mutex_lock(&p->mu);
    n = p->at[end].broken[kind];
    pthread_mutex_unlock(&p->mu);
    return n;
}

void
relay_pair_wait_refused(struct relay_pair *p, const char *part)
{
    uint64_t deadline = clock_mono_us() + PATIENCE_S * 1000000u;
    bool met;

    pthread_mutex_lock(&p->mu);
    while (!strstr(p->at[1].refused, part) && wait_event(p, deadline))
        continue;
    met = strstr(p->at[1].refused, part);
    if (!met)
        print_error("refused: '%s'\n", p->at[1].refused);
    pthread_mutex_unlock(&p->mu);
    assert_true(met);
}

void
relay_pair_wait_idle(struct relay_pair *p)
{
    uint64_t deadline = clock_mono_us() + PATIENCE_S * 1000000u;
    struct relay_stats a = {.streams = 1}, b = {.streams = 0};

    while ((a.streams || b.streams) && clock_mono_us() < deadline) {
        relay_source_stats(p->source, &a);
        relay_target_stats(p->target, &b);
        usleep(1000);
    }
    assert_int_equal(a.streams + b.streams, 0);
}

/* Period and stream are in each word, so that a byte that is lost or doubled shows. */
void
relay_pair_fill(uint8_t *buf, size_t len, uint64_t stream, uint64_t at)
{
    for (size_t i = 0; i < len;) {
        uint64_t word = rng_mix(stream << 48 ^ (at + i) / 8);
        unsigned from = (at + i) % 8, n = 8 - from;

        n = n < len - i ? n : (unsigned)(len - i);
        memcpy(buf + i, (uint8_t *)&word + from, n);
        i += n;
    }
}

bool
relay_pair_send(int fd, uint64_t stream, uint64_t at, uint64_t len, uint64_t seed)
{
    AUTO_FREE uint8_t *buf = xmalloc(1 << 20);
    struct rng r;

    rng_seed(&r, seed);
    for (uint64_t end = at + len; at < end;) {
        uint64_t max = rng_below(&r, 4) == 0 ? 1 << 20 : 9000, n = 1 + rng_below(&r, max);

        n = n < end - at ? n : end - at;
        relay_pair_fill(buf, n, stream, at);
        for (size_t done = 0; done < n;) {
            ssize_t k = send(fd, buf + done, n - done, MSG_NOSIGNAL);

            if (k <= 0)
                return false;
            done += (size_t)k;
        }
        at += n;
    }
    return true;
}

bool
relay_pair_receive(int fd, uint64_t stream, uint64_t at, uint64_t len, uint64_t seed)
{
    AUTO_FREE uint8_t *buf = xmalloc(1 << 20), *want = xmalloc(1 << 20);
    struct rng r;

    rng_seed(&r, seed);
    for (uint64_t end = at + len; at < end;) {
        uint64_t n = 1 + rng_below(&r, rng_below(&r, 4) == 0 ? 1 << 20 : 9000);
        ssize_t k = recv(fd, buf, n < end - at ? n : end - at, 0);

        if (k <= 0)
            return false;
        relay_pair_fill(want, (size_t)k, stream, at);
        if (memcmp(buf, want, (size_t)k) != 0) {
            print_error("stream %llu: other bytes than were sent, near %llu\n",
                        (unsigned long long)stream, (unsigned long long)at);
            return false;
        }
        at += (uint64_t)k;
    }
    return true;
}

unsigned
relay_pair_fds(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

unsigned
relay_pair_threads(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/task");

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void
told(struct relay_pair *p, int end, const void *msg, size_t len)
{
    struct relay_pair_end *e = &p->at[end];

    if (p->on_message)
        p->on_message(p, end);
    pthread_mutex_lock(&p->mu);
    if (e->messages < RELAY_PAIR_MESSAGES) {
        e->len[e->messages] = len;
        memcpy(&e->first[e->messages], msg, len < 4 ? len : 4);
    }
    e->messages++;
    pthread_cond_broadcast(&p->cv);
    pthread_mutex_unlock(&p->mu);
}

static void
told_source(void *ctx, const void *msg, size_t len)
{
    told(ctx, 0, msg, len);
}

static void
told_target(void *ctx, const void *msg, size_t len)
{
    told(ctx, 1, msg, len);
}

static void
broken(struct relay_pair *p, int end, enum relay_kind kind, const struct err *err)
{
    pthread_mutex_lock(&p->mu);
    p->at[end].broken[kind]++;
    p->at[end].broken_us[kind] = clock_mono_us();
    p->at[end].why[kind] = *err;
    pthread_cond_broadcast(&p->cv);
    pthread_mutex_unlock(&p->mu);
}

static void
broken_source(void *ctx, enum relay_kind kind, const struct err *err)
{
    broken(ctx, 0, kind, err);
}

static void
broken_target(void *ctx, enum relay_kind kind, const struct err *err)
{
    broken(ctx, 1, kind, err);
}

static void
refused(void *ctx, const char *why)
{
    struct relay_pair *p = ctx;

    pthread_mutex_lock(&p->mu);
    snprintf(p->at[1].refused, sizeof p->at[1].refused, "%s", why);
    pthread_cond_broadcast(&p->cv);
    pthread_mutex_unlock(&p->mu);
}

/* mu held. */
static bool
wait_event(struct relay_pair *p, uint64_t deadline_us)
{
    struct timespec ts = {.tv_sec = (time_t)(deadline_us / 1000000),
                          .tv_nsec = (long)(deadline_us % 1000000) * 1000};

    return pthread_cond_timedwait(&p->cv, &p->mu, &ts) == 0;
}

static void
patient(int fd)
{
    struct timeval tv = {.tv_sec = PATIENCE_S};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
}
