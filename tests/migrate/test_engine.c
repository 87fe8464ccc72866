/* Whole migrations of a process that writes, over loopback: outcomes, and every byte of memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "migrate/uffd_abi.h"
#include "tests/migrate/pair.h"

#define MIB (1u << 20)

struct row {
    const char *name;
    struct fake_config cfg;
    unsigned channels;
    uint64_t max_downtime_us;
    /* what is expected */
    uint64_t raw_min, raw_max; /* pages */
    uint64_t zero_min, absent_min;
    uint64_t allocated_max; /* pages at the target; 0 = does not matter */
};

static const struct row rows[] = {
    {"idle, random memory",
     {{64 * MIB}, .seed = 1, .fill_pages = 16384},
     2,
     0,
     16384,
     16384,
     0,
     0,
     0},
    {"one channel", {{16 * MIB}, .seed = 2, .fill_pages = 4096}, 1, 0, 4096, 4096, 0, 0, 0},
    {"more channels than stripes",
     {{4 * MIB}, .seed = 3, .fill_pages = 1024},
     8,
     0,
     1024,
     1024,
     0,
     0,
     0},
    {"never touched", {{256 * MIB}, .seed = 4}, 2, 0, 0, 0, 0, 65536, 0},
    {"holes are not sent and not allocated",
     {{64 * MIB}, .seed = 5, .fill_pages = 1000},
     2,
     0,
     1000,
     1000,
     0,
     15384,
     1024}, /* the last of them in a huge page */
    {"zero pages are runs",
     {{64 * MIB}, .seed = 6, .fill_pages = 100, .zero_pages = 8000},
     2,
     0,
     100,
     100,
     8000,
     8284,
     100},
    {"odd size, two regions",
     {{3 * MIB + 4096, 5 * MIB + 12288}, .seed = 7, .fill_pages = 2000},
     3,
     0,
     2000,
     2000,
     0,
     0,
     0},
    {"writer, slow",
     {{32 * MIB}, .seed = 8, .fill_pages = 8192, .set_pages = 4096, .pages_per_s = 2000},
     2,
     0,
     8192,
     60000,
     0,
     0,
     0},
    {"writer, fast, small set",
     {{32 * MIB}, .seed = 9, .fill_pages = 8192, .set_pages = 512},
     2,
     0,
     8192,
     400000,
     0,
     0,
     0},
    {"writer over two regions",
     {{3 * MIB + 4096, 5 * MIB},
      .seed = 10,
      .fill_pages = 2049,
      .set_pages = 2049,
      .pages_per_s = 4000},
     2,
     0,
     2049,
     400000,
     0,
     0,
     0},
    {"writer of zeros",
     {{32 * MIB},
      .seed = 11,
      .fill_pages = 8192,
      .set_pages = 8192,
      .pages_per_s = 4000,
      .zero_percent = 50},
     2,
     0,
     1,
     400000,
     1,
     0,
     0},
    {"puncher of holes",
     {{32 * MIB},
      .seed = 12,
      .fill_pages = 8192,
      .set_pages = 8192,
      .pages_per_s = 4000,
      .punch_percent = 60},
     2,
     0,
     1,
     400000,
     1,
     0,
     0},
    {"everything, four channels",
     {{24 * MIB, 8 * MIB},
      .seed = 13,
      .fill_pages = 4000,
      .zero_pages = 1000,
      .set_pages = 8000,
      .pages_per_s = 5000,
      .zero_percent = 20,
      .punch_percent = 20},
     4,
     0,
     1,
     400000,
     1,
     0,
     0},
    {"device state of many frames",
     {{8 * MIB}, .seed = 14, .fill_pages = 64, .state_bytes = 3 * MIB + 17},
     2,
     0,
     64,
     64,
     0,
     0,
     0},
};

