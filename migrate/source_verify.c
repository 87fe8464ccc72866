/* Full verification at the source: the guest is paused and all has been confirmed; both ends digest
 * all of memory, the target compares, and what differs is sent again and compared again. See
 * source_int.h, digest.h, target_verify.c. */
#include "migrate/source_int.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/bits.h"
#include "migrate/digest.h"

/* The worker's phase: its own stripes. */
int
source_digest(struct source_worker *w)
{
    struct mig_source *s = w->s;

    for (uint64_t i = w->index; i < s->layout.stripes; i += s->channels) {
        uint32_t region, bytes;
        uint64_t offset;
        int rc;

        if (atomic_load_explicit(&s->stop, memory_order_relaxed))
            return err_set(&w->err, -ECANCELED, "stopped");
        layout_stripe(&s->layout, i, &region, &offset, &bytes);
        rc = digest_stripe(&w->present[region], offset, bytes, &s->digests[i], &w->err);
        if (rc != 0) {
            w->cause = MIG_CAUSE_GUEST;
            return rc;
        }
    }
    return 0;
}

static int
say_digests(struct mig_source *s, uint64_t first, size_t len)
{
    struct control_msg m = {
        .type = CONTROL_DIGESTS,
        .digests = {
            .round = s->round, .first_stripe = first, .len = len, .sums = s->digests + first}};

    return source_say(s, &m);
}

int
source_verify(struct mig_source *s, uint64_t *ret_pages)
{
    uint64_t began = clock_mono_us();
    char text[MIG_DECISION_TEXT];
    int rc;

    if (!s->digests)
        s->digests = xcalloc(s->layout.stripes, sizeof *s->digests);
    rc = say_digests(s, 0, 0); /* the target computes at the same time */
    if (rc == 0) {
        source_phase_begin(s, SOURCE_DIGEST);
        rc = source_wait(s, SOURCE_WAIT_WORKERS);
    }
    s->compared = false;
    s->differing = 0;
    s->comparing = true;
    for (uint64_t at = 0; rc == 0 && at < s->layout.stripes; at += CONTROL_MAX_DIGESTS) {
        uint64_t left = s->layout.stripes - at;

        rc = say_digests(s, at, left < CONTROL_MAX_DIGESTS ? left : CONTROL_MAX_DIGESTS);
    }
    if (rc == 0)
        rc = source_wait(s, SOURCE_WAIT_COMPARED);
    s->comparing = false;
    if (rc != 0)
        return rc;
    *ret_pages = bits_count(s->again, s->words);
    /* Whether the target has these pages is not known: zeros are to be said as well. */
    for (size_t i = 0; i < s->words; i++)
        s->sent[i] |= s->again[i];
    snprintf(text, sizeof text,
             "verified: digests of %llu stripes of memory took %.1f ms; %llu stripes differ%s",
             (unsigned long long)s->layout.stripes, (double)(clock_mono_us() - began) / 1e3,
             (unsigned long long)s->differing, *ret_pages ? " and are sent again" : "");
    source_log(s, text);
    return 0;
}
