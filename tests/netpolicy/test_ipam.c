/* Which node gets which address: pools' names and forms, each way to an address, and random lives of
 * pools in which nodes come and go and ranges change. IPAM_SEED=n runs one seed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/object.h"
#include "base/rng.h"
#include "base/sb.h"
#include "netpolicy/ipam.h"

#define NS       "openshift-cnv"
#define SECOND   INT64_C(1000000)
#define NOW      (INT64_C(1700000000) * SECOND)
#define WHERE(x) "\"ipam\":{\"type\":\"whereabouts\"," x "}"
#define STATIC3                                                                   \
    "\"ipam\":{\"type\":\"static\",\"addresses\":[{\"address\":\"10.9.0.5/24\"}," \
    "{\"address\":\"10.9.0.2/24\"},{\"address\":\"10.9.1.7/16\"}]}"
#define STATIC6 "\"ipam\":{\"type\":\"static\",\"addresses\":[{\"address\":\"fd00:9::5/64\"}]}"

static void
parse(const char *ipam, struct arena *a, struct nad_config *ret)
{
    AUTO_FREE char *text =
        xasprintf("{\"name\":\"n\",\"type\":\"macvlan\",\"master\":\"eth1\",%s}", ipam);
    struct nad nad = {.meta = {.name = "mig", .namespace_ = NS}, .config = text};
    struct err err = {0};

    if (nad_config_parse(&nad, ret, a, &err) != 0)
        fail_msg("%s", err_msg(&err));
}

/* Words of a text, "a=b" as {a, b}; "a=!b": and a keeps it. */
static size_t
nodes_of(const char *text, struct ipam_node *nodes, struct arena *a)
{
    char *copy = arena_strdup(a, text), *save = NULL;
    size_t len = 0;

    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(w, '=');

        nodes[len] = (struct ipam_node){.name = w, .has_found = eq != NULL};
        if (eq) {
            *eq++ = '\0';
            nodes[len].fixed = *eq == '!';
            assert_int_equal(ip_parse(eq + nodes[len].fixed, &nodes[len].found, NULL), 0);
        }
        len++;
    }
    return len;
}

/* With all that is to be given; true when the pool has changed. */
static bool
assign(struct tree *pool, const struct nad_config *c, struct ipam_node *nodes, size_t len,
       int64_t now_us, int *ret_rc, struct err *err)
{
    AUTO_TREE struct tree *before = tree_copy(pool);

    *ret_rc = ipam_assign(pool, c, NS, nodes, len, true, now_us, err);
    return !tree_equal(before, pool);
}

static void
print_nodes(const struct nad_config *c, const struct ipam_node *nodes, size_t len, struct sb *out)
{
    char text[CIDR_TEXT_SIZE];

    for (size_t i = 0; i < len; i++) {
        snprintf(text, sizeof(text), "none");
        if (nodes[i].has_address)
            ipam_address_text(c, &nodes[i].address, text, sizeof(text));
        sb_printf(out, "%s%s=%s", i ? " " : "", nodes[i].name, text);
    }
}

/* --- names and forms --- */

static const struct {
    const char *ipam, *name, *range;
} pool_cases[] = {
    {WHERE("\"range\":\"10.200.5.0/24\""), "10.200.5.0-24", "10.200.5.0/24"},
    {WHERE("\"range\":\"10.200.5.77/24\""), "10.200.5.0-24", "10.200.5.0/24"},
    {WHERE("\"range\":\"fd00::/64\""), "fd00---64", "fd00::/64"},
    {WHERE("\"range\":\"::2:0:0:0/80\""), "0--2-0-0-0-80", "::2:0:0:0/80"},
    {STATIC3, NS "-mig", "0.0.0.0/0"},
    {STATIC6, NS "-mig", "::/0"},
};

