/* Limits, order, explanations, backoff and retention. From the documents: of six at once five run,
 * of three from one node two run, after the seventh attempt five are kept. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "migrate/coord_queue.h"

#define S INT64_C(1000000)

struct ask {
    const char *vmi, *node;
    bool admitted;
    const char *reason, *says;
};

struct limits_row {
    const char *name;
    int64_t cluster, node;
    struct ask asks[8];
};

static const struct limits_row limits_rows[] = {
    {"six at once, distinct sources: five run",
     5,
     2,
     {{"a", "n1", true, NULL, NULL},
      {"b", "n2", true, NULL, NULL},
      {"c", "n3", true, NULL, NULL},
      {"d", "n4", true, NULL, NULL},
      {"e", "n5", true, NULL, NULL},
      {"f", "n6", false, "ClusterLimit",
       "waiting: 5 of 5 migrations of the cluster are running (a, b, c, d, e)"}}},
    {"three from one node: two run",
     5,
     2,
     {{"vm-a", "n1", true, NULL, NULL},
      {"vm-b", "n1", true, NULL, NULL},
      {"vm-c", "n1", false, "NodeLimit",
       "waiting: 2 of 2 outbound migrations of node n1 are running (vm-a, vm-b)"},
      {"vm-d", "n2", true, NULL, NULL}}},
    {"the cluster's limit is named before the node's",
     1,
     1,
     {{"a", "n1", true, NULL, NULL}, {"b", "n1", false, "ClusterLimit", "1 of 1"}}},
    {"none are allowed", 0, 2, {{"a", "n1", false, "ClusterLimit", "0 of 0"}}},
    {"none out of a node", 5, 0, {{"a", "n1", false, "NodeLimit", "0 of 0"}}},
    {"below zero is none", -3, -1, {{"a", "n1", false, "ClusterLimit", "0 of 0"}}},
    {"a source that is not known counts together",
     5,
     1,
     {{"a", NULL, true, NULL, NULL}, {"b", NULL, false, "NodeLimit", "1 of 1"}}},
};

static void
test_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limits_rows); i++) {
        const struct limits_row *r = &limits_rows[i];
        struct coord_queue *q = coord_queue_new(r->cluster, r->node);
        struct coord_entry e[8];

        for (size_t j = 0; j < 8 && r->asks[j].vmi; j++) {
            const struct ask *a = &r->asks[j];
            const char *reason = NULL;
            char why[COORD_MESSAGE_SIZE] = "";

            e[j] =
                (struct coord_entry){.ns = "shop", .name = a->vmi, .vmi = a->vmi, .node = a->node};
            if (coord_queue_allows(q, &e[j], &reason, why, sizeof(why)) != a->admitted)
                fail_msg("%s: %s: %s", r->name, a->vmi, why);
            if (a->admitted)
                coord_queue_hold(q, &e[j]);
            else if (strcmp(reason, a->reason) != 0 || !strstr(why, a->says))
                fail_msg("%s: %s: %s: %s", r->name, a->vmi, reason, why);
        }
        coord_queue_free(q);
    }
}

static void
test_names_are_bounded(void **state)
{
    struct coord_queue *q = coord_queue_new(20, 20);
    struct coord_entry e[21];
    char names[21][16];
    const char *reason;
    char why[COORD_MESSAGE_SIZE];

    (void)state;
    for (int i = 0; i < 21; i++) {
        snprintf(names[i], sizeof(names[i]), "vm%02d", i);
        e[i] = (struct coord_entry){.ns = i == 1 ? "other" : "shop", .vmi = names[i], .node = "n1"};
        if (i < 20)
            coord_queue_hold(q, &e[i]);
    }
    assert_int_equal(coord_queue_held(q), 20);
    assert_false(coord_queue_allows(q, &e[20], &reason, why, sizeof(why)));
    assert_non_null(
        strstr(why, "(other/vm01, vm00, vm02, vm03, vm04, vm05, vm06, vm07 and 12 more)"));
    assert_false(coord_queue_allows(q, &e[20], &reason, why, 10)); /* cut, not overrun */
    assert_int_equal(strlen(why), 9);
    coord_queue_free(q);
}

static int
cmp(const void *a, const void *b)
{
    return coord_entry_cmp(a, b);
}

static void
test_order(void **state)
{
    /* in the order in which they must come out */
    const struct coord_entry want[] = {
        {.name = "evac-old",
         .class_ = COORD_CLASS_EVACUATION,
         .created_us = 50 * S,
         .pending_us = 9},
        {.name = "evac-new",
         .class_ = COORD_CLASS_EVACUATION,
         .created_us = 60 * S,
         .pending_us = 1},
        {.name = "z-first", .created_us = 10 * S, .pending_us = 10 * S},
        {.name = "a-second", .created_us = 10 * S, .pending_us = 10 * S + 1},
        {.ns = "a", .name = "x", .created_us = 20 * S, .pending_us = 20 * S},
        {.ns = "b", .name = "a", .created_us = 20 * S, .pending_us = 20 * S},
        {.ns = "b", .name = "b", .created_us = 20 * S, .pending_us = 20 * S},
    };
    struct coord_entry got[ARRAY_LEN(want)];

    (void)state;
    for (size_t turn = 0; turn < ARRAY_LEN(want); turn++) {
        for (size_t i = 0; i < ARRAY_LEN(want); i++)
            got[(i * 3 + turn) % ARRAY_LEN(want)] = want[i];
        qsort(got, ARRAY_LEN(got), sizeof(*got), cmp);
        for (size_t i = 0; i < ARRAY_LEN(want); i++)
            assert_string_equal(got[i].name, want[i].name);
    }
}

