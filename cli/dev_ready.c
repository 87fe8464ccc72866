/* What a dev cluster asks its controller: are the nodes Ready, where are they on the migration network,
 * and here are their taints. See dev_priv.h. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/sb.h"
#include "cli/dev_priv.h"
#include "proto/rest.h"

#define CALL_MS 5000

static void look_at(struct dev_node *n, const struct tree *list, struct sb *missing);

static int
call(const struct dev_cluster *c, const char *method, const char *path, const char *type,
     const struct sb *body, struct rest_reply *ret, struct err *err)
{
    struct rest *r = rest_new(c->url, err);
    int rc;

    if (!r)
        return err && err->code ? err->code : -EINVAL;
    rest_set_timeout(r, CALL_MS);
    rc = rest_call(r, method, path, NULL, type, body ? body->buf : NULL, body ? body->len : 0, ret,
                   err);
    rest_free(r);
    return rc;
}

int
dev_ready_check(struct dev_cluster *c, struct err *err)
{
    AUTO_TREE struct tree *list = NULL;
    AUTO_SB struct sb missing = SB_INIT;
    struct rest_reply reply = {0};
    int rc = call(c, "GET", "/api/v1/nodes", NULL, NULL, &reply, err);

    if (rc != 0) {
        err_prefix(err, rc, "the controller does not answer");
        return -EAGAIN;
    }
    rc = reply.status == 200 ? tree_from_json(reply.body, reply.len, &list, err)
                             : rest_reply_err(&reply, err);
    rest_reply_done(&reply);
    if (rc != 0) {
        err_prefix(err, rc, "the controller's list of nodes");
        return -EAGAIN;
    }
    for (size_t i = 0; i < c->nodes_len; i++)
        look_at(&c->nodes[i], list, &missing);
    return missing.len == 0 ? 0 : err_set(err, -EAGAIN, "not Ready: %s", sb_str(&missing));
}

int
dev_ready_taint(const struct dev_cluster *c, const char *node, const struct taint *taints,
                size_t len, struct err *err)
{
    AUTO_FREE char *path = xasprintf("/api/v1/nodes/%s", node);
    AUTO_TREE struct tree *patch = tree_map();
    struct tree *list = tree_list();
    AUTO_SB struct sb body = SB_INIT;
    struct rest_reply reply = {0};
    int rc;

    for (size_t i = 0; i < len; i++) {
        struct tree *t = tree_map();

        tree_set(t, "key", tree_string(taints[i].key));
        if (taints[i].value)
            tree_set(t, "value", tree_string(taints[i].value));
        tree_set(t, "effect", tree_string(taints[i].effect));
        tree_append(list, t);
    }
    tree_set_path(patch, list, "spec", "taints", NULL);
    tree_to_json(patch, 0, &body);
    rc = call(c, "PATCH", path, REST_MERGE_PATCH, &body, &reply, err);
    if (rc == 0) {
        if (reply.status != 200)
            rc = rest_reply_err(&reply, err);
        rest_reply_done(&reply);
    }
    return rc != 0 ? err_prefix(err, rc, "taints of node %s", node) : 0;
}

static const struct tree *
find(const struct tree *list, const char *key, const char *value)
{
    for (size_t i = 0; i < tree_len(list); i++)
        if (strcmp(tree_find_string(tree_at(list, i), "", key, NULL), value) == 0)
            return tree_at(list, i);
    return NULL;
}

static void
look_at(struct dev_node *n, const struct tree *list, struct sb *missing)
{
    const struct tree *items = tree_get(list, "items"), *o = NULL, *ready, *network, *address;

    for (size_t i = 0; i < tree_len(items) && !o; i++)
        if (strcmp(tree_find_string(tree_at(items, i), "", "metadata", "name", NULL), n->name) == 0)
            o = tree_at(items, i);
    ready = find(tree_find(o, "status", "conditions", NULL), "type", "Ready");
    network = find(tree_find(o, "status", "conditions", NULL), "type", COND_MIGRATION_NETWORK);
    address = find(tree_find(o, "status", "addresses", NULL), "type", "MigrationIP");
    snprintf(n->mig_ip, sizeof n->mig_ip, "%s", tree_find_string(address, "", "address", NULL));
    if (strcmp(tree_find_string(ready, "", "status", NULL), "True") != 0)
        sb_printf(missing, "%s%s", missing->len ? ", " : "", n->name);
    else if (n->libvirt &&
             strcmp(tree_find_string(o, "", "metadata", "labels", LABEL_HYPERVISOR_LIBVIRT, NULL),
                    "true") != 0)
        sb_printf(missing, "%s%s (its libvirt)", missing->len ? ", " : "", n->name);
    else if (network && strcmp(tree_find_string(network, "", "status", NULL), "True") != 0)
        sb_printf(missing, "%s%s (migration network: %s)", missing->len ? ", " : "", n->name,
                  tree_find_string(network, "", "message", NULL));
}
