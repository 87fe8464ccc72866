/* Drives migrations: sees what is stored about each, lets migrate/coord.h decide, and queues the
 * writes that follow. Part of a pass (control/loop_core.h). Contract with the handlers:
 * docs/protocol.md. */
#include "control/loop_migration.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/selector.h"
#include "base/fault.h"
#include "base/log.h"
#include "control/loop_event.h"
#include "control/loop_phase.h"
#include "control/loop_place.h"
#include "control/loop_policy.h"

#define GONE_KEPT_US (300 * INT64_C(1000000)) /* finished ones, when their VM is gone */

struct migrations {
    struct migration **items;
    struct migration **order; /* by VMI, then by age: groups lie together */
    size_t len, cap;
};

static void collect(struct loops *l, struct migrations *all);
static void collect_group(struct loops *l, struct migrations *all, struct strmap *seen,
                          const struct vmim *one);
static void read_migration(struct loops *l, struct migration *mg);
static void look(struct loops *l, struct migration *mg);
static void look_at_rivals(struct loops *l, struct migration *mg);
static void admit(struct loops *l, struct migrations *all);
static void advance(struct loops *l, struct migration *mg, int64_t now_us);
static void tidy(struct loops *l, struct migration *mg);
static void retain(struct loops *l, struct migrations *all);
static void adopt_orphans(struct loops *l);
static bool has_migration(struct loops *l, const struct vmi *v);
static bool backs_off(struct loops *l, struct migration *mg);

void
loop_migration_pass(struct loops *l)
{
    struct migrations all = {0};

    loop_migratable_pass(l);
    collect(l, &all);
    for (size_t i = 0; i < all.len; i++) {
        struct migration *mg = all.items[i];

        look(l, mg);
        if (coord_phase_final(mg->c.phase))
            tidy(l, mg);
    }
    admit(l, &all);
    retain(l, &all);
    adopt_orphans(l);
    for (size_t i = 0; i < all.len; i++)
        tree_free(all.items[i]->target_result);
    free(all.items);
}

/* --- what is stored --- */

/* By VMI; within it by creation, first sight, version, name. */
static int
cmp_age(const void *pa, const void *pb)
{
    const struct migration *a = *(const struct migration *const *)pa;
    const struct migration *b = *(const struct migration *const *)pb;
    int c = strcmp(a->entry.ns, b->entry.ns);

    if (c || (c = strcmp(a->entry.vmi, b->entry.vmi)))
        return c;
    if (a->c.created_us != b->c.created_us)
        return a->c.created_us < b->c.created_us ? -1 : 1;
    if (a->entry.pending_us != b->entry.pending_us) /* 0: not seen before, so younger */
        return (uint64_t)a->entry.pending_us - 1 < (uint64_t)b->entry.pending_us - 1 ? -1 : 1;
    if (a->rv != b->rv)
        return a->rv < b->rv ? -1 : 1;
    return strcmp(a->entry.name, b->entry.name);
}

/* Those that have not ended, and all of each VMI of which one has, or has changed. */
static void
collect(struct loops *l, struct migrations *all)
{
    struct strmap *seen = strmap_new();
    const struct vmim *m;

    for (size_t it = 0; (m = loop_cache_next_changed(l->cache, KIND_VMIM, l->all, &it));)
        collect_group(l, all, seen, m);
    for (size_t it = 0; (m = loop_cache_next_of(l->cache, LOOP_CACHE_VMIM_OPEN, NULL, "", &it));)
        collect_group(l, all, seen, m);
    strmap_free(seen, NULL);
    all->order = arena_calloc(l->arena, all->len + 1, sizeof(*all->order));
    for (size_t i = 0; i < all->len; i++)
        all->order[i] = all->items[i];
    if (all->len > 1)
        qsort(all->order, all->len, sizeof(*all->order), cmp_age);
    for (size_t i = 0, start = 0; i < all->len; i++) {
        if (strcmp(all->order[i]->entry.vmi, all->order[start]->entry.vmi) != 0 ||
            strcmp(all->order[i]->entry.ns, all->order[start]->entry.ns) != 0)
            start = i;
        all->order[i]->group = &all->order[start];
        for (size_t j = start; j <= i; j++)
            all->order[j]->group_len = i - start + 1;
    }
}

