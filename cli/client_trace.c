/* See client_trace.h. */
#include "cli/client_trace.h"

#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/clock.h"

/* client_wait: 1 when our answer is there, 2 when it never will be. */
static int
look(void *ctx, const struct tree *vmi)
{
    struct trace_result *r = ctx;
    const char *json = object_annotation(vmi, ANN_TRACE_RESULT);
    AUTO_TREE struct tree *t = NULL;

    if (!vmi)
        return 2;
    if (!json || tree_from_json(json, strlen(json), &t, NULL) < 0 ||
        strcmp(tree_find_string(t, "", "request", NULL), r->request) != 0)
        return 0;
    r->ok = tree_get_bool(tree_get(t, "ok"), false);
    snprintf(r->node, sizeof(r->node), "%s", tree_find_string(t, "", "node", NULL));
    snprintf(r->path, sizeof(r->path), "%s", tree_find_string(t, "", "path", NULL));
    snprintf(r->text, sizeof(r->text), "%s", tree_find_string(t, "", "text", NULL));
    r->ms = tree_get_int(tree_get(t, "milliseconds"), 0);
    r->intervals = tree_get_int(tree_get(t, "intervals"), 0);
    r->memory_bytes = tree_get_int(tree_get(t, "memoryBytes"), 0);
    r->present_bytes = tree_get_int(tree_get(t, "presentBytes"), 0);
    r->written_bytes = tree_get_int(tree_get(t, "writtenBytes"), 0);
    r->set_bytes = tree_get_int(tree_get(t, "workingSetBytes"), 0);
    r->dirty_bytes_per_s = tree_get_int(tree_get(t, "dirtyBytesPerSecond"), 0);
    return 1;
}

int
trace_ask(struct client *c, const char *ns, const char *name, int64_t ms, int64_t timeout_us,
          struct trace_result *ret, struct err *err)
{
    AUTO_TREE struct tree *patch = tree_map();
    AUTO_FREE char *json = NULL;
    int rc;

    *ret = (struct trace_result){0};
    snprintf(ret->request, sizeof(ret->request), "drover-%lld-%d", (long long)clock_wall_us(),
             (int)getpid());
    json = xasprintf("{\"request\":\"%s\",\"milliseconds\":%lld}", ret->request, (long long)ms);
    tree_set_path(patch, tree_string(json), "metadata", "annotations", ANN_TRACE_REQUEST, NULL);
    rc = client_patch(c, kind_info(KIND_VMI), ns, name, NULL, patch, NULL, err);
    if (rc == 0)
        rc = client_wait(c, kind_info(KIND_VMI), ns, name, ms * 1000 + timeout_us, look, ret, err);
    if (rc == -ETIMEDOUT)
        return err_set(err, rc, "its handler has not answered in time (it may be busy with it)");
    if (rc == 2)
        return err_set(err, -ENOENT, "the VM ended meanwhile");
    return rc < 0 ? rc : 0;
}
