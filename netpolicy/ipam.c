/* Which node has which address; see ipam.h. The pool's tree is read into an array of allocations,
 * changed there, and written back when anything differs. */
#include "netpolicy/ipam.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/object.h"
#include "base/sb.h"
#include "base/strmap.h"
#include "netpolicy/net_want.h"

#define KEY_TEXT_SIZE 48 /* 2^128 has 39 digits */

__extension__ typedef unsigned __int128 u128;

struct allocation {
    struct ip ip;
    char *node;
    int64_t gone_us; /* 0: its node is there */
};

struct allocations {
    struct allocation *items; /* sorted by address, each address and each node once */
    size_t len, cap;
};

static void read_pool(const struct tree *pool, const struct nad_config *c, struct allocations *ret);
static struct tree *write_pool(const struct allocations *l, const struct cidr *range,
                               const char *nad_ns);
static struct cidr pool_range(const struct nad_config *c);
static void move_fixed(struct allocations *l, const struct nad_config *c,
                       const struct ipam_node *nodes, size_t len);
static void match_nodes(struct allocations *l, struct ipam_node *nodes, size_t len, int64_t now_us);
static void keep_found(struct allocations *l, const struct nad_config *c, struct ipam_node *nodes,
                       size_t len);
static void give_free(struct allocations *l, const struct nad_config *c, struct ipam_node *nodes,
                      size_t len);
static void give_of_gone(struct allocations *l, struct ipam_node *nodes, size_t len);
static void add(struct allocations *l, size_t at, const struct ip *a, const char *node,
                int64_t gone_us);
static size_t place_of(const struct allocations *l, const struct ip *a, bool *ret_taken);
static void allocations_done(struct allocations *l);
static bool key_parse(const char *key, const struct cidr *range, struct ip *ret);
static void key_format(const struct ip *a, const struct cidr *range, char buf[KEY_TEXT_SIZE]);

bool
ipam_gives(const struct nad_config *c)
{
    return c->has_range || c->static_len > 0;
}

char *
ipam_pool_name(const struct nad_config *c, const char *nad_ns, const char *nad_name)
{
    char text[CIDR_TEXT_SIZE];

    if (!c->has_range)
        return xasprintf("%s-%s", nad_ns, nad_name);
    cidr_format(&c->range, text, sizeof(text));
    for (char *p = text; *p; p++)
        if (*p == ':' || *p == '/')
            *p = '-';
    /* An object's name begins with a letter or a digit: "::ffff:0:0/96" does not. */
    return *text == '-' ? xasprintf("0%s", text) : xstrdup(text);
}

struct tree *
ipam_pool_new(const struct nad_config *c, const char *nad_ns, const char *nad_name)
{
    AUTO_FREE char *name = ipam_pool_name(c, nad_ns, nad_name);
    const struct cidr range = pool_range(c);
    struct tree *pool = tree_map();
    char text[CIDR_TEXT_SIZE];

    cidr_format(&range, text, sizeof(text));
    tree_set(pool, "apiVersion", tree_string("whereabouts.cni.cncf.io/v1alpha1"));
    tree_set(pool, "kind", tree_string("IPPool"));
    tree_set_path(pool, tree_string(name), "metadata", "name", NULL);
    tree_set_path(pool, tree_string(nad_ns), "metadata", "namespace", NULL);
    tree_set_path(pool, tree_string(text), "spec", "range", NULL);
    tree_set_path(pool, tree_map(), "spec", "allocations", NULL);
    return pool;
}

void
ipam_pool_adopt(struct tree *pool, const struct tree *other)
{
    struct allocations mine = {0}, theirs = {0};
    struct strmap *nodes = strmap_new();
    struct cidr range;
    bool taken;

    read_pool(pool, NULL, &mine);
    read_pool(other, NULL, &theirs);
    for (size_t i = 0; i < mine.len; i++)
        strmap_put(nodes, mine.items[i].node, mine.items[i].node);
    for (size_t i = 0; i < theirs.len; i++) {
        const struct allocation *t = &theirs.items[i];
        size_t at = place_of(&mine, &t->ip, &taken);

        if (!taken && !strmap_get(nodes, t->node))
            add(&mine, at, &t->ip, t->node, t->gone_us);
    }
    strmap_free(nodes, NULL);
    /* The two ranges may have nothing in common: written as what holds every address. */
    cidr_parse("::/0", &range, NULL);
    tree_set_path(pool, tree_string("::/0"), "spec", "range", NULL);
    tree_set_path(pool, write_pool(&mine, &range, object_namespace(pool)), "spec", "allocations",
                  NULL);
    allocations_done(&mine);
    allocations_done(&theirs);
}

