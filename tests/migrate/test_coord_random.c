/* Random histories on virtual time: migrations come and are cancelled, VMs end, handlers are slow,
 * silent, refuse or die, and the controller loses its memory at any write. Whatever happens: limits
 * hold, a final phase stays, one migration a VM is under way, everything that waits says why, and
 * each phase but Running ends within its deadline. A failing seed is printed; the same seed gives
 * the same history. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/rng.h"
#include "migrate/coord_queue.h"

#define S       INT64_C(1000000)
#define NODES   4
#define VMS     12
#define MIGS    60
#define STEPS   600
#define SEEDS   150
#define CLUSTER 5
#define PERNODE 2

static const char *const node_names[NODES + 1] = {"n0", "n1", "n2", "n3", "?"};

struct state { /* status.migrationState */
    int uid;   /* index of the migration, -1 = none */
    int source, target;
    bool address, started, detected, completed, failed, abort_requested;
    int64_t end_us;
};

struct machine { /* a VM */
    int node;
    enum coord_vmi vmi;
    struct state ms;
    char name[16];
};

struct node {
    bool silent, gone;
};

struct mig {
    struct coord stored; /* all that a restart finds */
    bool exists, cancel;
    int vm, source, target; /* chosen when it became Scheduled */
    enum coord_class class_;
    int64_t slow_us; /* its handlers do nothing before this time */
    char name[16];
};

struct world {
    struct rng rng;
    uint64_t seed;
    int64_t now_us;
    struct node nodes[NODES];
    struct machine vms[VMS];
    struct mig migs[MIGS];
    int migs_len;
    bool calm; /* handlers answer, nothing new happens */
};

#define want(w, cond, ...)                                                      \
    do {                                                                        \
        if (!(cond)) {                                                          \
            print_error("seed %llu at %lld s: ", (unsigned long long)(w)->seed, \
                        (long long)((w)->now_us / S));                          \
            fail_msg(__VA_ARGS__);                                              \
        }                                                                       \
    } while (0)

static bool
chance(struct world *w, unsigned percent)
{
    return rng_below(&w->rng, 100) < percent;
}

static int
pick(struct world *w, int n)
{
    return (int)rng_below(&w->rng, (uint64_t)n);
}

static bool
dead(const struct world *w, int node)
{
    return node < 0 || w->nodes[node].silent || w->nodes[node].gone;
}

/* --- the driver: what control/loop_migration.c does, without a store --- */

static int
source_of(const struct world *w, int i)
{
    const struct mig *m = &w->migs[i];
    const struct machine *v = &w->vms[m->vm];

    return v->ms.uid == i ? v->ms.source : m->stored.phase >= COORD_SCHEDULED ? m->source : v->node;
}

static void
see(struct world *w, int i, struct coord_seen *s)
{
    struct mig *m = &w->migs[i];
    struct machine *v = &w->vms[m->vm];
    int source = source_of(w, i);
    int target = v->ms.uid == i ? v->ms.target : m->target;

    *s = (struct coord_seen){
        .cancel = m->cancel,
        .vmi = v->vmi,
        .vmi_phase = "X",
        .mine = v->ms.uid == i,
        .other = v->ms.uid >= 0 && v->ms.uid != i,
        .source = source < 0 ? NULL : node_names[source],
        .target_node = target < 0 ? NULL : node_names[target],
        .source_stale = dead(w, source),
        .target_stale = target >= 0 && dead(w, target),
        .target_gone = target >= 0 && w->nodes[target].gone,
        .completion_timeout_s = 800,
    };
    if (s->mine) {
        s->address = v->ms.address;
        s->started = v->ms.started;
        s->detected = v->ms.detected;
        s->completed = v->ms.completed;
        s->failed = v->ms.failed;
        s->failure_reason = "why";
        s->abort_requested = v->ms.abort_requested;
        s->state_end_us = v->ms.end_us;
        s->owner_changed = v->node == v->ms.target;
        s->moved_us = s->owner_changed ? m->stored.stamp_us[COORD_RUNNING] : 0;
    }
    if (m->stored.phase == COORD_SCHEDULED && !s->mine && m->source != v->node)
        s->refused = "the VM was started anew elsewhere";
    for (int o = 0; o < w->migs_len && m->stored.phase <= COORD_SCHEDULED; o++)
        if (o != i && w->migs[o].vm == m->vm && !coord_phase_final(w->migs[o].stored.phase) &&
            ((w->migs[o].stored.phase != COORD_UNSET) != (m->stored.phase != COORD_UNSET)
                 ? w->migs[o].stored.phase != COORD_UNSET
                 : o < i))
            s->refused = "another one is under way";
}

