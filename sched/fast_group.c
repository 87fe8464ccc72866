/* Leaves, groups and their summaries. A leaf is a row's score in a class without what the whole
 * group has alike, or why the row is out. Of each block of rows a group knows the best leaf and
 * how many have it: a change touches one block, a question reads one number a block. Ties: rows
 * are in the order of names. */
#include <stdlib.h>
#include <string.h>

#include "sched/fast_priv.h"

static void account(struct fast_class *k, int16_t leaf, int64_t by);
static void group_blocks(const struct fast *f, struct fast_class *k, const int16_t *verdict,
                         const uint8_t *group, uint8_t *lacking);
static void sum_block(struct fast_class *k, uint8_t gid, size_t block);
static size_t key_len(const struct fast_class *k);
static struct fast_group *new_group(struct fast *f, struct fast_class *k);

void
fast_group_reset(struct fast *f, struct fast_class *k)
{
    if (k->rows_len != f->rows_cap)
        fast_group_drop(k);
    k->groups_len = 0;
    memset(k->buckets, FAST_NO_GROUP, sizeof(k->buckets));
    memset(k->fit_rows, 0, sizeof(k->fit_rows));
    for (size_t i = 0; i < k->reasons_len; i++)
        k->reasons[i].rows = 0;
    if (k->rows_len != f->rows_cap) {
        free(k->leaf);
        free(k->gid);
        k->leaf = xreallocarray(NULL, f->rows_cap + 1, sizeof(*k->leaf));
        k->gid = xreallocarray(NULL, f->rows_cap + 1, sizeof(*k->gid));
        k->rows_len = f->rows_cap;
    }
}

void
fast_group_drop(struct fast_class *k)
{
    for (size_t i = 0; i < k->groups_made; i++) {
        free(k->groups[i].block_most);
        free(k->groups[i].block_rows);
    }
    free(k->groups);
    k->groups = NULL;
    k->groups_len = k->groups_made = k->groups_cap = 0;
}

uint8_t
fast_group_of(struct fast *f, struct fast_class *k, const int64_t *key, uint32_t tuple,
              uint32_t mask)
{
    size_t len = key_len(k);
    uint64_t h = (tuple * 31u + mask + 1) * 0x9e3779b97f4a7c15u;
    struct fast_group *g;
    uint8_t *bucket;

    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint64_t)key[i]) * 0x9e3779b97f4a7c15u;
    bucket = &k->buckets[h >> 56];
    for (uint8_t i = *bucket; i != FAST_NO_GROUP; i = k->groups[i].next) {
        g = &k->groups[i];
        if (g->tuple == tuple && g->mask == mask && memcmp(g->key, key, len * sizeof(*key)) == 0)
            return i;
    }
    g = new_group(f, k);
    if (!g)
        return FAST_NO_GROUP;
    g->bucket = (uint8_t)(h >> 56);
    g->tuple = tuple;
    g->mask = mask;
    memcpy(g->key, key, len * sizeof(*key));
    g->next = *bucket;
    *bucket = (uint8_t)(g - k->groups);
    return *bucket;
}

void
fast_group_set(struct fast *f, struct fast_class *k, uint32_t row, int16_t leaf, uint8_t gid)
{
    uint8_t old = k->gid[row];

    (void)f;
    if (k->leaf[row] == leaf && old == gid)
        return;
    account(k, k->leaf[row], -1);
    account(k, leaf, 1);
    k->leaf[row] = leaf;
    k->gid[row] = gid;
    if (old != FAST_NO_GROUP) {
        if (old != gid)
            k->groups[old].rows--;
        sum_block(k, old, row / FAST_BLOCK);
    }
    if (gid != FAST_NO_GROUP && gid != old) {
        k->groups[gid].rows++;
        sum_block(k, gid, row / FAST_BLOCK);
    }
}

void
fast_group_summarise(struct fast *f, struct fast_class *k)
{
    for (size_t b = 0; b < f->blocks; b++) {
        size_t from = b * FAST_BLOCK;

        for (size_t i = from; i < from + FAST_BLOCK; i++) {
            uint8_t gid = k->gid[i];
            int16_t leaf = k->leaf[i];

            if (gid == FAST_NO_GROUP) {
                account(k, leaf, 1);
                continue;
            }

            struct fast_group *g = &k->groups[gid];

            g->rows++;
            if (leaf > g->block_most[b]) {
                g->block_most[b] = leaf;
                g->block_rows[b] = 1;
            } else if (leaf == g->block_most[b]) {
                g->block_rows[b]++;
            }
        }
    }
}

