/* The daemon's own structures, shared by handler/{daemon,node,vm,vm_source,vm_target}.c and by no
 * one else. Everything here belongs to the loop's thread unless it says otherwise. */
#ifndef HANDLER_HANDLER_H
#define HANDLER_HANDLER_H

#include <stdbool.h>

#include "api/object.h"
#include "api/selector.h"
#include "base/loop.h"
#include "base/strmap.h"
#include "handler/checkup.h"
#include "handler/hv_native.h"
#include "handler/informer.h"
#include "handler/journal.h"
#include "handler/metrics_http.h"
#include "handler/mover.h"
#include "handler/net.h"
#include "handler/node_labels.h"
#include "handler/node_metrics.h"
#include "handler/node_rdma.h"
#include "handler/tls_dir.h"
#include "handler/work.h"
#include "handler/writer.h"
#include "migrate/engine.h"
#include "migrate/share.h"

/* For VMs that do not say: AUTO is libvirt where it answers, else native. */
enum handler_hypervisor { HANDLER_HV_AUTO, HANDLER_HV_NATIVE, HANDLER_HV_LIBVIRT };

struct handler_config {
    const char *node_name, *controller, *state_dir, *address; /* address: management IP */
    const char *guest_program;                                /* NULL: beside this program */
    const char *tls_dir;                                      /* NULL: none */
    enum handler_hypervisor hypervisor;
    const char *vm_bridge; /* for pod networks with binding bridge; NULL: there is none */
    const char *images;    /* of containerDisks and kernels; NULL: STATE/images */
    bool plaintext;        /* migrations are not encrypted, by an explicit word */
    struct kv_list labels;
    struct labeller_files label_files; /* what libvirt said of this host, instead of asking it */
    const char *libvirt_uri;           /* NULL: there is none */
    int64_t capacity_cpu_milli, capacity_memory_bytes, capacity_pods;
    uint64_t heartbeat_us;
    const char *metrics_listen;     /* ADDRESS:PORT, or NULL */
    unsigned channels;              /* of a migration; 0 = automatic */
    uint64_t bandwidth_bytes_per_s; /* of all outgoing migrations together; 0 = none */
    uint64_t link_bytes_per_s;      /* of the migration network's link; 0 = none */
    bool link_auto;                 /* it is what the link says of itself */
    bool no_rdma;
    uint64_t rdma_window_bytes; /* of guest memory that a migration registers at once */
    uint64_t probe_timeout_us;  /* the controller must answer after a change of the network */
};

struct handler {
    struct handler_config cfg;
    struct loop *l;
    struct work *work;
    struct writer *writer;
    struct informer *vmis, *vmims, *hcos, *kubevirts, *nads, *pvcs, *pvs;
    struct informer *node, *enactments;       /* this node's own */
    struct strmap *vms;                       /* uid -> struct vm_entry */
    struct hv_driver *drivers[HV_KIND_COUNT]; /* NULL: that hypervisor is not served here */
    const struct mover *movers[HV_KIND_COUNT];
    bool found[HV_KIND_COUNT], finding[HV_KIND_COUNT]; /* what it has of ours is known; is asked */
    struct vm_sample *sample;                          /* vm_stats.c: under way */
    struct loop_timer *stats_timer;
    bool libvirt_seen; /* it has answered in this life */
    uint64_t started_us;
    char cluster[JOURNAL_UID_SIZE]; /* "" until known */
    struct mignet net;              /* as net_agent says */
    struct net_agent *net_agent;
    struct work *net_work; /* its own threads: what blocks guests' jobs must not keep it waiting */
    struct tree *network_state; /* of the NodeNetworkState, as last written */
    bool network_state_due;     /* the object of it is to be made once the Node is known */
    struct tls_dir *tls;        /* this node's certificates */
    struct checkup *checkup;    /* network checkups (handler/checkup.h) */
    struct node_metrics *metrics;
    struct metrics_http *metrics_http; /* NULL: not asked for */
    struct share *share;               /* what outgoing migrations draw from */
    struct node_labels *labels;        /* what the host can do, as labels */
    struct node_rdma *rdma;            /* which RDMA device serves the migration network */
    struct loop_timer *heartbeat;
    bool node_written;          /* the Node object exists and has our labels and capacity */
    bool node_busy, node_again; /* a write of it is on its way; one more shall follow */
    struct tree *node_status;   /* as last written */
    struct loop_timer *retry;
    bool stopping;
    struct loop_timer *stop_deadline;
    unsigned stop_turns;
};

/* --- daemon.c --- */
int handler_run(const struct handler_config *cfg, struct err *err);
/* Calls vm_reconcile for all VMs after HANDLER_RETRY_US. */
void handler_retry_later(struct handler *h);
/* A hypervisor came or went (vm_adopt.c). */
void handler_hypervisor_changed(struct handler *h, enum hv_kind kind, bool up);

