/* See replay_data.h. */
#include "bench/replay_data.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/tree.h"
#include "base/sb.h"
#include "base/strmap.h"

#define MAX_FIELDS 8
#define MAX_AMOUNT (1 << 30) /* CPUs, GiB or MiB of one thing */

static const char *const rule_names[REPLAY_RULES] = {"", "affinity", "anti-affinity",
                                                     "fault_domain"};

/* --- numbers for names --- */

/* The number of a name: the next one when it is new. *ret_name: the map's copy, in the arena. */
static size_t
number_of(struct strmap *m, const char *name, struct arena *a, const char **ret_name)
{
    struct named {
        const char *name;
        size_t number;
    } *n = strmap_get(m, name);

    if (!n) {
        n = arena_alloc(a, sizeof *n);
        *n = (struct named){arena_strdup(a, name), strmap_len(m)};
        strmap_put(m, name, n);
    }
    *ret_name = n->name;
    return n->number;
}

/* --- snapshots --- */

static bool
amount(const struct tree *t, const char *key, int64_t *ret)
{
    double v = tree_get_float(tree_get(t, key), -1);

    *ret = v >= 0 && v <= MAX_AMOUNT ? (int64_t)v : -1;
    return *ret >= 0;
}

static int
read_snapshot_host(const struct tree *t, struct strmap *racks, struct arena *a,
                   struct replay_host *ret, struct err *err)
{
    const struct tree *numa = tree_get(t, "numa");
    const char *name = tree_get_string(tree_get(t, "node_id"), NULL);
    AUTO_FREE char *rack = NULL;
    int64_t rack_id;

    if (!name || !amount(t, "rack_id", &rack_id))
        return err_set(err, -EINVAL, "want node_id and rack_id");
    if (tree_len(numa) != REPLAY_NUMA)
        return err_set(err, -EINVAL, "%s: want %d NUMA nodes", name, REPLAY_NUMA);
    rack = xasprintf("rack-%lld", (long long)rack_id);
    ret->name = arena_strdup(a, name);
    ret->rack_index = number_of(racks, rack, a, &ret->rack);
    for (size_t i = 0; i < REPLAY_NUMA; i++) {
        struct replay_size *n = &ret->numa[i];

        if (!amount(tree_at(numa, i), "total_cpu", &n->cpus) ||
            !amount(tree_at(numa, i), "memory_huge_total_mb", &n->mib))
            return err_set(err, -EINVAL, "%s: want total_cpu and memory_huge_total_mb", name);
        ret->all.cpus += n->cpus;
        ret->all.mib += n->mib;
    }
    return 0;
}

static int
read_snapshot_vm(const struct tree *t, struct strmap *used, struct arena *a, struct replay_vm *ret,
                 struct err *err)
{
    const struct tree *numa = tree_get(t, "numa");
    const char *host = tree_get_string(tree_get(t, "host_id"), NULL);

    if (tree_len(numa) < 1 || tree_len(numa) > REPLAY_NUMA || !host)
        return err_set(err, -EINVAL, "want a host_id and 1 or %d NUMA nodes", REPLAY_NUMA);
    ret->numa = (unsigned)tree_len(numa);
    for (size_t i = 0; i < ret->numa; i++) {
        struct replay_size n;

        if (!amount(tree_at(numa, i), "cpu", &n.cpus) ||
            !amount(tree_at(numa, i), "mem_mb", &n.mib))
            return err_set(err, -EINVAL, "want cpu and mem_mb");
        ret->size.cpus += n.cpus;
        ret->size.mib += n.mib;
    }
    number_of(used, host, a, &host);
    return 0;
}

