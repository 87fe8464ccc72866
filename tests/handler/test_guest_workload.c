/* handler/guest_workload: configurations that are taken and refused, and what holds for every
 * schedule. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "handler/guest_workload.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static struct guest_config
config(enum guest_workload w, uint32_t vcpus, uint64_t set)
{
    return (struct guest_config){.memory_bytes = 4 * MIB,
                                 .set_bytes = set,
                                 .fill_bytes = MIB,
                                 .zero_bytes = 64 * KIB,
                                 .rate_bytes_per_s = MIB,
                                 .seed = 42,
                                 .vcpus = vcpus,
                                 .workload = w};
}

static void
test_config_taken(void **state)
{
    static const struct {
        const char *name;
        uint64_t memory, set, fill, zero;
        uint32_t vcpus;
        enum guest_workload workload;
        uint64_t want_set, want_fill, want_zero;
    } rows[] = {
        {"smallest", 64 * KIB, 0, 0, 0, 1, GUEST_IDLE, 64 * KIB, 0, 0},
        {"rounded up", MIB, 1, 4097, 1, 1, GUEST_SEQUENTIAL, 4096, 8192, 4096},
        {"all filled", MIB, 0, MIB, 0, 4, GUEST_MIX, MIB, MIB, 0},
        {"one page a stream", MIB, 16 * 4096, 0, 0, 4, GUEST_MIX, 16 * 4096, 0, 0},
        {"largest", GUEST_MAX_MEMORY_BYTES, 0, 0, 0, GUEST_MAX_VCPUS, GUEST_ZIPF,
         GUEST_MAX_MEMORY_BYTES, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct guest_config c = {.memory_bytes = rows[i].memory,
                                 .set_bytes = rows[i].set,
                                 .fill_bytes = rows[i].fill,
                                 .zero_bytes = rows[i].zero,
                                 .vcpus = rows[i].vcpus,
                                 .workload = rows[i].workload};
        struct err err = {0};

        if (guest_config_check(&c, &err) < 0)
            fail_msg("%s: %s", rows[i].name, err_msg(&err));
        if (c.set_bytes != rows[i].want_set || c.fill_bytes != rows[i].want_fill ||
            c.zero_bytes != rows[i].want_zero)
            fail_msg("%s: sizes are not as wanted", rows[i].name);
    }
}

static void
test_config_refused(void **state)
{
    static const struct {
        const char *name;
        struct guest_config c;
        const char *want; /* part of the message */
    } rows[] = {
        {"no memory", {.vcpus = 1}, "memory of 0 bytes: want a multiple of 4096 from 65536"},
        {"odd memory", {.memory_bytes = MIB + 1, .vcpus = 1}, "memory of 1048577 bytes"},
        {"too little", {.memory_bytes = 15 * 4096, .vcpus = 1}, "memory of 61440 bytes"},
        {"too much", {.memory_bytes = 2 * GUEST_MAX_MEMORY_BYTES, .vcpus = 1}, "memory of"},
        {"no vCPU", {.memory_bytes = MIB}, "0 vCPUs: want 1 to 128"},
        {"many vCPUs", {.memory_bytes = MIB, .vcpus = 129}, "129 vCPUs: want 1 to 128"},
        {"workload",
         {.memory_bytes = MIB, .vcpus = 1, .workload = GUEST_WORKLOAD_COUNT},
         "workload number 6 is not known"},
        {"rate",
         {.memory_bytes = MIB, .vcpus = 1, .rate_bytes_per_s = GUEST_MAX_RATE + 1},
         "bytes a second: at most"},
        {"set",
         {.memory_bytes = MIB, .vcpus = 1, .set_bytes = MIB + 1},
         "working set of 1048577 bytes: at most the memory, 1048576"},
        {"set near the largest number",
         {.memory_bytes = MIB, .vcpus = 1, .set_bytes = UINT64_MAX},
         "working set of"},
        {"fill", {.memory_bytes = MIB, .vcpus = 1, .fill_bytes = 2 * MIB}, "fill of 2097152"},
        {"zero", {.memory_bytes = MIB, .vcpus = 1, .zero_bytes = 2 * MIB}, "zero part of 2097152"},
        {"fill and zero",
         {.memory_bytes = MIB, .vcpus = 1, .fill_bytes = MIB, .zero_bytes = 1},
         "at most 0, what the fill leaves"},
        {"set smaller than vCPUs",
         {.memory_bytes = MIB, .vcpus = 4, .set_bytes = 3 * 4096, .workload = GUEST_HOTCOLD},
         "working set of 12288 bytes: at least 16384 for 4 vCPUs with workload hotcold"},
        {"set smaller than streams",
         {.memory_bytes = MIB, .vcpus = 4, .set_bytes = 15 * 4096, .workload = GUEST_MIX},
         "at least 65536 for 4 vCPUs with workload mix"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct guest_config c = rows[i].c;
        struct err err = {0};

        if (guest_config_check(&c, &err) != -EINVAL)
            fail_msg("%s: accepted", rows[i].name);
        if (!strstr(err_msg(&err), rows[i].want))
            fail_msg("%s: want '%s', got '%s'", rows[i].name, rows[i].want, err_msg(&err));
    }
}