/* --- node.c: the Node object and its heartbeat --- */
void node_start(struct handler *h);
void node_stop(struct handler *h);
void node_network_changed(struct handler *h);    /* h->net has */
void node_hypervisor_changed(struct handler *h); /* labels of it are written anew */
void node_cluster_changed(struct handler *h);    /* HyperConverged was read, or changed */

/* The cluster's HyperConverged: the one of the well-known name, else the first by name; NULL when
 * there is none. Borrowed until the next turn of the loop. */
const struct tree *node_hco(struct handler *h);

/* --- node_network.c: between the objects and the network agent --- */
int node_network_start(struct handler *h, struct err *err);
void node_network_stop(struct handler *h); /* ends the agent and its threads */
/* Something that the migration network is made of changed: HyperConverged, a NAD, this Node. */
void node_network_objects(struct handler *h);
void node_network_enactments(struct handler *h);
/* What ANN_MIGRATION_LINK says now; NULL: nothing. The caller's. */
struct tree *node_network_link(struct handler *h);

/* What a migration of this configuration is encrypted with: *ret is the caller's reference, or NULL
 * where plaintext was chosen. -errno: it was not, and there is nothing to encrypt with (rule: never
 * in the clear by accident). */
int node_tls(struct handler *h, const struct migration_configuration *mc, struct tls_ctx **ret,
             struct err *err);

/* --- vm_network.c: what migrations do with the migration network --- */
/* How many migrations have, or had and try to have again, connections over the migration network.
 * *ret_cut_off: there are some, and none of them has a connection now, so that waiting for them is
 * of no use: they go on where the network is next. */
unsigned migrations_over_network(struct handler *h, bool *ret_cut_off);
/* Where an end of a migration is bound. -ENETDOWN while there is no such place; never a dedicated
 * network without its interface. */
struct vm_place {
    char ip[INET6_ADDRSTRLEN], device[16]; /* device "": any (no dedicated network) */
    bool trusted;                          /* RDMA may be used there */
};
int vm_place_now(const struct handler *h, struct vm_place *ret, struct err *err);
bool vm_place_equal(const struct vm_place *a, const struct vm_place *b);
/* "10.200.5.1 on migration0, trusted", "198.18.0.11 on the management network". */
const char *vm_place_text(const struct vm_place *p, char *buf, size_t size);
/* How post-copy's urgent channel is marked. */
void vm_urgent_mark(const struct handler *h, uint32_t *ret_priority, uint8_t *ret_dscp);

/* --- vm.c --- */
enum src_phase { SRC_NONE, SRC_CLAIMED, SRC_RUNNING, SRC_RESOLVING, SRC_DONE };
enum dst_phase { DST_NONE, DST_MAKING, DST_LISTENING, DST_DONE };

struct source_run; /* vm_source.c */
struct target_run; /* vm_target.c */
struct vm_trace;   /* vm_trace.c */

struct vm_entry {
    struct handler *h;
    char uid[JOURNAL_UID_SIZE];
    struct tree *vmi; /* newest known object; NULL: not known to exist */
    bool has_journal;
    struct journal j; /* as on disk */
    struct hv_guest *guest;
    bool busy;    /* a job runs on a worker; nothing else may touch guest or journal */
    bool writing; /* a write of the VMI is on its way */
    bool reconciling;
    bool foreign_said;         /* the log has it already */
    struct hv_refusal refused; /* why the guest was not made; reason "": it was not refused */
    bool refused_final;        /* of no use to try again: Failed */
    bool refused_again;        /* something changed while it was tried: at once, then */
    unsigned refused_times;
    struct loop_timer *refused_timer; /* tried again then, or when something changes */
    struct loop_timer *stop_timer;    /* asked to power off: looked at again then */
    bool stop_refused;                /* it cannot be asked */
    bool resumed;                     /* as the pause request "false" wants, but that is not said */
    unsigned resets;
    bool sampling, has_stats; /* vm_stats.c: being taken (guest and entry stay meanwhile); known */
    struct hv_stats stats;

    /* source of a migration */
    char src_uid[JOURNAL_UID_SIZE]; /* which one the following is about */
    enum src_phase src_phase;
    struct source_run *src;
    enum mig_outcome src_outcome; /* when SRC_DONE */
    char src_reason[512];
    struct mig_stats src_stats;
    enum mig_cause src_cause;
    enum mig_mode src_mode;     /* as it runs now */
    int64_t src_own_limit;      /* of the policy, in bytes a second; 0 = none */
    int64_t src_override;       /* of a user, in place of it; -1 = none */
    struct tree *src_decisions; /* the decision log; NULL: nothing yet */
    bool src_abort_seen, src_abort_ok, src_result_sent;
    int64_t src_end_us;
    struct loop_timer *src_timer;