struct backoff_row {
    const char *name;
    struct coord_attempt a[8];
    int64_t until_s; /* 0 = need not wait */
    unsigned failures;
};

static const struct backoff_row backoff_rows[] = {
    {"first attempt", {{0}}, 0, 0},
    {"one failure", {{"a", COORD_FAILED, false, 100 * S, 130 * S}}, 150, 1},
    {"two",
     {{"a", COORD_FAILED, false, 100 * S, 130 * S}, {"b", COORD_FAILED, false, 150 * S, 200 * S}},
     240,
     2},
    {"three, in any order",
     {{"c", COORD_FAILED, false, 240 * S, 300 * S},
      {"a", COORD_FAILED, false, 100 * S, 130 * S},
      {"b", COORD_FAILED, false, 150 * S, 200 * S}},
     380,
     3},
    {"four",
     {{"a", COORD_FAILED, false, 1, 2},
      {"b", COORD_FAILED, false, 3, 4},
      {"c", COORD_FAILED, false, 5, 6},
      {"d", COORD_FAILED, false, 7 * S, 8 * S}},
     168,
     4},
    {"five",
     {{"a", COORD_FAILED, false, 1, 2},
      {"b", COORD_FAILED, false, 3, 4},
      {"c", COORD_FAILED, false, 5, 6},
      {"d", COORD_FAILED, false, 7, 8},
      {"e", COORD_FAILED, false, 9 * S, 10 * S}},
     330,
     5},
    {"six is no longer than five",
     {{"a", COORD_FAILED, false, 1, 2},
      {"b", COORD_FAILED, false, 3, 4},
      {"c", COORD_FAILED, false, 5, 6},
      {"d", COORD_FAILED, false, 7, 8},
      {"e", COORD_FAILED, false, 9, 10},
      {"f", COORD_FAILED, false, 11 * S, 12 * S}},
     332,
     6},
    {"a success forgives what was before it",
     {{"a", COORD_FAILED, false, 1 * S, 2 * S},
      {"b", COORD_SUCCEEDED, false, 3 * S, 4 * S},
      {"c", COORD_FAILED, false, 5 * S, 6 * S}},
     26,
     1},
    {"a success was the last",
     {{"a", COORD_FAILED, false, 1 * S, 2 * S}, {"b", COORD_SUCCEEDED, false, 3 * S, 4 * S}},
     0,
     0},
    {"cancelled ones do not count",
     {{"a", COORD_FAILED, false, 1 * S, 2 * S}, {"b", COORD_FAILED, true, 3 * S, 9 * S}},
     22,
     1},
    {"unfinished ones do not count", {{"a", COORD_RUNNING, false, 1 * S, 0}}, 0, 0},
};

static void
test_backoff(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(backoff_rows); i++) {
        const struct backoff_row *r = &backoff_rows[i];
        struct coord_attempt a[8];
        unsigned failures = 99;
        size_t len = 0;
        int64_t until;

        memcpy(a, r->a, sizeof(a));
        while (len < 8 && a[len].name)
            len++;
        until = coord_backoff_until_us(a, len, &failures);
        if (until != r->until_s * S || failures != r->failures)
            fail_msg("%s: until %lld us, %u failures", r->name, (long long)until, failures);
    }
}

static void
test_retention(void **state)
{
    struct coord_attempt a[] = {
        {"old1", COORD_FAILED, false, 1, 10},    {"run", COORD_RUNNING, false, 2, 0},
        {"old2", COORD_SUCCEEDED, false, 3, 20}, {"c3", COORD_FAILED, false, 4, 30},
        {"c4", COORD_FAILED, false, 5, 40},      {"wait", COORD_PENDING, false, 0, 0},
        {"c5", COORD_SUCCEEDED, false, 6, 50},   {"c6", COORD_FAILED, false, 7, 60},
        {"c7", COORD_FAILED, false, 8, 70},
    };
    size_t len = ARRAY_LEN(a);

    (void)state;
    assert_int_equal(coord_retention(a, len), 2); /* seven finished, five are kept */
    assert_string_equal(a[len - 1].name, "old1");
    assert_string_equal(a[len - 2].name, "old2");
    assert_false(coord_phase_final(a[0].phase)); /* the unfinished ones are never dropped */
    assert_false(coord_phase_final(a[1].phase));
    assert_string_equal(a[2].name, "c7");
    assert_int_equal(coord_retention(a, len - 2), 0);
    assert_int_equal(coord_retention(a, 0), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),    cmocka_unit_test(test_names_are_bounded),
        cmocka_unit_test(test_order),     cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_retention),
    };

    return cmocka_run_group_tests_name("coord_queue", tests, NULL, NULL);
}
