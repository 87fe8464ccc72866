/* The API's verbs on objects: create, get, list, update, patch, delete, status, dry run, selectors,
 * versions; and what each is refused for, in upstream's words. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/limits.h"
#include "tests/control/api_fixture.h"

#define NODES "/api/v1/nodes"
#define VMS   "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"
#define MERGE "application/merge-patch+json"

#define NODE(name, rest) \
    "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"" name "\"" rest "}}"
#define VM(name, spec)                                                                      \
    "{\"apiVersion\":\"kubevirt.io/"                                                        \
    "v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"" name "\"},\"spec\":{" spec \
    "\"template\":{\"spec\":{\"domain\":{\"memory\":{\"guest\":\"64Mi\"},"                  \
    "\"devices\":{}}}}}}"
#define HALTED "\"runStrategy\":\"Halted\","

static void
check(struct api_fixture *f, const char *name, int status, const char *reason, const char *says)
{
    if (f->status != status || !strstr(f->text, says) ||
        (reason && strcmp(api_fixture_text(f, "reason"), reason) != 0))
        fail_msg("%s: want %d %s \"%s\", got %d: %s", name, status, reason ? reason : "", says,
                 f->status, f->text);
    if (status >= 400) {
        assert_string_equal(api_fixture_text(f, "kind"), "Status");
        assert_string_equal(api_fixture_text(f, "apiVersion"), "v1");
        assert_string_equal(api_fixture_text(f, "status"), "Failure");
        assert_true(*api_fixture_text(f, "message"));
        assert_int_equal(tree_get_int(tree_get(f->body, "code"), 0), status);
    }
}

/* --- create --- */
static void
test_create(void **state)
{
    static const struct {
        const char *name, *path, *type, *body;
        int status;
        const char *reason, *says;
    } rows[] = {
        {"a node", NODES, NULL, NODE("n1", ""), 201, NULL, "\"uid\":\""},
        {"a VM", VMS, NULL, VM("v1", HALTED), 201, NULL, "\"namespace\":\"default\""},
        {"YAML", NODES, "application/yaml", "apiVersion: v1\nkind: Node\nmetadata:\n  name: y1\n",
         201, NULL, "\"y1\""},
        {"a type with parameters", NODES, "application/json; charset=utf-8", NODE("n2", ""), 201,
         NULL, "\"n2\""},
        {"generateName", NODES, NULL,
         "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"generateName\":\"gen-\"}}", 201,
         NULL, "\"name\":\"gen-"},
        {"an older version", "/apis/kubevirt.io/v1alpha3/namespaces/default/virtualmachines", NULL,
         "{\"apiVersion\":\"kubevirt.io/"
         "v1alpha3\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":"
         "\"old\"},\"spec\":{\"running\":false,\"template\":{\"spec\":{\"domain\":{\"memory\":{"
         "\"guest\":"
         "\"64Mi\"},\"devices\":{}}}}}}",
         201, NULL, "\"apiVersion\":\"kubevirt.io/v1alpha3\""},
        {"dry run", NODES "?dryRun=All", NULL, NODE("dry", ""), 201, NULL, "\"dry\""},
        {"once more", NODES, NULL, NODE("n1", ""), 409, "AlreadyExists",
         "nodes \\\"n1\\\" already exists"},
        {"once more, of a group", VMS, NULL, VM("v1", HALTED), 409, "AlreadyExists",
         "virtualmachines.kubevirt.io \\\"v1\\\" already exists"},
        {"dry run of what is there", NODES "?dryRun=All", NULL, NODE("n1", ""), 409,
         "AlreadyExists", ""},
        {"a wrong dryRun", NODES "?dryRun=Some", NULL, NODE("n9", ""), 422, "Invalid", "dryRun"},
        {"a wrong fieldValidation", NODES "?fieldValidation=Lax", NULL, NODE("n9", ""), 422,
         "Invalid", "fieldValidation"},
        {"no body", NODES, NULL, "", 400, "BadRequest", "json parse error"},
        {"no JSON", NODES, NULL, "{\"apiVersion\":", 400, "BadRequest", "json parse error: line 1"},
        {"JSON and more", NODES, NULL, NODE("n9", "") "{}", 400, "BadRequest", "json parse error"},
        {"a key twice", NODES, NULL, "{\"kind\":\"Node\",\"kind\":\"Node\"}", 400, "BadRequest",
         "json parse error"},
        {"a list", NODES, NULL, "[]", 400, "BadRequest", "want an object"},
        {"bad YAML", NODES, "application/yaml", "a: [", 400, "BadRequest", "yaml parse error"},
        {"two YAML documents", NODES, "application/yaml", "a: 1\n---\nb: 2\n", 400, "BadRequest",
         "2 YAML documents"},
        {"protobuf", NODES, "application/vnd.kubernetes.protobuf", "k8s", 415,
         "UnsupportedMediaType", "application/json, application/yaml"},
        {"a form", NODES, "application/x-www-form-urlencoded", "a=b", 415, "UnsupportedMediaType",
         ""},
        {"no kind", NODES, NULL, "{\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n9\"}}", 400,
         "BadRequest", "'Kind' is missing"},
        {"no apiVersion", NODES, NULL, "{\"kind\":\"Node\",\"metadata\":{\"name\":\"n9\"}}", 400,
         "BadRequest", "'apiVersion' is missing"},
        {"another version", NODES, NULL,
         "{\"apiVersion\":\"v2\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n9\"}}", 400,
         "BadRequest", "does not match the expected API version (v1)"},
        {"another kind", NODES, NULL,
         "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"n9\"}}", 400,
         "BadRequest", "does not match the expected kind (Node)"},
        {"another namespace", VMS, NULL,
         "{\"apiVersion\":\"kubevirt.io/"
         "v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"v9\","
         "\"namespace\":\"other\"}}",
         400, "BadRequest", "the namespace of the provided object does not match"},
        {"metadata of another type", NODES, NULL,
         "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":3}", 400, "BadRequest", "metadata"},
        {"no name", NODES, NULL, "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{}}", 422,
         "Invalid", "name or generateName is required"},
        {"a bad name", NODES, NULL, NODE("N_9", ""), 422, "Invalid", "Node \\\"N_9\\\" is invalid"},
        {"a resourceVersion", NODES, NULL, NODE("n9", ",\"resourceVersion\":\"5\""), 400,
         "BadRequest", "resourceVersion should not be set"},
        {"a namespace that is not there", "/apis/kubevirt.io/v1/namespaces/nowhere/virtualmachines",
         NULL, VM("v9", HALTED), 404, "NotFound", "namespaces \\\"nowhere\\\" not found"},
        {"a bad label", NODES, NULL, NODE("n9", ",\"labels\":{\"a b\":\"c\"}"), 422, "Invalid",
         "metadata.labels"},
        {"a bad quantity", VMS, NULL,
         "{\"apiVersion\":\"kubevirt.io/"
         "v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"v9\"},"
         "\"spec\":{\"runStrategy\":\"Halted\",\"template\":{\"spec\":{\"domain\":{\"memory\":{"
         "\"guest\":"
         "\"64 Mi\"},\"devices\":{}}}}}}",
         422, "Invalid",
         "VirtualMachine.kubevirt.io \\\"v9\\\" is invalid: "
         "spec.template.spec.domain.memory.guest"},
        {"an unknown field", VMS, NULL, VM("v9", HALTED "\"colour\":\"red\","), 400, "BadRequest",
         "strict decoding error: unknown field \\\"spec.colour\\\""},
        {"a collection of all namespaces", "/apis/kubevirt.io/v1/virtualmachines", NULL,
         VM("v9", ""), 405, "MethodNotAllowed", "does not allow this method"},
        {"a pod", "/api/v1/namespaces/default/pods", NULL, "{}", 405, "MethodNotAllowed", ""},
        {"no such resource", "/api/v1/gadgets", NULL, "{}", 404, "NotFound",
         "the server could not find the requested resource"},
        {"no such group", "/apis/gadgets.io/v1/gadgets", NULL, "{}", 404, "NotFound", ""},
        {"no such version", "/apis/kubevirt.io/v7/namespaces/default/virtualmachines", NULL, "{}",
         404, "NotFound", ""},
        {"a node in a namespace", "/api/v1/namespaces/default/nodes", NULL, NODE("n9", ""), 404,
         "NotFound", ""},
        {"with a name in the path", NODES "/n9", NULL, NODE("n9", ""), 405, "MethodNotAllowed", ""},
        {"where nothing is written", "/version", NULL, "{}", 404, "NotFound", ""},
    };
    struct api_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        api_fixture_call(f, "POST", rows[i].path, rows[i].type, rows[i].body);
        check(f, rows[i].name, rows[i].status, rows[i].reason, rows[i].says);
    }
    /* what was refused, and what was dry, is not there */
    assert_int_equal(api_fixture_get(f, NODES "/n9"), 404);
    assert_int_equal(api_fixture_get(f, NODES "/dry"), 404);
    assert_int_equal(api_fixture_get(f, VMS "/v9"), 404);
    assert_int_equal(api_fixture_get(f, NODES), 200);
    assert_int_equal(tree_len(tree_get(f->body, "items")), 4);
}

