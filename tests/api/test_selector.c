/* Names, labels, selectors: what is allowed and what matches. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/selector.h"
#include "tests/api/rows.h"

#define X63 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X253                \
    X63 "." X63 "." X63 "." \
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct syntax_row {
    const char *name;
    char what;         /* k label key, v label value, n subdomain, l RFC 1123 label */
    const char *error; /* NULL: allowed */
} syntax_rows[] = {
    {"a", 'k', NULL},
    {"MyName", 'k', NULL},
    {"a-b_c.d", 'k', NULL},
    {"example.io/key", 'k', NULL},
    {"k8s.io/" X63, 'k', NULL},
    {X253 "/a", 'k', NULL},
    {"", 'k', "name part must be non-empty"},
    {"a b", 'k', "alphanumeric"},
    {"-a", 'k', "alphanumeric"},
    {"a-", 'k', "alphanumeric"},
    {".a", 'k', "alphanumeric"},
    {"a_", 'k', "alphanumeric"},
    {"k\xc3\xa9y", 'k', "alphanumeric"},
    {"a:b", 'k', "alphanumeric"},
    {"/a", 'k', "prefix part must be non-empty"},
    {"a/", 'k', "name part must be non-empty"},
    {"a/b/c", 'k', "a qualified name must"},
    {"Example.io/a", 'k', "prefix part: a lowercase RFC 1123 subdomain"},
    {"a_b/c", 'k', "prefix part"},
    {X63 "x", 'k', "no more than 63"},
    {X253 "x/a", 'k', "prefix part must be no more than 253"},
    {"", 'v', NULL},
    {"true", 'v', NULL},
    {"a.b_c-D", 'v', NULL},
    {"8", 'v', NULL},
    {X63, 'v', NULL},
    {X63 "x", 'v', "no more than 63"},
    {"a b", 'v', "a valid label must be an empty string or consist"},
    {"a/b", 'v', "a valid label must"},
    {"-1", 'v', "a valid label must"},
    {"a.", 'v', "a valid label must"},
    {" ", 'v', "a valid label must"},
    {"<x>", 'v', "a valid label must"},
    {"a", 'n', NULL},
    {"a.b-c.9", 'n', NULL},
    {X253, 'n', NULL},
    {"", 'n', "RFC 1123 subdomain"},
    {"A", 'n', "RFC 1123 subdomain"},
    {"a_b", 'n', "RFC 1123 subdomain"},
    {"a..b", 'n', "RFC 1123 subdomain"},
    {".a", 'n', "RFC 1123 subdomain"},
    {"a.", 'n', "RFC 1123 subdomain"},
    {"a.-b", 'n', "RFC 1123 subdomain"},
    {"a-.b", 'n', "RFC 1123 subdomain"},
    {"-a", 'n', "RFC 1123 subdomain"},
    {"a/b", 'n', "RFC 1123 subdomain"},
    {X253 "x", 'n', "no more than 253"},
    {"a-9", 'l', NULL},
    {X63, 'l', NULL},
    {"a.b", 'l', "RFC 1123 label"},
    {"", 'l', "RFC 1123 label"},
    {"A", 'l', "RFC 1123 label"},
    {"a-", 'l', "RFC 1123 label"},
    {X63 "x", 'l', "no more than 63"},
};

static void
test_syntax(void **state)
{
    const struct syntax_row *row = *state;
    struct err err = {0};
    int rc = row->what == 'k'   ? label_key_check(row->name, &err)
             : row->what == 'v' ? label_value_check(row->name, &err)
             : row->what == 'n' ? name_check(row->name, &err)
                                : name_label_check(row->name, &err);

    assert_int_equal(rc == 0, row->error == NULL);
    if (row->error && !strstr(err_msg(&err), row->error))
        fail_msg("want %s, got %s", row->error, err_msg(&err));
}

/* "a=1 b=x c=" as a label set. */
static struct kv_list
labels_of(const char *text, struct arena *a)
{
    struct kv_list l = {.items = arena_calloc(a, 16, sizeof *l.items)};
    char *copy = arena_strdup(a, text), *save = NULL;

    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(w, '=');

        *eq = '\0';
        l.items[l.len++] = (struct kv){.key = w, .value = eq + 1};
    }
    return l;
}

