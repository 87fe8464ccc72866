/* Plans against a small kernel (net_model.h): random hosts, random sequences of wishes, the process
 * killed after any step. Every plan is done without a refusal and reaches exactly its target, the
 * next plan is empty, what is reached follows from the wishes alone, and when they are gone, so is
 * every trace of them. DROVER_TEST_SEED=n shows one host's plans (DROVER_TEST_STATES=1: and states),
 * DROVER_TEST_ROUNDS=n runs n hosts from there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "tests/netpolicy/net_model.h"
#include "tests/netpolicy/net_text.h"

#define ROUNDS 2000

static struct counts {
    unsigned long composed, refused, killed, steps;
} counts;

static const char *const ethernets[] = {"eth0", "eth1", "eth2", "eth3"};
static const char *const made[] = {"br0", "br1", "bond0", "bond1", "v0", "v1", "m0", "migration0"};

static const char *
pick_made(struct rng *r)
{
    return made[rng_below(r, ARRAY_LEN(made))];
}

static const char *
pick_any(struct rng *r)
{
    uint64_t i = rng_below(r, ARRAY_LEN(ethernets) + ARRAY_LEN(made));

    return i < ARRAY_LEN(ethernets) ? ethernets[i] : made[i - ARRAY_LEN(ethernets)];
}

static uint32_t
pick_mtu(struct rng *r)
{
    static const uint32_t mtus[] = {1500, 1500, 1400, 9000, 9000, 1280, 1000};

    return mtus[rng_below(r, ARRAY_LEN(mtus))];
}

static const char *
pick_addr(struct rng *r)
{
    static const char *const addrs[] = {"10.200.5.1/24", "10.200.5.2/24", "10.200.5.1/25",
                                        "10.200.6.1/24", "fd00::1/64",    "fd00::2/64"};

    return addrs[rng_below(r, ARRAY_LEN(addrs))];
}

/* The kind follows from the name, mostly: otherwise nearly all wishes would be refused. */
static enum net_kind
kind_of(struct rng *r, const char *name)
{
    if (rng_below(r, 12) == 0)
        return (enum net_kind)(NET_BRIDGE + rng_below(r, 4));
    return name[0] == 'b'   ? (name[1] == 'r' ? NET_BRIDGE : NET_BOND)
           : name[0] == 'v' ? NET_VLAN
                            : NET_MACVLAN;
}

static void
fill_kind(struct rng *r, struct net_link *l)
{
    static const char *const modes[] = {"bridge", "bridge", "bridge", "private", "passthru"};
    static const uint8_t bond_modes[] = {1, 1, 1, 4, 6};

    if (net_kind_stacked(l->kind))
        snprintf(l->base, sizeof l->base, "%s", pick_any(r));
    if (l->kind == NET_VLAN)
        l->vlan_id = (uint16_t)(1 + rng_below(r, 3));
    if (l->kind == NET_MACVLAN)
        l->macvlan_mode = net_macvlan_mode(modes[rng_below(r, ARRAY_LEN(modes))]);
    if (l->kind == NET_BOND) {
        l->bond_mode = bond_modes[rng_below(r, ARRAY_LEN(bond_modes))];
        l->bond_miimon = 100;
    }
}

/* --- a host --- */

static void
random_step(struct rng *r, struct arena *a, struct net_step *s)
{
    struct net_want w = {0};

    *s = (struct net_step){.op = (enum net_op)rng_below(r, NET_OP_ARP_IGNORE + 1)};
    if (rng_below(r, 4) == 0)
        s->op = NET_OP_ADD;
    snprintf(s->link.name, sizeof s->link.name, "%s",
             s->op == NET_OP_ADD ? pick_made(r) : pick_any(r));
    s->link.kind = kind_of(r, s->link.name);
    fill_kind(r, &s->link);
    s->link.mtu = pick_mtu(r);
    s->link.mac[0] = 2;
    s->link.mac[5] = (uint8_t)rng_below(r, 200);
    if (rng_below(r, 3) != 0)
        snprintf(s->link.controller, sizeof s->link.controller, "%s", made[rng_below(r, 4)]);
    s->link.stp = rng_below(r, 2) != 0;
    s->link.shape.rate_bytes_per_s = rng_below(r, 2) * 1000000;
    s->link.arp_ignore = rng_below(r, 2) != 0;
    text_addr(&w, pick_addr(r), rng_below(r, 4) == 0, a);
    s->addr = w.link.addrs[0];
}

