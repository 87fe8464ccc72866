/* The test's cluster; see loop_world.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "base/strmap.h"
#include "loop_world.h"
#include "migrate/coord.h"

#define BEAT_US 10000000
#define TURN_US 10000

static void on_event(void *ctx, const struct store_event *ev);
static void count_moving(struct world *w);
static void on_beat(void *ctx);
static void on_turn(void *ctx);
static void wake_all(struct world *w);
static void arm(struct fake *f, uint64_t delay_us);

/* --- the world --- */

struct world *
world_new(uint64_t seed)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->loop = loop_sim_new(seed ? seed : 1);
    w->store = store_open_mem(w->loop);
    w->watch = store_watch(w->store, KIND_NONE, on_event, w);
    world_start_controller(w);
    world_apply(w, "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    return w;
}

struct world *
world_cluster(uint64_t seed, int nodes)
{
    struct world *w = world_new(seed);
    char name[16];

    for (int i = 1; i <= nodes; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        world_node(w, name, 16);
    }
    return w;
}

void
world_seeds(void (*fn)(uint64_t seed), uint64_t last)
{
    const char *one = getenv("LOOP_SEED");

    for (uint64_t seed = 1; seed <= last && !one; seed++)
        fn(seed);
    if (one)
        fn(strtoull(one, NULL, 10));
}

void
world_free(struct world *w)
{
    world_stop_controller(w);
    store_unwatch(w->watch);
    store_free(w->store);
    loops_free(w->dead);
    loops_free(w->loops);
    for (size_t i = 0; i < w->nodes_len; i++) {
        strmap_free(w->nodes[i].guests, free);
        strmap_free(w->nodes[i].since, free);
    }
    loop_free(w->loop);
    free(w);
}

static void
on_mismatch(void *ctx, const char *what)
{
    (void)ctx;
    fail_msg("a decision is not that of a cluster built anew: %s", what);
}

/* Every decision of every test is compared. */
void
world_start_controller(struct world *w)
{
    w->config.on_mismatch = on_mismatch;
    w->loops = loops_start(w->loop, w->store, &w->config);
}

/* What it had queued is refused from here on; its memory goes when the store has let go of it. */
void
world_stop_controller(struct world *w)
{
    if (!w->loops)
        return;
    loops_stop(w->loops);
    assert_null(w->dead);
    w->dead = TAKE_PTR(w->loops);
}

void
world_crash(struct world *w)
{
    world_stop_controller(w);
    world_run(w, 0.2);
    loops_free(TAKE_PTR(w->dead));
    world_start_controller(w);
    world_run(w, 0.2);
}

void
world_run(struct world *w, double seconds)
{
    uint64_t end_us = loop_now_us(w->loop) + (uint64_t)(seconds * 1e6);

    while (loop_now_us(w->loop) < end_us) {
        uint64_t next = loop_now_us(w->loop) + 100000;

        loop_sim_run_until(w->loop, next < end_us ? next : end_us);
        if (w->loops || !w->dead || !w->crash_at)
            continue;
        /* died by itself at crash_at: nothing of it is left after a while, and a new one starts */
        loop_sim_run_until(w->loop, loop_now_us(w->loop) + 200000);
        loops_free(TAKE_PTR(w->dead));
        w->crash_at = 0;
        world_start_controller(w);
    }
}

static void
on_event(void *ctx, const struct store_event *ev)
{
    struct world *w = ctx;

    w->writes++;
    for (size_t i = 0; i < w->nodes_len; i++) {
        const char *key;
        void *uid;

        for (size_t it = 0; strmap_next(w->nodes[i].guests, &it, &key, &uid);)
            for (size_t j = 0; j < i; j++)
                if (!w->nodes[i].off && !w->nodes[j].off && strmap_get(w->nodes[j].guests, key))
                    fail_msg("%s runs on %s and on %s", key, w->nodes[j].name, w->nodes[i].name);
    }
    if (ev->kind == KIND_VMIM)
        count_moving(w);
    if (ev->kind == KIND_VMI)
        wake_all(w);
    if (w->crash_at && w->writes == w->crash_at)
        world_stop_controller(w);
}

struct moving {
    struct world *w;
    int all, from[WORLD_NODES];
};

