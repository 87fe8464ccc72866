/* Recorded placements: what the parsers take and refuse, the checker finds planted faults, bounds
 * that can be counted by hand, and a small record placed anew. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "bench/replay_bound.h"
#include "bench/replay_run.h"

#define SNAPSHOT(host, vm)                                                \
    "{\"cluster_list\": [{\"cluster_name\": \"c\", \"host_info\": [" host \
    "], \"vm_instance\": [" vm "]}]}"
#define HOST(name)                                                               \
    "{\"node_id\": \"" name "\", \"rack_id\": 2, \"numa\": [{\"total_cpu\": 8, " \
    "\"memory_huge_total_mb\": 4096.0}, {\"total_cpu\": 8, \"memory_huge_total_mb\": 4096}]}"
#define VM1 "{\"host_id\": \"b\", \"numa\": [{\"node\": 1, \"cpu\": 4, \"mem_mb\": 2048.0}]}"
#define VM2                                                                                    \
    "{\"host_id\": \"b\", \"numa\": [{\"cpu\": 2, \"mem_mb\": 100}, {\"cpu\": 2, \"mem_mb\": " \
    "100}]}"
#define HOSTS    "CPU1,RAM1,CPU2,RAM2\n8,16,8,16\r\n8,16,8,16\n8,16,8,16\n"
#define TOPOLOGY "host_id,rack_id\nhost-0,0.0\nhost-1,0.0\nhost-2,1.0\nhost-3,1.0\n"
#define REQUESTS "flavor_vcpus,flavor_ram,numa,strategy,group,domain\n"

struct data {
    struct arena *arena;
    struct replay r;
};

static int
setup(void **state)
{
    struct data *d = calloc(1, sizeof *d);

    d->arena = arena_new();
    *state = d;
    return 0;
}

static int
teardown(void **state)
{
    struct data *d = *state;

    arena_free(d->arena);
    free(d);
    return 0;
}

/* Three hosts of 16 CPUs and 32 GiB: two in one rack, one in another. */
static void
read_hosts(struct data *d)
{
    char hosts[] = HOSTS, topology[] = TOPOLOGY;

    assert_int_equal(replay_read_hosts(hosts, topology, d->arena, &d->r, NULL), 0);
}

static void
read_requests(struct data *d, const char *rows)
{
    char *text = arena_printf(d->arena, REQUESTS "%s", rows);
    struct err err = {0};

    if (replay_read_requests(text, d->arena, &d->r, &err) != 0)
        fail_msg("%s", err_msg(&err));
}

static void
test_snapshots(void **state)
{
    static const char text[] = SNAPSHOT(HOST("a") "," HOST("b"), VM1 "," VM2);
    struct data *d = *state;
    struct replay *r;
    size_t len;

    assert_int_equal(replay_read_snapshots(text, strlen(text), d->arena, &r, &len, NULL), 0);
    assert_int_equal(len, 1);
    assert_string_equal(r->name, "c");
    assert_int_equal(r->hosts_len, 2);
    assert_int_equal(r->racks_len, 1);
    assert_int_equal(r->hosts_used, 1);
    assert_string_equal(r->hosts[1].name, "b");
    assert_string_equal(r->hosts[1].rack, "rack-2");
    assert_int_equal(r->hosts[0].numa[1].cpus, 8);
    assert_int_equal(r->hosts[0].all.mib, 8192);
    assert_int_equal(r->vms_len, 2);
    assert_int_equal(r->vms[0].numa, 1);
    assert_int_equal(r->vms[0].size.mib, 2048);
    assert_int_equal(r->vms[1].numa, 2);
    assert_int_equal(r->vms[1].size.cpus, 4);
}

