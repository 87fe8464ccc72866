/* Real VMs move: a QEMU domain with the test guest goes back and forth between two libvirt hosts, by every way
 * that there is, and through what may happen on the way: cancelled, link cut, a handler killed. After each:
 * the heartbeat goes on and no number of it is missing on the consoles of both hosts together, the guest found
 * every page as it had written it, the outcome is true, there is one domain and one QEMU in all, and nothing is
 * left on the other host. Then REAL_MOVES migrations in a row (10 unless the environment says more): no
 * descriptor, domain or memory of the daemons is left over.
 *
 * Arguments: names of cases (all without), --kvm: with /dev/kvm (else the hosts have none, and QEMU emulates).
 * Under TCG, QEMU before 9.0 loses dirty bits of memory that is a multiple of 256 KiB (tests/guest/main.c):
 * handler/libvirt_xml.h gives such guests 8 KiB more than the manifest's 64 MiB. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "base/clock.h"
#include "base/fs.h"
#include "tests/system/real.h"

#define MOVES_DFLT 10

static struct sys s; /* until after main: it is torn down at exit */
static struct heartbeat *h;
static char addresses[8192]; /* MAC and device addresses at first */

/* --- what is the same everywhere --- */

static void
read_addresses(char *buf, size_t size)
{
    AUTO_SB struct sb out = SB_INIT;
    char node[64];

    network_vm_node(&s, node, sizeof node);
    if (real_virsh(&s, node, &out,
                   "dumpxml " REAL_NS "_" REAL_VM
                   " | grep -E '<mac |<address |<uuid>' | sort") != 0)
        sys_die(&s, "%s: no domain to look at: %s", node, sb_str(&out));
    snprintf(buf, size, "%s", sb_str(&out));
}

/* All that must hold once a migration is over, however it went. */
static void
holds(const char *what, const char *node)
{
    char now[sizeof addresses], is_on[64];

    network_vm_node(&s, is_on, sizeof is_on);
    if (strcmp(is_on, node) != 0)
        sys_die(&s, "%s: the VM is said to be on %s, want %s", what, is_on, node);
    if (!heartbeat_wait(h, 5, 30))
        sys_die(&s, "%s: the heartbeat does not go on", what);
    real_only_on(&s, node, 30);
    read_addresses(now, sizeof now);
    if (strcmp(now, addresses) != 0)
        sys_die(&s, "%s: addresses were\n%s\nand are\n%s", what, addresses, now);
    real_check(&s, h, 0, what);
    heartbeat_mark(h);
}

static void
goes_well(const char *what)
{
    struct network_move m;

    real_move(&s, &m);
    if (strncmp(m.address, "10.200.5.", 9) != 0)
        sys_die(&s, "%s: by %s, want an address of the migration network", what, m.address);
    holds(what, m.target);
}

/* --- ways --- */

static void
plain(void)
{
    real_policy(&s, "", "");
    goes_well("plain");
}

static void
multifd(void)
{
    real_policy(&s, "drover.io/channels: \"2\"", "");
    goes_well("multifd, 2 channels");
}

static void
post_copy(void)
{
    real_policy(&s, "drover.io/post-copy: immediate", "allowPostCopy: true, ");
    goes_well("post-copy");
}

/* --- what may happen --- */

struct midst {
    struct network_move *m;
    bool post_copy;
};

/* Some memory has gone, or the guest runs at the target. */
static bool
in_the_midst(void *ctx)
{
    struct midst *k = ctx;
    AUTO_TREE struct tree *vmi = sys_get(&s, KIND_VMI, REAL_NS, REAL_VM);
    AUTO_TREE struct tree *m = sys_get(&s, KIND_VMIM, REAL_NS, k->m->name);

    network_move_look(&s, k->m);
    if (network_move_over(k->m))
        sys_die(&s, "%s is over (%s) before it could be disturbed", k->m->name, k->m->phase);
    if (k->post_copy)
        return tree_get_bool(
            tree_find(vmi, "status", "migrationState", "targetNodeDomainDetected", NULL), false);
    return tree_find(m, "metadata", "annotations", ANN_MIGRATION_PROGRESS, NULL) != NULL;
}

