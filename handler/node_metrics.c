/* The handler's metrics; see node_metrics.h. Names that upstream has are upstream's (4.15). */
#include "handler/node_metrics.h"

#include <string.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "handler/handler.h"
#include "handler/limits.h"
#include "handler/node_metrics_figures.h"
#include "handler/stats_tree.h"

#define VM_LABELS           \
    {                       \
        "namespace", "name" \
    }

static const double downtime_buckets[] = {0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                          0.05,    0.1,    0.25,  0.5,    1,     2.5,  10};
static const double fault_buckets[] = {8e-6,     16e-6,     32e-6,    64e-6,   128e-6,  256e-6,
                                       512e-6,   1024e-6,   2048e-6,  4096e-6, 8192e-6, 16384e-6,
                                       65536e-6, 262144e-6, 1.048576, 4.194304};

#define VM_GAUGE(n, h)                                                      \
    {                                                                       \
        .name = (n), .type = METRIC_GAUGE, .help = (h), .labels = VM_LABELS \
    }

#define NETWORK_GAUGE(n, h)                                                                  \
    {                                                                                        \
        .name = (n), .type = METRIC_GAUGE, .help = (h), .labels = { "network", "interface" } \
    }

#define VMI(t, n, h)                                                            \
    {                                                                           \
        .name = "kubevirt_vmi_" n, .type = METRIC_##t, .help = (h), .labels = { \
            "node",                                                             \
            "namespace",                                                        \
            "name"                                                              \
        }                                                                       \
    }

