/* /apis/subresources.kubevirt.io/v1/namespaces/NS/virtualmachines/NAME/{start,stop,restart,migrate}
 * and virtualmachineinstances/NAME/..., as virtctl sends them. What start and stop do under which
 * run strategy follows the documents' table (seeds-scheduling S06) and upstream's subresource.go;
 * what only a controller can do is left to it in status.stateChangeRequests. Those of instances are
 * api_subresource_vmi.c's. */
#include "control/api_subresource.h"

#include <errno.h>
#include <string.h>

#include "control/api_call.h"
#include "control/console.h"

static int take_options(struct api_call *c);
static int change_state(struct api_call *c);
static int migrate(struct api_call *c);

static const struct {
    enum kind kind;
    enum http_method method;
    const char *name;
    int (*fn)(struct api_call *c);
} actions[] = {
    {KIND_VM, HTTP_PUT, "start", change_state},
    {KIND_VM, HTTP_PUT, "stop", change_state},
    {KIND_VM, HTTP_PUT, "restart", change_state},
    {KIND_VM, HTTP_PUT, "migrate", migrate},
    {KIND_VMI, HTTP_PUT, "pause", api_subresource_pause},
    {KIND_VMI, HTTP_PUT, "unpause", api_subresource_pause},
    {KIND_VMI, HTTP_PUT, "reset", api_subresource_reset},
    {KIND_VMI, HTTP_GET, "console", consoles_open},
};

int
api_subresource(struct api_call *c)
{
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (actions[i].kind != c->kind->kind || strcmp(actions[i].name, c->sub) != 0)
            continue;
        if (c->request->method != actions[i].method)
            return api_err_method(c);
        if (c->request->method == HTTP_PUT && take_options(c) != 0)
            return -1;
        return actions[i].fn(c);
    }
    if (c->kind->kind == KIND_VMI && strcmp(c->sub, "console/backend") == 0)
        return consoles_backend(c);
    if (c->kind->kind == KIND_VMI && api_subresource_not_served(c))
        return -1;
    return api_err_no_resource(c);
}

/* dryRun stands in the query, as everywhere, or in the body, where virtctl has it. */
static int
take_options(struct api_call *c)
{
    const struct tree *dry;

    if (api_parse_options(c) != 0 || api_read_body(c, true) != 0)
        return -1;
    dry = tree_get(c->body, "dryRun");
    for (size_t i = 0; i < tree_len(dry); i++) {
        const char *what = tree_get_string(tree_at(dry, i), "");

        if (strcmp(what, "All") != 0)
            return api_err_field(c, c->name, "dryRun", "FieldValueNotSupported",
                                 "Unsupported value: \"%s\": supported values: \"All\"", what);
        c->dry_run = true;
    }
    return 0;
}

void
api_subresource_list(struct sb *out)
{
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        sb_printf(out,
                  "%s{\"name\":\"%s/%s\",\"singularName\":\"\",\"namespaced\":true,\"kind\":\"%s\","
                  "\"verbs\":[\"%s\"]}",
                  i ? "," : "", kind_info(actions[i].kind)->plural, actions[i].name,
                  kind_info(actions[i].kind)->name,
                  actions[i].method == HTTP_PUT ? "update" : "get");
}

void
api_subresource_accepted(void *ctx, const struct store_result *res)
{
    struct api_call *c = ctx;
    struct sb out = SB_INIT;

    if (!api_call_back(c))
        return;
    if (res->rc) {
        api_err_store(c, res);
        api_send_error(c);
        return;
    }
    sb_puts(&out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":"
                  "\"Success\",\"code\":202}\n");
    api_send_json(c, 202, &out);
}

