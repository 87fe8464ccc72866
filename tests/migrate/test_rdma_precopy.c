/* Pre-copy over RDMA: pages that are written straight into the target's memory, and everything that
 * may happen to them on the way. Over the double, and over a real device where RDMA_TEST_IP names one;
 * what has to be injected is left out there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "tests/migrate/pair.h"
#include "tests/migrate/verbs_double.h"

#define MIB (1u << 20)

struct row {
    const char *name;
    struct fake_config cfg;
    unsigned channels;
    enum mig_encoding encoding;
    uint64_t window_bytes, limit;
    /* what is expected */
    unsigned placed_percent; /* of the pages with content, at least */
    uint64_t peak_max;       /* registered bytes; 0 = does not matter */
    uint64_t allocated_max;  /* pages at the target; 0 = likewise */
};

static const struct row rows[] = {
    {"idle, random memory",
     {{64 * MIB}, .seed = 1, .fill_pages = 16384},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .placed_percent = 50},
    {"one channel",
     {{32 * MIB}, .seed = 2, .fill_pages = 8192},
     .channels = 1,
     .encoding = MIG_ENC_RAW,
     .placed_percent = 30},
    {"more channels than stripes",
     {{4 * MIB}, .seed = 3, .fill_pages = 1024},
     .channels = 8,
     .encoding = MIG_ENC_RAW},
    {"automatic encodings",
     {{64 * MIB}, .seed = 4, .fill_pages = 16384},
     .channels = 2,
     .placed_percent = 30},
    {"never touched",
     {{256 * MIB}, .seed = 5},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .peak_max = 0,
     .allocated_max = 1},
    {"holes are neither registered nor allocated",
     {{256 * MIB}, .seed = 6, .fill_pages = 1000},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .peak_max = 4 * MIB,
     .allocated_max = 1024},
    {"a page here and there is not worth a window",
     {{64 * MIB}, .seed = 7, .fill_pages = 1000, .stride = 16},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .peak_max = 1,
     .allocated_max = 1000},
    {"zero pages do not stay",
     {{64 * MIB}, .seed = 8, .fill_pages = 100, .zero_pages = 8000},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .allocated_max = 100},
    {"odd size, two regions",
     {{3 * MIB + 4096, 5 * MIB + 12288}, .seed = 9, .fill_pages = 2000},
     .channels = 3,
     .encoding = MIG_ENC_RAW},
    {"a small budget: windows are given back",
     {{64 * MIB}, .seed = 10, .fill_pages = 16384},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .window_bytes = 8 * MIB,
     .placed_percent = 20,
     .peak_max = 8 * MIB},
    {"a budget of one window",
     {{32 * MIB}, .seed = 11, .fill_pages = 8192},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .window_bytes = 2 * MIB,
     .peak_max = 2 * MIB},
    {"a budget of less than a window",
     {{8 * MIB}, .seed = 12, .fill_pages = 2048},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .window_bytes = 4096,
     .peak_max = 1},
    {"writer, slow",
     {{64 * MIB}, .seed = 13, .fill_pages = 16384, .set_pages = 4096, .pages_per_s = 2000},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .placed_percent = 30},
    {"writer, fast, small set",
     {{32 * MIB}, .seed = 14, .fill_pages = 8192, .set_pages = 512},
     .channels = 2,
     .encoding = MIG_ENC_RAW},
    {"writer of zeros",
     {{32 * MIB},
      .seed = 15,
      .fill_pages = 8192,
      .set_pages = 8192,
      .pages_per_s = 4000,
      .zero_percent = 50},
     .channels = 2,
     .encoding = MIG_ENC_RAW},
    {"puncher of holes: memory that the guest gives back",
     {{32 * MIB},
      .seed = 16,
      .fill_pages = 8192,
      .set_pages = 8192,
      .pages_per_s = 4000,
      .punch_percent = 60},
     .channels = 2,
     .encoding = MIG_ENC_RAW},
    {"deltas on top of what was placed",
     {{32 * MIB},
      .seed = 17,
      .fill_pages = 8192,
      .set_pages = 4096,
      .pages_per_s = 6000,
      .content = FAKE_WORDS},
     .channels = 2,
     .encoding = MIG_ENC_DELTA,
     .placed_percent = 10},
    {"everything, four channels, automatic encodings, a small budget",
     {{24 * MIB, 8 * MIB},
      .seed = 18,
      .fill_pages = 4000,
      .zero_pages = 1000,
      .set_pages = 8000,
      .pages_per_s = 5000,
      .zero_percent = 20,
      .punch_percent = 20,
      .content = FAKE_WORDS},
     .channels = 4,
     .window_bytes = 8 * MIB,
     .peak_max = 8 * MIB},
};

