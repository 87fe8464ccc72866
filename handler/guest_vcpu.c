/* vCPU threads of the native guest; see guest_vcpu.h. A vCPU lives in ticks of a millisecond: it
 * parks until its next tick, then makes the steps that its rate has earned. Parking is the only
 * place where it waits and where a hold takes effect, so a parked vCPU counts as stopped and a
 * pause need not wake it. */
#include "handler/guest_vcpu.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/sb.h"
#include "handler/guest_reads.h"
#include "handler/guest_wire.h"

#define NS_PER_S       1000000000ull
#define TICK_NS        1000000ull  /* also the longest without a look at the clock */
#define BURST_NS       2000000ull  /* steps of one tick: at most so much time's worth */
#define DEBT_NS        20000000ull /* what a late vCPU catches up with; the rest is forgotten */
#define CLOCK_BYTES    (64u << 10) /* looks at the clock within a tick so often */
#define STEP_COST      64          /* of a step on that scale, beside its bytes */
#define STOP_TIMEOUT_S 1
#define SLICE_NS       10000000ull /* of throttling: run, then sleep */

struct vcpu {
    struct guest_vcpus *all;
    pthread_t thread;
    unsigned index;
    struct guest_plan plan;
    atomic_uint_fast64_t steps, written_bytes, checked_reads, read_mismatches, throttled_ns;
    /* owned by the thread; while it is parked, by the holder of mu */
    uint64_t last_mono_ns, last_real_ns; /* of the last tick; 0 = none yet */
    bool foreign_clock;                  /* last_mono_ns is another kernel's */
    bool load_reported;
    bool parked; /* is counted; from before its thread runs, so that a guest is born paused */
    uint64_t generation; /* of the release that it last saw */
    uint64_t wakes;      /* of the last that it saw */
    uint64_t asleep_ns;  /* since when it sleeps for throttling; 0 = it does not */
    double credit_bytes;
    uint64_t credit_ns; /* when credit was last added */
};

struct guest_vcpus {
    struct guest_config config; /* constant but for rate_bytes_per_s, which is `rate` */
    uint8_t *map;
    int notify_fd;
    atomic_uint hold; /* written under mu */
    atomic_uint_fast64_t rate;
    atomic_uint throttle; /* percent, GUEST_THROTTLE_WRITERS; written under mu */
    struct guest_reads *reads;
    pthread_mutex_t mu; /* guards what follows */
    pthread_cond_t cond;
    bool quit;
    uint32_t parked;
    uint64_t generation; /* counts releases */
    uint64_t wakes;      /* counts changes of throttle, which end a sleep */
    uint64_t resumes;
    uint32_t gap_left;
    uint64_t gap_max_us, last_gap_us;
    uint32_t load_left; /* vCPUs that made no step since the state was loaded */
    uint64_t load_max_us;
    bool downtime_known;
    char first_mismatch[256];
    uint32_t started;
    struct vcpu vcpus[];
};

static void *vcpu_main(void *arg);

static uint64_t
now_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void
notify(struct guest_vcpus *c)
{
    uint64_t one = 1;
    ssize_t n = write(c->notify_fd, &one, sizeof(one));

    (void)n; /* full means that the reader has yet to look */
}

static void
init_sync(struct guest_vcpus *c)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&c->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->cond, &attr);
    pthread_condattr_destroy(&attr);
}

int
guest_vcpus_new(const struct guest_state *st, bool loaded, uint8_t *map, int notify_fd,
                struct guest_vcpus **ret, struct err *err)
{
    uint32_t n = st->config.vcpus;
    struct guest_vcpus *c = xcalloc(1, sizeof(*c) + n * sizeof(c->vcpus[0]));
    uint8_t boot[16];
    int r = 0;

    guest_state_boot_id(boot);
    c->config = st->config;
    c->map = map;
    c->notify_fd = notify_fd;
    c->load_left = loaded ? n : 0;
    atomic_init(&c->hold, GUEST_HOLD_CLIENT);
    atomic_init(&c->rate, st->config.rate_bytes_per_s);
    init_sync(c);
    for (uint32_t v = 0; v < n; v++) {
        const struct guest_vcpu_state *s = &st->vcpus[v];
        struct vcpu *u = &c->vcpus[v];

        u->all = c;
        u->index = v;
        guest_plan_init(&u->plan, &c->config, v);
        atomic_init(&u->steps, s->steps);
        atomic_init(&u->written_bytes, s->written_bytes);
        atomic_init(&u->checked_reads, s->checked_reads);
        atomic_init(&u->read_mismatches, s->read_mismatches);
        u->last_mono_ns = s->last_mono_ns;
        u->last_real_ns = s->last_real_ns;
        u->foreign_clock = memcmp(boot, st->boot_id, sizeof(boot)) != 0;
        u->load_reported = !loaded;
        u->parked = true;
    }
    c->parked = n;
    c->reads = guest_reads_new(&c->config);
    for (; c->started < n && r == 0; c->started++)
        r = pthread_create(&c->vcpus[c->started].thread, NULL, vcpu_main, &c->vcpus[c->started]);
    if (r != 0) {
        c->started--;
        guest_vcpus_free(c);
        return err_set(err, -r, "cannot start %" PRIu32 " vCPU threads: %s", n, strerror(r));
    }
    *ret = c;
    return 0;
}

