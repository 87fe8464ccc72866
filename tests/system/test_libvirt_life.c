/* The life of a real VM on one host: start, console, pause, restart, stop with and without grace, power off and
 * crash with the run strategies, and its handler and libvirtd restarted under it: the same QEMU goes on. Then
 * what goes wrong with libvirt: a domain destroyed or undefined behind our back, a libvirtd that hangs, an XML
 * that it refuses, a disk that is not there. Each ends with a reason in the status, within its deadline. Arguments: names of cases
 * (all without). */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "base/clock.h"
#include "tests/system/real.h"

static struct sys s; /* until after main: it is torn down at exit */
static char node[64];

static struct heartbeat *
start(const struct real_vm *vm)
{
    struct heartbeat *h = real_start(&s, vm);

    network_vm_node(&s, node, sizeof node);
    return h;
}

static void
done(struct heartbeat *h)
{
    heartbeat_free(h);
    real_delete(&s);
}

static void
pause_and_go_on(struct heartbeat *h)
{
    struct heartbeat_now before, after;

    real_do(&s, "pause " REAL_VM " -n " REAL_NS);
    real_wait_condition(&s, "Paused", "True", 10);
    heartbeat_look(h, &before);
    if (heartbeat_wait(h, 1, 1))
        sys_die(&s, "a paused guest's heart beats");
    real_do(&s, "unpause " REAL_VM " -n " REAL_NS);
    if (!heartbeat_wait(h, 3, 10))
        sys_die(&s, "unpaused, and the heart does not beat");
    heartbeat_look(h, &after);
    if (after.lines <= before.lines)
        sys_die(&s, "no line since");
    real_check(&s, h, 0, "paused and unpaused");
    heartbeat_mark(h);
}

static bool
connected(void *ctx)
{
    AUTO_TREE struct tree *n = sys_get(&s, KIND_NODE, NULL, node);
    const char *is = tree_find_string(n, "", "metadata", "labels", LABEL_HYPERVISOR_LIBVIRT, NULL);

    return strcmp(is, ctx) == 0;
}

static void
same_qemu(struct heartbeat *h, pid_t qemu, const char *what)
{
    if (!heartbeat_wait(h, 3, 20))
        sys_die(&s, "%s: the heart does not beat", what);
    if (real_qemu(&s, node) != qemu)
        sys_die(&s, "%s: QEMU was %d and is %d", what, (int)qemu, (int)real_qemu(&s, node));
    real_wait_phase(&s, "Running", 20);
    real_check(&s, h, 0, what);
    heartbeat_mark(h);
}

static void
daemons_restart(struct heartbeat *h)
{
    pid_t qemu = real_qemu(&s, node);
    struct err err = {0};

    if (dev_kill_handler(s.c, node, &err) != 0 || dev_start_handler(s.c, node, NULL, &err) != 0)
        sys_die(&s, "%s", err_msg(&err));
    same_qemu(h, qemu, "handler restarted");
    if (dev_kill_libvirtd(s.c, node, &err) != 0)
        sys_die(&s, "%s", err_msg(&err));
    sys_wait(&s, 20, "the label says that libvirt is away", connected, (char[]){"false"});
    if (dev_start_libvirtd(s.c, node, &err) != 0)
        sys_die(&s, "%s", err_msg(&err));
    sys_wait(&s, 60, "the label says that libvirt is there again", connected, (char[]){"true"});
    same_qemu(h, qemu, "libvirtd restarted");
    pause_and_go_on(h);
    if (dev_kill_libvirtd(s.c, node, &err) != 0 || dev_kill_handler(s.c, node, &err) != 0 ||
        dev_start_handler(s.c, node, NULL, &err) != 0 || dev_start_libvirtd(s.c, node, &err) != 0)
        sys_die(&s, "%s", err_msg(&err));
    sys_wait(&s, 60, "both are there again", connected, (char[]){"true"});
    same_qemu(h, qemu, "both restarted");
}

/* --- starts and ends --- */

