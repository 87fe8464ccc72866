/* How problems are worded, placed and collected while an object is checked, and the checks of single
 * values that several tables share. The words are those of upstream's API servers. */
#include "api/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/limits.h"
#include "api/migration_options.h"
#include "api/names.h"
#include "api/selector.h"
#include "api/tree_priv.h"

#define ERRORS_MAX     100
#define VALUE_TEXT_MAX 80 /* bytes of a value that are shown */

static void add(struct check *c, struct tree_pos pos, const char *type, const char *message);
static bool is_full(const struct check *c);
static void path_text(const struct path *p, struct sb *out);
static void check_migration_option(struct check *c, const char *key, const struct tree *v);
static void check_trusted_network(struct check *c, const struct tree *v);
static void value_text(const struct tree *t, struct sb *out);
static void quoted(const char *s, struct sb *out);
static bool has_suffix(const char *s, const char *suffix);

void
check_enter(struct check *c, struct path *p, const char *key)
{
    *p = (struct path){.up = c->at, .key = key};
    c->at = p;
}

void
check_enter_item(struct check *c, struct path *p, size_t index)
{
    *p = (struct path){.up = c->at, .index = index};
    c->at = p;
}

void
check_leave(struct check *c)
{
    c->at = c->at->up;
}

/* --- problems --- */

void
check_invalid(struct check *c, const struct tree *value, const char *why, ...)
{
    AUTO_SB struct sb sb = SB_INIT;
    va_list ap;

    if (is_full(c))
        return;
    sb_puts(&sb, "Invalid value: ");
    value_text(value, &sb);
    sb_puts(&sb, ": ");
    va_start(ap, why);
    sb_vprintf(&sb, why, ap);
    va_end(ap);
    add(c, tree_pos(value), "FieldValueInvalid", sb_str(&sb));
}

void
check_invalid_text(struct check *c, struct tree_pos pos, const char *text, const char *why, ...)
{
    AUTO_SB struct sb sb = SB_INIT;
    va_list ap;

    if (is_full(c))
        return;
    sb_puts(&sb, "Invalid value: ");
    quoted(text, &sb);
    sb_puts(&sb, ": ");
    va_start(ap, why);
    sb_vprintf(&sb, why, ap);
    va_end(ap);
    add(c, pos, "FieldValueInvalid", sb_str(&sb));
}

void
check_type(struct check *c, const struct tree *value, const char *want)
{
    AUTO_SB struct sb sb = SB_INIT;
    enum tree_type type = tree_type(value);

    if (is_full(c))
        return;
    sb_puts(&sb, "Invalid value: ");
    value_text(value, &sb);
    sb_printf(&sb, ": %s, not %s %s", want, type == TREE_INT ? "an" : "a", tree_type_name(type));
    if (has_suffix(want, "string") &&
        (type == TREE_INT || type == TREE_FLOAT || type == TREE_BOOL)) {
        sb_puts(&sb, " (write it in quotes: \"");
        value_text(value, &sb);
        sb_puts(&sb, "\")");
    }
    add(c, tree_pos(value), "FieldValueTypeInvalid", sb_str(&sb));
}

void
check_too_many(struct check *c, const struct tree *list, size_t max)
{
    char text[100];

    snprintf(text, sizeof text, "Too many: %zu: must have at most %zu items", tree_len(list), max);
    add(c, tree_pos(list), "FieldValueTooMany", text);
}

void
check_too_long(struct check *c, struct tree_pos pos, unsigned max_bytes)
{
    char text[100];

    snprintf(text, sizeof text, "Too long: may not be more than %u bytes", max_bytes);
    add(c, pos, "FieldValueTooLong", text);
}

void
check_unknown_kind(struct check *c, struct tree_pos pos, const char *message)
{
    add(c, pos, "FieldValueNotSupported", message);
}

void
check_unknown_field(struct check *c, struct tree_pos pos, const char *similar)
{
    AUTO_SB struct sb sb = SB_INIT;

    if (is_full(c))
        return;
    sb_puts(&sb, "unknown field \"");
    path_text(c->at, &sb);
    sb_putc(&sb, '"');
    if (similar)
        sb_printf(&sb, " (did you mean \"%s\"?)", similar);
    add(c, pos, "UnknownField", sb_str(&sb));
}

