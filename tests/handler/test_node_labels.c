/* The handler's labels: what it wants written for a Node as it is, from files and from libvirt; and what it
 * leaves alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "base/sb.h"
#include "handler/libvirt_caps.h"
#include "handler/node_labels.h"

#define NODE(labels, annotations)                                        \
    "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {" labels \
    "}, annotations: {" annotations "}}}"
#define HCO(models)                                                                               \
    "{apiVersion: hco.kubevirt.io/v1beta1, kind: HyperConverged, metadata: {name: h, namespace: " \
    "n}, spec: {obsoleteCPUs: {cpuModels: [" models "]}}}"

struct rig {
    struct loop *l;
    struct work *w;
    struct node_labels *n;
    struct tree *node;
    int turns;
    char obsolete[64]; /* of the last turn */
    bool patched;
};

static const struct labeller_files files = {
    .domcapabilities = "examples/labels/domcapabilities.xml",
    .capabilities = "examples/labels/capabilities.xml",
    .cpu_map = "examples/labels/cpu_map",
};

static struct tree *parse(const char *yaml);
static void on_news(void *ctx, const struct node_labels_news *news);
static void set_up(struct rig *r, const struct node_labels_config *cfg, const char *node,
                   const char *hco);
static void tear_down(struct rig *r);
static const char *label(const struct rig *r, const char *key);

static struct tree *
parse(const char *yaml)
{
    struct tree *docs = NULL, *one;
    struct err err;

    if (tree_from_yaml("test", yaml, strlen(yaml), &docs, &err) != 0)
        fail_msg("%s", err_msg(&err));
    one = tree_copy(tree_at(docs, 0));
    tree_free(docs);
    return one;
}

/* Does to the Node what the API would. */
static void
on_news(void *ctx, const struct node_labels_news *news)
{
    struct rig *r = ctx;

    r->turns++;
    r->patched = news->patch != NULL;
    snprintf(r->obsolete, sizeof r->obsolete, "%s",
             news->obsolete_model ? news->obsolete_model : "");
    if (news->patch) {
        assert_int_equal(tree_len(news->patch), 1); /* nothing but metadata.labels */
        assert_int_equal(tree_len(tree_get(news->patch, "metadata")), 1);
        tree_merge_patch(r->node, news->patch);
        tree_free(news->patch);
    }
    loop_stop(r->l);
}

/* Runs the first turn. */
static void
set_up(struct rig *r, const struct node_labels_config *cfg, const char *node, const char *hco)
{
    AUTO_TREE struct tree *cluster = hco ? parse(hco) : NULL;

    *r = (struct rig){.l = loop_event_new(), .node = parse(node)};
    r->w = work_new(r->l, 1);
    r->n = node_labels_new(r->l, r->w, cfg, on_news, r);
    node_labels_node(r->n, r->node);
    assert_int_equal(r->turns, 0); /* it waits for the cluster's configuration */
    node_labels_cluster(r->n, cluster);
    loop_run(r->l);
    assert_int_equal(r->turns, 1);
}

static void
tear_down(struct rig *r)
{
    work_free(r->w);
    node_labels_free(r->n);
    loop_free(r->l);
    tree_free(r->node);
}

static const char *
label(const struct rig *r, const char *key)
{
    return tree_find_string(r->node, "(none)", "metadata", "labels", key, NULL);
}

/* From files: new labels come, stale ones go, others stay; and then there is nothing left to do. */
static void
test_files(void **state)
{
    const struct node_labels_config cfg = {.files = files};
    struct rig r;

    (void)state;
    set_up(
        &r, &cfg,
        NODE("zone: a, kubevirt.io/schedulable: 'true', cpu-vendor.node.kubevirt.io/AMD: 'true', "
             "cpu-model.node.kubevirt.io/EPYC: 'true', cpu-model.node.kubevirt.io/Penryn: 'no'",
             ""),
        NULL);
    assert_true(r.patched);
    assert_string_equal(label(&r, "cpu-vendor.node.kubevirt.io/Intel"), "true");
    assert_string_equal(label(&r, "cpu-model.node.kubevirt.io/Penryn"), "true");
    assert_string_equal(label(&r, "cpu-feature.node.kubevirt.io/movbe"), "true");
    assert_string_equal(label(&r, "cpu-timer.node.kubevirt.io/tsc-frequency"), "2300000000");
    assert_string_equal(label(&r, "cpu-vendor.node.kubevirt.io/AMD"), "(none)");
    assert_string_equal(label(&r, "cpu-model.node.kubevirt.io/EPYC"), "(none)");
    assert_string_equal(label(&r, "zone"), "a");
    assert_string_equal(label(&r, "kubevirt.io/schedulable"), "true");
    assert_string_equal(r.obsolete, "");
    node_labels_node(r.n, r.node);
    assert_int_equal(r.turns, 1); /* a Node that is seen again is no reason for a turn */
    node_labels_turn(r.n);
    loop_run(r.l);
    assert_int_equal(r.turns, 2);
    assert_false(r.patched);
    tear_down(&r);
}

