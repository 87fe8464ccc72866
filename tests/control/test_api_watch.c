/* Watches over HTTP: what is seen, in which order, through which selectors, and what becomes of
 * clients that are late, slow or gone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "control/api_call.h"
#include "tests/control/api_fixture.h"

#define NODES "/api/v1/nodes"
#define NADS  "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions"
#define MERGE "application/merge-patch+json"

#define NODE(name, rest) \
    "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"" name "\"" rest "}}"
#define NAD(name)                                                  \
    "{\"apiVersion\":\"k8s.cni.cncf.io/"                           \
    "v1\",\"kind\":\"NetworkAttachmentDefinition\",\"metadata\":{" \
    "\"name\":\"" name "\"}}"
#define LABELS(a) "{\"metadata\":{\"labels\":{\"app\":" a "}}}"

static int
open_watch(struct api_fixture *f, const char *path, const char *header)
{
    int fd = api_fixture_connect(f);
    char *request = xasprintf("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, header);

    api_fixture_send(fd, request);
    free(request);
    return fd;
}

/* The events in the text, as "ADDED a;MODIFIED a;"; an ERROR with its code. */
static char *
events_of(const char *text)
{
    struct sb out = SB_INIT;

    for (const char *p = text; (p = strstr(p, "{\"type\":")); p++) {
        const char *end = strchr(p, '\n');
        struct tree *t = NULL;
        const struct tree *obj;

        if (!end || tree_from_json(p, (size_t)(end - p), &t, NULL) != 0)
            continue;
        obj = tree_get(t, "object");
        if (strcmp(tree_find_string(obj, "", "kind", NULL), "Status") == 0)
            sb_printf(&out, "ERROR %d;", (int)tree_get_int(tree_get(obj, "code"), 0));
        else
            sb_printf(&out, "%s %s;", tree_find_string(t, "", "type", NULL),
                      tree_find_string(obj, "", "metadata", "name", NULL));
        tree_free(t);
    }
    return sb_steal(&out);
}

/* Closes the watch after `until` was seen and compares what came. */
static void
expect(int fd, const char *until, const char *want)
{
    char *text = api_fixture_read(fd, until), *got = events_of(text);

    if (strcmp(got, want) != 0)
        fail_msg("want %s\n got %s\nin %s", want, got, text);
    free(text);
    free(got);
    close(fd);
}

static char *
list_rv(struct api_fixture *f)
{
    static char rv[32];

    assert_int_equal(api_fixture_get(f, NODES), 200);
    snprintf(rv, sizeof(rv), "%s", api_fixture_text(f, "metadata.resourceVersion"));
    return rv;
}

static void
patch(struct api_fixture *f, const char *path, const char *body)
{
    assert_int_equal(api_fixture_call(f, "PATCH", path, MERGE, body), 200);
}

static void
end_marker(struct api_fixture *f)
{
    api_fixture_create(f, NODES, NODE("the-end", ",\"labels\":{\"app\":\"web\"}"));
}

static void
test_events(void **state)
{
    struct api_fixture *f = *state;
    char *path = xasprintf(NODES "?watch=1&resourceVersion=%s", list_rv(f));
    int live = open_watch(f, path, ""), late;

    api_fixture_create(f, NODES, NODE("a", ""));
    patch(f, NODES "/a", LABELS("\"x\""));
    patch(f, NODES "/a", LABELS("\"x\"")); /* changes nothing: no event */
    assert_int_equal(api_fixture_call(f, "POST", NODES "?dryRun=All", NULL, NODE("dry", "")), 201);
    assert_int_equal(api_fixture_call(f, "DELETE", NODES "/a", NULL, NULL), 200);
    api_fixture_create(f, NADS, NAD("other"));
    end_marker(f);
    expect(live, "the-end", "ADDED a;MODIFIED a;DELETED a;ADDED the-end;");
    late = open_watch(f, path, ""); /* the same again, from what is remembered */
    expect(late, "the-end", "ADDED a;MODIFIED a;DELETED a;ADDED the-end;");
    free(path);
}

