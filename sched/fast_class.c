/* Classes: found by what their requests read, brought up to date from the events since they were
 * last asked, or made anew when those are too many or too deep; the least recently asked one
 * goes. */
#include <stdlib.h>
#include <string.h>

#include "sched/fast_priv.h"

#define BYTES_PER_NODE 256         /* that classes may take, all together, */
#define BYTES_SPARE    (512 << 10) /* beyond this */

static struct fast_class *find(struct fast *f, uint64_t hash);
static struct fast_class *add(struct fast *f, uint64_t hash);
static void to_front(struct fast *f, struct fast_class *k);
static void unlink_class(struct fast *f, struct fast_class *k);
static void push_front(struct fast *f, struct fast_class *k);
static void take_out(struct fast *f, struct fast_class *k);
static void forget(struct fast *f, struct fast_class *k);
static void release(struct fast_class *k);
static void bound(struct fast *f);
static void rebuild(struct fast_class *k, struct fast_ask *ask);
static void replay(struct fast_class *k, struct fast_ask *ask);
static void catch_up(struct fast_class *k, struct fast_ask *ask, struct fast_event e);
static void label_all(struct fast_class *k, struct fast_ask *ask);
static void label_by_row(struct fast_class *k, struct fast_ask *ask);
static void label_by_shape(struct fast_class *k, struct fast_ask *ask);
static uint8_t group_of_row(struct fast_class *k, struct fast_ask *ask, uint32_t row,
                            int32_t verdict);
static void make_fine(const struct fast_class *k, struct fast *f);
static void look_at_domain(struct fast_class *k, struct fast_ask *ask, const struct fast_counter *c,
                           uint32_t row);

struct fast_class *
fast_class_get(struct fast_ask *ask)
{
    struct fast *f = ask->f;
    uint64_t hash;
    struct fast_class *k;

    sb_reset(&f->sig);
    fast_sig_request(f, ask->rq, &f->sig);
    hash = fast_hash(f->sig.buf, f->sig.len);
    k = find(f, hash);
    if (!k) {
        k = add(f, hash);
        bound(f);
    }
    to_front(f, k);
    if (k->epoch != f->epoch || k->seq < f->events_base ||
        f->events_base + f->events_len - k->seq > f->rows_len + FAST_BLOCK)
        rebuild(k, ask);
    else
        replay(k, ask);
    return k;
}

void
fast_classes_done(struct fast *f)
{
    for (struct fast_class *k = f->newest, *older; k; k = older) {
        older = k->older;
        release(k);
    }
}

void
fast_class_row(struct fast_class *k, struct fast_ask *ask, uint32_t row,
               const struct occupant *self)
{
    struct fast *f = ask->f;
    int32_t verdict;
    int16_t leaf;
    uint8_t gid = FAST_NO_GROUP;

    if (!f->nodes[row]) {
        fast_group_set(f, k, row, FAST_GONE, FAST_NO_GROUP);
        return;
    }
    verdict = fast_compile_verdict(k, ask, row);
    if (verdict < 0) {
        fast_group_set(f, k, row, (int16_t)(1 + verdict), FAST_NO_GROUP);
        return;
    }
    leaf = fast_scan_row(f, k, row, self);
    if (leaf >= 0)
        gid = group_of_row(k, ask, row, verdict);
    fast_group_set(f, k, row, leaf, gid);
}

void
fast_class_refuse(struct fast_class *k, struct fast_ask *ask, uint32_t row)
{
    fast_group_set(ask->f, k, row, (int16_t)(-1 - (int32_t)k->source_reason), FAST_NO_GROUP);
}

