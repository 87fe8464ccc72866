/* Keeps the source's workers under the migration's bandwidth, and the kernel's pacing a little above
 * it. Every byte of a data channel passes here before it is sent. See share.h, source_int.h. */
#include "migrate/source_int.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "migrate/xport.h"

#define PACE_PERCENT 125 /* of the rate, for each channel: any of them may be the last to send */

int
source_hold_back(struct source_worker *w, uint64_t bytes)
{
    struct mig_source *s = w->s;

    for (;;) {
        uint64_t now = clock_mono_us(), wait = share_take(&s->share, bytes, now);
        uint64_t until = now + wait, rate = share_rate(&s->share);
        struct timespec ts = {.tv_sec = (time_t)(until / 1000000),
                              .tv_nsec = (long)(until % 1000000) * 1000};
        int rc = 0;

        if (rate != w->paced) {
            xport_pace(conn_fd(w->conn), (uint64_t)((unsigned __int128)rate * PACE_PERCENT / 100));
            w->paced = rate;
        }
        if (wait == 0)
            return 0;
        pthread_mutex_lock(&s->mu);
        while (!atomic_load(&s->stop) && rc != ETIMEDOUT)
            rc = pthread_cond_timedwait(&s->cv, &s->mu, &ts);
        pthread_mutex_unlock(&s->mu);
        atomic_fetch_add_explicit(&w->held_us, clock_mono_us() - now, memory_order_relaxed);
        if (atomic_load(&s->stop))
            return err_set(&w->err, -ECANCELED, "stopped");
    }
}

uint64_t
source_batch_bytes(struct source_worker *w, uint64_t max)
{
    return bucket_batch(&w->s->share.bucket, max);
}

void
source_look_at_path(struct mig_source *s)
{
    uint32_t mtu, segment;
    char text[MIG_DECISION_TEXT];
    bool same;

    /* lanes have none: the control connection goes the same way */
    xport_path(s->lanes ? ctl_fd(s->ctl) : conn_fd(s->workers[0].conn), &mtu, &segment);
    if (!mtu)
        return;
    pthread_mutex_lock(&s->mu);
    same = mtu == s->stats.path_mtu_bytes && segment == s->stats.segment_bytes;
    s->stats.path_mtu_bytes = mtu;
    s->stats.segment_bytes = segment;
    pthread_mutex_unlock(&s->mu);
    if (same)
        return;
    snprintf(text, sizeof text,
             "the path to %s takes packets of %u bytes, %u of them memory and its headers",
             s->cfg.target_addr, mtu, segment);
    source_log(s, text);
}

void
mig_source_set_bandwidth(struct mig_source *s, uint64_t bytes_per_s)
{
    share_set_limit(&s->share, bytes_per_s, clock_mono_us());
}
