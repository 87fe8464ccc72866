/* A host's networks in a namespace of this test's own: eth1 and eth2 (veths, up, without addresses),
 * and mgmt0 with 198.18.0.11/24. Everything the tests of handler/net*.c share. */
#ifndef TESTS_HANDLER_NET_RIG_H
#define TESTS_HANDLER_NET_RIG_H

#include <stdbool.h>

#include "api/tree.h"
#include "netpolicy/net_want.h"

/* Skips the test when this process may not make namespaces. Call it first. */
void net_rig_need(void);
/* Makes a fresh namespace and state directory, and moves the calling thread (the only one) there. False:
 * it may not. */
bool net_rig_new(char dir[64]);
void net_rig_done(const char *dir); /* "" is fine */

/* What the interfaces are, as people would compare it: without indices, carrier and link-local things.
 * The caller's. */
struct tree *net_rig_state(void);
void net_rig_same(const struct tree *a, const struct tree *b); /* fails with both */
/* A tree from JSON written with ' for ". The caller's. */
struct tree *net_rig_json(const char *text);
bool net_rig_has(const char *ifname);
struct tree *net_rig_bridge(const char *name, const char *port); /* a desiredState */

#endif
