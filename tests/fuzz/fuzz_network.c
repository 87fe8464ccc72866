/* NetworkAttachmentDefinitions and NodeNetworkConfigurationPolicies in, plans out. Every document of a
 * YAML stream is read as it is, and once more only where the API accepts it; then each alone and all
 * together are planned for one host, the same always. What must hold whatever the bytes: no crash; a refusal has a
 * reason and says who asks; steps name interfaces that a kernel can have and that are there then; a host
 * that is as it should be needs no step; and when nobody asks any more, all is as it was. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/ifname.h"
#include "api/object.h"
#include "netpolicy/net_want.h"

#define OBJECTS_MAX 12 /* of one input */

struct run {
    struct arena *arena;
    struct net_state host;
    struct ip mgmt;
    struct net_wants wants[OBJECTS_MAX];
    size_t len;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static void run_all(struct tree *docs, bool check);
static void make_host(struct run *run);
static void read_doc(struct run *run, struct tree *doc, bool check);
static void read_nad(struct run *run, const struct tree *doc, struct net_wants *ret);
static void plan(struct run *run, const struct net_wants *wants);
static void check_steps(struct run *run, const struct net_state *now, const struct net_plan *p);
static void reached(struct run *run, const struct net_state *target, struct net_state *ret);
static void check_settled(struct run *run, const struct net_wants *wants,
                          const struct net_state *now, const struct net_target *t);
static void check_back(struct run *run, const struct net_state *now, const struct net_target *t);
static void check_change(struct run *run, const struct net_wants *old,
                         const struct net_wants *wants);
static void check_text(struct run *run, const struct net_state *s);
static void must_be_same(struct run *run, const struct net_state *a, const struct net_state *b,
                         const char *what);
static void must_work(int rc, const struct err *err);
static void must(bool holds, const char *what);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_TREE struct tree *docs = NULL;
    struct err err;

    if (tree_from_yaml("fuzz", (const char *)data, size, &docs, &err) != 0)
        return 0;
    run_all(docs, false);
    run_all(docs, true); /* last: the check changes the documents */
    return 0;
}

static void
run_all(struct tree *docs, bool check)
{
    struct run run = {.arena = arena_new()};
    struct net_wants all = {0};
    size_t len = 0;

    make_host(&run);
    for (size_t i = 0; i < tree_len(docs) && run.len < OBJECTS_MAX; i++)
        read_doc(&run, tree_at(docs, i), check);
    for (size_t i = 0; i < run.len; i++) {
        plan(&run, &run.wants[i]);
        len += run.wants[i].len;
        if (i > 0)
            check_change(&run, &run.wants[i - 1], &run.wants[i]);
    }
    all.items = arena_calloc(run.arena, len, sizeof *all.items);
    for (size_t i = 0; i < run.len; i++)
        for (size_t k = 0; k < run.wants[i].len; k++)
            all.items[all.len++] = run.wants[i].items[k];
    if (run.len > 1)
        plan(&run, &all);
    arena_free(run.arena);
}

/* --- the host --- */

static void
make_host(struct run *run)
{
    static const char text[] =
        "interfaces:\n"
        "- {name: bond0, type: bond, state: up, mtu: 1500, mac-address: '52:54:00:00:00:0a', "
        "link-aggregation: {mode: active-backup, options: {miimon: 100}}}\n"
        "- {name: br0, type: linux-bridge, state: up, mtu: 1500, mac-address: '52:54:00:00:00:0b', "
        "ipv4: {enabled: true, address: [{ip: 198.18.9.1, prefix-length: 24}]}, bridge: {options: "
        "{stp: {enabled: true}}}}\n"
        "- {name: eth0, type: ethernet, state: up, mtu: 1500, mac-address: '52:54:00:00:00:00', "
        "ipv4: {enabled: true, address: [{ip: 198.18.0.1, prefix-length: 24}]}, drover: "
        "{defaultRoute: true}}\n"
        "- {name: eth1, type: ethernet, state: up, mtu: 9000, mac-address: '52:54:00:00:00:01', "
        "min-mtu: 68, max-mtu: 9216}\n"
        "- {name: eth2, type: ethernet, state: up, mtu: 1500, mac-address: '52:54:00:00:00:02', "
        "ipv6: {enabled: true, address: [{ip: 'fd00:2::1', prefix-length: 64}]}}\n"
        "- {name: eth3, type: ethernet, state: down, mtu: 1500, mac-address: '52:54:00:00:00:03'}\n"
        "- {name: eth4, type: ethernet, state: up, mtu: 1500, mac-address: '52:54:00:00:00:0a', "
        "controller: bond0}\n"
        "- {name: eth5, type: ethernet, state: up, mtu: 1500, mac-address: '52:54:00:00:00:0b', "
        "controller: br0}\n"
        "- {name: eth6, type: ethernet, state: up, mtu: 1500, mac-address: '52:54:00:00:00:06'}\n"
        "- {name: lo, type: loopback, state: up, mtu: 65536}\n"
        "- {name: mv0, type: mac-vlan, state: up, mtu: 1500, mac-address: '52:54:00:00:00:0c', "
        "mac-vlan: {base-iface: eth6, mode: bridge}}\n"
        "- {name: tap0, type: unknown, state: up, mtu: 1500, mac-address: '52:54:00:00:00:0d', "
        "controller: br0}\n"
        "- {name: v7, type: vlan, state: up, mtu: 1500, mac-address: '52:54:00:00:00:01', vlan: "
        "{base-iface: eth1, id: 7}, ipv4: {enabled: true, address: [{ip: 198.18.7.1, "
        "prefix-length: "
        "24}]}}\n";
    AUTO_TREE struct tree *docs = NULL;
    struct err err = {0};

    must_work(tree_from_yaml("host", text, strlen(text), &docs, &err), &err);
    must_work(net_state_from_tree(tree_at(docs, 0), run->arena, &run->host, &err), &err);
    must(ip_parse("198.18.0.1", &run->mgmt, NULL) == 0, "the management address");
}

