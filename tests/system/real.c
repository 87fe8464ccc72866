/* See real.h. */
#include "tests/system/real.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/names.h"
#include "api/object.h"
#include "cli/dev_libvirt.h"
#include "netpolicy/netns.h"

#define WAIT_S 60

static const char vm_yaml[] =
    "apiVersion: kubevirt.io/v1\n"
    "kind: VirtualMachine\n"
    "metadata: {name: " REAL_VM ", namespace: " REAL_NS "}\n"
    "spec:\n"
    "  runStrategy: %s\n"
    "  template:\n"
    "    metadata:\n"
    "      labels: {test: network}\n"
    "      annotations: {drover.io/hypervisor: libvirt}\n"
    "    spec:\n"
    "      terminationGracePeriodSeconds: %u\n"
    "      %s\n"
    "      domain: {%s memory: {guest: %uMi}, devices: {%s},\n"
    "        firmware: {kernelBoot: {container: {image: drover/testguest, kernelPath: /kernel},\n"
    "          kernelArgs: \"%s\"}}}\n";

bool
real_has_kvm(void)
{
    return access("/dev/kvm", R_OK | W_OK) == 0;
}

static bool
labelled(void *ctx)
{
    struct sys *s = ctx;

    for (size_t i = 0; i < s->c->nodes_len; i++) {
        AUTO_TREE struct tree *node = sys_get(s, KIND_NODE, NULL, s->c->nodes[i].name);

        if (strcmp(tree_find_string(node, "", "metadata", "labels", LABEL_HYPERVISOR_LIBVIRT, NULL),
                   "true") != 0)
            return false;
    }
    return true;
}

void
real_up(struct sys *s, size_t nodes, bool emulate)
{
    struct err err = {0};

    if (dev_libvirt_installed(&err) != 0) {
        printf("%s\n", err_msg(&err));
        exit(SKIP_CODE);
    }
    sys_up_as(s, nodes, (struct dev_config){.hypervisor = DEV_LIBVIRT, .emulate = emulate});
    network_up(s);
    sys_wait(s, WAIT_S, "each host's libvirt", labelled, s);
}

/* --- other programs --- */

