/* drover policy: what it answers on manifests, and that the example files say what they teach. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sb.h"
#include "cli/verbs.h"
#include "tests/cli/fake_server.h"

#define VM(name, labels, more)                                                         \
    "---\napiVersion: kubevirt.io/v1\nkind: VirtualMachine\n"                          \
    "metadata: {name: " name ", namespace: shop}\n"                                    \
    "spec: {runStrategy: Always, template: {metadata: {labels: {" labels "}}, spec: {" \
    "domain: {memory: {guest: 6Gi}, devices: {}}" more "}}}\n"
#define NS "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {hpc: \"True\"}}\n"
#define POLICY(name, fields, ns, vmi)                                                  \
    "---\napiVersion: migrations.kubevirt.io/v1alpha1\nkind: MigrationPolicy\n"        \
    "metadata: {name: " name "}\nspec: {" fields "selectors: {namespaceSelector: {" ns \
    "}, virtualMachineInstanceSelector: {" vmi "}}}\n"
#define HCO(fields)                                                         \
    "---\napiVersion: hco.kubevirt.io/v1beta1\nkind: HyperConverged\n"      \
    "metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}\n" \
    "spec: {liveMigrationConfig: {" fields "}}\n"
#define KUBEVIRT(fields)                                     \
    "---\napiVersion: kubevirt.io/v1\nkind: KubeVirt\n"      \
    "metadata: {name: kubevirt, namespace: openshift-cnv}\n" \
    "spec: {configuration: {migrations: {" fields "}}}\n"
#define PVC(name, mode)                                                        \
    "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: " name \
    ", namespace: shop}\n"                                                     \
    "spec: {accessModes: [" mode "], resources: {requests: {storage: 10Gi}}}\n"

struct policy_case {
    const char *name, *input;
    const char *vm; /* NULL: shop/db */
    int exit_code;
    const char *holds[4]; /* in the JSON, or in the error */
};

