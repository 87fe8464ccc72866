/* The relay's bandwidth limit on real sockets: within 3 % in every window of a second, over all data
 * streams together, changed while it runs, shared with others; what waits inside is bounded; and what
 * may not wait does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sb.h"
#include "migrate/share.h"
#include "tests/migrate/meter.h"
#include "tests/migrate/relay_pair.h"

#define MIB         (UINT64_C(1) << 20)
#define SAMPLES_MAX 20000
#define STREAMS_MAX 4

/* Data streams that are written to and read from as fast as goes. */
struct flood {
    struct relay_pair p;
    unsigned streams;
    int fd[STREAMS_MAX][2];
    pthread_t writer[STREAMS_MAX], reader[STREAMS_MAX];
    _Atomic uint64_t written, got;
    _Atomic uint64_t reader_bytes_per_s; /* 0 = as fast as goes */
};

struct one {
    struct flood *f;
    int fd;
};

static void *
write_main(void *arg)
{
    struct one *o = arg;
    AUTO_FREE uint8_t *buf = xcalloc(1, MIB);
    ssize_t n;

    while ((n = send(o->fd, buf, 64 << 10, MSG_NOSIGNAL)) > 0)
        atomic_fetch_add(&o->f->written, (uint64_t)n);
    free(o);
    return NULL;
}

static void *
read_main(void *arg)
{
    struct one *o = arg;
    AUTO_FREE uint8_t *buf = xcalloc(1, MIB);
    uint64_t rate;
    ssize_t n;

    while ((n = recv(o->fd, buf, 32 << 10, 0)) > 0) {
        atomic_fetch_add(&o->f->got, (uint64_t)n);
        rate = atomic_load(&o->f->reader_bytes_per_s);
        if (rate)
            usleep((useconds_t)((uint64_t)n * 1000000 / rate)); /* it is slow: that is tested */
    }
    free(o);
    return NULL;
}

static void
start_one(struct flood *f, pthread_t *t, void *(*body)(void *), int fd)
{
    struct one *o = xcalloc(1, sizeof *o);

    *o = (struct one){f, fd};
    assert_int_equal(pthread_create(t, NULL, body, o), 0);
}

static void
flood_begin(struct flood *f, unsigned streams)
{
    relay_pair_start(&f->p);
    f->streams = streams;
    for (unsigned i = 0; i < streams; i++)
        relay_pair_stream(&f->p, RELAY_DATA, f->fd[i]);
    for (unsigned i = 0; i < streams; i++) {
        start_one(f, &f->writer[i], write_main, f->fd[i][0]);
        start_one(f, &f->reader[i], read_main, f->fd[i][1]);
    }
}

static void
flood_end(struct flood *f)
{
    relay_source_cut(f->p.source);
    relay_target_cut(f->p.target);
    for (unsigned i = 0; i < f->streams; i++) {
        shutdown(f->fd[i][0], SHUT_RDWR);
        shutdown(f->fd[i][1], SHUT_RDWR);
        pthread_join(f->writer[i], NULL);
        pthread_join(f->reader[i], NULL);
        close(f->fd[i][0]);
        close(f->fd[i][1]);
    }
    relay_pair_done(&f->p);
}

static uint64_t
sent(struct flood *f)
{
    struct relay_stats st;

    relay_source_stats(f->p.source, &st);
    return st.sent_bytes;
}

static size_t
sample(struct flood *f, uint64_t us, struct meter_sample *out)
{
    uint64_t began = clock_mono_us(), now = began;
    size_t n = 0;

    while (n < SAMPLES_MAX && now - began < us) {
        uint64_t bytes = sent(f);

        now = clock_mono_us();
        out[n++] = (struct meter_sample){now, bytes};
        poll(NULL, 0, 1);
    }
    return n;
}

static const struct limit_row {
    const char *name;
    uint64_t limit;
    unsigned streams;
    bool slow_machine; /* it may be that this machine does not reach it */
    bool tls;
} limit_rows[] = {
    {"1 MiB/s, 1 stream", MIB, 1, false, false},
    {"1 MiB/s, 4 streams", MIB, 4, false, false},
    {"64 MiB/s, 1 stream", 64 * MIB, 1, false, false},
    {"64 MiB/s, 4 streams", 64 * MIB, 4, false, false},
    {"512 MiB/s, 2 streams", 512 * MIB, 2, true, false},
    {"1 MiB/s, 2 streams, TLS", MIB, 2, false, true},
    {"64 MiB/s, 1 stream, TLS", 64 * MIB, 1, false, true},
    {"64 MiB/s, 4 streams, TLS", 64 * MIB, 4, false, true},
};