static void
test_bad_snapshots(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"{", "line 1"},
        {"{}", "cluster_list"},
        {"{\"cluster_list\": []}", "cluster_list"},
        {SNAPSHOT("{}", ""), "c: host_info[0]: want node_id"},
        {SNAPSHOT("{\"node_id\": \"a\", \"rack_id\": 1}", ""), "a: want 2 NUMA nodes"},
        {SNAPSHOT("{\"node_id\": \"a\", \"rack_id\": 1, \"numa\": [{}, {}]}", ""),
         "a: want total_cpu"},
        {SNAPSHOT(HOST("a"), "{}"), "vm_instance[0]: want a host_id"},
        {SNAPSHOT(HOST("a"), "{\"host_id\": \"a\", \"numa\": [{\"cpu\": -1, \"mem_mb\": 1}]}"),
         "want cpu"},
        {SNAPSHOT(HOST("a"), "{\"host_id\": \"a\", \"numa\": [{\"cpu\": 1e300, \"mem_mb\": 1}]}"),
         "want cpu"},
    };
    struct data *d = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        struct replay *r;
        size_t len;

        if (replay_read_snapshots(cases[i].text, strlen(cases[i].text), d->arena, &r, &len, &err) ==
            0)
            fail_msg("taken: %s", cases[i].text);
        if (!strstr(err_msg(&err), cases[i].want))
            fail_msg("%s", err_msg(&err));
    }
}

static void
test_csv(void **state)
{
    struct data *d = *state;

    read_hosts(d);
    read_requests(d,
                  "4,8,1,,,\n2,4,2,fault_domain,7,1\r\n2,4,1,affinity,7,\n\n1,1,1,affinity,7,\n");
    assert_int_equal(d->r.hosts_len, 3);
    assert_int_equal(d->r.racks_len, 2);
    assert_string_equal(d->r.hosts[2].name, "host-2");
    assert_string_equal(d->r.hosts[2].rack, "rack-1");
    assert_int_equal(d->r.hosts[2].rack_index, 1);
    assert_int_equal(d->r.hosts[0].all.cpus, 16);
    assert_int_equal(d->r.hosts[0].numa[1].mib, 16384);
    assert_int_equal(d->r.vms_len, 4);
    assert_int_equal(d->r.groups_len, 2); /* a number is a group of its strategy only */
    assert_int_equal(d->r.vms[0].rule, REPLAY_FREE);
    assert_int_equal(d->r.vms[0].size.mib, 8192);
    assert_int_equal(d->r.vms[1].rule, REPLAY_FAULT_DOMAIN);
    assert_string_equal(d->r.vms[1].domain, "1");
    assert_string_equal(d->r.vms[2].group, "affinity-7");
    assert_int_equal(d->r.vms[2].group_index, d->r.vms[3].group_index);
}

static void
test_bad_csv(void **state)
{
    static const struct {
        const char *hosts, *topology, *requests, *want;
    } cases[] = {
        {"CPU,RAM\n", TOPOLOGY, REQUESTS, "line 1: want CPU1"},
        {"CPU1,RAM1,CPU2,RAM2\n1,2,3\n", TOPOLOGY, REQUESTS, "line 2: 3 fields: want 4"},
        {"CPU1,RAM1,CPU2,RAM2\n1,2,3,4,5,6,7,8,9,10\n", TOPOLOGY, REQUESTS, "line 2: 8 fields"},
        {"CPU1,RAM1,CPU2,RAM2\n1,2,3,x\n", TOPOLOGY, REQUESTS, "'x': want a number"},
        {"CPU1,RAM1,CPU2,RAM2\n1,2,3,-4\n", TOPOLOGY, REQUESTS, "'-4': want a number"},
        {HOSTS, "host_id\n", REQUESTS, "line 1: want host_id,rack_id"},
        {HOSTS, "host_id,rack_id\nhost-0,1\n", REQUESTS, "2 hosts have no rack"},
        {HOSTS, "host_id,rack_id\nhost-1,1\n", REQUESTS, "'host-1': want host-0"},
        {HOSTS, TOPOLOGY, "x\n", "line 1: want flavor_vcpus"},
        {HOSTS, TOPOLOGY, REQUESTS "1,1,3,,,\n", "numa '3': want 1 or 2"},
        {HOSTS, TOPOLOGY, REQUESTS "1,1,0,,,\n", "numa '0'"},
        {HOSTS, TOPOLOGY, REQUESTS "1,1,1,near,1,\n", "strategy 'near'"},
        {HOSTS, TOPOLOGY, REQUESTS "1,1,1,affinity,,\n", "want a group"},
        {HOSTS, TOPOLOGY, REQUESTS "1,1,1,affinity,1,2\n", "a domain with fault_domain"},
        {HOSTS, TOPOLOGY, REQUESTS "1,1,1,fault_domain,1,\n", "a domain with fault_domain"},
        {HOSTS, TOPOLOGY, REQUESTS "1,,1,,,\n", "'': want a number"},
    };
    struct data *d = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *hosts = arena_strdup(d->arena, cases[i].hosts);
        char *topology = arena_strdup(d->arena, cases[i].topology);
        char *requests = arena_strdup(d->arena, cases[i].requests);
        struct replay r = {0};
        struct err err = {0};

        if (replay_read_hosts(hosts, topology, d->arena, &r, &err) == 0 &&
            replay_read_requests(requests, d->arena, &r, &err) == 0)
            fail_msg("taken: want %s", cases[i].want);
        if (!strstr(err_msg(&err), cases[i].want))
            fail_msg("%s: want %s", err_msg(&err), cases[i].want);
    }
}