static void
collect_group(struct loops *l, struct migrations *all, struct strmap *seen, const struct vmim *one)
{
    const char *vmi = one->vmi_name ? one->vmi_name : "";
    AUTO_FREE char *key = xasprintf("%s/%s", one->meta.namespace_, vmi);
    const struct vmim *m;

    if (strmap_put(seen, key, all))
        return;
    for (size_t it = 0; (m = loop_cache_next_of(l->cache, LOOP_CACHE_VMIM_OF_VMI,
                                                one->meta.namespace_, vmi, &it));) {
        struct migration *mg = arena_alloc(l->arena, sizeof(*mg));

        if (all->len == all->cap) {
            all->cap = all->cap ? 2 * all->cap : 64;
            all->items = xreallocarray(all->items, all->cap, sizeof(*all->items));
        }
        mg->m = m;
        read_migration(l, mg);
        all->items[all->len++] = mg;
    }
}

static void
read_migration(struct loops *l, struct migration *mg)
{
    const struct vmim *m = mg->m;
    const struct tree *t = loop_core_tree(l, KIND_VMIM, m->meta.namespace_, m->meta.name);

    mg->rv = store_object_rv(t);
    mg->v = loop_cache_get(l->cache, KIND_VMI, m->meta.namespace_, m->vmi_name);
    mg->evacuation = kv_get(&m->meta.annotations, ANN_EVACUATION) != NULL;
    coord_init(&mg->c, m->meta.creation_us);
    if (coord_phase_parse(m->phase, &mg->c.phase, NULL) != 0)
        mg->c.phase = COORD_FAILED; /* not a phase of ours: nothing of ours to do */
    for (int p = COORD_PENDING; p < COORD_PHASE_COUNT; p++)
        mg->c.stamp_us[p] = phase_stamp_us(t, coord_phase_name((enum coord_phase)p));
    if (!mg->c.stamp_us[mg->c.phase]) /* written by hand: its time starts now */
        mg->c.stamp_us[mg->c.phase] = l->now_us;
    mg->entry = (struct coord_entry){
        .ns = m->meta.namespace_,
        .name = m->meta.name,
        .vmi = m->vmi_name ? m->vmi_name : "",
        .class_ = mg->evacuation ? COORD_CLASS_EVACUATION : COORD_CLASS_USER,
        .created_us = m->meta.creation_us,
        .pending_us = mg->c.phase == COORD_UNSET ? 0 : mg->c.stamp_us[COORD_PENDING],
    };
}

static int64_t
seconds_of(const struct vmim *m, const char *annotation)
{
    const char *s = kv_get(&m->meta.annotations, annotation);
    char *end;
    long long v = s ? strtoll(s, &end, 10) : 0;

    return s && *s && !*end && v > 0 ? v : 0; /* unparsable: the default, as upstream */
}

static enum coord_vmi
vmi_now(const struct vmi *v)
{
    enum vmi_phase phase = v ? vmi_phase_parse(v->status.phase) : VMI_UNSET;

    return !v                       ? COORD_VMI_MISSING
           : vmi_phase_final(phase) ? COORD_VMI_FINAL
           : v->meta.deletion_us    ? COORD_VMI_DELETING
           : phase == VMI_RUNNING   ? COORD_VMI_RUNNING
                                    : COORD_VMI_NOT_RUNNING;
}

