/* See demo_traces.h. Looks in /run/netns, at pids with their start times, at this namespace's
 * addresses and at the cluster's directory. */
#include "cli/demo_traces.h"

#include <string.h>

#include "netpolicy/ip.h"

#define MAX_ADDRESSES 256

struct traces {
    char **namespaces;
    size_t namespaces_len;
    struct dev_process *processes;
    size_t processes_len;
    char *dir;
    struct nl_addr_found *addresses; /* of this machine, before */
    int addresses_len;
};

struct traces *
traces_new(void)
{
    struct traces *t = xcalloc(1, sizeof(*t));

    t->addresses = xcalloc(MAX_ADDRESSES, sizeof(*t->addresses));
    t->addresses_len = nl_addresses(t->addresses, MAX_ADDRESSES, NULL);
    return t;
}

static void
add_namespace(struct traces *t, const char *name)
{
    for (size_t i = 0; i < t->namespaces_len; i++) {
        if (strcmp(t->namespaces[i], name) == 0)
            return;
    }
    t->namespaces = xreallocarray(t->namespaces, t->namespaces_len + 1, sizeof(*t->namespaces));
    t->namespaces[t->namespaces_len++] = xstrdup(name);
}

static void
add_process(struct traces *t, const struct dev_process *p)
{
    for (size_t i = 0; i < t->processes_len; i++) {
        if (t->processes[i].pid == p->pid && t->processes[i].start == p->start)
            return;
    }
    t->processes = xreallocarray(t->processes, t->processes_len + 1, sizeof(*t->processes));
    t->processes[t->processes_len++] = *p;
}

static void
on_process(void *ctx, const struct dev_process *p)
{
    add_process(ctx, p);
}

void
traces_take(struct traces *t, struct dev_cluster *c)
{
    free(t->dir);
    t->dir = xstrdup(c->dir);
    add_namespace(t, c->netns);
    for (size_t i = 0; i < c->nodes_len; i++)
        add_namespace(t, c->nodes[i].netns);
    if (c->controller.pid)
        add_process(t, &c->controller);
    for (size_t i = 0; i < c->nodes_len; i++) {
        if (c->nodes[i].handler.pid)
            add_process(t, &c->nodes[i].handler);
    }
    for (size_t i = 0; i < t->namespaces_len; i++) {
        AUTO_FD int fd = netns_open(t->namespaces[i], NULL);

        if (fd >= 0)
            dev_proc_each_in(fd, on_process, t);
    }
}

void
traces_free(struct traces *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->namespaces_len; i++)
        free(t->namespaces[i]);
    free(t->namespaces);
    free(t->processes);
    free(t->addresses);
    free(t->dir);
    free(t);
}

size_t
traces_namespaces(const struct traces *t)
{
    return t->namespaces_len;
}

size_t
traces_processes(const struct traces *t)
{
    return t->processes_len;
}

static void
still(struct sb *out, const char *what, const char *name)
{
    sb_printf(out, "%s%s %s", out->len ? ", " : "", what, name);
}

static bool
had_address(const struct traces *t, const struct nl_addr_found *a)
{
    for (int i = 0; i < t->addresses_len; i++) {
        if (ip_equal(&t->addresses[i].ip, &a->ip))
            return true;
    }
    return false;
}

/* Addresses of the cluster's networks on this machine itself: there were never to be any. */
static void
addresses_left(const struct traces *t, struct sb *out)
{
    static const char *const networks[] = {DEV_NET_MGMT, DEV_NET_MIG};
    AUTO_FREE struct nl_addr_found *found = xcalloc(MAX_ADDRESSES, sizeof(*found));
    int n = nl_addresses(found, MAX_ADDRESSES, NULL);

    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < ARRAY_LEN(networks); k++) {
            struct cidr c;
            char text[IP_TEXT_SIZE];

            if (cidr_parse(networks[k], &c, NULL) < 0 || !cidr_contains(&c, &found[i].ip) ||
                had_address(t, &found[i]))
                continue;
            ip_format(&found[i].ip, text, sizeof(text));
            still(out, "address", text);
        }
    }
}

void
traces_left(const struct traces *t, struct sb *out)
{
    for (size_t i = 0; i < t->namespaces_len; i++) {
        AUTO_FREE char *path = xasprintf("/run/netns/%s", t->namespaces[i]);

        if (access(path, F_OK) == 0)
            still(out, "namespace", t->namespaces[i]);
    }
    for (size_t i = 0; i < t->processes_len; i++) {
        char pid[32];

        snprintf(pid, sizeof(pid), "%d", (int)t->processes[i].pid);
        if (dev_proc_alive(&t->processes[i]))
            still(out, "process", pid);
    }
    if (t->dir && access(t->dir, F_OK) == 0)
        still(out, "directory", t->dir);
    addresses_left(t, out);
}