/* Every position lies in its stream; streams share no page and stay in the working set; the counts
 * of guest_plan_count are those that walking guest_plan_stream gives. */
static void
check_plan(const struct guest_config *c)
{
    AUTO_FREE uint8_t *owner = calloc(c->memory_bytes / GUEST_PAGE_BYTES, 1);
    uint64_t owned = 0;

    assert_non_null(owner);
    for (uint32_t v = 0; v < c->vcpus; v++) {
        struct guest_plan p;
        uint64_t done[GUEST_MAX_STREAMS] = {0};

        guest_plan_init(&p, c, v);
        for (unsigned s = 0; s < p.streams_len; s++) {
            const struct guest_stream *t = &p.streams[s];

            assert_true(t->period >= 1);
            for (uint32_t i = 0; i < t->pages; i++)
                assert_int_equal(owner[t->first_page + i]++, 0);
            owned += t->pages;
            for (uint32_t pos = 0; pos < t->period; pos++) {
                struct guest_place place;

                guest_stream_place(t, pos, &place);
                if (place.op == GUEST_OP_NONE)
                    continue;
                assert_true(place.page < t->pages);
                assert_true(place.words >= 1);
                assert_true(place.first_word + place.words <= GUEST_PAGE_WORDS);
            }
        }
        for (uint64_t i = 0; i < 100; i++) {
            uint64_t k;
            unsigned s;

            for (s = 0; s < p.streams_len; s++)
                assert_int_equal(guest_plan_count(&p, s, i), done[s]);
            s = guest_plan_stream(&p, i, &k);
            assert_true(s < p.streams_len);
            assert_int_equal(k, done[s]++);
        }
    }
    assert_int_equal(owned, c->workload == GUEST_IDLE ? 0 : c->set_bytes / GUEST_PAGE_BYTES);
    for (uint64_t i = c->set_bytes / GUEST_PAGE_BYTES; i < c->memory_bytes / GUEST_PAGE_BYTES; i++)
        assert_int_equal(owner[i], 0);
}

static void
test_schedules(void **state)
{
    static const uint32_t vcpus[] = {1, 3, 7};
    static const uint64_t pages[] = {28, 29, 100, 1024};

    (void)state;
    for (int w = 0; w < GUEST_WORKLOAD_COUNT; w++)
        for (size_t v = 0; v < ARRAY_LEN(vcpus); v++)
            for (size_t n = 0; n < ARRAY_LEN(pages); n++) {
                struct guest_config c =
                    config((enum guest_workload)w, vcpus[v], pages[n] * GUEST_PAGE_BYTES);

                assert_int_equal(guest_config_check(&c, NULL), 0);
                check_plan(&c);
            }
}