static void
test_pools(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(pool_cases); i++) {
        struct arena *a = arena_new();
        struct nad_config c;
        struct field_errors errs = {.arena = a};
        struct warnings warn = {.arena = a};
        struct ipam_node node = {.name = "n1"};
        struct tree *pool;
        int rc;

        parse(pool_cases[i].ipam, a, &c);
        assert_true(ipam_gives(&c));
        pool = ipam_pool_new(&c, NS, "mig");
        assert_string_equal(object_name(pool), pool_cases[i].name);
        assert_string_equal(object_namespace(pool), NS);
        assert_string_equal(tree_find_string(pool, "", "spec", "range", NULL), pool_cases[i].range);
        assert_true(assign(pool, &c, &node, 1, NOW, &rc, NULL));
        assert_int_equal(rc, 0);
        assert_int_equal(object_validate(pool, VALIDATE_CREATE, &errs, &warn), 0);
        tree_free(pool);
        arena_free(a);
    }
}

static void
test_gives_none(void **unused)
{
    struct arena *a = arena_new();
    struct nad_config c;

    (void)unused;
    parse("\"ipam\":{}", a, &c);
    assert_false(ipam_gives(&c));
    arena_free(a);
}

/* --- one assignment after others --- */

struct step {
    const char *ipam; /* NULL: as before */
    const char *nodes, *got;
    bool unchanged; /* the pool is as it was */
};
#define NET24 WHERE("\"range\":\"10.200.5.0/24\"")
#define NET30 WHERE("\"range\":\"10.200.5.0/30\"")