static bool
new_instance(void *ctx)
{
    char uid[64], phase[32];

    real_uid(&s, uid);
    real_phase(&s, phase);
    return uid[0] && strcmp(uid, ctx) != 0 && strcmp(phase, "Running") == 0;
}

static struct heartbeat *
comes_again(struct heartbeat *h, char uid[64], const char *what)
{
    heartbeat_free(h);
    sys_wait(&s, 60, what, new_instance, uid);
    real_uid(&s, uid);
    h = heartbeat_new(&s, uid);
    if (!heartbeat_wait(h, 3, 30))
        sys_die(&s, "%s: its heart does not beat", what);
    network_vm_node(&s, node, sizeof node);
    real_only_on(&s, node, 30);
    real_check(&s, h, 0, what);
    return h;
}

static bool
no_instance(void *ctx)
{
    char uid[64];

    (void)ctx;
    real_uid(&s, uid);
    return !uid[0];
}

static void
restart_and_stop(void)
{
    struct heartbeat *h = start(&(struct real_vm){.grace_s = 20});
    uint64_t began_us;
    char uid[64];

    real_uid(&s, uid);
    real_do(&s, "restart " REAL_VM " -n " REAL_NS);
    h = comes_again(h, uid, "restarted");
    began_us = clock_mono_us();
    real_do(&s, "stop " REAL_VM " -n " REAL_NS);
    if (!heartbeat_says(h, "BYE", 15))
        sys_die(&s, "a stopped guest is not asked to power off");
    real_only_on(&s, NULL, 15);
    sys_wait(&s, 15, "the instance is gone", no_instance, NULL);
    if (clock_mono_us() - began_us > 15000000)
        sys_die(&s, "a guest that powers off at once is waited for");
    printf("  stopped: asked, and it powered off\n");
    done(h);
}

static void
grace(void)
{
    struct heartbeat *h = start(&(struct real_vm){.grace_s = 3, .args = "button=ignore"});
    uint64_t began_us = clock_mono_us(), took_ms;

    real_do(&s, "stop " REAL_VM " -n " REAL_NS);
    real_only_on(&s, NULL, 20);
    took_ms = (clock_mono_us() - began_us) / 1000;
    if (took_ms < 2900)
        sys_die(&s, "a guest that does not power off was given %u ms of 3 s", (unsigned)took_ms);
    printf("  stopped: ended by force after 3 s of grace (%u ms)\n", (unsigned)took_ms);
    done(h);
}

/* What becomes of a guest that ends by itself. */
static void
ends(const char *strategy, const char *after, bool again)
{
    AUTO_FREE char *args = xasprintf("after=%s:12", after);
    AUTO_FREE char *what = xasprintf("%s, %s: %s", strategy, after, again ? "runs again" : "stays");
    struct heartbeat *h = start(&(struct real_vm){.strategy = strategy, .args = args});
    char uid[64];

    real_uid(&s, uid);
    if (again) {
        heartbeat_free(h);
        sys_wait(&s, 60, what, new_instance, uid);
        h = NULL;
    } else {
        real_only_on(&s, NULL, 30);
    }
    printf("  %s\n", what);
    fflush(stdout);
    done(h);
}

/* --- what goes wrong --- */

static bool
failed_or_gone(void *ctx)
{
    char uid[64], phase[32];

    real_uid(&s, uid);
    real_phase(&s, phase);
    return strcmp(uid, ctx) != 0 || strcmp(phase, "Failed") == 0;
}

static void
vanishes(const char *how)
{
    struct heartbeat *h = start(&(struct real_vm){0});
    AUTO_SB struct sb out = SB_INIT;
    char uid[64];

    real_uid(&s, uid);
    if (strcmp(how, "undefine") == 0 &&
        real_virsh(&s, node, &out, "undefine " REAL_NS "_" REAL_VM) != 0)
        sys_die(&s, "undefine: %s", sb_str(&out));
    if (real_virsh(&s, node, &out, "destroy " REAL_NS "_" REAL_VM) != 0)
        sys_die(&s, "destroy: %s", sb_str(&out));
    sys_wait(&s, 15, "the end of the guest is seen", failed_or_gone, uid);
    printf("  %s behind our back: seen\n", how);
    fflush(stdout);
    done(h);
}

