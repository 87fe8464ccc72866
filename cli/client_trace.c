/* See client_trace.h. */
#include "cli/client_trace.h"

#include "api/names.h"
#include "base/sb.h"
#include "cli/client_ask.h"

int
trace_ask(struct client *c, const char *ns, const char *name, int64_t ms, int64_t timeout_us,
          struct trace_result *ret, struct err *err)
{
    char request[CLIENT_ASK_SIZE];
    AUTO_TREE struct tree *t = NULL;
    AUTO_FREE char *json = NULL;
    int rc;

    client_ask_name(request);
    json = xasprintf("{\"request\":\"%s\",\"milliseconds\":%lld}", request, (long long)ms);
    rc = client_ask(c, ns, name, ANN_TRACE_REQUEST, json, err);
    if (rc == 0)
        rc = client_ask_wait(c, ns, name, ANN_TRACE_RESULT, request, ms * 1000 + timeout_us,
                             "its handler has not answered in time (it may be busy with it)", &t,
                             err);
    if (rc != 0)
        return rc;
    *ret = (struct trace_result){
        .ok = tree_get_bool(tree_get(t, "ok"), false),
        .ms = tree_get_int(tree_get(t, "milliseconds"), 0),
        .intervals = tree_get_int(tree_get(t, "intervals"), 0),
        .memory_bytes = tree_get_int(tree_get(t, "memoryBytes"), 0),
        .present_bytes = tree_get_int(tree_get(t, "presentBytes"), 0),
        .written_bytes = tree_get_int(tree_get(t, "writtenBytes"), 0),
        .set_bytes = tree_get_int(tree_get(t, "workingSetBytes"), 0),
        .dirty_bytes_per_s = tree_get_int(tree_get(t, "dirtyBytesPerSecond"), 0),
    };
    snprintf(ret->node, sizeof(ret->node), "%s", tree_find_string(t, "", "node", NULL));
    snprintf(ret->path, sizeof(ret->path), "%s", tree_find_string(t, "", "path", NULL));
    snprintf(ret->text, sizeof(ret->text), "%s", tree_find_string(t, "", "text", NULL));
    return 0;
}
