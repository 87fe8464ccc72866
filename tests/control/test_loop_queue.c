/* The scheduling queue alone: who comes first, what wakes whom, how long it backs off, when all is
 * tried again; and the deadlines of objects. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "control/loop_due.h"
#include "control/loop_queue.h"

#define S        INT64_C(1000000)
#define T0       (1000 * S)
#define FULL     "0/3 nodes are available: 3 Insufficient memory."
#define TAINTED  "0/3 nodes are available: 3 node(s) had untolerated taint {a: b}."
#define APART    "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
#define SCATTER  "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints."
#define BOTH     "0/3 nodes are available: 1 Too many pods, 2 node(s) were unschedulable."
#define NO_NODES "no nodes available to schedule pods"

static struct queued *
add(struct loop_queue *q, const char *name, int64_t priority, int64_t queued_us)
{
    struct meta m = {.namespace_ = "shop", .name = name, .uid = name};

    return loop_queue_add(q, KIND_VMI, &m, priority, queued_us);
}

static void
assert_pops(struct loop_queue *q, const char *name)
{
    struct queued *e = loop_queue_pop(q);

    if (!name) {
        assert_null(e);
        return;
    }
    assert_non_null(e);
    assert_string_equal(e->name, name);
}

static void
test_order(void **state)
{
    struct loop_queue *q = loop_queue_new();

    (void)state;
    add(q, "late", 0, T0 + 2);
    add(q, "b", 0, T0 + 1);
    add(q, "a", 0, T0 + 1);
    add(q, "gone", 90, T0);
    add(q, "urgent", 10, T0 + 9);
    add(q, "lowly", -5, T0);
    loop_queue_drop(q, "gone");
    loop_queue_drop(q, "never was");
    assert_int_equal(loop_queue_count(q), 5);
    assert_pops(q, "urgent");
    assert_pops(q, "a");
    assert_pops(q, "b");
    loop_queue_put_back(q, loop_queue_find(q, "a"));
    assert_pops(q, "a");
    assert_pops(q, "late");
    assert_pops(q, "lowly");
    assert_pops(q, NULL);
    assert_int_equal(loop_queue_next_us(q), 0);
    loop_queue_free(q);
}

/* What was refused lately goes behind those of its priority that wait for longer. */
static void
test_refused_goes_behind(void **state)
{
    struct loop_queue *q = loop_queue_new();
    struct queued *a = add(q, "a", 0, T0);

    (void)state;
    assert_pops(q, "a");
    loop_queue_park(q, a, "Unschedulable", FULL, T0 + 5 * S);
    add(q, "b", 0, T0 + 4 * S);
    loop_queue_changed(q, QUEUE_ROOM, T0 + 7 * S);
    assert_pops(q, "b");
    assert_pops(q, "a");
    loop_queue_free(q);
}

static void
test_what_helps(void **state)
{
    static const struct {
        const char *message;
        unsigned helps;
    } rows[] = {
        {FULL, QUEUE_ROOM | QUEUE_NODES},
        {TAINTED, QUEUE_NODES},
        {APART, QUEUE_PEERS | QUEUE_NODES},
        {SCATTER, QUEUE_PEERS | QUEUE_NODES},
        {BOTH, QUEUE_ROOM | QUEUE_NODES},
        {NO_NODES, QUEUE_ALL},
        {"waiting for scheduler x", QUEUE_ALL},
        {"", QUEUE_ALL},
        {"0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod affinity rules.",
         QUEUE_ALL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        static const unsigned all[] = {QUEUE_ROOM, QUEUE_NODES, QUEUE_PEERS};

        for (size_t j = 0; j < ARRAY_LEN(all); j++) {
            struct loop_queue *q = loop_queue_new();
            struct queued *e = add(q, "vm", 0, T0);

            assert_pops(q, "vm");
            loop_queue_park(q, e, "Unschedulable", rows[i].message, T0);
            assert_int_equal(e->helps, rows[i].helps);
            loop_queue_changed(q, all[j], T0 + 2 * S);
            assert_pops(q, rows[i].helps & all[j] ? "vm" : NULL);
            loop_queue_free(q);
        }
    }
}

static void
test_backoff(void **state)
{
    static const int64_t wait_s[] = {1, 2, 4, 8, 10, 10, 10};
    struct loop_queue *q = loop_queue_new();
    struct queued *e = add(q, "vm", 0, T0);
    int64_t now_us = T0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wait_s); i++) {
        int64_t until_us = now_us + wait_s[i] * S;

        assert_pops(q, "vm");
        loop_queue_park(q, e, "Unschedulable", FULL, now_us);
        loop_queue_turn(q, until_us + S); /* nothing has changed */
        assert_pops(q, NULL);
        loop_queue_changed(q, QUEUE_ROOM, now_us + 1);
        loop_queue_changed(q, QUEUE_NODES, now_us + 2);
        assert_int_equal(e->state, QUEUE_BACKOFF);
        assert_int_equal(loop_queue_next_us(q), until_us);
        loop_queue_turn(q, until_us - 1);
        assert_pops(q, NULL);
        loop_queue_turn(q, until_us);
        now_us = until_us;
    }
    /* what changes after the backoff is over needs no further wait */
    assert_pops(q, "vm");
    loop_queue_park(q, e, "Unschedulable", FULL, now_us);
    loop_queue_changed(q, QUEUE_ROOM, now_us + 60 * S);
    assert_pops(q, "vm");
    loop_queue_free(q);
}

