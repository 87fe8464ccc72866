/* The object store's rules, on both back ends: what a write does, what it is refused for, in which
 * order things are seen. What only SQLite has is test_store_sqlite.c's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/control_limits.h"
#include "tests/control/store_fixture.h"

static bool use_sqlite;

static int
setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    fixture_open(f, use_sqlite);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

static const char *
meta(const struct tree *t, const char *key)
{
    return tree_find_string(t, "", "metadata", key, NULL);
}

static int64_t
generation(const struct tree *t)
{
    return tree_get_int(tree_find(t, "metadata", "generation", NULL), -1);
}

/* --- what can be created --- */
static void
test_create(void **state)
{
    static const struct {
        const char *name, *json;
        int rc;
    } rows[] = {
        {"a VM",
         "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":"
         "{\"name\":\"a\",\"namespace\":\"d\"}}",
         0},
        {"a node", "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"}}", 0},
        {"generateName",
         "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":"
         "{\"generateName\":\"n-\"}}",
         0},
        {"a VM again",
         "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":"
         "{\"name\":\"a\",\"namespace\":\"d\"}}",
         -EEXIST},
        {"the same name elsewhere",
         "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":"
         "\"VirtualMachine\",\"metadata\":{\"name\":\"a\",\"namespace\":"
         "\"e\"}}",
         0},
        {"no name", "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{}}", -EINVAL},
        {"no metadata", "{\"apiVersion\":\"v1\",\"kind\":\"Node\"}", -EINVAL},
        {"an empty name", "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"\"}}",
         -EINVAL},
        {"a number as name", "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":7}}",
         -EINVAL},
        {"a slash in the name",
         "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"a/b\"}}", -EINVAL},
        {"no kind", "{\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\"}}", -EINVAL},
        {"an unknown kind",
         "{\"apiVersion\":\"v1\",\"kind\":\"Gadget\",\"metadata\":{\"name\":"
         "\"n\"}}",
         -EINVAL},
        {"a kind that is not stored",
         "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":"
         "{\"name\":\"n\",\"namespace\":\"d\"}}",
         -EINVAL},
        {"no namespace",
         "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\","
         "\"metadata\":{\"name\":\"b\"}}",
         -EINVAL},
        {"a namespace too many",
         "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":"
         "\"m\",\"namespace\":\"d\"}}",
         -EINVAL},
        {"a list", "[]", -EINVAL},
        {"a string", "\"x\"", -EINVAL},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t rv = store_rv(f->st);
        int rc = fixture_create(f, fixture_json(rows[i].json));

        if (rc != rows[i].rc)
            fail_msg("%s: rc %d (%s), want %d", rows[i].name, rc, f->message, rows[i].rc);
        assert_int_equal(store_rv(f->st) > rv, rc == 0);
        assert_int_equal(*f->message != '\0', rc != 0);
    }
}

static void
test_server_fields(void **state)
{
    struct fixture *f = *state;
    struct tree *t = fixture_json(
        "{\"apiVersion\":\"kubevirt.io/"
        "v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"a\","
        "\"namespace\":\"d\",\"uid\":\"mine\",\"resourceVersion\":\"77\",\"generation\":9,"
        "\"creationTimestamp\":\"1999-01-01T00:00:00Z\",\"deletionTimestamp\":"
        "\"1999-01-01T00:00:00Z\",\"selfLink\":\"x\",\"managedFields\":[]},\"spec\":{\"x\":1},"
        "\"status\":{\"y\":2}}");

    assert_int_equal(fixture_create(f, t), 0);
    assert_string_not_equal(meta(f->obj, "uid"), "mine");
    assert_int_equal(strlen(meta(f->obj, "uid")), 36);
    assert_int_equal(generation(f->obj), 1);
    assert_string_not_equal(meta(f->obj, "creationTimestamp"), "1999-01-01T00:00:00Z");
    assert_int_equal(store_object_rv(f->obj), store_rv(f->st));
    assert_null(tree_find(f->obj, "metadata", "deletionTimestamp", NULL));
    assert_null(tree_find(f->obj, "metadata", "selfLink", NULL));
    assert_null(tree_find(f->obj, "metadata", "managedFields", NULL));
    assert_int_equal(tree_get_int(tree_find(f->obj, "status", "y", NULL), 0), 2);
    assert_true(tree_equal(f->obj, store_get(f->st, KIND_VM, "d", "a")));

    /* upstream counts no generations for its own kinds */
    assert_int_equal(fixture_create(f, fixture_object(KIND_NODE, "", "n", "")), 0);
    assert_int_equal(generation(f->obj), -1);
}