static void
test_start(void **state)
{
    static const struct {
        const char *name, *path, *until, *want;
    } rows[] = {
        {"no version: what is there", NODES "?watch=true", "the-end",
         "ADDED a;ADDED b;ADDED the-end;"},
        {"version 0", NODES "?watch=1&resourceVersion=0", "the-end",
         "ADDED a;ADDED b;ADDED the-end;"},
        {"labels", NODES "?watch=1&labelSelector=app%3Dweb", "the-end", "ADDED b;ADDED the-end;"},
        {"a field", NODES "?watch=1&fieldSelector=metadata.name%3Dthe-end", "the-end",
         "ADDED the-end;"},
        {"one object", NODES "/the-end?watch=1", "the-end", "ADDED the-end;"},
        {"from the future", NODES "?watch=1&resourceVersion=999999", "\r\n0\r\n\r\n", "ERROR 410;"},
        {"with an end", NODES "?watch=1&timeoutSeconds=1", "\r\n0\r\n\r\n",
         "ADDED a;ADDED b;ADDED the-end;"},
        {"pods, with an end", "/api/v1/pods?watch=1&timeoutSeconds=1", "\r\n0\r\n\r\n", ""},
        {"with bookmarks, but ended before the first",
         NODES "?watch=1&fieldSelector=metadata.name%3Dx"
               "&allowWatchBookmarks=true&timeoutSeconds=1",
         "\r\n0\r\n\r\n", ""},
    };
    struct api_fixture *f = *state;

    api_fixture_create(f, NODES, NODE("a", ""));
    api_fixture_create(f, NODES, NODE("b", ",\"labels\":{\"app\":\"web\"}"));
    end_marker(f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("%s\n", rows[i].name);
        expect(open_watch(f, rows[i].path, ""), rows[i].until, rows[i].want);
    }
}

static int
touch(void *ctx, struct tree *obj)
{
    (void)ctx;
    tree_set_path(obj, tree_int(tree_get_int(tree_find(obj, "spec", "n", NULL), 0) + 1), "spec",
                  "n", NULL);
    return 1;
}

static void
touch_often(struct api_fixture *f, void *ctx)
{
    for (int i = 0; i < *(int *)ctx; i++)
        store_mutate(f->store, KIND_NODE, NULL, "a", 0, touch, NULL, NULL);
}

static void
test_too_old(void **state)
{
    struct api_fixture *f = *state;
    int n = STORE_HISTORY_EVENTS + 1;
    char *path;

    api_fixture_create(f, NODES, NODE("a", ""));
    path = xasprintf(NODES "?watch=1&resourceVersion=%s", list_rv(f));
    api_fixture_do(f, touch_often, &n);
    end_marker(f);
    expect(open_watch(f, path, ""), "\r\n0\r\n\r\n", "ERROR 410;");
    free(path);
}

static void
test_refused(void **state)
{
    static const struct {
        const char *path;
        int status;
        const char *reason;
    } rows[] = {
        {NODES "?watch=1&resourceVersion=abc", 400, "BadRequest"},
        {NODES "?watch=1&resourceVersion=-1", 400, "BadRequest"},
        {NODES "?watch=1&timeoutSeconds=soon", 400, "BadRequest"},
        {NODES "?watch=1&labelSelector=a%20b", 400, "BadRequest"},
        {NODES "?watch=1&fieldSelector=x", 400, "BadRequest"},
        {NODES "?watch=1&sendInitialEvents=true", 422, "Invalid"},
        {"/api/v1/gadgets?watch=1", 404, "NotFound"},
    };
    struct api_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        api_fixture_get(f, rows[i].path);
        if (f->status != rows[i].status ||
            strcmp(api_fixture_text(f, "reason"), rows[i].reason) != 0)
            fail_msg("%s: %d %s", rows[i].path, f->status, f->text);
    }
}

