/* Limits and periods of the handler, in one place. */
#ifndef HANDLER_LIMITS_H
#define HANDLER_LIMITS_H

#define HANDLER_MAX_VMS           4096
#define HANDLER_MAX_JOURNAL_BYTES (64u << 10)
#define HANDLER_MAX_WATCH_BYTES   (64u << 20) /* one list answer */
#define HANDLER_WRITE_QUEUE       16384       /* REST writes that wait */
#define HANDLER_WORKERS           8           /* threads for blocking jobs */
#define HANDLER_RETRY_US          500000u     /* after a failed write or list */
#define HANDLER_RESOLVE_US        1000000u    /* between two questions to a target in doubt */
#define HANDLER_PROGRESS_US       400000u     /* between two progress annotations */
#define HANDLER_MAX_DECISIONS     200         /* of one migration: the newest */
#define HANDLER_RECENT_MIGRATIONS 64          /* that have ended and are still in the metrics */
#define HANDLER_RECENT_US         ((int64_t)300 * 1000000) /* for so long */
#define HANDLER_STOP_GRACE_US     2000000u   /* for writes in flight when the daemon ends */
#define HANDLER_LABELS_US         180000000u /* between two looks at the host for its labels */
#define HANDLER_MAX_GUEST_BYTES   (1ull << 46)

#endif
