/* What a handler would do to a host's interfaces; see plan_network.h. */
#include "cli/plan_network.h"

#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "api/selector.h"
#include "base/clock.h"
#include "netpolicy/ipam.h"
#include "netpolicy/net_want.h"

struct maker {
    struct offline *o;
    const struct node *node;
    struct net_state now;
    struct plan_network *p;
    struct net_wants *parts; /* of each policy, and of the network */
    size_t parts_len;
    const char *ns, *name; /* of the network */
    struct nad_config config;
};

static int read_now(struct maker *m);
static bool want_policies(struct maker *m);
static bool want_network(struct maker *m);
static bool check_range(struct maker *m);
static bool find_address(struct maker *m, struct ip *ret);
static bool assign_address(struct maker *m, struct ip *ret);
static void make_plan(struct maker *m);
static bool refuse(struct maker *m, const char *reason, const char *message);

int
plan_network_make(struct offline *o, const char *node, struct plan_network *ret)
{
    struct maker m = {.o = o, .node = offline_node(o, node), .p = ret};
    int rc;

    *ret = (struct plan_network){.node = node};
    if (!m.node)
        return offline_errorf("--node %s: no such Node in the input", node);
    m.parts = arena_calloc(o->arena, o->len + 1, sizeof *m.parts);
    if ((rc = read_now(&m)) != EXIT_DONE)
        return rc;
    if (want_policies(&m) && want_network(&m))
        make_plan(&m);
    return EXIT_DONE;
}

static bool
refuse(struct maker *m, const char *reason, const char *message)
{
    m->p->reason = arena_strdup(m->o->arena, reason);
    m->p->message = arena_strdup(m->o->arena, message);
    return false;
}

/* --- what there is --- */

static int
read_now(struct maker *m)
{
    struct err err = {0};

    for (size_t i = 0; i < m->o->len; i++) {
        const struct offline_item *it = &m->o->items[i];

        if (it->kind != KIND_NNS || strcmp(it->meta->name, m->p->node) != 0)
            continue;
        if (net_state_from_tree(tree_find(it->tree, "status", "currentState", NULL), m->o->arena,
                                &m->now, &err) != 0)
            return offline_errorf("NodeNetworkState %s: status.currentState: %s", m->p->node,
                                  err_msg(&err));
        return EXIT_DONE;
    }
    m->p->note = arena_printf(m->o->arena,
                              "no NodeNetworkState %s in the input: planned for a host without "
                              "interfaces",
                              m->p->node);
    return EXIT_DONE;
}

static bool
management_address(const struct node *n, struct ip *ret)
{
    for (size_t i = 0; i < n->addresses_len; i++) {
        const struct node_address *a = &n->addresses[i];

        if (a->type && strcmp(a->type, "InternalIP") == 0 && a->address &&
            ip_parse(a->address, ret, NULL) == 0)
            return true;
    }
    return false;
}

/* --- policies --- */

static bool
selects(const struct tree *selector, const struct node *n)
{
    for (size_t i = 0; i < tree_len(selector); i++) {
        const char *have = kv_get(&n->meta.labels, tree_key_at(selector, i));

        if (!have || strcmp(have, tree_get_string(tree_at(selector, i), "")) != 0)
            return false;
    }
    return true;
}

static int
by_name(const void *a, const void *b)
{
    const struct offline_item *const *x = a, *const *y = b;

    return strcmp((*x)->meta->name, (*y)->meta->name);
}

static bool
want_policies(struct maker *m)
{
    const struct offline_item **list = arena_calloc(m->o->arena, m->o->len + 1, sizeof *list);
    size_t len = 0;

    for (size_t i = 0; i < m->o->len; i++)
        if (m->o->items[i].kind == KIND_NNCP &&
            selects(tree_find(m->o->items[i].tree, "spec", "nodeSelector", NULL), m->node))
            list[len++] = &m->o->items[i];
    qsort(list, len, sizeof *list, by_name);
    for (size_t i = 0; i < len; i++) {
        const char *origin =
            arena_printf(m->o->arena, "NodeNetworkConfigurationPolicy %s", list[i]->meta->name);
        struct err err = {0};
        int rc = net_want_policy(tree_find(list[i]->tree, "spec", "desiredState", NULL), origin,
                                 m->o->arena, &m->parts[m->parts_len], &err);

        if (rc != 0)
            return refuse(m, rc == -ENOTSUP ? NET_REASON_KIND : NET_REASON_INVALID, err_msg(&err));
        m->parts_len++;
    }
    return true;
}

