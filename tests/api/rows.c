/* See rows.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/api/rows.h"

static bool contains(const char *text, const char *part);
static void check_errors(const struct object_row *row, const struct field_errors *errs);
static void check_warnings(const struct object_row *row, const struct warnings *warn);

int
rows_run(const char *group, const void *rows, size_t row_size, size_t len, void (*fn)(void **state))
{
    AUTO_FREE struct CMUnitTest *tests = xcalloc(len, sizeof *tests);

    for (size_t i = 0; i < len; i++) {
        const char *row = (const char *)rows + i * row_size;

        tests[i] = (struct CMUnitTest){.name = *(const char *const *)row,
                                       .test_func = fn,
                                       .initial_state = (void *)(uintptr_t)row};
    }
    return _cmocka_run_group_tests(group, tests, len, NULL, NULL);
}

void
object_row_check(const struct object_row *row, const char *wrapper)
{
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    struct warnings warn = {.arena = a};
    AUTO_SB struct sb text = SB_INIT;
    const char *hole = wrapper ? strstr(wrapper, "%s") : NULL;

    if (hole) {
        sb_add(&text, wrapper, (size_t)(hole - wrapper));
        sb_puts(&text, row->text);
        sb_puts(&text, hole + 2);
    } else {
        sb_puts(&text, row->text);
    }
    AUTO_TREE struct tree *obj = yaml_one(sb_str(&text));
    int rc = object_validate(obj, row->flags ? row->flags : VALIDATE_CREATE | VALIDATE_STATUS,
                             &errs, &warn);

    assert_int_equal(rc != 0, errs.len > 0);
    check_errors(row, &errs);
    check_warnings(row, &warn);
    arena_free(a);
}

struct tree *
yaml_one(const char *text)
{
    AUTO_TREE struct tree *docs = NULL;
    struct err err = {0};

    if (tree_from_yaml("row", text, strlen(text), &docs, &err) != 0)
        fail_msg("%s\n%s", err_msg(&err), text);
    assert_int_equal(tree_len(docs), 1);
    return tree_list_take(docs, 0);
}

struct tree *
object_one(const char *text)
{
    struct tree *obj = yaml_one(text);
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};

    if (object_validate(obj, VALIDATE_CREATE | VALIDATE_STATUS, &errs, NULL) != 0)
        fail_msg("%s: %s", errs.items[0].path, errs.items[0].message);
    arena_free(a);
    return obj;
}

static void
check_errors(const struct object_row *row, const struct field_errors *errs)
{
    AUTO_SB struct sb all = SB_INIT;

    for (size_t i = 0; i < errs->len; i++)
        sb_printf(&all, "%s: %s\n", errs->items[i].path, errs->items[i].message);
    if (!row->error && errs->len > 0)
        fail_msg("valid, but: %s", sb_str(&all));
    if (row->error && !contains(sb_str(&all), row->error))
        fail_msg("want an error with: %s\ngot: %s", row->error, sb_str(&all));
}

static void
check_warnings(const struct object_row *row, const struct warnings *warn)
{
    AUTO_SB struct sb all = SB_INIT;

    for (size_t i = 0; i < warn->list.len; i++)
        sb_printf(&all, "%s\n", warn->list.items[i]);
    if (row->error && !row->warning)
        return;
    if (!row->warning && warn->list.len > 0)
        fail_msg("no warning wanted, got: %s", sb_str(&all));
    if (row->warning && strcmp(row->warning, "*") != 0 && !contains(sb_str(&all), row->warning))
        fail_msg("want a warning with: %s\ngot: %s", row->warning, sb_str(&all));
}

static bool
contains(const char *text, const char *part)
{
    return strstr(text, part);
}