    /* target of a migration */
    char dst_uid[JOURNAL_UID_SIZE];
    enum dst_phase dst_phase;
    struct target_run *dst;
    char dst_address[MIG_ADDR_SIZE];
    char dst_reason[512];       /* why this side could not do it, "" else */
    bool dst_runs;              /* post-copy: the guest runs, and its memory still arrives */
    char dst_damage[512];       /* ranges that were lost with their source, "" else */
    struct mig_stats dst_stats; /* of the run that made it run here; zeros after a restart */
    bool dst_result_sent;
    unsigned dst_result_tries;

    char verify_seen[256];   /* the last verify-request that was answered */
    char trace_seen[256];    /* the last trace-request that was taken up */
    char reset_seen[64];     /* the last reset-request that was taken up */
    char console_seen[64];   /* the last console-request that was taken up */
    struct console *console; /* the session that runs, or NULL */
    struct vm_trace *trace;  /* the recording that runs (the entry is busy with it), or NULL */
    struct arena *arena;     /* of the reconcile that runs */
};

/* Brings what is here in line with the newest object: starts at most one step; called again after each. */
void vm_reconcile(struct vm_entry *e);
struct vm_entry *vm_entry_new(struct handler *h, const char *uid);
void vm_object_changed(struct handler *h, const struct tree *obj, bool gone);
void vm_list_synced(struct handler *h);
void vm_free_all(struct handler *h);
bool vm_sessions_end(struct handler *h); /* asks all to end; true when none is left */

/* Helpers for the two session files. */
/* Runs fn on a worker with the entry busy, then done on the loop, then reconciles. */
struct vm_job {
    struct vm_entry *e;
    void (*fn)(struct vm_job *job);
    void (*done)(struct vm_job *job); /* may be NULL */
    int rc;
    struct err err;
    struct hv_guest *guest; /* out: a guest that was made; in: the one to act on */
    struct hv_driver *driver;
    struct hv_want want; /* of the guest to be made; its objects are the job's */
    struct hv_refusal why;
    struct native_verify verify;
    struct native_status status;
    struct journal j;
    bool write_journal, remove_journal;
    bool refused, keep_paused;
    char text[256];
    int fd; /* a console's */
};
struct vm_job *vm_job_new(struct vm_entry *e);
void vm_job_start(struct vm_job *job); /* sets busy; frees the job after done */
/* The entry takes the guest (given) and watches it. */
void vm_set_guest(struct vm_entry *e, struct hv_guest *g);
void vm_drop_guest(struct vm_entry *e); /* lets go of the handle only */
void vm_journal_init(const struct vm_entry *e, const struct vmi *v, struct journal *j,
                     enum journal_state state, enum hv_kind kind);
/* A step of reconcile: makes the guest that v describes. True (a job was started, or an error is
 * kept in start_error). */
bool vm_start_guest(struct vm_entry *e, const struct vmi *v);
/* On a worker: job->guest from job->want. A leftover of an earlier handler is taken when `adopt` says so
 * and it is a guest that runs, else removed. */
void vm_job_make(struct vm_job *job, bool adopt);
/* How the guest here is migrated, or was when it is gone; NULL: its hypervisor is not served here. */
const struct mover *vm_mover(const struct vm_entry *e);
bool vm_verify_if_asked(struct vm_entry *e, const struct vmi *v);
/* Writes r as JSON into an annotation of the VMI. When the write is lost, what was asked is taken up
 * again. */
void vm_answer(struct vm_entry *e, const char *key, const struct tree *r);
/* vm_reset.c: the reset button. */
bool vm_reset_if_asked(struct vm_entry *e, const struct vmi *v);
/* vm_console.c: serial consoles. end: it ends soon. */
bool vm_console_if_asked(struct vm_entry *e, const struct vmi *v);
void vm_console_end(struct vm_entry *e);
/* vm_trace.c: recordings of dirty pages. */
bool vm_trace_if_asked(struct vm_entry *e, const struct vmi *v);
void
vm_trace_interrupt(struct vm_entry *e); /* it ends soon, with what it has; nothing runs: fine */
/* Ends the guest for certain, removes its directory and, when remove_journal, the journal. */
void vm_end_guest(struct vm_entry *e, bool remove_journal);
/* A changed copy of e->vmi to be written to /status, conditional on the version that was copied from.
 * Takes changed. Does nothing when it is equal. Returns true when a write was started. */