void
fast_class_count(struct fast_class *k, struct fast_ask *ask, uint32_t row, uint32_t kind,
                 int64_t by)
{
    struct fast *f = ask->f;
    uint32_t at;

    if (row == CLUSTER_NO_ROW || kind == FAST_NONE || !f->kinds_on || !f->nodes[row])
        return;
    at = fast_compile_shares(k, ask, kind);
    for (int64_t i = 1; i <= k->shares[at].n; i++) {
        const struct fast_share *s = &k->shares[at + (size_t)i];
        struct fast_counter *c = &k->counters[s->counter];

        if (fast_compile_add(k, f, c, row, by * s->n) && !k->relabel)
            look_at_domain(k, ask, c, row);
    }
}

void
fast_class_undo(struct fast_class *k, struct fast_event e)
{
    if (k->undo_len == k->undo_cap) {
        k->undo_cap = k->undo_cap ? 2 * k->undo_cap : 4;
        k->undo = xreallocarray(k->undo, k->undo_cap, sizeof(*k->undo));
    }
    k->undo[k->undo_len++] = e;
}

void
fast_class_settle(struct fast_class *k, struct fast_ask *ask)
{
    if (k->relabel)
        label_all(k, ask);
}

size_t
fast_class_bytes(const struct fast *f, const struct fast_class *k)
{
    size_t bytes = sizeof(*k) + k->sig_len + k->rows_len * (sizeof(int16_t) + 1);

    bytes += k->groups_cap * sizeof(*k->groups) + k->groups_made * f->blocks * 3;
    bytes += k->verdicts_len * sizeof(*k->verdicts) + k->kinds_len * sizeof(*k->kind_shares) +
             k->shares_cap * sizeof(*k->shares);
    bytes += k->counts ? f->rows_cap : 0;
    for (size_t i = 0; i < k->counters_len; i++)
        bytes += sizeof(*k->counters) + k->counters[i].cap * sizeof(int64_t);
    return bytes;
}

static struct fast_class *
find(struct fast *f, uint64_t hash)
{
    struct fast_class *k = f->buckets[hash % ARRAY_LEN(f->buckets)];

    while (k && (k->hash != hash || k->sig_len != f->sig.len ||
                 memcmp(k->sig, f->sig.buf, k->sig_len) != 0))
        k = k->bucket_next;
    return k;
}

/* A new one, or the oldest, in whose memory a new one is made. */
static struct fast_class *
add(struct fast *f, uint64_t hash)
{
    struct fast_class *k = f->classes_len < FAST_CLASSES_MAX ? NULL : f->oldest, **bucket;

    if (k) {
        take_out(f, k);
        k->epoch = 0;
    } else {
        k = xcalloc(1, sizeof(*k));
        f->classes_len++;
    }
    k->sig = xrealloc(k->sig, f->sig.len);
    k->sig_len = f->sig.len;
    memcpy(k->sig, f->sig.buf, f->sig.len);
    k->hash = hash;
    bucket = &f->buckets[hash % ARRAY_LEN(f->buckets)];
    k->bucket_next = *bucket;
    *bucket = k;
    push_front(f, k);
    return k;
}

static void
push_front(struct fast *f, struct fast_class *k)
{
    k->newer = NULL;
    k->older = f->newest;
    if (f->newest)
        f->newest->newer = k;
    else
        f->oldest = k;
    f->newest = k;
}

static void
to_front(struct fast *f, struct fast_class *k)
{
    if (f->newest == k)
        return;
    unlink_class(f, k);
    push_front(f, k);
}

static void
unlink_class(struct fast *f, struct fast_class *k)
{
    if (k->newer)
        k->newer->older = k->older;
    else
        f->newest = k->older;
    if (k->older)
        k->older->newer = k->newer;
    else
        f->oldest = k->newer;
}

static void
take_out(struct fast *f, struct fast_class *k)
{
    struct fast_class **at = &f->buckets[k->hash % ARRAY_LEN(f->buckets)];

    while (*at != k)
        at = &(*at)->bucket_next;
    *at = k->bucket_next;
    unlink_class(f, k);
}

static void
forget(struct fast *f, struct fast_class *k)
{
    take_out(f, k);
    f->classes_len--;
    release(k);
}

