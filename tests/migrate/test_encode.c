/* Whole migrations with encoded pages, over loopback: every byte of memory, what was chosen, and
 * that words rewritten faster than the link converge by delta and not otherwise. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "tests/migrate/pair.h"
#include "tests/migrate/relay.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SLOWNESS 10 /* what a switchover costs here beside what it costs in a release */
#else
#define SLOWNESS 1
#endif
#define MIB (1ull << 20)

struct row {
    const char *name;
    struct fake_config cfg;
    enum mig_encoding encoding;
    uint64_t limit_bytes_per_s;
    /* what is expected: of the pages with content, so many percent at least as this encoding */
    enum mig_encoding as;
    unsigned percent;
    unsigned most_bytes_percent; /* of what raw would have sent */
};

static const struct row rows[] = {
    {"raw as told",
     {{64 * MIB}, .seed = 1, .fill_pages = 8192, .content = FAKE_TEXT},
     MIG_ENC_RAW,
     0,
     MIG_ENC_RAW,
     100,
     102},
    {"lz4 as told, text",
     {{64 * MIB}, .seed = 2, .fill_pages = 8192, .content = FAKE_TEXT},
     MIG_ENC_LZ4,
     0,
     MIG_ENC_LZ4,
     100,
     30},
    {"zstd as told, text",
     {{64 * MIB}, .seed = 3, .fill_pages = 8192, .content = FAKE_TEXT},
     MIG_ENC_ZSTD,
     0,
     MIG_ENC_ZSTD,
     100,
     30},
    {"lz4 as told, random: travels raw",
     {{64 * MIB}, .seed = 4, .fill_pages = 8192, .content = FAKE_RANDOM},
     MIG_ENC_LZ4,
     0,
     MIG_ENC_RAW,
     100,
     102},
    {"pages that lie apart are compressed together",
     {{64 * MIB}, .seed = 5, .fill_pages = 3000, .stride = 5, .content = FAKE_TEXT},
     MIG_ENC_LZ4,
     0,
     MIG_ENC_LZ4,
     100,
     30},
    {"odd sizes, two regions, a writer, lz4",
     {{7 * MIB + 4096, 5 * MIB + 12288},
      .seed = 6,
      .fill_pages = 3000,
      .set_pages = 2500,
      .pages_per_s = 20000,
      .zero_percent = 10,
      .punch_percent = 10,
      .content = FAKE_TEXT},
     MIG_ENC_LZ4,
     20000000,
     MIG_ENC_LZ4,
     95,
     40},
    {"chosen: a slow link and text",
     {{64 * MIB}, .seed = 7, .fill_pages = 8192, .content = FAKE_TEXT},
     MIG_ENC_AUTO,
     30000000,
     MIG_ENC_ZSTD,
     0,
     30},
    {"chosen: a slow link and random memory",
     {{32 * MIB}, .seed = 8, .fill_pages = 4096, .content = FAKE_RANDOM},
     MIG_ENC_AUTO,
     30000000,
     MIG_ENC_RAW,
     100,
     102},
    {"delta as told, with zeros and holes between",
     {{64 * MIB},
      .seed = 9,
      .fill_pages = 4096,
      .set_pages = 2000,
      .pages_per_s = 8000,
      .zero_percent = 5,
      .punch_percent = 5,
      .content = FAKE_WORDS},
     MIG_ENC_DELTA,
     30000000,
     MIG_ENC_DELTA,
     1,
     100},
    {"delta as told, whole pages rewritten: travels raw",
     {{64 * MIB},
      .seed = 10,
      .fill_pages = 2048,
      .set_pages = 500,
      .pages_per_s = 3000,
      .content = FAKE_RANDOM},
     MIG_ENC_DELTA,
     30000000,
     MIG_ENC_RAW,
     85, /* a page that is being written when it is sent is one: more of them on a busy machine */
     102},
};

static uint64_t
content_pages(const struct mig_stats *st)
{
    uint64_t n = 0;

    for (unsigned e = MIG_ENC_RAW; e < MIG_ENC_COUNT; e++)
        n += e == MIG_ENC_ZERO ? 0 : st->enc_pages[e];
    return n;
}

