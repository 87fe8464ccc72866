/* drover get: objects as the server's table, or as yaml, json, names, or through a jsonpath
 * template; with -w, changes as they happen. Follows kubectl get. */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "cli/client_migration.h"
#include "cli/client_verb.h"
#include "cli/print.h"
#include "cli/term_migrations.h"

static const struct options_def defs[] = {
    VERB_OPTION_NAMESPACE,
    VERB_OPTION_ALL_NAMESPACES,
    VERB_OPTION_SELECTOR,
    {.name = "field-selector",
     .type = OPTIONS_STRING,
     .arg = "SELECTOR",
     .help = "only objects with these fields: status.phase=Running,metadata.name!=x"},
    {.name = "output",
     .letter = 'o',
     .type = OPTIONS_STRING,
     .arg = "FORMAT",
     .help = "table, wide, yaml, json, name or jsonpath=TEMPLATE"},
    {.name = "watch", .letter = 'w', .type = OPTIONS_BOOL, .help = "go on with every change"},
    {.name = "no-headers", .type = OPTIONS_BOOL, .help = "leave the table's headings out"},
    {.name = "show-labels", .type = OPTIONS_BOOL, .help = "the labels as the last column"},
    {.name = "ignore-not-found",
     .type = OPTIONS_BOOL,
     .help = "a name that does not exist is no error"},
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program program = {
    .name = "drover get",
    .usage = "TYPE[,TYPE...] [NAME...] | TYPE/NAME... [OPTIONS]",
    .about = "Shows objects. Migrations watched on a terminal (get vmim -w) show progress bars.",
    .defs = defs,
    .max_args = 10000,
};

struct get {
    struct verb *v;
    struct print_format format;
    bool several_kinds;
    struct print_rows rows; /* the watch's */
};

static void
get_done(struct get *g)
{
    print_format_done(&g->format);
    print_rows_done(&g->rows);
}

static void
put(const struct sb *out)
{
    fwrite(sb_str(out), 1, out->len, stdout);
}

static const char *
namespace_for(const struct get *g, const struct kind_info *ki)
{
    return ki->namespaced ? g->v->namespace_ : NULL;
}

static void
target_path(const struct get *g, const struct verb_target *t, bool name_as_field, struct sb *out)
{
    const char *fields = options_string(g->v->options, "field-selector");
    AUTO_FREE char *by_name = NULL;

    client_path(t->ki, namespace_for(g, t->ki), name_as_field ? NULL : t->name, NULL, out);
    if (t->name && name_as_field) {
        by_name = xasprintf("metadata.name=%s", t->name);
        fields = by_name;
    }
    if (!t->name || name_as_field)
        client_query(options_string(g->v->options, "selector"), fields, out);
}

static bool
is_absent(const struct get *g, int rc)
{
    return rc == -ENOENT && options_bool(g->v->options, "ignore-not-found");
}

static void
rows_init(const struct get *g, const struct kind_info *ki, struct print_rows *ret)
{
    *ret = (struct print_rows){
        .wide = g->format.kind == PRINT_WIDE,
        .no_headings = options_bool(g->v->options, "no-headers"),
        .show_labels = options_bool(g->v->options, "show-labels"),
        .with_namespace = ki->namespaced && !g->v->namespace_,
        .kind_prefix = g->several_kinds ? ki : NULL,
    };
}

/* Everything of one kind as one table: targets i to end are of that kind. */
static int
print_kind_table(struct get *g, const struct verb_target *t, size_t len, bool blank_before,
                 size_t *ret_rows)
{
    CLEANUP(print_rows_done) struct print_rows rows;
    AUTO_SB struct sb out = SB_INIT;
    int exit_code = EXIT_DONE, rc;

    rows_init(g, t->ki, &rows);
    for (size_t i = 0; i < len; i++) {
        AUTO_SB struct sb path = SB_INIT;
        AUTO_TREE struct tree *table = NULL;

        target_path(g, &t[i], false, &path);
        rc = client_get_path(g->v->client, sb_str(&path), true, &table, &g->v->err);
        if (rc == 0)
            rc = print_rows_add(&rows, table, &g->v->err);
        if (rc < 0 && !is_absent(g, rc))
            exit_code = verb_error(g->v);
    }
    if (rows.table && table_rows(rows.table)) {
        if (blank_before)
            sb_putc(&out, '\n');
        *ret_rows += table_rows(rows.table);
        table_flush(rows.table, 0, &out);
        put(&out);
    }
    return exit_code;
}

static void
say_nothing_found(const struct get *g, const struct verb_targets *targets)
{
    bool namespaced = false;

    for (size_t i = 0; i < targets->len; i++) {
        if (targets->items[i].name)
            return;
        namespaced |= targets->items[i].ki->namespaced;
    }
    if (namespaced && g->v->namespace_)
        fprintf(stderr, "No resources found in %s namespace.\n", g->v->namespace_);
    else
        fprintf(stderr, "No resources found\n");
}

static int
get_tables(struct get *g, const struct verb_targets *targets)
{
    int exit_code = EXIT_DONE;
    size_t rows = 0;

    for (size_t i = 0; i < targets->len;) {
        size_t n = 1;
        int rc;

        while (i + n < targets->len && targets->items[i + n].ki == targets->items[i].ki)
            n++;
        rc = print_kind_table(g, &targets->items[i], n, rows > 0, &rows);
        if (rc != EXIT_DONE)
            exit_code = rc;
        i += n;
    }
    if (!rows && exit_code == EXIT_DONE)
        say_nothing_found(g, targets);
    return exit_code;
}

/* yaml, json, name, jsonpath: one named object as it is, anything else in a v1 List. */
static int
get_objects(struct get *g, const struct verb_targets *targets)
{
    bool alone = targets->len == 1 && targets->items[0].name;
    AUTO_TREE struct tree *list = tree_map();
    AUTO_SB struct sb out = SB_INIT;
    struct tree *items = tree_list();
    int exit_code = EXIT_DONE;

    tree_set(list, "apiVersion", tree_string("v1"));
    tree_set(list, "kind", tree_string("List"));
    tree_set_path(list, tree_string(""), "metadata", "resourceVersion", NULL);
    tree_set(list, "items", items);
    for (size_t i = 0; i < targets->len; i++) {
        AUTO_SB struct sb path = SB_INIT;
        AUTO_TREE struct tree *answer = NULL;
        const struct tree *found;
        int rc;

        target_path(g, &targets->items[i], false, &path);
        rc = client_get_path(g->v->client, sb_str(&path), false, &answer, &g->v->err);
        if (rc < 0) {
            if (!is_absent(g, rc))
                exit_code = verb_error(g->v);
            continue;
        }
        if (alone) {
            print_object(&g->format, answer, &out);
            continue;
        }
        found = tree_get(answer, "items");
        if (targets->items[i].name)
            tree_append(items, tree_copy(answer));
        for (size_t j = 0; !targets->items[i].name && j < tree_len(found); j++)
            tree_append(items, tree_copy(tree_at(found, j)));
    }
    if (!alone && (exit_code == EXIT_DONE || tree_len(items)))
        print_object(&g->format, list, &out);
    put(&out);
    return exit_code;
}

/* --- -w --- */

static int
on_table_event(void *ctx, const char *type, const struct tree *table)
{
    struct get *g = ctx;
    AUTO_SB struct sb out = SB_INIT;
    int rc;

    (void)type;
    rc = print_rows_add(&g->rows, table, &g->v->err);
    if (rc < 0)
        return rc;
    table_flush(g->rows.table, 0, &out);
    put(&out);
    return fflush(stdout) == 0 ? 0 : -EPIPE;
}

static int
on_object_event(void *ctx, const char *type, const struct tree *obj)
{
    struct get *g = ctx;
    AUTO_SB struct sb out = SB_INIT;

    (void)type;
    if (g->format.kind == PRINT_YAML)
        sb_puts(&out, "---\n");
    print_object(&g->format, obj, &out);
    put(&out);
    return fflush(stdout) == 0 ? 0 : -EPIPE;
}

static int
watch_plain(struct get *g, const struct verb_target *t)
{
    bool as_table = g->format.kind == PRINT_TABLE || g->format.kind == PRINT_WIDE;
    AUTO_TREE struct tree *now = NULL;
    AUTO_SB struct sb path = SB_INIT;
    const struct tree *items;
    int rc;

    target_path(g, t, true, &path);
    rows_init(g, t->ki, &g->rows);
    rc = client_get_path(g->v->client, sb_str(&path), as_table, &now, &g->v->err);
    if (rc == 0 && as_table) {
        rc = on_table_event(g, "ADDED", now);
    } else if (rc == 0) {
        items = tree_get(now, "items");
        for (size_t i = 0; i < tree_len(items) && rc == 0; i++)
            rc = on_object_event(g, "ADDED", tree_at(items, i));
    }
    if (rc == 0)
        rc =
            client_watch(g->v->client, sb_str(&path),
                         tree_find_string(now, NULL, "metadata", "resourceVersion", NULL), as_table,
                         as_table ? on_table_event : on_object_event, g, &client_stop, &g->v->err);
    if (rc == -EPIPE)
        return EXIT_DONE; /* whoever read us has seen enough */
    return rc < 0 ? verb_error(g->v) : EXIT_DONE;
}

static int
watch_migrations(struct get *g, const struct verb_target *t, struct term *term)
{
    struct migrations_view *view = migrations_view_new(term, 0);
    int exit_code = EXIT_DONE;

    migrations_view_details(view);
    do {
        AUTO_TREE struct tree *list = NULL;
        AUTO_FREE struct migration *rows = NULL;
        AUTO_SB struct sb path = SB_INIT;
        struct arena *a = arena_new();
        const struct tree *items;
        size_t len;

        target_path(g, t, true, &path);
        if (client_get_path(g->v->client, sb_str(&path), false, &list, &g->v->err) < 0) {
            migrations_view_settle(view);
            exit_code = verb_error(g->v);
            arena_free(a);
            break;
        }
        items = tree_get(list, "items");
        len = tree_len(items);
        rows = xcalloc(len + 1, sizeof(*rows));
        for (size_t i = 0; i < len; i++)
            migration_read(tree_at(items, i), a, &rows[i]);
        migration_sort(rows, len);
        migrations_view_show(view, rows, len, len ? NULL : "no migrations yet");
        arena_free(a);
    } while (client_sleep(CLIENT_POLL_MS));
    migrations_view_free(view);
    return exit_code;
}

static int
get_watch(struct get *g, const struct verb_targets *targets)
{
    const struct verb_target *t = &targets->items[0];
    struct term term;

    if (targets->len != 1)
        return verb_errorf(g->v, "-w watches one kind or one object, not %zu", targets->len);
    client_catch_signals();
    term_init(&term, stdout);
    if (term.tty && t->ki->kind == KIND_VMIM && g->format.kind == PRINT_TABLE)
        return watch_migrations(g, t, &term);
    return watch_plain(g, t);
}

int
verb_get(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    CLEANUP(get_done) struct get g = {.v = &v};
    CLEANUP(verb_targets_done) struct verb_targets targets = {0};
    int exit_code;

    if (!verb_begin(&v, &program, argc, argv, &exit_code))
        return exit_code;
    if (print_format_parse(options_string(v.options, "output"), &g.format, &v.err) < 0 ||
        verb_targets_parse(v.args, v.args_len, false, &targets, &v.err) < 0)
        return verb_error(&v);
    for (size_t i = 0; i < targets.len; i++) {
        const struct verb_target *t = &targets.items[i];

        if (t->name && (options_given(v.options, "selector") || !v.namespace_) && t->ki->namespaced)
            return verb_errorf(&v, "%s \"%s\": a name goes with neither -l nor -A", t->ki->singular,
                               t->name);
        g.several_kinds |= t->ki != targets.items[0].ki;
    }
    if (options_bool(v.options, "watch"))
        return get_watch(&g, &targets);
    if (g.format.kind == PRINT_TABLE || g.format.kind == PRINT_WIDE)
        return get_tables(&g, &targets);
    return get_objects(&g, &targets);
}
