/* What the files of the dev cluster share and nobody else uses. */
#ifndef CLI_DEV_PRIV_H
#define CLI_DEV_PRIV_H

#include "cli/dev_cluster.h"

/* Ends and removes all of it; goes on after errors, returns the first. Frees nothing.
 * (dev_down.c) */
int dev_down_all(struct dev_cluster *c, struct err *err);

/* Whether all nodes, and their migration network where one is configured, are Ready by the controller's
 * word: 0, or -EAGAIN with what is missing. Notes the nodes' addresses on that network.
 * (dev_ready.c) */
int dev_ready_check(struct dev_cluster *c, struct err *err);
/* Writes a node's taints to its Node object. (dev_ready.c) */
int dev_ready_taint(const struct dev_cluster *c, const char *node, const struct taint *taints,
                    size_t len, struct err *err);

#endif