static void
test_moves(void **state)
{
    const struct row *r = *state;
    struct fake_guest *a = fake_guest_new(&r->cfg, false), *b = fake_guest_new(&r->cfg, true);
    uint64_t bytes = 0, pages;
    struct pair p;

    pair_init(&p, a, b);
    p.src.policy.encoding = r->encoding;
    p.src.limits.bandwidth_bytes_per_s = r->limit_bytes_per_s;
    p.src.limits.max_downtime_us = r->cfg.set_pages ? 100000 : 0;
    p.src.limits.completion_timeout_us = 60000000;
    pair_run(&p);
    if (p.src_outcome != MIG_MOVED)
        print_error("source: %s; target: %s\n", err_msg(&p.src_err), err_msg(&p.dst_err));
    assert_int_equal(p.src_outcome, MIG_MOVED);
    assert_int_equal(p.dst_outcome, MIG_TARGET_RUNNING);
    assert_int_equal(fake_guest_wrong_pages(b), 0);
    pages = content_pages(&p.src_stats);
    assert_int_equal(pages, p.src_stats.raw_pages);
    for (unsigned e = 0; e < MIG_ENC_COUNT; e++) {
        assert_int_equal(p.src_stats.enc_pages[e], p.dst_stats.enc_pages[e]);
        assert_int_equal(p.src_stats.enc_bytes[e], p.dst_stats.enc_bytes[e]);
        bytes += p.src_stats.enc_bytes[e];
    }
    if (p.src_stats.enc_pages[r->as] * 100 < pages * r->percent ||
        p.src_stats.sent_bytes * 100 > pages * FAKE_PAGE * r->most_bytes_percent)
        fail_msg("%llu pages: raw %llu, delta %llu, lz4 %llu, zstd %llu; %llu bytes",
                 (unsigned long long)pages, (unsigned long long)p.src_stats.enc_pages[MIG_ENC_RAW],
                 (unsigned long long)p.src_stats.enc_pages[MIG_ENC_DELTA],
                 (unsigned long long)p.src_stats.enc_pages[MIG_ENC_LZ4],
                 (unsigned long long)p.src_stats.enc_pages[MIG_ENC_ZSTD],
                 (unsigned long long)p.src_stats.sent_bytes);
    assert_true(bytes < p.src_stats.sent_bytes);
    pair_done(&p);
    fake_guest_free(a);
    fake_guest_free(b);
}

/* Words rewritten all over 16 MiB, at twice what the link takes. */
static void
rewrite_words(enum mig_encoding encoding, uint64_t cache_bytes, uint64_t timeout_us, struct pair *p,
              uint64_t *ret_wrong)
{
    const struct fake_config c = {{128 * MIB},       .seed = 20,           .fill_pages = 6000,
                                  .set_pages = 4096, .pages_per_s = 12000, .content = FAKE_WORDS};
    struct fake_guest *a = fake_guest_new(&c, false), *b = fake_guest_new(&c, true);

    pair_init(p, a, b);
    p->src.policy.encoding = encoding;
    p->src.limits.bandwidth_bytes_per_s = 24000000;
    p->src.limits.completion_timeout_us = timeout_us;
    p->src.limits.delta_cache_bytes = cache_bytes;
    p->src.limits.max_downtime_us = 100000;
    pair_run(p);
    *ret_wrong = fake_guest_wrong_pages(p->src_outcome == MIG_MOVED ? b : a);
    pair_done(p);
    fake_guest_free(a);
    fake_guest_free(b);
}

/* With room for all that memory has, and with room for just what is rewritten: then pages enter
 * the cache when they are sent for the second time. */
static void
test_words_converge_by_delta(void **state)
{
    static const uint64_t cache[] = {0, 16 * MIB};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cache); i++) {
        struct pair p;
        uint64_t wrong;

        rewrite_words(MIG_ENC_AUTO, cache[i], 60000000, &p, &wrong);
        if (p.src_outcome != MIG_MOVED)
            print_error("source: %s\n", err_msg(&p.src_err));
        assert_int_equal(p.src_outcome, MIG_MOVED);
        assert_int_equal(wrong, 0);
        assert_true(p.src_stats.enc_pages[MIG_ENC_DELTA] > 1000);
        print_message("# cache %llu: raw %llu, delta %llu pages\n", (unsigned long long)cache[i],
                      (unsigned long long)p.src_stats.enc_pages[MIG_ENC_RAW],
                      (unsigned long long)p.src_stats.enc_pages[MIG_ENC_DELTA]);
        /* a delta is a few dozen bytes */
        assert_true(p.src_stats.enc_bytes[MIG_ENC_DELTA] <
                    p.src_stats.enc_pages[MIG_ENC_DELTA] * 400);
        assert_true(cache[i] ? p.src_stats.enc_pages[MIG_ENC_RAW] > 8000
                             : p.src_stats.enc_pages[MIG_ENC_RAW] < 8000);
    }
}

static void
test_words_do_not_converge_raw(void **state)
{
    struct pair p;
    uint64_t wrong;

    (void)state;
    rewrite_words(MIG_ENC_RAW, 0, 5000000, &p, &wrong);
    assert_int_equal(p.src_outcome, MIG_FAILED);
    assert_int_equal(p.cause, MIG_CAUSE_COMPLETION_TIMEOUT);
    assert_int_equal(wrong, 0);
}

/* Connections are cut while deltas travel: what was not confirmed is no base of another delta, and
 * what was is. */