static void
random_host(struct rng *r, struct model *m)
{
    m->keep_addr_on_down = rng_below(r, 2) != 0;
    for (size_t i = 0; i < ARRAY_LEN(ethernets); i++) {
        struct model_link *x = &m->links[m->len++];

        *x = (struct model_link){.l = {.kind = NET_ETHERNET, .mtu = 1500, .up = rng_below(r, 2)}};
        x->l.max_mtu = rng_below(r, 4) == 0 ? 1500 : 9000;
        snprintf(x->l.name, sizeof x->l.name, "%s", ethernets[i]);
        model_mac(m, x->l.mac);
    }
    for (uint64_t n = rng_below(r, 60); n > 0; n--) {
        struct net_step s;

        random_step(r, m->arena, &s);
        model_apply(m, &s);
    }
}

/* --- wishes --- */

static void
random_want(struct rng *r, struct arena *a, struct net_want *w)
{
    bool eth = rng_below(r, 3) == 0;

    *w = (struct net_want){.origin = "policy", .field = "interfaces[0]"};
    snprintf(w->link.name, sizeof w->link.name, "%s",
             eth ? ethernets[rng_below(r, ARRAY_LEN(ethernets))] : pick_made(r));
    if (rng_below(r, 8) == 0)
        w->presence = eth ? NET_DOWN : NET_ABSENT;
    else if (rng_below(r, 8) == 0)
        w->presence = NET_DOWN;
    w->fields = (unsigned)rng_u64(r) & (unsigned)rng_u64(r) & NET_F_ALL &
                ~(unsigned)(NET_F_BASE | NET_F_BOND | NET_F_CONTROLLER);
    w->link.mtu = pick_mtu(r);
    w->link.mac[0] = 2;
    w->link.mac[5] = (uint8_t)(200 + rng_below(r, 20));
    w->link.stp = rng_below(r, 2) != 0;
    w->link.shape.rate_bytes_per_s = rng_below(r, 2) * 2000000;
    w->link.arp_ignore = rng_below(r, 2) != 0;
    for (uint64_t n = rng_below(r, 3); n > 0; n--) {
        unsigned fields = w->fields;

        text_addr(w, pick_addr(r), false, a);
        w->fields = fields;
    }
    if (eth)
        return;
    if (rng_below(r, 10) != 0) {
        w->has_kind = true;
        w->link.kind = kind_of(r, w->link.name);
        w->fields |= NET_F_BASE | NET_F_BOND;
        fill_kind(r, &w->link);
    }
    if (w->has_kind && net_kind_ports(w->link.kind) && rng_below(r, 4) != 0) {
        w->has_ports = true;
        w->ports = arena_calloc(a, 3, sizeof *w->ports);
        for (uint64_t n = rng_below(r, 3); n > 0; n--)
            w->ports[w->ports_len++] =
                rng_below(r, 4) == 0 ? pick_any(r) : ethernets[rng_below(r, ARRAY_LEN(ethernets))];
    }
}

static void
random_wants(struct rng *r, struct arena *a, struct net_wants *ret)
{
    *ret = (struct net_wants){.items = arena_calloc(a, 6, sizeof *ret->items)};
    for (uint64_t n = rng_below(r, 5); n > 0; n--)
        random_want(r, a, &ret->items[ret->len++]);
}

/* --- what must hold --- */

struct run {
    struct rng rng;
    struct arena *arena;
    struct model kernel, initial;
    struct net_baseline base;
    uint64_t seed;
    unsigned change;
};

static void
say_state(const char *title, const struct net_state *s)
{
    fprintf(stderr, "%s:\n", title);
    for (size_t i = 0; i < s->len; i++) {
        const struct net_link *l = &s->links[i];

        fprintf(stderr, "  %-10s %-12s %-4s mtu %u mac %02x:%02x", l->name, net_kind_name(l->kind),
                l->up ? "up" : "down", l->mtu, l->mac[0], l->mac[5]);
        if (*l->controller)
            fprintf(stderr, " in %s", l->controller);
        if (net_kind_stacked(l->kind))
            fprintf(stderr, " on %s id %u mode %s", l->base, l->vlan_id,
                    l->macvlan_mode ? l->macvlan_mode : "-");
        if (l->kind == NET_BOND)
            fprintf(stderr, " mode %u miimon %u", l->bond_mode, l->bond_miimon);
        for (size_t k = 0; k < l->addrs_len; k++) {
            char ip[IP_TEXT_SIZE];

            ip_format(&l->addrs[k].ip, ip, sizeof ip);
            fprintf(stderr, " %s/%u%s", ip, l->addrs[k].prefix, l->addrs[k].foreign ? "f" : "");
        }
        fprintf(stderr, "\n");
    }
}

