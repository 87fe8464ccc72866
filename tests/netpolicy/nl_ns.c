/* See nl_ns.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/netpolicy/nl_ns.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/sb.h"
#include "netpolicy/nl_link.h"
#include "netpolicy/nl_state.h"

bool
nl_ns_fresh(void)
{
    if (unshare(CLONE_NEWNET) != 0) {
        print_message("needs a network namespace of its own: %s\n", strerror(errno));
        return false;
    }
    if (nl_ns_sh("ip -V") != 0) {
        print_message("needs ip (iproute2)\n");
        return false;
    }
    assert_int_equal(nl_link_up("lo", NULL), 0);
    return true;
}

int
nl_ns_sh(const char *fmt, ...)
{
    AUTO_SB struct sb sb = SB_INIT;
    va_list ap;

    sb_puts(&sb, "{ ");
    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    sb_puts(&sb, "; } >/dev/null 2>&1");
    return system(sb_str(&sb)); // NOLINT(cert-env33-c)
}

bool
nl_ns_has_kind(const char *kind)
{
    if (nl_ns_sh("ip link add probe0 type %s", kind) != 0) {
        print_message("this kernel makes no %s\n", kind);
        return false;
    }
    NL_NS_MUST("ip link del probe0");
    return true;
}

struct net_state
nl_ns_state(struct arena *a)
{
    struct err err = {0};
    struct net_state s;

    if (nl_state_read(a, &s, &err) != 0)
        fail_msg("%s", err_msg(&err));
    return s;
}
