/* Rules for the objects of the networks that need others: the settings must not name a network that
 * cannot work, and the definition that they name must not be broken. What is only not used yet gives a
 * warning: objects come in any order. See api_call.h. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "control/api_call.h"
#include "control/network_check.h"
#include "netpolicy/net_want.h"

/* A network as "NS/NAME"; "" when none. */
struct ref {
    const char *text, *ns, *name;
};

static int admit_settings(struct api_call *c, const struct tree *old, const struct tree *doc);
static int admit_definition(struct api_call *c, const struct tree *doc);
static int admit_policy(struct api_call *c, const struct tree *doc);
static const char *named_network(const struct tree *settings);
static struct ref used_network(struct api_call *c);
static bool is_for_interfaces(const struct tree *nad);

bool
api_admission_is_network(enum kind kind)
{
    return kind == KIND_HCO || kind == KIND_KUBEVIRT || kind == KIND_NAD || kind == KIND_NNCP;
}

int
api_admit_network(struct api_call *c, const struct tree *old, const struct tree *doc)
{
    if (old && tree_equal(tree_get(old, "spec"), tree_get(doc, "spec")))
        return 0;
    switch (c->kind->kind) {
    case KIND_HCO:
    case KIND_KUBEVIRT:
        return admit_settings(c, old, doc);
    case KIND_NAD:
        return admit_definition(c, doc);
    case KIND_NNCP:
        return admit_policy(c, doc);
    default:
        return 0;
    }
}

/* --- HyperConverged, KubeVirt --- */

static int
admit_settings(struct api_call *c, const struct tree *old, const struct tree *doc)
{
    const char *field = c->kind->kind == KIND_HCO ? "spec.liveMigrationConfig.network"
                                                  : "spec.configuration.migrations.network";
    const char *network = named_network(doc), *ns, *name, *elsewhere;
    const struct tree *nad;
    struct nad_config config;
    struct err err = {0};

    if (!*network || (old && strcmp(network, named_network(old)) == 0))
        return 0;
    nad_ref_split(network, DEFAULT_HCO_NAMESPACE, c->arena, &ns, &name);
    nad = store_get(c->api->store, KIND_NAD, ns, name);
    if (!nad) {
        elsewhere = network_check_elsewhere(c->api->store, ns, name, c->arena);
        if (*elsewhere)
            return api_err_field(c, object_name(doc), field, "FieldValueInvalid",
                                 "Invalid value: \"%s\": there is no NetworkAttachmentDefinition "
                                 "%s/%s%s",
                                 network, ns, name, elsewhere);
        api_warn(c,
                 "%s: there is no NetworkAttachmentDefinition %s/%s yet: until there is, no VM is "
                 "migrated",
                 field, ns, name);
        return 0;
    }
    if (nad_config_parse(nad_decode(nad, c->arena), &config, c->arena, &err) != 0 ||
        network_check_range(c->api->store, &config, ns, name, &err) != 0)
        return api_err_field(c, object_name(doc), field, "FieldValueInvalid",
                             "Invalid value: \"%s\": %s", network, err_msg(&err));
    return 0;
}

static const char *
named_network(const struct tree *settings)
{
    const char *network =
        tree_find_string(settings, "", "spec", "liveMigrationConfig", "network", NULL);

    return *network ? network
                    : tree_find_string(settings, "", "spec", "configuration", "migrations",
                                       "network", NULL);
}

/* --- NetworkAttachmentDefinition --- */