void
fast_group_by_shape(struct fast *f, struct fast_class *k, const int16_t *verdict,
                    const uint8_t *group)
{
    AUTO_FREE uint8_t *lacking = xmalloc(f->blocks + 1);

    for (uint32_t i = 0; i < f->shapes_len; i++)
        if (f->shapes[i].rows > 0 && group[i] == FAST_NO_GROUP)
            k->reasons[-1 - verdict[i]].rows += f->shapes[i].rows;
    if (f->shapes_len <= FAST_FEW_SHAPES && k->groups_len == 1)
        k->groups[0].rows =
            fast_scan_one_group(f->shape_byte, verdict, group, f->shapes_len, f->blocks, k->leaf,
                                k->gid, k->groups[0].block_most, k->groups[0].block_rows, lacking);
    else
        group_blocks(f, k, verdict, group, lacking);
    for (size_t b = 0; b < f->blocks; b++)
        for (size_t i = b * FAST_BLOCK; lacking[b] && i < (b + 1) * FAST_BLOCK; i++)
            if (k->leaf[i] <= FAST_FIT)
                account(k, k->leaf[i], 1);
}

void
fast_group_best(const struct fast *f, const struct fast_class *k, struct fast_group *g)
{
    uint8_t gid = (uint8_t)(g - k->groups);
    size_t block = 0, row;
    int16_t most;

    if (!g->dirty)
        return;
    g->dirty = false;
    g->most = fast_scan_most(g->block_most, f->blocks);
    if (g->most < 0)
        return;
    most = (int16_t)g->most;
    g->most_rows = fast_scan_rows(g->block_most, g->block_rows, f->blocks, most);
    while (g->block_most[block] != most)
        block++;
    row = block * FAST_BLOCK;
    while (k->gid[row] != gid || k->leaf[row] != most)
        row++;
    g->first = (uint32_t)row;
}

static void
account(struct fast_class *k, int16_t leaf, int64_t by)
{
    if (leaf >= 0 || leaf == FAST_GONE)
        return;
    if (leaf > FAST_FIT) {
        k->reasons[-1 - leaf].rows += by;
        return;
    }
    for (unsigned bits = (unsigned)(FAST_FIT - leaf); bits != 0; bits &= bits - 1)
        k->fit_rows[__builtin_ctz(bits)] += by;
}

/* Any number of shapes and groups. */
static void
group_blocks(const struct fast *f, struct fast_class *k, const int16_t *verdict,
             const uint8_t *group, uint8_t *lacking)
{
    for (size_t b = 0; b < f->blocks; b++) {
        size_t from = b * FAST_BLOCK;
        int16_t *leaf = k->leaf + from;
        uint8_t *gid = k->gid + from;

        lacking[b] = fast_scan_shapes(f->shape_of + from, verdict, group, leaf, gid);
        for (size_t g = 0; g < k->groups_len; g++)
            k->groups[g].rows += fast_scan_block(leaf, gid, (uint8_t)g, &k->groups[g].block_most[b],
                                                 &k->groups[g].block_rows[b]);
    }
}

static void
sum_block(struct fast_class *k, uint8_t gid, size_t block)
{
    struct fast_group *g = &k->groups[gid];
    size_t from = block * FAST_BLOCK;

    fast_scan_block(k->leaf + from, k->gid + from, gid, &g->block_most[block],
                    &g->block_rows[block]);
    g->dirty = true;
}

static size_t
key_len(const struct fast_class *k)
{
    size_t len = k->coarse_len + k->fine_scores;

    for (size_t i = 0; i < k->soft_len; i++)
        len += k->soft[i].hostname;
    return len;
}

/* A new one, or one that has no rows any more; NULL: there is none. */
static struct fast_group *
new_group(struct fast *f, struct fast_class *k)
{
    int16_t *block_most = NULL;
    uint8_t *block_rows = NULL;
    size_t at = k->groups_len;

    if (!k->labelling && (k->groups_len == k->groups_made || k->groups_len == FAST_GROUPS))
        for (at = 0; at < k->groups_len && k->groups[at].rows > 0;)
            at++;
    if (at == FAST_GROUPS)
        return NULL;
    if (at < k->groups_len) {
        uint8_t *bucket = &k->buckets[k->groups[at].bucket];

        while (*bucket != at)
            bucket = &k->groups[*bucket].next;
        *bucket = k->groups[at].next;
        block_most = k->groups[at].block_most;
        block_rows = k->groups[at].block_rows;
    } else {
        if (at == k->groups_cap) {
            k->groups_cap = k->groups_cap ? 2 * k->groups_cap : 2;
            k->groups = xreallocarray(k->groups, k->groups_cap, sizeof(*k->groups));
        }
        if (at == k->groups_made) {
            k->groups[at].block_most = xreallocarray(NULL, f->blocks, sizeof(*block_most));
            k->groups[at].block_rows = xreallocarray(NULL, f->blocks, sizeof(*block_rows));
            k->groups_made++;
        }
        k->groups_len++;
        block_most = k->groups[at].block_most;
        block_rows = k->groups[at].block_rows;
    }
    memset(block_most, 0xff, f->blocks * sizeof(*block_most));
    memset(block_rows, 0, f->blocks * sizeof(*block_rows));
    k->groups[at] =
        (struct fast_group){.dirty = true, .block_most = block_most, .block_rows = block_rows};
    return &k->groups[at];
}