int
ipam_assign(struct tree *pool, const struct nad_config *c, const char *nad_ns,
            struct ipam_node *nodes, size_t len, bool give, int64_t now_us, struct err *err)
{
    const struct cidr range = pool_range(c);
    struct tree *spec = tree_ensure_map(pool, "spec");
    struct allocations l = {0};
    size_t with = 0;
    char text[CIDR_TEXT_SIZE + 64];

    read_pool(pool, c, &l);
    if (give)
        move_fixed(&l, c, nodes, len);
    match_nodes(&l, nodes, len, now_us);
    if (give) {
        keep_found(&l, c, nodes, len);
        give_free(&l, c, nodes, len);
        give_of_gone(&l, nodes, len);
    }

    cidr_format(&range, text, sizeof(text));
    tree_set(spec, "range", tree_string(text));
    tree_set(spec, "allocations", write_pool(&l, &range, nad_ns));
    allocations_done(&l);

    for (size_t i = 0; i < len; i++)
        with += nodes[i].has_address;
    if (with == len)
        return 0;
    nad_range_text(c, text, sizeof(text));
    return err_set(err, -ENOSPC, "%s is full: %zu of %zu nodes have an address", text, with, len);
}

void
ipam_address_text(const struct nad_config *c, const struct ip *a, char *buf, size_t size)
{
    struct cidr text = {.base = *a, .prefix = c->range.prefix, .v4 = ip_is_v4(a)};

    for (size_t i = 0; i < c->static_len; i++)
        if (ip_equal(&c->static_addresses[i].base, a))
            text.prefix = c->static_addresses[i].prefix;
    cidr_format(&text, buf, size);
}

/* --- the pool as an array --- */

/* Keys of static addresses are the addresses themselves, as numbers. */
static struct cidr
pool_range(const struct nad_config *c)
{
    struct cidr r = c->range;
    bool v4 = true;

    if (c->has_range)
        return r;
    for (size_t i = 0; i < c->static_len; i++)
        v4 = v4 && c->static_addresses[i].v4;
    cidr_parse(v4 ? "0.0.0.0/0" : "::/0", &r, NULL);
    return r;
}

static int
by_node_then_address(const void *x, const void *y)
{
    const struct allocation *a = x, *b = y;
    int d = strcmp(a->node, b->node);

    return d ? d : ip_cmp(&a->ip, &b->ip);
}

static int
by_address(const void *x, const void *y)
{
    const struct allocation *a = x, *b = y;

    return ip_cmp(&a->ip, &b->ip);
}

/* c NULL: whatever can be read; else what it allows. People may have edited the pool: two addresses
 * of one node are made one. Two keys of one address ("1" and "01") are not possible: see key_parse. */
static void
read_pool(const struct tree *pool, const struct nad_config *c, struct allocations *ret)
{
    const struct tree *map = tree_find(pool, "spec", "allocations", NULL);
    struct cidr range;
    struct ip a;
    size_t n = 0;

    if (cidr_parse(tree_find_string(pool, "", "spec", "range", NULL), &range, NULL) != 0)
        return;
    range.base = cidr_first(&range);
    for (size_t i = 0; i < tree_len(map); i++) {
        const struct tree *v = tree_at(map, i);
        const char *node = tree_find_string(v, "", "id", NULL);
        int64_t gone_us = 0;

        if (!*node || !key_parse(tree_key_at(map, i), &range, &a) ||
            (c && !nad_address_allowed(c, &a)))
            continue;
        time_parse(tree_find_string(v, "", "goneSince", NULL), &gone_us, NULL);
        add(ret, ret->len, &a, node, gone_us);
    }
    if (ret->len == 0)
        return;
    qsort(ret->items, ret->len, sizeof(*ret->items), by_node_then_address);
    for (size_t i = 0; i < ret->len; i++) {
        if (n > 0 && strcmp(ret->items[n - 1].node, ret->items[i].node) == 0)
            free(ret->items[i].node);
        else
            ret->items[n++] = ret->items[i];
    }
    ret->len = n;
    qsort(ret->items, ret->len, sizeof(*ret->items), by_address);
}