/* The cluster's list changes: at once, and said once. */
static void
test_obsolete(void **state)
{
    const struct node_labels_config cfg = {.files = files};
    AUTO_TREE struct tree *more = parse(HCO("Cascadelake-Server-noTSX"));
    struct rig r;

    (void)state;
    set_up(&r, &cfg, NODE("", ""), HCO("Penryn"));
    assert_string_equal(label(&r, "cpu-model.node.kubevirt.io/Penryn"), "(none)");
    assert_string_equal(label(&r, "cpu-model.node.kubevirt.io/Cascadelake-Server-noTSX"), "true");
    assert_string_equal(label(&r, LABEL_OBSOLETE_HOST_MODEL), "(none)");
    node_labels_node(r.n, r.node);
    node_labels_cluster(r.n, more);
    loop_run(r.l);
    assert_int_equal(r.turns, 2);
    assert_string_equal(r.obsolete, "Cascadelake-Server-noTSX");
    assert_string_equal(label(&r, LABEL_OBSOLETE_HOST_MODEL), "true");
    assert_string_equal(label(&r, "cpu-model.node.kubevirt.io/Cascadelake-Server-noTSX"), "(none)");
    assert_string_equal(label(&r, "cpu-model-migration.node.kubevirt.io/Cascadelake-Server-noTSX"),
                        "true");
    assert_string_equal(label(&r, "host-model-cpu.node.kubevirt.io/Cascadelake-Server-noTSX"),
                        "true");
    node_labels_node(r.n, r.node);
    node_labels_cluster(r.n, more); /* the same again is no change */
    node_labels_turn(r.n);
    loop_run(r.l);
    assert_int_equal(r.turns, 3);
    assert_string_equal(r.obsolete, "");
    tear_down(&r);
}

/* A turn that is asked for while one runs comes after it, once. */
static void
test_turns(void **state)
{
    const struct node_labels_config cfg = {.files = files};
    AUTO_TREE struct tree *hco = parse(HCO("Penryn"));
    struct rig r = {.l = loop_event_new(), .node = parse(NODE("", ""))};

    (void)state;
    r.w = work_new(r.l, 1);
    r.n = node_labels_new(r.l, r.w, &cfg, on_news, &r);
    node_labels_cluster(r.n, NULL);
    node_labels_node(r.n, r.node); /* begins one */
    node_labels_turn(r.n);
    node_labels_cluster(r.n, hco);
    loop_run(r.l);
    assert_string_equal(label(&r, "cpu-model.node.kubevirt.io/Penryn"), "true");
    loop_run(r.l);
    assert_int_equal(r.turns, 2);
    tear_down(&r);
}

static void
test_skipped(void **state)
{
    const struct node_labels_config cfg = {.files = files};
    struct rig r;

    (void)state;
    set_up(&r, &cfg,
           NODE("cpu-model.node.kubevirt.io/EPYC: 'true'",
                "node-labeller.kubevirt.io/skip-node: 'true'"),
           HCO("Cascadelake-Server-noTSX"));
    assert_false(r.patched);
    assert_string_equal(r.obsolete, "");
    tree_free(tree_take(tree_get(r.node, "metadata"), "annotations"));
    node_labels_node(r.n, r.node);
    node_labels_turn(r.n); /* the next one does it */
    loop_run(r.l);
    assert_true(r.patched);
    assert_string_equal(label(&r, "cpu-model.node.kubevirt.io/EPYC"), "(none)");
    tear_down(&r);
}

/* What the operator says with --label is neither overwritten nor taken away. */
static void
test_own_labels(void **state)
{
    struct kv own[] = {{"cpu-model.node.kubevirt.io/EPYC", "true"},
                       {"cpu-vendor.node.kubevirt.io/Intel", "maybe"}};
    const struct node_labels_config cfg = {.files = files, .own = {own, 2}};
    struct rig r;

    (void)state;
    set_up(&r, &cfg,
           NODE("cpu-model.node.kubevirt.io/EPYC: 'true', cpu-vendor.node.kubevirt.io/Intel: maybe",
                ""),
           NULL);
    assert_true(r.patched);
    assert_string_equal(label(&r, "cpu-model.node.kubevirt.io/EPYC"), "true");
    assert_string_equal(label(&r, "cpu-vendor.node.kubevirt.io/Intel"), "maybe");
    tear_down(&r);
}