static void
test_generate_name(void **state)
{
    struct fixture *f = *state;
    char first[64] = "";
    char *longest = xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{"
                              "\"generateName\":\"%0100d\"}}",
                              0);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(fixture_create(f, fixture_json("{\"apiVersion\":\"v1\",\"kind\":\"Node\","
                                                        "\"metadata\":{\"generateName\":\"n-\"}}")),
                         0);
        assert_int_equal(strlen(object_name(f->obj)), 7);
        assert_int_equal(strncmp(object_name(f->obj), "n-", 2), 0);
        assert_string_not_equal(object_name(f->obj), first);
        snprintf(first, sizeof(first), "%s", object_name(f->obj));
        assert_non_null(store_get(f->st, KIND_NODE, NULL, first));
    }
    assert_int_equal(fixture_create(f, fixture_json(longest)), 0);
    assert_int_equal(strlen(object_name(f->obj)), 63);
    free(longest);
}

/* --- what an update does --- */
static void
test_update(void **state)
{
    /* each row starts from {spec:{x:1}, status:{y:1}} with a label, generation 1 */
    static const struct {
        const char *name, *patch;
        bool changed;
        int64_t generation;
    } rows[] = {
        {"nothing", "{}", false, 1},
        {"the same", "{\"spec\":{\"x\":1}}", false, 1},
        {"spec", "{\"spec\":{\"x\":2}}", true, 2},
        {"a new field beside spec", "{\"data\":{\"x\":2}}", true, 2},
        {"spec taken away", "{\"spec\":null}", true, 2},
        {"status", "{\"status\":{\"y\":2}}", true, 1},
        {"a label", "{\"metadata\":{\"labels\":{\"a\":\"c\"}}}", true, 1},
        {"the uid cannot change", "{\"metadata\":{\"creationTimestamp\":\"x\"}}", false, 1},
        {"nor the generation", "{\"metadata\":{\"generation\":7}}", false, 1},
        {"nor the deletionTimestamp", "{\"metadata\":{\"deletionTimestamp\":\"x\"}}", false, 1},
        {"nor the kind", "{\"kind\":\"Node\",\"apiVersion\":\"v1\"}", false, 1},
        {"nor the name", "{\"metadata\":{\"name\":\"z\",\"namespace\":\"z\"}}", false, 1},
        {"managedFields are not kept", "{\"metadata\":{\"managedFields\":[{}]}}", false, 1},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char name[16];
        uint64_t rv;

        snprintf(name, sizeof(name), "o%zu", i);
        assert_int_equal(
            fixture_create(
                f, fixture_object(KIND_VM, "d", name, ",\"spec\":{\"x\":1},\"status\":{\"y\":1}")),
            0);
        assert_int_equal(
            fixture_patch(f, KIND_VM, "d", name, 0, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"),
            0);
        rv = store_rv(f->st);
        assert_int_equal(fixture_patch(f, KIND_VM, "d", name, 0, rows[i].patch), 0);
        if (f->changed != rows[i].changed || generation(f->obj) != rows[i].generation)
            fail_msg("%s: changed %d, generation %d", rows[i].name, f->changed,
                     (int)generation(f->obj));
        assert_int_equal(store_rv(f->st) > rv, rows[i].changed);
        assert_string_equal(object_name(f->obj), name);
        assert_true(tree_equal(f->obj, store_get(f->st, KIND_VM, "d", name)));
    }
}

static void
test_preconditions(void **state)
{
    struct fixture *f = *state;
    struct tree *old, *other;
    uint64_t rv;

    assert_int_equal(fixture_create(f, fixture_object(KIND_VM, "d", "a", "")), 0);
    old = tree_copy(f->obj);
    rv = store_rv(f->st);
    assert_int_equal(fixture_patch(f, KIND_VM, "d", "a", rv, "{\"spec\":{\"x\":1}}"), 0);

    assert_int_equal(fixture_patch(f, KIND_VM, "d", "a", rv, "{\"spec\":{\"x\":2}}"), -EAGAIN);
    assert_non_null(strstr(f->message,
                           "Operation cannot be fulfilled on virtualmachines.kubevirt.io "
                           "\"a\": the object has been modified"));
    assert_int_equal(fixture_update(f, tree_copy(old)), -EAGAIN);
    assert_int_equal(
        fixture_patch(f, KIND_VM, "d", "a", 0, "{\"metadata\":{\"resourceVersion\":\"1\"}}"),
        -EAGAIN);
    assert_int_equal(fixture_delete(f, KIND_VM, "d", "a", NULL, rv), -EAGAIN);
    assert_int_equal(fixture_delete(f, KIND_VM, "d", "a", "another", 0), -EAGAIN);
    assert_int_equal(fixture_patch(f, KIND_VM, "d", "b", 0, "{}"), -ENOENT);
    assert_string_equal(f->message, "virtualmachines.kubevirt.io \"b\" not found");
    assert_int_equal(fixture_delete(f, KIND_NODE, "", "b", NULL, 0), -ENOENT);
    assert_string_equal(f->message, "nodes \"b\" not found");
    assert_int_equal(fixture_update(f, fixture_object(KIND_VM, "d", "b", "")), -ENOENT);
    other = fixture_object(KIND_VM, "d", "a", "");
    tree_set_path(other, tree_string("another"), "metadata", "uid", NULL);
    assert_int_equal(fixture_update(f, other), -EAGAIN);

    assert_int_equal(
        tree_get_int(tree_find(store_get(f->st, KIND_VM, "d", "a"), "spec", "x", NULL), 0), 1);
    /* no version: unconditional; the uid that it has is fine */
    tree_del(tree_get(old, "metadata"), "resourceVersion");
    assert_int_equal(fixture_update(f, old), 0);
    assert_true(f->changed);
    assert_int_equal(fixture_delete(f, KIND_VM, "d", "a", meta(f->obj, "uid"), store_rv(f->st)), 0);
    assert_true(f->removed);
    assert_null(store_get(f->st, KIND_VM, "d", "a"));
}

static void
test_finalizers(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fixture_create(f, fixture_object(KIND_VMI, "d", "a", "")), 0);
    assert_int_equal(fixture_patch(f, KIND_VMI, "d", "a", 0,
                                   "{\"metadata\":{\"finalizers\":[\"one\",\"two\"]}}"),
                     0);
    assert_int_equal(fixture_delete(f, KIND_VMI, "d", "a", NULL, 0), 0);
    assert_false(f->removed);
    assert_true(f->changed);
    assert_true(*meta(f->obj, "deletionTimestamp"));
    assert_int_equal(generation(f->obj), 2);
    assert_int_equal(fixture_delete(f, KIND_VMI, "d", "a", NULL, 0), 0); /* again: as it is */
    assert_false(f->changed || f->removed);
    assert_int_equal(fixture_patch(f, KIND_VMI, "d", "a", 0,
                                   "{\"metadata\":{\"finalizers\":[\"two\"],"
                                   "\"deletionTimestamp\":null}}"),
                     0);
    assert_false(f->removed);
    assert_non_null(store_get(f->st, KIND_VMI, "d", "a"));
    assert_int_equal(fixture_create(f, fixture_object(KIND_VMI, "d", "a", "")), -EEXIST);
    assert_int_equal(
        fixture_patch(f, KIND_VMI, "d", "a", 0, "{\"metadata\":{\"finalizers\":null}}"), 0);
    assert_true(f->removed);
    assert_null(store_get(f->st, KIND_VMI, "d", "a"));
    assert_int_equal(fixture_create(f, fixture_object(KIND_VMI, "d", "a", "")), 0);
}

