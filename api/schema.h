/* Field tables: what a kind's objects may contain, and where each field goes in the typed structs of
 * api/types.h. One table serves the check (schema_check.c) and the decoder (schema_decode.c).
 * Internal to api/. A field is acted on (it has a place in a struct or a rule), kept (upstream has it;
 * it stays in the tree and a warning names it), or unknown: an error. */
#ifndef API_SCHEMA_H
#define API_SCHEMA_H

#include "api/object.h"

enum field_type {
    F_ANY,       /* anything, not decoded; nothing below it is looked at */
    F_STRING,    /* const char * */
    F_BOOL,      /* bool; has_ flag */
    F_INT,       /* int64_t within min..max; has_ flag */
    F_QUANTITY,  /* struct quantity; a number in the input becomes its text */
    F_UNITS,     /* int64_t, a quantity of at least 0 rounded up; has_ flag */
    F_DURATION,  /* Go's form; only checked */
    F_TIME,      /* int64_t microseconds since 1970 */
    F_STRINGS,   /* struct str_list; has_ flag set when the list is there */
    F_KV,        /* struct kv_list: a map of strings */
    F_RESOURCES, /* struct resource_list: a map of quantities */
    F_OPERATOR,  /* enum sel_op */
    F_MAP,       /* sub table, in place; has_ flag */
    F_POINTER,   /* sub table, behind a pointer */
    F_LIST,      /* list of maps: T * and, at second, size_t */
    F_VARIANT,   /* one of several maps: the field's name into a const char *, its content flat */
    F_FEATURE    /* a map: bool, true unless it says enabled: false; its content flat */
};

enum field_flags {
    FIELD_REQUIRED = 1,
    FIELD_ONLINE = 2,   /* FIELD_REQUIRED does not hold for manifests read from files */
    FIELD_LATER = 4,    /* decoded, but nothing acts on it yet: named in a warning */
    FIELD_NONEMPTY = 8, /* a string, list or map that is there must not be empty */
    FIELD_STATUS = 16,  /* looked at only with VALIDATE_STATUS */
    FIELD_UNIQUE = 32,  /* the items of a list have names of their own */
    FIELD_CLAMP = 64 /* of F_INT: min and max bound what is decoded, check says what is allowed */
};

struct schema;
struct check;

/* Places are offsets plus one, so that 0 means nowhere. */
#define AT(T, member) ((unsigned short)(offsetof(T, member) + 1))
#define FLAT          1

struct field {
    const char *name;
    unsigned char type, flags;
    unsigned short at, second; /* second: has_ flag, or a list's length */
    const struct schema *sub;
    const char *const *values; /* allowed texts, NULL-terminated */
    int64_t min, max; /* of F_INT; of a list its longest length is max (0: the general limit) */
    void (*check)(struct check *c, struct tree *value); /* after the type was found right */
};

/* Fields that are known, and neither looked into nor kept. */
#define ANYTHING(n)              \
    {                            \
        .name = n, .type = F_ANY \
    }
#define TEXT(n)                     \
    {                               \
        .name = n, .type = F_STRING \
    }

struct schema {
    const struct field *fields;                         /* ended by one without a name */
    const char *const *kept;                            /* names, NULL-terminated; or NULL */
    void (*prepare)(struct check *c, struct tree *map); /* before the fields are looked at */
    void (*check)(struct check *c, struct tree *map);   /* after them */
    size_t size;                                        /* of what F_LIST and F_POINTER allocate */
    bool open; /* unknown fields are kept without a word (status) */
};

/* --- checking (schema_check.c) --- */

struct path {
    const struct path *up;
    const char *key; /* NULL: the item number index of a list */
    size_t index;
    bool raw; /* key is shown as it is, however long, so that the field can be found by its path */
};

#define CHECK_WARNINGS_MAX 50

struct check {
    unsigned flags;
    const struct kind_info *kind;
    const struct path *at; /* NULL: the object itself */
    struct field_errors *errs;
    struct warnings *warn;                 /* may be NULL */
    const void *named[CHECK_WARNINGS_MAX]; /* kept fields that were named already */
    size_t named_len;
};