/* Waits, with mu held, until all started threads are parked or the deadline has come. */
static bool
wait_parked(struct guest_vcpus *c)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += STOP_TIMEOUT_S;
    while (c->parked < c->started)
        if (pthread_cond_timedwait(&c->cond, &c->mu, &until) == ETIMEDOUT)
            break;
    return c->parked >= c->started;
}

bool
guest_vcpus_free(struct guest_vcpus *c)
{
    bool parked;

    if (!c)
        return true;
    guest_vcpus_hold(c, GUEST_HOLD_QUIT);
    pthread_mutex_lock(&c->mu);
    parked = wait_parked(c);
    c->quit = parked;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->mu);
    if (!parked)
        return false;
    while (c->started > 0)
        pthread_join(c->vcpus[--c->started].thread, NULL);
    guest_reads_free(c->reads);
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->mu);
    free(c);
    return true;
}

void
guest_vcpus_hold(struct guest_vcpus *c, unsigned reason)
{
    pthread_mutex_lock(&c->mu);
    atomic_store(&c->hold, atomic_load(&c->hold) | reason);
    if (c->parked == c->config.vcpus)
        notify(c);
    pthread_mutex_unlock(&c->mu);
}

void
guest_vcpus_release(struct guest_vcpus *c, unsigned reason)
{
    unsigned before, after;

    pthread_mutex_lock(&c->mu);
    before = atomic_load(&c->hold);
    after = before & ~reason;
    atomic_store(&c->hold, after);
    if (before & reason & GUEST_HOLD_CLIENT)
        c->resumes++;
    if (before && !after) {
        c->generation++;
        c->gap_left = c->config.vcpus;
        c->gap_max_us = 0;
        pthread_cond_broadcast(&c->cond);
    }
    pthread_mutex_unlock(&c->mu);
}

unsigned
guest_vcpus_holds(struct guest_vcpus *c)
{
    return atomic_load(&c->hold);
}

bool
guest_vcpus_stopped(struct guest_vcpus *c)
{
    bool stopped;

    pthread_mutex_lock(&c->mu);
    stopped = atomic_load(&c->hold) && c->parked == c->config.vcpus;
    pthread_mutex_unlock(&c->mu);
    return stopped;
}

void
guest_vcpus_set_rate(struct guest_vcpus *c, uint64_t bytes_per_s)
{
    atomic_store(&c->rate, bytes_per_s);
}

void
guest_vcpus_throttle(struct guest_vcpus *c, unsigned percent, bool writers)
{
    pthread_mutex_lock(&c->mu);
    atomic_store(&c->throttle, percent | (writers && percent ? GUEST_THROTTLE_WRITERS : 0));
    c->wakes++;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->mu);
}

void
guest_vcpus_counters(struct guest_vcpus *c, struct guest_counters *ret)
{
    *ret = (struct guest_counters){0};
    for (uint32_t v = 0; v < c->config.vcpus; v++) {
        ret->steps += atomic_load(&c->vcpus[v].steps);
        ret->written_bytes += atomic_load(&c->vcpus[v].written_bytes);
        ret->checked_reads += atomic_load(&c->vcpus[v].checked_reads);
        ret->read_mismatches += atomic_load(&c->vcpus[v].read_mismatches);
        ret->throttled_us += atomic_load(&c->vcpus[v].throttled_ns) / 1000;
    }
    pthread_mutex_lock(&c->mu);
    ret->resumes = c->resumes;
    ret->downtime_known = c->downtime_known;
    ret->downtime_us = c->downtime_known ? c->load_max_us : 0;
    ret->last_gap_us = c->last_gap_us;
    memcpy(ret->first_mismatch, c->first_mismatch, sizeof(ret->first_mismatch));
    pthread_mutex_unlock(&c->mu);
}

