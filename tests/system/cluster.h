/* A real cluster for a system test: controller and handlers in network namespaces, and what a test asks of it.
 * Everything that goes wrong ends the test with a message; the cluster is torn down on every way out. */
#ifndef TESTS_SYSTEM_CLUSTER_H
#define TESTS_SYSTEM_CLUSTER_H

#include <stdbool.h>

#include "api/tree.h"
#include "cli/client.h"
#include "cli/dev_cluster.h"

#define SKIP_CODE 77

struct sys {
    struct dev_cluster *c;
    struct client *client;
    char dir[64];
};

/* Skips (exit 77, with the reason) where namespaces cannot be made. bin_dir: NULL = $DROVER_BIN or bin. */
void sys_up(struct sys *s, size_t nodes);
/* The same with what else is configured; nodes_len, dir, bin_dir and heartbeat are set here. */
void sys_up_as(struct sys *s, size_t nodes, struct dev_config cfg);
/* The same with further arguments for every handler, NULL-terminated. */
void sys_up_with(struct sys *s, size_t nodes, const char *const *handler_args);
void sys_down(struct sys *s);
/* Prints the message, the daemons' last log lines, tears down, exits 1. */
void sys_die(struct sys *s, const char *fmt, ...) PRINTF_LIKE(2, 3) __attribute__((noreturn));

/* Manifests in one string, as `drover apply` takes them. */
void sys_apply(struct sys *s, const char *yaml);
/* The caller's; NULL when it is not there or the controller does not answer. */
struct tree *sys_get(struct sys *s, enum kind kind, const char *ns, const char *name);
/* status.phase of an object, "" when it is not there. buf is the caller's. */
const char *sys_phase(struct sys *s, enum kind kind, const char *ns, const char *name, char *buf,
                      size_t size);

/* Polls fn until it is true; dies with `what` after seconds. */
void sys_wait(struct sys *s, unsigned seconds, const char *what, bool (*fn)(void *ctx), void *ctx);
/* The same without dying: false after seconds. */
bool sys_poll(unsigned seconds, bool (*fn)(void *ctx), void *ctx);

/* Asks the guest for its verdict; false with a text when memory is bad or nobody answers. */
bool sys_verify(struct sys *s, const char *ns, const char *name, char *text, size_t size);

/* How many guests and journals a node has on disk. */
size_t sys_guests_on(struct sys *s, const char *node);
size_t sys_journals_on(struct sys *s, const char *node);

#endif
