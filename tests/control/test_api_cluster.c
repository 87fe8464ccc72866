/* What the API does beyond plain objects: discovery, OpenAPI, Tables, admission, namespaces that
 * end, old events, and the actions on VMs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/quantity.h"
#include "control/api_call.h"
#include "tests/control/api_fixture.h"

#define TABLE "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
#define MERGE "application/merge-patch+json"
#define NODES "/api/v1/nodes"
#define NSS   "/api/v1/namespaces"
#define KV    "/apis/kubevirt.io/v1/namespaces/default/"
#define VMS   KV "virtualmachines"
#define VMIS  KV "virtualmachineinstances"
#define VMIMS KV "virtualmachineinstancemigrations"
#define SUB   "/apis/subresources.kubevirt.io/v1/namespaces/default/"

#define NODE(name) "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"" name "\"}}"
#define DOMAIN     "\"domain\":{\"memory\":{\"guest\":\"64Mi\"},\"devices\":{}}"
#define VM(name, strategy)                                                                      \
    "{\"apiVersion\":\"kubevirt.io/"                                                            \
    "v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"" name "\"},\"spec\":{" strategy \
    ",\"template\":{\"spec\":{" DOMAIN "}}}}"
#define VMI(name)                                                             \
    "{\"apiVersion\":\"kubevirt.io/"                                          \
    "v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{\"name\":\"" name \
    "\"},\"spec\":{" DOMAIN "}}"
#define VMIM(name, vmi)                                                \
    "{\"apiVersion\":\"kubevirt.io/"                                   \
    "v1\",\"kind\":\"VirtualMachineInstanceMigration\",\"metadata\":{" \
    "\"name\":\"" name "\"},\"spec\":{\"vmiName\":\"" vmi "\"}}"
#define MAINTENANCE(name, node)                             \
    "{\"apiVersion\":\"nodemaintenance.medik8s.io/"         \
    "v1beta1\",\"kind\":\"NodeMaintenance\",\"metadata\":{" \
    "\"name\":\"" name "\"},\"spec\":{\"nodeName\":\"" node "\"}}"

/* --- discovery --- */
static void
test_discovery(void **state)
{
    static const struct {
        const char *path, *says;
    } rows[] = {
        {"/", "\"/apis/kubevirt.io/v1\""},
        {"/api", "\"versions\":[\"v1\"]"},
        {"/api/", "\"versions\":[\"v1\"]"},
        {"/api/v1",
         "\"name\":\"nodes\",\"singularName\":\"node\",\"namespaced\":false,\"kind\":\"Node\""},
        {"/api/v1", "\"shortNames\":[\"no\"]"},
        {"/api/v1", "\"name\":\"pods\""},
        {"/api/v1", "\"name\":\"namespaces/status\""},
        {"/apis", "\"name\":\"kubevirt.io\",\"versions\":[{\"groupVersion\":\"kubevirt.io/v1\""},
        {"/apis", "\"preferredVersion\":{\"groupVersion\":\"nmstate.io/v1\""},
        {"/apis", "subresources.kubevirt.io"},
        {"/apis/kubevirt.io", "\"kind\":\"APIGroup\""},
        {"/apis/kubevirt.io/v1", "\"categories\":[\"all\"]"},
        {"/apis/kubevirt.io/v1",
         "\"verbs\":[\"create\",\"delete\",\"deletecollection\",\"get\",\"list\","
         "\"patch\",\"update\",\"watch\"]"},
        {"/apis/kubevirt.io/v1alpha3", "virtualmachines"},
        {"/apis/subresources.kubevirt.io/v1", "virtualmachines/start"},
        {"/apis/subresources.kubevirt.io/v1", "virtualmachineinstances/pause"},
        {"/version", "\"major\":\"1\""},
        {"/healthz", "ok"},
        {"/livez", "ok"},
        {"/readyz/ping", "ok"},
        {"/metrics", "# TYPE kubevirt_vmi_migrations_in_running_phase gauge\n"},
        {"/openapi/v2", "\"swagger\":\"2.0\""},
        {"/openapi/v3", "\"apis/kubevirt.io/v1\":{\"serverRelativeURL\""},
        {"/openapi/v3/apis/kubevirt.io/v1?hash=1", "fieldValidation"},
        {"/openapi/v3/api/v1", "/api/v1/nodes/{name}"},
    };
    static const char *const missing[] = {"/apix",         "/apis/x.io",           "/apis/x.io/v1",
                                          "/api/v2",       "/apis/kubevirt.io/v9", "/openapi",
                                          "/openapi/v3/x", "/openapi/v3/api/v2",   "/metrics/x",
                                          "/healthz/a/b",  "/version/x",           "/apis/v1"};
    struct api_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        api_fixture_get(f, rows[i].path);
        if (f->status != 200 || !strstr(f->text, rows[i].says))
            fail_msg("%s: %d %s", rows[i].path, f->status, f->text);
    }
    for (size_t i = 0; i < ARRAY_LEN(missing); i++) {
        api_fixture_get(f, missing[i]);
        if (f->status != 404 || strcmp(api_fixture_text(f, "reason"), "NotFound") != 0)
            fail_msg("%s: %d %s", missing[i], f->status, f->text);
    }
    api_fixture_call(f, "POST", "/apis", NULL, "{}");
    assert_int_equal(f->status, 405);
    /* kubectl up to 1.26 insists on protobuf */
    api_fixture_get_as(f, "/openapi/v2",
                       "application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
    assert_int_equal(f->status, 200);
    assert_memory_equal(f->text,
                        "\x0a\x03"
                        "2.0\x12",
                        6);
}

