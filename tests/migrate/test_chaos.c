/* Hundreds of migrations under seeded faults (chaos.h): rules 1 to 3 of the design hold in each.
 *   CHAOS_SEEDS=17        only this seed, with what was drawn
 *   CHAOS_SEEDS=1-100000  a campaign
 * Several worker processes share the seeds; one that dies or hangs is reported with its seed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <assert.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/migrate/certs.h"
#include "tests/migrate/chaos.h"
#include "tests/migrate/pair.h"

#define FIRST_SEED  1
#define LAST_SEED   400
#define WORKERS     6
#define HUNG_US     120000000
#define POINT_SEEDS 25 /* tries to reach a point in a migration drawn for it */
#define FAILURES    20 /* then it is enough */

struct shared {
    atomic_ullong next, last;
    atomic_uint failed, runs;
    atomic_bool points; /* a "seed" is a fault point, a side and a try */
    struct {
        atomic_ullong seed, since_us; /* 0 = between two */
    } worker[WORKERS];
    struct chaos_reach reach;
};

static struct shared *sh;

/* Beyond those: seeds that campaigns found something with. */
static const uint64_t found[] = {11120, 11700};

/* False: there is nothing to be done for it. */
static bool
draw(struct chaos_plan *plan, uint64_t seed)
{
    enum fault_point p = (enum fault_point)(seed / 2 % FAULT_COUNT);

    if (!atomic_load(&sh->points)) {
        chaos_draw(plan, seed);
        return true;
    }
    if (!(chaos_point_sides(p) & 1u << seed % 2) || atomic_load(&sh->reach.acted[p][seed % 2]) > 0)
        return false;
    chaos_draw_point(plan, seed, p, (int)(seed % 2));
    return true;
}

static void
one_seed(uint64_t seed, bool talk)
{
    AUTO_SB struct sb why = SB_INIT, what = SB_INIT;
    struct chaos_plan plan;

    if (!draw(&plan, seed))
        return;
    chaos_describe(&plan, &what);
    if (talk)
        fprintf(stderr, "# seed %llu: %s\n", (unsigned long long)seed, sb_str(&what));
    if (!chaos_run(&plan, &sh->reach, &why)) {
        atomic_fetch_add(&sh->failed, 1);
        fprintf(stderr, "# CHAOS_SEEDS=%llu: %s\n#    %s\n", (unsigned long long)seed, sb_str(&why),
                sb_str(&what));
    }
    atomic_fetch_add(&sh->runs, 1);
}

static void
worker_main(int i)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pair_let_crash();
    for (;;) {
        uint64_t seed = atomic_fetch_add(&sh->next, 1);

        if (seed > atomic_load(&sh->last) || atomic_load(&sh->failed) >= FAILURES)
            break;
        atomic_store(&sh->worker[i].since_us, clock_mono_us());
        atomic_store(&sh->worker[i].seed, seed);
        one_seed(seed, getenv("CHAOS_TALK") != NULL);
        atomic_store(&sh->worker[i].seed, 0);
    }
    exit(0); /* with the leak checker's word */
}

static void
start_worker(pid_t *pid, int i)
{
    fflush(NULL);
    *pid = fork();
    assert(*pid >= 0);
    if (*pid == 0)
        worker_main(i);
}

static void
report_end(int i, int status, bool hung)
{
    unsigned long long seed = atomic_load(&sh->worker[i].seed);
    AUTO_SB struct sb what = SB_INIT;
    struct chaos_plan plan;

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && !seed)
        return;
    atomic_fetch_add(&sh->failed, 1);
    if (!seed) {
        fprintf(stderr, "# a worker ended with status %#x between two seeds\n", status);
        return;
    }
    draw(&plan, seed);
    chaos_describe(&plan, &what);
    fprintf(stderr, "# CHAOS_SEEDS=%llu: %s (status %#x)\n#    %s\n", seed,
            hung ? "hangs" : "the process ended", status, sb_str(&what));
}

