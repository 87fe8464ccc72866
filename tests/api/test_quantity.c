/* api/quantity.h: what is a quantity, a duration, a time, and how they are shown. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "api/quantity.h"
#include "base/rng.h"
#include "tests/api/rows.h"

static const struct quantity_row {
    const char *name;
    int64_t units, milli;
    const char *error;
} quantity_rows[] = {
    {"0", 0, 0, NULL},
    {"64Mi", 67108864, 67108864000, NULL},
    {"217Ki", 222208, 222208000, NULL},
    {"2048Mi", 2147483648, 2147483648000, NULL},
    {"1.5Gi", 1610612736, 1610612736000, NULL},
    {"0.5", 1, 500, NULL},
    {".5", 1, 500, NULL},
    {"5.", 5, 5000, NULL},
    {"100m", 1, 100, NULL},
    {"1500m", 2, 1500, NULL},
    {"1u", 1, 1, NULL},
    {"1n", 1, 1, NULL},
    {"1k", 1000, 1000000, NULL},
    {"1e3", 1000, 1000000, NULL},
    {"1E3", 1000, 1000000, NULL},
    {"1e+3", 1000, 1000000, NULL},
    {"1e-3", 1, 1, NULL},
    {"1E", 1000000000000000000, INT64_MAX, NULL},
    {"+5", 5, 5000, NULL},
    {"-1500m", -2, -1500, NULL},
    {"-0", 0, 0, NULL},
    {"1.1", 2, 1100, NULL},
    {"1.0001", 2, 1001, NULL},
    {"0.00000000000000000000001", 1, 1, NULL},
    {"00000000000000000000000001", 1, 1000, NULL},
    {"5000000Gi", 5368709120000000, 5368709120000000000, NULL},
    {"9223372036854775807", INT64_MAX, INT64_MAX, NULL},
    {"7Ei", 8070450532247928832, INT64_MAX, NULL},
    {"0e1000", 0, 0, NULL},
    {"", 0, 0, "it is empty"},
    {"64 Mi", 0, 0, "it has a blank: want a quantity such as 64Mi"},
    {" 64Mi", 0, 0, "it has a blank"},
    {"64Mi ", 0, 0, "it has a blank"},
    {"64mi", 0, 0, "its suffix is unknown"},
    {"64MI", 0, 0, "its suffix is unknown"},
    {"64MB", 0, 0, "its suffix is unknown"},
    {"64MiB", 0, 0, "its suffix is unknown"},
    {"64K", 0, 0, "its suffix is unknown"},
    {"64ki", 0, 0, "its suffix is unknown"},
    {"64g", 0, 0, "its suffix is unknown"},
    {"64Mi/s", 0, 0, "its suffix is unknown"},
    {"1.2.3", 0, 0, "its suffix is unknown"},
    {"1e", 0, 0, "its suffix is unknown"},
    {"1e3.5", 0, 0, "its suffix is unknown"},
    {"1e3Mi", 0, 0, "its suffix is unknown"},
    {"0x10", 0, 0, "its suffix is unknown"},
    {"1,5", 0, 0, "its suffix is unknown"},
    {"1_000", 0, 0, "its suffix is unknown"},
    {"Mi", 0, 0, "does not begin with a number"},
    {"m", 0, 0, "does not begin with a number"},
    {"-", 0, 0, "does not begin with a number"},
    {".", 0, 0, "does not begin with a number"},
    {"--1", 0, 0, "does not begin with a number"},
    {"unlimited", 0, 0, "does not begin with a number"},
    {"9223372036854775808", 0, 0, "out of range"},
    {"-9223372036854775808", 0, 0, "out of range"},
    {"8Ei", 0, 0, "out of range"},
    {"10E", 0, 0, "out of range"},
    {"1e19", 0, 0, "out of range"},
    {"1e1000", 0, 0, "out of range"},
    {"1e99999999999999999999", 0, 0, "out of range"},
};

static void
test_quantity(void **state)
{
    const struct quantity_row *row = *state;
    struct quantity q = {.units = 77};
    struct err err = {0};
    int rc = quantity_parse(row->name, &q, &err);

    if (row->error) {
        assert_int_not_equal(rc, 0);
        assert_int_equal(q.units, 77);
        assert_non_null(strstr(err_msg(&err), row->error));
        return;
    }
    if (rc != 0)
        fail_msg("%s", err_msg(&err));
    assert_true(q.set);
    assert_int_equal(q.units, row->units);
    assert_int_equal(q.milli, row->milli);
}

/* What is formatted as bytes reads back as the same number. */
static void
test_format_bytes_reads_back(void **state)
{
    struct rng r;
    char buf[32];
    struct quantity q;

    (void)state;
    rng_seed(&r, 1);
    for (int i = 0; i < 20000; i++) {
        int64_t v =
            (int64_t)((rng_u64(&r) >> (1 + rng_below(&r, 62))) & UINT64_MAX << rng_below(&r, 50));

        quantity_format_bytes(v, buf, sizeof buf);
        assert_int_equal(quantity_parse(buf, &q, NULL), 0);
        assert_int_equal(q.units, v);
    }
}

