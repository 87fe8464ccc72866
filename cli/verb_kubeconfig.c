/* drover kubeconfig: a kubeconfig that kubectl can use against the controller's TCP address.
 * kubectl cannot speak over a UNIX socket, so one is refused with the way out. */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "cli/client_verb.h"
#include "cli/dev_cluster.h"

static const struct options_def defs[] = {
    VERB_OPTION_NAMESPACE,
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program program = {
    .name = "drover kubeconfig",
    .usage = "[OPTIONS] > FILE",
    .about = "Prints a kubeconfig for kubectl and the Kubernetes client libraries.",
    .defs = defs,
};

/* The dev cluster whose socket this is; NULL when it is none. The caller's. */
static struct dev_cluster *
dev_cluster_of(const char *url)
{
    AUTO_FREE char *dir = xstrdup(url + strlen("unix:"));
    char *slash = strrchr(dir, '/');
    struct dev_cluster *c = NULL;

    if (slash && slash != dir)
        *slash = '\0';
    return dev_cluster_open(dir, &c, NULL) == 0 ? c : NULL;
}

/* The controller's TCP address: the one that we use, that of a dev cluster (whose namespace *ret_netns
 * then names; the caller's), or the one that the server's discovery names. The caller's. */
static char *
tcp_url(struct verb *v, char **ret_netns)
{
    const char *url = client_url(v->client), *address;
    AUTO_TREE struct tree *versions = NULL;
    AUTO_DEV_CLUSTER struct dev_cluster *dev = NULL;

    if (strncmp(url, "http://", 7) == 0)
        return xstrdup(url);
    dev = dev_cluster_of(url);
    if (dev) {
        *ret_netns = xstrdup(dev->netns);
        return xstrdup(dev->tcp_url);
    }
    if (client_get_path(v->client, "/api", false, &versions, &v->err) < 0)
        return NULL;
    address = tree_find_string(tree_at(tree_get(versions, "serverAddressByClientCIDRs"), 0), "",
                               "serverAddress", NULL);
    if (address[0])
        return xasprintf("http://%s", address);
    err_set(
        &v->err, -ENOTSUP,
        "kubectl cannot use %s: start drover-controller with a TCP address as well, and name it "
        "with --server http://HOST:PORT",
        url);
    return NULL;
}

int
verb_kubeconfig(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    AUTO_FREE char *url = NULL, *netns = NULL;
    AUTO_TREE struct tree *config = tree_map();
    AUTO_SB struct sb out = SB_INIT;
    struct tree *cluster, *context, *list;
    int exit_code;

    if (!verb_begin(&v, &program, argc, argv, &exit_code))
        return exit_code;
    url = tcp_url(&v, &netns);
    if (!url)
        return verb_error(&v);
    tree_set(config, "apiVersion", tree_string("v1"));
    tree_set(config, "kind", tree_string("Config"));
    tree_set(config, "clusters", list = tree_list());
    tree_append(list, cluster = tree_map());
    tree_set(cluster, "name", tree_string("drover"));
    tree_set_path(cluster, tree_string(url), "cluster", "server", NULL);
    tree_set(config, "contexts", list = tree_list());
    tree_append(list, context = tree_map());
    tree_set(context, "name", tree_string("drover"));
    tree_set_path(context, tree_string("drover"), "context", "cluster", NULL);
    tree_set_path(context, tree_string(v.namespace_), "context", "namespace", NULL);
    tree_set(config, "current-context", tree_string("drover"));
    if (netns)
        sb_printf(&out,
                  "# reachable inside the cluster's namespaces: ip netns exec %s kubectl ...\n",
                  netns);
    tree_to_yaml(config, &out);
    fputs(sb_str(&out), stdout);
    return EXIT_DONE;
}
