/* A guest on this host, whatever runs it: the port between handler/vm* (which guest may run, and
 * what the objects say) and the drivers: native (handler/native_*, a drover-guest process) and
 * libvirt (handler/libvirt_*, a QEMU domain). Names: hv as in `--hypervisor`.
 *
 * Calls with a struct err may block for a bounded time (HV_CALL_US where nothing else is said) and
 * may come from any thread, one at a time for one guest except where it says "any time"; all others
 * never block and belong to the loop's thread. A call that the hypervisor does not answer in time is
 * -ETIMEDOUT; one for which it is not there is -ENOTCONN: both say nothing about the guest. */
#ifndef HANDLER_HV_H
#define HANDLER_HV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/tree.h"
#include "base/err.h"
#include "base/loop.h"

#define HV_CALL_US     10000000u /* what a call takes at most */
#define HV_REASON_SIZE 64
#define HV_TEXT_SIZE   512

enum hv_kind { HV_NATIVE, HV_LIBVIRT, HV_KIND_COUNT };
const char *hv_kind_name(enum hv_kind k); /* "native" "libvirt": options, annotation, journal */
bool hv_kind_parse(const char *name, enum hv_kind *ret);

enum hv_state {
    HV_INCOMING, /* made for a migration that has not brought it yet */
    HV_PAUSED,
    HV_RUNNING,
    HV_ENDED,  /* it is gone, or shut off: exit says why */
    HV_UNKNOWN /* the hypervisor does not answer: as it was, until it does */
};

/* Why a paused guest is paused. */
enum hv_pause {
    HV_PAUSE_NONE,
    HV_PAUSE_USER,      /* somebody asked for it (also behind our back: virsh suspend) */
    HV_PAUSE_MIGRATION, /* a migration that runs, or went wrong in post-copy, holds it */
    HV_PAUSE_IO_ERROR,  /* a disk does not work: upstream's reason PausedIOError */
    HV_PAUSE_OTHER
};

enum hv_exit_kind {
    HV_EXIT_NONE,    /* it lives */
    HV_EXIT_QUIT,    /* in order: it powered itself off, or was asked to */
    HV_EXIT_FAILED,  /* it gave up, or was never started: text says why */
    HV_EXIT_CRASHED, /* it panicked, or its process was ended by a signal such as SIGSEGV */
    HV_EXIT_KILLED,  /* it left no word: SIGKILL, out of memory, virsh destroy, power */
    HV_EXIT_MIGRATED /* a migration took it to another host */
};

struct hv_exit {
    enum hv_exit_kind kind;
    char text[256]; /* one line for people */
};

/* What is known of it without asking: kept current by the driver's events. */
struct hv_now {
    enum hv_state state;
    enum hv_pause pause;
    bool agent_connected; /* the guest agent's channel is open at the guest's end */
    unsigned resets;      /* how often the guest rebooted, as far as this driver has seen */
};

/* Domain statistics for metrics and `describe`: cumulative since this process of the guest began; has_*
 * false: not known here. */
struct hv_stats {
    bool has_cpu, has_memory, has_block, has_net;
    uint64_t cpu_ns; /* all vCPUs */
    unsigned vcpus;
    uint64_t memory_bytes, memory_rss_bytes, balloon_bytes, dirty_bytes_per_s;
    /* What the guest says of its memory, by the balloon's driver; 0: it does not. */
    uint64_t available_bytes, unused_bytes, usable_bytes;
    uint64_t block_read_bytes, block_write_bytes, block_read_ops, block_write_ops;
    uint64_t net_rx_bytes, net_tx_bytes, net_rx_drops, net_tx_drops;
};

struct hv_guest;
struct mover; /* handler/mover.h */