static int
read_snapshot(const struct tree *t, struct arena *a, struct replay *ret, struct err *err)
{
    const struct tree *hosts = tree_get(t, "host_info"), *vms = tree_get(t, "vm_instance");
    struct strmap *racks = strmap_new(), *used = strmap_new();
    int rc = 0;

    ret->name = arena_strdup(a, tree_get_string(tree_get(t, "cluster_name"), "?"));
    ret->hosts_len = tree_len(hosts);
    ret->vms_len = tree_len(vms);
    ret->hosts = arena_calloc(a, ret->hosts_len, sizeof *ret->hosts);
    ret->vms = arena_calloc(a, ret->vms_len, sizeof *ret->vms);
    for (size_t i = 0; i < ret->hosts_len && rc == 0; i++) {
        rc = read_snapshot_host(tree_at(hosts, i), racks, a, &ret->hosts[i], err);
        if (rc != 0)
            err_prefix(err, rc, "%s: host_info[%zu]", ret->name, i);
    }
    for (size_t i = 0; i < ret->vms_len && rc == 0; i++) {
        rc = read_snapshot_vm(tree_at(vms, i), used, a, &ret->vms[i], err);
        if (rc != 0)
            err_prefix(err, rc, "%s: vm_instance[%zu]", ret->name, i);
    }
    ret->racks_len = strmap_len(racks);
    ret->hosts_used = strmap_len(used);
    strmap_free(racks, NULL);
    strmap_free(used, NULL);
    return rc;
}

int
replay_read_snapshots(const char *text, size_t len, struct arena *a, struct replay **ret,
                      size_t *ret_len, struct err *err)
{
    AUTO_TREE struct tree *t = NULL;
    const struct tree *list;
    struct replay *all;
    int rc = tree_from_json(text, len, &t, err);

    if (rc != 0)
        return rc;
    list = tree_get(t, "cluster_list");
    if (tree_len(list) == 0)
        return err_set(err, -EINVAL, "want a cluster_list that is not empty");
    all = arena_calloc(a, tree_len(list), sizeof *all);
    for (size_t i = 0; i < tree_len(list); i++) {
        rc = read_snapshot(tree_at(list, i), a, &all[i], err);
        if (rc != 0)
            return rc;
    }
    *ret = all;
    *ret_len = tree_len(list);
    return 0;
}

/* --- CSV, without quotes --- */

struct csv {
    char *next;
    unsigned line;
    size_t fields_len;
    char *fields[MAX_FIELDS];
};

/* false at the end. */
static bool
csv_next(struct csv *c)
{
    char *line, *field;

    do {
        line = strsep(&c->next, "\n");
        c->line++;
    } while (line && (!*line || *line == '\r'));
    if (!line)
        return false;
    line[strcspn(line, "\r")] = '\0';
    for (c->fields_len = 0; c->fields_len < MAX_FIELDS && (field = strsep(&line, ","));)
        c->fields[c->fields_len++] = field;
    return true;
}

static const char *
csv_field(const struct csv *c, size_t i)
{
    return i < c->fields_len ? c->fields[i] : "";
}

/* Every line must have the header's number of fields. */
static int
csv_row(struct csv *c, size_t want, struct err *err)
{
    if (c->fields_len != want)
        return err_set(err, -EINVAL, "line %u: %zu fields: want %zu", c->line, c->fields_len, want);
    return 0;
}

static int
csv_header(struct csv *c, char *text, const char *header, struct err *err)
{
    *c = (struct csv){.next = text};
    if (strncmp(text, header, strlen(header)) != 0)
        return err_set(err, -EINVAL, "line 1: want %s", header);
    csv_next(c);
    return 0;
}

static int
csv_amount(const struct csv *c, size_t field, int64_t *ret, struct err *err)
{
    const char *s = csv_field(c, field);
    char *end;

    *ret = strtoll(s, &end, 10);
    if (end == s || *end || *ret < 0 || *ret > MAX_AMOUNT)
        return err_set(err, -EINVAL, "line %u: '%s': want a number from 0 to %d", c->line, s,
                       MAX_AMOUNT);
    return 0;
}

