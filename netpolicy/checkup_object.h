/* A network checkup as an object: a ConfigMap with the label kiagnose/checkup-type, parameters and
 * results in its data under the documented keys (seeds O01-O04, A9; docs/checkup.md). Pure. Read
 * and written by the handlers that measure (handler/checkup.c), checked by the controller when it
 * is made, written and printed by `drover checkup`. */
#ifndef NETPOLICY_CHECKUP_OBJECT_H
#define NETPOLICY_CHECKUP_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "api/tree.h"
#include "base/err.h"

#define CHECKUP_TYPE_LATENCY "kubevirt-vm-latency" /* value of LABEL_CHECKUP */

#define CHECKUP_TIMEOUT           "spec.timeout"
#define CHECKUP_NETWORK_NAMESPACE "spec.param.networkAttachmentDefinitionNamespace"
#define CHECKUP_NETWORK_NAME      "spec.param.networkAttachmentDefinitionName"
#define CHECKUP_MAX_LATENCY       "spec.param.maxDesiredLatencyMilliseconds"
#define CHECKUP_SAMPLE            "spec.param.sampleDurationSeconds"
#define CHECKUP_SOURCE            "spec.param.sourceNode"
#define CHECKUP_TARGET            "spec.param.targetNode"
#define CHECKUP_STREAMS           "spec.param.bandwidthStreams" /* ours */

#define CHECKUP_STATUS         "status."
#define CHECKUP_SUCCEEDED      "status.succeeded" /* "true", "false"; absent: not over */
#define CHECKUP_FAILURE        "status.failureReason"
#define CHECKUP_STARTED        "status.startTimestamp"
#define CHECKUP_COMPLETED      "status.completionTimestamp"
#define CHECKUP_TARGET_ADDRESS "status.targetAddress" /* while it runs: where the target answers */
#define CHECKUP_TARGET_NONCE   "status.targetNonce"   /* likewise: what the source must show */
#define CHECKUP_RESULT         "status.result."

/* 128 bits as hexadecimal digits. */
#define CHECKUP_NONCE_LEN 32

struct checkup_params {
    char source[254], target[254];
    char network[256];       /* "NS/NAME"; "" = the one that migrations use */
    uint64_t max_latency_ns; /* 0 = none was named */
    uint64_t sample_us, timeout_us;
    unsigned streams; /* of the bandwidth's measurement; 0 = as many as a migration has */
};

/* What was measured; 0 = it was not. */
struct checkup_result {
    uint64_t min_ns, avg_ns, p99_ns, max_ns, samples; /* of the round trips */
    uint64_t measured_us;                             /* for so long */
    uint64_t bandwidth_bytes_per_s;
    unsigned streams;
    unsigned path_mtu_bytes;
    char network[256];       /* "NS/NAME" or "management" */
    char interface_name[16]; /* at the source; "" = any */
};

/* Whether it is a network checkup, and one that has its result. */
bool checkup_object_is(const struct tree *cm);
bool checkup_object_finished(const struct tree *cm);
/* One value of data; "" when absent. Borrowed. */
const char *checkup_object_get(const struct tree *cm, const char *key);

/* Reads the parameters, of either spelling (targetNode, target_node). -EINVAL: which key has which
 * value, and what is allowed. */
int checkup_object_params(const struct tree *cm, struct checkup_params *ret, struct err *err);
/* Whether it names its source or its target. */
bool checkup_object_names_node(const struct tree *cm);

/* What is wrong with the result, for failureReason: the latency above the maximum. "" = nothing. */
void checkup_object_judge(const struct checkup_params *p, const struct checkup_result *r, char *buf,
                          size_t size);
/* The data of a checkup that is over (a merge patch of data; what only served its course is taken
 * away). reason "" = it succeeded; r NULL = nothing was measured. The caller's. */
struct tree *checkup_object_outcome(const struct checkup_params *p, const struct checkup_result *r,
                                    const char *reason, int64_t start_us, int64_t end_us);
/* The reverse, of a finished one: what it measured. Unknown or damaged values are 0. */
void checkup_object_result(const struct tree *cm, struct checkup_result *ret);

/* What the newest checkup that succeeded says of the way from a node: the first estimate of a
 * migration's link. */
struct checkup_estimate {
    uint64_t bytes_per_s; /* 0 = there is none */
    int64_t at_us;        /* wall clock: when it ended */
    char name[512];       /* "NS/NAME" */
};
struct checkup_link {
    const char *source, *network; /* "NS/NAME" or "" = management */
    const char *interface_name;   /* NULL = whichever; "" = any */
};
/* Puts cm into *best when it is of this link, not older than CHECKUP_ESTIMATE_AGE_US and newer than
 * what is there. */
void checkup_object_estimate(const struct tree *cm, const struct checkup_link *link, int64_t now_us,
                             struct checkup_estimate *best);

#endif
