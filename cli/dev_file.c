/* See dev_file.h. */
#include "cli/dev_file.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/sb.h"

#define FILE_MAX_BYTES (1u << 20)
#define BOOT_ID_FILE   "/proc/sys/kernel/random/boot_id"

static char *boot_id(void);
static struct tree *process_tree(const struct dev_process *p);
static struct tree *args_tree(char *const *argv);
static int read_cluster(const struct tree *t, struct dev_cluster *c, struct err *err);

struct tree *
dev_file_tree(const struct dev_cluster *c)
{
    AUTO_FREE char *boot = boot_id();
    struct tree *t = tree_map(), *nodes = tree_list();

    tree_set(t, "id", tree_string(c->id));
    tree_set(t, "ready", tree_bool(c->ready));
    tree_set(t, "dir", tree_string(c->dir));
    tree_set(t, "url", tree_string(c->url));
    tree_set(t, "tcpUrl", tree_string(c->tcp_url));
    tree_set(t, "kubeconfig", tree_string(c->kubeconfig));
    tree_set(t, "netns", tree_string(c->netns));
    tree_set(t, "bootId", tree_string(boot));
    tree_set(t, "controller", process_tree(&c->controller));
    tree_set(t, "controllerArgs", args_tree(c->controller_argv));
    for (size_t i = 0; i < c->nodes_len; i++) {
        const struct dev_node *n = &c->nodes[i];
        struct tree *m = tree_map();

        tree_set(m, "name", tree_string(n->name));
        tree_set(m, "netns", tree_string(n->netns));
        tree_set(m, "managementAddress", tree_string(n->mgmt_ip));
        tree_set(m, "stateDir", tree_string(n->state_dir));
        tree_set(m, "handler", process_tree(&n->handler));
        tree_set(m, "handlerArgs", args_tree(n->handler_argv));
        if (n->libvirt) {
            tree_set(m, "emulated", tree_bool(n->emulated));
            tree_set(m, "host", process_tree(&n->host));
            tree_set(m, "libvirtd", process_tree(&n->libvirtd));
        }
        tree_append(nodes, m);
    }
    tree_set(t, "nodes", nodes);
    return t;
}

int
dev_file_write(const struct dev_cluster *c, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/" DEV_FILE_NAME, c->dir);
    AUTO_TREE struct tree *t = dev_file_tree(c);
    AUTO_SB struct sb sb = SB_INIT;

    tree_to_json(t, 2, &sb);
    sb_putc(&sb, '\n');
    return fs_replace(path, sb.buf, sb.len, 0644, err);
}

int
dev_file_write_kubeconfig(const struct dev_cluster *c, struct err *err)
{
    AUTO_FREE char *text = xasprintf("apiVersion: v1\n"
                                     "kind: Config\n"
                                     "clusters:\n"
                                     "- name: drover\n"
                                     "  cluster:\n"
                                     "    server: %s\n"
                                     "users:\n"
                                     "- name: drover\n"
                                     "  user: {}\n"
                                     "contexts:\n"
                                     "- name: drover\n"
                                     "  context:\n"
                                     "    cluster: drover\n"
                                     "    user: drover\n"
                                     "current-context: drover\n",
                                     c->tcp_url);

    return fs_replace(c->kubeconfig, text, strlen(text), 0644, err);
}

int
dev_file_read(const char *dir, struct dev_cluster **ret, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/" DEV_FILE_NAME, dir);
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    AUTO_TREE struct tree *t = NULL;
    AUTO_FREE char *text = NULL;
    size_t len;
    int rc = fs_read_all(path, FILE_MAX_BYTES, &text, &len, err);

    if (rc == -ENOENT || rc == -ENOTDIR)
        return err_set(err, -ENOENT, "%s: no dev cluster here", dir);
    if (rc != 0)
        return rc;
    rc = tree_from_json(text, len, &t, err);
    if (rc == 0) {
        c = xcalloc(1, sizeof *c);
        c->dir = xstrdup(dir); /* where it lies, whatever it says */
        rc = read_cluster(t, c, err);
    }
    if (rc != 0)
        return err_prefix(err, rc, "%s", path);
    *ret = TAKE_PTR(c);
    return 0;
}

