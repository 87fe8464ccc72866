/* Traces of dirty pages: what is refused, what a replay counts, that a replay through the
 * controller is the same every time and the same as ever (tests/golden), and what is recorded of
 * a process that writes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sb.h"
#include "migrate/simulate.h"
#include "migrate/trace.h"
#include "migrate/trace_record.h"
#include "tests/migrate/pair.h"

#define MIB  (1ull << 20)
#define HEAD "drover-trace 1\nmemory 40960\npresent 8192\n" /* ten pages */

static void
test_refused(void **state)
{
    static const struct {
        const char *name, *text, *says;
    } rows[] = {
        {"nothing", "", "line 0: ends without \"end\""},
        {"another file", "GIF89a", "line 1: want \"drover-trace 1\""},
        {"a later version", "drover-trace 2\n", "line 1: unknown version"},
        {"no memory", "drover-trace 1\nat 5\n", "line 2: want \"memory BYTES\""},
        {"half a page", "drover-trace 1\nmemory 40961\n", "whole pages"},
        {"no page", "drover-trace 1\nmemory 0\n", "whole pages"},
        {"too much memory", "drover-trace 1\nmemory 99999999999999999999\n", "line 2"},
        {"more present than there is", "drover-trace 1\nmemory 4096\npresent 8192\n",
         "line 3: more"},
        {"cut off", HEAD "at 100\n0 1\n", "ends without \"end\""},
        {"no interval", HEAD "end 0\n", "at least 1"},
        {"wrong count", HEAD "at 100\nend 2\n", "number of intervals"},
        {"more behind the end", HEAD "at 100\nend 1\n0 1\n", "nothing may follow"},
        {"a range before any interval", HEAD "0 1\n", "after an \"at\""},
        {"time stands", HEAD "at 100\nat 100\nend 2\n", "time goes backwards"},
        {"time 0", HEAD "at 0\nend 1\n", "time goes backwards"},
        {"more than a day", HEAD "at 99999999999999\nend 1\n", "within a day"},
        {"a page beyond memory", HEAD "at 100\n10 1\nend 1\n", "inside the memory"},
        {"pages beyond memory", HEAD "at 100\n9 2\nend 1\n", "inside the memory"},
        {"a count that wraps", HEAD "at 100\n9 18446744073709551615\nend 1\n", "inside the memory"},
        {"no pages", HEAD "at 100\n3 0\nend 1\n", "inside the memory"},
        {"twice", HEAD "at 100\n3 2\n4 1\nend 1\n", "in order and apart"},
        {"negative", HEAD "at 100\n-3 2\nend 1\n", "inside the memory"},
        {"hexadecimal", HEAD "at 100\n0x3 2\nend 1\n", "inside the memory"},
        {"more on the line", HEAD "at 100\n3 2 1\nend 1\n", "inside the memory"},
        {"a long line",
         HEAD "at 100                                                                        1\n",
         "is no line"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct trace *t = NULL;
        struct err err = {0};

        if (trace_parse(rows[i].text, strlen(rows[i].text), &t, &err) != -EINVAL || t ||
            !strstr(err_msg(&err), rows[i].says))
            fail_msg("%s: %s", rows[i].name, err_msg(&err));
    }

    struct err err = {0};
    struct trace *t = NULL;

    assert_int_equal(trace_parse(HEAD "at 1\0"
                                      "00\nend 1\n",
                                 sizeof HEAD + 16, &t, &err),
                     -EINVAL);
    assert_true(trace_load("/nonexistent/x", &t, &err) == -ENOENT);
    assert_true(trace_load("/dev/zero", &t, &err) == -EINVAL);
}

/* Two intervals of 100 us: pages 0-3 and 9, then 2-5. */
static void
test_after(void **state)
{
    static const char text[] = HEAD "at 100\n0 4\n9 1\nat 200\n2 4\nend 2\n";
    struct trace *t;
    uint64_t a, b;

    (void)state;
    assert_int_equal(trace_parse(text, sizeof text - 1, &t, NULL), 0);
    assert_int_equal(trace_after(t, 0, 100, false), 5 * 4096);
    assert_int_equal(trace_after(t, 100, 100, false), 4 * 4096);
    assert_int_equal(trace_after(t, 0, 200, false), 7 * 4096);
    assert_int_equal(trace_after(t, 150, 1, false) / 4096 / 2, 0); /* hardly any time */
    assert_int_equal(trace_after(t, 0, 0, false), 0);
    assert_int_equal(trace_after(t, 200, 100, false), 5 * 4096); /* it begins anew */
    assert_int_equal(trace_after(t, 12345678900, 100000000, false), 7 * 4096);
    /* sent meanwhile: what was written before its page was sent does not count */
    a = trace_after(t, 0, 200, true);
    b = trace_after(t, 0, 200, false);
    assert_true(a < b && a > 0);
    trace_free(t);
}

static char *
replay(struct trace *t, uint64_t bandwidth)
{
    struct simulate_config c = {.memory_bytes = t->memory_bytes,
                                .present_bytes = t->present_bytes,
                                .bandwidth_bytes_per_s = bandwidth,
                                .policy.allow_auto_converge = true,
                                .trace = t};
    struct simulate_result r;
    struct sb out = SB_INIT;

    assert_int_equal(simulate_run(&c, &r, NULL), 0);
    sb_printf(&out, "%llu bytes/s: %s\n", (unsigned long long)bandwidth, r.start);
    for (uint32_t i = 0; i < r.rounds_len; i++)
        sb_printf(&out, "%llu left after %llu us: %s: %s\n",
                  (unsigned long long)r.rounds[i].dirty_bytes, (unsigned long long)r.rounds[i].us,
                  converge_decision_name(r.rounds[i].decision), r.rounds[i].why);
    sb_printf(&out, "%s after %llu us, downtime %llu us\n", r.succeeded ? "succeeded" : "aborted",
              (unsigned long long)r.total_us, (unsigned long long)r.downtime_us);
    simulate_result_done(&r);
    return out.buf;
}

static void
test_replay_is_golden(void **state)
{
    static const uint64_t links[] = {1000000000, 100000000, 20000000, 5000000};
    AUTO_SB struct sb got = SB_INIT;
    FILE *f;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(links); i++) {
        AUTO_FREE char *first = NULL, *again = NULL;
        struct trace *t;
        struct err err = {0};

        for (int k = 0; k < 2; k++) {
            if (trace_load("tests/golden/hot.trace", &t, &err) != 0)
                fail_msg("%s", err_msg(&err));
            *(k ? &again : &first) = replay(t, links[i]);
            trace_free(t);
        }
        assert_string_equal(first, again);
        sb_puts(&got, first);
    }
    if (getenv("GOLDEN_WRITE")) {
        f = fopen("tests/golden/hot.decisions", "we");
        assert_non_null(f);
        fputs(sb_str(&got), f);
        fclose(f);
    }

    static char want[1 << 17];
    size_t n;

    f = fopen("tests/golden/hot.decisions", "re");
    assert_non_null(f);
    n = fread(want, 1, sizeof want - 1, f);
    want[n] = '\0';
    fclose(f);
    assert_string_equal(sb_str(&got), want);
}