static bool
add_moving(void *ctx, const struct tree *obj)
{
    struct moving *m = ctx;
    enum coord_phase p;

    if (coord_phase_parse(tree_find_string(obj, "", "status", "phase", NULL), &p, NULL) != 0)
        fail_msg("a migration of no known phase");
    if (!coord_phase_holds_slot(p))
        return true;
    m->all++;
    for (size_t i = 0; i < m->w->nodes_len; i++)
        if (strcmp(tree_find_string(obj, "", "status", "migrationState", "sourceNode", NULL),
                   m->w->nodes[i].name) == 0)
            m->from[i]++;
    return true;
}

static void
count_moving(struct world *w)
{
    struct moving m = {.w = w};

    store_list(w->store, KIND_VMIM, NULL, add_moving, &m);
    if (m.all > w->most_moving)
        w->most_moving = m.all;
    for (size_t i = 0; i < w->nodes_len; i++)
        if (m.from[i] > w->most_from[i])
            w->most_from[i] = m.from[i];
}

/* --- objects --- */

static void
must_work(void *ctx, const struct store_result *res)
{
    (void)ctx;
    if (res->rc)
        fail_msg("%s", err_msg(res->err));
}

static void
check_object(struct tree *t, unsigned flags)
{
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    struct warnings warn = {.arena = a};
    struct err err = {0};

    if (object_validate(t, flags, &errs, &warn) != 0) {
        field_errors_text(&errs, "object", t, &err);
        fail_msg("%s", err_msg(&err));
    }
    arena_free(a);
}

void
world_apply(struct world *w, const char *yaml)
{
    struct tree *docs;
    struct err err = {0};

    if (tree_from_yaml("test", yaml, strlen(yaml), &docs, &err) != 0)
        fail_msg("%s\n%s", err_msg(&err), yaml);
    for (size_t i = 0; i < tree_len(docs); i++) {
        struct tree *t = tree_copy(tree_at(docs, i));

        check_object(t, VALIDATE_CREATE | VALIDATE_STATUS);
        store_create(w->store, t, must_work, NULL);
    }
    tree_free(docs);
    loop_sim_run_until(w->loop, loop_now_us(w->loop) + 1000);
}

void
world_applyf(struct world *w, const char *fmt, ...)
{
    AUTO_SB struct sb text = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    world_apply(w, sb_str(&text));
}

void
world_vm(struct world *w, const char *name, const char *strategy, const char *memory,
         const char *extra)
{
    world_applyf(w,
                 "apiVersion: kubevirt.io/v1\n"
                 "kind: VirtualMachine\n"
                 "metadata: {name: %s, namespace: shop}\n"
                 "spec:\n"
                 "  runStrategy: %s\n"
                 "  template:\n"
                 "    metadata: {labels: {app: %s}}\n"
                 "    spec:\n"
                 "      domain:\n"
                 "        devices: {}\n"
                 "        memory: {guest: %s}\n"
                 "%s",
                 name, strategy, name, memory, extra);
}

void
world_delete(struct world *w, enum kind kind, const char *ns, const char *name)
{
    store_delete(w->store, kind, ns, name, NULL, 0, must_work, NULL);
    loop_sim_run_until(w->loop, loop_now_us(w->loop) + 1000);
}

void
world_patch(struct world *w, enum kind kind, const char *ns, const char *name, const char *json)
{
    struct tree *t;
    struct err err = {0};

    if (tree_from_json(json, strlen(json), &t, &err) != 0)
        fail_msg("%s", err_msg(&err));
    store_patch(w->store, kind, ns, name, 0, t, must_work, NULL);
    loop_sim_run_until(w->loop, loop_now_us(w->loop) + 1000);
}

const char *
world_phase(struct world *w, enum kind kind, const char *ns, const char *name)
{
    return world_text(w, kind, ns, name, "status", "phase");
}

const char *
world_vmi_node(struct world *w, const char *name)
{
    return world_text(w, KIND_VMI, "shop", name, "status", "nodeName");
}

const char *
world_condition(struct world *w, enum kind kind, const char *ns, const char *name, const char *type,
                const char *field)
{
    const struct tree *list =
        tree_find(store_get(w->store, kind, ns, name), "status", "conditions", NULL);

    for (size_t i = 0; i < tree_len(list); i++)
        if (strcmp(tree_get_string(tree_get(tree_at(list, i), "type"), ""), type) == 0)
            return tree_get_string(tree_get(tree_at(list, i), field), "");
    return "";
}

