/* See client_verify.h. */
#include "cli/client_verify.h"

#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/clock.h"

int
verify_ask(struct client *c, const char *ns, const char *name, struct verify_result *ret,
           struct err *err)
{
    AUTO_TREE struct tree *patch = tree_map();

    *ret = (struct verify_result){0};
    snprintf(ret->request, sizeof(ret->request), "drover-%lld-%d", (long long)clock_wall_us(),
             (int)getpid());
    tree_set_path(patch, tree_string(ret->request), "metadata", "annotations", ANN_VERIFY_REQUEST,
                  NULL);
    return client_patch(c, kind_info(KIND_VMI), ns, name, NULL, patch, NULL, err);
}

/* client_wait: 1 when our answer is there, 2 when it never will be. */
static int
look(void *ctx, const struct tree *vmi)
{
    struct verify_result *r = ctx;
    const char *json = object_annotation(vmi, ANN_VERIFY_RESULT);
    AUTO_TREE struct tree *t = NULL;

    if (!vmi)
        return 2;
    if (!json || tree_from_json(json, strlen(json), &t, NULL) < 0 ||
        strcmp(tree_find_string(t, "", "request", NULL), r->request) != 0)
        return 0;
    r->ok = tree_get_bool(tree_get(t, "ok"), false);
    r->pages = tree_get_int(tree_get(t, "pages"), 0);
    r->bad = tree_get_int(tree_get(t, "bad"), 0);
    r->steps = tree_get_int(tree_get(t, "steps"), 0);
    snprintf(r->text, sizeof(r->text), "%s", tree_find_string(t, "", "text", NULL));
    return 1;
}

int
verify_wait(struct client *c, const char *ns, const char *name, int64_t timeout_us,
            struct verify_result *r, struct err *err)
{
    int rc = client_wait(c, kind_info(KIND_VMI), ns, name, timeout_us, look, r, err);

    if (rc == -ETIMEDOUT)
        return err_set(err, rc, "its handler has not answered in time");
    if (rc == 2)
        return err_set(err, -ENOENT, "the VM ended meanwhile");
    return rc < 0 ? rc : 0;
}
