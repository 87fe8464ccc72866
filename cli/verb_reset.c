/* drover reset: presses a VM's reset button through the API, and says when that has happened. */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "cli/client_ask.h"
#include "cli/client_verb.h"

#define WAIT_US (30 * 1000000LL)

static const struct options_def defs[] = {
    VERB_OPTION_NAMESPACE,
    VERB_OPTION_TIMEOUT,
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program program = {
    .name = "drover reset",
    .usage = "VM... | NS/VM... [OPTIONS]",
    .about =
        "Resets VMs at once, as the button does: their systems are not asked, and start again.",
    .defs = defs,
    .min_args = 1,
    .max_args = 10000,
};

static int
reset_one(struct verb *v, const char *ns, const char *name, int64_t timeout_us, void *ctx)
{
    AUTO_TREE struct tree *vmi = NULL, *answer = NULL;
    int rc = client_action(v->client, ns, "virtualmachineinstances", name, "reset", NULL, &v->err);

    (void)ctx;
    if (rc == 0)
        rc = client_get(v->client, kind_info(KIND_VMI), ns, name, &vmi, &v->err);
    if (rc == 0) {
        const char *request = object_annotation(vmi, ANN_RESET_REQUEST);

        rc = client_ask_wait(v->client, ns, name, ANN_RESET_RESULT, request ? request : "",
                             timeout_us, "its node has not answered in time", &answer, &v->err);
    }
    if (rc == -ETIMEDOUT)
        return verb_no(v, "%s/%s: %s", ns, name, err_msg(&v->err));
    if (rc < 0)
        return verb_error(v);
    if (!tree_get_bool(tree_get(answer, "ok"), false))
        return verb_errorf(v, "%s/%s: %s", ns, name, tree_find_string(answer, "", "text", NULL));
    printf("VM %s/%s was reset\n", ns, name);
    return EXIT_DONE;
}

int
verb_reset(int argc, char **argv)
{
    return verb_each_vm(&program, argc, argv, WAIT_US, reset_one, NULL);
}
