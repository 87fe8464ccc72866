/* Changes of NodeNetworkConfigurationPolicies and of the migration network in random order, by the
 * handler's own code (handler/net_round.h) in processes that are killed now and then, on the real
 * kernel in a namespace of this test's own. After each round that was not killed the interfaces are as
 * net_compose says of how they were at first and of the objects that are there; when all objects are
 * gone, they are as they were at first. Arguments: how many changes (200), and the seed of another run
 * (when a process is killed by time, runs of one seed still differ). */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/sb.h"
#include "handler/net_round.h"
#include "netpolicy/nl_link.h"
#include "netpolicy/nl_state.h"

#define SKIP_CODE   77
#define POLICIES    4
#define MGMT_IP     "198.18.0.11"
#define NAD_REF     "openshift-cnv/migration-network"
#define ROUND_US    20000000
#define KILLED_OF_3 1 /* rounds */

struct objects {
    struct tree *policies[POLICIES]; /* desiredState; NULL: there is none */
    int64_t generation[POLICIES];
    struct tree *nad; /* NULL: none, and liveMigrationConfig.network is not set */
};

static struct rng rng;
static uint64_t seed;
static char dir[] = "/tmp/drover-net-kernel-XXXXXX";
static bool has_bond, has_vlan;
static struct ip mgmt;
static struct sb story; /* since the host was last compared */

static void die(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));

static void
die(const char *fmt, ...)
{
    va_list ap;

    printf("%sseed %" PRIu64 ": ", sb_str(&story), seed);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fs_rmtree(dir, NULL);
    exit(1);
}

static void
must(int rc, const struct err *err)
{
    if (rc != 0)
        die("%s", err_msg(err));
}

static unsigned
below(unsigned n)
{
    return (unsigned)rng_below(&rng, n);
}

#define PICK(...)           \
    ((const char *const[]){ \
        __VA_ARGS__}[below(sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *))])

/* --- the host --- */

static bool
probe(const struct net_link *l)
{
    const struct net_step add = {.op = NET_OP_ADD, .link = *l},
                          del = {.op = NET_OP_DEL, .link = *l};
    struct err err = {0};
    int rc = nl_step_apply(&add, &err);

    if (rc == -EOPNOTSUPP) {
        printf("left out: %s\n", err_msg(&err));
        return false;
    }
    must(rc, &err);
    must(nl_step_apply(&del, &err), &err);
    return true;
}

static void
address(const char *ifname, const char *text)
{
    struct err err = {0};
    struct cidr c;

    must(cidr_parse(text, &c, &err), &err);
    must(nl_addr_add(ifname, &c.base, c.prefix, &err), &err);
}

/* eth1 to eth3 are free; br0, with a port, addresses and settings of its own, was there before. */
static void
make_host(void)
{
    static const char *const pairs[][2] = {
        {"eth1", "peer1"}, {"eth2", "peer2"}, {"eth3", "peer3"}, {"tap0", "tap1"}, {"mgmt0", "m1"}};
    const struct net_step before[] = {
        {.op = NET_OP_ADD, .link = {.name = "br0", .kind = NET_BRIDGE}},
        {.op = NET_OP_MAC, .link = {.name = "br0", .mac = {2, 0, 0, 0, 0, 0x10}}},
        {.op = NET_OP_BRIDGE, .link = {.name = "br0", .stp = true}},
        {.op = NET_OP_CONTROLLER, .link = {.name = "tap0", .controller = "br0"}},
        {.op = NET_OP_MTU, .link = {.name = "br0", .mtu = 1450}},
        {.op = NET_OP_UP, .link = {.name = "br0"}},
        {.op = NET_OP_SHAPE, .link = {.name = "eth2", .shape = {50000000, 300000}}},
        {.op = NET_OP_ARP_IGNORE, .link = {.name = "eth2", .arp_ignore = true}},
        {.op = NET_OP_DOWN, .link = {.name = "eth3"}},
    };
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        must(nl_veth_add(pairs[i][0], pairs[i][1], -1, &err), &err);
        must(nl_link_up(pairs[i][0], &err), &err);
        must(nl_link_up(pairs[i][1], &err), &err);
    }
    for (size_t i = 0; i < ARRAY_LEN(before); i++)
        must(nl_step_apply(&before[i], &err), &err);
    address("mgmt0", MGMT_IP "/24");
    address("br0", "10.7.0.1/24");
    address("br0", "10.7.0.2/24");
    address("br0", "fd00:7::1/64");
    address("eth1", "10.8.0.1/24");
    address("eth2", "fd00:8::1/64");
    has_bond = probe(&(const struct net_link){.name = "b", .kind = NET_BOND, .bond_mode = 1});
    has_vlan = probe(
        &(const struct net_link){.name = "v", .kind = NET_VLAN, .base = "eth1", .vlan_id = 9});
}

