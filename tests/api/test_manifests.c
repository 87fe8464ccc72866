/* Manifests from files and folders: the documents' own (tests/api/documents), and what goes wrong, each with the
 * place where it does. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "tests/api/rows.h"

#define DOCUMENTS "tests/api/documents/"

static char folder[64]; /* of this run; files of the rows are written there */

static void
write_file(const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(fs_replace(path, text, strlen(text), 0600, NULL), 0);
}

static int
load(const char *path, const char *second, struct tree **ret, struct warnings *warn,
     struct err *err)
{
    const char *paths[] = {path, second};

    *ret = NULL;
    *err = (struct err){0};
    return manifests_load(paths, second ? 2 : 1, ret, warn, err);
}

/* Whether any warning has the part; "" where none is wanted. */
static void
assert_warning(const struct warnings *w, const char *part)
{
    for (size_t i = 0; i < w->list.len; i++) {
        if (!part)
            fail_msg("no warning wanted: %s", w->list.items[i]);
        if (strstr(w->list.items[i], part))
            return;
    }
    if (part)
        fail_msg("no warning with: %s", part);
}

/* --- the documents --- */

#define NO_MEMORY "spec asks for no memory"

static const struct document_row {
    const char *name;    /* the file */
    const char *error;   /* NULL: it loads */
    const char *warning; /* NULL: without a word */
} document_rows[] = {
    {"policy.yaml", NULL, NULL},
    {"policy-selectors.yaml", NULL, NULL},
    {"policy-and-migration-1.yaml", NULL, NULL},
    {"migration.yaml", NULL, NULL},
    {"migration-namespace.yaml", NULL, NULL},
    {"maintenance.yaml", NULL, NULL},
    {"hco-limits.yaml", NULL, NULL},
    {"hco-network.yaml", NULL, NULL},
    {"hco-obsolete.yaml", NULL, NULL},
    {"hco-three-1.yaml", NULL, NULL},
    {"hco-three-2.yaml", NULL, NULL},
    {"hco-three-3.yaml", NULL, NULL},
    {"hco-update.yaml", NULL, "spec.workloadUpdateStrategy is kept"},
    {"hco-placement-1.yaml", NULL, "spec.infra.nodePlacement is kept"},
    {"hco-placement-2.yaml", NULL, "8 is taken as \"8\""},
    {"hco-placement-3.yaml", NULL, NULL},
    {"hco-fragments-2.yaml", NULL, "spec.configuration is kept"},
    {"hco-fragments-3.yaml", NULL, "spec.workloadUpdateStrategy is kept"},
    {"nad-migration.yaml", NULL, NULL},
    {"nad-bridge.yaml", NULL, NULL},
    {"nad-cnv-bridge.yaml", NULL, NULL},
    {"nad-layer2.yaml", NULL, NULL},
    {"nad-localnet.yaml", NULL, NULL},
    {"nad-plugins.yaml", NULL, NULL},
    {"nad-vlan.yaml", NULL, NULL},
    {"configmap.yaml", NULL, NULL},
    {"nncp-bridge.yaml", NULL, NULL},
    {"nncp-bond.yaml", NULL,
     "nmstate.io/v1alpha1 NodeNetworkConfigurationPolicy is an older version"},
    {"nncp-bridge-on-bond.yaml", NULL,
     "nmstate.io/v1alpha1 NodeNetworkConfigurationPolicy is an older version"},
    {"nncp-ovn.yaml", NULL, "spec.desiredState.ovn is not supported: nodes refuse a policy"},
    {"descheduler-2.yaml", NULL, "spec.profiles is kept"},
    {"vm-node-selector.yaml", NULL, NO_MEMORY},
    {"vm-node-affinity.yaml", NULL, NO_MEMORY},
    {"vm-pod-affinity.yaml", NULL, NO_MEMORY},
    {"vm-tolerations.yaml", NULL, "spec.tolerations is taken as spec.template.spec.tolerations"},
    {"vm-cpu-feature.yaml", NULL, NO_MEMORY},
    {"vm-conroe.yaml", NULL, NO_MEMORY},
    {"vm-scheduler.yaml", NULL, "devices.disks has disks, but the manifest has no volumes"},
    {"vm-dpdk.yaml", NULL, "domain.interfaces is taken as devices.interfaces"},
    /* fragments, placeholders and errors of the documents, each named */
    {"vm-host-model.yaml",
     ":2:13: VirtualMachine myvm: no matches for kind \"VirtualMachine\" in version "
     "\"kubevirt/v1alpha3\"",
     NULL},
    {"vm-hugepages.yaml", ":2:1: VirtualMachine: apiVersion: Required value", NULL},
    {"vm-strategies-1.yaml", ":5:9: VirtualMachine default/<vm_name>: metadata.name: Invalid value",
     NULL},
    {"vm-strategies-2.yaml", ":2:1: VirtualMachine: metadata: Required value", NULL},
    {"descheduler-1.yaml", ":2:1: VirtualMachine: metadata: Required value", NULL},
    {"policy-and-migration-2.yaml", "metadata.name: Invalid value: \"<migration_name>\"", NULL},
    {"hco-fragments-1.yaml", ":2:1: apiVersion: Required value (and 1 more)", NULL},
    {"hco-fragments-4.yaml", "spec.liveMigrationConfig.network: Invalid value: \"<network>\"",
     NULL},
};