/* "" or what differs. */
static const char *
differs(const struct net_state *have, const struct net_state *want, struct arena *a)
{
    for (size_t i = 0; i < want->len; i++) {
        const struct net_link *x = net_state_find(have, want->links[i].name);
        char why[128] = "";

        if (!x)
            return arena_printf(a, "%s is missing", want->links[i].name);
        if (!net_link_equal(x, &want->links[i], NET_F_ALL, why, sizeof why))
            return arena_printf(a, "%s: %s", x->name, why);
    }
    for (size_t i = 0; i < have->len; i++)
        if (!net_state_find(want, have->links[i].name))
            return arena_printf(a, "%s is there, too", have->links[i].name);
    return "";
}

#define MUST(run, cond, ...)                                                                       \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            print_error("seed %llu, change %u: ", (unsigned long long)(run)->seed, (run)->change); \
            print_error("" __VA_ARGS__);                                                           \
            print_error("\n");                                                                     \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

/* Through the journal's text. */
static void
remember(struct run *run, const struct net_baseline *b)
{
    struct tree *t = net_baseline_tree(b);
    struct net_baseline back;
    struct err err = {0};

    MUST(run, net_baseline_from_tree(t, run->arena, &back, &err) == 0, "%s", err_msg(&err));
    tree_free(t);
    run->base = back;
}

static void
check_text(struct run *run, const struct net_state *s)
{
    struct tree *t = net_state_tree(s), *again;
    struct net_state back;
    struct err err = {0};

    MUST(run, net_state_from_tree(t, run->arena, &back, &err) == 0, "%s", err_msg(&err));
    again = net_state_tree(&back);
    MUST(run, tree_equal(t, again), "the text form is another when it was read");
    tree_free(again);
    tree_free(t);
}

/* Does the plan; false when it was killed on the way. */
static bool
perform(struct run *run, const struct net_plan *p, const struct net_state *now, bool may_kill)
{
    size_t last =
        may_kill && rng_below(&run->rng, 3) == 0 ? rng_below(&run->rng, p->len + 1) : p->len;

    for (size_t i = 0; i < last; i++) {
        const char *why = model_apply(&run->kernel, &p->steps[i]);
        char step[128];

        counts.steps++;
        net_step_text(&p->steps[i], step, sizeof step);
        if (why) {
            say_state("from", now);
            MUST(run, false, "\"%s\" is refused: %s\nin: %s", step, why, text_plan(p, run->arena));
        }
    }
    counts.killed += last < p->len;
    return last == p->len;
}

/* MACs of bridges, bonds, vlans and ports follow others, unless they are asked for. */
static void
forget_macs(struct net_state *s, const struct net_wants *w)
{
    for (size_t i = 0; i < s->len; i++) {
        struct net_link *l = &s->links[i];
        bool asked = false;

        for (size_t k = 0; w && k < w->len; k++) {
            const struct net_want *x = &w->items[k];

            if (strcmp(x->link.name, l->name) == 0)
                asked = x->presence != NET_ABSENT && (asked || (x->fields & NET_F_MAC));
        }
        if (!asked && (net_kind_ports(l->kind) || l->kind == NET_VLAN || *l->controller))
            memset(l->mac, 0, sizeof l->mac);
    }
}

static bool
has_foreign6(const struct net_state *s)
{
    for (size_t i = 0; i < s->len; i++)
        for (size_t k = 0; k < s->links[i].addrs_len; k++)
            if (s->links[i].addrs[k].foreign && !ip_is_v4(&s->links[i].addrs[k].ip))
                return true;
    return false;
}

