/* What a VM's reconcile has done for it: blocking jobs (guest made, ended, verified; journal written)
 * and conditional writes of the VMI. See handler.h. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/fault.h"
#include "base/log.h"
#include "handler/handler.h"
#include "handler/limits.h"

static void job_run(void *ctx);
static void job_done(void *ctx);
static void on_guest_changed(void *ctx);
static void start_run(struct vm_job *job);
static void start_done(struct vm_job *job);
static void end_run(struct vm_job *job);
static void end_done(struct vm_job *job);
static void verify_run(struct vm_job *job);
static void verify_done(struct vm_job *job);
static void on_written(void *ctx, int status, const struct tree *body, const char *error);
static void annotate(struct vm_entry *e, const char *key, const char *value, writer_fn done);
static void on_annotated(void *ctx, int status, const struct tree *body, const char *error);

/* --- jobs --- */

struct vm_job *
vm_job_new(struct vm_entry *e)
{
    struct vm_job *job = xcalloc(1, sizeof *job);

    job->e = e;
    return job;
}

void
vm_job_start(struct vm_job *job)
{
    job->e->busy = true;
    work_run(job->e->h->work, job_run, job_done, job);
}

static void
job_run(void *ctx)
{
    struct vm_job *job = ctx;

    if (job->write_journal)
        job->rc = journal_write(job->e->h->cfg.state_dir, &job->j, &job->err);
    if (job->rc == 0 && job->fn)
        job->fn(job);
    if (job->rc == 0 && job->remove_journal)
        job->rc = journal_remove(job->e->h->cfg.state_dir, job->e->uid, &job->err);
}

static void
job_done(void *ctx)
{
    struct vm_job *job = ctx;
    struct vm_entry *e = job->e;

    e->busy = false;
    if (job->rc == 0 && job->write_journal) {
        e->has_journal = true;
        e->j = job->j;
    }
    if (job->rc == 0 && job->remove_journal)
        e->has_journal = false;
    if (job->rc != 0)
        log_error("vm.job", LS("uid", e->uid), LS("error", err_msg(&job->err)));
    if (job->done)
        job->done(job);
    vm_want_done(&job->want);
    if (job->rc != 0) /* a full disk, say: the same step is tried again, but not at once */
        handler_retry_later(e->h);
    else
        vm_reconcile(e);
    free(job);
}

void
vm_set_guest(struct vm_entry *e, struct hv_guest *g)
{
    vm_drop_guest(e);
    e->guest = g;
    e->resets = 0;
    g->ops->watch(g, e->h->l, on_guest_changed, e);
}

static void
on_guest_changed(void *ctx)
{
    vm_reconcile(ctx);
}

void
vm_drop_guest(struct vm_entry *e)
{
    if (e->guest && e->sampling)
        e->guest->ops->unwatch(e->guest); /* freed when its figures have been taken */
    else if (e->guest)
        e->guest->ops->free(e->guest);
    e->guest = NULL;
    e->has_stats = false;
}

const struct mover *
vm_mover(const struct vm_entry *e)
{
    return e->guest ? e->guest->mover : e->h->movers[e->j.hypervisor];
}

/* --- making a guest --- */

void
vm_job_make(struct vm_job *job, bool adopt)
{
    struct hv_driver *d = job->driver;
    struct hv_now now;
    struct hv_guest *left;

    job->rc = d->ops->start(d, &job->want, &job->guest, &job->why, &job->err);
    if (job->rc != -EEXIST)
        return;
    job->rc = d->ops->open(d, job->e->uid, &left, &job->err);
    if (job->rc == 0) {
        left->ops->now(left, &now);
        if (adopt && now.state != HV_ENDED && now.state != HV_INCOMING) {
            job->guest = left;
            return;
        }
        job->rc = left->ops->remove(left, &job->err);
        left->ops->free(left);
    }
    if (job->rc == 0 || job->rc == -ENOENT)
        job->rc = d->ops->start(d, &job->want, &job->guest, &job->why, &job->err);
}

bool
vm_start_guest(struct vm_entry *e, const struct vmi *v)
{
    struct hv_refusal why = {0};
    struct vm_job *job;
    struct err err = {0};
    enum hv_kind kind;
    int rc = vm_hypervisor(e, &kind, &why, &err);

    if (rc == -EAGAIN) {
        handler_retry_later(e->h);
        return false;
    }
    if (rc != 0) {
        vm_start_refused(e, HV_LIBVIRT, &why, &err);
        return false;
    }
    job = vm_job_new(e);
    if (!vm_job_want(job, kind, false)) {
        free(job);
        handler_retry_later(e->h);
        return false;
    }
    vm_journal_init(e, v, &job->j, JOURNAL_STARTING, kind);
    job->j.generation = vm_annotation_number(e->vmi, ANN_GENERATION);
    job->write_journal = true;
    job->fn = start_run;
    job->done = start_done;
    vm_job_start(job);
    return true;
}

