/* handler/guest_verify: for every workload, the memory that the steps leave verifies, and any
 * damage to it is found and named: lost, stale, swapped and torn pages, single bits, and bytes
 * where none may be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "handler/guest_memory.h"
#include "handler/guest_verify.h"

#define VCPUS     2
#define PAGES     512u
#define SET_PAGES 256u
#define FILL      300u /* pages; beyond the working set */
#define ZERO      20u
#define NO_PAGE   UINT32_MAX

/* A guest without threads: its steps are made here. */
struct toy {
    struct guest_config cfg;
    struct guest_memory mem;
    struct guest_plan plans[VCPUS];
    uint64_t steps[VCPUS];
};

static void
toy_init(struct toy *t, enum guest_workload w)
{
    *t = (struct toy){.cfg = {.memory_bytes = PAGES * GUEST_PAGE_BYTES,
                              .set_bytes = SET_PAGES * GUEST_PAGE_BYTES,
                              .fill_bytes = FILL * GUEST_PAGE_BYTES,
                              .zero_bytes = ZERO * GUEST_PAGE_BYTES,
                              .seed = 7,
                              .vcpus = VCPUS,
                              .workload = w}};
    assert_int_equal(guest_config_check(&t->cfg, NULL), 0);
    assert_int_equal(guest_memory_init(&t->mem, t->cfg.memory_bytes, NULL), 0);
    assert_int_equal(guest_memory_fill(&t->mem, &t->cfg, NULL), 0);
    for (unsigned v = 0; v < VCPUS; v++)
        guest_plan_init(&t->plans[v], &t->cfg, v);
}

static uint64_t *
toy_page(const struct toy *t, uint64_t page)
{
    return (uint64_t *)(void *)(t->mem.map + page * GUEST_PAGE_BYTES);
}

static void
toy_step(struct toy *t, unsigned v)
{
    uint64_t k;
    const struct guest_stream *s =
        &t->plans[v].streams[guest_plan_stream(&t->plans[v], t->steps[v], &k)];
    struct guest_place at;

    guest_stream_place(s, (uint32_t)(k % s->period), &at);
    if (at.op == GUEST_OP_WRITE)
        guest_content_write(guest_stream_key(s, k), at.first_word,
                            toy_page(t, s->first_page + at.page) + at.first_word, at.words);
    t->steps[v]++;
}

static void
toy_run(struct toy *t, uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++)
        for (unsigned v = 0; v < VCPUS; v++)
            toy_step(t, v);
}

static void
toy_verify(const struct toy *t, struct guest_verify_result *ret)
{
    const struct guest_verify_input in = {
        .cfg = &t->cfg, .steps = t->steps, .map = t->mem.map, .memfd = t->mem.fd};

    assert_int_equal(guest_verify_run(&in, ret, NULL), 0);
    assert_int_equal(ret->pages, PAGES);
    assert_int_equal(ret->bad_pages == 0, ret->text[0] == '\0');
}

static uint64_t
longest_period(const struct toy *t)
{
    uint64_t most = 1;

    for (unsigned s = 0; s < t->plans[0].streams_len; s++)
        if (t->plans[0].streams[s].period > most)
            most = t->plans[0].streams[s].period;
    return most;
}

/* Memory verifies after no step, a few, just under, at and over one period, and after several. */
static void
test_whole(void **state)
{
    (void)state;
    for (int w = 0; w < GUEST_WORKLOAD_COUNT; w++) {
        struct toy t;
        struct guest_verify_result r;
        uint64_t period;
        struct stat st;

        toy_init(&t, (enum guest_workload)w);
        period = longest_period(&t);
        const uint64_t at[] = {
            0, 1, 38, period - 1, period, period + 1, 3 * period / 2, 3 * period + 5};

        for (size_t i = 0; i < ARRAY_LEN(at); i++) {
            if (at[i] > t.steps[0])
                toy_run(&t, at[i] - t.steps[0]);
            toy_verify(&t, &r);
            if (r.bad_pages)
                fail_msg("%s after %llu steps: %s", guest_workload_names[w],
                         (unsigned long long)t.steps[0], r.text);
            assert_int_equal(r.present_pages, FILL + ZERO);
        }
        /* checking has not made anything present */
        assert_int_equal(fstat(t.mem.fd, &st), 0);
        assert_int_equal(st.st_blocks * 512, (FILL + ZERO) * GUEST_PAGE_BYTES);
        guest_memory_done(&t.mem);
    }
}

