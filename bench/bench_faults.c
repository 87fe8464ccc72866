/* See bench_faults.h. */
#include "bench/bench_faults.h"

#include <errno.h>

#include "bench/bench_machine.h"

static int
durable(void *ctx, struct err *err)
{
    (void)ctx, (void)err;
    return 0;
}

int
bench_faults(struct bench_sides *s, struct bench_faults *f, struct bench_samples *ret_us,
             struct err *err)
{
    struct mig_source_config cfg = {
        .ident = bench_ident,
        .guest = bench_prober_port(f->guest),
        .channels = f->channels,
        .policy = {.allow_post_copy = true, .post_copy_at_once = true, .transport = f->transport},
        .network_trusted = f->trusted,
        .rdma_window_bytes = f->window_bytes,
        .commit = durable};
    struct bench_order o = {
        .job = BENCH_JOB_FAULTS, .bytes = f->guest->region.size, .trusted = f->trusted};
    struct mig_source *src;
    struct bench_result r;
    enum mig_cause cause;
    enum mig_outcome outcome;
    int rc, far_rc;

    bench_machine_touch(o.bytes);
    rc = bench_sides_order(s, &o, cfg.target_addr, err);
    if (rc != 0)
        return rc;
    src = mig_source_new(&cfg);
    outcome = mig_source_run(src, &cause, err);
    mig_source_stats(src, &f->stats);
    mig_source_free(src);
    rc = outcome == MIG_MOVED ? 0 : -EIO;
    far_rc = bench_sides_arrived(s, rc ? NULL : err);
    if (far_rc == 0) {
        far_rc = bench_sides_result(s, &r, rc ? NULL : err);
        f->faults = r.faults;
        f->far_stats = r.stats;
        (void)bench_sides_faults(s, &r, ret_us, NULL);
    }
    if (rc != 0 || far_rc != 0)
        return rc ? rc : far_rc;
    return r.sum == f->sum ? 0 : err_set(err, -EIO, "the memory that arrived is wrong");
}