static const struct match_row {
    const char *name; /* the selector */
    const char *labels;
    int matches; /* -1: the selector is refused */
    const char *error;
} match_rows[] = {
    {"", "a=1", 1, NULL},
    {"a=1", "a=1", 1, NULL},
    {"a==1", "a=1 b=2", 1, NULL},
    {" a = 1 , b = 2 ", "a=1 b=2", 1, NULL},
    {"a", "a=", 1, NULL},
    {"!a", "b=1", 1, NULL},
    {"a!=1", "b=1", 1, NULL},
    {"a in (1,2)", "a=2", 1, NULL},
    {"a in (1, 2),b notin (x)", "a=1", 1, NULL},
    {"a=", "a=", 1, NULL},
    {"a in ()", "a=", 1, NULL},
    {"a>4", "a=5", 1, NULL},
    {"a<4", "a=3", 1, NULL},
    {"example.io/x=y", "example.io/x=y", 1, NULL},
    {"in=1", "in=1", 1, NULL},
    {"notin in (in)", "notin=in", 1, NULL},
    {"a=1", "a=2", 0, NULL},
    {"a=1", "", 0, NULL},
    {"a=1,b=2", "a=1", 0, NULL},
    {"a", "b=1", 0, NULL},
    {"!a", "a=", 0, NULL},
    {"a!=1", "a=1", 0, NULL},
    {"a in (1,2)", "a=3", 0, NULL},
    {"a in (1,2)", "b=1", 0, NULL},
    {"a notin (1,2)", "a=2", 0, NULL},
    {"a=", "a=1", 0, NULL},
    {"a>4", "a=4", 0, NULL},
    {"a>4", "a=x", 0, NULL},
    {"a>4", "b=5", 0, NULL},
    {"a<4", "a=4", 0, NULL},
    {"a<4", "b=1", 0, NULL},
    {"a,", "", -1, "want a label after ',' at the end"},
    {",a", "", -1, "want a label key at \",a\""},
    {"a b", "", -1, "one of = == != in notin > < at \"b\""},
    {"a=1 b=2", "", -1, "want ',' or the end at \"b=2\""},
    {"=1", "", -1, "want a label key"},
    {"!", "", -1, "want a label key at the end"},
    {"!!a", "", -1, "want a label key"},
    {"!a=1", "", -1, "want ',' or the end"},
    {"a=b=c", "", -1, "want ',' or the end"},
    {"a===1", "", -1, "want a value"},
    {"a in", "", -1, "want '(' at the end"},
    {"a in 1", "", -1, "want '('"},
    {"a in (1", "", -1, "want ',' or ')' at the end"},
    {"a in (1 2)", "", -1, "want ',' or ')'"},
    {"a in (1))", "", -1, "want ',' or the end"},
    {"a IN (1)", "", -1, "one of = =="},
    {"(a)", "", -1, "want a label key"},
    {"a>x", "", -1, "> and < want an integer"},
    {"a>", "", -1, "> and < want an integer"},
    {"a>1.5", "", -1, "> and < want an integer"},
    {"a=b/c", "", -1, "value \"b/c\": a valid label must"},
    {"-a=1", "", -1, "key \"-a\": name part"},
    {"a/b/c=1", "", -1, "a qualified name must"},
    {"a=" X63 "x", "", -1, "no more than 63"},
};

static void
test_match(void **state)
{
    const struct match_row *row = *state;
    struct arena *a = arena_new();
    struct label_selector s = {0};
    struct kv_list labels = labels_of(row->labels, a);
    struct err err = {0};
    int rc = selector_parse(row->name, a, &s, &err);

    assert_int_equal(rc == 0, row->matches >= 0);
    if (rc == 0)
        assert_int_equal(label_selector_matches(&s, &labels), row->matches);
    else if (!strstr(err_msg(&err), row->error))
        fail_msg("want %s, got %s", row->error, err_msg(&err));
    arena_free(a);
}

