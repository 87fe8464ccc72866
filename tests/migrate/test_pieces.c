/* The engine's small parts, each against a plain definition: bitmaps, zero pages,
 * stall detector, tracker and presence. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/rng.h"
#include "base/sb.h"
#include "migrate/bits.h"
#include "migrate/present.h"
#include "migrate/stall.h"
#include "migrate/track.h"
#include "migrate/zero.h"
#include "proto/limits.h"
#include "tests/migrate/pair.h"

static void
test_bits(void **state)
{
    struct rng rng;

    (void)state;
    rng_seed(&rng, 1);
    for (int round = 0; round < 3000; round++) {
        uint64_t w[5] = {0}, src[5];
        bool plain[320] = {0};
        uint64_t from = rng_below(&rng, 321), to = from + rng_below(&rng, 321 - from);
        uint64_t n = 0, first = 320;

        for (int i = 0; i < 5; i++)
            src[i] = rng_u64(&rng);
        if (round % 2) {
            bits_set_range(w, from, to);
            memset(plain + from, 1, to - from);
        } else {
            bits_or_range(w, src, from, to);
            for (uint64_t i = from; i < to; i++)
                plain[i] = bits_test(src, i);
        }
        for (uint64_t i = 320; i-- > 0;) {
            assert_int_equal(bits_test(w, i), plain[i]);
            n += plain[i];
            if (plain[i])
                first = i;
        }
        assert_int_equal(bits_count(w, 5), n);
        assert_int_equal(bits_next(w, 0, 320), first);
        if (first < 320)
            assert_int_equal(bits_next(w, 0, first), first);
    }
}

static void
test_zero_page(void **state)
{
    uint8_t *page = aligned_alloc(4096, 4096);

    (void)state;
    memset(page, 0, 4096);
    assert_true(zero_page(page) && zero_page_plain(page));
    for (unsigned i = 0; i < 4096; i++) {
        page[i] = (uint8_t)(1u << i % 8);
        assert_false(zero_page(page));
        assert_false(zero_page_plain(page));
        page[i] = 0;
    }
    free(page);
}

/* --- stall --- */

static void
test_stall(void **state)
{
    struct stall s;

    (void)state;
    /* first round: any progress counts, however small */
    stall_init(&s, 1000);
    for (uint64_t t = 1; t <= 100; t++)
        stall_note(&s, 1, 1000000 - t, t * 1000000);
    assert_int_equal(stall_for_us(&s, 100000000), 0);
    assert_int_equal(stall_for_us(&s, 160000000), 60000000);
    /* later: a sawtooth that always comes back to the same height is none */
    stall_restart(&s, 1000000, 200000000);
    for (uint64_t t = 1; t <= 100; t++)
        stall_note(&s, 2 + (uint32_t)t, 1000000 - t % 7 * 100, 200000000 + t * 1000000);
    assert_true(stall_for_us(&s, 300000000) >= 99000000);
    /* and a lower minimum is */
    stall_note(&s, 120, 900000, 301000000);
    assert_int_equal(stall_for_us(&s, 301000000), 0);
    assert_int_equal(stall_for_us(&s, 300000000), 0); /* a clock that was read earlier */
}

/* --- tracker and presence, on a real process --- */

struct seen {
    uint64_t written[64]; /* 4096 pages */
    uint64_t unmapped[64];
};

static int
on_range(void *ctx, const struct track_range *r)
{
    struct seen *s = ctx;

    if (r->written)
        bits_set_range(s->written, r->start / 4096, r->end / 4096);
    if (!r->mapped)
        bits_set_range(s->unmapped, r->start / 4096, r->end / 4096);
    return 0;
}

static struct seen
scan(struct track *t, bool arm)
{
    struct track_buf *b = track_buf_new();
    struct seen s = {0};

    assert_int_equal(track_scan(t, b, 0, 0, 16u << 20, arm, on_range, &s, NULL), 0);
    track_buf_free(b);
    return s;
}