void
guest_vcpus_save(struct guest_vcpus *c, struct guest_state *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->config = c->config;
    ret->config.rate_bytes_per_s = atomic_load(&c->rate);
    guest_state_boot_id(ret->boot_id);
    pthread_mutex_lock(&c->mu);
    for (uint32_t v = 0; v < c->config.vcpus; v++) {
        const struct vcpu *u = &c->vcpus[v];

        ret->vcpus[v] = (struct guest_vcpu_state){
            .steps = atomic_load(&u->steps),
            .written_bytes = atomic_load(&u->written_bytes),
            .checked_reads = atomic_load(&u->checked_reads),
            .read_mismatches = atomic_load(&u->read_mismatches),
            .last_mono_ns = u->foreign_clock ? 0 : u->last_mono_ns,
            .last_real_ns = u->last_real_ns,
        };
    }
    pthread_mutex_unlock(&c->mu);
}

/* --- in the threads --- */

/* A counter that only its own thread writes. */
static inline void
count(atomic_uint_fast64_t *n, uint64_t more)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* Stands still until next_ns has come and nothing holds the vCPUs; false when it is to end. */
static bool
park(struct vcpu *u, uint64_t next_ns)
{
    struct guest_vcpus *c = u->all;
    const struct timespec next = {.tv_sec = (time_t)(next_ns / NS_PER_S),
                                  .tv_nsec = (long)(next_ns % NS_PER_S)};
    bool quit;

    pthread_mutex_lock(&c->mu);
    c->parked += !u->parked;
    u->parked = true;
    if (c->parked == c->config.vcpus && atomic_load(&c->hold))
        notify(c);
    if (atomic_load(&c->hold) & GUEST_HOLD_QUIT)
        pthread_cond_broadcast(&c->cond);
    while (!c->quit) {
        if (atomic_load(&c->hold))
            pthread_cond_wait(&c->cond, &c->mu);
        else if (u->generation != c->generation || u->wakes != c->wakes ||
                 now_ns(CLOCK_MONOTONIC) >= next_ns)
            break;
        else
            pthread_cond_timedwait(&c->cond, &c->mu, &next);
    }
    c->parked--;
    u->parked = false;
    u->wakes = c->wakes;
    quit = c->quit;
    pthread_mutex_unlock(&c->mu);
    return !quit;
}

static void
mismatch(struct vcpu *u, uint64_t i, uint64_t offset, uint64_t want, uint64_t found)
{
    struct guest_vcpus *c = u->all;

    pthread_mutex_lock(&c->mu);
    if (c->first_mismatch[0] == '\0')
        snprintf(c->first_mismatch, sizeof(c->first_mismatch),
                 "vCPU %u, step %" PRIu64 ": a read at offset %" PRIu64 " (page %" PRIu64
                 ") expected %016" PRIx64 ", found %016" PRIx64,
                 u->index, i, offset, offset / GUEST_PAGE_BYTES, want, found);
    pthread_mutex_unlock(&c->mu);
    count(&u->read_mismatches, 1); /* after the text: who sees one sees the other */
}

/* One step; the bytes that it wrote. */
static uint64_t
step(struct vcpu *u)
{
    struct guest_vcpus *c = u->all;
    uint64_t i = atomic_load_explicit(&u->steps, memory_order_relaxed), k, key;
    unsigned sn = guest_plan_stream(&u->plan, i, &k);
    const struct guest_stream *s = &u->plan.streams[sn];
    struct guest_place place;
    uint64_t offset, written = 0;
    uint64_t *at;
    uint32_t wrong;

    guest_stream_place(s, (uint32_t)(k % s->period), &place);
    offset = (s->first_page + place.page) * GUEST_PAGE_BYTES + place.first_word * 8ull;
    at = (uint64_t *)(void *)(c->map + offset);
    if (place.op == GUEST_OP_WRITE) {
        guest_content_write(guest_stream_key(s, k), place.first_word, at, place.words);
        written = place.words * 8ull;
        count(&u->written_bytes, written);
    } else if (place.op == GUEST_OP_READ && guest_reads_key(c->reads, u->index, sn, s, k, &key)) {
        wrong = guest_content_compare(key, place.first_word, at, place.words);
        count(&u->checked_reads, 1);
        if (wrong < place.words)
            mismatch(u, i, offset + wrong * 8ull, guest_content_word(key, place.first_word + wrong),
                     at[wrong]);
    }
    count(&u->steps, 1);
    return written;
}

/* Tells how long the guest stood still for this vCPU, once it goes again. */
static void
report_gap(struct vcpu *u, uint64_t before_mono, uint64_t before_real, bool foreign)
{
    struct guest_vcpus *c = u->all;
    bool real = foreign || before_mono == 0; /* only hosts' wall clocks can be compared */
    uint64_t now = real ? u->last_real_ns : u->last_mono_ns;
    uint64_t before = real ? before_real : before_mono;
    uint64_t gap_us = before && now > before ? (now - before) / 1000 : 0;

    pthread_mutex_lock(&c->mu);
    if (u->generation == c->generation && c->gap_left > 0) {
        if (gap_us > c->gap_max_us)
            c->gap_max_us = gap_us;
        if (--c->gap_left == 0)
            c->last_gap_us = c->gap_max_us;
    }
    if (!u->load_reported) {
        u->load_reported = true;
        if (gap_us > c->load_max_us)
            c->load_max_us = gap_us;
        c->downtime_known = --c->load_left == 0;
    }
    pthread_mutex_unlock(&c->mu);
}