static void
test_too_large(void **state)
{
    struct fixture *f = *state;
    char *big = xmalloc(API_MAX_OBJECT_BYTES / 2 + 1), *patch;

    memset(big, 'x', API_MAX_OBJECT_BYTES / 2);
    big[API_MAX_OBJECT_BYTES / 2] = '\0';
    assert_int_equal(fixture_create(f, fixture_object(KIND_VM, "d", "a", "")), 0);
    patch = xasprintf("{\"spec\":{\"a\":\"%s\"}}", big);
    assert_int_equal(fixture_patch(f, KIND_VM, "d", "a", 0, patch), 0);
    free(patch);
    patch = xasprintf("{\"spec\":{\"b\":\"%s\"}}", big);
    assert_int_equal(fixture_patch(f, KIND_VM, "d", "a", 0, patch), -EFBIG);
    free(patch);
    free(big);
    assert_null(tree_find(store_get(f->st, KIND_VM, "d", "a"), "spec", "b", NULL));
    assert_int_equal(fixture_delete(f, KIND_VM, "d", "a", NULL, 0), 0);
}

/* --- order --- */
struct trace {
    struct fixture *f;
    struct sb text;
};

static void
trace_event(void *ctx, const struct store_event *ev)
{
    static const char *const names[] = {"ADDED", "MODIFIED", "DELETED"};
    struct trace *t = ctx;

    assert_int_equal(store_rv(t->f->st), ev->rv);
    assert_int_equal(store_object_rv(ev->obj), ev->rv);
    assert_ptr_equal(store_object_tree(ev->object), ev->obj);
    assert_int_equal(ev->old_obj == NULL, ev->type == STORE_ADDED);
    /* memory has changed already, and not further than this event */
    assert_ptr_equal(store_get(t->f->st, ev->kind, object_namespace(ev->obj), object_name(ev->obj)),
                     ev->type == STORE_DELETED ? NULL : ev->obj);
    sb_printf(&t->text, "%s %s;", names[ev->type], object_name(ev->obj));
}

