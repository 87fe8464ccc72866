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
#include "control/loop_network_pool.h"
#include "control/network_check.h"
#include "netpolicy/ipam.h"
#include "netpolicy/net_want.h"

static bool find_network(struct loops *l, struct loop_net *n);
static void judge(struct loops *l, struct loop_net *n);
static void refuse(struct loop_net *n, const char *reason, const char *message);
static size_t list_nodes(struct loops *l, struct loop_net_node **ret);
static void read_told(struct loops *l, const struct loop_net *n, struct loop_net_node *t);
static const char *annotation(struct loops *l, const struct loop_net *n, const char *address);
static const char *refusal(struct loops *l, const struct loop_net *n, const char *reason,
                           const char *message);
static const char *wanted_by(struct loops *l, const struct loop_net *n,
                             const struct loop_net_node *t, const struct strmap *held);
static void tell_nodes(struct loops *l, const struct loop_net *n, struct loop_net_node *nodes,
                       size_t len);
static void write_told(struct loops *l, const struct loop_net_node *t, const char *wanted);
static void say(struct loops *l, const struct loop_net *n);

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
    return strcmp(tree_find_string(object_condition(node, "Ready"), "", "status", NULL), "True") ==
           0;
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
    struct loop_net n = {0};
    struct loop_net_node *nodes;
    size_t len;
    bool set;

    if (!l->network->addresses_dirty && !l->all)
        return;
    l->network->addresses_dirty = false;
    len = list_nodes(l, &nodes);
    l->network->set = set = find_network(l, &n);
    if (set) {
        for (size_t i = 0; i < len; i++)
            read_told(l, &n, &nodes[i]);
        judge(l, &n);
    }
    if (!loop_network_pool_pass(l, set ? &n : NULL, nodes, len))
        return;
    say(l, set ? &n : NULL);
    tell_nodes(l, set ? &n : NULL, nodes, len);
}

/* --- the network --- */

static bool
find_network(struct loops *l, struct loop_net *n)
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
judge(struct loops *l, struct loop_net *n)
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
refuse(struct loop_net *n, const char *reason, const char *message)
{
    n->reason = reason;
    n->message = message;
}

/* --- nodes --- */

static int
by_name(const void *a, const void *b)
{
    const struct loop_net_node *x = a, *y = b;

    return strcmp(x->node->meta.name, y->node->meta.name);
}

static size_t
list_nodes(struct loops *l, struct loop_net_node **ret)
{
    size_t max = loop_cache_count(l->cache, KIND_NODE), len = 0;
    struct loop_net_node *nodes = arena_calloc(l->arena, max + 1, sizeof(*nodes));
    const struct node *n;

    for (size_t it = 0; len < max && (n = loop_cache_next(l->cache, KIND_NODE, &it));)
        nodes[len++] = (struct loop_net_node){
            .node = n, .now = kv_get(&n->meta.annotations, ANN_MIGRATION_ADDRESS)};
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
read_told(struct loops *l, const struct loop_net *n, struct loop_net_node *t)
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
annotation(struct loops *l, const struct loop_net *n, const char *address)
{
    AUTO_TREE struct tree *t = tree_map();
    AUTO_SB struct sb json = SB_INIT;

    tree_set(t, "network", tree_string(n->ref));
    tree_set(t, "address", tree_string(address));
    tree_to_json(t, 0, &json);
    return arena_strdup(l->arena, sb_str(&json));
}

static const char *
refusal(struct loops *l, const struct loop_net *n, const char *reason, const char *message)
{
    AUTO_TREE struct tree *t = tree_map();
    AUTO_SB struct sb json = SB_INIT;

    tree_set(t, "network", tree_string(n->ref));
    tree_set(t, "reason", tree_string(reason));
    tree_set(t, "message", tree_string(message));
    tree_to_json(t, 0, &json);
    return arena_strdup(l->arena, sb_str(&json));
}

/* --- telling --- */

/* held: address -> the Node whose annotation has it. NULL: no annotation. */
static const char *
wanted_by(struct loops *l, const struct loop_net *n, const struct loop_net_node *t,
          const struct strmap *held)
{
    const char *gets = t->address ? without_prefix(l->arena, t->address) : NULL;
    const struct node *holder = gets ? strmap_get(held, gets) : NULL;

    if (!gets)
        return n->reason ? refusal(l, n, n->reason, n->message) : NULL;
    if (!holder || holder == t->node || (t->holds && strcmp(t->holds, gets) == 0))
        return annotation(l, n, t->address);
    /* Its holder is told something else in this pass, and this node in the next. */
    return refusal(
        l, n, "AddressPending",
        arena_printf(l->arena, "%s is being taken from node %s", gets, holder->meta.name));
}

static void
tell_nodes(struct loops *l, const struct loop_net *n, struct loop_net_node *nodes, size_t len)
{
    struct strmap *held = strmap_new();

    for (size_t i = 0; i < len; i++)
        if (nodes[i].holds)
            strmap_put(held, nodes[i].holds, (void *)(uintptr_t)nodes[i].node);
    for (size_t i = 0; i < len; i++) {
        const char *wanted = n ? wanted_by(l, n, &nodes[i], held) : NULL, *now = nodes[i].now;

        if (!now != !wanted || (wanted && strcmp(now, wanted) != 0))
            write_told(l, &nodes[i], wanted);
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
write_told(struct loops *l, const struct loop_net_node *t, const char *wanted)
{
    struct loop_write *w = loop_write_new(l, KIND_NODE, &t->node->meta, sizeof(const char *));

    *(const char **)w->args = arena_strdup(w->arena, wanted);
    loop_write_mutate(w, change_told, NULL);
}

/* --- events --- */

/* Once for each refusal, not once for each look. */
static void
say(struct loops *l, const struct loop_net *n)
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