static void
test_cut_while_deltas_travel(void **state)
{
    const struct fake_config c = {{64 * MIB},         .seed = 21,           .fill_pages = 4096,
                                  .set_pages = 4096,  .pages_per_s = 9000,  .zero_percent = 4,
                                  .punch_percent = 4, .content = FAKE_WORDS};

    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        struct fake_guest *a = fake_guest_new(&c, false), *b = fake_guest_new(&c, true);
        struct mig_stats st;
        struct relay r = {0};
        struct pair p;
        uint64_t before;

        pair_init(&p, a, b);
        p.src.reconnect_us = p.dst.reconnect_us = 30000000;
        p.src.dead_peer_us = p.dst.dead_peer_us = 2000000;
        p.src.limits.bandwidth_bytes_per_s = 12000000;
        /* It does not end before the cut. */
        p.src.limits.max_downtime_us = (uint64_t)SLOWNESS * 2000 << round;
        p.src.limits.completion_timeout_us = 60000000;
        p.src.policy.encoding = MIG_ENC_DELTA;
        p.src.policy.verify_full = true;
        pair_listen(&p);
        relay_start(&r, mig_target_address(p.target));
        pair_dial(&p, r.addr);
        do {
            poll(NULL, 0, 1);
            mig_source_stats(p.source, &st);
        } while (st.enc_pages[MIG_ENC_DELTA] < 500 * (round + 1) && !st.paused_us);
        before = st.enc_pages[MIG_ENC_DELTA];
        relay_cut(&r);
        pair_wait_source(&p);
        pair_wait_target(&p);
        if (p.src_outcome == MIG_MOVED) {
            assert_int_equal(fake_guest_wrong_pages(b), 0);
            assert_true(st.paused_us || p.src_stats.reconnects >= 1);
            assert_true(p.src_stats.enc_pages[MIG_ENC_DELTA] > before || st.paused_us);
        } else { /* a cut in the switchover itself may take it back, never for what was sent */
            if (!st.paused_us)
                fail_msg("source: %s; target: %s", err_msg(&p.src_err), err_msg(&p.dst_err));
            assert_int_equal(fake_guest_wrong_pages(a), 0);
        }
        relay_stop(&r);
        pair_done(&p);
        fake_guest_free(a);
        fake_guest_free(b);
    }
}

/* Memory that shrinks to about a half, over 1 Gbit/s: what each encoding takes. */
static void
test_compressible_over_a_slow_link(void **state)
{
    static const struct {
        const char *name;
        enum mig_encoding encoding;
    } kinds[] = {{"raw", MIG_ENC_RAW},
                 {"lz4", MIG_ENC_LZ4},
                 {"zstd", MIG_ENC_ZSTD},
                 {"chosen", MIG_ENC_AUTO}};
    const struct fake_config c = {
        {192 * MIB}, .seed = 30, .fill_pages = 192 * 256, .content = FAKE_HALF};
    uint64_t us[ARRAY_LEN(kinds)], bytes[ARRAY_LEN(kinds)];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct fake_guest *a = fake_guest_new(&c, false), *b = fake_guest_new(&c, true);
        struct pair p;

        pair_init(&p, a, b);
        p.src.policy.encoding = kinds[i].encoding;
        p.src.limits.bandwidth_bytes_per_s = 125000000;
        pair_run(&p);
        assert_int_equal(p.src_outcome, MIG_MOVED);
        assert_int_equal(fake_guest_wrong_pages(b), 0);
        us[i] = p.src_stats.finished_us - p.src_stats.started_us;
        bytes[i] = p.src_stats.sent_bytes;
        print_message("# %s: %.2f s, %.0f MB sent, CPU %.2f s source, %.2f s target; of %llu pages "
                      "raw %llu, lz4 %llu, zstd %llu\n",
                      kinds[i].name, (double)us[i] / 1e6, (double)bytes[i] / 1e6,
                      (double)p.src_stats.cpu_us / 1e6, (double)p.dst_stats.cpu_us / 1e6,
                      (unsigned long long)p.src_stats.raw_pages,
                      (unsigned long long)p.src_stats.enc_pages[MIG_ENC_RAW],
                      (unsigned long long)p.src_stats.enc_pages[MIG_ENC_LZ4],
                      (unsigned long long)p.src_stats.enc_pages[MIG_ENC_ZSTD]);
        pair_done(&p);
        fake_guest_free(a);
        fake_guest_free(b);
    }
    /* The time is for people: it depends on what else this machine does. So does what is chosen:
     * where compressing would be slower than the link, raw is right, and never more than that. */
    for (size_t i = 1; i < ARRAY_LEN(kinds); i++)
        assert_true(bytes[i] < bytes[0] * (kinds[i].encoding == MIG_ENC_AUTO ? 101 : 65) / 100);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_compressible_over_a_slow_link),
        cmocka_unit_test(test_words_converge_by_delta),
        cmocka_unit_test(test_words_do_not_converge_raw),
        cmocka_unit_test(test_cut_while_deltas_travel),
    };
    struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(others)] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){.name = rows[i].name,
                                         .test_func = test_moves,
                                         .initial_state = (void *)(uintptr_t)&rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    pair_skip_unless_supported(tests, n);
    return _cmocka_run_group_tests("encode", tests, n, NULL, NULL) +
           pair_run_rdma("encode", tests, ARRAY_LEN(rows));
}