/* Each record is put where the steps say; what the last step breaks is found, and nothing else. */
static void
test_planted(void **state)
{
    static const struct {
        const char *requests;
        size_t hosts[3];
        size_t steps, cpu, memory;
        bool numa;             /* no layout on NUMA nodes */
        enum replay_rule rule; /* broken; REPLAY_FREE: none */
    } cases[] = {
        {"8,1,1,,,\n8,1,1,,,\n", {0, 0}, 2, 0, 0, false, 0},
        {"8,1,1,,,\n8,1,1,,,\n1,1,1,,,\n", {0, 0, 0}, 3, 1, 0, true, 0},
        {"1,32,2,,,\n1,1,1,,,\n", {0, 0}, 2, 0, 1, true, 0},
        {"6,1,1,,,\n6,1,1,,,\n4,1,1,,,\n", {0, 0, 0}, 3, 0, 0, true, 0}, /* 2 + 2 are left */
        {"6,1,1,,,\n4,1,1,,,\n2,1,1,,,\n", {0, 0, 0}, 3, 0, 0, false, 0},
        {"2,1,2,,,\n8,1,1,,,\n", {0, 0}, 2, 0, 0, false, 0}, /* both halves beside one another */
        {"4,1,2,,,\n8,1,1,,,\n6,1,1,,,\n", {0, 0, 0}, 3, 1, 0, true, 0},
        {"1,2,1,,,\n1,15,1,,,\n1,15,1,,,\n", {0, 0, 0}, 3, 0, 0, true, 0}, /* memory of a node */
        {"1,1,1,anti-affinity,1,\n1,1,1,anti-affinity,1,\n", {0, 1}, 2, 0, 0, false, 0},
        {"1,1,1,anti-affinity,1,\n1,1,1,anti-affinity,2,\n", {0, 0}, 2, 0, 0, false, 0},
        {"1,1,1,anti-affinity,1,\n1,1,1,anti-affinity,1,\n",
         {0, 0},
         2,
         0,
         0,
         0,
         REPLAY_ANTI_AFFINITY},
        {"1,1,1,affinity,1,\n1,1,1,affinity,1,\n", {0, 1}, 2, 0, 0, false, 0},
        {"1,1,1,affinity,1,\n1,1,1,affinity,1,\n", {0, 2}, 2, 0, 0, false, REPLAY_AFFINITY},
        {"1,1,1,fault_domain,1,0\n1,1,1,fault_domain,1,1\n", {0, 2}, 2, 0, 0, false, 0},
        {"1,1,1,fault_domain,1,0\n1,1,1,fault_domain,1,0\n", {0, 1}, 2, 0, 0, false, 0},
        {"1,1,1,fault_domain,1,0\n1,1,1,fault_domain,1,1\n",
         {0, 1},
         2,
         0,
         0,
         0,
         REPLAY_FAULT_DOMAIN},
    };
    struct data *d = *state;

    read_hosts(d);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct replay_faults *f;
        struct replay_check *c;

        read_requests(d, cases[i].requests);
        c = replay_check_new(&d->r);
        for (size_t k = 0; k < cases[i].steps; k++)
            replay_check_place(c, k, cases[i].hosts[k]);
        f = replay_check_faults(c);
        if (f->cpu != cases[i].cpu || f->memory != cases[i].memory ||
            replay_check_numa_fits(c, 0) == cases[i].numa)
            fail_msg("case %zu: cpu %zu, memory %zu", i, f->cpu, f->memory);
        for (size_t k = 1; k < REPLAY_RULES; k++)
            if (f->rule[k] != (cases[i].rule == k))
                fail_msg("case %zu: rule %zu: %zu", i, k, f->rule[k]);
        assert_int_equal(replay_check_broken(c),
                         cases[i].cpu + cases[i].memory + (cases[i].rule != REPLAY_FREE));
        replay_check_free(c);
    }
}