/* A working set larger than the fill: what steps write there is expected, what they do not is
 * absent. */
static void
test_unfilled(void **state)
{
    (void)state;
    for (int w = 0; w < GUEST_WORKLOAD_COUNT; w++) {
        struct toy t;
        struct guest_verify_result r;

        toy_init(&t, (enum guest_workload)w);
        guest_memory_done(&t.mem);
        t.cfg.fill_bytes = t.cfg.zero_bytes = 0;
        assert_int_equal(guest_memory_init(&t.mem, t.cfg.memory_bytes, NULL), 0);
        for (int i = 0; i < 20; i++) {
            toy_run(&t, 23);
            toy_verify(&t, &r);
            if (r.bad_pages)
                fail_msg("%s: %s", guest_workload_names[w], r.text);
        }
        assert_true(r.present_pages <= SET_PAGES);
        guest_memory_done(&t.mem);
    }
}

/* --- damage -------------------------------------------------------------------------------------
 */

static uint64_t saved[GUEST_PAGE_WORDS];
static uint32_t target; /* a page that the steps between `before` and `after` changed */

static void
save_target(struct toy *t)
{
    memcpy(saved, toy_page(t, target), GUEST_PAGE_BYTES);
}

static void
do_bit(struct toy *t)
{
    ((uint8_t *)toy_page(t, target))[1234] ^= 0x10;
}

static void
do_last_byte(struct toy *t)
{
    ((uint8_t *)toy_page(t, target))[GUEST_PAGE_BYTES - 1] ^= 1;
}

static void
do_lost(struct toy *t)
{
    memset(toy_page(t, target), 0, GUEST_PAGE_BYTES);
}

static void
do_stale(struct toy *t)
{
    memcpy(toy_page(t, target), saved, GUEST_PAGE_BYTES);
}

/* The new version up to the middle of what changed, the old one from there. */
static void
do_torn(struct toy *t)
{
    uint64_t *now = toy_page(t, target);
    uint32_t changed = 0, seen = 0;

    for (uint32_t i = 0; i < GUEST_PAGE_WORDS; i++)
        changed += now[i] != saved[i];
    assert_true(changed >= 1);
    for (uint32_t i = 0; i < GUEST_PAGE_WORDS; i++)
        if (now[i] != saved[i] && seen++ >= changed / 2)
            ((uint8_t *)&now[i])[7] = ((const uint8_t *)&saved[i])[7] ^
                                      (((const uint8_t *)&saved[i])[7] == ((uint8_t *)&now[i])[7]);
}

static void
do_swapped(struct toy *t)
{
    uint64_t other[GUEST_PAGE_WORDS];

    memcpy(other, toy_page(t, target + 1), GUEST_PAGE_BYTES);
    memcpy(toy_page(t, target + 1), toy_page(t, target), GUEST_PAGE_BYTES);
    memcpy(toy_page(t, target), other, GUEST_PAGE_BYTES);
}

static void
do_filled_page(struct toy *t)
{
    toy_page(t, FILL - 1)[511]++;
}

static void
do_zero_page(struct toy *t)
{
    toy_page(t, FILL + 3)[0] = 1;
}

static void
do_untouched_page(struct toy *t)
{
    ((uint8_t *)toy_page(t, PAGES - 1))[GUEST_PAGE_BYTES - 1] = 1;
}

static void
do_step_too_many(struct toy *t)
{
    t->steps[1]--;
}

/* A page that the last step of vCPU 0 which wrote anything wrote to. */
static void
last_written(struct toy *t)
{
    while (t->cfg.workload != GUEST_IDLE) {
        uint64_t k;
        unsigned sn = guest_plan_stream(&t->plans[0], t->steps[0], &k);
        const struct guest_stream *s = &t->plans[0].streams[sn];
        struct guest_place at;

        guest_stream_place(s, (uint32_t)(k % s->period), &at);
        if (at.op == GUEST_OP_WRITE) {
            target = (uint32_t)(s->first_page + at.page);
            save_target(t);
            toy_step(t, 0);
            return;
        }
        toy_step(t, 0);
    }
}