static void
test_invalid_has_causes(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_call(f, "POST", VMS, NULL,
                     VM("v1", "\"runStrategy\":\"Sometimes\",\"running\":\"yes\","));
    check(f, "two mistakes", 422, "Invalid", "is invalid: [");
    assert_string_equal(api_fixture_text(f, "details.name"), "v1");
    assert_string_equal(api_fixture_text(f, "details.group"), "kubevirt.io");
    assert_string_equal(api_fixture_text(f, "details.kind"), "VirtualMachine");
    assert_true(tree_len(tree_find(f->body, "details", "causes", NULL)) >= 2);
    assert_true(strncmp(api_fixture_text(f, "details.causes.0.reason"), "FieldValue", 10) == 0);
    assert_true(strncmp(api_fixture_text(f, "details.causes.0.field"), "spec.run", 8) == 0);
    assert_true(*api_fixture_text(f, "details.causes.0.message"));
}

static void
test_unknown_fields(void **state)
{
    static const struct {
        const char *query;
        int status;
        size_t warnings;
    } rows[] = {
        {"", 400, 0},
        {"?fieldValidation=Strict", 400, 0},
        {"?fieldValidation=Warn", 201, 1},
        {"?fieldValidation=Ignore", 201, 0},
    };
    struct api_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *path = xasprintf(VMS "%s", rows[i].query);

        api_fixture_call(f, "POST", path, NULL,
                         VM("v", HALTED "\"colour\":{\"a.b\":1},\"size\":3,"));
        if (f->status != rows[i].status)
            fail_msg("%s: %d %s", rows[i].query, f->status, f->text);
        if (f->status == 201) {
            assert_true(f->warnings >= rows[i].warnings);
            /* as upstream: what nobody knows is not stored */
            assert_null(tree_find(f->body, "spec", "colour", NULL));
            assert_null(tree_find(f->body, "spec", "size", NULL));
            if (rows[i].warnings)
                assert_string_equal(f->warning, "unknown field \"spec.colour\"");
            assert_int_equal(api_fixture_call(f, "DELETE", VMS "/v", NULL, NULL), 200);
        }
        free(path);
    }
}