static void
trace_done(void *ctx, const struct store_result *res)
{
    struct trace *t = ctx;

    sb_printf(&t->text, "done %d;", res->rc);
}

static int
add_one(void *ctx, struct tree *obj)
{
    (void)ctx;
    tree_set_path(obj, tree_int(tree_get_int(tree_find(obj, "spec", "n", NULL), 0) + 1), "spec",
                  "n", NULL);
    return 1;
}

static int
leave_it(void *ctx, struct tree *obj)
{
    (void)ctx;
    tree_set_path(obj, tree_int(99), "spec", "n", NULL);
    return 0;
}

static int
refuse_it(void *ctx, struct tree *obj)
{
    (void)ctx;
    tree_set_path(obj, tree_int(99), "spec", "n", NULL);
    return -EPERM;
}

/* All queued in one turn: each sees what the one before made, and is told in order. */
static void
test_order(void **state)
{
    struct fixture *f = *state;
    struct trace t = {.f = f};
    struct store_watch *w = store_watch(f->st, KIND_NONE, trace_event, &t);

    store_create(f->st, fixture_object(KIND_VM, "d", "a", ""), trace_done, &t);
    store_create(f->st, fixture_object(KIND_VM, "d", "a", ""), trace_done, &t);
    for (int i = 0; i < 3; i++)
        store_mutate(f->st, KIND_VM, "d", "a", 0, add_one, trace_done, &t);
    store_mutate(f->st, KIND_VM, "d", "a", 0, leave_it, trace_done, &t);
    store_mutate(f->st, KIND_VM, "d", "a", 0, refuse_it, trace_done, &t);
    store_mutate(f->st, KIND_VM, "d", "a", 1, add_one, trace_done, &t);
    store_delete(f->st, KIND_VM, "d", "a", NULL, 0, trace_done, &t);
    store_mutate(f->st, KIND_VM, "d", "a", 0, add_one, trace_done, &t);
    store_create(f->st, fixture_object(KIND_VM, "d", "a", ""), trace_done, &t);
    assert_null(store_get(f->st, KIND_VM, "d", "a")); /* nothing happens inside the calls */
    assert_int_equal(t.text.len, 0);
    assert_int_equal(fixture_patch(f, KIND_VM, "d", "a", 0, "{\"spec\":{\"last\":true}}"), 0);
    assert_string_equal(sb_str(&t.text),
                        "ADDED a;done 0;done -17;MODIFIED a;done 0;MODIFIED a;done 0;MODIFIED a;"
                        "done 0;done 0;done -1;done -11;DELETED a;done 0;done -2;ADDED a;done 0;"
                        "MODIFIED a;");
    store_unwatch(w);
    sb_done(&t.text);
}

static void
test_mutate_counts(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fixture_create(f, fixture_object(KIND_VM, "d", "a", "")), 0);
    for (int i = 0; i < 1000; i++)
        store_mutate(f->st, KIND_VM, "d", "a", 0, add_one, NULL, NULL);
    assert_int_equal(fixture_patch(f, KIND_VM, "d", "a", 0, "{}"), 0);
    assert_int_equal(tree_get_int(tree_find(f->obj, "spec", "n", NULL), 0), 1000);
    assert_int_equal(generation(f->obj), 1001);
}

/* --- checks against other objects --- */
static bool
count_one(void *ctx, const struct tree *obj)
{
    (void)obj;
    (*(size_t *)ctx)++;
    return true;
}

