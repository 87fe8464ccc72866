/* handler: blocking jobs run off the loop and come back to it, each once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "handler/work.h"

enum { JOBS = 500 };

struct job {
    struct loop *l;
    pthread_t ran_on, done_on;
    atomic_int ran;
    int done;
};

static int left;

static void
run(void *ctx)
{
    struct job *j = ctx;

    j->ran_on = pthread_self();
    atomic_fetch_add(&j->ran, 1);
}

static void
done(void *ctx)
{
    struct job *j = ctx;

    j->done_on = pthread_self();
    j->done++;
    if (--left == 0)
        loop_stop(j->l);
}

static void
test_jobs(void **state)
{
    static struct job jobs[JOBS];
    struct loop *l = loop_event_new();
    struct work *w = work_new(l, 4);

    (void)state;
    left = JOBS;
    for (int i = 0; i < JOBS; i++) {
        jobs[i].l = l;
        work_run(w, run, done, &jobs[i]);
    }
    loop_run(l);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i].ran, 1);
        assert_int_equal(jobs[i].done, 1);
        assert_true(pthread_equal(jobs[i].done_on, pthread_self()));
        assert_false(pthread_equal(jobs[i].ran_on, pthread_self()));
    }
    work_free(w);
    loop_free(l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_jobs)};

    return cmocka_run_group_tests_name("handler.work", tests, NULL, NULL);
}