static void
test_kept_fields_warn(void **state)
{
    struct api_fixture *f = *state;
    const char *vm =
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{"
        "\"name\":\"v\"},\"spec\":{\"runStrategy\":\"Halted\",\"template\":{\"spec\":{"
        "\"subdomain\":\"h\",\"domain\":{\"memory\":{\"guest\":\"64Mi\"},\"devices\":{}}}}}}";

    assert_int_equal(api_fixture_call(f, "POST", VMS, NULL, vm), 201);
    assert_int_equal(f->warnings, 1);
    assert_non_null(strstr(f->warning, "spec.template.spec.subdomain"));
    assert_string_equal(api_fixture_text(f, "spec.template.spec.subdomain"), "h");
    /* a label says nothing about the spec */
    assert_int_equal(
        api_fixture_call(f, "PATCH", VMS "/v", MERGE, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"),
        200);
    assert_int_equal(f->warnings, 0);
}

/* --- get and list --- */
static void
test_get(void **state)
{
    static const struct {
        const char *name, *path;
        int status;
        const char *reason, *says;
    } rows[] = {
        {"an object", VMS "/v1", 200, NULL, "\"v1\""},
        {"its status", VMS "/v1/status", 200, NULL, "\"v1\""},
        {"an older version", "/apis/kubevirt.io/v1alpha3/namespaces/default/virtualmachines/v1",
         200, NULL, "kubevirt.io/v1alpha3"},
        {"for people", VMS "/v1?pretty=true", 200, NULL, "\n  \"kind\""},
        {"a list", VMS, 200, NULL, "\"kind\":\"VirtualMachineList\""},
        {"of all namespaces", "/apis/kubevirt.io/v1/virtualmachines", 200, NULL, "\"v1\""},
        {"an empty list", "/apis/kubevirt.io/v1/namespaces/x/virtualmachines", 200, NULL,
         "\"items\":[]"},
        {"a list for people", VMS "?pretty=1", 200, NULL, "\n  \"kind\""},
        {"with a limit", VMS "?limit=500&resourceVersion=0", 200, NULL, "\"v1\""},
        {"pods", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", 200, NULL,
         "\"kind\":\"PodList\""},
        {"a namespace", "/api/v1/namespaces/default", 200, NULL, "\"phase\":\"Active\""},
        {"its status", "/api/v1/namespaces/default/status", 200, NULL, "Active"},
        {"no such object", VMS "/v2", 404, "NotFound",
         "virtualmachines.kubevirt.io \\\"v2\\\" not found"},
        {"no such node", NODES "/x", 404, "NotFound", "nodes \\\"x\\\" not found"},
        {"no such pod", "/api/v1/namespaces/default/pods/x", 404, "NotFound",
         "pods \\\"x\\\" not found"},
        {"no such subresource", VMS "/v1/scale", 404, "NotFound", "could not find"},
        {"no status",
         "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions/x/"
         "status",
         404, "NotFound", "could not find"},
        {"too deep", VMS "/v1/status/x", 404, "NotFound", "could not find"},
        {"a token of nobody", VMS "?continue=abc", 410, "Expired", "continue"},
        {"a bad label selector", VMS "?labelSelector=a%20b", 400, "BadRequest",
         "unable to parse requirement"},
        {"a bad field selector", VMS "?fieldSelector=a", 400, "BadRequest", "field selector"},
        {"a bad includeObject", VMS "?includeObject=Some", 400, "BadRequest", "includeObject"},
    };
    struct api_fixture *f = *state;

    api_fixture_create(f, VMS, VM("v1", HALTED));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        api_fixture_get(f, rows[i].path);
        check(f, rows[i].name, rows[i].status, rows[i].reason, rows[i].says);
    }
}

static void
test_accept(void **state)
{
    static const struct {
        const char *accept;
        int status;
        const char *says;
    } rows[] = {
        {"application/json", 200, "{\"kind\":\"NodeList\""},
        {"*/*", 200, "{\"kind\":\"NodeList\""},
        {"application/*", 200, "{\"kind\":\"NodeList\""},
        {"application/yaml", 200, "NodeList"},
        {"application/vnd.kubernetes.protobuf,application/json", 200, "{\"kind\":\"NodeList\""},
        {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", 200,
         "{\"kind\":\"Table\""},
        {"application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json", 200,
         "{\"kind\":\"NodeList\""},
        {"application/vnd.kubernetes.protobuf", 406, "NotAcceptable"},
        {"text/html", 406, "NotAcceptable"},
        {"application/jsonx", 406, "NotAcceptable"},
        {"application/json;as=Chair;v=v1;g=x", 406, "NotAcceptable"},
    };
    struct api_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        api_fixture_get_as(f, NODES, rows[i].accept);
        if (f->status != rows[i].status || !strstr(f->text, rows[i].says))
            fail_msg("%s: %d %s", rows[i].accept, f->status, f->text);
    }
    api_fixture_get_as(f, "/api/v1/namespaces/default", "application/yaml");
    assert_non_null(strstr(f->text, "kind: Namespace\n"));
}

