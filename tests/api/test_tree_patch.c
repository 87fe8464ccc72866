/* Patches: RFC 7386 (its own appendix among the rows), strategic merge, and what holds for all trees:
 * text and back, diff and patch. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "api/limits.h"
#include "api/tree.h"
#include "tests/api/random_tree.h"
#include "tests/api/rows.h"

#define SEEDS 3000

static struct tree *
json(const char *text)
{
    struct tree *t = NULL;
    struct err err = {0};

    if (tree_from_json(text, strlen(text), &t, &err) != 0)
        fail_msg("%s: %s", text, err_msg(&err));
    return t;
}

static void
assert_json(const struct tree *t, const char *want)
{
    AUTO_SB struct sb sb = SB_INIT;
    AUTO_TREE struct tree *w = json(want);

    tree_to_json(t, 0, &sb);
    if (!tree_equal(t, w))
        fail_msg("want %s\ngot  %s", want, sb_str(&sb));
}

static const struct merge_row {
    const char *name, *target, *patch, *want;
} merge_rows[] = {
    {"replace", "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"add", "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
    {"delete", "{\"a\":\"b\"}", "{\"a\":null}", "{}"},
    {"delete one of two", "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
    {"list by string", "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"string by list", "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
    {"deep", "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
    {"lists are whole", "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
    {"null in the target stays", "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
    {"nulls of a new map are dropped", "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}",
     "{\"a\":{\"bb\":{}}}"},
    {"map in place of a scalar", "{\"a\":1}", "{\"a\":{\"b\":null,\"c\":2}}", "{\"a\":{\"c\":2}}"},
    {"delete what is not there", "{}", "{\"a\":null}", "{}"},
    {"nothing", "{\"a\":1}", "{}", "{\"a\":1}"},
    {"nulls in lists stay", "{}", "{\"a\":[null]}", "{\"a\":[null]}"},
};

static void
test_merge(void **state)
{
    const struct merge_row *row = *state;
    AUTO_TREE struct tree *target = json(row->target);
    AUTO_TREE struct tree *patch = json(row->patch);

    tree_merge_patch(target, patch);
    assert_json(target, row->want);
}

/* As many deletions as a patch can hold, in one pass. */
static void
test_merge_deletes_many(void **state)
{
    AUTO_TREE struct tree *target = tree_map();
    AUTO_TREE struct tree *patch = tree_map();
    char key[16];

    (void)state;
    for (int i = 0; i < 60000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        tree_set(target, key, tree_int(i));
        if (i != 777)
            tree_set(patch, key, tree_null());
    }
    tree_merge_patch(target, patch);
    assert_json(target, "{\"k777\":777}");
}

static const struct diff_row {
    const char *name, *from, *to, *patch; /* patch NULL: none is needed */
} diff_rows[] = {
    {"equal", "{\"a\":1,\"b\":[1]}", "{\"b\":[1],\"a\":1}", NULL},
    {"order of keys does not count", "{\"a\":{\"x\":1,\"y\":2}}", "{\"a\":{\"y\":2,\"x\":1}}",
     NULL},
    {"changed", "{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":3}", "{\"b\":3}"},
    {"gone", "{\"a\":1,\"b\":2}", "{\"a\":1}", "{\"b\":null}"},
    {"new", "{}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"},
    {"deep", "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":1,\"c\":3}}", "{\"a\":{\"c\":3}}"},
    {"int is not float", "{\"a\":1}", "{\"a\":1.0}", "{\"a\":1.0}"},
    {"list grew", "{\"a\":[1]}", "{\"a\":[1,2]}", "{\"a\":[1,2]}"},
    {"a null is absent", "{\"a\":1}", "{\"a\":null}", "{\"a\":null}"},
};

static void
test_diff(void **state)
{
    const struct diff_row *row = *state;
    AUTO_TREE struct tree *from = json(row->from);
    AUTO_TREE struct tree *to = json(row->to);
    AUTO_TREE struct tree *diff = tree_merge_diff(from, to);

    if (!row->patch)
        assert_null(diff);
    else
        assert_json(diff, row->patch);
}

/* --- strategic --- */

#define NODE                                                                                 \
    "{\"metadata\":{\"finalizers\":[\"a\",\"b\"],\"labels\":{\"x\":\"1\"}},"                 \
    "\"spec\":{\"taints\":[{\"key\":\"t\",\"effect\":\"NoSchedule\"}]},"                     \
    "\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"r\"}," \
    "{\"type\":\"Disk\",\"status\":\"False\"}]}}"

