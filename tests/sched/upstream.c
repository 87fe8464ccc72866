/* See upstream.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/sb.h"
#include "sched/fast.h"
#include "tests/sched/upstream.h"

static void run_row(void **state);
static void check_fast(struct world *w, const struct place_request *rq,
                       const struct place_result *want);
static void add_node(struct sb *got, const struct place_node *n, const char *plugin);

int
upstream_run(const char *group, const struct upstream_row *rows, size_t len)
{
    AUTO_FREE struct CMUnitTest *tests = xcalloc(len, sizeof(*tests));

    for (size_t i = 0; i < len; i++) {
        union { /* cmocka takes a pointer to data that it does not change */
            const struct upstream_row *in;
            void *out;
        } row = {.in = &rows[i]};

        tests[i] = (struct CMUnitTest){
            .name = rows[i].name, .test_func = run_row, .initial_state = row.out};
    }
    return _cmocka_run_group_tests(group, tests, len, NULL, NULL);
}

static void
run_row(void **state)
{
    const struct upstream_row *row = *state;
    AUTO_FREE char *yaml = xasprintf("%s%s", row->cluster, row->asks);
    struct world *w = world_new(yaml);
    struct place_request rq = {.vmi = w->pod ? NULL : w->vmi, .pod = w->pod};
    AUTO_SB struct sb got = SB_INIT;
    struct place_result *r;

    if (row->migrate)
        rq.purpose = PLACE_MIGRATE;
    cluster_set_from_files(w->cluster);
    r = place(w->cluster, &rq);
    for (size_t i = 0; i < r->nodes_len; i++)
        if (r->nodes[i].fits)
            add_node(&got, &r->nodes[i], row->plugin);
    if (strcmp(sb_str(&got), row->want) != 0) {
        AUTO_FREE char *reasons = world_reasons(r);

        fail_msg("got \"%s\", want \"%s\" (%s%s)", sb_str(&got), row->want, r->message, reasons);
    }
    if (row->reasons) {
        AUTO_FREE char *reasons = world_reasons(r);

        assert_string_equal(reasons, row->reasons);
    }
    check_fast(w, &rq, r);
    place_result_free(r);
    world_free(w);
}

static void
check_fast(struct world *w, const struct place_request *rq, const struct place_result *want)
{
    struct fast *f = fast_new(w->cluster);
    struct fast_decision got;

    fast_place(f, rq, &got);
    assert_string_equal(got.node ? got.node : "none", want->node ? want->node : "none");
    assert_string_equal(got.message, want->message);
    assert_int_equal(got.best_len, want->best.len);
    for (size_t i = 0; i < want->nodes_len; i++)
        if (got.node && strcmp(want->nodes[i].name, got.node) == 0)
            assert_int_equal(got.total, want->nodes[i].total);
    fast_free(f);
}

static void
add_node(struct sb *got, const struct place_node *n, const char *plugin)
{
    sb_printf(got, "%s%s", got->len > 0 ? " " : "", n->name);
    for (size_t p = 0; plugin && p < n->scores_len; p++)
        if (strcmp(n->scores[p].plugin, plugin) == 0)
            sb_printf(got, "=%lld", (long long)n->scores[p].score);
}