/* What the wishes make of the host as it was in the beginning. */
static void
check_function(struct run *run, const struct net_wants *w, const struct net_state *reached)
{
    struct net_baseline none = {0};
    struct net_state initial;
    struct net_target fresh;
    struct err err = {0};
    const char *d, *reason = "";

    model_state(&run->initial, run->arena, &initial);
    if (net_compose(&initial, &none, w, NULL, run->arena, &fresh, &reason, &err) != 0) {
        /* a foreign IPv6 address may have been in the way, and have gone with its interface down */
        MUST(run, has_foreign6(&initial), "refused in the beginning: %s: %s", reason,
             err_msg(&err));
        return;
    }
    forget_macs(&fresh.state, w);
    d = differs(reached, &fresh.state, run->arena);
    if (*d) {
        say_state("reached", reached);
        say_state("in the beginning it would be", &fresh.state);
        MUST(run, false, "it depends on what was before: %s", d);
    }
}

static void
change(struct run *run, const struct net_wants *w, bool may_kill)
{
    struct net_state now, reached;
    struct net_target t, again;
    struct net_plan p;
    struct err err = {0};
    const char *d;

    model_state(&run->kernel, run->arena, &now);
    check_text(run, &now);
    if (net_compose(&now, &run->base, w, NULL, run->arena, &t, NULL, &err) != 0) {
        MUST(run, w->len > 0, "going back is refused: %s", err_msg(&err));
        counts.refused++;
        return;
    }
    counts.composed++;
    net_plan_make(&now, &t.state, run->arena, &p);
    if (getenv("DROVER_TEST_SEED")) {
        print_message("change %u: %s\n", run->change, text_plan(&p, run->arena));
        if (getenv("DROVER_TEST_STATES"))
            say_state("from", &now);
    }
    remember(run, &t.before);
    if (!perform(run, &p, &now, may_kill))
        return;
    model_state(&run->kernel, run->arena, &reached);
    d = differs(&reached, &t.state, run->arena);
    if (*d) {
        say_state("from", &now);
        say_state("target", &t.state);
        MUST(run, false, "not reached: %s\nby: %s", d, text_plan(&p, run->arena));
    }
    remember(run, &t.after);
    MUST(run, net_compose(&reached, &run->base, w, NULL, run->arena, &again, NULL, &err) == 0,
         "what was reached is refused: %s", err_msg(&err));
    net_plan_make(&reached, &again.state, run->arena, &p);
    if (p.len > 0) {
        say_state("from", &now);
        say_state("reached", &reached);
        MUST(run, false, "it goes on: %s", text_plan(&p, run->arena));
    }
    check_function(run, w, &reached);
}

static void
check_gone(struct run *run)
{
    struct net_state first, last;
    const char *d;

    model_state(&run->initial, run->arena, &first);
    model_state(&run->kernel, run->arena, &last);
    forget_macs(&first, NULL);
    d = differs(&last, &first, run->arena);
    if (*d) {
        say_state("in the beginning", &first);
        say_state("in the end", &last);
        MUST(run, false, "a trace is left: %s", d);
    }
    MUST(run, run->base.len == 0, "%s is still in the baseline (%x)", run->base.items[0].name,
         run->base.items[0].fields);
}

static void
one_host(uint64_t seed)
{
    struct run run = {.seed = seed, .arena = arena_new()};
    struct net_wants none = {0};

    rng_seed(&run.rng, seed);
    run.kernel.arena = run.arena;
    random_host(&run.rng, &run.kernel);
    run.kernel.strict = true;
    run.initial = run.kernel;
    for (run.change = 1; run.change <= 8; run.change++) {
        struct net_wants w;

        random_wants(&run.rng, run.arena, &w);
        change(&run, &w, true);
    }
    change(&run, &none, true);
    change(&run, &none, false);
    check_gone(&run);
    arena_free(run.arena);
}

static void
test_random(void **state)
{
    const char *given = getenv("DROVER_TEST_SEED"), *rounds = getenv("DROVER_TEST_ROUNDS");
    uint64_t first = given ? strtoull(given, NULL, 10) : 1;
    uint64_t len = rounds ? strtoull(rounds, NULL, 10) : given ? 1 : ROUNDS;

    (void)state;
    for (uint64_t i = 0; i < len; i++)
        one_host(first + i);
    print_message("%lu plans (%lu killed, %lu steps), %lu refusals\n", counts.composed,
                  counts.killed, counts.steps, counts.refused);
    assert_true(given || counts.composed > counts.refused / 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