void
check_required(struct check *c, struct tree_pos pos, const char *why)
{
    AUTO_SB struct sb sb = SB_INIT;

    sb_printf(&sb, "Required value%s%s", why ? ": " : "", why ? why : "");
    add(c, pos, "FieldValueRequired", sb_str(&sb));
}

void
check_forbidden(struct check *c, struct tree_pos pos, const char *why)
{
    AUTO_SB struct sb sb = SB_INIT;

    sb_printf(&sb, "Forbidden: %s", why);
    add(c, pos, "FieldValueForbidden", sb_str(&sb));
}

void
check_duplicate(struct check *c, const struct tree *value)
{
    AUTO_SB struct sb sb = SB_INIT;

    if (is_full(c))
        return;
    sb_puts(&sb, "Duplicate value: ");
    value_text(value, &sb);
    add(c, tree_pos(value), "FieldValueDuplicate", sb_str(&sb));
}

void
check_unsupported(struct check *c, const struct tree *value, const char *const *values,
                  const char *hint)
{
    AUTO_SB struct sb sb = SB_INIT;
    const char *meant = NULL;

    if (is_full(c))
        return;
    sb_puts(&sb, "Unsupported value: ");
    value_text(value, &sb);
    sb_puts(&sb, ": supported values:");
    for (size_t i = 0; values[i]; i++) {
        sb_printf(&sb, "%s \"%s\"", i > 0 ? "," : "", values[i]);
        if (strcasecmp(values[i], tree_get_string(value, "")) == 0)
            meant = values[i];
    }
    if (hint)
        sb_printf(&sb, " (%s)", hint);
    else if (meant)
        sb_printf(&sb, " (did you mean \"%s\"? Upper and lower case differ)", meant);
    add(c, tree_pos(value), "FieldValueNotSupported", sb_str(&sb));
}

void
check_warn(struct check *c, const char *fmt, ...)
{
    AUTO_SB struct sb sb = SB_INIT;
    va_list ap;

    if (!c->warn)
        return;
    path_text(c->at, &sb);
    if (c->at)
        sb_putc(&sb, ' ');
    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    tree_one_line(sb.buf);
    warnings_add(c->warn, sb_str(&sb));
}

void
check_field_invalid(struct check *c, const struct tree *map, const char *key, const char *why)
{
    struct path p;

    check_enter(c, &p, key);
    check_invalid(c, tree_get(map, key), "%s", why);
    check_leave(c);
}

void
check_field_required(struct check *c, const struct tree *map, const char *key, const char *why)
{
    struct path p;

    check_enter(c, &p, key);
    check_required(c, tree_pos(map), why);
    check_leave(c);
}

void
check_field_forbidden(struct check *c, const struct tree *map, const char *key, const char *why)
{
    struct path p;

    check_enter(c, &p, key);
    check_forbidden(c, tree_pos(tree_get(map, key)), why);
    check_leave(c);
}

/* --- values --- */

bool
check_is_one_of(const char *text, const char *const *values)
{
    for (; *values; values++)
        if (strcmp(*values, text) == 0)
            return true;
    return false;
}

struct quantity
check_quantity(const struct tree *t)
{
    struct quantity q = {0};
    AUTO_SB struct sb sb = SB_INIT;

    if (tree_type(t) == TREE_STRING) {
        (void)quantity_parse(tree_get_string(t, ""), &q, NULL);
    } else if (tree_type(t) == TREE_INT || tree_type(t) == TREE_FLOAT) {
        tree_to_json(t, 0, &sb);
        (void)quantity_parse(sb_str(&sb), &q, NULL);
    }
    return q;
}

void
check_name(struct check *c, struct tree *v)
{
    struct err why;

    if (name_check(tree_get_string(v, ""), &why) != 0)
        check_invalid(c, v, "%s", why.msg);
}

void
check_name_label(struct check *c, struct tree *v)
{
    struct err why;

    if (name_label_check(tree_get_string(v, ""), &why) != 0)
        check_invalid(c, v, "%s", why.msg);
}

