/* Reading: one object, lists, and the selectors that lists and watches share. See api_call.h. */
#include <string.h>

#include "control/api_call.h"

int
api_get(struct api_call *c)
{
    const struct store_object *o =
        c->kind->stored ? store_find(c->api->store, c->kind->kind, c->ns, c->name) : NULL;

    if (api_parse_include(c) != 0)
        return -1;
    if (!o)
        return api_err_not_found(c, c->kind, c->name);
    api_send_stored(c, 200, o);
    return 0;
}

struct gather {
    struct api_call *c;
    const struct store_object **items;
    size_t len, cap;
};

static bool
gather_one(void *ctx, const struct store_object *o)
{
    struct gather *g = ctx;

    if (!api_selected(g->c, store_object_tree(o)))
        return true;
    if (g->len == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 64;
        g->items = xreallocarray(g->items, g->cap, sizeof(*g->items));
    }
    g->items[g->len++] = o;
    return true;
}

int
api_list(struct api_call *c)
{
    struct gather g = {.c = c};
    struct sb out = SB_INIT;
    const char *token = http_param(c->request, "continue");

    if (token && *token) /* we send whole lists, so nobody has one from us */
        return api_err(c, 410, "Expired",
                       "The provided continue parameter is too old to display a consistent list "
                       "result.");
    if (api_parse_include(c) != 0 || api_parse_selectors(c) != 0)
        return -1;
    if (c->kind->stored)
        store_each(c->api->store, c->kind->kind, c->ns, gather_one, &g);
    if (c->format == API_TABLE) {
        api_table_list(c, g.items, g.len, &out);
    } else {
        sb_printf(&out, "{\"kind\":\"%sList\",\"apiVersion\":\"%s%s%s\",", c->kind->name,
                  c->kind->group, *c->kind->group ? "/" : "", c->version);
        sb_printf(&out, "\"metadata\":{\"resourceVersion\":\"%llu\"},\"items\":[",
                  (unsigned long long)store_rv(c->api->store));
        for (size_t i = 0; i < g.len; i++) {
            if (i > 0)
                sb_putc(&out, ',');
            api_add_object(c, g.items[i], &out);
        }
        sb_puts(&out, "]}\n");
    }
    free(g.items);
    if (c->pretty)
        api_indent(&out);
    api_send_json(c, 200, &out); /* for YAML, too: JSON is YAML */
    return 0;
}

int
api_parse_include(struct api_call *c)
{
    const char *include = http_param(c->request, "includeObject");

    if (!include || !*include || strcmp(include, "Metadata") == 0)
        c->include = API_OBJECT_METADATA;
    else if (strcmp(include, "None") == 0)
        c->include = API_OBJECT_NONE;
    else if (strcmp(include, "Object") == 0)
        c->include = API_OBJECT_FULL;
    else
        return api_err_bad(c, "includeObject: \"%s\": want None, Metadata or Object", include);
    return 0;
}

/* --- selectors --- */
int
api_parse_selectors(struct api_call *c)
{
    const char *labels = http_param(c->request, "labelSelector");
    const char *fields = http_param(c->request, "fieldSelector");
    struct err err = {0};

    if (labels && *labels) {
        c->labels = arena_alloc(c->arena, sizeof(*c->labels));
        if (selector_parse(labels, c->arena, c->labels, &err) != 0)
            return api_err_bad(c, "unable to parse requirement: %s", err_msg(&err));
    }
    if (fields && *fields && field_selector_parse(fields, &c->fields, &err) != 0)
        return api_err_bad(c, "unable to parse field selector: %s", err_msg(&err));
    return 0;
}

bool
api_selected(struct api_call *c, const struct tree *obj)
{
    const struct tree *labels;
    struct kv few[32], *kv = few;
    size_t n;
    bool ok;

    if (c->fields && !field_selector_matches(c->fields, obj))
        return false;
    if (!c->labels)
        return true;
    labels = tree_find(obj, "metadata", "labels", NULL);
    n = tree_len(labels);
    if (n > ARRAY_LEN(few))
        kv = xreallocarray(NULL, n, sizeof(*kv));
    for (size_t i = 0; i < n; i++)
        kv[i] = (struct kv){tree_key_at(labels, i), tree_get_string(tree_at(labels, i), "")};
    ok = label_selector_matches(c->labels, &(struct kv_list){kv, n});
    if (kv != few)
        free(kv);
    return ok;
}