/* An object that comes to match is added, one that ceases to match is deleted, as it last was. */
static void
test_selector_changes(void **state)
{
    struct api_fixture *f = *state;
    char *path =
        xasprintf(NODES "?watch=1&labelSelector=app%%3Dweb&resourceVersion=%s", list_rv(f));
    int fd = open_watch(f, path, "");
    char *text, *got, *deleted;

    api_fixture_create(f, NODES, NODE("a", ""));
    patch(f, NODES "/a", LABELS("\"web\""));
    patch(f, NODES "/a", "{\"metadata\":{\"annotations\":{\"x\":\"y\"}}}");
    patch(f, NODES "/a", LABELS("\"db\""));
    patch(f, NODES "/a", LABELS("null"));
    patch(f, NODES "/a", LABELS("\"web\""));
    assert_int_equal(api_fixture_call(f, "DELETE", NODES "/a", NULL, NULL), 200);
    end_marker(f);
    text = api_fixture_read(fd, "the-end");
    got = events_of(text);
    assert_string_equal(got, "ADDED a;MODIFIED a;DELETED a;ADDED a;DELETED a;ADDED the-end;");
    deleted = strstr(text, "DELETED");
    *strchr(deleted, '\n') = '\0';
    assert_non_null(strstr(deleted, "\"app\":\"web\"")); /* still as it was when it matched */
    free(text);
    free(got);
    free(path);
    close(fd);
}

static void
test_namespaces(void **state)
{
    struct api_fixture *f = *state;
    int fd = open_watch(f,
                        "/apis/k8s.cni.cncf.io/v1/namespaces/default/"
                        "network-attachment-definitions?watch=1",
                        "");
    api_fixture_create(f,
                       "/apis/k8s.cni.cncf.io/v1/namespaces/openshift-cnv/"
                       "network-attachment-definitions",
                       NAD("elsewhere"));
    api_fixture_create(f, NADS, NAD("the-end"));
    expect(fd, "the-end", "ADDED the-end;");
}

static void
test_other_version(void **state)
{
    struct api_fixture *f = *state;
    int fd =
        open_watch(f, "/apis/nmstate.io/v1alpha1/nodenetworkconfigurationpolicies?watch=1", "");
    char *text;

    api_fixture_create(
        f, "/apis/nmstate.io/v1/nodenetworkconfigurationpolicies",
        "{\"apiVersion\":\"nmstate.io/v1\",\"kind\":\"NodeNetworkConfigurationPolicy\","
        "\"metadata\":{\"name\":\"p\"},\"spec\":{\"desiredState\":{}}}");
    text = api_fixture_read(fd, "desiredState");
    assert_non_null(strstr(text, "\"apiVersion\":\"nmstate.io/v1alpha1\""));
    free(text);
    close(fd);
}

static void
test_bookmarks(void **state)
{
    const struct api_config config = {.bookmark_ms = 30};
    struct api_fixture f;
    int fd;
    char *text, *rv;

    (void)state;
    api_fixture_open(&f, &config);
    api_fixture_create(&f, NODES, NODE("a", ""));
    rv = xasprintf("\"BOOKMARK\",\"object\":{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{"
                   "\"resourceVersion\":\"%s\"",
                   list_rv(&f));
    fd = open_watch(&f, NODES "?watch=1&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dx",
                    "");
    text = api_fixture_read(fd, "BOOKMARK");
    free(text);
    text = api_fixture_read(fd, rv);
    assert_non_null(strstr(text, rv));
    free(text);
    free(rv);
    close(fd);
    api_fixture_close(&f);
}

static void
test_table(void **state)
{
    struct api_fixture *f = *state;
    int fd =
        open_watch(f, NODES "?watch=1",
                   "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n");
    char *text, *second;

    api_fixture_create(f, NODES, NODE("a", ""));
    end_marker(f);
    text = api_fixture_read(fd, "\"name\":\"the-end\"");
    second = strstr(strstr(text, "ADDED") + 1, "ADDED");
    assert_non_null(strstr(text, "\"columnDefinitions\":[{\"name\":\"Name\""));
    assert_true(strstr(text, "\"columnDefinitions\":[{") < second);
    assert_non_null(strstr(second, "\"columnDefinitions\":[]"));
    assert_non_null(strstr(second, "\"cells\":[\"the-end\",\"Unknown\",\"<none>\","));
    free(text);
    close(fd);
}