static const struct policy_case cases[] = {
    /* refused */
    {"no such VM", NS, NULL, 1, {"virtual machine shop/db: not in the input"}},
    {"another namespace", VM("db", "", ""), "bank/db", 1, {"bank/db: not in the input"}},
    {"bandwidth with a blank",
     VM("db", "", "") HCO("bandwidthPerMigration: 64 Mi"),
     NULL,
     1,
     {"bandwidthPerMigration", "64 Mi"}},
    {"negative bandwidth",
     VM("db", "", "") POLICY("p", "bandwidthPerMigration: -1, ", "", ""),
     NULL,
     1,
     {"bandwidthPerMigration"}},
    {"a limit in a policy",
     VM("db", "", "") POLICY("p", "parallelMigrationsPerCluster: 3, ", "", ""),
     NULL,
     1,
     {"parallelMigrationsPerCluster"}},
    {"two policies of one name",
     VM("db", "", "") POLICY("p", "", "", "") POLICY("p", "", "", ""),
     NULL,
     1,
     {"p"}},
    {"no YAML", "a: [", NULL, 1, {"input.yaml:"}},
    /* answered */
    {"no policy at all",
     VM("db", "", ""),
     NULL,
     0,
     {"\"policy\": null", "\"completionTimeoutSeconds\": 4800", "\"network\": null",
      "\"candidates\": []"}},
    {"none matches",
     VM("db", "", "") NS POLICY("p", "", "hpc: \"False\"", ""),
     NULL,
     0,
     {"\"policy\": null", "\"matches\": false", "and the policy wants \\\"False\\\""}},
    {"the documents' policy",
     VM("db", "workload-type: db, operating-system: \"\"", "") NS POLICY(
         "my-awesome-policy",
         "allowAutoConverge: true, bandwidthPerMigration: 217Ki, completionTimeoutPerGiB: 23, "
         "allowPostCopy: false, ",
         "hpc: \"True\"", "workload-type: db, operating-system: \"\""),
     NULL,
     0,
     {"\"policy\": \"my-awesome-policy\"", "\"bandwidthPerMigrationBytesPerSecond\": 222208",
      "\"completionTimeoutSeconds\": 138", "\"allowAutoConverge\": true"}},
    {"more labels win",
     VM("db", "vm: db", "") NS POLICY("p1", "", "hpc: \"True\"", "")
         POLICY("p2", "", "hpc: \"True\"", "vm: db"),
     NULL,
     0,
     {"\"policy\": \"p2\"", "\"matchingLabels\": 2"}},
    {"post-copy alone allows disruption",
     VM("db", "", "") POLICY("p", "allowPostCopy: true, ", "", ""),
     NULL,
     0,
     {"\"allowPostCopy\": true", "\"allowWorkloadDisruption\": true"}},
    {"explicit 0 is unlimited",
     VM("db", "", "") HCO("bandwidthPerMigration: 64Mi, progressTimeout: 9")
         POLICY("p", "bandwidthPerMigration: 0, ", "", ""),
     NULL,
     0,
     {"\"bandwidthPerMigrationBytesPerSecond\": 0,", "\"progressTimeout\": 9"}},
    {"network of the cluster",
     VM("db", "", "") HCO("network: my-secondary-network"),
     NULL,
     0,
     {"\"network\": \"openshift-cnv/my-secondary-network\""}},
    {"KubeVirt is an alias",
     VM("db", "", "") KUBEVIRT("parallelMigrationsPerCluster: 7"),
     NULL,
     0,
     {"\"parallelMigrationsPerCluster\": 7"}},
    {"HyperConverged owns the settings",
     VM("db", "", "") KUBEVIRT("parallelMigrationsPerCluster: 7, progressTimeout: 1")
         HCO("parallelMigrationsPerCluster: 3"),
     NULL,
     0,
     {"\"parallelMigrationsPerCluster\": 3", "\"progressTimeout\": 150"}},
    {"local disks travel, too",
     VM("db", "", ", volumes: [{name: d, emptyDisk: {capacity: 10Gi}}]"),
     NULL,
     0,
     {"\"completionTimeoutSeconds\": 12800"}},
    {"a claim of one node travels",
     VM("db", "", ", volumes: [{name: d, persistentVolumeClaim: {claimName: c}}]")
         PVC("c", "ReadWriteOnce"),
     NULL,
     0,
     {"\"completionTimeoutSeconds\": 12800"}},
    {"a shared claim stays",
     VM("db", "", ", volumes: [{name: d, persistentVolumeClaim: {claimName: c}}]")
         PVC("c", "ReadWriteMany"),
     NULL,
     0,
     {"\"completionTimeoutSeconds\": 4800"}},
};

static char folder[64];

static int
set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/drover-policy-%d", (int)getpid());
    return fs_mkdirs(folder, 0755, NULL);
}

static int
cut_up(void **state)
{
    (void)state;
    return fs_rmtree(folder, NULL);
}

static void
test_cases(void **state)
{
    AUTO_FREE char *file = xasprintf("%s/input.yaml", folder);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct policy_case *c = &cases[i];
        const char *args[] = {"policy", "-f",   file, "--vm", c->vm ? c->vm : "shop/db",
                              "-o",     "json", NULL};
        const char *text;
        struct ran r;

        assert_int_equal(fs_replace(file, c->input, strlen(c->input), 0644, NULL), 0);
        r = run_verb(verb_policy, args);
        text = c->exit_code == 0 ? r.out : r.err;
        if (r.exit_code != c->exit_code)
            fail_msg("%s: exit %d\n%s%s", c->name, r.exit_code, r.out, r.err);
        for (size_t k = 0; k < ARRAY_LEN(c->holds) && c->holds[k]; k++)
            if (!strstr(text, c->holds[k]))
                fail_msg("%s: no %s in\n%s", c->name, c->holds[k], text);
        ran_done(&r);
    }
}

struct words_case {
    const char *name, *input, *holds[4];
};

static const struct words_case words_cases[] = {
    {"where values come from",
     VM("db", "", "") HCO("progressTimeout: 9")
         POLICY("fast", "bandwidthPerMigration: 64Mi, ", "", ""),
     {"64Mi/s", "policy fast", "HyperConverged", "default"}},
    {"no policy in the input", VM("db", "", ""), {"none in the input", "800 s per GiB: 4800 s"}},
    {"no policy matches",
     VM("db", "", "") POLICY("p", "", "", "a: b"),
     {"none matches", "is missing"}},
    {"both cluster objects",
     VM("db", "", "") KUBEVIRT("progressTimeout: 1") HCO("progressTimeout: 9"),
     {"those of KubeVirt do not"}},
    {"disks",
     VM("db", "", ", volumes: [{name: d, emptyDisk: {capacity: 10Gi}}]"),
     {"6Gi of memory and 10Gi of disks"}},
};

