/* The generic tree: nodes, maps with few and many keys, lists, JSON text. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/limits.h"
#include "api/tree.h"
#include "base/rng.h"
#include "tests/api/rows.h"

/* --- JSON --- */

static const struct json_row {
    const char *name;
    const char *out;   /* compact text of what was read; NULL: it is refused */
    const char *error; /* part of the message then */
} json_rows[] = {
    {"{}", "{}", NULL},
    {"[]", "[]", NULL},
    {" null ", "null", NULL},
    {"true", "true", NULL},
    {"-0", "0", NULL},
    {"9223372036854775807", "9223372036854775807", NULL},
    {"-9223372036854775808", "-9223372036854775808", NULL},
    {"1.0", "1.0", NULL},
    {"0.1", "0.1", NULL},
    {"1e3", "1000.0", NULL},
    {"1e100", "1e+100", NULL},
    {"\"\\u00e9\\n\\\"\\\\\\/\"", "\"\xc3\xa9\\n\\\"\\\\/\"", NULL},
    {"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"", NULL},
    {"\"\\u0001\"", "\"\\u0001\"", NULL},
    {"{\"b\":1,\"a\":[1,{\"c\":null}]}", "{\"b\":1,\"a\":[1,{\"c\":null}]}", NULL},
    {"{\"\":1}", "{\"\":1}", NULL},
    {"", NULL, "unexpected token"},
    {"{", NULL, "line 1"},
    {"[1,]", NULL, "line 1"},
    {"{\"a\":1,}", NULL, "line 1"},
    {"{a:1}", NULL, "line 1"},
    {"{'a':1}", NULL, "line 1"},
    {"{\"a\" 1}", NULL, "line 1"},
    {"{\"a\":1} x", NULL, "end of file expected"},
    {"{}{}", NULL, "end of file expected"},
    {"{\"a\":1,\n \"a\":2}", NULL, "line 2, column 4: duplicate object key"},
    {"01", NULL, "line 1"},
    {"+1", NULL, "line 1"},
    {".5", NULL, "line 1"},
    {"1.", NULL, "line 1"},
    {"NaN", NULL, "line 1"},
    {"Infinity", NULL, "line 1"},
    {"9223372036854775808", NULL, "too big integer"},
    {"1e400", NULL, "real number overflow"},
    {"\"\\u0000\"", NULL, "\\u0000 is not allowed"},
    {"\"\\ud83d\"", NULL, "invalid Unicode"},
    {"\"\xff\"", NULL, "unable to decode byte 0xff"},
    {"\"a\nb\"", NULL, "line 1"},
    {"// comment\n1", NULL, "line 1"},
    {"# comment\n1", NULL, "line 1"},
    {"\xef\xbb\xbf{}", NULL, "line 1"},
};

static void
test_json(void **state)
{
    const struct json_row *row = *state;
    struct tree *t = NULL;
    struct err err = {0};
    AUTO_SB struct sb sb = SB_INIT;
    int rc = tree_from_json(row->name, strlen(row->name), &t, &err);

    if (!row->out) {
        assert_int_not_equal(rc, 0);
        assert_null(t);
        if (!strstr(err_msg(&err), row->error))
            fail_msg("want %s, got %s", row->error, err_msg(&err));
        return;
    }
    if (rc != 0)
        fail_msg("%s", err_msg(&err));
    tree_to_json(t, 0, &sb);
    assert_string_equal(sb_str(&sb), row->out);
    tree_free(t);
}

static void
test_json_limits(void **state)
{
    AUTO_SB struct sb sb = SB_INIT;
    struct tree *t;
    struct err err;

    (void)state;
    for (int depth = API_MAX_DEPTH; depth <= API_MAX_DEPTH + 1; depth++) {
        sb_reset(&sb);
        for (int i = 0; i < depth; i++)
            sb_putc(&sb, '[');
        for (int i = 0; i < depth; i++)
            sb_putc(&sb, ']');
        int rc = tree_from_json(sb.buf, sb.len, &t, &err);

        assert_int_equal(rc, depth > API_MAX_DEPTH ? -E2BIG : 0);
        if (rc == 0)
            tree_free(t);
    }
    sb_reset(&sb);
    sb_putc(&sb, '[');
    for (int i = 0; i < API_MAX_NODES; i++)
        sb_puts(&sb, "0,");
    sb_puts(&sb, "0]");
    assert_int_equal(tree_from_json(sb.buf, sb.len, &t, &err), -E2BIG);
    sb_reset(&sb);
    sb_putc(&sb, '"');
    for (unsigned i = 0; i <= API_MAX_STRING_BYTES; i++)
        sb_putc(&sb, 'x');
    sb_putc(&sb, '"');
    assert_int_equal(tree_from_json(sb.buf, sb.len, &t, &err), -E2BIG);
    assert_int_equal(tree_from_json("{}", (size_t)API_MAX_INPUT_BYTES + 1, &t, &err), -E2BIG);
}

static void
test_json_indent(void **state)
{
    static const char in[] = "{\"a\":[1,2],\"b\":{},\"c\":[]}";
    AUTO_SB struct sb sb = SB_INIT;
    struct tree *t;

    (void)state;
    assert_int_equal(tree_from_json(in, strlen(in), &t, NULL), 0);
    tree_to_json(t, 2, &sb);
    assert_string_equal(sb_str(&sb),
                        "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {},\n  \"c\": []\n}");
    tree_free(t);
}

/* --- nodes --- */

static void
test_scalars(void **state)
{
    AUTO_TREE struct tree *i = tree_int(5);
    AUTO_TREE struct tree *f = tree_float(1.5);
    AUTO_TREE struct tree *s = tree_stringf("%s-%d", "a", 1);
    AUTO_TREE struct tree *n = tree_string(NULL);

    (void)state;
    assert_int_equal(tree_get_int(i, 0), 5);
    assert_int_equal(tree_get_int(f, 7), 7);
    assert_int_equal(tree_get_int(NULL, 7), 7);
    assert_true(tree_get_float(i, 0) > 4.9 && tree_get_float(i, 0) < 5.1);
    assert_true(tree_get_bool(i, true));
    assert_string_equal(tree_get_string(s, "x"), "a-1");
    assert_string_equal(tree_get_string(i, "x"), "x");
    assert_int_equal(tree_type(n), TREE_NULL);
    assert_int_equal(tree_type(NULL), TREE_NULL);
    assert_int_equal(tree_len(s), 0);
    assert_null(tree_at(s, 0));
    assert_null(tree_get(s, "a"));
    assert_null(tree_get(NULL, "a"));
    assert_null(tree_key_at(i, 0));
    assert_string_equal(tree_type_name(TREE_MAP), "map");
    assert_false(tree_equal(i, f));
    assert_true(tree_equal(NULL, n));
}

static void
test_paths(void **state)
{
    AUTO_TREE struct tree *t = tree_map();

    (void)state;
    tree_set_path(t, tree_string("n1"), "status", "migrationState", "targetNode", NULL);
    tree_set_path(t, tree_int(1), "status", "n", NULL);
    assert_string_equal(tree_find_string(t, "", "status", "migrationState", "targetNode", NULL),
                        "n1");
    assert_string_equal(tree_find_string(t, "-", "status", "n", NULL), "-");
    assert_string_equal(tree_find_string(t, "-", "status", "n", "deeper", NULL), "-");
    assert_null(tree_find(t, "status", "nothing", NULL));
    assert_ptr_equal(tree_find(t, NULL), t);
    /* what is in the way of a map is replaced */
    tree_set_path(t, tree_bool(true), "status", "n", "x", NULL);
    assert_true(tree_get_bool(tree_find(t, "status", "n", "x", NULL), false));
    struct tree *taken = tree_take(t, "status");

    assert_non_null(taken);
    assert_null(tree_take(t, "status"));
    assert_false(tree_del(t, "status"));
    tree_free(taken);
}

static void
test_lists(void **state)
{
    AUTO_TREE struct tree *t = tree_list();

    (void)state;
    for (int i = 0; i < 10; i++)
        tree_append(t, tree_int(i));
    tree_list_remove(t, 0);
    tree_list_remove(t, 8);
    tree_list_remove(t, 99);
    AUTO_TREE struct tree *taken = tree_list_take(t, 3);

    assert_int_equal(tree_get_int(taken, 0), 4);
    assert_null(tree_list_take(t, 99));
    assert_int_equal(tree_len(t), 7);
    assert_int_equal(tree_get_int(tree_at(t, 0), 0), 1);
    assert_int_equal(tree_get_int(tree_at(t, 6), 0), 8);
    assert_null(tree_at(t, 7));
}

/* A map against a plain array of expected values, over random sets and deletes: small, and so large
 * that the index is in use; order of insertion holds throughout. */
static void
test_map_against_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng r;
        AUTO_TREE struct tree *t = tree_map();
        int64_t model[200];
        size_t n = seed % 2 ? 8 : 200;

        rng_seed(&r, seed);
        memset(model, 0xff, sizeof model);
        for (int step = 0; step < 3000; step++) {
            size_t k = rng_below(&r, n);
            char key[32];

            snprintf(key, sizeof key, "key-number-%zu", k);
            if (rng_below(&r, 3) == 0) {
                assert_int_equal(tree_del(t, key), model[k] >= 0);
                model[k] = -1;
            } else {
                model[k] = (int64_t)rng_below(&r, 1000);
                tree_set(t, key, tree_int(model[k]));
            }
            k = rng_below(&r, n);
            snprintf(key, sizeof key, "key-number-%zu", k);
            assert_int_equal(tree_get_int(tree_get(t, key), -1), model[k]);
        }
        size_t there = 0;

        for (size_t k = 0; k < n; k++)
            there += model[k] >= 0;
        assert_int_equal(tree_len(t), there);
        AUTO_TREE struct tree *copy = tree_copy(t);

        assert_true(tree_equal(t, copy));
        for (size_t i = 0; i < tree_len(t); i++)
            assert_string_equal(tree_key_at(t, i), tree_key_at(copy, i));
    }
}

/* 100,000 keys in one map: building, finding and equality stay far from quadratic. */
static void
test_large_map(void **state)
{
    AUTO_TREE struct tree *a = tree_map();
    AUTO_TREE struct tree *b = tree_map();
    char key[32];

    (void)state;
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        tree_set(a, key, tree_int(i));
        snprintf(key, sizeof key, "k%d", 99999 - i);
        tree_set(b, key, tree_int(99999 - i));
    }
    assert_true(tree_equal(a, b));
    tree_set(b, "k5", tree_int(6));
    assert_false(tree_equal(a, b));
    assert_string_equal(tree_key_at(a, 99999), "k99999");
    assert_string_equal(tree_key_at(b, 0), "k99999");
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_json_limits), cmocka_unit_test(test_json_indent),
        cmocka_unit_test(test_scalars),     cmocka_unit_test(test_paths),
        cmocka_unit_test(test_lists),       cmocka_unit_test(test_map_against_model),
        cmocka_unit_test(test_large_map),
    };

    return ROWS_RUN("json", json_rows, test_json) +
           cmocka_run_group_tests_name("tree", others, NULL, NULL);
}
