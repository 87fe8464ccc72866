/* JSONPath templates: a recursive-descent parser to a small tree of nodes, and their evaluation
 * over api/tree. No input or output; called by cli/print.c. Follows client-go's util/jsonpath,
 * whose filters know one comparison or one existence test and no "&&" or "||". */
#include "cli/print_jsonpath.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "cli/print_jsonpath_ast.h"

#define JP_MAX_NESTING 16

struct parser {
    struct jsonpath *jp;
    const char *text, *p;
    int depth;
    struct err *err;
};

static int parse_template(struct parser *ps, struct node **ret, bool in_range);
static int parse_path(struct parser *ps, struct path **ret);

int
jsonpath_parse(const char *text, struct jsonpath **ret, struct err *err)
{
    struct jsonpath *jp = xcalloc(1, sizeof(*jp));
    AUTO_FREE char *wrapped = NULL;
    struct parser ps = {.jp = jp, .err = err};
    int rc;

    if (!strchr(text, '{') && (text[0] == '.' || text[0] == '$')) {
        wrapped = xasprintf("{%s}", text);
        text = wrapped;
    }
    jp->arena = arena_new();
    jp->literals = tree_list();
    ps.text = ps.p = text;
    rc = parse_template(&ps, &jp->nodes, false);
    if (rc < 0) {
        jsonpath_free(jp);
        return rc;
    }
    *ret = jp;
    return 0;
}

void
jsonpath_free(struct jsonpath *jp)
{
    if (!jp)
        return;
    tree_free(jp->literals);
    arena_free(jp->arena);
    free(jp);
}

static int
parse_error(const struct parser *ps, const char *want)
{
    return err_set(ps->err, -EINVAL, "jsonpath, column %zu: want %s%s%.20s%s",
                   (size_t)(ps->p - ps->text) + 1, want, *ps->p ? " before \"" : "", ps->p,
                   *ps->p ? "\"" : "");
}

static void
skip_blanks(struct parser *ps)
{
    while (*ps->p == ' ' || *ps->p == '\t' || *ps->p == '\n')
        ps->p++;
}

static bool
accept(struct parser *ps, const char *word)
{
    size_t n = strlen(word);

    if (strncmp(ps->p, word, n) != 0)
        return false;
    ps->p += n;
    return true;
}

/* A quoted string with the escapes of Go: \n \t \r \\ \" \'; any other "\x" stays as it is when
 * keep is set (an escaped dot means something to who reads it next), else gives x. */
static int
parse_quoted(struct parser *ps, bool keep, const char **ret)
{
    AUTO_SB struct sb s = SB_INIT;
    char quote = *ps->p++;

    while (*ps->p && *ps->p != quote) {
        if (*ps->p != '\\' || !ps->p[1]) {
            sb_putc(&s, *ps->p++);
            continue;
        }
        switch (ps->p[1]) {
        case 'n':
            sb_putc(&s, '\n');
            break;
        case 't':
            sb_putc(&s, '\t');
            break;
        case 'r':
            sb_putc(&s, '\r');
            break;
        default:
            if (keep && ps->p[1] != quote)
                sb_putc(&s, '\\');
            sb_putc(&s, ps->p[1]);
        }
        ps->p += 2;
    }
    if (!*ps->p)
        return parse_error(ps, quote == '"' ? "a closing \"" : "a closing '");
    ps->p++;
    *ret = arena_strdup(ps->jp->arena, sb_str(&s));
    return 0;
}

static struct path *
path_new(struct parser *ps)
{
    struct path *path = arena_alloc(ps->jp->arena, sizeof(*path));

    path->tail = &path->steps;
    return path;
}

static struct step *
path_add(struct parser *ps, struct path *path, enum step_type type)
{
    struct step *s = arena_alloc(ps->jp->arena, sizeof(*s));

    s->type = type;
    s->stride = 1;
    *path->tail = s;
    path->tail = &s->next;
    return s;
}

static int
parse_field(struct parser *ps, struct path *path)
{
    AUTO_SB struct sb s = SB_INIT;

    if (accept(ps, "*")) {
        path_add(ps, path, STEP_ALL);
        return 0;
    }
    while (*ps->p && !strchr(" \t\n.[]{}()=!<>,'\"", *ps->p)) {
        if (*ps->p == '\\' && ps->p[1])
            ps->p++;
        sb_putc(&s, *ps->p++);
    }
    if (!s.len)
        return parse_error(ps, "a field name");
    path_add(ps, path, STEP_FIELD)->name = arena_strdup(ps->jp->arena, sb_str(&s));
    return 0;
}

