/* The source and its convergence controller: probes before the first round, what each round
 * measured goes in, decisions are carried out and written down, and what a migration taught is kept
 * for the next one of this process. The controller itself is pure (converge.h). Run thread only,
 * but for the probe's phases, which the workers run. See source_int.h, docs/convergence.md. */
#include "migrate/source_int.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "migrate/bits.h"
#include "migrate/converge_say.h"

#define PROBE_MAX_US     300000 /* of all probes together */
#define PROBE_MIN_US     4000   /* shorter ones tell nothing */
#define PROBE_SHARE      100    /* one part in so many of the time that sending all would take */
#define PROBE_LINK       2500000000ull /* bytes a second: at this rate, when none was learnt */
#define PROBE_BYTES      (32ull << 30) /* more content than this is probed in part */
#define PROBES           4
#define LEARNT           5
#define LEARNT_FIXED_MAX 100000 /* us: what one slow disk did is not to keep others from moving */
#define REFRESH_US       500000
#define LEARN_RATE_US    50000 /* shorter migrations say little about the link */
#define FIRST_SAMPLES    3     /* of bandwidth: the first of them still wake everything up */

/* What the last migrations of this process taught. */
static struct {
    pthread_mutex_t mu;
    uint64_t fixed_us[LEARNT]; /* newest; one odd one does not count: the median does */
    unsigned len, at;
    uint64_t rate[LEARNT]; /* bytes a second */
    unsigned rates, rate_at;
} learnt = {.mu = PTHREAD_MUTEX_INITIALIZER};

static int probe(struct mig_source *s, uint64_t rate);
static int throttle(struct mig_source *s, const struct converge_verdict *v);
static void publish(struct mig_source *s);
static void clear_marks(struct mig_source *s);

void
source_log(struct mig_source *s, const char *text)
{
    struct mig_decision d = {.round = s->round};
    uint64_t started = s->stats.started_us;

    if (!s->cfg.decided)
        return;
    d.at_us = started ? clock_mono_us() - started : 0;
    snprintf(d.text, sizeof d.text, "%s", text);
    s->cfg.decided(s->cfg.ctx, &d);
}

static void
learn(uint64_t fixed_us, uint64_t rate, uint64_t limit)
{
    pthread_mutex_lock(&learnt.mu);
    learnt.fixed_us[learnt.at] = fixed_us < LEARNT_FIXED_MAX ? fixed_us : LEARNT_FIXED_MAX;
    learnt.at = (learnt.at + 1) % LEARNT;
    learnt.len += learnt.len < LEARNT;
    /* Of a link that was held to a limit (0 = none) is known only that it carries as much. */
    if (rate > 0 && (!limit || rate < limit / 10 * 9 || learnt.rates == 0)) {
        learnt.rate[learnt.rate_at] = rate;
        learnt.rate_at = (learnt.rate_at + 1) % LEARNT;
        learnt.rates += learnt.rates < LEARNT;
    }
    pthread_mutex_unlock(&learnt.mu);
}

static uint64_t
median(const uint64_t *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned below = 0, equal = 0;

        for (unsigned k = 0; k < n; k++) {
            below += v[k] < v[i];
            equal += v[k] == v[i];
        }
        if (below <= n / 2 && below + equal > n / 2)
            return v[i];
    }
    return 0;
}

/* The fixed part and the link's rate; 0 = nothing yet. */
static uint64_t
recall(uint64_t *ret_rate)
{
    uint64_t fixed;

    pthread_mutex_lock(&learnt.mu);
    fixed = median(learnt.fixed_us, learnt.len);
    *ret_rate = median(learnt.rate, learnt.rates);
    pthread_mutex_unlock(&learnt.mu);
    return fixed;
}

static uint64_t
present_bytes(const struct mig_source *s)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < s->layout.regions; i++) {
        struct stat st;

        if (fstat(s->regions[i].memfd, &st) != 0)
            return s->layout.total_bytes;
        bytes += (uint64_t)st.st_blocks * 512;
    }
    return bytes < s->layout.total_bytes ? bytes : s->layout.total_bytes;
}