/* --- documents --- */

static void
read_doc(struct run *run, struct tree *doc, bool check)
{
    const struct kind_info *k = object_kind(doc);
    struct field_errors errs = {.arena = run->arena};
    struct net_wants *w = &run->wants[run->len];
    struct err err = {0};

    if (!k || (k->kind != KIND_NAD && k->kind != KIND_NNCP) ||
        (check && object_validate(doc, VALIDATE_CREATE | VALIDATE_OFFLINE, &errs, NULL) != 0))
        return;
    *w = (struct net_wants){0};
    if (k->kind == KIND_NAD)
        read_nad(run, doc, w);
    else if (net_want_policy(tree_find(doc, "spec", "desiredState", NULL), "policy", run->arena, w,
                             &err) != 0)
        must(strncmp(err.msg, "policy: spec.desiredState", 25) == 0, "a refusal without its place");
    if (w->len > 0)
        run->len++;
}

static void
read_nad(struct run *run, const struct tree *doc, struct net_wants *ret)
{
    const char *ifname = NULL;
    struct nad_config c;
    struct err err = {0};
    struct ip addr;
    bool has;

    if (nad_config_parse(nad_decode(doc, run->arena), &c, run->arena, &err) != 0) {
        must(strncmp(err.msg, "NetworkAttachmentDefinition ", 28) == 0, "whose configuration?");
        return;
    }
    has = nad_address_next(&c, NULL, 0, &addr, NULL) == 0;
    must(!has || nad_address_allowed(&c, &addr), "an address that is not allowed");
    must_work(net_want_nad(&c, "network", has ? &addr : NULL, run->arena, ret, &ifname, &err),
              &err);
    must(ifname_valid(ifname), "the network's interface");
    if (net_check_range_host(&c, &run->host, ifname, &err) != 0)
        must(strstr(err.msg, "overlaps") != NULL, "an overlap that is not told");
    must(!has || net_check_range_address(&c, &addr, "it", NULL) != 0, "its own address");
    must(!has || net_check_range_other(&c, &c, "itself", NULL) != 0, "its own range");
}

/* --- plans --- */

static void
plan(struct run *run, const struct net_wants *wants)
{
    const struct net_baseline untouched = {0};
    struct net_state now;
    const char *reason = NULL;
    struct net_target t;
    struct err err = {0};
    struct net_plan p;

    for (size_t i = 0; i < wants->len; i++)
        must(ifname_valid(wants->items[i].link.name), "a name that no interface can have");
    if (net_compose(&run->host, &untouched, wants, &run->mgmt, run->arena, &t, &reason, &err) !=
        0) {
        must(reason && *reason, "refused without a reason");
        if (strncmp(err.msg, "policy: ", 8) != 0)
            must(strncmp(err.msg, "network: ", 9) == 0, err_msg(&err));
        return;
    }
    net_plan_make(&run->host, &t.state, run->arena, &p);
    check_steps(run, &run->host, &p);
    reached(run, &t.state, &now);
    must_be_same(run, &now, &t.state, "a host as it should be");
    check_settled(run, wants, &now, &t);
    check_back(run, &now, &t);
    check_text(run, &now);
}

