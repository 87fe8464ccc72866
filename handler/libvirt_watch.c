/* A job's statistics, and what they call for; see libvirt_watch.h. */
#include "handler/libvirt_watch.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"

static bool new_round(struct lv_watch *w, const struct lv_job *job, uint64_t now_us,
                      struct converge_round *ret);
static enum lv_todo decide(struct lv_watch *w, const struct converge_round *in,
                           struct mig_stats *st, char *say, enum mig_cause *ret_cause,
                           struct err *err);
static bool too_late(const struct lv_watch *w, const struct lv_job *job, uint64_t now_us,
                     enum mig_cause *ret_cause, struct err *err);
static void publish(struct lv_watch *w, const struct lv_job *job, uint64_t sent_bytes,
                    uint64_t now_us, struct mig_stats *st);

void
lv_watch_init(struct lv_watch *w, const struct lv_watch_config *cfg, uint64_t now_us, char *say)
{
    struct converge_config c = {
        .total_bytes = cfg->total_bytes,
        .limits = cfg->limits,
        .policy = cfg->policy,
        .can_throttle = cfg->policy.allow_auto_converge,
        .can_post_copy = cfg->can_post_copy,
        .seed = cfg->seed,
        .bytes_per_s = cfg->link_bytes_per_s,
    };

    *w =
        (struct lv_watch){.cfg = *cfg, .started_us = now_us, .round_us = now_us, .last_us = now_us};
    converge_init(&w->converge, &c);
    stall_init(&w->stall, now_us);
    converge_start(&w->converge, cfg->total_bytes, say);
}

void
lv_watch_limit(struct lv_watch *w, uint64_t bytes_per_s)
{
    converge_set_limit(&w->converge, bytes_per_s);
}

void
lv_watch_failed(struct lv_watch *w, enum lv_todo what)
{
    w->decided = true;
    if (what == LV_PAUSE)
        w->paused = false;
    if (what == LV_POST_COPY)
        w->post_copy = false;
}

enum lv_todo
lv_watch_step(struct lv_watch *w, const struct lv_job *job, uint64_t sent_bytes, uint64_t now_us,
              struct mig_stats *st, char *say, enum mig_cause *ret_cause, struct err *err)
{
    enum lv_todo todo = LV_GO_ON;
    struct converge_round in;

    say[0] = '\0';
    if (job->memory_total == 0) { /* disks first, or it is still being set up */
        st->remaining_bytes = job->disk_remaining;
        if (job->disk_total > 0) /* the limits are of memory */
            w->started_us = now_us;
        stall_init(&w->stall, now_us);
        w->last_us = now_us;
        w->last_sent = sent_bytes;
        return too_late(w, job, now_us, ret_cause, err) ? LV_GIVE_UP : LV_GO_ON;
    }
    if (w->last_processed == 0) { /* it begins: what the setup took says nothing of the link */
        w->last_us = w->round_us = now_us;
        w->last_sent = sent_bytes;
    }
    if (now_us > w->last_us && sent_bytes > w->last_sent)
        converge_sample(&w->converge, sent_bytes - w->last_sent, now_us - w->last_us);
    publish(w, job, sent_bytes, now_us, st);
    w->last_us = now_us;
    w->last_sent = sent_bytes;
    w->last_processed = job->memory_processed;
    if (w->post_copy)
        return LV_GO_ON; /* nothing takes it back any more */
    if (w->cfg.policy.post_copy_at_once && w->cfg.can_post_copy && !w->decided) {
        snprintf(say, MIG_DECISION_TEXT,
                 "post-copy at once, as the policy asks: the target runs "
                 "before its memory is there");
        w->post_copy = w->decided = true;
        return LV_POST_COPY;
    }
    if (new_round(w, job, now_us, &in)) {
        if (in.round <= 1)
            stall_restart(&w->stall, in.remaining_bytes, now_us);
        todo = decide(w, &in, st, say, ret_cause, err);
    } else {
        uint64_t dirtied =
            w->iteration <= 1
                ? 0
                : (uint64_t)((double)st->dirty_bytes_per_s * (double)(now_us - w->round_us) / 1e6);

        stall_note(&w->stall, (uint32_t)w->iteration, job->memory_remaining + dirtied, now_us);
        converge_refresh(&w->converge, now_us - w->started_us, now_us - w->round_us,
                         job->memory_remaining);
        if (!w->told && w->converge.prediction.known) {
            converge_say(&w->converge, say);
            w->told = true;
        }
    }
    if (todo == LV_GO_ON && too_late(w, job, now_us, ret_cause, err))
        todo = LV_GIVE_UP;
    return todo;
}

