/* The inside of the fast engine; docs/scheduling-engine.md tells how it works. Internal to
 * sched/fast*.c.
 *
 * Row: a node, by its place in the order in which ties are broken. Shape: what all filters before room read of
 * a node. Kind: what rules between VMs read of an occupant. Class: what a decision reads of a
 * request. Group: the rows of a class that differ in nothing but room. Topo: a topology key,
 * with each row's domain. */
#ifndef SCHED_FAST_PRIV_H
#define SCHED_FAST_PRIV_H

#include "base/sb.h"
#include "base/strmap.h"
#include "sched/cluster.h"
#include "sched/fast.h"
#include "sched/request.h"

#define FAST_NONE       UINT32_MAX
#define FAST_BLOCK      64  /* rows that share an entry in a group's summary */
#define FAST_GROUPS     250 /* of a class */
#define FAST_FEW_SHAPES 24
#define FAST_NO_GROUP   255
#define FAST_EXTRAS     7        /* resources of a request beside cpu and memory */
#define FAST_RULES      4        /* hard, and soft, spread constraints of a request */
#define FAST_COUNTERS   24       /* of a class */
#define FAST_KEY        16       /* numbers that tell groups apart */
#define FAST_SPECIALS   64       /* rows that a request names */
#define FAST_FIT        (-16384) /* a leaf without room: FAST_FIT minus the bits of what is short */
#define FAST_GONE       INT16_MIN
#define FAST_MAX_SCORE  16000 /* of a leaf */

/* bits of what is short, and their places in fit_rows */
enum {
    FAST_PODS,
    FAST_CPU,
    FAST_MEMORY,
    FAST_FIRST_EXTRA,
    FAST_FITS = FAST_FIRST_EXTRA + FAST_EXTRAS
};

/* Why a group does not do, though there is room: the lowest bit counts. */
#define FAST_SPREAD_KEY(rule)  (1u << (2 * (rule)))
#define FAST_SPREAD_SKEW(rule) (2u << (2 * (rule)))
#define FAST_NEAR_KEY          (1u << 8)
#define FAST_NEAR              (1u << 9)
#define FAST_AVOIDED           (1u << 10)
#define FAST_GUARDED           (1u << 11)
#define FAST_NETWORK           (1u << 12)
#define FAST_REFUSED           ((1u << 13) - 1)
#define FAST_SOFT_KEY          (1u << 13) /* no refusal: a key of a soft constraint is missing */

struct fast_rows { /* room by row, for the scan; padded to whole blocks */
    double *cpu, *memory, *used_cpu, *used_memory, *score_cpu, *score_memory;
    int32_t *pods; /* free */
    uint8_t *odd;  /* numbers that the scan cannot take, or a dead row: looked at one by one */
    size_t odd_len;
};

struct fast_shape {
    char *sig;
    size_t len;
    uint64_t hash;
    uint64_t id;   /* never given twice */
    uint32_t rows; /* how many have it */
    uint32_t some; /* one of them, or FAST_NONE: look for one */
    uint32_t next; /* in its bucket */
};

struct fast_kind {
    char *sig;
    size_t len;
    uint64_t hash;
    struct occupant *first;
    uint32_t next;
};

struct fast_topo {
    char *key;
    bool fine;                   /* many domains: rows are told apart by counts, not by domain */
    uint32_t *dom, *next, *head; /* dom and next by row, head by domain */
    uint32_t doms, cap;
    struct strmap *values; /* value -> its domain + 1, as a pointer */
};

struct fast_extra {   /* free by row */
    const char *name; /* NULL: ephemeral storage */
    bool if_listed;
    int64_t *free;
};

struct fast_event {
    uint32_t row, kind; /* kind: of the occupant that came or went, or FAST_NONE */
    int8_t by;          /* 1 came, -1 went, 0: neither; */
    bool shape;         /* the row has another shape */
};

