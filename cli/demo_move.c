/* The demo's two moves: one migration by a VirtualMachineInstanceMigration, and a node that empties
 * itself by a NodeMaintenance, while the VMs keep writing. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "cli/client_apply.h"
#include "cli/client_drain.h"
#include "cli/client_migration.h"
#include "cli/demo.h"
#include "cli/term_migrations.h"

#define VIEW_INDENT 4

static int
apply_one(struct demo *d, const struct tree *obj, const char *file)
{
    enum apply_result result;
    int rc = apply_object(d->client, obj, false, &result, &d->err);

    return rc < 0 ? err_prefix(&d->err, rc, "%s/%s", d->cfg.examples, file) : 0;
}

/* --- one migration --- */

/* 1 when it is over and went well. */
static int
look_at(struct demo *d, struct migrations_view *view)
{
    AUTO_TREE struct tree *obj = NULL;
    struct migration m;
    struct arena *a;
    int rc;

    rc = client_get(d->client, kind_info(KIND_VMIM), object_namespace(d->move),
                    object_name(d->move), &obj, &d->err);
    if (rc < 0)
        return rc;
    a = arena_new();
    migration_read(obj, a, &m);
    migrations_view_show(view, &m, 1, NULL);
    if (m.failed)
        rc = err_set(&d->err, -EPROTO, "migration %s of VM %s failed: %s", m.name, m.vm,
                     m.failure[0] ? m.failure : "no reason given");
    else
        rc = m.final && m.guest_downtime_ms >= 0;
    arena_free(a);
    return rc;
}

int
demo_migrate(struct demo *d)
{
    uint64_t end_us = clock_mono_us() + DEMO_MIGRATE_S * 1000000ull;
    struct migrations_view *view;
    int rc;

    demo_say(d, 0, "%s (%s) asks for VM %s to move; the scheduler chooses the target.",
             object_name(d->move), d->move_file,
             tree_find_string(d->move, "", "spec", "vmiName", NULL));
    rc = apply_one(d, d->move, d->move_file);
    if (rc < 0)
        return rc;
    view = migrations_view_new(&d->term, VIEW_INDENT);
    while ((rc = look_at(d, view)) == 0) {
        if (clock_mono_us() > end_us)
            rc = err_set(&d->err, -ETIMEDOUT, "migration %s is not over after %d s",
                         object_name(d->move), DEMO_MIGRATE_S);
        else if (!client_sleep(CLIENT_POLL_MS))
            rc = err_set(&d->err, -EINTR, "interrupted");
        if (rc < 0)
            break;
    }
    migrations_view_free(view);
    return rc < 0 ? rc : 0;
}

/* --- the drain --- */

struct look {
    struct arena *arena;
    struct migration *moves; /* from the node, by this drain */
    size_t len, done;
    struct drain_plan plan; /* what is left on the node */
    char phase[32], why[512];
};

static void
look_done(struct look *l)
{
    free(l->moves);
    drain_plan_done(&l->plan);
    arena_free(l->arena);
}

static int
collect(struct demo *d, const char *node, struct look *l)
{
    AUTO_TREE struct tree *list = NULL, *obj = NULL;
    const struct tree *items;
    int rc;

    rc = client_list(d->client, kind_info(KIND_VMIM), NULL, NULL, &list, &d->err);
    if (rc == 0)
        rc = client_get(d->client, kind_info(KIND_MAINTENANCE), NULL, object_name(d->drain), &obj,
                        &d->err);
    if (rc == 0)
        rc = drain_plan_make(d->client, node, &l->plan, &d->err);
    if (rc < 0)
        return rc;
    snprintf(l->phase, sizeof(l->phase), "%s", tree_find_string(obj, "", "status", "phase", NULL));
    snprintf(l->why, sizeof(l->why), "%s", tree_find_string(obj, "", "status", "lastError", NULL));
    items = tree_get(list, "items");
    l->moves = xcalloc(tree_len(items) + 1, sizeof(*l->moves));
    for (size_t i = 0; i < tree_len(items); i++) {
        struct migration *m = &l->moves[l->len];

        migration_read(tree_at(items, i), l->arena, m);
        if (strcmp(m->name, object_name(d->move)) == 0)
            continue;
        l->done += m->final && m->guest_downtime_ms >= 0;
        l->len++;
    }
    migration_sort(l->moves, l->len);
    return 0;
}

/* 1 when the node is empty. */
static int
look_at_drain(struct demo *d, const char *node, struct migrations_view *view)
{
    CLEANUP(look_done) struct look l = {.arena = arena_new()};
    AUTO_SB struct sb below = SB_INIT;
    int rc = collect(d, node, &l);

    if (rc < 0)
        return rc;
    if (l.plan.len)
        sb_printf(&below, "%zu VM%s on %s", l.plan.len, l.plan.len == 1 ? "" : "s", node);
    for (size_t i = 0; i < l.plan.len; i++)
        sb_printf(&below, "%s%s", i ? ", " : ": ", l.plan.vms[i].name);
    migrations_view_show(view, l.moves, l.len, sb_str(&below));
    for (size_t i = 0; i < l.len; i++) {
        const struct migration *m = &l.moves[i];

        if (m->failed)
            return err_set(&d->err, -EPROTO, "migration %s of VM %s failed: %s", m->name, m->vm,
                           m->failure[0] ? m->failure : "no reason given");
    }
    if (strcmp(l.phase, "Failed") == 0)
        return err_set(&d->err, -EPROTO, "maintenance of %s failed: %s", node, l.why);
    if (l.plan.blocked)
        return err_set(&d->err, -EPROTO, "maintenance of %s is blocked: %s", node, l.why);
    return strcmp(l.phase, "Succeeded") == 0 && !l.plan.len && l.len && l.done == l.len;
}

int
demo_drain(struct demo *d)
{
    const char *node = tree_find_string(d->drain, "", "spec", "nodeName", NULL);
    uint64_t start_us = clock_mono_us(), end_us = start_us + DEMO_DRAIN_S * 1000000ull;
    struct migrations_view *view;
    int rc;

    demo_say(d, 0, "%s (%s) wants %s empty: %s. Its VMs keep writing.", object_name(d->drain),
             d->drain_file, node, tree_find_string(d->drain, "", "spec", "reason", NULL));
    rc = apply_one(d, d->drain, d->drain_file);
    if (rc < 0)
        return rc;
    view = migrations_view_new(&d->term, VIEW_INDENT);
    while ((rc = look_at_drain(d, node, view)) == 0) {
        if (clock_mono_us() > end_us)
            rc =
                err_set(&d->err, -ETIMEDOUT, "node %s is not empty after %d s", node, DEMO_DRAIN_S);
        else if (!client_sleep(CLIENT_POLL_MS))
            rc = err_set(&d->err, -EINTR, "interrupted");
        if (rc < 0)
            break;
    }
    migrations_view_free(view);
    if (rc > 0)
        demo_good(d, "%s is empty after %.1f s and takes no new VMs", node,
                  (double)(clock_mono_us() - start_us) / 1e6);
    return rc < 0 ? rc : 0;
}