static void
test_words(void **state)
{
    AUTO_FREE char *file = xasprintf("%s/input.yaml", folder);
    const char *args[] = {"policy", "-n", "shop", "-f", file, "--vm", "db", NULL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(words_cases); i++) {
        const struct words_case *c = &words_cases[i];
        struct ran r;

        assert_int_equal(fs_replace(file, c->input, strlen(c->input), 0644, NULL), 0);
        r = run_verb(verb_policy, args);
        assert_int_equal(r.exit_code, 0);
        for (size_t k = 0; k < ARRAY_LEN(c->holds) && c->holds[k]; k++)
            if (!strstr(r.out, c->holds[k]))
                fail_msg("%s: no \"%s\" in\n%s", c->name, c->holds[k], r.out);
        ran_done(&r);
    }
}

/* --- the example files (tests run in the repository's root) --- */

static void
test_examples(void **state)
{
    static const struct {
        const char *vm, *policy, *timeout;
    } want[] = {
        {"shop/db", "\"policy\": \"database\"", "\"completionTimeoutSeconds\": 50"},
        {"shop/basket", "\"policy\": \"production\"", "\"completionTimeoutSeconds\": 75"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const char *args[] = {"policy", "-f", "examples", "--vm", want[i].vm, "-o", "json", NULL};
        struct ran r = run_verb(verb_policy, args);

        assert_int_equal(r.exit_code, 0);
        assert_string_equal(r.err, ""); /* no warnings in what we teach with */
        assert_non_null(strstr(r.out, want[i].policy));
        assert_non_null(strstr(r.out, want[i].timeout));
        assert_non_null(strstr(r.out, "\"network\": \"openshift-cnv/migration-network\""));
        ran_done(&r);
    }
}

static void
test_examples_placement(void **state)
{
    static const char *const want[] = {
        "shop/basket -> n1", "shop/cache -> n1", "shop/db -> n2",          "shop/jobs -> n3",
        "shop/ledger -> n2", "shop/queue -> n1", "shop/misfit -> no node",
    };
    const char *args[] = {"schedule",
                          "-f",
                          "examples/offline",
                          "-f",
                          "examples/30-vms.yaml",
                          "-f",
                          "examples/10-hyperconverged.yaml",
                          NULL};
    struct ran r = run_verb(verb_schedule, args);

    (void)state;
    assert_int_equal(r.exit_code, 2);
    assert_string_equal(r.err, "");
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        if (!strstr(r.out, want[i]))
            fail_msg("no \"%s\" in\n%s", want[i], r.out);
    ran_done(&r);
}

/* As docs/profiles.md shows it. */
static void
test_examples_packed(void **state)
{
    static const char want[] = "VM           NODE  SCORE  FITS\n"
                               "shop/basket  n1        3   2/3\n"
                               "shop/cache   n1       22   3/3\n"
                               "shop/db      n1       12   2/3\n"
                               "shop/jobs    n1       15   3/3\n"
                               "shop/ledger  n1       17   2/3\n"
                               "shop/queue   n1       20   2/3\n"
                               "shop/misfit  -         -   0/3\n";
    const char *args[] = {"schedule",         "-f", "examples/profile",     "-f",
                          "examples/offline", "-f", "examples/30-vms.yaml", NULL};
    struct ran r = run_verb(verb_schedule, args);

    (void)state;
    assert_string_equal(r.err, "");
    if (strncmp(r.out, want, strlen(want)) != 0)
        fail_msg("%s", r.out);
    assert_non_null(strstr(r.out, "\nSCORE = (AFFINITY + 5 FIT) / 6\n"));
    ran_done(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),           cmocka_unit_test(test_words),
        cmocka_unit_test(test_examples),        cmocka_unit_test(test_examples_placement),
        cmocka_unit_test(test_examples_packed),
    };

    return cmocka_run_group_tests_name("policy", tests, set_up, cut_up);
}
