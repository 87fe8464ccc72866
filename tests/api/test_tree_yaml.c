/* YAML -> tree: what scalars mean, what is refused and where, aliases within limits. */
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
#include "tests/api/rows.h"

/* One plain scalar and the JSON that it is. */
static const struct scalar_row {
    const char *name, *json;
} scalar_rows[] = {
    {"~", "null"},
    {"null", "null"},
    {"Null", "null"},
    {"nUll", "\"nUll\""},
    {"true", "true"},
    {"True", "true"},
    {"FALSE", "false"},
    {"tRue", "\"tRue\""},
    {"yes", "\"yes\""},
    {"no", "\"no\""},
    {"on", "\"on\""},
    {"Off", "\"Off\""},
    {"y", "\"y\""},
    {"0", "0"},
    {"-1", "-1"},
    {"+1", "1"},
    {"8", "8"},
    {"1_000", "1000"},
    {"_1", "\"_1\""},
    {"0x1F", "31"},
    {"0o17", "15"},
    {"0755", "493"},
    {"08", "8.0"},
    {"0b101", "5"},
    {"-0x10", "-16"},
    {"0xZZ", "\"0xZZ\""},
    {"9223372036854775807", "9223372036854775807"},
    {"-9223372036854775808", "-9223372036854775808"},
    {"9223372036854775808", "9.223372036854776e+18"},
    {"1.5", "1.5"},
    {".5", "0.5"},
    {"1.", "1.0"},
    {"1e3", "1000.0"},
    {"1E-2", "0.01"},
    {".", "\".\""},
    {"1.2.3", "\"1.2.3\""},
    {"1e", "\"1e\""},
    {"64Mi", "\"64Mi\""},
    {"64 Mi", "\"64 Mi\""},
    {"2026-11-21", "\"2026-11-21\""},
    {"10.200.5.0/24", "\"10.200.5.0/24\""},
    {"12:30", "\"12:30\""},
    {"1e999", "\"1e999\""},
    {"\"8\"", "\"8\""},
    {"'true'", "\"true\""},
    {"!!str 8", "\"8\""},
    {"! \"8\"", "\"8\""},
    {"! 8", "\"8\""},
    {"!!int \"8\"", "8"},
    {"!!float 8.5", "8.5"},
    {"|\n  a\n  b", "\"a\\nb\\n\""},
    {">-\n  a\n  b", "\"a b\""},
    {"\"\\x41\\u00e9\"", "\"A\xc3\xa9\""},
};

static void
test_scalar(void **state)
{
    const struct scalar_row *row = *state;
    AUTO_FREE char *text = xasprintf("v: %s\n", row->name);
    AUTO_TREE struct tree *t = yaml_one(text);
    AUTO_SB struct sb sb = SB_INIT;

    tree_to_json(tree_get(t, "v"), 0, &sb);
    assert_string_equal(sb_str(&sb), row->json);
}

/* Whole inputs and the JSON of their documents. */
static const struct docs_row {
    const char *name, *text, *json;
} docs_rows[] = {
    {"nothing", "", "[]"},
    {"a comment", "# nothing\n", "[]"},
    {"empty documents are skipped", "---\n---\na: 1\n---\n# c\n---\nnull\n---\n~\n", "[{\"a\":1}]"},
    {"end markers", "a: 1\n...\n---\nb: 2\n...\n", "[{\"a\":1},{\"b\":2}]"},
    {"JSON", "{\"a\": [1, \"b\", null, {}]}\n", "[{\"a\":[1,\"b\",null,{}]}]"},
    {"JSON with tabs", "{\n\t\"a\":\t1\n}\n", "[{\"a\":1}]"},
    {"byte order mark", "\xef\xbb\xbfgreeting: hi\n", "[{\"greeting\":\"hi\"}]"},
    {"CRLF", "a: 1\r\nb: x\r\n", "[{\"a\":1,\"b\":\"x\"}]"},
    {"keys of other types are texts", "1: a\ntrue: b\n1.5: c\n\"\": d\n",
     "[{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\",\"\":\"d\"}]"},
    {"an alias is a copy", "a: &x {b: 1}\nc: *x\nd: [*x, *x]\n",
     "[{\"a\":{\"b\":1},\"c\":{\"b\":1},\"d\":[{\"b\":1},{\"b\":1}]}]"},
    {"an alias of a scalar", "a: &x 5\nb: *x\n", "[{\"a\":5,\"b\":5}]"},
    {"an anchor may be set again", "a: &x 1\nb: &x 2\nc: *x\n", "[{\"a\":1,\"b\":2,\"c\":2}]"},
    {"%YAML directive", "%YAML 1.2\n---\na: 1\n", "[{\"a\":1}]"},
    {"quoted << is a key", "\"<<\": 1\n", "[{\"<<\":1}]"},
    {"a list at the top", "- 1\n- {a: b}\n", "[[1,{\"a\":\"b\"}]]"},
};

