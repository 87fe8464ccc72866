/* A migration's limit and the kernel's limit of the interface, together: whichever binds, both are
 * kept within 3 % in every window of a second, each by its own count. The migration's counts what goes
 * into its connections; the interface's counts Ethernet frames, so headers, acknowledgements and what
 * is sent twice, too (nl_shape.h). Segmentation is done by TCP here (no offload), so that what the
 * interface counts is what would be on the wire. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>

#include "base/clock.h"
#include "netpolicy/nl_link.h"
#include "netpolicy/nl_shape.h"
#include "tests/migrate/hosts.h"
#include "tests/migrate/meter.h"
#include "tests/migrate/pair.h"

#define MIB         (UINT64_C(1) << 20)
#define SAMPLES_MAX 4000
#define RUN_US      2500000
#define SETTLE_US   500000 /* until TCP has found the rate */
#define LATE_US     1000   /* a sample that took longer says nothing */

/* Of 1514 bytes of a frame: headers of Ethernet, IPv4 and TCP with timestamps. */
#define FRAME_BYTES   1514
#define SEGMENT_BYTES 1448

static const struct row {
    const char *name;
    unsigned migrations;
    uint64_t limit, interface; /* bytes a second; limit 0 = none */
    bool interface_binds;
} rows[] = {
    {"the migration's limit is the lower one", 1, 16 * MIB, 32 * MIB, false},
    {"the interface's limit is the lower one", 1, 64 * MIB, 32 * MIB, true},
    {"no limit but the interface's", 1, 0, 32 * MIB, true},
    {"equal numbers: frames are more than what is in them", 1, 32 * MIB, 32 * MIB, true},
    {"two migrations, the sum of their limits above the interface's", 2, 24 * MIB, 32 * MIB, true},
    {"two migrations, the sum of their limits below the interface's", 2, 12 * MIB, 32 * MIB, false},
};

struct track {
    struct meter_sample s[SAMPLES_MAX];
    size_t n;
};

static void
put(struct track *t, uint64_t before, uint64_t bytes)
{
    uint64_t now = clock_mono_us();

    if (now - before < LATE_US && t->n < SAMPLES_MAX)
        t->s[t->n++] = (struct meter_sample){now, bytes};
}

static void
bind_both(struct both *t)
{
    hosts_ip(1, false, 0, t->p.src.local_ip);
    hosts_ip(1, false, 1, t->p.dst.listen_ip);
    snprintf(t->p.src.bind_device, sizeof t->p.src.bind_device, "m0");
    snprintf(t->p.dst.bind_device, sizeof t->p.dst.bind_device, "m0");
}

static void
start(const struct hosts *h, struct both *t, const struct row *r, uint64_t seed)
{
    const struct fake_config c = {{160 * MIB}, .seed = seed, .fill_pages = 160 * MIB / FAKE_PAGE};

    both_begin(t, &c);
    bind_both(t);
    t->p.src.limits.bandwidth_bytes_per_s = r->limit;
    t->p.src.policy.encoding = MIG_ENC_RAW;
    hosts_enter(h, 1);
    pair_listen(&t->p);
    hosts_enter(h, 0);
    pair_dial(&t->p, NULL);
}

static void
test_limits(void **state)
{
    const struct row *r = *state;
    const struct net_shape shape = {.rate_bytes_per_s = r->interface};
    AUTO_FREE struct track *wire = xcalloc(1, sizeof *wire);
    AUTO_FREE struct track *out = xcalloc(2, sizeof *out);
    uint64_t began, most, least, payload, frames, bytes = 0;
    struct nl_counters n, first;
    struct nl_shape_counters shaped = {0};
    struct both t[2];
    struct hosts h;
    struct err err = {0};
    bool quiet;

    hosts_make(&h);
    hosts_cable(&h, "m0", 1, false, 1500);
    for (int i = 0; i < 2; i++)
        hosts_offload(&h, i, "m0", false);
    hosts_enter(&h, 0);
    if (nl_shape_set("m0", &shape, &err) != 0)
        fail_msg("%s", err_msg(&err));
    for (unsigned i = 0; i < r->migrations; i++)
        start(&h, &t[i], r, 81 + i);
    while (both_received(&t[r->migrations - 1]) < MIB)
        poll(NULL, 0, 1);
    poll(NULL, 0, SETTLE_US / 1000);
    meter_begin();
    began = clock_mono_us();
    assert_int_equal(nl_link_counters("m0", &first, &err), 0);
    for (unsigned i = 0; i < r->migrations; i++)
        bytes -= both_received(&t[i]);
    while (clock_mono_us() - began < RUN_US) {
        uint64_t before = clock_mono_us();

        assert_int_equal(nl_link_counters("m0", &n, &err), 0);
        put(wire, before, n.tx_bytes);
        for (unsigned i = 0; i < r->migrations; i++) {
            before = clock_mono_us();
            put(&out[i], before, both_sent(&t[i]));
        }
        poll(NULL, 0, 1);
    }
    quiet = meter_was_quiet();
    for (unsigned i = 0; i < r->migrations; i++)
        bytes += both_received(&t[i]);
    assert_int_equal(nl_link_counters("m0", &n, &err), 0);
    assert_int_equal(nl_shape_counters("m0", &shaped, &err), 0);
    for (unsigned i = 0; i < r->migrations; i++)
        mig_source_cancel(t[i].p.source);

    frames = n.tx_bytes - first.tx_bytes;
    payload = bytes * FRAME_BYTES / SEGMENT_BYTES;
    meter_windows(wire->s, wire->n, r->interface, &most, &least);
    print_message(
        "# wire: %.1f to %.1f %% of %llu MiB/s; frames are %.1f %% of what came out of the "
        "sockets, by reckoning %.1f %%; %llu dropped\n",
        (double)least / 10, (double)most / 10, (unsigned long long)(r->interface / MIB),
        (double)frames * 100 / (double)bytes, (double)payload * 100 / (double)bytes,
        (unsigned long long)shaped.dropped);
    assert_true(most <= 1030);
    assert_true(!r->interface_binds || least >= 970 || !quiet);
    assert_true(frames > bytes && frames < bytes * 110 / 100);
    for (unsigned i = 0; i < r->migrations; i++) {
        if (!r->limit)
            continue;
        meter_windows(out[i].s, out[i].n, r->limit, &most, &least);
        print_message("# migration %u: %.1f to %.1f %% of %llu MiB/s\n", i + 1, (double)least / 10,
                      (double)most / 10, (unsigned long long)(r->limit / MIB));
        assert_true(most <= 1030);
        assert_true(r->interface_binds || least >= 970 || !quiet);
    }
    for (unsigned i = 0; i < r->migrations; i++)
        both_end(&t[i]);
    hosts_free(&h);
}