const char *
world_runs_on(struct world *w, const char *name)
{
    AUTO_FREE char *key = xasprintf("shop/%s", name);
    const char *where = NULL;

    for (size_t i = 0; i < w->nodes_len; i++) {
        if (w->nodes[i].off || !strmap_get(w->nodes[i].guests, key))
            continue;
        if (where)
            fail_msg("%s runs on %s and on %s", name, where, w->nodes[i].name);
        where = w->nodes[i].name;
    }
    return where;
}

struct find_event {
    const char *name, *reason, *text;
    int64_t count;
};

static bool
match_event(void *ctx, const struct tree *obj)
{
    struct find_event *f = ctx;

    if (strcmp(tree_find_string(obj, "", "involvedObject", "name", NULL), f->name) == 0 &&
        strcmp(tree_find_string(obj, "", "reason", NULL), f->reason) == 0 &&
        strstr(tree_find_string(obj, "", "message", NULL), f->text))
        f->count += tree_get_int(tree_get(obj, "count"), 0);
    return true;
}

int64_t
world_event(struct world *w, const char *name, const char *reason, const char *text)
{
    struct find_event f = {name, reason, text, 0};

    store_list(w->store, KIND_EVENT, NULL, match_event, &f);
    return f.count;
}

struct find_migrations {
    const char *vmi, *newest;
    uint64_t rv;
    int64_t created;
    size_t len;
};

static bool
match_migration(void *ctx, const struct tree *obj)
{
    struct find_migrations *f = ctx;
    int64_t us = 0;

    if (strcmp(tree_find_string(obj, "", "spec", "vmiName", NULL), f->vmi) != 0)
        return true;
    f->len++;
    time_parse(tree_find_string(obj, "", "metadata", "creationTimestamp", NULL), &us, NULL);
    if (us >= f->created) {
        f->created = us;
        f->newest = object_name(obj);
    }
    return true;
}

size_t
world_migrations(struct world *w, const char *vmi, const char **ret_newest)
{
    struct find_migrations f = {.vmi = vmi, .newest = ""};

    store_list(w->store, KIND_VMIM, "shop", match_migration, &f);
    if (ret_newest)
        *ret_newest = f.newest;
    return f.len;
}

static bool
validate_one(void *ctx, const struct tree *obj)
{
    struct tree *t = tree_copy(obj);

    (void)ctx;
    check_object(t, VALIDATE_STATUS);
    tree_free(t);
    return true;
}

void
world_validate(struct world *w)
{
    for (int k = KIND_NONE + 1; k < KIND_COUNT; k++)
        if (kind_info((enum kind)k)->stored)
            store_list(w->store, (enum kind)k, NULL, validate_one, NULL);
}

/* --- the fake handlers --- */

struct fake *
world_fake(struct world *w, const char *name)
{
    for (size_t i = 0; i < w->nodes_len; i++)
        if (strcmp(w->nodes[i].name, name) == 0)
            return &w->nodes[i];
    return NULL;
}

struct fake *
world_node(struct world *w, const char *name, int memory_gib)
{
    struct fake *f = &w->nodes[w->nodes_len++];

    assert_true(w->nodes_len <= WORLD_NODES);
    f->w = w;
    snprintf(f->name, sizeof(f->name), "%s", name);
    f->guests = strmap_new();
    f->since = strmap_new();
    f->prepare_us = 50000;
    f->claim_us = 20000;
    f->move_us = 2000000;
    world_applyf(w,
                 "apiVersion: v1\n"
                 "kind: Node\n"
                 "metadata:\n"
                 "  name: %s\n"
                 "  labels: {kubernetes.io/hostname: %s, kubevirt.io/schedulable: 'true',\n"
                 "    host-model-cpu.node.kubevirt.io/Haswell: 'true',\n"
                 "    cpu-model.node.kubevirt.io/Haswell: 'true',\n"
                 "    cpu-model-migration.node.kubevirt.io/Haswell: 'true'}\n"
                 "status:\n"
                 "  capacity: {cpu: '16', memory: %dGi, pods: '110', devices.kubevirt.io/kvm: 1k}\n"
                 "  allocatable: {cpu: '16', memory: %dGi, pods: '110', "
                 "devices.kubevirt.io/kvm: 1k}\n"
                 "  conditions:\n"
                 "  - {type: Ready, status: 'True', reason: HandlerReady}\n",
                 name, name, memory_gib, memory_gib);
    on_beat(f);
    world_run(w, 0.1);
    return f;
}

