/* What somebody measured of the link is what the first prediction of a process starts from; what a
 * migration taught counts from then on. A program of its own, because a process learns. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/migrate/pair.h"

#define MIB (1u << 20)

static const struct fake_config small = {{64 * MIB}, .seed = 7, .fill_pages = 16384};

struct said {
    char estimate[MIG_DECISION_TEXT], start[MIG_DECISION_TEXT];
};

static void
listen_to(struct pair *p, const struct mig_decision *d)
{
    struct said *s = p->user;

    if (strncmp(d->text, "first estimate", 14) == 0)
        memcpy(s->estimate, d->text, sizeof s->estimate);
    if (strncmp(d->text, "start:", 6) == 0)
        memcpy(s->start, d->text, sizeof s->start);
}

static void
migrate(struct said *said, uint64_t estimate)
{
    struct both t;

    memset(said, 0, sizeof *said);
    both_begin(&t, &small);
    t.p.user = said;
    t.p.on_decided = listen_to;
    t.p.src.link_estimate_bytes_per_s = estimate;
    snprintf(t.p.src.link_estimate_from, sizeof t.p.src.link_estimate_from,
             "checkup ns/c of 2026-01-02T00:00:00Z");
    t.p.src.limits.bandwidth_bytes_per_s = 400 * MIB; /* so that it is long enough to teach */
    pair_run(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_MOVED);
    both_end(&t);
}

static void
test_estimate(void **state)
{
    struct said said;

    (void)state;
    migrate(&said, 123000000);
    assert_string_equal(said.estimate,
                        "first estimate 123 MB/s from checkup ns/c of 2026-01-02T00:00:00Z");
    assert_non_null(strstr(said.start, "at 123 MB/s it"));
    migrate(&said, 123000000);
    assert_string_equal(said.estimate, "");
    assert_null(strstr(said.start, "at 123 MB/s it"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_estimate)};

    return _cmocka_run_group_tests("estimate", tests, 1, NULL, NULL);
}
