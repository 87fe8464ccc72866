/* See control/network_check.h. */
#include "control/network_check.h"

#include <errno.h>
#include <string.h>

#include "api/object.h"
#include "base/sb.h"
#include "netpolicy/net_want.h"

struct range_check {
    const struct nad_config *config;
    const char *ns, *name;
    int rc;
    struct err err; /* the first by text: the order of the store means nothing */
};

static bool check_node(void *ctx, const struct tree *node);
static bool check_definition(void *ctx, const struct tree *nad);
static void keep_first(struct range_check *c, int rc, const struct err *err);

int
network_check_range(struct store *store, const struct nad_config *config, const char *ns,
                    const char *name, struct err *err)
{
    struct range_check c = {.config = config, .ns = ns, .name = name};

    store_list(store, KIND_NODE, NULL, check_node, &c);
    store_list(store, KIND_NAD, NULL, check_definition, &c);
    return c.rc ? err_set(err, c.rc, "%s", err_msg(&c.err)) : 0;
}

static bool
check_node(void *ctx, const struct tree *node)
{
    struct range_check *c = ctx;
    const struct tree *list = tree_find(node, "status", "addresses", NULL);

    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *a = tree_at(list, i);
        AUTO_FREE char *whose = NULL;
        struct err err = {0};
        struct ip ip;

        if (strcmp(tree_find_string(a, "", "type", NULL), "InternalIP") != 0 ||
            ip_parse(tree_find_string(a, "", "address", NULL), &ip, NULL) != 0)
            continue;
        whose = xasprintf("node %s's management address", object_name(node));
        keep_first(c, net_check_range_address(c->config, &ip, whose, &err), &err);
    }
    return true;
}

static bool
check_definition(void *ctx, const struct tree *nad)
{
    struct range_check *c = ctx;
    struct arena *a;
    struct nad_config other;
    struct err err = {0};

    if (strcmp(object_namespace(nad), c->ns) == 0 && strcmp(object_name(nad), c->name) == 0)
        return true;
    a = arena_new();
    if (nad_config_parse(nad_decode(nad, a), &other, a, NULL) == 0) {
        AUTO_FREE char *ref = xasprintf("%s/%s", object_namespace(nad), object_name(nad));

        keep_first(c, net_check_range_other(c->config, &other, ref, &err), &err);
    }
    arena_free(a);
    return true;
}

static void
keep_first(struct range_check *c, int rc, const struct err *err)
{
    if (rc == 0 || (c->rc && strcmp(err_msg(&c->err), err_msg(err)) <= 0))
        return;
    c->rc = rc;
    c->err = *err;
}

struct search {
    const char *name;
    const struct tree *found; /* the first by namespace */
};

static bool
same_name(void *ctx, const struct tree *nad)
{
    struct search *s = ctx;

    if (strcmp(object_name(nad), s->name) == 0 &&
        (!s->found || strcmp(object_namespace(nad), object_namespace(s->found)) < 0))
        s->found = nad;
    return true;
}

const char *
network_check_elsewhere(struct store *store, const char *ns, const char *name, struct arena *a)
{
    struct search s = {.name = name};

    store_list(store, KIND_NAD, NULL, same_name, &s);
    if (!s.found)
        return "";
    return arena_printf(a,
                        "; one of that name is in namespace %s: want it in %s, or network: %s/%s",
                        object_namespace(s.found), ns, object_namespace(s.found), name);
}
