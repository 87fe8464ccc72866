/* What the system tests of the dedicated network share: its objects, a VM, migrations of it, and a
 * node's condition. */
#ifndef TESTS_SYSTEM_NETWORK_H
#define TESTS_SYSTEM_NETWORK_H

#include "tests/system/cluster.h"

#define NETWORK_NS "openshift-cnv"
#define NETWORK_VM "t"

/* The migration network of a dev cluster (macvlan on eth1, whereabouts) and a HyperConverged that names
 * it; waits until all nodes are ready for it. */
void network_up(struct sys *s);
/* A third network between the hosts: eth2 of each, 198.18.1.0/24, on a switch of its own. */
void network_spare(struct sys *s);
/* liveMigrationConfig.network; NULL: none. */
void network_choose(struct sys *s, const char *ref);
/* A VM of 128 MiB, 96 of them filled and written to, that runs. */
void network_vm(struct sys *s);
/* Its migrations are post-copy (at once) or pre-copy, at most bytes_per_s each (0: no limit). */
void network_policy(struct sys *s, bool post_copy, const char *bandwidth);

/* A node's condition MigrationNetworkReady: its status and reason; "" when there is none. */
struct network_state {
    char status[16], reason[64], message[512];
};
void network_state(struct sys *s, const char *node, struct network_state *ret);
/* True when it is what we want; reason NULL: any but "no dedicated network". */
bool network_is(struct sys *s, const char *node, const char *status, const char *reason);

struct network_move {
    char name[32], phase[32], waits[512], failure[512], target[64], address[64], network[128];
};
/* Makes a VirtualMachineInstanceMigration of the VM. */
void network_move_start(struct sys *s, const char *name, struct network_move *ret);
/* Looks at it again. */
void network_move_look(struct sys *s, struct network_move *m);
bool network_move_over(const struct network_move *m); /* Succeeded or Failed */
/* Waits until it is over. */
void network_move_wait(struct sys *s, struct network_move *m, unsigned seconds);
/* Where the VM runs. */
void network_vm_node(struct sys *s, char *buf, size_t size);

/* Runs an ip(8) command in a node's namespace (NULL: the switch's); dies when it fails. */
void network_ip(struct sys *s, const char *node, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