/* --- the migration network --- */

static const struct nad *
find_nad(const struct maker *m)
{
    for (size_t i = 0; i < m->o->len; i++) {
        const struct offline_item *it = &m->o->items[i];

        if (it->kind == KIND_NAD && strcmp(it->meta->namespace_, m->ns) == 0 &&
            strcmp(it->meta->name, m->name) == 0)
            return it->nad;
    }
    return NULL;
}

static bool
want_network(struct maker *m)
{
    const char *ref = m->o->hco ? m->o->hco->live_migration.network : NULL, *origin;
    struct arena *a = m->o->arena;
    const struct net_link *there;
    const struct nad *nad;
    struct err err = {0};
    bool gives;
    struct ip ip;

    if (!ref || !*ref)
        return true;
    nad_ref_split(ref, DEFAULT_HCO_NAMESPACE, a, &m->ns, &m->name);
    m->p->network = arena_printf(a, "%s/%s", m->ns, m->name);
    origin = arena_printf(a, "NetworkAttachmentDefinition %s", m->p->network);
    nad = find_nad(m);
    if (!nad)
        return refuse(m, "NetworkNotFound",
                      arena_printf(a, "liveMigrationConfig.network: there is no %s", origin));
    if (nad_config_parse(nad, &m->config, a, &err) != 0)
        return refuse(m, "NetworkInvalid", err_msg(&err));
    gives = ipam_gives(&m->config);
    if (gives && (!check_range(m) || !find_address(m, &ip)))
        return false;
    if (gives) {
        char text[CIDR_TEXT_SIZE];

        ipam_address_text(&m->config, &ip, text, sizeof text);
        m->p->address = arena_strdup(a, text);
    }
    if (net_want_nad(&m->config, origin, gives ? &ip : NULL, a, &m->parts[m->parts_len],
                     &m->p->ifname, &err) != 0)
        return refuse(m, "NetworkInvalid", err_msg(&err));
    there = gives ? net_state_with(&m->now, &ip) : NULL;
    if (there && strcmp(there->name, m->p->ifname) != 0) {
        m->p->ifname = there->name; /* somebody else has made it: it is used as it is */
        return true;
    }
    if (net_check_range_host(&m->config, &m->now, m->p->ifname, &err) != 0)
        return refuse(m, NET_REASON_OVERLAP, err_msg(&err));
    m->parts_len++;
    return true;
}

/* As the controller judges the range before it gives out an address. */
static bool
check_range(struct maker *m)
{
    struct err err = {0};
    struct ip ip;

    for (size_t i = 0; i < m->o->len; i++) {
        const struct offline_item *it = &m->o->items[i];
        struct nad_config other;

        if (it->kind == KIND_NODE && management_address(it->node, &ip) &&
            net_check_range_address(
                &m->config, &ip,
                arena_printf(m->o->arena, "node %s's management address", it->meta->name),
                &err) != 0)
            return refuse(m, NET_REASON_OVERLAP, err_msg(&err));
        if (it->kind == KIND_NAD && it->nad != find_nad(m) &&
            nad_config_parse(it->nad, &other, m->o->arena, NULL) == 0 &&
            net_check_range_other(
                &m->config, &other,
                arena_printf(m->o->arena, "%s/%s", it->meta->namespace_, it->meta->name),
                &err) != 0)
            return refuse(m, NET_REASON_OVERLAP, err_msg(&err));
    }
    return true;
}