static const struct strategic_row {
    const char *name, *patch;
    const char *path[3]; /* what is looked at afterwards */
    const char *want;    /* its JSON; NULL: the patch is refused */
    const char *error;
} strategic_rows[] = {
    {"label",
     "{\"metadata\":{\"labels\":{\"y\":\"2\"}}}",
     {"metadata", "labels"},
     "{\"x\":\"1\",\"y\":\"2\"}",
     NULL},
    {"label off", "{\"metadata\":{\"labels\":{\"x\":null}}}", {"metadata", "labels"}, "{}", NULL},
    {"cordon", "{\"spec\":{\"unschedulable\":true}}", {"spec", "unschedulable"}, "true", NULL},
    {"taints are replaced",
     "{\"spec\":{\"taints\":[{\"key\":\"u\",\"effect\":\"NoExecute\"}]}}",
     {"spec", "taints"},
     "[{\"key\":\"u\",\"effect\":\"NoExecute\"}]",
     NULL},
    {"last taint off", "{\"spec\":{\"taints\":null}}", {"spec"}, "{}", NULL},
    {"condition by type",
     "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}",
     {"status", "conditions"},
     "[{\"type\":\"Ready\",\"status\":\"False\",\"reason\":\"r\"},{\"type\":\"Disk\",\"status\":"
     "\"False\"}]",
     NULL},
    {"new condition",
     "{\"status\":{\"conditions\":[{\"type\":\"Net\",\"status\":\"True\"}]}}",
     {"status", "conditions"},
     "[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"r\"},{\"type\":\"Disk\",\"status\":"
     "\"False\"},"
     "{\"type\":\"Net\",\"status\":\"True\"}]",
     NULL},
    {"condition off",
     "{\"status\":{\"conditions\":[{\"type\":\"Disk\",\"$patch\":\"delete\"}]}}",
     {"status", "conditions"},
     "[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"r\"}]",
     NULL},
    {"conditions replaced",
     "{\"status\":{\"conditions\":[{\"type\":\"A\"},{\"$patch\":\"replace\"}]}}",
     {"status", "conditions"},
     "[{\"type\":\"A\"}]",
     NULL},
    {"conditions in order",
     "{\"status\":{\"$setElementOrder/conditions\":[{\"type\":\"Disk\"},{\"type\":\"Ready\"}]}}",
     {"status", "conditions"},
     "[{\"type\":\"Disk\",\"status\":\"False\"},{\"type\":\"Ready\",\"status\":\"True\",\"reason\":"
     "\"r\"}]",
     NULL},
    {"finalizers are a set",
     "{\"metadata\":{\"finalizers\":[\"b\",\"c\"]}}",
     {"metadata", "finalizers"},
     "[\"a\",\"b\",\"c\"]",
     NULL},
    {"finalizer off",
     "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a\",\"z\"]}}",
     {"metadata", "finalizers"},
     "[\"b\"]",
     NULL},
    {"finalizers in order",
     "{\"metadata\":{\"$setElementOrder/finalizers\":[\"b\",\"a\"]}}",
     {"metadata", "finalizers"},
     "[\"b\",\"a\"]",
     NULL},
    {"map replaced",
     "{\"metadata\":{\"labels\":{\"$patch\":\"replace\",\"z\":\"9\"}}}",
     {"metadata", "labels"},
     "{\"z\":\"9\"}",
     NULL},
    {"map deleted",
     "{\"metadata\":{\"labels\":{\"$patch\":\"delete\"}}}",
     {"metadata"},
     "{\"finalizers\":[\"a\",\"b\"]}",
     NULL},
    {"retained keys",
     "{\"spec\":{\"$retainKeys\":[\"podCIDR\"],\"podCIDR\":\"x\"}}",
     {"spec"},
     "{\"podCIDR\":\"x\"}",
     NULL},
    {"nulls of new maps are dropped",
     "{\"spec\":{\"a\":{\"b\":null,\"c\":1}}}",
     {"spec", "a"},
     "{\"c\":1}",
     NULL},
    {"unknown directive", "{\"spec\":{\"$do/x\":[]}}", {0}, NULL, "$do/x: unknown directive"},
    {"unknown $patch",
     "{\"spec\":{\"$patch\":\"merge-all\"}}",
     {0},
     NULL,
     "want replace, merge or delete"},
    {"item without its key",
     "{\"status\":{\"conditions\":[{\"status\":\"True\"}]}}",
     {0},
     NULL,
     "item 0 of a list that merges by \"type\" has no \"type\""},
    {"item of the wrong type", "{\"status\":{\"conditions\":[5]}}", {0}, NULL, "has no \"type\""},
    {"key of the wrong type",
     "{\"status\":{\"conditions\":[{\"type\":5}]}}",
     {0},
     NULL,
     "has no \"type\""},
    {"order of the wrong type",
     "{\"metadata\":{\"$setElementOrder/finalizers\":\"a\"}}",
     {0},
     NULL,
     "want a list"},
    {"not a map", "[]", {0}, NULL, "must be a map, not a list"},
    {"null", "null", {0}, NULL, "must be a map, not a null"},
};

