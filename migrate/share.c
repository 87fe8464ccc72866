/* Shares of a node's bandwidth; see share.h. */
#include "migrate/share.h"

#include "base/sb.h"

#define IDLE_GROWTH_PERCENT 125 /* of what an idle one used: it may grow without waiting */
#define IDLE_FLOOR          64  /* and this part of the cap is there for it when it wakes */

struct share {
    pthread_mutex_t mu;
    uint64_t node_cap, link_cap;
    struct share_member *members; /* in the order in which they came */
    size_t len;
    uint64_t looked_us;
};

static void share_out(struct share *s, uint64_t now_us);
static uint64_t cap_of(const struct share *s);
static uint64_t smaller(uint64_t a, uint64_t b);
static void bring_back(struct share_member *m, uint64_t now_us);

void
share_allocate(uint64_t cap, const struct share_claim *claims, size_t n, uint64_t *ret)
{
    uint64_t left = cap, weights = 0;
    bool found = true;

    for (size_t i = 0; i < n; i++) {
        ret[i] = cap ? 0 : claims[i].want; /* 0: not settled yet */
        weights += claims[i].weight;
    }
    /* Whoever wants no more than its part of what is left has it; that leaves more for the
     * others. */
    while (cap && found) {
        found = false;
        for (size_t i = 0; i < n; i++) {
            uint64_t want = claims[i].want;

            if (ret[i] || !want ||
                (unsigned __int128)want * weights > (unsigned __int128)left * claims[i].weight)
                continue;
            ret[i] = want;
            left -= want;
            weights -= claims[i].weight;
            found = true;
        }
    }
    for (size_t i = 0; cap && i < n; i++) {
        if (!ret[i])
            ret[i] = (uint64_t)((unsigned __int128)left * claims[i].weight / weights);
        if (!ret[i])
            ret[i] = 1;
    }
}

struct share *
share_new(void)
{
    struct share *s = xcalloc(1, sizeof *s);

    pthread_mutex_init(&s->mu, NULL);
    return s;
}

void
share_free(struct share *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->mu);
    free(s);
}

void
share_set_caps(struct share *s, uint64_t node_bytes_per_s, uint64_t link_bytes_per_s,
               uint64_t now_us)
{
    pthread_mutex_lock(&s->mu);
    s->node_cap = node_bytes_per_s;
    s->link_cap = link_bytes_per_s;
    share_out(s, now_us);
    pthread_mutex_unlock(&s->mu);
}

uint64_t
share_cap(struct share *s)
{
    uint64_t cap;

    pthread_mutex_lock(&s->mu);
    cap = cap_of(s);
    pthread_mutex_unlock(&s->mu);
    return cap;
}

size_t
share_members(struct share *s)
{
    size_t n;

    pthread_mutex_lock(&s->mu);
    n = s->len;
    pthread_mutex_unlock(&s->mu);
    return n;
}

void
share_join(struct share *s, struct share_member *m, uint32_t weight, uint64_t limit,
           uint64_t now_us)
{
    struct share_member **at;

    *m = (struct share_member){.share = s, .weight = weight ? weight : 1, .limit = limit};
    bucket_init(&m->bucket, limit);
    if (!s)
        return;
    pthread_mutex_lock(&s->mu);
    for (at = &s->members; *at; at = &(*at)->next)
        continue;
    *at = m;
    s->len++;
    share_out(s, now_us);
    pthread_mutex_unlock(&s->mu);
}

void
share_leave(struct share_member *m, uint64_t now_us)
{
    struct share *s = m->share;

    if (s) {
        struct share_member **at;

        pthread_mutex_lock(&s->mu);
        for (at = &s->members; *at != m; at = &(*at)->next)
            continue;
        *at = m->next;
        s->len--;
        share_out(s, now_us);
        pthread_mutex_unlock(&s->mu);
    }
    bucket_done(&m->bucket);
}

void
share_set_limit(struct share_member *m, uint64_t limit, uint64_t now_us)
{
    struct share *s = m->share;

    if (!s) {
        bucket_set_rate(&m->bucket, limit, now_us);
        return;
    }
    pthread_mutex_lock(&s->mu);
    m->limit = limit;
    m->idle = false; /* what it used under the old limit says nothing */
    share_out(s, now_us);
    pthread_mutex_unlock(&s->mu);
}

uint64_t
share_rate(struct share_member *m)
{
    return bucket_rate(&m->bucket);
}

uint64_t
share_take(struct share_member *m, uint64_t bytes, uint64_t now_us)
{
    uint64_t wait = bucket_take(&m->bucket, bytes, now_us);

    if (wait > 0 && m->share)
        bring_back(m, now_us);
    return wait;
}

void
share_look(struct share_member *m, uint64_t now_us)
{
    struct share *s = m->share;
    uint64_t us, cap;

    if (!s)
        return;
    pthread_mutex_lock(&s->mu);
    us = now_us - s->looked_us;
    cap = cap_of(s);
    if (s->looked_us && us < SHARE_LOOK_US) {
        pthread_mutex_unlock(&s->mu);
        return;
    }
    for (struct share_member *i = s->members; i; i = i->next) {
        uint64_t taken = bucket_taken(&i->bucket), waits = atomic_load(&i->bucket.waits);
        unsigned __int128 used =
            (unsigned __int128)(taken - i->taken) * 10000 * IDLE_GROWTH_PERCENT / (us ? us : 1);
        uint64_t floor = cap / IDLE_FLOOR + 1;

        i->idle = cap && s->looked_us && waits == i->waits;
        i->want = used > UINT64_MAX / 2 ? UINT64_MAX / 2 : (uint64_t)used;
        if (i->want < floor)
            i->want = floor;
        i->taken = taken;
        i->waits = waits;
    }
    s->looked_us = now_us;
    share_out(s, now_us);
    pthread_mutex_unlock(&s->mu);
}

/* It waits: it has its share again, and need not wait for the next look to get it. */
static void
bring_back(struct share_member *m, uint64_t now_us)
{
    struct share *s = m->share;

    pthread_mutex_lock(&s->mu);
    if (m->idle) {
        m->idle = false;
        share_out(s, now_us);
    }
    pthread_mutex_unlock(&s->mu);
}

/* mu held. */
static void
share_out(struct share *s, uint64_t now_us)
{
    AUTO_FREE struct share_claim *claims = NULL;
    AUTO_FREE uint64_t *rates = NULL;
    size_t n = 0;

    if (!s->len)
        return;
    claims = xcalloc(s->len, sizeof *claims);
    rates = xcalloc(s->len, sizeof *rates);
    for (struct share_member *m = s->members; m; m = m->next)
        claims[n++] = (struct share_claim){.weight = m->weight,
                                           .want = m->idle ? smaller(m->want, m->limit) : m->limit};
    share_allocate(cap_of(s), claims, n, rates);
    n = 0;
    for (struct share_member *m = s->members; m; m = m->next) {
        m->granted = rates[n++];
        bucket_set_rate(&m->bucket, m->granted, now_us);
    }
}

static uint64_t
cap_of(const struct share *s)
{
    return s->len > 1 ? smaller(s->node_cap, s->link_cap) : s->node_cap;
}

/* Of two limits, where 0 is none. */
static uint64_t
smaller(uint64_t a, uint64_t b)
{
    return !a ? b : !b ? a : a < b ? a : b;
}