static int
beat(void *ctx, struct tree *node)
{
    struct fake *f = ctx;
    char now[32];

    time_format(loop_wall_us(f->w->loop), false, now, sizeof(now));
    tree_set_path(node, tree_string(now), "metadata", "annotations", ANN_HEARTBEAT, NULL);
    tree_set_path(node, tree_string("true"), "metadata", "labels", LABEL_SCHEDULABLE, NULL);
    object_set_condition(node, "Ready", "True", "HandlerReady", "", loop_wall_us(f->w->loop));
    return 1;
}

static void
on_beat(void *ctx)
{
    struct fake *f = ctx;

    f->beat = loop_timer_add(f->w->loop, BEAT_US, on_beat, f);
    if (!f->down && !f->off)
        store_mutate(f->w->store, KIND_NODE, NULL, f->name, 0, beat, NULL, f);
    arm(f, TURN_US);
}

/* The handler looks again after delay_us, or sooner. */
static void
arm(struct fake *f, uint64_t delay_us)
{
    uint64_t due = loop_now_us(f->w->loop) + delay_us;

    if (f->turn && f->turn_us <= due)
        return;
    loop_timer_del(f->turn);
    f->turn = loop_timer_add(f->w->loop, delay_us, on_turn, f);
    f->turn_us = due;
}

static void
wake_all(struct world *w)
{
    for (size_t i = 0; i < w->nodes_len; i++)
        arm(&w->nodes[i], TURN_US);
}

/* True when `step` of this VM has been due for delay_us; else the handler looks again then. */
static bool
after(struct fake *f, const char *step, const char *id, uint64_t delay_us)
{
    AUTO_FREE char *key = xasprintf("%s/%s", step, id);
    uint64_t now = loop_now_us(f->w->loop), *first = strmap_get(f->since, key);

    if (!first) {
        first = xmalloc(sizeof(*first));
        *first = now;
        strmap_put(f->since, key, first);
    }
    if (now - *first >= delay_us)
        return true;
    arm(f, *first + delay_us - now);
    return false;
}

/* One write of a handler: a few keys of migrationState or of status. */
struct say {
    struct fake *f;
    char uid[64]; /* of the VMI */
    char migration[64];
    bool claim; /* only while neither failed nor an abort was asked for */
    const char *phase, *ready;
    const char *time_key, *flag, *reason, *abort_status;
    char address[64];
    bool clear_address;
};

static void
said(void *ctx, const struct store_result *res)
{
    (void)res;
    free(ctx);
}

static int
say_it(void *ctx, struct tree *vmi)
{
    struct say *s = ctx;
    struct tree *status = tree_ensure_map(vmi, "status"), *ms = tree_get(status, "migrationState");
    int64_t now_us = loop_wall_us(s->f->w->loop);
    char now[32];

    time_format(now_us, false, now, sizeof(now));
    if (strcmp(object_uid(vmi), s->uid) != 0 || s->f->down || s->f->off)
        return 0;
    if (*s->migration &&
        (!ms || strcmp(tree_get_string(tree_get(ms, "migrationUid"), ""), s->migration) != 0))
        return 0;
    if (s->claim && (tree_get_bool(tree_get(ms, "failed"), false) ||
                     tree_get_bool(tree_get(ms, "abortRequested"), false)))
        return 0;
    if (s->phase) {
        tree_set(status, "phase", tree_string(s->phase));
        object_set_condition(vmi, "Ready", s->ready, s->ready[0] == 'T' ? "" : "GuestNotRunning",
                             "", now_us);
    }
    if (s->time_key)
        tree_set(ms, s->time_key, tree_string(now));
    if (s->flag)
        tree_set(ms, s->flag, tree_bool(true));
    if (s->reason)
        tree_set(ms, "failureReason", tree_string(s->reason));
    if (s->abort_status)
        tree_set(ms, "abortStatus", tree_string(s->abort_status));
    if (*s->address)
        tree_set(ms, "targetNodeAddress", tree_string(s->address));
    if (s->clear_address)
        tree_del(ms, "targetNodeAddress");
    return 1;
}

