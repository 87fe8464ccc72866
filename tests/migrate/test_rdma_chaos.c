/* Migrations over the double of RDMA under seeded trouble: queue pairs that break or fall silent, work
 * that ends with an error, READs that are short, WRITEs that arrive wrong, calls that fail, memory that
 * may not be locked, devices that are removed, all of it in any order between queue pairs. What holds is
 * what holds in chaos.h, and besides: nothing stays registered or open at the device; and where nothing
 * else happens, the guest moves (over TCP, if need be).
 *   CHAOS_SEEDS=17      only this seed, with what was drawn
 *   CHAOS_SEEDS=1-5000  a campaign */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "tests/migrate/certs.h"
#include "tests/migrate/chaos.h"
#include "tests/migrate/pair.h"
#include "tests/migrate/verbs_double.h"

#define FIRST_SEED 1
#define LAST_SEED  200
#define WORKERS    2
#define TROUBLES   3
#define MIB        (1ull << 20)

enum trouble {
    FAIL_WORK,
    FAIL_CALL,
    BLACK_HOLE,
    REMOVE,
    SHORT_READ,
    CORRUPT_WRITE,
    LOCK_LIMIT,
    NO_DISCONNECTS,
    TROUBLE_KINDS
};

static const char *const trouble_names[TROUBLE_KINDS] = {
    "work fails", "call fails",    "black hole", "device removed",
    "short READ", "corrupt WRITE", "lock limit", "no disconnects"};

struct rdma_plan {
    struct chaos_plan chaos;
    unsigned len;
    struct {
        enum trouble what;
        enum ibv_wr_opcode kind;
        unsigned nth;
        int code;
        const char *function;
        uint64_t bytes;
    } trouble[TROUBLES];
    bool on_demand, no_imm;
    int read_depth;
    uint64_t reorder;
};

struct shared {
    atomic_ullong next, last, worker[WORKERS];
    atomic_uint failed, runs, over_rdma, moved, struck, work[8], what[TROUBLE_KINDS];
};

static struct shared *sh;

/* --- drawing --- */

static bool
chance(struct rng *r, unsigned percent)
{
    return rng_below(r, 100) < percent;
}

/* Early ones as often as late ones. */
static unsigned
nth(struct rng *r, unsigned bits)
{
    return 1 + (unsigned)rng_below(r, 1ull << rng_below(r, bits));
}

