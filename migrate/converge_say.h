/* The controller's decisions and predictions as sentences with their numbers, for the decision log.
 * Called by converge.c. Each writes at most MIG_DECISION_TEXT bytes. */
#ifndef MIGRATE_CONVERGE_SAY_H
#define MIGRATE_CONVERGE_SAY_H

#include "migrate/converge_int.h"

/* "first estimate 1.20 GB/s from FROM" */
void converge_say_estimate(uint64_t bytes_per_s, const char *from, char *text);
void converge_say_start(const struct converge *c, char *text);
void converge_say_round(const struct converge *c, const struct converge_round *in,
                        const struct converge_world *w, const struct converge_judgement *j,
                        char *text);

#endif