static void
test_docs(void **state)
{
    const struct docs_row *row = *state;
    AUTO_TREE struct tree *docs = NULL;
    struct err err = {0};
    AUTO_SB struct sb sb = SB_INIT;

    if (tree_from_yaml("f.yaml", row->text, strlen(row->text), &docs, &err) != 0)
        fail_msg("%s", err_msg(&err));
    tree_to_json(docs, 0, &sb);
    assert_string_equal(sb_str(&sb), row->json);
}

static const struct error_row {
    const char *name, *text, *error;
} error_rows[] = {
    {"duplicate key", "a: 1\nb: 2\na: 3\n", "f.yaml:3:1: duplicate key \"a\" (first at line 1)"},
    {"duplicate key in flow style", "{a: 1, 'a': 2}", "f.yaml:1:8: duplicate key \"a\""},
    {"duplicate key far below", "x:\n  y:\n    - z: 1\n      z: 2\n",
     "f.yaml:4:7: duplicate key \"z\""},
    {"duplicate keys of two spellings", "1: a\n\"1\": b\n", "f.yaml:2:1: duplicate key \"1\""},
    {"merge key", "a: &x {b: 1}\nc:\n  <<: *x\n", "f.yaml:3:3: merge keys (<<) are not supported"},
    {"duplicate key of two lines", "? |\n  a\n: 1\n? |\n  a\n: 2\n",
     "duplicate key \"a?\" (first at line 1)"},
    {"null key", "? \n: 1\n", "a key is missing"},
    {"no key", ": 1\n", "did not find expected key"},
    {"list as key", "? [a]\n: 1\n", "f.yaml:1:3: a key must be a plain value, not a list"},
    {"map as key", "? {a: 1}\n: 1\n", "f.yaml:1:3: a key must be a plain value, not a map"},
    {"alias as key", "a: &x b\n*x : 1\n", "f.yaml:2:1: a key cannot be an alias"},
    {"anchored key", "&x a: 1\n", "f.yaml:1:1: a key cannot have an anchor"},
    {"alias without anchor", "a: *x\n", "f.yaml:1:4: alias *x: no such anchor before it"},
    {"alias before its anchor", "a: *x\nb: &x 1\n", "f.yaml:1:4: alias *x"},
    {"alias inside its own anchor", "a: &x [*x]\n", "f.yaml:1:8: alias *x"},
    {"anchor of another document", "a: &x 1\n---\nb: *x\n", "f.yaml:3:4: alias *x"},
    {"binary", "a: !!binary aGk=\n", "f.yaml:1:4: tag tag:yaml.org,2002:binary is not supported"},
    {"timestamp tag", "a: !!timestamp 2026-01-01\n", "is not supported"},
    {"own tag", "a: !vault x\n", "f.yaml:1:4: tag !vault is not supported"},
    {"tagged map", "a: !!set {b}\n", "f.yaml:1:4: tag tag:yaml.org,2002:set is not supported"},
    {"tagged list", "a: !!omap [b: 1]\n", "is not supported"},
    {"infinity", "a: .inf\n", "f.yaml:1:4: .inf: infinity and not-a-number are not supported"},
    {"not a number", "a: [1, -.INF]\n", "f.yaml:1:8: -.INF"},
    {"nan", "a: .NaN\n", "infinity and not-a-number"},
    {"NUL in a string", "a: \"x\\0y\"\n", "f.yaml:1:4: a string cannot contain a NUL character"},
    {"NUL in the text", "a: x", NULL}, /* completed below */
    {"tab as indentation", "a:\n\tb: 1\n",
     "f.yaml:2:1: found character that cannot start any token"},
    {"bad indentation", "a: 1\n b: 2\n", "f.yaml:2:3: mapping values are not allowed"},
    {"stray brace (seeds A5.3)", "config: {\n  a: 1 }\n}\n", "f.yaml:3:1: did not find expected"},
    {"unclosed list", "a: [1, 2\n", "f.yaml:2:1: did not find expected ',' or ']'"},
    {"unclosed quote", "a: \"x\n", "found unexpected end of stream"},
    {"percent", "a: %x\n", "f.yaml:1:4: found character that cannot start any token"},
    {"at sign", "a: @x\n", "cannot start any token"},
    {"backquote", "a: `x`\n", "cannot start any token"},
    {"bad escape", "a: \"\\q\"\n", "f.yaml:1:5: found unknown escape character"},
    {"surrogate", "a: \"\\ud83d\"\n", "invalid Unicode character escape"},
    {"two values on a line", "a: b: c\n", "f.yaml:1:5: mapping values are not allowed"},
    {"bad UTF-8", "a: 1\nb: \xff\n", "f.yaml:2:4: invalid leading UTF-8 octet"},
    {"half a character", "a: \xc3", "incomplete UTF-8 octet sequence"},
    {"control character", "a: \x01\n", "f.yaml:1:4: control characters are not allowed"},
    {"two directives", "%YAML 1.1\n%YAML 1.1\n---\na: 1\n", "found duplicate %YAML directive"},
    {"YAML 2", "%YAML 2.0\n---\na: 1\n", "found incompatible YAML document"},
    {"undefined tag handle", "a: !x!y z\n", "found undefined tag handle"},
};

