/* Which hypervisor a VM's guest is made with, what its driver is given for it, and what becomes of a
 * start that was refused. Rules: docs/vm-life.md. Loop thread. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/log.h"
#include "handler/handler.h"
#include "handler/limits.h"

static int choose(const struct vm_entry *e, enum hv_kind *ret);
static void on_again(void *ctx);
static void take_named(struct tree *into, const struct informer *from, const char *ns,
                       const char *name);

int
vm_hypervisor(const struct vm_entry *e, enum hv_kind *ret, struct hv_refusal *why, struct err *err)
{
    struct hv_driver *d;
    enum hv_kind kind;
    int rc = choose(e, &kind);

    if (rc == -EINVAL) {
        snprintf(why->reason, sizeof why->reason, "InvalidAnnotation");
        return err_set(err, rc, "annotation " ANN_HYPERVISOR ": \"%.64s\": want native or libvirt",
                       object_annotation(e->vmi, ANN_HYPERVISOR));
    }
    if (rc != 0)
        return err_set(err, rc, "libvirt has not answered yet");
    d = e->h->drivers[kind];
    rc = d ? d->ops->ready(d, err) : err_set(err, -ENOTCONN, "this handler does not use it");
    if (rc != 0) {
        snprintf(why->reason, sizeof why->reason, "HypervisorNotReady");
        return err_prefix(err, rc, "no %s guests on node %s now", hv_kind_name(kind),
                          e->h->cfg.node_name);
    }
    *ret = kind;
    return 0;
}

/* -EINVAL: an unknown word; -EAGAIN: it depends on whether libvirt answers, which is not known yet. */
static int
choose(const struct vm_entry *e, enum hv_kind *ret)
{
    const struct handler *h = e->h;
    const char *asked = object_annotation(e->vmi, ANN_HYPERVISOR);
    struct hv_driver *lv = h->drivers[HV_LIBVIRT];

    if (asked)
        return hv_kind_parse(asked, ret) ? 0 : -EINVAL;
    *ret = HV_NATIVE;
    if (object_annotation(e->vmi, ANN_WORKLOAD) || h->cfg.hypervisor == HANDLER_HV_NATIVE)
        return 0;
    /* A libvirtd that is away for a moment does not turn a VM with disks into something else. */
    if (h->cfg.hypervisor == HANDLER_HV_LIBVIRT || h->libvirt_seen ||
        (lv && lv->ops->ready(lv, NULL) == 0))
        *ret = HV_LIBVIRT;
    else if (lv && loop_now_us(h->l) - h->started_us < HANDLER_LIBVIRT_FIRST_US)
        return -EAGAIN;
    return 0;
}

enum hv_kind
vm_hypervisor_now(const struct vm_entry *e)
{
    const char *runs_on = object_annotation(e->vmi, ANN_RUNS_ON);
    enum hv_kind kind = HV_NATIVE; /* those of handlers that knew no other */

    if (e->has_journal)
        return e->j.hypervisor;
    if (runs_on)
        (void)hv_kind_parse(runs_on, &kind);
    return kind;
}

bool
vm_wants_pause(const struct vm_entry *e)
{
    const char *asked = object_annotation(e->vmi, ANN_PAUSE_REQUEST);
    const struct tree *paused = object_condition(e->vmi, COND_PAUSED);

    if (asked)
        return strcmp(asked, "true") == 0;
    return strcmp(tree_find_string(paused, "", "status", NULL), "True") == 0 &&
           strcmp(tree_find_string(paused, "", "reason", NULL), "PausedByUser") == 0;
}

/* --- what it is to be made of --- */

