/* A whole cluster on one machine: a controller and handlers, each host in a network namespace of
 * its own (cli/dev_net.h has the picture), everything else of it under one directory:
 *
 * DIR/cluster.json  what was made: namespaces, processes by pid and start time, addresses, paths
 * DIR/api.sock      the controller's socket       DIR/kubeconfig  for kubectl inside the namespace
 * DIR/controller/   its store                     DIR/log/        output of all daemons
 * DIR/nodes/NAME/   a handler's state              DIR/pki/        certificates: ca, and each node's
 * DIR/hosts/NAME/   with libvirt: what that host alone sees as /etc/libvirt, /run/libvirt and so on
 *
 * Called by `drover dev`, `drover demo` and system tests. All functions block; one thread at a time
 * uses a cluster. Needs root. */
#ifndef CLI_DEV_CLUSTER_H
#define CLI_DEV_CLUSTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "api/tree.h"
#include "api/types.h"
#include "base/err.h"
#include "cli/dev_net.h"
#include "cli/dev_proc.h"
#include "netpolicy/nl_link.h"

#define DEV_DIR_DEFAULT       "/run/drover/dev"
#define DEV_MAX_DIR_BYTES     90 /* the controller's socket lies in it: 107 bytes at most */
#define DEV_MAX_NAME_BYTES    63 /* of a node: it becomes part of a namespace's name */
#define DEV_DEFAULT_NODES     3
#define DEV_DEFAULT_CPU       "8"
#define DEV_DEFAULT_MEMORY    "4Gi"
#define DEV_DEFAULT_HEARTBEAT "2s"
#define DEV_METRICS_PORT      9101 /* of each handler, on its management address */
#define DEV_READY_MS          60000

struct dev_node_config {
    const char *name;      /* NULL: n1, n2, ... */
    struct kv_list labels; /* beside those that a handler gives itself */
    struct taint *taints;  /* written to the Node once it is there */
    size_t taints_len;
    const char *cpu, *memory; /* quantities; NULL: DEV_DEFAULT_ */
};

/* What runs the guests of a dev cluster. */
enum dev_hypervisor {
    DEV_NATIVE,
    DEV_LIBVIRT, /* each host is a mount and a UTS namespace too, with a libvirtd of its own */
    DEV_AUTO     /* libvirt where libvirtd and QEMU are installed */
};

struct dev_config {
    const char *dir;     /* absolute; missing or empty; NULL: DEV_DIR_DEFAULT */
    const char *bin_dir; /* where the daemons are; NULL: beside the running program */
    const struct dev_node_config *nodes; /* NULL: nodes_len nodes n1, n2, ... without labels */
    size_t nodes_len;                    /* 1..DEV_NET_MAX_NODES; 0: DEV_DEFAULT_NODES */
    const char *heartbeat;              /* a duration, such as 500ms; NULL: DEV_DEFAULT_HEARTBEAT */
    const char *store;                  /* --store of the controller; NULL: SQLite below dir */
    const char *const *controller_args; /* further arguments, NULL-terminated; or NULL */
    const char *const *handler_args;    /* the same for every handler */
    bool plaintext;                     /* no certificates: --insecure-plaintext */
    enum dev_hypervisor hypervisor;
    bool emulate;       /* with libvirt: hosts without /dev/kvm, so that QEMU emulates the CPU */
    const char *images; /* of containerDisk and kernelBoot, absolute; NULL: images in bin_dir */
    unsigned ready_ms;  /* 0: DEV_READY_MS */
    const atomic_bool *stop;                  /* becomes true: give up and clean up; or NULL */
    void (*say)(void *ctx, const char *line); /* one line for each step; or NULL */
    void *say_ctx;
};

struct dev_node {
    char *name, *netns;
    char *mgmt_ip;
    char mig_ip[IP_TEXT_SIZE]; /* on the migration network, as of the last dev_wait_ready; "" =
                                  none */
    char *state_dir;
    char *tls_dir;       /* while it is made; NULL: in the clear */
    char **handler_argv; /* NULL-terminated; [0] is the program's path */
    struct dev_process handler;
    bool libvirt, emulated;            /* as configured */
    struct dev_process host, libvirtd; /* with libvirt. host: holds the host's namespaces */
};

