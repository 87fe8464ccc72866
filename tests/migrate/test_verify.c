/* Full verification at the switchover: nothing is found where nothing is wrong, what differs is
 * repaired, and what cannot be repaired stays at the source. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "migrate/digest.h"
#include "tests/migrate/pair.h"

#define MIB (1ull << 20)

static struct {
    struct fake_guest *dst;
    const struct guest_ops *real;
    char said[8][MIG_DECISION_TEXT];
    unsigned said_len;
} t;

static void
on_decided(struct pair *p, const struct mig_decision *d)
{
    (void)p;
    if (strncmp(d->text, "verified", 8) == 0 && t.said_len < 8)
        snprintf(t.said[t.said_len++], MIG_DECISION_TEXT, "%s", d->text);
}

/* The guest is paused, most of its memory is at the target: there a program runs wild. */
static int
pause_and_spoil(void *impl, struct err *err)
{
    uint8_t *map = t.dst->regions[0].map;

    memset(map + 100 * FAKE_PAGE + 17, 0x5a, 3);      /* a page that came */
    memset(map + 7000 * FAKE_PAGE, 1, 2 * FAKE_PAGE); /* two that the source never touched */
    memset(map + 3000 * FAKE_PAGE, 0, FAKE_PAGE);     /* one is lost */
    return t.real->pause(impl, err);
}

static void
run(const struct fake_config *c, bool spoil, enum mig_encoding encoding, unsigned channels,
    struct pair *p, uint64_t *ret_wrong)
{
    struct fake_guest *a = fake_guest_new(c, false), *b = fake_guest_new(c, true);
    struct guest_ops ops;

    memset(&t, 0, sizeof t);
    t.dst = b;
    pair_init(p, a, b);
    t.real = p->src.guest.ops;
    ops = *t.real;
    if (spoil)
        ops.pause = pause_and_spoil;
    p->src.guest.ops = &ops;
    p->src.channels = channels;
    p->src.policy.verify_full = true;
    p->src.policy.encoding = encoding;
    p->on_decided = on_decided;
    pair_run(p);
    if (p->src_outcome == MIG_MOVED)
        assert_false(fake_guest_running(a));
    else
        assert_true(fake_guest_running(a));
    *ret_wrong = fake_guest_wrong_pages(p->src_outcome == MIG_MOVED ? b : a);
    pair_done(p);
    fake_guest_free(a);
    fake_guest_free(b);
}

static void
test_nothing_wrong(void **state)
{
    static const struct fake_config rows[] = {
        {{64 * MIB}, .seed = 1, .fill_pages = 6000, .zero_pages = 500},
        {{7 * MIB + 4096, 5 * MIB},
         .seed = 2,
         .fill_pages = 2000,
         .set_pages = 2000,
         .pages_per_s = 20000,
         .zero_percent = 20,
         .punch_percent = 20},
        {{64 * MIB}, .seed = 3}, /* never touched */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair p;
        uint64_t wrong;

        run(&rows[i], false, MIG_ENC_AUTO, 3, &p, &wrong);
        assert_int_equal(p.src_outcome, MIG_MOVED);
        assert_int_equal(wrong, 0);
        assert_int_equal(t.said_len, 1);
        assert_non_null(strstr(t.said[0], " 0 stripes differ"));
    }
}

static void
test_differences_are_repaired(void **state)
{
    static const enum mig_encoding encodings[] = {MIG_ENC_RAW, MIG_ENC_LZ4, MIG_ENC_DELTA};
    const struct fake_config c = {{64 * MIB}, .seed = 4, .fill_pages = 6000, .content = FAKE_TEXT};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(encodings); i++) {
        struct pair p;
        uint64_t wrong;

        run(&c, true, encodings[i], 2, &p, &wrong);
        if (p.src_outcome != MIG_MOVED)
            print_error("%s\n", err_msg(&p.src_err));
        assert_int_equal(p.src_outcome, MIG_MOVED);
        assert_int_equal(wrong, 0);
        assert_int_equal(t.said_len, 2);
        assert_non_null(strstr(t.said[0], " 3 stripes differ"));
        assert_non_null(strstr(t.said[1], " 0 stripes differ"));
        assert_int_equal(p.src_stats.again_pages, 3 * 512);
    }
}