/* --- urgent before bulk --- */

#define TOUCHES 100

static _Atomic bool runs_there;

static void
on_running(void *ctx)
{
    (void)ctx;
    runs_there = true;
}

/* How long the guest waits for a page while the push fills the interface's queue, in milliseconds. */
static double
wait_for_a_page(bool urgent)
{
    const struct fake_config c = {{64 * MIB}, .seed = 85, .fill_pages = 64 * MIB / FAKE_PAGE};
    const struct net_shape shape = {.rate_bytes_per_s = 16 * MIB};
    const struct net_shape none = {.rate_bytes_per_s = 0};
    uint64_t began, us;
    struct hosts h;
    struct both t;
    struct err err = {0};

    hosts_make(&h);
    hosts_cable(&h, "m0", 1, false, 1500);
    hosts_enter(&h, 0);
    assert_int_equal(nl_shape_set("m0", &shape, &err), 0);
    both_begin(&t, &c);
    bind_both(&t);
    t.p.src.policy.allow_post_copy = t.p.src.policy.post_copy_at_once = true;
    t.p.src.urgent_priority = urgent ? NL_SHAPE_URGENT : 0;
    t.p.dst.running = on_running;
    runs_there = false;
    hosts_enter(&h, 1);
    pair_listen(&t.p);
    hosts_enter(&h, 0);
    pair_dial(&t.p, NULL);
    while (!runs_there)
        poll(NULL, 0, 1);
    began = clock_mono_us();
    for (uint64_t i = 0; i < TOUCHES; i++)
        assert_true(fake_guest_touch(t.b, 8192 + i * 2654435761u % 8192));
    us = clock_mono_us() - began;
    assert_int_equal(nl_shape_set("m0", &none, &err), 0);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_MOVED);
    assert_int_equal(fake_guest_wrong_pages(t.b), 0);
    both_end(&t);
    hosts_free(&h);
    return (double)us / TOUCHES / 1000;
}

static void
test_urgent_goes_first(void **state)
{
    double plain = wait_for_a_page(false), urgent = wait_for_a_page(true);

    (void)state;
    print_message("# a page in post-copy, the interface held to 16 MiB/s and full: %.2f ms; in the "
                  "urgent class %.2f ms\n",
                  plain, urgent);
    assert_true(urgent * 2 < plain);
}

static const char *missing;

static void
skip_all(void **state)
{
    (void)state;
    print_message("# SKIP %s\n", missing);
    skip();
}

/* Whether this kernel has htb, which nl_shape_set needs. */
static bool
can_shape(void)
{
    const struct net_shape shape = {.rate_bytes_per_s = 32 * MIB};
    struct hosts h;
    struct err err = {0};
    int rc;

    hosts_make(&h);
    hosts_cable(&h, "m0", 1, false, 1500);
    hosts_enter(&h, 0);
    rc = nl_shape_set("m0", &shape, &err);
    hosts_free(&h);
    missing = "needs a kernel with htb (CONFIG_NET_SCH_HTB)";
    return rc == 0;
}

int
main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(rows) + 1] = {0};
    bool can = hosts_permitted(&missing) && can_shape();

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){.name = rows[i].name,
                                       .test_func = can ? test_limits : skip_all,
                                       .initial_state = (void *)(uintptr_t)&rows[i]};
    tests[ARRAY_LEN(rows)] =
        (struct CMUnitTest){.name = "urgent pages go before bulk",
                            .test_func = can ? test_urgent_goes_first : skip_all};
    if (can)
        pair_skip_unless_supported(tests, ARRAY_LEN(tests));
    return cmocka_run_group_tests_name("shaped", tests, NULL, NULL);
}
