/* Parsing of command lines by table; see options.h. What --help prints is made at the end of the
 * file from the same table. Follows the habits of getopt_long and of Go's pflag (kubectl). */
#include "base/options.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define OPTIONS_MAX_VALUES 4096 /* options on one command line */

struct options_value {
    const struct options_def *def;
    const char *text;
    int64_t number; /* INT, SIZE; BOOL: 0 or 1 */
};

struct options {
    const struct options_program *program;
    struct options_value *values;
    size_t values_len, values_cap;
    const char **args;
    size_t args_len;
    bool help;
};

static int parse_long(struct options *o, int argc, char *const *argv, int *i, struct err *err);
static int parse_letters(struct options *o, int argc, char *const *argv, int *i, struct err *err);
static int check_all(const struct options *o, struct err *err);
static int read_value(const struct options_def *d, const char *text, int64_t *ret, struct err *err);
static const struct options_def *find(const struct options *o, const char *name);
static const struct options_value *last(const struct options *o, const struct options_def *d);

int
options_parse(const struct options_program *p, int argc, char *const *argv, struct options **ret,
              struct err *err)
{
    AUTO_OPTIONS struct options *o = xcalloc(1, sizeof(*o));
    bool only_args = false;
    int r = 0;

    o->program = p;
    o->args = xcalloc((size_t)argc + 1, sizeof(*o->args));
    for (int i = 1; i < argc && r == 0; i++) {
        const char *a = argv[i];

        if (only_args || a[0] != '-' || a[1] == '\0')
            o->args[o->args_len++] = a;
        else if (strcmp(a, "--") == 0)
            only_args = true;
        else if (a[1] == '-')
            r = parse_long(o, argc, argv, &i, err);
        else
            r = parse_letters(o, argc, argv, &i, err);
        if (o->help) {
            *ret = TAKE_PTR(o);
            return 0;
        }
    }
    if (r == 0)
        r = check_all(o, err);
    if (r < 0)
        return err_prefix(err, r, "%s", p->name);
    *ret = TAKE_PTR(o);
    return 0;
}

void
options_free(struct options *o)
{
    if (!o)
        return;
    free(o->values);
    free(o->args);
    free(o);
}

void
options_auto(struct options **o)
{
    options_free(*o);
}

bool
options_help_wanted(const struct options *o)
{
    return o->help;
}

bool
options_given(const struct options *o, const char *name)
{
    return last(o, find(o, name)) != NULL;
}

bool
options_bool(const struct options *o, const char *name)
{
    const struct options_def *d = find(o, name);
    const struct options_value *v = last(o, d);

    assert(d->type == OPTIONS_BOOL);
    return v && v->number;
}

const char *
options_string(const struct options *o, const char *name)
{
    const struct options_def *d = find(o, name);
    const struct options_value *v = last(o, d);

    assert(d->type == OPTIONS_STRING);
    return v ? v->text : d->dflt;
}

int64_t
options_int(const struct options *o, const char *name)
{
    const struct options_def *d = find(o, name);
    const struct options_value *v = last(o, d);
    int64_t n = 0;

    assert(d->type == OPTIONS_INT || d->type == OPTIONS_SIZE);
    if (v)
        return v->number;
    if (d->dflt && read_value(d, d->dflt, &n, NULL) < 0)
        assert(!"a default that its own option refuses");
    return n;
}

size_t
options_count(const struct options *o, const char *name)
{
    const struct options_def *d = find(o, name);
    size_t n = 0;

    for (size_t i = 0; i < o->values_len; i++)
        n += o->values[i].def == d;
    return n;
}

const char *
options_nth(const struct options *o, const char *name, size_t i)
{
    const struct options_def *d = find(o, name);

    for (size_t j = 0; j < o->values_len; j++)
        if (o->values[j].def == d && i-- == 0)
            return o->values[j].text;
    return NULL;
}

size_t
options_args(const struct options *o, const char *const **ret)
{
    *ret = o->args;
    return o->args_len;
}

int
options_parse_size(const char *text, int64_t *ret, struct err *err)
{
    static const struct {
        const char *suffix;
        int64_t factor;
    } units[] = {
        {"", 1},
        {"Ki", 1ll << 10},
        {"Mi", 1ll << 20},
        {"Gi", 1ll << 30},
        {"Ti", 1ll << 40},
        {"k", 1000},
        {"M", 1000 * 1000},
        {"G", 1000ll * 1000 * 1000},
        {"T", 1000ll * 1000 * 1000 * 1000},
    };
    int64_t n = 0;
    const char *s = text;

    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *s - '0', &n))
            return err_set(err, -ERANGE, "'%.80s' is too large", text);
    for (size_t i = 0; s != text && i < ARRAY_LEN(units); i++) {
        if (strcmp(s, units[i].suffix) != 0)
            continue;
        if (__builtin_mul_overflow(n, units[i].factor, &n))
            return err_set(err, -ERANGE, "'%.80s' is too large", text);
        *ret = n;
        return 0;
    }
    return err_set(err, -EINVAL, "'%.80s' is no size: want a whole number such as 4096, 64Mi or 2G",
                   text);
}

