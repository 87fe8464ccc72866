/* Networks in words: a node's migration network, the interfaces that its NodeNetworkState object
 * lists, and what the enactments of a NodeNetworkConfigurationPolicy have come to. Everything is
 * read out of objects that others write; what is not there is said, never guessed. */
#include "cli/print_describe.h"

#include <inttypes.h>
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "cli/client_migration.h"
#include "cli/print_table.h"

static void put_speed(int64_t mbps, struct sb *out);
static void put_counter(struct describe *d, const char *label, const struct tree *link,
                        const char *bytes, const char *dropped);
static void put_interface(struct table *t, const struct tree *i);
static void put_addresses(const struct tree *i, struct sb *out);
static void put_names(const struct tree *list, const char *before, struct sb *out);
static void put_rows(struct describe *d, struct table *t, const char *none);

static void
line_text(struct describe *d, const char *label, const struct tree *map, const char *key)
{
    const char *text = tree_find_string(map, "", key, NULL);

    if (text[0])
        describe_line(d, label, "%s", text);
}

void
describe_migration_network(struct describe *d, const struct tree *node)
{
    AUTO_TREE struct tree *link = object_annotation_json(node, ANN_MIGRATION_LINK);
    AUTO_TREE struct tree *given = object_annotation_json(node, ANN_MIGRATION_ADDRESS);
    const struct tree *c = object_condition(node, COND_MIGRATION_NETWORK);
    const struct tree *rdma = object_condition(node, COND_MIGRATION_RDMA);
    const char *status = tree_find_string(c, "", "status", NULL);
    const char *refused = tree_find_string(given, "", "reason", NULL);
    const char *wants = tree_find_string(given, "", "address", NULL);
    const char *has = tree_find_string(link, "", "address", NULL);
    int64_t mtu = tree_get_int(tree_get(link, "mtu"), 0);
    int64_t speed = tree_get_int(tree_get(link, "speedMbps"), 0);
    int64_t limit = tree_get_int(tree_get(link, "limitBytesPerSecond"), 0);
    AUTO_SB struct sb text = SB_INIT;

    describe_section(d, "Migration network");
    if (c)
        describe_line(d, "  State", "%s, %s: %s",
                      strcmp(status, "True") == 0    ? "ready"
                      : strcmp(status, "False") == 0 ? "not ready"
                                                     : "unknown",
                      tree_find_string(c, "?", "reason", NULL),
                      tree_find_string(c, "", "message", NULL));
    else
        describe_line(d, "  State", "unknown: no handler has reported it");
    line_text(d, "  Network", given, "network");
    if (refused[0])
        describe_line(d, "  No address", "%s: %s", refused,
                      tree_find_string(given, "", "message", NULL));
    else if (!has[0] || strncmp(wants, has, strlen(has)) != 0 || wants[strlen(has)] != '/')
        line_text(d, "  Given address", given, "address");
    if (!link)
        return;
    line_text(d, "  Interface", link, "interface");
    line_text(d, "  Address", link, "address");
    if (tree_get(link, "trusted"))
        describe_line(d, "  Trusted", "%s",
                      tree_get_bool(tree_get(link, "trusted"), false)
                          ? "yes: RDMA may be used, which does not encrypt"
                          : "no: only TCP is used");
    if (rdma)
        describe_line(d, "  RDMA", "%s", tree_find_string(rdma, "", "message", NULL));
    if (mtu > 0)
        describe_line(d, "  MTU", "%" PRId64, mtu);
    if (speed > 0)
        put_speed(speed, &text);
    describe_line(d, "  Speed", "%s", speed > 0 ? sb_str(&text) : "the link does not say");
    sb_reset(&text);
    if (limit > 0)
        human_rate(&text, limit);
    describe_line(d, "  Kernel limit", "%s", limit > 0 ? sb_str(&text) : "none");
    put_counter(d, "  Received", link, "rxBytes", "rxDropped");
    put_counter(d, "  Sent", link, "txBytes", "txDropped");
}