static void
test_flush(void **state)
{
    struct loop_queue *q = loop_queue_new();
    struct queued *a = add(q, "a", 0, T0), *b = add(q, "b", 0, T0);

    (void)state;
    assert_pops(q, "a");
    assert_pops(q, "b");
    loop_queue_park(q, a, "Unschedulable", FULL, T0);
    loop_queue_park(q, b, "Unschedulable", TAINTED, T0 + S);
    assert_int_equal(loop_queue_next_us(q), T0 + 300 * S);
    loop_queue_turn(q, T0 + 300 * S);
    assert_pops(q, "a");
    assert_pops(q, NULL);
    assert_int_equal(loop_queue_next_us(q), T0 + 301 * S);
    loop_queue_drop(q, "b");
    assert_int_equal(loop_queue_next_us(q), 0);
    loop_queue_free(q);
}

/* A migration is asked for by its own loop: ready or not, it is not given out. */
static void
test_migration(void **state)
{
    struct loop_queue *q = loop_queue_new();
    struct meta m = {.namespace_ = "shop", .name = "m", .uid = "m"};
    struct queued *e = loop_queue_add(q, KIND_VMIM, &m, 0, T0);

    (void)state;
    assert_pops(q, NULL);
    assert_int_equal(e->state, QUEUE_READY);
    loop_queue_park(q, e, "Unschedulable", FULL, T0);
    assert_string_equal(e->message, FULL);
    loop_queue_retry(q, e, T0 + S / 2);
    assert_int_equal(e->state, QUEUE_BACKOFF);
    loop_queue_retry(q, e, T0 + S);
    assert_int_equal(e->state, QUEUE_BACKOFF);
    loop_queue_turn(q, T0 + S);
    assert_int_equal(e->state, QUEUE_READY);
    assert_pops(q, NULL);
    loop_queue_free(q);
}

static void
assert_due(struct loop_due *d, int64_t now_us, const char *name)
{
    const char *ns, *got = NULL;
    enum kind kind;
    bool any = loop_due_next(d, now_us, &kind, &ns, &got);

    assert_int_equal(any, name != NULL);
    if (name)
        assert_string_equal(got, name);
}

static void
test_due(void **state)
{
    struct loop_due *d = loop_due_new();

    (void)state;
    assert_int_equal(loop_due_first_us(d), 0);
    assert_true(loop_due_at(d, KIND_NODE, NULL, "n1", T0 + 5));
    assert_true(loop_due_at(d, KIND_VMI, "shop", "n1", T0 + 3));
    assert_true(loop_due_at(d, KIND_NODE, NULL, "n2", T0 + 4));
    assert_false(loop_due_at(d, KIND_NODE, NULL, "n1", T0 + 9)); /* an earlier time stays */
    assert_false(loop_due_at(d, KIND_NODE, NULL, "n2", T0 + 2)); /* an earlier time counts */
    assert_int_equal(loop_due_first_us(d), T0 + 2);
    assert_due(d, T0 + 1, NULL);
    assert_due(d, T0 + 4, "n2");
    assert_due(d, T0 + 4, "n1");
    assert_due(d, T0 + 4, NULL);
    assert_int_equal(loop_due_first_us(d), T0 + 5);
    assert_true(loop_due_at(d, KIND_NODE, NULL, "n2", T0 + 6));
    loop_due_free(d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),      cmocka_unit_test(test_refused_goes_behind),
        cmocka_unit_test(test_what_helps), cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_flush),      cmocka_unit_test(test_migration),
        cmocka_unit_test(test_due),
    };

    return cmocka_run_group_tests_name("loop_queue", tests, NULL, NULL);
}