static const struct metric_def defs[] = {
    [DATA_TOTAL] = {.name = "kubevirt_vmi_migration_data_bytes_total",
                    .type = METRIC_COUNTER, /* upstream's type, though it does not count */
                    .help = "Memory of the guest that migrates, in bytes.",
                    .labels = VM_LABELS},
    [DATA_PROCESSED] = VM_GAUGE("kubevirt_vmi_migration_data_processed_bytes",
                                "Bytes that were sent to the new place."),
    [DATA_REMAINING] = VM_GAUGE("kubevirt_vmi_migration_data_remaining_bytes",
                                "Bytes of guest memory that remain to be migrated."),
    [DIRTY_RATE] = VM_GAUGE("kubevirt_vmi_migration_dirty_memory_rate_bytes",
                            "Bytes a second at which the guest writes its memory."),
    [DIRTY_RATE_412] = VM_GAUGE("kubevirt_migrate_vmi_dirty_memory_rate_bytes",
                                "The same under the name that it had in 4.12."),
    [TRANSFER_RATE] = VM_GAUGE("kubevirt_vmi_migration_memory_transfer_rate_bytes",
                               "Bytes a second that are sent."),
    [START_TIME] = VM_GAUGE("kubevirt_vmi_migration_start_time_seconds",
                            "When its memory began to move, unix time."),
    [END_TIME] = VM_GAUGE("kubevirt_vmi_migration_end_time_seconds", "When it ended, unix time."),
    [VM_ROUND] = VM_GAUGE("drover_migration_round", "Round of copying; 1 is the first pass."),
    [VM_LIMIT] =
        VM_GAUGE("drover_migration_limit_bytes_per_second",
                 "The limit in force: its own or its share of the node's cap, the smaller; "
                 "0 is none."),
    [VM_PREDICTED] = {.name = "drover_migration_predicted_downtime_seconds",
                      .type = METRIC_GAUGE,
                      .help = "The downtime if it switched over now.",
                      .labels = {"namespace", "name", "percentile"}},
    [VM_THROTTLE] = VM_GAUGE("drover_migration_throttle_percent",
                             "By how much the guest's writers are slowed down."),
    [VM_ENC_PAGES] = {.name = "drover_migration_pages",
                      .type = METRIC_GAUGE,
                      .help = "Pages that were sent, by encoding.",
                      .labels = {"namespace", "name", "encoding"}},
    [VM_ENC_BYTES] = {.name = "drover_migration_payload_bytes",
                      .type = METRIC_GAUGE,
                      .help = "Bytes of payload on the wire, by encoding.",
                      .labels = {"namespace", "name", "encoding"}},
    [VM_MISSING] = VM_GAUGE("drover_migration_missing_bytes",
                            "Post-copy: memory that the guest has not got yet."),
    [VM_PLACED] = VM_GAUGE("drover_migration_placed_pages",
                           "Pages that RDMA has written straight into the target's memory."),
    [VM_REGISTERED] = VM_GAUGE("drover_migration_registered_bytes",
                               "Guest memory that RDMA has registered, and so locked, now."),
    [ENDED] = {.name = "drover_outgoing_migrations_total",
               .type = METRIC_COUNTER,
               .help = "Outgoing migrations that have ended, by outcome, and why those failed.",
               .labels = {"outcome", "cause"}},
    [SENT] = {.name = "drover_migration_sent_bytes_total",
              .type = METRIC_COUNTER,
              .help = "Bytes that ended outgoing migrations have sent."},
    [RECEIVED] = {.name = "drover_migration_received_bytes_total",
                  .type = METRIC_COUNTER,
                  .help = "Bytes that ended incoming migrations have received."},
    [PAGES] = {.name = "drover_migration_pages_total",
               .type = METRIC_COUNTER,
               .help = "Pages that ended outgoing migrations have sent, by encoding.",
               .labels = {"encoding"}},
    [ENC_BYTES] = {.name = "drover_migration_payload_bytes_total",
                   .type = METRIC_COUNTER,
                   .help = "Their payload on the wire, by encoding.",
                   .labels = {"encoding"}},
    [CPU] = {.name = "drover_migration_cpu_seconds_total",
             .type = METRIC_COUNTER,
             .help = "CPU time of the engine's threads of ended migrations.",
             .labels = {"side"}},
    [DOWNTIME] = {.name = "drover_migration_downtime_seconds",
                  .type = METRIC_HISTOGRAM,
                  .help =
                      "How long guests stood still, by phase; phase total is the source's, from "
                      "pause to RUNNING heard.",
                  .labels = {"phase"},
                  .buckets = downtime_buckets,
                  .buckets_len = ARRAY_LEN(downtime_buckets)},
    [FAULT_SECONDS] = {.name = "drover_postcopy_fault_seconds",
                       .type = METRIC_HISTOGRAM,
                       .help =
                           "From a page fault of a guest in post-copy until its page was there; "
                           "each counts as the upper bound of its power of two.",
                       .buckets = fault_buckets,
                       .buckets_len = ARRAY_LEN(fault_buckets)},
    [THROTTLED] = {.name = "drover_migration_throttled_seconds_total",
                   .type = METRIC_COUNTER,
                   .help = "Time for which guests were slowed down."},
    [WRITE_FAULT_SECONDS] = {.name = "drover_migration_write_fault_seconds_total",
                             .type = METRIC_COUNTER,
                             .help = "Time that guests lost to write faults of the tracking; an "
                                     "estimate."},
    [RECONNECTS] = {.name = "drover_migration_reconnects_total",
                    .type = METRIC_COUNTER,
                    .help = "Connections that were lost and made again."},
    [TRANSPORTS] = {.name = "drover_migration_transports_total",
                    .type = METRIC_COUNTER,
                    .help =
                        "Outgoing migrations that have ended, by what carried their memory last.",
                    .labels = {"transport"}},
    [PLACED] = {.name = "drover_migration_placed_pages_total",
                .type = METRIC_COUNTER,
                .help =
                    "Pages of ended outgoing migrations that RDMA has written straight into the "
                    "target's memory."},
    [READ_FAULTS] = {.name = "drover_postcopy_read_faults_total",
                     .type = METRIC_COUNTER,
                     .help = "Page faults in post-copy that an RDMA READ has answered."},
    [CAP] = {.name = "drover_bandwidth_cap_bytes_per_second",
             .type = METRIC_GAUGE,
             .help = "What all outgoing migrations share at the moment; 0 is no cap."},
    [SHARERS] = {.name = "drover_bandwidth_sharers",
                 .type = METRIC_GAUGE,
                 .help = "Outgoing migrations that run."},
    [GUESTS] = {.name = "drover_handler_guests",
                .type = METRIC_GAUGE,
                .help = "Guests on this node, incoming ones among them."},
    [WRITES] = {.name = "drover_handler_write_queue_length",
                .type = METRIC_GAUGE,
                .help = "Writes to the controller's API that wait."},
    [SHAPING_WAIT] = {.name = "drover_migration_shaping_wait_seconds_total",
                      .type = METRIC_COUNTER,
                      .help = "Time for which workers of ended outgoing migrations waited for "
                              "bandwidth, all workers together."},
    [NETWORK_BYTES] = {.name = "drover_network_bytes_total",
                       .type = METRIC_COUNTER,
                       .help = "Bytes of an interface that a network uses; under a macvlan or VLAN "
                               "those of the interface that it stands on.",
                       .labels = {"network", "interface", "direction"}},
    [NETWORK_DROPPED] = {.name = "drover_network_packets_dropped_total",
                         .type = METRIC_COUNTER,
                         .help = "Packets that this interface has dropped.",
                         .labels = {"network", "interface", "direction"}},
    [NETWORK_UP] = NETWORK_GAUGE("drover_network_up", "1: the interface is up and has a carrier."),
    [NETWORK_MTU] = NETWORK_GAUGE("drover_network_mtu_bytes", "The interface's MTU."),
    [NETWORK_SPEED] =
        NETWORK_GAUGE("drover_network_speed_bytes_per_second",
                      "What the hardware below it says of its speed; absent where none does."),
    [NETWORK_LIMIT] =
        NETWORK_GAUGE("drover_network_limit_bytes_per_second",
                      "The kernel's limit for what leaves the interface; absent without one."),
    [NETWORK_LIMIT_DROPPED] = {.name = "drover_network_limit_dropped_total",
                               .type = METRIC_COUNTER,
                               .help = "Packets that this limit has dropped.",
                               .labels = {"network", "interface"}},
    [NETWORK_LIMIT_OVER] = {.name = "drover_network_limit_overlimits_total",
                            .type = METRIC_COUNTER,
                            .help = "How often this limit has held a packet back.",
                            .labels = {"network", "interface"}},
    [NETWORK_READY] = {.name = "drover_migration_network_ready",
                       .type = METRIC_GAUGE,
                       .help = "1: migrations may use the network; with the reason that the Node's "
                               "condition MigrationNetworkReady has.",
                       .labels = {"network", "reason"}},
    [NETWORK_RDMA] = {.name = "drover_migration_rdma_ready",
                      .type = METRIC_GAUGE,
                      .help =
                          "1: migrations may use RDMA; with the reason that the Node's condition "
                          "MigrationRDMAReady has.",
                      .labels = {"network", "device", "reason"}},
    [NETWORK_INTERFACES] = {.name = "kubernetes_nmstate_network_interfaces",
                            .type = METRIC_GAUGE,
                            .help = "Interfaces of this node, by type.",
                            .labels = {"type", "node"}},
    [VMI_HYPERVISOR] = {.name = "drover_vmi_hypervisor",
                        .type = METRIC_GAUGE,
                        .help = "1: the VM's guest is on this node, made with this hypervisor.",
                        .labels = {"node", "namespace", "name", "hypervisor"}},
    [VMI_CPU] = VMI(COUNTER, "cpu_usage_seconds_total",
                    "CPU time of the guest's process, its vCPUs and what serves them."),
    [VMI_RESIDENT] =
        VMI(GAUGE, "memory_resident_bytes", "Resident set size of the guest's process."),
    [VMI_DOMAIN_MEMORY] = VMI(GAUGE, "memory_domain_bytes", "Memory that the guest was given."),
    [VMI_AVAILABLE] = VMI(GAUGE, "memory_available_bytes",
                          "Memory that the guest's system sees; absent where it does not say."),
    [VMI_UNUSED] =
        VMI(GAUGE, "memory_unused_bytes", "Of it, what its system uses for nothing; likewise."),
    [VMI_USABLE] =
        VMI(GAUGE, "memory_usable_bytes", "Of it, what could be had without swapping; likewise."),
    [VMI_BALLOON] =
        VMI(GAUGE, "memory_actual_balloon_bytes", "What the balloon leaves to the guest."),
    [VMI_DIRTY_RATE] = VMI(GAUGE, "dirty_rate_bytes_per_second",
                           "At which the guest writes its memory; absent where nobody measured."),
    [VMI_NET_RX] = VMI(COUNTER, "network_receive_bytes_total", "Received by its interfaces."),
    [VMI_NET_TX] = VMI(COUNTER, "network_transmit_bytes_total", "Sent by its interfaces."),
    [VMI_NET_RX_DROPS] = VMI(COUNTER, "network_receive_packets_dropped_total",
                             "Packets to it that were dropped at its interfaces."),
    [VMI_NET_TX_DROPS] = VMI(COUNTER, "network_transmit_packets_dropped_total",
                             "Packets from it that were dropped at its interfaces."),
    [VMI_READ_BYTES] =
        VMI(COUNTER, "storage_read_traffic_bytes_total", "Read from its disks, all together."),
    [VMI_WRITE_BYTES] =
        VMI(COUNTER, "storage_write_traffic_bytes_total", "Written to its disks, all together."),
    [VMI_READS] = VMI(COUNTER, "storage_iops_read_total", "Reads of its disks, all together."),
    [VMI_WRITES] = VMI(COUNTER, "storage_iops_write_total", "Writes to its disks, all together."),
};

