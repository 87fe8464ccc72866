/* Migrations take the dedicated network and no other way: all packets of all other interfaces of both
 * hosts are looked at while a VM moves, by pre-copy and by post-copy, and while the hosts' routes
 * point the migration network's range or the peer's address elsewhere. Then a migration may also be
 * refused, but nothing of it may go that way. */
#include <stdlib.h>
#include <string.h>

#include "tests/system/capture.h"
#include "tests/system/network.h"

#define MOVED_BYTES      (64u << 20) /* at least: 96 MiB of the VM cannot be made smaller */
#define MANAGEMENT_BYTES (2u << 20)  /* at most, on both hosts together: objects, heartbeats */

struct fixture {
    struct sys *s;
    struct capture *c[2];
    unsigned n;
};

static uint64_t
moved_bytes(struct fixture *f)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < 2; i++) {
        struct nl_counters k;
        struct err err = {0};

        if (dev_counters(f->s->c, f->s->c->nodes[i].name, "eth1", &k, &err) != 0)
            sys_die(f->s, "%s", err_msg(&err));
        sum += k.tx_bytes;
    }
    return sum;
}

/* One migration under the eyes of the capture. must: it has to succeed. */
static void
one(struct fixture *f, const char *what, bool must)
{
    struct capture_sum sum, all = {0};
    struct network_move m;
    uint64_t before = moved_bytes(f), moved;
    char name[32], text[1024];

    snprintf(name, sizeof name, "m%u", ++f->n);
    for (size_t i = 0; i < 2; i++)
        capture_take(f->c[i], &sum); /* what came before is not this one's */
    network_move_start(f->s, name, &m);
    network_move_wait(f->s, &m, 60);
    for (size_t i = 0; i < 2; i++) {
        capture_take(f->c[i], &sum);
        if (sum.missed)
            sys_die(f->s, "%s: the capture missed %llu packets", what,
                    (unsigned long long)sum.missed);
        if (sum.stray_packets)
            sys_die(f->s, "%s: %llu packets past the migration network on %s, the first: %s", what,
                    (unsigned long long)sum.stray_packets, f->s->c->nodes[i].name, sum.first);
        if (!sum.packets)
            sys_die(f->s, "%s: the capture of %s saw nothing, not even heartbeats", what,
                    f->s->c->nodes[i].name);
        all.packets += sum.packets;
        all.bytes += sum.bytes;
    }
    moved = moved_bytes(f) - before;
    printf("  %s: %s; %llu KiB on eth1, elsewhere %llu KiB, none of it the migration's\n", what,
           m.phase, (unsigned long long)moved >> 10, (unsigned long long)all.bytes >> 10);
    if (strcmp(m.phase, "Succeeded") == 0) {
        if (moved < MOVED_BYTES)
            sys_die(f->s, "%s: succeeded, but only %llu bytes came over eth1", what,
                    (unsigned long long)moved);
        if (!sys_verify(f->s, "default", NETWORK_VM, text, sizeof text))
            sys_die(f->s, "%s: memory: %s", what, text);
    } else if (must) {
        sys_die(f->s, "%s: %s", what, m.failure);
    }
    if (all.bytes > MANAGEMENT_BYTES)
        sys_die(f->s, "%s: %llu bytes on other interfaces, want less than %u", what,
                (unsigned long long)all.bytes, MANAGEMENT_BYTES);
    fflush(stdout);
}

static bool
none_dedicated(void *ctx)
{
    struct sys *s = ctx;

    return network_is(s, s->c->nodes[0].name, "True", "NoDedicatedNetwork") &&
           network_is(s, s->c->nodes[1].name, "True", "NoDedicatedNetwork");
}

/* That the capture can see one at all: without a dedicated network it goes over the management network. */
static void
control(struct fixture *f)
{
    struct capture_sum sum;
    struct network_move m;
    uint64_t bytes = 0;

    network_choose(f->s, NULL);
    sys_wait(f->s, 10, "no dedicated network", none_dedicated, f->s);
    for (size_t i = 0; i < 2; i++)
        capture_take(f->c[i], &sum);
    network_move_start(f->s, "control", &m);
    network_move_wait(f->s, &m, 60);
    for (size_t i = 0; i < 2; i++) {
        capture_take(f->c[i], &sum);
        bytes += sum.stray_bytes;
    }
    if (strcmp(m.phase, "Succeeded") != 0 || bytes < MOVED_BYTES / 2)
        sys_die(f->s, "without a dedicated network: %s %s, and the capture saw %llu bytes of it",
                m.phase, m.failure, (unsigned long long)bytes);
    printf("  without a dedicated network the capture sees %llu KiB of it\n",
           (unsigned long long)bytes >> 10);
}

int
main(void)
{
    static struct sys s; /* until after main: it is torn down at exit */
    struct fixture f = {.s = &s};

    sys_up(&s, 2);
    network_spare(&s); /* nothing should use it */
    network_up(&s);
    network_vm(&s);
    for (size_t i = 0; i < 2; i++)
        f.c[i] = capture_new(&s, s.c->nodes[i].name);

    for (int post_copy = 0; post_copy < 2; post_copy++) {
        network_policy(&s, post_copy, "0");
        one(&f, post_copy ? "post-copy" : "pre-copy", true);
        for (size_t i = 0; i < 2; i++)
            network_ip(&s, s.c->nodes[i].name, "route add %s/32 dev %s", s.c->nodes[1 - i].mig_ip,
                       post_copy ? "eth2" : "mgmt0");
        one(&f,
            post_copy ? "post-copy, the peer's address routed to eth2"
                      : "pre-copy, the peer's address routed to mgmt0",
            false);
        for (size_t i = 0; i < 2; i++)
            network_ip(&s, s.c->nodes[i].name, "route del %s/32", s.c->nodes[1 - i].mig_ip);
    }
    for (size_t i = 0; i < 2; i++) {
        network_ip(&s, s.c->nodes[i].name, "route del " DEV_NET_MIG " dev migration0");
        network_ip(&s, s.c->nodes[i].name, "route add " DEV_NET_MIG " dev mgmt0");
    }
    one(&f, "post-copy, the whole range routed to mgmt0", false);
    network_policy(&s, false, "0");
    one(&f, "pre-copy, the whole range routed to mgmt0", false);
    for (size_t i = 0; i < 2; i++) {
        network_ip(&s, s.c->nodes[i].name, "route del " DEV_NET_MIG " dev mgmt0");
        network_ip(&s, s.c->nodes[i].name, "route add " DEV_NET_MIG " dev migration0");
    }
    control(&f);
    for (size_t i = 0; i < 2; i++)
        capture_free(f.c[i]);
    return 0;
}
