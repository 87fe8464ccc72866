/* Addresses of the migration network: an IPPool remembers which node has which, and when that is
 * durable each Node is told in its annotation drover.io/migration-address. Nothing is kept in memory:
 * each look compares the objects with what they should say, and a write that was lost is made again.
 * An address is told to a node only when no other Node's annotation has it. Rules and messages:
 * docs/migration-addresses.md. */
#include "control/loop_network.h"

#include <string.h>

#include "api/object.h"
#include "api/selector.h"
#include "control/loop_event.h"
#include "control/network_check.h"
#include "netpolicy/ipam.h"
#include "netpolicy/net_want.h"

/* The network that the settings name, as it is now. */
struct network {
    const char *ref, *ns, *name; /* "ns/name" */
    enum kind settings_kind;
    const struct meta *settings; /* who names it */
    const struct nad *nad;       /* NULL: missing */
    struct nad_config config;
    const char *reason, *message; /* NULL: usable */
    bool gives; /* it has a range; with a reason: nodes that have an address keep it */
};

#define NAMES_SHOWN 8 /* of nodes, in a message */

/* One Node, in the order of names. */
struct told {
    const struct node *node;
    const char *now;    /* the annotation; NULL: none */
    const char *holds;  /* its address without prefix when it is of this network; NULL: none */
    const char *wanted; /* the annotation as it should be; NULL: none */
    const char *gets;   /* like holds */
};

struct pools {
    const struct tree **items;
    size_t len, cap;
};

static bool find_network(struct loops *l, struct network *n);
static void judge(struct loops *l, struct network *n);
static void refuse(struct network *n, const char *reason, const char *message);
static size_t list_nodes(struct loops *l, struct told **ret);
static void read_told(struct loops *l, const struct network *n, struct told *t);
static const char *annotation(struct loops *l, const struct network *n, const char *address);
static const char *refusal(struct loops *l, const struct network *n, const char *reason,
                           const char *message);
static bool add_pool(void *ctx, const struct tree *pool);
static void drop_orphans(struct loops *l, const struct pools *p);
static void delete_pool(struct loops *l, const struct tree *pool);
static bool give_addresses(struct loops *l, struct network *n, const struct pools *p,
                           struct told *nodes, size_t len);
static bool of_network(const struct tree *pool, const struct network *n);
static void find_address(struct loops *l, const struct network *n, const struct node *node,
                         struct ipam_node *ret);
static bool is_device(const struct nad_config *c, const char *name);
static bool has_allowed(const struct nad_config *c, const struct tree *interface,
                        const char *family, struct ip *ret);
static const char *who_has_none(struct loops *l, const struct ipam_node *in, size_t len,
                                const char *message);
static void write_pool(struct loops *l, const struct tree *own, struct tree *pool);
static void tell_nodes(struct loops *l, const struct network *n, struct told *nodes, size_t len);
static void write_told(struct loops *l, const struct told *t, const char *wanted);
static void say(struct loops *l, const struct network *n);

struct loop_network *
loop_network_new(void)
{
    struct loop_network *n = xcalloc(1, sizeof(*n));

    n->addresses_dirty = n->enactments_dirty = n->set = true;
    return n;
}

void
loop_network_free(struct loop_network *n)
{
    if (!n)
        return;
    free(n->said);
    free(n);
}

static const char *
told_text(const struct tree *node)
{
    const char *s = object_annotation(node, ANN_MIGRATION_ADDRESS);

    return s ? s : "";
}

static bool
same(const struct store_event *ev, const char *part, const char *key)
{
    return tree_equal(tree_find(ev->old_obj, part, key, NULL), tree_find(ev->obj, part, key, NULL));
}

static bool
is_ready(const struct tree *node)
{
    return strcmp(tree_find_string(loop_core_tree_condition(node, "Ready"), "", "status", NULL),
                  "True") == 0;
}

void
loop_network_note(struct loops *l, const struct store_event *ev)
{
    struct loop_network *n = l->network;
    bool modified = ev->type == STORE_MODIFIED, addresses = false, enactments = false;

    switch (ev->kind) {
    case KIND_NAD:
    case KIND_HCO:
    case KIND_KUBEVIRT:
    case KIND_IPPOOL:
        addresses = true;
        break;
    case KIND_NODE:
        enactments = !modified || !same(ev, "metadata", "labels") ||
                     is_ready(ev->old_obj) != is_ready(ev->obj);
        if (!n->set && !*told_text(ev->obj))
            break; /* clusters of any size, and no network */
        addresses = !modified || strcmp(told_text(ev->old_obj), told_text(ev->obj)) != 0 ||
                    !same(ev, "status", "addresses");
        break;
    case KIND_NNS:
        addresses = n->set && (!modified || !same(ev, "status", "currentState"));
        break;
    case KIND_NNCP:
    case KIND_NNCE:
        enactments = true;
        break;
    default:
        return;
    }
    n->addresses_dirty |= addresses;
    n->enactments_dirty |= enactments;
    if (addresses || enactments)
        loop_core_dirty(l);
}