static void
draw_trouble(struct rng *r, struct rdma_plan *p)
{
    static const enum ibv_wr_opcode kinds[] = {IBV_WR_SEND, IBV_WR_RDMA_WRITE, IBV_WR_RDMA_WRITE,
                                               IBV_WR_RDMA_READ};
    static const enum ibv_wc_status statuses[] = {
        IBV_WC_RETRY_EXC_ERR, IBV_WC_REM_ACCESS_ERR, IBV_WC_LOC_PROT_ERR,     IBV_WC_REM_OP_ERR,
        IBV_WC_GENERAL_ERR,   IBV_WC_LOC_LEN_ERR,    IBV_WC_RNR_RETRY_EXC_ERR};
    static const struct {
        const char *function;
        int code;
    } calls[] = {{"ibv_reg_mr", ENOMEM},         {"ibv_reg_mr", EFAULT},
                 {"ibv_reg_mr", EINVAL},         {"ibv_alloc_pd", ENOMEM},
                 {"ibv_create_cq", EINVAL},      {"ibv_create_comp_channel", EMFILE},
                 {"ibv_create_qp", ENOMEM},      {"ibv_query_device", EIO},
                 {"ibv_post_send", ENOMEM},      {"ibv_post_recv", ENOMEM},
                 {"rdma_create_qp", EINVAL},     {"rdma_create_id", ENOMEM},
                 {"rdma_bind_addr", ENODEV},     {"rdma_resolve_addr", ENODEV},
                 {"rdma_resolve_route", ENODEV}, {"rdma_connect", EINVAL},
                 {"rdma_listen", EADDRINUSE},    {"rdma_accept", ECONNRESET},
                 {"rdma_migrate_id", ENOMEM},    {"rdma_create_event_channel", EMFILE}};
    const unsigned i = p->len++;

    p->trouble[i].what = (enum trouble)rng_below(r, TROUBLE_KINDS);
    p->trouble[i].kind = kinds[rng_below(r, ARRAY_LEN(kinds))];
    p->trouble[i].nth = nth(r, 9);
    switch (p->trouble[i].what) {
    case FAIL_WORK:
        p->trouble[i].code = (int)statuses[rng_below(r, ARRAY_LEN(statuses))];
        break;
    case FAIL_CALL: {
        uint64_t k = rng_below(r, ARRAY_LEN(calls));

        p->trouble[i].function = calls[k].function;
        p->trouble[i].code = calls[k].code;
        p->trouble[i].nth = nth(r, 7);
        break;
    }
    case BLACK_HOLE:
        p->trouble[i].code = 1 + (int)rng_below(r, 50);
        break;
    case SHORT_READ:
        p->trouble[i].kind = IBV_WR_RDMA_READ;
        p->trouble[i].nth = nth(r, 5);
        p->trouble[i].code = (int)rng_below(r, 4096);
        break;
    case LOCK_LIMIT:
        p->trouble[i].bytes = rng_below(r, 12 * MIB << rng_below(r, 3));
        break;
    case REMOVE:
    case CORRUPT_WRITE:
    case NO_DISCONNECTS:
    case TROUBLE_KINDS:
        break;
    }
}

static void
draw(struct rdma_plan *p, uint64_t seed)
{
    struct chaos_plan *c = &p->chaos;
    struct rng r;

    *p = (struct rdma_plan){0};
    chaos_draw(c, seed);
    rng_seed(&r, ~seed);
    c->processes = false; /* the double has one */
    c->rdma = true;
    c->struck = NULL;
    c->window_bytes = chance(&r, 50) ? 0 : (1 + rng_below(&r, 8)) * MIB;
    if (chance(&r, 60))
        c->policy.encoding = MIG_ENC_AUTO;
    for (unsigned i = 0; i < CHAOS_PERIODS; i++) { /* they were drawn for processes, perhaps */
        for (unsigned k = 0; k < c->periods[i].acts_len; k++)
            if (c->periods[i].acts[k].what >= CHAOS_KILL_SRC &&
                c->periods[i].acts[k].what <= CHAOS_FREEZE_DST)
                c->periods[i].acts[k].what = CHAOS_CANCEL;
        for (unsigned k = 0; k < 2; k++) {
            char *kill_ = strstr(c->periods[i].fault[k], ":kill");

            if (kill_)
                memcpy(kill_, ":error", sizeof ":error");
        }
    }
    c->must_move = seed % 3 != 0; /* nothing but the device makes trouble */
    if (c->must_move) {
        memset(c->periods, 0, sizeof c->periods);
        c->limits = (struct mig_limits){.completion_timeout_us = CHAOS_LONG_US,
                                        .bandwidth_bytes_per_s = c->limits.bandwidth_bytes_per_s};
        if (chance(&r, 40)) { /* nobody sees what a guest gives back (chaos_plan.c) */
            c->policy.allow_post_copy = c->policy.post_copy_at_once = true;
            c->guest.punch_percent = 0;
        }
        c->dead_peer_us = CHAOS_LONG_US;
        c->reconnect_us = CHAOS_LONG_US;
    }
    for (unsigned n = chance(&r, 10) ? 0 : 1 + (unsigned)rng_below(&r, TROUBLES); n > 0; n--)
        draw_trouble(&r, p);
    p->on_demand = chance(&r, 20);
    p->no_imm = chance(&r, 20);
    p->read_depth = chance(&r, 30) ? 1 + (int)rng_below(&r, 3) : 16;
    p->reorder = chance(&r, 50) ? rng_u64(&r) | 1 : 0;
}