bool vm_write_status(struct vm_entry *e, struct tree *changed);
uint64_t vm_annotation_number(const struct tree *vmi, const char *key);
int64_t vm_now(const struct vm_entry *e); /* wall clock */
/* Whether the newest object's condition of that type has that status. */
bool vm_condition_is(const struct vm_entry *e, const char *type, const char *status);

/* Sets (NULL: removes) an annotation of the VMI. False: another write is on its way, ask again. */
bool vm_annotate(struct vm_entry *e, const char *key, const char *value);

/* --- vm_hypervisor.c --- */
/* What a guest that is started now is made with. -EAGAIN: not known yet; else why->reason says for the
 * condition why there is none, err in words. */
int vm_hypervisor(const struct vm_entry *e, enum hv_kind *ret, struct hv_refusal *why,
                  struct err *err);
/* Of the guest that runs, here or at the source. */
enum hv_kind vm_hypervisor_now(const struct vm_entry *e);
/* A user wants it paused: it stays so wherever it goes. */
bool vm_wants_pause(const struct vm_entry *e);
/* Fills job->driver and job->want from the newest objects (vm_want_done frees). False: some of them have
 * not been read yet. */
bool vm_job_want(struct vm_job *job, enum hv_kind kind, bool incoming);
void vm_want_done(struct hv_want *w);
/* Keeps why; tried again later (with backoff) or when vm_refused_again is called, unless that is of no
 * use. */
void vm_start_refused(struct vm_entry *e, enum hv_kind kind, const struct hv_refusal *why,
                      const struct err *err);
void vm_refused_forget(struct vm_entry *e);
void vm_refused_again(struct handler *h);

/* --- vm_adopt.c --- */
int vm_load_all(struct handler *h, struct err *err); /* journals and native guests, at start */
void vm_find(struct handler *h, enum hv_kind kind);  /* asks the driver, unless that is under way */
bool vm_not_found_yet(const struct vm_entry *e);

/* --- vm_stats.c --- */
void vm_stats_start(struct handler *h);
void vm_stats_stop(struct handler *h); /* no worker runs any more */

/* --- vm_life.c --- */
/* Pauses and resumes as asked, and what the guest's state says in conditions. True: a job was started. */
bool vm_life_reconcile(struct vm_entry *e, const struct vmi *v, struct tree *want);
/* The VMI is being deleted: true while its guest is given time to power off. */
bool vm_life_stopping(struct vm_entry *e, const struct vmi *v);

/* vm_source.c. reconcile_*: true when a step was started or must be waited for. */
bool source_reconcile(struct vm_entry *e, const struct vmi *v, struct tree *want);
void source_cancel(struct vm_entry *e);
void source_end(struct vm_entry *e); /* at exit: cancel */
/* The guest is gone from here, and a migration that an earlier life of this handler had begun may have
 * taken it: its target is asked before anything is said. */
bool source_may_have_left(const struct vm_entry *e, const struct vmi *v);
bool source_active(const struct vm_entry *e);
/* The figures of the migration that runs from here; false when none does. */
bool source_stats(const struct vm_entry *e, struct mig_stats *ret);
/* A migration object changed: the bandwidth that a user wants may have. */
void source_vmim_changed(struct handler *h, const struct tree *vmim);
/* vm_report.c: what users see of an outgoing migration. */
void report_progress(struct vm_entry *e, const char *uid, const struct mig_stats *st);
/* at_us: wall clock. */
void report_decision(struct vm_entry *e, int64_t at_us, const struct mig_decision *d);
/* The handler's own decisions. */
void report_note(struct vm_entry *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The log's first words: under which rules it runs; and its last ones. */
void report_start(struct vm_entry *e, const struct vmi *v, const struct mig_source_config *c);
void report_end(struct vm_entry *e, enum mig_outcome outcome, enum mig_cause cause,
                const struct mig_stats *st, const struct err *err);
/* The bandwidth that counts from now on. */
void report_bandwidth(struct vm_entry *e, int64_t bytes_per_s);
void report_forget(struct vm_entry *e); /* a new migration begins */
/* True while the details are on their way; then e->src_result_sent is set and e reconciled. */
bool report_result(struct vm_entry *e);

/* vm_target.c */
bool target_reconcile(struct vm_entry *e, const struct vmi *v, struct tree *want);
void target_end(struct vm_entry *e);
bool target_active(const struct vm_entry *e);
/* The figures of the migration that comes in; false when none does. */
bool target_stats(const struct vm_entry *e, struct mig_stats *ret);
void target_guest_result(struct vm_entry *e, const struct vmi *v);

/* Annotates the VMIM of uid (by the informer); false when it is not known (any more), then fn is not
 * called. merge_key as in writer_send. */
bool vmim_annotate(struct handler *h, const char *uid, const char *key, const struct tree *json,
                   const char *merge_key, writer_fn fn, void *ctx);

#endif
