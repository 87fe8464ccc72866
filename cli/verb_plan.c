/* `drover plan network`: what a handler would do to its host's interfaces. The plan is made in
 * plan_network.c; this file reads options and prints. */
#include <string.h>

#include "cli/offline.h"
#include "cli/plan_network.h"
#include "cli/print_table.h"

#define POLICY_KIND "NodeNetworkConfigurationPolicy"

static const struct options_def defs[] = {
    OFFLINE_OPT_FILES,
    {.name = "node",
     .type = OPTIONS_STRING,
     .required = true,
     .arg = "NODE",
     .help = "the node whose interfaces are planned"},
    OFFLINE_OPT_OUTPUT,
    {0},
};

static const struct options_program program = {
    .name = "drover plan",
    .usage = "network -f FILE|DIR|- ... --node NODE [-o table|json|yaml]",
    .about =
        "Says step by step what the handler of a node would do to its interfaces: for the\n"
        "migration network that HyperConverged names, and for each\n"
        "NodeNetworkConfigurationPolicy whose nodeSelector the Node matches. The node's\n"
        "NodeNetworkState says what is there; without one the host has no interfaces. IPPools\n"
        "and the Node's annotation say which address it has. Nothing is changed. Exit 2: the\n"
        "handler would refuse, and why.",
    .defs = defs,
    .min_args = 1,
    .max_args = 1,
};

static void print_human(const struct plan_network *p);
static void print_steps(const struct plan_network *p, struct sb *out);

int
verb_plan(int argc, char **argv)
{
    int rc;
    AUTO_OFFLINE struct offline *o = offline_begin(&program, argc, argv, &rc);
    AUTO_TREE struct tree *answer = NULL;
    const char *const *args;
    struct plan_network p;

    if (!o)
        return rc;
    options_args(o->options, &args);
    if (strcmp(args[0], "network") != 0)
        return offline_errorf("plan %s: want \"plan network\"", args[0]);
    rc = plan_network_make(o, options_string(o->options, "node"), &p);
    if (rc != EXIT_DONE)
        return rc;
    answer = plan_network_tree(&p);
    if (!offline_print(o, answer)) {
        if (p.note)
            offline_warn("%s", p.note);
        print_human(&p);
    }
    return p.reason ? EXIT_NO : EXIT_DONE;
}

static void
print_human(const struct plan_network *p)
{
    AUTO_SB struct sb out = SB_INIT;

    sb_printf(&out, "%-9s %s\n", "Node", p->node);
    sb_printf(&out, "%-9s %s\n", "Network",
              p->network ? p->network : "none: migrations use the management network");
    if (p->ifname)
        sb_printf(&out, "%-9s %s%s%s\n", "Interface", p->ifname, p->address ? ", " : "",
                  p->address ? p->address : "");
    if (p->reason) {
        AUTO_SB struct sb line = SB_INIT;

        sb_printf(&line, "Refused   %s: %s", p->reason, p->message);
        offline_wrap(&out, 0, sb_str(&line));
    } else if (p->plan.len == 0) {
        sb_puts(&out, "Steps     none: the host is as the objects ask for\n");
    } else {
        sb_putc(&out, '\n');
        print_steps(p, &out);
    }
    fputs(sb_str(&out), stdout);
}

static void
print_steps(const struct plan_network *p, struct sb *out)
{
    AUTO_TABLE struct table *t = table_new();

    table_set_tight(t);
    table_column(t, "#", true);
    table_column(t, "STEP", false);
    table_column(t, "ASKED FOR BY", false);
    for (size_t i = 0; i < p->plan.len; i++) {
        const char *origin = plan_network_origin(p, &p->plan.steps[i]);
        const char *name = origin ? strchr(origin, ' ') : NULL;
        char text[256];

        net_step_text(&p->plan.steps[i], text, sizeof text);
        table_cellf(t, "%zu", i + 1);
        table_cell(t, text);
        /* a line has 80 columns: of the network there is only one, named above */
        if (name && strncmp(origin, POLICY_KIND, strlen(POLICY_KIND)) == 0)
            table_cellf(t, "policy%s", name);
        else
            table_cell(t, name ? "network" : "");
    }
    table_flush(t, 0, out);
}
