/* What row rdma reads out of perftest's words, and which device it takes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "bench/bench_rdma.h"

static void
test_parse(void **state)
{
    static const struct {
        const char *text;
        double want; /* 0 = none */
    } cases[] = {
        {" #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]\n"
         " 65536      1024             1.28               1.20   \t\t   0.002282\n"
         "--------------------------\n",
         0.15},
        {" 65536 1024 93.1 92.8 0.177", 11.6},
        {" GID: 00:00:00:00:00:00:00:00:00:00:255:255:10:09:00:01\n", 0},
        {" 65536 1024 0.00 0.00 0.000000\n", 0}, /* what it says when it measured nothing */
        {" 65536 1024 1.28\n", 0},
        {"Unexpected CM event bl blka 8\n Unable to perform rdma_client function\n", 0},
        {"", 0},
        {"\n\n", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double got = 0;

        assert_int_equal(bench_rdma_parse(cases[i].text, &got), cases[i].want > 0);
        assert_true(got > cases[i].want - 1e-9 && got < cases[i].want + 1e-9);
    }
}

/* What is no address of this machine has no device, with one or without. */
static void
test_find(void **state)
{
    static const char *const wrong[] = {"203.0.113.7", "nonsense"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct bench_rdma d = {.soft = true};
        struct err err = {0};

        assert_true(bench_rdma_find(wrong[i], &d, &err) < 0);
        assert_true(err_msg(&err)[0] != '\0');
        assert_true(d.soft); /* untouched */
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_find)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