static void
test_formats(void **state)
{
    char buf[32];

    (void)state;
    quantity_format_bytes(64 << 20, buf, sizeof buf);
    assert_string_equal(buf, "64Mi");
    quantity_format_bytes(1536 << 20, buf, sizeof buf);
    assert_string_equal(buf, "1536Mi");
    quantity_format_bytes(2ll << 30, buf, sizeof buf);
    assert_string_equal(buf, "2Gi");
    quantity_format_bytes(1000, buf, sizeof buf);
    assert_string_equal(buf, "1000");
    quantity_format_bytes(0, buf, sizeof buf);
    assert_string_equal(buf, "0");
    quantity_format_human(999, buf, sizeof buf);
    assert_string_equal(buf, "999 B");
    quantity_format_human(1000, buf, sizeof buf);
    assert_string_equal(buf, "0.977 KiB");
    quantity_format_human(1536ull << 20, buf, sizeof buf);
    assert_string_equal(buf, "1.5 GiB");
    quantity_format_human(312ull << 20, buf, sizeof buf);
    assert_string_equal(buf, "312 MiB");
    quantity_format_human(UINT64_MAX, buf, sizeof buf);
    assert_string_equal(buf, "16 EiB");
    quantity_format_cpu(1500, buf, sizeof buf);
    assert_string_equal(buf, "1500m");
    quantity_format_cpu(2000, buf, sizeof buf);
    assert_string_equal(buf, "2");
}

static const struct duration_row {
    const char *name;
    int64_t us;
    bool ok;
} duration_rows[] = {
    {"0", 0, true},
    {"1m0s", 60000000, true},
    {"48h0m0s", 172800000000, true},
    {"1h2m3.5s", 3723500000, true},
    {"150ms", 150000, true},
    {"1.5h", 5400000000, true},
    {".5s", 500000, true},
    {"10us", 10, true},
    {"10\xc2\xb5s", 10, true},
    {"1999ns", 1, true},
    {"-1m", -60000000, true},
    {"+1m", 60000000, true},
    {"1s1s", 2000000, true},
    {"0.3333333333333333333h", 1199999999, true},
    {"", 0, false},
    {"5", 0, false},
    {"5 m", 0, false},
    {"5m ", 0, false},
    {"m", 0, false},
    {"-", 0, false},
    {".s", 0, false},
    {"1d", 0, false},
    {"1w", 0, false},
    {"1M", 0, false},
    {"1min", 0, false},
    {"1h-2m", 0, false},
    {"1h2", 0, false},
    {"1e3s", 0, false},
    {"9999999999h", 0, false},
    {"99999999999999999999s", 0, false},
};

