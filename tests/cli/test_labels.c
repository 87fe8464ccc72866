/* drover labels: files in, labels out; and one line for each kind of wrong file. */
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

#define EXAMPLES "examples/labels/"
#define DOM      "--domcapabilities", EXAMPLES "domcapabilities.xml"
#define MODEL    "cpu-model.node.kubevirt.io/"

static char folder[64];

static const struct row {
    const char *name;
    const char *args[12];
    const char *file; /* what FOLDER/input holds */
    int exit_code;
    const char *holds[4]; /* in the answer, or in the one line of error */
    const char *lacks;
} rows[] = {
    /* answered */
    {"the example",
     {DOM, "--capabilities", EXAMPLES "capabilities.xml", "-o", "json"},
     NULL,
     0,
     {"\"cpu-timer.node.kubevirt.io/tsc-frequency\": \"2300000000\"",
      "\"" MODEL "Haswell-noTSX\": \"true\"", "\"removed\": []",
      "\"machine-type.node.kubevirt.io/q35\": \"true\""},
     MODEL "Conroe"},
    {"with a CPU map",
     {DOM, "--cpu-map", EXAMPLES "cpu_map", "-o", "json"},
     NULL,
     0,
     {"\"cpu-feature.node.kubevirt.io/movbe\": \"true\""},
     "cpu-feature.node.kubevirt.io/sse4.1"},
    {"with the Node",
     {DOM, "--node", EXAMPLES "node.yaml", "-o", "json"},
     NULL,
     0,
     {"\"removed\": [", "\"" MODEL "EPYC\"", "\"cpu-vendor.node.kubevirt.io/AMD\"",
      "\"kubevirt.io/sev\""},
     "topology.kubernetes.io/zone"},
    {"in words",
     {DOM, "--node", EXAMPLES "node.yaml"},
     NULL,
     0,
     {"LABEL", "CHANGE", "removed", "new"},
     "{"},
    {"the cluster's obsolete models",
     {DOM, "-f", "@", "-o", "json"},
     "apiVersion: hco.kubevirt.io/v1beta1\nkind: HyperConverged\nmetadata: {name: h, namespace: "
     "n}\nspec: {obsoleteCPUs: {cpuModels: [Penryn]}}\n",
     0,
     {MODEL "Haswell-noTSX"},
     MODEL "Penryn"},
    {"a Node that is skipped",
     {DOM, "--node", "@", "-o", "json"},
     "apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {" MODEL
     "X: 'true'}, annotations: {node-labeller.kubevirt.io/skip-node: 'true'}}\n",
     0,
     {"\"labels\": {}", "\"removed\": []", "\"skipped\": true"},
     MODEL},
    {"a Node that is skipped, in words",
     {DOM, "--node", "@"},
     "apiVersion: v1\nkind: Node\nmetadata: {name: n7, annotations: "
     "{node-labeller.kubevirt.io/skip-node: ''}}\n",
     0,
     {"node n7 has the annotation"},
     "LABEL"},
    {"a host that says nothing",
     {"--domcapabilities", "@"},
     "<domainCapabilities/>",
     0,
     {"no labels"},
     "LABEL"},
    /* refused */
    {"no domain capabilities", {"-o", "json"}, NULL, 1, {"--domcapabilities is missing"}, "\n "},
    {"no such file",
     {"--domcapabilities", "nowhere.xml"},
     NULL,
     1,
     {"nowhere.xml: No such file"},
     NULL},
    {"no such capabilities",
     {DOM, "--capabilities", "nowhere"},
     NULL,
     1,
     {"nowhere: No such file"},
     NULL},
    {"no such map", {DOM, "--cpu-map", "nowhere"}, NULL, 1, {"nowhere: No such file"}, NULL},
    {"a folder that is no map", {DOM, "--cpu-map", EXAMPLES}, NULL, 1, {"no file x86_*.xml"}, NULL},
    {"no such Node", {DOM, "--node", "nowhere"}, NULL, 1, {"nowhere: No such file"}, NULL},
    {"a Node that is none",
     {DOM, "--node", "examples/10-hyperconverged.yaml"},
     NULL,
     1,
     {"examples/10-hyperconverged.yaml: want one Node", "have a HyperConverged"},
     NULL},
    {"a Node that is XML",
     {DOM, "--node", EXAMPLES "capabilities.xml"},
     NULL,
     1,
     {"capabilities.xml:1:1"},
     NULL},
    {"two Nodes", {DOM, "--node", "examples/offline"}, NULL, 1, {"want one Node"}, NULL},
    {"the two files exchanged",
     {"--domcapabilities", EXAMPLES "capabilities.xml"},
     NULL,
     1,
     {"capabilities.xml:1:1: <capabilities>: want <domainCapabilities>"},
     NULL},
    {"YAML for XML",
     {"--domcapabilities", EXAMPLES "node.yaml"},
     NULL,
     1,
     {"node.yaml:1:2: ", "want <domainCapabilities>"},
     NULL},
    {"an empty file", {"--domcapabilities", "@"}, "", 1, {"input:1:1: no XML"}, NULL},
    {"a broken tag",
     {"--domcapabilities", "@"},
     "<domainCapabilities>\n <cpu>\n</domainCapabilities>",
     1,
     {"input:3:3: mismatched tag"},
     NULL},
    {"no HyperConverged at all", {DOM, "-f", "nowhere.yaml"}, NULL, 1, {"nowhere.yaml"}, NULL},
};

