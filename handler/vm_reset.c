/* The reset button (ANN_RESET_REQUEST, by the API's `reset`): pressed once for each request, and the
 * answer says what became of it. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/log.h"
#include "handler/handler.h"

static void run(struct vm_job *job);
static void done(struct vm_job *job);

bool
vm_reset_if_asked(struct vm_entry *e, const struct vmi *v)
{
    const char *asked = kv_get(&v->meta.annotations, ANN_RESET_REQUEST);
    const char *answer = kv_get(&v->meta.annotations, ANN_RESET_RESULT);
    AUTO_TREE struct tree *last = NULL;
    struct vm_job *job;

    if (!asked || !e->guest || strlen(asked) >= sizeof e->reset_seen ||
        strcmp(asked, e->reset_seen) == 0 || source_active(e))
        return false;
    if (answer && tree_from_json(answer, strlen(answer), &last, NULL) == 0 &&
        strcmp(tree_find_string(last, "", "request", NULL), asked) == 0)
        return false;
    snprintf(e->reset_seen, sizeof e->reset_seen, "%s", asked);
    job = vm_job_new(e);
    job->guest = e->guest;
    job->fn = run;
    job->done = done;
    vm_job_start(job);
    return true;
}

/* On a worker. An error is an answer, not a job that is tried again. */
static void
run(struct vm_job *job)
{
    struct hv_guest *g = job->guest;

    if (g->ops->reset)
        (void)g->ops->reset(g, &job->err);
    else
        err_set(&job->err, -ENOTSUP, "%s guests have no reset", hv_kind_name(g->ops->kind));
}

static void
done(struct vm_job *job)
{
    struct vm_entry *e = job->e;
    AUTO_TREE struct tree *r = tree_map();

    log_info("guest.reset", LS("uid", e->uid),
             LS("error", job->err.code ? err_msg(&job->err) : ""));
    tree_set(r, "request", tree_string(e->reset_seen));
    tree_set(r, "ok", tree_bool(job->err.code == 0));
    tree_set(r, "text", tree_string(job->err.code ? err_msg(&job->err) : ""));
    vm_answer(e, ANN_RESET_RESULT, r);
}
