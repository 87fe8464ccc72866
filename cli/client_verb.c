/* The common beginning and end of the verbs that talk to a controller. Knows base/options.h and
 * cli/client.h; knows no verb. */
#include "cli/client_verb.h"

#include <errno.h>
#include <string.h>

#include "api/quantity.h"
#include "base/arena.h"

#define VERB_MAX_TARGETS 10000

bool
verb_begin(struct verb *v, const struct options_program *program, int argc, char **argv,
           int *ret_exit)
{
    const struct options_def *d;
    int rc;

    v->name = program->name;
    rc = options_parse(program, argc, argv, &v->options, &v->err);
    if (rc < 0) {
        /* the message names the program already */
        fprintf(stderr, "%s\n", err_msg(&v->err));
        *ret_exit = EXIT_ERROR;
        return false;
    }
    if (options_help_wanted(v->options)) {
        AUTO_SB struct sb help = SB_INIT;

        options_help(program, &help);
        fputs(sb_str(&help), stdout);
        *ret_exit = EXIT_DONE;
        return false;
    }
    v->args_len = options_args(v->options, &v->args);
    for (d = program->defs; d->name; d++) {
        if (strcmp(d->name, "namespace") == 0)
            v->namespace_ = options_string(v->options, "namespace");
    }
    for (d = program->defs; d->name; d++) {
        if (strcmp(d->name, "all-namespaces") == 0 && options_bool(v->options, d->name))
            v->namespace_ = NULL;
    }
    rc = client_open(options_string(v->options, "server"), &v->client, &v->err);
    if (rc < 0) {
        *ret_exit = verb_error(v);
        return false;
    }
    return true;
}

void
verb_done(struct verb *v)
{
    client_free(v->client);
    options_free(v->options);
    v->client = NULL;
    v->options = NULL;
}

int
verb_error(struct verb *v)
{
    return verb_errorf(v, "%s", err_msg(&v->err));
}

static void complain(const struct verb *v, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);

static void
complain(const struct verb *v, const char *fmt, va_list ap)
{
    AUTO_SB struct sb line = SB_INIT;

    sb_printf(&line, "%s: ", v->name);
    sb_vprintf(&line, fmt, ap);
    /* one line, whatever a server put into its message */
    for (size_t i = 0; i < line.len; i++) {
        if ((unsigned char)line.buf[i] < 0x20)
            line.buf[i] = ' ';
    }
    fflush(stdout);
    fprintf(stderr, "%s\n", sb_str(&line));
}

int
verb_errorf(struct verb *v, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(v, fmt, ap);
    va_end(ap);
    return EXIT_ERROR;
}

int
verb_no(struct verb *v, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(v, fmt, ap);
    va_end(ap);
    return EXIT_NO;
}

int
verb_timeout_us(struct verb *v, int64_t dflt_us, int64_t *ret_us)
{
    const char *text = options_string(v->options, "timeout");
    int64_t us;
    int rc;

    if (!text) {
        *ret_us = dflt_us;
        return 0;
    }
    rc = duration_parse(text, &us, &v->err);
    if (rc < 0)
        return err_prefix(&v->err, rc, "--timeout");
    if (us < 0)
        return err_set(&v->err, -EINVAL, "--timeout %s: want 0 or more", text);
    *ret_us = us;
    return 0;
}

int
verb_each_vm(const struct options_program *program, int argc, char **argv, int64_t dflt_us,
             verb_vm_fn one, void *ctx)
{
    AUTO_VERB struct verb v = {0};
    int64_t timeout_us = dflt_us;
    int exit_code;

    if (!verb_begin(&v, program, argc, argv, &exit_code))
        return exit_code;
    client_catch_signals();
    if (verb_timeout_us(&v, dflt_us, &timeout_us) < 0)
        return verb_error(&v);
    exit_code = EXIT_DONE;
    for (size_t i = 0; i < v.args_len; i++) {
        AUTO_FREE char *ns = NULL, *name = NULL;
        int rc;

        if (verb_split_name(&v, v.args[i], &ns, &name, &v.err) < 0)
            rc = verb_error(&v);
        else
            rc = one(&v, ns, name, timeout_us, ctx);
        if (rc == EXIT_ERROR || exit_code == EXIT_DONE)
            exit_code = rc;
    }
    return exit_code;
}

/* --- objects as people name them --- */

