/* Recorded placements, as the files of two published data sets have them: hosts with two NUMA nodes
 * and racks, and VMs in the order in which they came, some with a rule for their group. Parsers
 * only; docs/benchmark.md names the sources. */
#ifndef BENCH_REPLAY_DATA_H
#define BENCH_REPLAY_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

#define REPLAY_NUMA      2
#define REPLAY_MAX_BYTES (4u << 20) /* of a file */

enum replay_rule {
    REPLAY_FREE,
    REPLAY_AFFINITY,      /* all VMs of the group in one rack */
    REPLAY_ANTI_AFFINITY, /* no two VMs of the group on one host */
    REPLAY_FAULT_DOMAIN,  /* VMs of the group with different domains share no rack */
    REPLAY_RULES
};

struct replay_size {
    int64_t cpus, mib;
};

struct replay_host {
    const char *name, *rack;
    size_t rack_index; /* the same rack, the same number: 0 .. racks_len - 1 */
    struct replay_size numa[REPLAY_NUMA], all; /* all: their sum */
};

struct replay_vm {
    struct replay_size size; /* of a VM on two NUMA nodes: half on each */
    unsigned numa;           /* 1, 2 */
    enum replay_rule rule;
    const char *group;  /* "anti-affinity-3"; NULL: free */
    size_t group_index; /* 0 .. groups_len - 1 */
    const char *domain; /* of REPLAY_FAULT_DOMAIN, else NULL */
};

struct replay {
    const char *name;
    struct replay_host *hosts;
    struct replay_vm *vms;
    size_t hosts_len, vms_len, racks_len, groups_len;
    size_t hosts_used; /* of the recorded placement; 0 = not recorded */
};

/* All: texts NUL-terminated (CSV is cut up in place), results in the arena, -EINVAL with a line that
 * says where. The clusters of a file of snapshots (JSON, cluster_list[]). */
int replay_read_snapshots(const char *text, size_t len, struct arena *a, struct replay **ret,
                          size_t *ret_len, struct err *err);
/* CPU1,RAM1,CPU2,RAM2 (GiB) a host, and host_id,rack_id: line i is host-i, and more lines than hosts. */
int replay_read_hosts(char *hosts, char *topology, struct arena *a, struct replay *ret,
                      struct err *err);
/* flavor_vcpus,flavor_ram,numa,strategy,group,domain a VM; ret has its hosts already. */
int replay_read_requests(char *text, struct arena *a, struct replay *ret, struct err *err);

#endif