struct fast_group {
    int64_t key[FAST_KEY];
    uint32_t tuple, mask;
    uint32_t rows;
    bool dirty; /* most, most_rows and first are to be found again */
    int32_t most;
    uint32_t most_rows, first;
    int16_t *block_most;  /* -1: none in the block */
    uint8_t *block_rows;  /* how many of the block have that */
    uint8_t bucket, next; /* its bucket, and who comes next there, or FAST_NO_GROUP */
};

enum fast_what {
    FAST_C_NEAR,
    FAST_C_AVOIDED,
    FAST_C_GUARDED,
    FAST_C_SCORE,
    FAST_C_HARD,
    FAST_C_SOFT
};

struct fast_counter {
    enum fast_what what;
    uint8_t rule;   /* of HARD and SOFT */
    bool by_row;    /* SOFT of host names: each node by itself */
    uint32_t topo;  /* FAST_NONE when by_row */
    int32_t coarse; /* its topo's place in the class' list, or -1: fine */
    int64_t *count;
    uint32_t *known; /* HARD: how many rows of the domain count; 0: no domain */
    uint32_t cap;
    int64_t fewest; /* HARD, of a fine key */
    uint32_t fewest_doms, known_doms;
};

struct fast_rule { /* a spread constraint */
    int64_t max_skew, min_domains;
    bool self, hostname;
    uint32_t topo;
    uint32_t counter; /* its place among the class' */
};

struct fast_share { /* what one occupant of a kind adds */
    uint32_t counter;
    int64_t n;
};

struct fast_tuple {
    int64_t taints, preferred;
    bool network;
};

struct fast_reason {
    char **texts;
    size_t len;
    bool pinned_out;
    int64_t rows;
};

struct fast_special { /* a row that the request names; its verdict while it has that shape */
    uint32_t row, shape;
    int32_t verdict;
};

struct fast_class {
    char *sig;
    size_t sig_len;
    uint64_t hash;
    struct fast_class *bucket_next, *newer, *older;
    uint64_t epoch, seq;
    size_t bytes; /* when it was last made anew */
    bool plain;   /* place() decides */
    bool relabel; /* all groups are to be found again */
    char *why;    /* nothing can be placed: the message */
    bool migrate, needs_network, pinned, conflict;
    struct need need;
    uint32_t extra[FAST_EXTRAS];
    int64_t want[FAST_EXTRAS];
    size_t extras_len;

    int32_t *verdicts; /* by shape: a tuple, or -2 - reason; -1: not known */
    size_t verdicts_len;
    struct fast_special specials[FAST_SPECIALS];
    size_t specials_len;
    struct fast_tuple *tuples;
    struct fast_reason *reasons;
    size_t tuples_len, reasons_len;
    int64_t fit_rows[FAST_FITS];
    uint32_t source_reason; /* of the migration's source */

    struct fast_counter *counters;
    size_t counters_len;
    uint32_t coarse[FAST_KEY]; /* topos that groups are told apart by */
    size_t coarse_len;
    bool fine_scores;
    bool keyed; /* groups are told apart by more than the tuple */
    struct fast_rule hard[FAST_RULES], soft[FAST_RULES];
    size_t hard_len, soft_len;
    uint8_t *counts; /* by row: a bit for each rule, soft ones from bit 4, that counts the row */
    int64_t near_sum;
    bool near_itself, has_near;
    uint32_t
        *kind_shares; /* by kind: 0 not known, else 1 + place in shares of its number, itself */
    size_t kinds_len;
    struct fast_share *shares;
    size_t shares_len, shares_cap;

    int16_t *leaf;
    uint8_t *gid;
    struct fast_group *groups;
    size_t groups_made;            /* that have memory for their blocks */
    size_t groups_len, groups_cap; /* ever used; those of no rows are free, but while labelling */
    bool labelling;
    uint8_t buckets[256];
    size_t rows_len;         /* that leaf and gid are for */
    struct fast_event *undo; /* what the last decision took out for the newcomer's sake */
    size_t undo_len, undo_cap;
};