static void
test_document(void **state)
{
    const struct document_row *row = *state;
    AUTO_FREE char *path = xasprintf(DOCUMENTS "%s", row->name);
    struct arena *a = arena_new();
    struct warnings w = {.arena = a};
    struct tree *objects;
    struct err err;
    int rc = load(path, NULL, &objects, &w, &err);

    if (row->error) {
        assert_int_not_equal(rc, 0);
        assert_null(objects);
        assert_int_equal(strncmp(err_msg(&err), path, strlen(path)), 0);
        if (!strstr(err_msg(&err), row->error))
            fail_msg("want %s, got %s", row->error, err_msg(&err));
    } else {
        if (rc != 0)
            fail_msg("%s", err_msg(&err));
        assert_int_equal(tree_len(objects), 1);
        assert_warning(&w, row->warning);
    }
    tree_free(objects);
    arena_free(a);
}

/* --- files --- */

#define NS(n) "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " n "\n"

static const struct file_row {
    const char *name;
    const char *file, *text;
    const char *error; /* behind the folder's name; NULL: it loads */
    size_t objects;
} file_rows[] = {
    {"two documents", "f.yaml", NS("a") "---\n" NS("b"), NULL, 2},
    {"yml", "f.yml", NS("a"), NULL, 1},
    {"any other name", "f.txt", NS("a"), NULL, 1},
    {"nothing but comments", "f.yaml", "# nothing\n---\n", NULL, 0},
    {"an empty file", "f.yaml", "", NULL, 0},
    {"JSON", "f.json",
     "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"a\"}}", NULL, 1},
    {"a List", "f.yaml",
     "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: "
     "a}}\n"
     "- {apiVersion: v1, kind: Node, metadata: {name: a}}\n",
     NULL, 2},
    {"a typed list", "f.yaml",
     "apiVersion: v1\nkind: NamespaceList\nmetadata: {resourceVersion: ''}\nitems:\n- {metadata: "
     "{name: a}}\n",
     NULL, 1},
    {"an empty List", "f.yaml", "{apiVersion: v1, kind: List, items: []}", NULL, 0},
    {"one name in two namespaces", "f.yaml",
     "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: m, "
     "namespace: a}, "
     "spec: {vmiName: v}}\n---\n{apiVersion: kubevirt.io/v1, kind: "
     "VirtualMachineInstanceMigration, metadata: "
     "{name: m, namespace: b}, spec: {vmiName: v}}\n",
     NULL, 2},
    {"one name of two kinds", "f.yaml",
     NS("a") "---\n{apiVersion: v1, kind: Node, metadata: {name: a}}\n", NULL, 2},

    {"bad YAML", "f.yaml", "a: 1\n b: 2\n", "/f.yaml:2:3: mapping values are not allowed", 0},
    {"stray brace (seeds A5.3)", "f.yaml",
     "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: "
     "n}\nspec:\n  config: {\n"
     "    type: macvlan }\n  }\n",
     "/f.yaml:7:3: did not find expected key", 0},
    {"duplicate key", "f.yaml", NS("a") "kind: Node\n",
     "/f.yaml:5:1: duplicate key \"kind\" (first at line 2)", 0},
    {"bad JSON", "f.json", "{\"apiVersion\": \"v1\",\n \"kind\": }",
     "/f.json:2:10: unexpected token near '}'", 0},
    {"JSON with a comment", "f.json", "// x\n{}", "/f.json:1:", 0},
    {"JSON key twice", "f.json", "{\"kind\": \"A\",\n\"kind\": \"B\"}",
     "/f.json:2:6: duplicate object key", 0},
    {"two JSON values", "f.json", "{} {}", "/f.json:1:4: end of file expected", 0},
    {"an empty JSON file", "f.json", "", "/f.json:1:0: unexpected token", 0},
    {"JSON with a bad field", "f.json",
     "{\"apiVersion\": \"v1\", \"kind\": \"Node\", \"metadata\": {\"name\": \"n\"},\n  \"spec\": "
     "{\"cordon\": true}}",
     "/f.json:2:12: Node n: unknown field \"spec.cordon\"", 0},
    {"JSON that YAML cannot place", "f.json",
     "{\"apiVersion\": \"v1\", \"kind\": \"Node\", \"metadata\": {\"name\": \"n\", "
     "\"annotations\": {\"a\": "
     "\"\\ud83d\\ude00\"}}, \"spec\": {\"cordon\": true}}",
     "/f.json: Node n: unknown field \"spec.cordon\"", 0},
    {"bad field", "f.yaml", NS("a") "spec:\n  replicas: 1\n",
     "/f.yaml:6:3: Namespace a: unknown field \"spec.replicas\"", 0},
    {"two problems", "f.yaml",
     "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: A\n  namespace: b\n",
     "/f.yaml:4:9: Namespace b/A: metadata.name: Invalid value: \"A\"", 0},
    {"and more", "f.yaml",
     "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: A\n  namespace: b\n", "(and 1 more)", 0},
    {"problem in the second document", "f.yaml", NS("a") "---\n" NS("B"),
     "/f.yaml:9:9: Namespace B: metadata.name", 0},
    {"problem in a list's item", "f.yaml",
     "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Nod\n",
     "/f.yaml:4:15: Nod: no matches for kind \"Nod\"", 0},
    {"one name twice", "f.yaml", NS("a") "---\n" NS("a"),
     "/f.yaml:6:1: Namespace a: there is one of this name already, at ", 0},
    {"one name twice, by default", "f.yaml",
     "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: m}, "
     "spec: {vmiName: "
     "v}}\n---\n{apiVersion: kubevirt.io/v1alpha3, kind: VirtualMachineInstanceMigration, "
     "metadata: {name: m, "
     "namespace: default}, spec: {vmiName: v}}\n",
     "/f.yaml:3:1: VirtualMachineInstanceMigration default/m: there is one of this name already",
     0},
    {"a word", "f.yaml", "hello\n",
     "/f.yaml:1:1: want an object with apiVersion and kind (this is of type string)", 0},
    {"a bare list", "f.yaml", "- {apiVersion: v1}\n",
     "/f.yaml:1:1: want an object with apiVersion and kind (this is of type list)", 0},
    {"a number in a List", "f.yaml", "apiVersion: v1\nkind: List\nitems:\n- 5\n",
     "/f.yaml:4:3: items[0]: want an object (this is of type integer)", 0},
    {"a List in a List", "f.yaml",
     "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: List, items: []}]}",
     "items[0]: want an object (this is of type list)", 0},
    {"a list without items", "f.yaml", "{apiVersion: v1, kind: List}",
     "no matches for kind \"List\"", 0},
    {"a typed list of something else", "f.yaml",
     "{apiVersion: v1, kind: SecretList, items: [{metadata: {name: a}}]}",
     "apiVersion: Required value", 0},
    {"port at the wrong level (seeds A6.3)", "f.yaml",
     "apiVersion: nmstate.io/v1\nkind: NodeNetworkConfigurationPolicy\nmetadata:\n  name: "
     "br1\nspec:\n"
     "  desiredState:\n    interfaces:\n      - name: br1\n        type: linux-bridge\n        "
     "port:\n"
     "          - name: eth1\n",
     "/f.yaml:10:9: NodeNetworkConfigurationPolicy br1: unknown field "
     "\"spec.desiredState.interfaces[0].port\"",
     0},
    {"bond mode that there is not", "f.yaml",
     "apiVersion: nmstate.io/v1\nkind: NodeNetworkConfigurationPolicy\nmetadata:\n  name: "
     "b\nspec:\n"
     "  desiredState:\n    interfaces:\n      - name: bond1\n        link-aggregation:\n"
     "          mode: lacp\n",
     "/f.yaml:10:17: NodeNetworkConfigurationPolicy b: "
     "spec.desiredState.interfaces[0].link-aggregation.mode: Invalid value: \"lacp\": want "
     "balance-rr",
     0},
    {"quantity with a blank (seeds A3.3)", "f.yaml",
     "apiVersion: hco.kubevirt.io/v1beta1\nkind: HyperConverged\nmetadata:\n  name: h\nspec:\n  "
     "liveMigrationConfig:\n"
     "    bandwidthPerMigration: 64 Mi\n",
     "/f.yaml:7:28: HyperConverged openshift-cnv/h: "
     "spec.liveMigrationConfig.bandwidthPerMigration: Invalid value: "
     "\"64 Mi\": it has a blank: want a quantity such as 64Mi",
     0},
    {"unknown key of two lines", "f.yaml",
     "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {\"a\\nb\": 1}\n",
     "/f.yaml:4:8: Node n: unknown field \"spec.a?b\"", 0},
    {"not UTF-8", "f.yaml", "a: \xff\n", "/f.yaml:1:4: invalid leading UTF-8 octet", 0},
};

