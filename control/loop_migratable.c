/* Conditions LiveMigratable and StorageLiveMigratable of VMIs, from sched/evict.h's decision and the claims that are known. */
#include <string.h>

#include "control/loop_migration.h"
#include "control/loop_phase.h"

#define NOT_MIGRATABLE "NotMigratable" /* upstream's reason of StorageLiveMigratable */

struct migratable_args {
    struct migratable m;
};

static int write_condition(struct loop_write *w, struct tree *obj);
static bool differs(const struct vmi *v, const struct migratable *m);
static bool says(const struct vmi *v, const char *type, bool ok, const char *reason,
                 const char *message);

struct migratable
loop_migratable(struct loops *l, const struct vmi *v)
{
    const char *node = v->status.node_name;
    struct migratable_facts facts = {
        .hco = loop_cache_hco(l->cache),
        .node = node && *node ? loop_cache_get(l->cache, KIND_NODE, NULL, node) : NULL,
    };
    const struct pvc **claims =
        v->spec.volumes_len ? arena_calloc(l->arena, v->spec.volumes_len, sizeof(*claims)) : NULL;
    const struct pvc *p;

    facts.node_missing = node && *node && !facts.node;
    for (size_t i = 0; i < v->spec.volumes_len; i++) {
        const char *claim = v->spec.volumes[i].claim;

        if (claim && (p = loop_cache_get(l->cache, KIND_PVC, v->meta.namespace_, claim)))
            claims[facts.pvcs_len++] = p;
    }
    facts.pvcs = claims;
    return vmi_migratable_with(v, &facts, l->arena);
}

void
loop_migratable_pass(struct loops *l)
{
    const struct vmi *v;

    for (size_t it = 0; (v = loop_cache_next_changed(l->cache, KIND_VMI, l->all, &it));) {
        enum vmi_phase phase = vmi_phase_parse(v->status.phase);
        struct migratable m;
        struct migratable_args *a;
        struct loop_write *w;

        if (phase != VMI_SCHEDULED && phase != VMI_RUNNING)
            continue;
        m = loop_migratable(l, v);
        if (!differs(v, &m))
            continue;
        w = loop_write_new(l, KIND_VMI, &v->meta, sizeof(*a));
        a = w->args;
        a->m.ok = m.ok;
        a->m.reason = arena_strdup(w->arena, m.reason ? m.reason : "");
        a->m.message = arena_strdup(w->arena, m.message ? m.message : "");
        a->m.method = arena_strdup(w->arena, m.method ? m.method : "LiveMigration");
        a->m.storage = arena_strdup(w->arena, m.storage);
        loop_write_mutate(w, write_condition, NULL);
    }
}

static bool
differs(const struct vmi *v, const struct migratable *m)
{
    bool storage = !*m->storage;

    return !says(v, "LiveMigratable", m->ok, m->reason, m->message) ||
           !says(v, "StorageLiveMigratable", storage, storage ? "" : NOT_MIGRATABLE, m->storage) ||
           !v->status.migration_method ||
           strcmp(v->status.migration_method, m->method ? m->method : "LiveMigration") != 0;
}

static bool
says(const struct vmi *v, const char *type, bool ok, const char *reason, const char *message)
{
    const struct condition *c = loop_core_condition(&v->status.conditions, type);

    return c && c->status && strcmp(c->status, ok ? "True" : "False") == 0 &&
           strcmp(c->reason ? c->reason : "", reason ? reason : "") == 0 &&
           strcmp(c->message ? c->message : "", message ? message : "") == 0;
}

static int
write_condition(struct loop_write *w, struct tree *obj)
{
    const struct migratable_args *a = w->args;

    if (vmi_phase_final(vmi_phase_parse(tree_find_string(obj, "", "status", "phase", NULL))))
        return 0;
    object_set_condition(obj, "LiveMigratable", a->m.ok ? "True" : "False", a->m.reason,
                         a->m.message, loop_wall_us(w->l->loop));
    object_set_condition(obj, "StorageLiveMigratable", *a->m.storage ? "False" : "True",
                         *a->m.storage ? NOT_MIGRATABLE : "", a->m.storage,
                         loop_wall_us(w->l->loop));
    tree_set_path(obj, tree_string(a->m.method), "status", "migrationMethod", NULL);
    return 1;
}
