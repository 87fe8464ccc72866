/* See client_verify.h. */
#include "cli/client_verify.h"

#include "api/names.h"
#include "base/sb.h"

int
verify_ask(struct client *c, const char *ns, const char *name, struct verify_result *ret,
           struct err *err)
{
    *ret = (struct verify_result){0};
    client_ask_name(ret->request);
    return client_ask(c, ns, name, ANN_VERIFY_REQUEST, ret->request, err);
}

int
verify_wait(struct client *c, const char *ns, const char *name, int64_t timeout_us,
            struct verify_result *r, struct err *err)
{
    AUTO_TREE struct tree *t = NULL;
    int rc = client_ask_wait(c, ns, name, ANN_VERIFY_RESULT, r->request, timeout_us,
                             "its handler has not answered in time", &t, err);

    if (rc != 0)
        return rc;
    r->ok = tree_get_bool(tree_get(t, "ok"), false);
    r->pages = tree_get_int(tree_get(t, "pages"), 0);
    r->bad = tree_get_int(tree_get(t, "bad"), 0);
    r->steps = tree_get_int(tree_get(t, "steps"), 0);
    snprintf(r->text, sizeof(r->text), "%s", tree_find_string(t, "", "text", NULL));
    return 0;
}
