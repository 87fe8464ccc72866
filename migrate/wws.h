/* The writable working set of a guest, fitted to what probes and rounds measured:
 *
 *     D(t) = W * (1 - exp(-r * t / W))     distinct bytes written within t, of memory armed at once
 *
 * W is the size of the set, r the rate at which clean pages become dirty at first. The curve is
 * concave: pages that are written again cost nothing more. Time is the guest's own: time in which
 * it was slowed down counts for as much less.
 *
 * The fit looks at the logarithms of measured and modelled bytes, takes for each candidate of W / r
 * the weighted median (a robust fit: one odd round does not move it), and keeps every candidate
 * that explains the points about as well as the best one does: short probes cannot tell a small set
 * from a large one, and a prediction must know that it does not know. Pure; deterministic. */
#ifndef MIGRATE_WWS_H
#define MIGRATE_WWS_H

#include <stdbool.h>
#include <stdint.h>

#define WWS_POINTS     20 /* newest kept */
#define WWS_CANDIDATES 64

struct wws_point {
    double guest_s; /* how long the guest ran */
    double
        sent_bytes; /* armed one by one during that time (a round's); the rest was armed before */
    double dirty_bytes; /* at its end */
    double weight;
};

struct wws_candidate {
    double set_bytes, bytes_per_s; /* W and r */
    double weight;                 /* how likely, relative; the sum over all is 1 */
};

struct wws {
    double total_bytes; /* W is never more */
    struct wws_point points[WWS_POINTS];
    uint32_t len;
    /* of the last fit */
    double set_bytes, bytes_per_s; /* 0 = nothing is written */
    double spread;                 /* standard deviation of the logarithm of measured / modelled */
    struct wws_candidate candidates[WWS_CANDIDATES];
    uint32_t candidates_len;
};

void wws_init(struct wws *w, uint64_t total_bytes);
/* A measurement; older ones count for less from here on when it is a round's (sent_bytes > 0). */
void wws_note(struct wws *w, double guest_s, double sent_bytes, double dirty_bytes, double weight);
/* Fits all points anew. Costs some 0.1 ms. */
void wws_fit(struct wws *w);
bool wws_known(const struct wws *w); /* there was a point */

/* What is dirty after sent_bytes of memory were sent and armed one by one while the guest ran for
 * guest_s, with this W and r: of pages sent the time since they were sent counts, half on
 * average. */
double wws_after(double set_bytes, double bytes_per_s, double sent_bytes, double guest_s);

#endif