/* One that has ended and is shown for a while. */
struct recent {
    char ns[64], vm[256];
    struct mig_stats st;
    int64_t end_us; /* wall clock */
};

struct node_metrics {
    struct metrics *m;
    struct recent recent[HANDLER_RECENT_MIGRATIONS]; /* a ring */
    size_t next;
};

static void put_vm(struct metrics *m, const char *ns, const char *vm, const struct mig_stats *st,
                   int64_t end_us, int64_t now_us);
static void downtime(struct metrics *m, const char *phase, uint64_t us);

struct node_metrics *
node_metrics_new(void)
{
    struct node_metrics *n = xcalloc(1, sizeof *n);

    n->m = metrics_new(defs, ARRAY_LEN(defs));
    return n;
}

void
node_metrics_free(struct node_metrics *n)
{
    if (!n)
        return;
    metrics_free(n->m);
    free(n);
}

void
node_metrics_docs(struct sb *out)
{
    metrics_docs(defs, ARRAY_LEN(defs), out);
}

void
node_metrics_source_ended(struct node_metrics *n, const char *ns, const char *vm,
                          enum mig_outcome outcome, enum mig_cause cause,
                          const struct mig_stats *st, int64_t now_us)
{
    static const char *const outcomes[] = {
        [MIG_MOVED] = "moved", [MIG_FAILED] = "failed", [MIG_UNKNOWN] = "unknown"};
    const char *why = outcome == MIG_MOVED ? "" : stats_tree_cause(cause);
    struct recent *r = &n->recent[n->next++ % HANDLER_RECENT_MIGRATIONS];
    struct metrics *m = n->m;

    *r = (struct recent){.st = *st, .end_us = now_us};
    snprintf(r->ns, sizeof r->ns, "%s", ns);
    snprintf(r->vm, sizeof r->vm, "%s", vm);
    metrics_add(m, ENDED, (const char *[]){outcomes[outcome], why}, 1);
    metrics_add(m, SENT, NULL, (double)st->sent_bytes);
    metrics_add(m, CPU, (const char *[]){"source"}, (double)st->cpu_us / 1e6);
    metrics_add(m, THROTTLED, NULL, (double)st->throttle_us / 1e6);
    metrics_add(m, WRITE_FAULT_SECONDS, NULL, (double)st->write_fault_us / 1e6);
    metrics_add(m, RECONNECTS, NULL, (double)st->reconnects);
    if (st->transport != MIG_TRANSPORT_AUTO) /* else it never had a connection */
        metrics_add(m, TRANSPORTS, (const char *[]){mig_transport_name(st->transport)}, 1);
    metrics_add(m, PLACED, NULL, (double)st->placed_pages);
    metrics_add(m, SHAPING_WAIT, NULL, (double)st->shaping_wait_us / 1e6);
    for (int e = MIG_ENC_RAW; e < MIG_ENC_COUNT; e++) {
        const char *labels[] = {stats_tree_encoding((enum mig_encoding)e)};

        metrics_add(m, PAGES, labels, (double)st->enc_pages[e]);
        metrics_add(m, ENC_BYTES, labels, (double)st->enc_bytes[e]);
    }
    downtime(m, "total", st->downtime_us);
    downtime(m, "stop", st->downtime.stop_us);
    downtime(m, "scan", st->downtime.scan_us);
    downtime(m, "pages", st->downtime.pages_us);
    downtime(m, "state", st->downtime.state_us);
    downtime(m, "commit", st->downtime.commit_us);
}

