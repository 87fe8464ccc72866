/* Consoles of guests (ANN_CONSOLE_REQUEST, docs/console.md): what the controller asks for is opened
 * by a job, for that may block, and then goes on beside everything else. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/names.h"
#include "base/log.h"
#include "handler/console.h"
#include "handler/handler.h"
#include "handler/limits.h"

static void open_run(struct vm_job *job);
static void open_done(struct vm_job *job);
static void on_ended(void *ctx, const struct err *why);
static void refuse(struct vm_entry *e, const char *id, const struct err *err);

static char *
path_of(const struct vm_entry *e, const char *id)
{
    return xasprintf("/apis/subresources.kubevirt.io/v1/namespaces/%s/virtualmachineinstances/%s/"
                     "console/backend?session=%s",
                     object_namespace(e->vmi), object_name(e->vmi), id);
}

bool
vm_console_if_asked(struct vm_entry *e, const struct vmi *v)
{
    const char *asked = kv_get(&v->meta.annotations, ANN_CONSOLE_REQUEST);
    struct vm_job *job;

    if (!asked || !e->guest || e->h->stopping || strcmp(asked, e->console_seen) == 0 ||
        strlen(asked) >= sizeof e->console_seen ||
        strspn(asked, "0123456789abcdef") != strlen(asked))
        return false;
    if (e->console) {
        console_stop(e->console); /* its end brings us back here */
        return false;
    }
    snprintf(e->console_seen, sizeof e->console_seen, "%s", asked);
    job = vm_job_new(e);
    job->guest = e->guest;
    job->fd = -1;
    snprintf(job->text, sizeof job->text, "%s", asked);
    job->fn = open_run;
    job->done = open_done;
    vm_job_start(job);
    return true;
}

/* On a worker. An error is an answer, not a job that is tried again. */
static void
open_run(struct vm_job *job)
{
    struct hv_guest *g = job->guest;

    if (!g->ops->console) {
        err_set(&job->err, -ENOTSUP, "%s guests have no console", hv_kind_name(g->ops->kind));
        return;
    }
    /* Who has just left is not gone before the guest's end has seen it. */
    for (int i = 0; g->ops->console(g, &job->fd, &job->err) == -EBUSY && i < CONSOLE_BUSY_TRIES;
         i++)
        nanosleep(&(struct timespec){0, CONSOLE_BUSY_US * 1000L}, NULL);
}

static void
open_done(struct vm_job *job)
{
    struct vm_entry *e = job->e;
    AUTO_FREE char *path = NULL;

    if (job->fd < 0) {
        refuse(e, job->text, &job->err);
        return;
    }
    if (!e->vmi) { /* it is gone by now */
        close(job->fd);
        return;
    }
    path = path_of(e, job->text);
    log_info("console.opened", LS("uid", e->uid));
    e->console = console_start(e->h->l, e->h->cfg.controller, path, job->fd, on_ended, e);
}

static void
on_ended(void *ctx, const struct err *why)
{
    struct vm_entry *e = ctx;

    log_info("console.closed", LS("uid", e->uid), LS("error", why->code ? err_msg(why) : ""));
    e->console = NULL;
    vm_reconcile(e);
}

void
vm_console_end(struct vm_entry *e)
{
    if (e->console)
        console_stop(e->console);
}

static void
refuse(struct vm_entry *e, const char *id, const struct err *err)
{
    AUTO_TREE struct tree *body = tree_map();
    AUTO_FREE char *path = NULL;

    log_info("console.refused", LS("uid", e->uid), LS("error", err_msg(err)));
    if (!e->vmi)
        return;
    path = path_of(e, id);
    tree_set(body, "code", tree_int(err->code == -EBUSY ? 409 : err->code == -ENOTSUP ? 501 : 500));
    tree_set(body, "message", tree_string(err_msg(err)));
    writer_send(e->h->writer, NULL, "PUT", path, "application/json", body, NULL, NULL);
}
