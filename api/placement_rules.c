/* Rules of what says where something may run; see placement_rules.h. */
#include "api/placement_rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/selector.h"
#include "base/strmap.h"

static void check_requirement_values(struct check *c, const struct tree *map, struct tree *values,
                                     const char *op);
static void check_node_name(struct check *c, const struct tree *values);
static void check_toleration_value(struct check *c, const struct tree *map, const char *op);
static void check_label_keys(struct check *c, const struct tree *map, const char *field);
static void check_keys_apart(struct check *c, const struct tree *keys, const struct tree *others,
                             const char *why);
static void check_keys_unselected(struct check *c, const struct tree *map);
static bool selects_key(const struct tree *selector, const char *key);
static bool has_text(const struct tree *list, const char *text);

/* The documents write `values: [8]` under Gt (seeds P10): an integer there is meant as its text. */
void
placement_prepare_requirement(struct check *c, struct tree *map)
{
    const char *op = tree_get_string(tree_get(map, "operator"), "");
    struct tree *values = tree_get(map, "values");
    struct path field, item;

    if ((strcmp(op, "Gt") != 0 && strcmp(op, "Lt") != 0) || tree_type(values) != TREE_LIST ||
        tree_len(values) != 1 || tree_type(tree_at(values, 0)) != TREE_INT)
        return;
    int64_t i = tree_get_int(tree_at(values, 0), 0);
    struct tree *list = tree_list(), *text = tree_stringf("%" PRId64, i);

    tree_set_pos(list, tree_pos(values));
    tree_set_pos(text, tree_pos(tree_at(values, 0)));
    tree_append(list, text);
    tree_set(map, "values", list);
    check_enter(c, &field, "values");
    check_enter_item(c, &item, 0);
    check_warn(c, "should be a string: %" PRId64 " is taken as \"%" PRId64 "\"", i, i);
    check_leave(c);
    check_leave(c);
}

void
placement_requirement(struct check *c, struct tree *map)
{
    const char *op = tree_get_string(tree_get(map, "operator"), "");
    struct tree *key = tree_get(map, "key"), *values = tree_get(map, "values");
    struct path p;

    if (*tree_get_string(key, "")) {
        check_enter(c, &p, "key");
        check_label_key(c, key);
        check_leave(c);
    }
    if (values && tree_type(values) != TREE_LIST)
        return;
    check_enter(c, &p, "values");
    check_requirement_values(c, map, values, op);
    check_leave(c);
}

static void
check_requirement_values(struct check *c, const struct tree *map, struct tree *values,
                         const char *op)
{
    size_t len = tree_len(values);
    struct tree_pos pos = tree_pos(values ? values : map);
    bool compares = strcmp(op, "Gt") == 0 || strcmp(op, "Lt") == 0;
    int64_t i;

    if ((strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0) && len == 0)
        check_required(c, pos, "must be specified when `operator` is 'In' or 'NotIn'");
    else if ((strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0) && len > 0)
        check_forbidden(c, pos,
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    else if (compares && len != 1)
        check_required(c, pos, "must be specified single value when `operator` is 'Lt' or 'Gt'");
    for (size_t v = 0; v < len; v++) {
        struct tree *value = tree_at(values, v);
        struct path p;

        if (tree_type(value) != TREE_STRING)
            continue;
        check_enter_item(c, &p, v);
        check_label_value(c, value);
        if (compares && len == 1 && !label_int(tree_get_string(value, ""), &i))
            check_invalid(c, value, "must be an integer when `operator` is 'Lt' or 'Gt'");
        check_leave(c);
    }
}

/* matchFields knows the node's name only. */
void
placement_field_requirement(struct check *c, struct tree *map)
{
    static const char *const keys[] = {"metadata.name", NULL};
    static const char *const operators[] = {"In", "NotIn", NULL};
    struct tree *key = tree_get(map, "key"), *op = tree_get(map, "operator");
    struct path p;

    if (*tree_get_string(key, "") && !check_is_one_of(tree_get_string(key, ""), keys)) {
        check_enter(c, &p, "key");
        check_unsupported(c, key, keys, NULL);
        check_leave(c);
    }
    if (!*tree_get_string(op, ""))
        return;
    if (!check_is_one_of(tree_get_string(op, ""), operators)) {
        check_enter(c, &p, "operator");
        check_unsupported(c, op, operators, NULL);
        check_leave(c);
    } else if (tree_len(tree_get(map, "values")) != 1) {
        check_field_required(c, map, "values",
                             "must be only one value when `operator` is 'In' or 'NotIn' for node "
                             "field selector");
    } else {
        check_enter(c, &p, "values");
        check_node_name(c, tree_get(map, "values"));
        check_leave(c);
    }
}

static void
check_node_name(struct check *c, const struct tree *values)
{
    struct path p;

    check_enter_item(c, &p, 0);
    if (tree_type(tree_at(values, 0)) == TREE_STRING)
        check_name(c, tree_at(values, 0));
    check_leave(c);
}

void
placement_required_terms(struct check *c, struct tree *list)
{
    if (tree_len(list) == 0)
        check_required(c, tree_pos(list), "must have at least one node selector term");
}

/* It would match no node, whatever its author meant. */
void
placement_required_term(struct check *c, struct tree *map)
{
    if (tree_len(tree_get(map, "matchExpressions")) + tree_len(tree_get(map, "matchFields")) == 0)
        check_required(c, tree_pos(map),
                       "must have at least one of matchExpressions and matchFields: an empty term "
                       "matches no node");
}

void
placement_weight(struct check *c, struct tree *v)
{
    int64_t weight = tree_get_int(v, 0);

    if (weight < 1 || weight > 100)
        check_invalid(c, v, "must be in the range 1-100");
}

void
placement_topology_key(struct check *c, struct tree *v)
{
    if (!*tree_get_string(v, ""))
        check_required(c, tree_pos(v), "can not be empty");
    else
        check_label_key(c, v);
}

void
placement_namespaces(struct check *c, struct tree *list)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        struct path p;

        check_enter_item(c, &p, i);
        check_name_label(c, tree_at(list, i));
        check_leave(c);
    }
}