static void
test_tracker(void **state)
{
    struct fake_config c = {
        {16u << 20}, .seed = 3, .fill_pages = 600, .set_pages = 1000, .punch_percent = 20};
    struct fake_guest *g = fake_guest_new(&c, false);
    struct guest port = fake_guest_port(g);
    struct track *t;
    struct present p;
    struct seen s;
    struct err err = {0};
    uint64_t bits[8], steps, expected = 0;

    (void)state;
    assert_int_equal(port.ops->pause(port.impl, NULL), 0);
    if (track_new(&port, g->regions, 1, &t, &err) != 0)
        fail_msg("%s", err_msg(&err));
    /* nothing armed: all that is mapped counts as written */
    s = scan(t, true);
    for (uint64_t i = 0; i < 600; i++)
        assert_true(bits_test(s.written, i) || bits_test(s.unmapped, i));
    s = scan(t, false);
    assert_int_equal(bits_next(s.written, 0, 4096), 4096);
    /* then exactly what the guest's own steps wrote, and what they punched shows as unmapped */
    steps = fake_guest_steps(g);
    assert_int_equal(port.ops->resume(port.impl, NULL), 0);
    fake_guest_wait_steps(g, steps + 200);
    assert_int_equal(port.ops->pause(port.impl, NULL), 0);
    assert_int_equal(present_init(&p, &g->regions[0], NULL), 0);
    s = scan(t, false);
    for (uint64_t i = 0; i < 4096; i++)
        expected += bits_test(s.written, i);
    assert_in_range(expected, 50, 1000);
    assert_int_equal(bits_next(s.written, 1000, 4096), 4096);
    assert_int_equal(present_bits(&p, 0, 2u << 20, bits, NULL), 0);
    for (uint64_t i = 0; i < 512; i++) {
        if (bits_test(s.written, i) && !bits_test(s.unmapped, i))
            assert_true(bits_test(bits, i));
    }
    scan(t, true);
    s = scan(t, false);
    assert_int_equal(bits_next(s.written, 0, 4096), 4096);
    present_done(&p);
    assert_int_equal(track_free(t, NULL), 0);
    assert_int_equal(fake_guest_uffds_open(g), 0);
    fake_guest_free(g);
}

static void
test_present(void **state)
{
    struct fake_config c = {{8u << 20}, .seed = 3, .fill_pages = 700};
    struct fake_guest *g = fake_guest_new(&c, false);
    int fd = g->regions[0].memfd;
    struct present p;
    uint64_t bits[8], at;

    (void)state;
    assert_int_equal(present_init(&p, &g->regions[0], NULL), 0);
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10 * 4096, 3 * 4096),
                     0);
    assert_int_equal(pwrite(fd, "x", 1, 1500 * 4096 + 7), 1);
    assert_int_equal(present_bits(&p, 0, 2u << 20, bits, NULL), 0);
    for (uint64_t i = 0; i < 512; i++)
        assert_int_equal(bits_test(bits, i), i < 10 || i >= 13);
    assert_int_equal(present_bits(&p, 2u << 20, 2u << 20, bits, NULL), 0);
    for (uint64_t i = 0; i < 512; i++)
        assert_int_equal(bits_test(bits, i), i < 188);
    assert_int_equal(present_next(&p, 10 * 4096, &at, NULL), 0);
    assert_int_equal(at, 13 * 4096);
    assert_int_equal(present_next(&p, 700 * 4096, &at, NULL), 0);
    assert_int_equal(at, 1500 * 4096);
    assert_int_equal(present_next(&p, 1501 * 4096, &at, NULL), 0);
    assert_int_equal(at, 8u << 20); /* none */
    assert_int_equal(present_extent(&p, 13 * 4096, 512), 512);
    assert_int_equal(present_extent(&p, 690 * 4096, 512), 10);
    /* looking has allocated nothing */
    assert_int_equal(fake_guest_allocated_pages(g), 700 - 3 + 1);
    present_done(&p);
    fake_guest_free(g);
}

static void
test_causes_have_words(void **state)
{
    (void)state;
    for (int c = MIG_CAUSE_NONE; c <= MIG_CAUSE_LOCAL; c++)
        assert_true(strlen(mig_cause_text((enum mig_cause)c)) >= 10);
    assert_non_null(mig_cause_text((enum mig_cause)99));
}

int
main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tracker), cmocka_unit_test(test_present),
        cmocka_unit_test(test_bits),    cmocka_unit_test(test_zero_page),
        cmocka_unit_test(test_stall),   cmocka_unit_test(test_causes_have_words),
    };

    pair_skip_unless_supported(tests, 1);
    return cmocka_run_group_tests_name("pieces", tests, NULL, NULL);
}
