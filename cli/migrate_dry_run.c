/* See migrate_dry_run.h. */
#include "cli/migrate_dry_run.h"

#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "cli/client_migration.h"
#include "cli/client_trace.h"
#include "cli/offline_policy.h"
#include "cli/simulate_print.h"
#include "netpolicy/checkup_object.h"

#define WATCH_MS         1000
#define WATCH_TIMEOUT_US 15000000
#define ASSUMED_RATE     1250000000 /* bytes a second: 10 Gb/s */

struct facts {
    struct simulate_config sim;
    char guest[256], link[256]; /* where its parts come from */
};

static int fetch_objects(struct verb *v, const char *ns, struct tree **ret);
static void learn_guest(struct verb *v, const char *ns, const char *vm, struct facts *f);
static void learn_link(struct verb *v, const struct offline *o, const char *ns, const char *vm,
                       struct facts *f);
static void learn_checkup(struct verb *v, const struct offline *o, const char *ns, const char *vm,
                          struct facts *f);

int
migrate_dry_run(struct verb *v, const char *ns, const char *vm, const char *bandwidth,
                const char *output)
{
    AUTO_OFFLINE struct offline *o = NULL;
    AUTO_TREE struct tree *objects = NULL, *answer = NULL;
    struct facts f = {0};
    struct offline_policy policy;
    struct simulate_result r;
    AUTO_SB struct sb out = SB_INIT;
    int exit_code;

    if (fetch_objects(v, ns, &objects) < 0)
        return verb_error(v);
    o = offline_of(TAKE_PTR(objects), ns, vm);
    if (offline_policy(o, 0, &policy) != EXIT_DONE)
        return EXIT_ERROR;
    f.sim.memory_bytes = (uint64_t)policy.memory_bytes;
    simulate_limits(&policy.decision, &f.sim.limits, &f.sim.policy);
    learn_guest(v, ns, vm, &f);
    learn_link(v, o, ns, vm, &f);
    if (bandwidth) {
        struct quantity q;

        if (quantity_parse(bandwidth, &q, &v->err) != 0)
            return verb_errorf(v, "--bandwidth %s: %s", bandwidth, err_msg(&v->err));
        if (q.units <= 0)
            return verb_errorf(v, "--bandwidth %s: must be more than 0", bandwidth);
        f.sim.bandwidth_bytes_per_s = (uint64_t)q.units;
        snprintf(f.link, sizeof(f.link), "as given");
    }
    if (simulate_run(&f.sim, &r, &v->err) != 0)
        return verb_error(v);
    exit_code = r.succeeded ? EXIT_DONE : EXIT_NO;
    if (output) {
        answer = simulate_tree(&r);
        tree_set_path(answer, tree_string(f.guest), "basedOn", "guest", NULL);
        tree_set_path(answer, tree_string(f.link), "basedOn", "link", NULL);
        if (strcmp(output, "yaml") == 0)
            tree_to_yaml(answer, &out);
        else
            tree_to_json(answer, 2, &out);
        puts(sb_str(&out));
    } else {
        sb_printf(&out, "VM          %s/%s; nothing was moved\nGuest       %s\nLink        ", ns,
                  vm, f.guest);
        human_rate(&out, (int64_t)f.sim.bandwidth_bytes_per_s);
        sb_printf(&out, ", %s\nPolicy      %s\n", f.link,
                  policy.decision.policy ? policy.decision.policy : "none; defaults apply");
        simulate_print(&r, &out);
        fputs(sb_str(&out), stdout);
    }
    simulate_result_done(&r);
    return exit_code;
}

/* All that the policy code looks at, in one list. */
static int
fetch_objects(struct verb *v, const char *ns, struct tree **ret)
{
    static const struct {
        enum kind kind;
        bool in_namespace;
    } kinds[] = {{KIND_VMI, true},       {KIND_VMIM, true}, {KIND_PVC, true},
                 {KIND_POLICY, false},   {KIND_HCO, false}, {KIND_KUBEVIRT, false},
                 {KIND_NAMESPACE, false}};
    AUTO_TREE struct tree *all = tree_list();

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const struct kind_info *ki = kind_info(kinds[i].kind);
        AUTO_TREE struct tree *list = NULL;
        const struct tree *items;
        int rc =
            client_list(v->client, ki, kinds[i].in_namespace ? ns : NULL, NULL, &list, &v->err);

        if (rc < 0)
            return rc;
        items = tree_get(list, "items");
        for (size_t k = 0; k < tree_len(items); k++) {
            struct tree *obj = tree_copy(tree_at(items, k));

            /* items of a list need not say what they are */
            tree_set(obj, "apiVersion",
                     tree_stringf("%s%s%s", ki->group, *ki->group ? "/" : "", ki->version));
            tree_set(obj, "kind", tree_string(ki->name));
            tree_append(all, obj);
        }
    }
    *ret = TAKE_PTR(all);
    return 0;
}