static void
test_selectors(void **state)
{
    static const struct {
        const char *query;
        size_t n;
    } rows[] = {
        {"", 3},
        {"?labelSelector=app%3Dweb", 2},
        {"?labelSelector=app%3D%3Dweb,tier%3Dfront", 1},
        {"?labelSelector=app!%3Dweb", 1},
        {"?labelSelector=app+in+(web,db)", 3},
        {"?labelSelector=app+notin+(web)", 1},
        {"?labelSelector=tier", 1},
        {"?labelSelector=!tier", 2},
        {"?labelSelector=nothing%3Dhere", 0},
        {"?fieldSelector=metadata.name%3Da", 1},
        {"?fieldSelector=metadata.name!%3Da", 2},
        {"?fieldSelector=spec.unschedulable%3Dtrue", 1},
        {"?fieldSelector=metadata.name%3Da,spec.unschedulable%3Dtrue", 0},
        {"?fieldSelector=metadata.name%3Dzz", 0},
        {"?labelSelector=app%3Dweb&fieldSelector=metadata.name%3Db", 1},
    };
    struct api_fixture *f = *state;

    api_fixture_create(f, NODES, NODE("a", ",\"labels\":{\"app\":\"web\",\"tier\":\"front\"}"));
    api_fixture_create(f, NODES, NODE("b", ",\"labels\":{\"app\":\"web\"}"));
    api_fixture_create(f, NODES,
                       "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"c\","
                       "\"labels\":{\"app\":\"db\"}},\"spec\":{\"unschedulable\":true}}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *path = xasprintf(NODES "%s", rows[i].query);

        assert_int_equal(api_fixture_get(f, path), 200);
        if (tree_len(tree_get(f->body, "items")) != rows[i].n)
            fail_msg("%s: %s", rows[i].query, f->text);
        free(path);
    }
}