struct dev_cluster {
    char id[8];
    char *dir, *netns; /* netns: the switch's and the controller's */
    char *url;         /* unix:DIR/api.sock: reachable from everywhere on this machine */
    char *tcp_url;     /* http://198.18.0.1:8001: inside the namespaces */
    char *kubeconfig;
    char **controller_argv;
    struct dev_process controller;
    struct dev_node *nodes;
    size_t nodes_len;
    bool ready; /* came up whole */
};

/* Makes a cluster and waits until all its nodes are Ready (dev_wait_ready). On any error, and when *stop becomes
 * true (-EINTR), nothing stays behind. -EEXIST: dir holds a cluster already. *ret is the caller's
 * (dev_cluster_free, which leaves the cluster running; dev_cluster_down). */
int dev_cluster_up(const struct dev_config *cfg, struct dev_cluster **ret, struct err *err);
/* The cluster that cluster.json in dir (NULL: DEV_DIR_DEFAULT) describes. -ENOENT: there is
 * none. */
int dev_cluster_open(const char *dir, struct dev_cluster **ret, struct err *err);
/* Ends exactly the recorded processes, the guests in the cluster's namespaces, and removes
 * namespaces, interfaces and the directory. Works on what an interrupted up or down left. Goes on
 * after an error and returns the first. */
int dev_cluster_down(struct dev_cluster *c, struct err *err);
void dev_cluster_free(struct dev_cluster *c); /* NULL is fine */
void dev_cluster_auto(struct dev_cluster **c);
#define AUTO_DEV_CLUSTER CLEANUP(dev_cluster_auto)

/* NULL when there is none of this name. */
struct dev_node *dev_cluster_node(struct dev_cluster *c, const char *name);

/* For crash tests. kill: SIGKILL, returns when it is gone; its guests run on. start: with
 * "NAME=VALUE" added to its environment (NULL-terminated list, or NULL); does not wait until it is
 * ready. -EALREADY: it runs. */
int dev_kill_handler(struct dev_cluster *c, const char *node, struct err *err);
int dev_start_handler(struct dev_cluster *c, const char *node, const char *const *env,
                      struct err *err);
/* The same for the libvirtd of a host; its domains run on. -ENOTSUP: it has none. */
int dev_kill_libvirtd(struct dev_cluster *c, const char *node, struct err *err);
int dev_start_libvirtd(struct dev_cluster *c, const char *node, struct err *err);
int dev_kill_controller(struct dev_cluster *c, struct err *err);
int dev_start_controller(struct dev_cluster *c, const char *const *env, struct err *err);
/* Waits until all nodes, and their migration network where one is configured, are Ready by the
 * controller's word and every daemon lives. timeout_ms 0: DEV_READY_MS. -ETIMEDOUT names the nodes
 * that are not. */
int dev_wait_ready(struct dev_cluster *c, unsigned timeout_ms, const atomic_bool *stop,
                   struct err *err);

/* Runs fn in a thread inside a node's namespace (node NULL: the switch's). */
int dev_node_call(struct dev_cluster *c, const char *node, int (*fn)(void *ctx, struct err *err),
                  void *ctx, struct err *err);
/* Starts a program inside a node's namespaces (node NULL: the switch's), its output in
 * DIR/log/LOG.log. dev_cluster_down does not know of it: end it yourself. */
int dev_node_spawn(struct dev_cluster *c, const char *node, char *const *argv, const char *log,
                   struct dev_process *ret, struct err *err);
/* Bytes and packets of an interface there: mgmt0 and eth1 are the node's two networks. */
int dev_counters(struct dev_cluster *c, const char *node, const char *ifname,
                 struct nl_counters *ret, struct err *err);

/* Nodes as Node objects in files describe them (labels, taints, status.capacity or
 * status.allocatable), so that a local cluster and `drover schedule` on the same file agree. What
 * *ret points to lives in the arena. */
int dev_nodes_load(const char *const *paths, size_t len, struct dev_node_config **ret,
                   size_t *ret_len, struct arena *a, struct err *err);

#endif
