/* `drover migrate VM --dry-run`: what the migration would come to, by the code that would decide
 * it. The VM's handler watches the guest's writing for a moment (client_trace.h); limits and
 * permissions come from the policy code on the cluster's objects; the link's speed is that of the
 * last migration, or what the user says. Nothing is changed. */
#ifndef CLI_MIGRATE_DRY_RUN_H
#define CLI_MIGRATE_DRY_RUN_H

#include "cli/client_verb.h"

/* bandwidth: a quantity of bytes a second, or NULL. output: "json", "yaml" or NULL. Returns the
 * exit code: 2 when it would not succeed. */
int migrate_dry_run(struct verb *v, const char *ns, const char *vm, const char *bandwidth,
                    const char *output);

#endif
