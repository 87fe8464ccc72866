/* The source's rounds: what they consist of, and what comes after each. See source_int.h and
 * converge.h. */
#include "migrate/source_int.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/bits.h"
#include "proto/sum.h"

#define WRITE_FAULT_NS 800 /* of a write to a protected page; measured 260 (KVM) to 800 (nested) */

static int one_round(struct mig_source *s, uint64_t pages,
                     int (*meanwhile)(struct mig_source *s, void *ctx), void *ctx);
static uint64_t wire_bytes(struct mig_source *s);

int
source_copy(struct mig_source *s)
{
    uint64_t now, remaining = s->layout.total_bytes, wire;
    bool go_on = true, resumed = s->epoch > 1;
    int rc = resumed ? source_count_all(s, &remaining) : source_converge_start(s);

    if (rc != 0)
        return rc;
    now = clock_mono_us();
    stall_init(&s->stall, now);
    if (!resumed) {
        pthread_mutex_lock(&s->mu);
        s->stats.started_us = now;
        pthread_mutex_unlock(&s->mu);
    }
    if (s->cfg.policy.post_copy_at_once && s->can_post_copy) {
        source_log(s, "post-copy at once, as the policy asks: the target runs before its memory "
                      "is there");
        s->go_postcopy = true;
        return 0;
    }
    while (go_on) {
        uint64_t began = clock_mono_us();
        struct converge_round in = {.dirty_bytes = s->round == 0 ? s->present_bytes : remaining};

        wire = wire_bytes(s);
        rc = one_round(s, remaining / LAYOUT_PAGE_BYTES, NULL, NULL);
        in.took_us = clock_mono_us() - began;
        if (rc == 0)
            rc = source_count_all(s, &remaining);
        if (rc != 0)
            return rc;
        now = clock_mono_us();

        in.round = s->round;
        in.at_us = now - s->stats.started_us;
        in.count_us = s->scan_us;
        in.rtt_us = s->rtt_us;
        in.wire_bytes = wire_bytes(s) - wire;
        in.remaining_bytes = remaining;
        s->dirty_rate = (uint64_t)((unsigned __int128)remaining * 1000000 / (now - began + 1));
        if (s->round == 1)
            stall_restart(&s->stall, remaining, now);
        else
            stall_note(&s->stall, s->round, remaining, now);
        pthread_mutex_lock(&s->mu);
        s->stats.dirty_bytes_per_s = s->dirty_rate;
        s->stats.remaining_bytes = remaining;
        s->stats.again_pages = s->again_pages;
        /* Each page found dirty had its protection lifted by one fault. */
        s->stats.write_faults += remaining / LAYOUT_PAGE_BYTES;
        s->stats.write_fault_us = s->stats.write_faults * WRITE_FAULT_NS / 1000;
        pthread_mutex_unlock(&s->mu);
        rc = source_decide(s, &in, &go_on);
        s->progress_us = 0; /* say it now */
        source_tick(s, now);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- the last round --- */

/* While the workers send the last pages: the device state, on the control connection. */
int
source_send_state(struct mig_source *s, void *ctx)
{
    struct source_state *st = ctx;
    AUTO_FREE void *buf = NULL;
    struct err err = {0};
    size_t len = 0;
    uint64_t began = clock_mono_us();
    int rc = s->cfg.guest.ops->save_state(s->cfg.guest.impl, &buf, &len, &err);

    if (rc != 0)
        return source_trouble(s, MIG_CAUSE_GUEST, rc, &err);
    if (len > CONTROL_MAX_STATE) {
        rc = err_set(&err, -EFBIG, "device state of %zu bytes: at most %u", len, CONTROL_MAX_STATE);
        return source_trouble(s, MIG_CAUSE_GUEST, rc, &err);
    }
    for (size_t at = 0; at < len;) {
        struct control_msg m = {
            .type = CONTROL_STATE,
            .state = {.offset = at,
                      .len = len - at < CONTROL_STATE_CHUNK ? len - at : CONTROL_STATE_CHUNK,
                      .data = (uint8_t *)buf + at}};

        rc = source_say(s, &m);
        if (rc != 0)
            return rc;
        at += m.state.len;
    }
    st->bytes = len;
    st->sum = sum_bytes(buf, len, 0);
    st->us = clock_mono_us() - began;
    return 0;
}

int
source_last(struct mig_source *s, uint64_t *ret_state_bytes, uint64_t *ret_state_sum)
{
    struct source_state st = {0};
    uint64_t remaining, began;
    int rc;

    s->paused = true;
    rc = source_count_all(s, &remaining);
    began = clock_mono_us();
    if (rc == 0)
        rc = one_round(s, remaining / LAYOUT_PAGE_BYTES, source_send_state, &st);
    for (unsigned i = 0; rc == 0; i++) {
        struct err err = {0};
        bool differs = false;

        remaining = bits_count(s->again, s->words) * LAYOUT_PAGE_BYTES;
        if (remaining == 0 && s->cfg.policy.verify_full) {
            rc = source_verify(s, &remaining);
            remaining *= LAYOUT_PAGE_BYTES;
            differs = true;
        }
        if (rc != 0 || remaining == 0)
            break;
        if (i == SOURCE_REPAIRS) {
            rc = differs ? err_set(&err, -EIO,
                                   "verification: %llu stripes of 2 MiB still differ at the target "
                                   "after they were sent again %u times",
                                   (unsigned long long)s->differing, SOURCE_REPAIRS)
                         : err_set(&err, -EIO, "pages arrive with bad checksums again and again");
            return source_trouble(s, MIG_CAUSE_PEER, rc, &err);
        }
        rc = one_round(s, remaining / LAYOUT_PAGE_BYTES, NULL, NULL);
    }
    pthread_mutex_lock(&s->mu);
    s->stats.downtime.scan_us = s->scan_us;
    s->stats.downtime.pages_us = clock_mono_us() - began;
    s->stats.downtime.state_us = st.us;
    pthread_mutex_unlock(&s->mu);
    *ret_state_bytes = st.bytes;
    *ret_state_sum = st.sum;
    return rc;
}

/* --- one round --- */

static int
one_round(struct mig_source *s, uint64_t pages, int (*meanwhile)(struct mig_source *s, void *ctx),
          void *ctx)
{
    struct control_msg m = {
        .type = CONTROL_ROUND_BEGIN,
        .round_begin = {.round = ++s->round, .paused = s->paused, .pages = pages}};
    uint64_t now = clock_mono_us();
    int rc = source_say(s, &m);

    if (rc != 0)
        return rc;
    s->round_pages = pages;
    s->round_began_us = now;
    s->round_ended = s->round_done = false;
    s->tick_us = now;
    s->sampling = true;
    pthread_mutex_lock(&s->mu);
    s->stats.round = s->round;
    source_sum_stats(s, &s->stats);
    s->tick_bytes = s->stats.sent_bytes;
    pthread_mutex_unlock(&s->mu);
    source_phase_begin(s, SOURCE_SEND);
    rc = meanwhile ? meanwhile(s, ctx) : 0;
    if (rc == 0)
        rc = source_wait(s, SOURCE_WAIT_WORKERS);
    if (rc != 0)
        return rc;
    m = (struct control_msg){.type = CONTROL_ROUND_END,
                             .round_end = {.round = s->round, .channels = s->channels}};
    for (uint32_t i = 0; i < s->channels; i++) {
        m.round_end.totals[i].batches =
            atomic_load(&s->workers[i].batches) - s->workers[i].base.batches;
        m.round_end.totals[i].raw_pages =
            atomic_load(&s->workers[i].raw_pages) - s->workers[i].base.raw_pages;
        m.round_end.totals[i].zero_pages =
            atomic_load(&s->workers[i].zero_pages) - s->workers[i].base.zero_pages;
    }
    rc = source_say(s, &m);
    if (rc != 0)
        return rc;
    s->round_ended = true;
    rc = source_wait(s, SOURCE_WAIT_ROUND_DONE);
    /* All of it has arrived: the one figure in which no buffer takes part. */
    if (rc == 0) {
        now = clock_mono_us();
        pthread_mutex_lock(&s->mu);
        source_sum_stats(s, &s->stats);
        converge_sample_end(&s->converge, s->stats.sent_bytes - s->tick_bytes, now - s->tick_us);
        pthread_mutex_unlock(&s->mu);
    }
    s->sampling = false;
    return rc;
}

static uint64_t
wire_bytes(struct mig_source *s)
{
    uint64_t bytes;

    pthread_mutex_lock(&s->mu);
    source_sum_stats(s, &s->stats);
    bytes = s->stats.sent_bytes;
    pthread_mutex_unlock(&s->mu);
    return bytes;
}

/* How much is dirty now, what was asked for again included. */
int
source_count_all(struct mig_source *s, uint64_t *ret_bytes)
{
    uint64_t began = clock_mono_us(), pages = 0;
    int rc;

    source_phase_begin(s, SOURCE_COUNT);
    rc = source_wait(s, SOURCE_WAIT_WORKERS);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < s->words; i++)
        pages += (uint64_t)__builtin_popcountll(s->dirty[i] | s->again[i]);
    s->scan_us = clock_mono_us() - began;
    *ret_bytes = pages * LAYOUT_PAGE_BYTES;
    source_heat(s);
    return 0;
}