static int
run(struct sys *s, struct sb *out, const char *cmd)
{
    FILE *p = popen(cmd, "re"); /* NOLINT(cert-env33-c): a test's own words */
    char buf[4096];
    size_t n;
    int status;

    if (!p)
        sys_die(s, "%s: cannot be run", cmd);
    while ((n = fread(buf, 1, sizeof buf, p)) > 0)
        if (out)
            sb_add(out, buf, n);
    status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int
real_drover(struct sys *s, struct sb *out, const char *fmt, ...)
{
    const char *bin = getenv("DROVER_BIN");
    AUTO_SB struct sb cmd = SB_INIT;
    va_list ap;

    sb_printf(&cmd, "DROVER_SERVER=%s %s/drover ", s->c->url, bin ? bin : "bin");
    va_start(ap, fmt);
    sb_vprintf(&cmd, fmt, ap);
    va_end(ap);
    sb_puts(&cmd, " 2>&1");
    return run(s, out, sb_str(&cmd));
}

void
real_do(struct sys *s, const char *fmt, ...)
{
    AUTO_SB struct sb args = SB_INIT, out = SB_INIT;
    va_list ap;
    int rc;

    va_start(ap, fmt);
    sb_vprintf(&args, fmt, ap);
    va_end(ap);
    rc = real_drover(s, &out, "%s", sb_str(&args));
    if (rc != 0)
        sys_die(s, "drover %s: exit %d: %s", sb_str(&args), rc, sb_str(&out));
}

int
real_virsh(struct sys *s, const char *node, struct sb *out, const char *fmt, ...)
{
    AUTO_SB struct sb cmd = SB_INIT;
    va_list ap;

    sb_printf(&cmd, "nsenter -t %d -n -m -u timeout 20 virsh -q -c '%s' ",
              (int)dev_cluster_node(s->c, node)->host.pid, DEV_LIBVIRT_URI);
    va_start(ap, fmt);
    sb_vprintf(&cmd, fmt, ap);
    va_end(ap);
    sb_puts(&cmd, " 2>&1");
    return run(s, out, sb_str(&cmd));
}

/* --- the VM --- */

void
real_make(struct sys *s, const struct real_vm *vm)
{
    AUTO_FREE char *yaml =
        xasprintf(vm_yaml, vm->strategy ? vm->strategy : "Always", vm->grace_s ? vm->grace_s : 30,
                  vm->spec ? vm->spec : "", vm->domain ? vm->domain : "",
                  vm->memory_mib ? vm->memory_mib : 64, vm->devices ? vm->devices : "",
                  vm->args ? vm->args : "ws=24 rate=20");

    sys_apply(s, yaml);
}

struct heartbeat *
real_start(struct sys *s, const struct real_vm *vm)
{
    struct heartbeat *h;
    char uid[64];

    real_make(s, vm);
    real_wait_phase(s, "Running", WAIT_S);
    real_uid(s, uid);
    h = heartbeat_new(s, uid);
    if (!heartbeat_wait(h, 3, WAIT_S))
        sys_die(s, "the guest runs, and its heart does not beat");
    return h;
}

static bool
is_gone(void *ctx)
{
    AUTO_TREE struct tree *vm = sys_get(ctx, KIND_VM, REAL_NS, REAL_VM);

    return !vm;
}

void
real_delete(struct sys *s)
{
    real_do(s, "delete vm " REAL_VM " -n " REAL_NS " --wait=false");
    real_only_on(s, NULL, WAIT_S);
    sys_wait(s, WAIT_S, "the VM's object is gone", is_gone, s);
}

void
real_policy(struct sys *s, const char *annotations, const char *spec)
{
    AUTO_FREE char *yaml =
        xasprintf("apiVersion: migrations.kubevirt.io/v1alpha1\n"
                  "kind: MigrationPolicy\n"
                  "metadata: {name: real, annotations: {%s}}\n"
                  "spec: {%s"
                  "selectors: {virtualMachineInstanceSelector: {test: network}}}\n",
                  annotations, spec);
    struct err err = {0};

    (void)client_delete(s->client, kind_info(KIND_POLICY), NULL, "real", NULL, &err);
    sys_apply(s, yaml);
}

void
real_move_start(struct sys *s, struct network_move *ret)
{
    static unsigned n;
    char name[32];

    snprintf(name, sizeof name, "m%u", ++n);
    network_move_start(s, name, ret);
}

void
real_move(struct sys *s, struct network_move *ret)
{
    char node[64];

    real_move_start(s, ret);
    network_move_wait(s, ret, WAIT_S);
    network_vm_node(s, node, sizeof node);
    if (strcmp(ret->phase, "Succeeded") != 0 || strcmp(node, ret->target) != 0)
        sys_die(s, "%s to %s is %s, the VM is on %s: %s", ret->name, ret->target, ret->phase, node,
                ret->failure);
}

const char *
real_other(struct sys *s, const char *node)
{
    return s->c->nodes[strcmp(s->c->nodes[0].name, node) == 0].name;
}

static struct tree *
instance(struct sys *s)
{
    return sys_get(s, KIND_VMI, REAL_NS, REAL_VM);
}

void
real_phase(struct sys *s, char buf[32])
{
    sys_phase(s, KIND_VMI, REAL_NS, REAL_VM, buf, 32);
}

void
real_uid(struct sys *s, char buf[64])
{
    AUTO_TREE struct tree *vmi = instance(s);

    snprintf(buf, 64, "%s", tree_find_string(vmi, "", "metadata", "uid", NULL));
}

void
real_condition(struct sys *s, const char *type, struct real_condition *ret)
{
    AUTO_TREE struct tree *vmi = instance(s);
    const struct tree *c = object_condition(vmi, type);

    snprintf(ret->status, sizeof ret->status, "%s", tree_find_string(c, "", "status", NULL));
    snprintf(ret->reason, sizeof ret->reason, "%s", tree_find_string(c, "", "reason", NULL));
    snprintf(ret->message, sizeof ret->message, "%s", tree_find_string(c, "", "message", NULL));
}

struct wish {
    struct sys *s;
    const char *type, *status;
    struct real_condition last;
    char phase[32];
};

static bool
phase_is(void *ctx)
{
    struct wish *w = ctx;

    real_phase(w->s, w->phase);
    return strcmp(w->phase, w->status) == 0;
}

void
real_wait_phase(struct sys *s, const char *phase, unsigned seconds)
{
    struct wish w = {.s = s, .status = phase};

    if (sys_poll(seconds, phase_is, &w))
        return;
    real_condition(s, "Synchronized", &w.last);
    sys_die(s, "after %u s the VM is \"%s\", want %s (%s: %s)", seconds, w.phase, phase,
            w.last.reason, w.last.message);
}

static bool
condition_is(void *ctx)
{
    struct wish *w = ctx;

    real_condition(w->s, w->type, &w->last);
    return strcmp(w->last.status, w->status) == 0;
}

void
real_wait_condition(struct sys *s, const char *type, const char *status, unsigned seconds)
{
    struct wish w = {.s = s, .type = type, .status = status};

    if (!sys_poll(seconds, condition_is, &w))
        sys_die(s, "after %u s the condition %s is \"%s\" (%s: %s), want \"%s\"", seconds, type,
                w.last.status, w.last.reason, w.last.message, status);
}

/* --- what is where --- */

struct qemus {
    pid_t pid;
    size_t len;
};

static void
count_qemu(void *ctx, const struct dev_process *p)
{
    struct qemus *q = ctx;
    char program[64];

    if (!dev_proc_program(p->pid, program, sizeof program) ||
        strcmp(program, "qemu-system-x86_64") != 0)
        return;
    q->pid = p->pid;
    q->len++;
}

static struct qemus
find_qemus(const struct dev_node *n)
{
    AUTO_FD int fd = netns_open(n->netns, NULL);
    struct qemus q = {0};

    if (fd >= 0)
        dev_proc_each_in(fd, count_qemu, &q);
    return q;
}

pid_t
real_qemu(struct sys *s, const char *node)
{
    return find_qemus(dev_cluster_node(s->c, node)).pid;
}

static size_t
sockets_of_migrations(struct sys *s, const struct dev_node *n)
{
    AUTO_FREE char *path = xasprintf("%s/hosts/%s/drover/migrate", s->c->dir, n->name);
    DIR *d = opendir(path);
    size_t len = 0;

    for (struct dirent *e; d && (e = readdir(d));)
        len += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return len;
}

struct where {
    struct sys *s;
    const char *node;
    struct sb seen;
};

static bool
only_there(void *ctx)
{
    struct where *w = ctx;
    bool right = true;

    sb_reset(&w->seen);
    for (size_t i = 0; i < w->s->c->nodes_len; i++) {
        const struct dev_node *n = &w->s->c->nodes[i];
        AUTO_SB struct sb list = SB_INIT;
        size_t domains = 0, qemus = find_qemus(n).len, sockets = sockets_of_migrations(w->s, n),
               guests = sys_guests_on(w->s, n->name), journals = sys_journals_on(w->s, n->name),
               want = w->node && strcmp(w->node, n->name) == 0;

        if (real_virsh(w->s, n->name, &list, "list --all --name") != 0)
            right = false;
        for (const char *p = sb_str(&list); (p = strchr(p, '_')); p++)
            domains++; /* NS_NAME */
        if (domains != want || qemus != want || guests != want || journals != want || sockets != 0)
            right = false;
        sb_printf(&w->seen, "%s: %zu domains, %zu QEMUs, %zu guests, %zu journals, %zu sockets; ",
                  n->name, domains, qemus, guests, journals, sockets);
    }
    return right;
}

void
real_only_on(struct sys *s, const char *node, unsigned seconds)
{
    struct where w = {.s = s, .node = node};

    if (!sys_poll(seconds, only_there, &w))
        sys_die(s, "want the VM on %s and nothing else, after %u s there is %s",
                node ? node : "no host", seconds, sb_str(&w.seen));
    sb_done(&w.seen);
}

void
real_check(struct sys *s, struct heartbeat *h, uint64_t restarts, const char *what)
{
    struct heartbeat_now n;

    heartbeat_look(h, &n);
    if (n.lost || n.bad || n.wrong[0] || n.restarts != restarts)
        sys_die(s, "%s: %llu lines lost, %llu bad pages, %llu restarts: %s", what,
                (unsigned long long)n.lost, (unsigned long long)n.bad,
                (unsigned long long)n.restarts, n.wrong);
    printf("  %s: %llu heartbeats, none lost, memory right, longest gap %llu ms\n", what,
           (unsigned long long)n.lines, (unsigned long long)n.gap_ms);
    fflush(stdout);
}
