/* drover-bench's command line: what it takes, and the one line for what it does not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "bench/bench_args.h"

#define MAX_ARGS 16

static int
parse(const char *line, struct bench_args **ret, struct err *err)
{
    static char buf[256]; /* argv is borrowed until the next */
    static char *argv[MAX_ARGS + 1];
    int argc = 1;

    argv[0] = buf + sizeof buf - 1;
    snprintf(buf, sizeof buf, "%s", line);
    for (char *p = strtok(buf, " "); p && argc < MAX_ARGS; p = strtok(NULL, " "))
        argv[argc++] = p;
    return bench_args_parse(argc, argv, ret, err);
}

static void
test_rows(void **state)
{
    static const struct {
        const char *line;
        unsigned rows;
    } cases[] = {
        {"", ~0u},
        {"all", ~0u},
        {"raw", BENCH_ROW_RAW},
        {"qemu --quick", BENCH_ROW_QEMU},
        {"--quick sparse raw cpu", BENCH_ROW_SPARSE | BENCH_ROW_RAW | BENCH_ROW_CPU},
        {"downtime all", ~0u},
        {"sched replay", BENCH_ROW_SCHED | BENCH_ROW_REPLAY},
        {"rdma --rdma-ip 10.9.0.1", BENCH_ROW_RDMA},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bench_args *a = NULL;
        struct err err = {0};

        if (parse(cases[i].line, &a, &err) != 0)
            fail_msg("%s: %s", cases[i].line, err_msg(&err));
        assert_int_equal(a->o.rows, cases[i].rows);
        bench_args_free(a);
    }
}

static void
test_options(void **state)
{
    struct bench_args *a = NULL;

    (void)state;
    assert_int_equal(
        parse("raw --memory 1Gi --runs 9 --channels=4 -o svg --qemu /a --qemu /b", &a, NULL), 0);
    assert_int_equal(a->o.memory_bytes, 1u << 30);
    assert_int_equal(a->o.runs, 9);
    assert_int_equal(a->o.channels, 4);
    assert_int_equal(a->format, BENCH_SVG);
    assert_int_equal(a->o.qemu_len, 2);
    assert_string_equal(a->o.qemu[1], "/b");
    assert_false(a->o.quick);
    assert_int_equal(a->o.nodes, 0);
    assert_string_equal(a->o.data, "../shared/data");
    assert_null(a->o.rdma_ip);
    bench_args_free(a);
    assert_int_equal(parse("rdma sched --nodes 100 --data /d --rdma-ip 10.9.0.1", &a, NULL), 0);
    assert_int_equal(a->o.nodes, 100);
    assert_string_equal(a->o.rdma_ip, "10.9.0.1");
    assert_string_equal(a->o.data, "/d");
    bench_args_free(a);
    assert_int_equal(parse("--help", &a, NULL), 0);
    assert_true(a->help);
    bench_args_free(a);
}

/* Only what starts guests needs root and the kernel's help. */
static void
test_house(void **state)
{
    static const struct {
        const char *line;
        bool want;
    } cases[] = {{"", true},     {"raw", true},    {"sched raw", true},
                 {"rdma", true}, {"sched", false}, {"replay sched", false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bench_args *a = NULL;

        assert_int_equal(parse(cases[i].line, &a, NULL), 0);
        assert_int_equal(bench_args_need_house(a), cases[i].want);
        bench_args_free(a);
    }
}

static void
test_errors(void **state)
{
    static const struct {
        const char *line, *want; /* of the message */
    } cases[] = {
        {"engine", "'engine' is no row: want all, raw"},
        {"raw rwa", "'rwa' is no row"},
        {"--memory", "memory"},
        {"--memory 10", "memory"},
        {"--memory 20000001", "want a multiple of 4096"},
        {"--memory lots", "memory"},
        {"--runs 0", "runs"},
        {"--runs 1000", "runs"},
        {"--runs x", "runs"},
        {"--channels 65", "channels"},
        {"-o yaml", "table"},
        {"--nodes 0", "nodes"},
        {"--nodes 1000001", "nodes"},
        {"--what", "what"},
        {"--save /proc/none", "/proc/none"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bench_args *a = NULL;
        struct err err = {0};

        if (parse(cases[i].line, &a, &err) == 0)
            fail_msg("'%s' was taken", cases[i].line);
        if (!strstr(err_msg(&err), cases[i].want))
            fail_msg("'%s': %s", cases[i].line, err_msg(&err));
        assert_null(strchr(err_msg(&err), '\n'));
        assert_null(a);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_options),
                                       cmocka_unit_test(test_house), cmocka_unit_test(test_errors)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
