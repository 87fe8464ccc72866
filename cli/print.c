/* Output formats. Turns objects and the server's Table answers into text; writes nothing itself.
 * Follows kubectl's printers (k8s.io/cli-runtime/pkg/printers). */
#include "cli/print.h"

#include <errno.h>
#include <string.h>

int
print_format_parse(const char *text, struct print_format *ret, struct err *err)
{
    static const struct {
        const char *name;
        enum print_kind kind;
    } names[] = {
        {"table", PRINT_TABLE}, {"wide", PRINT_WIDE}, {"yaml", PRINT_YAML},
        {"json", PRINT_JSON},   {"name", PRINT_NAME},
    };
    struct print_format f = {.kind = PRINT_TABLE};
    int rc;

    for (size_t i = 0; text && i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i].name) == 0) {
            *ret = (struct print_format){.kind = names[i].kind};
            return 0;
        }
    }
    if (text && strncmp(text, "jsonpath=", 9) == 0) {
        f.kind = PRINT_JSONPATH;
        rc = jsonpath_parse(text + 9, &f.jsonpath, err);
        if (rc < 0)
            return rc;
    } else if (text) {
        return err_set(err, -EINVAL,
                       "-o %s: want table, wide, yaml, json, name or jsonpath=TEMPLATE", text);
    }
    *ret = f;
    return 0;
}

void
print_format_done(struct print_format *f)
{
    jsonpath_free(f->jsonpath);
    f->jsonpath = NULL;
}

void
print_object_name(const struct kind_info *ki, const char *name, struct sb *out)
{
    sb_puts(out, ki->singular);
    if (ki->group[0])
        sb_printf(out, ".%s", ki->group);
    sb_printf(out, "/%s", name);
}

static void
print_name_line(const struct tree *obj, struct sb *out)
{
    const struct kind_info *ki = object_kind(obj);

    if (ki)
        print_object_name(ki, object_name(obj), out);
    else
        sb_printf(out, "%s/%s", tree_find_string(obj, "object", "kind", NULL), object_name(obj));
    sb_putc(out, '\n');
}

void
print_object(const struct print_format *f, const struct tree *obj, struct sb *out)
{
    const struct tree *items = tree_get(obj, "items");

    switch (f->kind) {
    case PRINT_YAML:
        tree_to_yaml(obj, out);
        break;
    case PRINT_JSON:
        tree_to_json(obj, 4, out);
        sb_putc(out, '\n');
        break;
    case PRINT_JSONPATH:
        jsonpath_print(f->jsonpath, obj, out);
        break;
    case PRINT_NAME:
        if (tree_type(items) != TREE_LIST)
            print_name_line(obj, out);
        for (size_t i = 0; i < tree_len(items); i++)
            print_name_line(tree_at(items, i), out);
        break;
    case PRINT_TABLE:
    case PRINT_WIDE:
        break;
    }
}

/* --- the server's tables --- */

static void
cell_text(const struct tree *cell, struct sb *out)
{
    switch (tree_type(cell)) {
    case TREE_STRING:
        sb_puts(out, tree_get_string(cell, ""));
        break;
    case TREE_NULL:
        sb_puts(out, "<none>");
        break;
    default:
        tree_to_json(cell, 0, out);
    }
}

static void
labels_text(const struct tree *labels, struct sb *out)
{
    if (!tree_len(labels))
        sb_puts(out, "<none>");
    for (size_t i = 0; i < tree_len(labels); i++)
        sb_printf(out, "%s%s=%s", i ? "," : "", tree_key_at(labels, i),
                  tree_get_string(tree_at(labels, i), ""));
}

static void
begin_table(struct print_rows *r, const struct tree *definitions)
{
    r->table = table_new();
    if (r->no_headings)
        table_no_headings(r->table);
    if (r->with_namespace)
        table_column(r->table, "NAMESPACE", false);
    for (size_t i = 0; i < tree_len(definitions) && r->shown_len < ARRAY_LEN(r->shown); i++) {
        const struct tree *d = tree_at(definitions, i);
        AUTO_SB struct sb heading = SB_INIT;

        if (!r->wide && tree_get_int(tree_get(d, "priority"), 0) > 0)
            continue;
        for (const char *p = tree_find_string(d, "", "name", NULL); *p; p++)
            sb_putc(&heading, *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p);
        table_column(r->table, sb_str(&heading), false);
        r->shown[r->shown_len++] = i;
    }
    if (r->show_labels)
        table_column(r->table, "LABELS", false);
}

static void
add_row(struct print_rows *r, const struct tree *row)
{
    const struct tree *cells = tree_get(row, "cells");
    const struct tree *metadata = tree_find(row, "object", "metadata", NULL);

    if (r->with_namespace)
        table_cell(r->table, tree_find_string(metadata, "", "namespace", NULL));
    for (size_t i = 0; i < r->shown_len; i++) {
        AUTO_SB struct sb text = SB_INIT;
        AUTO_SB struct sb cell = SB_INIT;

        cell_text(tree_at(cells, r->shown[i]), &cell);
        if (r->kind_prefix && r->shown[i] == 0)
            print_object_name(r->kind_prefix, sb_str(&cell), &text);
        else
            sb_puts(&text, sb_str(&cell));
        table_cell(r->table, sb_str(&text));
    }
    if (r->show_labels) {
        AUTO_SB struct sb text = SB_INIT;

        labels_text(tree_get(metadata, "labels"), &text);
        table_cell(r->table, sb_str(&text));
    }
}

int
print_rows_add(struct print_rows *r, const struct tree *server_table, struct err *err)
{
    const struct tree *rows = tree_get(server_table, "rows");

    if (strcmp(tree_find_string(server_table, "", "kind", NULL), "Table") != 0)
        return err_set(err, -EPROTO, "the server sent no Table but \"%s\"",
                       tree_find_string(server_table, "", "kind", NULL));
    if (!r->table)
        begin_table(r, tree_get(server_table, "columnDefinitions"));
    for (size_t i = 0; i < tree_len(rows); i++)
        add_row(r, tree_at(rows, i));
    return 0;
}

void
print_rows_done(struct print_rows *r)
{
    table_free(r->table);
    r->table = NULL;
    r->shown_len = 0;
}