/* Starts one that takes long, and waits until it is in the middle of it. */
static void
begin_slow(struct network_move *m, char from[64], bool post_copy_too)
{
    struct midst k = {m, post_copy_too};

    network_vm_node(&s, from, 64);
    if (post_copy_too)
        real_policy(&s, "drover.io/post-copy: immediate",
                    "allowPostCopy: true, bandwidthPerMigration: 4Mi, ");
    else
        real_policy(&s, "", "bandwidthPerMigration: 3Mi, completionTimeoutPerGiB: 240, ");
    real_move_start(&s, m);
    sys_wait(&s, 30, "the migration is in the midst of it", in_the_midst, &k);
}

static void
fails(const char *what, struct network_move *m, const char *from, unsigned seconds)
{
    network_move_wait(&s, m, seconds);
    if (strcmp(m->phase, "Failed") != 0 || !m->failure[0])
        sys_die(&s, "%s: %s with \"%s\", want Failed with a reason", what, m->phase, m->failure);
    printf("    %s\n", m->failure);
    holds(what, from);
}

static bool
gone(void *ctx)
{
    const struct network_move *m = ctx;
    AUTO_TREE struct tree *obj = sys_get(&s, KIND_VMIM, REAL_NS, m->name);

    return !obj;
}

/* Upstream's way: the migration's object is deleted, and gone once it has ended. */
static void
cancelled(void)
{
    struct network_move m;
    char from[64];

    begin_slow(&m, from, false);
    real_do(&s, "migrate-cancel " REAL_VM " -n " REAL_NS);
    sys_wait(&s, 20, "the cancelled migration has ended", gone, &m);
    holds("cancelled", from);
}

static bool
over(void *ctx)
{
    network_move_look(&s, ctx);
    return network_move_over(ctx);
}

/* The cable between the target and its switch: an interface that is set down at the node its handler
 * brings up again. */
static void
cable(const char *from, const char *state)
{
    network_ip(&s, NULL, "link set mig%c %s", real_other(&s, from)[1], state);
}

/* Pre-copy: the link stays away until the migration has been given up. */
static void
cut_pre_copy(void)
{
    struct network_move m;
    char from[64];

    begin_slow(&m, from, false);
    cable(from, "down");
    if (!sys_poll(60, over, &m))
        sys_die(&s, "a cut link: still %s after 60 s", m.phase);
    cable(from, "up");
    if (strcmp(m.phase, "Succeeded") == 0)
        sys_die(&s, "a cut link: succeeded without one");
    if (!strstr(m.failure, "lost"))
        sys_die(&s, "a cut link: \"%s\", want the loss of the target", m.failure);
    fails("pre-copy, link cut", &m, from, 1);
}

/* Post-copy: pauses, and goes on when the link is back. */
static void
cut_post_copy(void)
{
    struct network_move m;
    char from[64];

    begin_slow(&m, from, true);
    cable(from, "down");
    if (sys_poll(4, over, &m)) /* the time that the link is away */
        sys_die(&s, "post-copy is %s without a link: %s", m.phase, m.failure);
    cable(from, "up");
    network_move_wait(&s, &m, 60);
    if (strcmp(m.phase, "Succeeded") != 0)
        sys_die(&s, "post-copy, link cut for 4 s: %s: %s", m.phase, m.failure);
    holds("post-copy, link away for 4 s", m.target);
}

/* Killed in the midst of it, and started again: it may end either way, but says the truth. */
static void
killed(const char *what, bool source, bool post_copy_too)
{
    struct network_move m;
    struct err err = {0};
    char from[64];
    const char *victim;

    begin_slow(&m, from, post_copy_too);
    victim = source ? from : real_other(&s, from);
    if (dev_kill_handler(s.c, victim, &err) != 0 || dev_start_handler(s.c, victim, NULL, &err) != 0)
        sys_die(&s, "%s: %s", what, err_msg(&err));
    real_policy(&s, "", ""); /* what is left need not be slow */
    network_move_wait(&s, &m, 90);
    printf("    %s: %s\n", m.phase, m.failure);
    holds(what, strcmp(m.phase, "Succeeded") == 0 ? m.target : from);
}

static void
source_killed(void)
{
    killed("source handler killed", true, false);
}

