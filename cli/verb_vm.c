/* What is done to one VM: start, stop, restart (subresources, as virtctl calls them), migrate and
 * migrate-cancel (a VirtualMachineInstanceMigration), verify (annotations, docs/protocol.md). */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/clock.h"
#include "cli/client_verb.h"
#include "cli/client_verify.h"
#include "cli/migrate_dry_run.h"
#include "cli/print.h"
#include "cli/term_migrations.h"

#define PHASE_SIZE        512 /* a phase and why it waits */
#define VERIFY_TIMEOUT_US (60 * 1000000LL)

/* --- start, stop, restart --- */

static const struct options_def action_defs[] = {
    VERB_OPTION_NAMESPACE,
    VERB_OPTION_SERVER,
    {0},
};

static int
run_action(int argc, char **argv, const char *program_name, const char *about, const char *action)
{
    const struct options_program program = {
        .name = program_name,
        .usage = "VM... | NS/VM... [OPTIONS]",
        .about = about,
        .defs = action_defs,
        .min_args = 1,
        .max_args = 10000,
    };
    AUTO_VERB struct verb v = {0};
    int exit_code;

    if (!verb_begin(&v, &program, argc, argv, &exit_code))
        return exit_code;
    exit_code = EXIT_DONE;
    for (size_t i = 0; i < v.args_len; i++) {
        AUTO_FREE char *ns = NULL, *name = NULL;

        if (verb_split_name(&v, v.args[i], &ns, &name, &v.err) < 0 ||
            client_action(v.client, ns, "virtualmachines", name, action, NULL, &v.err) < 0)
            exit_code = verb_error(&v);
        else
            printf("VM %s/%s was asked to %s\n", ns, name, action);
    }
    return exit_code;
}

int
verb_start(int argc, char **argv)
{
    return run_action(argc, argv, "drover start", "Starts VMs that do not run.", "start");
}

int
verb_stop(int argc, char **argv)
{
    return run_action(argc, argv, "drover stop", "Stops VMs; they stay stopped.", "stop");
}

int
verb_restart(int argc, char **argv)
{
    return run_action(argc, argv, "drover restart", "Stops VMs and starts them again.", "restart");
}

/* --- migrate --- */

static const char *const migrate_outputs[] = {"json", "yaml", "name", NULL};