static void
start_run(struct vm_job *job)
{
    struct handler *h = job->e->h;

    if (FAULT(GUEST_SPAWN))
        job->rc =
            err_set(&job->err, -EAGAIN, "the guest process could not be started (fault point)");
    else
        vm_job_make(job, true); /* an earlier handler got this far: its guest, when it lives */
    if (job->rc != 0) {
        journal_remove(h->cfg.state_dir, job->e->uid, NULL);
        return;
    }
    job->j.state = JOURNAL_RUNNING;
    job->rc = journal_write(h->cfg.state_dir, &job->j, &job->err);
}

static void
start_done(struct vm_job *job)
{
    struct vm_entry *e = job->e;

    if (job->guest)
        vm_set_guest(e, job->guest);
    if (job->rc == 0)
        vm_refused_forget(e);
    if (job->rc != 0 && !job->guest) {
        e->has_journal = false;
        vm_start_refused(e, job->j.hypervisor, &job->why, &job->err);
        job->rc = 0; /* what to do about it is known */
    }
    if (job->guest)
        log_info("guest.started", LS("uid", e->uid), LS("namespace", job->j.namespace_),
                 LS("name", job->j.name), LS("hypervisor", hv_kind_name(job->j.hypervisor)),
                 LI("rc", job->rc), LI("generation", (int64_t)job->j.generation));
}

void
vm_journal_init(const struct vm_entry *e, const struct vmi *v, struct journal *j,
                enum journal_state state, enum hv_kind kind)
{
    memset(j, 0, sizeof *j);
    snprintf(j->uid, sizeof j->uid, "%s", e->uid);
    snprintf(j->namespace_, sizeof j->namespace_, "%s",
             v->meta.namespace_ ? v->meta.namespace_ : "");
    snprintf(j->name, sizeof j->name, "%s", v->meta.name ? v->meta.name : "");
    memcpy(j->cluster, e->h->cluster, sizeof j->cluster);
    j->hypervisor = kind;
    j->state = state;
}

/* --- ending a guest --- */

void
vm_end_guest(struct vm_entry *e, bool remove_journal)
{
    struct vm_job *job = vm_job_new(e);

    if (e->guest)
        e->guest->ops->unwatch(e->guest);
    job->guest = e->guest;
    job->remove_journal = remove_journal && e->has_journal;
    job->fn = end_run;
    job->done = end_done;
    vm_job_start(job);
}

static void
end_run(struct vm_job *job)
{
    if (job->guest)
        job->rc = job->guest->ops->remove(job->guest, &job->err);
}

static void
end_done(struct vm_job *job)
{
    struct vm_entry *e = job->e;

    if (job->rc == 0) {
        log_info("guest.removed", LS("uid", e->uid));
        vm_drop_guest(e);
        vm_refused_forget(e);
        e->stop_refused = false;
    }
}

/* --- verify --- */

bool
vm_verify_if_asked(struct vm_entry *e, const struct vmi *v)
{
    const char *asked = kv_get(&v->meta.annotations, ANN_VERIFY_REQUEST);
    const char *answer = kv_get(&v->meta.annotations, ANN_VERIFY_RESULT);
    AUTO_TREE struct tree *last = NULL;
    struct vm_job *job;

    if (!asked || !e->guest || strlen(asked) >= sizeof e->verify_seen ||
        strcmp(asked, e->verify_seen) == 0)
        return false;
    if (source_active(e))
        return false; /* after the migration, on the side that runs it then */
    if (answer && tree_from_json(answer, strlen(answer), &last, NULL) == 0 &&
        strcmp(tree_find_string(last, "", "request", NULL), asked) == 0)
        return false;
    job = vm_job_new(e);
    job->guest = e->guest;
    snprintf(job->text, sizeof job->text, "%s", asked);
    job->fn = verify_run;
    job->done = verify_done;
    vm_job_start(job);
    return true;
}

static void
verify_run(struct vm_job *job)
{
    struct native_guest *g = hv_native(job->guest);
    int rc = g ? native_verify(g, 0, &job->verify, &job->err)
               : err_set(&job->err, -ENOTSUP, "%s guests: their memory cannot be recomputed",
                         hv_kind_name(job->guest->ops->kind));

    if (rc != 0) { /* said in the answer, not tried for ever */
        job->verify.ok = false;
        snprintf(job->verify.text, sizeof job->verify.text, "%s", err_msg(&job->err));
    }
}

static void
verify_done(struct vm_job *job)
{
    struct vm_entry *e = job->e;
    AUTO_TREE struct tree *r = tree_map();

    memcpy(e->verify_seen, job->text, sizeof e->verify_seen);
    tree_set(r, "request", tree_string(job->text));
    tree_set(r, "ok", tree_bool(job->verify.ok));
    tree_set(r, "node", tree_string(e->h->cfg.node_name));
    tree_set(r, "pages", tree_int((int64_t)job->verify.pages));
    tree_set(r, "presentPages", tree_int((int64_t)job->verify.present_pages));
    tree_set(r, "bad", tree_int((int64_t)job->verify.bad_pages));
    tree_set(r, "readMismatches", tree_int((int64_t)job->verify.read_mismatches));
    tree_set(r, "steps", tree_int((int64_t)job->verify.steps));
    tree_set(r, "text", tree_string(job->verify.text));
    vm_answer(e, ANN_VERIFY_RESULT, r);
}

