/* The demo's manifests: read, applied in order, and what the scheduler made of the VMs in them:
 * where each one went and why, and why one of them went nowhere. */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "cli/client_apply.h"
#include "cli/client_manifest.h"
#include "cli/demo.h"
#include "cli/dev_libvirt.h"
#include "sched/place.h"

#define NODES_FILE "offline/nodes.yaml"
#define REAL_FILE  "libvirt/demo.yaml"

/* --- reading --- */

static int
is_manifest(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');

    return dot && e->d_name[0] != '.' && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

static int
by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The migration and the maintenance have steps of their own; everything else is applied at
 * first. */
static int
sort_out(struct demo *d, const char *name, struct tree *objects)
{
    struct tree *file = tree_map(), *first = tree_list();

    tree_set(file, "name", tree_string(name));
    tree_set(file, "objects", first);
    tree_append(d->files, file);
    for (size_t i = 0; i < tree_len(objects); i++) {
        const struct tree *obj = tree_at(objects, i);
        enum kind kind = object_kind(obj)->kind;
        struct tree **later = kind == KIND_VMIM          ? &d->move
                              : kind == KIND_MAINTENANCE ? &d->drain
                                                         : NULL;

        if (!later) {
            tree_append(first, tree_copy(obj));
            continue;
        }
        if (*later)
            return err_set(&d->err, -EINVAL, "%s: a second %s; want one", name,
                           object_kind(obj)->name);
        *later = tree_copy(obj);
        *(kind == KIND_VMIM ? &d->move_file : &d->drain_file) = arena_strdup(d->arena, name);
    }
    return 0;
}

static int
load_file(struct demo *d, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", d->cfg.examples, name);
    AUTO_TREE struct tree *objects = NULL;
    const char *paths[] = {path};
    int rc = client_manifests_load(paths, 1, "default", false, &objects, &d->err);

    return rc != 0 ? rc : sort_out(d, name, objects);
}

/* The real VM, where QEMU and libvirt are installed and the examples have one. */
static int
load_real(struct demo *d)
{
    AUTO_FREE char *path = xasprintf("%s/" REAL_FILE, d->cfg.examples);

    d->real = !d->cfg.native && dev_libvirt_installed(NULL) == 0 && access(path, R_OK) == 0;
    return d->real ? load_file(d, REAL_FILE) : 0;
}

int
demo_load(struct demo *d)
{
    AUTO_FREE char *nodes_path = xasprintf("%s/" NODES_FILE, d->cfg.examples);
    const char *paths[] = {nodes_path};
    struct dirent **names = NULL;
    int n, rc;

    rc = dev_nodes_load(paths, 1, &d->nodes, &d->nodes_len, d->arena, &d->err);
    if (rc < 0)
        return rc;
    n = scandir(d->cfg.examples, &names, is_manifest, by_bytes);
    if (n < 0)
        return err_set(&d->err, -errno, "%s: %s", d->cfg.examples, strerror(errno));
    d->files = tree_list();
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = load_file(d, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    if (rc == 0)
        rc = load_real(d);
    if (rc == 0 && (!d->move || !d->drain))
        rc = err_set(&d->err, -EINVAL,
                     "%s: want a VirtualMachineInstanceMigration and a "
                     "NodeMaintenance in it",
                     d->cfg.examples);
    return rc;
}

/* --- applying --- */

/* "VirtualMachine basket, cache, db": the objects of a file by kind, in its order. */
static void
put_summary(const struct tree *objects, struct sb *out)
{
    const struct kind_info *before = NULL;

    for (size_t i = 0; i < tree_len(objects); i++) {
        const struct tree *obj = tree_at(objects, i);
        const struct kind_info *ki = object_kind(obj);

        if (ki == before)
            sb_printf(out, ", %s", object_name(obj));
        else
            sb_printf(out, "%s%s %s", before ? "; " : "", ki->name, object_name(obj));
        before = ki;
    }
}

int
demo_apply(struct demo *d)
{
    for (size_t i = 0; i < tree_len(d->files); i++) {
        const struct tree *file = tree_at(d->files, i), *objects = tree_get(file, "objects");
        const char *name = tree_find_string(file, "", "name", NULL);
        AUTO_SB struct sb summary = SB_INIT;

        for (size_t k = 0; k < tree_len(objects); k++) {
            enum apply_result result;
            int rc = apply_object(d->client, tree_at(objects, k), false, &result, &d->err);

            if (rc < 0)
                return err_prefix(&d->err, rc, "%s/%s: %s", d->cfg.examples, name,
                                  object_name(tree_at(objects, k)));
        }
        if (!tree_len(objects))
            continue;
        put_summary(objects, &summary);
        demo_say(d, 24, "%-22s  %s", name, sb_str(&summary));
    }
    demo_say(d, 24, "%-22s  %s %s: step 4", d->move_file, object_kind(d->move)->name,
             object_name(d->move));
    demo_say(d, 24, "%-22s  %s %s: step 5", d->drain_file, object_kind(d->drain)->name,
             object_name(d->drain));
    return 0;
}

/* --- waiting --- */

struct counts {
    size_t vms, running, unplaced, others;
    char waits[512]; /* one of the others, with its phase */
    char nowhere[256];
};

static const char *
unschedulable_message(const struct vmi *v)
{
    for (size_t i = 0; i < v->status.conditions.len; i++) {
        const struct condition *c = &v->status.conditions.items[i];

        if (c->type && strcmp(c->type, "PodScheduled") == 0 && c->status &&
            strcmp(c->status, "False") == 0)
            return c->message ? c->message : "";
    }
    return NULL;
}

static int
count(struct demo *d, struct counts *ret)
{
    AUTO_TREE struct tree *vms = NULL, *vmis = NULL;
    const struct tree *items;
    struct counts n = {0};
    int rc;

    rc = client_list(d->client, kind_info(KIND_VM), NULL, NULL, &vms, &d->err);
    if (rc == 0)
        rc = client_list(d->client, kind_info(KIND_VMI), NULL, NULL, &vmis, &d->err);
    if (rc < 0)
        return rc;
    n.vms = tree_len(tree_get(vms, "items"));
    items = tree_get(vmis, "items");
    for (size_t i = 0; i < tree_len(items); i++) {
        struct arena *a = arena_new();
        const struct vmi *v = vmi_decode(tree_at(items, i), a);
        const char *phase = v->status.phase ? v->status.phase : "Pending";

        if (strcmp(phase, "Running") == 0) {
            n.running++;
        } else if (unschedulable_message(v)) {
            n.unplaced++;
            snprintf(n.nowhere, sizeof(n.nowhere), "%s", v->meta.name);
        } else {
            n.others++;
            snprintf(n.waits, sizeof(n.waits), "VM %s/%s has phase %s%s%s", v->meta.namespace_,
                     v->meta.name, phase, v->status.reason ? ": " : "",
                     v->status.reason ? v->status.reason : "");
        }
        if (strcmp(phase, "Failed") == 0)
            rc = err_set(&d->err, -EPROTO, "VM %s/%s failed: %s", v->meta.namespace_, v->meta.name,
                         v->status.reason ? v->status.reason : "its handler gave no reason");
        arena_free(a);
    }
    *ret = n;
    return rc;
}

int
demo_wait_placed(struct demo *d)
{
    uint64_t end_us = clock_mono_us() + DEMO_START_S * 1000000ull;
    struct counts n;
    int rc;

    for (;;) {
        rc = count(d, &n);
        if (rc < 0)
            return rc;
        if (n.vms && n.running + n.unplaced == n.vms)
            break;
        if (clock_mono_us() > end_us)
            return err_set(&d->err, -ETIMEDOUT, "after %d s only %zu of %zu VMs run%s%s",
                           DEMO_START_S, n.running, n.vms, n.others ? "; " : "", n.waits);
        if (!client_sleep(CLIENT_POLL_MS))
            return err_set(&d->err, -EINTR, "interrupted");
    }
    if (n.unplaced != 1)
        return err_set(&d->err, -EPROTO,
                       "%zu VMs found no host, where exactly one is meant to find none%s%s",
                       n.unplaced, n.unplaced ? ", among them " : "", n.nowhere);
    return 0;
}

/* --- explaining --- */

static void
put_requirement(const struct requirement *r, struct sb *out)
{
    static const char *const ops[] = {
        [SEL_IN] = "in",         [SEL_NOT_IN] = "not in",
        [SEL_EXISTS] = "is set", [SEL_DOES_NOT_EXIST] = "is not set",
        [SEL_GT] = ">",          [SEL_LT] = "<",
        [SEL_UNKNOWN] = "?",
    };
    bool list = r->op == SEL_IN || r->op == SEL_NOT_IN;

    sb_printf(out, "%s %s", r->key, ops[r->op]);
    if (r->values.len)
        sb_puts(out, list ? " (" : " ");
    for (size_t i = 0; i < r->values.len; i++)
        sb_printf(out, "%s%s", i ? ", " : "", r->values.items[i]);
    if (r->values.len && list)
        sb_putc(out, ')');
}

static void
part(struct sb *out, const char *text)
{
    sb_printf(out, "%s%s", out->len ? "; " : "", text);
}

/* What a VM asks of its host, in words. */
static void
put_asks(const struct vmi_spec *s, struct sb *out)
{
    for (size_t i = 0; i < s->node_selector.len; i++) {
        part(out, "has ");
        sb_printf(out, "%s=%s", s->node_selector.items[i].key, s->node_selector.items[i].value);
    }
    for (size_t i = 0; i < s->affinity.node_required_len; i++) {
        const struct node_term *t = &s->affinity.node_required[i];

        for (size_t k = 0; k < t->exprs_len; k++) {
            part(out, i && !k ? "or " : "needs ");
            put_requirement(&t->exprs[k], out);
        }
    }
    for (size_t i = 0; i < s->affinity.node_preferred_len; i++) {
        const struct preferred_node_term *t = &s->affinity.node_preferred[i];

        for (size_t k = 0; k < t->preference.exprs_len; k++) {
            part(out, "prefers ");
            put_requirement(&t->preference.exprs[k], out);
        }
    }
    for (size_t i = 0; i < s->tolerations_len; i++) {
        const struct toleration *t = &s->tolerations[i];

        part(out, "tolerates ");
        sb_printf(out, "%s%s%s", t->key ? t->key : "every taint", t->value ? "=" : "",
                  t->value ? t->value : "");
    }
    if (s->domain.cpu.model) {
        part(out, "CPU model ");
        sb_puts(out, s->domain.cpu.model);
    }
    if (!out->len)
        sb_puts(out, "asks for room only");
}

/* Those that fit before those that do not, the best first, then by name. */
static int
by_score(const void *x, const void *y)
{
    const struct tree *a = *(const struct tree *const *)x, *b = *(const struct tree *const *)y;
    int64_t sa =
        tree_get_bool(tree_get(a, "fits"), false) ? tree_get_int(tree_get(a, "score"), 0) : -1;
    int64_t sb =
        tree_get_bool(tree_get(b, "fits"), false) ? tree_get_int(tree_get(b, "score"), 0) : -1;

    if (sa != sb)
        return sa < sb ? 1 : -1;
    return strcmp(tree_find_string(a, "", "name", NULL), tree_find_string(b, "", "name", NULL));
}

/* "scores: n1 57, n2 54; not n3: node(s) had untolerated taint {dedicated: batch}" */
static void
put_scores(const struct tree *result, struct sb *out)
{
    const struct tree *nodes = tree_get(result, "nodes");
    size_t len = tree_len(nodes), fitting = 0;
    AUTO_FREE const struct tree **sorted = xcalloc(len + 1, sizeof(*sorted));

    for (size_t i = 0; i < len; i++)
        sorted[i] = tree_at(nodes, i);
    qsort(sorted, len, sizeof(*sorted), by_score);
    for (size_t i = 0; i < len; i++) {
        const char *name = tree_find_string(sorted[i], "", "name", NULL);
        const struct tree *reasons = tree_get(sorted[i], "reasons");

        if (tree_get_bool(tree_get(sorted[i], "fits"), false)) {
            sb_printf(out, "%s%s %lld", fitting++ ? ", " : "scores: ", name,
                      (long long)tree_get_int(tree_get(sorted[i], "score"), 0));
            continue;
        }
        sb_printf(out, "%snot %s: ", out->len ? "; " : "", name);
        for (size_t k = 0; k < tree_len(reasons); k++)
            sb_printf(out, "%s%s", k ? ", " : "", tree_get_string(tree_at(reasons, k), ""));
    }
}

static void
explain_one(struct demo *d, const struct tree *vmi)
{
    struct arena *a = arena_new();
    const struct vmi *v = vmi_decode(vmi, a);
    const char *json = object_annotation(vmi, ANN_SCHEDULE_RESULT);
    const char *nowhere = unschedulable_message(v);
    AUTO_TREE struct tree *result = NULL;
    AUTO_SB struct sb asks = SB_INIT, scores = SB_INIT;
    AUTO_FREE char *went = xasprintf("%-8s %s %-4s ", v->meta.name, term_glyph(&d->term, '>'),
                                     nowhere ? "none" : v->status.node_name);
    int width = (int)term_width(went);

    put_asks(&v->spec, &asks);
    if (json && tree_from_json(json, strlen(json), &result, NULL) == 0)
        put_scores(result, &scores);
    demo_say(d, width, "%s%s", went, sb_str(&asks));
    if (nowhere)
        demo_say(d, width, "%*s%s", width, "", nowhere);
    else if (scores.len)
        demo_say(d, width, "%*s%s", width, "", sb_str(&scores));
    arena_free(a);
}

int
demo_explain(struct demo *d)
{
    AUTO_TREE struct tree *vmis = NULL;
    int rc = client_list(d->client, kind_info(KIND_VMI), NULL, NULL, &vmis, &d->err);

    for (size_t i = 0; rc == 0 && i < tree_len(tree_get(vmis, "items")); i++)
        explain_one(d, tree_at(tree_get(vmis, "items"), i));
    return rc;
}
