/* drover events: what happened, oldest first; with -w, what happens. Follows kubectl events. */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "api/quantity.h"
#include "base/clock.h"
#include "cli/client_verb.h"
#include "cli/print_table.h"

static const struct options_def defs[] = {
    VERB_OPTION_NAMESPACE,
    VERB_OPTION_ALL_NAMESPACES,
    {.name = "for",
     .type = OPTIONS_STRING,
     .arg = "TYPE/NAME",
     .help = "only what happened to this object"},
    {.name = "watch", .letter = 'w', .type = OPTIONS_BOOL, .help = "go on with every new one"},
    {.name = "no-headers", .type = OPTIONS_BOOL, .help = "leave the table's headings out"},
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program program = {
    .name = "drover events",
    .usage = "[--for TYPE/NAME] [OPTIONS]",
    .about = "Shows what happened to objects, oldest first.",
    .defs = defs,
};

struct events {
    struct verb *v;
    struct table *table;
};

static void
events_done(struct events *e)
{
    table_free(e->table);
}

static int64_t
last_seen_us(const struct tree *event)
{
    static const char *const fields[] = {"lastTimestamp", "eventTime", "firstTimestamp"};
    int64_t us;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const char *text = tree_find_string(event, NULL, fields[i], NULL);

        if (text && time_parse(text, &us, NULL) == 0)
            return us;
    }
    return 0;
}

static int
by_last_seen(const void *x, const void *y)
{
    int64_t a = last_seen_us(*(const struct tree *const *)x);
    int64_t b = last_seen_us(*(const struct tree *const *)y);

    return (a > b) - (a < b);
}

static void
put_age(int64_t us, struct table *t)
{
    int64_t age_us = clock_wall_us() - us;
    char age[32];

    if (!us) {
        table_cell(t, "<unknown>");
        return;
    }
    duration_format_age(age_us > 0 ? age_us : 0, age, sizeof(age));
    table_cell(t, age);
}

static void
begin_table(struct events *e)
{
    static const char *const headings[] = {"LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"};

    e->table = table_new();
    if (options_bool(e->v->options, "no-headers"))
        table_no_headings(e->table);
    if (!e->v->namespace_)
        table_column(e->table, "NAMESPACE", false);
    for (size_t i = 0; i < ARRAY_LEN(headings); i++)
        table_column(e->table, headings[i], false);
}

static void
add_event(struct events *e, const struct tree *event)
{
    const struct tree *about = tree_get(event, "involvedObject");
    AUTO_SB struct sb kind = SB_INIT;
    int64_t count = tree_get_int(tree_get(event, "count"), 1);

    for (const char *p = tree_find_string(about, "", "kind", NULL); *p; p++)
        sb_putc(&kind, *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p);
    if (!e->v->namespace_)
        table_cell(e->table, object_namespace(event));
    put_age(last_seen_us(event), e->table);
    table_cell(e->table, tree_find_string(event, "", "type", NULL));
    table_cell(e->table, tree_find_string(event, "", "reason", NULL));
    table_cellf(e->table, "%s/%s", sb_str(&kind), tree_find_string(about, "", "name", NULL));
    if (count > 1)
        table_cellf(e->table, "%s (%lld times)", tree_find_string(event, "", "message", NULL),
                    (long long)count);
    else
        table_cell(e->table, tree_find_string(event, "", "message", NULL));
}

static void
flush_table(struct events *e)
{
    AUTO_SB struct sb out = SB_INIT;

    table_flush(e->table, 0, &out);
    fputs(sb_str(&out), stdout);
    fflush(stdout);
}

static int
on_event(void *ctx, const char *type, const struct tree *event)
{
    struct events *e = ctx;

    if (strcmp(type, "DELETED") == 0)
        return 0;
    add_event(e, event);
    flush_table(e);
    return ferror(stdout) ? -EPIPE : 0;
}

/* The path of the events that were asked for. */
static int
events_path(struct verb *v, struct sb *out)
{
    const char *about = options_string(v->options, "for");
    CLEANUP(verb_targets_done) struct verb_targets t = {0};
    AUTO_FREE char *fields = NULL;
    int rc;

    if (about) {
        rc = verb_targets_parse(&about, 1, false, &t, &v->err);
        if (rc < 0)
            return err_prefix(&v->err, rc, "--for %s", about);
        if (!t.items[0].name)
            return err_set(&v->err, -EINVAL, "--for %s: want TYPE/NAME", about);
        fields = xasprintf("involvedObject.kind=%s,involvedObject.name=%s", t.items[0].ki->name,
                           t.items[0].name);
    }
    client_path(kind_info(KIND_EVENT), v->namespace_, NULL, NULL, out);
    client_query(NULL, fields, out);
    return 0;
}

int
verb_events(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    CLEANUP(events_done) struct events e = {.v = &v};
    AUTO_TREE struct tree *list = NULL;
    AUTO_SB struct sb path = SB_INIT;
    AUTO_FREE const struct tree **sorted = NULL;
    const struct tree *items;
    size_t len;
    int exit_code, rc;

    if (!verb_begin(&v, &program, argc, argv, &exit_code))
        return exit_code;
    if (events_path(&v, &path) < 0 ||
        client_get_path(v.client, sb_str(&path), false, &list, &v.err) < 0)
        return verb_error(&v);
    items = tree_get(list, "items");
    len = tree_len(items);
    sorted = xcalloc(len + 1, sizeof(*sorted));
    for (size_t i = 0; i < len; i++)
        sorted[i] = tree_at(items, i);
    qsort(sorted, len, sizeof(*sorted), by_last_seen);
    begin_table(&e);
    for (size_t i = 0; i < len; i++)
        add_event(&e, sorted[i]);
    if (len)
        flush_table(&e);
    if (!options_bool(v.options, "watch")) {
        if (!len)
            fprintf(stderr, "No events found%s%s\n", v.namespace_ ? " in namespace " : "",
                    v.namespace_ ? v.namespace_ : "");
        return EXIT_DONE;
    }
    client_catch_signals();
    rc = client_watch(v.client, sb_str(&path),
                      tree_find_string(list, NULL, "metadata", "resourceVersion", NULL), false,
                      on_event, &e, &client_stop, &v.err);
    return rc < 0 && rc != -EPIPE ? verb_error(&v) : EXIT_DONE;
}