static void
test_moves(void **state)
{
    const struct row *r = *state;
    struct fake_guest *a = fake_guest_new(&r->cfg, false), *b = fake_guest_new(&r->cfg, true);
    struct pair p;

    if (r->cfg.set_pages)
        fake_guest_wait_steps(a, 100);
    pair_init(&p, a, b);
    p.src.channels = r->channels;
    p.src.limits.max_downtime_us = r->max_downtime_us;
    pair_run(&p);
    if (p.src_outcome != MIG_MOVED)
        print_error("source: %s; target: %s\n", err_msg(&p.src_err), err_msg(&p.dst_err));
    assert_int_equal(p.src_outcome, MIG_MOVED);
    assert_int_equal(p.cause, MIG_CAUSE_NONE);
    assert_int_equal(p.dst_outcome, MIG_TARGET_RUNNING);
    assert_true(p.src_committed && p.dst_prepared && p.dst_committed && !p.dst_never);
    /* exactly one runs, and nothing of ours stays in the source's process */
    assert_false(fake_guest_running(a));
    assert_true(fake_guest_running(b));
    assert_int_equal(fake_guest_uffds_open(a), 0);
    if (r->allocated_max) /* before the comparison reads, and so allocates, all of it */
        assert_true(fake_guest_allocated_pages(b) <= r->allocated_max);
    if (r->cfg.set_pages) {
        uint64_t steps = fake_guest_steps(b);

        assert_true(steps >= fake_guest_steps(a));
        fake_guest_wait_steps(b, steps + 50);
    }
    assert_int_equal(fake_guest_wrong_pages(b), 0);
    assert_in_range(p.src_stats.raw_pages, r->raw_min, r->raw_max);
    assert_true(p.src_stats.zero_pages >= r->zero_min);
    assert_true(p.src_stats.absent_pages >= r->absent_min);
    /* both sides tell the same story */
    assert_int_equal(p.src_stats.raw_pages, p.dst_stats.raw_pages);
    assert_int_equal(p.src_stats.zero_pages, p.dst_stats.zero_pages);
    assert_int_equal(p.src_stats.round, p.dst_stats.round);
    assert_true(p.src_stats.round >= 2);
    assert_int_equal(p.src_stats.channels, r->channels);
    assert_int_equal(p.src_stats.remaining_bytes, 0);
    assert_true(p.src_stats.sent_bytes >= p.src_stats.enc_pages[MIG_ENC_RAW] * 4096);
    assert_true(p.src_stats.started_us > 0 && p.src_stats.paused_us >= p.src_stats.started_us &&
                p.src_stats.finished_us >= p.src_stats.paused_us);
    assert_true(p.src_stats.downtime_us > 0 &&
                p.src_stats.downtime_us <= p.src_stats.finished_us - p.src_stats.paused_us);
    assert_int_equal(p.src_stats.encrypted, pair_over_tls);
    assert_int_equal(p.dst_stats.encrypted, pair_over_tls);
    pair_done(&p);
    fake_guest_free(a);
    fake_guest_free(b);
}

/* There and back again: the second migration starts with a guest whose memory came through our
 * hands. */
static void
test_there_and_back(void **state)
{
    struct fake_config c = {{32 * MIB},         .seed = 21,          .fill_pages = 6000,
                            .set_pages = 3000,  .pages_per_s = 4000, .zero_percent = 10,
                            .punch_percent = 10};
    struct fake_guest *a = fake_guest_new(&c, false), *b = NULL;

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct pair p;

        b = fake_guest_new(&c, true);
        pair_init(&p, a, b);
        pair_run(&p);
        assert_int_equal(p.src_outcome, MIG_MOVED);
        pair_done(&p);
        fake_guest_free(a);
        a = b;
        fake_guest_wait_steps(a, fake_guest_steps(a) + 20);
    }
    assert_int_equal(fake_guest_wrong_pages(a), 0);
    fake_guest_free(a);
}

/* A handler that was killed left its userfaultfd in the guest: the next one cleans up and goes
 * on. */
static void
test_left_over_userfaultfd(void **state)
{
    struct fake_config c = {{8 * MIB}, .seed = 22, .fill_pages = 500};
    struct fake_guest *a = fake_guest_new(&c, false), *b = fake_guest_new(&c, true);
    struct guest g = fake_guest_port(a);
    struct uffdio_api api = {.api = UFFD_API,
                             .features = ABI_UFFD_FEATURE_WP_ASYNC |
                                         ABI_UFFD_FEATURE_WP_UNPOPULATED |
                                         ABI_UFFD_FEATURE_WP_HUGETLBFS_SHMEM};
    struct uffdio_register r = {.range = {.start = a->regions[0].hva, .len = a->regions[0].size},
                                .mode = UFFDIO_REGISTER_MODE_WP};
    struct pair p;
    int fd;

    (void)state;
    assert_int_equal(g.ops->userfaultfd(g.impl, &fd, NULL), 0);
    assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
    assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &r), 0);
    close(fd);
    assert_int_equal(fake_guest_uffds_open(a), 1);
    pair_init(&p, a, b);
    pair_run(&p);
    assert_int_equal(p.src_outcome, MIG_MOVED);
    assert_int_equal(fake_guest_uffds_open(a), 0);
    assert_int_equal(fake_guest_wrong_pages(b), 0);
    pair_done(&p);
    fake_guest_free(a);
    fake_guest_free(b);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_left_over_userfaultfd),
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
    return pair_run_both("engine", tests, n) + pair_run_rdma("engine", tests, n);
}