/* --- update and patch --- */
static void
test_update(void **state)
{
    struct api_fixture *f = *state;
    char rv[32], *body;

    api_fixture_create(f, NODES, NODE("n", ""));
    snprintf(rv, sizeof(rv), "%s", api_fixture_text(f, "metadata.resourceVersion"));
    body = xasprintf(NODE("n", ",\"labels\":{\"a\":\"b\"},\"resourceVersion\":\"%s\""), rv);
    assert_int_equal(api_fixture_call(f, "PUT", NODES "/n", NULL, body), 200);
    assert_string_equal(api_fixture_text(f, "metadata.labels.a"), "b");
    api_fixture_call(f, "PUT", NODES "/n", NULL, body);
    check(f, "the old version", 409, "Conflict",
          "Operation cannot be fulfilled on nodes \\\"n\\\": the object has been modified; please "
          "apply "
          "your changes to the latest version and try again");
    assert_string_equal(api_fixture_text(f, "details.name"), "n");
    assert_string_equal(api_fixture_text(f, "details.kind"), "nodes");
    free(body);

    api_fixture_call(f, "PUT", NODES "/n", NULL, NODE("n", ""));
    check(f, "no version: the newest", 200, NULL, "\"n\"");
    assert_string_equal(api_fixture_text(f, "metadata.labels.a"), "");
    api_fixture_call(f, "PUT", NODES "/n", NULL, NODE("n", ",\"uid\":\"x\""));
    check(f, "another uid", 409, "Conflict", "UID in precondition: x");
    api_fixture_call(f, "PUT", NODES "/n", NULL, NODE("m", ""));
    check(f, "another name", 400, "BadRequest", "does not match the name on the URL (n)");
    api_fixture_call(f, "PUT", NODES "/m", NULL, NODE("m", ""));
    check(f, "no such object", 404, "NotFound", "nodes \\\"m\\\" not found");
    api_fixture_call(f, "PUT", NODES "/n", NULL, NODE("n", ",\"resourceVersion\":\"abc\""));
    check(f, "a version that is none", 422, "Invalid", "metadata.resourceVersion");
    api_fixture_call(f, "PUT", NODES "/n", NULL, NODE("n", ",\"labels\":{\"a\":\"b c\"}"));
    check(f, "a bad label", 422, "Invalid", "metadata.labels");
    api_fixture_call(f, "PUT", NODES, NULL, NODE("n", ""));
    check(f, "no name", 405, "MethodNotAllowed", "");
    api_fixture_call(f, "PUT", NODES "/n?dryRun=All", NULL, NODE("n", ",\"labels\":{\"d\":\"r\"}"));
    check(f, "dry", 200, NULL, "\"d\":\"r\"");
    api_fixture_get(f, NODES "/n");
    assert_null(strstr(f->text, "\"d\":\"r\""));
}