/* Checks map against s at c->at; drops nulls, turns numbers in quantities into text. */
void schema_check(const struct schema *s, struct check *c, struct tree *map);

/* Goes down to a key or item; check_leave goes back up. p is on the caller's stack. */
void check_enter(struct check *c, struct path *p, const char *key);
void check_enter_item(struct check *c, struct path *p, size_t index);
void check_leave(struct check *c);

/* Problems at c->at, in upstream's words: "Invalid value: "x": why". value may be NULL where there is no
 * value to show. */
void check_invalid(struct check *c, const struct tree *value, const char *why, ...)
    PRINTF_LIKE(3, 4);
void check_invalid_text(struct check *c, struct tree_pos pos, const char *text, const char *why,
                        ...) PRINTF_LIKE(4, 5);
void check_type(struct check *c, const struct tree *value, const char *want);
void check_too_many(struct check *c, const struct tree *list, size_t max);
void check_too_long(struct check *c, struct tree_pos pos, unsigned max_bytes);
void check_unknown_kind(struct check *c, struct tree_pos pos, const char *message);
/* similar: the name that was probably meant, or NULL. */
void check_unknown_field(struct check *c, struct tree_pos pos, const char *similar);
void check_required(struct check *c, struct tree_pos pos, const char *why); /* why may be NULL */
void check_forbidden(struct check *c, struct tree_pos pos, const char *why);
void check_duplicate(struct check *c, const struct tree *value);
/* hint, when not NULL, is added in brackets. */
void check_unsupported(struct check *c, const struct tree *value, const char *const *values,
                       const char *hint);
