/* cluster.json and the kubeconfig of a dev cluster: written before and after each step of its
 * making, so that whatever was made can be found and removed. Called by dev_cluster.c only. */
#ifndef CLI_DEV_FILE_H
#define CLI_DEV_FILE_H

#include "cli/dev_cluster.h"

#define DEV_FILE_NAME "cluster.json"

/* Replaces DIR/cluster.json; survives a crash (base/fs.h). */
int dev_file_write(const struct dev_cluster *c, struct err *err);
/* -ENOENT: no cluster there. Processes of an earlier boot count as gone. */
int dev_file_read(const char *dir, struct dev_cluster **ret, struct err *err);
int dev_file_write_kubeconfig(const struct dev_cluster *c, struct err *err);
/* The same as JSON for people and scripts. The caller's. */
struct tree *dev_file_tree(const struct dev_cluster *c);

#endif
