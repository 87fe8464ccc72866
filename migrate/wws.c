/* Fitting the writable working set; see wws.h. */
#include "migrate/wws.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AGE       0.75    /* what a round's point counts for after the next one */
#define FLOOR     16384.0 /* bytes: less than this is noise on a logarithmic scale */
#define TAU_MIN   0.0005  /* seconds: W / r of the fastest set that is looked for */
#define TAU_STEP  1.45    /* between candidates */
#define TOLERANCE 0.04    /* mean residual (logarithm) that still explains as well as the best */
#define W_ROUNDS  3 /* the share of the set that was sent depends on W: solved by repetition */

static double residual(const struct wws *w, double tau, double *ret_set);
static double median(double *values, double *weights, uint32_t n);

void
wws_init(struct wws *w, uint64_t total_bytes)
{
    memset(w, 0, sizeof *w);
    w->total_bytes = (double)total_bytes;
}

void
wws_note(struct wws *w, double guest_s, double sent_bytes, double dirty_bytes, double weight)
{
    if (!(guest_s > 0))
        return;
    if (sent_bytes > 0)
        for (uint32_t i = 0; i < w->len; i++)
            w->points[i].weight *= AGE;
    if (w->len == WWS_POINTS) {
        memmove(w->points, w->points + 1, (WWS_POINTS - 1) * sizeof w->points[0]);
        w->len--;
    }
    w->points[w->len++] = (struct wws_point){
        .guest_s = guest_s, .sent_bytes = sent_bytes, .dirty_bytes = dirty_bytes, .weight = weight};
}

bool
wws_known(const struct wws *w)
{
    return w->len > 0;
}

/* The share of the set that is dirty after x = t / tau: pages armed at the start, and pages armed
 * evenly over the time (the mean of the first over it). */
static double
share_at_once(double x)
{
    return -expm1(-x);
}

static double
share_spread(double x)
{
    return x < 1e-4 ? x / 2 : 1 + expm1(-x) / x;
}

double
wws_after(double set_bytes, double bytes_per_s, double sent_bytes, double guest_s)
{
    double x, sent;

    if (!(set_bytes > 0) || !(bytes_per_s > 0) || !(guest_s > 0))
        return 0;
    x = guest_s * bytes_per_s / set_bytes;
    sent = sent_bytes < set_bytes ? sent_bytes : set_bytes;
    return sent * share_spread(x) + (set_bytes - sent) * share_at_once(x);
}

void
wws_fit(struct wws *w)
{
    double best = INFINITY, sum = 0, var = 0, weights = 0;
    struct wws_candidate all[WWS_CANDIDATES];
    double obj[WWS_CANDIDATES], half = 0.5;
    uint32_t n = 0;
    double most = 0;

    w->set_bytes = w->bytes_per_s = w->spread = 0;
    w->candidates_len = 0;
    for (uint32_t i = 0; i < w->len; i++)
        most = w->points[i].dirty_bytes > most ? w->points[i].dirty_bytes : most;
    if (w->len == 0 || most < 1)
        return;
    for (double tau = TAU_MIN; n < WWS_CANDIDATES; tau *= TAU_STEP) {
        double set, o = residual(w, tau, &set);

        /* More than all of memory is no set; the one that would be is counted once, as that. */
        all[n] = (struct wws_candidate){.set_bytes = set, .bytes_per_s = set / tau};
        obj[n] = o;
        best = o < best ? o : best;
        n++;
        if (set >= w->total_bytes)
            break;
    }
    for (uint32_t i = 0; i < n; i++) {
        double far = (obj[i] - best) / TOLERANCE;

        if (far > 4)
            continue;
        all[i].weight = exp(-far);
        sum += all[i].weight;
        w->candidates[w->candidates_len++] = all[i];
    }
    for (uint32_t i = 0; i < w->candidates_len; i++) {
        struct wws_candidate *c = &w->candidates[i];

        c->weight /= sum;
        if (half > 0) { /* the one in the middle: a mean of W and of r would explain no point */
            w->set_bytes = c->set_bytes;
            w->bytes_per_s = c->bytes_per_s;
        }
        half -= c->weight;
    }
    for (uint32_t i = 0; i < w->len; i++) {
        const struct wws_point *p = &w->points[i];
        double model = wws_after(w->set_bytes, w->bytes_per_s, p->sent_bytes, p->guest_s);
        double d = log((p->dirty_bytes + FLOOR) / (model + FLOOR));

        var += p->weight * d * d;
        weights += p->weight;
    }
    w->spread = weights > 0 ? sqrt(var / weights) : 0;
}

/* The best W for this tau, and the weighted mean of what then remains unexplained. */
static double
residual(const struct wws *w, double tau, double *ret_set)
{
    double values[WWS_POINTS], weights[WWS_POINTS], set = w->total_bytes, sum = 0, total = 0;

    for (int k = 0; k < W_ROUNDS; k++) {
        for (uint32_t i = 0; i < w->len; i++) {
            const struct wws_point *p = &w->points[i];
            double model = wws_after(set, set / tau, p->sent_bytes, p->guest_s) / set;

            values[i] = (p->dirty_bytes + 1) / (model > 1e-12 ? model : 1e-12);
            weights[i] = p->weight;
        }
        set = median(values, weights, w->len);
        if (set > w->total_bytes)
            set = w->total_bytes;
        if (set < 4096)
            set = 4096;
    }
    for (uint32_t i = 0; i < w->len; i++) {
        const struct wws_point *p = &w->points[i];
        double model = wws_after(set, set / tau, p->sent_bytes, p->guest_s);

        sum += p->weight * fabs(log((p->dirty_bytes + FLOOR) / (model + FLOOR)));
        total += p->weight;
    }
    *ret_set = set;
    return total > 0 ? sum / total : 0;
}

/* Weighted; sorts in place (few values). Between the two middle ones it takes their mean. */
static double
median(double *values, double *weights, uint32_t n)
{
    double half = 0, seen = 0;

    for (uint32_t i = 1; i < n; i++) {
        double v = values[i], wt = weights[i];
        uint32_t k = i;

        for (; k > 0 && values[k - 1] > v; k--) {
            values[k] = values[k - 1];
            weights[k] = weights[k - 1];
        }
        values[k] = v;
        weights[k] = wt;
    }
    for (uint32_t i = 0; i < n; i++)
        half += weights[i] / 2;
    for (uint32_t i = 0; i < n; i++) {
        seen += weights[i];
        if (seen > half * (1 + 1e-9) || i + 1 == n)
            return values[i];
        if (seen >= half * (1 - 1e-9))
            return (values[i] + values[i + 1]) / 2;
    }
    return 0;
}