struct fast {
    struct cluster *c;
    /* rows */
    struct cluster_node **nodes; /* NULL: gone */
    size_t rows_len, rows_cap, blocks;
    bool rows_stale;
    struct fast_rows rows;
    bool plain_profile; /* scores that a leaf cannot hold */
    bool vector_scores; /* the profile's scores are those that the scan computes */
    /* what nodes are */
    uint32_t *shape_of;  /* by row */
    uint8_t *shape_byte; /* the same, while there are at most FAST_FEW_SHAPES */
    struct fast_shape *shapes;
    size_t shapes_len, shapes_cap;
    uint32_t shape_buckets[1024];
    uint64_t shape_ids;
    struct strmap *node_keys; /* labels that any request has read */
    bool node_keys_grew;
    int64_t now_us, quiet_until_us; /* no heartbeat ages before that */
    /* what runs */
    bool kinds_on, kinds_stale;
    struct strmap *vm_keys; /* labels that any selector reads */
    struct fast_kind *kinds;
    size_t kinds_len, kinds_cap, kinds_live;
    uint32_t kind_buckets[1024];
    struct fast_topo *topos;
    size_t topos_len;
    struct fast_extra *extras;
    size_t extras_len;
    /* changes */
    struct fast_event *events;
    size_t events_len, events_cap;
    uint64_t events_base; /* sequence number of the first one kept */
    uint64_t epoch;       /* what classes know is void when it moves */
    /* classes */
    struct fast_class *buckets[256];
    struct fast_class *newest, *oldest;
    size_t classes_len;
    /* the decision */
    struct sb sig, message, scratch;
    struct fast_class *last; /* NULL: it was plain */
    int64_t last_total;
    int64_t last_scores[PLACE_PLUGINS]; /* but those of room */
    uint32_t last_row;
    int64_t group_total[FAST_GROUPS];
    struct place_result *plain;
    uint64_t plain_len; /* decisions that place() took */
};

/* fast_rows.c: nodes, shapes, topology, room */
void fast_rows_init(struct fast *f);
void fast_rows_done(struct fast *f);
void fast_rows_refresh(struct fast *f); /* before a decision */
void fast_rows_touch(struct fast *f, uint32_t row);
void fast_rows_node(struct fast *f, struct cluster_node *n);
void fast_rows_gone(struct fast *f, struct cluster_node *n);
uint32_t fast_rows_topo(struct fast *f, const char *key);
uint32_t fast_rows_extra(struct fast *f, const char *name, bool if_listed);
uint32_t fast_rows_some(struct fast *f, uint32_t shape); /* a row of the shape, or FAST_NONE */
void fast_event(struct fast *f, struct fast_event e);
size_t fast_rows_bytes(const struct fast *f);

/* fast_sig.c: what is read of things, as bytes */
uint64_t fast_hash(const void *data, size_t len);
void fast_sig_shape(const struct fast *f, const struct cluster_node *n, struct sb *out);
void fast_sig_kind(const struct fast *f, const struct occupant *o, struct sb *out);
void fast_sig_request(const struct fast *f, const struct place_request *rq, struct sb *out);
/* Adds the keys that the terms read to keys; returns whether there were new ones. */
bool fast_sig_vm_keys(struct strmap *keys, const struct affinity *a, const struct spread *spreads,
                      size_t spreads_len);
bool fast_sig_has_peers(const struct affinity *a);

/* fast_kind.c: what runs */
void fast_kinds_init(struct fast *f);
void fast_kinds_done(struct fast *f);
void fast_kinds_refresh(struct fast *f);
void fast_kinds_came(struct fast *f, struct occupant *o);
void fast_kinds_leaves(struct fast *f, struct occupant *o);

/* fast_class.c */
struct fast_ask { /* the request in hand; compiled when something has to be looked at anew */
    struct fast *f;
    const struct place_request *rq;
    struct arena *arena; /* NULL: not compiled */
    struct request r;
    const char *why;
};

/* The request's class, brought up to date; it may be plain. */
struct fast_class *fast_class_get(struct fast_ask *ask);
void fast_classes_done(struct fast *f);
/* Looks at a row again; self: what the newcomer has there, which does not count against it, or
 * NULL. */