/* --- recording --- */

static void
test_record(void **state)
{
    struct fake_config c = {{32 * MIB, 8 * MIB}, .seed = 5,         .fill_pages = 2000,
                            .zero_pages = 100,   .set_pages = 1000, .pages_per_s = 20000};
    struct fake_guest *g = fake_guest_new(&c, false);
    struct guest port = fake_guest_port(g);
    char dir[] = "/tmp/drover-test-XXXXXX";
    AUTO_FREE char *path = NULL;
    struct trace_recorded got;
    atomic_bool stop = false;
    struct err err = {0};
    struct trace *t;
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(dir));
    path = xasprintf("%s/t", dir);
    fake_guest_wait_steps(g, 100);
    if (trace_record(&port, 600000, path, &stop, &got, &err) != 0)
        fail_msg("%s", err_msg(&err));
    assert_int_equal(trace_load(path, &t, &err), 0);
    assert_int_equal(t->memory_bytes, 40 * MIB);
    assert_int_equal(t->present_bytes, 2100 * 4096);
    assert_in_range(t->intervals_len, 10, 31);
    assert_in_range(got.us, 590000, 5000000);
    for (uint32_t i = 0; i < t->ranges_len; i++) /* its set, and nothing else */
        assert_true(t->ranges[i].page + t->ranges[i].pages <= 1000);
    /* 12000 steps over 1000 pages: all of them, but for a few */
    assert_in_range(got.written_bytes, 900 * 4096, 1000 * 4096);
    assert_in_range(got.set_bytes, 700 * 4096, 1400 * 4096);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* over, it leaves nothing in the guest, which can be recorded again, and goes on */
    assert_int_equal(fake_guest_uffds_open(g), 0);
    stop = true;
    assert_int_equal(trace_record(&port, 100000, path, &stop, &got, &err), -ECANCELED);
    stop = false;
    assert_int_equal(trace_record(&port, 100000, path, &stop, &got, &err), 0);
    assert_int_equal(trace_record(&port, 1, path, &stop, &got, &err), -EINVAL);
    assert_int_equal(trace_record(&port, 100000, "/nonexistent/t", &stop, &got, &err), -ENOENT);
    assert_int_equal(fake_guest_wrong_pages(g), 0);
    trace_free(t);
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* no part file was left */
    fake_guest_free(g);
}

int
main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_after),
        cmocka_unit_test(test_replay_is_golden),
    };

    pair_skip_unless_supported(tests, 1);
    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
