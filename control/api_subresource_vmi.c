/* virtualmachineinstances/NAME/{pause,unpause,reset}: what is asked for becomes an annotation of the
 * instance, which its node's handler acts on (docs/protocol.md); what is refused, and how, follows
 * upstream's lifecycle.go. See api_call.h. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/rng.h"
#include "control/api_call.h"
#include "control/api_subresource.h"

static int
refuse(struct api_call *c, const char *text)
{
    api_err_conflict(c, c->name, "%s", text);
    return -EPERM;
}

static bool
is_migrating(const struct tree *vmi)
{
    const struct tree *ms = tree_find(vmi, "status", "migrationState", NULL);

    return ms && !tree_get_bool(tree_get(ms, "completed"), false) &&
           !tree_get_bool(tree_get(ms, "failed"), false);
}

static int
ask_pause(struct api_call *c, struct tree *vmi, bool paused)
{
    const char *asked = object_annotation(vmi, ANN_PAUSE_REQUEST);

    if (tree_find(vmi, "spec", "livenessProbe", NULL)) {
        api_err_forbidden(c, c->kind, c->name,
                          "Pausing VMIs with LivenessProbe is currently not supported");
        return -EPERM;
    }
    if (paused)
        return refuse(c, "VMI is already paused");
    if (is_migrating(vmi)) {
        api_err_conflict(c, c->name, "Cannot pause VM '%s' because it is currently being migrated",
                         c->name);
        return -EPERM;
    }
    if (asked && strcmp(asked, "true") == 0)
        return 0; /* it is on its way */
    tree_set_path(vmi, tree_string("true"), "metadata", "annotations", ANN_PAUSE_REQUEST, NULL);
    return 1;
}

static int
ask_unpause(struct api_call *c, struct tree *vmi, bool paused)
{
    const char *asked = object_annotation(vmi, ANN_PAUSE_REQUEST);

    /* A pause that was asked for a moment ago has no condition yet: it can be taken back. */
    if (!paused && !(asked && strcmp(asked, "true") == 0))
        return refuse(c, "VMI is not paused");
    /* "false" and not nothing: it may have been paused behind our back, with no request to drop. */
    tree_set_path(vmi, tree_string("false"), "metadata", "annotations", ANN_PAUSE_REQUEST, NULL);
    return 1;
}

/* As store_mutate_fn. */
static int
on_newest(void *ctx, struct tree *vmi)
{
    struct api_call *c = ctx;
    const struct tree *cond = object_condition(vmi, "Paused");
    bool paused = strcmp(tree_find_string(cond, "", "status", NULL), "True") == 0;

    if (strcmp(tree_find_string(vmi, "", "status", "phase", NULL), "Running") != 0 ||
        tree_find(vmi, "metadata", "deletionTimestamp", NULL))
        return refuse(c, "VMI is not running");
    return strcmp(c->sub, "pause") == 0 ? ask_pause(c, vmi, paused) : ask_unpause(c, vmi, paused);
}

int
api_subresource_pause(struct api_call *c)
{
    api_call_wait(c);
    store_mutate_opts(c->api->store, KIND_VMI, c->ns, c->name,
                      &(struct store_opts){.dry_run = c->dry_run}, on_newest,
                      api_subresource_accepted, c);
    return 0;
}

/* As store_mutate_fn. */
static int
press_reset(void *ctx, struct tree *vmi)
{
    struct api_call *c = ctx;
    const char *hypervisor = object_annotation(vmi, ANN_RUNS_ON);
    char id[37];

    if (strcmp(tree_find_string(vmi, "", "status", "phase", NULL), "Running") != 0)
        return refuse(c, "VMI is not running");
    if (hypervisor && strcmp(hypervisor, "native") == 0)
        return refuse(c, "native guests have no reset");
    if (is_migrating(vmi)) {
        api_err_conflict(c, c->name, "Cannot reset VM '%s' because it is currently being migrated",
                         c->name);
        return -EPERM;
    }
    rng_uuid(id);
    tree_set_path(vmi, tree_string(id), "metadata", "annotations", ANN_RESET_REQUEST, NULL);
    return 1;
}

int
api_subresource_reset(struct api_call *c)
{
    api_call_wait(c);
    store_mutate_opts(c->api->store, KIND_VMI, c->ns, c->name,
                      &(struct store_opts){.dry_run = c->dry_run}, press_reset,
                      api_subresource_accepted, c);
    return 0;
}

bool
api_subresource_not_served(struct api_call *c)
{
    static const struct {
        const char *name, *why;
    } rows[] = {
        {"vnc", "VMs have no graphics device here; the serial console is (drover console VM)"},
        {"portforward", "connect to the VM's own address"},
        {"usbredir", "USB devices are not passed on"},
        {"vsock", "VMs have no vsock device here"},
        {"guestosinfo", "the guest agent is not asked about its system"},
        {"userlist", "the guest agent is not asked about its users"},
        {"filesystemlist", "the guest agent is not asked about its file systems"},
        {"softreboot", "restart the VM (drover restart VM), or reboot it from inside"},
        {"freeze", "file systems are not frozen from outside"},
        {"unfreeze", "file systems are not frozen from outside"},
        {"addvolume", "volumes are not plugged in while a VM runs"},
        {"removevolume", "volumes are not plugged in while a VM runs"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, c->sub) != 0)
            continue;
        api_err(c, 501, "NotImplemented", "%s of a VirtualMachineInstance is not served: %s",
                c->sub, rows[i].why);
        return true;
    }
    return false;
}