/* --- writing --- */

static char *
boot_id(void)
{
    char *text = NULL;
    size_t len;

    if (fs_read_all(BOOT_ID_FILE, 4096, &text, &len, NULL) != 0)
        return xstrdup("");
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static struct tree *
process_tree(const struct dev_process *p)
{
    struct tree *m = tree_map();

    tree_set(m, "pid", tree_int(p->pid));
    tree_set(m, "start", tree_int((int64_t)p->start));
    return m;
}

static struct tree *
args_tree(char *const *argv)
{
    struct tree *list = tree_list();

    for (; argv && *argv; argv++)
        tree_append(list, tree_string(*argv));
    return list;
}

/* --- reading --- */

static int
read_text(const struct tree *t, const char *key, char **ret, struct err *err)
{
    const char *s = tree_get_string(tree_get(t, key), NULL);

    if (!s || !*s)
        return err_set(err, -EINVAL, "%s: is missing: this is no cluster.json of drover dev", key);
    *ret = xstrdup(s);
    return 0;
}

static void
read_process(const struct tree *t, bool this_boot, struct dev_process *ret)
{
    int64_t pid = tree_get_int(tree_get(t, "pid"), 0);

    if (!this_boot || pid <= 1 || pid > INT_MAX)
        return;
    ret->pid = (pid_t)pid;
    ret->start = (uint64_t)tree_get_int(tree_get(t, "start"), 0);
}

static char **
read_args(const struct tree *t)
{
    char **argv = xcalloc(tree_len(t) + 1, sizeof *argv);

    for (size_t i = 0; i < tree_len(t); i++)
        argv[i] = xstrdup(tree_get_string(tree_at(t, i), ""));
    return argv;
}

static int
read_cluster(const struct tree *t, struct dev_cluster *c, struct err *err)
{
    const struct tree *nodes = tree_get(t, "nodes");
    AUTO_FREE char *boot = boot_id();
    AUTO_FREE char *id = NULL;
    bool this_boot = strcmp(tree_find_string(t, "", "bootId", NULL), boot) == 0;
    int rc;

    if ((rc = read_text(t, "id", &id, err)) != 0 ||
        (rc = read_text(t, "netns", &c->netns, err)) != 0 ||
        (rc = read_text(t, "url", &c->url, err)) != 0 ||
        (rc = read_text(t, "tcpUrl", &c->tcp_url, err)) != 0 ||
        (rc = read_text(t, "kubeconfig", &c->kubeconfig, err)) != 0)
        return rc;
    snprintf(c->id, sizeof c->id, "%s", id);
    c->ready = tree_get_bool(tree_get(t, "ready"), false);
    read_process(tree_get(t, "controller"), this_boot, &c->controller);
    c->controller_argv = read_args(tree_get(t, "controllerArgs"));

    c->nodes = xcalloc(tree_len(nodes) + 1, sizeof *c->nodes);
    c->nodes_len = tree_len(nodes);
    for (size_t i = 0; i < c->nodes_len; i++) {
        const struct tree *m = tree_at(nodes, i);
        struct dev_node *n = &c->nodes[i];

        if ((rc = read_text(m, "name", &n->name, err)) != 0 ||
            (rc = read_text(m, "netns", &n->netns, err)) != 0 ||
            (rc = read_text(m, "managementAddress", &n->mgmt_ip, err)) != 0 ||
            (rc = read_text(m, "stateDir", &n->state_dir, err)) != 0)
            return err_prefix(err, rc, "nodes[%zu]", i);
        read_process(tree_get(m, "handler"), this_boot, &n->handler);
        n->handler_argv = read_args(tree_get(m, "handlerArgs"));
        n->libvirt = tree_get(m, "libvirtd") != NULL;
        n->emulated = tree_get_bool(tree_get(m, "emulated"), false);
        read_process(tree_get(m, "host"), this_boot, &n->host);
        read_process(tree_get(m, "libvirtd"), this_boot, &n->libvirtd);
    }
    return 0;
}