static void
target_killed(void)
{
    killed("target handler killed", false, false);
}

static void
source_killed_post(void)
{
    killed("source handler killed in post-copy", true, true);
}

static void
target_killed_post(void)
{
    killed("target handler killed in post-copy", false, true);
}

/* --- many --- */

struct use {
    size_t fds;
    unsigned long rss_kib;
};

static struct use
use_of(pid_t pid)
{
    AUTO_FREE char *cmd =
        xasprintf("ls /proc/%d/fd | wc -l; sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' "
                  "/proc/%d/status",
                  (int)pid, (int)pid);
    FILE *p = popen(cmd, "re"); /* NOLINT(cert-env33-c): a test's own words */
    struct use u = {0};

    if (!p || fscanf(p, "%zu %lu", &u.fds, &u.rss_kib) != 2)
        sys_die(&s, "pid %d: cannot be looked at", (int)pid);
    pclose(p);
    return u;
}

/* What a few migrations have needed is not needed again by many. */
static void
many(void)
{
    static const struct {
        const char *name;
        unsigned long rss_kib; /* that it may grow by: caches and the allocator's rests */
    } limits[2] = {{"handler", 12 << 10}, {"libvirtd", 12 << 10}};
    const char *env = getenv("REAL_MOVES");
    unsigned moves = env ? (unsigned)atoi(env) : MOVES_DFLT, first = moves / 5 + 2;
    struct use before[2][2], after;
    struct network_move m;
    uint64_t began_us = clock_mono_us();

    real_policy(&s, "", "");
    for (unsigned i = 0; i < moves; i++) {
        real_move(&s, &m);
        if (!heartbeat_wait(h, 1, 30))
            sys_die(&s, "migration %u: the heartbeat does not go on", i + 1);
        for (unsigned n = 0; i + 1 == first && n < 2; n++) {
            before[n][0] = use_of(s.c->nodes[n].handler.pid);
            before[n][1] = use_of(s.c->nodes[n].libvirtd.pid);
        }
    }
    printf("  %u migrations: %.1f s each\n", moves,
           (double)(clock_mono_us() - began_us) / 1e6 / moves);
    holds("many", m.target);
    for (unsigned n = 0; moves >= first && n < 2; n++)
        for (unsigned d = 0; d < 2; d++) {
            after = use_of(d == 0 ? s.c->nodes[n].handler.pid : s.c->nodes[n].libvirtd.pid);
            printf("    %s of %s: %zu -> %zu descriptors, %lu -> %lu KiB\n", limits[d].name,
                   s.c->nodes[n].name, before[n][d].fds, after.fds, before[n][d].rss_kib,
                   after.rss_kib);
            if (after.fds > before[n][d].fds + 3 ||
                after.rss_kib > before[n][d].rss_kib + limits[d].rss_kib)
                sys_die(&s, "%s of %s grows", limits[d].name, s.c->nodes[n].name);
        }
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"plain", plain},
    {"multifd", multifd},
    {"post-copy", post_copy},
    {"cancelled", cancelled},
    {"cut-pre-copy", cut_pre_copy},
    {"cut-post-copy", cut_post_copy},
    {"source-killed", source_killed},
    {"target-killed", target_killed},
    {"source-killed-post-copy", source_killed_post},
    {"target-killed-post-copy", target_killed_post},
    {"many", many},
};

int
main(int argc, char **argv)
{
    bool kvm = argc > 1 && strcmp(argv[1], "--kvm") == 0;
    int first = 1 + kvm;

    if (kvm && !real_has_kvm()) {
        printf("no /dev/kvm here\n");
        return SKIP_CODE;
    }
    real_up(&s, 2, !kvm);
    h = real_start(&s, &(struct real_vm){
                           .args = "ws=40 rate=10",
                           .domain = "cpu: {cores: 1},",
                       });
    read_addresses(addresses, sizeof addresses);
    printf("  %s\n", kvm ? "KVM" : "emulated");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool wanted = argc <= first;

        for (int k = first; k < argc; k++)
            wanted = wanted || strcmp(argv[k], cases[i].name) == 0;
        if (wanted)
            cases[i].run();
    }
    heartbeat_free(h);
    real_delete(&s);
    return 0;
}
