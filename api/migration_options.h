/* What a migration can be told that upstream has no field for: annotations of a MigrationPolicy, or
 * else of the HyperConverged (or KubeVirt) object. One table for the check at admission, netpolicy's
 * resolution, the JSON that handlers read and what `drover policy` prints. Pure. */
#ifndef API_MIGRATION_OPTIONS_H
#define API_MIGRATION_OPTIONS_H

#include "api/tree.h"

enum migration_option {
    MIGRATION_OPTION_ENCODING,
    MIGRATION_OPTION_VERIFY,
    MIGRATION_OPTION_CHANNELS,
    MIGRATION_OPTION_WEIGHT,
    MIGRATION_OPTION_FALLBACK,
    MIGRATION_OPTION_POST_COPY,
    MIGRATION_OPTION_TRANSPORT,
    MIGRATION_OPTION_COUNT
};

enum migration_encoding {
    MIGRATION_ENCODING_AUTO,
    MIGRATION_ENCODING_RAW,
    MIGRATION_ENCODING_DELTA,
    MIGRATION_ENCODING_LZ4,
    MIGRATION_ENCODING_ZSTD
};

enum migration_transport {
    MIGRATION_TRANSPORT_AUTO,
    MIGRATION_TRANSPORT_RDMA,
    MIGRATION_TRANSPORT_TCP
};

/* All resolved: nothing here can be absent. */
struct migration_options {
    enum migration_encoding encoding;
    bool verify_full;         /* all memory is compared at the switchover */
    int64_t channels;         /* 0: the handler's own setting */
    int64_t weight;           /* in shares of a cap; at least 1 */
    bool fallback_management; /* a cut dedicated network is replaced by the management network */
    bool post_copy_immediate; /* no pre-copy round; counts only with allowPostCopy */
    enum migration_transport transport; /* what carries the data connections */
};

/* "drover.io/encoding" -> the option; MIGRATION_OPTION_COUNT when key is none. */
enum migration_option migration_option_find(const char *key);
const char *migration_option_annotation(enum migration_option o);
const char *migration_option_name(enum migration_option o); /* "encoding": the key in JSON */
/* Text -> value: the index of a choice, or a number. -EINVAL: err says what is allowed. */
int migration_option_parse(enum migration_option o, const char *text, int64_t *ret,
                           struct err *err);

void migration_options_init(struct migration_options *m); /* defaults */
void migration_options_set(struct migration_options *m, enum migration_option o, int64_t value);
/* As the annotation would say it. buf of 24 is enough. */
void migration_options_text(const struct migration_options *m, enum migration_option o, char *buf,
                            size_t size);
/* {"encoding":"auto",...,"channels":0}: the body of ANN_MIGRATION_OPTIONS. The caller's. */
struct tree *migration_options_tree(const struct migration_options *m);
/* The reverse, of the annotation's text; NULL, and whatever in it cannot be read, is the default. */
void migration_options_read(const char *json, struct migration_options *ret);

#endif
