/* Limits, order, backoff and retention of migrations; see migrate/coord_queue.h. */
#include "migrate/coord_queue.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "base/strmap.h"

#define NAMES_SHOWN 8

struct holders { /* who holds slots of one node, or of the cluster */
    const struct coord_entry **items;
    size_t len, cap;
};

struct coord_queue {
    int64_t per_cluster, per_node;
    struct holders all;
    struct strmap *nodes; /* node -> struct holders */
};

static int
cmp_us(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int
cmp_str(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "");
}

int
coord_entry_cmp(const struct coord_entry *a, const struct coord_entry *b)
{
    int c;

    if (a->class_ != b->class_)
        return a->class_ > b->class_ ? -1 : 1;
    if ((c = cmp_us(a->created_us, b->created_us)) || (c = cmp_us(a->pending_us, b->pending_us)) ||
        (c = cmp_str(a->ns, b->ns)))
        return c;
    return cmp_str(a->name, b->name);
}

static int
cmp_name(const struct coord_entry *a, const struct coord_entry *b)
{
    int c = cmp_str(a->ns, b->ns);

    return c ? c : cmp_str(a->vmi, b->vmi);
}

static void
holders_free(void *p)
{
    struct holders *h = p;

    free(h->items);
    free(h);
}

static void
holders_add(struct holders *h, const struct coord_entry *e)
{
    size_t i;

    if (h->len == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 8;
        h->items = xreallocarray(h->items, h->cap, sizeof(*h->items));
    }
    /* by name, so that an explanation does not change with the order of a pass */
    for (i = h->len++; i > 0 && cmp_name(e, h->items[i - 1]) < 0; i--)
        h->items[i] = h->items[i - 1];
    h->items[i] = e;
}

struct coord_queue *
coord_queue_new(int64_t per_cluster, int64_t per_node)
{
    struct coord_queue *q = xcalloc(1, sizeof(*q));

    q->per_cluster = per_cluster > 0 ? per_cluster : 0;
    q->per_node = per_node > 0 ? per_node : 0;
    q->nodes = strmap_new();
    return q;
}

void
coord_queue_free(struct coord_queue *q)
{
    if (!q)
        return;
    strmap_free(q->nodes, holders_free);
    free(q->all.items);
    free(q);
}

void
coord_queue_hold(struct coord_queue *q, const struct coord_entry *e)
{
    const char *node = e->node ? e->node : "";
    struct holders *h = strmap_get(q->nodes, node);

    if (!h) {
        h = xcalloc(1, sizeof(*h));
        strmap_put(q->nodes, node, h);
    }
    holders_add(h, e);
    holders_add(&q->all, e);
}

/* "vm-a, other/vm-b and 3 more": namespaces are named where they differ from the reader's. */
static void
names(const struct holders *h, const char *ns, struct sb *out)
{
    for (size_t i = 0; i < h->len && i < NAMES_SHOWN; i++) {
        const struct coord_entry *e = h->items[i];

        sb_puts(out, i ? ", " : "");
        if (cmp_str(e->ns, ns) != 0)
            sb_printf(out, "%s/", e->ns ? e->ns : "");
        sb_puts(out, e->vmi ? e->vmi : "?");
    }
    if (h->len > NAMES_SHOWN)
        sb_printf(out, " and %zu more", h->len - NAMES_SHOWN);
}

bool
coord_queue_allows(const struct coord_queue *q, const struct coord_entry *e,
                   const char **ret_reason, char *message, size_t size)
{
    static const struct holders nobody;
    const char *node = e->node ? e->node : "";
    const struct holders *h = strmap_get(q->nodes, node);
    AUTO_SB struct sb who = SB_INIT;

    if (!h)
        h = &nobody;
    if ((uint64_t)q->all.len >= (uint64_t)q->per_cluster) {
        names(&q->all, e->ns, &who);
        *ret_reason = "ClusterLimit";
        snprintf(message, size,
                 "waiting: %zu of %" PRId64 " migrations of the cluster are running (%s)",
                 q->all.len, q->per_cluster, sb_str(&who));
        return false;
    }
    if ((uint64_t)h->len >= (uint64_t)q->per_node) {
        names(h, e->ns, &who);
        *ret_reason = "NodeLimit";
        snprintf(message, size,
                 "waiting: %zu of %" PRId64 " outbound migrations of node %s are running (%s)",
                 h->len, q->per_node, node, sb_str(&who));
        return false;
    }
    return true;
}

size_t
coord_queue_held(const struct coord_queue *q)
{
    return q->all.len;
}

/* Newest first; names break ties. */
static int
cmp_attempts(const void *pa, const void *pb)
{
    const struct coord_attempt *a = pa, *b = pb;
    int c = cmp_us(b->created_us, a->created_us);

    return c ? c : cmp_str(b->name, a->name);
}

int64_t
coord_backoff_until_us(struct coord_attempt *a, size_t len, unsigned *ret_failures)
{
    unsigned failures = 0;
    int64_t last_us = 0, wait_s = 0;

    if (len > 1)
        qsort(a, len, sizeof(*a), cmp_attempts);
    for (size_t i = 0; i < len && a[i].phase != COORD_SUCCEEDED; i++) {
        if (a[i].deleting || a[i].phase != COORD_FAILED)
            continue;
        if (failures++ == 0) {
            last_us = a[i].ended_us;
            wait_s = COORD_BACKOFF_FIRST_S;
        } else if (wait_s < COORD_BACKOFF_MAX_S) {
            wait_s *= 2;
        }
    }
    if (ret_failures)
        *ret_failures = failures;
    return failures ? last_us + wait_s * 1000000 : 0;
}

/* Unfinished ones first, then finished ones, the newest end first. */
static int
cmp_retention(const void *pa, const void *pb)
{
    const struct coord_attempt *a = pa, *b = pb;
    bool fa = coord_phase_final(a->phase), fb = coord_phase_final(b->phase);
    int c;

    if (fa != fb)
        return fa ? 1 : -1;
    c = cmp_us(b->ended_us, a->ended_us);
    return c ? c : cmp_attempts(pa, pb);
}

size_t
coord_retention(struct coord_attempt *a, size_t len)
{
    size_t finished = 0;

    if (len > 1)
        qsort(a, len, sizeof(*a), cmp_retention);
    for (size_t i = 0; i < len; i++)
        finished += coord_phase_final(a[i].phase);
    return finished > COORD_KEEP_FINISHED ? finished - COORD_KEEP_FINISHED : 0;
}
