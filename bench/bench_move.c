/* See bench_move.h. */
#include "bench/bench_move.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "bench/bench_certs.h"
#include "bench/bench_house.h"
#include "bench/bench_machine.h"
#include "migrate/tls.h"

#define STATE_DIR BENCH_HOUSE_DIR "/near"

static int
durable(void *ctx, struct err *err)
{
    (void)ctx, (void)err;
    return 0;
}

int
bench_move_guest_start(const struct native_config *cfg, const char *uid, struct native_guest **ret,
                       struct err *err)
{
    struct native_config c = *cfg;

    c.state_dir = STATE_DIR;
    c.vmi_uid = uid;
    c.program = bench_house_guest_program();
    return native_spawn(&c, ret, err);
}

void
bench_move_guest_stop(struct native_guest *g)
{
    if (g)
        (void)native_remove(g, NULL); /* the house ends what is left */
    native_free(g);
}

int
bench_move_guest_memory(struct native_guest *g, const uint8_t **ret, struct err *err)
{
    struct guest port = native_guest(g);
    struct guest_region r[GUEST_MAX_REGIONS];
    int rc = port.ops->regions(port.impl, r, err);

    if (rc < 0)
        return rc;
    for (uint64_t at = 0; at < r[0].size; at += 4096)
        (void)((const volatile uint8_t *)r[0].map)[at];
    *ret = r[0].map;
    return 0;
}

struct watch {
    struct bench_move *m;
    struct mig_source *src;
    bool done;
};

/* The first decision comes before the first byte, if the engine can tell anything then. */
static void
on_decided(void *ctx, const struct mig_decision *d)
{
    struct watch *w = ctx;

    if (w->m->verbose)
        fprintf(stderr, "%8.3f s  round %u: %s\n", (double)d->at_us / 1e6, d->round, d->text);
    if (w->done)
        return;
    w->done = true;
    mig_source_stats(w->src, &w->m->before);
    w->m->predicted = d->at_us == 0 && w->m->before.predicted_total_p50_us > 0;
}

int
bench_move(struct bench_sides *s, struct native_guest *g, struct bench_move *m, struct err *err)
{
    struct mig_source_config cfg = {.ident = bench_ident,
                                    .channels = m->channels,
                                    .limits = m->limits,
                                    .policy = m->policy,
                                    .network_trusted = m->trusted,
                                    .commit = durable,
                                    .decided = on_decided};
    struct bench_order o = {.job = BENCH_JOB_MOVE,
                            .bytes = native_memory_bytes(g),
                            .allocated = m->allocated,
                            .encrypted = m->encrypted,
                            .trusted = m->trusted,
                            .downtime = m->downtime,
                            .verify = m->verify};
    struct watch w = {.m = m};
    struct native_guest *fresh;
    struct tls_ctx *tls = NULL;
    struct err far_err = {0};
    struct bench_result r;
    uint64_t began, cpu;
    double machine_cpu_s;
    int rc, far_rc;

    if (m->encrypted) {
        rc = bench_certs_load(BENCH_CERTS_NEAR, &tls, err);
        if (rc != 0)
            return rc;
        cfg.tls = tls;
        snprintf(cfg.tls_peer, sizeof cfg.tls_peer, "%s", BENCH_CERTS_FAR);
    }
    rc = native_open(STATE_DIR, native_uid(g), &fresh, err);
    if (rc != 0) {
        tls_ctx_unref(tls);
        return rc;
    }
    rc = bench_sides_order(s, &o, cfg.target_addr, err);
    if (rc != 0) {
        native_free(fresh);
        tls_ctx_unref(tls);
        return rc;
    }
    cfg.guest = native_guest(fresh);
    cfg.ctx = &w;
    w.src = mig_source_new(&cfg);
    cpu = bench_cpu_us();
    machine_cpu_s = bench_machine_cpu_s();
    began = clock_mono_us();
    m->outcome = mig_source_run(w.src, &m->cause, err);
    m->us = clock_mono_us() - began;
    m->cpu_us = bench_cpu_us() - cpu;
    m->machine_cpu_s = bench_machine_cpu_s() - machine_cpu_s;
    mig_source_stats(w.src, &m->stats);
    mig_source_free(w.src);
    if (m->outcome != MIG_MOVED)
        rc = m->outcome == MIG_FAILED ? -ECANCELED : -EIO;
    far_rc = bench_sides_arrived(s, &far_err);
    if (far_rc == 0)
        far_rc = bench_sides_result(s, &r, &far_err);
    if (far_rc == 0) {
        m->far_cpu_us = r.cpu_us;
        m->downtime_us = r.downtime_us;
        m->far_stats = r.stats;
    }
    if (rc != 0 && far_rc != 0)
        err_prefix(err, rc, "%.100s; source", err_msg(&far_err)); /* either may know why */
    else if (far_rc != 0)
        rc = err_set(err, far_rc, "%s", err_msg(&far_err));
    cfg.guest.ops->resume(cfg.guest.impl, rc ? NULL : err);
    native_free(fresh);
    tls_ctx_unref(tls);
    if (rc == 0 && m->stats.encrypted != m->encrypted)
        rc = err_set(err, -EIO, "it was %sencrypted", m->stats.encrypted ? "" : "not ");
    return rc;
}
