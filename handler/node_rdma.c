/* One look at a time, on a worker; see node_rdma.h. */
#include "handler/node_rdma.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/names.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sb.h"
#include "handler/limits.h"
#include "migrate/rdma_nic.h"

struct node_rdma {
    struct loop *l;
    struct work *w;
    struct node_rdma_facts facts;
    void (*changed)(void *ctx);
    void *ctx;
    struct loop_timer *timer;
    bool busy, again;
    const char *program;
    struct { /* of the worker while busy */
        char ip[INET6_ADDRSTRLEN];
        struct tree *answer; /* of node_rdma_tree; NULL: there is none, and err says why */
        struct err err;
    } job;
};

static void look(struct node_rdma *n);
static void run_look(void *ctx);
static struct tree *ask(const char *program, const char *ip, struct err *err);
static void read_all(int fd, struct sb *out);
static void look_done(void *ctx);
static void on_timer(void *ctx);
static void limit_text(const struct node_rdma_facts *f, char *buf, size_t size);

void
node_rdma_say(const struct node_rdma_facts *f, struct node_rdma_condition *ret)
{
    const struct mignet *net = &f->net;
    char limit[80];

    ret->status = "False";
    if (f->off) {
        ret->reason = "SwitchedOff";
        snprintf(ret->message, sizeof ret->message, "--no-rdma: migrations go over TCP");
    } else if (net->state == MIGNET_NONE) {
        ret->reason = "NoDedicatedNetwork";
        snprintf(ret->message, sizeof ret->message,
                 "RDMA is used on a dedicated migration network only, and there is none");
    } else if (net->state == MIGNET_BROKEN) {
        ret->reason = "NetworkNotReady";
        snprintf(ret->message, sizeof ret->message, "the migration network is not ready: %s",
                 net->code);
    } else if (net->state == MIGNET_UNKNOWN || !f->looked) {
        ret->status = "Unknown";
        ret->reason = "NotLooked";
        snprintf(ret->message, sizeof ret->message, "%s",
                 f->why[0] ? f->why : "nobody has looked yet");
    } else if (!f->device[0]) {
        ret->reason = "NoDevice";
        snprintf(ret->message, sizeof ret->message, "%s", f->why);
    } else if (!net->trusted) {
        ret->reason = "NetworkNotTrusted";
        snprintf(ret->message, sizeof ret->message,
                 "%s serves %s, but RDMA does not encrypt, and %.200s is not declared trusted "
                 "(" ANN_TRUSTED_NETWORK ")",
                 f->device, net->ip, net->ref);
    } else {
        ret->status = "True";
        ret->reason = "DeviceFound";
        limit_text(f, limit, sizeof limit);
        snprintf(ret->message, sizeof ret->message, "%s serves %s; %s", f->device, net->ip, limit);
    }
}

/* How much of a guest a migration has registered at once. */
static void
limit_text(const struct node_rdma_facts *f, char *buf, size_t size)
{
    bool locked = f->lock_bytes < f->window_bytes;
    char bytes[32];

    quantity_format_human(locked ? f->lock_bytes : f->window_bytes, bytes, sizeof bytes);
    if (f->on_demand)
        snprintf(buf, size, "memory is registered on demand");
    else
        snprintf(buf, size, "a migration registers at most %s at once%s", bytes,
                 locked ? ", the limit of locked memory" : "");
}

struct node_rdma *
node_rdma_new(struct loop *l, struct work *w, const char *program, bool off, uint64_t window_bytes,
              void (*changed)(void *ctx), void *ctx)
{
    struct node_rdma *n = xcalloc(1, sizeof *n);

    n->l = l;
    n->w = w;
    n->program = program;
    n->facts.off = off;
    n->facts.window_bytes = window_bytes;
    n->changed = changed;
    n->ctx = ctx;
    return n;
}

void
node_rdma_free(struct node_rdma *n)
{
    if (!n)
        return;
    loop_timer_del(n->timer);
    tree_free(n->job.answer);
    free(n);
}

const struct node_rdma_facts *
node_rdma_facts(const struct node_rdma *n)
{
    return &n->facts;
}

void
node_rdma_network(struct node_rdma *n, const struct mignet *net)
{
    bool same = net->state == n->facts.net.state && strcmp(net->ip, n->facts.net.ip) == 0;

    n->facts.net = *net;
    if (!same)
        n->facts.looked = false;
    if (n->facts.off)
        return;
    if (n->busy)
        n->again = true;
    else
        look(n);
}