/* Saved states of today must verify with tomorrow's program: schedules and content never change. */
static void
test_golden(void **state)
{
    static const uint64_t want[GUEST_WORKLOAD_COUNT] = {
        [GUEST_IDLE] = 0xcf1f2100fc584b63u,    [GUEST_SEQUENTIAL] = 0x3e91fac5e7c8c6bbu,
        [GUEST_HOTCOLD] = 0xbf9b3bc8c0c07559u, [GUEST_RANDOMWORDS] = 0x41b35e1fb9e8fc43u,
        [GUEST_ZIPF] = 0x645d147b246b78fcu,    [GUEST_MIX] = 0xd300231055c558bdu,
    };

    (void)state;
    for (int w = 0; w < GUEST_WORKLOAD_COUNT; w++) {
        struct guest_config c = config((enum guest_workload)w, 2, 2 * MIB);
        uint64_t h = 1, key = 0;

        assert_int_equal(guest_config_check(&c, NULL), 0);
        for (uint32_t v = 0; v < 2; v++) {
            struct guest_plan p;

            guest_plan_init(&p, &c, v);
            for (uint64_t i = 0; i < 5000; i++) {
                struct guest_place at;
                uint64_t k;
                const struct guest_stream *s = &p.streams[guest_plan_stream(&p, i, &k)];

                guest_stream_place(s, (uint32_t)(k % s->period), &at);
                h = h * 31 + at.op;
                h = h * 31 + s->first_page + at.page;
                h = h * 31 + at.first_word;
                h = h * 31 + guest_content_word(guest_stream_key(s, k), at.first_word);
            }
        }
        assert_true(guest_initial_key(&c, 5, &key));
        h = h * 31 + guest_content_word(key, 7);
        if (h != want[w])
            fail_msg("%s: 0x%llx", guest_workload_names[w], (unsigned long long)h);
    }
}

/* hotcold: nine writes in ten to the first tenth. zipf: half reads; the most popular keys take far
 * more than their share, and the pages of popular keys are not neighbours. */
static void
test_shapes(void **state)
{
    struct guest_config c = config(GUEST_HOTCOLD, 1, 4 * MIB);
    struct guest_plan p;
    struct guest_place at;
    uint32_t hot = 0, reads = 0, most = 0;
    uint32_t per_page[1024] = {0};

    (void)state;
    guest_plan_init(&p, &c, 0);
    for (uint32_t i = 0; i < p.streams[0].period; i++) {
        guest_stream_place(&p.streams[0], i, &at);
        hot += at.page < 102;
    }
    assert_in_range(hot * 100ull / p.streams[0].period, 88, 92);

    c.workload = GUEST_ZIPF;
    guest_plan_init(&p, &c, 0);
    assert_int_equal(p.streams[0].keys, 4096);
    for (uint32_t i = 0; i < p.streams[0].period; i++) {
        guest_stream_place(&p.streams[0], i, &at);
        reads += at.op == GUEST_OP_READ;
        per_page[at.page]++;
    }
    for (size_t i = 0; i < ARRAY_LEN(per_page); i++)
        most = per_page[i] > most ? per_page[i] : most;
    assert_in_range(reads * 100ull / p.streams[0].period, 45, 55);
    assert_in_range(most * 100ull / p.streams[0].period, 5, 20);
}

static void
test_content(void **state)
{
    uint64_t page[GUEST_PAGE_WORDS], key;
    struct guest_config c = config(GUEST_SEQUENTIAL, 1, MIB);

    (void)state;
    guest_content_write(99, 0, page, GUEST_PAGE_WORDS);
    assert_int_equal(guest_content_compare(99, 0, page, GUEST_PAGE_WORDS), GUEST_PAGE_WORDS);
    assert_int_equal(guest_content_compare(99, 128, page + 128, 128), 128);
    assert_int_equal(guest_content_compare(98, 0, page, GUEST_PAGE_WORDS), 0);
    page[300]++;
    assert_int_equal(guest_content_compare(99, 0, page, GUEST_PAGE_WORDS), 300);
    assert_true(guest_initial_key(&c, 255, &key));
    assert_false(guest_initial_key(&c, 256, &key));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_taken), cmocka_unit_test(test_config_refused),
        cmocka_unit_test(test_schedules),    cmocka_unit_test(test_golden),
        cmocka_unit_test(test_shapes),       cmocka_unit_test(test_content),
    };

    return cmocka_run_group_tests_name("guest_workload", tests, NULL, NULL);
}
