/* A whole cluster in one process, on virtual time: the store in memory, the controller's loops, and
 * fake handlers that play docs/protocol.md (or fail to, when a test asks). Guests are names in a
 * set, one set a node; after every committed write the world checks that no VM runs twice. */
#ifndef TESTS_CONTROL_LOOP_WORLD_H
#define TESTS_CONTROL_LOOP_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "control/loops.h"
#include "control/store.h"

#define WORLD_NODES 8

struct strmap;
struct world;

struct fake { /* a node and its handler; set the flags at any time */
    struct world *w;
    char name[16];
    bool down; /* the handler's process: no beat, no answer; guests run on */
    bool off;  /* the host: guests are gone, too */
    /* how it misbehaves */
    bool never_announces, never_claims, never_completes, never_cleans, ignores_abort;
    bool refuses;          /* as target: writes failed */
    bool fails_migration;  /* as source, after the claim: writes failed */
    bool dies_after_claim; /* goes down when it has claimed */
    bool dies_after_move;  /* goes down when the guest has left, before it says so */
    bool cannot_boot;      /* guests fail to start */
    uint64_t prepare_us, claim_us, move_us;
    struct strmap *guests; /* "ns/name" of those that run here -> uid */
    struct strmap *since;  /* step -> when it was first seen */
    struct loop_timer *beat, *turn;
    uint64_t turn_us;
};

struct world {
    struct loop *loop;
    struct store *store;
    struct loops *loops;
    struct loops_config config;
    struct store_watch *watch;
    struct fake nodes[WORLD_NODES];
    size_t nodes_len;
    unsigned writes;    /* committed */
    unsigned crash_at;  /* the controller dies right after this write; 0 = never */
    struct loops *dead; /* died, not freed yet */
    int most_moving;    /* highest number of migrations that held a slot */
    int most_from[WORLD_NODES];
};

/* Namespace shop exists; no node. seed 0 counts as 1. */
struct world *world_new(uint64_t seed);
/* The same with n1, n2 ... of 16 GiB each. */
struct world *world_cluster(uint64_t seed, int nodes);
/* Calls fn with 1 to last, or with the one seed that LOOP_SEED names. */
void world_seeds(void (*fn)(uint64_t seed), uint64_t last);
void world_free(struct world *w);
/* Adds a node with a beating handler: memory in GiB, 16 CPUs. */
struct fake *world_node(struct world *w, const char *name, int memory_gib);
struct fake *world_fake(struct world *w, const char *name);
/* Creates every document of the YAML, each checked as the API server does. */
void world_apply(struct world *w, const char *yaml);
/* The same with printf. */
void world_applyf(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A VirtualMachine shop/NAME with `memory` ("1Gi"); extra: lines put under template.spec, or "". */
void world_vm(struct world *w, const char *name, const char *strategy, const char *memory,
              const char *extra);
void world_delete(struct world *w, enum kind kind, const char *ns, const char *name);
/* Merge patch as JSON text. */
void world_patch(struct world *w, enum kind kind, const char *ns, const char *name,
                 const char *json);
void world_run(struct world *w, double seconds);
/* The controller dies with all it had in memory, and a new one starts. */
void world_crash(struct world *w);
void world_stop_controller(struct world *w);
void world_start_controller(struct world *w);

/* Text at a path of map keys; "" when absent. The path ends with NULL. */
#define world_text(w, kind, ns, name, ...) \
    tree_find_string(store_get((w)->store, kind, ns, name), "", __VA_ARGS__, NULL)
const char *world_phase(struct world *w, enum kind kind, const char *ns, const char *name);
const char *world_vmi_node(struct world *w, const char *name);
const char *world_condition(struct world *w, enum kind kind, const char *ns, const char *name,
                            const char *type, const char *field);
/* The node on which the guest of shop/NAME runs; NULL when none. Fails when there are two. */
const char *world_runs_on(struct world *w, const char *name);
/* An Event about NAME with this reason whose message contains text; its count, 0 = none. */
int64_t world_event(struct world *w, const char *name, const char *reason, const char *text);
/* Migrations of shop/VMI; the one made last in *ret_newest (may be NULL), "" when none. */
size_t world_migrations(struct world *w, const char *vmi, const char **ret_newest);
/* All objects pass the checks of the API server. */
void world_validate(struct world *w);

#endif
