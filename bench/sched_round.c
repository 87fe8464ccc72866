/* See sched_round.h. */
#include "bench/sched_round.h"

#include <malloc.h>

#include "base/clock.h"

#define BUDGET_NS 250000000 /* CPU time of a round */
#define BATCH_NS  200000    /* between two looks at the clocks, at least: a look costs 0.3 us */
#define COLD_LEN  300       /* classes: more than an engine keeps */

struct stopwatch {
    uint64_t cpu_ns, wall_ns;
};

static void
start(struct stopwatch *w)
{
    w->wall_ns = clock_mono_ns();
    w->cpu_ns = clock_thread_ns();
}

static void
stop(struct stopwatch *w)
{
    w->cpu_ns = clock_thread_ns() - w->cpu_ns;
    w->wall_ns = clock_mono_ns() - w->wall_ns;
}

/* Returns how many decisions were taken. */
static size_t
stream(const struct sched_round *r, struct sched_engine *e, struct sched_times *ret)
{
    struct stopwatch w, all = {0};
    size_t done = 0, batch = 1;

    while (done < r->len && all.cpu_ns < BUDGET_NS) {
        size_t end = done + batch < r->len ? done + batch : r->len, first = done;

        start(&w);
        for (; done < end; done++)
            sched_engine_place(e, &r->vms[done], true);
        stop(&w);
        all.cpu_ns += w.cpu_ns;
        all.wall_ns += w.wall_ns;
        if (r->each) {
            bench_samples_add(&ret->cpu, (double)w.cpu_ns);
            bench_samples_add(&ret->wall, (double)w.wall_ns);
        } else if (w.cpu_ns < BATCH_NS && done - first == batch) {
            batch *= 2;
        }
    }
    if (!r->each) {
        bench_samples_add(&ret->cpu, (double)done * 1e9 / (double)all.cpu_ns);
        bench_samples_add(&ret->wall, (double)done * 1e9 / (double)all.wall_ns);
    }
    return done;
}

int
sched_round_run(const struct sched_round *r, struct sched_times *ret, struct err *err)
{
    struct cluster *c = sched_world_cluster(r->w);
    struct sched_engine e;
    size_t done;
    int rc = 0;

    sched_world_fill(r->w, c);
    sched_engine_open(&e, c, r->plain);
    for (size_t i = 0; i < r->warmup_len; i++)
        sched_engine_place(&e, &r->warmup[i], false);
    done = stream(r, &e, ret);
    for (size_t i = 0; i < r->check_len && rc == 0; i++) {
        rc = sched_engine_agrees(&e, &r->vms[done + i], err);
        sched_engine_place(&e, &r->vms[done + i], true);
    }
    sched_engine_close(&e);
    cluster_free(c);
    return rc;
}

void
sched_times_done(struct sched_times *t)
{
    bench_samples_done(&t->cpu);
    bench_samples_done(&t->wall);
}

static size_t
heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static size_t
ask_len(enum sched_load l)
{
    return l == SCHED_LOAD_COLD ? COLD_LEN : SCHED_LOAD_CLASSES;
}

static void
ask_all(struct sched_engine *e, struct vmi *const vms[SCHED_LOADS])
{
    for (enum sched_load l = 0; l < SCHED_LOADS; l++)
        for (size_t i = 0; i < ask_len(l); i++)
            sched_engine_place(e, &vms[l][i], false);
}

void
sched_round_memory(const struct sched_world *w, double *ret_node, double *ret_vm, double *ret_kept)
{
    struct arena *a = arena_new();
    struct vmi *vms[SCHED_LOADS];
    struct sched_engine e;
    size_t before, nodes;
    struct cluster *c;

    for (enum sched_load l = 0; l < SCHED_LOADS; l++)
        vms[l] = sched_load_make(l, 0, ask_len(l), a);
    before = heap_bytes();
    c = sched_world_cluster(w);
    sched_engine_open(&e, c, false);
    ask_all(&e, vms);
    nodes = heap_bytes();
    *ret_kept = (double)fast_bytes(e.fast) / (double)w->nodes_len;
    sched_world_fill(w, c);
    ask_all(&e, vms);
    *ret_node = (double)(nodes - before) / (double)w->nodes_len;
    *ret_vm = (double)(heap_bytes() - nodes) / (double)w->vms_len;
    sched_engine_close(&e);
    cluster_free(c);
    arena_free(a);
}