/* What part of its time, in percent, this vCPU is to sleep. Every workload but idle writes. */
static unsigned
throttled(const struct vcpu *u, uint64_t share)
{
    unsigned t = atomic_load_explicit(&u->all->throttle, memory_order_relaxed);
    bool writes = u->all->config.workload != GUEST_IDLE && share > 0;

    return t & GUEST_THROTTLE_WRITERS && !writes ? 0 : t & ~GUEST_THROTTLE_WRITERS;
}

/* Until when it is to sleep: the rest of a slice that it has used up; 0 = not. *ret_end_ns is where
 * its part of the slice ends. Slices of different vCPUs do not begin together. */
static uint64_t
sleep_until(struct vcpu *u, unsigned percent, uint64_t now, uint64_t *ret_end_ns)
{
    uint64_t shift = SLICE_NS / u->all->config.vcpus * u->index;
    uint64_t begin = now - (now + shift) % SLICE_NS;

    *ret_end_ns = begin + SLICE_NS * (100 - percent) / 100;
    return percent > 0 && now >= *ret_end_ns ? begin + SLICE_NS : 0;
}

/* Steps until the credit is used up, the tick is over or the vCPUs are held; true when the tick
 * ended it. */
static bool
steps(struct vcpu *u, uint64_t rate, uint64_t start_ns, uint64_t most_ns)
{
    double limit = (double)rate * BURST_NS / NS_PER_S, spent = 0;
    uint64_t since_clock = 0;

    do {
        uint64_t bytes = step(u);

        u->credit_bytes -= (double)bytes;
        spent += (double)bytes;
        since_clock += bytes + STEP_COST;
        if (since_clock >= CLOCK_BYTES) {
            since_clock = 0;
            if (now_ns(CLOCK_MONOTONIC) - start_ns >= most_ns)
                return true;
        }
    } while (u->credit_bytes > 0 && spent <= limit &&
             !atomic_load_explicit(&u->all->hold, memory_order_relaxed));
    return false;
}

/* One tick; when the next one is due. */
static uint64_t
tick(struct vcpu *u)
{
    struct guest_vcpus *c = u->all;
    uint64_t rate = atomic_load_explicit(&c->rate, memory_order_relaxed);
    uint64_t share = rate / c->config.vcpus + (u->index < rate % c->config.vcpus);
    uint64_t start = now_ns(CLOCK_MONOTONIC), before_mono = u->last_mono_ns;
    uint64_t before_real = u->last_real_ns, generation, end, wake;
    unsigned percent = throttled(u, share);
    double most = (double)share * DEBT_NS / NS_PER_S + 1;
    bool resumed, foreign = u->foreign_clock, late = false;

    pthread_mutex_lock(&c->mu);
    generation = c->generation;
    pthread_mutex_unlock(&c->mu);
    resumed = u->generation != generation;
    u->generation = generation;
    if (u->asleep_ns)
        count(&u->throttled_ns, start - u->asleep_ns);
    u->asleep_ns = 0;
    wake = sleep_until(u, percent, start, &end);
    if (wake && !resumed) {
        u->asleep_ns = start;
        return wake;
    }
    /* The first tick after a stand makes a step at once, and time that was stood owes nothing. */
    if (resumed)
        u->credit_bytes = 1;
    else
        u->credit_bytes +=
            (double)share * (double)(start - u->credit_ns) / NS_PER_S * (100 - percent) / 100;
    if (u->credit_bytes > most)
        u->credit_bytes = most;
    u->credit_ns = start;
    if (c->config.workload == GUEST_IDLE)
        step(u);
    else if (share > 0 && u->credit_bytes > 0)
        late = steps(u, share, start,
                     percent && end > start && end - start < TICK_NS ? end - start : TICK_NS);
    u->last_mono_ns = now_ns(CLOCK_MONOTONIC);
    u->last_real_ns = now_ns(CLOCK_REALTIME);
    u->foreign_clock = false;
    if (resumed)
        report_gap(u, before_mono, before_real, foreign);
    return late ? start : start + TICK_NS;
}

static void *
vcpu_main(void *arg)
{
    struct vcpu *u = arg;
    uint64_t next_ns = 0;

    prctl(PR_SET_NAME, "vcpu");
    while (park(u, next_ns))
        next_ns = tick(u);
    return NULL;
}
