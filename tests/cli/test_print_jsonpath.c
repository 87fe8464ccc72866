/* jsonpath templates: what kubectl users write, and what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cli/print_jsonpath.h"

static const char document[] =
    "{\"kind\":\"List\",\"n\":3,\"half\":0.5,\"yes\":true,\"nothing\":null,"
    "\"metadata\":{\"labels\":{\"kubevirt.io/nodeName\":\"n1\",\"plain\":\"p\"}},"
    "\"items\":["
    "{\"name\":\"a\",\"cpu\":2,\"status\":{\"phase\":\"Running\",\"ips\":[\"1.1.1.1\",\"2.2.2.2\"]}"
    ","
    "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},{\"type\":\"Other\",\"status\":"
    "\"False\"}]},"
    "{\"name\":\"b\",\"cpu\":8,\"status\":{\"phase\":\"Pending\"},\"conditions\":[]},"
    "{\"name\":\"c\",\"cpu\":4,\"status\":{\"phase\":\"Running\"}}]}";

struct row {
    const char *name, *template_, *want;
};

static const struct row good[] = {
    {"text alone", "hello", "hello"},
    {"empty template", "", ""},
    {"a field", "{.kind}", "List"},
    {"text around it", "kind={.kind};", "kind=List;"},
    {"without braces", ".kind", "List"},
    {"from the root without braces", "$.kind", "List"},
    {"integer", "{.n}", "3"},
    {"float", "{.half}", "0.5"},
    {"boolean", "{.yes}", "true"},
    {"null prints nothing", "{.nothing}", ""},
    {"missing prints nothing", "{.no.such.field}", ""},
    {"field of a scalar prints nothing", "{.kind.x}", ""},
    {"root", "{$.kind}", "List"},
    {"current", "{@.kind}", "List"},
    {"escaped dot", "{.metadata.labels.kubevirt\\.io/nodeName}", "n1"},
    {"quoted key", "{.metadata.labels['plain']}", "p"},
    {"quoted key with a dot as it is", "{.metadata.labels['kubevirt.io/nodeName']}", "n1"},
    {"quoted key with an escaped dot", "{.metadata.labels['kubevirt\\.io/nodeName']}", "n1"},
    {"quoted path", "{['metadata.labels.plain']}", "p"},
    {"double quotes", "{.metadata[\"labels\"].plain}", "p"},
    {"index", "{.items[1].name}", "b"},
    {"index after a dot", "{.items.[1].name}", "b"},
    {"negative index", "{.items[-1].name}", "c"},
    {"index beyond the end", "{.items[3].name}", ""},
    {"negative index beyond the start", "{.items[-4].name}", ""},
    {"slice", "{.items[0:2].name}", "a b"},
    {"slice to the end", "{.items[1:].name}", "b c"},
    {"slice from the start", "{.items[:1].name}", "a"},
    {"slice with negative end", "{.items[0:-1].name}", "a b"},
    {"slice with a step", "{.items[0:3:2].name}", "a c"},
    {"all", "{.items[*].name}", "a b c"},
    {"all of a map", "{.metadata.labels.*}", "n1 p"},
    {"union of numbers", "{.items[0,2].name}", "a c"},
    {"union of names", "{.items[0]['name','cpu']}", "a 2"},
    {"union of paths", "{.items[0]['name','status.phase']}", "a Running"},
    {"descent", "{..phase}", "Running Pending Running"},
    {"a list is JSON", "{.items[0].status.ips}", "[\"1.1.1.1\",\"2.2.2.2\"]"},
    {"a map is JSON", "{.metadata.labels}", "{\"kubevirt.io/nodeName\":\"n1\",\"plain\":\"p\"}"},
    {"two expressions", "{.kind} {.n}", "List 3"},
    {"two in one pair of braces", "{.kind .n}", "List3"},
    {"newline and tab", "{.kind}{\"\\n\"}{'\\t'}{.n}", "List\n\t3"},
    {"range", "{range .items[*]}{.name}={.cpu}{\"\\n\"}{end}", "a=2\nb=8\nc=4\n"},
    {"text in a range", "{range .items[*]}<{.name}>{end}!", "<a><b><c>!"},
    {"range in a range", "{range .items[*]}{.name}:{range .conditions[*]}{.type},{end};{end}",
     "a:Ready,Other,;b:;c:;"},
    {"root in a range", "{range .items[*]}{$.n}{end}", "333"},
    {"range over nothing", "{range .none[*]}x{end}", ""},
    {"filter by text", "{.items[?(@.name==\"b\")].cpu}", "8"},
    {"filter with single quotes", "{.items[?(@.name=='b')].cpu}", "8"},
    {"filter by path", "{.items[?(@.status.phase==\"Running\")].name}", "a c"},
    {"filter with blanks", "{.items[?( @.name == \"b\" )].cpu}", "8"},
    {"filter not equal", "{.items[?(@.name!=\"b\")].name}", "a c"},
    {"filter greater", "{.items[?(@.cpu>2)].name}", "b c"},
    {"filter at least", "{.items[?(@.cpu>=4)].name}", "b c"},
    {"filter less", "{.items[?(@.cpu<4)].name}", "a"},
    {"filter at most", "{.items[?(@.cpu<=4)].name}", "a c"},
    {"filter by a float", "{.items[?(@.cpu<2.5)].name}", "a"},
    {"filter by existence", "{.items[?(@.status.ips)].name}", "a"},
    {"filter of other types never holds", "{.items[?(@.name==3)].name}", ""},
    {"filter of an absent field never holds", "{.items[?(@.none!=\"x\")].name}", ""},
    {"condition, as in every guide", "{.items[0].conditions[?(@.type==\"Ready\")].status}", "True"},
};

static const struct row bad[] = {
    {"open brace", "{.kind", "column 7: want \"}\""},
    {"only a brace", "{", "want a path"},
    {"a word", "{kind}", "want a path"},
    {"no field", "{..}", "want a field name"},
    {"open bracket", "{.items[0}", "want \",\" or \"]\""},
    {"empty brackets", "{.items[]}", "want a number"},
    {"a bare word in brackets", "{.items[a]}", "want a number"},
    {"open quote", "{.items['a]}", "closing '"},
    {"open double quote", "{\"a}", "closing \""},
    {"step of zero", "{.items[0:2:0]}", "step of at least 1"},
    {"filter without end", "{.items[?(@.a==1]}", "\")\""},
    {"filter without brackets' end", "{.items[?(@.a==1)}", "\"]\""},
    {"filter with and", "{.items[?(@.a==1 && @.b==2)]}", "\")\""},
    {"filter without a right side", "{.items[?(@.a==)]}", "want a path"},
    {"filter without anything", "{.items[?()]}", "want a path"},
    {"range without end", "{range .items[*]}{.name}", "{end}"},
    {"end without range", "{.kind}{end}", "{range}"},
    {"range without a path", "{range}x{end}", "want a path"},
    {"too many ranges",
     "{range .a}{range .a}{range .a}{range .a}{range .a}{range .a}{range .a}{range .a}{range .a}"
     "{range .a}{range .a}{range .a}{range .a}{range .a}{range .a}{range .a}{range .a}",
     "fewer nested"},
};

static void
prints(void **state)
{
    const struct row *r = *state;
    AUTO_TREE struct tree *doc = NULL;
    struct jsonpath *jp = NULL;
    AUTO_SB struct sb out = SB_INIT;
    struct err err = {0};

    assert_int_equal(tree_from_json(document, strlen(document), &doc, &err), 0);
    assert_int_equal(jsonpath_parse(r->template_, &jp, &err), 0);
    jsonpath_print(jp, doc, &out);
    jsonpath_free(jp);
    assert_string_equal(sb_str(&out), r->want);
}

static void
refuses(void **state)
{
    const struct row *r = *state;
    struct jsonpath *jp = NULL;
    struct err err = {0};

    assert_int_equal(jsonpath_parse(r->template_, &jp, &err), -22);
    assert_null(jp);
    if (!strstr(err.msg, r->want))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, r->want);
}

int
main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(good) + ARRAY_LEN(bad)];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(good); i++, n++)
        tests[n] =
            (struct CMUnitTest){good[i].name, prints, NULL, NULL, (void *)(uintptr_t)&good[i]};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++, n++)
        tests[n] =
            (struct CMUnitTest){bad[i].name, refuses, NULL, NULL, (void *)(uintptr_t)&bad[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