void
loop_network_pass(struct loops *l)
{
    struct network n = {0};
    struct pools pools = {0};
    bool set, durable = true;
    struct told *nodes;
    size_t len;

    if (!l->network->addresses_dirty && !l->all)
        return;
    l->network->addresses_dirty = false;
    len = list_nodes(l, &nodes);
    store_list(l->store, KIND_IPPOOL, NULL, add_pool, &pools);
    drop_orphans(l, &pools);
    l->network->set = set = find_network(l, &n);
    if (set) {
        for (size_t i = 0; i < len; i++)
            read_told(l, &n, &nodes[i]);
        judge(l, &n);
        if (n.gives)
            durable = give_addresses(l, &n, &pools, nodes, len);
    }
    if (durable) {
        say(l, set ? &n : NULL);
        tell_nodes(l, set ? &n : NULL, nodes, len);
    }
    free(pools.items);
}

/* --- the network --- */

static bool
find_network(struct loops *l, struct network *n)
{
    const struct hco *hco = loop_cache_hco(l->cache);
    const struct kubevirt *kv = hco ? NULL : loop_cache_kubevirt(l->cache);
    const char *ref = hco ? hco->live_migration.network : kv ? kv->migrations.network : NULL;

    if (!ref || !*ref)
        return false;
    n->settings_kind = hco ? KIND_HCO : KIND_KUBEVIRT;
    n->settings = hco ? &hco->meta : &kv->meta;
    nad_ref_split(ref, DEFAULT_HCO_NAMESPACE, l->arena, &n->ns, &n->name);
    n->ref = arena_printf(l->arena, "%s/%s", n->ns, n->name);
    n->nad = loop_cache_get(l->cache, KIND_NAD, n->ns, n->name);
    return true;
}

static void
judge(struct loops *l, struct network *n)
{
    struct nad_config config;
    struct err err = {0};

    if (!n->nad) {
        refuse(n, "NetworkNotFound",
               arena_printf(l->arena,
                            "liveMigrationConfig.network: there is no "
                            "NetworkAttachmentDefinition %s%s",
                            n->ref, network_check_elsewhere(l->store, n->ns, n->name, l->arena)));
        return;
    }
    if (nad_config_parse(n->nad, &config, l->arena, &err) != 0) {
        refuse(n, "NetworkInvalid", arena_strdup(l->arena, err_msg(&err)));
        return;
    }
    if (!ipam_gives(&config))
        return;
    n->config = config;
    n->gives = true;
    if (network_check_range(l->store, &config, n->ns, n->name, &err) != 0)
        refuse(n, NET_REASON_OVERLAP, arena_strdup(l->arena, err_msg(&err)));
}

static void
refuse(struct network *n, const char *reason, const char *message)
{
    n->reason = reason;
    n->message = message;
}

/* --- nodes --- */

static int
by_name(const void *a, const void *b)
{
    const struct told *x = a, *y = b;

    return strcmp(x->node->meta.name, y->node->meta.name);
}

static size_t
list_nodes(struct loops *l, struct told **ret)
{
    size_t max = loop_cache_count(l->cache, KIND_NODE), len = 0;
    struct told *nodes = arena_calloc(l->arena, max + 1, sizeof(*nodes));
    const struct node *n;

    for (size_t it = 0; len < max && (n = loop_cache_next(l->cache, KIND_NODE, &it));)
        nodes[len++] =
            (struct told){.node = n, .now = kv_get(&n->meta.annotations, ANN_MIGRATION_ADDRESS)};
    if (len > 0)
        qsort(nodes, len, sizeof(*nodes), by_name);
    *ret = nodes;
    return len;
}

static const char *
without_prefix(struct arena *a, const char *address)
{
    return arena_strndup(a, address, strcspn(address, "/"));
}

static void
read_told(struct loops *l, const struct network *n, struct told *t)
{
    AUTO_TREE struct tree *doc = NULL;
    const char *address;

    if (!t->now || tree_from_json(t->now, strlen(t->now), &doc, NULL) != 0 ||
        strcmp(tree_find_string(doc, "", "network", NULL), n->ref) != 0)
        return;
    address = tree_find_string(doc, "", "address", NULL);
    if (*address)
        t->holds = without_prefix(l->arena, address);
}