void
describe_network_cell(const struct tree *node, struct sb *out)
{
    AUTO_TREE struct tree *link = object_annotation_json(node, ANN_MIGRATION_LINK);
    const struct tree *c = object_condition(node, COND_MIGRATION_NETWORK);
    const char *status = tree_find_string(c, "", "status", NULL);
    const struct tree *rdma = object_condition(node, COND_MIGRATION_RDMA);
    const char *reason = tree_find_string(c, "-", "reason", NULL);
    int64_t speed = tree_get_int(tree_get(link, "speedMbps"), 0);

    if (strcmp(status, "True") != 0) {
        sb_puts(out, reason);
        return;
    }
    if (strcmp(reason, "NoDedicatedNetwork") == 0) {
        sb_puts(out, "management");
        return;
    }
    sb_puts(out, tree_find_string(link, "dedicated", "interface", NULL));
    if (speed > 0) {
        sb_putc(out, ' ');
        put_speed(speed, out);
    }
    if (strcmp(tree_find_string(rdma, "", "status", NULL), "True") == 0)
        sb_puts(out, " RDMA");
}

static void
put_speed(int64_t mbps, struct sb *out)
{
    if (mbps >= 1000)
        sb_printf(out, "%g Gb/s", (double)mbps / 1000);
    else
        sb_printf(out, "%" PRId64 " Mb/s", mbps);
}

void
describe_interfaces(struct describe *d, const struct tree *nns)
{
    static const char *const headings[] = {"NAME", "TYPE",      "STATE",  "MAC ADDRESS",
                                           "MTU",  "ADDRESSES", "DETAILS"};
    const struct tree *list = tree_find(nns, "status", "currentState", "interfaces", NULL);
    AUTO_TABLE struct table *t = table_new();

    describe_section(d, "Interfaces");
    for (size_t i = 0; i < ARRAY_LEN(headings); i++)
        table_column(t, headings[i], false);
    table_set_tight(t);
    for (size_t i = 0; i < tree_len(list); i++)
        put_interface(t, tree_at(list, i));
    put_rows(d, t,
             nns ? "<none reported>" : "<unknown: there is no NodeNetworkState of this node>");
}

static void
put_interface(struct table *t, const struct tree *i)
{
    static const char *const in[][2] = {{"vlan", "id"}, {"mac-vlan", "mode"}};
    const char *controller = tree_find_string(i, "", "controller", NULL);
    int64_t mtu = tree_get_int(tree_get(i, "mtu"), 0);
    AUTO_SB struct sb addresses = SB_INIT, part = SB_INIT;

    put_addresses(i, &addresses);
    if (controller[0])
        sb_printf(&part, "port of %s", controller);
    for (size_t k = 0; k < ARRAY_LEN(in); k++) {
        const struct tree *sub = tree_get(i, in[k][0]);
        const char *base = tree_find_string(sub, "", "base-iface", NULL);
        const struct tree *what = tree_get(sub, in[k][1]);

        if (!base[0])
            continue;
        sb_printf(&part, "%son %s", part.len ? ", " : "", base);
        if (tree_type(what) == TREE_INT)
            sb_printf(&part, ", %s %" PRId64, in[k][1], tree_get_int(what, 0));
        else
            sb_printf(&part, ", %s", tree_get_string(what, ""));
    }
    sb_printf(&part, "%s%s", part.len && tree_get(i, "link-aggregation") ? ", " : "",
              tree_find_string(i, "", "link-aggregation", "mode", NULL));
    put_names(tree_find(i, "bridge", "port", NULL), "ports ", &part);
    put_names(tree_find(i, "link-aggregation", "port", NULL), "ports ", &part);
    table_cell(t, tree_find_string(i, "", "name", NULL));
    table_cell(t, tree_find_string(i, "", "type", NULL));
    table_cell(t, tree_find_string(i, "", "state", NULL));
    table_cell(t, tree_find_string(i, "-", "mac-address", NULL));
    if (mtu > 0)
        table_cellf(t, "%" PRId64, mtu);
    else
        table_cell(t, "-");
    table_cell(t, addresses.len ? sb_str(&addresses) : "-");
    table_cell(t, sb_str(&part));
}

static void
put_addresses(const struct tree *i, struct sb *out)
{
    static const char *const families[] = {"ipv4", "ipv6"};

    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        const struct tree *list = tree_find(i, families[f], "address", NULL);

        for (size_t k = 0; k < tree_len(list); k++)
            sb_printf(out, "%s%s/%" PRId64, out->len ? "," : "",
                      tree_find_string(tree_at(list, k), "?", "ip", NULL),
                      tree_get_int(tree_get(tree_at(list, k), "prefix-length"), 0));
    }
}

/* Ports: texts, or maps with a name. */
static void
put_names(const struct tree *list, const char *before, struct sb *out)
{
    for (size_t k = 0; k < tree_len(list); k++) {
        const struct tree *p = tree_at(list, k);

        sb_printf(out, "%s%s", k ? "," : out->len ? ", " : "", k ? "" : before);
        sb_puts(out, tree_get_string(p, tree_find_string(p, "?", "name", NULL)));
    }
}