static const struct {
    const char *name;
    struct step steps[6];
} cases[] = {
    {"lowest first, in the order of nodes",
     {{NET24, "b a c", "b=10.200.5.1/24 a=10.200.5.2/24 c=10.200.5.3/24", false},
      {NULL, "a b c", "a=10.200.5.2/24 b=10.200.5.1/24 c=10.200.5.3/24", true}}},
    {"a node that comes later fills a gap, one that comes back has its own",
     {{NET24, "a b c", "a=10.200.5.1/24 b=10.200.5.2/24 c=10.200.5.3/24", false},
      {NULL, "a c", "a=10.200.5.1/24 c=10.200.5.3/24", false},
      {NULL, "a c", "a=10.200.5.1/24 c=10.200.5.3/24", true},
      {NULL, "a c d", "a=10.200.5.1/24 c=10.200.5.3/24 d=10.200.5.4/24", false},
      {NULL, "a b d", "a=10.200.5.1/24 b=10.200.5.2/24 d=10.200.5.4/24", false}}},
    {"what is there already is kept, before others get one",
     {{NET24, "a b=10.200.5.1 c=10.200.5.9", "a=10.200.5.2/24 b=10.200.5.1/24 c=10.200.5.9/24",
       false},
      {NULL, "a=10.200.5.77 b c", "a=10.200.5.2/24 b=10.200.5.1/24 c=10.200.5.9/24", true}}},
    {"what is there already is not kept: outside, the network's, broadcast, of another",
     {{NET24, "a=10.200.6.1 b=10.200.5.0 c=10.200.5.255 d=10.200.5.9 e=10.200.5.9",
       "a=10.200.5.1/24 b=10.200.5.2/24 c=10.200.5.3/24 d=10.200.5.9/24 e=10.200.5.4/24", false}}},
    {"what a node keeps goes before what is remembered, but not before another's",
     {{NET24, "a b c", "a=10.200.5.1/24 b=10.200.5.2/24 c=10.200.5.3/24", false},
      {NULL, "a=!10.200.5.9 b=!10.200.5.3 c=!10.200.6.1",
       "a=10.200.5.9/24 b=10.200.5.2/24 c=10.200.5.3/24", false},
      {NULL, "a=!10.200.5.9 b c", "a=10.200.5.9/24 b=10.200.5.2/24 c=10.200.5.3/24", true},
      {NULL, "a b c=!10.200.5.1", "a=10.200.5.9/24 b=10.200.5.2/24 c=10.200.5.1/24", false}}},
    {"full: the one that is gone longest gives its up",
     {{NET30, "a b", "a=10.200.5.1/30 b=10.200.5.2/30", false},
      {NULL, "a b c", "a=10.200.5.1/30 b=10.200.5.2/30 c=none", true},
      {NULL, "a", "a=10.200.5.1/30", false},
      {NULL, "c", "c=10.200.5.2/30", false},
      {NULL, "c b d", "c=10.200.5.2/30 b=10.200.5.1/30 d=none", false}}},
    {"of two that went at once, the first by name",
     {{NET30, "b a", "b=10.200.5.1/30 a=10.200.5.2/30", false},
      {NULL, "", "", false},
      {NULL, "c", "c=10.200.5.2/30", false}}},
    {"a changed range: what is still allowed stays",
     {{NET24, "a b c", "a=10.200.5.1/24 b=10.200.5.2/24 c=10.200.5.3/24", false},
      {WHERE("\"range\":\"10.200.5.0/24\",\"exclude\":[\"10.200.5.2/32\"]"), "a b c",
       "a=10.200.5.1/24 b=10.200.5.4/24 c=10.200.5.3/24", false},
      {WHERE("\"range\":\"10.200.5.0/24\",\"range_start\":\"10.200.5.3\",\"range_end\":"
             "\"10.200.5.5\""),
       "a b c", "a=10.200.5.5/24 b=10.200.5.4/24 c=10.200.5.3/24", false},
      {WHERE("\"range\":\"10.200.0.0/16\""), "a b c",
       "a=10.200.5.5/16 b=10.200.5.4/16 c=10.200.5.3/16", false},
      {WHERE("\"range\":\"fd00::/64\""), "a b c", "a=fd00::1/64 b=fd00::2/64 c=fd00::3/64",
       false}}},
    {"start, end and exclusions",
     {{WHERE("\"range\":\"10.200.5.0/24\",\"range_start\":\"10.200.5.10\",\"range_end\":"
             "\"10.200.5.14\",\"exclude\":[\"10.200.5.11/32\",\"10.200.5.12/31\"]"),
       "a b c", "a=10.200.5.10/24 b=10.200.5.14/24 c=none", false}}},
    {"IPv6 has no broadcast address",
     {{WHERE("\"range\":\"fd00:5::/126\""), "a b c d",
       "a=fd00:5::1/126 b=fd00:5::2/126 c=fd00:5::3/126 d=none", false}}},
    {"a large IPv6 range, far offsets",
     {{WHERE("\"range\":\"fd00::/8\""), "a=fdff:ffff:ffff:ffff:ffff:ffff:ffff:fff0 b",
       "a=fdff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/8 b=fd00::1/8", false},
      {NULL, "a b", "a=fdff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/8 b=fd00::1/8", true}}},
    {"static addresses, in their order, each with its prefix",
     {{STATIC3, "a b c d", "a=10.9.0.5/24 b=10.9.0.2/24 c=10.9.1.7/16 d=none", false},
      {NULL, "b c d", "b=10.9.0.2/24 c=10.9.1.7/16 d=10.9.0.5/24", false},
      {STATIC6, "b c", "b=fd00:9::5/64 c=none", false}}},
};

static void
test_assign(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new();
        struct tree *pool = NULL;
        struct nad_config c = {0};

        for (size_t s = 0; s < ARRAY_LEN(cases[i].steps) && cases[i].steps[s].nodes; s++) {
            const struct step *t = &cases[i].steps[s];
            struct ipam_node nodes[8];
            AUTO_SB struct sb got = SB_INIT;
            size_t len;
            bool changed, none = strstr(t->got, "none") != NULL;
            struct err err = {0};
            int rc;

            if (t->ipam)
                parse(t->ipam, a, &c);
            if (!pool)
                pool = ipam_pool_new(&c, NS, "mig");
            len = nodes_of(t->nodes, nodes, a);
            changed = assign(pool, &c, nodes, len, NOW + (int64_t)s * SECOND, &rc, &err);
            print_nodes(&c, nodes, len, &got);
            if (strcmp(sb_str(&got), t->got) != 0 || rc != (none ? -ENOSPC : 0) ||
                changed == t->unchanged)
                fail_msg("%s, step %zu: %d, changed %d: %s\nwant %s", cases[i].name, s, rc, changed,
                         sb_str(&got), t->got);
        }
        tree_free(pool);
        arena_free(a);
    }
}

