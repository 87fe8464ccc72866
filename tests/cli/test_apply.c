/* Client-side apply: the annotation, the three-way patch, and what is refused before anything is
 * sent. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cli/client_apply.h"
#include "cli/client_manifest.h"
#include "cli/verbs.h"
#include "tests/cli/fake_server.h"

static struct tree *
json(const char *text)
{
    struct tree *t = NULL;
    struct err err = {0};

    if (tree_from_json(text, strlen(text), &t, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return t;
}

static void
annotation_is_what_kubectl_writes(void **state)
{
    AUTO_TREE struct tree *m =
        json("{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\","
             "\"labels\":{\"z\":\"<&>\",\"b\":\"1\"}}}");
    AUTO_TREE struct tree *modified = apply_modified(m);

    (void)state;
    assert_string_equal(object_annotation(modified, APPLY_ANNOTATION),
                        "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{"
                        "\"annotations\":{},\"labels\":{\"b\":\"1\","
                        "\"z\":\"\\u003c\\u0026\\u003e\"},\"name\":\"a\"}}\n");
}

struct patch_row {
    const char *name;
    const char *last; /* the manifest that was applied before; NULL: none */
    const char *next; /* the one that is applied now */
    const char *live; /* what others have made of it: merged over `last` */
    const char *want; /* the patch without the annotation; NULL: nothing to do */
};

#define M(spec) \
    "{\"apiVersion\":\"v1\",\"kind\":\"X\",\"metadata\":{\"name\":\"a\"},\"spec\":" spec "}"

static const struct patch_row patches[] = {
    {"the same again", M("{\"a\":1}"), M("{\"a\":1}"), "{}", NULL},
    {"the same in another order", M("{\"a\":1,\"b\":2}"), M("{\"b\":2,\"a\":1}"), "{}", NULL},
    {"a new value", M("{\"a\":1}"), M("{\"a\":2}"), "{}", "{\"spec\":{\"a\":2}}"},
    {"a new field", M("{\"a\":1}"), M("{\"a\":1,\"b\":{\"c\":1}}"), "{}",
     "{\"spec\":{\"b\":{\"c\":1}}}"},
    {"an empty map is a value", M("{}"), M("{\"s\":{}}"), "{}", "{\"spec\":{\"s\":{}}}"},
    {"a field that was taken away", M("{\"a\":1,\"b\":2}"), M("{\"a\":1}"), "{}",
     "{\"spec\":{\"b\":null}}"},
    {"a field deep inside that was taken away", M("{\"a\":{\"x\":1,\"y\":2}}"),
     M("{\"a\":{\"x\":1}}"), "{}", "{\"spec\":{\"a\":{\"y\":null}}}"},
    {"one changed and one taken away in a map", M("{\"a\":{\"x\":1,\"y\":2}}"),
     M("{\"a\":{\"x\":3}}"), "{}", "{\"spec\":{\"a\":{\"x\":3,\"y\":null}}}"},
    {"what others added stays", M("{\"a\":1}"), M("{\"a\":1}"),
     "{\"spec\":{\"other\":1},\"status\":{\"phase\":\"x\"}}", NULL},
    {"what others changed comes back", M("{\"a\":1}"), M("{\"a\":1}"), "{\"spec\":{\"a\":5}}",
     "{\"spec\":{\"a\":1}}"},
    {"what others took away comes back", M("{\"a\":1}"), M("{\"a\":1}"), "{\"spec\":{\"a\":null}}",
     "{\"spec\":{\"a\":1}}"},
    {"a list is one value", M("{\"l\":[1,2]}"), M("{\"l\":[2]}"), "{}", "{\"spec\":{\"l\":[2]}}"},
    {"never applied before: nothing is deleted", NULL, M("{\"a\":1}"),
     "{\"apiVersion\":\"v1\",\"kind\":\"X\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"b\":2}}",
     "{\"spec\":{\"a\":1}}"},
};

static void
patch_is(void **state)
{
    const struct patch_row *r = *state;
    AUTO_TREE struct tree *next = json(r->next), *live = json(r->live);
    AUTO_TREE struct tree *current = tree_map(), *modified = apply_modified(next), *patch = NULL;
    AUTO_SB struct sb text = SB_INIT;

    if (r->last) {
        AUTO_TREE struct tree *last = json(r->last);

        tree_free(current);
        current = apply_modified(last);
    }
    tree_merge_patch(current, live);
    patch = apply_patch(modified, current);
    if (patch) {
        /* the new annotation goes with every change of the manifest itself */
        struct tree *meta = tree_get(patch, "metadata"), *ann = tree_get(meta, "annotations");

        tree_del(ann, APPLY_ANNOTATION);
        if (meta && !tree_len(ann))
            tree_del(patch, "metadata");
        tree_to_json(patch, 0, &text);
    }
    if (!r->want)
        assert_null(patch);
    else
        assert_string_equal(sb_str(&text), r->want);
}