/* --- random objects --- */

static struct tree *
parse(const char *text)
{
    AUTO_FREE char *s = xstrdup(text);
    struct err err = {0};
    struct tree *t = NULL;

    for (char *p = s; *p; p++)
        if (*p == '\'')
            *p = '"';
    if (tree_from_json(s, strlen(s), &t, &err) != 0)
        die("%s: %s", err_msg(&err), s);
    return t;
}

static void
put_addresses(struct sb *sb)
{
    if (below(2))
        sb_printf(sb, ", 'ipv4': {'enabled': true, 'dhcp': false, 'address': [");
    else
        return;
    for (unsigned i = 0, n = 1 + below(3); i < n; i++)
        sb_printf(sb, "%s{'ip': '10.9.%u.%u', 'prefix-length': 24}", i ? ", " : "", below(2),
                  1 + i * 10 + below(10));
    sb_puts(sb, "]}");
    if (below(2))
        sb_printf(sb,
                  ", 'ipv6': {'enabled': true, 'address': [{'ip': 'fd00:9::%u', 'prefix-length': "
                  "64}]}",
                  1 + below(20));
    else if (below(2))
        sb_puts(sb, ", 'ipv6': {'enabled': false}");
}

static void
put_ports(struct sb *sb)
{
    static const char *const all[] = {"eth1", "eth2", "eth3"};
    unsigned mask = below(8);
    bool first = true;

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (!(mask >> i & 1))
            continue;
        sb_printf(sb, "%s{'name': '%s'}", first ? "" : ", ", all[i]);
        first = false;
    }
}

static void
put_common(struct sb *sb)
{
    static const unsigned mtus[] = {1280, 1400, 1500, 9000};

    if (below(3) == 0)
        sb_printf(sb, ", 'mtu': %u", mtus[below(ARRAY_LEN(mtus))]);
    if (below(5) == 0)
        sb_printf(sb, ", 'mac-address': '02:00:00:00:01:%02x'", below(256));
    put_addresses(sb);
}

static void
put_interface(struct sb *sb)
{
    unsigned kind = below(16);

    if ((kind == 10 || kind == 11) && !has_bond)
        kind = 0;
    if (kind >= 12 && !has_vlan)
        kind = 3;
    switch (kind) {
    case 0:
    case 1:
    case 2: /* a bridge: of ours, or the one that was there */
        sb_printf(sb, "{'name': '%s', 'type': 'linux-bridge', 'state': '%s'",
                  PICK("brA", "brB", "br0"), PICK("up", "up", "up", "down"));
        put_common(sb);
        sb_printf(sb, ", 'bridge': {'options': {'stp': {'enabled': %s}}", PICK("true", "false"));
        if (below(4)) {
            sb_puts(sb, ", 'port': [");
            put_ports(sb);
            sb_puts(sb, "]");
        }
        sb_puts(sb, "}}");
        break;
    case 3:
    case 4:
    case 5:
        sb_printf(sb, "{'name': '%s', 'type': 'mac-vlan', 'state': '%s'", PICK("mvA", "mvB"),
                  PICK("up", "up", "down"));
        put_common(sb);
        sb_printf(sb, ", 'mac-vlan': {'base-iface': '%s', 'mode': '%s'}}",
                  PICK("eth1", "eth2", "eth3", "br0", "brA"), PICK("bridge", "private", "vepa"));
        break;
    case 6:
    case 7:
    case 8:
        sb_printf(sb, "{'name': '%s', 'type': 'ethernet', 'state': '%s'",
                  PICK("eth1", "eth2", "eth3"), PICK("up", "up", "down"));
        put_common(sb);
        sb_puts(sb, "}");
        break;
    case 9:
        sb_printf(sb, "{'name': '%s', 'state': 'absent'}", PICK("br0", "brA", "mvA"));
        break;
    case 10:
    case 11:
        sb_printf(sb, "{'name': 'bondA', 'type': 'bond', 'state': 'up'");
        put_common(sb);
        sb_printf(sb,
                  ", 'link-aggregation': {'mode': '%s', 'options': {'miimon': %s}, 'port': ['%s'%s]"
                  "}}",
                  PICK("active-backup", "balance-xor", "802.3ad"), PICK("100", "140"),
                  PICK("eth1", "eth2"), PICK("", ", 'eth3'"));
        break;
    default:
        sb_printf(sb, "{'name': '%s', 'type': 'vlan', 'state': 'up'", PICK("vlA", "vlB"));
        put_common(sb);
        sb_printf(sb, ", 'vlan': {'base-iface': '%s', 'id': %u}}",
                  PICK("eth1", "eth2", "br0", "brA", "bondA"), 5 + below(3));
        break;
    }
}

