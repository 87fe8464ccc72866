/* What goes over the interfaces of a node that migrations must not use: every packet is looked at, on
 * the way in and out (packet(7)). Needs CAP_NET_RAW in the node's namespace. */
#ifndef TESTS_SYSTEM_CAPTURE_H
#define TESTS_SYSTEM_CAPTURE_H

#include <stdint.h>

#include "tests/system/cluster.h"

struct capture;
struct capture_sum {
    uint64_t packets, bytes;             /* all of it */
    uint64_t stray_packets, stray_bytes; /* of or to the migration network's range, or from one node
                                            to another past it */
    uint64_t missed;                     /* the kernel had no room for them: want 0 */
    char first[160];                     /* the first stray one, in words; "" */
};

/* Begins: all interfaces that the node has now but for migration0 and eth1, under it. */
struct capture *capture_new(struct sys *s, const char *node);
/* What has come since the last call. */
void capture_take(struct capture *c, struct capture_sum *ret);
void capture_free(struct capture *c);

#endif