void fast_class_row(struct fast_class *k, struct fast_ask *ask, uint32_t row,
                    const struct occupant *self);
/* The row is the migration's source. */
void fast_class_refuse(struct fast_class *k, struct fast_ask *ask, uint32_t row);
/* An occupant of that kind came to the row (by 1) or went (-1). */
void fast_class_count(struct fast_class *k, struct fast_ask *ask, uint32_t row, uint32_t kind,
                      int64_t by);
void fast_class_settle(struct fast_class *k, struct fast_ask *ask); /* after counting */
/* When the class is asked again, e is counted and its row looked at, first of all. */
void fast_class_undo(struct fast_class *k, struct fast_event e);
size_t fast_class_bytes(const struct fast *f, const struct fast_class *k);

/* fast_compile.c: a class from its request, all but leaves */
const struct request *fast_compiled(struct fast_ask *ask);
void fast_compile(struct fast_class *k, struct fast_ask *ask);
int32_t fast_compile_verdict(struct fast_class *k, struct fast_ask *ask, uint32_t row);
/* The place of the kind's shares in k->shares. */
uint32_t fast_compile_shares(struct fast_class *k, struct fast_ask *ask, uint32_t kind);
void fast_compile_drop(struct fast_class *k); /* what fast_compile made */
/* Adds n to the counter for the row's domain. True: rows of that domain are to be looked at
 * again. */
bool fast_compile_add(struct fast_class *k, const struct fast *f, struct fast_counter *c,
                      uint32_t row, int64_t n);

/* fast_group.c: leaves, groups and their summaries */
void fast_group_reset(struct fast *f, struct fast_class *k);
void fast_group_drop(struct fast_class *k); /* gives back its memory */
uint8_t fast_group_of(struct fast *f, struct fast_class *k, const int64_t *key, uint32_t tuple,
                      uint32_t mask); /* FAST_NO_GROUP: there are too many */
void fast_group_set(struct fast *f, struct fast_class *k, uint32_t row, int16_t leaf, uint8_t gid);
void fast_group_best(const struct fast *f, const struct fast_class *k, struct fast_group *g);
void fast_group_summarise(struct fast *f, struct fast_class *k); /* after all leaves were written */
/* After leaves by room were written: the rest by shape. group: FAST_NO_GROUP where verdict is a
 * leaf. */
void fast_group_by_shape(struct fast *f, struct fast_class *k, const int16_t *verdict,
                         const uint8_t *group);

/* fast_decide.c */
void fast_decide(struct fast *f, struct fast_class *k, struct fast_decision *ret);
bool fast_skewed(const struct fast_rule *rule, int64_t here, int64_t fewest);
int64_t fast_fewest(const struct fast_rule *rule, const struct fast_counter *c);

/* fast_scan.c: loops over all rows */
void fast_scan_leaves(const struct fast *f, const struct fast_class *k, int16_t *leaf);
uint32_t fast_scan_block(const int16_t *leaf, const uint8_t *gid, uint8_t group, int16_t *ret_most,
                         uint8_t *ret_rows);
int16_t fast_scan_row(const struct fast *f, const struct fast_class *k, uint32_t row,
                      const struct occupant *self);
/* Leaves by room become leaves, and groups, by shape too: verdict is for shapes without a group.
 * One block; returns whether any row lacks room. */
bool fast_scan_shapes(const uint32_t *shape, const int16_t *verdict, const uint8_t *group,
                      int16_t *leaf, uint8_t *gid);
/* The same for all blocks, when there are few shapes and one group, and the group's summary.
 * lacking: by block; returns the group's rows. */
uint32_t fast_scan_one_group(const uint8_t *shape, const int16_t *verdict, const uint8_t *group,
                             size_t shapes, size_t blocks, int16_t *leaf, uint8_t *gid,
                             int16_t *most, uint8_t *rows, uint8_t *lacking);
int32_t fast_scan_most(const int16_t *most, size_t len);
uint32_t fast_scan_rows(const int16_t *most, const uint8_t *rows, size_t len, int16_t at);

#endif