static void
limit_is_kept(void **state)
{
    const struct limit_row *r = *state;
    AUTO_FREE struct meter_sample *out = xcalloc(SAMPLES_MAX, sizeof *out);
    uint64_t most, least;
    struct relay_stats st;
    struct flood f = {0};
    size_t n;

    if (r->slow_machine && !meter_cores_are_free()) {
        print_message("# SKIP others use the cores\n");
        skip();
    }
    relay_pair_init(&f.p, r->tls);
    f.p.src.bandwidth_bytes_per_s = r->limit;
    flood_begin(&f, r->streams);
    meter_begin();
    n = sample(&f, 1400000, out);
    meter_windows(out, n, r->limit, &most, &least);
    relay_source_stats(f.p.source, &st);
    print_message("# %s: %.1f to %.1f %% of the limit in a second\n", r->name, (double)least / 10,
                  (double)most / 10);
    assert_true(most <= 1030);
    assert_int_equal(st.limit_bytes_per_s, r->limit);
    if (!r->slow_machine && meter_was_quiet()) {
        assert_true(least >= 970);
        assert_true(st.rate_bytes_per_s > r->limit * 9 / 10);
        assert_true(st.shaping_wait_us > 500000);
    }
    flood_end(&f);
}

/* From 100 ms after the change on. */
static void
limit_changes_live(void **state)
{
    static const uint64_t limits[] = {16 * MIB, 64 * MIB, 4 * MIB, 32 * MIB};
    struct flood f = {0};

    (void)state;
    relay_pair_init(&f.p, false);
    f.p.src.bandwidth_bytes_per_s = 2 * MIB;
    flood_begin(&f, 2);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        uint64_t us, bytes, began;
        double rate;

        meter_begin();
        relay_source_set_bandwidth(f.p.source, limits[i]);
        poll(NULL, 0, 100);
        began = clock_mono_us();
        bytes = sent(&f);
        poll(NULL, 0, 400);
        bytes = sent(&f) - bytes;
        us = clock_mono_us() - began;
        rate = (double)bytes * 1e6 / (double)us / (double)limits[i];
        print_message("# to %u MiB/s: %.3f of it\n", (unsigned)(limits[i] / MIB), rate);
        assert_true(rate < 1.08); /* what is saved up counts in half a second */
        assert_true(rate > 0.92 || !meter_was_quiet());
    }
    flood_end(&f);
}

/* Two relays, or a relay and a migration of the engine's, under the node's cap. */
static void
cap_is_shared(void **state)
{
    struct share *share = share_new();
    struct flood f[2] = {0};
    uint64_t began, us, bytes[2];
    double rate[2];

    (void)state;
    share_set_caps(share, 32 * MIB, 0, clock_mono_us());
    for (int i = 0; i < 2; i++) {
        relay_pair_init(&f[i].p, false);
        f[i].p.src.share = share;
        f[i].p.src.weight = i ? 3 : 1;
        flood_begin(&f[i], 2);
    }
    meter_begin();
    poll(NULL, 0, 200);
    began = clock_mono_us();
    bytes[0] = sent(&f[0]);
    bytes[1] = sent(&f[1]);
    poll(NULL, 0, 1000);
    us = clock_mono_us() - began;
    for (int i = 0; i < 2; i++)
        rate[i] = (double)(sent(&f[i]) - bytes[i]) * 1e6 / (double)us / (double)MIB;
    print_message("# weights 1 and 3 of 32 MiB/s: %.2f, %.2f\n", rate[0], rate[1]);
    assert_true(rate[0] + rate[1] < 32 * 1.04);
    if (meter_was_quiet()) {
        assert_true(rate[0] > 7.4 && rate[0] < 8.6);
        assert_true(rate[1] > 22.8);
    }
    for (int i = 0; i < 2; i++)
        flood_end(&f[i]);
    assert_int_equal(share_members(share), 0);
    share_free(share);
}