static struct tree *
random_policy(void)
{
    AUTO_SB struct sb sb = SB_INIT;

    sb_puts(&sb, "{'interfaces': [");
    for (unsigned i = 0, n = 1 + below(3); i < n; i++) {
        if (i > 0)
            sb_puts(&sb, ", ");
        put_interface(&sb);
    }
    sb_puts(&sb, "]}");
    return parse(sb_str(&sb));
}

/* first: its plugin up to the address; further: what comes after the first plugin. */
static struct tree *
nad_of(const char *first, const char *further)
{
    AUTO_FREE char *config =
        xasprintf("{\"cniVersion\": \"0.3.1\", \"name\": \"mig\", \"plugins\": [%s\"ipam\": "
                  "{\"type\": \"whereabouts\", \"range\": \"10.200.5.0/24\"}}%s]}",
                  first, further);
    struct tree *nad = parse("{'apiVersion': 'k8s.cni.cncf.io/v1', 'kind': "
                             "'NetworkAttachmentDefinition', 'metadata': {'name': "
                             "'migration-network', 'namespace': 'openshift-cnv'}, 'spec': {}}");

    tree_set_path(nad, tree_string(config), "spec", "config", NULL);
    return nad;
}

static struct tree *
random_nad(void)
{
    AUTO_SB struct sb first = SB_INIT;
    AUTO_SB struct sb further = SB_INIT;

    switch (below(has_vlan ? 4 : 3)) {
    case 0:
        sb_printf(&first, "{\"type\": \"macvlan\", \"master\": \"%s\", \"mode\": \"%s\", ",
                  PICK("eth1", "eth2", "eth3"), PICK("bridge", "private"));
        break;
    case 1:
        sb_printf(&first, "{\"type\": \"bridge\", \"bridge\": \"%s\", ", PICK("br0", "brA"));
        break;
    case 2:
        sb_printf(&first, "{\"type\": \"host-device\", \"device\": \"%s\", ", PICK("eth2", "eth3"));
        break;
    default:
        sb_printf(&first, "{\"type\": \"vlan\", \"master\": \"%s\", \"vlanId\": %u, ",
                  PICK("eth1", "br0"), 7 + below(2));
        break;
    }
    if (below(3) == 0)
        sb_printf(&first, "\"mtu\": %s, ", PICK("1280", "1400"));
    if (below(2))
        sb_printf(&further, ", {\"type\": \"bandwidth\", \"egressRate\": %s, \"egressBurst\": %s}",
                  PICK("80000000", "8000000000", "80000000000"), PICK("800000", "80000000"));
    return nad_of(sb_str(&first), sb_str(&further));
}

static struct net_mig_objects
mig_of(const struct tree *nad)
{
    return (struct net_mig_objects){
        .ref = nad ? NAD_REF : "",
        .nad = nad,
        .assignment = "{\"network\": \"" NAD_REF "\", \"address\": \"10.200.5.1/24\"}",
        .mgmt_ip = MGMT_IP,
    };
}

/* --- the model --- */

/* What the host should be with these objects: nothing but how it was at first counts. False: they do not
 * go together. */
static bool
model(const struct net_state *first, const struct objects *o, struct arena *a,
      struct net_state *ret, struct err *err)
{
    struct net_mig_objects mig = mig_of(o->nad);
    const struct net_baseline none = {0};
    struct net_wants parts[POLICIES + 1] = {{0}}, all = {0};
    struct net_target target;
    struct net_mig_want want;
    const char *reason;

    for (int i = 0; i < POLICIES; i++)
        if (o->policies[i] && net_want_policy(o->policies[i], arena_printf(a, "policy p%d", i), a,
                                              &parts[i], err) != 0)
            return false;
    net_mig_want(&mig, first, a, &want);
    if (o->nad && want.state.state == MIGNET_BROKEN) {
        err_set(err, -EINVAL, "%s", want.state.reason);
        return false;
    }
    parts[POLICIES] = want.wants;
    for (int i = 0; i <= POLICIES; i++)
        all.len += parts[i].len;
    all.items = arena_calloc(a, all.len, sizeof *all.items);
    all.len = 0;
    for (int i = 0; i <= POLICIES; i++)
        for (size_t k = 0; k < parts[i].len; k++)
            all.items[all.len++] = parts[i].items[k];
    if (net_compose(first, &none, &all, &mgmt, a, &target, &reason, err) != 0)
        return false;
    *ret = target.state;
    return true;
}