void
check_labels(struct check *c, struct tree *map)
{
    struct err why;

    for (size_t i = 0; i < tree_len(map); i++) {
        const char *key = tree_key_at(map, i);

        if (label_key_check(key, &why) != 0)
            check_invalid_text(c, tree_key_pos_at(map, i), key, "%s", why.msg);
        check_label_value(c, tree_at(map, i));
    }
}

void
check_annotations(struct check *c, struct tree *map)
{
    static const char *const quantities[] = {ANN_WORKLOAD_RATE, ANN_WORKLOAD_SET, ANN_WORKLOAD_FILL,
                                             ANN_BANDWIDTH_OVERRIDE, NULL};
    static const char *const workloads[] = {"idle", "sequential", "hotcold", "randomwords",
                                            "zipf", "mix",        NULL};
    size_t bytes = 0;
    struct quantity q;
    struct err why;

    for (size_t i = 0; i < tree_len(map); i++) {
        const char *key = tree_key_at(map, i);
        const struct tree *v = tree_at(map, i);
        const char *text = tree_get_string(v, "");
        struct path p;

        bytes += strlen(key) + strlen(text);
        if (label_key_check(key, &why) != 0)
            check_invalid_text(c, tree_key_pos_at(map, i), key, "%s", why.msg);
        check_enter(c, &p, key);
        if (strcmp(key, ANN_WORKLOAD) == 0 && !check_is_one_of(text, workloads))
            check_unsupported(c, v, workloads, NULL);
        if (check_is_one_of(key, quantities)) {
            if (quantity_parse(text, &q, &why) != 0)
                check_invalid(c, v, "%s", why.msg);
            else if (q.units < 0)
                check_invalid(c, v, "must be greater than or equal to 0");
        }
        if (migration_option_find(key) != MIGRATION_OPTION_COUNT)
            check_migration_option(c, key, v);
        if (strcmp(key, ANN_TRUSTED_NETWORK) == 0)
            check_trusted_network(c, v);
        check_leave(c);
    }
    if (bytes > API_MAX_ANNOTATIONS_BYTES)
        check_too_long(c, tree_pos(map), API_MAX_ANNOTATIONS_BYTES);
}

/* On a VM they would change nothing: said rather than borne in silence. */
static void
check_migration_option(struct check *c, const char *key, const struct tree *v)
{
    enum kind kind = c->kind->kind;
    int64_t value;
    struct err why;

    if (kind != KIND_POLICY && kind != KIND_HCO && kind != KIND_KUBEVIRT)
        check_warn(c, "counts on a MigrationPolicy, HyperConverged or KubeVirt only");
    else if (migration_option_parse(migration_option_find(key), tree_get_string(v, ""), &value,
                                    &why) != 0)
        check_invalid(c, v, "%s", why.msg);
}

/* Trust that somebody only thinks to have declared, or withdrawn, is worse than none. */
static void
check_trusted_network(struct check *c, const struct tree *v)
{
    const char *text = tree_get_string(v, "");

    if (c->kind->kind != KIND_NAD)
        check_warn(c, "counts on a NetworkAttachmentDefinition only");
    else if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        check_invalid(c, v, "want \"true\" or \"false\"");
}

void
check_label_key(struct check *c, struct tree *v)
{
    struct err why;

    if (label_key_check(tree_get_string(v, ""), &why) != 0)
        check_invalid(c, v, "%s", why.msg);
}

void
check_label_value(struct check *c, struct tree *v)
{
    struct err why;

    if (label_value_check(tree_get_string(v, ""), &why) != 0)
        check_invalid(c, v, "%s", why.msg);
}

void
check_not_negative(struct check *c, struct tree *v)
{
    if (tree_type(v) != TREE_MAP) {
        if (check_quantity(v).milli < 0)
            check_invalid(c, v, "must be greater than or equal to 0");
        return;
    }
    for (size_t i = 0; i < tree_len(v); i++) {
        struct path p;

        check_enter(c, &p, tree_key_at(v, i));
        if (check_quantity(tree_at(v, i)).milli < 0)
            check_invalid(c, tree_at(v, i), "must be greater than or equal to 0");
        check_leave(c);
    }
}