static int
admit_definition(struct api_call *c, const struct tree *doc)
{
    const char *ns = object_namespace(doc), *name = object_name(doc);
    const struct nad *nad = nad_decode(doc, c->arena);
    struct ref used = used_network(c);
    bool is_used = strcmp(used.ns, ns) == 0 && strcmp(used.name, name) == 0;
    struct nad_config config, other;
    struct err err = {0};
    const struct tree *there;
    int rc = nad_config_parse(nad, &config, c->arena, &err);

    if (rc == 0 && is_used)
        rc = network_check_range(c->api->store, &config, ns, name, &err);
    if (rc != 0 && is_used)
        return api_err_field(c, name, "spec.config", "FieldValueInvalid",
                             "Invalid value: %s (the migration network)", err_msg(&err));
    if (rc != 0) {
        if (is_for_interfaces(doc))
            api_warn(c, "spec.config: cannot be used as migration network: %s", err_msg(&err));
        return 0;
    }
    there = is_used ? NULL : store_get(c->api->store, KIND_NAD, used.ns, used.name);
    if (there && nad_config_parse(nad_decode(there, c->arena), &other, c->arena, NULL) == 0 &&
        net_check_range_other(&config, &other, used.text, &err) != 0)
        api_warn(c,
                 "spec.config: %s, which is the migration network: nodes that have no address of "
                 "it yet will get none",
                 err_msg(&err));
    return 0;
}

struct search {
    const struct tree *first; /* by name */
};

static bool
find_first(void *ctx, const struct tree *obj)
{
    struct search *s = ctx;

    if (!s->first || strcmp(object_name(obj), object_name(s->first)) < 0)
        s->first = obj;
    return true;
}

/* Of the settings that count: the loops' rule (loop_cache_hco, policy_decide). */
static struct ref
used_network(struct api_call *c)
{
    struct search s = {
        .first = store_get(c->api->store, KIND_HCO, DEFAULT_HCO_NAMESPACE, DEFAULT_HCO_NAME)};
    struct ref r = {"", "", ""};
    const char *network;

    if (!s.first)
        store_list(c->api->store, KIND_HCO, NULL, find_first, &s);
    if (!s.first)
        store_list(c->api->store, KIND_KUBEVIRT, NULL, find_first, &s);
    network = named_network(s.first);
    if (*network) {
        nad_ref_split(network, DEFAULT_HCO_NAMESPACE, c->arena, &r.ns, &r.name);
        r.text = arena_printf(c->arena, "%s/%s", r.ns, r.name);
    }
    return r;
}

/* One that might be meant as a migration network. Others (ovn-k8s-cni-overlay, sriov, ...) are VMs'
 * networks, and none of our business. */
static bool
is_for_interfaces(const struct tree *nad)
{
    static const char *const types[] = {"macvlan", "vlan", "bridge", "cnv-bridge", "host-device"};
    const char *text = tree_find_string(nad, "", "spec", "config", NULL), *type;
    AUTO_TREE struct tree *doc = NULL;
    const struct tree *plugins;

    if (tree_from_json(text, strlen(text), &doc, NULL) != 0)
        return false;
    plugins = tree_get(doc, "plugins");
    type = tree_find_string(tree_len(plugins) > 0 ? tree_at(plugins, 0) : doc, "", "type", NULL);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

/* --- NodeNetworkConfigurationPolicy --- */

/* What of nmstate is not done here is only warned of, as offline: documents that show it can be
 * applied as a whole, and the enactments say that their nodes refuse. */
static int
admit_policy(struct api_call *c, const struct tree *doc)
{
    struct net_wants wants;
    struct err err = {0};
    int rc =
        net_want_policy(tree_find(doc, "spec", "desiredState", NULL), "", c->arena, &wants, &err);
    const char *field, *end;

    if (rc == -ENOTSUP && c->warnings.list.len == 0)
        api_warn(c, "%s", err_msg(&err));
    if (rc == 0 || rc == -ENOTSUP)
        return 0;
    /* ": spec.desiredState.interfaces[0].mtu: 5: want ..." as an error of that field */
    field = strstr(err_msg(&err), "spec.");
    end = field ? strstr(field, ": ") : NULL;
    return end ? api_err_field(c, object_name(doc),
                               arena_strndup(c->arena, field, (size_t)(end - field)),
                               "FieldValueInvalid", "Invalid value: %s", end + 2)
               : api_err_field(c, object_name(doc), "spec.desiredState", "FieldValueInvalid",
                               "Invalid value: %s", err_msg(&err));
}