static bool
parse_int(struct parser *ps, int64_t *ret)
{
    const char *p = ps->p;
    char *end;

    if (*p == '-')
        p++;
    if (!isdigit((unsigned char)*p))
        return false;
    *ret = strtoll(ps->p, &end, 10);
    ps->p = end;
    return true;
}

static int
parse_operand(struct parser *ps, struct operand *ret)
{
    struct tree *literal = NULL;
    const char *start, *s;
    char *end;
    int rc;

    skip_blanks(ps);
    if (*ps->p == '"' || *ps->p == '\'') {
        rc = parse_quoted(ps, false, &s);
        if (rc < 0)
            return rc;
        literal = tree_string(s);
    } else if (accept(ps, "true")) {
        literal = tree_bool(true);
    } else if (accept(ps, "false")) {
        literal = tree_bool(false);
    } else if (*ps->p == '-' || isdigit((unsigned char)*ps->p)) {
        int64_t i;

        start = ps->p;
        if (!parse_int(ps, &i))
            return parse_error(ps, "a number");
        if (*ps->p == '.' || *ps->p == 'e' || *ps->p == 'E') {
            literal = tree_float(strtod(start, &end));
            ps->p = end;
        } else {
            literal = tree_int(i);
        }
    }
    if (literal) {
        tree_append(ps->jp->literals, literal);
        ret->value = literal;
        return 0;
    }
    return parse_path(ps, &ret->path);
}

static int
parse_filter(struct parser *ps, struct path *path)
{
    static const struct {
        const char *text;
        enum filter_op op;
    } ops[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE},
               {">=", OP_GE}, {"<", OP_LT},  {">", OP_GT}};
    struct step *s = path_add(ps, path, STEP_FILTER);
    int rc;

    rc = parse_operand(ps, &s->left);
    if (rc < 0)
        return rc;
    skip_blanks(ps);
    for (size_t i = 0; i < ARRAY_LEN(ops) && s->op == OP_EXISTS; i++) {
        if (accept(ps, ops[i].text))
            s->op = ops[i].op;
    }
    if (s->op != OP_EXISTS) {
        rc = parse_operand(ps, &s->right);
        if (rc < 0)
            return rc;
        skip_blanks(ps);
    }
    return accept(ps, ")") ? 0 : parse_error(ps, "a comparison or \")\"");
}

/* One alternative inside of [...]: a quoted key or a number or a slice. */
static int
parse_index(struct parser *ps, struct path *path)
{
    struct step *s;
    const char *key;
    int rc;

    skip_blanks(ps);
    if (*ps->p == '\'' || *ps->p == '"') {
        rc = parse_quoted(ps, true, &key);
        if (rc < 0)
            return rc;
        s = path_add(ps, path, STEP_FIELD);
        s->name = key;
        s->quoted = true;
    } else {
        s = path_add(ps, path, STEP_SLICE);
        s->has_start = parse_int(ps, &s->start);
        s->single = true;
        if (accept(ps, ":")) {
            s->single = false;
            s->has_end = parse_int(ps, &s->end);
            if (accept(ps, ":") && (!parse_int(ps, &s->stride) || s->stride < 1))
                return parse_error(ps, "a step of at least 1");
        } else if (!s->has_start) {
            return parse_error(ps, "a number, a quoted name, \"*\" or \"?(\"");
        }
    }
    skip_blanks(ps);
    return 0;
}