static void
find_target(struct world *w, int i, struct coord_seen *s)
{
    struct mig *m = &w->migs[i];

    for (int n = 0; n < NODES; n++) {
        if (dead(w, n) || n == w->vms[m->vm].node || (!w->calm && chance(w, 30)))
            continue;
        m->target = n;
        s->target = COORD_TARGET_FOUND;
        return;
    }
    s->target = !w->calm && chance(w, 30) ? COORD_TARGET_BLOCKED : COORD_TARGET_UNSCHEDULABLE;
    s->target_reason = "Unschedulable";
    s->target_message = "0/4 nodes are available";
}

/* The writes; each conditional as the real ones are. */
static void
perform(struct world *w, int i, unsigned actions)
{
    struct mig *m = &w->migs[i];
    struct machine *v = &w->vms[m->vm];

    if (actions & COORD_HAND_OFF && v->vmi == COORD_VMI_RUNNING && v->ms.uid != i)
        v->ms = (struct state){.uid = i, .source = v->node, .target = m->target};
    if (actions & COORD_FAIL_STATE && v->ms.uid == i && !v->ms.failed && !v->ms.completed &&
        (!v->ms.started || v->vmi == COORD_VMI_FINAL)) {
        v->ms.failed = true;
        v->ms.end_us = w->now_us;
    }
    if (actions & COORD_REQUEST_ABORT && v->ms.uid == i)
        v->ms.abort_requested = true;
    if (actions & COORD_CHANGE_OWNER && v->ms.uid == i && v->vmi != COORD_VMI_FINAL &&
        v->vmi != COORD_VMI_MISSING)
        v->node = v->ms.target;
}

static void
check_phase_ages(struct world *w, int i, const struct coord *m)
{
    static const int64_t most_s[COORD_PHASE_COUNT] = {
        [COORD_SCHEDULING] = COORD_PENDING_S,
        [COORD_SCHEDULED] = COORD_HANDOFF_S,
        [COORD_PREPARING] = COORD_PREPARE_S + COORD_CLEANUP_S,
        [COORD_READY] = COORD_START_S + COORD_CLEANUP_S,
    };
    int64_t age = w->now_us - m->stamp_us[m->phase];

    if (most_s[m->phase])
        want(w, age <= (most_s[m->phase] + 12) * S, "migration %d: %lld s in %s", i,
             (long long)(age / S), coord_phase_name(m->phase));
}

/* One migration; true when it holds a slot that it did not hold before. */
static bool
drive(struct world *w, int i, struct coord_seen *s)
{
    struct mig *m = &w->migs[i];
    struct coord c = m->stored; /* read from the store: nothing is remembered between passes */
    enum coord_phase from = c.phase;
    struct coord_out out;

    coord_step(&c, s, w->now_us, &out);
    if (out.actions & COORD_FIND_TARGET) {
        find_target(w, i, s);
        coord_step(&c, s, w->now_us, &out);
        want(w, !(out.actions & COORD_FIND_TARGET), "it asks for ever");
    }
    want(w, c.phase == from || coord_phase_next(from) & 1u << c.phase, "illegal edge %s -> %s",
         coord_phase_name(from), coord_phase_name(c.phase));
    want(w, !coord_phase_final(from) || (c.phase == from && !out.actions), "left %s",
         coord_phase_name(from));
    if (c.phase == COORD_FAILED && from != COORD_FAILED)
        want(w, *out.reason && *out.message, "failed without a reason");
    if (c.phase == from && !coord_phase_final(from) && !out.actions && from != COORD_RUNNING)
        want(w, out.waiting && *out.reason && *out.message, "%s waits without a reason",
             coord_phase_name(from));
    if (!w->calm && chance(w, 5))
        return false; /* killed before the write */
    perform(w, i, out.actions);
    if (out.actions & COORD_STORE)
        m->stored = c;
    if (m->stored.phase == COORD_SCHEDULED && from != COORD_SCHEDULED)
        m->source = w->vms[m->vm].node;
    check_phase_ages(w, i, &m->stored);
    return m->stored.phase != from && !coord_phase_final(m->stored.phase) &&
           m->stored.phase >= COORD_SCHEDULING;
}

static struct world *sorting;

