/* drover cordon, uncordon, drain. A drain is a NodeMaintenance: the controller does the work and
 * goes on with it when this program ends; here it is asked for, watched, and explained. */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "cli/client_drain.h"
#include "cli/client_verb.h"
#include "cli/print.h"
#include "cli/term_migrations.h"

/* --- cordon, uncordon --- */

static const struct options_def defs[] = {
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program cordon_program = {
    .name = "drover cordon",
    .usage = "NODE... [OPTIONS]",
    .about = "Places no more VMs on nodes; those that are there stay.",
    .defs = defs,
    .min_args = 1,
    .max_args = 10000,
};

static const struct options_program uncordon_program = {
    .name = "drover uncordon",
    .usage = "NODE... [OPTIONS]",
    .about = "Places VMs on nodes again; ends the maintenance that `drover drain` began.",
    .defs = defs,
    .min_args = 1,
    .max_args = 10000,
};

static int
set_unschedulable(struct verb *v, const char *node, bool on, bool *ret_changed)
{
    const struct kind_info *ki = kind_info(KIND_NODE);
    AUTO_TREE struct tree *obj = NULL, *patch = tree_map();
    int rc;

    rc = client_get(v->client, ki, NULL, node, &obj, &v->err);
    if (rc < 0)
        return rc;
    *ret_changed = tree_get_bool(tree_find(obj, "spec", "unschedulable", NULL), false) != on;
    if (!*ret_changed)
        return 0;
    tree_set_path(patch, on ? tree_bool(true) : tree_null(), "spec", "unschedulable", NULL);
    return client_patch(v->client, ki, NULL, node, NULL, patch, NULL, &v->err);
}

int
verb_cordon(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    int exit_code;

    if (!verb_begin(&v, &cordon_program, argc, argv, &exit_code))
        return exit_code;
    exit_code = EXIT_DONE;
    for (size_t i = 0; i < v.args_len; i++) {
        bool changed;

        if (set_unschedulable(&v, v.args[i], true, &changed) < 0)
            exit_code = verb_error(&v);
        else
            printf("node/%s %s\n", v.args[i], changed ? "cordoned" : "already cordoned");
    }
    return exit_code;
}

/* client_wait: 1 when the object is gone. */
static int
is_gone(void *ctx, const struct tree *obj)
{
    (void)ctx;
    return obj == NULL;
}

#define GONE_TIMEOUT_US (30 * 1000000LL)

static int
uncordon_one(struct verb *v, const char *node)
{
    const struct kind_info *ki = kind_info(KIND_MAINTENANCE);
    AUTO_FREE char *own = drain_maintenance_name(node);
    AUTO_TREE struct tree *maintenance = NULL;
    bool changed = false;
    int rc;

    if (drain_maintenance_find(v->client, node, &maintenance, &v->err) < 0)
        return verb_error(v);
    if (maintenance && strcmp(object_name(maintenance), own) != 0)
        return verb_errorf(v,
                           "node/%s is in maintenance by nodemaintenance/%s, which drover drain "
                           "did not make: delete that instead",
                           node, object_name(maintenance));
    if (maintenance) {
        rc = client_delete(v->client, ki, NULL, own, NULL, &v->err);
        if (rc == 0 || rc == -ENOENT)
            rc = client_wait(v->client, ki, NULL, own, GONE_TIMEOUT_US, is_gone, NULL, &v->err);
        if (rc < 0)
            return verb_error(v);
        printf("nodemaintenance.%s/%s deleted\n", ki->group, own);
    }
    if (set_unschedulable(v, node, false, &changed) < 0)
        return verb_error(v);
    printf("node/%s %s\n", node, changed || maintenance ? "uncordoned" : "already uncordoned");
    return EXIT_DONE;
}

int
verb_uncordon(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    int exit_code, rc;

    if (!verb_begin(&v, &uncordon_program, argc, argv, &exit_code))
        return exit_code;
    exit_code = EXIT_DONE;
    for (size_t i = 0; i < v.args_len; i++) {
        rc = uncordon_one(&v, v.args[i]);
        if (rc != EXIT_DONE)
            exit_code = rc;
    }
    return exit_code;
}

/* --- drain --- */

static const struct options_def drain_defs[] = {
    {.name = "dry-run", .type = OPTIONS_BOOL, .help = "only say what would become of each VM"},
    {.name = "wait", .type = OPTIONS_BOOL, .help = "wait until the node is empty, and show it"},
    VERB_OPTION_TIMEOUT,
    {.name = "reason", .type = OPTIONS_STRING, .arg = "TEXT", .help = "why, for the record"},
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program drain_program = {
    .name = "drover drain",
    .usage = "NODE [--dry-run] [--wait] [OPTIONS]",
    .about = "Empties a node: cordons it, migrates what can be migrated, shuts down what may be\n"
             "shut down, and names what blocks (exit 2). `drover uncordon NODE` ends it.",
    .defs = drain_defs,
    .min_args = 1,
    .max_args = 1,
};

static void
print_plan(const struct drain_plan *p, struct sb *out)
{
    AUTO_TABLE struct table *t = table_new();

    table_column(t, "NAMESPACE", false);
    table_column(t, "VM", false);
    table_column(t, "ACTION", false);
    table_column(t, "STRATEGY", false);
    table_column(t, "REASON", false);
    for (size_t i = 0; i < p->len; i++) {
        table_cell(t, p->vms[i].namespace_);
        table_cell(t, p->vms[i].name);
        table_cell(t, evict_action_name(p->vms[i].decision.action));
        table_cell(t, p->vms[i].decision.strategy);
        table_cell(t, p->vms[i].decision.reason);
    }
    table_flush(t, 0, out);
}

/* "default/db (no live migration: ...), default/x (...)" */
static void
put_blockers(const struct drain_plan *p, struct sb *out)
{
    for (size_t i = 0; i < p->len; i++) {
        const struct drain_vm *vm = &p->vms[i];

        if (vm->decision.action == EVICT_BLOCK || vm->decision.action == EVICT_EXTERNAL)
            sb_printf(out, "%s%s/%s (%s)", out->len ? ", " : "", vm->namespace_, vm->name,
                      vm->decision.reason);
    }
}

static int
dry_run(struct verb *v, const char *node)
{
    CLEANUP(drain_plan_done) struct drain_plan p = {0};
    AUTO_SB struct sb out = SB_INIT, who = SB_INIT;

    if (drain_plan_make(v->client, node, &p, &v->err) < 0)
        return verb_error(v);
    if (!p.len) {
        printf("node/%s has no VMs\n", node);
        return EXIT_DONE;
    }
    print_plan(&p, &out);
    fputs(sb_str(&out), stdout);
    if (!p.blocked)
        return EXIT_DONE;
    put_blockers(&p, &who);
    return verb_no(v, "node/%s would not get empty: %s", node, sb_str(&who));
}

/* Makes the NodeMaintenance unless the node is in maintenance already. */
static int
begin_maintenance(struct verb *v, const char *node, char **ret_name)
{
    const struct kind_info *ki = kind_info(KIND_MAINTENANCE);
    const char *reason = options_string(v->options, "reason");
    AUTO_FREE char *name = drain_maintenance_name(node);
    AUTO_TREE struct tree *found = NULL, *obj = tree_map();
    int rc;

    rc = drain_maintenance_find(v->client, node, &found, &v->err);
    if (rc < 0)
        return rc;
    if (found) {
        printf("node/%s is in maintenance already, by nodemaintenance/%s\n", node,
               object_name(found));
        *ret_name = xstrdup(object_name(found));
        return 0;
    }
    tree_set(obj, "apiVersion", tree_stringf("%s/%s", ki->group, ki->version));
    tree_set(obj, "kind", tree_string(ki->name));
    tree_set_path(obj, tree_string(name), "metadata", "name", NULL);
    tree_set_path(obj, tree_string(node), "spec", "nodeName", NULL);
    tree_set_path(obj, tree_string(reason ? reason : "drover drain"), "spec", "reason", NULL);
    rc = client_create(v->client, ki, NULL, obj, NULL, &v->err);
    if (rc < 0)
        return rc;
    printf("nodemaintenance.%s/%s created\n", ki->group, name);
    *ret_name = TAKE_PTR(name);
    return 0;
}

struct watch { /* one look at a drain under way */
    struct arena *arena;
    struct migration *moves;  /* from this node since the drain began */
    size_t moves_len, moving; /* moving: not over yet */
};

static void
watch_done(struct watch *w)
{
    free(w->moves);
    arena_free(w->arena);
}

/* Migrations away from the node that were not over when the drain began. */
static int
look(struct verb *v, const char *node, int64_t since_us, const struct drain_plan *p,
     struct watch *w)
{
    AUTO_TREE struct tree *list = NULL;
    const struct tree *items;
    int rc;

    rc = client_list(v->client, kind_info(KIND_VMIM), NULL, NULL, &list, &v->err);
    if (rc < 0)
        return rc;
    items = tree_get(list, "items");
    w->moves = xcalloc(tree_len(items) + 1, sizeof(*w->moves));
    for (size_t i = 0; i < tree_len(items); i++) {
        struct migration *m = &w->moves[w->moves_len];
        bool ours = false;

        migration_read(tree_at(items, i), w->arena, m);
        if (m->source[0])
            ours = strcmp(m->source, node) == 0;
        for (size_t j = 0; j < p->len && !m->source[0]; j++)
            ours |= strcmp(p->vms[j].name, m->vm) == 0 &&
                    strcmp(p->vms[j].namespace_, m->namespace_) == 0;
        if (!ours || (m->final && m->created_us < since_us))
            continue;
        w->moving += !m->final;
        w->moves_len++;
    }
    migration_sort(w->moves, w->moves_len);
    return 0;
}

static int
wait_empty(struct verb *v, const char *node, const char *maintenance, int64_t timeout_us)
{
    uint64_t start_us = clock_mono_us();
    /* a migration that the drain itself began is newer than this; times of objects are seconds */
    int64_t since_us = clock_wall_us() - 2 * 1000000LL;
    struct migrations_view *view;
    struct term term;
    int exit_code = -1;

    client_catch_signals();
    term_init(&term, stdout);
    fflush(stdout);
    view = migrations_view_new(&term, 0);
    while (exit_code < 0) {
        CLEANUP(drain_plan_done) struct drain_plan p = {0};
        CLEANUP(watch_done) struct watch w = {.arena = arena_new()};
        AUTO_TREE struct tree *obj = NULL;
        AUTO_SB struct sb below = SB_INIT, who = SB_INIT;
        const char *phase, *why;

        if (drain_plan_make(v->client, node, &p, &v->err) < 0 ||
            look(v, node, since_us, &p, &w) < 0 ||
            client_get(v->client, kind_info(KIND_MAINTENANCE), NULL, maintenance, &obj, &v->err) <
                0) {
            migrations_view_settle(view);
            exit_code = verb_error(v);
            break;
        }
        phase = tree_find_string(obj, "", "status", "phase", NULL);
        why = tree_find_string(obj, "", "status", "lastError", NULL);
        put_blockers(&p, &who);
        for (size_t i = 0; i < p.len; i++)
            sb_printf(&below, "%s%s/%s", i ? ", " : "left: ", p.vms[i].namespace_, p.vms[i].name);
        if (who.len)
            sb_printf(&below, "; blocked by %s", sb_str(&who));
        migrations_view_show(view, w.moves, w.moves_len, sb_str(&below));
        if (strcmp(phase, "Succeeded") == 0 && !p.len) {
            migrations_view_settle(view);
            printf("node/%s drained\n", node);
            exit_code = EXIT_DONE;
        } else if (strcmp(phase, "Failed") == 0) {
            migrations_view_settle(view);
            exit_code = verb_errorf(v, "nodemaintenance/%s failed: %s", maintenance, why);
        } else if (p.len && who.len && !w.moving && p.blocked == p.len) {
            migrations_view_settle(view);
            exit_code = verb_no(v, "node/%s is blocked by %s", node, sb_str(&who));
        } else if (timeout_us > 0 && clock_mono_us() - start_us >= (uint64_t)timeout_us) {
            migrations_view_settle(view);
            exit_code = verb_no(v, "node/%s is not empty in time, %s%s%s", node, sb_str(&below),
                                why[0] ? ": " : "", why);
        } else if (!client_sleep(CLIENT_POLL_MS)) {
            migrations_view_settle(view);
            exit_code = verb_errorf(v,
                                    "interrupted; the drain of node/%s goes on (`drover uncordon "
                                    "%s` ends it)",
                                    node, node);
        }
    }
    migrations_view_free(view);
    return exit_code;
}

int
verb_drain(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    AUTO_TREE struct tree *node = NULL;
    AUTO_FREE char *maintenance = NULL;
    int64_t timeout_us;
    int exit_code;

    if (!verb_begin(&v, &drain_program, argc, argv, &exit_code))
        return exit_code;
    if (verb_timeout_us(&v, 0, &timeout_us) < 0)
        return verb_error(&v);
    if (options_bool(v.options, "dry-run"))
        return dry_run(&v, v.args[0]);
    if (client_get(v.client, kind_info(KIND_NODE), NULL, v.args[0], &node, &v.err) < 0 ||
        begin_maintenance(&v, v.args[0], &maintenance) < 0)
        return verb_error(&v);
    if (!options_bool(v.options, "wait"))
        return EXIT_DONE;
    return wait_empty(&v, v.args[0], maintenance, timeout_us);
}
