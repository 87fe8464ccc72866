/* What a handler finds when it starts, and when libvirt comes: journals, native guests, domains. Until a
 * hypervisor has said which guests it has, those that the journal gives it are unknown: nothing is done
 * to them, and nothing is said of them but that. Loop thread; finding domains on a worker. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "handler/handler.h"
#include "handler/limits.h"

struct find {
    struct handler *h;
    struct hv_driver *d;
    struct hv_guest **guests;
    size_t len;
    int rc;
    struct err err;
};

static int load_journal(void *ctx, const struct journal *j);
static void find_run(void *ctx);
static void find_done(void *ctx);
static void take(struct handler *h, struct hv_guest *g);

int
vm_load_all(struct handler *h, struct err *err)
{
    struct find f = {.h = h, .d = h->drivers[HV_NATIVE]};
    int rc = journal_load_all(h->cfg.state_dir, load_journal, h, err);

    if (rc != 0)
        return rc;
    find_run(&f);
    if (f.rc != 0) {
        *err = f.err;
        return f.rc;
    }
    for (size_t i = 0; i < f.len; i++)
        take(h, f.guests[i]);
    free(f.guests);
    h->found[HV_NATIVE] = true;
    return 0;
}

static int
load_journal(void *ctx, const struct journal *j)
{
    struct vm_entry *e = vm_entry_new(ctx, j->uid);

    e->has_journal = true;
    e->j = *j;
    return 0;
}

void
vm_find(struct handler *h, enum hv_kind kind)
{
    struct find *f;

    if (h->finding[kind] || h->stopping)
        return;
    h->finding[kind] = true;
    f = xcalloc(1, sizeof *f);
    f->h = h;
    f->d = h->drivers[kind];
    work_run(h->work, find_run, find_done, f);
}

static void
find_run(void *ctx)
{
    struct find *f = ctx;

    f->rc = f->d->ops->find(f->d, &f->guests, &f->len, &f->err);
}

static void
find_done(void *ctx)
{
    struct find *f = ctx;
    struct handler *h = f->h;
    enum hv_kind kind = f->d->ops->kind;

    h->finding[kind] = false;
    if (f->rc != 0) {
        log_warn("guest.find", LS("hypervisor", hv_kind_name(kind)), LS("error", err_msg(&f->err)));
        handler_retry_later(h); /* asks again, when it is ready then */
    } else {
        for (size_t i = 0; i < f->len; i++)
            take(h, f->guests[i]);
        free(f->guests);
        h->found[kind] = true;
        vm_list_synced(h);
    }
    free(f);
}

/* Given. One that is held already (it was started meanwhile) is let go of again. */
static void
take(struct handler *h, struct hv_guest *g)
{
    struct vm_entry *e = strmap_get(h->vms, g->ops->uid(g));

    if (e && (e->guest || e->busy)) {
        g->ops->free(g);
        return;
    }
    if (!e)
        e = vm_entry_new(h, g->ops->uid(g));
    vm_set_guest(e, g);
    log_info("guest.found", LS("uid", e->uid), LS("name", g->ops->name(g)),
             LS("hypervisor", hv_kind_name(g->ops->kind)), LI("alive", hv_lives(g)),
             LS("journal", e->has_journal ? journal_state_name(e->j.state) : "none"));
}

bool
vm_not_found_yet(const struct vm_entry *e)
{
    return e->has_journal && !e->guest && !e->h->found[e->j.hypervisor];
}

void
handler_hypervisor_changed(struct handler *h, enum hv_kind kind, bool up)
{
    size_t it = 0;
    void *v;

    log_info("hypervisor", LS("kind", hv_kind_name(kind)), LI("up", up));
    if (kind == HV_LIBVIRT && up)
        h->libvirt_seen = true;
    node_hypervisor_changed(h);
    if (up && !h->found[kind])
        vm_find(h, kind);
    if (up)
        vm_refused_again(h);
    while (strmap_next(h->vms, &it, NULL, &v))
        vm_reconcile(v);
}