void
placement_pod_term(struct check *c, struct tree *map)
{
    check_label_keys(c, map, "matchLabelKeys");
    check_label_keys(c, map, "mismatchLabelKeys");
    check_keys_unselected(c, map);
    check_keys_apart(c, tree_get(map, "matchLabelKeys"), tree_get(map, "mismatchLabelKeys"),
                     "exists in both matchLabelKeys and mismatchLabelKeys");
}

/* Keys whose values are the author's own labels, at field of map. */
static void
check_label_keys(struct check *c, const struct tree *map, const char *field)
{
    const struct tree *keys = tree_get(map, field);
    struct path outer, item;

    if (tree_type(keys) != TREE_LIST || tree_len(keys) == 0)
        return;
    if (!tree_get(map, "labelSelector")) {
        check_field_forbidden(c, map, field, "must not be specified when labelSelector is not set");
        return;
    }
    check_enter(c, &outer, field);
    for (size_t i = 0; i < tree_len(keys); i++) {
        check_enter_item(c, &item, i);
        if (tree_type(tree_at(keys, i)) == TREE_STRING)
            check_label_key(c, tree_at(keys, i));
        check_leave(c);
    }
    check_leave(c);
}

/* At the term: no key of matchLabelKeys is in others, too. */
static void
check_keys_apart(struct check *c, const struct tree *keys, const struct tree *others,
                 const char *why)
{
    struct path outer, item;

    check_enter(c, &outer, "matchLabelKeys");
    for (size_t i = 0; i < tree_len(keys); i++) {
        const char *key = tree_get_string(tree_at(keys, i), NULL);

        if (!key || !has_text(others, key))
            continue;
        check_enter_item(c, &item, i);
        check_invalid(c, tree_at(keys, i), "%s", why);
        check_leave(c);
    }
    check_leave(c);
}

/* At the term or constraint: matchLabelKeys add to labelSelector and repeat nothing of it. */
static void
check_keys_unselected(struct check *c, const struct tree *map)
{
    const struct tree *keys = tree_get(map, "matchLabelKeys");
    const struct tree *selector = tree_get(map, "labelSelector");
    AUTO_TREE struct tree *selected = tree_list();

    for (size_t i = 0; i < tree_len(keys); i++) {
        const char *key = tree_get_string(tree_at(keys, i), NULL);

        if (key && selects_key(selector, key))
            tree_append(selected, tree_string(key));
    }
    check_keys_apart(c, keys, selected, "exists in both matchLabelKeys and labelSelector");
}

static bool
selects_key(const struct tree *selector, const char *key)
{
    const struct tree *exprs = tree_get(selector, "matchExpressions");

    if (tree_get(tree_get(selector, "matchLabels"), key))
        return true;
    for (size_t i = 0; i < tree_len(exprs); i++)
        if (strcmp(tree_get_string(tree_get(tree_at(exprs, i), "key"), ""), key) == 0)
            return true;
    return false;
}