static struct tree *
write_pool(const struct allocations *l, const struct cidr *range, const char *nad_ns)
{
    struct tree *map = tree_map();
    char key[KEY_TEXT_SIZE], since[40];

    for (size_t i = 0; i < l->len; i++) {
        const struct allocation *x = &l->items[i];
        struct tree *v = tree_map();

        tree_set(v, "id", tree_string(x->node));
        tree_set(v, "podref", tree_stringf("%s/%s", nad_ns, x->node));
        tree_set(v, "ifname", tree_string(NET_MIGRATION_IFNAME));
        if (x->gone_us) {
            time_format(x->gone_us, false, since, sizeof(since));
            tree_set(v, "goneSince", tree_string(since));
        }
        key_format(&x->ip, range, key);
        tree_set(map, key, v);
    }
    return map;
}

/* --- the ways to an address --- */

static void
take(struct ipam_node *n, const struct ip *a)
{
    n->has_address = true;
    n->address = *a;
}

/* What is remembered for a node follows the address that it will not give up. */
static void
move_fixed(struct allocations *l, const struct nad_config *c, const struct ipam_node *nodes,
           size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const struct ipam_node *n = &nodes[i];
        bool taken;
        size_t at, k = 0;

        if (!n->has_found || !n->fixed || !nad_address_allowed(c, &n->found))
            continue;
        place_of(l, &n->found, &taken);
        if (taken)
            continue;
        while (k < l->len && strcmp(l->items[k].node, n->name) != 0)
            k++;
        if (k < l->len) {
            free(l->items[k].node);
            memmove(l->items + k, l->items + k + 1, (--l->len - k) * sizeof(*l->items));
        }
        at = place_of(l, &n->found, &taken);
        add(l, at, &n->found, n->name, 0);
    }
}

static void
match_nodes(struct allocations *l, struct ipam_node *nodes, size_t len, int64_t now_us)
{
    struct strmap *there = strmap_new();

    for (size_t i = 0; i < len; i++) {
        nodes[i].has_address = false;
        strmap_put(there, nodes[i].name, &nodes[i]);
    }
    for (size_t i = 0; i < l->len; i++) {
        struct allocation *x = &l->items[i];
        struct ipam_node *n = strmap_get(there, x->node);

        if (n) {
            x->gone_us = 0;
            take(n, &x->ip);
        } else if (!x->gone_us) {
            x->gone_us = now_us;
        }
    }
    strmap_free(there, NULL);
}

static void
keep_found(struct allocations *l, const struct nad_config *c, struct ipam_node *nodes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        struct ipam_node *n = &nodes[i];
        bool taken;
        size_t at;

        if (n->has_address || !n->has_found || !nad_address_allowed(c, &n->found))
            continue;
        at = place_of(l, &n->found, &taken);
        if (taken)
            continue;
        add(l, at, &n->found, n->name, 0);
        take(n, &n->found);
    }
}

/* Lowest first, so that a range is walked through once, whatever the number of nodes. */
static void
give_free(struct allocations *l, const struct nad_config *c, struct ipam_node *nodes, size_t len)
{
    struct nad_config rest = *c;
    struct ip *taken = xcalloc(l->len + len + 1, sizeof(*taken)), a;
    size_t taken_len = 0, skip = 0;

    for (size_t i = 0; i < l->len; i++)
        taken[taken_len++] = l->items[i].ip;
    for (size_t i = 0; i < len; i++) {
        bool full;

        if (nodes[i].has_address)
            continue;
        if (nad_address_next(&rest, taken + skip, taken_len - skip, &a, NULL) != 0)
            break;
        add(l, place_of(l, &a, &full), &a, nodes[i].name, 0);
        take(&nodes[i], &a);
        if (c->static_len > 0) { /* at most NAD_MAX_STATIC */
            taken[taken_len++] = a;
            continue;
        }
        rest.range_start = ip_next(&a);
        rest.has_range_start = true;
        while (skip < taken_len && ip_cmp(&taken[skip], &a) < 0)
            skip++;
    }
    free(taken);
}