static int
at_most_one(void *ctx, struct tree *obj)
{
    struct fixture *f = ctx;
    size_t n = 0;

    (void)obj;
    store_list(f->st, KIND_MAINTENANCE, NULL, count_one, &n);
    return n ? -EBUSY : 0;
}

static void
test_check(void **state)
{
    struct fixture *f = *state;
    const struct store_opts checked = {.check = at_most_one};

    for (int i = 0; i < 3; i++)
        store_create_opts(f->st,
                          fixture_object(KIND_MAINTENANCE, "", i ? i > 1 ? "c" : "b" : "a", ""),
                          &checked, i == 2 ? fixture_done : NULL, f);
    fixture_wait(f);
    assert_int_equal(f->rc, -EBUSY);
    assert_int_equal(store_count(f->st, KIND_MAINTENANCE), 1);
    assert_non_null(store_get(f->st, KIND_MAINTENANCE, NULL, "a"));
}

static void
test_dry_run(void **state)
{
    struct fixture *f = *state;
    const struct store_opts dry = {.dry_run = true};

    store_create_opts(f->st, fixture_object(KIND_NODE, "", "n", ""), &dry, fixture_done, f);
    fixture_wait(f);
    assert_int_equal(f->rc, 0);
    assert_true(*meta(f->obj, "uid"));
    assert_null(store_get(f->st, KIND_NODE, NULL, "n"));
    assert_int_equal(fixture_create(f, fixture_object(KIND_NODE, "", "n", "")), 0);
    store_create_opts(f->st, fixture_object(KIND_NODE, "", "n", ""), &dry, fixture_done, f);
    fixture_wait(f);
    assert_int_equal(f->rc, -EEXIST);
    store_mutate_opts(f->st, KIND_NODE, NULL, "n", &dry, add_one, fixture_done, f);
    fixture_wait(f);
    assert_int_equal(tree_get_int(tree_find(f->obj, "spec", "n", NULL), 0), 1);
    store_delete_opts(f->st, KIND_NODE, NULL, "n", &dry, fixture_done, f);
    fixture_wait(f);
    assert_int_equal(f->rc, 0);
    assert_null(tree_find(store_get(f->st, KIND_NODE, NULL, "n"), "spec", NULL));
}

/* --- lists --- */
static bool
add_key(void *ctx, const struct store_object *o)
{
    sb_printf(ctx, "%s ", store_object_key(o));
    return true;
}

static bool
stop_at_once(void *ctx, const struct tree *obj)
{
    (void)obj;
    (*(size_t *)ctx)++;
    return false;
}

static void
test_list(void **state)
{
    static const char *const keys[][2] = {{"b", "x"},   {"a", "z"},  {"a-b", "y"}, {"a", "a"},
                                          {"a.c", "q"}, {"ab", "m"}, {"a", "m"}};
    static const struct {
        const char *ns, *want;
    } rows[] = {
        {NULL, "a-b/y a.c/q a/a a/m a/z ab/m b/x "},
        {"", "a-b/y a.c/q a/a a/m a/z ab/m b/x "},
        {"a", "a/a a/m a/z "},
        {"ab", "ab/m "},
        {"a-b", "a-b/y "},
        {"c", ""},
        {"A", ""},
    };
    struct fixture *f = *state;
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_int_equal(fixture_create(f, fixture_object(KIND_VM, keys[i][0], keys[i][1], "")), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sb out = SB_INIT;

        store_each(f->st, KIND_VM, rows[i].ns, add_key, &out);
        assert_string_equal(sb_str(&out), rows[i].want);
        sb_done(&out);
    }
    store_list(f->st, KIND_VM, NULL, stop_at_once, &n);
    assert_int_equal(n, 1);
    assert_null(store_get(f->st, KIND_VM, "a", "x"));
    assert_null(store_get(f->st, KIND_VMI, "a", "a"));
}

/* --- watches --- */
struct flip {
    struct fixture *f;
    struct store_watch *self, *other, *made;
    unsigned calls;
};

static void
count_call(void *ctx, const struct store_event *ev)
{
    (void)ev;
    (*(unsigned *)ctx)++;
}

static unsigned made_calls;

static void
drop_both(void *ctx, const struct store_event *ev)
{
    struct flip *x = ctx;

    (void)ev;
    x->calls++;
    store_unwatch(x->other);
    store_unwatch(x->self);
    x->made = store_watch(x->f->st, KIND_NODE, count_call, &made_calls);
}

