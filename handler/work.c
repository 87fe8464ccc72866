/* A queue and some threads; see work.h. */
#include "handler/work.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/sb.h"

struct job {
    struct job *next;
    void (*fn)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

struct work {
    struct loop *l;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    struct job *head, **tail; /* guarded by mu */
    bool stop;                /* guarded by mu */
    pthread_t *threads;
    unsigned threads_len;
};

static void *worker(void *ctx);

struct work *
work_new(struct loop *l, unsigned threads)
{
    struct work *w = xcalloc(1, sizeof *w);

    w->l = l;
    w->tail = &w->head;
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->cond, NULL);
    w->threads = xcalloc(threads, sizeof *w->threads);
    while (w->threads_len < threads &&
           pthread_create(&w->threads[w->threads_len], NULL, worker, w) == 0)
        w->threads_len++;
    if (w->threads_len == 0)
        abort();
    return w;
}

void
work_free(struct work *w)
{
    pthread_mutex_lock(&w->mu);
    w->stop = true;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->mu);
    for (unsigned i = 0; i < w->threads_len; i++)
        pthread_join(w->threads[i], NULL);
    for (struct job *j = w->head, *next; j; j = next) {
        next = j->next;
        free(j);
    }
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mu);
    free(w->threads);
    free(w);
}

void
work_run(struct work *w, void (*fn)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct job *j = xmalloc(sizeof *j);

    *j = (struct job){NULL, fn, done, ctx};
    pthread_mutex_lock(&w->mu);
    *w->tail = j;
    w->tail = &j->next;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mu);
}

static void *
worker(void *ctx)
{
    struct work *w = ctx;

    for (;;) {
        pthread_mutex_lock(&w->mu);
        while (!w->head && !w->stop)
            pthread_cond_wait(&w->cond, &w->mu);
        if (w->stop) {
            pthread_mutex_unlock(&w->mu);
            return NULL;
        }

        struct job *j = w->head;

        w->head = j->next;
        if (!w->head)
            w->tail = &w->head;
        pthread_mutex_unlock(&w->mu);
        j->fn(j->ctx);
        loop_post(w->l, j->done, j->ctx);
        free(j);
    }
}
