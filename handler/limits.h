/* Limits and periods of the handler, in one place. */
#ifndef HANDLER_LIMITS_H
#define HANDLER_LIMITS_H

#define HANDLER_MAX_VMS               4096
#define HANDLER_MAX_JOURNAL_BYTES     (64u << 10)
#define HANDLER_MAX_WATCH_BYTES       (64u << 20) /* one list answer */
#define HANDLER_WRITE_QUEUE           16384       /* REST writes that wait */
#define HANDLER_WORKERS               8           /* threads for blocking jobs */
#define HANDLER_RETRY_US              500000u     /* after a failed write or list */
#define HANDLER_RESOLVE_US            1000000u    /* between two questions to a target in doubt */
#define HANDLER_PROGRESS_US           400000u     /* between two progress annotations */
#define HANDLER_MAX_DECISIONS         200         /* of one migration: the newest */
#define HANDLER_RECENT_MIGRATIONS     64          /* that have ended and are still in the metrics */
#define HANDLER_RECENT_US             ((int64_t)300 * 1000000) /* for so long */
#define HANDLER_STOP_GRACE_US         2000000u   /* for writes in flight when the daemon ends */
#define HANDLER_LABELS_US             180000000u /* between two looks at the host for its labels */
#define HANDLER_MAX_NET_JOURNAL_BYTES (8u << 20)
#define HANDLER_RDMA_LOOK_US          30000000u /* between two looks for an RDMA device */
#define HANDLER_RDMA_ASK_US           15000000u /* for one look */
#define HANDLER_MIN_RDMA_WINDOW       (1u << 20)
#define HANDLER_MAX_POLICIES          1024       /* network policies of a node */
#define HANDLER_MAX_PEERS             256        /* neighbours on the migration network */
#define HANDLER_PEER_FORGET_US        120000000u /* a neighbour that fails for so long is forgotten */
#define HANDLER_PEER_ASK_US           2000000u   /* between two questions to those that fail */
#define HANDLER_NET_REPAIR_US         1000000u /* from a change by others to its repair, at first */
#define HANDLER_NET_RETRY_MAX_US      60000000u /* and at last: repairs and retries back off */
#define HANDLER_NET_HOLD_US           250000u /* between two looks at whether migrations still run */
#define HANDLER_NET_OBSERVE_US        60000000u /* between two reports of what is, without a change */
#define HANDLER_STATS_US              5000000u /* between two looks at the guests' figures */
#define HANDLER_START_AGAIN_US        1000000u /* after a refused start; doubles up to */
#define HANDLER_START_AGAIN_MAX_US    60000000u
#define HANDLER_STOP_AGAIN_US         10000000u /* between two requests to power off */
#define HANDLER_MAX_GRACE_S           (7 * 86400)
#define HANDLER_LIBVIRT_FIRST_US      2000000u /* of a handler's life, for libvirt to answer */
#define HANDLER_MAX_GUEST_BYTES       (1ull << 46)
#define HANDLER_MAX_DISK_BYTES        (1ull << 50)
#define HANDLER_MAX_SEED_BYTES        (1u << 20) /* cloud-init data of one volume */
#define HANDLER_QEMU_IMG_US           30000000u  /* one call of qemu-img */

/* libvirt */
#define LIBVIRT_KEEPALIVE_S     2 /* of silence before libvirtd is asked whether it is there, */
#define LIBVIRT_KEEPALIVE_COUNT 3 /* and this often, before it is not: 8 s, within HV_CALL_US */
#define LIBVIRT_RETRY_MIN_US    200000u /* between two tries to connect, at first */
#define LIBVIRT_RETRY_MAX_US    5000000u
#define LIBVIRT_CAPS_WAIT_US    2000000u   /* the labels wait for a first connection */
#define LIBVIRT_FIND_WAIT_US    3000000u   /* the handler's start does: then guests are unknown */
#define LIBVIRT_STOP_US         2000000u   /* for a try that hangs, when the handler ends */
#define HANDLER_DOMAIN_START_US 60000000u  /* what starting a domain takes at most */
#define LIBVIRT_MAX_XML_BYTES   (4u << 20) /* of one domain */

