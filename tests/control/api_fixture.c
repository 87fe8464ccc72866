/* See api_fixture.h. */
#include "tests/control/api_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/fs.h"

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "fixture: %s\n", what);
        abort();
    }
}

static void *
serve(void *arg)
{
    struct api_fixture *f = arg;

    loop_run(f->loop);
    return NULL;
}

void
api_fixture_open(struct api_fixture *f, const struct api_config *config)
{
    struct err err = {0};
    char where[96];

    signal(SIGPIPE, SIG_IGN);
    *f = (struct api_fixture){0};
    snprintf(f->dir, sizeof(f->dir), "/tmp/drover-api-XXXXXX");
    must(mkdtemp(f->dir) != NULL, "mkdtemp");
    f->loop = loop_event_new();
    f->store = store_open_mem(f->loop);
    f->api = api_new(f->loop, f->store, config);
    snprintf(where, sizeof(where), "unix:%s/api.sock", f->dir);
    if (api_listen(f->api, where, f->url, sizeof(f->url), &err) != 0 ||
        api_listen(f->api, "tcp:127.0.0.1:0", f->tcp_url, sizeof(f->tcp_url), &err) != 0)
        must(false, err_msg(&err));
    must(pthread_create(&f->thread, NULL, serve, f) == 0, "pthread_create");
    f->rest = rest_new(f->url, &err);
    must(f->rest != NULL, err_msg(&err));
}

void
api_fixture_close(struct api_fixture *f)
{
    rest_free(f->rest);
    loop_stop(f->loop);
    pthread_join(f->thread, NULL);
    api_stop(f->api);
    store_free(f->store);
    api_free(f->api);
    loop_free(f->loop);
    free(f->text);
    tree_free(f->body);
    fs_rmtree(f->dir, NULL);
}

int
api_fixture_setup(void **state)
{
    struct api_fixture *f = xcalloc(1, sizeof(*f));

    api_fixture_open(f, NULL);
    *state = f;
    return 0;
}

int
api_fixture_teardown(void **state)
{
    api_fixture_close(*state);
    free(*state);
    return 0;
}

static int
call(struct api_fixture *f, const char *method, const char *path, const char *accept,
     const char *type, const char *body)
{
    struct rest_reply rp = {0};
    struct err err = {0};

    bool ok = rest_call(f->rest, method, path, accept, type, body, body ? strlen(body) : 0, &rp,
                        &err) == 0;

    must(ok, err_msg(&err));
    free(f->text);
    tree_free(f->body);
    f->body = NULL;
    f->status = rp.status;
    f->text = xstrdup(rp.body);
    f->warnings = rp.warnings_len;
    snprintf(f->warning, sizeof(f->warning), "%s", rp.warnings_len ? rp.warnings[0] : "");
    tree_from_json(rp.body, rp.len, &f->body, NULL);
    rest_reply_done(&rp);
    return f->status;
}

int
api_fixture_call(struct api_fixture *f, const char *method, const char *path, const char *type,
                 const char *body)
{
    return call(f, method, path, NULL, type, body);
}

int
api_fixture_get(struct api_fixture *f, const char *path)
{
    return call(f, "GET", path, NULL, NULL, NULL);
}

int
api_fixture_get_as(struct api_fixture *f, const char *path, const char *accept)
{
    return call(f, "GET", path, accept, NULL, NULL);
}

const char *
api_fixture_text(struct api_fixture *f, const char *path)
{
    static char number[32];
    const struct tree *t = f->body;
    char step[64];

    while (t && *path) {
        size_t n = strcspn(path, ".");

        must(n < sizeof(step), "a long step");
        memcpy(step, path, n);
        step[n] = '\0';
        t = tree_type(t) == TREE_LIST ? tree_at(t, strtoul(step, NULL, 10)) : tree_get(t, step);
        path += n + (path[n] == '.');
    }
    if (tree_type(t) == TREE_INT) {
        snprintf(number, sizeof(number), "%lld", (long long)tree_get_int(t, 0));
        return number;
    }
    if (tree_type(t) == TREE_BOOL)
        return tree_get_bool(t, false) ? "true" : "false";
    return tree_get_string(t, "");
}

void
api_fixture_create(struct api_fixture *f, const char *path, const char *json)
{
    if (api_fixture_call(f, "POST", path, NULL, json) != 201) {
        fprintf(stderr, "POST %s: %d %s\n", path, f->status, f->text);
        abort();
    }
}

/* --- on the server's thread --- */
struct errand {
    struct api_fixture *f;
    void (*fn)(struct api_fixture *f, void *ctx);
    void *ctx;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool finished;
};

static void
run_errand(void *arg)
{
    struct errand *e = arg;

    e->fn(e->f, e->ctx);
    pthread_mutex_lock(&e->mu);
    e->finished = true;
    pthread_cond_signal(&e->cond);
    pthread_mutex_unlock(&e->mu);
}

void
api_fixture_do(struct api_fixture *f, void (*fn)(struct api_fixture *f, void *ctx), void *ctx)
{
    struct errand e = {.f = f, .fn = fn, .ctx = ctx};

    pthread_mutex_init(&e.mu, NULL);
    pthread_cond_init(&e.cond, NULL);
    loop_post(f->loop, run_errand, &e);
    pthread_mutex_lock(&e.mu);
    while (!e.finished)
        pthread_cond_wait(&e.cond, &e.mu);
    pthread_mutex_unlock(&e.mu);
    pthread_cond_destroy(&e.cond);
    pthread_mutex_destroy(&e.mu);
}

/* --- raw connections --- */
int
api_fixture_connect(struct api_fixture *f)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct timeval tv = {20, 0};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(fd >= 0, "socket");
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", f->url + 5);
    must(connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0, "connect");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
    return fd;
}

void
api_fixture_send(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) { /* the server may have had enough of us */
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

char *
api_fixture_read(int fd, const char *until)
{
    struct sb out = SB_INIT;
    char buf[16384];

    while (!until || !strstr(sb_str(&out), until)) {
        ssize_t n = recv(fd, buf, sizeof(buf), 0);

        must(n >= 0 || errno == ECONNRESET || errno == EPIPE, "no answer within the deadline");
        if (n <= 0)
            break;
        sb_add(&out, buf, (size_t)n);
    }
    return sb_steal(&out);
}