static void
test_patch(void **state)
{
    static const char strategic[] = "application/strategic-merge-patch+json";
    static const char json[] = "application/json-patch+json";
    static const struct {
        const char *name, *path, *type, *body;
        int status;
        const char *reason, *says;
    } rows[] = {
        {"merge", VMS "/v", MERGE, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 200, NULL,
         "\"a\":\"b\""},
        {"merge: null deletes", VMS "/v", MERGE,
         "{\"metadata\":{\"labels\":{\"a\":null,\"c\":\"d\"}}}", 200, NULL, "{\"c\":\"d\"}"},
        {"merge: nothing", VMS "/v", MERGE, "{}", 200, NULL, "\"v\""},
        {"merge with parameters", VMS "/v", MERGE "; charset=utf-8", "{}", 200, NULL, "\"v\""},
        {"json: add", VMS "/v", json,
         "[{\"op\":\"add\",\"path\":\"/metadata/labels/e\",\"value\":\"f\"}]", 200, NULL,
         "\"e\":\"f\""},
        {"json: test and replace", VMS "/v", json,
         "[{\"op\":\"test\",\"path\":\"/metadata/labels/e\",\"value\":\"f\"},"
         "{\"op\":\"replace\",\"path\":\"/metadata/labels/e\",\"value\":\"g\"}]",
         200, NULL, "\"e\":\"g\""},
        {"strategic on a core kind", NODES "/n", strategic,
         "{\"metadata\":{\"finalizers\":[\"a.io/x\"]}}", 200, NULL, "a.io/x"},
        {"strategic merges sets", NODES "/n", strategic,
         "{\"metadata\":{\"finalizers\":[\"b.io/y\"]}}", 200, NULL, "\"a.io/x\",\"b.io/y\""},
        {"the kind does not change", VMS "/v", MERGE, "{\"kind\":\"Node\",\"apiVersion\":\"v1\"}",
         200, NULL, "\"kind\":\"VirtualMachine\""},
        {"dry run", VMS "/v?dryRun=All", MERGE, "{\"metadata\":{\"labels\":{\"dry\":\"run\"}}}",
         200, NULL, "\"dry\":\"run\""},
        {"json: a failed test", VMS "/v", json,
         "[{\"op\":\"test\",\"path\":\"/metadata/labels/e\",\"value\":\"x\"}]", 422, "Invalid",
         "operation 1, test /metadata/labels/e"},
        {"json: nothing there", VMS "/v", json,
         "[{\"op\":\"remove\",\"path\":\"/metadata/labels/zz\"}]", 422, "Invalid", "operation 1"},
        {"json: metadata taken away", VMS "/v", json,
         "[{\"op\":\"remove\",\"path\":\"/metadata\"}]", 400, "BadRequest", "leaves no object"},
        {"json: a number instead", VMS "/v", json,
         "[{\"op\":\"replace\",\"path\":\"\",\"value\":3}]", 400, "BadRequest", "leaves no object"},
        {"json: no list", VMS "/v", json, "{}", 400, "BadRequest", "list of operations"},
        {"merge: a list", VMS "/v", MERGE, "[]", 400, "BadRequest", "want an object"},
        {"no JSON", VMS "/v", MERGE, "{", 400, "BadRequest", "error decoding patch"},
        {"strategic on a custom kind", VMS "/v", strategic, "{}", 415, "UnsupportedMediaType",
         "application/json-patch+json, application/merge-patch+json"},
        {"server-side apply", VMS "/v", "application/apply-patch+yaml", "{}", 415,
         "UnsupportedMediaType", "server-side apply is not served"},
        {"no type", VMS "/v", NULL, "{}", 415, "UnsupportedMediaType", ""},
        {"the name", VMS "/v", MERGE, "{\"metadata\":{\"name\":\"w\"}}", 400, "BadRequest",
         "does not match the name on the URL (v)"},
        {"the namespace", VMS "/v", MERGE, "{\"metadata\":{\"namespace\":\"w\"}}", 400,
         "BadRequest", "namespace"},
        {"an old version", VMS "/v", MERGE, "{\"metadata\":{\"resourceVersion\":\"1\"}}", 409,
         "Conflict", "the object has been modified"},
        {"another uid", VMS "/v", MERGE, "{\"metadata\":{\"uid\":\"1\"}}", 409, "Conflict",
         "Precondition failed: UID"},
        {"an unknown field", VMS "/v", MERGE, "{\"spec\":{\"colour\":\"red\"}}", 400, "BadRequest",
         "unknown field \\\"spec.colour\\\""},
        {"a bad value", VMS "/v", MERGE, "{\"spec\":{\"runStrategy\":\"Often\"}}", 422, "Invalid",
         "VirtualMachine.kubevirt.io \\\"v\\\" is invalid: spec.runStrategy"},
        {"no such object", VMS "/w", MERGE, "{}", 404, "NotFound",
         "virtualmachines.kubevirt.io \\\"w\\\""},
        {"a collection", VMS, MERGE, "{}", 405, "MethodNotAllowed", ""},
    };
    struct api_fixture *f = *state;

    api_fixture_create(f, VMS, VM("v", HALTED));
    api_fixture_create(f, NODES, NODE("n", ""));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        api_fixture_call(f, "PATCH", rows[i].path, rows[i].type, rows[i].body);
        check(f, rows[i].name, rows[i].status, rows[i].reason, rows[i].says);
    }
    api_fixture_get(f, VMS "/v");
    check(f, "at last", 200, NULL, "{\"c\":\"d\",\"e\":\"g\"}");
    assert_string_equal(api_fixture_text(f, "metadata.generation"), "1");
}