static void
test_nothing_new(void **unused)
{
    struct arena *a = arena_new();
    struct nad_config c;
    struct ipam_node nodes[3];
    AUTO_SB struct sb got = SB_INIT;
    struct tree *pool;
    size_t len;

    (void)unused;
    parse(NET24, a, &c);
    pool = ipam_pool_new(&c, NS, "mig");
    ipam_assign(pool, &c, NS, nodes, nodes_of("a", nodes, a), true, NOW, NULL);
    len = nodes_of("c a b=10.200.5.9", nodes, a);
    assert_int_equal(ipam_assign(pool, &c, NS, nodes, len, false, NOW, NULL), -ENOSPC);
    print_nodes(&c, nodes, len, &got);
    assert_string_equal(sb_str(&got), "c=none a=10.200.5.1/24 b=none");
    tree_free(pool);
    arena_free(a);
}

static void
test_full_says(void **unused)
{
    struct arena *a = arena_new();
    struct nad_config c;
    struct ipam_node nodes[3] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
    struct tree *pool;
    struct err err = {0};

    (void)unused;
    parse(NET30, a, &c);
    pool = ipam_pool_new(&c, NS, "mig");
    assert_int_equal(ipam_assign(pool, &c, NS, nodes, 3, true, NOW, &err), -ENOSPC);
    assert_string_equal(err_msg(&err), "10.200.5.0/30 is full: 2 of 3 nodes have an address");
    tree_free(pool);
    arena_free(a);
}

/* --- pools that people have edited, and those of before --- */

static const struct {
    const char *name, *spec, *got; /* for nodes a and b in 10.200.5.0/24 */
} edited_cases[] = {
    {"as we write it",
     "{\"range\":\"10.200.5.0/24\",\"allocations\":{\"7\":{\"id\":\"a\"},\"1\":{\"id\":\"b\"}}}",
     "a=10.200.5.7/24 b=10.200.5.1/24"},
    {"of another network's pool with the same address",
     "{\"range\":\"10.200.0.0/16\",\"allocations\":{\"1287\":{\"id\":\"a\"}}}",
     "a=10.200.5.7/24 b=10.200.5.1/24"},
    {"two addresses for one node: the lower",
     "{\"range\":\"10.200.5.0/24\",\"allocations\":{\"7\":{\"id\":\"a\"},\"3\":{\"id\":\"a\"}}}",
     "a=10.200.5.3/24 b=10.200.5.1/24"},
    {"keys that are no offset",
     "{\"range\":\"10.200.5.0/24\",\"allocations\":{\"\":{\"id\":\"a\"},\"007\":{\"id\":\"a\"},"
     "\"x\":{\"id\":\"a\"},\"-1\":{\"id\":\"a\"},\"256\":{\"id\":\"a\"},"
     "\"340282366920938463463374607431768211457\":{\"id\":\"a\"},"
     "\"99999999999999999999999999999999999999999999\":{\"id\":\"b\"}}}",
     "a=10.200.5.1/24 b=10.200.5.2/24"},
    {"values that are no allocation",
     "{\"range\":\"10.200.5.0/24\",\"allocations\":{\"1\":null,\"2\":{\"id\":5},\"3\":[]}}",
     "a=10.200.5.1/24 b=10.200.5.2/24"},
    {"no range", "{\"allocations\":{\"7\":{\"id\":\"a\"}}}", "a=10.200.5.1/24 b=10.200.5.2/24"},
    {"allocations are a list", "{\"range\":\"10.200.5.0/24\",\"allocations\":[]}",
     "a=10.200.5.1/24 b=10.200.5.2/24"},
};

