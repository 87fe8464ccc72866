/* Recording which pages a VM writes (drover.io/trace-request, docs/protocol.md): a job on a
 * worker, which a migration, the VM's end or the handler's ends early. The file stays in the
 * handler's state directory, one a VM; the answer says where. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/names.h"
#include "base/log.h"
#include "handler/handler.h"
#include "migrate/trace_record.h"

struct vm_trace { /* of one recording; the job's until its end */
    char request[128];
    char path[512];
    uint64_t us;
    atomic_bool stop;
    struct trace_recorded got;
};

static void run(struct vm_job *job);
static void done(struct vm_job *job);

/* {"request":"text","milliseconds":N}; false: not one that can be answered. */
static bool
parse(const char *text, struct vm_trace *t)
{
    AUTO_TREE struct tree *q = NULL;
    const char *id;
    int64_t ms;

    if (tree_from_json(text, strlen(text), &q, NULL) != 0)
        return false;
    id = tree_find_string(q, "", "request", NULL);
    ms = tree_get_int(tree_get(q, "milliseconds"), 0);
    if (!*id || strlen(id) >= sizeof t->request || ms <= 0 ||
        ms > (int64_t)(TRACE_RECORD_MAX_US / 1000))
        return false;
    snprintf(t->request, sizeof t->request, "%s", id);
    t->us = (uint64_t)ms * 1000;
    return true;
}

bool
vm_trace_if_asked(struct vm_entry *e, const struct vmi *v)
{
    const char *asked = kv_get(&v->meta.annotations, ANN_TRACE_REQUEST);
    const char *answer = kv_get(&v->meta.annotations, ANN_TRACE_RESULT);
    AUTO_TREE struct tree *last = NULL;
    struct vm_trace *t;
    struct vm_job *job;

    /* Of a guest that a migration works on, the userfaultfd is the migration's. */
    if (!asked || !e->guest || e->h->stopping || source_active(e) || target_active(e) ||
        strcmp(asked, e->trace_seen) == 0 || strlen(asked) >= sizeof e->trace_seen)
        return false;
    t = xcalloc(1, sizeof *t);
    if (!parse(asked, t) ||
        (answer && tree_from_json(answer, strlen(answer), &last, NULL) == 0 &&
         strcmp(tree_find_string(last, "", "request", NULL), t->request) == 0)) {
        free(t);
        return false;
    }
    snprintf(t->path, sizeof t->path, "%s/traces", e->h->cfg.state_dir);
    mkdir(t->path, 0700); /* if it cannot be, opening the file says why */
    snprintf(t->path, sizeof t->path, "%s/traces/%s.trace", e->h->cfg.state_dir, e->uid);
    snprintf(e->trace_seen, sizeof e->trace_seen, "%s", asked);
    job = vm_job_new(e);
    job->guest = e->guest;
    job->fn = run;
    job->done = done;
    e->trace = t;
    log_info("trace.started", LS("uid", e->uid), LI("ms", (int64_t)(t->us / 1000)));
    vm_job_start(job);
    return true;
}

void
vm_trace_interrupt(struct vm_entry *e)
{
    if (e->trace)
        atomic_store(&e->trace->stop, true);
}

/* On a worker. An error is an answer, not a job that is tried again. */
static void
run(struct vm_job *job)
{
    struct vm_trace *t = job->e->trace;
    struct guest g;

    if (!hv_native(job->guest)) {
        err_set(&job->err, -ENOTSUP, "%s guests: their memory cannot be traced from here",
                hv_kind_name(job->guest->ops->kind));
        return;
    }
    g = native_guest(hv_native(job->guest));
    trace_record(&g, t->us, t->path, &t->stop, &t->got, &job->err);
}

static void
done(struct vm_job *job)
{
    struct vm_entry *e = job->e;
    struct vm_trace *t = e->trace;
    const struct trace_recorded *g = &t->got;
    AUTO_TREE struct tree *r = tree_map();

    tree_set(r, "request", tree_string(t->request));
    tree_set(r, "ok", tree_bool(job->err.code == 0));
    tree_set(r, "node", tree_string(e->h->cfg.node_name));
    if (job->err.code == 0)
        tree_set(r, "path", tree_string(t->path));
    else
        tree_set(r, "text", tree_string(err_msg(&job->err)));
    tree_set(r, "milliseconds", tree_int((int64_t)(g->us / 1000)));
    tree_set(r, "intervals", tree_int(g->intervals));
    tree_set(r, "memoryBytes", tree_int((int64_t)g->memory_bytes));
    tree_set(r, "presentBytes", tree_int((int64_t)g->present_bytes));
    tree_set(r, "writtenBytes", tree_int((int64_t)g->written_bytes));
    tree_set(r, "workingSetBytes", tree_int((int64_t)g->set_bytes));
    tree_set(r, "dirtyBytesPerSecond", tree_int((int64_t)g->dirty_bytes_per_s));
    log_info("trace.ended", LS("uid", e->uid), LI("ms", (int64_t)(g->us / 1000)),
             LS("error", err_msg(&job->err)));
    e->trace = NULL;
    free(t);
    vm_answer(e, ANN_TRACE_RESULT, r);
}