static void
test_strategic(void **state)
{
    const struct strategic_row *row = *state;
    AUTO_TREE struct tree *target = json(NODE);
    AUTO_TREE struct tree *patch = json(row->patch);
    const struct tree *at = target;
    struct err err = {0};
    int rc = tree_strategic_patch(target, patch, &err);

    if (!row->want) {
        assert_int_not_equal(rc, 0);
        if (!strstr(err_msg(&err), row->error))
            fail_msg("want %s, got %s", row->error, err_msg(&err));
        return;
    }
    if (rc != 0)
        fail_msg("%s", err_msg(&err));
    for (size_t i = 0; i < 3 && row->path[i]; i++)
        at = tree_get(at, row->path[i]);
    assert_json(at, row->want);
}

static void
test_strategic_limit(void **state)
{
    AUTO_TREE struct tree *target = json(NODE);
    AUTO_TREE struct tree *patch = json("{\"metadata\":{\"finalizers\":[]}}");
    struct tree *list = tree_find(patch, "metadata", "finalizers", NULL);
    struct err err;

    (void)state;
    for (int i = 0; i <= API_MAX_MERGE_ITEMS; i++)
        tree_append(list, tree_stringf("f%d", i));
    assert_int_not_equal(tree_strategic_patch(target, patch, &err), 0);
}

/* --- for all trees --- */

static void
test_text_and_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rng r;
        AUTO_SB struct sb sb = SB_INIT;
        AUTO_TREE struct tree *yaml = NULL;
        AUTO_TREE struct tree *back = NULL;
        struct err err = {0};

        rng_seed(&r, seed);
        AUTO_TREE struct tree *t = random_tree(&r, 5, true);

        tree_to_yaml(t, &sb);
        if (tree_from_yaml("f", sb_str(&sb), sb.len, &yaml, &err) != 0)
            fail_msg("seed %lu: %s\n%s", (unsigned long)seed, err_msg(&err), sb_str(&sb));
        assert_int_equal(tree_len(yaml), 1);
        if (!tree_equal(t, tree_at(yaml, 0)))
            fail_msg("seed %lu:\n%s", (unsigned long)seed, sb_str(&sb));
        for (size_t i = 0; i < tree_len(t); i++) /* and in the same order */
            assert_string_equal(tree_key_at(t, i), tree_key_at(tree_at(yaml, 0), i));
        sb_reset(&sb);
        tree_to_json(t, (int)rng_below(&r, 3), &sb);
        if (tree_from_json(sb_str(&sb), sb.len, &back, &err) != 0)
            fail_msg("seed %lu: %s\n%s", (unsigned long)seed, err_msg(&err), sb_str(&sb));
        if (!tree_equal(t, back))
            fail_msg("seed %lu:\n%s", (unsigned long)seed, sb_str(&sb));
    }
}

static void
test_diff_and_patch(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rng r;

        rng_seed(&r, seed);
        AUTO_TREE struct tree *from = random_tree(&r, 4, false);
        AUTO_TREE struct tree *to =
            rng_below(&r, 4) ? random_change(&r, from, false) : random_tree(&r, 4, false);
        AUTO_TREE struct tree *diff = tree_merge_diff(from, to);

        if (!diff) {
            assert_true(tree_equal(from, to));
            continue;
        }
        assert_false(tree_equal(from, to));
        tree_merge_patch(from, diff);
        if (!tree_equal(from, to))
            fail_msg("seed %lu", (unsigned long)seed);
    }
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_merge_deletes_many),
        cmocka_unit_test(test_strategic_limit),
        cmocka_unit_test(test_text_and_back),
        cmocka_unit_test(test_diff_and_patch),
    };

    return ROWS_RUN("merge patch", merge_rows, test_merge) +
           ROWS_RUN("merge diff", diff_rows, test_diff) +
           ROWS_RUN("strategic patch", strategic_rows, test_strategic) +
           cmocka_run_group_tests_name("patches", others, NULL, NULL);
}