static void
test_file(void **state)
{
    const struct file_row *row = *state;
    struct tree *objects;
    struct err err;
    char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, row->file);
    write_file(row->file, row->text);
    int rc = load(path, NULL, &objects, NULL, &err);

    if (row->error) {
        assert_int_not_equal(rc, 0);
        assert_int_equal(strncmp(err_msg(&err), folder, strlen(folder)), 0);
        if (!strstr(err_msg(&err), row->error))
            fail_msg("want %s, got %s", row->error, err_msg(&err));
    } else if (rc != 0) {
        fail_msg("%s", err_msg(&err));
    } else {
        assert_int_equal(tree_len(objects), row->objects);
    }
    tree_free(objects);
    assert_int_equal(unlink(path), 0);
}

/* --- folders --- */

static void
test_folder(void **state)
{
    struct tree *objects;
    struct err err;

    (void)state;
    assert_int_equal(load(folder, NULL, &objects, NULL, &err), -ENOENT);
    assert_non_null(strstr(err_msg(&err), "no file ends in .yaml, .yml or .json"));
    write_file("b.yaml", NS("b") "---\n" NS("a"));
    write_file("a.json",
               "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"z\"}}");
    write_file("c.yml", NS("c"));
    write_file("d.txt", "not: a manifest\n");
    write_file(".hidden.yaml", "not: a manifest\n");
    if (load(folder, NULL, &objects, NULL, &err) != 0)
        fail_msg("%s", err_msg(&err));
    /* by name of file, then in the order of the file */
    assert_int_equal(tree_len(objects), 4);
    assert_string_equal(object_name(tree_at(objects, 0)), "z");
    assert_string_equal(object_name(tree_at(objects, 1)), "b");
    assert_string_equal(object_name(tree_at(objects, 2)), "a");
    assert_string_equal(object_name(tree_at(objects, 3)), "c");
    tree_free(objects);
    /* the same object from two places: both are named */
    write_file("e.yaml", "# first line\n" NS("c"));
    assert_int_equal(load(folder, NULL, &objects, NULL, &err), -EEXIST);
    AUTO_FREE char *want =
        xasprintf("%s/e.yaml:2:1: Namespace c: there is one of this name already, at %s/c.yml:1",
                  folder, folder);

    assert_string_equal(err_msg(&err), want);
    AUTO_FREE char *one = xasprintf("%s/c.yml", folder);
    AUTO_FREE char *two = xasprintf("%s/e.yaml", folder);

    assert_int_equal(load(one, two, &objects, NULL, &err), -EEXIST);
    AUTO_FREE char *missing = xasprintf("%s/missing.yaml", folder);

    assert_int_equal(load(one, missing, &objects, NULL, &err), -ENOENT);
    assert_non_null(strstr(err_msg(&err), "missing.yaml"));
    static const char *const names[] = {"a.json", "b.yaml",       "c.yml",
                                        "d.txt",  ".hidden.yaml", "e.yaml"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO_FREE char *path = xasprintf("%s/%s", folder, names[i]);

        unlink(path);
    }
}

