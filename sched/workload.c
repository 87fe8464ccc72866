/* The sum of two affinities; see workload.h. */
#include "sched/workload.h"

#include <string.h>

#include "base/sb.h"

static bool has_pod_terms(const struct affinity *a);
static size_t terms_bytes(const struct affinity *a);
static void *join(char **at, const void *x, size_t x_bytes, const void *y, size_t y_bytes);

const struct affinity *
workload_affinity(const struct hco *hco, const struct affinity *own, struct arena *a,
                  struct affinity **ret_both)
{
    const struct affinity *more = hco ? &hco->workloads.affinity : NULL;
    struct affinity *both;
    size_t size;
    char *at;

    if (!more || !has_pod_terms(more))
        return own;
    if (!has_pod_terms(own))
        return more;
    size = sizeof(*both) + terms_bytes(own) + terms_bytes(more);
    both = a ? arena_alloc(a, size) : xcalloc(1, size);
    at = (char *)(both + 1);
    *both = *own;
#define JOIN(field)                                                                              \
    do {                                                                                         \
        size_t one = sizeof(*both->field);                                                       \
                                                                                                 \
        both->field =                                                                            \
            join(&at, own->field, own->field##_len * one, more->field, more->field##_len * one); \
        both->field##_len = own->field##_len + more->field##_len;                                \
    } while (0)
    JOIN(pod_required);
    JOIN(pod_anti_required);
    JOIN(pod_preferred);
    JOIN(pod_anti_preferred);
#undef JOIN
    *ret_both = both;
    return both;
}

static bool
has_pod_terms(const struct affinity *a)
{
    return terms_bytes(a) > 0;
}

static size_t
terms_bytes(const struct affinity *a)
{
    return (a->pod_required_len + a->pod_anti_required_len) * sizeof(struct pod_term) +
           (a->pod_preferred_len + a->pod_anti_preferred_len) * sizeof(struct weighted_pod_term);
}

/* x and y one after the other at *at, which moves on. */
static void *
join(char **at, const void *x, size_t x_bytes, const void *y, size_t y_bytes)
{
    char *all = *at;

    if (x_bytes > 0)
        memcpy(all, x, x_bytes);
    if (y_bytes > 0)
        memcpy(all + x_bytes, y, y_bytes);
    *at += x_bytes + y_bytes;
    return all;
}