/* Both ends at the address of the device. */
static void
begin(struct both *t, const struct fake_config *c)
{
    const char *ip = rdma_test_ip();

    if (!ip) {
        print_message("# SKIP no RDMA device: RDMA_TEST_IP names the address of one\n");
        skip();
    }
    both_begin(t, c);
    snprintf(t->p.src.local_ip, sizeof t->p.src.local_ip, "%s", ip);
    snprintf(t->p.dst.listen_ip, sizeof t->p.dst.listen_ip, "%s", ip);
    t->p.src.network_trusted = t->p.dst.network_trusted = true;
    t->p.src.policy.transport = MIG_TRANSPORT_RDMA;
    t->p.src.policy.encoding = MIG_ENC_RAW;
}

/* Nothing of the device's is alive, and nothing is registered. */
static void
end(struct both *t)
{
    both_end(t);
    assert_int_equal(t->p.src_stats.registered_bytes, 0);
    assert_int_equal(t->p.dst_stats.registered_bytes, 0);
    assert_false(verbs_reset());
}

/* It moved, over RDMA, and every byte is right there. */
static void
moved(struct both *t)
{
    struct pair *p = &t->p;

    if (p->src_outcome != MIG_MOVED)
        print_error("source: %s; target: %s\n", err_msg(&p->src_err), err_msg(&p->dst_err));
    assert_int_equal(p->src_outcome, MIG_MOVED);
    assert_int_equal(p->dst_outcome, MIG_TARGET_RUNNING);
    if (p->src_stats.transport != MIG_TRANSPORT_RDMA)
        print_error("not RDMA: %s\n", p->src_stats.transport_why);
    assert_int_equal(p->src_stats.transport, MIG_TRANSPORT_RDMA);
    assert_false(fake_guest_running(t->a));
    assert_true(fake_guest_running(t->b));
    if (t->b->cfg.set_pages)
        fake_guest_wait_steps(t->b, fake_guest_steps(t->b) + 50);
    assert_int_equal(fake_guest_wrong_pages(t->b), 0);
    assert_int_equal(p->src_stats.raw_pages, p->dst_stats.raw_pages);
    assert_int_equal(p->src_stats.zero_pages, p->dst_stats.zero_pages);
    assert_int_equal(p->src_stats.remaining_bytes, 0);
}

static void
test_moves(void **state)
{
    const struct row *r = *state;
    struct both t;
    struct pair *p = &t.p;

    begin(&t, &r->cfg);
    if (r->cfg.set_pages)
        fake_guest_wait_steps(t.a, 100);
    p->src.channels = r->channels;
    p->src.policy.encoding = r->encoding;
    p->dst.rdma_window_bytes = r->window_bytes;
    pair_run(p);
    print_message("# %s: %llu of %llu pages placed, at most %llu KiB registered\n", r->name,
                  (unsigned long long)p->src_stats.placed_pages,
                  (unsigned long long)p->src_stats.raw_pages,
                  (unsigned long long)p->dst_stats.registered_peak_bytes / 1024);
    if (r->allocated_max) /* before the comparison reads, and so allocates, all of it */
        assert_in_range(fake_guest_allocated_pages(t.b), 0, r->allocated_max);
    moved(&t);
    assert_int_equal(p->src_stats.placed_pages, p->dst_stats.placed_pages);
    assert_true(p->src_stats.placed_pages * 100 >= p->src_stats.raw_pages * r->placed_percent);
    assert_true(p->src_stats.sent_bytes >= p->src_stats.placed_pages * 4096);
    assert_true(p->dst_stats.sent_bytes >= p->dst_stats.placed_pages * 4096);
    if (r->peak_max)
        assert_true(p->dst_stats.registered_peak_bytes <= r->peak_max);
    if (p->src_stats.placed_pages)
        assert_true(p->dst_stats.registered_peak_bytes >= 2 * MIB);
    end(&t);
}

int
main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(rows)] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){.name = rows[i].name,
                                         .test_func = test_moves,
                                         .initial_state = (void *)(uintptr_t)&rows[i]};
    pair_skip_unless_supported(tests, n);
    return _cmocka_run_group_tests("rdma_precopy", tests, n, NULL, NULL);
}
