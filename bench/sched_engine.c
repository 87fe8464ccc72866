/* See sched_engine.h. */
#include "bench/sched_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "sched/cluster.h"

static const char *place_plain(struct cluster *c, const struct place_request *rq);
static int differ(const struct fast_decision *d, const struct place_result *r, struct err *err);
static int differ_best(const struct fast *f, const struct place_result *r, struct err *err);
static int by_name(const void *a, const void *b);

void
sched_engine_open(struct sched_engine *e, struct cluster *c, bool plain)
{
    *e = (struct sched_engine){.c = c, .fast = plain ? NULL : fast_new(c)};
}

void
sched_engine_close(struct sched_engine *e)
{
    fast_free(e->fast);
    *e = (struct sched_engine){0};
}

const char *
sched_engine_place(struct sched_engine *e, const struct vmi *v, bool keep)
{
    struct place_request rq = {.vmi = v};
    struct fast_decision d;
    const char *node;

    if (e->fast) {
        fast_place(e->fast, &rq, &d);
        node = d.node;
    } else {
        node = place_plain(e->c, &rq);
    }
    if (node && keep)
        cluster_reserve(e->c, v, node);
    return node;
}

int
sched_engine_agrees(struct sched_engine *e, const struct vmi *v, struct err *err)
{
    struct place_request rq = {.vmi = v};
    struct place_result *r;
    struct fast_decision d;
    int rc;

    if (!e->fast)
        return 0;
    fast_place(e->fast, &rq, &d);
    r = place(e->c, &rq);
    rc = differ(&d, r, err);
    if (rc == 0)
        rc = differ_best(e->fast, r, err);
    place_result_free(r);
    return rc ? err_prefix(err, rc, "%s: the engine and place() differ", v->meta.name) : 0;
}

/* The result goes with its texts; the node's name stays with the cluster. */
static const char *
place_plain(struct cluster *c, const struct place_request *rq)
{
    struct place_result *r = place(c, rq);
    const struct cluster_node *n = cluster_find(c, r->node);

    place_result_free(r);
    return n ? n->name : NULL;
}

static int
differ(const struct fast_decision *d, const struct place_result *r, struct err *err)
{
    const struct place_node *n = NULL;
    size_t fits = 0;

    for (size_t i = 0; i < r->nodes_len; i++) {
        fits += r->nodes[i].fits;
        if (r->node && strcmp(r->nodes[i].name, r->node) == 0)
            n = &r->nodes[i];
    }
    if (strcmp(d->node ? d->node : "none", r->node ? r->node : "none") != 0)
        return err_set(err, -EBADMSG, "%s, %s", d->node ? d->node : "none",
                       r->node ? r->node : "none");
    if (strcmp(d->message, r->message) != 0)
        return err_set(err, -EBADMSG, "'%s', '%s'", d->message, r->message);
    if (n && (d->total != n->total || d->score != n->score))
        return err_set(err, -EBADMSG, "total %lld, %lld", (long long)d->total, (long long)n->total);
    if (d->fits_len != fits || d->best_len != r->best.len)
        return err_set(err, -EBADMSG, "%zu nodes fit, %zu best; %zu, %zu", d->fits_len, d->best_len,
                       fits, r->best.len);
    return 0;
}

static int
differ_best(const struct fast *f, const struct place_result *r, struct err *err)
{
    AUTO_FREE const char **mine = xcalloc(r->best.len + 1, sizeof *mine);
    AUTO_FREE const char **theirs = xcalloc(r->best.len + 1, sizeof *theirs);
    size_t len = fast_best(f, mine, r->best.len + 1);

    if (len != r->best.len)
        return err_set(err, -EBADMSG, "%zu best nodes are named, of %zu", len, r->best.len);
    for (size_t i = 0; i < len; i++)
        theirs[i] = r->best.items[i];
    qsort(theirs, len, sizeof *theirs, by_name);
    for (size_t i = 0; i < len; i++)
        if (strcmp(mine[i], theirs[i]) != 0)
            return err_set(err, -EBADMSG, "best node %zu is %s, %s", i, mine[i], theirs[i]);
    return 0;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}
