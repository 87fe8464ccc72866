/* Seeded chaos: from a seed a guest, a migration and a schedule of faults are drawn, both real ends
 * run (as threads here, or as processes that can be killed), a handler's part is played until it is
 * known where the guest runs, and then rules 1 to 3 of the design are checked: it runs on exactly
 * one side (or is paused and whole where that is what is documented), every byte of its memory is
 * what it wrote, outcome and cause say what happened, and nothing is left behind. docs/testing.md
 * tells how to repeat a run. */
#ifndef TESTS_MIGRATE_CHAOS_H
#define TESTS_MIGRATE_CHAOS_H

#include <stdatomic.h>

#include "base/fault.h"
#include "base/sb.h"
#include "migrate/engine.h"
#include "tests/migrate/chaos_net.h"
#include "tests/migrate/fake_guest.h"

#define CHAOS_LONG_US 20000000 /* completion timeout where none is drawn */
#define CHAOS_ACTS    3
#define CHAOS_PERIODS 2 /* the migration, and the first time that it is asked what became of it */

enum chaos_what {
    CHAOS_CANCEL,   /* mig_source_cancel */
    CHAOS_STOP,     /* mig_target_stop */
    CHAOS_KILL_SRC, /* processes: SIGKILL */
    CHAOS_KILL_DST,
    CHAOS_FREEZE_SRC, /* processes: SIGSTOP, and SIGCONT after ms */
    CHAOS_FREEZE_DST,
    CHAOS_KILL_GUEST, /* the incoming guest's process */
    CHAOS_BANDWIDTH,  /* another limit */
};

struct chaos_act {
    enum chaos_what what;
    bool paused;       /* not before the source's guest is paused */
    uint64_t after_us; /* since the start, or since then */
    unsigned ms;
};

/* Told to fail: the next n calls. */
struct chaos_fails {
    int prepared, committed, never, commit;
    int src_pause, src_resume, src_save, src_uffd;
    int dst_pause, dst_resume, dst_load;
    bool gone; /* the guest's calls fail with -ESRCH */
};

struct chaos_period {
    struct net_trick tricks[NET_TRICKS];
    unsigned tricks_len;
    bool relay;
    struct chaos_act acts[CHAOS_ACTS];
    unsigned acts_len;
    char fault[2][48]; /* by side: NAME@N:ACTION, or "" */
    struct chaos_fails fails;
    unsigned strangers;
};

struct chaos_plan {
    uint64_t seed;
    bool processes, tls;
    struct fake_config guest;
    unsigned load_ms;
    unsigned channels;
    struct mig_limits limits;
    struct mig_policy policy;
    uint64_t dead_peer_us, reconnect_us;
    struct chaos_period periods[CHAOS_PERIODS];
    /* over RDMA where that can be had: 127.0.0.1 is trusted then */
    bool rdma;
    uint64_t window_bytes;
    bool must_move; /* whatever strikes it */
    /* whether something was done to it that is not planned here; may be NULL */
    bool (*struck)(void);
};

/* What the workers share with the runner: which point was reached, and failed, on which side. */
struct chaos_reach {
    atomic_uint reached[FAULT_COUNT][2], acted[FAULT_COUNT][2];
    atomic_uint outcomes[3], targets[4], causes[16], faultless, rounds, processes, tls, resolved;
    atomic_uint played[NET_EFFECTS];
};

/* Points that lie in migrate/ and proto/, and the sides (bits: 1 source, 2 target) that they are
 * on. 0: not one of ours. */
unsigned chaos_point_sides(enum fault_point p);

void chaos_draw(struct chaos_plan *p, uint64_t seed);
/* A migration in which nothing goes wrong but that point, on that side. Both sides count together:
 * in a point of both, which one comes first is not drawn. */
void chaos_draw_point(struct chaos_plan *p, uint64_t seed, enum fault_point point, int side);
void chaos_describe(const struct chaos_plan *p, struct sb *out);

/* Runs it. True: all is well; else `why` says what is not. */
bool chaos_run(const struct chaos_plan *p, struct chaos_reach *reach, struct sb *why);

/* A few connections of strangers to addr, until *stop. One thread. */
struct chaos_strangers {
    char addr[MIG_ADDR_SIZE];
    uint64_t seed;
    unsigned count;
    atomic_bool stop;
    pthread_t thread;
};
void chaos_strangers_start(struct chaos_strangers *s);
void chaos_strangers_end(struct chaos_strangers *s);

#endif