static void
run_seeds(uint64_t first, uint64_t last)
{
    pid_t pid[WORKERS];
    int left = WORKERS;

    atomic_store(&sh->next, first);
    atomic_store(&sh->last, last);
    for (int i = 0; i < WORKERS; i++)
        start_worker(&pid[i], i);
    while (left > 0) {
        for (int i = 0; i < WORKERS; i++) {
            int status;
            bool hung = atomic_load(&sh->worker[i].seed) &&
                        clock_mono_us() - atomic_load(&sh->worker[i].since_us) > HUNG_US;

            if (pid[i] && hung)
                kill(pid[i], SIGKILL);
            if (!pid[i] || waitpid(pid[i], &status, hung ? 0 : WNOHANG) != pid[i])
                continue;
            report_end(i, status, hung);
            atomic_store(&sh->worker[i].seed, 0);
            pid[i] = 0;
            if (atomic_load(&sh->next) <= last && atomic_load(&sh->failed) < FAILURES)
                start_worker(&pid[i], i);
            else
                left--;
        }
        poll(NULL, 0, 20);
    }
}

static void
test_seeds(void **state)
{
    const char *seeds = getenv("CHAOS_SEEDS"), *dash = seeds ? strchr(seeds, '-') : NULL;
    uint64_t first = seeds ? strtoull(seeds, NULL, 10) : FIRST_SEED;
    uint64_t last = dash ? strtoull(dash + 1, NULL, 10) : seeds ? first : LAST_SEED;
    uint64_t began = clock_mono_us();
    const struct chaos_reach *r = &sh->reach;

    (void)state;
    if (first == last)
        setenv("CHAOS_TALK", "1", 1);
    run_seeds(first, last);
    for (size_t i = 0; !seeds && i < ARRAY_LEN(found); i++)
        run_seeds(found[i], found[i]);
    fprintf(stderr,
            "# %u runs in %.1f s: %u moved, %u failed, %u unknown first (%u questions); target: %u "
            "running, %u failed, %u aborted, %u in doubt; %u without a fault, %u of three rounds "
            "and more, %u as processes, %u with TLS\n",
            atomic_load(&sh->runs), (double)(clock_mono_us() - began) / 1e6,
            atomic_load(&r->outcomes[MIG_MOVED]), atomic_load(&r->outcomes[MIG_FAILED]),
            atomic_load(&r->outcomes[MIG_UNKNOWN]), atomic_load(&r->resolved),
            atomic_load(&r->targets[MIG_TARGET_RUNNING]),
            atomic_load(&r->targets[MIG_TARGET_FAILED]),
            atomic_load(&r->targets[MIG_TARGET_ABORTED]),
            atomic_load(&r->targets[MIG_TARGET_IN_DOUBT]), atomic_load(&r->faultless),
            atomic_load(&r->rounds), atomic_load(&r->processes), atomic_load(&r->tls));
    fprintf(stderr, "# causes:");
    for (int i = 0; i <= MIG_CAUSE_LOCAL; i++)
        fprintf(stderr, " %u", atomic_load(&r->causes[i]));
    fprintf(stderr, "; tricks played:");
    for (int i = 0; i < NET_EFFECTS; i++)
        fprintf(stderr, " %s %u", net_effect_name((enum net_effect)i), atomic_load(&r->played[i]));
    fprintf(stderr, "\n");
    assert_int_equal(atomic_load(&sh->failed), 0);
}

/* Each fault point of the engine has failed at least once, on each side that it is on. */
static void
test_every_fault_point(void **state)
{
    static const char *const sides[] = {"source", "target"};
    int missing = 0;

    (void)state;
    if (getenv("CHAOS_SEEDS"))
        skip();
    atomic_store(&sh->points, true);
    run_seeds(0, 2 * FAULT_COUNT * POINT_SEEDS - 1);
    assert_int_equal(atomic_load(&sh->failed), 0);
    for (int p = 0; p < FAULT_COUNT; p++) {
        for (int side = 0; side < 2; side++) {
            if (!(chaos_point_sides((enum fault_point)p) & 1u << side) ||
                atomic_load(&sh->reach.acted[p][side]) > 0)
                continue;
            missing++;
            fprintf(stderr, "# %s: %s at the %s\n", fault_name((enum fault_point)p),
                    atomic_load(&sh->reach.reached[p][side]) ? "reached, but never failed"
                                                             : "never reached",
                    sides[side]);
        }
    }
    assert_int_equal(missing, 0);
}

int
main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_every_fault_point),
    };

    certs_node("n1"); /* before there are processes that would each make their own */
    certs_node("n2");
    sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(sh != MAP_FAILED);
    pair_skip_unless_supported(tests, ARRAY_LEN(tests));
    return cmocka_run_group_tests_name("chaos", tests, NULL, NULL);
}