/* Before the text is cut up. */
static size_t
count_lines(const char *text)
{
    size_t n = 1;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static int
read_host(const struct csv *c, struct replay_host *ret, struct err *err)
{
    for (size_t i = 0; i < REPLAY_NUMA; i++) {
        struct replay_size *n = &ret->numa[i];
        int rc = csv_amount(c, 2 * i, &n->cpus, err);

        if (rc == 0)
            rc = csv_amount(c, 2 * i + 1, &n->mib, err);
        if (rc != 0)
            return rc;
        n->mib *= 1024;
        ret->all.cpus += n->cpus;
        ret->all.mib += n->mib;
    }
    return 0;
}

static int
read_rack(const struct csv *c, struct strmap *racks, struct arena *a, size_t i,
          struct replay_host *ret, struct err *err)
{
    AUTO_FREE char *want = xasprintf("host-%zu", i), *rack = xasprintf("rack-%s", csv_field(c, 1));

    if (strcmp(csv_field(c, 0), want) != 0)
        return err_set(err, -EINVAL, "line %u: '%s': want %s", c->line, csv_field(c, 0), want);
    rack[strcspn(rack, ".")] = '\0'; /* written as 17.0 */
    ret->name = arena_strdup(a, want);
    ret->rack_index = number_of(racks, rack, a, &ret->rack);
    return 0;
}

int
replay_read_hosts(char *hosts, char *topology, struct arena *a, struct replay *ret, struct err *err)
{
    struct strmap *racks = strmap_new();
    struct csv c;
    int rc;

    ret->hosts = arena_calloc(a, count_lines(hosts), sizeof *ret->hosts);
    ret->hosts_len = 0;
    rc = csv_header(&c, hosts, "CPU1,RAM1,CPU2,RAM2", err);
    while (rc == 0 && csv_next(&c) && (rc = csv_row(&c, 4, err)) == 0)
        rc = read_host(&c, &ret->hosts[ret->hosts_len++], err);
    if (rc == 0)
        rc = csv_header(&c, topology, "host_id,rack_id", err);
    for (size_t i = 0; i < ret->hosts_len && rc == 0; i++) {
        if (!csv_next(&c))
            rc = err_set(err, -EINVAL, "%zu hosts have no rack", ret->hosts_len - i);
        if (rc == 0)
            rc = csv_row(&c, 2, err);
        if (rc == 0)
            rc = read_rack(&c, racks, a, i, &ret->hosts[i], err);
    }
    ret->racks_len = strmap_len(racks);
    strmap_free(racks, NULL);
    return rc;
}

static int
read_request(const struct csv *c, struct strmap *groups, struct arena *a, struct replay_vm *ret,
             struct err *err)
{
    AUTO_FREE char *group = xasprintf("%s-%s", csv_field(c, 3), csv_field(c, 4));
    int64_t numa = 0;
    int rc = csv_amount(c, 0, &ret->size.cpus, err);

    if (rc == 0)
        rc = csv_amount(c, 1, &ret->size.mib, err);
    if (rc == 0)
        rc = csv_amount(c, 2, &numa, err);
    if (rc != 0)
        return rc;
    if (numa < 1 || numa > REPLAY_NUMA)
        return err_set(err, -EINVAL, "line %u: numa '%s': want 1 or %d", c->line, csv_field(c, 2),
                       REPLAY_NUMA);
    ret->size.mib *= 1024;
    ret->numa = (unsigned)numa;
    while (ret->rule < REPLAY_RULES && strcmp(csv_field(c, 3), rule_names[ret->rule]) != 0)
        ret->rule++;
    if (ret->rule == REPLAY_RULES)
        return err_set(err, -EINVAL,
                       "line %u: strategy '%s': want none, affinity, anti-affinity or fault_domain",
                       c->line, csv_field(c, 3));
    if (ret->rule == REPLAY_FREE)
        return 0;
    if (!*csv_field(c, 4) || (ret->rule == REPLAY_FAULT_DOMAIN) != (*csv_field(c, 5) != '\0'))
        return err_set(err, -EINVAL, "line %u: want a group, and a domain with fault_domain",
                       c->line);
    ret->group_index = number_of(groups, group, a, &ret->group);
    if (*csv_field(c, 5))
        ret->domain = arena_strdup(a, csv_field(c, 5));
    return 0;
}

int
replay_read_requests(char *text, struct arena *a, struct replay *ret, struct err *err)
{
    struct strmap *groups = strmap_new();
    struct csv c;
    int rc;

    ret->vms = arena_calloc(a, count_lines(text), sizeof *ret->vms);
    ret->vms_len = 0;
    rc = csv_header(&c, text, "flavor_vcpus,flavor_ram,numa,strategy,group,domain", err);
    while (rc == 0 && csv_next(&c) && (rc = csv_row(&c, 6, err)) == 0)
        rc = read_request(&c, groups, a, &ret->vms[ret->vms_len++], err);
    ret->groups_len = strmap_len(groups);
    strmap_free(groups, NULL);
    return rc;
}