static void
release(struct fast_class *k)
{
    fast_compile_drop(k);
    fast_group_drop(k);
    free(k->leaf);
    free(k->gid);
    free(k->sig);
    free(k->undo);
    free(k);
}

/* The newest one stays, whatever it takes. */
static void
bound(struct fast *f)
{
    size_t bytes = 0, most = BYTES_SPARE + f->rows_len * BYTES_PER_NODE;

    for (const struct fast_class *k = f->newest; k; k = k->older)
        bytes += k->bytes;
    while (bytes > most && f->oldest != f->newest) {
        bytes -= f->oldest->bytes;
        forget(f, f->oldest);
    }
}

static void
rebuild(struct fast_class *k, struct fast_ask *ask)
{
    struct fast *f = ask->f;

    k->undo_len = 0;
    fast_compile(k, ask);
    k->epoch = f->epoch; /* now: labelling may move it, and then this has to be done again */
    k->seq = f->events_base + f->events_len;
    if (!k->plain && !k->why)
        label_all(k, ask);
    k->bytes = fast_class_bytes(f, k);
}

static void
replay(struct fast_class *k, struct fast_ask *ask)
{
    struct fast *f = ask->f;
    size_t at = k->seq - f->events_base;

    k->seq = f->events_base + f->events_len;
    if (k->plain || k->why)
        return;
    for (size_t i = at; k->counts && i < f->events_len; i++) {
        if (f->events[i].shape) { /* the row may count otherwise now */
            rebuild(k, ask);
            return;
        }
    }
    for (size_t i = 0; i < k->undo_len; i++)
        catch_up(k, ask, k->undo[i]);
    k->undo_len = 0;
    for (; at < f->events_len; at++)
        catch_up(k, ask, f->events[at]);
    fast_class_settle(k, ask);
}

static void
catch_up(struct fast_class *k, struct fast_ask *ask, struct fast_event e)
{
    if (e.by != 0)
        fast_class_count(k, ask, e.row, e.kind, e.by);
    if (!k->relabel)
        fast_class_row(k, ask, e.row, NULL);
}

/* All leaves and groups anew, from the counts as they are. */
static void
label_all(struct fast_class *k, struct fast_ask *ask)
{
    struct fast *f = ask->f;

    k->relabel = false;
    fast_group_reset(f, k);
    fast_scan_leaves(f, k, k->leaf);
    k->labelling = true;
    if (!k->keyed && k->specials_len == 0)
        label_by_shape(k, ask);
    else
        label_by_row(k, ask);
    k->labelling = false;
}

static void
label_by_row(struct fast_class *k, struct fast_ask *ask)
{
    struct fast *f = ask->f;

    if (f->rows_cap > 0)
        memset(k->gid, FAST_NO_GROUP, f->rows_cap);
    for (uint32_t row = 0; row < f->rows_len && !k->plain; row++) {
        int32_t verdict;

        if (!f->nodes[row]) {
            k->leaf[row] = FAST_GONE;
            continue;
        }
        verdict = fast_compile_verdict(k, ask, row);
        if (verdict < 0)
            k->leaf[row] = (int16_t)(1 + verdict);
        else if (k->leaf[row] >= 0)
            k->gid[row] = group_of_row(k, ask, row, verdict);
    }
    if (!k->plain)
        fast_group_summarise(f, k);
}

/* Nothing tells rows of a shape apart. */
static void
label_by_shape(struct fast_class *k, struct fast_ask *ask)
{
    struct fast *f = ask->f;
    AUTO_FREE int16_t *leaves = xcalloc(f->shapes_len + 1, sizeof(*leaves));
    AUTO_FREE uint8_t *groups = xmalloc(f->shapes_len + 1);

    memset(groups, FAST_NO_GROUP, f->shapes_len + 1);
    for (uint32_t i = 0; i < f->shapes_len && !k->plain; i++) {
        uint32_t row = fast_rows_some(f, i);
        int32_t verdict;

        if (row == FAST_NONE)
            continue;
        verdict = fast_compile_verdict(k, ask, row);
        if (verdict >= 0)
            groups[i] = group_of_row(k, ask, row, verdict);
        else
            leaves[i] = (int16_t)(1 + verdict);
    }
    if (!k->plain)
        fast_group_by_shape(f, k, leaves, groups);
}

