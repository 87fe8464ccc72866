/* JSON text <-> tree. Reading is jansson's (strict RFC 8259); writing is our own, straight from the
 * tree, since a detour through jansson's values would copy everything. Called for request bodies,
 * stored objects and the JSON texts inside annotations and NAD configs. */
#include "api/tree.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "api/limits.h"
#include "api/tree_priv.h"

struct reader {
    size_t nodes;
    struct err *err;
};

static int convert(struct reader *r, const json_t *j, size_t depth, struct tree **ret);
static int convert_list(struct reader *r, const json_t *j, size_t depth, struct tree **ret);
static int convert_map(struct reader *r, const json_t *j, size_t depth, struct tree **ret);
static int convert_string(struct reader *r, const json_t *j, struct tree **ret);
static void auto_json(json_t **j);
static void write_value(const struct tree *t, int indent, int level, struct sb *out);
static void write_break(int indent, int level, struct sb *out);
static void write_text(const char *s, struct sb *out);

int
tree_from_json(const char *buf, size_t len, struct tree **ret, struct err *err)
{
    struct tree_pos pos = {0};
    int rc = tree_json_read(buf, len, ret, &pos, err);

    return rc != 0 && pos.line > 0 ? err_prefix(err, rc, "line %u, column %u", pos.line, pos.column)
                                   : rc;
}

int
tree_json_read(const char *buf, size_t len, struct tree **ret, struct tree_pos *ret_pos,
               struct err *err)
{
    json_error_t e;
    struct reader r = {.err = err};

    if (len > API_MAX_INPUT_BYTES)
        return err_set(err, -E2BIG, "%zu bytes of JSON: at most %u are read", len,
                       API_MAX_INPUT_BYTES);
    CLEANUP(auto_json)
    json_t *j = json_loadb(buf, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);

    if (!j) {
        if (e.line > 0)
            *ret_pos = (struct tree_pos){.line = (unsigned)e.line, .column = (unsigned)e.column};
        return err_set(err, -EINVAL, "%s", e.text);
    }
    return convert(&r, j, 1, ret);
}

void
tree_to_json(const struct tree *t, int indent, struct sb *out)
{
    write_value(t, indent, 0, out);
}

void
tree_float_text(double v, char *buf, size_t size)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, size, "%.*g", digits, v);
        if (strtod(buf, NULL) >= v && strtod(buf, NULL) <= v)
            break;
    }
    if (!strpbrk(buf, ".e"))
        strncat(buf, ".0", size - strlen(buf) - 1);
}

/* --- reading --- */

static int
convert(struct reader *r, const json_t *j, size_t depth, struct tree **ret)
{
    if (depth > API_MAX_DEPTH)
        return err_set(r->err, -E2BIG, "nested deeper than %d levels", API_MAX_DEPTH);
    if (++r->nodes > API_MAX_NODES)
        return err_set(r->err, -E2BIG, "more than %d values", API_MAX_NODES);
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return convert_map(r, j, depth, ret);
    case JSON_ARRAY:
        return convert_list(r, j, depth, ret);
    case JSON_STRING:
        return convert_string(r, j, ret);
    case JSON_INTEGER:
        *ret = tree_int(json_integer_value(j));
        return 0;
    case JSON_REAL:
        *ret = tree_float(json_real_value(j));
        return 0;
    case JSON_TRUE:
    case JSON_FALSE:
        *ret = tree_bool(json_is_true(j));
        return 0;
    case JSON_NULL:
    default:
        *ret = tree_null();
        return 0;
    }
}

static int
convert_list(struct reader *r, const json_t *j, size_t depth, struct tree **ret)
{
    AUTO_TREE struct tree *list = tree_list();

    for (size_t i = 0; i < json_array_size(j); i++) {
        struct tree *item = NULL;
        int rc = convert(r, json_array_get(j, i), depth + 1, &item);

        if (rc != 0)
            return rc;
        tree_append(list, item);
    }
    *ret = TAKE_PTR(list);
    return 0;
}

static int
convert_map(struct reader *r, const json_t *j, size_t depth, struct tree **ret)
{
    AUTO_TREE struct tree *map = tree_map();
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)j, key, value)
    {
        struct tree *item = NULL;

        if (strlen(key) > API_MAX_STRING_BYTES)
            return err_set(r->err, -E2BIG, "a key is longer than %u bytes", API_MAX_STRING_BYTES);
        int rc = convert(r, value, depth + 1, &item);

        if (rc != 0)
            return rc;
        tree_map_append(map, key, (struct tree_pos){0}, item);
    }
    *ret = TAKE_PTR(map);
    return 0;
}

static int
convert_string(struct reader *r, const json_t *j, struct tree **ret)
{
    size_t len = json_string_length(j);

    if (len > API_MAX_STRING_BYTES)
        return err_set(r->err, -E2BIG, "a string of %zu bytes: at most %u are allowed", len,
                       API_MAX_STRING_BYTES);
    *ret = tree_stringn(json_string_value(j), len);
    return 0;
}

static void
auto_json(json_t **j)
{
    json_decref(*j);
}

/* --- writing --- */

static void
write_value(const struct tree *t, int indent, int level, struct sb *out)
{
    char num[40];
    size_t len = tree_len(t);

    switch (tree_type(t)) {
    case TREE_BOOL:
        sb_puts(out, t->b ? "true" : "false");
        break;
    case TREE_INT:
        sb_printf(out, "%lld", (long long)t->i);
        break;
    case TREE_FLOAT:
        tree_float_text(isfinite(t->f) ? t->f : 0, num, sizeof num); /* JSON has no infinity */
        sb_puts(out, num);
        break;
    case TREE_STRING:
        write_text(t->text, out);
        break;
    case TREE_LIST:
        sb_putc(out, '[');
        for (size_t i = 0; i < len; i++) {
            if (i > 0)
                sb_putc(out, ',');
            write_break(indent, level + 1, out);
            write_value(t->list.items[i], indent, level + 1, out);
        }
        if (len > 0)
            write_break(indent, level, out);
        sb_putc(out, ']');
        break;
    case TREE_MAP:
        sb_putc(out, '{');
        for (size_t i = 0; i < len; i++) {
            if (i > 0)
                sb_putc(out, ',');
            write_break(indent, level + 1, out);
            write_text(t->map.entries[i].key, out);
            sb_puts(out, indent > 0 ? ": " : ":");
            write_value(t->map.entries[i].value, indent, level + 1, out);
        }
        if (len > 0)
            write_break(indent, level, out);
        sb_putc(out, '}');
        break;
    case TREE_NULL:
    default:
        sb_puts(out, "null");
        break;
    }
}

static void
write_break(int indent, int level, struct sb *out)
{
    if (indent <= 0)
        return;
    sb_putc(out, '\n');
    for (int i = 0; i < indent * level; i++)
        sb_putc(out, ' ');
}

static void
write_text(const char *s, struct sb *out)
{
    static const char escapes[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
                                   ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};
    const char *run = s;

    sb_putc(out, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        sb_add(out, run, (size_t)(s - run));
        run = s + 1;
        if (c < sizeof escapes && escapes[c]) {
            sb_putc(out, '\\');
            sb_putc(out, escapes[c]);
        } else {
            sb_printf(out, "\\u%04x", c);
        }
    }
    sb_add(out, run, (size_t)(s - run));
    sb_putc(out, '"');
}