static const struct options_def migrate_defs[] = {
    VERB_OPTION_NAMESPACE,
    {.name = "to",
     .type = OPTIONS_STRING,
     .arg = "NODE",
     .help = "the target; without it the scheduler chooses"},
    {.name = "force",
     .type = OPTIONS_BOOL,
     .help =
         "with --to: whatever cordons, taints, selectors and neighbours say; never without room, "
         "nor to a host that cannot run it"},
    {.name = "dry-run",
     .type = OPTIONS_BOOL,
     .help = "move nothing: say how it would go (exit 2: it would not succeed)"},
    {.name = "bandwidth",
     .type = OPTIONS_STRING,
     .arg = "Q",
     .help = "with --dry-run: the link's, in bytes a second; else what was measured last"},
    {.name = "wait", .type = OPTIONS_BOOL, .help = "wait until it is over, and show it"},
    {.name = "set-bandwidth",
     .type = OPTIONS_STRING,
     .arg = "QUANTITY",
     .help = "start none: limit the one that runs to so many bytes a second, such as 64Mi; 0 = no "
             "limit of its own"},
    VERB_OPTION_TIMEOUT,
    {.name = "output",
     .letter = 'o',
     .type = OPTIONS_STRING,
     .choices = migrate_outputs,
     .help = "print the migration object"},
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program migrate_program = {
    .name = "drover migrate",
    .usage = "VM | NS/VM [--to NODE [--force]] [--wait] | --set-bandwidth QUANTITY [OPTIONS]",
    .about =
        "Moves a running VM to another node, or, with --set-bandwidth, changes the limit of a\n"
        "migration that has not ended.",
    .defs = migrate_defs,
    .min_args = 1,
    .max_args = 1,
};

static struct tree *
new_migration(const char *ns, const char *vm, const char *target, bool force)
{
    struct tree *obj = tree_map();

    tree_set(obj, "apiVersion", tree_string("kubevirt.io/v1"));
    tree_set(obj, "kind", tree_string("VirtualMachineInstanceMigration"));
    tree_set_path(obj, tree_string("kubevirt-migrate-vm-"), "metadata", "generateName", NULL);
    tree_set_path(obj, tree_string(ns), "metadata", "namespace", NULL);
    if (target)
        tree_set_path(obj, tree_string(target), "metadata", "annotations", ANN_MIGRATION_TARGET,
                      NULL);
    if (force)
        tree_set_path(obj, tree_string("true"), "metadata", "annotations", ANN_MIGRATION_FORCE,
                      NULL);
    tree_set_path(obj, tree_string(vm), "spec", "vmiName", NULL);
    return obj;
}

/* One look at a migration. 1 when it is over, with *ret its object; 0 when it goes on. */
static int
look_at(struct verb *v, const char *ns, const char *name, struct migrations_view *view,
        char phase[PHASE_SIZE], struct tree **ret)
{
    AUTO_TREE struct tree *obj = NULL;
    struct arena *a;
    struct migration m;
    int rc;

    rc = client_get(v->client, kind_info(KIND_VMIM), ns, name, &obj, &v->err);
    if (rc < 0)
        return rc;
    a = arena_new();
    migration_read(obj, a, &m);
    if (view)
        migrations_view_show(view, &m, 1, NULL);
    snprintf(phase, PHASE_SIZE, "%s%s%s", m.phase[0] ? m.phase : "Pending",
             m.waiting[0] ? ": " : "", m.waiting);
    arena_free(a);
    if (!m.final)
        return 0;
    *ret = TAKE_PTR(obj);
    return 1;
}

/* Shows a migration until it is over. 0 with *ret the final object, or -ETIMEDOUT, -EINTR, ... */
static int
watch_one(struct verb *v, const char *ns, const char *name, int64_t timeout_us, bool quiet,
          struct tree **ret)
{
    uint64_t start_us = clock_mono_us();
    struct migrations_view *view;
    struct term term;
    char phase[PHASE_SIZE];
    int rc;

    client_catch_signals();
    term_init(&term, stdout);
    view = quiet ? NULL : migrations_view_new(&term, 0);
    if (view)
        migrations_view_details(view);
    while ((rc = look_at(v, ns, name, view, phase, ret)) == 0) {
        if (timeout_us > 0 && clock_mono_us() - start_us >= (uint64_t)timeout_us) {
            rc = err_set(&v->err, -ETIMEDOUT, "%s/%s still has phase %s", ns, name, phase);
            break;
        }
        if (!client_sleep(CLIENT_POLL_MS)) {
            rc = err_set(&v->err, -EINTR, "interrupted; the migration %s/%s goes on", ns, name);
            break;
        }
    }
    migrations_view_free(view);
    return rc < 0 ? rc : 0;
}

static void
put_object(const char *output, const struct tree *obj)
{
    struct print_format format = {0};
    AUTO_SB struct sb out = SB_INIT;

    if (print_format_parse(output, &format, NULL) < 0)
        return;
    print_object(&format, obj, &out);
    fputs(sb_str(&out), stdout);
}

static bool
is_over(const struct tree *vmim)
{
    const char *phase = tree_find_string(vmim, "", "status", "phase", NULL);

    return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

/* drover migrate VM --set-bandwidth: an annotation that the source's handler watches. */
static int
set_bandwidth(struct verb *v, const char *ns, const char *vm, const char *bandwidth)
{
    const struct kind_info *ki = kind_info(KIND_VMIM);
    AUTO_TREE struct tree *list = NULL, *patch = tree_map();
    const struct tree *items;
    struct quantity q;
    size_t found = 0;
    int rc = quantity_parse(bandwidth, &q, &v->err);

    if (rc == 0 && q.units < 0)
        rc = err_set(&v->err, -EINVAL, "want 0 or more");
    if (rc < 0) {
        err_prefix(&v->err, rc, "--set-bandwidth %s", bandwidth);
        return verb_error(v);
    }
    tree_set_path(patch, tree_string(bandwidth), "metadata", "annotations", ANN_BANDWIDTH_OVERRIDE,
                  NULL);
    if (client_list(v->client, ki, ns, NULL, &list, &v->err) < 0)
        return verb_error(v);
    items = tree_get(list, "items");
    for (size_t i = 0; i < tree_len(items); i++) {
        const struct tree *obj = tree_at(items, i);

        if (strcmp(tree_find_string(obj, "", "spec", "vmiName", NULL), vm) != 0 || is_over(obj))
            continue;
        if (client_patch(v->client, ki, ns, object_name(obj), NULL, patch, NULL, &v->err) < 0)
            return verb_error(v);
        printf("VM %s/%s: migration %s: bandwidth %s%s\n", ns, vm, object_name(obj),
               q.units ? bandwidth : "unlimited", q.units ? "/s" : "");
        found++;
    }
    if (!found)
        return verb_errorf(v, "VM %s/%s has no migration that is not over", ns, vm);
    return EXIT_DONE;
}

int
verb_migrate(int argc, char **argv)
{
    const struct kind_info *ki = kind_info(KIND_VMIM);
    AUTO_VERB struct verb v = {0};
    AUTO_FREE char *ns = NULL, *vm = NULL;
    AUTO_TREE struct tree *request = NULL, *made = NULL, *over = NULL;
    const char *to, *output, *bandwidth;
    int64_t timeout_us;
    int exit_code, rc;

    if (!verb_begin(&v, &migrate_program, argc, argv, &exit_code))
        return exit_code;
    to = options_string(v.options, "to");
    bandwidth = options_string(v.options, "set-bandwidth");
    output = options_string(v.options, "output");
    if (verb_timeout_us(&v, 0, &timeout_us) < 0 ||
        verb_split_name(&v, v.args[0], &ns, &vm, &v.err) < 0)
        return verb_error(&v);
    if (options_bool(v.options, "dry-run"))
        return migrate_dry_run(&v, ns, vm, options_string(v.options, "bandwidth"), output);
    if (bandwidth) {
        if (to || output || options_bool(v.options, "wait"))
            return verb_errorf(&v, "--set-bandwidth starts no migration: it goes without --to, "
                                   "--wait and -o");
        return set_bandwidth(&v, ns, vm, bandwidth);
    }
    if (options_bool(v.options, "force") && !to)
        return verb_errorf(&v, "--force forces the target that --to names: it needs --to NODE");
    if (to) {
        AUTO_TREE struct tree *node = NULL;

        if (client_get(v.client, kind_info(KIND_NODE), NULL, to, &node, &v.err) < 0)
            return verb_error(&v);
    }
    request = new_migration(ns, vm, to, options_bool(v.options, "force"));
    if (client_create(v.client, ki, ns, request, &made, &v.err) < 0)
        return verb_error(&v);
    if (!output) {
        AUTO_SB struct sb name = SB_INIT;

        print_object_name(ki, object_name(made), &name);
        printf("%s created\n", sb_str(&name));
        fflush(stdout);
    }
    if (!options_bool(v.options, "wait")) {
        if (output)
            put_object(output, made);
        return EXIT_DONE;
    }
    rc = watch_one(&v, ns, object_name(made), timeout_us, output != NULL, &over);
    if (rc == -ETIMEDOUT)
        return verb_no(&v, "%s", err_msg(&v.err));
    if (rc < 0)
        return verb_error(&v);
    if (output)
        put_object(output, over);
    if (strcmp(tree_find_string(over, "", "status", "phase", NULL), "Succeeded") == 0)
        return EXIT_DONE;
    return verb_errorf(
        &v, "%s/%s: %s", ns, vm,
        tree_find_string(over, "failed", "status", "migrationState", "failureReason", NULL));
}

/* --- migrate-cancel --- */

static const struct options_program cancel_program = {
    .name = "drover migrate-cancel",
    .usage = "VM | NS/VM [OPTIONS]",
    .about = "Cancels a VM's migration; it goes on where it is.",
    .defs = action_defs,
    .min_args = 1,
    .max_args = 1,
};

int
verb_migrate_cancel(int argc, char **argv)
{
    const struct kind_info *ki = kind_info(KIND_VMIM);
    AUTO_VERB struct verb v = {0};
    AUTO_FREE char *ns = NULL, *vm = NULL;
    AUTO_TREE struct tree *list = NULL;
    const struct tree *items;
    size_t found = 0;
    int exit_code;

    if (!verb_begin(&v, &cancel_program, argc, argv, &exit_code))
        return exit_code;
    if (verb_split_name(&v, v.args[0], &ns, &vm, &v.err) < 0 ||
        client_list(v.client, ki, ns, NULL, &list, &v.err) < 0)
        return verb_error(&v);
    items = tree_get(list, "items");
    for (size_t i = 0; i < tree_len(items); i++) {
        const struct tree *obj = tree_at(items, i);

        if (strcmp(tree_find_string(obj, "", "spec", "vmiName", NULL), vm) != 0 || is_over(obj))
            continue;
        if (client_delete(v.client, ki, ns, object_name(obj), NULL, &v.err) < 0)
            return verb_error(&v);
        printf("VM %s/%s: migration %s was asked to cancel\n", ns, vm, object_name(obj));
        found++;
    }
    if (!found)
        return verb_errorf(&v, "VM %s/%s has no migration that is not over", ns, vm);
    return EXIT_DONE;
}

/* --- verify --- */

static const struct options_def verify_defs[] = {
    VERB_OPTION_NAMESPACE,
    VERB_OPTION_TIMEOUT,
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program verify_program = {
    .name = "drover verify",
    .usage = "VM... | NS/VM... [OPTIONS]",
    .about = "Asks native guests to check every page of their memory against what they wrote.",
    .defs = verify_defs,
    .min_args = 1,
    .max_args = 10000,
};

static int
verify_one(struct verb *v, const char *ns, const char *name, int64_t timeout_us, void *ctx)
{
    struct verify_result r;
    int rc;

    (void)ctx;
    rc = verify_ask(v->client, ns, name, &r, &v->err);
    if (rc == 0)
        rc = verify_wait(v->client, ns, name, timeout_us, &r, &v->err);
    if (rc == -ETIMEDOUT)
        return verb_no(v, "%s/%s: %s", ns, name, err_msg(&v->err));
    if (rc < 0) {
        err_prefix(&v->err, rc, "%s/%s", ns, name);
        return verb_error(v);
    }
    printf("VM %s/%s: %lld pages, %lld bad, %lld steps: %s%s%s\n", ns, name, (long long)r.pages,
           (long long)r.bad, (long long)r.steps, r.ok ? "memory is as written" : "NOT as written",
           r.ok || !r.text[0] ? "" : ": ", r.ok ? "" : r.text);
    return r.ok ? EXIT_DONE : EXIT_NO;
}

int
verb_verify(int argc, char **argv)
{
    return verb_each_vm(&verify_program, argc, argv, VERIFY_TIMEOUT_US, verify_one, NULL);
}