static void
tell_objects(const struct objects *o)
{
    for (int i = 0; i <= POLICIES; i++) {
        const struct tree *t = i < POLICIES ? o->policies[i] : o->nad;

        if (!t)
            continue;
        sb_printf(&story, "  %s%d: ", i < POLICIES ? "policy p" : "network ", i);
        tree_to_json(t, 0, &story);
        sb_putc(&story, '\n');
    }
}

static void
compare(const struct net_state *want, const struct objects *o, unsigned change)
{
    struct arena *a = arena_new();
    struct net_state now;
    struct err err = {0};
    unsigned bad = 0;
    char why[256];

    must(nl_state_read(a, &now, &err), &err);
    for (size_t i = 0; i < want->len; i++) {
        const struct net_link *w = &want->links[i], *is = net_state_find(&now, w->name);

        if (!is)
            printf("%s is missing\n", w->name), bad++;
        else if (!net_link_equal(is, w, NET_F_ALL, why, sizeof why))
            printf("%s: %s\n", w->name, why), bad++;
    }
    for (size_t i = 0; i < now.len; i++)
        if (!net_state_find(want, now.links[i].name))
            printf("%s is too many\n", now.links[i].name), bad++;
    if (bad > 0)
        die("after change %u the host is not as the objects ask for", change);
    sb_reset(&story);
    sb_puts(&story, "before:\n");
    tell_objects(o);
    arena_free(a);
}

/* --- the handler --- */

static int
answers(void *ctx, struct err *err)
{
    (void)ctx;
    (void)err;
    return 0;
}

static bool
goes_on(void *ctx)
{
    (void)ctx;
    return false;
}

/* One round in this process. Exit status: 0 = all objects are in effect. */
static int
handler_round(const struct objects *o)
{
    struct net_round_policy policies[POLICIES];
    struct net_round r = {
        .state_dir = dir,
        .mgmt = &mgmt,
        .policies = policies,
        .objects_known = true,
        .mig = mig_of(o->nad),
        .mig_effect = mig_of(NULL),
        .ask = answers,
        .stopped = goes_on,
        .probe_timeout_us = ROUND_US,
    };
    int bad = 0;

    for (int i = 0; i < POLICIES; i++) {
        static const char *const names[] = {"p0", "p1", "p2", "p3"};

        if (o->policies[i])
            policies[r.policies_len++] = (struct net_round_policy){
                .name = names[i], .generation = o->generation[i], .desired = o->policies[i]};
    }
    net_round_run(&r);
    if (r.rc != 0)
        printf("round: %s\n", err_msg(&r.err)), bad = 1;
    for (size_t i = 0; i < r.policies_len; i++)
        if (policies[i].rc != 0 || !policies[i].tried)
            printf("%s: %s: %s\n", policies[i].name, policies[i].reason, policies[i].message),
                bad = 1;
    if (o->nad && !r.attached)
        printf("network: %s: %s\n", r.mig_state.code, r.mig_state.reason), bad = 1;
    return bad;
}

/* True: it was killed before its end. */
static bool
handler(const struct objects *o, bool kill_it, uint64_t usual_us, unsigned change)
{
    static const char *const points[] = {"net.change.journaled", "net.change.step",
                                         "net.change.done"};
    bool at_point = below(2);
    char spec[64];
    int status;
    pid_t pid;

    snprintf(spec, sizeof spec, "%s:kill", points[below(ARRAY_LEN(points))]);
    if (strncmp(spec, "net.change.step", 15) == 0)
        snprintf(spec, sizeof spec, "net.change.step@%u:kill", 1 + below(8));
    fflush(stdout);
    pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        if (kill_it && at_point)
            fault_arm(spec, NULL);
        status = handler_round(o);
        fflush(stdout);
        _exit(status);
    }
    if (kill_it && !at_point) {
        struct timespec t = {0, (long)rng_below(&rng, usual_us + 1) * 1000};

        nanosleep(&t, NULL); /* not for something to happen: when it dies is random */
        kill(pid, SIGKILL);
    }
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid: %s", strerror(errno));
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && kill_it) {
        sb_printf(&story, "killed%s%s\n", at_point ? " at " : "", at_point ? spec : "");
        return true;
    }
    if (status != 0) {
        die("change %u: the handler refused objects that go together (status %#x)", change,
            (unsigned)status);
    }
    return false;
}

