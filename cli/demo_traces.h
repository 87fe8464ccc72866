/* Everything that a dev cluster consists of, written down while it lives, and what of it is still
 * there afterwards: network namespaces, processes (daemons, guests, whatever else runs inside),
 * addresses, files. `drover demo` says at its end that nothing stays because this looked. */
#ifndef CLI_DEMO_TRACES_H
#define CLI_DEMO_TRACES_H

#include <stddef.h>

#include "base/sb.h"
#include "cli/dev_cluster.h"

struct traces;

/* Remembers the addresses that this machine has before there is a cluster. The caller's. */
struct traces *traces_new(void);
/* Adds everything that the cluster consists of now; may be called again. */
void traces_take(struct traces *t, struct dev_cluster *c);
void traces_free(struct traces *t); /* NULL is fine */
size_t traces_namespaces(const struct traces *t);
size_t traces_processes(const struct traces *t);
/* Appends what is still there, parted by commas; nothing: all is gone. */
void traces_left(const struct traces *t, struct sb *out);

#endif