/* What the Node's annotation says; without one what the controller would give. */
static bool
find_address(struct maker *m, struct ip *ret)
{
    const char *text = kv_get(&m->node->meta.annotations, ANN_MIGRATION_ADDRESS), *address;
    AUTO_TREE struct tree *told = NULL;
    struct cidr c;

    if (!text || tree_from_json(text, strlen(text), &told, NULL) != 0 ||
        strcmp(tree_find_string(told, "", "network", NULL), m->p->network) != 0)
        return assign_address(m, ret);
    address = tree_find_string(told, "", "address", NULL);
    if (*address && cidr_parse(address, &c, NULL) == 0) {
        *ret = c.base;
        return true;
    }
    if (*address)
        return assign_address(m, ret);
    return refuse(m, tree_find_string(told, "AddressPending", "reason", NULL),
                  tree_find_string(told, "the controller gives no reason", "message", NULL));
}

static struct tree *
find_pool(struct maker *m)
{
    AUTO_FREE char *name = ipam_pool_name(&m->config, m->ns, m->name);
    struct tree *pool = NULL;

    for (size_t i = 0; i < m->o->len && !pool; i++) {
        const struct offline_item *it = &m->o->items[i];

        if (it->kind == KIND_IPPOOL && strcmp(it->meta->namespace_, m->ns) == 0 &&
            strcmp(it->meta->name, name) == 0)
            pool = tree_copy(it->tree);
    }
    return pool ? pool : ipam_pool_new(&m->config, m->ns, m->name);
}

static int
by_node_name(const void *a, const void *b)
{
    return strcmp(((const struct ipam_node *)a)->name, ((const struct ipam_node *)b)->name);
}

static bool
assign_address(struct maker *m, struct ip *ret)
{
    struct ipam_node *nodes = arena_calloc(m->o->arena, m->o->len, sizeof *nodes);
    AUTO_TREE struct tree *pool = find_pool(m);
    struct err err = {0};
    size_t len = 0;

    for (size_t i = 0; i < m->o->len; i++) {
        const struct offline_item *it = &m->o->items[i];
        const struct node *n = it->node;

        if (it->kind != KIND_NODE)
            continue;
        nodes[len].name = n->meta.name;
        for (size_t k = 0; k < n->addresses_len; k++)
            if (n->addresses[k].type && strcmp(n->addresses[k].type, "MigrationIP") == 0 &&
                n->addresses[k].address)
                nodes[len].has_found =
                    ip_parse(n->addresses[k].address, &nodes[len].found, NULL) == 0;
        len++;
    }
    qsort(nodes, len, sizeof *nodes, by_node_name); /* as the controller has them */
    ipam_assign(pool, &m->config, m->ns, nodes, len, true, clock_wall_us(), &err);
    for (size_t i = 0; i < len; i++)
        if (strcmp(nodes[i].name, m->p->node) == 0 && nodes[i].has_address) {
            *ret = nodes[i].address;
            return true;
        }
    return refuse(m, "RangeFull", err_msg(&err));
}

/* --- the plan --- */

static void
make_plan(struct maker *m)
{
    const struct net_baseline untouched = {0};
    struct net_target target;
    const char *reason = NET_REASON_INVALID;
    struct err err = {0};
    struct ip mgmt;
    bool has_mgmt = management_address(m->node, &mgmt);
    size_t len = 0;

    for (size_t i = 0; i < m->parts_len; i++)
        len += m->parts[i].len;
    m->p->wants.items = arena_calloc(m->o->arena, len, sizeof *m->p->wants.items);
    for (size_t i = 0; i < m->parts_len; i++)
        for (size_t k = 0; k < m->parts[i].len; k++)
            m->p->wants.items[m->p->wants.len++] = m->parts[i].items[k];
    if (net_compose(&m->now, &untouched, &m->p->wants, has_mgmt ? &mgmt : NULL, m->o->arena,
                    &target, &reason, &err) != 0)
        refuse(m, reason, err_msg(&err));
    else
        net_plan_make(&m->now, &target.state, m->o->arena, &m->p->plan);
}