/* --- files --- */

static char folder[64];

static void
put_file(const char *name, const char *text)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

struct file_row {
    const char *name;
    const char *a, *b;    /* a.yaml and b.yaml; NULL: not there */
    const char *args[6];  /* after apply -f FOLDER */
    const char *want_err; /* a part */
};

#define NS_A "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n"
#define VM_A                                                                               \
    "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata:\n  name: a\n"             \
    "spec:\n  running: true\n  template:\n    spec:\n      domain:\n        devices: {}\n" \
    "        memory:\n          guest: 64Mi\n"

static const struct file_row bad_files[] = {
    {"no file in the folder", NULL, NULL, {NULL}, "no *.yaml"},
    {"an empty file", "", NULL, {NULL}, "no objects"},
    {"only comments", "# nothing\n---\n", NULL, {NULL}, "no objects"},
    {"not YAML", "a: [1,\n", NULL, {NULL}, "a.yaml:"},
    {"a scalar", "hello\n", NULL, {NULL}, "a.yaml:1:1"},
    {"no kind", "apiVersion: v1\nmetadata:\n  name: a\n", NULL, {NULL}, "a.yaml:1:1"},
    {"unknown kind", "apiVersion: v1\nkind: Podd\nmetadata:\n  name: a\n", NULL, {NULL}, "Podd"},
    {"a Pod is not stored",
     "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: c\n",
     NULL,
     {NULL},
     "drover schedule"},
    {"unknown field", NS_A "  nmae: b\n", NULL, {NULL}, "a.yaml:5:"},
    {"a bad quantity in the second file",
     NS_A,
     "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata:\n  name: a\nspec:\n"
     "  running: true\n  template:\n    spec:\n      domain:\n        devices: {}\n"
     "        memory:\n          guest: 64 Mi\n",
     {NULL},
     "b.yaml:12:"},
    {"a duplicate key", NS_A "  name: b\n", NULL, {NULL}, "a.yaml:5:"},
    {"the same object twice in a file", NS_A "---\n" NS_A, NULL, {NULL}, "given twice"},
    {"the same object in two files", NS_A, NS_A, {NULL}, "the other one is at"},
    {"another namespace than -n",
     "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstanceMigration\nmetadata:\n  name: m\n"
     "  namespace: shop\nspec:\n  vmiName: x\n",
     NULL,
     {"-n", "prod"},
     "names the namespace \"shop\", but -n is \"prod\""},
};

