/* The demo's end: every guest checks its memory; one table of all migrations; what each network
 * carried; the guests' verdicts. What does not add up fails the demo. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/clock.h"
#include "base/fs.h"
#include "cli/client_migration.h"
#include "cli/client_verify.h"
#include "cli/demo.h"

#define CONSOLE_MAX_BYTES (16u << 20)

int
demo_count(struct demo *d, struct demo_net *ret)
{
    struct demo_net sum = {0};

    for (size_t i = 0; i < d->cluster->nodes_len; i++) {
        const char *node = d->cluster->nodes[i].name;
        struct nl_counters mgmt = {0}, mig = {0};
        int rc = dev_counters(d->cluster, node, DEMO_MGMT_IFNAME, &mgmt, &d->err);

        if (rc == 0)
            rc = dev_counters(d->cluster, node, DEMO_MIG_IFNAME, &mig, &d->err);
        if (rc < 0)
            return err_prefix(&d->err, rc, "counters of node %s", node);
        sum.mgmt_bytes += mgmt.rx_bytes + mgmt.tx_bytes;
        sum.mig_bytes += mig.tx_bytes;
    }
    *ret = sum;
    return 0;
}

/* --- the guests check their memory --- */

struct verdict {
    const char *namespace_, *name, *node;
    struct verify_result result;
};

struct verdicts {
    struct verdict *items;
    size_t len;
};

/* Asks all running guests at once, then waits for each. */
static int
verify_all(struct demo *d, struct verdicts *ret)
{
    AUTO_TREE struct tree *list = NULL;
    const struct tree *items;
    int rc = client_list(d->client, kind_info(KIND_VMI), NULL, NULL, &list, &d->err);

    if (rc < 0)
        return rc;
    items = tree_get(list, "items");
    ret->items = arena_calloc(d->arena, tree_len(items) + 1, sizeof(*ret->items));
    for (size_t i = 0; i < tree_len(items); i++) {
        const struct vmi *v = vmi_decode(tree_at(items, i), d->arena);
        struct verdict *w = &ret->items[ret->len];

        if (!v->status.phase || strcmp(v->status.phase, "Running") != 0)
            continue;
        if (strcmp(tree_find_string(tree_at(items, i), "", "metadata", "annotations", ANN_RUNS_ON,
                                    NULL),
                   "libvirt") == 0)
            continue; /* it says so by itself, on its console: say_real */
        w->namespace_ = v->meta.namespace_;
        w->name = v->meta.name;
        w->node = v->status.node_name;
        rc = verify_ask(d->client, w->namespace_, w->name, &w->result, &d->err);
        if (rc < 0)
            return err_prefix(&d->err, rc, "VM %s/%s", w->namespace_, w->name);
        ret->len++;
    }
    for (size_t i = 0; i < ret->len; i++) {
        struct verdict *w = &ret->items[i];

        rc = verify_wait(d->client, w->namespace_, w->name, DEMO_VERIFY_S * 1000000LL, &w->result,
                         &d->err);
        if (rc < 0)
            return err_prefix(&d->err, rc, "VM %s/%s", w->namespace_, w->name);
    }
    return 0;
}

static int
print_verdicts(struct demo *d, const struct verdicts *v)
{
    AUTO_TABLE struct table *t = table_new();
    size_t bad = 0;

    table_column(t, "VM", false);
    table_column(t, "NODE", false);
    table_column(t, "PAGES", true);
    table_column(t, "BAD", true);
    table_column(t, "STEPS", true);
    table_column(t, "THE GUEST SAYS", false);
    for (size_t i = 0; i < v->len; i++) {
        const struct verify_result *r = &v->items[i].result;

        table_cell(t, v->items[i].name);
        table_cell(t, v->items[i].node);
        table_cellf(t, "%lld", (long long)r->pages);
        table_cellf(t, "%lld", (long long)r->bad);
        table_cellf(t, "%lld", (long long)r->steps);
        table_cell(t, r->ok ? "every page is as I wrote it" : "my memory is damaged");
        bad += !r->ok;
    }
    demo_table(d, t);
    if (bad)
        return err_set(&d->err, -EIO, "%zu of %zu guests say that their memory is damaged", bad,
                       v->len);
    if (!v->len)
        return err_set(&d->err, -EPROTO, "no guest runs");
    return 0;
}