void
vm_answer(struct vm_entry *e, const char *key, const struct tree *r)
{
    AUTO_SB struct sb sb = SB_INIT;

    if (!e->vmi)
        return;
    tree_to_json(r, 0, &sb);
    annotate(e, key, sb_str(&sb), on_annotated);
}

bool
vm_annotate(struct vm_entry *e, const char *key, const char *value)
{
    if (e->writing)
        return false;
    annotate(e, key, value, on_written);
    return true;
}

static void
annotate(struct vm_entry *e, const char *key, const char *value, writer_fn done)
{
    AUTO_TREE struct tree *obj = tree_map();
    AUTO_FREE char *path =
        xasprintf("/apis/kubevirt.io/v1/namespaces/%s/virtualmachineinstances/%s",
                  object_namespace(e->vmi), object_name(e->vmi));

    tree_set_path(obj, tree_string(e->uid), "metadata", "uid", NULL);
    tree_set_path(obj, value ? tree_string(value) : tree_null(), "metadata", "annotations", key,
                  NULL);
    e->writing = true;
    writer_send(e->h->writer, NULL, "PATCH", path, NULL, obj, done, e);
}

static void
on_annotated(void *ctx, int status, const struct tree *body, const char *error)
{
    struct vm_entry *e = ctx;

    if (status == 0)
        e->verify_seen[0] = e->trace_seen[0] = '\0'; /* the answer is lost: again, then */
    on_written(e, status, body, error);
}

/* --- writing the object --- */

bool
vm_write_status(struct vm_entry *e, struct tree *changed)
{
    AUTO_TREE struct tree *want = changed;
    AUTO_TREE struct tree *patch = NULL, *body = NULL;
    AUTO_FREE char *path = NULL;

    if (e->writing || !e->vmi)
        return false;
    patch = tree_merge_diff(e->vmi, want);
    if (!tree_get(patch, "status"))
        return false;
    body = tree_map();
    tree_set(body, "status", tree_copy(tree_get(patch, "status")));
    tree_set_path(body,
                  tree_string(tree_find_string(e->vmi, "", "metadata", "resourceVersion", NULL)),
                  "metadata", "resourceVersion", NULL);
    tree_set_path(body, tree_string(e->uid), "metadata", "uid", NULL);
    path = xasprintf("/apis/kubevirt.io/v1/namespaces/%s/virtualmachineinstances/%s/status",
                     object_namespace(e->vmi), object_name(e->vmi));
    e->writing = true;
    writer_send(e->h->writer, NULL, "PATCH", path, NULL, body, on_written, e);
    return true;
}

static void
on_written(void *ctx, int status, const struct tree *body, const char *error)
{
    struct vm_entry *e = ctx;

    e->writing = false;
    if (status >= 200 && status < 300 && body) {
        const char *have = tree_find_string(e->vmi, "0", "metadata", "resourceVersion", NULL);
        const char *got = tree_find_string(body, "0", "metadata", "resourceVersion", NULL);

        if (e->vmi && strtoull(got, NULL, 10) > strtoull(have, NULL, 10)) {
            tree_free(e->vmi);
            e->vmi = tree_copy(body);
        }
        vm_reconcile(e);
    } else if (status == 409 || status == 404) {
        handler_retry_later(e->h); /* a newer version is on its way to us */
    } else {
        if (status != 0)
            log_warn("vm.write", LS("uid", e->uid), LI("status", status), LS("error", error));
        handler_retry_later(e->h);
    }
}

bool
vmim_annotate(struct handler *h, const char *uid, const char *key, const struct tree *json,
              const char *merge_key, writer_fn fn, void *ctx)
{
    const struct tree *obj = informer_get_uid(h->vmims, uid);
    AUTO_TREE struct tree *body = NULL;
    AUTO_SB struct sb sb = SB_INIT;
    AUTO_FREE char *path = NULL;

    if (!obj)
        return false;
    body = tree_map();
    tree_to_json(json, 0, &sb);
    tree_set_path(body, tree_string(uid), "metadata", "uid", NULL);
    tree_set_path(body, tree_string(sb_str(&sb)), "metadata", "annotations", key, NULL);
    path = xasprintf("/apis/kubevirt.io/v1/namespaces/%s/virtualmachineinstancemigrations/%s",
                     object_namespace(obj), object_name(obj));
    writer_send(h->writer, merge_key, "PATCH", path, NULL, body, fn, ctx);
    return true;
}

uint64_t
vm_annotation_number(const struct tree *vmi, const char *key)
{
    const char *s = object_annotation(vmi, key);

    return s ? strtoull(s, NULL, 10) : 0;
}

int64_t
vm_now(const struct vm_entry *e)
{
    return loop_wall_us(e->h->l);
}