struct hv_ops {
    enum hv_kind kind;
    const char *(*uid)(const struct hv_guest *g);  /* of the VMI; borrowed */
    const char *(*name)(const struct hv_guest *g); /* NS/NAME; borrowed */
    uint64_t (*memory_bytes)(const struct hv_guest *g);
    void (*now)(struct hv_guest *g, struct hv_now *ret); /* any thread */
    void (*exit_reason)(struct hv_guest *g, struct hv_exit *ret);
    /* fn on the loop's thread soon after anything that `now` says has changed, the end included; at
     * least once after each change, until unwatch. One watcher. What the caller itself did (pause,
     * resume, a migration's end) need not be told. */
    void (*watch)(struct hv_guest *g, struct loop *l, void (*fn)(void *ctx), void *ctx);
    void (*unwatch)(struct hv_guest *g);
    /* Blocking. pause and resume: nothing happens when it is so already. -ESRCH: it has ended. */
    int (*pause)(struct hv_guest *g, struct err *err);
    int (*resume)(struct hv_guest *g, struct err *err);
    /* Asks the guest's system to power off (agent, else ACPI button); returns at once: the end comes as
     * a change. Asking again is fine. -ENOTSUP: this guest cannot be asked. */
    int (*shut_down)(struct hv_guest *g, struct err *err);
    /* Presses reset: the same process, memory as after power on. NULL: not supported. */
    int (*reset)(struct hv_guest *g, struct err *err);
    /* Beside any other call but free. */
    int (*stats)(struct hv_guest *g, struct hv_stats *ret, struct err *err);
    /* Ends it for certain and removes what the driver keeps on this host for it (directory, domain
     * definition, overlays, sockets), but never a file of the user's. 0 also when it is gone already. */
    int (*remove)(struct hv_guest *g, struct err *err);
    void (*free)(struct hv_guest *g); /* lets go of our handles; the guest runs on */
    /* A descriptor connected to its serial console, the caller's; -EBUSY: somebody is connected;
     * -ENOTSUP: it has none. NULL: not supported. Any time. */
    int (*console)(struct hv_guest *g, int *ret_fd, struct err *err);
};

struct hv_guest { /* the head of the driver's own structure */
    const struct hv_ops *ops;
    const struct mover *mover; /* how it is migrated */
};

/* Whether there is one and it has not ended (UNKNOWN counts: nothing says that it has). Any thread. */
bool hv_lives(struct hv_guest *g);

/* What a guest is to be made of. Everything is borrowed for the call, which may take as long as starting
 * a guest takes (native: a second a GiB of fill; libvirt: HANDLER_DOMAIN_START_US). */
struct hv_want {
    const struct tree *vmi;  /* the VirtualMachineInstance */
    const struct tree *pvcs; /* list: those that its volumes name, and the PersistentVolumes that */
    const struct tree *pvs;  /* they are bound to */
    const struct tree *nads; /* list: those that its networks name */
    bool incoming;           /* for a migration: prepared, and nothing runs */
    bool paused; /* incoming: it is paused by a user, and stays so when it has arrived */
};

/* Why a guest was not made, for the VMI's condition Synchronized=False. */
struct hv_refusal {
    char reason[HV_REASON_SIZE]; /* CamelCase: UnsupportedField, VolumeNotFound, ... */
    char text[HV_TEXT_SIZE];     /* one line: field, value, what is allowed */
};

struct hv_driver;
struct hv_driver_ops {
    enum hv_kind kind;
    /* *ret is the caller's. -EEXIST: there is one of this uid already (find or open it). On any error
     * nothing stays behind; why->reason is set when the manifest or a volume is the cause, and
     * trying again is of no use until something changes. */
    int (*start)(struct hv_driver *d, const struct hv_want *w, struct hv_guest **ret,
                 struct hv_refusal *why, struct err *err);
    /* The guest of this uid, alive or ended. -ENOENT: none. */
    int (*open)(struct hv_driver *d, const char *uid, struct hv_guest **ret, struct err *err);
    /* All there are, alive and ended; array (free) and guests are the caller's. Only what this driver
     * made for drover; nobody else's domains. */
    int (*find)(struct hv_driver *d, struct hv_guest ***ret, size_t *ret_len, struct err *err);
    /* Whether guests can be started now; err says why not (-ENOTCONN). Never blocks; any thread. */
    int (*ready)(struct hv_driver *d, struct err *err);
    void (*free)(struct hv_driver *d);
};
struct hv_driver {
    const struct hv_driver_ops *ops;
};

#endif
