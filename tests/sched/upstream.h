/* Rows that hold drover against kube-scheduler 1.31, plugin by plugin, and against KubeVirt: what each
 * one's own tests state as input and outcome, in this project's words. A row places its last document;
 * all others are the cluster. Each row asks place() and the fast engine. */
#ifndef TESTS_SCHED_UPSTREAM_H
#define TESTS_SCHED_UPSTREAM_H

#include "tests/sched/world.h"

struct upstream_row {
    const char *name, *cluster, *asks;
    /* With a plugin its scores of the nodes that fit, "a=100 b=0"; without one, their names, "a b". */
    const char *want;
    const char *reasons; /* "n1: a | b; n2: c" of the unfit nodes, or NULL: not looked at */
    const char *plugin;
    bool migrate; /* the last document is a VMI that runs: ask for a target */
};

/* Runs each row as a test of its own; returns what cmocka returns. */
int upstream_run(const char *group, const struct upstream_row *rows, size_t len);

#define REQUIRED  "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"

#endif