static void
look(struct loops *l, struct migration *mg)
{
    const struct vmim *m = mg->m;
    const struct vmi *v = mg->v;
    const struct migration_state *ms =
        v && v->status.migration.present ? &v->status.migration : NULL;
    const struct condition *moved = loop_core_condition(&m->conditions, CONDITION_MOVED);
    const struct condition *memory =
        v ? loop_core_condition(&v->status.conditions, COND_MEMORY_COMPLETE) : NULL;
    struct coord_seen *s = &mg->seen;
    bool gone;

    *s = (struct coord_seen){
        .cancel = m->meta.deletion_us != 0,
        .vmi = vmi_now(v),
        .vmi_phase = v && v->status.phase ? v->status.phase : "",
        .unschedulable_s = seconds_of(m, ANN_UNSCHEDULABLE_TIMEOUT),
        .pending_s = seconds_of(m, ANN_PENDING_TIMEOUT),
        .source = m->state.source_node ? m->state.source_node
                  : v                  ? v->status.node_name
                                       : NULL,
        .target_node = m->state.target_node,
        .failure_reason = m->state.failed ? m->state.failure_reason : NULL,
        .moved_us =
            moved && moved->status && strcmp(moved->status, "True") == 0 ? moved->transition_us : 0,
    };
    if (ms && ms->migration_uid && strcmp(ms->migration_uid, m->meta.uid) == 0) {
        s->mine = true;
        s->address = ms->target_node_address && *ms->target_node_address;
        s->started = ms->start_us != 0;
        s->detected = ms->target_domain_detected;
        s->memory_pending = s->detected && memory && memory->status &&
                            strcmp(memory->status, "False") == 0 &&
                            !vmi_phase_final(vmi_phase_parse(v->status.phase));
        s->completed = ms->completed;
        s->failed = ms->failed;
        s->failure_reason = ms->failure_reason;
        s->abort_requested = ms->abort_requested;
        s->state_end_us = ms->end_us;
        s->source = ms->source_node;
        s->target_node = ms->target_node;
        s->owner_changed = v->status.node_name && s->target_node &&
                           strcmp(v->status.node_name, s->target_node) == 0;
        if (ms->configuration.has_completion_timeout)
            s->completion_timeout_s = policy_completion_timeout_s(
                ms->configuration.completion_timeout_s_per_gib, loop_policy_bytes(l, v));
    } else if (ms && ms->migration_uid && *ms->migration_uid) {
        s->other = true;
    }
    mg->entry.node = s->source;
    if (coord_phase_final(mg->c.phase))
        return;
    s->source_stale = loop_place_stale(l, s->source, &gone);
    if (gone && s->source && s->memory_pending) {
        /* A handler that lives makes its Node object again: it has as long as a silent one. */
        const int64_t *beat_us = strmap_get(l->gone, s->source);
        int64_t until_us = (beat_us ? *beat_us : l->start_us) + l->heartbeat_timeout_us;

        s->source_gone = l->now_us >= until_us;
        if (!s->source_gone)
            loop_core_look_at(l, KIND_VMIM, &m->meta, until_us);
    }
    if (s->target_node)
        s->target_stale = loop_place_stale(l, s->target_node, &s->target_gone);
    if (mg->c.phase <= COORD_SCHEDULED)
        look_at_rivals(l, mg);
    if (mg->c.phase == COORD_SCHEDULED && !s->mine && v && s->source && v->status.node_name &&
        strcmp(v->status.node_name, s->source) != 0)
        s->refused = arena_printf(l->arena, "the VM was started anew on node %s meanwhile",
                                  v->status.node_name);
    if (!s->refused && mg->c.phase <= COORD_SCHEDULED && v && s->vmi == COORD_VMI_RUNNING) {
        struct migratable can = loop_migratable(l, v);

        if (!can.ok)
            s->refused = arena_printf(l->arena, "Cannot migrate VMI, Reason: %s, Message: %s",
                                      can.reason, can.message);
    }
}

/* One migration of a VMI at a time: the first that was seen; the others are refused. */
static void
look_at_rivals(struct loops *l, struct migration *mg)
{
    for (size_t i = 0; i < mg->group_len; i++) {
        const struct migration *o = mg->group[i];

        if (o == mg || coord_phase_final(o->c.phase))
            continue;
        if ((o->c.phase != COORD_UNSET) != (mg->c.phase != COORD_UNSET) ? o->c.phase != COORD_UNSET
                                                                        : cmp_age(&o, &mg) < 0) {
            mg->seen.refused = arena_printf(l->arena,
                                            "VMI is not eligible for migration because another "
                                            "migration job is in progress: %s",
                                            o->m->meta.name);
            return;
        }
    }
}

/* --- the queue --- */

static int
cmp_queue(const void *pa, const void *pb)
{
    const struct migration *a = *(const struct migration *const *)pa;
    const struct migration *b = *(const struct migration *const *)pb;

    return coord_entry_cmp(&a->entry, &b->entry);
}

static int
cmp_version(const void *pa, const void *pb)
{
    const struct migration *a = *(const struct migration *const *)pa;
    const struct migration *b = *(const struct migration *const *)pb;

    return a->rv < b->rv ? -1 : a->rv > b->rv;
}

