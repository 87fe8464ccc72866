/* RFC 6902: the examples of its appendix A, and what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "control/api_jsonpatch.h"
#include "tests/control/store_fixture.h"

static void
test_apply(void **state)
{
    static const struct {
        const char *name, *doc, *patch, *want; /* want NULL: refused */
    } rows[] = {
        {"A.1 add a member", "{'foo':'bar'}", "[{'op':'add','path':'/baz','value':'qux'}]",
         "{'baz':'qux','foo':'bar'}"},
        {"A.2 add an item", "{'foo':['bar','baz']}", "[{'op':'add','path':'/foo/1','value':'qux'}]",
         "{'foo':['bar','qux','baz']}"},
        {"A.3 remove a member", "{'baz':'qux','foo':'bar'}", "[{'op':'remove','path':'/baz'}]",
         "{'foo':'bar'}"},
        {"A.4 remove an item", "{'foo':['bar','qux','baz']}", "[{'op':'remove','path':'/foo/1'}]",
         "{'foo':['bar','baz']}"},
        {"A.5 replace", "{'baz':'qux','foo':'bar'}",
         "[{'op':'replace','path':'/baz','value':'boo'}]", "{'baz':'boo','foo':'bar'}"},
        {"A.6 move", "{'foo':{'bar':'baz','waldo':'fred'},'qux':{'corge':'grault'}}",
         "[{'op':'move','from':'/foo/waldo','path':'/qux/thud'}]",
         "{'foo':{'bar':'baz'},'qux':{'corge':'grault','thud':'fred'}}"},
        {"A.7 move an item", "{'foo':['all','grass','cows','eat']}",
         "[{'op':'move','from':'/foo/1','path':'/foo/3'}]", "{'foo':['all','cows','eat','grass']}"},
        {"A.8 test", "{'baz':'qux','foo':['a',2,'c']}",
         "[{'op':'test','path':'/baz','value':'qux'},{'op':'test','path':'/foo/1','value':2}]",
         "{'baz':'qux','foo':['a',2,'c']}"},
        {"A.9 a test that does not hold", "{'baz':'qux'}",
         "[{'op':'test','path':'/baz','value':'bar'}]", NULL},
        {"A.10 a nested object", "{'foo':'bar'}",
         "[{'op':'add','path':'/child','value':{'grandchild':{}}}]",
         "{'foo':'bar','child':{'grandchild':{}}}"},
        {"A.11 an unknown member is ignored", "{'foo':'bar'}",
         "[{'op':'add','path':'/baz','value':'qux','xyz':123}]", "{'foo':'bar','baz':'qux'}"},
        {"A.12 the parent is not there", "{'foo':'bar'}",
         "[{'op':'add','path':'/baz/bat','value':'qux'}]", NULL},
        {"A.14 escapes", "{'/':9,'~1':10}", "[{'op':'test','path':'/~01','value':10}]",
         "{'/':9,'~1':10}"},
        {"A.15 text is no number", "{'/':9,'~1':10}", "[{'op':'test','path':'/~01','value':'10'}]",
         NULL},
        {"A.16 add a list", "{'foo':['bar']}",
         "[{'op':'add','path':'/foo/-','value':['abc','def']}]", "{'foo':['bar',['abc','def']]}"},
        {"nothing", "{'a':1}", "[]", "{'a':1}"},
        {"the whole document", "{'a':1}", "[{'op':'replace','path':'','value':{'b':2}}]",
         "{'b':2}"},
        {"add over it", "{'a':1}", "[{'op':'add','path':'','value':[]}]", "[]"},
        {"copy", "{'a':{'b':1}}", "[{'op':'copy','from':'/a','path':'/c'}]",
         "{'a':{'b':1},'c':{'b':1}}"},
        {"copy into itself", "{'a':{'b':1}}", "[{'op':'copy','from':'/a','path':'/a/c'}]",
         "{'a':{'b':1,'c':{'b':1}}}"},
        {"move to itself", "{'a':1}", "[{'op':'move','from':'/a','path':'/a'}]", "{'a':1}"},
        {"an item at the front", "[1,2]", "[{'op':'add','path':'/0','value':0}]", "[0,1,2]"},
        {"an item at the end", "[1,2]", "[{'op':'add','path':'/2','value':3}]", "[1,2,3]"},
        {"replace an item", "[1,2,3]", "[{'op':'replace','path':'/1','value':9}]", "[1,9,3]"},
        {"null is a value", "{'a':1}", "[{'op':'add','path':'/b','value':null}]",
         "{'a':1,'b':null}"},
        {"an empty key", "{'':1}", "[{'op':'replace','path':'/','value':2}]", "{'':2}"},
        {"add replaces", "{'a':1}", "[{'op':'add','path':'/a','value':2}]", "{'a':2}"},

        {"no list", "{}", "{}", NULL},
        {"no operation", "{}", "[3]", NULL},
        {"an unknown op", "{}", "[{'op':'frobnicate','path':'/a'}]", NULL},
        {"no path", "{}", "[{'op':'add','value':1}]", NULL},
        {"no value", "{}", "[{'op':'add','path':'/a'}]", NULL},
        {"no from", "{}", "[{'op':'move','path':'/a'}]", NULL},
        {"a path without a slash", "{}", "[{'op':'add','path':'a','value':1}]", NULL},
        {"a bad escape", "{}", "[{'op':'add','path':'/~2','value':1}]", NULL},
        {"an escape cut off", "{}", "[{'op':'add','path':'/~','value':1}]", NULL},
        {"remove what is not there", "{}", "[{'op':'remove','path':'/a'}]", NULL},
        {"replace what is not there", "{}", "[{'op':'replace','path':'/a','value':1}]", NULL},
        {"test what is not there", "{}", "[{'op':'test','path':'/a','value':null}]", NULL},
        {"copy what is not there", "{}", "[{'op':'copy','from':'/a','path':'/b'}]", NULL},
        {"move what is not there", "{}", "[{'op':'move','from':'/a','path':'/b'}]", NULL},
        {"move into itself", "{'a':{'b':1}}", "[{'op':'move','from':'/a','path':'/a/b'}]", NULL},
        {"move everything into itself", "{'a':1}", "[{'op':'move','from':'','path':'/a'}]", NULL},
        {"behind the end", "[1]", "[{'op':'add','path':'/2','value':1}]", NULL},
        {"an index with a sign", "[1]", "[{'op':'add','path':'/+0','value':1}]", NULL},
        {"an index with a zero", "[1,2]", "[{'op':'add','path':'/01','value':1}]", NULL},
        {"a huge index", "[1]", "[{'op':'add','path':'/99999999999999999999','value':1}]", NULL},
        {"no index", "[1]", "[{'op':'add','path':'/a','value':1}]", NULL},
        {"remove at the end", "[1]", "[{'op':'remove','path':'/-'}]", NULL},
        {"through a number", "{'a':1}", "[{'op':'add','path':'/a/b','value':1}]", NULL},
        {"the third is wrong", "{'a':1}",
         "[{'op':'test','path':'/a','value':1},{'op':'test','path':'/a','value':1},"
         "{'op':'test','path':'/a','value':2}]",
         NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *texts[3] = {rows[i].doc, rows[i].patch, rows[i].want};
        struct tree *t[3] = {NULL};
        struct err err = {0};
        int rc;

        for (int k = 0; k < 3; k++) {
            char *json = texts[k] ? xstrdup(texts[k]) : NULL;

            for (char *c = json; c && *c; c++)
                if (*c == '\'')
                    *c = '"';
            t[k] = json ? fixture_json(json) : NULL;
            free(json);
        }
        rc = api_jsonpatch_apply(&t[0], t[1], &err);
        if (rc != (rows[i].want ? 0 : -EINVAL) || (rc && !*err.msg) ||
            (rc == 0 && !tree_equal(t[0], t[2])))
            fail_msg("%s: %d %s", rows[i].name, rc, err.msg);
        if (strcmp(rows[i].name, "the third is wrong") == 0)
            assert_string_equal(err.msg, "operation 3, test /a: the value is another one");
        for (int k = 0; k < 3; k++)
            tree_free(t[k]);
    }
}

/* Patches that would blow an object up are refused before they do. */
static void
test_bounded(void **state)
{
    struct tree *doc = fixture_json("{\"a\":[0,0,0,0,0,0,0,0]}"), *patch = tree_list();
    struct err err = {0};

    (void)state;
    for (int i = 0; i < 40; i++) { /* each doubles the document */
        struct tree *op = tree_map();

        tree_set(op, "op", tree_string("copy"));
        tree_set(op, "from", tree_string(""));
        tree_set(op, "path", tree_stringf("/c%d", i));
        tree_append(patch, op);
    }
    assert_int_equal(api_jsonpatch_apply(&doc, patch, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "too large"));
    tree_free(doc);
    tree_free(patch);

    doc = fixture_json("[]");
    patch = tree_list();
    for (int i = 0; i <= JSONPATCH_MAX_OPS; i++)
        tree_append(patch, fixture_json("{\"op\":\"add\",\"path\":\"/-\",\"value\":1}"));
    assert_int_equal(api_jsonpatch_apply(&doc, patch, &err), -EINVAL);
    assert_int_equal(tree_len(doc), 0);
    tree_free(doc);
    tree_free(patch);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apply),
        cmocka_unit_test(test_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