/* One that does not read is cut off with an error; one that does is not held up. */
static void
test_slow_watcher(void **state)
{
    const struct api_config config = {.watch_queue_bytes = 64 << 10};
    struct api_fixture f;
    int slow, quick, n = 2000;
    char *text, *got;

    (void)state;
    api_fixture_open(&f, &config);
    api_fixture_create(&f, NODES, NODE("a", ""));
    slow = open_watch(&f, NODES "?watch=1", "");
    free(api_fixture_read(slow, "ADDED"));
    quick = open_watch(&f, NODES "?watch=1&fieldSelector=metadata.name%3Dthe-end", "");
    api_fixture_do(&f, touch_often, &n);
    end_marker(&f);
    expect(quick, "the-end", "ADDED the-end;");
    text = api_fixture_read(slow, "\r\n0\r\n\r\n");
    got = events_of(text);
    assert_non_null(strstr(text, "too slow"));
    assert_true(strlen(got) > 10 && strcmp(got + strlen(got) - 10, "ERROR 410;") == 0);
    assert_null(strstr(text, "the-end"));
    free(text);
    free(got);
    /* the connection lives on: it may list again */
    api_fixture_send(slow, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n");
    text = api_fixture_read(slow, "gitVersion");
    assert_non_null(strstr(text, "200 OK"));
    free(text);
    close(slow);
    api_fixture_close(&f);
}

static void
count_watchers(struct api_fixture *f, void *ctx)
{
    *(size_t *)ctx = 0;
    for (struct api_call *c = f->api->calls; c; c = c->next)
        ++*(size_t *)ctx;
}

/* Watchers that vanish are forgotten, also while there is nothing to tell them. */
static void
test_gone(void **state)
{
    struct api_fixture *f = *state;
    size_t n;

    for (int i = 0; i < 10; i++) {
        int fd = open_watch(f, NODES "?watch=1", "");

        free(api_fixture_read(fd, "\r\n\r\n"));
        if (i % 2)
            shutdown(fd, SHUT_WR);
        else
            close(fd);
        if (i % 2) {
            free(api_fixture_read(fd, NULL)); /* the server ends it */
            close(fd);
        }
    }
    do {
        api_fixture_do(f, count_watchers, &n);
    } while (n > 0);
    assert_int_equal(api_fixture_get(f, "/version"), 200);
}

/* --- the REST client's side --- */
struct lines {
    unsigned n;
    atomic_bool stop;
};

static int
count_line(void *ctx, const char *line, size_t len)
{
    struct lines *l = ctx;
    struct tree *t = NULL;

    assert_int_equal(tree_from_json(line, len, &t, NULL), 0);
    tree_free(t);
    return ++l->n == 3 ? 7 : 0;
}

static void
test_rest_watch(void **state)
{
    struct api_fixture *f = *state;
    struct lines l = {0};
    struct err err = {0};
    int status = 0;

    for (int i = 0; i < 3; i++) {
        char *name = xasprintf(NODE("n%d", ""), i);

        api_fixture_create(f, NODES, name);
        free(name);
    }
    assert_int_equal(rest_watch(f->rest, NODES "?watch=1", count_line, &l, &l.stop, &status, &err),
                     7);
    assert_int_equal(status, 200);
    assert_int_equal(l.n, 3);
    l = (struct lines){0};
    assert_int_equal(rest_watch(f->rest, NODES "?watch=1&timeoutSeconds=1&labelSelector=none",
                                count_line, &l, &l.stop, &status, &err),
                     0);
    assert_int_equal(l.n, 0);
    atomic_store(&l.stop, true);
    assert_int_equal(rest_watch(f->rest, NODES "?watch=1&labelSelector=none", count_line, &l,
                                &l.stop, &status, &err),
                     0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, api_fixture_setup, api_fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_events),
        T(test_start),
        T(test_too_old),
        T(test_refused),
        T(test_selector_changes),
        T(test_namespaces),
        T(test_other_version),
        cmocka_unit_test(test_bookmarks),
        T(test_table),
        cmocka_unit_test(test_slow_watcher),
        T(test_gone),
        T(test_rest_watch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
