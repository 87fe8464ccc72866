/* What a node says of RDMA: each condition and its words, and that the host is asked when its network
 * changes. The device is whatever this host has: none, mostly. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "handler/node_rdma.h"
#include "migrate/rdma_nic.h"

#define READY         .state = MIGNET_READY, .ip = "10.200.5.1", .ref = "ns/net"
#define DEVICE        .looked = true, .device = "rxe0", .window_bytes = 1 << 30
#define NO_LOCK_LIMIT .lock_bytes = UINT64_MAX
#define DEADLINE_US   UINT64_C(10000000)

static const struct row {
    const char *name;
    struct node_rdma_facts facts;
    const char *status, *reason, *message;
} rows[] = {
    {"nothing is known yet", {.net.state = MIGNET_UNKNOWN}, "Unknown", "NotLooked", ""},
    {"the network is known, the device is being looked for",
     {.net = {READY, .trusted = true}},
     "Unknown",
     "NotLooked",
     "nobody has looked yet"},
    {"nobody could look",
     {.net = {READY, .trusted = true}, .why = "no answer"},
     "Unknown",
     "NotLooked",
     "no answer"},
    {"no dedicated network",
     {.net.state = MIGNET_NONE, DEVICE},
     "False",
     "NoDedicatedNetwork",
     "RDMA is used on a dedicated migration network only, and there is none"},
    {"a network that is broken",
     {.net = {.state = MIGNET_BROKEN, .code = "LinkDown"}, DEVICE},
     "False",
     "NetworkNotReady",
     "the migration network is not ready: LinkDown"},
    {"no device",
     {.net = {READY, .trusted = true}, .looked = true, .why = "no device is reached"},
     "False",
     "NoDevice",
     "no device is reached"},
    {"a device, and a network that nobody trusts: also where plaintext was chosen",
     {.net = {READY}, DEVICE},
     "False",
     "NetworkNotTrusted",
     "rxe0 serves 10.200.5.1, but RDMA does not encrypt, and ns/net is not declared trusted "
     "(drover.io/trusted-network)"},
    {"all that it takes",
     {.net = {READY, .trusted = true}, DEVICE, NO_LOCK_LIMIT},
     "True",
     "DeviceFound",
     "rxe0 serves 10.200.5.1; a migration registers at most 1 GiB at once"},
    {"little may be locked",
     {.net = {READY, .trusted = true}, DEVICE, .lock_bytes = 8 << 20},
     "True",
     "DeviceFound",
     "rxe0 serves 10.200.5.1; a migration registers at most 8 MiB at once, the limit of locked "
     "memory"},
    {"on demand, which locks nothing",
     {.net = {READY, .trusted = true}, DEVICE, .on_demand = true},
     "True",
     "DeviceFound",
     "rxe0 serves 10.200.5.1; memory is registered on demand"},
    {"switched off, whatever there is",
     {.net = {READY, .trusted = true}, DEVICE, NO_LOCK_LIMIT, .off = true},
     "False",
     "SwitchedOff",
     "--no-rdma: migrations go over TCP"},
};

static void
test_condition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        struct node_rdma_condition c;

        node_rdma_say(&r->facts, &c);
        if (strcmp(c.status, r->status) != 0 || strcmp(c.reason, r->reason) != 0 ||
            (*r->message && strcmp(c.message, r->message) != 0))
            fail_msg("%s: %s %s: %s", r->name, c.status, c.reason, c.message);
    }
}

/* --- asking the host --- */

struct rig {
    struct loop *l;
    struct work *w;
    struct node_rdma *n;
    unsigned changes;
    bool late;
};

static void
changed(void *ctx)
{
    struct rig *r = ctx;

    r->changes++;
    loop_stop(r->l);
}

static void
on_deadline(void *ctx)
{
    struct rig *r = ctx;

    r->late = true;
    loop_stop(r->l);
}

static void
start(struct rig *r, bool off)
{
    memset(r, 0, sizeof *r);
    r->l = loop_event_new();
    r->w = work_new(r->l, 1);
    r->n = node_rdma_new(r->l, r->w, "bin/drover-handler", off, 1 << 30, changed, r);
}

