/* A node's bandwidth, shared among the migrations that leave it: weighted max-min fair under a cap.
 * Each migration draws from its own bucket (bucket.h), whose rate this sets to the smaller of the
 * migration's own limit and its share. What one does not use goes to the others: a migration that
 * never had to wait since the last look gets little more than it used, until it waits for the first
 * time; then it has its whole share again at once. "Progressive filling", as in Bertsekas and
 * Gallager, Data Networks, 6.5.2. Time comes in as a parameter; any thread may call anything. */
#ifndef MIGRATE_SHARE_H
#define MIGRATE_SHARE_H

#include <stddef.h>

#include "migrate/bucket.h"

#define SHARE_LOOK_US 40000 /* how often share_look looks; its callers come every 50 ms or so */

struct share;

/* What one of them may draw. */
struct share_claim {
    uint32_t weight; /* at least 1 */
    uint64_t want;   /* bytes a second it would use; 0 = whatever it gets */
};

/* ret[i] for each of n claims under cap (0 = none): pure. Never 0 under a cap; never more than want;
 * the sum is at most the cap (or n, should that be more), and n less at least, unless all have what
 * they want; who has not got what it wants has, for its weight, as much as anybody. Without a cap
 * ret[i] is want, 0 meaning no limit. */
void share_allocate(uint64_t cap, const struct share_claim *claims, size_t n, uint64_t *ret);

struct share *share_new(void);
void share_free(struct share *s); /* nobody draws from it any more; NULL is fine */
/* Bytes a second; 0 = no cap. The smaller of both counts; the link's only while there is somebody to
 * share it with: one alone finds out by itself what a link gives. Takes effect at once. */
void share_set_caps(struct share *s, uint64_t node_bytes_per_s, uint64_t link_bytes_per_s,
                    uint64_t now_us);
uint64_t share_cap(struct share *s);
size_t share_members(struct share *s);

/* One migration's part; embedded in it, used through the functions only. */
struct share_member {
    struct bucket bucket;
    struct share *share; /* NULL: nothing is shared, the own limit is the rate */
    /* guarded by the share's lock */
    struct share_member *next;
    uint32_t weight;
    uint64_t limit;        /* its own; 0 = none */
    bool idle;             /* it did not use its share: want counts */
    uint64_t want;         /* bytes a second */
    uint64_t granted;      /* the rate that was set */
    uint64_t taken, waits; /* of the bucket, at the last look */
};

/* s may be NULL and must outlive m otherwise; weight 0 counts as 1; limit 0 = none. */
void share_join(struct share *s, struct share_member *m, uint32_t weight, uint64_t limit,
                uint64_t now_us);
void share_leave(struct share_member *m, uint64_t now_us); /* nobody takes from it any more */
void share_set_limit(struct share_member *m, uint64_t limit, uint64_t now_us);
/* The rate in force; 0 = no limit. */
uint64_t share_rate(struct share_member *m);
/* As bucket_take. */
uint64_t share_take(struct share_member *m, uint64_t bytes, uint64_t now_us);
/* To be called often (each migration does): gives away what is not used. */
void share_look(struct share_member *m, uint64_t now_us);

#endif