static void
test_requirement(void **state)
{
    static const struct {
        enum sel_op op;
        const char *have, *want;
        bool matches;
    } rows[] = {
        {SEL_GT, "5", "4", true},
        {SEL_GT, "05", "4", true},
        {SEL_GT, "+5", "4", true},
        {SEL_GT, "-5", "4", false},
        {SEL_LT, "-5", "4", true},
        {SEL_GT, "9223372036854775807", "9223372036854775806", true},
        {SEL_GT, "9223372036854775808", "1", false},
        {SEL_GT, "5", "", false},
        {SEL_GT, "", "5", false},
        {SEL_GT, "5 ", "4", false},
        {SEL_GT, "0x9", "4", false},
        {SEL_UNKNOWN, "5", "5", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct kv label = {.key = "k", .value = rows[i].have};
        struct kv_list labels = {.items = &label, .len = 1};
        const char *values[] = {rows[i].want, rows[i].want};
        struct requirement r = {
            .key = "k", .op = rows[i].op, .values = {.items = values, .len = 1}};

        assert_int_equal(requirement_matches(&r, &labels), rows[i].matches);
        if (rows[i].op != SEL_UNKNOWN) {
            r.values.len = 2; /* Gt and Lt take one value */
            assert_false(requirement_matches(&r, &labels));
            r.values.len = 0;
            assert_false(requirement_matches(&r, &labels));
        }
    }
    struct kv_list none = {0};

    assert_false(label_selector_matches(NULL, &none));
    assert_true(label_selector_matches(&(struct label_selector){0}, &none));
    assert_null(kv_get(&none, "k"));
}

static const struct field_row {
    const char *name;
    int matches; /* -1: refused */
    const char *error;
} field_rows[] = {
    {"", 1, NULL},
    {"metadata.name=x", 1, NULL},
    {"metadata.name==x", 1, NULL},
    {"metadata.name!=y,status.phase=Running", 1, NULL},
    {"spec.n=5", 1, NULL},
    {"spec.b=true", 1, NULL},
    {"spec.nothing=", 1, NULL},
    {"metadata.name=x,", 1, NULL},
    {"spec.eq=a=b", 1, NULL},
    {"metadata.name=y", 0, NULL},
    {"metadata.name!=x", 0, NULL},
    {"metadata.name=x,status.phase=Pending", 0, NULL},
    {"spec.b=false", 0, NULL},
    {"spec=x", 0, NULL},
    {"spec.nothing!=", 0, NULL},
    {"metadata", -1, "want path=value"},
    {"metadata.name!x", -1, "want path=value"},
    {"=x", -1, "the path is names joined by dots"},
    {".name=x", -1, "the path is names joined by dots"},
    {"metadata.=x", -1, "the path is names joined by dots"},
    {"metadata..name=x", -1, "the path is names joined by dots"},
    {"meta data=x", -1, "the path is names joined by dots"},
    {"metadata.name=x,b", -1, "field selector \"b\": want path=value"},
    {"a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,"
     "a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1",
     -1, "at most 32 terms"},
};

static void
test_field(void **state)
{
    const struct field_row *row = *state;
    AUTO_TREE struct tree *obj = yaml_one("metadata: {name: x}\nstatus: {phase: Running}\n"
                                          "spec: {n: 5, b: true, eq: a=b, list: [1]}\n");
    struct field_selector *s = NULL;
    struct err err = {0};
    int rc = field_selector_parse(row->name, &s, &err);

    assert_int_equal(rc == 0, row->matches >= 0);
    if (rc == 0)
        assert_int_equal(field_selector_matches(s, obj), row->matches);
    else if (!strstr(err_msg(&err), row->error))
        fail_msg("want %s, got %s", row->error, err_msg(&err));
    field_selector_free(s);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {cmocka_unit_test(test_requirement)};

    return ROWS_RUN("syntax", syntax_rows, test_syntax) +
           ROWS_RUN("label selector", match_rows, test_match) +
           ROWS_RUN("field selector", field_rows, test_field) +
           cmocka_run_group_tests_name("requirement", others, NULL, NULL);
}
