/* New network checkups (netpolicy/checkup_object.h): parameters that no handler could act on are
 * refused here, because nobody else would ever answer; nodes that are not named are chosen. See
 * api_admission.c. */
#include <string.h>

#include "control/api_call.h"
#include "control/api_columns.h"
#include "netpolicy/checkup_object.h"

static void drop_results(struct tree *cm);
static int choose_nodes(struct api_call *c, struct tree *cm);
static bool find_ready(void *ctx, const struct tree *node);

int
api_admit_checkup(struct api_call *c, struct tree *cm)
{
    struct checkup_params p;
    struct err err = {0};

    if (!checkup_object_is(cm))
        return 0;
    drop_results(cm);
    if (!checkup_object_names_node(cm) && choose_nodes(c, cm) != 0)
        return -1;
    if (checkup_object_params(cm, &p, &err) != 0)
        return api_err_field(c, object_name(cm), "data", "FieldValueInvalid", "Invalid value: %s",
                             err_msg(&err));
    for (int i = 0; i < 2; i++) {
        const char *node = i == 0 ? p.source : p.target;

        if (!store_get(c->api->store, KIND_NODE, NULL, node))
            return api_err_field(c, object_name(cm), "data", "FieldValueInvalid",
                                 "Invalid value: %s: there is no node \"%s\"",
                                 i == 0 ? CHECKUP_SOURCE : CHECKUP_TARGET, node);
    }
    return 0;
}

/* As the status of any new object: what came with it is of an earlier one. So a checkup that was
 * printed, deleted and created from what was printed runs again. */
static void
drop_results(struct tree *cm)
{
    struct tree *data = tree_get(cm, "data");

    for (size_t i = tree_len(data); i-- > 0;)
        if (strncmp(tree_key_at(data, i), CHECKUP_STATUS, sizeof CHECKUP_STATUS - 1) == 0)
            tree_del(data, tree_key_at(data, i));
}

struct two_nodes {
    const char *names[2];
    size_t len;
};

/* The first two by name whose handlers beat. */
static int
choose_nodes(struct api_call *c, struct tree *cm)
{
    struct two_nodes found = {.len = 0};

    store_list(c->api->store, KIND_NODE, NULL, find_ready, &found);
    if (found.len < 2)
        return api_err_field(c, object_name(cm), "data", "FieldValueInvalid",
                             "Invalid value: " CHECKUP_SOURCE
                             ": none is named, and there are no two nodes that are Ready");
    tree_set_path(cm, tree_string(found.names[0]), "data", CHECKUP_SOURCE, NULL);
    tree_set_path(cm, tree_string(found.names[1]), "data", CHECKUP_TARGET, NULL);
    return 0;
}

static bool
find_ready(void *ctx, const struct tree *node)
{
    struct two_nodes *f = ctx;
    const struct tree *ready = object_condition(node, "Ready");

    if (ready && strcmp(tree_find_string(ready, "", "status", NULL), "True") == 0)
        f->names[f->len++] = object_name(node);
    return f->len < 2;
}
