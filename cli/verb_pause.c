/* drover pause, drover unpause: the API is asked, the VM's node does it, and its condition Paused
 * says when it is done. */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "cli/client_verb.h"

#define WAIT_US (30 * 1000000LL)

static const struct options_def defs[] = {
    VERB_OPTION_NAMESPACE,
    {.name = "no-wait", .type = OPTIONS_BOOL, .help = "ask, and do not wait until it is so"},
    {.name = "timeout",
     .type = OPTIONS_STRING,
     .arg = "DURATION",
     .help = "give up waiting after this long (exit 2); 30s when not given, 0 waits for ever"},
    VERB_OPTION_SERVER,
    {0},
};

/* client_wait: 1 when it is so, 2 when it never will be. */
static int
look(void *ctx, const struct tree *vmi)
{
    const bool *want = ctx;
    bool paused =
        strcmp(tree_find_string(object_condition(vmi, "Paused"), "", "status", NULL), "True") == 0;

    if (!vmi || strcmp(tree_find_string(vmi, "", "status", "phase", NULL), "Running") != 0)
        return 2;
    return paused == *want;
}

static int
pause_one(struct verb *v, const char *ns, const char *name, int64_t timeout_us, void *ctx)
{
    bool pause = *(const bool *)ctx;
    const char *done = pause ? "paused" : "running again";
    int rc = client_action(v->client, ns, "virtualmachineinstances", name,
                           pause ? "pause" : "unpause", NULL, &v->err);

    if (rc < 0)
        return verb_error(v);
    if (options_bool(v->options, "no-wait")) {
        printf("VM %s/%s was asked to %s\n", ns, name, pause ? "pause" : "run again");
        return EXIT_DONE;
    }
    rc = client_wait(v->client, kind_info(KIND_VMI), ns, name, timeout_us, look, &pause, &v->err);
    if (rc == -ETIMEDOUT)
        return verb_no(v, "VM %s/%s is not %s yet: it was asked, and its node has not said so", ns,
                       name, done);
    if (rc == 2)
        return verb_errorf(v, "VM %s/%s ended meanwhile", ns, name);
    if (rc < 0)
        return verb_error(v);
    printf("VM %s/%s is %s\n", ns, name, done);
    return EXIT_DONE;
}

static int
run(int argc, char **argv, const char *program_name, const char *about, bool pause)
{
    const struct options_program program = {
        .name = program_name,
        .usage = "VM... | NS/VM... [OPTIONS]",
        .about = about,
        .defs = defs,
        .min_args = 1,
        .max_args = 10000,
    };

    return verb_each_vm(&program, argc, argv, WAIT_US, pause_one, &pause);
}

int
verb_pause(int argc, char **argv)
{
    return run(argc, argv, "drover pause",
               "Holds the vCPUs of VMs; their memory stays. Says so once they are paused.", true);
}

int
verb_unpause(int argc, char **argv)
{
    return run(argc, argv, "drover unpause", "Lets paused VMs run on, and says so once they do.",
               false);
}