bool
vm_job_want(struct vm_job *job, enum hv_kind kind, bool incoming)
{
    const struct vm_entry *e = job->e;
    const struct handler *h = e->h;
    const char *ns = object_namespace(e->vmi);
    const struct tree *volumes = tree_find(e->vmi, "spec", "volumes", NULL);
    const struct tree *networks = tree_find(e->vmi, "spec", "networks", NULL);
    struct tree *pvcs, *pvs, *nads;

    if (kind != HV_NATIVE &&
        !(informer_synced(h->pvcs) && informer_synced(h->pvs) && informer_synced(h->nads)))
        return false;
    pvcs = tree_list();
    pvs = tree_list();
    nads = tree_list();
    job->driver = h->drivers[kind];
    job->want = (struct hv_want){
        .vmi = tree_copy(e->vmi),
        .pvcs = pvcs,
        .pvs = pvs,
        .nads = nads,
        .incoming = incoming,
        .paused = vm_wants_pause(e),
    };
    if (kind == HV_NATIVE)
        return true; /* has neither disks nor networks */
    for (size_t i = 0; i < tree_len(volumes); i++) {
        const struct tree *v = tree_at(volumes, i);

        take_named(pvcs, h->pvcs, ns,
                   tree_find_string(v, "", "persistentVolumeClaim", "claimName", NULL));
        take_named(pvcs, h->pvcs, ns, tree_find_string(v, "", "dataVolume", "name", NULL));
        take_named(
            pvcs, h->pvcs, ns,
            tree_find_string(v, "", "ephemeral", "persistentVolumeClaim", "claimName", NULL));
    }
    for (size_t i = 0; i < tree_len(pvcs); i++)
        take_named(pvs, h->pvs, "",
                   tree_find_string(tree_at(pvcs, i), "", "spec", "volumeName", NULL));
    for (size_t i = 0; i < tree_len(networks); i++) {
        const char *ref = tree_find_string(tree_at(networks, i), "", "multus", "networkName", NULL);
        const char *slash = strchr(ref, '/');
        AUTO_FREE char *of = slash ? xasprintf("%.*s", (int)(slash - ref), ref) : xstrdup(ns);

        take_named(nads, h->nads, of, slash ? slash + 1 : ref);
    }
    return true;
}

static void
take_named(struct tree *into, const struct informer *from, const char *ns, const char *name)
{
    const struct tree *obj = *name ? informer_get(from, ns, name) : NULL;

    if (obj)
        tree_append(into, tree_copy(obj));
}

void
vm_want_done(struct hv_want *w)
{
    const struct tree *all[] = {w->vmi, w->pvcs, w->pvs, w->nads};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        tree_free((struct tree *)(uintptr_t)all[i]);
}

/* --- refused --- */

/* What only another manifest helps against; everything else may change beside it. */
static bool
of_the_manifest(const char *reason)
{
    static const char *const reasons[] = {"UnsupportedField", "InvalidField", "InvalidAnnotation",
                                          "VolumeSourceNotSupported"};

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (strcmp(reason, reasons[i]) == 0)
            return true;
    return false;
}

void
vm_start_refused(struct vm_entry *e, enum hv_kind kind, const struct hv_refusal *why,
                 const struct err *err)
{
    uint64_t delay_us = HANDLER_START_AGAIN_US;

    e->refused = (struct hv_refusal){0};
    snprintf(e->refused.reason, sizeof e->refused.reason, "%s",
             why->reason[0] ? why->reason : "SyncFailed");
    snprintf(e->refused.text, sizeof e->refused.text, "%s",
             why->text[0] ? why->text : err_msg(err));
    /* Nothing is there that could make a native guest's start succeed later. */
    e->refused_final = of_the_manifest(e->refused.reason) || kind == HV_NATIVE;
    log_warn("guest.refused", LS("uid", e->uid), LS("reason", e->refused.reason),
             LS("text", e->refused.text), LI("final", e->refused_final));
    if (e->refused_final)
        return;
    for (unsigned i = 0; i < e->refused_times && delay_us < HANDLER_START_AGAIN_MAX_US; i++)
        delay_us *= 2;
    e->refused_times++;
    if (e->refused_again)
        delay_us = 0;
    e->refused_again = false;
    loop_timer_del(e->refused_timer);
    e->refused_timer = loop_timer_add(
        e->h->l, delay_us < HANDLER_START_AGAIN_MAX_US ? delay_us : HANDLER_START_AGAIN_MAX_US,
        on_again, e);
}

static void
on_again(void *ctx)
{
    struct vm_entry *e = ctx;

    e->refused_timer = NULL;
    e->refused.reason[0] = '\0';
    vm_reconcile(e);
}

void
vm_refused_forget(struct vm_entry *e)
{
    loop_timer_del(e->refused_timer);
    e->refused_timer = NULL;
    e->refused.reason[0] = '\0';
    e->refused_final = false;
    e->refused_times = 0;
}

void
vm_refused_again(struct handler *h)
{
    size_t it = 0;
    void *v;

    while (strmap_next(h->vms, &it, NULL, &v)) {
        struct vm_entry *e = v;

        e->refused_again = e->busy; /* a start that runs may not have seen the change */
        if (!e->refused.reason[0] || e->refused_final || e->busy)
            continue;
        e->refused_times = 0;
        loop_timer_del(e->refused_timer);
        on_again(e);
    }
}
