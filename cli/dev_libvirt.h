/* Hosts of a dev cluster with a libvirtd of their own. What libvirt and QEMU keep at fixed paths is private to
 * each host: its mount namespace shows DIR/hosts/NAME/... at /etc/libvirt, /var/{lib,log,cache}/libvirt,
 * /run/libvirt and /run/drover (the sockets of migrations have the same path on both sides), a sysfs of its
 * network namespace, and users and host names as libvirtd wants them. The two namespaces live as long as the
 * process `host` (a sleep) or anything else in them. Called by dev_cluster.c and dev_daemon.c only. */
#ifndef CLI_DEV_LIBVIRT_H
#define CLI_DEV_LIBVIRT_H

#include "cli/dev_cluster.h"

#define DEV_LIBVIRT_URI "qemu:///system?socket=/run/libvirt/libvirt-sock"

/* NULL-terminated; [0] is the path. Listens on unix sockets only. */
extern char *const dev_libvirt_argv[];

/* 0, or -ENOENT and which package is missing. */
int dev_libvirt_installed(struct err *err);
/* Whether the sockets in a guest's directory of this host have paths that are short enough. */
int dev_libvirt_check_paths(const struct dev_node *n, struct err *err);
/* Makes the host's files, its namespaces and n->host in them. n's network namespace is there. */
int dev_libvirt_make_host(const struct dev_cluster *c, struct dev_node *n, struct err *err);

#endif