/* No libvirt, or files that cannot be read: what is known of the CPU stays, and nothing is added to it. */
static void
test_unknown_host(void **state)
{
    static const struct node_labels_config cfgs[] = {
        {.libvirt_uri = NULL},
        {.libvirt_uri = "qemu+unix:///system?socket=/nonexistent/drover-test"},
        {.files = {.domcapabilities = "/nonexistent/dom.xml"}},
        {.files = {.domcapabilities = "examples/labels/node.yaml"}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cfgs); i++) {
        struct rig r;

        set_up(&r, &cfgs[i],
               NODE("cpu-model.node.kubevirt.io/EPYC: 'true', kubevirt.io/sev: 'true'", ""), NULL);
        assert_string_equal(label(&r, "cpu-model.node.kubevirt.io/EPYC"), "true");
        assert_string_equal(label(&r, "kubevirt.io/sev"), "true");
        for (size_t k = 0; k < tree_len(tree_find(r.node, "metadata", "labels", NULL)); k++) {
            const char *key = tree_key_at(tree_find(r.node, "metadata", "labels", NULL), k);

            assert_true(strstr(key, "EPYC") || strcmp(key, "kubevirt.io/sev") == 0 ||
                        strncmp(key, LABEL_HYPERV, strlen(LABEL_HYPERV)) == 0 ||
                        strcmp(key, LABEL_REALTIME) == 0);
        }
        tear_down(&r);
    }
}

/* libvirt's own test driver, in the library itself: no daemon. It can be asked for little, so that this is
 * about finding the library, connecting, and errors that are told apart. */
static void
test_libvirt(void **state)
{
    struct arena *a = arena_new();
    struct libvirt_caps caps;
    struct libvirt *lv = NULL;
    struct err err = {0};
    int rc = libvirt_new(&(struct libvirt_config){.uri = "nosuch:///thing"}, &lv, &err);

    (void)state;
    if (rc == -ENOTSUP) {
        arena_free(a);
        print_message("skipped: %s\n", err_msg(&err));
        skip();
    }
    assert_int_equal(libvirt_caps_read(lv, &caps, a, &err), -ENOTCONN);
    assert_non_null(strstr(err_msg(&err), "nosuch:///thing: "));
    libvirt_free(lv);
    assert_int_equal(libvirt_new(&(struct libvirt_config){.uri = "test:///default"}, &lv, &err), 0);
    rc = libvirt_caps_read(lv, &caps, a, &err);
    assert_true(rc == 0 || rc == -ENOTSUP);
    if (rc == 0)
        assert_non_null(strstr(caps.domcapabilities, "<domainCapabilities>"));
    else
        assert_non_null(strstr(err_msg(&err), "domain capabilities: "));
    libvirt_free(lv);
    arena_free(a);
}

/* --- libvirt comes, goes and comes again, perhaps as another version: a turn each time --- */

static struct libvirt_api table;
static virConnectCloseFunc on_close;
static void *close_ctx;
static virConnectPtr close_conn;

static int
keep_close(virConnectPtr conn, virConnectCloseFunc cb, void *opaque, virFreeCallback freecb)
{
    assert_null(freecb);
    close_conn = conn;
    on_close = cb;
    close_ctx = opaque;
    return 0;
}

static int
drop_close(virConnectPtr conn, virConnectCloseFunc cb)
{
    (void)conn;
    (void)cb;
    return 0;
}

static void
test_libvirt_comes_and_goes(void **state)
{
    const struct node_labels_config cfg = {.libvirt_uri = "test:///default"};
    const struct libvirt_api *api = libvirt_api(NULL);
    struct rig r;

    (void)state;
    if (!api) {
        print_message("skipped: no libvirt\n");
        skip();
    }
    table = *api;
    table.virConnectRegisterCloseCallback = keep_close;
    table.virConnectUnregisterCloseCallback = drop_close;
    libvirt_api_replace(&table);
    set_up(&r, &cfg, NODE("", ""), NULL);
    loop_run(r.l); /* the first turn waited for the connection; it says that it is there */
    assert_int_equal(r.turns, 2);
    on_close(close_conn, VIR_CONNECT_CLOSE_REASON_EOF, close_ctx);
    while (r.turns < 4) /* gone, and there again */
        loop_run(r.l);
    tear_down(&r);
    libvirt_api_replace(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),      cmocka_unit_test(test_obsolete),
        cmocka_unit_test(test_turns),      cmocka_unit_test(test_skipped),
        cmocka_unit_test(test_own_labels), cmocka_unit_test(test_unknown_host),
        cmocka_unit_test(test_libvirt),    cmocka_unit_test(test_libvirt_comes_and_goes),
    };

    return cmocka_run_group_tests_name("node labels", tests, NULL, NULL);
}