static void
describe(const struct rdma_plan *p, struct sb *out)
{
    sb_printf(out, "%s%s%s read depth %d, windows %llu KiB;", p->reorder ? "reordered, " : "",
              p->on_demand ? "on demand, " : "", p->no_imm ? "no imm, " : "", p->read_depth,
              (unsigned long long)p->chaos.window_bytes >> 10);
    for (unsigned i = 0; i < p->len; i++)
        sb_printf(out, " %s(%s op %d nth %u code %d bytes %llu)", trouble_names[p->trouble[i].what],
                  p->trouble[i].function ? p->trouble[i].function : "", (int)p->trouble[i].kind,
                  p->trouble[i].nth, p->trouble[i].code, (unsigned long long)p->trouble[i].bytes);
    sb_puts(out, "; ");
    chaos_describe(&p->chaos, out);
}

/* --- running --- */

static void
arm(const struct rdma_plan *p)
{
    rdma_test_ip();
    verbs_set_on_demand(p->on_demand);
    verbs_set_write_imm(!p->no_imm);
    verbs_set_read_depth(p->read_depth);
    verbs_reorder(p->reorder);
    for (unsigned i = 0; i < p->len; i++) {
        const unsigned n = p->trouble[i].nth;

        switch (p->trouble[i].what) {
        case FAIL_WORK:
            verbs_fail_work(p->trouble[i].kind, n, (enum ibv_wc_status)p->trouble[i].code);
            break;
        case FAIL_CALL:
            verbs_fail_call(p->trouble[i].function, n, p->trouble[i].code);
            break;
        case BLACK_HOLE:
            verbs_black_hole(p->trouble[i].kind, n, (unsigned)p->trouble[i].code);
            break;
        case REMOVE:
            verbs_remove_at(p->trouble[i].kind, n);
            break;
        case SHORT_READ:
            verbs_short_read(n, (uint32_t)p->trouble[i].code);
            break;
        case CORRUPT_WRITE:
            verbs_corrupt_write(n);
            break;
        case LOCK_LIMIT:
            verbs_set_lock_limit(p->trouble[i].bytes);
            break;
        case NO_DISCONNECTS:
            verbs_drop_disconnects(true);
            break;
        case TROUBLE_KINDS:
            break;
        }
    }
}

static bool
struck(void)
{
    return verbs_struck() > 0;
}

static bool
run(struct rdma_plan *p, struct sb *why)
{
    struct chaos_reach *reach = xcalloc(1, sizeof *reach);
    struct verbs_counts n;
    bool ok;

    arm(p);
    p->chaos.struck = struck;
    ok = chaos_run(&p->chaos, reach, why);
    verbs_counts(&n);
    for (unsigned i = 0; i < p->len; i++)
        atomic_fetch_add(&sh->what[p->trouble[i].what], 1);
    for (int i = 0; i < 8; i++)
        atomic_fetch_add(&sh->work[i], (unsigned)n.work[i]);
    atomic_fetch_add(&sh->over_rdma, n.work[IBV_WR_SEND] > 0);
    atomic_fetch_add(&sh->moved, atomic_load(&reach->outcomes[MIG_MOVED]));
    atomic_fetch_add(&sh->struck, struck());
    verbs_reset(); /* what is left was blamed */
    free(reach);
    return ok;
}

static void
one_seed(uint64_t seed, bool talk)
{
    AUTO_SB struct sb why = SB_INIT, what = SB_INIT;
    struct rdma_plan p;

    draw(&p, seed);
    describe(&p, &what);
    if (talk)
        fprintf(stderr, "# seed %llu: %s\n", (unsigned long long)seed, sb_str(&what));
    if (!run(&p, &why)) {
        atomic_fetch_add(&sh->failed, 1);
        fprintf(stderr, "# CHAOS_SEEDS=%llu: %s\n#    %s\n", (unsigned long long)seed, sb_str(&why),
                sb_str(&what));
    }
    atomic_fetch_add(&sh->runs, 1);
}

