/* drover simulate migration: what it answers, when it says no, and what it refuses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/tree.h"
#include "base/fs.h"
#include "base/sb.h"
#include "cli/verbs.h"
#include "tests/cli/fake_server.h"

#define VM                                                                       \
    "---\napiVersion: kubevirt.io/v1\nkind: VirtualMachine\n"                    \
    "metadata: {name: db, namespace: shop}\n"                                    \
    "spec: {runStrategy: Always, template: {metadata: {labels: {a: b}}, spec: {" \
    "domain: {memory: {guest: 4Gi}, devices: {}}}}}\n"
#define POLICY(fields)                                                             \
    VM "---\napiVersion: migrations.kubevirt.io/v1alpha1\nkind: MigrationPolicy\n" \
       "metadata: {name: p}\nspec: {" fields                                       \
       ", selectors: {virtualMachineInstanceSelector: {a: b}}}\n"
#define HOT "--working-set=1Gi", "--dirty-rate=5G", "--bandwidth=1G"

struct simulate_case {
    const char *name, *input; /* NULL: no -f */
    const char *args[8];
    int exit_code;
    const char *holds[6]; /* in the JSON, or in the error */
};

static const struct simulate_case cases[] = {
    /* refused */
    {"no bandwidth", NULL, {"--memory=1Gi"}, 1, {"--bandwidth"}},
    {"no memory", NULL, {"--bandwidth=1G"}, 1, {"--memory: must be given"}},
    {"a blank in a quantity",
     NULL,
     {"--memory=64 Mi", "--working-set=0", "--dirty-rate=0", "--bandwidth=1G"},
     1,
     {"--memory 64 Mi: "}},
    {"bandwidth 0",
     NULL,
     {"--memory=1Gi", "--working-set=0", "--dirty-rate=0", "--bandwidth=0"},
     1,
     {"--bandwidth 0: must be more than 0"}},
    {"negative",
     NULL,
     {"--memory=1Gi", "--working-set=0", "--dirty-rate=-5", "--bandwidth=1G"},
     1,
     {"--dirty-rate -5: want 0 to"}},
    {"a set larger than memory",
     NULL,
     {"--memory=1Gi", "--working-set=2Gi", "--dirty-rate=1M", "--bandwidth=1G"},
     1,
     {"--working-set 2Gi: is more than --memory"}},
    {"no such VM", VM, {"--vm=shop/x", "--memory=1Gi", HOT}, 1, {"shop/x: not in the input"}},
    {"no streams", NULL, {"--memory=1Gi", "--streams=0", HOT}, 1, {"--streams"}},
    {"no such trace", NULL, {"--trace=/nonexistent", "--bandwidth=1G"}, 1, {"/nonexistent"}},
    {"a trace and a set", NULL, {"--trace=x", HOT}, 1, {"--working-set: the trace says that"}},
    /* yes */
    {"an idle guest",
     NULL,
     {"--memory=4Gi", "--working-set=0", "--dirty-rate=0", "--bandwidth=1Gi"},
     0,
     {"\"outcome\": \"succeeded\"", "\"mode\": \"precopy\"", "\"transferredBytes\": 4294967296",
      "\"decision\": \"switchover\"", "\"rounds\": [", "\"why\": \"round 1: "}},
    {"a light writer",
     NULL,
     {"--memory=4Gi", "--working-set=1Gi", "--dirty-rate=250M", "--bandwidth=1G"},
     0,
     {"\"outcome\": \"succeeded\"", "\"decision\": \"round\""}},
    {"the memory of the VM",
     VM,
     {"--vm=shop/db", "--working-set=0", "--dirty-rate=0", "--bandwidth=1G"},
     0,
     {"\"transferredBytes\": 4294967296"}},
    {"post-copy where it is allowed",
     POLICY("allowPostCopy: true"),
     {"--vm=shop/db", HOT},
     0,
     {"\"mode\": \"postcopy\"", "by post-copy", "needs post-copy"}},
    {"a pause where it is allowed",
     POLICY("allowWorkloadDisruption: true"),
     {"--vm=shop/db", HOT},
     0,
     {"\"mode\": \"paused\"", "pause the guest for"}},
    {"slowed down where it is allowed",
     POLICY("allowAutoConverge: true"),
     {"--vm=shop/db", HOT},
     0,
     {"\"mode\": \"precopy\"", "\"decision\": \"throttle\"", "slow the writers down"}},
    {"the policy's bandwidth",
     POLICY("bandwidthPerMigration: 100M"),
     {"--vm=shop/db", "--working-set=0", "--dirty-rate=0", "--bandwidth=10G"},
     0,
     {"\"totalSeconds\": 42.9"}},
    /* no */
    {"it would never end: stalled",
     NULL,
     {"--memory=4Gi", HOT},
     2,
     {"\"outcome\": \"aborted\"", "\"reason\": \"progressTimeout: ", "does not converge"}},
    {"it would never end: out of time",
     POLICY("completionTimeoutPerGiB: 20"),
     {"--vm=shop/db", HOT},
     2,
     {"\"outcome\": \"aborted\"",
      "\"reason\": \"completionTimeoutPerGiB: not complete after 80.0"}},
    {"a policy for others",
     VM "---\napiVersion: migrations.kubevirt.io/v1alpha1\nkind: MigrationPolicy\n"
        "metadata: {name: p}\nspec: {allowPostCopy: true, selectors: "
        "{virtualMachineInstanceSelector: {a: c}}}\n",
     {"--vm=shop/db", HOT},
     2,
     {"\"outcome\": \"aborted\""}},
};