int
source_converge_start(struct mig_source *s)
{
    uint64_t budget =
        s->cfg.limits.max_downtime_us ? s->cfg.limits.max_downtime_us : CONVERGE_DOWNTIME_US;
    uint64_t rate, fixed = recall(&rate);
    char text[MIG_DECISION_TEXT];

    if (rate == 0 && s->cfg.link_estimate_bytes_per_s > 0) {
        rate = s->cfg.link_estimate_bytes_per_s;
        converge_say_estimate(rate, s->cfg.link_estimate_from, text);
        source_log(s, text);
    }

    struct converge_config cfg = {
        .total_bytes = s->layout.total_bytes,
        .limits = s->cfg.limits,
        .policy = s->cfg.policy,
        .can_throttle = s->cfg.guest.ops->throttle != NULL,
        .can_post_copy = s->can_post_copy,
        .seed = s->cfg.ident.generation,
        .rtt_us = s->rtt_us,
        .fixed_us = fixed < budget / 2 ? fixed : budget / 2,
        .bytes_per_s = rate,
    };
    int rc;

    s->present_bytes = present_bytes(s);
    converge_init(&s->converge, &cfg);
    /* A probe arms all memory, and what is armed and not written counts as sent. The first round
     * sends it nevertheless; post-copy without one would take it for memory that is there. */
    rc = s->cfg.policy.post_copy_at_once && s->can_post_copy ? 0 : probe(s, rate);
    if (rc != 0)
        return rc;
    converge_start(&s->converge, s->present_bytes, text);
    publish(s);
    source_log(s, text);
    return 0;
}

/* --- probes --- */

/* Arms the stripes that have content, all at about one time, and counts a few times what was
 * written since. The first round does not have to arm them any more, so this costs little beside
 * its waiting. */
static int
probe(struct mig_source *s, uint64_t rate)
{
    uint64_t us, armed, began = clock_mono_us();
    uint64_t stride = s->present_bytes / PROBE_BYTES + 1;
    int rc;

    us = s->present_bytes / ((rate ? rate : PROBE_LINK) / 1000000 + 1) / PROBE_SHARE;
    if (us < PROBE_MIN_US)
        return 0;
    if (us > PROBE_MAX_US)
        us = PROBE_MAX_US;
    s->probe_stride = stride;
    source_phase_begin(s, SOURCE_ARM);
    rc = source_wait(s, SOURCE_WAIT_WORKERS);
    armed = clock_mono_us();
    armed -= (armed - began) / 2;
    for (unsigned i = PROBES; rc == 0 && i > 0; i--) {
        uint64_t pages = 0, exposed = 0, at;

        s->wait_until_us = armed + (us >> (i - 1)); /* at 1/8, 1/4, 1/2 and all of it */
        rc = source_wait(s, SOURCE_WAIT_UNTIL);
        if (rc != 0)
            break;
        at = clock_mono_us();
        source_phase_begin(s, SOURCE_PROBE);
        rc = source_wait(s, SOURCE_WAIT_WORKERS);
        for (uint32_t k = 0; k < s->channels; k++)
            pages += s->workers[k].probed_pages;
        for (uint32_t k = 0; k < s->channels; k++)
            exposed += s->workers[k].probed_us;
        at += (clock_mono_us() - at) / 2;
        if (rc == 0)
            converge_probe(&s->converge, pages ? exposed / pages : at - armed,
                           pages * LAYOUT_PAGE_BYTES * stride);
    }
    clear_marks(s);
    return rc;
}

static void
clear_marks(struct mig_source *s)
{
    memset(s->dirty, 0, s->words * 8);
}

static int
ignore_range(void *ctx, const struct track_range *r)
{
    (void)ctx;
    (void)r;
    return 0;
}

static int
count_range(void *ctx, const struct track_range *r)
{
    uint64_t *pages = ctx;

    if (r->written && r->mapped)
        *pages += (r->end - r->start) / LAYOUT_PAGE_BYTES;
    return 0;
}

/* Both phases of a probe, by one worker on a contiguous share of the stripes. Between them the
 * first word of a stripe in s->dirty says when it was armed: arming takes as long as the probes
 * do, and what counts is for how long the pages that are found had been armed. */
