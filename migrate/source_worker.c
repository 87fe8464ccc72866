/* The source's worker threads: one a channel, all in the same phase. See source_int.h. */
#include "migrate/source_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "migrate/xport.h"

static void *worker_main(void *arg);
static int prepare(struct source_worker *w);
static int settle(struct source_worker *w);

int
source_workers_start(struct mig_source *s)
{
    for (uint32_t i = 0; i < s->channels; i++) {
        struct source_worker *w = &s->workers[i];
        int rc = prepare(w);

        if (rc == 0) {
            w->seen_phase = s->phase_seq;
            rc = pthread_create(&w->thread, NULL, worker_main, w);
            if (rc != 0)
                rc = err_set(&w->err, -rc, "worker thread: %s", strerror(rc));
        }
        if (rc != 0)
            return source_trouble(s, MIG_CAUSE_LOCAL, rc, &w->err);
        w->started = true;
    }
    return 0;
}

void
source_workers_stop(struct mig_source *s)
{
    pthread_mutex_lock(&s->mu);
    atomic_store(&s->stop, true);
    pthread_cond_broadcast(&s->cv);
    pthread_mutex_unlock(&s->mu);
    for (uint32_t i = 0; i < s->channels && s->workers; i++)
        conn_shut(s->workers[i].conn);
    for (uint32_t i = 0; i < s->channels && s->workers; i++) {
        if (s->workers[i].started)
            pthread_join(s->workers[i].thread, NULL);
        s->workers[i].started = false;
    }
}

void
source_phase_begin(struct mig_source *s, enum source_phase phase)
{
    for (uint32_t i = 0; i < s->channels; i++)
        atomic_store_explicit(&s->workers[i].done_pages, 0, memory_order_relaxed);
    pthread_mutex_lock(&s->mu);
    s->phase = phase;
    s->phase_seq++;
    s->pending = s->channels;
    pthread_cond_broadcast(&s->cv);
    pthread_mutex_unlock(&s->mu);
}

static int
prepare(struct source_worker *w)
{
    if (w->scan) /* for an earlier connection */
        return 0;
    w->scan = track_buf_new();
    /* zero_page wants whole pages */
    w->batch.pages =
        aligned_alloc(LAYOUT_PAGE_BYTES, (size_t)FRAME_MAX_RAW_PAGES * LAYOUT_PAGE_BYTES);
    if (!w->batch.pages)
        return err_set(&w->err, -ENOMEM, "no memory for a batch");
    source_encode_init(w);
    for (uint32_t r = 0; r < w->s->layout.regions; r++) {
        int rc = present_init(&w->present[r], &w->s->regions[r], &w->err);

        if (rc != 0)
            return rc;
    }
    return 0;
}

static void *
worker_main(void *arg)
{
    struct source_worker *w = arg;
    struct mig_source *s = w->s;
    uint64_t seen = w->seen_phase;
    char name[16];

    snprintf(name, sizeof name, "mig-send-%u", w->index);
    pthread_setname_np(pthread_self(), name);
    pthread_mutex_lock(&s->mu);
    for (;;) {
        while (!atomic_load(&s->stop) && s->phase_seq == seen)
            pthread_cond_wait(&s->cv, &s->mu);
        if (atomic_load(&s->stop))
            break;
        seen = s->phase_seq;

        enum source_phase phase = s->phase;

        pthread_mutex_unlock(&s->mu);

        int rc = phase == SOURCE_COUNT    ? source_count(w)
                 : phase == SOURCE_SEND   ? source_send(w)
                 : phase == SOURCE_PUSH   ? source_push(w)
                 : phase == SOURCE_DIGEST ? source_digest(w)
                                          : source_probe(w, phase == SOURCE_ARM);

        if (rc == 0)
            rc = settle(w);
        atomic_store_explicit(&w->cpu_us, clock_thread_ns() / 1000, memory_order_relaxed);
        pthread_mutex_lock(&s->mu);
        s->pending--;
        if (rc != 0 && !s->failed)
            s->failed = w;
        if (rc != 0 || s->pending == 0)
            eventfd_write(s->wake_fd, 1);
    }
    pthread_mutex_unlock(&s->mu);
    return NULL;
}

static int
settle(struct source_worker *w)
{
    int rc = conn_settle(w->conn, &w->err);

    if (rc == 0)
        return 0;
    w->cause = MIG_CAUSE_PEER;
    return err_prefix(&w->err, rc, "data channel %u", w->index);
}