void
check_positive(struct check *c, struct tree *v)
{
    if (check_quantity(v).milli <= 0)
        check_invalid(c, v, "must be greater than 0");
}

void
check_eviction_strategy(struct check *c, struct tree *v)
{
    static const char *const values[] = {"LiveMigrate", "LiveMigrateIfPossible", "None", "External",
                                         NULL};
    const char *s = tree_get_string(v, ""), *hint = NULL;

    if (check_is_one_of(s, values))
        return;
    if (strcasecmp(s, "LiveMigration") == 0)
        hint = "did you mean \"LiveMigrate\"?";
    else if (strcasecmp(s, "shutdown") == 0)
        hint = "did you mean \"None\", which shuts the VM down when its node is drained?";
    check_unsupported(c, v, values, hint);
}

void
check_network_name(struct check *c, struct tree *v)
{
    const char *s = tree_get_string(v, ""), *slash = strchr(s, '/');
    struct err why;

    if (slash) {
        AUTO_FREE char *ns = xstrndup(s, (size_t)(slash - s));

        if (name_label_check(ns, &why) != 0) {
            check_invalid(c, v, "namespace: %s", why.msg);
            return;
        }
        s = slash + 1;
    }
    if (name_check(s, &why) != 0)
        check_invalid(c, v, "want a NetworkAttachmentDefinition as name or namespace/name: %s",
                      why.msg);
}

/* --- inside --- */

static void
add(struct check *c, struct tree_pos pos, const char *type, const char *message)
{
    AUTO_SB struct sb path = SB_INIT;
    struct field_errors *e = c->errs;

    if (is_full(c))
        return;
    if (e->len == 0)
        e->items = arena_calloc(e->arena, ERRORS_MAX, sizeof *e->items);
    path_text(c->at, &path);
    e->items[e->len++] = (struct field_error){
        .path = arena_strdup(e->arena, sb_str(&path)),
        .pos = pos,
        .type = type,
        .message = arena_strdup(e->arena, message),
    };
}

static bool
is_full(const struct check *c)
{
    return c->errs->len >= ERRORS_MAX;
}

static void
path_text(const struct path *p, struct sb *out)
{
    if (!p)
        return;
    path_text(p->up, out);
    if (!p->key)
        sb_printf(out, "[%zu]", p->index);
    else if (p->raw)
        sb_printf(out, "%s%s", p->up ? "." : "", p->key);
    else if (p->up && strpbrk(p->key, "./[] "))
        sb_printf(out, "[%.*s]", VALUE_TEXT_MAX, p->key);
    else
        sb_printf(out, "%s%.*s", p->up ? "." : "", VALUE_TEXT_MAX, p->key);
}

static void
value_text(const struct tree *t, struct sb *out)
{
    if (tree_type(t) == TREE_STRING) {
        quoted(tree_get_string(t, ""), out);
        return;
    }
    bool shown = tree_len(t) <= 3; /* only what is small: maps of a few scalars, lists */

    for (size_t i = 0; i < tree_len(t) && shown; i++)
        shown = tree_len(tree_at(t, i)) == 0 && strlen(tree_get_string(tree_at(t, i), "")) < 20;
    if (shown)
        tree_to_json(t, 0, out);
    else
        sb_puts(out, tree_type(t) == TREE_LIST ? "[...]" : "{...}");
}

/* In double quotes, long texts cut between two characters. */
static void
quoted(const char *s, struct sb *out)
{
    size_t len = strlen(s), shown = len;

    if (len > VALUE_TEXT_MAX)
        for (shown = VALUE_TEXT_MAX; shown > 0 && ((unsigned char)s[shown] & 0xc0) == 0x80;)
            shown--;
    struct tree *t = tree_stringn(s, shown);

    tree_to_json(t, 0, out);
    tree_free(t);
    if (shown < len) {
        out->buf[out->len - 1] = '.'; /* in place of the closing quote */
        sb_puts(out, "..\"");
    }
}

static bool
has_suffix(const char *s, const char *suffix)
{
    size_t len = strlen(s), n = strlen(suffix);

    return len >= n && strcmp(s + len - n, suffix) == 0;
}