static void
admit(struct loops *l, struct migrations *all)
{
    struct migration **news = arena_calloc(l->arena, all->len + 1, sizeof(*news));
    struct migration **waiting = arena_calloc(l->arena, all->len + 1, sizeof(*waiting));
    size_t news_len = 0, waiting_len = 0;
    int64_t per_cluster, per_node;
    struct coord_queue *q;

    loop_policy_limits(l, &per_cluster, &per_node);
    q = coord_queue_new(per_cluster, per_node);
    for (size_t i = 0; i < all->len; i++) {
        struct migration *mg = all->order[i];

        if (mg->c.phase == COORD_UNSET)
            news[news_len++] = mg;
        else if (coord_phase_holds_slot(mg->c.phase))
            coord_queue_hold(q, &mg->entry);
        else if (!coord_phase_final(mg->c.phase))
            waiting[waiting_len++] = mg;
    }
    /* First come, first served: their versions say in which order they came, and the stamps,
     * one microsecond apart, keep it. */
    if (news_len > 1)
        qsort(news, news_len, sizeof(*news), cmp_version);
    for (size_t i = 0; i < news_len; i++)
        advance(l, news[i], l->now_us + (int64_t)i);
    for (size_t i = 0; i < all->len; i++)
        if (coord_phase_holds_slot(all->order[i]->c.phase))
            advance(l, all->order[i], l->now_us);
    if (waiting_len > 1)
        qsort(waiting, waiting_len, sizeof(*waiting), cmp_queue);
    for (size_t i = 0; i < waiting_len; i++) {
        struct migration *mg = waiting[i];
        enum coord_phase from = mg->c.phase;

        mg->seen.slot =
            !(from == COORD_PENDING && backs_off(l, mg)) &&
            coord_queue_allows(q, &mg->entry, &mg->seen.wait_reason, mg->wait, sizeof(mg->wait));
        mg->seen.wait_message = mg->wait;
        advance(l, mg, l->now_us);
        if (mg->c.phase != from && !coord_phase_final(mg->c.phase))
            coord_queue_hold(q, &mg->entry);
    }
    coord_queue_free(q);
}

/* Evacuations that failed are tried again, each time later. */
static bool
backs_off(struct loops *l, struct migration *mg)
{
    struct coord_attempt *before = arena_calloc(l->arena, mg->group_len, sizeof(*before));
    size_t len = 0;
    unsigned failures;
    int64_t until_us;
    char until[32];

    if (!mg->evacuation)
        return false;
    for (size_t i = 0; i < mg->group_len && mg->group[i] != mg; i++) {
        const struct migration *o = mg->group[i];

        if (o->evacuation && coord_phase_final(o->c.phase))
            before[len++] = (struct coord_attempt){
                .name = o->m->meta.name,
                .phase = o->c.phase,
                .deleting = o->m->meta.deletion_us != 0,
                .created_us = o->c.created_us,
                .ended_us = o->c.stamp_us[o->c.phase],
            };
    }
    until_us = coord_backoff_until_us(before, len, &failures);
    if (until_us <= l->now_us)
        return false;
    loop_core_look_at(l, KIND_VMIM, &mg->m->meta, until_us);
    time_format(until_us, false, until, sizeof(until));
    mg->seen.wait_reason = "MigrationBackoff";
    snprintf(mg->wait, sizeof(mg->wait), "waiting: backing off until %s after %u failed attempt%s",
             until, failures, failures == 1 ? "" : "s");
    return true;
}

/* --- one migration --- */

static void
advance(struct loops *l, struct migration *mg, int64_t now_us)
{
    enum coord_phase from = mg->c.phase;
    struct coord_seen *s = &mg->seen;
    struct coord_out out;

    coord_step(&mg->c, s, now_us, &out);
    if (out.actions & COORD_FIND_TARGET) {
        loop_target_find(l, mg);
        coord_step(&mg->c, s, now_us, &out);
    }
    loop_core_look_at(l, KIND_VMIM, &mg->m->meta, out.wake_us);
    if (s->mine && s->owner_changed && !s->moved_us)
        loop_migration_moved(l, mg);
    if (out.actions & COORD_STORE) {
        if (coord_phase_final(mg->c.phase) && FAULT(COORD_FINISH)) {
            loop_core_dirty(l);
            return;
        }
        loop_migration_store(l, mg, from, &out);
        return;
    }
    if (out.actions & COORD_HAND_OFF)
        loop_migration_hand_off(l, mg);
    if (out.actions & COORD_FAIL_STATE)
        loop_migration_fail_state(l, mg->v, mg->m->meta.uid, out.message, s->cancel);
    if (out.actions & COORD_SOURCE_LOST)
        loop_migration_source_lost(l, mg->v, mg->m->meta.uid);
    if (out.actions & COORD_REQUEST_ABORT)
        loop_migration_request_abort(l, mg->v, mg->m->meta.uid);
    if (out.actions & COORD_CHANGE_OWNER)
        loop_migration_change_owner(l, mg->v, mg->m->meta.uid);
    loop_migration_waits(l, mg, &out);
    if (s->mine)
        loop_migration_mirror(l, mg);
}