/* One kind by what people type; the error lists the kinds. */
static const struct kind_info *
verb_kind(const char *word, struct err *err)
{
    const struct kind_info *ki = kind_by_word(word);
    AUTO_SB struct sb known = SB_INIT;

    if (ki && ki->stored)
        return ki;
    for (int k = KIND_NONE + 1; k < KIND_COUNT; k++) {
        ki = kind_info((enum kind)k);
        if (ki && ki->stored)
            sb_printf(&known, "%s%s", known.len ? ", " : "",
                      ki->short_names && ki->short_names[0] ? ki->short_names[0] : ki->singular);
    }
    err_set(err, -EINVAL, "unknown kind \"%s\": want one of %s", word, sb_str(&known));
    return NULL;
}

static int
add_target(struct verb_targets *t, const struct kind_info *ki, const char *name, struct err *err)
{
    if (name && !name[0])
        return err_set(err, -EINVAL, "%s: an object has no empty name", ki->singular);
    if (t->len == VERB_MAX_TARGETS)
        return err_set(err, -E2BIG, "more than %d objects", VERB_MAX_TARGETS);
    t->items = xreallocarray(t->items, t->len + 1, sizeof(t->items[0]));
    t->items[t->len++] = (struct verb_target){.ki = ki, .name = arena_strdup(t->arena, name)};
    return 0;
}

static bool
is_pair(const char *arg)
{
    size_t n = strlen(arg);

    return strchr(arg, '=') || strchr(arg, ':') || (n && arg[n - 1] == '-');
}

/* "TYPE/NAME" in every argument. */
static int
parse_slashed(const char *const *args, size_t len, struct verb_targets *t, struct err *err)
{
    for (size_t i = 0; i < len; i++) {
        AUTO_FREE char *type = xstrdup(args[i]);
        char *slash = strchr(type, '/');
        const struct kind_info *ki;
        int rc;

        if (!slash)
            return err_set(err, -EINVAL, "\"%s\": want TYPE/NAME, as in the arguments before it",
                           args[i]);
        *slash = '\0';
        ki = verb_kind(type, err);
        if (!ki)
            return -EINVAL;
        rc = add_target(t, ki, slash + 1, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* "TYPE[,TYPE...] [NAME...]". */
static int
parse_listed(const char *const *args, size_t len, struct verb_targets *t, struct err *err)
{
    AUTO_FREE char *types = xstrdup(args[0]);
    char *save = NULL;
    int rc = 0;

    for (char *word = strtok_r(types, ",", &save); word && rc == 0;
         word = strtok_r(NULL, ",", &save)) {
        const struct kind_info *ki = verb_kind(word, err);

        if (!ki)
            return -EINVAL;
        if (len == 1)
            rc = add_target(t, ki, NULL, err);
        for (size_t i = 1; i < len && rc == 0; i++) {
            if (strchr(args[i], '/'))
                rc = err_set(err, -EINVAL, "\"%s\": want a name after \"%s\", not TYPE/NAME",
                             args[i], args[0]);
            else
                rc = add_target(t, ki, args[i], err);
        }
    }
    if (rc == 0 && t->len == 0)
        rc = err_set(err, -EINVAL, "want a kind, such as vm or node");
    return rc;
}

int
verb_targets_parse(const char *const *args, size_t len, bool stop_at_pairs,
                   struct verb_targets *ret, struct err *err)
{
    struct verb_targets t = {.arena = arena_new()};
    int rc;

    if (stop_at_pairs) {
        size_t n = 0;

        while (n < len && !is_pair(args[n]))
            n++;
        len = n;
    }
    if (len == 0)
        rc = err_set(err, -EINVAL, "want TYPE NAME or TYPE/NAME, such as vm vm1 or node/n1");
    else if (strchr(args[0], '/'))
        rc = parse_slashed(args, len, &t, err);
    else
        rc = parse_listed(args, len, &t, err);
    if (rc < 0) {
        verb_targets_done(&t);
        return rc;
    }
    t.used = len;
    *ret = t;
    return 0;
}

void
verb_targets_done(struct verb_targets *t)
{
    free(t->items);
    arena_free(t->arena);
    t->items = NULL;
    t->arena = NULL;
    t->len = 0;
}

int
verb_split_name(const struct verb *v, const char *text, char **ret_ns, char **ret_name,
                struct err *err)
{
    const char *slash = strchr(text, '/');
    const char *name = slash ? slash + 1 : text;

    if (!name[0] || slash == text || strchr(name, '/'))
        return err_set(err, -EINVAL, "\"%s\": want NAME or NS/NAME", text);
    *ret_ns = slash ? xstrndup(text, (size_t)(slash - text)) : xstrdup(v->namespace_);
    *ret_name = xstrdup(name);
    return 0;
}