int
source_probe(struct source_worker *w, bool arm)
{
    struct mig_source *s = w->s;
    uint64_t lo = s->layout.stripes * w->index / s->channels;
    uint64_t hi = s->layout.stripes * (w->index + 1) / s->channels;

    w->probed_pages = w->probed_us = 0;
    for (uint64_t i = lo; i < hi; i++) {
        uint64_t *mark = &s->dirty[i * LAYOUT_STRIPE_PAGES / 64], offset, data;
        uint32_t region, bytes;
        int rc = 0;

        if (atomic_load_explicit(&s->stop, memory_order_relaxed))
            return err_set(&w->err, -ECANCELED, "stopped");
        if (i % s->probe_stride != 0 || (!arm && !*mark))
            continue;
        layout_stripe(&s->layout, i, &region, &offset, &bytes);
        if (arm) {
            rc = present_next(&w->present[region], offset, &data, &w->err);
            *mark = rc == 0 && data < offset + bytes ? clock_mono_us() : 0;
        }
        if (rc == 0 && *mark) {
            uint64_t pages = 0;

            rc = track_scan(s->track, w->scan, region, offset, offset + bytes, arm,
                            arm ? ignore_range : count_range, &pages, &w->err);
            w->probed_pages += pages;
            w->probed_us += pages * (pages ? clock_mono_us() - *mark : 0);
        }
        if (rc != 0) {
            w->cause = MIG_CAUSE_GUEST;
            return rc;
        }
    }
    return 0;
}

/* --- rounds --- */

static void
publish(struct mig_source *s)
{
    const struct converge_prediction *p = &s->converge.prediction;

    if (!p->known)
        return;
    pthread_mutex_lock(&s->mu);
    s->stats.predicted_total_p50_us = p->total_p50_us;
    s->stats.predicted_total_p90_us = p->total_p90_us;
    s->stats.predicted_downtime_us = p->downtime_p50_us;
    s->stats.predicted_downtime_p90_us = p->downtime_p90_us;
    pthread_mutex_unlock(&s->mu);
}

void
source_converge_tick(struct mig_source *s, uint64_t now, uint64_t left_bytes)
{
    bool known = s->converge.prediction.known;
    char text[MIG_DECISION_TEXT];

    converge_set_limit(&s->converge, share_rate(&s->share)); /* it may be another by now */
    /* The first prediction as soon as anything was measured, then now and then. */
    if (s->paused || s->converge.link.len < FIRST_SAMPLES ||
        (s->refreshed_us && now - s->refreshed_us < REFRESH_US))
        return;
    s->refreshed_us = now;
    if (s->round == 1) { /* what was never touched is left, too, but costs nothing */
        uint64_t sent = 0, most;

        for (uint32_t i = 0; i < s->channels; i++) { /* absent first: it is part of done */
            const struct source_worker *w = &s->workers[i];
            uint64_t absent = atomic_load(&w->absent_pages);

            sent += atomic_load(&w->done_pages) - absent;
        }
        sent *= LAYOUT_PAGE_BYTES;
        most = s->present_bytes > sent ? s->present_bytes - sent : 0;
        left_bytes = left_bytes < most ? left_bytes : most;
    }
    converge_refresh(&s->converge, now - s->stats.started_us, now - s->round_began_us, left_bytes);
    publish(s);
    if (!known && s->converge.prediction.known) {
        converge_say(&s->converge, text);
        source_log(s, text);
    }
}