/* Its VMs run on, the host says that libvirt does not answer, and all is well once it does. */
static void
libvirtd_hangs(void)
{
    struct heartbeat *h = start(&(struct real_vm){0});
    struct dev_node *n = dev_cluster_node(s.c, node);
    pid_t qemu = real_qemu(&s, node);

    dev_proc_signal(&n->libvirtd, SIGSTOP);
    sys_wait(&s, 25, "the label says that libvirt does not answer", connected, (char[]){"false"});
    dev_proc_signal(&n->libvirtd, SIGCONT);
    sys_wait(&s, 30, "the label says that it answers again", connected, (char[]){"true"});
    same_qemu(h, qemu, "libvirtd hung for a while");
    done(h);
}

struct told {
    const char *word;
    char text[600];
};

/* A condition that is False, or the reason of the phase Failed, has the word in it. */
static bool
status_tells(void *ctx)
{
    AUTO_TREE struct tree *vmi = sys_get(&s, KIND_VMI, REAL_NS, REAL_VM);
    const struct tree *list = tree_find(vmi, "status", "conditions", NULL);
    const char *failed = tree_find_string(vmi, "", "status", "reason", NULL);
    struct told *t = ctx;

    snprintf(t->text, sizeof t->text, "Failed: %s", failed);
    if (strstr(failed, t->word))
        return true;
    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *c = tree_at(list, i);
        const char *message = tree_find_string(c, "", "message", NULL);

        snprintf(t->text, sizeof t->text, "%s: %s: %s", tree_find_string(c, "", "type", NULL),
                 tree_find_string(c, "", "reason", NULL), message);
        if (strcmp(tree_find_string(c, "", "status", NULL), "False") == 0 &&
            strstr(message, t->word))
            return true;
    }
    return false;
}

/* It does not start, and its status says why. */
static void
refused(const char *what, const struct real_vm *vm, const char *word)
{
    struct told t = {.word = word};

    real_make(&s, vm);
    if (!sys_poll(30, status_tells, &t))
        sys_die(&s, "%s: nothing of \"%s\" in the status; last: %s", what, word, t.text);
    printf("  %s: %s\n", what, t.text);
    fflush(stdout);
    real_delete(&s);
}

static void
runs_and_pauses(void)
{
    struct heartbeat *h = start(&(struct real_vm){0});

    real_only_on(&s, node, 10);
    pause_and_go_on(h);
    daemons_restart(h);
    done(h);
}

static void
ends_by_itself(void)
{
    ends("Always", "poweroff", true);
    ends("RerunOnFailure", "poweroff", false);
}

static void
vanishes_both(void)
{
    vanishes("destroy");
    vanishes("undefine");
}

static void
refusals(void)
{
    refused("a disk that is not there",
            &(struct real_vm){.devices = "disks: [{name: d, disk: {bus: virtio}}]",
                              .spec = "volumes: [{name: d, hostDisk: {path: /nowhere/disk.img, "
                                      "type: Disk}}]"},
            "/nowhere/disk.img");
    refused("a machine type that no host has",
            &(struct real_vm){.domain = "machine: {type: pc-q35-99.9},"}, "pc-q35-99.9");
    refused("a CPU feature that libvirt does not know",
            &(struct real_vm){.domain = "cpu: {cores: 1, model: Nehalem, features: [{name: nosuch, "
                                        "policy: optional}]},"},
            "nosuch");
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"runs", runs_and_pauses}, {"stop", restart_and_stop},  {"grace", grace},
    {"ends", ends_by_itself},  {"vanishes", vanishes_both}, {"hangs", libvirtd_hangs},
    {"refused", refusals},
};

int
main(int argc, char **argv)
{
    real_up(&s, 1, true);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool wanted = argc < 2;

        for (int k = 1; k < argc; k++)
            wanted = wanted || strcmp(argv[k], cases[i].name) == 0;
        if (wanted)
            cases[i].run();
    }
    return 0;
}