static void
test_status(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_create(
        f, VMS,
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{"
        "\"name\":\"v\"},\"spec\":{\"runStrategy\":\"Halted\",\"template\":{\"spec\":{"
        "\"domain\":{\"memory\":{\"guest\":\"64Mi\"},\"devices\":{}}}}},\"status\":{"
        "\"printableStatus\":\"Mine\"}}");
    assert_string_equal(api_fixture_text(f, "status.printableStatus"),
                        ""); /* not a user's to write */
    api_fixture_call(f, "PATCH", VMS "/v", MERGE, "{\"status\":{\"printableStatus\":\"Mine\"}}");
    check(f, "nor by a patch", 200, NULL, "\"v\"");
    assert_string_equal(api_fixture_text(f, "status.printableStatus"), "");
    api_fixture_call(
        f, "PATCH", VMS "/v/status", MERGE,
        "{\"status\":{\"printableStatus\":\"Running\"},\"spec\":{\"runStrategy\":\"Always\"},"
        "\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
    check(f, "the status alone", 200, NULL, "\"printableStatus\":\"Running\"");
    assert_string_equal(api_fixture_text(f, "spec.runStrategy"), "Halted");
    assert_string_equal(api_fixture_text(f, "metadata.labels.a"), "");
    assert_string_equal(api_fixture_text(f, "metadata.generation"), "1");
    api_fixture_call(
        f, "PUT", VMS "/v/status", NULL,
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":"
        "\"v\"},\"status\":{\"printableStatus\":\"Stopped\"}}");
    check(f, "by an update", 200, NULL, "\"printableStatus\":\"Stopped\"");
    api_fixture_call(f, "PUT", VMS "/v", NULL, VM("v", HALTED));
    check(f, "an update keeps it", 200, NULL, "\"printableStatus\":\"Stopped\"");
    api_fixture_call(f, "DELETE", VMS "/v/status", NULL, NULL);
    check(f, "it cannot be deleted", 405, "MethodNotAllowed", "");
    /* a node brings its status with it */
    api_fixture_create(
        f, NODES,
        "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"},\"status\":{"
        "\"capacity\":{\"cpu\":\"4\"}}}");
    assert_string_equal(api_fixture_text(f, "status.capacity.cpu"), "4");
}

/* --- delete --- */
static void
test_delete(void **state)
{
    static const struct {
        const char *name, *path, *body;
        int status;
        const char *reason, *says;
    } rows[] = {
        {"a precondition that does not hold", NODES "/n", "{\"preconditions\":{\"uid\":\"x\"}}",
         409, "Conflict", "UID in precondition: x"},
        {"an old version", NODES "/n", "{\"preconditions\":{\"resourceVersion\":\"1\"}}", 409,
         "Conflict", "modified"},
        {"a wrong policy", NODES "/n", "{\"propagationPolicy\":\"Sideways\"}", 422, "Invalid",
         "propagationPolicy"},
        {"a wrong policy in the query", NODES "/n?propagationPolicy=x", NULL, 422, "Invalid",
         "propagationPolicy"},
        {"a wrong dryRun", NODES "/n", "{\"dryRun\":[\"x\"]}", 422, "Invalid", "dryRun"},
        {"another kind", NODES "/n", "{\"kind\":\"Node\"}", 400, "BadRequest", "DeleteOptions"},
        {"no JSON", NODES "/n", "{", 400, "BadRequest", "json parse error"},
        {"no such object", NODES "/x", NULL, 404, "NotFound", "nodes \\\"x\\\" not found"},
        {"dry", NODES "/n", "{\"dryRun\":[\"All\"]}", 200, NULL, "Success"},
        {"dry in the query", NODES "/n?dryRun=All", NULL, 200, NULL, "Success"},
        {"at last", NODES "/n",
         "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"propagationPolicy\":\"Background\","
         "\"gracePeriodSeconds\":0}",
         200, NULL, "\"status\":\"Success\""},
        {"again", NODES "/n", NULL, 404, "NotFound", "nodes \\\"n\\\" not found"},
        {"a namespace of the system", "/api/v1/namespaces/kube-system", NULL, 403, "Forbidden",
         "namespaces \\\"kube-system\\\" is forbidden: this namespace may not be deleted"},
    };
    struct api_fixture *f = *state;

    api_fixture_create(f, NODES, NODE("n", ""));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        api_fixture_call(f, "DELETE", rows[i].path, NULL, rows[i].body);
        check(f, rows[i].name, rows[i].status, rows[i].reason, rows[i].says);
        if (strcmp(rows[i].name, "at last") == 0) {
            assert_string_equal(api_fixture_text(f, "details.name"), "n");
            assert_string_equal(api_fixture_text(f, "details.kind"), "nodes");
            assert_int_equal(strlen(api_fixture_text(f, "details.uid")), 36);
        }
    }
}

