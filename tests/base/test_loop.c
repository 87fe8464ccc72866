/* base: the loop's two back ends keep the same contract. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/loop.h"

struct trace {
    struct loop *l;
    char seen[64];
    int n, left;
    struct loop_timer *cancelled;
};

struct step {
    struct trace *t;
    char c;
};

static void
on_step(void *ctx)
{
    struct step *s = ctx;

    s->t->seen[s->t->n++] = s->c;
    if (--s->t->left == 0)
        loop_stop(s->t->l);
}

static void
on_cancel(void *ctx)
{
    struct trace *t = ctx;

    loop_timer_del(t->cancelled);
    t->cancelled = NULL;
}

static void
order_of(struct loop *l)
{
    struct trace t = {.l = l, .left = 4};
    struct step a = {&t, 'a'}, b = {&t, 'b'}, c = {&t, 'c'}, d = {&t, 'd'}, x = {&t, 'x'};

    loop_timer_add(l, 20000, on_step, &d);
    t.cancelled = loop_timer_add(l, 15000, on_step, &x);
    loop_timer_add(l, 10000, on_step, &c);
    loop_timer_add(l, 5000, on_cancel, &t);
    loop_post(l, on_step, &a);
    loop_defer(l, on_step, &b);
    loop_run(l);
    assert_string_equal(t.seen, "abcd");
    loop_free(l);
}

static void
test_order(void **state)
{
    (void)state;
    order_of(loop_event_new());
    for (uint64_t seed = 0; seed < 50; seed++)
        order_of(loop_sim_new(seed));
}

static void
test_sim_time(void **state)
{
    struct loop *l = loop_sim_new(1);
    uint64_t t0 = loop_now_us(l);
    struct trace t = {.l = l, .left = 10};
    struct step a = {&t, 'a'};

    (void)state;
    loop_timer_add(l, 3600ull * 1000000, on_step, &a);
    loop_sim_run_until(l, t0 + 3599ull * 1000000);
    assert_int_equal(t.n, 0);
    loop_run(l); /* idle afterwards: returns */
    assert_int_equal(t.n, 1);
    assert_int_equal(loop_now_us(l) - t0, 3600ull * 1000000);
    loop_free(l);
}

/* Timers that fall due together run in an order that the seed decides, the same for the same seed.
 */
static void
test_sim_seeds(void **state)
{
    char first[64] = "";
    int different = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        char again[64];

        for (int run = 0; run < 2; run++) {
            struct loop *l = loop_sim_new(seed);
            struct trace t = {.l = l, .left = 6};
            struct step s[6];

            for (int i = 0; i < 6; i++) {
                s[i] = (struct step){&t, (char)('a' + i)};
                loop_timer_add(l, 1000, on_step, &s[i]);
            }
            loop_run(l);
            if (run == 1)
                assert_string_equal(t.seen, again);
            memcpy(again, t.seen, sizeof again);
            loop_free(l);
        }
        if (seed == 0)
            memcpy(first, again, sizeof first);
        different += strcmp(first, again) != 0;
    }
    assert_true(different > 10);
}

static void
on_readable(void *ctx, int fd, int events)
{
    struct trace *t = ctx;
    char c;

    assert_int_equal(events, LOOP_READ);
    assert_int_equal(read(fd, &c, 1), 1);
    t->seen[t->n++] = c;
    if (c == 'z')
        loop_stop(t->l);
}

static void *
poster(void *ctx)
{
    struct step *s = ctx;

    for (int i = 0; i < 10; i++)
        loop_post(s->t->l, on_step, s);
    return NULL;
}

static void
test_fds_and_threads(void **state)
{
    struct loop *l = loop_event_new();
    struct trace t = {.l = l, .left = 10};
    struct step s = {&t, 'p'};
    pthread_t th;
    int p[2];

    (void)state;
    pthread_create(&th, NULL, poster, &s);
    loop_run(l);
    pthread_join(th, NULL);
    assert_int_equal(t.n, 10);

    t.n = 0;
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);

    struct loop_fd *f = loop_fd_add(l, p[0], LOOP_READ, on_readable, &t);

    assert_int_equal(write(p[1], "xyz", 3), 3);
    loop_run(l);
    assert_memory_equal(t.seen, "xyz", 3);
    loop_fd_del(f);
    close(p[0]);
    close(p[1]);
    loop_free(l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_sim_time),
        cmocka_unit_test(test_sim_seeds),
        cmocka_unit_test(test_fds_and_threads),
    };

    return cmocka_run_group_tests_name("base.loop", tests, NULL, NULL);
}
