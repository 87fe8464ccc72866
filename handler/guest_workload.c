/* Schedules and content of the native guest's workloads; see guest_workload.h. Integer arithmetic
 * only: the same schedule must come out on every host that the guest visits. */
#include "handler/guest_workload.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define MAX_PERIOD \
    (1u << 22) /* positions; bounds what verify and the read checks keep in memory \
                               */
#define GOLDEN      0x9e3779b97f4a7c15u
#define VALUE_WORDS 128u /* of a zipf value: 1 KiB */
#define PAGE_VALUES (GUEST_PAGE_WORDS / VALUE_WORDS)
#define MAX_KEYS    (1u << 31)
#define KEY_SCATTER \
    2654435761u /* prime and above MAX_KEYS, so multiplying modulo keys loses none */
#define FILL_SALT 0x66696c6cu

const char *const guest_workload_names[GUEST_WORKLOAD_COUNT + 1] = {
    [GUEST_IDLE] = "idle",       [GUEST_SEQUENTIAL] = "sequential",
    [GUEST_HOTCOLD] = "hotcold", [GUEST_RANDOMWORDS] = "randomwords",
    [GUEST_ZIPF] = "zipf",       [GUEST_MIX] = "mix",
};

/* The streams of `mix`, and the order in which eight steps of the vCPU go to them. */
static const enum guest_workload mix_kinds[GUEST_MAX_STREAMS] = {GUEST_SEQUENTIAL, GUEST_HOTCOLD,
                                                                 GUEST_RANDOMWORDS, GUEST_ZIPF};
static const uint8_t mix_order[8] = {3, 2, 1, 3, 2, 0, 3, 2};

/* splitmix64's finaliser (as rng_mix of base/rng.h, but inline for the loop over a page). */
static inline uint64_t
mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* 0..n-1, from the upper bits of h. */
static inline uint32_t
below(uint64_t h, uint32_t n)
{
    return (uint32_t)(((unsigned __int128)h * n) >> 64);
}

static int
round_up(const char *name, uint64_t memory, uint64_t *v, struct err *err)
{
    if (*v > memory)
        return err_set(err, -EINVAL, "%s of %" PRIu64 " bytes: at most the memory, %" PRIu64, name,
                       *v, memory);
    *v = (*v + GUEST_PAGE_BYTES - 1) / GUEST_PAGE_BYTES * GUEST_PAGE_BYTES;
    return 0;
}

int
guest_config_check(struct guest_config *cfg, struct err *err)
{
    uint64_t m = cfg->memory_bytes, need;
    int r;

    if (m < GUEST_MIN_MEMORY_BYTES || m > GUEST_MAX_MEMORY_BYTES || m % GUEST_PAGE_BYTES)
        return err_set(err, -EINVAL,
                       "memory of %" PRIu64 " bytes: want a multiple of %u from %llu to %llu", m,
                       GUEST_PAGE_BYTES, GUEST_MIN_MEMORY_BYTES, GUEST_MAX_MEMORY_BYTES);
    if (cfg->vcpus < 1 || cfg->vcpus > GUEST_MAX_VCPUS)
        return err_set(err, -EINVAL, "%" PRIu32 " vCPUs: want 1 to %u", cfg->vcpus,
                       GUEST_MAX_VCPUS);
    if ((unsigned)cfg->workload >= GUEST_WORKLOAD_COUNT)
        return err_set(err, -EINVAL, "workload number %u is not known", (unsigned)cfg->workload);
    if (cfg->rate_bytes_per_s > GUEST_MAX_RATE)
        return err_set(err, -EINVAL, "rate of %" PRIu64 " bytes a second: at most %llu",
                       cfg->rate_bytes_per_s, GUEST_MAX_RATE);
    if (cfg->set_bytes == 0)
        cfg->set_bytes = m;
    if ((r = round_up("working set", m, &cfg->set_bytes, err)) < 0 ||
        (r = round_up("fill", m, &cfg->fill_bytes, err)) < 0 ||
        (r = round_up("zero part", m, &cfg->zero_bytes, err)) < 0)
        return r;
    if (cfg->zero_bytes > m - cfg->fill_bytes)
        return err_set(err, -EINVAL,
                       "zero part of %" PRIu64 " bytes: at most %" PRIu64
                       ", what the fill leaves of the memory",
                       cfg->zero_bytes, m - cfg->fill_bytes);
    need = (uint64_t)GUEST_PAGE_BYTES * cfg->vcpus *
           (cfg->workload == GUEST_MIX ? GUEST_MAX_STREAMS : 1);
    if (cfg->set_bytes < need)
        return err_set(err, -EINVAL,
                       "working set of %" PRIu64 " bytes: at least %" PRIu64 " for %" PRIu32
                       " vCPUs with workload %s",
                       cfg->set_bytes, need, cfg->vcpus, guest_workload_names[cfg->workload]);
    return 0;
}

static uint32_t
min_period(uint64_t n)
{
    return n < MAX_PERIOD ? (uint32_t)n : MAX_PERIOD;
}

static void
stream_init(struct guest_stream *s, enum guest_workload kind, uint64_t first_page, uint64_t pages,
            uint64_t salt)
{
    *s = (struct guest_stream){
        .kind = kind, .first_page = first_page, .pages = (uint32_t)pages, .salt = salt};
    switch (kind) {
    case GUEST_SEQUENTIAL:
        s->period = s->pages;
        break;
    case GUEST_HOTCOLD:
        s->hot_pages = s->pages < 10 ? 1 : s->pages / 10;
        s->period = min_period(pages * 4);
        break;
    case GUEST_RANDOMWORDS:
        s->period = min_period(pages * 64);
        break;
    case GUEST_ZIPF:
        s->keys = pages * PAGE_VALUES < MAX_KEYS ? (uint32_t)(pages * PAGE_VALUES) : MAX_KEYS;
        s->octaves = 32 - (uint32_t)__builtin_clz(s->keys);
        s->period = min_period((uint64_t)s->keys * 4);
        break;
    default:
        s->pages = 0;
        s->period = 1;
        break;
    }
}

