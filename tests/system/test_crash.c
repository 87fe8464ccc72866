/* Kills the source handler, the target handler and the controller at every fault point of a migration,
 * each time while the VM's memory is being written, starts it again, and checks what DESIGN promises: the VM
 * runs exactly once, its memory is whole, the migration object tells the truth with a reason, and nothing is left
 * over on the other node. Then once more for each phase: the controller is stopped when it has just stored the
 * phase, a handler is killed and started again, and the controller goes on. Arguments: names of points (all
 * without). */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "base/fault.h"
#include "base/fs.h"
#include "tests/system/cluster.h"

#define VM "t"
#define NS "default"

static const char vm_yaml[] =
    "apiVersion: kubevirt.io/v1\n"
    "kind: VirtualMachine\n"
    "metadata: {name: t, namespace: default}\n"
    "spec:\n"
    "  runStrategy: Always\n"
    "  template:\n"
    "    metadata:\n"
    "      labels: {test: crash}\n"
    "      annotations: {drover.io/workload: mix, drover.io/workload-rate: 20Mi,\n"
    "        drover.io/workload-set: 16Mi, drover.io/workload-fill: 48Mi}\n"
    "    spec:\n"
    "      domain: {cpu: {cores: 2}, memory: {guest: 64Mi}, devices: {}}\n";

/* While it is there, migrations are post-copy at once. */
static const char postcopy_yaml[] =
    "apiVersion: migrations.kubevirt.io/v1alpha1\n"
    "kind: MigrationPolicy\n"
    "metadata: {name: crash, annotations: {drover.io/post-copy: immediate}}\n"
    "spec:\n"
    "  allowPostCopy: true\n"
    "  bandwidthPerMigration: 24Mi\n"
    "  selectors: {virtualMachineInstanceSelector: {test: crash}}\n";
/* While it is there, both ends digest all memory at the switchover. */
static const char verify_yaml[] = "apiVersion: migrations.kubevirt.io/v1alpha1\n"
                                  "kind: MigrationPolicy\n"
                                  "metadata: {name: crash, annotations: {drover.io/verify: full}}\n"
                                  "spec:\n"
                                  "  selectors: {virtualMachineInstanceSelector: {test: crash}}\n";

struct crash {
    struct sys *s;
    enum fault_point point;
    enum { ROLE_SOURCE, ROLE_TARGET, ROLE_CONTROLLER } role;
    char from[64], to[64], migration[64];
    char phase[32], owner[64], reason[512];
};

static bool
vm_runs(void *ctx)
{
    struct crash *c = ctx;
    char buf[32];

    return strcmp(sys_phase(c->s, KIND_VMI, NS, VM, buf, sizeof buf), "Running") == 0;
}

static void
look(struct crash *c)
{
    AUTO_TREE struct tree *vmi = sys_get(c->s, KIND_VMI, NS, VM);
    AUTO_TREE struct tree *m = sys_get(c->s, KIND_VMIM, NS, c->migration);

    snprintf(c->owner, sizeof c->owner, "%s",
             tree_find_string(vmi, "", "status", "nodeName", NULL));
    snprintf(c->phase, sizeof c->phase, "%s", tree_find_string(m, "", "status", "phase", NULL));
    snprintf(c->reason, sizeof c->reason, "%s",
             tree_find_string(m, "", "status", "migrationState", "failureReason", NULL));
}

static struct dev_process *
victim(struct crash *c)
{
    if (c->role == ROLE_CONTROLLER)
        return &c->s->c->controller;
    return &dev_cluster_node(c->s->c, c->role == ROLE_SOURCE ? c->from : c->to)->handler;
}

static bool
victim_is_dead(void *ctx)
{
    return !dev_proc_alive(victim(ctx));
}

static void
restart(struct crash *c, const char *fault)
{
    struct dev_cluster *d = c->s->c;
    AUTO_FREE char *var = fault ? xasprintf("DROVER_FAULT=%s:kill", fault) : NULL;
    const char *const env[] = {var, NULL};
    const char *node = c->role == ROLE_SOURCE ? c->from : c->to;
    struct err err = {0};
    int rc;

    if (c->role == ROLE_CONTROLLER) {
        dev_kill_controller(d, &err);
        rc = dev_start_controller(d, fault ? env : NULL, &err);
    } else {
        dev_kill_handler(d, node, &err);
        rc = dev_start_handler(d, node, fault ? env : NULL, &err);
    }
    if (rc != 0)
        sys_die(c->s, "%s: restart: %s", fault_name(c->point), err_msg(&err));
}

static bool
api_answers(void *ctx)
{
    struct crash *c = ctx;
    AUTO_TREE struct tree *n = sys_get(c->s, KIND_NODE, NULL, "n1");

    return n != NULL;
}