/* Each step is about what is there when its turn comes. */
static void
check_steps(struct run *run, const struct net_state *now, const struct net_plan *p)
{
    const char **names = arena_calloc(run->arena, now->len + p->len, sizeof *names);
    size_t len = 0;

    for (size_t i = 0; i < now->len; i++)
        names[len++] = now->links[i].name;
    for (size_t i = 0; i < p->len; i++) {
        const struct net_step *s = &p->steps[i];
        bool there = false, base = !*s->link.base, owner = !*s->link.controller;
        char text[512] = "";

        must(memchr(s->link.name, '\0', NL_IFNAME_SIZE) && ifname_valid(s->link.name),
             "a step's name");
        net_step_text(s, text, sizeof text);
        must(strstr(text, s->link.name) != NULL, "a step that does not say of what");
        for (size_t k = 0; k < len; k++) {
            there = there || (names[k] && strcmp(names[k], s->link.name) == 0);
            base = base || (names[k] && strcmp(names[k], s->link.base) == 0);
            owner = owner || (names[k] && strcmp(names[k], s->link.controller) == 0);
        }
        must(there == (s->op != NET_OP_ADD), text);
        must(s->op != NET_OP_ADD || base, text);
        must(s->op != NET_OP_CONTROLLER || owner, text);
        for (size_t k = 0; k < len && s->op == NET_OP_DEL; k++)
            if (names[k] && strcmp(names[k], s->link.name) == 0)
                names[k] = NULL;
        if (s->op == NET_OP_ADD)
            names[len++] = s->link.name;
    }
}

/* The host when a plan is done: what the target leaves to the kernel is as it was, or new. */
static void
reached(struct run *run, const struct net_state *target, struct net_state *ret)
{
    static const uint8_t none[6] = {0}, fresh[6] = {2, 0, 0, 0, 0, 9};

    net_state_copy(target, run->arena, ret);
    for (size_t i = 0; i < ret->len; i++) {
        struct net_link *l = &ret->links[i];
        const struct net_link *was = net_state_find(&run->host, l->name);

        if (memcmp(l->mac, none, sizeof none) == 0)
            memcpy(l->mac, was ? was->mac : fresh, sizeof l->mac);
    }
}

/* The same objects again, on the host as it is then. */
static void
check_settled(struct run *run, const struct net_wants *wants, const struct net_state *now,
              const struct net_target *t)
{
    const char *reason = NULL;
    struct net_target again;
    struct err err = {0};

    must_work(net_compose(now, &t->after, wants, &run->mgmt, run->arena, &again, &reason, &err),
              &err);
    must_be_same(run, now, &again.state, "asked for the second time");
}

static void
check_back(struct run *run, const struct net_state *now, const struct net_target *t)
{
    const struct net_wants nothing = {0};
    const char *reason = NULL;
    struct net_target back;
    struct err err = {0};
    struct net_plan p;

    must_work(net_compose(now, &t->after, &nothing, &run->mgmt, run->arena, &back, &reason, &err),
              &err);
    net_plan_make(now, &back.state, run->arena, &p);
    check_steps(run, now, &p);
    must_be_same(run, &run->host, &back.state, "as it was before");
    must(back.state.len == run->host.len, "as many interfaces as before");
    must(back.after.len == 0, "nothing is ours any more");
}

/* Other objects: the same as if they had been the first. */
static void
check_change(struct run *run, const struct net_wants *old, const struct net_wants *wants)
{
    const struct net_baseline untouched = {0};
    struct net_target t, direct, changed;
    const char *reason = NULL;
    struct net_state now;
    struct net_plan p;

    if (net_compose(&run->host, &untouched, old, &run->mgmt, run->arena, &t, &reason, NULL) != 0 ||
        net_compose(&run->host, &untouched, wants, &run->mgmt, run->arena, &direct, &reason,
                    NULL) != 0)
        return;
    reached(run, &t.state, &now);
    if (net_compose(&now, &t.after, wants, &run->mgmt, run->arena, &changed, &reason, NULL) != 0)
        return;
    net_plan_make(&now, &changed.state, run->arena, &p);
    check_steps(run, &now, &p);
    reached(run, &changed.state, &now);
    must_be_same(run, &now, &direct.state, "after other objects");
    check_back(run, &now, &changed);
}

static void
check_text(struct run *run, const struct net_state *s)
{
    AUTO_TREE struct tree *text = net_state_tree(s);
    struct net_state read;
    struct err err = {0};

    must_work(net_state_from_tree(text, run->arena, &read, &err), &err);
    must_be_same(run, s, &read, "written and read again");
}

static void
must_be_same(struct run *run, const struct net_state *a, const struct net_state *b,
             const char *what)
{
    struct net_plan p;

    net_plan_make(a, b, run->arena, &p);
    for (size_t i = 0; i < p.len; i++) {
        char text[512];

        net_step_text(&p.steps[i], text, sizeof text);
        fprintf(stderr, "left to do: %s\n", text);
    }
    must(p.len == 0, what);
}

/* The error is looked at after the call: the order of arguments is nobody's. */
static void
must_work(int rc, const struct err *err)
{
    if (rc != 0)
        must(false, err_msg(err));
}

static void
must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz_network: %s\n", what);
    abort();
}
