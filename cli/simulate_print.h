/* A simulated migration for people and as JSON, and limits as the policy code gives them. Used by
 * `drover simulate migration` and `drover migrate --dry-run`. */
#ifndef CLI_SIMULATE_PRINT_H
#define CLI_SIMULATE_PRINT_H

#include "api/tree.h"
#include "base/sb.h"
#include "migrate/simulate.h"
#include "netpolicy/policy.h"

/* What follows from a policy decision for the engine. */
void simulate_limits(const struct policy_decision *d, struct mig_limits *limits,
                     struct mig_policy *policy);
/* The JSON of `drover simulate migration`. The caller's. */
struct tree *simulate_tree(const struct simulate_result *r);
void simulate_print(const struct simulate_result *r, struct sb *out);

#endif