static void
test_unwatch_inside(void **state)
{
    struct fixture *f = *state;
    struct flip x = {.f = f};
    unsigned other_calls = 0, vm_calls = 0;
    struct store_watch *vms = store_watch(f->st, KIND_VM, count_call, &vm_calls);

    made_calls = 0;
    x.self = store_watch(f->st, KIND_NODE, drop_both, &x);
    x.other = store_watch(f->st, KIND_NODE, count_call, &other_calls);
    assert_int_equal(fixture_create(f, fixture_object(KIND_NODE, "", "a", "")), 0);
    assert_int_equal(x.calls, 1);
    assert_int_equal(other_calls, 0); /* taken away before its turn */
    assert_int_equal(made_calls, 0);  /* starts with the next event */
    assert_int_equal(fixture_create(f, fixture_object(KIND_NODE, "", "b", "")), 0);
    assert_int_equal(x.calls, 1);
    assert_int_equal(made_calls, 1);
    assert_int_equal(vm_calls, 0);
    store_unwatch(x.made);
    store_unwatch(vms);
    store_unwatch(NULL);
}

static void
test_history(void **state)
{
    struct fixture *f = *state;
    struct trace t = {.f = f};
    uint64_t start = store_rv(f->st), middle;
    unsigned n = 0;

    assert_int_equal(fixture_create(f, fixture_object(KIND_NODE, "", "a", "")), 0);
    middle = store_rv(f->st);
    assert_int_equal(fixture_create(f, fixture_object(KIND_VM, "d", "b", "")), 0);
    assert_int_equal(fixture_patch(f, KIND_NODE, "", "a", 0, "{\"spec\":{\"x\":1}}"), 0);
    assert_int_equal(fixture_delete(f, KIND_NODE, "", "a", NULL, 0), 0);

    assert_int_equal(store_history(f->st, KIND_NONE, start, count_call, &n), 0);
    assert_int_equal(n, 4);
    n = 0;
    assert_int_equal(store_history(f->st, KIND_NODE, middle, count_call, &n), 0);
    assert_int_equal(n, 2);
    n = 0;
    assert_int_equal(store_history(f->st, KIND_VM, store_rv(f->st), count_call, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(store_history(f->st, KIND_VM, store_rv(f->st) + 1, count_call, &n), -ESTALE);
    assert_int_equal(n, 0);

    /* more events than are kept */
    for (int i = 0; i < STORE_HISTORY_EVENTS; i++)
        store_mutate(f->st, KIND_VM, "d", "b", 0, add_one, NULL, NULL);
    assert_int_equal(fixture_patch(f, KIND_VM, "d", "b", 0, "{}"), 0);
    assert_int_equal(store_history(f->st, KIND_VM, middle, count_call, &n), -ESTALE);
    assert_int_equal(n, 0);
    assert_int_equal(
        store_history(f->st, KIND_VM, store_rv(f->st) - STORE_HISTORY_EVENTS, count_call, &n), 0);
    assert_int_equal(n, STORE_HISTORY_EVENTS);
    sb_done(&t.text);
}

/* What is queued when the store is closed is dropped, and nobody is called. */
static int
must_not_run(void *ctx, struct tree *obj)
{
    (void)ctx;
    (void)obj;
    fail_msg("called after store_free");
    return 0;
}

static void
test_close_with_queue(void **state)
{
    struct fixture *f = *state, other;
    unsigned calls = 0;

    (void)f;
    fixture_open(&other, use_sqlite);
    store_watch(other.st, KIND_NONE, count_call, &calls);
    store_create(other.st, fixture_object(KIND_NODE, "", "a", ""), fixture_done, &other);
    store_mutate(other.st, KIND_NODE, NULL, "a", 0, must_not_run, fixture_done, &other);
    fixture_close(&other);
    assert_int_equal(calls, 0);
    assert_false(other.finished);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_create),         T(test_server_fields), T(test_generate_name),    T(test_update),
        T(test_preconditions),  T(test_finalizers),    T(test_too_large),        T(test_order),
        T(test_mutate_counts),  T(test_check),         T(test_dry_run),          T(test_list),
        T(test_unwatch_inside), T(test_history),       T(test_close_with_queue),
    };
    int rc = cmocka_run_group_tests_name("store_mem", tests, NULL, NULL);

    use_sqlite = true;
    return rc + cmocka_run_group_tests_name("store_sqlite", tests, NULL, NULL);
}
