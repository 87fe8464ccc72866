/* JSONPath templates: evaluation over api/tree. No input or output. Follows client-go's
 * util/jsonpath: fields that are missing print nothing (kubectl's default), a list that is a value
 * prints as JSON, several values of one expression are parted by blanks. */
#include "cli/print_jsonpath.h"

#include <string.h>

#include "cli/print_jsonpath_ast.h"

static void eval_nodes(const struct node *n, const struct tree *root, const struct tree *cur,
                       struct sb *out);

struct values {
    const struct tree **items;
    size_t len, cap;
};

static void eval_path(const struct path *path, const struct tree *root, const struct tree *cur,
                      struct values *out);

void
jsonpath_print(const struct jsonpath *jp, const struct tree *root, struct sb *out)
{
    eval_nodes(jp->nodes, root, root, out);
}

static void
values_done(struct values *v)
{
    free(v->items);
}

static void
values_add(struct values *v, const struct tree *t)
{
    if (!t)
        return;
    if (v->len == v->cap) {
        v->cap = v->cap ? v->cap * 2 : 8;
        v->items = xreallocarray(v->items, v->cap, sizeof(v->items[0]));
    }
    v->items[v->len++] = t;
}

static void
eval_field(const struct step *s, const struct tree *t, struct values *out)
{
    AUTO_SB struct sb key = SB_INIT;
    const struct tree *child;

    if (!s->quoted) {
        values_add(out, tree_get(t, s->name));
        return;
    }
    child = tree_get(t, s->name);
    for (const char *p = s->name; !child && t; p++) {
        if (*p == '\\' && p[1]) {
            sb_putc(&key, *++p);
            continue;
        }
        if (*p && *p != '.') {
            sb_putc(&key, *p);
            continue;
        }
        t = tree_get(t, sb_str(&key));
        sb_reset(&key);
        if (!*p) {
            child = t;
            break;
        }
    }
    values_add(out, child);
}

static void
eval_slice(const struct step *s, const struct tree *t, struct values *out)
{
    int64_t len = (int64_t)tree_len(t);
    int64_t from = s->has_start ? s->start : 0, to = s->has_end ? s->end : len;

    if (tree_type(t) != TREE_LIST)
        return;
    if (from < 0)
        from += len;
    if (s->single)
        to = from + 1;
    else if (to < 0)
        to += len;
    if (from < 0 || (s->single && from >= len))
        return;
    for (int64_t i = from; i < to && i < len; i += s->stride)
        values_add(out, tree_at(t, (size_t)i));
}

static void
eval_descend(const struct tree *t, struct values *out)
{
    if (tree_type(t) != TREE_LIST && tree_type(t) != TREE_MAP)
        return;
    values_add(out, t);
    for (size_t i = 0; i < tree_len(t); i++)
        eval_descend(tree_at(t, i), out);
}

static bool
is_number(const struct tree *t)
{
    return tree_type(t) == TREE_INT || tree_type(t) == TREE_FLOAT;
}

static bool
compare(enum filter_op op, const struct tree *a, const struct tree *b)
{
    int order;

    if (is_number(a) && is_number(b)) {
        double x = tree_get_float(a, 0), y = tree_get_float(b, 0);

        order = (x > y) - (x < y);
    } else if (tree_type(a) == TREE_STRING && tree_type(b) == TREE_STRING) {
        order = strcmp(tree_get_string(a, ""), tree_get_string(b, ""));
    } else {
        return op == OP_EQ ? tree_equal(a, b) : op == OP_NE && !tree_equal(a, b);
    }
    switch (op) {
    case OP_EQ:
        return order == 0;
    case OP_NE:
        return order != 0;
    case OP_LT:
        return order < 0;
    case OP_LE:
        return order <= 0;
    case OP_GT:
        return order > 0;
    case OP_GE:
        return order >= 0;
    case OP_EXISTS:
        break;
    }
    return false;
}

static void
eval_operand(const struct operand *o, const struct tree *root, const struct tree *cur,
             struct values *out)
{
    if (o->path)
        eval_path(o->path, root, cur, out);
    else
        values_add(out, o->value);
}

static void
eval_filter(const struct step *s, const struct tree *root, const struct tree *t, struct values *out)
{
    if (tree_type(t) != TREE_LIST && tree_type(t) != TREE_MAP)
        return;
    for (size_t i = 0; i < tree_len(t); i++) {
        CLEANUP(values_done) struct values l = {0}, r = {0};
        const struct tree *item = tree_at(t, i);

        eval_operand(&s->left, root, item, &l);
        if (s->op == OP_EXISTS) {
            if (l.len)
                values_add(out, item);
            continue;
        }
        eval_operand(&s->right, root, item, &r);
        if (l.len == 1 && r.len == 1 && compare(s->op, l.items[0], r.items[0]))
            values_add(out, item);
    }
}

static void
eval_step(const struct step *s, const struct tree *root, const struct tree *t, struct values *out)
{
    switch (s->type) {
    case STEP_FIELD:
        eval_field(s, t, out);
        break;
    case STEP_ALL:
        if (tree_type(t) == TREE_LIST || tree_type(t) == TREE_MAP) {
            for (size_t i = 0; i < tree_len(t); i++)
                values_add(out, tree_at(t, i));
        }
        break;
    case STEP_SLICE:
        eval_slice(s, t, out);
        break;
    case STEP_UNION:
        for (const struct path *p = s->alternatives; p; p = p->next)
            eval_path(p, root, t, out);
        break;
    case STEP_FILTER:
        eval_filter(s, root, t, out);
        break;
    case STEP_DESCEND:
        eval_descend(t, out);
        break;
    }
}

static void
eval_path(const struct path *path, const struct tree *root, const struct tree *cur,
          struct values *out)
{
    CLEANUP(values_done) struct values v = {0};

    values_add(&v, path->from_root ? root : cur);
    for (const struct step *s = path->steps; s; s = s->next) {
        struct values next = {0};

        for (size_t i = 0; i < v.len; i++)
            eval_step(s, root, v.items[i], &next);
        values_done(&v);
        v = next;
    }
    for (size_t i = 0; i < v.len; i++)
        values_add(out, v.items[i]);
}

static void
print_value(const struct tree *t, struct sb *out)
{
    if (tree_type(t) == TREE_STRING)
        sb_puts(out, tree_get_string(t, ""));
    else if (tree_type(t) != TREE_NULL)
        tree_to_json(t, 0, out);
}

static void
eval_nodes(const struct node *n, const struct tree *root, const struct tree *cur, struct sb *out)
{
    for (; n; n = n->next) {
        CLEANUP(values_done) struct values v = {0};

        if (n->type == NODE_TEXT) {
            sb_puts(out, n->text);
            continue;
        }
        eval_path(n->path, root, cur, &v);
        for (size_t i = 0; i < v.len; i++) {
            if (n->type == NODE_RANGE) {
                eval_nodes(n->body, root, v.items[i], out);
                continue;
            }
            if (i)
                sb_putc(out, ' ');
            print_value(v.items[i], out);
        }
    }
}
