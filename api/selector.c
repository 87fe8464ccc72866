/* Label selectors: matching, and the text form of kubectl -l. Follows apimachinery's labels package.
 * Syntax of names and labels is in names.c, field selectors are in field_selector.c. */
#include "api/selector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum token {
    TOK_END,
    TOK_WORD,
    TOK_COMMA,
    TOK_OPEN,
    TOK_CLOSE,
    TOK_EQ,
    TOK_NE,
    TOK_NOT,
    TOK_GT,
    TOK_LT
};

struct parser {
    const char *text, *at;
    enum token tok;
    const char *word; /* of TOK_WORD, with its length */
    size_t word_len;
    struct arena *arena;
    struct err *err;
};

static void next(struct parser *p);
static int parse_requirement(struct parser *p, struct requirement *r);
static int parse_value(struct parser *p, struct requirement *r);
static int parse_values(struct parser *p, struct requirement *r);
static int check_values(struct parser *p, const struct requirement *r);
static bool word_is(const struct parser *p, const char *s);
static int refuse(struct parser *p, const char *want);
static bool in_list(const struct str_list *l, const char *value);

bool
label_int(const char *s, int64_t *ret)
{
    const char *digits = s + (*s == '+' || *s == '-');

    if (!*digits || digits[strspn(digits, "0123456789")])
        return false;
    errno = 0;
    *ret = strtoll(s, NULL, 10);
    return errno == 0;
}

int
kv_by_key(const void *a, const void *b)
{
    return strcmp(((const struct kv *)a)->key, ((const struct kv *)b)->key);
}

const char *
kv_get(const struct kv_list *l, const char *key)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i].key, key) == 0)
            return l->items[i].value;
    return NULL;
}

bool
requirement_matches(const struct requirement *r, const struct kv_list *labels)
{
    const char *value = r->key ? kv_get(labels, r->key) : NULL;
    int64_t have, want;

    switch (r->op) {
    case SEL_IN:
        return value && in_list(&r->values, value);
    case SEL_NOT_IN:
        return !value || !in_list(&r->values, value);
    case SEL_EXISTS:
        return value;
    case SEL_DOES_NOT_EXIST:
        return !value;
    case SEL_GT:
    case SEL_LT:
        if (!value || r->values.len != 1 || !label_int(value, &have) ||
            !label_int(r->values.items[0], &want))
            return false;
        return r->op == SEL_GT ? have > want : have < want;
    case SEL_UNKNOWN:
    default:
        return false;
    }
}

bool
label_selector_matches(const struct label_selector *s, const struct kv_list *labels)
{
    if (!s)
        return false;
    for (size_t i = 0; i < s->match_labels.len; i++) {
        const char *value = kv_get(labels, s->match_labels.items[i].key);

        if (!value || strcmp(value, s->match_labels.items[i].value) != 0)
            return false;
    }
    for (size_t i = 0; i < s->exprs_len; i++)
        if (!requirement_matches(&s->exprs[i], labels))
            return false;
    return true;
}

int
selector_parse(const char *text, struct arena *a, struct label_selector *ret, struct err *err)
{
    struct parser p = {.text = text, .at = text, .arena = a, .err = err};
    struct label_selector s = {0};
    size_t max = 1;

    for (const char *c = text; *c; c++)
        max += *c == ',';
    s.exprs = arena_calloc(a, max, sizeof *s.exprs);
    next(&p);
    while (p.tok != TOK_END) {
        int rc = parse_requirement(&p, &s.exprs[s.exprs_len]);

        if (rc != 0)
            return rc;
        s.exprs_len++;
        if (p.tok == TOK_END)
            break;
        if (p.tok != TOK_COMMA)
            return refuse(&p, "',' or the end");
        next(&p);
        if (p.tok == TOK_END)
            return refuse(&p, "a label after ','");
    }
    *ret = s;
    return 0;
}

static void
next(struct parser *p)
{
    while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')
        p->at++;
    p->word = p->at;
    switch (*p->at) {
    case '\0':
        p->tok = TOK_END;
        return;
    case ',':
        p->tok = TOK_COMMA;
        break;
    case '(':
        p->tok = TOK_OPEN;
        break;
    case ')':
        p->tok = TOK_CLOSE;
        break;
    case '>':
        p->tok = TOK_GT;
        break;
    case '<':
        p->tok = TOK_LT;
        break;
    case '=':
        p->tok = TOK_EQ;
        p->at += p->at[1] == '=';
        break;
    case '!':
        p->tok = p->at[1] == '=' ? TOK_NE : TOK_NOT;
        p->at += p->at[1] == '=';
        break;
    default:
        p->tok = TOK_WORD;
        p->word_len = strcspn(p->at, "=!(),<> \t\n\r");
        p->at += p->word_len;
        return;
    }
    p->at++;
}