/* Which attribute a step sets, of a want's fields. */
static unsigned
op_fields(enum net_op op)
{
    switch (op) {
    case NET_OP_MTU:
        return NET_F_MTU;
    case NET_OP_MAC:
        return NET_F_MAC;
    case NET_OP_CONTROLLER:
        return NET_F_CONTROLLER;
    case NET_OP_BRIDGE:
        return NET_F_BRIDGE;
    case NET_OP_BOND:
        return NET_F_BOND;
    case NET_OP_ADDR_ADD:
    case NET_OP_ADDR_DEL:
        return NET_F_ADDRS4 | NET_F_ADDRS6;
    case NET_OP_SHAPE:
        return NET_F_SHAPE;
    case NET_OP_ARP_IGNORE:
        return NET_F_ARP_IGNORE;
    case NET_OP_ADD:
    case NET_OP_DEL:
    case NET_OP_UP:
    case NET_OP_DOWN:
    default:
        return 0;
    }
}

static bool
is_asked(const struct net_want *w, const struct net_step *s)
{
    if (s->op == NET_OP_ADD)
        return w->has_kind && !w->existing;
    return (w->fields & op_fields(s->op)) != 0;
}

/* Whoever speaks of just this; else of the interface at all; else lists it as a port. */
const char *
plan_network_origin(const struct plan_network *p, const struct net_step *s)
{
    const char *just = NULL, *of_it = NULL, *port = NULL;

    for (size_t i = 0; i < p->wants.len; i++) {
        const struct net_want *w = &p->wants.items[i];

        if (strcmp(w->link.name, s->link.name) == 0) {
            of_it = w->origin;
            just = is_asked(w, s) ? w->origin : just;
        }
        for (size_t k = 0; k < w->ports_len; k++)
            if (strcmp(w->ports[k], s->link.name) == 0)
                port = w->origin;
    }
    if (s->op == NET_OP_CONTROLLER && port)
        return port;
    return just ? just : of_it ? of_it : port;
}

static const char *
op_name(enum net_op op)
{
    switch (op) {
    case NET_OP_ADD:
        return "add";
    case NET_OP_DEL:
        return "remove";
    case NET_OP_UP:
        return "up";
    case NET_OP_DOWN:
        return "down";
    case NET_OP_MTU:
        return "mtu";
    case NET_OP_MAC:
        return "mac-address";
    case NET_OP_CONTROLLER:
        return "controller";
    case NET_OP_BRIDGE:
        return "bridge";
    case NET_OP_BOND:
        return "bond";
    case NET_OP_ADDR_ADD:
        return "add-address";
    case NET_OP_ADDR_DEL:
        return "remove-address";
    case NET_OP_SHAPE:
        return "limit";
    case NET_OP_ARP_IGNORE:
        return "arp-ignore";
    }
    return "";
}

struct tree *
plan_network_tree(const struct plan_network *p)
{
    struct tree *t = tree_map(), *steps = tree_list();

    tree_set(t, "node", tree_string(p->node));
    tree_set(t, "network", tree_string(p->network));
    tree_set(t, "interface", tree_string(p->ifname));
    tree_set(t, "address", tree_string(p->address));
    for (size_t i = 0; i < p->plan.len; i++) {
        const struct net_step *s = &p->plan.steps[i];
        struct tree *step = tree_map();
        char text[256];

        net_step_text(s, text, sizeof text);
        tree_set(step, "op", tree_string(op_name(s->op)));
        tree_set(step, "interface", tree_string(s->link.name));
        tree_set(step, "text", tree_string(text));
        tree_set(step, "origin", tree_string(plan_network_origin(p, s)));
        tree_append(steps, step);
    }
    tree_set(t, "steps", steps);
    tree_set(t, "refused", tree_null());
    if (p->reason) {
        struct tree *refused = tree_map();

        tree_set(refused, "reason", tree_string(p->reason));
        tree_set(refused, "message", tree_string(p->message));
        tree_set(t, "refused", refused);
    }
    tree_set(t, "note", tree_string(p->note));
    return t;
}
