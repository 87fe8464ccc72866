/* Index of previous writes for the native guest's reads; see guest_reads.h. */
#include "handler/guest_reads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/sb.h"

#define NEVER       UINT32_MAX
#define VALUE_WORDS 128u /* first words of values are multiples of it: four cells a page */
#define PAGE_CELLS  (GUEST_PAGE_WORDS / VALUE_WORDS)

struct guest_reads {
    struct guest_config cfg;
    pthread_t thread;
    bool started;
    atomic_bool quit;
    _Atomic(uint32_t *) prev[]; /* GUEST_MAX_STREAMS a vCPU: by position; NULL = not known yet */
};

static void *build_all(void *arg);

static bool
reads_exist(const struct guest_config *cfg)
{
    return cfg->workload == GUEST_ZIPF || cfg->workload == GUEST_MIX;
}

struct guest_reads *
guest_reads_new(const struct guest_config *cfg)
{
    size_t n = (size_t)cfg->vcpus * GUEST_MAX_STREAMS;
    struct guest_reads *r = xcalloc(1, sizeof(*r) + n * sizeof(r->prev[0]));

    r->cfg = *cfg;
    if (reads_exist(cfg))
        r->started = pthread_create(&r->thread, NULL, build_all, r) == 0;
    return r;
}

void
guest_reads_free(struct guest_reads *r)
{
    if (!r)
        return;
    atomic_store(&r->quit, true);
    if (r->started)
        pthread_join(r->thread, NULL);
    for (size_t i = 0; i < (size_t)r->cfg.vcpus * GUEST_MAX_STREAMS; i++)
        free(atomic_load(&r->prev[i]));
    free(r);
}

bool
guest_reads_key(struct guest_reads *r, unsigned vcpu, unsigned sn, const struct guest_stream *s,
                uint64_t k, uint64_t *ret_key)
{
    const uint32_t *prev =
        atomic_load_explicit(&r->prev[vcpu * GUEST_MAX_STREAMS + sn], memory_order_acquire);
    uint32_t pos = (uint32_t)(k % s->period), p;
    struct guest_place place;

    if (!prev)
        return false;
    p = prev[pos];
    if (p != NEVER) {
        uint64_t back = p < pos ? pos - p : (uint64_t)pos + s->period - p;

        if (back <= k) {
            *ret_key = guest_stream_key(s, k - back);
            return true;
        }
    }
    guest_stream_place(s, pos, &place);
    return guest_initial_key(&r->cfg, s->first_page + place.page, ret_key);
}

/* Two laps over the schedule: after the first, every place knows its last write. False when cut
 * short. */
static bool
walk(const struct guest_reads *r, const struct guest_stream *s, uint32_t *last, uint32_t *prev)
{
    for (uint64_t i = 0; i < 2ull * s->period; i++) {
        uint32_t pos = (uint32_t)(i % s->period);
        struct guest_place place;
        size_t cell;

        if (i % 4096 == 0 && atomic_load_explicit(&r->quit, memory_order_relaxed))
            return false;
        guest_stream_place(s, pos, &place);
        cell = (size_t)place.page * PAGE_CELLS + place.first_word / VALUE_WORDS;
        prev[pos] = last[cell];
        if (place.op == GUEST_OP_WRITE)
            last[cell] = pos;
    }
    return true;
}

static uint32_t *
build(const struct guest_reads *r, const struct guest_stream *s)
{
    size_t cells = (size_t)s->pages * PAGE_CELLS;
    uint32_t *last = malloc(cells * sizeof(*last)); /* position of the last write, or NEVER */
    uint32_t *prev = malloc(s->period * sizeof(*prev));
    bool ok = last && prev;

    for (size_t i = 0; ok && i < cells; i++)
        last[i] = NEVER;
    if (!ok || !walk(r, s, last, prev)) {
        free(prev);
        prev = NULL;
    }
    free(last);
    return prev;
}

static void *
build_all(void *arg)
{
    struct guest_reads *r = arg;

    for (uint32_t v = 0; v < r->cfg.vcpus; v++) {
        struct guest_plan plan;

        guest_plan_init(&plan, &r->cfg, v);
        for (unsigned s = 0; s < plan.streams_len; s++)
            if (plan.streams[s].kind == GUEST_ZIPF)
                atomic_store_explicit(&r->prev[v * GUEST_MAX_STREAMS + s],
                                      build(r, &plan.streams[s]), memory_order_release);
    }
    return NULL;
}
