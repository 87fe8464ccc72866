/* See fake_server.h. One thread accepts, one more for each connection: a client keeps one open
 * while it watches over another. */
#include "tests/cli/fake_server.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sb.h"

#define MAX_REQUEST (1 << 20)
#define MAX_ANSWERS 64
#define MAX_CONNS   64

struct conn {
    struct fake_server *s;
    int fd;
    pthread_t thread;
};

struct fake_server {
    const struct fake_answer *answers;
    int used[MAX_ANSWERS];
    int fd;
    char path[64], url[80];
    pthread_t thread;
    struct conn conns[MAX_CONNS]; /* owned by thread, then by fake_server_free */
    size_t conns_len;
    pthread_mutex_t mu;
    struct sb log; /* guarded by mu, as is used[] */
    char *log_copy;
};

static const char not_found[] =
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
    "\"message\":\"not in the recording\",\"reason\":\"NotFound\",\"code\":404}";

static bool
path_matches(const char *pattern, const char *path)
{
    size_t n = strlen(pattern);

    if (n && pattern[n - 1] == '*')
        return strncmp(pattern, path, n - 1) == 0;
    return strcmp(pattern, path) == 0;
}

static const struct fake_answer *
find_answer(struct fake_server *s, const char *method, const char *path)
{
    for (size_t i = 0; s->answers[i].method; i++) {
        const struct fake_answer *a = &s->answers[i];

        assert(i < MAX_ANSWERS);
        if (strcmp(a->method, method) != 0 || !path_matches(a->path, path))
            continue;
        if (a->times && s->used[i] >= a->times)
            continue;
        s->used[i]++;
        return a;
    }
    return NULL;
}

static bool
send_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* False when the connection is to be closed. */
static bool
answer(struct fake_server *s, int fd, const char *method, const char *path, const char *body)
{
    const struct fake_answer *a;
    AUTO_SB struct sb reply = SB_INIT;
    bool watch = strstr(path, "watch=true") != NULL;
    const char *text;

    pthread_mutex_lock(&s->mu);
    sb_printf(&s->log, "%s %s%s%s\n", method, path, body[0] ? " " : "", body);
    a = find_answer(s, method, path);
    pthread_mutex_unlock(&s->mu);
    text = a ? a->body : not_found;
    sb_printf(&reply, "HTTP/1.1 %d x\r\nContent-Type: application/json\r\n", a ? a->status : 404);
    if (a && a->warning)
        sb_printf(&reply, "Warning: 299 - \"%s\"\r\n", a->warning);
    if (watch)
        sb_puts(&reply, "Connection: close\r\n\r\n");
    else
        sb_printf(&reply, "Content-Length: %zu\r\n\r\n", strlen(text));
    sb_puts(&reply, text);
    return send_all(fd, reply.buf, reply.len) && !watch;
}

/* Reads requests until the other side closes. */
static void
serve(struct fake_server *s, int fd)
{
    char *buf = xmalloc(MAX_REQUEST + 1);
    size_t len = 0;

    for (;;) {
        char *end, *body, method[16], path[4096];
        size_t head, want = 0;
        ssize_t n;

        buf[len] = '\0';
        end = strstr(buf, "\r\n\r\n");
        if (end) {
            char *cl = strcasestr(buf, "content-length:");

            head = (size_t)(end - buf) + 4;
            if (cl && cl < end)
                want = strtoul(cl + 15, NULL, 10);
            if (len >= head + want) {
                int got = sscanf(buf, "%15s %4095s", method, path);
                bool go_on;

                assert(got == 2);
                body = xstrndup(buf + head, want);
                go_on = answer(s, fd, method, path, body);
                free(body);
                len -= head + want;
                memmove(buf, buf + head + want, len);
                if (!go_on)
                    break;
                continue;
            }
        }
        n = len < MAX_REQUEST ? read(fd, buf + len, MAX_REQUEST - len) : 0;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    free(buf);
    shutdown(fd, SHUT_RDWR);
}

static void *
run_conn(void *ctx)
{
    struct conn *c = ctx;

    serve(c->s, c->fd);
    return NULL;
}

static void *
run(void *ctx)
{
    struct fake_server *s = ctx;

    for (;;) {
        int fd = accept(s->fd, NULL, NULL);

        struct conn *c = &s->conns[s->conns_len];

        if (fd < 0)
            return NULL;
        assert(s->conns_len < MAX_CONNS);
        s->conns_len++;
        *c = (struct conn){.s = s, .fd = fd};
        pthread_create(&c->thread, NULL, run_conn, c);
    }
}

struct fake_server *
fake_server_new(const struct fake_answer *answers)
{
    struct fake_server *s = xcalloc(1, sizeof(*s));
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int rc;

    s->answers = answers;
    snprintf(s->path, sizeof(s->path), "/tmp/drover-test-%d.sock", (int)getpid());
    snprintf(s->url, sizeof(s->url), "unix:%s", s->path);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", s->path);
    unlink(s->path);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rc = bind(s->fd, (struct sockaddr *)&addr, sizeof(addr));
    assert(rc == 0);
    rc = listen(s->fd, 16);
    assert(rc == 0);
    pthread_mutex_init(&s->mu, NULL);
    rc = pthread_create(&s->thread, NULL, run, s);
    assert(rc == 0);
    (void)rc;
    return s;
}

void
fake_server_free(struct fake_server *s)
{
    /* ends accept() */
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    for (size_t i = 0; i < s->conns_len; i++) {
        shutdown(s->conns[i].fd, SHUT_RDWR);
        pthread_join(s->conns[i].thread, NULL);
        close(s->conns[i].fd);
    }
    unlink(s->path);
    pthread_mutex_destroy(&s->mu);
    sb_done(&s->log);
    free(s->log_copy);
    free(s);
}

const char *
fake_server_url(const struct fake_server *s)
{
    return s->url;
}

const char *
fake_server_log(struct fake_server *s)
{
    pthread_mutex_lock(&s->mu);
    free(s->log_copy);
    s->log_copy = xstrdup(sb_str(&s->log));
    pthread_mutex_unlock(&s->mu);
    return s->log_copy;
}

static char *
read_memfd(int fd)
{
    off_t len = lseek(fd, 0, SEEK_END);
    char *text = xcalloc(1, (size_t)len + 1);
    ssize_t n = pread(fd, text, (size_t)len, 0);

    assert(n == len);
    (void)n;
    close(fd);
    return text;
}

struct ran
run_verb(int (*verb)(int argc, char **argv), const char *const *args)
{
    char *argv[64] = {NULL};
    int argc = 0, out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
    int old_out, old_err;
    struct ran r;

    for (; args[argc]; argc++)
        argv[argc] = xstrdup(args[argc]);
    fflush(stdout);
    fflush(stderr);
    old_out = dup(1);
    old_err = dup(2);
    dup2(out, 1);
    dup2(err, 2);
    r.exit_code = verb(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(old_out, 1);
    dup2(old_err, 2);
    close(old_out);
    close(old_err);
    r.out = read_memfd(out);
    r.err = read_memfd(err);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return r;
}

void
ran_done(struct ran *r)
{
    free(r->out);
    free(r->err);
}