static void
test_fits_somewhere(void **state)
{
    struct data *d = *state;
    struct replay_check *c;

    read_hosts(d);
    read_requests(d, "16,1,1,anti-affinity,0,\n16,1,1,anti-affinity,0,\n1,1,1,anti-affinity,0,\n"
                     "1,40,1,,,\n");
    c = replay_check_new(&d->r);
    replay_check_place(c, 0, 0);
    replay_check_place(c, 1, 1);
    assert_true(replay_check_fits_somewhere(c, 2)); /* host-2 */
    assert_false(replay_check_fits_somewhere(c, 3));
    assert_int_equal(replay_check_hosts_used(c), 2);
    replay_check_place(c, 2, 2);
    read_requests(d, "16,1,1,,,\n16,1,1,,,\n16,1,1,,,\n1,1,1,,,\n");
    replay_check_free(c);
    c = replay_check_new(&d->r);
    for (size_t i = 0; i < 3; i++)
        replay_check_place(c, i, i);
    assert_false(replay_check_fits_somewhere(c, 3));
    replay_check_free(c);
}

static void
test_bounds(void **state)
{
    static const struct {
        const char *requests;
        size_t sums, l2, numa;
    } cases[] = {
        {"", 0, 0, 0},
        {"1,1,1,,,\n", 1, 1, 1},
        {"8,8,1,,,\n8,8,1,,,\n", 1, 1, 1},
        {"9,1,1,,,\n9,1,1,,,\n", 2, 2, 1},
        {"9,1,1,,,\n9,1,1,,,\n9,1,1,,,\n", 2, 3, 2},                     /* no two share a host */
        {"10,1,1,,,\n10,1,1,,,\n8,1,1,,,\n", 2, 3, 2},                   /* 8 not beside a 10 */
        {"1,20,1,,,\n1,20,1,,,\n1,20,1,,,\n", 2, 3, 2},                  /* the same by memory */
        {"16,1,1,,,\n16,1,1,,,\n16,1,1,,,\n1,1,1,,,\n", 4, 4, 2},        /* more than there are */
        {"6,1,1,,,\n6,1,1,,,\n6,1,1,,,\n6,1,1,,,\n4,1,1,,,\n", 2, 2, 3}, /* 4 not beside a 6 */
        {"12,1,2,,,\n12,1,2,,,\n4,1,1,,,\n", 2, 2, 3},                   /* the same by halves */
    };
    struct data *d = *state;

    read_hosts(d);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        read_requests(d, cases[i].requests);
        assert_int_equal(replay_bound_sums(&d->r), cases[i].sums);
        assert_int_equal(replay_bound_l2(&d->r, false), cases[i].l2);
        assert_int_equal(replay_bound_l2(&d->r, true), cases[i].numa);
    }
    d->r.hosts[1].all.cpus = 4; /* of several sizes: the largest first, and no L2 */
    read_requests(d, "16,1,1,,,\n16,1,1,,,\n4,1,1,,,\n");
    assert_int_equal(replay_bound_sums(&d->r), 3);
    assert_int_equal(replay_bound_l2(&d->r, false), 1); /* of the memory */
    d->r.hosts[1].all.mib = 1;
    assert_int_equal(replay_bound_l2(&d->r, false), 0);
}

