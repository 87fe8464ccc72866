/* Pools are read from the store and compared with what they should hold; see
 * control/loop_network_pool.h, and netpolicy/ipam.h for who gets which. */
#include "control/loop_network_pool.h"

#include <string.h>

#include "api/object.h"
#include "netpolicy/ipam.h"
#include "netpolicy/net_want.h"

#define NAMES_SHOWN 8 /* of nodes, in a message */

struct pools {
    const struct tree **items;
    size_t len, cap;
};

static bool add_pool(void *ctx, const struct tree *pool);
static void drop_orphans(struct loops *l, const struct pools *p);
static void delete_pool(struct loops *l, const struct tree *pool);
static bool give_addresses(struct loops *l, struct loop_net *n, const struct pools *p,
                           struct loop_net_node *nodes, size_t len);
static bool of_network(const struct tree *pool, const struct loop_net *n);
static void find_address(struct loops *l, const struct loop_net *n, const struct loop_net_node *t,
                         struct ipam_node *ret);
static bool is_device(const struct nad_config *c, const char *name);
static bool has_allowed(const struct nad_config *c, const struct tree *interface,
                        const char *family, struct ip *ret);
static const char *who_has_none(struct loops *l, const struct ipam_node *in, size_t len,
                                const char *message);
static void write_pool(struct loops *l, const struct tree *own, struct tree *pool);

bool
loop_network_pool_pass(struct loops *l, struct loop_net *n, struct loop_net_node *nodes, size_t len)
{
    struct pools pools = {0};
    bool durable;

    store_list(l->store, KIND_IPPOOL, NULL, add_pool, &pools);
    drop_orphans(l, &pools);
    durable = !n || !n->gives || give_addresses(l, n, &pools, nodes, len);
    free(pools.items);
    return durable;
}

static bool
add_pool(void *ctx, const struct tree *pool)
{
    struct pools *p = ctx;

    if (p->len == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 16;
        p->items = xreallocarray(p->items, p->cap, sizeof(*p->items));
    }
    p->items[p->len++] = pool;
    return true;
}

/* Pools of definitions that are gone go, too. Those that are not ours are left alone. */
static void
drop_orphans(struct loops *l, const struct pools *p)
{
    for (size_t i = 0; i < p->len; i++) {
        const struct tree *pool = p->items[i];
        const char *owner = object_annotation(pool, ANN_POOL_NETWORK);

        if (owner && !loop_cache_get(l->cache, KIND_NAD, object_namespace(pool), owner))
            delete_pool(l, pool);
    }
}

static void
delete_pool(struct loops *l, const struct tree *pool)
{
    struct meta m = {
        .namespace_ = object_namespace(pool), .name = object_name(pool), .uid = object_uid(pool)};

    loop_write_delete(loop_write_new(l, KIND_IPPOOL, &m, 0), NULL);
}

/* Fills in what each node should be told. False: not yet, the pool must be written first. */
static bool
give_addresses(struct loops *l, struct loop_net *n, const struct pools *p,
               struct loop_net_node *nodes, size_t len)
{
    AUTO_FREE char *name = ipam_pool_name(&n->config, n->ns, n->name);
    struct ipam_node *in = arena_calloc(l->arena, len + 1, sizeof(*in));
    const struct tree *own = loop_core_tree(l, KIND_IPPOOL, n->ns, name);
    const char *owner = own ? object_annotation(own, ANN_POOL_NETWORK) : NULL;
    AUTO_TREE struct tree *pool = own ? tree_copy(own) : ipam_pool_new(&n->config, n->ns, n->name);
    AUTO_TREE struct tree *before = tree_copy(pool);
    bool give = n->reason == NULL, any = own != NULL;
    struct err err = {0};

    if (owner && strcmp(owner, n->name) != 0) {
        if (!loop_cache_get(l->cache, KIND_NAD, n->ns, owner))
            return false; /* it is being deleted */
        if (n->reason)
            return true; /* both have this range */
    } /* else the other's range was changed since: what it remembers here is of no use to it */
    for (size_t i = 0; i < p->len; i++) {
        if (p->items[i] == own || !of_network(p->items[i], n))
            continue;
        ipam_pool_adopt(pool, p->items[i]);
        any = true;
    }
    for (size_t i = 0; i < len; i++) {
        in[i].name = nodes[i].node->meta.name;
        find_address(l, n, &nodes[i], &in[i]);
    }
    if (ipam_assign(pool, &n->config, n->ns, in, len, give, l->now_us, &err) != 0 && give) {
        n->reason = "RangeFull";
        n->message = who_has_none(l, in, len, err_msg(&err));
    }
    tree_set_path(pool, tree_string(n->name), "metadata", "annotations", ANN_POOL_NETWORK, NULL);
    if (!own ? give || any : !tree_equal(before, pool)) {
        write_pool(l, own, TAKE_PTR(pool));
        return false;
    }
    for (size_t i = 0; i < p->len; i++)
        if (p->items[i] != own && of_network(p->items[i], n))
            delete_pool(l, p->items[i]);
    for (size_t i = 0; i < len; i++) {
        char text[CIDR_TEXT_SIZE];

        if (!in[i].has_address)
            continue;
        ipam_address_text(&n->config, &in[i].address, text, sizeof(text));
        nodes[i].address = arena_strdup(l->arena, text);
    }
    return true;
}