static int
parse_requirement(struct parser *p, struct requirement *r)
{
    struct err why;
    bool negated = p->tok == TOK_NOT;

    if (negated)
        next(p);
    if (p->tok != TOK_WORD)
        return refuse(p, "a label key");
    r->key = arena_strndup(p->arena, p->word, p->word_len);
    if (label_key_check(r->key, &why) != 0)
        return err_set(p->err, -EINVAL, "selector \"%.200s\": key \"%.200s\": %s", p->text, r->key,
                       why.msg);
    next(p);
    if (negated || p->tok == TOK_END || p->tok == TOK_COMMA) {
        r->op = negated ? SEL_DOES_NOT_EXIST : SEL_EXISTS;
        return 0;
    }
    int rc;

    switch (p->tok) {
    case TOK_EQ:
        r->op = SEL_IN;
        rc = parse_value(p, r);
        break;
    case TOK_NE:
        r->op = SEL_NOT_IN;
        rc = parse_value(p, r);
        break;
    case TOK_GT:
        r->op = SEL_GT;
        rc = parse_value(p, r);
        break;
    case TOK_LT:
        r->op = SEL_LT;
        rc = parse_value(p, r);
        break;
    case TOK_WORD:
        if (!word_is(p, "in") && !word_is(p, "notin"))
            return refuse(p, "one of = == != in notin > <");
        r->op = word_is(p, "in") ? SEL_IN : SEL_NOT_IN;
        rc = parse_values(p, r);
        break;
    case TOK_END:
    case TOK_COMMA:
    case TOK_OPEN:
    case TOK_CLOSE:
    case TOK_NOT:
    default:
        return refuse(p, "one of = == != in notin > <");
    }
    return rc != 0 ? rc : check_values(p, r);
}

/* The one value after an operator; nothing at all is the empty value. */
static int
parse_value(struct parser *p, struct requirement *r)
{
    next(p);
    r->values.items = arena_calloc(p->arena, 1, sizeof *r->values.items);
    r->values.len = 1;
    if (p->tok == TOK_END || p->tok == TOK_COMMA) {
        r->values.items[0] = "";
        return 0;
    }
    if (p->tok != TOK_WORD)
        return refuse(p, "a value");
    r->values.items[0] = arena_strndup(p->arena, p->word, p->word_len);
    next(p);
    return 0;
}

static int
parse_values(struct parser *p, struct requirement *r)
{
    size_t max = 1;

    next(p);
    if (p->tok != TOK_OPEN)
        return refuse(p, "'('");
    for (const char *c = p->at; *c && *c != ')'; c++)
        max += *c == ',';
    r->values.items = arena_calloc(p->arena, max, sizeof *r->values.items);
    do {
        next(p);
        const char *value = "";

        if (p->tok == TOK_WORD) {
            value = arena_strndup(p->arena, p->word, p->word_len);
            next(p);
        }
        r->values.items[r->values.len++] = value;
    } while (p->tok == TOK_COMMA);
    if (p->tok != TOK_CLOSE)
        return refuse(p, "',' or ')'");
    next(p);
    return 0;
}

static int
check_values(struct parser *p, const struct requirement *r)
{
    struct err why;
    int64_t i;

    for (size_t v = 0; v < r->values.len; v++) {
        const char *value = r->values.items[v];

        if (label_value_check(value, &why) != 0)
            return err_set(p->err, -EINVAL, "selector \"%.200s\": value \"%.200s\": %s", p->text,
                           value, why.msg);
        if ((r->op == SEL_GT || r->op == SEL_LT) && !label_int(value, &i))
            return err_set(p->err, -EINVAL,
                           "selector \"%.200s\": value \"%.100s\": > and < want an integer",
                           p->text, value);
    }
    return 0;
}

static bool
word_is(const struct parser *p, const char *s)
{
    return strlen(s) == p->word_len && memcmp(p->word, s, p->word_len) == 0;
}

static int
refuse(struct parser *p, const char *want)
{
    if (p->tok == TOK_END)
        return err_set(p->err, -EINVAL, "selector \"%.200s\": want %s at the end", p->text, want);
    return err_set(p->err, -EINVAL, "selector \"%.200s\": want %s at \"%.60s\"", p->text, want,
                   p->word);
}

static bool
in_list(const struct str_list *l, const char *value)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i], value) == 0)
            return true;
    return false;
}