/* A finished one: what its handlers still write is copied, and nothing holds its deletion. */
static void
tidy(struct loops *l, struct migration *mg)
{
    if (mg->seen.mine && mg->c.phase == COORD_SUCCEEDED)
        loop_migration_mirror(l, mg);
    if (loop_core_has_finalizer(&mg->m->meta, FINALIZER_VMIM))
        loop_migration_release(l, mg);
}

/* --- what is kept --- */

static void
retain(struct loops *l, struct migrations *all)
{
    size_t next;

    for (size_t i = 0; i < all->len; i = next) {
        struct migration *first = all->order[i];
        size_t len = first->group_len, drop, kept = 0;
        struct coord_attempt *a = arena_calloc(l->arena, len, sizeof(*a));
        bool gone =
            !first->v && !loop_cache_get(l->cache, KIND_VM, first->entry.ns, first->entry.vmi);

        next = i + len;
        for (size_t j = 0; j < len; j++) {
            const struct migration *mg = first->group[j];
            enum coord_phase p;

            /* as stored, not as decided in this pass */
            if (coord_phase_parse(mg->m->phase, &p, NULL) != 0 || mg->m->meta.deletion_us)
                continue;
            a[kept++] = (struct coord_attempt){.name = mg->m->meta.name,
                                               .phase = p,
                                               .created_us = mg->c.created_us,
                                               .ended_us = mg->c.stamp_us[p]};
        }
        drop = coord_retention(a, kept);
        for (size_t j = 0; j < kept; j++) {
            const struct vmim *m = loop_cache_get(l->cache, KIND_VMIM, first->entry.ns, a[j].name);

            if (!m || !coord_phase_final(a[j].phase))
                continue;
            if (gone && j < kept - drop && l->now_us < a[j].ended_us + GONE_KEPT_US)
                loop_core_look_at(l, KIND_VMIM, &m->meta, a[j].ended_us + GONE_KEPT_US);
            else if (gone || j >= kept - drop)
                loop_write_delete(loop_write_new(l, KIND_VMIM, &m->meta, 0), NULL);
        }
    }
}

/* An unfinished state whose migration object is gone (its finalizer was taken away by hand) would
 * hold room and rivals for ever. */
static void
adopt_orphans(struct loops *l)
{
    const struct vmi *v;

    for (size_t it = 0; (v = loop_cache_next_changed(l->cache, KIND_VMI, l->all, &it));) {
        const struct migration_state *ms = &v->status.migration;
        bool moved;

        if (!ms->present || !ms->migration_uid || ms->failed || has_migration(l, v))
            continue;
        moved = v->status.node_name && ms->target_node &&
                strcmp(v->status.node_name, ms->target_node) == 0;
        if (ms->target_domain_detected || ms->completed) {
            if (!moved && !vmi_phase_final(vmi_phase_parse(v->status.phase)))
                loop_migration_change_owner(l, v, ms->migration_uid);
        } else if (!ms->start_us) {
            loop_migration_fail_state(l, v, ms->migration_uid, "the migration object is gone",
                                      true);
        } else if (!ms->abort_requested) {
            loop_migration_request_abort(l, v, ms->migration_uid);
        }
    }
}

/* The object that its migrationState is about. */
static bool
has_migration(struct loops *l, const struct vmi *v)
{
    const struct vmim *m;

    for (size_t it = 0; (m = loop_cache_next_of(l->cache, LOOP_CACHE_VMIM_OF_VMI,
                                                v->meta.namespace_, v->meta.name, &it));)
        if (strcmp(m->meta.uid, v->status.migration.migration_uid) == 0)
            return true;
    return false;
}