static uint8_t
group_of_row(struct fast_class *k, struct fast_ask *ask, uint32_t row, int32_t verdict)
{
    const struct fast *f = ask->f;
    int64_t key[FAST_KEY], scores = 0;
    uint32_t mask = k->tuples[verdict].network ? FAST_NETWORK : 0;
    size_t len = k->coarse_len;
    uint8_t gid;

    for (size_t i = 0; i < k->coarse_len; i++)
        key[i] = (int32_t)f->topos[k->coarse[i]].dom[row];
    for (size_t i = 0; i < k->counters_len; i++) {
        const struct fast_counter *c = &k->counters[i];
        uint32_t dom = c->by_row ? row : f->topos[c->topo].dom[row];
        bool fine = c->coarse < 0;
        int64_t n = dom < c->cap ? c->count[dom] : 0;

        switch (c->what) {
        case FAST_C_NEAR:
            mask |= dom == FAST_NONE ? FAST_NEAR_KEY : fine && n <= 0 ? FAST_NEAR : 0;
            break;
        case FAST_C_AVOIDED:
            mask |= fine && n > 0 ? FAST_AVOIDED : 0;
            break;
        case FAST_C_GUARDED:
            mask |= fine && n > 0 ? FAST_GUARDED : 0;
            break;
        case FAST_C_SCORE:
            scores += fine ? n : 0;
            break;
        case FAST_C_HARD:
            if (dom == FAST_NONE)
                mask |= FAST_SPREAD_KEY(c->rule);
            else if (fine && fast_skewed(&k->hard[c->rule], n, fast_fewest(&k->hard[c->rule], c)))
                mask |= FAST_SPREAD_SKEW(c->rule);
            break;
        case FAST_C_SOFT:
            if (f->topos[k->soft[c->rule].topo].dom[row] == FAST_NONE)
                mask |= FAST_SOFT_KEY;
            break;
        }
    }
    if (k->fine_scores)
        key[len++] = scores;
    for (size_t i = 0; i < k->soft_len; i++) {
        const struct fast_counter *c = &k->counters[k->soft[i].counter];

        if (k->soft[i].hostname)
            key[len++] = row < c->cap ? c->count[row] : 0;
    }
    gid = fast_group_of(ask->f, k, key, (uint32_t)verdict, mask);
    if (gid == FAST_NO_GROUP) {
        k->plain = true;
        make_fine(k, ask->f);
    }
    return gid;
}

/* There are too many groups: domains of the key that has most are told apart by counts from now
 * on, and the class is made anew when it is asked again. Soft constraints need their domains. */
static void
make_fine(const struct fast_class *k, struct fast *f)
{
    struct fast_topo *most = NULL;

    for (size_t i = 0; i < k->coarse_len; i++) {
        struct fast_topo *t = &f->topos[k->coarse[i]];
        bool soft = t->fine;

        for (size_t s = 0; s < k->soft_len; s++)
            soft = soft || k->soft[s].topo == k->coarse[i];
        if (!soft && (!most || t->doms > most->doms))
            most = t;
    }
    if (most) {
        most->fine = true;
        f->epoch++;
    }
}

/* A count has changed by which rows are told apart. */
static void
look_at_domain(struct fast_class *k, struct fast_ask *ask, const struct fast_counter *c,
               uint32_t row)
{
    const struct fast_topo *t;

    if (c->by_row) {
        fast_class_row(k, ask, row, NULL);
        return;
    }
    t = &ask->f->topos[c->topo];
    for (uint32_t r = t->head[t->dom[row]]; r != FAST_NONE; r = t->next[r])
        fast_class_row(k, ask, r, NULL);
}