static void
test_stdin(void **state)
{
    static const char *const texts[] = {
        NS("a"),
        "{apiVersion: v1, kind: Namespace, metadata: {name: a}}",
        "  "
        "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"a\","
        "\"annotations\":{\"x\":"
        "\"\\ud83d\\ude00\"}}}",
    };
    int saved = dup(STDIN_FILENO);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        FILE *f = tmpfile();
        struct tree *objects;
        struct err err;

        assert_non_null(f);
        fputs(texts[i], f);
        fflush(f);
        lseek(fileno(f), 0, SEEK_SET);
        dup2(fileno(f), STDIN_FILENO);
        if (load("-", NULL, &objects, NULL, &err) != 0)
            fail_msg("%s", err_msg(&err));
        assert_string_equal(object_name(tree_at(objects, 0)), "a");
        tree_free(objects);
        fclose(f);
    }
    FILE *f = tmpfile();
    struct tree *objects;
    struct err err;

    fputs("a: [", f);
    fflush(f);
    lseek(fileno(f), 0, SEEK_SET);
    dup2(fileno(f), STDIN_FILENO);
    assert_int_not_equal(load("-", NULL, &objects, NULL, &err), 0);
    assert_int_equal(strncmp(err_msg(&err), "stdin:", 6), 0);
    fclose(f);
    dup2(saved, STDIN_FILENO);
    close(saved);
}

static int
setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/drover-test-manifests-%d", (int)getpid());
    return mkdir(folder, 0700);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {cmocka_unit_test(test_folder),
                                               cmocka_unit_test(test_stdin)};

    if (setup() != 0)
        return 1;
    int failed = ROWS_RUN("documents", document_rows, test_document) +
                 ROWS_RUN("files", file_rows, test_file) +
                 cmocka_run_group_tests_name("folders", others, NULL, NULL);

    fs_rmtree(folder, NULL);
    return failed;
}