static void
test_delete_with_finalizer(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_create(f, NODES, NODE("n", ",\"finalizers\":[\"a.io/x\"]"));
    api_fixture_call(f, "DELETE", NODES "/n", NULL, NULL);
    check(f, "marked", 200, NULL, "deletionTimestamp");
    assert_string_equal(api_fixture_text(f, "kind"), "Node");
    api_fixture_call(f, "PATCH", NODES "/n", MERGE,
                     "{\"metadata\":{\"finalizers\":[\"a.io/x\",\"b.io/y\"]}}");
    check(f, "no new ones", 422, "Invalid",
          "no new finalizers can be added if the object is being deleted");
    api_fixture_call(f, "PATCH", NODES "/n", MERGE, "{\"metadata\":{\"finalizers\":null}}");
    check(f, "the last one goes", 200, NULL, "deletionTimestamp");
    assert_int_equal(api_fixture_get(f, NODES "/n"), 404);
}

static void
test_delete_collection(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_call(f, "DELETE", NODES, NULL, NULL);
    check(f, "of nothing", 200, NULL, "Success");
    api_fixture_create(f, NODES, NODE("a", ",\"labels\":{\"app\":\"web\"}"));
    api_fixture_create(f, NODES, NODE("b", ",\"labels\":{\"app\":\"web\"}"));
    api_fixture_create(f, NODES, NODE("c", ""));
    api_fixture_call(f, "DELETE", NODES "?labelSelector=app%3Dweb&dryRun=All", NULL, NULL);
    check(f, "dry", 200, NULL, "Success");
    api_fixture_call(f, "DELETE", NODES "?labelSelector=app%3Dweb", NULL, NULL);
    check(f, "two", 200, NULL, "Success");
    api_fixture_get(f, NODES);
    assert_int_equal(tree_len(tree_get(f->body, "items")), 1);
    assert_string_equal(api_fixture_text(f, "items.0.metadata.name"), "c");
    api_fixture_call(f, "DELETE", NODES "?labelSelector=a%20b", NULL, NULL);
    check(f, "a bad selector", 400, "BadRequest", "");
    api_fixture_call(f, "DELETE", "/apis/kubevirt.io/v1/virtualmachines", NULL, NULL);
    check(f, "of all namespaces", 405, "MethodNotAllowed", "");
    api_fixture_call(f, "DELETE", "/api/v1/namespaces", NULL, NULL);
    check(f, "namespaces", 200, NULL, "Success");
    api_fixture_get(f, "/api/v1/namespaces");
    assert_int_equal(tree_len(tree_get(f->body, "items")), 3); /* those of the system stay */
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, api_fixture_setup, api_fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_create),
        T(test_invalid_has_causes),
        T(test_unknown_fields),
        T(test_kept_fields_warn),
        T(test_get),
        T(test_accept),
        T(test_selectors),
        T(test_update),
        T(test_patch),
        T(test_status),
        T(test_delete),
        T(test_delete_with_finalizer),
        T(test_delete_collection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