static void
test_what_cannot_be_repaired(void **state)
{
    const struct fake_config c = {{2 * MIB}, .seed = 5, .fill_pages = 300};
    struct pair p;
    uint64_t wrong;

    (void)state;
    assert_int_equal(fault_arm("dst.digest@1+:error", NULL), 0);
    run(&c, false, MIG_ENC_AUTO, 1, &p, &wrong);
    fault_clear();
    assert_int_equal(p.src_outcome, MIG_FAILED);
    assert_int_equal(p.cause, MIG_CAUSE_PEER);
    assert_non_null(strstr(err_msg(&p.src_err), "still differ"));
    assert_int_equal(wrong, 0);
}

/* What it costs: the figure of docs/encodings.md. */
static void
test_cost(void **state)
{
    const struct fake_config c = {{512 * MIB}, .seed = 7, .fill_pages = 512 * 256};
    struct pair p;
    uint64_t wrong;

    (void)state;
    run(&c, false, MIG_ENC_RAW, 2, &p, &wrong);
    assert_int_equal(p.src_outcome, MIG_MOVED);
    print_message("# 512 MiB: %s; downtime %.1f ms\n", t.said[0],
                  (double)p.src_stats.downtime_us / 1e3);
}

/* What a digest sees, and what not. */
static void
test_digest(void **state)
{
    const struct fake_config c = {{4 * MIB}, .seed = 6, .fill_pages = 20};
    struct fake_guest *a = fake_guest_new(&c, false), *b = fake_guest_new(&c, false);
    struct present pa, pb;
    uint64_t x, y;

    (void)state;
    assert_int_equal(present_init(&pa, &a->regions[0], NULL), 0);
    assert_int_equal(present_init(&pb, &b->regions[0], NULL), 0);
    assert_int_equal(digest_stripe(&pa, 2 * MIB, 2 * MIB, &x, NULL), 0);
    assert_int_equal(x, 0); /* nothing is there */
    assert_int_equal(digest_stripe(&pa, 0, 2 * MIB, &x, NULL), 0);
    assert_int_equal(digest_stripe(&pb, 0, 2 * MIB, &y, NULL), 0);
    assert_true(x != 0 && x == y);
    memset(b->regions[0].map + 300 * FAKE_PAGE, 0, FAKE_PAGE); /* allocated, but zeros */
    assert_int_equal(digest_stripe(&pb, 0, 2 * MIB, &y, NULL), 0);
    assert_int_equal(x, y);
    b->regions[0].map[19 * FAKE_PAGE + 4095] ^= 1;
    assert_int_equal(digest_stripe(&pb, 0, 2 * MIB, &y, NULL), 0);
    assert_int_not_equal(x, y);
    b->regions[0].map[19 * FAKE_PAGE + 4095] ^= 1;
    memcpy(b->regions[0].map + 20 * FAKE_PAGE, b->regions[0].map + 19 * FAKE_PAGE, FAKE_PAGE);
    memset(b->regions[0].map + 19 * FAKE_PAGE, 0, FAKE_PAGE); /* the same page elsewhere */
    assert_int_equal(digest_stripe(&pb, 0, 2 * MIB, &y, NULL), 0);
    assert_int_not_equal(x, y);
    present_done(&pa);
    present_done(&pb);
    fake_guest_free(a);
    fake_guest_free(b);
}

int
main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_wrong),
        cmocka_unit_test(test_differences_are_repaired),
        cmocka_unit_test(test_what_cannot_be_repaired),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_cost),
    };

    pair_skip_unless_supported(tests, ARRAY_LEN(tests));
    return _cmocka_run_group_tests("verify", tests, ARRAY_LEN(tests), NULL, NULL) +
           pair_run_rdma("verify", tests, 3);
}
