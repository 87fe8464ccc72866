/* The examples of scheduling/ and plan/ say what their comments and the documentation say of them, and those of
 * network/ ask for what they mean to. Tests run in the repository's root. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <string.h>

#include "api/object.h"
#include "base/cleanup.h"
#include "cli/verbs.h"
#include "netpolicy/net_want.h"
#include "tests/cli/fake_server.h"

#define SCHED   "examples/scheduling/"
#define CLUSTER "-f", SCHED "cluster.yaml"

struct row {
    const char *name;
    int (*verb)(int argc, char **argv);
    const char *args[12];
    int exit_code;
    const char *holds[5];
};

static const struct row rows[] = {
    {"the steps of a node's networks",
     verb_plan,
     {"plan", "network", "-f", "examples/plan/network.yaml", "--node", "n1"},
     0,
     {"Interface migration0, 10.200.5.1/24\n", "make bridge br1 ", "put eth1 into br1 ",
      "make macvlan migration0 on br1 (bridge) ", "limit migration0 to 1000000000 bytes/s "}},
    {"preemption",
     verb_schedule,
     {"schedule", CLUSTER, "-f", SCHED "preemption.yaml"},
     2,
     {"shop/checkout -> no node\n  0/3 nodes are available: 3 Insufficient memory.\n"
      "  preemption: it fits on n1 without batch/report (priority -10)\n"}},
    {"spread: one in each zone before a second one, then the other host",
     verb_schedule,
     {"schedule", CLUSTER, "-f", SCHED "spread.yaml"},
     0,
     {"shop/front-1 -> n3\n", "shop/front-2 -> n2\n",
      "not n3: node(s) didn't match pod topology spread constraints\n", "shop/front-3 -> n1\n"}},
    {"Pods: to the emptiest host, and beside the database",
     verb_schedule,
     {"schedule", CLUSTER, "-f", SCHED "pods.yaml"},
     0,
     {"shop/exporter -> n3\n", "shop/backup -> n2\n",
      "not n1, n3: node(s) didn't match pod affinity rules\n"}},
    {"MostAllocated: to the fullest",
     verb_schedule,
     {"schedule", CLUSTER, "-f", SCHED "pods.yaml", "-f", SCHED "most-allocated.yaml"},
     0,
     {"shop/exporter -> n1\n", "shop/backup -> n2\n",
      "SCORE = (3 TAINTS + 2 AFFINITY + FIT + 2 SPREAD + 2 PEERS) / 10\n"}},
    {"one of all of them",
     verb_schedule,
     {"schedule", "-f", SCHED, "--vm", "shop/checkout", "-o", "json"},
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
    {"a policy that wants RDMA, over a network of its own",
     verb_policy,
     {"policy", "-f", "examples/rdma/trusted-network.yaml", "-f", "examples/30-vms.yaml", "--vm",
      "shop/db"},
     0,
     {"network                             openshift-cnv/rdma     HyperConverged\n",
      "drover.io/transport                 rdma                   policy over-rdma\n",
      "drover.io/trusted-network           true                   the network\n"}},
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
        for (size_t k = 0; k < ARRAY_LEN(row->holds) && row->holds[k]; k++)
            if (!strstr(r.out, row->holds[k]))
                fail_msg("%s: no \"%s\" in\n%s", row->name, row->holds[k], r.out);
        ran_done(&r);
    }
}

/* --- networks: what each asks for, as the handler reads it --- */

struct network_row {
    const char *file;
    const char *interfaces[3]; /* that it speaks of */
    uint64_t limit_bytes_per_s;
};

static const struct network_row networks[] = {
    {"migration-network.yaml", {"eth1", "migration0"}, 1000000000},
    {"bridge.yaml", {"br1"}, 0},
    {"bridge-network.yaml", {"br1", "migration0"}, 0},
    {"bond.yaml", {"bond0"}, 0},
    {"vlan.yaml", {"eth1.100"}, 0},
    {"jumbo.yaml", {"eth1"}, 0},
};

static bool
speaks_of(const struct net_wants *w, const char *name)
{
    for (size_t i = 0; i < w->len; i++)
        if (strcmp(w->items[i].link.name, name) == 0)
            return true;
    return false;
}

static void
read_network(const struct network_row *row, const struct tree *obj, struct arena *a)
{
    struct net_wants wants = {0};
    struct err err = {0};
    int rc;

    if (object_kind(obj)->kind == KIND_NNCP) {
        rc = net_want_policy(tree_find(obj, "spec", "desiredState", NULL), row->file, a, &wants,
                             &err);
    } else {
        struct nad_config c = {0};
        const char *ifname;

        rc = nad_config_parse(nad_decode(obj, a), &c, a, &err);
        if (rc == 0) {
            assert_true(c.has_range);
            assert_int_equal(c.limit_bytes_per_s, row->limit_bytes_per_s);
            rc = net_want_nad(&c, row->file, NULL, a, &wants, &ifname, &err);
        }
    }
    if (rc != 0)
        fail_msg("%s: %s", row->file, err_msg(&err));
    for (size_t i = 0; i < ARRAY_LEN(row->interfaces) && row->interfaces[i]; i++)
        if (!speaks_of(&wants, row->interfaces[i]))
            fail_msg("%s says nothing of %s", row->file, row->interfaces[i]);
}

static void
test_network(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(networks); i++) {
        AUTO_FREE char *path = xasprintf("examples/network/%s", networks[i].file);
        AUTO_TREE struct tree *objects = NULL;
        struct arena *a = arena_new();
        struct err err = {0};

        if (manifests_load((const char *const[]){path}, 1, &objects, NULL, &err) != 0)
            fail_msg("%s: %s", path, err_msg(&err));
        assert_int_equal(tree_len(objects), 1);
        read_network(&networks[i], tree_at(objects, 0), a);
        arena_free(a);
    }
}

/* Each file is in the table: one that nobody reads would rot. */
static void
test_network_all(void **state)
{
    DIR *d = opendir("examples/network");
    size_t n = 0;

    (void)state;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strstr(e->d_name, ".yaml") != NULL;
    closedir(d);
    assert_int_equal(n, ARRAY_LEN(networks));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scheduling),
                                       cmocka_unit_test(test_network),
                                       cmocka_unit_test(test_network_all)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