void
node_metrics_target_ended(struct node_metrics *n, const struct mig_stats *st)
{
    struct metrics *m = n->m;

    metrics_add(m, RECEIVED, NULL, (double)st->sent_bytes);
    metrics_add(m, CPU, (const char *[]){"target"}, (double)st->cpu_us / 1e6);
    metrics_add(m, READ_FAULTS, NULL, (double)st->read_faults);
    downtime(m, "load", st->downtime.load_us);
    downtime(m, "target_commit", st->downtime.commit_us);
    downtime(m, "resume", st->downtime.resume_us);
    for (unsigned i = 0; i < MIG_FAULT_BUCKETS; i++)
        if (st->fault_us[i])
            metrics_observe_n(m, FAULT_SECONDS, NULL, (double)(UINT64_C(1) << i) / 1e6,
                              st->fault_us[i]);
}

static void
downtime(struct metrics *m, const char *phase, uint64_t us)
{
    if (us) /* 0: not measured here */
        metrics_observe(m, DOWNTIME, (const char *[]){phase}, (double)us / 1e6);
}

void
node_metrics_text(struct handler *h, struct sb *out)
{
    struct node_metrics *n = h->metrics;
    int64_t now_us = loop_wall_us(h->l);
    size_t guests = 0, it = 0;
    void *value;

    for (size_t f = 0; f <= LAST_OF_VM; f++)
        metrics_clear(n->m, f);
    for (size_t i = 0; i < HANDLER_RECENT_MIGRATIONS; i++) { /* oldest first: a newer one wins */
        const struct recent *r = &n->recent[(n->next + i) % HANDLER_RECENT_MIGRATIONS];

        if (r->end_us && now_us - r->end_us < HANDLER_RECENT_US)
            put_vm(n->m, r->ns, r->vm, &r->st, r->end_us, now_us);
    }
    while (strmap_next(h->vms, &it, NULL, &value)) {
        struct vm_entry *e = value;
        struct mig_stats st;

        guests += e->guest != NULL;
        if (e->vmi && source_stats(e, &st))
            put_vm(n->m, object_namespace(e->vmi), object_name(e->vmi), &st, 0, now_us);
    }
    metrics_set(n->m, GUESTS, NULL, (double)guests);
    metrics_set(n->m, CAP, NULL, (double)share_cap(h->share));
    metrics_set(n->m, SHARERS, NULL, (double)share_members(h->share));
    metrics_set(n->m, WRITES, NULL, (double)writer_queued(h->writer));
    node_metrics_networks(h, n->m);
    node_metrics_vmis(h, n->m);
    metrics_text(n->m, out);
}

