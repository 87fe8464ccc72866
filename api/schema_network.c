/* Field tables and rules of networks: NetworkAttachmentDefinition (k8s.cni.cncf.io/v1), and what handlers
 * and the controller write. A NAD's CNI configuration is JSON inside a string; what it says is netpolicy's to
 * judge. The table of policies is in schema_nncp.c. */
#include "api/schema.h"

#include <string.h>

static void prepare_nad_spec(struct check *c, struct tree *spec);
static void check_nad_config(struct check *c, struct tree *v);

/* --- NetworkAttachmentDefinition --- */

static const struct field nad_spec_fields[] = {
    {.name = "config", .type = F_STRING, .at = AT(struct nad, config), .check = check_nad_config},
    {0},
};
static const struct schema nad_spec_schema = {.fields = nad_spec_fields,
                                              .prepare = prepare_nad_spec};

static const struct field nad_fields[] = {
    OBJECT_FIELDS(struct nad),
    {.name = "spec", .type = F_MAP, .at = FLAT, .sub = &nad_spec_schema},
    {0},
};
const struct schema nad_schema = {.fields = nad_fields, .size = sizeof(struct nad)};

/* --- what the handlers and the controller write --- */

static const struct field nns_fields[] = {
    OBJECT_FIELDS(struct nad), /* only metadata is looked at */
    {.name = "status", .type = F_ANY},
    {0},
};
const struct schema nns_schema = {.fields = nns_fields};
const struct schema nnce_schema = {.fields = nns_fields};

static const struct field ippool_spec_fields[] = {
    {.name = "range", .type = F_STRING},
    {.name = "allocations", .type = F_ANY},
    {0},
};
static const struct schema ippool_spec_schema = {.fields = ippool_spec_fields};

static const struct field ippool_fields[] = {
    OBJECT_FIELDS(struct nad),
    {.name = "spec", .type = F_MAP, .sub = &ippool_spec_schema},
    {0},
};
const struct schema ippool_schema = {.fields = ippool_fields};

static const struct field configmap_fields[] = {
    OBJECT_FIELDS(struct nad),
    {.name = "data", .type = F_KV},
    {.name = "binaryData", .type = F_ANY},
    {.name = "immutable", .type = F_BOOL},
    {0},
};
const struct schema configmap_schema = {.fields = configmap_fields};

/* --- rules --- */

/* A configuration written as a map instead of a text is clear enough to be taken. */
static void
prepare_nad_spec(struct check *c, struct tree *spec)
{
    struct tree *config = tree_get(spec, "config");
    AUTO_SB struct sb json = SB_INIT;
    struct path p;

    if (tree_type(config) != TREE_MAP)
        return;
    tree_to_json(config, 0, &json);
    struct tree *text = tree_string(sb_str(&json));

    tree_set_pos(text, tree_pos(config));
    tree_set(spec, "config", text);
    check_enter(c, &p, "config");
    check_warn(c,
               "should be a string with the CNI configuration as JSON: the map is turned into one");
    check_leave(c);
}

static void
check_nad_config(struct check *c, struct tree *v)
{
    const char *s = tree_get_string(v, "");
    AUTO_TREE struct tree *config = NULL;
    struct err why;

    if (s[strspn(s, " \t\r\n")] == '\0')
        return; /* upstream takes the configuration from the node's files then */
    if (tree_from_json(s, strlen(s), &config, &why) != 0)
        check_invalid(c, v, "not JSON: %s", why.msg);
    else if (tree_type(config) != TREE_MAP)
        check_invalid(c, v, "want a CNI configuration as a JSON object, not a %s",
                      tree_type_name(tree_type(config)));
}