static int
by_gone(const void *x, const void *y)
{
    const struct allocation *const *pa = x, *const *pb = y;
    const struct allocation *a = *pa, *b = *pb;

    if (a->gone_us != b->gone_us)
        return a->gone_us < b->gone_us ? -1 : 1;
    return strcmp(a->node, b->node);
}

static void
give_of_gone(struct allocations *l, struct ipam_node *nodes, size_t len)
{
    struct allocation **gone = xcalloc(l->len + 1, sizeof(struct allocation *));
    size_t gone_len = 0, next = 0;

    for (size_t i = 0; i < l->len; i++)
        if (l->items[i].gone_us)
            gone[gone_len++] = &l->items[i];
    if (gone_len > 0)
        qsort(gone, gone_len, sizeof(struct allocation *), by_gone);
    for (size_t i = 0; i < len && next < gone_len; i++) {
        if (nodes[i].has_address)
            continue;
        struct allocation *x = gone[next++];

        free(x->node);
        x->node = xstrdup(nodes[i].name);
        x->gone_us = 0;
        take(&nodes[i], &x->ip);
    }
    free(gone);
}

/* --- the array --- */

static void
add(struct allocations *l, size_t at, const struct ip *a, const char *node, int64_t gone_us)
{
    if (l->len == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 16;
        l->items = xreallocarray(l->items, l->cap, sizeof(*l->items));
    }
    memmove(l->items + at + 1, l->items + at, (l->len - at) * sizeof(*l->items));
    l->items[at] = (struct allocation){.ip = *a, .node = xstrdup(node), .gone_us = gone_us};
    l->len++;
}

static size_t
place_of(const struct allocations *l, const struct ip *a, bool *ret_taken)
{
    size_t low = 0, high = l->len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (ip_cmp(&l->items[mid].ip, a) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_taken = low < l->len && ip_equal(&l->items[low].ip, a);
    return low;
}

static void
allocations_done(struct allocations *l)
{
    for (size_t i = 0; i < l->len; i++)
        free(l->items[i].node);
    free(l->items);
}

/* --- keys: 128-bit numbers in decimal, without leading zeros --- */

static u128
number_of(const struct ip *a)
{
    u128 n = 0;

    for (int i = 0; i < 16; i++)
        n = n << 8 | a->a.s6_addr[i];
    return n;
}

/* The address at that offset; false when it is outside of the range or not written as we write. */
static bool
key_parse(const char *key, const struct cidr *range, struct ip *ret)
{
    struct ip last = cidr_last(range);
    u128 base = number_of(&range->base), most = number_of(&last) - base, n = 0;

    if (!*key || (*key == '0' && key[1]))
        return false;
    for (; *key; key++) {
        unsigned digit = (unsigned)(*key - '0');

        if (!isdigit((unsigned char)*key) || digit > most || n > (most - digit) / 10)
            return false;
        n = 10 * n + digit;
    }
    n += base;
    for (int i = 15; i >= 0; i--, n >>= 8)
        ret->a.s6_addr[i] = (uint8_t)n;
    return true;
}

static void
key_format(const struct ip *a, const struct cidr *range, char buf[KEY_TEXT_SIZE])
{
    u128 n = number_of(a) - number_of(&range->base);
    char digits[KEY_TEXT_SIZE];
    size_t len = 0;

    do
        digits[len++] = (char)('0' + (int)(n % 10));
    while ((n /= 10) > 0);
    for (size_t i = 0; i < len; i++)
        buf[i] = digits[len - 1 - i];
    buf[len] = '\0';
}
