/* Which neighbours of the migration network answer, by what the kernel's table says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "handler/net_peers.h"

#define S 1000000u

static struct nl_event
event(unsigned host, const char *what)
{
    struct nl_event e = {.kind = NL_EVENT_NEIGH, .ifname = "migration0"};
    char text[IP_TEXT_SIZE];

    snprintf(text, sizeof text, "10.200.%u.%u", host / 256, host % 256);
    assert_int_equal(ip_parse(text, &e.ip, NULL), 0);
    e.neigh_failed = strcmp(what, "failed") == 0;
    e.neigh_reachable = strcmp(what, "reachable") == 0;
    e.gone = strcmp(what, "gone") == 0;
    return e;
}

static void
test_events(void **state)
{
    /* after each: how many are known, how many have failed, and what is said of them */
    static const struct {
        unsigned host;
        const char *what;
        bool news;
        size_t known, failed;
        const char *text;
    } rows[] = {
        {1, "stale", false, 0, 0, ""},
        {1, "gone", false, 0, 0, ""},
        {1, "failed", true, 1, 1, "10.200.0.1"},
        {1, "failed", false, 1, 1, "10.200.0.1"},
        {1, "gone", false, 1, 1, "10.200.0.1"}, /* the kernel forgets, we do not */
        {2, "reachable", true, 2, 1, "10.200.0.1"},
        {2, "stale", false, 2, 1, "10.200.0.1"},
        {2, "failed", true, 2, 2, "10.200.0.1, 10.200.0.2"},
        {3, "failed", true, 3, 3, "10.200.0.1, 10.200.0.2, 10.200.0.3"},
        {4, "failed", true, 4, 4, "10.200.0.1, 10.200.0.2, 10.200.0.3 and 1 more"},
        {1, "reachable", true, 4, 3, "10.200.0.2, 10.200.0.3, 10.200.0.4"},
        {1, "gone", true, 3, 3, NULL},
        {2, "reachable", true, 3, 2, NULL},
    };
    struct net_peers p = {0};
    char text[160];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct nl_event e = event(rows[i].host, rows[i].what);

        if (net_peers_event(&p, &e, S) != rows[i].news || p.len != rows[i].known ||
            net_peers_failed(&p, text, sizeof text) != rows[i].failed ||
            (rows[i].text && strcmp(text, rows[i].text) != 0))
            fail_msg("row %zu: %zu known, \"%s\"", i, p.len, text);
    }
}

static void
test_forgotten(void **state)
{
    struct net_peers p = {0};
    struct nl_event a = event(1, "failed"), b = event(2, "failed"), c = event(3, "reachable");
    char text[160];

    (void)state;
    net_peers_event(&p, &a, 1 * S);
    net_peers_event(&p, &b, 61 * S);
    net_peers_event(&p, &c, 1 * S);
    assert_false(net_peers_expire(&p, HANDLER_PEER_FORGET_US));
    assert_true(net_peers_expire(&p, HANDLER_PEER_FORGET_US + 1 * S));
    assert_int_equal(net_peers_failed(&p, text, sizeof text), 1);
    assert_string_equal(text, "10.200.0.2");
    assert_true(net_peers_expire(&p, HANDLER_PEER_FORGET_US + 61 * S));
    assert_int_equal(p.len, 1); /* who answers stays */
}

static void
test_full(void **state)
{
    static struct net_peers p;
    char text[160];

    (void)state;
    for (unsigned i = 0; i < HANDLER_MAX_PEERS + 10; i++) {
        struct nl_event e = event(i + 1, "failed");

        assert_int_equal(net_peers_event(&p, &e, S), i < HANDLER_MAX_PEERS);
    }
    assert_int_equal(net_peers_failed(&p, text, sizeof text), HANDLER_MAX_PEERS);
    assert_non_null(strstr(text, " and 253 more"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
