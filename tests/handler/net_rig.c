/* See net_rig.h. */
#include "tests/handler/net_rig.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/fs.h"
#include "netpolicy/nl_link.h"
#include "netpolicy/nl_state.h"

static void
must(int rc, const struct err *err)
{
    if (rc != 0)
        fail_msg("%s", err_msg(err));
}

static bool permitted;

void
net_rig_need(void)
{
    if (!permitted)
        skip(); /* needs CAP_SYS_ADMIN: a network namespace */
}

bool
net_rig_new(char dir[64])
{
    struct ip mgmt;
    struct err err = {0};

    dir[0] = '\0';
    permitted = unshare(CLONE_NEWNET) == 0;
    if (!permitted)
        return false;
    strcpy(dir, "/tmp/drover-net-XXXXXX");
    assert_non_null(mkdtemp(dir));
    must(nl_veth_add("eth1", "peer1", -1, &err), &err);
    must(nl_veth_add("eth2", "peer2", -1, &err), &err);
    must(nl_veth_add("mgmt0", "mgmtp", -1, &err), &err);
    for (size_t i = 0; i < 6; i++) {
        static const char *const names[] = {"eth1", "peer1", "eth2", "peer2", "mgmt0", "mgmtp"};

        must(nl_link_up(names[i], &err), &err);
    }
    assert_int_equal(ip_parse("198.18.0.11", &mgmt, NULL), 0);
    must(nl_addr_add("mgmt0", &mgmt, 24, &err), &err);
    return true;
}

void
net_rig_done(const char *dir)
{
    struct err err = {0};

    if (*dir)
        must(fs_rmtree(dir, &err), &err);
}

struct tree *
net_rig_state(void)
{
    struct arena *a = arena_new();
    struct net_state now;
    struct err err = {0};
    struct tree *t;

    must(nl_state_read(a, &now, &err), &err);
    for (size_t i = 0; i < now.len; i++) {
        now.links[i].ifindex = 0;
        now.links[i].carrier = true; /* it follows, a moment later */
        now.links[i].speed_mbps = 0;
    }
    t = net_state_tree(&now);
    arena_free(a);
    return t;
}

void
net_rig_same(const struct tree *a, const struct tree *b)
{
    AUTO_SB struct sb x = SB_INIT;
    AUTO_SB struct sb y = SB_INIT;

    if (tree_equal(a, b))
        return;
    tree_to_json(a, 1, &x);
    tree_to_json(b, 1, &y);
    fail_msg("want\n%s\nhave\n%s", sb_str(&x), sb_str(&y));
}

struct tree *
net_rig_json(const char *text)
{
    AUTO_FREE char *s = xstrdup(text);
    struct tree *t = NULL;
    struct err err = {0};

    for (char *p = s; *p; p++)
        if (*p == '\'')
            *p = '"';
    must(tree_from_json(s, strlen(s), &t, &err), &err);
    return t;
}

bool
net_rig_has(const char *ifname)
{
    struct arena *a = arena_new();
    struct net_state now;
    struct err err = {0};
    bool has;

    must(nl_state_read(a, &now, &err), &err);
    has = net_state_find(&now, ifname) != NULL;
    arena_free(a);
    return has;
}

struct tree *
net_rig_bridge(const char *name, const char *port)
{
    AUTO_FREE char *text =
        xasprintf("{'interfaces': [{'name': '%s', 'type': 'linux-bridge', 'state': 'up', 'bridge': "
                  "{'options': {'stp': {'enabled': false}}, 'port': [{'name': '%s'}]}}]}",
                  name, port);

    return net_rig_json(text);
}