static int
set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/drover-labels-%d", (int)getpid());
    return fs_mkdirs(folder, 0755, NULL);
}

static int
tear_down(void **state)
{
    (void)state;
    return fs_rmtree(folder, NULL);
}

static void
test_rows(void **state)
{
    AUTO_FREE char *file = xasprintf("%s/input", folder);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        const char *args[ARRAY_LEN(row->args) + 2] = {"labels"}, *text;
        struct ran r;

        if (row->file)
            assert_int_equal(fs_replace(file, row->file, strlen(row->file), 0644, NULL), 0);
        for (size_t k = 0; k < ARRAY_LEN(row->args) && row->args[k]; k++)
            args[k + 1] = strcmp(row->args[k], "@") == 0 ? file : row->args[k];
        r = run_verb(verb_labels, args);
        text = row->exit_code == 0 ? r.out : r.err;
        if (r.exit_code != row->exit_code)
            fail_msg("%s: exit %d\n%s%s", row->name, r.exit_code, r.out, r.err);
        for (size_t k = 0; k < ARRAY_LEN(row->holds) && row->holds[k]; k++)
            if (!strstr(text, row->holds[k]))
                fail_msg("%s: no %s in\n%s", row->name, row->holds[k], text);
        if (row->lacks && strstr(text, row->lacks))
            fail_msg("%s: %s in\n%s", row->name, row->lacks, text);
        if (row->exit_code != 0 && strchr(text, '\n') != text + strlen(text) - 1)
            fail_msg("%s: not one line:\n%s", row->name, text);
        ran_done(&r);
    }
}

/* A byte 0 would hide what comes after it. */
static void
test_byte_zero(void **state)
{
    static const char xml[] = "<domainCapabilities/>\0<more";
    AUTO_FREE char *file = xasprintf("%s/zero", folder);
    const char *args[] = {"labels", "--domcapabilities", file, NULL};
    struct ran r;

    (void)state;
    assert_int_equal(fs_replace(file, xml, sizeof xml, 0644, NULL), 0);
    r = run_verb(verb_labels, args);
    assert_int_equal(r.exit_code, 1);
    assert_non_null(strstr(r.err, "a byte 0 is in it"));
    ran_done(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_byte_zero),
    };

    return cmocka_run_group_tests_name("labels", tests, set_up, tear_down);
}