static void
end(struct rig *r)
{
    work_free(r->w);
    node_rdma_free(r->n);
    loop_free(r->l);
}

static void
until_changed(struct rig *r)
{
    struct loop_timer *t = loop_timer_add(r->l, DEADLINE_US, on_deadline, r);

    loop_run(r->l);
    assert_false(r->late);
    loop_timer_del(t);
}

/* As nic_open sees it: the one that migrations use. */
static void
test_looks(void **state)
{
    struct mignet net = {
        .state = MIGNET_READY, .ip = "127.0.0.1", .ref = "ns/net", .trusted = true};
    struct node_rdma_condition c;
    struct nic *nic = NULL;
    struct err err = {0};
    bool here = nic_open(net.ip, "", &nic, &err) == 0;
    struct rig r;

    (void)state;
    nic_close(nic);
    start(&r, false);
    node_rdma_network(r.n, &net);
    node_rdma_say(node_rdma_facts(r.n), &c);
    assert_string_equal(c.reason, "NotLooked");
    until_changed(&r);
    node_rdma_say(node_rdma_facts(r.n), &c);
    assert_string_equal(c.reason, here ? "DeviceFound" : "NoDevice");
    if (!here)
        assert_string_equal(c.message, err_msg(&err));

    /* another address while it looks: what was found of the first one does not count */
    node_rdma_network(r.n, &net);
    snprintf(net.ip, sizeof net.ip, "198.51.100.7");
    node_rdma_network(r.n, &net);
    node_rdma_say(node_rdma_facts(r.n), &c);
    assert_string_equal(c.reason, "NotLooked");
    until_changed(&r);
    node_rdma_say(node_rdma_facts(r.n), &c);
    assert_string_equal(c.reason, "NoDevice");
    assert_int_equal(r.changes, 2);
    end(&r);
}

static void
nothing(void *ctx)
{
    (void)ctx;
}

static void
stop(void *ctx)
{
    struct rig *r = ctx;

    loop_stop(r->l);
}

/* The one worker is done with whatever it was asked before. */
static void
settle(struct rig *r)
{
    work_run(r->w, nothing, stop, r);
    loop_run(r->l);
}

static void
test_does_not_look(void **state)
{
    const struct mignet net = {.state = MIGNET_READY, .ip = "127.0.0.1", .trusted = true};
    const struct mignet none = {.state = MIGNET_NONE, .ip = "127.0.0.1"};
    struct rig r;

    (void)state;
    start(&r, true);
    node_rdma_network(r.n, &net);
    settle(&r);
    assert_false(node_rdma_facts(r.n)->looked);
    end(&r);
    start(&r, false);
    node_rdma_network(r.n, &none);
    settle(&r);
    assert_false(node_rdma_facts(r.n)->looked);
    end(&r);
}

/* Not knowing is not the same as there being none. */
static void
test_cannot_look(void **state)
{
    static const char *const programs[] = {"/nonexistent", "/bin/true"};
    const struct mignet net = {.state = MIGNET_READY, .ip = "127.0.0.1", .trusted = true};

    (void)state;
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        struct node_rdma_condition c;
        struct rig r;

        start(&r, false);
        node_rdma_free(r.n);
        r.n = node_rdma_new(r.l, r.w, programs[i], false, 1 << 30, changed, &r);
        node_rdma_network(r.n, &net);
        until_changed(&r);
        node_rdma_say(node_rdma_facts(r.n), &c);
        assert_string_equal(c.status, "Unknown");
        assert_non_null(strstr(c.message, i ? "gave no answer" : "No such file"));
        end(&r);
    }
}

/* The handler ends while it looks. */
static void
test_ends_meanwhile(void **state)
{
    const struct mignet net = {.state = MIGNET_READY, .ip = "127.0.0.1", .trusted = true};
    struct rig r;

    (void)state;
    start(&r, false);
    node_rdma_network(r.n, &net);
    end(&r);
    assert_int_equal(r.changes, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_condition),      cmocka_unit_test(test_looks),
        cmocka_unit_test(test_does_not_look),  cmocka_unit_test(test_cannot_look),
        cmocka_unit_test(test_ends_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