static void
test_damage(void **state)
{
    static const struct {
        const char *name;
        void (*damage)(struct toy *);
        uint64_t bad;
        uint32_t page;    /* that is named; NO_PAGE: the target */
        bool idle;        /* also where no step writes */
        const char *want; /* part of the text */
    } rows[] = {
        {"one bit", do_bit, 1, NO_PAGE, false, "1 of 512 words differ"},
        {"the last byte", do_last_byte, 1, NO_PAGE, false, "at byte 4088"},
        {"lost", do_lost, 1, NO_PAGE, false, "the page is all zeros"},
        {"stale", do_stale, 1, NO_PAGE, false, "an older version, 1 write behind"},
        {"torn", do_torn, 1, NO_PAGE, false, "words differ"},
        {"swapped", do_swapped, 2, NO_PAGE, false, "512 of 512 words differ"},
        {"a filled page", do_filled_page, 1, FILL - 1, true, "at byte 4088"},
        {"a zero page", do_zero_page, 1, FILL + 3, true,
         "at byte 0: expected 0000000000000000, found 0000000000000001"},
        {"a page never touched", do_untouched_page, 1, PAGES - 1, true,
         "expected 0000000000000000, found 0100000000000000"},
        {"a step that is not counted", do_step_too_many, 1, 0, false, ""},
    };

    (void)state;
    for (int w = 0; w < GUEST_WORKLOAD_COUNT; w++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            for (int lap = 0; lap < 2; lap++) { /* in the first period, and in a later one */
                struct guest_verify_result r;
                char page[32];
                struct toy t;

                if (w == GUEST_IDLE && !rows[i].idle)
                    continue;
                toy_init(&t, (enum guest_workload)w);
                toy_run(&t, lap ? 2 * longest_period(&t) + 51 : 51);
                last_written(&t);
                while (rows[i].damage == do_step_too_many) {
                    uint64_t k;
                    const struct guest_stream *s =
                        &t.plans[1].streams[guest_plan_stream(&t.plans[1], t.steps[1], &k)];
                    struct guest_place at;

                    guest_stream_place(s, (uint32_t)(k % s->period), &at);
                    toy_step(&t, 1);
                    if (at.op == GUEST_OP_WRITE)
                        break;
                }
                toy_verify(&t, &r);
                assert_int_equal(r.bad_pages, 0);
                rows[i].damage(&t);
                toy_verify(&t, &r);
                snprintf(page, sizeof(page), "page %u ",
                         rows[i].page == NO_PAGE ? target : rows[i].page);
                if (r.bad_pages != rows[i].bad || !strstr(r.text, rows[i].want) ||
                    (rows[i].damage != do_step_too_many && strncmp(r.text, page, strlen(page))))
                    fail_msg("%s, %s, lap %d: %llu bad pages: '%s', want %s'%s'",
                             guest_workload_names[w], rows[i].name, lap,
                             (unsigned long long)r.bad_pages, r.text, page, rows[i].want);
                guest_memory_done(&t.mem);
            }
}

/* Every byte counts: flipping any one of a sample, in any page, is one bad page. */
static void
test_any_byte(void **state)
{
    (void)state;
    for (int w = 0; w < GUEST_WORKLOAD_COUNT; w++) {
        struct toy t;
        struct guest_verify_result r;

        toy_init(&t, (enum guest_workload)w);
        toy_run(&t, 3000);
        for (uint32_t page = 0; page < PAGES; page += 13) {
            uint8_t *b = (uint8_t *)toy_page(&t, page) + page * 37 % GUEST_PAGE_BYTES;
            bool absent = page >= FILL + ZERO;

            *b ^= 0x80;
            toy_verify(&t, &r);
            assert_int_equal(r.bad_pages, 1);
            *b ^= 0x80;
            if (!absent)
                continue;
            toy_verify(&t, &r); /* present now, and zero: nothing is wrong with that */
            assert_int_equal(r.bad_pages, 0);
        }
        guest_memory_done(&t.mem);
    }
}

static void
test_cancel(void **state)
{
    struct toy t;
    struct guest_verify_result r;
    struct err err = {0};
    atomic_bool cancel = true;

    (void)state;
    toy_init(&t, GUEST_MIX);
    const struct guest_verify_input in = {
        .cfg = &t.cfg, .steps = t.steps, .map = t.mem.map, .memfd = t.mem.fd, .cancel = &cancel};

    assert_int_equal(guest_verify_run(&in, &r, &err), -ECANCELED);
    assert_string_equal(err_msg(&err), "verify: cut short by another request");
    guest_memory_done(&t.mem);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),  cmocka_unit_test(test_unfilled),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_any_byte),
        cmocka_unit_test(test_cancel),
    };

    return cmocka_run_group_tests_name("guest_verify", tests, NULL, NULL);
}