/* QEMU has begun another iteration: what the one before came to. */
static bool
new_round(struct lv_watch *w, const struct lv_job *job, uint64_t now_us, struct converge_round *ret)
{
    if (w->iteration == 0) {
        w->iteration = job->iteration;
        w->round_bytes = job->memory_total;
        return false;
    }
    if (job->iteration <= w->iteration)
        return false;
    *ret = (struct converge_round){
        .round = (uint32_t)(job->iteration - 1),
        .at_us = now_us - w->started_us,
        .took_us = now_us - w->round_us,
        .dirty_bytes = w->round_bytes,
        .wire_bytes = job->memory_processed - w->round_processed,
        .remaining_bytes = job->memory_remaining,
    };
    w->iteration = job->iteration;
    w->round_us = now_us;
    w->round_bytes = job->memory_remaining;
    w->round_processed = job->memory_processed;
    return true;
}

static enum lv_todo
decide(struct lv_watch *w, const struct converge_round *in, struct mig_stats *st, char *say,
       enum mig_cause *ret_cause, struct err *err)
{
    struct converge_verdict v;

    converge_next(&w->converge, in, &v);
    st->predicted_downtime_us = v.downtime_us;
    if (w->paused || w->decided)
        return LV_GO_ON; /* what could be done was done */
    snprintf(say, MIG_DECISION_TEXT, "%s", v.why);
    switch (v.decision) {
    case CONVERGE_POSTCOPY:
        w->post_copy = true;
        return LV_POST_COPY;
    case CONVERGE_PAUSE:
        w->paused = true;
        return LV_PAUSE;
    case CONVERGE_ABORT:
        *ret_cause = MIG_CAUSE_COMPLETION_TIMEOUT;
        err_set(err, -ETIMEDOUT, "not complete after %.1f s",
                (double)w->cfg.limits.completion_timeout_us / 1e6);
        return LV_GIVE_UP;
    case CONVERGE_THROTTLE:
        stall_restart(&w->stall, UINT64_MAX, in->at_us + w->started_us);
        return LV_GO_ON;
    default:
        return LV_GO_ON;
    }
}

/* As source_wait.c has it: where a pause or post-copy is allowed the end of a round decides, and one that
 * does not end for as long again is given up. */
static bool
too_late(const struct lv_watch *w, const struct lv_job *job, uint64_t now_us,
         enum mig_cause *ret_cause, struct err *err)
{
    uint64_t limit = w->cfg.limits.completion_timeout_us, took = now_us - w->started_us;
    bool other_means =
        w->cfg.policy.allow_disruption || (w->cfg.policy.allow_post_copy && w->cfg.can_post_copy);

    if (limit && took > (other_means ? 2 * limit : limit)) {
        *ret_cause = MIG_CAUSE_COMPLETION_TIMEOUT;
        err_set(err, -ETIMEDOUT, "not complete after %.1f s", (double)took / 1e6);
        return true;
    }
    limit = w->cfg.limits.progress_timeout_us;
    if (limit && !w->paused && job->memory_total && stall_for_us(&w->stall, now_us) > limit) {
        *ret_cause = MIG_CAUSE_PROGRESS_TIMEOUT;
        err_set(err, -ETIMEDOUT, "%llu bytes remain, no fewer for %.1f s",
                (unsigned long long)w->stall.best_bytes, (double)limit / 1e6);
        return true;
    }
    return false;
}

static void
publish(struct lv_watch *w, const struct lv_job *job, uint64_t sent_bytes, uint64_t now_us,
        struct mig_stats *st)
{
    const struct converge_prediction *p = &w->converge.prediction;
    uint64_t us = now_us - w->last_us;

    st->round = (uint32_t)(job->iteration ? job->iteration : 1);
    st->total_bytes = job->memory_total;
    st->remaining_bytes = job->memory_remaining + job->disk_remaining;
    st->raw_pages = job->normal_pages;
    st->zero_pages = job->constant_pages;
    st->throttle_percent = (uint32_t)job->throttle_percent;
    st->dirty_bytes_per_s = job->dirty_pages_per_s * (job->page_size ? job->page_size : 4096);
    if (us > 0 && sent_bytes >= w->last_sent) {
        uint64_t rate = (uint64_t)((double)(sent_bytes - w->last_sent) * 1e6 / (double)us);

        st->transfer_bytes_per_s =
            st->transfer_bytes_per_s ? (st->transfer_bytes_per_s + rate) / 2 : rate;
    }
    st->missing_bytes = w->post_copy ? job->memory_remaining : 0;
    if (!p->known)
        return;
    st->predicted_total_p50_us = p->total_p50_us;
    st->predicted_total_p90_us = p->total_p90_us;
    st->predicted_downtime_us = p->downtime_p50_us;
    st->predicted_downtime_p90_us = p->downtime_p90_us;
}