static void
test_edited(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(edited_cases); i++) {
        struct arena *a = arena_new();
        struct nad_config c;
        struct ipam_node nodes[2] = {{.name = "a"}, {.name = "b"}};
        AUTO_SB struct sb got = SB_INIT;
        struct tree *pool, *spec;
        bool changed;
        int rc;

        parse(NET24, a, &c);
        pool = ipam_pool_new(&c, NS, "mig");
        assert_int_equal(
            tree_from_json(edited_cases[i].spec, strlen(edited_cases[i].spec), &spec, NULL), 0);
        tree_set(pool, "spec", spec);
        changed = assign(pool, &c, nodes, 2, NOW, &rc, NULL);
        print_nodes(&c, nodes, 2, &got);
        if (strcmp(sb_str(&got), edited_cases[i].got) != 0 || !changed)
            fail_msg("%s: %s", edited_cases[i].name, sb_str(&got));
        tree_free(pool);
        arena_free(a);
    }
}

static void
test_adopt(void **unused)
{
    struct arena *a = arena_new();
    struct nad_config old, now;
    struct ipam_node nodes[3] = {{.name = "a"}, {.name = "b"}, {.name = "c"}}, one = {.name = "b"};
    AUTO_SB struct sb got = SB_INIT;
    struct tree *before, *pool;

    (void)unused;
    parse(NET24, a, &old);
    parse(WHERE("\"range\":\"10.200.4.0/23\",\"exclude\":[\"10.200.5.1/32\"]"), a, &now);
    before = ipam_pool_new(&old, NS, "mig");
    ipam_assign(before, &old, NS, nodes, 3, true, NOW, NULL);
    pool = ipam_pool_new(&now, NS, "mig");
    ipam_assign(pool, &now, NS, &one, 1, true, NOW, NULL); /* b has another already */
    ipam_pool_adopt(pool, before);
    ipam_assign(pool, &now, NS, nodes, 3, true, NOW, NULL);
    print_nodes(&now, nodes, 3, &got);
    assert_string_equal(sb_str(&got), "a=10.200.4.2/23 b=10.200.4.1/23 c=10.200.5.3/23");
    assert_string_equal(tree_find_string(pool, "", "spec", "range", NULL), "10.200.4.0/23");
    tree_free(before);
    tree_free(pool);
    arena_free(a);
}

/* --- random lives --- */

static const char *const ranges[] = {
    NET24,
    NET30,
    WHERE(
        "\"range\":\"10.200.5.0/28\",\"range_start\":\"10.200.5.2\",\"range_end\":\"10.200.5.9\""),
    WHERE("\"range\":\"10.200.5.0/27\",\"exclude\":[\"10.200.5.4/30\",\"10.200.5.9/32\"]"),
    WHERE("\"range\":\"fd00:5::/64\""),
    WHERE("\"range\":\"fd00:5::/125\",\"exclude\":[\"fd00:5::2/128\"]"),
    STATIC3,
};
/* How many addresses each has, counted by hand. */
static const size_t capacities[] = {254, 2, 8, 30 - 4 - 1, SIZE_MAX, 6, 3};

#define LIFE_NODES 40

struct was {
    bool has;
    struct ip ip;
};

static void
check_life(uint64_t seed, int turn, const struct nad_config *c, size_t capacity,
           const struct ipam_node *nodes, size_t len, const struct was *was, int rc)
{
    size_t with = 0;
    bool first_none = false;

    for (size_t i = 0; i < len; i++) {
        const struct was *w = &was[atoi(nodes[i].name)];

        if (!nodes[i].has_address) {
            first_none = true;
            continue;
        }
        with++;
        if (!nad_address_allowed(c, &nodes[i].address))
            fail_msg("seed %llu, turn %d: %s has an address that is not allowed",
                     (unsigned long long)seed, turn, nodes[i].name);
        for (size_t j = 0; j < i; j++)
            if (nodes[j].has_address && ip_equal(&nodes[i].address, &nodes[j].address))
                fail_msg("seed %llu, turn %d: %s and %s have one address", (unsigned long long)seed,
                         turn, nodes[i].name, nodes[j].name);
        if (w->has && nad_address_allowed(c, &w->ip) && !ip_equal(&w->ip, &nodes[i].address))
            fail_msg("seed %llu, turn %d: %s had one that is allowed, and has another",
                     (unsigned long long)seed, turn, nodes[i].name);
    }
    if (with != (len < capacity ? len : capacity) || (rc == 0) == first_none)
        fail_msg("seed %llu, turn %d: %zu of %zu nodes have an address, and there are %zu: %d",
                 (unsigned long long)seed, turn, with, len, capacity, rc);
}