static int
cmp_waiting(const void *pa, const void *pb)
{
    const struct mig *a = &sorting->migs[*(const int *)pa], *b = &sorting->migs[*(const int *)pb];
    struct coord_entry ea = {.name = a->name,
                             .class_ = a->class_,
                             .created_us = a->stored.created_us,
                             .pending_us = a->stored.stamp_us[COORD_PENDING]};
    struct coord_entry eb = {.name = b->name,
                             .class_ = b->class_,
                             .created_us = b->stored.created_us,
                             .pending_us = b->stored.stamp_us[COORD_PENDING]};

    return coord_entry_cmp(&ea, &eb);
}

static void
entry_of(struct world *w, int i, struct coord_entry *e)
{
    struct mig *m = &w->migs[i];
    struct machine *v = &w->vms[m->vm];
    int node = source_of(w, i);

    *e = (struct coord_entry){.ns = "s",
                              .name = m->name,
                              .vmi = v->name,
                              .node = node < 0 ? NULL : node_names[node],
                              .class_ = m->class_};
}

static void
check_limits(struct world *w)
{
    int all = 0, out[NODES] = {0}, of_vm[VMS] = {0};

    for (int i = 0; i < w->migs_len; i++) {
        struct mig *m = &w->migs[i];
        int node = source_of(w, i);

        if (!coord_phase_holds_slot(m->stored.phase))
            continue;
        all++;
        want(w, ++of_vm[m->vm] == 1, "two migrations of vm %d", m->vm);
        if (node >= 0)
            want(w, ++out[node] <= PERNODE, "%d out of node %d", out[node], node);
    }
    want(w, all <= CLUSTER, "%d in the cluster", all);
}

static void
pass(struct world *w)
{
    struct coord_queue *q = coord_queue_new(CLUSTER, PERNODE);
    struct coord_entry e[MIGS];
    int waiting[MIGS], len = 0;

    for (int i = 0; i < w->migs_len; i++) {
        entry_of(w, i, &e[i]);
        if (coord_phase_holds_slot(w->migs[i].stored.phase))
            coord_queue_hold(q, &e[i]);
        else if (!coord_phase_final(w->migs[i].stored.phase) &&
                 w->migs[i].stored.phase != COORD_UNSET)
            waiting[len++] = i;
    }
    for (int i = 0; i < w->migs_len; i++) {
        struct coord_seen s;

        if (w->migs[i].stored.phase != COORD_UNSET &&
            !coord_phase_holds_slot(w->migs[i].stored.phase))
            continue;
        see(w, i, &s);
        drive(w, i, &s);
    }
    sorting = w;
    qsort(waiting, (size_t)len, sizeof(*waiting), cmp_waiting);
    for (int j = 0; j < len; j++) {
        int i = waiting[j];
        char why[COORD_MESSAGE_SIZE] = "";
        struct coord_seen s;

        see(w, i, &s);
        s.slot = coord_queue_allows(q, &e[i], &s.wait_reason, why, sizeof(why));
        s.wait_message = why;
        if (drive(w, i, &s))
            coord_queue_hold(q, &e[i]);
        if (!w->calm && chance(w, 3))
            break; /* killed in the middle of a pass */
    }
    coord_queue_free(q);
    check_limits(w);
}

/* --- the handlers: docs/protocol.md, when they feel like it --- */

static void
handlers(struct world *w)
{
    for (int i = 0; i < VMS; i++) {
        struct machine *v = &w->vms[i];
        struct state *ms = &v->ms;
        bool s_up, t_up;

        if (ms->uid < 0 || v->vmi == COORD_VMI_MISSING)
            continue;
        s_up = !dead(w, ms->source) && (w->calm || w->now_us >= w->migs[ms->uid].slow_us);
        t_up = !dead(w, ms->target) && (w->calm || w->now_us >= w->migs[ms->uid].slow_us);
        if (!w->calm && chance(w, 60))
            continue;
        if (ms->failed) {
            if (t_up)
                ms->address = false;
        } else if (!ms->started) {
            if (t_up && !ms->address && !chance(w, 20))
                ms->address = true;
            else if (t_up && chance(w, 10)) {
                ms->failed = true;
                ms->end_us = w->now_us;
            } else if (s_up && ms->address && !ms->abort_requested)
                ms->started = true;
        } else if (v->node == ms->source && !ms->detected && !ms->completed) {
            if (s_up && (ms->abort_requested || chance(w, 10))) {
                ms->failed = true;
                ms->end_us = w->now_us;
            } else if (t_up && s_up && v->vmi == COORD_VMI_RUNNING) {
                if (chance(w, 50))
                    ms->detected = true;
                else
                    ms->completed = true;
            }
        } else {
            if (t_up)
                ms->detected = true;
            if (s_up && (ms->detected || ms->completed))
                ms->completed = true;
        }
    }
    for (int i = 0; i < VMS; i++) { /* deletion is carried out by the owner */
        struct machine *v = &w->vms[i];

        if (v->vmi == COORD_VMI_DELETING && !dead(w, v->node))
            v->vmi = COORD_VMI_FINAL;
        if (v->vmi != COORD_VMI_MISSING && v->vmi != COORD_VMI_FINAL && v->node >= 0 &&
            w->nodes[v->node].gone &&
            !(v->ms.uid >= 0 && !v->ms.failed && v->node != v->ms.target &&
              (v->ms.detected || v->ms.completed)))
            v->vmi = COORD_VMI_FINAL; /* NodeDeleted */
    }
}