void
guest_plan_init(struct guest_plan *p, const struct guest_config *cfg, unsigned vcpu)
{
    uint64_t set = cfg->set_bytes / GUEST_PAGE_BYTES;
    uint64_t first = set * vcpu / cfg->vcpus, last = set * (vcpu + 1) / cfg->vcpus;
    uint64_t salt = mix64(cfg->seed ^ mix64((vcpu + 1) * GOLDEN));

    if (cfg->workload != GUEST_MIX) {
        p->streams_len = 1;
        stream_init(&p->streams[0], cfg->workload, first, last - first, salt);
        return;
    }
    p->streams_len = GUEST_MAX_STREAMS;
    for (unsigned s = 0; s < GUEST_MAX_STREAMS; s++) {
        uint64_t a = first + (last - first) * s / GUEST_MAX_STREAMS;
        uint64_t b = first + (last - first) * (s + 1) / GUEST_MAX_STREAMS;

        stream_init(&p->streams[s], mix_kinds[s], a, b - a, mix64(salt + s));
    }
}

/* How often stream s comes among the first n (0..8) of mix_order. */
static unsigned
mix_share(unsigned s, unsigned n)
{
    unsigned c = 0;

    for (unsigned i = 0; i < n; i++)
        c += mix_order[i] == s;
    return c;
}

unsigned
guest_plan_stream(const struct guest_plan *p, uint64_t i, uint64_t *ret_k)
{
    unsigned s = p->streams_len == 1 ? 0 : mix_order[i % 8];

    *ret_k = guest_plan_count(p, s, i);
    return s;
}

uint64_t
guest_plan_count(const struct guest_plan *p, unsigned s, uint64_t steps)
{
    if (p->streams_len == 1)
        return steps;
    return steps / 8 * mix_share(s, 8) + mix_share(s, steps % 8);
}

/* Key by popularity: every octave of ranks (1, 2-3, 4-7, ...) is as likely as any other, which is
 * Zipf's law with exponent 1 in steps of two; then scattered, so that popular keys do not share
 * pages. */
static uint32_t
zipf_key(const struct guest_stream *s, uint64_t h)
{
    uint32_t octave = below(h, s->octaves);
    uint64_t low = 1ull << octave, high = 2 * low;
    uint32_t rank;

    if (high > (uint64_t)s->keys + 1)
        high = (uint64_t)s->keys + 1;
    rank = (uint32_t)low - 1 + below(mix64(h), (uint32_t)(high - low));
    return (uint32_t)((uint64_t)rank * KEY_SCATTER % s->keys);
}

void
guest_stream_place(const struct guest_stream *s, uint32_t pos, struct guest_place *ret)
{
    uint64_t h = mix64(s->salt + (pos + 1) * GOLDEN);

    *ret = (struct guest_place){.op = GUEST_OP_WRITE, .words = GUEST_PAGE_WORDS};
    switch (s->kind) {
    case GUEST_SEQUENTIAL:
        ret->page = pos;
        break;
    case GUEST_HOTCOLD:
        if (below(h, 10) != 0 || s->hot_pages == s->pages)
            ret->page = below(mix64(h), s->hot_pages);
        else
            ret->page = s->hot_pages + below(mix64(h), s->pages - s->hot_pages);
        break;
    case GUEST_RANDOMWORDS:
        ret->page = below(h, s->pages);
        ret->first_word = mix64(h) % GUEST_PAGE_WORDS;
        ret->words = 1;
        break;
    case GUEST_ZIPF: {
        uint32_t key = zipf_key(s, h);

        ret->op = h & 1 ? GUEST_OP_READ : GUEST_OP_WRITE;
        ret->page = key / PAGE_VALUES;
        ret->first_word = key % PAGE_VALUES * VALUE_WORDS;
        ret->words = VALUE_WORDS;
        break;
    }
    default:
        *ret = (struct guest_place){.op = GUEST_OP_NONE};
        break;
    }
}

uint64_t
guest_stream_key(const struct guest_stream *s, uint64_t k)
{
    return mix64(~s->salt + mix64(k + GOLDEN));
}

bool
guest_initial_key(const struct guest_config *cfg, uint64_t page, uint64_t *ret_key)
{
    if (page >= cfg->fill_bytes / GUEST_PAGE_BYTES)
        return false;
    *ret_key = mix64(mix64(cfg->seed + FILL_SALT) + page * GOLDEN);
    return true;
}

uint64_t
guest_content_word(uint64_t key, uint32_t i)
{
    return mix64(key + (uint64_t)(i + 1) * GOLDEN);
}

void
guest_content_write(uint64_t key, uint32_t first, uint64_t *dst, uint32_t words)
{
    for (uint32_t i = 0; i < words; i++)
        dst[i] = guest_content_word(key, first + i);
}

uint32_t
guest_content_compare(uint64_t key, uint32_t first, const uint64_t *src, uint32_t words)
{
    for (uint32_t i = 0; i < words; i++)
        if (src[i] != guest_content_word(key, first + i))
            return i;
    return words;
}
