/* Between labeller.c and labeller_map.c only. */
#ifndef SCHED_LABELLER_INT_H
#define SCHED_LABELLER_INT_H

#include "base/strmap.h"
#include "sched/labeller.h"

/* Adds the features of a model of the map and of those it builds on. False: the map has no such model.
 * *ret_missing: a model that it builds on and that is not there (or builds on itself), else untouched. */
bool labeller_map_features(const struct labeller_models *models, const char *name,
                           struct strmap *set, const char **ret_missing);

#endif