static void
worker_main(int i, bool talk)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pair_let_crash();
    for (;;) {
        uint64_t seed = atomic_fetch_add(&sh->next, 1);

        if (seed > atomic_load(&sh->last))
            break;
        atomic_store(&sh->worker[i], seed);
        one_seed(seed, talk);
        atomic_store(&sh->worker[i], 0);
    }
    exit(0); /* with the leak checker's word */
}

/* A run that hangs aborts by itself (chaos_run.c). */
static void
run_seeds(uint64_t first, uint64_t last)
{
    pid_t pid[WORKERS];

    atomic_store(&sh->next, first);
    atomic_store(&sh->last, last);
    for (int i = 0; i < WORKERS; i++) {
        fflush(NULL);
        pid[i] = fork();
        assert(pid[i] >= 0);
        if (pid[i] == 0)
            worker_main(i, first == last);
    }
    for (int i = 0; i < WORKERS; i++) {
        AUTO_SB struct sb what = SB_INIT;
        struct rdma_plan p;
        int status;

        assert(waitpid(pid[i], &status, 0) == pid[i]);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        atomic_fetch_add(&sh->failed, 1);
        draw(&p, atomic_load(&sh->worker[i]));
        describe(&p, &what);
        fprintf(stderr, "# CHAOS_SEEDS=%llu: the process ended (status %#x)\n#    %s\n",
                (unsigned long long)atomic_load(&sh->worker[i]), status, sb_str(&what));
    }
}

static void
test_seeds(void **state)
{
    const char *seeds = getenv("CHAOS_SEEDS"), *dash = seeds ? strchr(seeds, '-') : NULL;
    uint64_t first = seeds ? strtoull(seeds, NULL, 10) : FIRST_SEED;
    uint64_t last = dash ? strtoull(dash + 1, NULL, 10) : seeds ? first : LAST_SEED;
    uint64_t began = clock_mono_us();

    (void)state;
    run_seeds(first, last);
    fprintf(stderr,
            "# %u runs in %.1f s: %u over RDMA, %u moved, trouble struck %u; %u SENDs, %u WRITEs, "
            "%u READs\n",
            atomic_load(&sh->runs), (double)(clock_mono_us() - began) / 1e6,
            atomic_load(&sh->over_rdma), atomic_load(&sh->moved), atomic_load(&sh->struck),
            atomic_load(&sh->work[IBV_WR_SEND]), atomic_load(&sh->work[IBV_WR_RDMA_WRITE]),
            atomic_load(&sh->work[IBV_WR_RDMA_READ]));
    assert_int_equal(atomic_load(&sh->failed), 0);
    assert_int_equal(atomic_load(&sh->runs), last - first + 1);
    if (seeds)
        return;
    /* it is RDMA that was tried, and trouble that was had: less of both where the machine is slow */
    assert_in_range(atomic_load(&sh->over_rdma) * 100, (last - first) * 40, UINT32_MAX);
    assert_in_range(atomic_load(&sh->struck) * 100, (last - first) * 15, UINT32_MAX);
    for (int i = 0; i < TROUBLE_KINDS; i++)
        assert_int_not_equal(atomic_load(&sh->what[i]), 0);
}

int
main(void)
{
    struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds)};

    if (!verbs_is_double()) {
        printf("1..0 # SKIP the trouble is the double's\n");
        return 0;
    }
    sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(sh != MAP_FAILED);
    certs_node("n1"); /* before there are workers that would each make their own */
    certs_node("n2");
    pair_skip_unless_supported(tests, ARRAY_LEN(tests));
    return cmocka_run_group_tests_name("rdma_chaos", tests, NULL, NULL);
}