static void
learn_guest(struct verb *v, const char *ns, const char *vm, struct facts *f)
{
    struct simulate_config *c = &f->sim;
    struct trace_result r;
    AUTO_SB struct sb text = SB_INIT;
    struct err err = {0};
    int rc = trace_ask(v->client, ns, vm, WATCH_MS, WATCH_TIMEOUT_US, &r, &err);

    if (rc < 0 || !r.ok) {
        snprintf(f->guest, sizeof(f->guest),
                 "what it writes could not be watched (%s): assumed that it writes nothing",
                 rc < 0 ? err_msg(&err) : r.text);
        return;
    }
    if (r.memory_bytes > 0)
        c->memory_bytes = (uint64_t)r.memory_bytes;
    c->present_bytes = (uint64_t)r.present_bytes;
    c->set_bytes = (uint64_t)r.set_bytes;
    if (c->set_bytes > c->memory_bytes)
        c->set_bytes = c->memory_bytes;
    c->dirty_bytes_per_s = (uint64_t)r.dirty_bytes_per_s;
    sb_printf(&text, "watched for %.1f s on %s: ", (double)r.ms / 1000, r.node);
    human_bytes(&text, r.present_bytes);
    sb_puts(&text, " of ");
    human_bytes(&text, (int64_t)c->memory_bytes);
    sb_puts(&text, " have content, writes ");
    human_rate(&text, r.dirty_bytes_per_s);
    sb_puts(&text, " to a set of ");
    human_bytes(&text, r.set_bytes);
    snprintf(f->guest, sizeof(f->guest), "%s", sb_str(&text));
}

/* The newest migration of this VM; else the newest network checkup from its node; else the newest
 * migration in its namespace. */
static void
learn_link(struct verb *v, const struct offline *o, const char *ns, const char *vm, struct facts *f)
{
    struct arena *a = arena_new();
    int64_t best_us = 0;
    bool own = false;

    f->sim.bandwidth_bytes_per_s = ASSUMED_RATE;
    snprintf(f->link, sizeof(f->link), "assumed: nothing was migrated yet (--bandwidth)");
    for (size_t i = 0; i < o->len; i++) {
        struct migration m;
        bool mine;

        if (o->items[i].kind != KIND_VMIM)
            continue;
        migration_read(o->items[i].tree, a, &m);
        mine = strcmp(m.vm, vm) == 0;
        if (m.rate_bytes_per_s <= 0 || (own && !mine) || (own == mine && m.started_us <= best_us))
            continue;
        own = mine;
        best_us = m.started_us;
        f->sim.bandwidth_bytes_per_s = (uint64_t)m.rate_bytes_per_s;
        snprintf(f->link, sizeof(f->link), "as migration %s of VM %s had it", m.name, m.vm);
    }
    arena_free(a);
    if (!own)
        learn_checkup(v, o, ns, vm, f);
}

/* From the VM's node, over the network that migrations use. Nothing changes when there is none. */
static void
learn_checkup(struct verb *v, const struct offline *o, const char *ns, const char *vm,
              struct facts *f)
{
    AUTO_TREE struct tree *list = NULL;
    struct checkup_estimate known = {0};
    struct checkup_link link = {.source = "", .network = ""};
    AUTO_FREE char *network = NULL;
    struct err err = {0};
    const struct tree *items;

    for (size_t i = 0; i < o->len; i++) {
        const struct offline_item *item = &o->items[i];

        if (item->kind == KIND_VMI && strcmp(item->meta->namespace_, ns) == 0 &&
            strcmp(item->meta->name, vm) == 0)
            link.source = tree_find_string(item->tree, "", "status", "nodeName", NULL);
        if (item->kind == KIND_HCO && item->hco->live_migration.network &&
            *item->hco->live_migration.network) {
            const char *ref = item->hco->live_migration.network;

            free(network);
            network = strchr(ref, '/') ? xstrdup(ref) : xasprintf(DEFAULT_HCO_NAMESPACE "/%s", ref);
            link.network = network;
        }
    }
    if (!*link.source || client_list(v->client, kind_info(KIND_CONFIGMAP), NULL,
                                     LABEL_CHECKUP "=" CHECKUP_TYPE_LATENCY, &list, &err) < 0)
        return;
    items = tree_get(list, "items");
    for (size_t i = 0; i < tree_len(items); i++)
        checkup_object_estimate(tree_at(items, i), &link, clock_wall_us(), &known);
    if (known.bytes_per_s > 0) {
        char at[40];

        time_format(known.at_us, false, at, sizeof(at));
        f->sim.bandwidth_bytes_per_s = known.bytes_per_s;
        snprintf(f->link, sizeof(f->link), "as checkup %.150s of %s had it", known.name, at);
    }
}