static void
live(uint64_t seed)
{
    struct arena *a = arena_new();
    struct rng rng;
    struct nad_config c;
    struct tree *pool = NULL;
    bool there[LIFE_NODES] = {0};
    struct was was[LIFE_NODES] = {{0}}; /* of nodes that have been there without a break */
    char names[LIFE_NODES][12];
    size_t range = 0;

    rng_seed(&rng, seed);
    for (int i = 0; i < LIFE_NODES; i++)
        snprintf(names[i], sizeof(names[i]), "%d", i);
    for (int turn = 0; turn < 60; turn++) {
        struct ipam_node nodes[LIFE_NODES];
        size_t len = 0;
        int rc;

        if (turn == 0 || rng_below(&rng, 8) == 0) {
            size_t next = rng_below(&rng, ARRAY_LEN(ranges));
            struct tree *old = pool;

            range = next;
            parse(ranges[range], a, &c);
            pool = ipam_pool_new(&c, NS, "mig");
            if (old)
                ipam_pool_adopt(pool, old);
            tree_free(old);
        }
        for (uint64_t n = rng_below(&rng, 6); n > 0; n--) {
            size_t i = rng_below(&rng, LIFE_NODES);

            there[i] = !there[i];
            was[i].has = false;
        }
        for (size_t i = 0; i < LIFE_NODES; i++) {
            if (!there[i])
                continue;
            nodes[len] = (struct ipam_node){.name = names[i], .has_found = rng_below(&rng, 4) == 0};
            if (nodes[len].has_found && was[rng_below(&rng, LIFE_NODES)].has)
                nodes[len].found = was[rng_below(&rng, LIFE_NODES)].ip;
            len++;
        }
        assign(pool, &c, nodes, len, NOW + turn * SECOND, &rc, NULL);
        check_life(seed, turn, &c, capacities[range], nodes, len, was, rc);
        for (size_t i = 0; i < len; i++)
            was[atoi(nodes[i].name)] = (struct was){nodes[i].has_address, nodes[i].address};
        /* A restart: the same pool, and nothing that has changed. */
        if (assign(pool, &c, nodes, len, NOW + turn * SECOND, &rc, NULL))
            fail_msg("seed %llu, turn %d: the pool changes though nothing has",
                     (unsigned long long)seed, turn);
        check_life(seed, turn, &c, capacities[range], nodes, len, was, rc);
    }
    tree_free(pool);
    arena_free(a);
}

static void
test_lives(void **unused)
{
    const char *one = getenv("IPAM_SEED");

    (void)unused;
    if (one) {
        live(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= 200; seed++)
        live(seed);
}

/* Nodes by the thousand: the work grows with their number, not with its square. */
static void
test_many(void **unused)
{
    struct arena *a = arena_new();
    size_t len = 5000;
    struct ipam_node *nodes = arena_calloc(a, len, sizeof(*nodes));
    struct nad_config c;
    struct tree *pool;

    (void)unused;
    parse(WHERE("\"range\":\"10.200.0.0/16\""), a, &c);
    for (size_t i = 0; i < len; i++)
        nodes[i].name = arena_printf(a, "n%zu", i);
    pool = ipam_pool_new(&c, NS, "mig");
    assert_int_equal(ipam_assign(pool, &c, NS, nodes, len, true, NOW, NULL), 0);
    for (size_t i = 0; i < len; i++)
        for (size_t j = i; j-- > 0 && j + 3 > i;)
            assert_true(ip_cmp(&nodes[j].address, &nodes[i].address) < 0);
    tree_free(pool);
    arena_free(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pools),     cmocka_unit_test(test_gives_none),
        cmocka_unit_test(test_assign),    cmocka_unit_test(test_nothing_new),
        cmocka_unit_test(test_full_says), cmocka_unit_test(test_edited),
        cmocka_unit_test(test_adopt),     cmocka_unit_test(test_lives),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