static struct ran
simulate(const struct simulate_case *c, const char *output)
{
    char dir[] = "/tmp/drover-test-XXXXXX";
    AUTO_FREE char *path = NULL;
    const char *args[16] = {"simulate", "migration"};
    struct ran r;
    size_t n = 2;

    assert_non_null(mkdtemp(dir));
    path = xasprintf("%s/input.yaml", dir);
    for (size_t i = 0; c->args[i]; i++)
        args[n++] = c->args[i];
    args[n++] = "-o";
    args[n++] = output;
    if (c->input) {
        FILE *f = fopen(path, "we");

        assert_non_null(f);
        fputs(c->input, f);
        fclose(f);
        args[n++] = "-f";
        args[n++] = path;
    }
    r = run_verb(verb_simulate, args);
    unlink(path);
    rmdir(dir);
    return r;
}

static void
test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct simulate_case *c = &cases[i];
        struct ran r = simulate(c, "json");
        const char *text = c->exit_code == 1 ? r.err : r.out;

        if (r.exit_code != c->exit_code)
            fail_msg("%s: exit %d, not %d: %s%s", c->name, r.exit_code, c->exit_code, r.out, r.err);
        for (size_t k = 0; k < ARRAY_LEN(c->holds) && c->holds[k]; k++)
            if (!strstr(text, c->holds[k]))
                fail_msg("%s: no \"%s\" in: %s", c->name, c->holds[k], text);
        ran_done(&r);
    }
}

/* The parts add up. */
static void
test_sums(void **state)
{
    const struct simulate_case c = {
        .args = {"--memory=8Gi", "--working-set=1Gi", "--dirty-rate=500M", "--bandwidth=1G"}};
    struct ran r = simulate(&c, "json");
    AUTO_TREE struct tree *t = NULL;
    const struct tree *rounds;
    int64_t sent = 0;

    (void)state;
    assert_int_equal(tree_from_json(r.out, strlen(r.out), &t, NULL), 0);
    rounds = tree_get(t, "rounds");
    assert_in_range(tree_len(rounds), 3, 20);
    for (size_t i = 0; i < tree_len(rounds); i++) {
        const struct tree *k = tree_at(rounds, i);

        assert_int_equal(tree_get_int(tree_get(k, "round"), 0), i + 1);
        if (i > 0) /* what a round left is what the next one sends */
            assert_int_equal(tree_get_int(tree_get(k, "sentBytes"), 0),
                             tree_get_int(tree_get(tree_at(rounds, i - 1), "dirtyBytes"), 0));
        sent += tree_get_int(tree_get(k, "sentBytes"), 0);
    }
    assert_int_equal(tree_get_int(tree_get(t, "transferredBytes"), 0), sent);
    ran_done(&r);
}

static void
test_table(void **state)
{
    struct ran r = simulate(&cases[ARRAY_LEN(cases) - 3], "table");

    (void)state;
    assert_int_equal(r.exit_code, 2);
    assert_non_null(strstr(r.out, "Policy      none"));
    assert_non_null(strstr(r.out, "Outcome     aborted after"));
    assert_non_null(strstr(r.out, "ROUND"));
    assert_non_null(strstr(r.out, "as before"));
    ran_done(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests_name("simulate", tests, NULL, NULL);
}
