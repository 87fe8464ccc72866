/* drover demo: options and the last line; the work is cli/demo.h's. */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "base/options.h"
#include "cli/demo.h"

static const struct options_def defs[] = {
    {.name = "examples",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .help = "the manifests (else the folder examples beside the program's)"},
    {.name = "dir",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .help = "where the cluster's files lie meanwhile (else a new one in /tmp)"},
    {.name = "native",
     .type = OPTIONS_BOOL,
     .help = "no real VM among them, also where QEMU and libvirt are installed"},
    {0},
};

static const struct options_program program = {
    .name = "drover demo",
    .usage = "[OPTIONS]",
    .about =
        "Makes a cluster of three hosts on this machine, places VMs on it, migrates one, empties "
        "a\n"
        "host, lets the guests check their memory, and takes everything away again. Needs root\n"
        "and less than two minutes.",
    .defs = defs,
};

/* "PROGRAM'S FOLDER/../examples". The caller's. */
static char *
examples_beside(void)
{
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    char *slash;

    if (n <= 0)
        return xstrdup("examples");
    exe[n] = '\0';
    slash = strrchr(exe, '/');
    if (slash)
        *slash = '\0';
    slash = strrchr(exe, '/');
    if (slash)
        *slash = '\0';
    return xasprintf("%s/examples", exe);
}

int
verb_demo(int argc, char **argv)
{
    AUTO_OPTIONS struct options *o = NULL;
    AUTO_FREE char *examples = NULL, *dir = NULL;
    struct demo_config cfg;
    struct err err = {0};
    int rc;

    if (options_parse(&program, argc, argv, &o, &err) < 0) {
        fprintf(stderr, "%s\n", err_msg(&err));
        return EXIT_ERROR;
    }
    if (options_help_wanted(o)) {
        AUTO_SB struct sb help = SB_INIT;

        options_help(&program, &help);
        fputs(sb_str(&help), stdout);
        return EXIT_DONE;
    }
    examples =
        options_given(o, "examples") ? xstrdup(options_string(o, "examples")) : examples_beside();
    dir = options_given(o, "dir") ? xstrdup(options_string(o, "dir"))
                                  : xasprintf("/tmp/drover-demo-%d", (int)getpid());
    cfg =
        (struct demo_config){.examples = examples, .dir = dir, .native = options_bool(o, "native")};
    rc = demo_run(&cfg, &err);
    if (rc == 0)
        return EXIT_DONE;
    fflush(stdout);
    fprintf(stderr, "drover demo: %s\n",
            rc == -EINTR ? "interrupted; nothing stays" : err_msg(&err));
    return EXIT_ERROR;
}