/* What the writer got rid of and the reader has not got: QEMU takes it for sent. */
static void
little_waits_inside(void **state)
{
    static const struct {
        const char *name;
        uint64_t limit, reader;
        bool tls;
    } rows[] = {
        {"10 MB/s", 10000000, 0, false},
        {"10 MB/s, TLS", 10000000, 0, true},
        {"a reader of 20 MB/s", 0, 20000000, false},
        {"a reader of 20 MB/s, TLS", 0, 20000000, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct flood f = {0};
        uint64_t began, most = 0;

        relay_pair_init(&f.p, rows[i].tls);
        f.p.src.bandwidth_bytes_per_s = rows[i].limit;
        f.reader_bytes_per_s = rows[i].reader;
        flood_begin(&f, 1);
        began = clock_mono_us();
        while (clock_mono_us() - began < 500000) {
            uint64_t at = clock_mono_us();
            uint64_t got = f.got, written = f.written; /* in this order: never too little */

            if (clock_mono_us() - at < 1000) /* else we slept in between, and it is too much */
                most = written - got > most ? written - got : most;
            poll(NULL, 0, 1);
        }
        print_message("# %s: at most %llu KiB under way\n", rows[i].name,
                      (unsigned long long)most >> 10);
        assert_true(most <= RELAY_IN_FLIGHT);
        flood_end(&f);
    }
}

/* QEMU's return path: 4 MiB go back at once while 1 MiB/s is all that may go there. */
static void
the_way_back_is_free(void **state)
{
    for (int tls = 0; tls < 2; tls++) {
        struct flood f = {0};
        struct relay_stats st;
        uint64_t began;

        (void)state;
        relay_pair_init(&f.p, tls);
        f.p.src.bandwidth_bytes_per_s = MIB;
        flood_begin(&f, 1);
        meter_begin();
        began = clock_mono_us();
        /* its writer does not read: a second reader at the source, a second writer here */
        start_one(&f, &f.writer[1], write_main, f.fd[0][1]);
        start_one(&f, &f.reader[1], read_main, f.fd[0][0]);
        do {
            poll(NULL, 0, 1);
            relay_target_stats(f.p.target, &st);
        } while (st.received_bytes < 4 * MIB);
        print_message("# 4 MiB back in %llu ms\n",
                      (unsigned long long)(clock_mono_us() - began) / 1000);
        assert_true(clock_mono_us() - began < 1000000 || !meter_was_quiet());
        shutdown(f.fd[0][0], SHUT_RDWR);
        shutdown(f.fd[0][1], SHUT_RDWR);
        pthread_join(f.writer[1], NULL);
        pthread_join(f.reader[1], NULL);
        flood_end(&f);
    }
}

/* Post-copy's own channel: a page that is asked for does not queue behind bulk; and alone it does not
 * go beyond the limit, either. */
static void
urgent_goes_first(void **state)
{
    AUTO_FREE struct meter_sample *out = xcalloc(SAMPLES_MAX, sizeof *out);
    uint64_t most, least, worst = 0;
    struct flood f = {0};
    uint8_t page[4096] = {1};
    size_t n;
    int fd[2];

    (void)state;
    relay_pair_init(&f.p, false);
    f.p.src.bandwidth_bytes_per_s = 2 * MIB;
    f.p.src.bulk_streams = 1;
    flood_begin(&f, 1);
    relay_pair_stream(&f.p, RELAY_DATA, fd);
    meter_begin();
    for (int i = 0; i < 50; i++) {
        uint64_t began = clock_mono_us(), us;

        assert_int_equal(send(fd[0], page, sizeof page, 0), sizeof page);
        assert_int_equal(recv(fd[1], page, sizeof page, MSG_WAITALL), sizeof page);
        us = clock_mono_us() - began;
        worst = us > worst ? us : worst;
    }
    print_message("# a page beside bulk: at most %llu us\n", (unsigned long long)worst);
    assert_true(worst < 30000 || !meter_was_quiet());
    start_one(&f, &f.writer[1], write_main, fd[0]);
    start_one(&f, &f.reader[1], read_main, fd[1]);
    poll(NULL, 0, 100);
    n = sample(&f, 1400000, out);
    meter_windows(out, n, 2 * MIB, &most, &least);
    print_message("# urgent and bulk: %.1f to %.1f %% of the limit\n", (double)least / 10,
                  (double)most / 10);
    assert_true(most <= 1030);
    f.fd[1][0] = fd[0];
    f.fd[1][1] = fd[1];
    f.streams = 2;
    flood_end(&f);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(limit_changes_live),  cmocka_unit_test(cap_is_shared),
        cmocka_unit_test(little_waits_inside), cmocka_unit_test(the_way_back_is_free),
        cmocka_unit_test(urgent_goes_first),
    };
    struct CMUnitTest tests[ARRAY_LEN(limit_rows) + ARRAY_LEN(others)] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(limit_rows); i++)
        tests[n++] = (struct CMUnitTest){.name = limit_rows[i].name,
                                         .test_func = limit_is_kept,
                                         .initial_state = (void *)(uintptr_t)&limit_rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    return cmocka_run_group_tests_name("relay, limits", tests, NULL, NULL);
}