static void
look(struct node_rdma *n)
{
    loop_timer_del(n->timer);
    n->timer = NULL;
    n->again = false;
    if (n->facts.net.state != MIGNET_READY)
        return;
    n->busy = true;
    memcpy(n->job.ip, n->facts.net.ip, sizeof n->job.ip);
    work_run(n->w, run_look, look_done, n);
}

/* On a worker. */
static void
run_look(void *ctx)
{
    struct node_rdma *n = ctx;

    n->job.answer = ask(n->program, n->job.ip, &n->job.err);
}

static struct tree *
ask(const char *program, const char *ip, struct err *err)
{
    const char *argv[] = {program, "--print-rdma", ip, NULL};
    posix_spawn_file_actions_t fa;
    AUTO_SB struct sb said = SB_INIT;
    struct tree *answer = NULL;
    int p[2], rc, status;
    pid_t pid;

    if (pipe2(p, O_CLOEXEC) != 0) {
        err_set(err, -errno, "looking for an RDMA device: pipe: %s", strerror(errno));
        return NULL;
    }
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, p[1], 1);
    /* exec does not write to what argv points to */
    rc = posix_spawn(&pid, program, &fa, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    close(p[1]);
    if (rc == 0) {
        read_all(p[0], &said);
        kill(pid, SIGKILL); /* it has ended, or hangs */
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        (void)tree_from_json(sb_str(&said), said.len, &answer, NULL);
    }
    close(p[0]);
    if (!answer)
        err_set(err, -EIO, "looking for an RDMA device: %s",
                rc ? strerror(rc) : "the process that does gave no answer");
    return answer;
}

/* Until it ends, says too much, or takes too long. */
static void
read_all(int fd, struct sb *out)
{
    uint64_t until = clock_mono_us() + HANDLER_RDMA_ASK_US, now;

    while ((now = clock_mono_us()) < until && out->len < NODE_RDMA_TEXT * 2) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char buf[257];
        ssize_t got;

        if (poll(&p, 1, (int)((until - now) / 1000 + 1)) <= 0)
            continue;
        got = read(fd, buf, sizeof buf - 1);
        if (got == 0 || (got < 0 && errno != EINTR))
            return;
        if (got < 0)
            continue;
        buf[got] = '\0';
        sb_puts(out, buf);
    }
}

struct tree *
node_rdma_tree(const char *ip)
{
    struct tree *t = tree_map();
    struct nic *nic = NULL;
    struct err err = {0};

    if (nic_open(ip, "", &nic, &err) == 0) {
        const struct nic_facts *f = nic_facts(nic);

        tree_set(t, "device", tree_string(f->device));
        tree_set(t, "lockBytes", tree_int(f->lock_bytes > INT64_MAX ? -1 : (int64_t)f->lock_bytes));
        tree_set(t, "onDemand", tree_bool(f->on_demand));
    } else {
        tree_set(t, "why", tree_string(err_msg(&err)));
    }
    nic_close(nic);
    return t;
}

static void
look_done(void *ctx)
{
    struct node_rdma *n = ctx;
    struct node_rdma_facts *f = &n->facts;
    struct node_rdma_condition was, is;
    AUTO_TREE struct tree *t = TAKE_PTR(n->job.answer);

    n->busy = false;
    if (strcmp(n->job.ip, f->net.ip) == 0 && (t || !f->looked)) { /* no answer: as it was */
        node_rdma_say(f, &was);
        f->looked = t != NULL;
        snprintf(f->device, sizeof f->device, "%s", tree_find_string(t, "", "device", NULL));
        snprintf(f->why, sizeof f->why, "%s",
                 t ? tree_find_string(t, "", "why", NULL) : err_msg(&n->job.err));
        f->lock_bytes = (uint64_t)tree_get_int(tree_get(t, "lockBytes"), 0); /* -1: no limit */
        f->on_demand = tree_get_bool(tree_get(t, "onDemand"), false);
        node_rdma_say(f, &is);
        if (strcmp(was.reason, is.reason) != 0 || strcmp(was.message, is.message) != 0) {
            log_info("rdma.looked", LS("ip", f->net.ip), LS("device", f->device),
                     LS("reason", is.reason), LS("message", is.message));
            n->changed(n->ctx);
        }
    }
    if (n->again)
        look(n);
    else
        n->timer = loop_timer_add(n->l, HANDLER_RDMA_LOOK_US, on_timer, n);
}

static void
on_timer(void *ctx)
{
    struct node_rdma *n = ctx;

    n->timer = NULL;
    look(n);
}
