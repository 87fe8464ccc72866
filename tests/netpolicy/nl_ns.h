/* A network namespace of the test's own, for tests against the real kernel. */
#ifndef TESTS_NETPOLICY_NL_NS_H
#define TESTS_NETPOLICY_NL_NS_H

#include <stdbool.h>

#include "netpolicy/net_plan.h"

/* Moves the calling process into a fresh namespace with its loopback up. False, and why on stdout,
 * when that is not permitted. */
bool nl_ns_fresh(void);
/* Runs a shell command (ip, tc: they are not of our making, so they also tell whether we are
 * right); 0 when it succeeded. Quiet unless it must succeed. */
int nl_ns_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define NL_NS_MUST(...) assert_int_equal(nl_ns_sh(__VA_ARGS__), 0)
/* Whether this kernel makes links of that kind ("bond", "dummy"); says so when not. */
bool nl_ns_has_kind(const char *kind);

/* The state now; the arena is the test's. Fails the test when it cannot be read. */
struct net_state nl_ns_state(struct arena *a);

#endif
