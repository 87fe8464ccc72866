/* base/options: what is accepted, what is refused and how, and what --help prints. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/options.h"

#define MAX_ARGS 12

static const char *const colours[] = {"red", "green", NULL};
static const struct options_def defs[] = {
    {.name = "dir", .letter = 'd', .type = OPTIONS_STRING, .required = true, .help = "where"},
    {.name = "colour", .type = OPTIONS_STRING, .choices = colours, .dflt = "red", .help = "paint"},
    {.name = "count",
     .letter = 'c',
     .type = OPTIONS_INT,
     .min = 1,
     .max = 8,
     .dflt = "2",
     .help = "how many"},
    {.name = "delta", .type = OPTIONS_INT, .min = -5, .max = 0, .help = "shift"},
    {.name = "memory",
     .type = OPTIONS_SIZE,
     .arg = "BYTES",
     .min = 4096,
     .dflt = "64Mi",
     .help = "how much"},
    {.name = "file", .letter = 'f', .type = OPTIONS_STRING, .repeat = true, .help = "input"},
    {.name = "all", .letter = 'A', .type = OPTIONS_BOOL, .help = "everything"},
    {.name = "watch", .letter = 'w', .type = OPTIONS_BOOL, .help = "go on"},
    {0},
};
static const struct options_program program = {
    .name = "prog", .usage = "[OPTIONS] ARG", .about = "Does things.", .defs = defs, .max_args = 2};

static int
parse(const char *const *args, struct options **ret, struct err *err)
{
    char *argv[MAX_ARGS + 2] = {(char[]){"prog"}};
    int argc = 1;

    /* argv outlives the options only in the accepting test, which frees them before it returns */
    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)args[argc - 1];
    return options_parse(&program, argc, argv, ret, err);
}

/* Everything that is known of a parsed line, as one text. */
static void
show(const struct options *o, struct sb *sb)
{
    const char *const *args;
    size_t n = options_args(o, &args);

    sb_printf(sb, "dir=%s colour=%s count=%d delta=%d memory=%lld all=%d watch=%d",
              options_string(o, "dir"), options_string(o, "colour"), (int)options_int(o, "count"),
              (int)options_int(o, "delta"), (long long)options_int(o, "memory"),
              options_bool(o, "all"), options_bool(o, "watch"));
    for (size_t i = 0; i < options_count(o, "file"); i++)
        sb_printf(sb, " file=%s", options_nth(o, "file", i));
    for (size_t i = 0; i < n; i++)
        sb_printf(sb, " [%s]", args[i]);
    sb_printf(sb, " given=%d%d", options_given(o, "colour"), options_given(o, "memory"));
}

#define DEFAULTS "colour=red count=2 delta=0 memory=67108864 all=0 watch=0"