static void
put_vm(struct metrics *m, const char *ns, const char *vm, const struct mig_stats *st,
       int64_t end_us, int64_t now_us)
{
    const char *of_vm[] = {ns, vm};
    uint64_t end_mono = st->finished_us ? st->finished_us : clock_mono_us();
    double last = (double)(end_us ? end_us : now_us) / 1e6;

    metrics_set(m, DATA_TOTAL, of_vm, (double)st->total_bytes);
    metrics_set(m, DATA_PROCESSED, of_vm, (double)st->sent_bytes);
    metrics_set(m, DATA_REMAINING, of_vm, (double)st->remaining_bytes);
    metrics_set(m, DIRTY_RATE, of_vm, (double)st->dirty_bytes_per_s);
    metrics_set(m, DIRTY_RATE_412, of_vm, (double)st->dirty_bytes_per_s);
    metrics_set(m, TRANSFER_RATE, of_vm, (double)st->transfer_bytes_per_s);
    if (st->started_us)
        metrics_set(m, START_TIME, of_vm, last - (double)(end_mono - st->started_us) / 1e6);
    if (end_us)
        metrics_set(m, END_TIME, of_vm, last);
    metrics_set(m, VM_ROUND, of_vm, st->round);
    metrics_set(m, VM_LIMIT, of_vm, (double)st->limit_bytes_per_s);
    metrics_set(m, VM_THROTTLE, of_vm, st->throttle_percent);
    metrics_set(m, VM_MISSING, of_vm, (double)st->missing_bytes);
    metrics_set(m, VM_PLACED, of_vm, (double)st->placed_pages);
    metrics_set(m, VM_REGISTERED, of_vm, (double)st->registered_bytes);
    metrics_set(m, VM_PREDICTED, (const char *[]){ns, vm, "50"},
                (double)st->predicted_downtime_us / 1e6);
    metrics_set(m, VM_PREDICTED, (const char *[]){ns, vm, "90"},
                (double)st->predicted_downtime_p90_us / 1e6);
    for (int e = MIG_ENC_RAW; e < MIG_ENC_COUNT; e++) {
        const char *labels[] = {ns, vm, stats_tree_encoding((enum mig_encoding)e)};

        if (!st->enc_pages[e])
            continue;
        metrics_set(m, VM_ENC_PAGES, labels, (double)st->enc_pages[e]);
        metrics_set(m, VM_ENC_BYTES, labels, (double)st->enc_bytes[e]);
    }
}
