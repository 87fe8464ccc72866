/* `drover demo`: the main job from end to end on a cluster of its own, told step by step. This
 * header is the demo's own: verb_demo.c runs it, demo*.c are its parts. Every part returns 0 or
 * -errno with d->err set; whatever happens, demo_run takes everything away again. */
#ifndef CLI_DEMO_H
#define CLI_DEMO_H

#include <stdbool.h>
#include <stdint.h>

#include "api/tree.h"
#include "base/arena.h"
#include "base/err.h"
#include "cli/client.h"
#include "cli/demo_traces.h"
#include "cli/dev_cluster.h"
#include "cli/print_table.h"
#include "cli/term.h"

#define DEMO_START_S   60 /* all VMs run */
#define DEMO_MIGRATE_S 120
#define DEMO_DRAIN_S   180
#define DEMO_VERIFY_S  60
/* The management network carries the API: heartbeats, watches, progress. More than this share of
 * what the migrations sent would mean that memory went over it. */
#define DEMO_MANAGEMENT_PERMILLE 50

#define DEMO_MGMT_IFNAME "mgmt0"
#define DEMO_MIG_IFNAME  "eth1"

struct demo_config {
    const char
        *examples;   /* folder with the manifests; offline/nodes.yaml in it describes the hosts */
    const char *dir; /* of the cluster; missing or empty */
    bool native;     /* no real VM, also where libvirt is installed */
};

struct demo_net {        /* bytes on the wire since the node exists, all nodes together */
    uint64_t mgmt_bytes; /* in and out: the controller is on the other side */
    uint64_t mig_bytes;  /* out: what one node sends another one receives */
};

struct demo {
    struct demo_config cfg;
    struct term term;
    struct arena *arena; /* for the whole run */
    struct dev_cluster *cluster;
    struct client *client;
    struct traces *traces; /* of what is made, to see that nothing of it stays */
    struct dev_node_config *nodes;
    size_t nodes_len;
    struct tree *files; /* a list of {"name", "objects"}: what is applied at first, in order */
    struct tree *move;  /* the VirtualMachineInstanceMigration, applied in its own step */
    struct tree *drain; /* the NodeMaintenance, likewise */
    char *move_file, *drain_file;
    struct demo_net net_before, net_after;
    bool real; /* one of the VMs is real: QEMU under libvirt */
    int step;
    uint64_t start_us;
    struct err err;
};

/* The whole of it. 0: everything was as it should be, and nothing stays. */
int demo_run(const struct demo_config *cfg, struct err *err);

/* --- demo_say.c: how it is told --- */
void demo_title(struct demo *d);
void demo_step(struct demo *d, const char *heading);
/* Indented by four; wrapped at the width, what goes on is indented by `hang` more. */
void demo_say(struct demo *d, int hang, const char *fmt, ...) PRINTF_LIKE(3, 4);
void demo_good(struct demo *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
void demo_table(struct demo *d, struct table *t);
void demo_blank(struct demo *d);

/* --- demo_place.c: steps 2 and 3 --- */
int demo_load(struct demo *d);
int demo_apply(struct demo *d);
int demo_wait_placed(struct demo *d);
int demo_explain(struct demo *d);

/* --- demo_move.c: steps 4 and 5 --- */
int demo_migrate(struct demo *d);
int demo_drain(struct demo *d);

/* --- demo_report.c: step 6 --- */
int demo_count(struct demo *d, struct demo_net *ret);
int demo_report(struct demo *d);

#endif