static bool
has_text(const struct tree *list, const char *text)
{
    for (size_t i = 0; i < tree_len(list); i++)
        if (strcmp(tree_get_string(tree_at(list, i), ""), text) == 0)
            return true;
    return false;
}

void
placement_toleration(struct check *c, struct tree *map)
{
    const char *key = tree_get_string(tree_get(map, "key"), "");
    const char *op = tree_get_string(tree_get(map, "operator"), "");
    const char *effect = tree_get_string(tree_get(map, "effect"), "");
    struct path p;

    if (*key) {
        check_enter(c, &p, "key");
        check_label_key(c, tree_get(map, "key"));
        check_leave(c);
    } else if (strcmp(op, "Exists") != 0) {
        check_field_invalid(c, map, "operator",
                            "operator must be Exists when `key` is empty, which means \"match all "
                            "values and all keys\"");
    }
    if (tree_get(map, "tolerationSeconds") && strcmp(effect, "NoExecute") != 0)
        check_field_invalid(c, map, "effect",
                            "effect must be 'NoExecute' when `tolerationSeconds` is set");
    check_toleration_value(c, map, op);
}

static void
check_toleration_value(struct check *c, const struct tree *map, const char *op)
{
    struct tree *value = tree_get(map, "value");
    const char *text = tree_get_string(value, "");
    char canonical[32];
    int64_t i;

    if (strcmp(op, "Exists") == 0) {
        if (*text)
            check_field_invalid(c, map, "value", "value must be empty when `operator` is 'Exists'");
        return;
    }
    if (strcmp(op, "Gt") == 0 || strcmp(op, "Lt") == 0) {
        bool ok = label_int(text, &i);

        if (ok) {
            snprintf(canonical, sizeof canonical, "%" PRId64, i);
            ok = strcmp(canonical, text) == 0;
        }
        if (!ok)
            check_field_invalid(c, map, "value",
                                "value must be a decimal integer without leading zeros or '+' when "
                                "`operator` is 'Gt' or 'Lt'");
        return;
    }
    if (tree_type(value) == TREE_STRING) {
        struct path p;

        check_enter(c, &p, "value");
        check_label_value(c, value);
        check_leave(c);
    }
}

void
placement_above_zero(struct check *c, struct tree *v)
{
    int64_t i = tree_get_int(v, 0);

    if (i <= 0)
        check_invalid(c, v, "must be greater than zero");
    else if (i > INT32_MAX)
        check_invalid(c, v, "is too large");
}

void
placement_spread(struct check *c, struct tree *map)
{
    const char *action = tree_get_string(tree_get(map, "whenUnsatisfiable"), "");

    if (tree_get(map, "minDomains") && strcmp(action, "DoNotSchedule") != 0)
        check_field_invalid(c, map, "minDomains",
                            "can only use minDomains if whenUnsatisfiable=DoNotSchedule");
    check_label_keys(c, map, "matchLabelKeys");
    check_keys_unselected(c, map);
}

/* Taints must differ in key or effect. */
void
check_taints(struct check *c, struct tree *list)
{
    struct strmap *seen = strmap_new();

    for (size_t i = 0; i < tree_len(list); i++) {
        struct tree *taint = tree_at(list, i);
        AUTO_FREE char *id = xasprintf("%s:%s", tree_get_string(tree_get(taint, "key"), ""),
                                       tree_get_string(tree_get(taint, "effect"), ""));
        struct path p;

        if (!strmap_put(seen, id, taint))
            continue;
        check_enter_item(c, &p, i);
        check_duplicate(c, taint);
        check_leave(c);
    }
    strmap_free(seen, NULL);
}

/* Spread constraints must differ in topologyKey or whenUnsatisfiable. */
void
check_spreads(struct check *c, struct tree *list)
{
    struct strmap *seen = strmap_new();

    for (size_t i = 0; i < tree_len(list); i++) {
        struct tree *s = tree_at(list, i);
        AUTO_FREE char *id = xasprintf("{%s, %s}", tree_get_string(tree_get(s, "topologyKey"), ""),
                                       tree_get_string(tree_get(s, "whenUnsatisfiable"), ""));
        struct path p;

        if (!strmap_put(seen, id, s))
            continue;
        AUTO_TREE struct tree *text = tree_string(id);

        tree_set_pos(text, tree_pos(s));
        check_enter_item(c, &p, i);
        check_duplicate(c, text);
        check_leave(c);
    }
    strmap_free(seen, NULL);
}
