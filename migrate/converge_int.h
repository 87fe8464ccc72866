/* Between converge.c and converge_predict.c: the rule, and the world that it judges. */
#ifndef MIGRATE_CONVERGE_INT_H
#define MIGRATE_CONVERGE_INT_H

#include "migrate/converge.h"

/* How guest and link behave: as fitted, or as drawn. */
struct converge_world {
    double set_bytes, bytes_per_s; /* the working set, unthrottled */
    double mid, low;               /* of the link, wire bytes a second: p50 and p10 */
    double effective;              /* wire bytes a dirty byte */
    double fixed_us;               /* downtime without pages */
    double overhead_us;            /* of a round */
};

/* What came out of judging, for the sentence. */
struct converge_judgement {
    enum converge_decision decision;
    enum {                        /* why */
           CONVERGE_WHY_SHRINKS,  /* within the budget, and another round is worth its price */
           CONVERGE_WHY_MINIMUM,  /* within, and another round is not */
           CONVERGE_WHY_PATIENCE, /* within for long enough */
           CONVERGE_WHY_HURRY,    /* within, and the completion timeout is near */
           CONVERGE_WHY_COMING,   /* not within, but expected */
           CONVERGE_WHY_WATCH,    /* not expected; not yet certain */
           CONVERGE_WHY_NEVER,    /* certain: a means, or none allowed */
           CONVERGE_WHY_LATE,     /* it would come after the completion timeout */
           CONVERGE_WHY_TIMEOUT   /* the completion timeout is over */
    } why;
    double downtime_low_us, downtime_us, gain_us, price_us;
    double next_bytes;   /* what another round would leave */
    double steady_bytes; /* at which rounds end to shrink */
    unsigned rounds;     /* until within the budget, with COMING and LATE */
    unsigned percent;    /* with THROTTLE */
    bool writers_only;
};

double converge_round_us(const struct converge_world *w, double bytes);
double converge_left(const struct converge_world *w, double bytes, unsigned percent);
/* The rule: what to do now that st->remaining is left. Changes what st remembers. */
void converge_judge(const struct converge_config *cfg, const struct converge_world *w,
                    struct converge_state *st, struct converge_judgement *ret);
void converge_world_now(const struct converge *c, struct converge_world *ret);
/* From here: what is left of the round under way (0: none is), and for how long it has run. */
void converge_predict(struct converge *c, double left_bytes, double round_us);

#endif