static int
parse_brackets(struct parser *ps, struct path *path)
{
    struct path *first = path_new(ps), *last = first;
    int rc;

    skip_blanks(ps);
    if (accept(ps, "?(")) {
        rc = parse_filter(ps, path);
        if (rc < 0)
            return rc;
        skip_blanks(ps);
        return accept(ps, "]") ? 0 : parse_error(ps, "\"]\"");
    }
    if (accept(ps, "*")) {
        path_add(ps, path, STEP_ALL);
        skip_blanks(ps);
        return accept(ps, "]") ? 0 : parse_error(ps, "\"]\"");
    }
    for (;;) {
        rc = parse_index(ps, last);
        if (rc < 0)
            return rc;
        if (!accept(ps, ","))
            break;
        last = last->next = path_new(ps);
    }
    if (!accept(ps, "]"))
        return parse_error(ps, "\",\" or \"]\"");
    if (first->next) {
        path_add(ps, path, STEP_UNION)->alternatives = first;
    } else {
        *path->tail = first->steps;
        path->tail = first->tail;
    }
    return 0;
}

static int
parse_path(struct parser *ps, struct path **ret)
{
    struct path *path = path_new(ps);
    bool any = false;
    int rc = 0;

    if (++ps->depth > JP_MAX_NESTING)
        return parse_error(ps, "fewer nested expressions");
    if (accept(ps, "$"))
        path->from_root = any = true;
    else if (accept(ps, "@"))
        any = true;
    while (rc == 0) {
        if (accept(ps, "..")) {
            path_add(ps, path, STEP_DESCEND);
            rc = *ps->p == '[' ? 0 : parse_field(ps, path);
        } else if (accept(ps, ".")) {
            /* "." alone is the current value, and ".[0]" the same as "[0]" */
            if (*ps->p && !strchr("[ \t\n})=!<>", *ps->p))
                rc = parse_field(ps, path);
        } else if (accept(ps, "[")) {
            rc = parse_brackets(ps, path);
        } else {
            break;
        }
        any = true;
    }
    ps->depth--;
    if (rc < 0)
        return rc;
    if (!any)
        return parse_error(ps, "a path such as .metadata.name");
    *ret = path;
    return 0;
}

static struct node *
node_add(struct parser *ps, struct node ***tail, enum node_type type)
{
    struct node *n = arena_alloc(ps->jp->arena, sizeof(*n));

    n->type = type;
    **tail = n;
    *tail = &n->next;
    return n;
}

static bool
accept_word(struct parser *ps, const char *word)
{
    size_t n = strlen(word);

    if (strncmp(ps->p, word, n) != 0 || isalnum((unsigned char)ps->p[n]))
        return false;
    ps->p += n;
    return true;
}

/* What stands between { and }. *ret_end is set when it was {end}. */
static int
parse_action(struct parser *ps, struct node ***tail, bool *ret_end)
{
    struct node *n;
    int rc;

    for (;;) {
        skip_blanks(ps);
        if (accept(ps, "}"))
            return 0;
        if (*ps->p == '"' || *ps->p == '\'') {
            n = node_add(ps, tail, NODE_TEXT);
            rc = parse_quoted(ps, false, &n->text);
        } else if (accept_word(ps, "end")) {
            *ret_end = true;
            rc = 0;
        } else if (accept_word(ps, "range")) {
            n = node_add(ps, tail, NODE_RANGE);
            skip_blanks(ps);
            rc = parse_path(ps, &n->path);
            skip_blanks(ps);
            if (rc == 0 && !accept(ps, "}"))
                rc = parse_error(ps, "\"}\"");
            return rc < 0 ? rc : parse_template(ps, &n->body, true);
        } else {
            n = node_add(ps, tail, NODE_PATH);
            rc = parse_path(ps, &n->path);
        }
        if (rc < 0)
            return rc;
        if (!*ps->p)
            return parse_error(ps, "\"}\"");
    }
}

static int
parse_template(struct parser *ps, struct node **ret, bool in_range)
{
    struct node **tail = ret;
    int rc;

    if (++ps->depth > JP_MAX_NESTING)
        return parse_error(ps, "fewer nested ranges");
    while (*ps->p) {
        size_t n = strcspn(ps->p, "{");
        bool end = false;

        if (n > 0) {
            node_add(ps, &tail, NODE_TEXT)->text = arena_strndup(ps->jp->arena, ps->p, n);
            ps->p += n;
            continue;
        }
        ps->p++;
        rc = parse_action(ps, &tail, &end);
        if (rc < 0)
            return rc;
        if (end && !in_range)
            return parse_error(ps, "{range} before {end}");
        if (end) {
            ps->depth--;
            return 0;
        }
    }
    ps->depth--;
    return in_range ? parse_error(ps, "{end}") : 0;
}