/* --- changes --- */

/* One object is made, changed or removed. False: it would not go together with the others. */
static bool
change_one(const struct net_state *first, struct objects *o)
{
    unsigned which = below(POLICIES + 2); /* the network twice as often as one policy */
    struct tree **slot = which < POLICIES ? &o->policies[which] : &o->nad;
    struct tree *old = *slot;
    struct arena *a = arena_new();
    struct net_state unused;
    bool fits;

    if (old && below(3) == 0)
        *slot = NULL;
    else
        *slot = which < POLICIES ? random_policy() : random_nad();
    fits = model(first, o, a, &unused, NULL);
    arena_free(a);
    if (!fits) {
        tree_free(*slot);
        *slot = old;
        return false;
    }
    if (which < POLICIES)
        o->generation[which]++;
    tree_free(old);
    return true;
}

static void
run(unsigned changes)
{
    unsigned killed = 0, unfit = 0, gone_on = 0;
    uint64_t start = clock_mono_us(), usual_us = 20000;
    struct arena *keep = arena_new();
    struct objects o = {0};
    struct net_state first, want;
    struct err err = {0};

    must(nl_state_read(keep, &first, &err), &err);
    for (unsigned i = 1; i <= changes; i++) {
        struct arena *a = arena_new();
        uint64_t began;

        while (!change_one(&first, &o))
            unfit++;
        sb_printf(&story, "change %u:\n", i);
        tell_objects(&o);
        if (below(3) < KILLED_OF_3 && handler(&o, true, usual_us, i)) {
            killed++;
            if (below(2)) { /* the objects change before the next handler goes on */
                gone_on++;
                arena_free(a);
                continue;
            }
        }
        began = clock_mono_us();
        handler(&o, false, 0, i);
        usual_us = (usual_us * 3 + clock_mono_us() - began) / 4;
        if (!model(&first, &o, a, &want, &err))
            die("%s", err_msg(&err));
        compare(&want, &o, i);
        arena_free(a);
    }
    for (int i = 0; i < POLICIES; i++) {
        tree_free(o.policies[i]);
        o.policies[i] = NULL;
    }
    tree_free(o.nad);
    o.nad = NULL;
    handler(&o, false, 0, changes + 1);
    compare(&first, &o, changes + 1);
    arena_free(keep);
    printf(
        "seed %" PRIu64 ": %u changes in %" PRIu64 " ms (%u more did not go together with the "
        "others), %u handlers killed, %u of them with another change before the next; each time as "
        "the objects ask for, at the end as at first\n",
        seed, changes, (clock_mono_us() - start) / 1000, unfit, killed, gone_on);
}

/* The network's address stands on what we made for its former definition. That was once taken for
 * somebody else's interface with the address, to be used as it is, and then went with the definition. */
static void
network_moves(void)
{
    static const char *const plugins[] = {
        "{\"type\": \"macvlan\", \"master\": \"eth1\", ",
        "{\"type\": \"host-device\", \"device\": \"eth3\", ",
        "{\"type\": \"bridge\", \"bridge\": \"br0\", ",
    };
    struct arena *a = arena_new();
    struct net_state first, want;
    struct objects o = {0};
    struct err err = {0};

    must(nl_state_read(a, &first, &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(plugins); i++) {
        tree_free(o.nad);
        o.nad = nad_of(plugins[i], "");
        handler(&o, false, 0, 0);
        if (!model(&first, &o, a, &want, &err))
            die("%s", err_msg(&err));
        compare(&want, &o, 0);
    }
    tree_free(o.nad);
    o.nad = NULL;
    handler(&o, false, 0, 0);
    compare(&first, &o, 0);
    arena_free(a);
}

int
main(int argc, char **argv)
{
    unsigned changes = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 200;

    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)clock_wall_us();
    rng_seed(&rng, seed);
    log_init("test", LOG_LEVEL_ERROR, false);
    if (unshare(CLONE_NEWNET) != 0) {
        printf("needs a network namespace of its own: %s\n", strerror(errno));
        return SKIP_CODE;
    }
    if (!mkdtemp(dir))
        die("%s: %s", dir, strerror(errno));
    ip_parse(MGMT_IP, &mgmt, NULL);
    make_host();
    network_moves();
    run(changes);
    fs_rmtree(dir, NULL);
    return 0;
}
