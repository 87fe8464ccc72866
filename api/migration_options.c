/* Options of a migration that live in annotations; see migration_options.h. */
#include "api/migration_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/limits.h"
#include "api/names.h"

struct option {
    const char *annotation, *name;
    const char *const *choices; /* NULL: a number */
    int64_t min, max, dflt;
};

static const char *const encodings[] = {
    [MIGRATION_ENCODING_AUTO] = "auto",   [MIGRATION_ENCODING_RAW] = "raw",
    [MIGRATION_ENCODING_DELTA] = "delta", [MIGRATION_ENCODING_LZ4] = "lz4",
    [MIGRATION_ENCODING_ZSTD] = "zstd",   NULL};
static const char *const verifies[] = {"none", "full", NULL};
static const char *const fallbacks[] = {"none", "management", NULL};
static const char *const post_copies[] = {"when-needed", "immediate", NULL};
static const char *const transports[] = {[MIGRATION_TRANSPORT_AUTO] = "auto",
                                         [MIGRATION_TRANSPORT_RDMA] = "rdma",
                                         [MIGRATION_TRANSPORT_TCP] = "tcp",
                                         NULL};

static const struct option options[MIGRATION_OPTION_COUNT] = {
    [MIGRATION_OPTION_ENCODING] = {ANN_ENCODING, "encoding", encodings, 0, 0, 0},
    [MIGRATION_OPTION_VERIFY] = {ANN_VERIFY, "verify", verifies, 0, 0, 0},
    [MIGRATION_OPTION_CHANNELS] = {ANN_CHANNELS, "channels", NULL, 0, API_MAX_CHANNELS, 0},
    [MIGRATION_OPTION_WEIGHT] = {ANN_WEIGHT, "weight", NULL, 1, API_MAX_WEIGHT, 1},
    [MIGRATION_OPTION_FALLBACK] = {ANN_NETWORK_FALLBACK, "networkFallback", fallbacks, 0, 0, 0},
    [MIGRATION_OPTION_POST_COPY] = {ANN_POST_COPY, "postCopy", post_copies, 0, 0, 0},
    [MIGRATION_OPTION_TRANSPORT] = {ANN_TRANSPORT, "transport", transports, 0, 0, 0},
};

static int64_t get(const struct migration_options *m, enum migration_option o);

enum migration_option
migration_option_find(const char *key)
{
    int o = 0;

    while (o < MIGRATION_OPTION_COUNT && strcmp(options[o].annotation, key) != 0)
        o++;
    return (enum migration_option)o;
}

const char *
migration_option_annotation(enum migration_option o)
{
    return options[o].annotation;
}

const char *
migration_option_name(enum migration_option o)
{
    return options[o].name;
}

int
migration_option_parse(enum migration_option o, const char *text, int64_t *ret, struct err *err)
{
    const struct option *opt = &options[o];
    AUTO_SB struct sb allowed = SB_INIT;
    char *end;
    long long n;

    if (!opt->choices) {
        errno = 0;
        n = strtoll(text, &end, 10);
        if (*text < '0' || *text > '9' || *end || errno || n < opt->min || n > opt->max)
            return err_set(err, -EINVAL, "want a number from %lld to %lld", (long long)opt->min,
                           (long long)opt->max);
        *ret = n;
        return 0;
    }
    for (int i = 0; opt->choices[i]; i++) {
        if (strcmp(opt->choices[i], text) == 0) {
            *ret = i;
            return 0;
        }
        sb_printf(&allowed, "%s%s", i ? ", " : "", opt->choices[i]);
    }
    return err_set(err, -EINVAL, "want one of %s", sb_str(&allowed));
}

void
migration_options_init(struct migration_options *m)
{
    for (int o = 0; o < MIGRATION_OPTION_COUNT; o++)
        migration_options_set(m, (enum migration_option)o, options[o].dflt);
}

void
migration_options_set(struct migration_options *m, enum migration_option o, int64_t value)
{
    switch (o) {
    case MIGRATION_OPTION_ENCODING:
        m->encoding = (enum migration_encoding)value;
        break;
    case MIGRATION_OPTION_VERIFY:
        m->verify_full = value != 0;
        break;
    case MIGRATION_OPTION_CHANNELS:
        m->channels = value;
        break;
    case MIGRATION_OPTION_WEIGHT:
        m->weight = value;
        break;
    case MIGRATION_OPTION_FALLBACK:
        m->fallback_management = value != 0;
        break;
    case MIGRATION_OPTION_POST_COPY:
        m->post_copy_immediate = value != 0;
        break;
    case MIGRATION_OPTION_TRANSPORT:
        m->transport = (enum migration_transport)value;
        break;
    case MIGRATION_OPTION_COUNT:
        break;
    }
}

static int64_t
get(const struct migration_options *m, enum migration_option o)
{
    switch (o) {
    case MIGRATION_OPTION_ENCODING:
        return m->encoding;
    case MIGRATION_OPTION_VERIFY:
        return m->verify_full;
    case MIGRATION_OPTION_CHANNELS:
        return m->channels;
    case MIGRATION_OPTION_WEIGHT:
        return m->weight;
    case MIGRATION_OPTION_FALLBACK:
        return m->fallback_management;
    case MIGRATION_OPTION_POST_COPY:
        return m->post_copy_immediate;
    case MIGRATION_OPTION_TRANSPORT:
        return m->transport;
    case MIGRATION_OPTION_COUNT:
        break;
    }
    return 0;
}

void
migration_options_text(const struct migration_options *m, enum migration_option o, char *buf,
                       size_t size)
{
    int64_t v = get(m, o);

    if (options[o].choices)
        snprintf(buf, size, "%s", options[o].choices[v]);
    else
        snprintf(buf, size, "%lld", (long long)v);
}

struct tree *
migration_options_tree(const struct migration_options *m)
{
    struct tree *t = tree_map();

    for (int o = 0; o < MIGRATION_OPTION_COUNT; o++) {
        int64_t v = get(m, (enum migration_option)o);

        tree_set(t, options[o].name,
                 options[o].choices ? tree_string(options[o].choices[v]) : tree_int(v));
    }
    return t;
}

void
migration_options_read(const char *json, struct migration_options *ret)
{
    AUTO_TREE struct tree *t = NULL;

    migration_options_init(ret);
    if (!json || tree_from_json(json, strlen(json), &t, NULL) != 0)
        return;
    for (int o = 0; o < MIGRATION_OPTION_COUNT; o++) {
        const struct tree *v = tree_get(t, options[o].name);
        char number[24];
        int64_t value = 0;

        snprintf(number, sizeof number, "%lld", (long long)tree_get_int(v, -1));
        if (v && migration_option_parse((enum migration_option)o, tree_get_string(v, number),
                                        &value, NULL) == 0)
            migration_options_set(ret, (enum migration_option)o, value);
    }
}
