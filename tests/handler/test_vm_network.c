/* Where a migration's sockets are bound: a dedicated network is never used without its address and its
 * interface, whatever else is known. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "handler/handler.h"
#include "netpolicy/nl_shape.h"

static const struct row {
    const char *name;
    struct mignet net;
    const char *text; /* NULL: there is no such place, and why says */
    const char *why;
} rows[] = {
    {"a dedicated network",
     {.state = MIGNET_READY, .ip = "10.200.5.1", .ifname = "migration0"},
     "10.200.5.1 on migration0",
     ""},
    {"a dedicated network that is trusted",
     {.state = MIGNET_READY, .ip = "10.200.5.1", .ifname = "migration0", .trusted = true},
     "10.200.5.1 on migration0, trusted",
     ""},
    {"none",
     {.state = MIGNET_NONE, .ip = "198.18.0.11"},
     "198.18.0.11 on the management network",
     ""},
    {"none, and an interface that was once its own",
     {.state = MIGNET_NONE, .ip = "198.18.0.11", .ifname = "migration0"},
     "198.18.0.11 on the management network",
     ""},
    {"none, and trust that was another network's",
     {.state = MIGNET_NONE, .ip = "198.18.0.11", .trusted = true},
     "198.18.0.11 on the management network",
     ""},
    {"a dedicated network without an interface",
     {.state = MIGNET_READY, .ip = "10.200.5.1", .ref = "ns/mig"},
     NULL,
     "ns/mig has no interface here"},
    {"a dedicated network without an address",
     {.state = MIGNET_READY, .ifname = "migration0", .ref = "ns/mig"},
     NULL,
     "ns/mig has no address here"},
    {"a broken one, although its address is known",
     {.state = MIGNET_BROKEN,
      .ip = "10.200.5.1",
      .ifname = "migration0",
      .reason = "ns/mig: interface migration0 has no carrier"},
     NULL,
     "migration0 has no carrier"},
    {"nothing is known yet", {.state = MIGNET_UNKNOWN, .ip = "198.18.0.11"}, NULL, "not known yet"},
};

static void
test_place(void **state)
{
    const struct row *r = *state;
    struct handler h = {.net = r->net};
    struct vm_place p;
    struct err err = {0};
    char buf[80];
    int rc = vm_place_now(&h, &p, &err);

    if (r->text) {
        assert_int_equal(rc, 0);
        assert_string_equal(vm_place_text(&p, buf, sizeof buf), r->text);
        assert_int_equal(p.device[0] != '\0', r->net.state == MIGNET_READY);
        assert_int_equal(p.trusted, strstr(r->text, "trusted") != NULL);
    } else {
        assert_int_equal(rc, -ENETDOWN);
        assert_non_null(strstr(err_msg(&err), r->why));
    }
}

/* A priority without a class to go into would only look like one. */
static void
test_marks(void **state)
{
    struct handler h = {.net = {.state = MIGNET_READY, .urgent_dscp = 46}};
    uint32_t priority;
    uint8_t dscp;

    (void)state;
    vm_urgent_mark(&h, &priority, &dscp);
    assert_int_equal(priority, 0);
    assert_int_equal(dscp, 46);
    h.net.limit_bytes_per_s = 1000000;
    vm_urgent_mark(&h, &priority, &dscp);
    assert_int_equal(priority, NL_SHAPE_URGENT);
}

static void
test_none_runs(void **state)
{
    struct handler h = {.vms = strmap_new()};
    bool cut_off = true;

    (void)state;
    assert_int_equal(migrations_over_network(&h, &cut_off), 0);
    assert_false(cut_off);
    strmap_free(h.vms, NULL);
}

int
main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(rows) + 2] = {
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_none_runs),
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i + 2] = (struct CMUnitTest){.name = rows[i].name,
                                           .test_func = test_place,
                                           .initial_state = (void *)(uintptr_t)&rows[i]};
    return cmocka_run_group_tests_name("where migrations are bound", tests, NULL, NULL);
}