/* --- the real VM --- */

/* The last whole line "HB n ... bad=b ..." that the test guest printed where it is now. */
static int
last_beat(struct demo *d, const struct vmi *v, char *buf, size_t size)
{
    const struct dev_node *n = dev_cluster_node(d->cluster, v->status.node_name);
    AUTO_FREE char *path =
        n ? xasprintf("%s/guests/%s/console.log", n->state_dir, v->meta.uid) : NULL;
    AUTO_FREE char *text = NULL;
    char *line, *save = NULL;
    size_t len;

    buf[0] = '\0';
    if (!path || fs_read_all(path, CONSOLE_MAX_BYTES, &text, &len, &d->err) != 0)
        return err_prefix(&d->err, d->err.code, "VM %s", v->meta.name);
    text[len - strlen(strrchr(text, '\n') ? strrchr(text, '\n') : text)] = '\0';
    for (line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save))
        if (strncmp(line, "HB ", 3) == 0 && strstr(line, " bad="))
            snprintf(buf, size, "%s", line);
    return buf[0] ? 0
                  : err_set(&d->err, -EPROTO, "VM %s has not said anything on its console",
                            v->meta.name);
}

/* What became of it, and what it says of its memory on its console. */
static int
say_real(struct demo *d)
{
    AUTO_TREE struct tree *list = NULL;
    const struct tree *items;
    int rc = client_list(d->client, kind_info(KIND_VMI), NULL, NULL, &list, &d->err);

    items = tree_get(list, "items");
    for (size_t i = 0; rc == 0 && i < tree_len(items); i++) {
        const char *on =
            tree_find_string(tree_at(items, i), "", "metadata", "annotations", ANN_RUNS_ON, NULL);
        const struct vmi *v;
        char beat[160];

        if (strcmp(on, "libvirt") != 0)
            continue;
        v = vmi_decode(tree_at(items, i), d->arena);
        if ((rc = last_beat(d, v, beat, sizeof(beat))) != 0)
            break;
        demo_say(d, 2, "VM %s is QEMU's, and moved by method relay; on its console: %s",
                 v->meta.name, beat);
        if (!strstr(beat, " bad=0 "))
            rc = err_set(&d->err, -EIO, "VM %s says that its memory is damaged", v->meta.name);
    }
    return rc;
}

/* --- the migrations --- */

static int
by_start(const void *x, const void *y)
{
    const struct migration *a = x, *b = y;

    if (a->started_us != b->started_us)
        return (a->started_us > b->started_us) - (a->started_us < b->started_us);
    return strcmp(a->vm, b->vm);
}

/* Nothing may be missing from the table: each migration went well and says what it took. */
static int
check_migration(struct demo *d, const struct migration *m)
{
    const char *missing = !m->final                  ? "is not over"
                          : m->failed                ? "failed"
                          : !m->has_result           ? "has no result"
                          : !m->address[0]           ? "has no target address"
                          : m->guest_downtime_ms < 0 ? "has no downtime of its guest"
                                                     : NULL;

    if (!missing)
        return 0;
    return err_set(&d->err, -EPROTO, "migration %s of VM %s %s%s%s", m->name, m->vm, missing,
                   m->failure[0] ? ": " : "", m->failure);
}