static void
something_happens(struct world *w)
{
    int n = pick(w, NODES), v = pick(w, VMS), m = w->migs_len ? pick(w, w->migs_len) : -1;

    switch (pick(w, 12)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        if (w->migs_len < MIGS) {
            struct mig *g = &w->migs[w->migs_len];

            *g = (struct mig){.vm = v,
                              .target = -1,
                              .class_ = chance(w, 40) ? COORD_CLASS_EVACUATION : COORD_CLASS_USER};
            coord_init(&g->stored, w->now_us / S * S);
            snprintf(g->name, sizeof(g->name), "m%d", w->migs_len % 1000);
            g->slow_us = chance(w, 20) ? w->now_us + pick(w, 400) * S : 0;
            w->migs_len++;
        }
        break;
    case 5:
        w->nodes[n].silent = true;
        break;
    case 6:
        w->nodes[n].silent = false;
        w->nodes[n].gone = false;
        break;
    case 7:
        if (chance(w, 20))
            w->nodes[n].gone = true;
        break;
    case 8:
        if (m >= 0 && !coord_phase_final(w->migs[m].stored.phase))
            w->migs[m].cancel = true;
        break;
    case 9:
        if (chance(w, 20) && w->vms[v].vmi == COORD_VMI_RUNNING)
            w->vms[v].vmi = chance(w, 50) ? COORD_VMI_DELETING : COORD_VMI_FINAL;
        break;
    case 10:
        if (w->vms[v].vmi == COORD_VMI_FINAL || w->vms[v].vmi == COORD_VMI_MISSING)
            w->vms[v] =
                (struct machine){.node = pick(w, NODES), .vmi = COORD_VMI_RUNNING, .ms.uid = -1};
        else if (w->vms[v].vmi == COORD_VMI_NOT_RUNNING)
            w->vms[v].vmi = COORD_VMI_RUNNING;
        break;
    default:
        break;
    }
}

static void
run(uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));

    rng_seed(&w->rng, seed);
    w->seed = seed;
    w->now_us = 1767225600 * S;
    for (int i = 0; i < VMS; i++) {
        w->vms[i] =
            (struct machine){.node = pick(w, NODES), .vmi = COORD_VMI_RUNNING, .ms.uid = -1};
        snprintf(w->vms[i].name, sizeof(w->vms[i].name), "v%d", i);
        if (chance(w, 10))
            w->vms[i].vmi = COORD_VMI_NOT_RUNNING;
    }
    for (int i = 0; i < STEPS; i++) {
        w->now_us += (int64_t)rng_below(&w->rng, 10 * S) + 1;
        something_happens(w);
        handlers(w);
        pass(w);
    }
    /* Handlers answer, silent nodes have been declared dead: all of it must come to an end. */
    w->calm = true;
    for (int n = 0; n < NODES; n++)
        w->nodes[n].gone = w->nodes[n].gone || w->nodes[n].silent;
    for (int i = 0; i < 2000; i++) {
        bool open = false;

        w->now_us += S;
        handlers(w);
        pass(w);
        for (int m = 0; m < w->migs_len; m++)
            open = open || !coord_phase_final(w->migs[m].stored.phase);
        if (!open)
            break;
    }
    for (int m = 0; m < w->migs_len; m++)
        want(w, coord_phase_final(w->migs[m].stored.phase), "migration %d is still %s", m,
             coord_phase_name(w->migs[m].stored.phase));
    free(w);
}

static void
test_random(void **state)
{
    const char *one = getenv("COORD_SEED");

    (void)state;
    if (one) {
        run(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(seed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

    return cmocka_run_group_tests_name("coord_random", tests, NULL, NULL);
}