int
source_decide(struct mig_source *s, const struct converge_round *in, bool *ret_go_on)
{
    struct converge_verdict v;
    struct err err = {0};

    converge_next(&s->converge, in, &v);
    pthread_mutex_lock(&s->mu);
    s->stats.predicted_downtime_us = v.downtime_us;
    pthread_mutex_unlock(&s->mu);
    publish(s);
    source_log(s, v.why);
    *ret_go_on = true;
    switch (v.decision) {
    case CONVERGE_ROUND:
        return 0;
    case CONVERGE_THROTTLE:
        return throttle(s, &v);
    case CONVERGE_SWITCH:
    case CONVERGE_PAUSE:
        pthread_mutex_lock(&s->mu);
        if (v.decision == CONVERGE_PAUSE)
            s->stats.mode = MIG_MODE_PAUSED;
        s->stats.predicted_downtime_us = v.downtime_us;
        s->stats.predicted_downtime_p90_us = v.downtime_low_us;
        s->stats.predicted_total_p50_us = in->at_us + v.downtime_us;
        s->stats.predicted_total_p90_us = in->at_us + v.downtime_low_us;
        pthread_mutex_unlock(&s->mu);
        s->long_pause_us = v.decision == CONVERGE_PAUSE ? 3 * v.downtime_low_us : 0;
        *ret_go_on = false;
        return 0;
    case CONVERGE_POSTCOPY:
        s->go_postcopy = true;
        pthread_mutex_lock(&s->mu);
        s->stats.predicted_downtime_us = converge_downtime_us(&s->converge, 0, 50);
        s->stats.predicted_downtime_p90_us = converge_downtime_us(&s->converge, 0, 10);
        pthread_mutex_unlock(&s->mu);
        *ret_go_on = false;
        return 0;
    default:
        err_set(&err, -ETIMEDOUT, "not complete after %.1f s",
                (double)s->cfg.limits.completion_timeout_us / 1e6);
        return source_trouble(s, MIG_CAUSE_COMPLETION_TIMEOUT, -ETIMEDOUT, &err);
    }
}

/* --- throttling --- */

static int
throttle(struct mig_source *s, const struct converge_verdict *v)
{
    struct err err = {0};
    char text[MIG_DECISION_TEXT];
    int rc =
        s->cfg.guest.ops->throttle(s->cfg.guest.impl, v->throttle_percent, v->writers_only, &err);
    uint64_t now = clock_mono_us();

    if (rc != 0) { /* it goes on as it was, and the next means is looked for */
        converge_throttle_failed(&s->converge);
        source_unthrottle(s);
        snprintf(text, sizeof text, "the guest cannot be slowed down: %s", err_msg(&err));
        source_log(s, text);
        return 0;
    }
    if (!s->throttled_us)
        s->throttled_us = now;
    pthread_mutex_lock(&s->mu);
    s->stats.throttle_percent = v->throttle_percent;
    pthread_mutex_unlock(&s->mu);
    /* Another guest, as it were: what it reaches is to be measured anew. */
    stall_restart(&s->stall, UINT64_MAX, now);
    return 0;
}

void
source_unthrottle(struct mig_source *s)
{
    if (!s->throttled_us)
        return;
    /* An error: the guest is gone, or lifts it by itself when our connection ends. */
    s->cfg.guest.ops->throttle(s->cfg.guest.impl, 0, false, NULL);
    pthread_mutex_lock(&s->mu);
    s->stats.throttle_us += clock_mono_us() - s->throttled_us;
    s->stats.throttle_percent = 0;
    pthread_mutex_unlock(&s->mu);
    s->throttled_us = 0;
}

/* --- afterwards --- */

void
source_converge_end(struct mig_source *s)
{
    const struct mig_stats *st = &s->stats;
    const struct mig_downtime *d = &st->downtime;
    uint64_t known = d->scan_us + d->pages_us + s->rtt_us, fixed;
    char text[MIG_DECISION_TEXT];

    if (s->sw.state != SWITCH_SRC_MOVED || !st->downtime_us || s->go_postcopy)
        return;
    fixed = st->downtime_us > known ? st->downtime_us - known : 0;
    learn(fixed, s->converge.sending_us >= LEARN_RATE_US ? converge_mean_rate(&s->converge) : 0,
          share_rate(&s->share));
    snprintf(text, sizeof text,
             "moved: the guest stood still for %.1f ms (stop %.1f, scan %.1f, pages %.1f beside "
             "state %.1f, commit %.1f, the rest is the target's); predicted %.1f ms, P90 %.1f ms; "
             "%.2f s in all, predicted %.2f s",
             (double)st->downtime_us / 1e3, (double)d->stop_us / 1e3, (double)d->scan_us / 1e3,
             (double)d->pages_us / 1e3, (double)d->state_us / 1e3, (double)d->commit_us / 1e3,
             (double)st->predicted_downtime_us / 1e3, (double)st->predicted_downtime_p90_us / 1e3,
             (double)(clock_mono_us() - st->started_us) / 1e6,
             (double)st->predicted_total_p50_us / 1e6);
    source_log(s, text);
}
