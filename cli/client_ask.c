/* See client_ask.h. */
#include "cli/client_ask.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

struct wait {
    const char *annotation, *request;
    struct tree *result;
};

void
client_ask_name(char name[CLIENT_ASK_SIZE])
{
    snprintf(name, CLIENT_ASK_SIZE, "drover-%lld-%d", (long long)clock_wall_us(), (int)getpid());
}

int
client_ask(struct client *c, const char *ns, const char *name, const char *annotation,
           const char *text, struct err *err)
{
    AUTO_TREE struct tree *patch = tree_map();

    tree_set_path(patch, tree_string(text), "metadata", "annotations", annotation, NULL);
    return client_patch(c, kind_info(KIND_VMI), ns, name, NULL, patch, NULL, err);
}

/* client_wait: 1 when our answer is there, 2 when it never will be. */
static int
look(void *ctx, const struct tree *vmi)
{
    struct wait *w = ctx;
    AUTO_TREE struct tree *t = object_annotation_json(vmi, w->annotation);

    if (!vmi)
        return 2;
    if (!t || strcmp(tree_find_string(t, "", "request", NULL), w->request) != 0)
        return 0;
    w->result = TAKE_PTR(t);
    return 1;
}

int
client_ask_wait(struct client *c, const char *ns, const char *name, const char *annotation,
                const char *request, int64_t timeout_us, const char *late, struct tree **ret,
                struct err *err)
{
    struct wait w = {.annotation = annotation, .request = request};
    int rc = client_wait(c, kind_info(KIND_VMI), ns, name, timeout_us, look, &w, err);

    if (rc == -ETIMEDOUT)
        return err_set(err, rc, "%s", late);
    if (rc == 2)
        return err_set(err, -ENOENT, "the VM ended meanwhile");
    if (rc < 0)
        return rc;
    *ret = w.result;
    return 0;
}