static bool
migration_is_final(void *ctx)
{
    struct crash *c = ctx;

    look(c);
    return strcmp(c->phase, "Succeeded") == 0 || strcmp(c->phase, "Failed") == 0;
}

/* On the node that the object names, and nowhere else. */
static bool
runs_once(void *ctx)
{
    struct crash *c = ctx;
    const char *other;

    look(c);
    other = strcmp(c->owner, "n1") == 0 ? "n2" : "n1";
    return vm_runs(c) && sys_guests_on(c->s, c->owner) == 1 && sys_guests_on(c->s, other) == 0 &&
           sys_journals_on(c->s, c->owner) == 1 && sys_journals_on(c->s, other) == 0;
}

static int
create_migration(struct crash *c, struct err *err)
{
    AUTO_TREE struct tree *m = tree_map();

    tree_set(m, "apiVersion", tree_string("kubevirt.io/v1"));
    tree_set(m, "kind", tree_string("VirtualMachineInstanceMigration"));
    tree_set_path(m, tree_string(c->migration), "metadata", "name", NULL);
    tree_set_path(m, tree_string(NS), "metadata", "namespace", NULL);
    tree_set_path(m, tree_string(VM), "spec", "vmiName", NULL);
    return client_create(c->s->client, kind_info(KIND_VMIM), NS, m, NULL, err);
}

static void
begin(struct crash *c, unsigned n)
{
    look(c);
    snprintf(c->from, sizeof c->from, "%s", c->owner);
    snprintf(c->to, sizeof c->to, "%s", strcmp(c->from, "n1") == 0 ? "n2" : "n1");
    snprintf(c->migration, sizeof c->migration, "m%u", n);
}

/* What the source says of it afterwards: no cause on what went well, and no downtime of 0. */
static void
check_result(struct crash *c, const char *what, bool moved)
{
    AUTO_TREE struct tree *m = sys_get(c->s, KIND_VMIM, NS, c->migration), *t = NULL;
    const char *json = m ? object_annotation(m, ANN_MIGRATION_RESULT) : NULL;
    const struct tree *downtime;

    if (!json || tree_from_json(json, strlen(json), &t, NULL) != 0)
        return; /* a crash between the last word and the result */
    downtime = tree_get(t, "downtimeMs");
    if (moved &&
        (*tree_find_string(t, "", "cause", NULL) || (downtime && tree_get_float(downtime, 0) <= 0)))
        sys_die(c->s, "%s: it moved, but the result says %s", what, json);
}

/* The promises, after everything runs again. */
static void
check(struct crash *c, const char *what)
{
    struct sys *s = c->s;
    char text[1024];
    bool moved;

    sys_wait(s, 60, what, migration_is_final, c);
    sys_wait(s, 30, "the VM runs once and nothing is left over", runs_once, c);
    moved = strcmp(c->owner, c->to) == 0;
    if (moved != (strcmp(c->phase, "Succeeded") == 0))
        sys_die(s, "%s: the migration says %s, but the VM is on %s (came from %s)", what, c->phase,
                c->owner, c->from);
    if (!moved && !c->reason[0])
        sys_die(s, "%s: failed without a reason", what);
    check_result(c, what, moved);
    if (!sys_verify(s, NS, VM, text, sizeof text))
        sys_die(s, "%s: memory: %s", what, text);
    printf("  %-34s %-9s %s -> %s  %s\n", what, c->phase, c->from, c->owner, c->reason);
    fflush(stdout);
}

static void
one_crash(struct sys *s, enum fault_point point, const char *spec, unsigned n)
{
    struct crash c = {.s = s, .point = point};
    struct err err = {0};

    begin(&c, n);
    c.role = strncmp(spec, "src.", 4) == 0   ? ROLE_SOURCE
             : strncmp(spec, "dst.", 4) == 0 ? ROLE_TARGET
                                             : ROLE_CONTROLLER;
    restart(&c, spec);
    sys_wait(s, 20, "the API answers", api_answers, &c);
    if (dev_wait_ready(s->c, 20000, &client_stop, &err) != 0 && c.role != ROLE_CONTROLLER)
        sys_die(s, "%s: %s", spec, err_msg(&err));
    if (create_migration(&c, &err) != 0 && c.role != ROLE_CONTROLLER)
        sys_die(s, "%s: %s", spec, err_msg(&err));
    if (!sys_poll(40, victim_is_dead, &c))
        sys_die(s, "%s was never reached", spec);
    restart(&c, NULL);
    sys_wait(s, 20, "the API answers again", api_answers, &c);
    look(&c);
    if (!c.phase[0] && create_migration(&c, &err) != 0 && err.code != -EEXIST)
        sys_die(s, "%s: %s", spec, err_msg(&err));
    check(&c, spec);
}