static void
test_accepted(void **state)
{
    static const struct {
        const char *name;
        const char *args[MAX_ARGS];
        const char *want;
    } rows[] = {
        {"long, apart", {"--dir", "x"}, "dir=x " DEFAULTS " given=00"},
        {"long, joined", {"--dir=x"}, "dir=x " DEFAULTS " given=00"},
        {"joined and empty", {"--dir="}, "dir= " DEFAULTS " given=00"},
        {"value that looks like an option", {"--dir", "--all"}, "dir=--all " DEFAULTS " given=00"},
        {"letter", {"-d", "x"}, "dir=x " DEFAULTS " given=00"},
        {"letter, joined", {"-dx"}, "dir=x " DEFAULTS " given=00"},
        {"letter with =", {"-d=x"}, "dir=x " DEFAULTS " given=00"},
        {"arguments between", {"a", "-dx", "-"}, "dir=x " DEFAULTS " [a] [-] given=00"},
        {"after --", {"-dx", "--", "--all", "-w"}, "dir=x " DEFAULTS " [--all] [-w] given=00"},
        {"all kinds",
         {"-Awdx", "--colour=green", "-c8", "--delta", "-5", "--memory=1Gi"},
         "dir=x colour=green count=8 delta=-5 memory=1073741824 all=1 watch=1 given=11"},
        {"flag undone", {"-dx", "--all", "--all=false"}, "dir=x " DEFAULTS " given=00"},
        {"flag often",
         {"-dx", "-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "--all=false"},
         "dir=x " DEFAULTS " given=00"},
        {"repeated",
         {"-f", "a", "-dx", "-fb", "--file=c"},
         "dir=x " DEFAULTS " file=a file=b file=c given=00"},
        {"decimal unit",
         {"-dx", "--memory", "5k"},
         "dir=x colour=red count=2 delta=0 memory=5000 all=0 watch=0 given=01"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_SB struct sb sb = SB_INIT;
        struct options *o = NULL;
        struct err err = {0};

        if (parse(rows[i].args, &o, &err) < 0)
            fail_msg("%s: %s", rows[i].name, err_msg(&err));
        show(o, &sb);
        if (strcmp(sb_str(&sb), rows[i].want) != 0)
            fail_msg("%s: want %s\n got %s", rows[i].name, rows[i].want, sb_str(&sb));
        options_free(o);
    }
}

static void
test_refused(void **state)
{
    static const struct {
        const char *name;
        const char *args[MAX_ARGS];
        const char *want; /* the whole message */
    } rows[] = {
        {"nothing", {NULL}, "prog: --dir is missing: where"},
        {"unknown", {"--dirr=x"}, "prog: unknown option '--dirr': --help lists them"},
        {"prefix only", {"--di=x"}, "prog: unknown option '--di': --help lists them"},
        {"unknown letter", {"-Ax"}, "prog: unknown option '-x' in '-Ax': --help lists them"},
        {"no value", {"--dir"}, "prog: --dir wants a value"},
        {"letter without value", {"-Ad"}, "prog: -d (--dir) wants a value"},
        {"twice", {"-dx", "--dir=y"}, "prog: --dir is given twice: once is allowed"},
        {"choice", {"-dx", "--colour=blue"}, "prog: --colour: 'blue': want one of red, green"},
        {"choice, case", {"-dx", "--colour=RED"}, "prog: --colour: 'RED': want one of red, green"},
        {"flag value", {"-dx", "--all=1"}, "prog: --all: '1': want true or false"},
        {"below", {"-dx", "-c0"}, "prog: --count: 0 is too small: at least 1"},
        {"above", {"-dx", "-c9"}, "prog: --count: 9 is too large: at most 8"},
        {"negative range", {"-dx", "--delta=1"}, "prog: --delta: 1 is too large: at most 0"},
        {"no number", {"-dx", "--count="}, "prog: --count: '' is no whole number"},
        {"number and more", {"-dx", "-c2x"}, "prog: --count: '2x' is no whole number"},
        {"blank first", {"-dx", "-c", " 2"}, "prog: --count: ' 2' is no whole number"},
        {"plus", {"-dx", "-c+2"}, "prog: --count: '+2' is no whole number"},
        {"huge number",
         {"-dx", "-c99999999999999999999"},
         "prog: --count: '99999999999999999999' is too large"},
        {"size unit",
         {"-dx", "--memory=64 Mi"},
         "prog: --memory: '64 Mi' is no size: want a whole number such as 4096, 64Mi or 2G"},
        {"size without digits",
         {"-dx", "--memory=Mi"},
         "prog: --memory: 'Mi' is no size: want a whole number such as 4096, 64Mi or 2G"},
        {"size with sign",
         {"-dx", "--memory=-1"},
         "prog: --memory: '-1' is no size: want a whole number such as 4096, 64Mi or 2G"},
        {"size overflow",
         {"-dx", "--memory=9999999999Gi"},
         "prog: --memory: '9999999999Gi' is too large"},
        {"size digits overflow",
         {"-dx", "--memory=99999999999999999999"},
         "prog: --memory: '99999999999999999999' is too large"},
        {"small size",
         {"-dx", "--memory=4095"},
         "prog: --memory: 4095 is too small: at least 4096"},
        {"too many arguments",
         {"-dx", "a", "b", "c"},
         "prog: unexpected argument 'c': usage: prog [OPTIONS] ARG"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct options *o = NULL;
        struct err err = {0};

        if (parse(rows[i].args, &o, &err) >= 0)
            fail_msg("%s: accepted", rows[i].name);
        assert_null(o);
        if (strcmp(err_msg(&err), rows[i].want) != 0)
            fail_msg("%s: want %s\n got %s", rows[i].name, rows[i].want, err_msg(&err));
    }
}

static void
test_too_few_arguments(void **state)
{
    struct options_program p = program;
    char *argv[] = {(char[]){"prog"}, (char[]){"-dx"}};
    struct options *o = NULL;
    struct err err = {0};

    (void)state;
    p.min_args = 1;
    assert_int_equal(options_parse(&p, 2, argv, &o, &err), -EINVAL);
    assert_string_equal(err_msg(&err), "prog: an argument is missing: usage: prog [OPTIONS] ARG");
}

/* --help wins over what is missing or comes after it, and its text is made of the whole table. */
static void
test_help(void **state)
{
    static const char *const lines[][2] = {{"--help", "--nonsense"}, {"-h", NULL}, {"-Ah", NULL}};
    AUTO_SB struct sb sb = SB_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        const char *const args[] = {lines[i][0], lines[i][1], NULL};
        struct options *o = NULL;

        assert_int_equal(parse(args, &o, NULL), 0);
        assert_true(options_help_wanted(o));
        options_free(o);
    }
    options_help(&program, &sb);
    assert_string_equal(sb_str(&sb),
                        "usage: prog [OPTIONS] ARG\n\nDoes things.\n\noptions:\n"
                        "  -d, --dir TEXT            where (required)\n"
                        "  --colour TEXT             paint (red, green; default red)\n"
                        "  -c, --count N             how many (at least 1, at most 8; default 2)\n"
                        "  --delta N                 shift (at least -5, at most 0)\n"
                        "  --memory BYTES            how much (at least 4Ki; default 64Mi)\n"
                        "  -f, --file TEXT           input (may be given more than once)\n"
                        "  -A, --all                 everything\n"
                        "  -w, --watch               go on\n"
                        "  -h, --help                print this and exit\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_few_arguments),
        cmocka_unit_test(test_help),
    };

    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
