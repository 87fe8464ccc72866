/* A queue of REST writes and the thread that sends them; see writer.h. */
#include "handler/writer.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/log.h"
#include "base/sb.h"
#include "handler/limits.h"
#include "proto/rest.h"

struct request {
    struct request *next;
    struct writer *w;
    char *key, *method, *path, *content_type, *body;
    writer_fn fn;
    void *ctx;
    /* the answer */
    int status;
    struct tree *answer;
    char *error;
};

struct writer {
    struct loop *l;
    struct rest *rest;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    struct request *head, **tail; /* guarded by mu */
    size_t len;                   /* guarded by mu */
    bool stop;                    /* guarded by mu */
};

static void *run(void *ctx);
static void send_one(struct request *rq);
static void answered(void *ctx);
static void request_free(struct request *rq);

struct writer *
writer_new(struct loop *l, const char *url, struct err *err)
{
    struct rest *rest = rest_new(url, err);

    if (!rest)
        return NULL;

    struct writer *w = xcalloc(1, sizeof *w);

    w->l = l;
    w->rest = rest;
    w->tail = &w->head;
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->cond, NULL);
    if (pthread_create(&w->thread, NULL, run, w) != 0)
        abort();
    return w;
}

void
writer_free(struct writer *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->mu);
    w->stop = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mu);
    pthread_join(w->thread, NULL);
    for (struct request *rq = w->head, *next; rq; rq = next) {
        next = rq->next;
        request_free(rq);
    }
    rest_free(w->rest);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mu);
    free(w);
}

size_t
writer_queued(struct writer *w)
{
    size_t n;

    pthread_mutex_lock(&w->mu);
    n = w->len;
    pthread_mutex_unlock(&w->mu);
    return n;
}

void
writer_send(struct writer *w, const char *key, const char *method, const char *path,
            const char *content_type, const struct tree *body, writer_fn fn, void *ctx)
{
    struct request *rq = xcalloc(1, sizeof *rq), *old = NULL;
    struct sb sb = SB_INIT;

    tree_to_json(body, 0, &sb);
    rq->w = w;
    rq->key = key ? xstrdup(key) : NULL;
    rq->method = xstrdup(method);
    rq->path = xstrdup(path);
    rq->content_type = xstrdup(content_type ? content_type : REST_MERGE_PATCH);
    rq->body = sb_steal(&sb);
    rq->fn = fn;
    rq->ctx = ctx;

    pthread_mutex_lock(&w->mu);
    for (struct request **p = &w->head; key && *p; p = &(*p)->next) {
        if (!(*p)->key || strcmp((*p)->key, key) != 0)
            continue;
        old = *p;
        rq->next = old->next;
        *p = rq;
        if (w->tail == &old->next)
            w->tail = &rq->next;
        break;
    }
    if (!old && w->len < HANDLER_WRITE_QUEUE) {
        *w->tail = rq;
        w->tail = &rq->next;
        w->len++;
        pthread_cond_signal(&w->cond);
    } else if (!old) {
        old = rq; /* full: answered as if no answer had come */
    }
    pthread_mutex_unlock(&w->mu);
    if (old) {
        old->error = xstrdup(old == rq ? "too many writes wait for the controller" : "replaced");
        loop_post(w->l, answered, old);
    }
}

static void *
run(void *ctx)
{
    struct writer *w = ctx;

    for (;;) {
        pthread_mutex_lock(&w->mu);
        while (!w->head && !w->stop)
            pthread_cond_wait(&w->cond, &w->mu);
        if (w->stop) {
            pthread_mutex_unlock(&w->mu);
            return NULL;
        }

        struct request *rq = w->head;

        w->head = rq->next;
        if (!w->head)
            w->tail = &w->head;
        w->len--;
        pthread_mutex_unlock(&w->mu);
        send_one(rq);
        loop_post(w->l, answered, rq);
    }
}

static void
send_one(struct request *rq)
{
    struct rest_reply rp = {0};
    struct err err = {0};

    if (rest_call(rq->w->rest, rq->method, rq->path, NULL, rq->content_type, rq->body,
                  strlen(rq->body), &rp, &err) != 0) {
        rq->error = xstrdup(err_msg(&err));
        log_debug("write.unanswered", LS("path", rq->path), LS("error", rq->error));
        return;
    }
    rq->status = rp.status;
    if (rp.status >= 300) {
        rest_reply_err(&rp, &err);
        rq->error = xstrdup(err_msg(&err));
        log_debug("write.refused", LS("path", rq->path), LI("status", rp.status),
                  LS("error", rq->error));
    } else if (tree_from_json(rp.body, rp.len, &rq->answer, &err) != 0) {
        rq->answer = NULL;
    }
    rest_reply_done(&rp);
}

static void
answered(void *ctx)
{
    struct request *rq = ctx;

    if (rq->fn)
        rq->fn(rq->ctx, rq->status, rq->answer, rq->error ? rq->error : "");
    request_free(rq);
}

static void
request_free(struct request *rq)
{
    free(rq->key);
    free(rq->method);
    free(rq->path);
    free(rq->content_type);
    free(rq->body);
    tree_free(rq->answer);
    free(rq->error);
    free(rq);
}