/* Each kind that is served can be listed by what discovery says of it; of others it says nothing. */
static void
test_every_kind(void **state)
{
    struct api_fixture *f = *state;

    for (int k = KIND_NONE + 1; k < KIND_COUNT; k++) {
        const struct kind_info *ki = kind_info((enum kind)k);
        AUTO_FREE char *path = xasprintf("/%s%s/%s/%s", *ki->group ? "apis/" : "api", ki->group,
                                         ki->version, ki->plural);
        AUTO_FREE char *list = xasprintf("%sList", ki->name);

        if (ki->unserved) {
            assert_int_equal(api_fixture_get(f, path), 404);
            assert_int_equal(api_fixture_get(f, "/apis"), 200);
            assert_null(strstr(f->text, ki->group));
            assert_int_equal(api_fixture_get(f, "/openapi/v2"), 200);
            assert_null(strstr(f->text, ki->name));
            continue;
        }
        assert_int_equal(api_fixture_get(f, path), 200);
        assert_string_equal(api_fixture_text(f, "kind"), list);
        assert_true(*api_fixture_text(f, "metadata.resourceVersion") != '\0');
        assert_int_equal(api_fixture_get_as(f, path, TABLE), 200);
        assert_string_equal(api_fixture_text(f, "kind"), "Table");
        assert_true(tree_len(tree_get(f->body, "columnDefinitions")) >= 2);
    }
}

/* --- Tables --- */
static void
test_tables(void **state)
{
    static const struct {
        const char *path, *columns, *cells; /* priority 0 in capitals, others small */
    } rows[] = {
        {VMS, "NAME AGE STATUS READY", "\"v\",\"0s\",\"Running\",\"True\""},
        {VMIS, "NAME AGE PHASE IP NODENAME READY live-migratable paused",
         "\"v\",\"0s\",\"Running\",null,\"n1\",\"True\",\"False\",null"},
        {VMIMS,
         "NAME PHASE VMI source target address policy mode transport encrypted round remaining "
         "rate dirty-rate downtime age",
         "\"m\",null,\"w\","},
        {NODES,
         "NAME STATUS ROLES AGE VERSION internal-ip external-ip os-image kernel-version "
         "migration-network migration-interface migration-address mtu speed rdma",
         "\"n1\",\"NotReady,SchedulingDisabled\",\"control-plane,worker\",\"0s\",null,\"10.0.0.1\","
         "\"<none>\",null,null,\"True\""},
        {NSS, "NAME STATUS AGE", "\"default\",\"Active\",\"0s\""},
        {"/api/v1/namespaces/default/persistentvolumeclaims",
         "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS AGE volumemode",
         "\"c\",\"Pending\",null,null,\"RWO,RWX\",\"fast\",\"0s\""},
        {"/api/v1/namespaces/default/events",
         "LAST SEEN TYPE REASON OBJECT subobject source MESSAGE first seen count name",
         "\"0s\",\"Normal\",\"Because\",\"virtualmachine/v\","},
        {"/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances",
         "NAME NODE PHASE AGE reason error", "\"k\",\"n1\",null,\"0s\""},
    };
    struct api_fixture *f = *state;
    char *event, now[40];

    api_fixture_create(
        f, NODES,
        "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\",\"labels\":{"
        "\"node-role.kubernetes.io/control-plane\":\"\",\"node-role.kubernetes.io/worker\":\"\"}},"
        "\"spec\":{\"unschedulable\":true},\"status\":{\"conditions\":[{\"type\":\"Ready\","
        "\"status\":"
        "\"Unknown\"},{\"type\":\"MigrationNetworkReady\",\"status\":\"True\"}],\"addresses\":[{"
        "\"type\":"
        "\"InternalIP\",\"address\":\"10.0.0.1\"}]}}");
    api_fixture_create(f, VMS, VM("v", "\"runStrategy\":\"Halted\""));
    api_fixture_call(
        f, "PATCH", VMS "/v/status", MERGE,
        "{\"status\":{\"printableStatus\":\"Running\",\"conditions\":[{\"type\":\"Ready\","
        "\"status\":\"True\"}]}}");
    api_fixture_create(f, VMIS, VMI("v"));
    api_fixture_call(
        f, "PATCH", VMIS "/v/status", MERGE,
        "{\"status\":{\"phase\":\"Running\",\"nodeName\":\"n1\",\"conditions\":[{\"type\":"
        "\"Ready\",\"status\":\"True\"},{\"type\":\"LiveMigratable\",\"status\":\"False\"}]}}");
    assert_int_equal(f->status, 200);
    api_fixture_create(f, VMIS, VMI("w"));
    api_fixture_create(f, VMIMS, VMIM("m", "w"));
    api_fixture_create(f, "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances",
                       MAINTENANCE("k", "n1"));
    api_fixture_create(
        f, "/api/v1/namespaces/default/persistentvolumeclaims",
        "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":"
        "\"c\"},\"spec\":{\"accessModes\":[\"ReadWriteMany\",\"ReadWriteOnce\"],"
        "\"storageClassName\":\"fast\",\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}");
    time_format(loop_wall_us(f->loop), false, now, sizeof(now));
    event =
        xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"e\"},"
                  "\"involvedObject\":{\"kind\":\"VirtualMachine\",\"name\":\"v\",\"namespace\":"
                  "\"default\"},\"type\":\"Normal\",\"reason\":\"Because\",\"message\":\"m\","
                  "\"lastTimestamp\":\"%s\"}",
                  now);
    api_fixture_create(f, "/api/v1/namespaces/default/events", event);
    free(event);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sb columns = SB_INIT;
        const struct tree *defs;

        assert_int_equal(api_fixture_get_as(f, rows[i].path, TABLE), 200);
        defs = tree_get(f->body, "columnDefinitions");
        for (size_t k = 0; k < tree_len(defs); k++) {
            const char *name = tree_find_string(tree_at(defs, k), "", "name", NULL);
            int64_t priority = tree_get_int(tree_get(tree_at(defs, k), "priority"), -1);

            if (k)
                sb_putc(&columns, ' ');
            for (; *name; name++)
                sb_putc(&columns, (char)(priority ? *name | (*name >= 'A' && *name <= 'Z' ? 32 : 0)
                                         : *name >= 'a' && *name <= 'z' ? *name - 32
                                                                        : *name));
        }
        assert_string_equal(sb_str(&columns), rows[i].columns);
        sb_done(&columns);
        /* ages are of this second or the next */
        for (char *age; (age = strstr(f->text, "\"1s\""));)
            age[1] = '0';
        if (!strstr(f->text, rows[i].cells))
            fail_msg("%s: want %s in %s", rows[i].path, rows[i].cells, f->text);
        assert_non_null(strstr(f->text, "\"object\":{\"kind\":\"PartialObjectMetadata\""));
    }
    api_fixture_get_as(f, VMS "?includeObject=None", TABLE);
    assert_non_null(strstr(f->text, "\"object\":null"));
    api_fixture_get_as(f, VMS "?includeObject=Object", TABLE);
    assert_non_null(strstr(f->text, "\"object\":{\"apiVersion\":\"kubevirt.io/v1\""));
    api_fixture_get_as(f, VMS "/v", TABLE);
    assert_non_null(strstr(f->text, "\"kind\":\"Table\""));
}