static const char *
annotation(struct loops *l, const struct network *n, const char *address)
{
    AUTO_TREE struct tree *t = tree_map();
    AUTO_SB struct sb json = SB_INIT;

    tree_set(t, "network", tree_string(n->ref));
    tree_set(t, "address", tree_string(address));
    tree_to_json(t, 0, &json);
    return arena_strdup(l->arena, sb_str(&json));
}

static const char *
refusal(struct loops *l, const struct network *n, const char *reason, const char *message)
{
    AUTO_TREE struct tree *t = tree_map();
    AUTO_SB struct sb json = SB_INIT;

    tree_set(t, "network", tree_string(n->ref));
    tree_set(t, "reason", tree_string(reason));
    tree_set(t, "message", tree_string(message));
    tree_to_json(t, 0, &json);
    return arena_strdup(l->arena, sb_str(&json));
}

/* --- pools --- */

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
give_addresses(struct loops *l, struct network *n, const struct pools *p, struct told *nodes,
               size_t len)
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
        find_address(l, n, nodes[i].node, &in[i]);
    }
    if (ipam_assign(pool, &n->config, n->ns, in, len, give, l->now_us, &err) != 0 && give)
        refuse(n, "RangeFull", who_has_none(l, in, len, err_msg(&err)));
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
        nodes[i].wanted = annotation(l, n, text);
        nodes[i].gets = without_prefix(l->arena, text);
    }
    return true;
}

static bool
of_network(const struct tree *pool, const struct network *n)
{
    const char *owner = object_annotation(pool, ANN_POOL_NETWORK);

    return owner && strcmp(owner, n->name) == 0 && strcmp(object_namespace(pool), n->ns) == 0;
}

/* What a host has already: on an interface that no handler puts addresses on (its state says so before
 * its handler has heard of the network), else what the handler says that it uses. */
static void
find_address(struct loops *l, const struct network *n, const struct node *node,
             struct ipam_node *ret)
{
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

/* --- telling --- */

static void
tell_nodes(struct loops *l, const struct network *n, struct told *nodes, size_t len)
{
    struct strmap *held = strmap_new();

    for (size_t i = 0; i < len; i++)
        if (nodes[i].holds)
            strmap_put(held, nodes[i].holds, (void *)(uintptr_t)nodes[i].node);
    for (size_t i = 0; i < len; i++) {
        const struct told *t = &nodes[i];
        const char *wanted = t->wanted;
        const struct node *holder = wanted && t->gets ? strmap_get(held, t->gets) : NULL;

        if (!wanted && n && n->reason)
            wanted = refusal(l, n, n->reason, n->message);
        /* Its holder is told something else in this pass, and this node in the next. */
        if (holder && holder != t->node && (!t->holds || strcmp(t->holds, t->gets) != 0))
            wanted = refusal(l, n, "AddressPending",
                             arena_printf(l->arena, "%s is being taken from node %s", t->gets,
                                          holder->meta.name));
        if (strcmp(t->now ? t->now : "", wanted ? wanted : "") != 0 || (!t->now) != (!wanted))
            write_told(l, t, wanted);
    }
    strmap_free(held, NULL);
}

static int
change_told(struct loop_write *w, struct tree *obj)
{
    const char *const *wanted = w->args;

    if (*wanted)
        tree_set_path(obj, tree_string(*wanted), "metadata", "annotations", ANN_MIGRATION_ADDRESS,
                      NULL);
    else
        tree_del(tree_ensure_map(tree_ensure_map(obj, "metadata"), "annotations"),
                 ANN_MIGRATION_ADDRESS);
    return 1;
}

static void
write_told(struct loops *l, const struct told *t, const char *wanted)
{
    struct loop_write *w = loop_write_new(l, KIND_NODE, &t->node->meta, sizeof(const char *));

    *(const char **)w->args = arena_strdup(w->arena, wanted);
    loop_write_mutate(w, change_told, NULL);
}

/* --- events --- */

/* Once for each refusal, not once for each look. */
static void
say(struct loops *l, const struct network *n)
{
    struct loop_network *ln = l->network;

    if (!n || !n->reason) {
        free(TAKE_PTR(ln->said));
        return;
    }
    if (ln->said && strcmp(ln->said, n->message) == 0)
        return;
    free(ln->said);
    ln->said = xstrdup(n->message);
    loop_event(l, n->settings_kind, n->settings, EVENT_WARNING, n->reason, "%s", n->message);
    if (n->nad)
        loop_event(l, KIND_NAD, &n->nad->meta, EVENT_WARNING, n->reason, "%s", n->message);
}
