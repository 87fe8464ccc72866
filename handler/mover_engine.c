/* Native guests are moved by our own engine: migrate/engine.h behind handler/mover.h. */
#include "handler/hv_native.h"
#include "handler/mover.h"

struct engine_source {
    struct mover_source head;
    struct mig_source *s;
};

struct engine_target {
    struct mover_target head;
    struct mig_target *t;
    struct hv_guest *g; /* NULL: it is gone */
};

static struct mig_source *
source(const struct mover_source *s)
{
    return ((const struct engine_source *)s)->s;
}

static struct mig_target *
target(const struct mover_target *t)
{
    return ((const struct engine_target *)t)->t;
}

static struct mover_source *
source_new(const struct mig_source_config *cfg, struct hv_guest *g)
{
    struct engine_source *s = xcalloc(1, sizeof *s);
    struct mig_source_config c = *cfg;

    c.guest = native_guest(hv_native(g));
    s->head.mover = &mover_engine;
    s->s = mig_source_new(&c);
    return &s->head;
}

static enum mig_outcome
source_run(struct mover_source *s, enum mig_cause *ret_cause, struct err *err)
{
    return mig_source_run(source(s), ret_cause, err);
}

static bool
source_cancel(struct mover_source *s)
{
    return mig_source_cancel(source(s));
}

static void
source_stop(struct mover_source *s)
{
    mig_source_stop(source(s));
}

static void
source_redirect(struct mover_source *s, const char *addr, const char *fallback_addr)
{
    mig_source_redirect(source(s), addr, fallback_addr);
}

static void
source_rebind(struct mover_source *s, const char *local_ip, const char *device, bool trusted,
              const char *why)
{
    mig_source_rebind(source(s), local_ip, device, trusted, why);
}

static void
source_set_bandwidth(struct mover_source *s, uint64_t bytes_per_s)
{
    mig_source_set_bandwidth(source(s), bytes_per_s);
}

static void
source_stats(struct mover_source *s, struct mig_stats *ret)
{
    mig_source_stats(source(s), ret);
}

static void
source_free(struct mover_source *s)
{
    mig_source_free(source(s));
    free(s);
}

static enum mig_outcome
source_resolve(const struct mig_source_config *cfg, struct hv_guest *g, struct err *err)
{
    (void)g; /* paused, and nobody but its handler resumes it */
    return mig_source_resolve(cfg, err);
}

static int
target_new(const struct mig_target_config *cfg, struct hv_guest *g, struct mover_target **ret,
           struct err *err)
{
    struct mig_target_config c = *cfg;
    struct engine_target *t;
    struct mig_target *engine;
    int rc;

    if (g)
        c.guest = native_guest(hv_native(g));
    rc = mig_target_new(&c, &engine, err);
    if (rc != 0)
        return rc;
    t = xcalloc(1, sizeof *t);
    t->head.mover = &mover_engine;
    t->t = engine;
    t->g = g;
    *ret = &t->head;
    return 0;
}

static const char *
target_address(const struct mover_target *t)
{
    return mig_target_address(target(t));
}

static const char *
target_fallback_address(const struct mover_target *t)
{
    return mig_target_fallback_address(target(t));
}

static enum mig_target_outcome
target_run(struct mover_target *t, struct err *err)
{
    enum mig_target_outcome outcome = mig_target_run(target(t), err);
    struct hv_guest *g = ((struct engine_target *)t)->g;

    if (outcome == MIG_TARGET_RUNNING && g)
        hv_native_arrived(g);
    return outcome;
}

static int
target_relisten(struct mover_target *t, const char *ip, const char *device, bool trusted,
                const char *fallback_ip, struct err *err)
{
    return mig_target_relisten(target(t), ip, device, trusted, fallback_ip, err);
}

static void
target_stop(struct mover_target *t)
{
    mig_target_stop(target(t));
}

static void
target_source_lost(struct mover_target *t)
{
    mig_target_source_lost(target(t));
}

static size_t
target_damage(struct mover_target *t, struct mig_range *ret, size_t max)
{
    return mig_target_damage(target(t), ret, max);
}

static void
target_stats(struct mover_target *t, struct mig_stats *ret)
{
    mig_target_stats(target(t), ret);
}

static void
target_free(struct mover_target *t)
{
    mig_target_free(target(t));
    free(t);
}

const struct mover mover_engine = {
    .method = "engine",
    .source_new = source_new,
    .source_run = source_run,
    .source_cancel = source_cancel,
    .source_stop = source_stop,
    .source_redirect = source_redirect,
    .source_rebind = source_rebind,
    .source_set_bandwidth = source_set_bandwidth,
    .source_stats = source_stats,
    .source_free = source_free,
    .source_resolve = source_resolve,
    .target_new = target_new,
    .target_address = target_address,
    .target_fallback_address = target_fallback_address,
    .target_run = target_run,
    .target_relisten = target_relisten,
    .target_stop = target_stop,
    .target_source_lost = target_source_lost,
    .target_damage = target_damage,
    .target_stats = target_stats,
    .target_free = target_free,
};