static int
print_migrations(struct demo *d, uint64_t *ret_sent, size_t *ret_len)
{
    static const char *const left[] = {"VM", "POLICY", "FROM", "TO", "TARGET ADDRESS"};
    static const char *const right[] = {"SENT", "ROUNDS", "TIME", "DOWNTIME"};
    AUTO_TREE struct tree *list = NULL;
    AUTO_TABLE struct table *t = table_new();
    struct migration *rows;
    size_t len;
    int rc = client_list(d->client, kind_info(KIND_VMIM), NULL, NULL, &list, &d->err);

    if (rc < 0)
        return rc;
    len = tree_len(tree_get(list, "items"));
    rows = arena_calloc(d->arena, len + 1, sizeof(*rows));
    for (size_t i = 0; i < len; i++)
        migration_read(tree_at(tree_get(list, "items"), i), d->arena, &rows[i]);
    qsort(rows, len, sizeof(*rows), by_start);
    table_set_tight(t);
    for (size_t i = 0; i < ARRAY_LEN(left); i++)
        table_column(t, left[i], false);
    for (size_t i = 0; i < ARRAY_LEN(right); i++)
        table_column(t, right[i], true);
    *ret_sent = 0;
    for (size_t i = 0; i < len; i++) {
        const struct migration *m = &rows[i];
        AUTO_SB struct sb sent = SB_INIT, time = SB_INIT, downtime = SB_INIT;

        rc = check_migration(d, m);
        if (rc < 0)
            return rc;
        human_bytes(&sent, m->result_sent_bytes);
        human_ms(&time, m->result_total_ms);
        human_ms(&downtime, m->guest_downtime_ms);
        table_cell(t, m->vm);
        table_cell(t, m->policy[0] ? m->policy : "-");
        table_cell(t, m->source);
        table_cell(t, m->target);
        table_cell(t, m->address);
        table_cell(t, sb_str(&sent));
        table_cellf(t, "%lld", (long long)m->result_rounds);
        table_cell(t, sb_str(&time));
        table_cell(t, sb_str(&downtime));
        *ret_sent += (uint64_t)m->result_sent_bytes;
    }
    demo_table(d, t);
    *ret_len = len;
    return 0;
}

/* --- the networks --- */

/* The proof: what the migrations sent is on the dedicated network, and not on the other one. */
static int
print_networks(struct demo *d, uint64_t sent)
{
    uint64_t mgmt = d->net_after.mgmt_bytes - d->net_before.mgmt_bytes;
    uint64_t mig = d->net_after.mig_bytes - d->net_before.mig_bytes;
    AUTO_TABLE struct table *t = table_new();
    double share = mig + mgmt ? (double)mig * 100 / (double)(mig + mgmt) : 0;
    AUTO_SB struct sb a = SB_INIT, b = SB_INIT, c = SB_INIT;

    human_bytes(&a, (int64_t)mig);
    human_bytes(&b, (int64_t)mgmt);
    human_bytes(&c, (int64_t)sent);
    table_set_tight(t);
    table_column(t, "NETWORK", false);
    table_column(t, "CARRIED", true);
    table_column(t, "SHARE", true);
    table_column(t, "WHAT", false);
    table_cell(t, "migration, " DEV_NET_MIG);
    table_cell(t, sb_str(&a));
    table_cellf(t, "%.2f %%", share);
    table_cellf(t, "the %s that the migrations sent, and headers", sb_str(&c));
    table_cell(t, "management, " DEV_NET_MGMT);
    table_cell(t, sb_str(&b));
    table_cellf(t, "%.2f %%", 100 - share);
    table_cell(t, "the API: watches, heartbeats, progress");
    demo_table(d, t);
    if (mig < sent)
        return err_set(&d->err, -EPROTO,
                       "the migration network carried %s, less than the %s that the migrations "
                       "sent: memory went another way",
                       sb_str(&a), sb_str(&c));
    if (mgmt > sent * DEMO_MANAGEMENT_PERMILLE / 1000)
        return err_set(&d->err, -EPROTO,
                       "the management network carried %s, more than %d %% of the %s that the "
                       "migrations sent: memory may have gone over it",
                       sb_str(&b), DEMO_MANAGEMENT_PERMILLE / 10, sb_str(&c));
    return 0;
}

int
demo_report(struct demo *d)
{
    struct verdicts verdicts = {0};
    uint64_t sent = 0;
    size_t len = 0;
    int rc;

    rc = demo_count(d, &d->net_after);
    if (rc == 0)
        rc = verify_all(d, &verdicts);
    if (rc == 0)
        rc = print_migrations(d, &sent, &len);
    if (rc < 0)
        return rc;
    demo_blank(d);
    rc = print_networks(d, sent);
    if (rc < 0)
        return rc;
    demo_blank(d);
    rc = print_verdicts(d, &verdicts);
    if (rc == 0 && d->real)
        rc = say_real(d);
    if (rc < 0)
        return rc;
    demo_good(d, "%zu migrations, all memory over the dedicated network, no byte of it damaged",
              len);
    return 0;
}