/* --- admission --- */
/* Whose memory was protected: from what the source said last, also where it cannot say all of it. */
static void
test_encryption_column(void **state)
{
    static const struct {
        const char *annotation, *said, *cells;
    } rows[] = {
        {"progress", "{}", "null,\"\",\"\",\"\""},
        {"progress", "{'encrypted':true,'tls':'TLS 1.3'}", "null,\"\",\"yes\",\"\""},
        {"progress", "{'encrypted':true,'tls':'TLS 1.3','transport':'tcp'}", "\"tcp\",\"yes\""},
        {"progress", "{'encrypted':false,'tls':'TLS 1.3','transport':'rdma'}",
         "\"rdma\",\"control-only\""},
        {"result", "{'outcome':'succeeded'}", "\"rdma\",\"control-only\""},
        {"result", "{'encrypted':false,'tls':'TLS 1.3','transport':'tcp'}", "\"tcp\",\"in-part\""},
        {"result", "{'encrypted':false,'tls':'','transport':'tcp'}", "\"tcp\",\"no\""},
        {"result", "{'encrypted':false,'tls':'','transport':'rdma'}", "\"rdma\",\"no\""},
    };
    struct api_fixture *f = *state;

    api_fixture_create(f, VMIS, VMI("w"));
    api_fixture_create(f, VMIMS, VMIM("m", "w"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_TREE struct tree *patch = tree_map();
        AUTO_FREE char *key = xasprintf("drover.io/migration-%s", rows[i].annotation);
        AUTO_FREE char *said = xstrdup(rows[i].said);
        AUTO_SB struct sb json = SB_INIT;

        for (char *c = said; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        tree_set_path(patch, tree_string(said), "metadata", "annotations", key, NULL);
        tree_to_json(patch, 0, &json);
        api_fixture_call(f, "PATCH", VMIMS "/m", MERGE, sb_str(&json));
        assert_int_equal(f->status, 200);
        api_fixture_get_as(f, VMIMS "/m", TABLE);
        if (!strstr(f->text, rows[i].cells))
            fail_msg("%s: want %s in %s", rows[i].said, rows[i].cells, f->text);
    }
}

static void
set_vmi(struct api_fixture *f, const char *status)
{
    api_fixture_call(f, "PATCH", VMIS "/v/status", MERGE, status);
    assert_int_equal(f->status, 200);
}

static void
test_migration_admission(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_call(f, "POST", VMIMS, NULL, VMIM("m", "v"));
    assert_int_equal(f->status, 400);
    assert_non_null(strstr(f->text, "the VMI \\\"default/v\\\" does not exist"));

    api_fixture_create(f, VMIS, VMI("v"));
    api_fixture_call(
        f, "POST", VMIMS, NULL,
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstanceMigration\","
        "\"metadata\":{\"name\":\"m\"},\"spec\":{\"vmiName\":\"v\",\"priority\":"
        "\"system-critical\"}}");
    assert_int_equal(f->status, 422);
    assert_non_null(strstr(f->text, "spec.priority"));

    set_vmi(f, "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"LiveMigratable\","
               "\"status\":"
               "\"False\",\"reason\":\"DisksNotLiveMigratable\",\"message\":\"cannot\"}]}}");
    api_fixture_call(f, "POST", VMIMS, NULL, VMIM("m", "v"));
    assert_int_equal(f->status, 400);
    assert_non_null(
        strstr(f->text, "Cannot migrate VMI, Reason: DisksNotLiveMigratable, Message: cannot"));

    set_vmi(f, "{\"status\":{\"phase\":\"Succeeded\",\"conditions\":null}}");
    api_fixture_call(f, "POST", VMIMS, NULL, VMIM("m", "v"));
    assert_int_equal(f->status, 400);
    assert_non_null(strstr(f->text, "Cannot migrate VMI in finalized state."));

    set_vmi(f, "{\"status\":{\"phase\":\"Running\"}}");
    api_fixture_create(f, VMIMS, VMIM("m", "v"));
    api_fixture_call(f, "POST", VMIMS, NULL, VMIM("m2", "v"));
    assert_int_equal(f->status, 400);
    assert_non_null(strstr(f->text, "in-flight migration detected. Active migration job (m)"));

    api_fixture_call(f, "PATCH", VMIMS "/m/status", MERGE, "{\"status\":{\"phase\":\"Failed\"}}");
    assert_int_equal(f->status, 200);
    api_fixture_create(f, VMIMS, VMIM("m2", "v"));
    /* what it migrates cannot be changed */
    api_fixture_call(f, "PATCH", VMIMS "/m2", MERGE, "{\"spec\":{\"vmiName\":\"w\"}}");
    assert_int_equal(f->status, 422);
}

/* Two at once: one of them is refused, whatever the order. */
struct pair {
    struct api_fixture *f;
    pthread_t thread;
    char url[96];
    int created;
    const char *body;
};

static void *
post_many(void *arg)
{
    struct pair *p = arg;
    struct rest *r = rest_new(p->url, NULL);

    for (int i = 0; i < 20; i++) {
        struct rest_reply rp;

        if (rest_call(r, "POST", VMIMS, NULL, NULL, p->body, strlen(p->body), &rp, NULL) != 0)
            continue;
        p->created += rp.status == 201;
        rest_reply_done(&rp);
    }
    rest_free(r);
    return NULL;
}

static void
test_admission_has_no_race(void **state)
{
    struct api_fixture *f = *state;
    struct pair p[4];
    int created = 0;

    api_fixture_create(f, VMIS, VMI("v"));
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        p[i] = (struct pair){.f = f,
                             .body = "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":"
                                     "\"VirtualMachineInstanceMigration\",\"metadata\":{"
                                     "\"generateName\":\"m-\"},\"spec\":{\"vmiName\":\"v\"}}"};
        snprintf(p[i].url, sizeof(p[i].url), "%s", f->url);
        assert_int_equal(pthread_create(&p[i].thread, NULL, post_many, &p[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        pthread_join(p[i].thread, NULL);
        created += p[i].created;
    }
    assert_int_equal(created, 1);
}

static void
test_other_admission(void **state)
{
    static const char path[] = "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances";
    static const char hco[] =
        "{\"apiVersion\":\"hco.kubevirt.io/v1beta1\",\"kind\":\"HyperConverged\","
        "\"metadata\":{\"name\":\"kubevirt-hyperconverged\"},\"spec\":{}}";
    struct api_fixture *f = *state;

    api_fixture_call(f, "POST", path, NULL, MAINTENANCE("a", "n1"));
    assert_int_equal(f->status, 400);
    assert_non_null(strstr(f->text, "invalid nodeName, no node with name n1 found"));
    api_fixture_create(f, NODES, NODE("n1"));
    api_fixture_create(f, path, MAINTENANCE("a", "n1"));
    api_fixture_call(f, "POST", path, NULL, MAINTENANCE("b", "n1"));
    assert_int_equal(f->status, 400);
    assert_non_null(strstr(f->text, "a NodeMaintenance for node n1 already exists"));

    api_fixture_create(f, "/apis/hco.kubevirt.io/v1beta1/namespaces/openshift-cnv/hyperconvergeds",
                       hco);
    assert_int_equal(f->warnings, 0);
    api_fixture_create(f, "/apis/hco.kubevirt.io/v1beta1/namespaces/default/hyperconvergeds", hco);
    assert_int_equal(f->warnings, 1);
    assert_non_null(strstr(f->warning, "has no effect"));
}

/* --- namespaces --- */
static void
wait_gone(struct api_fixture *f, const char *path)
{
    for (int i = 0; i < 1000 && api_fixture_get(f, path) != 404; i++)
        ;
    assert_int_equal(f->status, 404);
}

static void
test_namespace_ends(void **state)
{
    static const char nads[] =
        "/apis/k8s.cni.cncf.io/v1/namespaces/x/network-attachment-definitions";
    static const char nad[] = "{\"apiVersion\":\"k8s.cni.cncf.io/v1\",\"kind\":"
                              "\"NetworkAttachmentDefinition\",\"metadata\":{\"name\":\"a\"}}";
    static const char held[] = "{\"apiVersion\":\"k8s.cni.cncf.io/v1\",\"kind\":"
                               "\"NetworkAttachmentDefinition\",\"metadata\":{\"name\":\"held\","
                               "\"finalizers\":[\"a.io/x\"]}}";
    struct api_fixture *f = *state;

    api_fixture_create(
        f, NSS, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"x\"}}");
    assert_string_equal(api_fixture_text(f, "status.phase"), "Active");
    assert_non_null(strstr(f->text, "\"kubernetes.io/metadata.name\":\"x\""));
    api_fixture_create(f, nads, nad);
    api_fixture_create(f, nads, held);
    assert_int_equal(api_fixture_call(f, "DELETE", NSS "/x", NULL, NULL), 200);
    assert_string_equal(api_fixture_text(f, "kind"), "Namespace");
    wait_gone(f, "/apis/k8s.cni.cncf.io/v1/namespaces/x/network-attachment-definitions/a");
    assert_int_equal(api_fixture_get(f, NSS "/x"), 200); /* waits for the one that is held */
    assert_string_equal(api_fixture_text(f, "status.phase"), "Terminating");
    api_fixture_call(f, "POST", nads, NULL, nad);
    assert_int_equal(f->status, 403);
    assert_non_null(strstr(f->text, "because it is being terminated"));
    api_fixture_call(f, "PATCH",
                     "/apis/k8s.cni.cncf.io/v1/namespaces/x/network-attachment-definitions/held",
                     MERGE, "{\"metadata\":{\"finalizers\":null}}");
    assert_int_equal(f->status, 200);
    wait_gone(f, NSS "/x");
    api_fixture_call(f, "POST", nads, NULL, nad);
    assert_int_equal(f->status, 404);
    /* an empty one goes at once */
    api_fixture_create(
        f, NSS, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"x\"}}");
    assert_int_equal(api_fixture_call(f, "DELETE", NSS "/x", NULL, NULL), 200);
    wait_gone(f, NSS "/x");
}

/* A server that starts on a store with a namespace that is ending, and with old events. */
static void
test_carries_on(void **state)
{
    struct loop *loop = loop_sim_new(1);
    struct store *st = store_open_mem(loop);
    struct tree *t;
    struct err err = {0};
    const char *const texts[] = {
        "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"x\",\"finalizers\":"
        "["
        "\"kubernetes\"]}}",
        "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":\"c\","
        "\"namespace\":"
        "\"x\"}}",
        "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"old\",\"namespace\":"
        "\"default\"},"
        "\"lastTimestamp\":\"2025-12-31T22:59:00Z\"}",
        "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"new\",\"namespace\":"
        "\"default\"},"
        "\"lastTimestamp\":\"2025-12-31T23:59:00Z\"}",
    };
    struct api a = {.loop = loop, .store = st}; /* no HTTP server: that needs descriptors */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(tree_from_json(texts[i], strlen(texts[i]), &t, &err), 0);
        store_create(st, t, NULL, NULL);
    }
    store_delete(st, KIND_NAMESPACE, NULL, "x", NULL, 0, NULL, NULL);
    loop_sim_run_until(loop, loop_now_us(loop) + 1000);
    assert_non_null(store_get(st, KIND_NAMESPACE, NULL, "x"));

    api_housekeeping_start(&a);
    loop_sim_run_until(loop, loop_now_us(loop) + 1000);
    assert_null(store_get(st, KIND_PVC, "x", "c"));
    assert_null(store_get(st, KIND_NAMESPACE, NULL, "x"));
    assert_non_null(store_get(st, KIND_NAMESPACE, NULL, "default"));
    assert_null(store_get(st, KIND_EVENT, "default", "old"));
    assert_non_null(store_get(st, KIND_EVENT, "default", "new"));
    loop_sim_run_until(loop, loop_now_us(loop) + UINT64_C(3600) * 1000000);
    assert_null(store_get(st, KIND_EVENT, "default", "new"));
    api_housekeeping_stop(&a);
    store_free(st);
    loop_free(loop);
}

/* --- actions on VMs --- */
static void
test_actions(void **state)
{
    static const struct {
        const char *name, *strategy;
        const char *vmi; /* its phase; NULL: there is none */
        const char *action;
        int status;
        const char *says; /* in the refusal */
        const char *then,
            *requests; /* runStrategy or running; status.stateChangeRequests' actions */
    } rows[] = {
        {"start halted", "\"runStrategy\":\"Halted\"", NULL, "start", 202, "", "Always", ""},
        {"start by running", "\"running\":false", NULL, "start", 202, "", "true", ""},
        {"start manual", "\"runStrategy\":\"Manual\"", NULL, "start", 202, "", "Manual", "Start"},
        {"start manual again", "\"runStrategy\":\"Manual\"", "Succeeded", "start", 202, "",
         "Manual", "Start"},
        {"start manual that runs", "\"runStrategy\":\"Manual\"", "Running", "start", 409,
         "already running", "Manual", ""},
        {"start always", "\"runStrategy\":\"Always\"", "Running", "start", 409,
         "Always does not support manual start requests", "Always", ""},
        {"start by running that runs", "\"running\":true", "Running", "start", 409,
         "Always does not", "true", ""},
        {"start rerun that has ended", "\"runStrategy\":\"RerunOnFailure\"", "Succeeded", "start",
         202, "", "RerunOnFailure", "Start"},
        {"start rerun that runs", "\"runStrategy\":\"RerunOnFailure\"", "Running", "start", 409,
         "already running", "RerunOnFailure", ""},
        {"start once", "\"runStrategy\":\"Once\"", "Succeeded", "start", 409,
         "Once does not support manual start requests", "Once", ""},
        {"restart once", "\"runStrategy\":\"Once\"", "Running", "restart", 409,
         "Once does not support manual restart requests", "Once", ""},
        {"stop once", "\"runStrategy\":\"Once\"", "Running", "stop", 202, "", "Halted", ""},
        {"stop always", "\"runStrategy\":\"Always\"", "Running", "stop", 202, "", "Halted", ""},
        {"stop by running", "\"running\":true", "Running", "stop", 202, "", "false", ""},
        {"stop rerun", "\"runStrategy\":\"RerunOnFailure\"", "Running", "stop", 202, "", "Halted",
         ""},
        {"stop manual", "\"runStrategy\":\"Manual\"", "Running", "stop", 202, "", "Manual", "Stop"},
        {"stop manual that does not run", "\"runStrategy\":\"Manual\"", NULL, "stop", 409,
         "VM is not running", "Manual", ""},
        {"stop halted", "\"runStrategy\":\"Halted\"", NULL, "stop", 409, "VM is not running",
         "Halted", ""},
        {"restart always", "\"runStrategy\":\"Always\"", "Running", "restart", 202, "", "Always",
         "Stop Start"},
        {"restart rerun", "\"runStrategy\":\"RerunOnFailure\"", "Running", "restart", 202, "",
         "RerunOnFailure", "Stop Start"},
        {"restart manual", "\"runStrategy\":\"Manual\"", "Running", "restart", 202, "", "Manual",
         "Stop Start"},
        {"restart halted", "\"runStrategy\":\"Halted\"", NULL, "restart", 409,
         "Halted does not support manual restart requests", "Halted", ""},
        {"restart what does not run", "\"runStrategy\":\"Always\"", NULL, "restart", 409,
         "VM is not running", "Always", ""},
    };
    struct api_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *body = xasprintf(
            "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{"
            "\"name\":\"v\"},\"spec\":{%s,\"template\":{\"spec\":{" DOMAIN "}}}}",
            rows[i].strategy);
        char *path = xasprintf(SUB "virtualmachines/v/%s", rows[i].action);
        struct sb requests = SB_INIT;
        const struct tree *list;
        const char *then;

        api_fixture_create(f, VMS, body);
        if (rows[i].vmi) {
            char *status = xasprintf("{\"status\":{\"phase\":\"%s\"}}", rows[i].vmi);

            api_fixture_create(f, VMIS, VMI("v"));
            set_vmi(f, status);
            free(status);
        }
        api_fixture_call(f, "PUT", path, NULL, "{}");
        if (f->status != rows[i].status || !strstr(f->text, rows[i].says))
            fail_msg("%s: %d %s", rows[i].name, f->status, f->text);
        api_fixture_get(f, VMS "/v");
        then = api_fixture_text(f, "spec.runStrategy");
        if (!*then)
            then = api_fixture_text(f, "spec.running");
        if (strcmp(then, rows[i].then) != 0)
            fail_msg("%s: then %s", rows[i].name, then);
        list = tree_find(f->body, "status", "stateChangeRequests", NULL);
        for (size_t k = 0; k < tree_len(list); k++)
            sb_printf(&requests, "%s%s", k ? " " : "",
                      tree_find_string(tree_at(list, k), "", "action", NULL));
        if (strcmp(sb_str(&requests), rows[i].requests) != 0)
            fail_msg("%s: requests %s", rows[i].name, sb_str(&requests));
        if (*rows[i].requests) { /* one at a time */
            api_fixture_call(f, "PUT", SUB "virtualmachines/v/restart", NULL, "{}");
            assert_int_equal(f->status, 409);
        }
        sb_done(&requests);
        free(body);
        free(path);
        api_fixture_call(f, "DELETE", VMS "/v", NULL, NULL);
        api_fixture_call(f, "DELETE", VMIS "/v", NULL, NULL);
    }
}

static void
test_more_actions(void **state)
{
    static const struct {
        const char *name, *method, *path, *body;
        int status;
        const char *says;
    } rows[] = {
        {"no such VM", "PUT", SUB "virtualmachines/x/start", NULL, 404,
         "virtualmachines.kubevirt.io \\\"x\\\" not found"},
        {"migrate no such VM", "PUT", SUB "virtualmachines/x/migrate", NULL, 404, "not found"},
        {"migrate what does not run", "PUT", SUB "virtualmachines/idle/migrate", NULL, 409,
         "VM is not running"},
        {"no such action", "PUT", SUB "virtualmachines/v/fly", NULL, 404, "could not find"},
        {"another's action", "PUT", SUB "virtualmachines/v/pause", NULL, 404, "could not find"},
        {"by GET", "GET", SUB "virtualmachines/v/start", NULL, 405, "does not allow"},
        {"by POST", "POST", SUB "virtualmachines/v/start", "{}", 405, "does not allow"},
        {"bad JSON", "PUT", SUB "virtualmachines/v/start", "{", 400, "json parse error"},
        {"an older version", "PUT",
         "/apis/subresources.kubevirt.io/v1alpha3/namespaces/default/"
         "virtualmachines/v/stop?dryRun=All",
         NULL, 202, "Success"},
        {"an unknown version", "PUT",
         "/apis/subresources.kubevirt.io/v9/namespaces/default/"
         "virtualmachines/v/stop",
         NULL, 404, "could not find"},
        {"pause no such VMI", "PUT", SUB "virtualmachineinstances/x/pause", NULL, 404, "not found"},
        {"pause what does not run", "PUT", SUB "virtualmachineinstances/v/pause", NULL, 409,
         "VMI is not running"},
        {"unpause what does not run", "PUT", SUB "virtualmachineinstances/v/unpause", NULL, 409,
         "VMI is not running"},
        {"reset what does not run", "PUT", SUB "virtualmachineinstances/v/reset", NULL, 409,
         "VMI is not running"},
        {"pause by GET", "GET", SUB "virtualmachineinstances/v/pause", NULL, 405, "does not allow"},
        {"VNC", "GET", SUB "virtualmachineinstances/v/vnc", NULL, 501,
         "vnc of a VirtualMachineInstance is not served: VMs have no graphics device"},
        {"what the agent knows", "GET", SUB "virtualmachineinstances/v/userlist", NULL, 501,
         "is not served"},
        {"migrate, dry", "PUT", SUB "virtualmachines/v/migrate?dryRun=All", NULL, 202, "Success"},
        {"migrate", "PUT", SUB "virtualmachines/v/migrate", "{\"addedNodeSelector\":{\"a\":\"b\"}}",
         202, "Success"},
        {"migrate twice", "PUT", SUB "virtualmachines/v/migrate", NULL, 400, "in-flight migration"},
    };
    struct api_fixture *f = *state;

    api_fixture_create(f, VMS, VM("v", "\"runStrategy\":\"Always\""));
    api_fixture_create(f, VMS, VM("idle", "\"runStrategy\":\"Halted\""));
    api_fixture_create(f, VMIS, VMI("v"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        api_fixture_call(f, rows[i].method, rows[i].path, NULL, rows[i].body);
        if (f->status != rows[i].status || !strstr(f->text, rows[i].says))
            fail_msg("%s: %d %s", rows[i].name, f->status, f->text);
    }
    api_fixture_get(f, VMIMS);
    assert_int_equal(tree_len(tree_get(f->body, "items")), 1);
    assert_true(strncmp(api_fixture_text(f, "items.0.metadata.name"), "kubevirt-migrate-vm-", 20) ==
                0);
    assert_int_equal(strlen(api_fixture_text(f, "items.0.metadata.name")), 25);
    assert_string_equal(api_fixture_text(f, "items.0.spec.vmiName"), "v");
    assert_string_equal(api_fixture_text(f, "items.0.spec.addedNodeSelector.a"), "b");
}

#define ASKED(c)       tree_find_string(c, "", "metadata", "annotations", "drover.io/pause-request", NULL)
#define PAUSED(status) ",\"conditions\":[{\"type\":\"Paused\",\"status\":\"" status "\"}]"

/* What upstream refuses is refused, and what is accepted becomes the annotation. */
static void
test_pause(void **state)
{
    static const struct {
        const char *name, *spec, *status, *annotation, *action, *body;
        int code;
        const char *says, *then;
    } rows[] = {
        {"pause", "", "", NULL, "pause", NULL, 202, "Success", "true"},
        {"pause, dry, in the query", "", "", NULL, "pause?dryRun=All", NULL, 202, "Success", ""},
        {"pause, dry, as virtctl", "", "", NULL, "pause", "{\"dryRun\":[\"All\"]}", 202, "Success",
         ""},
        {"pause, half dry", "", "", NULL, "pause", "{\"dryRun\":[\"Some\"]}", 422,
         "Unsupported value", ""},
        {"pause twice", "", "", "true", "pause", NULL, 202, "Success", "true"},
        {"pause again", "", PAUSED("False"), "false", "pause", NULL, 202, "Success", "true"},
        {"pause what is paused", "", PAUSED("True"), "true", "pause", NULL, 409,
         "virtualmachineinstances.kubevirt.io \\\"v\\\": VMI is already paused", "true"},
        {"pause with a probe", ",\"livenessProbe\":{\"periodSeconds\":1}", "", NULL, "pause", NULL,
         403, "Pausing VMIs with LivenessProbe is currently not supported", ""},
        {"pause while it migrates", "",
         ",\"migrationState\":{\"migrationUid\":\"u\",\"completed\":false}", NULL, "pause", NULL,
         409, "Cannot pause VM 'v' because it is currently being migrated", ""},
        {"pause after it migrated", "",
         ",\"migrationState\":{\"migrationUid\":\"u\",\"completed\":true}", NULL, "pause", NULL,
         202, "Success", "true"},
        {"unpause", "", PAUSED("True"), "true", "unpause", NULL, 202, "Success", "false"},
        {"unpause, dry", "", PAUSED("True"), "true", "unpause", "{\"dryRun\":[\"All\"]}", 202,
         "Success", "true"},
        {"unpause what others paused", "", PAUSED("True"), NULL, "unpause", NULL, 202, "Success",
         "false"},
        {"unpause before it is paused", "", "", "true", "unpause", NULL, 202, "Success", "false"},
        {"reset while it migrates", "",
         ",\"migrationState\":{\"migrationUid\":\"u\",\"completed\":false}", NULL, "reset", NULL,
         409, "Cannot reset VM 'v'", ""},
        {"reset, dry", "", "", NULL, "reset?dryRun=All", NULL, 202, "Success", ""},
        {"unpause what is not paused", "", PAUSED("False"), NULL, "unpause", NULL, 409,
         "VMI is not paused", ""},
        {"unpause twice", "", "", "false", "unpause", NULL, 409, "VMI is not paused", "false"},
    };
    struct api_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *vmi = xasprintf(
            "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{"
            "\"name\":\"v\",\"annotations\":{%s%s%s}},\"spec\":{" DOMAIN "%s}}",
            rows[i].annotation ? "\"drover.io/pause-request\":\"" : "",
            rows[i].annotation ? rows[i].annotation : "", rows[i].annotation ? "\"" : "",
            rows[i].spec);
        AUTO_FREE char *status =
            xasprintf("{\"status\":{\"phase\":\"Running\"%s}}", rows[i].status);
        AUTO_FREE char *path = xasprintf(SUB "virtualmachineinstances/v/%s", rows[i].action);

        api_fixture_create(f, VMIS, vmi);
        assert_int_equal(
            api_fixture_call(f, "PATCH", VMIS "/v/status", "application/merge-patch+json", status),
            200);
        api_fixture_call(f, "PUT", path, NULL, rows[i].body);
        if (f->status != rows[i].code || !strstr(f->text, rows[i].says))
            fail_msg("%s: %d %s", rows[i].name, f->status, f->text);
        api_fixture_get(f, VMIS "/v");
        if (strcmp(ASKED(f->body), rows[i].then) != 0)
            fail_msg("%s: then %s", rows[i].name, ASKED(f->body));
        api_fixture_call(f, "DELETE", VMIS "/v", NULL, NULL);
    }
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, api_fixture_setup, api_fixture_teardown)

#define HCOS    "/apis/hco.kubevirt.io/v1beta1/namespaces/openshift-cnv/hyperconvergeds"
#define OWN_VMS "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"
#define PLACE   "{\"spec\":{\"workloads\":{\"nodePlacement\":{\"nodeSelector\":{\"a\":\"b\"}}}}}"

/* The documents: the placement of workloads changes only when no VMs are present. */
static void
test_placement_of_workloads(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_create(f, HCOS,
                       "{\"apiVersion\":\"hco.kubevirt.io/v1beta1\",\"kind\":\"HyperConverged\","
                       "\"metadata\":{\"name\":\"kubevirt-hyperconverged\"},\"spec\":{}}");
    assert_int_equal(api_fixture_call(f, "PATCH", HCOS "/kubevirt-hyperconverged",
                                      "application/merge-patch+json", PLACE),
                     200);
    api_fixture_create(
        f, VMS,
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{"
        "\"name\":\"vm\"},\"spec\":{\"runStrategy\":\"Halted\",\"template\":{\"spec\":{"
        "\"domain\":{\"memory\":{\"guest\":\"1Gi\"},\"devices\":{}}}}}}");
    assert_int_equal(api_fixture_call(f, "PATCH", HCOS "/kubevirt-hyperconverged",
                                      "application/merge-patch+json",
                                      "{\"spec\":{\"workloads\":null}}"),
                     400);
    assert_non_null(strstr(api_fixture_text(f, "message"),
                           "only when no VMs are present, and VirtualMachine default/vm is"));
    /* what is not changed may stay, and other settings may change */
    assert_int_equal(api_fixture_call(f, "PATCH", HCOS "/kubevirt-hyperconverged",
                                      "application/merge-patch+json", PLACE),
                     200);
    assert_int_equal(api_fixture_call(f, "PATCH", HCOS "/kubevirt-hyperconverged",
                                      "application/merge-patch+json",
                                      "{\"spec\":{\"defaultCPUModel\":\"EPYC\"}}"),
                     200);
    assert_int_equal(api_fixture_call(f, "DELETE", OWN_VMS "/vm", NULL, ""), 200);
    assert_int_equal(api_fixture_call(f, "PATCH", HCOS "/kubevirt-hyperconverged",
                                      "application/merge-patch+json",
                                      "{\"spec\":{\"workloads\":null}}"),
                     200);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_placement_of_workloads, api_fixture_setup,
                                        api_fixture_teardown),
        T(test_discovery),
        T(test_every_kind),
        T(test_tables),
        T(test_encryption_column),
        T(test_migration_admission),
        T(test_admission_has_no_race),
        T(test_other_admission),
        T(test_namespace_ends),
        cmocka_unit_test(test_carries_on),
        T(test_actions),
        T(test_more_actions),
        T(test_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
