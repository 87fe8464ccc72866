/* What a relayed migration's job calls for, on virtual time: a QEMU that is played here, and what the
 * policy makes of it. The words and causes are those of the engine's own migrations. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "handler/libvirt_watch.h"

#define MIB  (1ull << 20)
#define TICK 400000u

struct row {
    const char *name;
    uint64_t total, link, dirty; /* bytes; bytes a second */
    struct mig_limits limits;
    struct mig_policy policy;
    bool can_post_copy, stuck; /* stuck: nothing goes out after two seconds */
    uint64_t disk_s;           /* disks are copied for so long before it */
    enum lv_todo todo;         /* the first that is not "go on" within a minute */
    enum mig_cause cause;
    const char *says; /* in the decision log, or in the failure */
};

static const struct row rows[] = {
    {.name = "it converges: nothing is to be done",
     .total = 1024 * MIB,
     .link = 100 * MIB,
     .dirty = 10 * MIB,
     .limits = {.completion_timeout_us = 60000000, .progress_timeout_us = 30000000},
     .todo = LV_GO_ON,
     .says = "it converges"},
    {.name = "more is written than goes out, and nothing is allowed: given up in time",
     .total = 512 * MIB,
     .link = 100 * MIB,
     .dirty = 120 * MIB,
     .limits = {.completion_timeout_us = 20000000},
     .todo = LV_GIVE_UP,
     .cause = MIG_CAUSE_COMPLETION_TIMEOUT,
     .says = "not complete after"},
    {.name = "the same with post-copy",
     .total = 512 * MIB,
     .link = 100 * MIB,
     .dirty = 120 * MIB,
     .limits = {.completion_timeout_us = 20000000},
     .policy = {.allow_post_copy = true},
     .can_post_copy = true,
     .todo = LV_POST_COPY,
     .says = "post-copy"},
    {.name = "post-copy is allowed, and libvirt was not told: given up",
     .total = 512 * MIB,
     .link = 100 * MIB,
     .dirty = 120 * MIB,
     .limits = {.completion_timeout_us = 10000000},
     .policy = {.allow_post_copy = true},
     .todo = LV_GIVE_UP,
     .cause = MIG_CAUSE_COMPLETION_TIMEOUT,
     .says = "not complete after"},
    {.name = "the same with a pause",
     .total = 512 * MIB,
     .link = 100 * MIB,
     .dirty = 120 * MIB,
     .limits = {.completion_timeout_us = 20000000},
     .policy = {.allow_disruption = true},
     .todo = LV_PAUSE,
     .says = "pause"},
    {.name = "post-copy at once",
     .total = 512 * MIB,
     .link = 100 * MIB,
     .policy = {.allow_post_copy = true, .post_copy_at_once = true},
     .can_post_copy = true,
     .todo = LV_POST_COPY,
     .says = "post-copy at once, as the policy asks"},
    {.name = "no progress",
     .total = 4096 * MIB,
     .link = 100 * MIB,
     .stuck = true,
     .limits = {.progress_timeout_us = 5000000},
     .todo = LV_GIVE_UP,
     .cause = MIG_CAUSE_PROGRESS_TIMEOUT,
     .says = "no fewer for 5.0 s"},
    {.name = "the first round is longer than all that is allowed",
     .total = 8192 * MIB,
     .link = 100 * MIB,
     .limits = {.completion_timeout_us = 3000000},
     .todo = LV_GIVE_UP,
     .cause = MIG_CAUSE_COMPLETION_TIMEOUT,
     .says = "not complete after"},
    {.name = "disks that are copied first do not count",
     .total = 256 * MIB,
     .link = 100 * MIB,
     .disk_s = 20,
     .limits = {.completion_timeout_us = 10000000},
     .todo = LV_GO_ON,
     .says = "it converges"},
};

/* QEMU's pre-copy: rounds over what was written during the one before, until so little is left that it
 * goes within the budget. */
struct qemu {
    struct lv_job job;
    double left, written;
    bool ended;
};

static void
run_for(struct qemu *q, const struct row *r, uint64_t us, bool stuck)
{
    double sent = stuck ? 0 : (double)r->link * (double)us / 1e6;

    q->written += (double)r->dirty * (double)us / 1e6;
    if (q->written > (double)r->total)
        q->written = (double)r->total;
    q->job.memory_processed += (uint64_t)sent;
    q->left -= sent;
    if (q->left <= 0) {
        q->left = q->written;
        q->written = 0;
        q->job.iteration++;
        q->ended = q->left < (double)r->link * 0.3;
    }
    q->job.memory_remaining = (uint64_t)q->left;
}

