/* The examples of scheduling/ say what their comments and the documentation say of them. Tests run in the
 * repository's root. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "cli/verbs.h"
#include "tests/cli/fake_server.h"

#define DIR     "examples/scheduling/"
#define CLUSTER "-f", DIR "cluster.yaml"

struct row {
    const char *name;
    int (*verb)(int argc, char **argv);
    const char *args[12];
    int exit_code;
    const char *holds[5];
};

static const struct row rows[] = {
    {"preemption",
     verb_schedule,
     {"schedule", CLUSTER, "-f", DIR "preemption.yaml"},
     2,
     {"shop/checkout -> no node\n  0/3 nodes are available: 3 Insufficient memory.\n"
      "  preemption: it fits on n1 without batch/report (priority -10)\n"}},
    {"spread: one in each zone before a second one, then the other host",
     verb_schedule,
     {"schedule", CLUSTER, "-f", DIR "spread.yaml"},
     0,
     {"shop/front-1 -> n3\n", "shop/front-2 -> n2\n",
      "not n3: node(s) didn't match pod topology spread constraints\n", "shop/front-3 -> n1\n"}},
    {"Pods: to the emptiest host, and beside the database",
     verb_schedule,
     {"schedule", CLUSTER, "-f", DIR "pods.yaml"},
     0,
     {"shop/exporter -> n3\n", "shop/backup -> n2\n",
      "not n1, n3: node(s) didn't match pod affinity rules\n"}},
    {"MostAllocated: to the fullest",
     verb_schedule,
     {"schedule", CLUSTER, "-f", DIR "pods.yaml", "-f", DIR "most-allocated.yaml"},
     0,
     {"shop/exporter -> n1\n", "shop/backup -> n2\n",
      "SCORE = (3 TAINTS + 2 AFFINITY + FIT + 2 SPREAD + 2 PEERS) / 10\n"}},
    {"one of all of them",
     verb_schedule,
     {"schedule", "-f", DIR, "--vm", "shop/checkout", "-o", "json"},
     2,
     {"\"preemption\": {", "\"batch/report\""}},
    {"a drain that moves one and stops one",
     verb_evict,
     {"evict", CLUSTER, "--node", "n1"},
     0,
     {"batch/report  migrate   LiveMigrate\n", "batch/index   shutdown  None\n"}},
    {"a drain that is blocked",
     verb_evict,
     {"evict", CLUSTER, "--node", "n3"},
     2,
     {"shop/scratch  block   LiveMigrate\n"}},
    {"what can be moved",
     verb_migratable,
     {"migratable", CLUSTER, "--vm", "shop/db"},
     0,
     {"shop/db can be live-migrated"}},
    {"and what cannot",
     verb_migratable,
     {"migratable", CLUSTER, "--vm", "shop/scratch"},
     2,
     {"shop/scratch cannot be live-migrated: DisksNotLiveMigratable\n"}},
};

static void
test_scheduling(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        struct ran r = run_verb(row->verb, row->args);

        if (r.exit_code != row->exit_code || r.err[0])
            fail_msg("%s: exit %d\n%s%s", row->name, r.exit_code, r.out, r.err);
        for (size_t k = 0; row->holds[k]; k++)
            if (!strstr(r.out, row->holds[k]))
                fail_msg("%s: no \"%s\" in\n%s", row->name, row->holds[k], r.out);
        ran_done(&r);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scheduling)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