/* --- start, stop, restart --- */
static bool
is_final(const struct tree *vmi)
{
    const char *phase = tree_find_string(vmi, "", "status", "phase", NULL);

    return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

static const char *
run_strategy(const struct tree *vm)
{
    const char *s = tree_find_string(vm, NULL, "spec", "runStrategy", NULL);

    if (s)
        return s;
    return tree_get_bool(tree_find(vm, "spec", "running", NULL), false) ? "Always" : "Halted";
}

static int
set_running(struct tree *vm, bool run)
{
    if (tree_find(vm, "spec", "running", NULL))
        tree_set_path(vm, tree_bool(run), "spec", "running", NULL);
    else
        tree_set_path(vm, tree_string(run ? "Always" : "Halted"), "spec", "runStrategy", NULL);
    return 1;
}

/* uid: of the instance that is to be stopped; NULL for a start. */
static void
request(struct tree *vm, const char *action, const char *uid)
{
    struct tree *status = tree_ensure_map(vm, "status"), *list, *rq = tree_map();

    if (!tree_get(status, "stateChangeRequests"))
        tree_set(status, "stateChangeRequests", tree_list());
    list = tree_get(status, "stateChangeRequests");
    tree_set(rq, "action", tree_string(action));
    if (uid)
        tree_set(rq, "uid", tree_string(uid));
    tree_append(list, rq);
}

static int
refuse(struct api_call *c, const char *text)
{
    api_err_conflict(c, c->name, "%s", text);
    return -EPERM;
}

static int
start(struct api_call *c, struct tree *vm, const char *strategy, bool runs)
{
    if (strcmp(strategy, "Always") == 0)
        return refuse(c, "Always does not support manual start requests");
    if (strcmp(strategy, "Once") == 0)
        return refuse(c, "Once does not support manual start requests");
    if (runs)
        return refuse(c, "VM is already running");
    if (strcmp(strategy, "Halted") == 0)
        return set_running(vm, true);
    request(vm, "Start", NULL);
    return 1;
}

static int
stop(struct api_call *c, struct tree *vm, const char *strategy, bool runs, const char *uid)
{
    if (strcmp(strategy, "Halted") == 0)
        return refuse(c,
                      runs ? "Halted does not support manual stop requests" : "VM is not running");
    if (strcmp(strategy, "Manual") != 0)
        return set_running(vm, false);
    if (!runs)
        return refuse(c, "VM is not running");
    request(vm, "Stop", uid);
    return 1;
}

static int
restart(struct api_call *c, struct tree *vm, const char *strategy, bool runs, const char *uid)
{
    if (strcmp(strategy, "Halted") == 0)
        return refuse(c, "Halted does not support manual restart requests");
    if (strcmp(strategy, "Once") == 0)
        return refuse(c, "Once does not support manual restart requests");
    if (!runs)
        return refuse(c, "VM is not running");
    request(vm, "Stop", uid);
    request(vm, "Start", NULL);
    return 1;
}

/* As store_mutate_fn. */
static int
on_newest(void *ctx, struct tree *vm)
{
    struct api_call *c = ctx;
    const struct tree *vmi = store_get(c->api->store, KIND_VMI, c->ns, c->name);
    const char *strategy = run_strategy(vm), *uid = object_uid(vmi);
    bool runs = vmi && !is_final(vmi);

    if (tree_find(vm, "metadata", "deletionTimestamp", NULL))
        return refuse(c, "VM is being deleted");
    if (tree_len(tree_find(vm, "status", "stateChangeRequests", NULL)) > 0)
        return refuse(c, "unable to complete request: stop/start already underway");
    if (strcmp(c->sub, "start") == 0)
        return start(c, vm, strategy, runs);
    if (strcmp(c->sub, "stop") == 0)
        return stop(c, vm, strategy, runs, uid);
    return restart(c, vm, strategy, runs, uid);
}

static int
change_state(struct api_call *c)
{
    api_call_wait(c);
    store_mutate_opts(c->api->store, KIND_VM, c->ns, c->name,
                      &(struct store_opts){.dry_run = c->dry_run}, on_newest,
                      api_subresource_accepted, c);
    return 0;
}

/* --- migrate --- */
static int
migrate(struct api_call *c)
{
    const struct tree *selector = tree_get(c->body, "addedNodeSelector");
    struct tree *m;

    if (!store_get(c->api->store, KIND_VM, c->ns, c->name))
        return api_err_not_found(c, c->kind, c->name);
    if (!store_get(c->api->store, KIND_VMI, c->ns, c->name))
        return api_err_conflict(c, c->name, "VM is not running");
    m = tree_map();
    tree_set(m, "apiVersion", tree_string("kubevirt.io/v1"));
    tree_set(m, "kind", tree_string("VirtualMachineInstanceMigration"));
    tree_set_path(m, tree_string("kubevirt-migrate-vm-"), "metadata", "generateName", NULL);
    tree_set_path(m, tree_string(c->ns), "metadata", "namespace", NULL);
    tree_set_path(m, tree_string(c->name), "spec", "vmiName", NULL);
    if (selector)
        tree_set_path(m, tree_copy(selector), "spec", "addedNodeSelector", NULL);
    tree_free(c->body);
    c->body = m;
    c->kind = kind_info(KIND_VMIM);
    c->version = c->kind->version;
    if (api_validate(c, m, NULL, VALIDATE_CREATE) != 0)
        return -1;
    api_call_wait(c);
    store_create_opts(c->api->store, TAKE_PTR(c->body),
                      &(struct store_opts){.dry_run = c->dry_run, .check = api_admit},
                      api_subresource_accepted, c);
    return 0;
}