static void
clean_folder(void)
{
    struct err err = {0};

    assert_int_equal(fs_rmtree(folder, &err), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
}

static void
file_is_refused(void **state)
{
    static const struct fake_answer none[] = {{0}};
    const struct file_row *r = *state;
    const char *args[10] = {"apply", "-f", folder};
    struct fake_server *s = fake_server_new(none);
    struct ran ran;

    clean_folder();
    if (r->a)
        put_file("a.yaml", r->a);
    if (r->b)
        put_file("b.yaml", r->b);
    put_file("ignored.txt", "not: [read\n");
    for (size_t i = 0; r->args[i]; i++)
        args[3 + i] = r->args[i];
    setenv("DROVER_SERVER", fake_server_url(s), 1);
    ran = run_verb(verb_apply, args);
    assert_int_equal(ran.exit_code, 1);
    assert_string_equal(ran.out, "");
    if (!strstr(ran.err, r->want_err))
        fail_msg("\"%s\" does not say \"%s\"", ran.err, r->want_err);
    assert_true(strchr(ran.err, '\n') == ran.err + strlen(ran.err) - 1);
    assert_string_equal(fake_server_log(s), ""); /* nothing was sent */
    ran_done(&ran);
    fake_server_free(s);
}

#define NSS "/api/v1/namespaces"
#define NOT_FOUND                                                                           \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"no\"," \
    "\"reason\":\"NotFound\",\"code\":404}"
#define LIVE(version, last)                                                                 \
    "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"a\","           \
    "\"resourceVersion\":\"" version "\",\"annotations\":{\"" APPLY_ANNOTATION "\":\"" last \
    "\"}}}"
#define LAST                                                                           \
    "{\\\"apiVersion\\\":\\\"v1\\\",\\\"kind\\\":\\\"Namespace\\\",\\\"metadata\\\":{" \
    "\\\"annotations\\\":{},\\\"name\\\":\\\"a\\\"}}\\n"

struct apply_row {
    const char *name;
    struct fake_answer answers[6];
    const char *extra; /* an argument, or NULL */
    int want_exit;
    const char *want_out;
};

#define A(method, path, status, body)       \
    {                                       \
        method, path, status, body, NULL, 0 \
    }
#define AN(method, path, status, body, n)   \
    {                                       \
        method, path, status, body, NULL, n \
    }

static const struct apply_row applies[] = {
    {"created",
     {A("GET", NSS "/a", 404, NOT_FOUND), A("POST", NSS, 201, LIVE("1", LAST))},
     NULL,
     0,
     "namespace/a created\n"},
    {"created by someone else meanwhile",
     {AN("GET", NSS "/a", 404, NOT_FOUND, 1),
      A("POST", NSS, 409, "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\",\"code\":409}"),
      A("GET", NSS "/a", 200, LIVE("1", LAST))},
     NULL,
     0,
     "namespace/a unchanged\n"},
    {"unchanged", {A("GET", NSS "/a", 200, LIVE("1", LAST))}, NULL, 0, "namespace/a unchanged\n"},
    {"configured",
     {A("GET", NSS "/a", 200, LIVE("1", "{}")), A("PATCH", NSS "/a", 200, LIVE("2", LAST))},
     NULL,
     0,
     "namespace/a configured\n"},
    {"a patch that changes nothing",
     {A("GET", NSS "/a", 200, LIVE("1", "{}")), A("PATCH", NSS "/a", 200, LIVE("1", LAST))},
     NULL,
     0,
     "namespace/a unchanged\n"},
    {"a dry run only looks",
     {A("GET", NSS "/a", 404, NOT_FOUND)},
     "--dry-run",
     0,
     "namespace/a created (dry run)\n"},
    {"refused",
     {A("GET", NSS "/a", 404, NOT_FOUND),
      A("POST", NSS, 422, "{\"kind\":\"Status\",\"message\":\"bad\",\"reason\":\"Invalid\"}")},
     NULL,
     1,
     ""},
    {"deleted again and again",
     {A("GET", NSS "/a", 200, LIVE("1", "{}")), A("PATCH", NSS "/a", 404, NOT_FOUND)},
     NULL,
     1,
     ""},
};

static void
applies_to(void **state)
{
    const struct apply_row *r = *state;
    const char *args[] = {"apply", "-f", folder, r->extra, NULL};
    struct fake_server *s = fake_server_new(r->answers);
    struct ran ran;

    clean_folder();
    put_file("a.yml", NS_A);
    setenv("DROVER_SERVER", fake_server_url(s), 1);
    ran = run_verb(verb_apply, args);
    if (ran.exit_code != r->want_exit)
        fail_msg("exit %d, err \"%s\", log:\n%s", ran.exit_code, ran.err, fake_server_log(s));
    assert_string_equal(ran.out, r->want_out);
    assert_int_equal(ran.err[0] != '\0', r->want_exit != 0);
    ran_done(&ran);
    fake_server_free(s);
}

static void
manifests_stay_as_written(void **state)
{
    const char *paths[] = {folder};
    AUTO_TREE struct tree *objects = NULL;
    AUTO_SB struct sb text = SB_INIT;
    struct err err = {0};

    (void)state;
    clean_folder();
    put_file("b.json", "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{\"apiVersion\":\"v1\","
                       "\"kind\":\"Namespace\",\"metadata\":{\"name\":\"second\"}}]}");
    put_file("a.yaml", VM_A);
    if (client_manifests_load(paths, 1, "shop", false, &objects, &err) < 0)
        fail_msg("%s", err.msg);
    tree_to_json(objects, 0, &text);
    assert_string_equal(
        sb_str(&text),
        "[{\"apiVersion\":\"kubevirt.io/"
        "v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"a\","
        "\"namespace\":\"shop\"},\"spec\":{\"running\":true,\"template\":{\"spec\":{\"domain\":{"
        "\"devices\":{},\"memory\":{\"guest\":\"64Mi\"}}}}}},"
        "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"second\"}}]");
}

#define ROW(fn, r) ((struct CMUnitTest){(r)->name, fn, NULL, NULL, (void *)(uintptr_t)(r)})

int
main(void)
{
    struct CMUnitTest tests[64] = {
        cmocka_unit_test(annotation_is_what_kubectl_writes),
        cmocka_unit_test(manifests_stay_as_written),
    };
    size_t n = 2;
    int rc;

    snprintf(folder, sizeof(folder), "/tmp/drover-test-apply-%d", (int)getpid());
    mkdir(folder, 0700);
    for (size_t i = 0; i < ARRAY_LEN(patches); i++)
        tests[n++] = ROW(patch_is, &patches[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad_files); i++)
        tests[n++] = ROW(file_is_refused, &bad_files[i]);
    for (size_t i = 0; i < ARRAY_LEN(applies); i++)
        tests[n++] = ROW(applies_to, &applies[i]);
    rc = _cmocka_run_group_tests("apply", tests, n, NULL, NULL);
    fs_rmtree(folder, NULL);
    return rc;
}