static struct say *
new_say(struct fake *f, const struct tree *vmi, const char *migration)
{
    struct say *s = xcalloc(1, sizeof(*s));

    s->f = f;
    snprintf(s->uid, sizeof(s->uid), "%s", object_uid(vmi));
    snprintf(s->migration, sizeof(s->migration), "%s", migration);
    return s;
}

static void
send(struct fake *f, const struct tree *vmi, struct say *s)
{
    store_mutate(f->w->store, KIND_VMI, object_namespace(vmi), object_name(vmi), 0, say_it, said,
                 s);
}

static void
say_phase(struct fake *f, const struct tree *vmi, const char *phase)
{
    struct say *s = new_say(f, vmi, "");

    s->phase = phase;
    s->ready = strcmp(phase, "Running") == 0 ? "True" : "False";
    send(f, vmi, s);
}

static void
say_failed(struct fake *f, const struct tree *vmi, const char *uid, const char *why,
           const char *abort_status)
{
    struct say *s = new_say(f, vmi, uid);

    s->flag = "failed";
    s->time_key = "endTimestamp";
    s->reason = why;
    s->abort_status = abort_status;
    send(f, vmi, s);
}

struct view { /* of one VMI */
    const struct tree *vmi;
    char key[128];
    const char *node, *phase, *uid; /* uid: of the migration */
    const char *source, *target, *address;
    bool deleting, final, failed, started, detected, completed, abort_requested;
};

static void
see(struct view *v, const struct tree *vmi)
{
    const struct tree *status = tree_get(vmi, "status"), *ms = tree_get(status, "migrationState");

    *v = (struct view){
        .vmi = vmi,
        .node = tree_find_string(status, "", "nodeName", NULL),
        .phase = tree_find_string(status, "", "phase", NULL),
        .uid = tree_find_string(ms, "", "migrationUid", NULL),
        .source = tree_find_string(ms, "", "sourceNode", NULL),
        .target = tree_find_string(ms, "", "targetNode", NULL),
        .address = tree_find_string(ms, "", "targetNodeAddress", NULL),
        .deleting = tree_find(vmi, "metadata", "deletionTimestamp", NULL) != NULL,
        .failed = tree_get_bool(tree_get(ms, "failed"), false),
        .started = tree_get(ms, "startTimestamp") != NULL,
        .detected = tree_get_bool(tree_get(ms, "targetNodeDomainDetected"), false),
        .completed = tree_get_bool(tree_get(ms, "completed"), false),
        .abort_requested = tree_get_bool(tree_get(ms, "abortRequested"), false),
    };
    v->final = strcmp(v->phase, "Succeeded") == 0 || strcmp(v->phase, "Failed") == 0;
    snprintf(v->key, sizeof(v->key), "%s/%s", object_namespace(vmi), object_name(vmi));
}

static bool
has_guest(const struct fake *f, const struct view *v)
{
    const char *uid = strmap_get(f->guests, v->key);

    return uid && strcmp(uid, object_uid(v->vmi)) == 0;
}

static void
own(struct fake *f, const struct view *v)
{
    bool moved_in = strcmp(v->target, f->name) == 0 && *v->uid && !v->failed;

    if (v->final) {
        free(strmap_del(f->guests, v->key));
    } else if (v->deleting) {
        free(strmap_del(f->guests, v->key));
        say_phase(f, v->vmi, "Succeeded");
    } else if (strcmp(v->phase, "Scheduled") == 0) {
        if (!after(f, "boot", object_uid(v->vmi), 20000))
            return;
        if (f->cannot_boot) {
            say_phase(f, v->vmi, "Failed");
        } else {
            free(strmap_put(f->guests, v->key, xstrdup(object_uid(v->vmi))));
            say_phase(f, v->vmi, "Running");
        }
    } else if (strcmp(v->phase, "Running") == 0 && !has_guest(f, v) &&
               !(v->started && !v->failed) && !moved_in) {
        say_phase(f, v->vmi, "Failed"); /* the guest has died */
    }
}