static void
one(const struct row *r)
{
    struct lv_watch_config cfg = {.total_bytes = r->total,
                                  .limits = r->limits,
                                  .policy = r->policy,
                                  .can_post_copy = r->can_post_copy,
                                  .seed = 1};
    struct qemu q = {.left = (double)r->total};
    char say[MIG_DECISION_TEXT], last[MIG_DECISION_TEXT] = "";
    enum mig_cause cause = MIG_CAUSE_NONE;
    enum lv_todo todo = LV_GO_ON;
    struct mig_stats st = {0};
    struct err err = {0};
    struct lv_watch w;
    bool said = false;
    uint64_t now = 1000000, began = now;

    lv_watch_init(&w, &cfg, now, say);
    assert_true(say[0]);
    while (todo == LV_GO_ON && !q.ended && now < began + 60000000) {
        now += TICK;
        if (now < began + r->disk_s * 1000000) {
            q.job.disk_total = 1024 * MIB;
            q.job.disk_remaining = 512 * MIB;
        } else {
            q.job.disk_remaining = 0;
            q.job.memory_total = r->total;
            q.job.iteration += q.job.iteration == 0;
            run_for(&q, r, TICK, r->stuck && now > began + 2000000);
        }
        todo = lv_watch_step(&w, &q.job, q.job.memory_processed, now, &st, say, &cause, &err);
        if (say[0])
            memcpy(last, say, sizeof last);
        said = said || strstr(say, r->says);
        if (q.job.memory_total > 0)
            assert_int_equal(st.total_bytes, r->total);
        assert_int_equal(st.remaining_bytes, q.job.memory_remaining + q.job.disk_remaining);
    }
    if (todo != r->todo || cause != r->cause)
        fail_msg("%s: todo %d, cause %d after %.1f s: %s; %s", r->name, todo, cause,
                 (double)(now - began) / 1e6, last, err_msg(&err));
    if (!said && !strstr(err_msg(&err), r->says))
        fail_msg("%s: '%s', '%s'", r->name, last, err_msg(&err));
    if (todo == LV_GO_ON)
        assert_true(q.ended);
    if (todo != LV_POST_COPY)
        return;
    /* after it nothing takes it back */
    for (int i = 0; i < 1000; i++) {
        now += TICK;
        assert_int_equal(
            lv_watch_step(&w, &q.job, q.job.memory_processed, now, &st, say, &cause, &err),
            LV_GO_ON);
    }
    assert_int_equal(st.missing_bytes, q.job.memory_remaining);
    assert_int_equal(cause, MIG_CAUSE_NONE);
}

static void
test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        one(&rows[i]);
}

/* Each means is tried once: what failed is not decided again, and the time limit is what is left. */
static void
test_means_that_fail(void **state)
{
    struct row r = rows[2];
    struct lv_watch_config cfg = {.total_bytes = r.total,
                                  .limits = r.limits,
                                  .policy = r.policy,
                                  .can_post_copy = true,
                                  .seed = 1};
    struct qemu q = {.left = (double)r.total};
    enum mig_cause cause = MIG_CAUSE_NONE;
    unsigned tries = 0;
    struct mig_stats st = {0};
    struct err err = {0};
    char say[MIG_DECISION_TEXT];
    enum lv_todo todo = LV_GO_ON;
    struct lv_watch w;
    uint64_t now = 1000000;

    (void)state;
    lv_watch_init(&w, &cfg, now, say);
    q.job.memory_total = r.total;
    q.job.iteration = 1;
    for (int i = 0; i < 1000 && todo != LV_GIVE_UP; i++) {
        now += TICK;
        run_for(&q, &r, TICK, false);
        todo = lv_watch_step(&w, &q.job, q.job.memory_processed, now, &st, say, &cause, &err);
        if (todo == LV_POST_COPY) {
            tries++;
            lv_watch_failed(&w, LV_POST_COPY);
        }
    }
    assert_int_equal(tries, 1);
    assert_int_equal(cause, MIG_CAUSE_COMPLETION_TIMEOUT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_means_that_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