/* Rules, sizes and orders reach the scheduler. */
static void
test_run(void **state)
{
    static const struct {
        const char *name, *requests;
        struct replay_options o;
        size_t placed, hosts_used;
        enum replay_rule refused; /* REPLAY_FREE with all placed: none */
    } cases[] = {
        {"fills", "1,1,1,,,\n1,1,1,,,\n1,1,1,,,\n", {.most = true}, 3, 1, 0},
        {"spreads", "1,1,1,,,\n1,1,1,,,\n1,1,1,,,\n", {0}, 3, 3, 0},
        {"CPU", "16,1,1,,,\n16,1,1,,,\n16,1,1,,,\n1,1,1,,,\n", {.most = true}, 3, 3, REPLAY_FREE},
        {"memory", "1,32,1,,,\n1,32,1,,,\n1,32,1,,,\n1,1,1,,,\n", {0}, 3, 3, REPLAY_FREE},
        {"anti-affinity",
         "1,1,1,anti-affinity,0,\n1,1,1,anti-affinity,0,\n1,1,1,anti-affinity,0,\n"
         "1,1,1,anti-affinity,0,\n",
         {.most = true},
         3,
         3,
         REPLAY_ANTI_AFFINITY},
        {"affinity",
         "16,1,1,affinity,0,\n16,1,1,affinity,0,\n16,1,1,affinity,0,\n",
         {.most = true},
         2,
         2,
         REPLAY_AFFINITY},
        {"fault domains",
         "1,1,1,fault_domain,0,0\n1,1,1,fault_domain,0,1\n1,1,1,fault_domain,0,2\n",
         {.most = true},
         2,
         2,
         REPLAY_FAULT_DOMAIN},
        {"NUMA apart", "6,1,1,,,\n6,1,1,,,\n4,1,1,,,\n", {.most = true}, 3, 1, 0},
        {"NUMA kept", "6,1,1,,,\n6,1,1,,,\n4,1,1,,,\n", {.most = true, .numa = true}, 3, 2, 0},
        {"order as recorded",
         "6,1,1,,,\n10,1,1,,,\n6,1,1,,,\n10,1,1,,,\n",
         {.most = true},
         4,
         2,
         0},
        {"largest first",
         "4,1,1,,,\n4,1,1,,,\n4,1,1,,,\n4,1,1,,,\n12,1,1,,,\n12,1,1,,,\n",
         {.most = true, .decreasing = true},
         6,
         3,
         0},
    };
    struct data *d = *state;

    read_hosts(d);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct replay_options o = cases[i].o;
        struct replay_result res;
        struct err err = {0};

        o.compare = 1;
        read_requests(d, cases[i].requests);
        if (replay_run(&d->r, &o, &res, &err) != 0)
            fail_msg("%s: %s", cases[i].name, err_msg(&err));
        if (res.placed != cases[i].placed || res.hosts_used != cases[i].hosts_used)
            fail_msg("%s: %zu placed on %zu hosts", cases[i].name, res.placed, res.hosts_used);
        assert_int_equal(res.placed + res.rejected, d->r.vms_len);
        assert_int_equal(res.rejected_by[cases[i].refused], res.rejected);
        assert_int_equal(res.wrongly, 0);
        assert_int_equal(res.broken, 0);
        assert_int_equal(res.compared, d->r.vms_len);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_snapshots, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_snapshots, setup, teardown),
        cmocka_unit_test_setup_teardown(test_csv, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_csv, setup, teardown),
        cmocka_unit_test_setup_teardown(test_planted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fits_somewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_run, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