static bool
controller_is_stopped(void *ctx)
{
    struct crash *c = ctx;
    AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int)c->s->c->controller.pid);
    AUTO_FREE char *stat = NULL;
    const char *state;
    size_t len;

    if (fs_read_all(path, 4096, &stat, &len, NULL) != 0)
        return false;
    state = strrchr(stat, ')');
    return state && state[1] == ' ' && state[2] == 'T';
}

/* A handler dies while the migration is in a phase. */
static void
one_phase(struct sys *s, enum fault_point point, bool source, unsigned n)
{
    struct crash c = {.s = s, .point = point, .role = ROLE_CONTROLLER};
    AUTO_FREE char *spec = xasprintf("DROVER_FAULT=%s:stop", fault_name(point));
    const char *const env[] = {spec, NULL};
    struct err err = {0};

    begin(&c, n);
    dev_kill_controller(s->c, &err);
    if (dev_start_controller(s->c, env, &err) != 0)
        sys_die(s, "%s: restart: %s", spec, err_msg(&err));
    sys_wait(s, 20, "the API answers", api_answers, &c);
    if (dev_wait_ready(s->c, 20000, &client_stop, &err) != 0)
        sys_die(s, "%s: %s", spec, err_msg(&err));
    client_set_timeout(s->client, 1000);
    create_migration(&c, &err); /* the controller may stop before it answers */
    client_set_timeout(s->client, 10000);
    if (!sys_poll(20, controller_is_stopped, &c))
        sys_die(s, "%s was never reached", spec);
    c.role = source ? ROLE_SOURCE : ROLE_TARGET;
    restart(&c, NULL);
    dev_proc_signal(&s->c->controller, SIGCONT);
    sys_wait(s, 20, "the API answers again", api_answers, &c);
    AUTO_FREE char *what =
        xasprintf("%s handler, %s", source ? "source" : "target", fault_name(point));

    check(&c, what);
}

/* The policy under which a point is reached; NULL: none. */
static const char *
policy_for(const char *point)
{
    return strstr(point, ".postcopy.")        ? postcopy_yaml
           : strcmp(point, "dst.digest") == 0 ? verify_yaml
                                              : NULL;
}

static void
set_policy(struct sys *s, const char **now, const char *yaml)
{
    struct err err = {0};

    if (*now == yaml)
        return;
    if (*now && client_delete(s->client, kind_info(KIND_POLICY), NULL, "crash", NULL, &err) != 0)
        sys_die(s, "policy: %s", err_msg(&err));
    if (yaml)
        sys_apply(s, yaml);
    *now = yaml;
}

static bool
wanted(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc == 1;
}

/* One for each phase, in order: Pending, Scheduling, Scheduled, PreparingTarget, TargetReady, Running. */
static const enum fault_point phases[] = {
    FAULT_COORD_PENDING, FAULT_COORD_SCHEDULING,   FAULT_COORD_SCHEDULED,
    FAULT_COORD_HANDOFF, FAULT_COORD_TARGET_READY, FAULT_COORD_RUNNING,
};

int
main(int argc, char **argv)
{
    static struct sys s; /* until after main: it is torn down at exit */
    struct crash c = {.s = &s};
    unsigned n = 0;
    const char *policy = NULL;

    sys_up(&s, 2);
    sys_apply(&s, vm_yaml);
    sys_wait(&s, 30, "the VM runs", vm_runs, &c);
    for (enum fault_point p = 0; p < FAULT_COUNT; p++) {
        const char *name = fault_name(p);
        AUTO_FREE char *spec = NULL;

        if (!wanted(argc, argv, name))
            continue;
        if (p == FAULT_SRC_PLACED || p == FAULT_DST_WINDOW) /* want a device: test_rdma_precopy */
            continue;
        /* The store's points are reached by every write: let some go by, into the migration. */
        if (strncmp(name, "store.", 6) == 0)
            spec = xasprintf("%s@%u", name, 25 + n);
        else if (strcmp(name, "src.postcopy.push") == 0 || strcmp(name, "dst.postcopy.page") == 0 ||
                 strcmp(name, "dst.postcopy.show") == 0)
            spec = xasprintf("%s@20", name); /* in the midst of it */
        else if (strncmp(name, "src.", 4) == 0 || strncmp(name, "dst.", 4) == 0 ||
                 strncmp(name, "coord.", 6) == 0)
            spec = xstrdup(name);
        else
            continue; /* error points: unit tests */
        set_policy(&s, &policy, policy_for(name));
        one_crash(&s, p, spec, ++n);
    }
    set_policy(&s, &policy, NULL);
    for (size_t i = 0; i < 2 * ARRAY_LEN(phases); i++)
        if (wanted(argc, argv, fault_name(phases[i / 2])))
            one_phase(&s, phases[i / 2], i % 2 == 0, ++n);
    printf("%u crashes, every promise kept\n", n);
    return 0;
}