static void
test_error(void **state)
{
    const struct error_row *row = *state;
    struct tree *docs = NULL;
    struct err err = {0};
    size_t len = strlen(row->text) + (row->error ? 0 : 1);

    assert_int_equal(tree_from_yaml("f.yaml", row->text, len, &docs, &err), -EINVAL);
    assert_null(docs);
    if (!strstr(err_msg(&err), row->error ? row->error : "f.yaml:1:5: control characters"))
        fail_msg("want %s, got %s", row->error, err_msg(&err));
}

/* --- limits --- */

static int
read_sb(const struct sb *sb, struct err *err)
{
    AUTO_TREE struct tree *docs = NULL;

    *err = (struct err){0};
    return tree_from_yaml("f", sb_str(sb), sb->len, &docs, err);
}

static void
test_alias_bomb(void **state)
{
    AUTO_SB struct sb sb = SB_INIT;
    struct err err;

    (void)state;
    sb_puts(&sb, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 9; i++) {
        sb_printf(&sb, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            sb_printf(&sb, "%s*a%d", k ? ", " : "", i - 1);
        sb_puts(&sb, "]\n");
    }
    assert_int_equal(read_sb(&sb, &err), -E2BIG);
    assert_non_null(strstr(err_msg(&err), "f:6:"));
    assert_non_null(strstr(err_msg(&err), "more than 1000000 values"));
}

/* Few nodes, but one of them is long. */
static void
test_alias_bomb_of_bytes(void **state)
{
    AUTO_SB struct sb sb = SB_INIT;
    struct err err;

    (void)state;
    sb_puts(&sb, "a: &a ");
    for (int i = 0; i < 100000; i++)
        sb_putc(&sb, 'x');
    sb_puts(&sb, "\nb: [");
    for (int i = 0; i < 400; i++)
        sb_puts(&sb, "*a, ");
    sb_puts(&sb, "*a]\n");
    assert_int_equal(read_sb(&sb, &err), -E2BIG);
    assert_non_null(strstr(err_msg(&err), "expands to more than"));
}

static void
test_alias_too_deep(void **state)
{
    AUTO_SB struct sb sb = SB_INIT;
    struct err err;

    (void)state;
    sb_puts(&sb, "a0: &a0 [x]\n");
    for (int i = 1; i < 80; i++)
        sb_printf(&sb, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    assert_int_equal(read_sb(&sb, &err), -E2BIG);
    assert_non_null(strstr(err_msg(&err), "nested deeper than 64 levels"));
}

static void
test_limits(void **state)
{
    AUTO_SB struct sb sb = SB_INIT;
    struct err err;

    (void)state;
    for (int depth = API_MAX_DEPTH; depth <= API_MAX_DEPTH + 1; depth++) {
        sb_reset(&sb);
        for (int i = 0; i < depth; i++)
            sb_putc(&sb, '[');
        for (int i = 0; i < depth; i++)
            sb_putc(&sb, ']');
        assert_int_equal(read_sb(&sb, &err), depth > API_MAX_DEPTH ? -E2BIG : 0);
    }
    sb_reset(&sb);
    for (int i = 0; i < API_MAX_NODES; i++)
        sb_puts(&sb, "- 0\n");
    assert_int_equal(read_sb(&sb, &err), -E2BIG);
    sb_reset(&sb);
    for (int i = 0; i <= API_MAX_DOCUMENTS; i++)
        sb_puts(&sb, "---\na: 1\n");
    assert_int_equal(read_sb(&sb, &err), -E2BIG);
    assert_non_null(strstr(err_msg(&err), "more than 200000 documents"));
    sb_reset(&sb);
    for (unsigned i = 0; i <= API_MAX_STRING_BYTES; i++)
        sb_putc(&sb, 'x');
    assert_int_equal(read_sb(&sb, &err), -E2BIG);
    sb_reset(&sb);
    for (int i = 0; i <= API_MAX_ANCHORS; i++)
        sb_printf(&sb, "- &a%d x\n", i);
    assert_int_equal(read_sb(&sb, &err), -E2BIG);
    AUTO_TREE struct tree *docs = NULL;

    assert_int_equal(tree_from_yaml("f", "", (size_t)API_MAX_INPUT_BYTES + 1, &docs, &err), -E2BIG);
}

static void
test_byte_order_mark(void **state)
{
    AUTO_TREE struct tree *docs = NULL;
    struct err err = {0};
    const char *text = "\xef\xbb\xbf"
                       "a: 1\nb: 2\n";

    (void)state;
    if (tree_from_yaml("f", text, strlen(text), &docs, &err) != 0)
        fail_msg("%s", err_msg(&err));
    assert_int_equal(tree_get_int(tree_get(tree_at(docs, 0), "b"), 0), 2);
}

/* Every node knows where it was written. */
static void
test_positions(void **state)
{
    AUTO_TREE struct tree *t =
        yaml_one("# first line\nspec:\n  list:\n  - name: x\n    n: {k: 5}\n");
    const struct tree *item = tree_at(tree_find(t, "spec", "list", NULL), 0);

    (void)state;
    assert_int_equal(tree_pos(t).line, 2);
    assert_int_equal(tree_key_pos_at(t, 0).line, 2);
    assert_int_equal(tree_pos(tree_get(t, "spec")).line, 3);
    assert_int_equal(tree_pos(tree_get(item, "name")).line, 4);
    assert_int_equal(tree_pos(tree_get(item, "name")).column, 11);
    assert_int_equal(tree_key_pos_at(item, 1).line, 5);
    assert_int_equal(tree_key_pos_at(item, 1).column, 5);
    assert_int_equal(tree_pos(tree_find(item, "n", "k", NULL)).column, 12);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_alias_bomb),      cmocka_unit_test(test_alias_bomb_of_bytes),
        cmocka_unit_test(test_alias_too_deep),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_byte_order_mark), cmocka_unit_test(test_positions),
    };

    return ROWS_RUN("yaml scalar", scalar_rows, test_scalar) +
           ROWS_RUN("yaml documents", docs_rows, test_docs) +
           ROWS_RUN("yaml error", error_rows, test_error) +
           cmocka_run_group_tests_name("yaml", others, NULL, NULL);
}