void check_warn(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same for the field key of what is at c->at. */
void check_field_invalid(struct check *c, const struct tree *map, const char *key, const char *why);
void check_field_required(struct check *c, const struct tree *map, const char *key,
                          const char *why);
void check_field_forbidden(struct check *c, const struct tree *map, const char *key,
                           const char *why);

/* True when text is one of values. */
bool check_is_one_of(const char *text, const char *const *values);
/* The quantity in t (text or number); set is false when there is none. */
struct quantity check_quantity(const struct tree *t);

/* Checks for tables. */
void check_name(struct check *c, struct tree *v);       /* RFC 1123 subdomain */
void check_name_label(struct check *c, struct tree *v); /* RFC 1123 label */
void check_labels(struct check *c, struct tree *map);   /* label keys and values */
void check_annotations(struct check *c, struct tree *map);
void check_label_key(struct check *c, struct tree *v);
void check_label_value(struct check *c, struct tree *v);
void check_taints(struct check *c, struct tree *list);
void check_spreads(struct check *c, struct tree *list);
void check_not_negative(struct check *c, struct tree *v); /* quantities, and maps of them */
void check_positive(struct check *c, struct tree *v);     /* a quantity */
void check_eviction_strategy(struct check *c, struct tree *v);
void check_network_name(struct check *c, struct tree *v); /* [namespace/]name */

/* Older versions and misplaced fields, in place (object_convert.c). */
void object_convert(struct check *c, struct tree *obj);
/* "FILE:L:C: VirtualMachine default/vm1: " (object.c). */
void object_place_text(const char *file, struct tree_pos pos, const struct tree *obj,
                       struct sb *out);

/* --- decoding (schema_decode.c) --- */

/* Fills base from map; what is missing or of the wrong type stays zero, a number beyond its range is the
 * nearest one within. */
void schema_decode(const struct schema *s, const struct tree *map, void *base, struct arena *a);

/* --- tables --- */
extern const struct schema meta_schema;      /* struct meta */
extern const struct schema condition_schema; /* struct condition */
extern const struct schema affinity_schema;
extern const struct schema node_term_schema;
extern const struct schema node_affinity_schema; /* into a struct affinity */
extern const struct schema toleration_schema;
extern const struct schema spread_schema;
extern const struct schema taint_schema;
extern const struct schema label_selector_schema;
extern const struct schema domain_schema; /* struct vmi_domain */
extern const struct schema vmi_spec_schema;

extern const struct schema vm_schema, vmi_schema, vmim_schema, kubevirt_schema, policy_schema,
    hco_schema, nad_schema, nncp_schema, nns_schema, nnce_schema, ippool_schema, configmap_schema,
    maintenance_schema, descheduler_schema, node_schema, namespace_schema, pvc_schema, event_schema,
    pod_schema, priority_class_schema, pdb_schema, pv_schema, storage_class_schema,
    sched_config_schema;

/* The table of the arguments of a scheduler plugin, into a struct sched_config_args. */
const struct schema *plugin_args_schema(const char *plugin);

/* The table of a kind. */
const struct schema *schema_of(enum kind k);

/* Fields that every kind's table begins with; T is its typed struct. */
#define OBJECT_FIELDS(T)                                                               \
    {.name = "apiVersion", .type = F_STRING}, {.name = "kind", .type = F_STRING},      \
    {                                                                                  \
        .name = "metadata", .type = F_MAP, .flags = FIELD_REQUIRED, .at = AT(T, meta), \
        .sub = &meta_schema                                                            \
    }

/* What a MigrationPolicy may set; m is the struct migration_configuration in T. */
#define MIGRATION_OPTION_FIELDS(T, m)                                               \
    {.name = "bandwidthPerMigration",                                               \
     .type = F_UNITS,                                                               \
     .at = AT(T, m.bandwidth_bytes_per_s),                                          \
     .second = AT(T, m.has_bandwidth)},                                             \
        {.name = "completionTimeoutPerGiB",                                         \
         .type = F_INT,                                                             \
         .at = AT(T, m.completion_timeout_s_per_gib),                               \
         .second = AT(T, m.has_completion_timeout),                                 \
         .max = INT64_MAX},                                                         \
        {.name = "maxDowntimeMs",                                                   \
         .type = F_INT,                                                             \
         .at = AT(T, m.max_downtime_ms),                                            \
         .second = AT(T, m.has_max_downtime),                                       \
         .min = 1,                                                                  \
         .max = 2000000},                                                           \
        {.name = "allowAutoConverge",                                               \
         .type = F_BOOL,                                                            \
         .at = AT(T, m.allow_auto_converge),                                        \
         .second = AT(T, m.has_auto_converge)},                                     \
        {.name = "allowPostCopy",                                                   \
         .type = F_BOOL,                                                            \
         .at = AT(T, m.allow_post_copy),                                            \
         .second = AT(T, m.has_post_copy)},                                         \
    {                                                                               \
        .name = "allowWorkloadDisruption", .type = F_BOOL,                          \
        .at = AT(T, m.allow_workload_disruption), .second = AT(T, m.has_disruption) \
    }

/* What only the cluster's configuration may set beside them. */
#define MIGRATION_CLUSTER_FIELDS(T, m)                                                           \
    {.name = "parallelMigrationsPerCluster",                                                     \
     .type = F_INT,                                                                              \
     .at = AT(T, m.parallel_per_cluster),                                                        \
     .second = AT(T, m.has_parallel_cluster),                                                    \
     .max = UINT32_MAX},                                                                         \
        {.name = "parallelOutboundMigrationsPerNode",                                            \
         .type = F_INT,                                                                          \
         .at = AT(T, m.parallel_outbound_per_node),                                              \
         .second = AT(T, m.has_parallel_node),                                                   \
         .max = UINT32_MAX},                                                                     \
        {.name = "progressTimeout",                                                              \
         .type = F_INT,                                                                          \
         .at = AT(T, m.progress_timeout_s),                                                      \
         .second = AT(T, m.has_progress_timeout),                                                \
         .max = INT64_MAX},                                                                      \
    {                                                                                            \
        .name = "network", .type = F_STRING, .at = AT(T, m.network), .check = check_network_name \
    }

#define DISABLE_TLS_FIELD(T, m)                                           \
    {                                                                     \
        .name = "disableTLS", .type = F_BOOL, .at = AT(T, m.disable_tls), \
        .second = AT(T, m.has_disable_tls)                                \
    }

#endif