/* The condition of an enactment or policy that is true; nmstate's order for those that are
 * written half-way: what goes wrong, then what goes on. */
static const struct tree *
holds(const struct tree *obj)
{
    static const char *const types[] = {"Failing",     "Degraded",  "Aborted", "Pending",
                                        "Progressing", "Available", "Ignored"};

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        const struct tree *c = object_condition(obj, types[i]);

        if (strcmp(tree_find_string(c, "", "status", NULL), "True") == 0)
            return c;
    }
    return NULL;
}

void
describe_enactments(struct describe *d, const struct tree *list, const char *by)
{
    static const char *const headings[] = {"CONDITION", "REASON", "MESSAGE"};
    const char *heading = strcmp(by, LABEL_NMSTATE_NODE) == 0 ? "NODE" : "POLICY";
    const struct tree *items = tree_get(list, "items");
    AUTO_TABLE struct table *t = table_new();

    describe_section(d, "Enactments");
    table_column(t, heading, false);
    for (size_t i = 0; i < ARRAY_LEN(headings); i++)
        table_column(t, headings[i], false);
    for (size_t i = 0; i < tree_len(items); i++) {
        const struct tree *e = tree_at(items, i), *c = holds(e);

        table_cell(t, tree_find_string(e, "?", "metadata", "labels", by, NULL));
        table_cell(t, tree_find_string(c, "<none yet>", "type", NULL));
        table_cell(t, tree_find_string(c, "", "reason", NULL));
        table_cell(t, tree_find_string(c, "", "message", NULL));
    }
    put_rows(d, t, "<none>");
}

static void
put_rows(struct describe *d, struct table *t, const char *none)
{
    if (table_rows(t))
        table_flush(t, 2, &d->out);
    else
        sb_printf(&d->out, "  %s\n", none);
}

void
describe_nncp(struct describe *d, const struct tree *obj)
{
    const struct tree *c = holds(obj), *max = tree_find(obj, "spec", "maxUnavailable", NULL);

    describe_line(d, "State", "%s%s%s", tree_find_string(c, "<not handled yet>", "type", NULL),
                  c ? ": " : "", tree_find_string(c, "", "message", NULL));
    describe_map(d, "Node selector", tree_find(obj, "spec", "nodeSelector", NULL));
    if (tree_type(max) == TREE_INT)
        describe_line(d, "Max unavailable", "%" PRId64, tree_get_int(max, 0));
    else
        describe_line(d, "Max unavailable", "%s", tree_get_string(max, "50%"));
    describe_yaml(d, "Desired state", tree_find(obj, "spec", "desiredState", NULL));
    describe_conditions(d, obj);
}

void
describe_nnce(struct describe *d, const struct tree *obj)
{
    const struct tree *c = holds(obj);

    describe_line(d, "Node", "%s",
                  tree_find_string(obj, "<none>", "metadata", "labels", LABEL_NMSTATE_NODE, NULL));
    describe_line(
        d, "Policy", "%s",
        tree_find_string(obj, "<none>", "metadata", "labels", LABEL_NMSTATE_POLICY, NULL));
    describe_line(d, "State", "%s%s%s", tree_find_string(c, "<not handled yet>", "type", NULL),
                  c ? ": " : "", tree_find_string(c, "", "message", NULL));
    describe_yaml(d, "Desired state", tree_find(obj, "status", "desiredState", NULL));
    describe_conditions(d, obj);
}

void
describe_nns(struct describe *d, const struct tree *obj)
{
    const char *at = tree_find_string(obj, "", "status", "lastSuccessfulUpdateTime", NULL);
    int64_t us = 0;

    if (time_parse(at, &us, NULL) == 0)
        describe_time(d, "Read from the host", us);
    describe_interfaces(d, obj);
    describe_conditions(d, obj);
}

static void
put_counter(struct describe *d, const char *label, const struct tree *link, const char *bytes,
            const char *dropped)
{
    int64_t n = tree_get_int(tree_get(link, bytes), -1);
    AUTO_SB struct sb text = SB_INIT;

    if (n < 0)
        return;
    human_bytes(&text, n);
    describe_line(d, label, "%s, %" PRId64 " packets dropped", sb_str(&text),
                  tree_get_int(tree_get(link, dropped), 0));
}