static bool
of_network(const struct tree *pool, const struct loop_net *n)
{
    const char *owner = object_annotation(pool, ANN_POOL_NETWORK);

    return owner && strcmp(owner, n->name) == 0 && strcmp(object_namespace(pool), n->ns) == 0;
}

/* What a host has already: on an interface that no handler puts addresses on (its state says so before
 * its handler has heard of the network), else what the handler says that it uses, else what it was
 * told: a pool that was deleted by mistake is made again as it was. */
static void
find_address(struct loops *l, const struct loop_net *n, const struct loop_net_node *t,
             struct ipam_node *ret)
{
    const struct node *node = t->node;
    const struct tree *state = loop_core_tree(l, KIND_NNS, NULL, node->meta.name);
    const struct tree *list = tree_find(state, "status", "currentState", "interfaces", NULL);

    for (size_t i = 0; i < tree_len(list) && !ret->fixed; i++) {
        const char *name = tree_find_string(tree_at(list, i), "", "name", NULL);

        if (strcmp(name, NET_MIGRATION_IFNAME) != 0 && !is_device(&n->config, name))
            ret->fixed = has_allowed(&n->config, tree_at(list, i), "ipv4", &ret->found) ||
                         has_allowed(&n->config, tree_at(list, i), "ipv6", &ret->found);
    }
    ret->has_found = ret->fixed;
    for (size_t i = 0; i < node->addresses_len && !ret->has_found; i++) {
        const struct node_address *a = &node->addresses[i];

        if (a->type && strcmp(a->type, "MigrationIP") == 0 && a->address)
            ret->has_found = ip_parse(a->address, &ret->found, NULL) == 0;
    }
    if (!ret->has_found && t->holds)
        ret->has_found = ip_parse(t->holds, &ret->found, NULL) == 0;
}

/* The interface that the definition gives its address to, where it makes none. */
static bool
is_device(const struct nad_config *c, const char *name)
{
    return (c->bridge && strcmp(c->bridge, name) == 0) ||
           (strcmp(c->type, "host-device") == 0 && strcmp(c->master, name) == 0);
}

static bool
has_allowed(const struct nad_config *c, const struct tree *interface, const char *family,
            struct ip *ret)
{
    const struct tree *list = tree_find(interface, family, "address", NULL);

    for (size_t i = 0; i < tree_len(list); i++)
        if (ip_parse(tree_find_string(tree_at(list, i), "", "ip", NULL), ret, NULL) == 0 &&
            nad_address_allowed(c, ret))
            return true;
    return false;
}

static const char *
who_has_none(struct loops *l, const struct ipam_node *in, size_t len, const char *message)
{
    AUTO_SB struct sb text = SB_INIT;
    size_t none = 0;

    sb_puts(&text, message);
    for (size_t i = 0; i < len; i++)
        if (!in[i].has_address && ++none <= NAMES_SHOWN)
            sb_printf(&text, "%s%s", none == 1 ? "; none: " : ", ", in[i].name);
    if (none > NAMES_SHOWN)
        sb_printf(&text, " and %zu more", none - NAMES_SHOWN);
    return arena_strdup(l->arena, sb_str(&text));
}

struct pool_args {
    struct tree *from, *to;
};

static int
change_pool(struct loop_write *w, struct tree *obj)
{
    struct pool_args *a = w->args;

    if (!tree_equal(tree_get(obj, "spec"), tree_get(a->from, "spec")))
        return 0; /* somebody has edited it: that change is looked at in the next pass */
    tree_set(obj, "spec", tree_copy(tree_get(a->to, "spec")));
    tree_set(obj, "metadata", tree_take(a->to, "metadata"));
    return 1;
}

static void
release_pool(struct loop_write *w)
{
    struct pool_args *a = w->args;

    tree_free(a->from);
    tree_free(a->to);
}

/* Takes pool. own NULL: there is none yet. */
static void
write_pool(struct loops *l, const struct tree *own, struct tree *pool)
{
    struct meta m = {.namespace_ = object_namespace(pool), .name = object_name(pool)};
    struct loop_write *w = loop_write_new(l, KIND_IPPOOL, &m, sizeof(struct pool_args));
    struct pool_args *a = w->args;

    if (!own) {
        loop_write_create(w, pool, NULL);
        return;
    }
    *a = (struct pool_args){tree_copy(own), pool};
    w->uid = arena_strdup(w->arena, object_uid(own));
    w->release = release_pool;
    loop_write_mutate(w, change_pool, NULL);
}