static void
be_target(struct fake *f, const struct view *v)
{
    struct say *s;

    if (v->failed) {
        if (*v->address && !f->never_cleans) {
            s = new_say(f, v->vmi, v->uid);
            s->clear_address = true;
            send(f, v->vmi, s);
        }
    } else if (has_guest(f, v)) {
        if (v->detected)
            return;
        s = new_say(f, v->vmi, v->uid);
        s->flag = "targetNodeDomainDetected";
        send(f, v->vmi, s);
    } else if (!*v->address && !v->completed && !v->detected) {
        if (f->refuses) {
            say_failed(f, v->vmi, v->uid, "the migration network is not there", NULL);
        } else if (!f->never_announces && after(f, "prepare", v->uid, f->prepare_us)) {
            s = new_say(f, v->vmi, v->uid);
            snprintf(s->address, sizeof(s->address), "10.200.5.%u:4000",
                     (unsigned)(f - f->w->nodes) + 1);
            send(f, v->vmi, s);
        }
    }
}

static void
be_source(struct fake *f, const struct view *v)
{
    struct fake *t = world_fake(f->w, v->target);
    struct say *s;

    if (v->failed || v->completed)
        return;
    if (!v->started) {
        if (!*v->address || v->abort_requested || f->never_claims ||
            !after(f, "claim", v->uid, f->claim_us))
            return;
        s = new_say(f, v->vmi, v->uid);
        s->claim = true;
        s->time_key = "startTimestamp";
        send(f, v->vmi, s);
        return;
    }
    if (f->dies_after_claim) {
        f->down = true;
        return;
    }
    if (has_guest(f, v)) {
        if (v->abort_requested && !f->ignores_abort) {
            say_failed(f, v->vmi, v->uid, "Live migration has been aborted", "Succeeded");
        } else if (after(f, "move", v->uid, f->move_us)) {
            if (f->fails_migration) {
                say_failed(f, v->vmi, v->uid, "progressTimeout: nothing moved for 150 s", NULL);
            } else if (t && !t->down && !t->off) {
                free(strmap_del(f->guests, v->key));
                free(strmap_put(t->guests, v->key, xstrdup(object_uid(v->vmi))));
                wake_all(f->w);
                f->down = f->down || f->dies_after_move;
            }
        }
    } else if (!f->never_completes && t && has_guest(t, v) && after(f, "complete", v->uid, 50000)) {
        s = new_say(f, v->vmi, v->uid);
        s->flag = "completed";
        s->time_key = "endTimestamp";
        send(f, v->vmi, s);
    }
}

static bool
one_vmi(void *ctx, const struct tree *vmi)
{
    struct fake *f = ctx;
    struct view v;

    see(&v, vmi);
    if (strcmp(v.source, f->name) == 0 && *v.uid)
        be_source(f, &v);
    if (strcmp(v.target, f->name) == 0 && *v.uid)
        be_target(f, &v);
    if (strcmp(v.node, f->name) == 0 && !f->down)
        own(f, &v);
    return true;
}

/* A guest whose VMI is gone, is another one, or has ended elsewhere. */
static void
reap(struct fake *f)
{
    const char *key;
    void *uid;

    for (size_t it = 0; strmap_next(f->guests, &it, &key, &uid);) {
        const char *slash = strchr(key, '/');
        AUTO_FREE char *ns = xstrndup(key, (size_t)(slash - key));
        const struct tree *vmi = store_get(f->w->store, KIND_VMI, ns, slash + 1);
        struct view v;

        if (vmi)
            see(&v, vmi);
        if (!vmi || strcmp(object_uid(vmi), uid) != 0 || v.final)
            free(strmap_del(f->guests, key));
    }
}

static void
on_turn(void *ctx)
{
    struct fake *f = ctx;

    f->turn = NULL;
    if (f->off) {
        const char *key;

        for (size_t it = 0; strmap_next(f->guests, &it, &key, NULL);)
            free(strmap_del(f->guests, key));
        return;
    }
    if (f->down)
        return;
    reap(f);
    store_list(f->w->store, KIND_VMI, NULL, one_vmi, f);
}
