/* meta.k8s.io/v1 Tables: what `kubectl get` asks for and prints. The columns are api_columns.c's.
 * See api_call.h. */
#include <stdlib.h>
#include <string.h>

#include "api/quantity.h"
#include "control/api_call.h"
#include "control/api_columns.h"

static void add_head(struct api_call *c, bool columns, struct sb *out);
static void add_row(struct api_call *c, const struct tree *obj, struct sb *out);
static void add_cell(struct api_call *c, const struct api_column *col, const struct tree *obj,
                     struct sb *out);
static const struct tree *at_path(const struct tree *t, const char *path);
static void add_string(const char *s, struct sb *out);

void
api_table_list(struct api_call *c, const struct store_object *const *items, size_t len,
               struct sb *out)
{
    add_head(c, true, out);
    for (size_t i = 0; i < len; i++) {
        if (i > 0)
            sb_putc(out, ',');
        add_row(c, store_object_tree(items[i]), out);
    }
    sb_puts(out, "]}\n");
}

void
api_table_row(struct api_call *c, const struct tree *obj, bool first, struct sb *out)
{
    add_head(c, first, out);
    add_row(c, obj, out);
    sb_puts(out, "]}");
}

static void
add_head(struct api_call *c, bool columns, struct sb *out)
{
    const struct api_column *first = api_columns(c->kind->kind);

    sb_printf(out,
              "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":"
              "{\"resourceVersion\":\"%llu\"},\"columnDefinitions\":[",
              (unsigned long long)store_rv(c->api->store));
    for (const struct api_column *col = first; columns && col->name; col++) {
        if (col > first)
            sb_putc(out, ',');
        sb_puts(out, "{\"name\":");
        add_string(col->name, out);
        /* A date is sent as the age that people read, so it is text, as upstream's are. */
        sb_printf(out, ",\"type\":\"%s\",\"format\":\"%s\",\"description\":",
                  strcmp(col->type, "date") == 0 ? "string" : col->type,
                  strcmp(col->name, "Name") == 0 && col->priority == 0 ? "name" : "");
        add_string(col->description, out);
        sb_printf(out, ",\"priority\":%d}", col->priority);
    }
    sb_puts(out, "],\"rows\":[");
}

static void
add_row(struct api_call *c, const struct tree *obj, struct sb *out)
{
    const struct api_column *first = api_columns(c->kind->kind);

    sb_puts(out, "{\"cells\":[");
    for (const struct api_column *col = first; col->name; col++) {
        if (col > first)
            sb_putc(out, ',');
        add_cell(c, col, obj, out);
    }
    sb_puts(out, "],\"object\":");
    if (c->include == API_OBJECT_NONE) {
        sb_puts(out, "null}");
        return;
    }
    if (c->include == API_OBJECT_FULL) {
        api_add_tree(c, obj, out);
    } else {
        sb_puts(out, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\","
                     "\"metadata\":");
        tree_to_json(tree_get(obj, "metadata"), 0, out);
        sb_putc(out, '}');
    }
    sb_putc(out, '}');
}

static void
add_cell(struct api_call *c, const struct api_column *col, const struct tree *obj, struct sb *out)
{
    const struct tree *v = col->path ? at_path(obj, col->path) : NULL;
    AUTO_SB struct sb text = SB_INIT;
    char age[32];
    int64_t us;

    if (col->cell)
        col->cell(obj, &text);
    if (col->cell && strcmp(col->type, "date") != 0) {
        add_string(sb_str(&text), out);
        return;
    }
    if (col->condition)
        v = tree_get(object_condition(obj, col->condition), "status");
    if (strcmp(col->type, "date") == 0) {
        const char *s = col->cell ? sb_str(&text) : tree_get_string(v, "");

        if (!*s || time_parse(s, &us, NULL) != 0) {
            sb_puts(out, "\"<unknown>\"");
            return;
        }
        us = loop_wall_us(c->api->loop) - us;
        duration_format_age(us < 0 ? 0 : us, age, sizeof(age));
        add_string(age, out);
        return;
    }
    switch (tree_type(v)) {
    case TREE_STRING:
        add_string(tree_get_string(v, ""), out);
        return;
    case TREE_BOOL:
    case TREE_INT:
    case TREE_FLOAT:
        if (strcmp(col->type, "integer") == 0) {
            tree_to_json(v, 0, out);
            return;
        }
        tree_to_json(v, 0, &text);
        add_string(sb_str(&text), out);
        return;
    case TREE_NULL:
    case TREE_LIST:
    case TREE_MAP:
        sb_puts(out, "null");
        return;
    }
}

static const struct tree *
at_path(const struct tree *t, const char *path)
{
    char step[64];

    while (t && *path) {
        size_t n = strcspn(path, ".");

        if (n >= sizeof(step))
            return NULL;
        memcpy(step, path, n);
        step[n] = '\0';
        if (tree_type(t) == TREE_LIST)
            t = tree_at(t, strtoul(step, NULL, 10));
        else
            t = tree_get(t, step);
        path += n + (path[n] == '.');
    }
    return t;
}

static void
add_string(const char *s, struct sb *out)
{
    AUTO_TREE struct tree *t = tree_string(s);

    tree_to_json(t, 0, out);
}