static int
add(struct options *o, const struct options_def *d, const char *text, struct err *err)
{
    int64_t n = 0;
    int r;

    if (!d->repeat && last(o, d) && d->type != OPTIONS_BOOL)
        return err_set(err, -EINVAL, "--%s is given twice: once is allowed", d->name);
    r = read_value(d, text, &n, err);
    if (r < 0)
        return err_prefix(err, r, "--%s", d->name);
    if (o->values_len == OPTIONS_MAX_VALUES)
        return err_set(err, -E2BIG, "more than %d options", OPTIONS_MAX_VALUES);
    if (o->values_len == o->values_cap) {
        o->values_cap = o->values_cap ? 2 * o->values_cap : 16;
        o->values = xreallocarray(o->values, o->values_cap, sizeof(*o->values));
    }
    o->values[o->values_len++] = (struct options_value){.def = d, .text = text, .number = n};
    return 0;
}

static int
parse_long(struct options *o, int argc, char *const *argv, int *i, struct err *err)
{
    const char *name = argv[*i] + 2;
    size_t len = strcspn(name, "=");
    const char *value = name[len] == '=' ? name + len + 1 : NULL;

    if (strcmp(name, "help") == 0) {
        o->help = true;
        return 0;
    }
    for (const struct options_def *d = o->program->defs; d->name; d++) {
        if (strlen(d->name) != len || memcmp(d->name, name, len) != 0)
            continue;
        if (!value && d->type == OPTIONS_BOOL)
            value = "true";
        if (!value && *i + 1 >= argc)
            return err_set(err, -EINVAL, "--%s wants a value", d->name);
        return add(o, d, value ? value : argv[++*i], err);
    }
    return err_set(err, -EINVAL, "unknown option '--%.*s': --help lists them",
                   (int)(len < 80 ? len : 80), name);
}

/* One argument of letters: flags may stand together; the first letter that takes a value takes the
 * rest, or the next argument. */
static int
parse_letters(struct options *o, int argc, char *const *argv, int *i, struct err *err)
{
    for (const char *s = argv[*i] + 1; *s; s++) {
        const struct options_def *d = o->program->defs;
        int r;

        while (d->name && d->letter != *s)
            d++;
        if (!d->name && *s == 'h') {
            o->help = true;
            return 0;
        }
        if (!d->name)
            return err_set(err, -EINVAL, "unknown option '-%c' in '%.80s': --help lists them", *s,
                           argv[*i]);
        if (d->type == OPTIONS_BOOL) {
            r = add(o, d, "true", err);
            if (r < 0)
                return r;
            continue;
        }
        if (s[1] != '\0')
            return add(o, d, s[1] == '=' ? s + 2 : s + 1, err);
        if (*i + 1 >= argc)
            return err_set(err, -EINVAL, "-%c (--%s) wants a value", *s, d->name);
        return add(o, d, argv[++*i], err);
    }
    return 0;
}

static int
check_all(const struct options *o, struct err *err)
{
    const struct options_program *p = o->program;

    for (const struct options_def *d = p->defs; d->name; d++)
        if (d->required && !last(o, d))
            return err_set(err, -EINVAL, "--%s is missing: %s", d->name, d->help);
    if (o->args_len > p->max_args)
        return err_set(err, -EINVAL, "unexpected argument '%.80s': usage: %s %s",
                       o->args[p->max_args], p->name, p->usage);
    if (o->args_len < p->min_args)
        return err_set(err, -EINVAL, "an argument is missing: usage: %s %s", p->name, p->usage);
    return 0;
}

static bool
has_max(const struct options_def *d)
{
    return d->max != 0 || d->min < 0;
}

static int
read_int(const char *text, int64_t *ret, struct err *err)
{
    char *end = NULL;

    errno = 0;
    *ret = strtoll(text, &end, 10);
    if (end == text || *end || (text[0] != '-' && (text[0] < '0' || text[0] > '9')))
        return err_set(err, -EINVAL, "'%.80s' is no whole number", text);
    if (errno == ERANGE)
        return err_set(err, -ERANGE, "'%.80s' is too large", text);
    return 0;
}