/* consoles */
#define CONSOLE_BUFFER_BYTES (16u << 10) /* each way */
#define CONSOLE_CONNECT_MS   10000u      /* for each step of connecting to the controller */
#define CONSOLE_BUSY_TRIES   20          /* to open one that was in use a moment ago */
#define CONSOLE_BUSY_US      50000u      /* between two of them */

/* migrations that libvirt runs (libvirt_source.c, libvirt_target.c) */
#define LV_MIGRATE_DIR      "/run/drover/migrate" /* its sockets, the same path on every host */
#define LV_GATE_CONNECTIONS 4                     /* of libvirt's, at once */
#define LV_GATE_WRITE_US    5000000u              /* for one message to be taken */
#define LV_GATE_READ_US     2000000u              /* for libvirt to read Finish's answer */
#define LV_RPC_MAX          (33u << 20) /* one message of libvirt's; its own limit is 32 MiB */
#define LV_RPC_ANSWER_US    40000000u   /* the other libvirtd answers a call within this */
#define LV_WATCH_US         400000u     /* between two looks at the job */
#define LV_CHECK_US         20000000u   /* the target says READY or why not */
#define LV_PREPARED_US      5000000u    /* the target records PREPARED */
#define LV_RUNNING_US       15000000u   /* the target runs what was committed */
#define LV_ANSWER_US        15000000u   /* the target answers a question */
#define LV_ABORT_US         10000000u   /* a job that was told to end does; then it is cut */
#define LV_REASON_US        300000u     /* for the target's words, when a stream broke */
#define LV_CONFIRM_US       60000000u   /* libvirt ends the source's QEMU */
#define LV_GOODBYE_US       10000000u   /* the source has heard that all is there, and closes */
#define LV_RESTORE_US       10000000u   /* the guest runs again after a failure */
#define LV_LOOK_US          2000000u    /* for a connection, when the truth is asked for */
#define LV_LOOK_AGAIN_US    100000u
#define LV_CLEAN_US         15000000u /* nothing is left at the target after one */
#define LV_REDIAL_US        1000000u  /* between two tries to go on with a post-copy */
#define LV_IDLE_US          30000000u /* the source begins */
#define LV_TARGET_QUEUE     8         /* messages that wait */
#define LV_TARGET_LOOK_US   200000u
#define LV_TARGET_SOON_US   15000u

/* network checkups */
#define CHECKUP_PENDING       8                  /* connections that have not said who they are */
#define CHECKUP_HELLO_US      2000000u           /* within which they must */
#define CHECKUP_IDLE_US       UINT64_C(30000000) /* a source that says nothing for so long is gone */
#define CHECKUP_IO_US         5000000u           /* one answer, one connection */
#define CHECKUP_STREAM_BYTES  (128u << 10)       /* one send or receive of a stream */
#define CHECKUP_PROBES_A_TURN 64       /* that are answered before others are looked after */
#define CHECKUP_PERIOD_US     1000u    /* from one round trip's start to the next one's */
#define CHECKUP_WARM_UP       50       /* round trips before those that count */
#define CHECKUP_SLOW_START_US 1000000u /* of the streams, before what counts */
#define CHECKUP_BANDWIDTH_US  3000000u /* that counts */
#define CHECKUP_PROBE_TRIES   3        /* of one size, before it counts as dropped */
#define CHECKUP_PROBE_US      150000u  /* for an answer, and some round trips besides */
#define CHECKUP_GRACE_US      5000000u /* after its timeout the target ends what the source did not */
#define CHECKUP_LOOK_US       1000000u /* between two looks at timeouts */

#endif