static void
test_duration(void **state)
{
    const struct duration_row *row = *state;
    struct err err = {0};
    int64_t us = 77;
    int rc = duration_parse(row->name, &us, &err);

    assert_int_equal(rc == 0, row->ok);
    assert_int_equal(us, row->ok ? row->us : 77);
    if (!row->ok)
        assert_non_null(strstr(err_msg(&err), "such as 1h30m"));
}

static void
test_age(void **state)
{
    static const struct {
        int64_t s;
        const char *text;
    } rows[] = {
        {-5, "<invalid>"}, {-1, "0s"},         {0, "0s"},         {119, "119s"},
        {120, "2m"},       {125, "2m5s"},      {599, "9m59s"},    {600, "10m"},
        {10799, "179m"},   {10800, "3h"},      {10860, "3h1m"},   {28800, "8h"},
        {172799, "47h"},   {172800, "2d"},     {176400, "2d1h"},  {691200, "8d"},
        {63072000, "2y"},  {63158400, "2y1d"}, {252288000, "8y"},
    };
    char buf[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        duration_format_age(rows[i].s * 1000000, buf, sizeof buf);
        assert_string_equal(buf, rows[i].text);
    }
}

static const struct time_row {
    const char *name;
    int64_t us;
    const char *error;
} time_rows[] = {
    {"1970-01-01T00:00:00Z", 0, NULL},
    {"2026-11-21T13:04:05Z", 1795266245000000, NULL},
    {"2026-11-21T14:04:05+01:00", 1795266245000000, NULL},
    {"2026-11-21T12:34:05-00:30", 1795266245000000, NULL},
    {"2026-11-21T13:04:05.25Z", 1795266245250000, NULL},
    {"2026-11-21T13:04:05.123456789Z", 1795266245123456, NULL},
    {"2024-02-29T00:00:00Z", 1709164800000000, NULL},
    {"1969-12-31T23:59:59Z", -1000000, NULL},
    {"2023-02-29T00:00:00Z", 0, "day of the month"},
    {"1900-02-29T00:00:00Z", 0, "day of the month"},
    {"2026-04-31T00:00:00Z", 0, "day of the month"},
    {"2026-13-01T00:00:00Z", 0, "date"},
    {"2026-00-01T00:00:00Z", 0, "date"},
    {"2026-1-01T00:00:00Z", 0, "date"},
    {"26-01-01T00:00:00Z", 0, "date"},
    {"", 0, "date"},
    {"2026-11-21", 0, "time of day"},
    {"2026-11-21 13:04:05Z", 0, "time of day"},
    {"2026-11-21T24:00:00Z", 0, "time of day"},
    {"2026-11-21T13:60:00Z", 0, "time of day"},
    {"2026-11-21T13:04:60Z", 0, "time of day"},
    {"2026-11-21T13:04Z", 0, "time of day"},
    {"2026-11-21T13:04:05", 0, "offset"},
    {"2026-11-21T13:04:05.Z", 0, "fraction"},
    {"2026-11-21T13:04:05+1:00", 0, "offset"},
    {"2026-11-21T13:04:05+01", 0, "offset"},
    {"2026-11-21T13:04:05ZZ", 0, "end"},
};

static void
test_time(void **state)
{
    const struct time_row *row = *state;
    struct err err = {0};
    int64_t us;
    char buf[40];
    int rc = time_parse(row->name, &us, &err);

    assert_int_equal(rc != 0, row->error != NULL);
    if (row->error) {
        assert_non_null(strstr(err_msg(&err), row->error));
        return;
    }
    assert_int_equal(us, row->us);
    int64_t again;

    time_format(us, true, buf, sizeof buf);
    assert_int_equal(time_parse(buf, &again, NULL), 0);
    assert_int_equal(again, us);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_format_bytes_reads_back),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_age),
    };

    return ROWS_RUN("quantity", quantity_rows, test_quantity) +
           ROWS_RUN("duration", duration_rows, test_duration) +
           ROWS_RUN("time", time_rows, test_time) +
           cmocka_run_group_tests_name("quantity formats", others, NULL, NULL);
}