static int
read_bool(const char *text, int64_t *ret, struct err *err)
{
    *ret = strcmp(text, "true") == 0;
    if (!*ret && strcmp(text, "false") != 0)
        return err_set(err, -EINVAL, "'%.80s': want true or false", text);
    return 0;
}

static int
read_choice(const struct options_def *d, const char *text, struct err *err)
{
    AUTO_SB struct sb sb = SB_INIT;

    if (!d->choices)
        return 0;
    for (const char *const *c = d->choices; *c; c++) {
        if (strcmp(*c, text) == 0)
            return 0;
        sb_printf(&sb, "%s%s", sb.len ? ", " : "", *c);
    }
    return err_set(err, -EINVAL, "'%.80s': want one of %s", text, sb_str(&sb));
}

static int
read_value(const struct options_def *d, const char *text, int64_t *ret, struct err *err)
{
    int r = 0;

    switch (d->type) {
    case OPTIONS_BOOL:
        return read_bool(text, ret, err);
    case OPTIONS_STRING:
        return read_choice(d, text, err);
    case OPTIONS_INT:
        r = read_int(text, ret, err);
        break;
    case OPTIONS_SIZE:
        r = options_parse_size(text, ret, err);
        break;
    }
    if (r < 0)
        return r;
    if (*ret < d->min)
        return err_set(err, -ERANGE, "%.80s is too small: at least %" PRId64, text, d->min);
    if (has_max(d) && *ret > d->max)
        return err_set(err, -ERANGE, "%.80s is too large: at most %" PRId64, text, d->max);
    return 0;
}

static const struct options_def *
find(const struct options *o, const char *name)
{
    const struct options_def *d = o->program->defs;

    while (d->name && strcmp(d->name, name) != 0)
        d++;
    assert(d->name);
    return d;
}

static const struct options_value *
last(const struct options *o, const struct options_def *d)
{
    for (size_t i = o->values_len; i-- > 0;)
        if (o->values[i].def == d)
            return &o->values[i];
    return NULL;
}

/* --- help ---------------------------------------------------------------------------------------
 */

/* "64Mi" for round numbers, else the number. */
static void
add_number(struct sb *out, enum options_type type, int64_t n)
{
    static const char *const suffix[] = {"", "Ki", "Mi", "Gi", "Ti"};
    size_t i = 0;

    while (type == OPTIONS_SIZE && n && n % 1024 == 0 && i + 1 < ARRAY_LEN(suffix)) {
        n /= 1024;
        i++;
    }
    sb_printf(out, "%" PRId64 "%s", n, suffix[i]);
}

static void
add_rules(struct sb *out, const struct options_def *d)
{
    const char *sep = " (";

    for (const char *const *c = d->choices; c && *c; c++, sep = ", ")
        sb_printf(out, "%s%s", sep, *c);
    if ((d->type == OPTIONS_INT || d->type == OPTIONS_SIZE) && (d->min || has_max(d))) {
        sb_printf(out, "%sat least ", sep);
        add_number(out, d->type, d->min);
        if (has_max(d)) {
            sb_puts(out, ", at most ");
            add_number(out, d->type, d->max);
        }
        sep = "; ";
    } else if (d->choices) {
        sep = "; ";
    }
    if (d->required) {
        sb_printf(out, "%srequired", sep);
        sep = "; ";
    }
    if (d->repeat) {
        sb_printf(out, "%smay be given more than once", sep);
        sep = "; ";
    }
    if (d->dflt) {
        sb_printf(out, "%sdefault %s", sep, d->dflt);
        sep = "; ";
    }
    if (strcmp(sep, " (") != 0)
        sb_putc(out, ')');
}

void
options_help(const struct options_program *p, struct sb *out)
{
    static const char *const arg[] = {
        [OPTIONS_STRING] = "TEXT", [OPTIONS_INT] = "N", [OPTIONS_SIZE] = "SIZE"};

    sb_printf(out, "usage: %s %s\n\n%s\n\noptions:\n", p->name, p->usage, p->about);
    for (const struct options_def *d = p->defs; d->name; d++) {
        AUTO_SB struct sb left = SB_INIT;

        if (d->letter)
            sb_printf(&left, "-%c, ", d->letter);
        sb_printf(&left, "--%s", d->name);
        if (d->type != OPTIONS_BOOL)
            sb_printf(&left, " %s", d->arg ? d->arg : arg[d->type]);
        sb_printf(out, "  %-24s  %s", sb_str(&left), d->help);
        add_rules(out, d);
        sb_putc(out, '\n');
    }
    sb_printf(out, "  %-24s  %s\n", "-h, --help", "print this and exit");
}
