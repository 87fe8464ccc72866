/* Answers: objects as JSON, YAML or Table, errors as Status, warnings as headers. Each function
 * that sends ends the call. See api_call.h. */
#include <stdarg.h>
#include <string.h>

#include "control/api_call.h"

#define MAX_WARNING_BYTES (16u << 10) /* of all Warning headers together */

static const char JSON_TYPE[] = "application/json";

static bool range_accepts(struct api_call *c, const char *range, size_t len, bool *is_table);
static void send(struct api_call *c, int status, const char *type, struct sb *body);
static const char *served_version(const struct api_call *c);

void
api_send_error(struct api_call *c)
{
    struct sb body = SB_INIT;

    api_status_json(&c->error, &body);
    send(c, c->error.code, JSON_TYPE, &body);
}

void
api_send_object(struct api_call *c, int status, const struct tree *obj)
{
    struct sb body = SB_INIT;

    if (c->format == API_TABLE) {
        api_table_row(c, obj, true, &body);
        sb_putc(&body, '\n');
        send(c, status, JSON_TYPE, &body);
        return;
    }
    if (c->format == API_YAML) {
        AUTO_TREE struct tree *copy = tree_copy(obj);

        if (served_version(c))
            tree_set(copy, "apiVersion", tree_string(served_version(c)));
        tree_to_yaml(copy, &body);
        send(c, status, "application/yaml", &body);
        return;
    }
    api_add_tree(c, obj, &body);
    sb_putc(&body, '\n');
    if (c->pretty)
        api_indent(&body);
    send(c, status, JSON_TYPE, &body);
}

void
api_send_stored(struct api_call *c, int status, const struct store_object *o)
{
    struct sb body = SB_INIT;

    if (c->format != API_JSON || c->pretty) {
        api_send_object(c, status, store_object_tree(o));
        return;
    }
    api_add_object(c, o, &body);
    sb_putc(&body, '\n');
    send(c, status, JSON_TYPE, &body);
}

void
api_send_json(struct api_call *c, int status, struct sb *body)
{
    send(c, status, JSON_TYPE, body);
}

void
api_send_typed(struct api_call *c, int status, const char *type, struct sb *body)
{
    send(c, status, type, body);
}

void
api_send_text(struct api_call *c, int status, const char *text)
{
    struct sb body = SB_INIT;

    sb_puts(&body, text);
    send(c, status, "text/plain; charset=utf-8", &body);
}

void
api_send_body(struct api_call *c, int status, const char *content_type, struct sb *body)
{
    send(c, status, content_type, body);
}

void
api_send_deleted(struct api_call *c, const struct tree *obj)
{
    AUTO_TREE struct tree *t = tree_map();
    struct sb body = SB_INIT;

    tree_set(t, "kind", tree_string("Status"));
    tree_set(t, "apiVersion", tree_string("v1"));
    tree_set(t, "metadata", tree_map());
    tree_set(t, "status", tree_string("Success"));
    tree_set_path(t, tree_string(object_name(obj)), "details", "name", NULL);
    if (*c->kind->group)
        tree_set_path(t, tree_string(c->kind->group), "details", "group", NULL);
    tree_set_path(t, tree_string(c->kind->plural), "details", "kind", NULL);
    tree_set_path(t, tree_string(object_uid(obj)), "details", "uid", NULL);
    tree_to_json(t, 0, &body);
    sb_putc(&body, '\n');
    send(c, 200, JSON_TYPE, &body);
}

static void
send(struct api_call *c, int status, const char *type, struct sb *body)
{
    struct http_exchange *x = TAKE_PTR(c->x);

    if (!x) {
        sb_done(body);
        api_call_free(c);
        return;
    }
    c->x = x;
    api_add_warnings(c);
    c->x = NULL;
    api_call_free(c);
    http_reply(x, status, type, body);
}

void
api_add_object(struct api_call *c, const struct store_object *o, struct sb *out)
{
    size_t len;
    const char *json = store_object_json(o, &len);

    if (served_version(c))
        api_add_tree(c, store_object_tree(o), out);
    else
        sb_add(out, json, len);
}

void
api_add_tree(struct api_call *c, const struct tree *obj, struct sb *out)
{
    const char *version = served_version(c);
    AUTO_TREE struct tree *copy = NULL;

    if (version) {
        copy = tree_copy(obj);
        tree_set(copy, "apiVersion", tree_string(version));
        obj = copy;
    }
    tree_to_json(obj, 0, out);
}

/* For people with curl; a list beyond the limits of one document stays compact. */
void
api_indent(struct sb *json)
{
    AUTO_TREE struct tree *t = NULL;

    if (tree_from_json(json->buf, json->len, &t, NULL) != 0)
        return;
    sb_reset(json);
    tree_to_json(t, 2, json);
    sb_putc(json, '\n');
}

/* "group/version" when the URL names another version than the stored one, else NULL. */
static const char *
served_version(const struct api_call *c)
{
    if (!c->kind || !c->version || strcmp(c->version, c->kind->version) == 0)
        return NULL;
    return arena_printf(c->arena, "%s/%s", c->kind->group, c->version);
}

/* --- warnings --- */
void
api_warn(struct api_call *c, const char *fmt, ...)
{
    AUTO_SB struct sb text = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    warnings_add(&c->warnings, sb_str(&text));
}

void
api_add_warnings(struct api_call *c)
{
    size_t total = 0;

    for (size_t i = 0; i < c->warnings.list.len; i++) {
        AUTO_SB struct sb text = SB_INIT;

        sb_puts(&text, "299 - \"");
        for (const char *p = c->warnings.list.items[i]; *p; p++) {
            if (*p == '"' || *p == '\\')
                sb_putc(&text, '\\');
            sb_putc(&text, *p);
        }
        sb_putc(&text, '"');
        total += text.len;
        if (total > MAX_WARNING_BYTES) {
            http_add_header(c->x, "Warning", "299 - \"more warnings were left out\"");
            break;
        }
        http_add_header(c->x, "Warning", sb_str(&text));
    }
}

/* --- Accept --- */
int
api_negotiate(struct api_call *c)
{
    const char *accept = http_header(c->request, "accept");

    if (!accept || !*accept)
        return 0;
    for (const char *p = accept; *p;) {
        size_t len = strcspn(p, ",");
        bool is_table = false;

        if (range_accepts(c, p, len, &is_table)) {
            if (is_table)
                c->format = API_TABLE;
            return 0;
        }
        p += len;
        p += strspn(p, ",");
    }
    return api_err(c, 406, "NotAcceptable",
                   "only the following media types are accepted: application/json, "
                   "application/yaml, application/json;as=Table;v=v1;g=meta.k8s.io");
}

/* One media range: whether it is one that we can answer with; sets the format. */
static bool
range_accepts(struct api_call *c, const char *range, size_t len, bool *is_table)
{
    const char *text = arena_strndup(c->arena, range, len);
    size_t type_len;
    const char *as = strstr(text, "as=");

    text += strspn(text, " \t");
    type_len = strcspn(text, "; \t");
    if (as && strncmp(as, "as=Table", 8) == 0)
        *is_table = true;
    else if (as)
        return false; /* PartialObjectMetadata, APIGroupDiscoveryList: the next range is plain */
    if (strncmp(text, "application/yaml", type_len) == 0 && type_len == 16) {
        c->format = API_YAML;
        return true;
    }
    return (type_len == 16 && strncmp(text, JSON_TYPE, type_len) == 0) ||
           (type_len == 13 && strncmp(text, "application/*", type_len) == 0) ||
           (type_len == 3 && strncmp(text, "*/*", type_len) == 0);
}
