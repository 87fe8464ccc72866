/* See heartbeat.h. */
#include "tests/system/heartbeat.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sb.h"

#define POLL_MS    4
#define LINE_BYTES 1024

struct log {
    char *path;
    int fd;
    ino_t ino;
    off_t at;
    struct sb fresh; /* read, not looked at yet */
};

struct heartbeat {
    struct log *logs; /* the thread's */
    size_t len, current;
    char line[LINE_BYTES];
    size_t line_len;
    uint64_t last_us, expected;
    pthread_t thread;

    pthread_mutex_t mu; /* guards what follows */
    bool stop;
    struct heartbeat_now now;
    char *awaited; /* text of heartbeat_says, NULL: none or seen */
};

static void *follow(void *ctx);

struct heartbeat *
heartbeat_new(struct sys *s, const char *uid)
{
    struct heartbeat *h = xcalloc(1, sizeof *h);

    h->len = s->c->nodes_len;
    h->logs = xcalloc(h->len, sizeof *h->logs);
    for (size_t i = 0; i < h->len; i++) {
        h->logs[i].path = xasprintf("%s/guests/%s/console.log", s->c->nodes[i].state_dir, uid);
        h->logs[i].fd = -1;
    }
    pthread_mutex_init(&h->mu, NULL);
    if (pthread_create(&h->thread, NULL, follow, h) != 0)
        sys_die(s, "no thread");
    return h;
}

void
heartbeat_free(struct heartbeat *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->mu);
    h->stop = true;
    pthread_mutex_unlock(&h->mu);
    pthread_join(h->thread, NULL);
    for (size_t i = 0; i < h->len; i++) {
        if (h->logs[i].fd >= 0)
            close(h->logs[i].fd);
        sb_done(&h->logs[i].fresh);
        free(h->logs[i].path);
    }
    free(h->logs);
    free(h->awaited);
    pthread_mutex_destroy(&h->mu);
    free(h);
}

void
heartbeat_look(struct heartbeat *h, struct heartbeat_now *ret)
{
    pthread_mutex_lock(&h->mu);
    *ret = h->now;
    pthread_mutex_unlock(&h->mu);
}

void
heartbeat_mark(struct heartbeat *h)
{
    pthread_mutex_lock(&h->mu);
    h->now.gap_ms = 0;
    pthread_mutex_unlock(&h->mu);
}

struct awaiting {
    struct heartbeat *h;
    uint64_t lines;
};

static bool
have_lines(void *ctx)
{
    struct awaiting *a = ctx;
    struct heartbeat_now n;

    heartbeat_look(a->h, &n);
    return n.lines >= a->lines;
}

bool
heartbeat_wait(struct heartbeat *h, uint64_t lines, unsigned seconds)
{
    struct heartbeat_now n;
    struct awaiting a = {.h = h};

    heartbeat_look(h, &n);
    a.lines = n.lines + lines;
    return sys_poll(seconds, have_lines, &a);
}

static bool
was_said(void *ctx)
{
    struct heartbeat *h = ctx;
    bool said;

    pthread_mutex_lock(&h->mu);
    said = h->awaited == NULL;
    pthread_mutex_unlock(&h->mu);
    return said;
}

bool
heartbeat_says(struct heartbeat *h, const char *text, unsigned seconds)
{
    pthread_mutex_lock(&h->mu);
    free(h->awaited);
    h->awaited = xstrdup(text);
    pthread_mutex_unlock(&h->mu);
    return sys_poll(seconds, was_said, h);
}

/* --- the thread --- */

static void
read_rest(struct log *l)
{
    char buf[16384];
    struct stat st;
    ssize_t n;

    if (fstat(l->fd, &st) == 0 && st.st_size < l->at)
        l->at = 0; /* begun anew */
    while ((n = pread(l->fd, buf, sizeof buf, l->at)) > 0) {
        sb_add(&l->fresh, buf, (size_t)n);
        l->at += n;
    }
}

/* What was written since the last look, also to a file that is gone meanwhile. */
static void
read_log(struct log *l)
{
    struct stat st;

    if (l->fd >= 0)
        read_rest(l);
    if (stat(l->path, &st) != 0 || (l->fd >= 0 && st.st_ino == l->ino))
        return;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = open(l->path, O_RDONLY | O_CLOEXEC);
    l->ino = st.st_ino;
    l->at = 0;
    if (l->fd >= 0)
        read_rest(l);
}

static void
note(struct heartbeat *h, uint64_t n)
{
    if (n == 0 && h->expected > 0) {
        h->now.restarts++;
    } else if (n != h->expected) {
        h->now.lost += n > h->expected ? n - h->expected : 1;
        if (!h->now.wrong[0])
            snprintf(h->now.wrong, sizeof h->now.wrong, "HB %" PRIu64 " where %" PRIu64 " was next",
                     n, h->expected);
    }
    h->expected = n + 1;
}

static void
take_line(struct heartbeat *h, uint64_t now_us)
{
    const char *bad = strstr(h->line, " bad=");
    uint64_t n, gap_ms = h->last_us ? (now_us - h->last_us) / 1000 : 0;

    if (h->awaited && strstr(h->line, h->awaited)) {
        free(h->awaited);
        h->awaited = NULL;
    }
    if (strncmp(h->line, "BAD", 3) == 0)
        snprintf(h->now.wrong, sizeof h->now.wrong, "%.200s", h->line);
    if (sscanf(h->line, "HB %" SCNu64 " ", &n) != 1 || !bad)
        return;
    note(h, n);
    h->now.lines++;
    h->now.bad = strtoull(bad + 5, NULL, 10);
    if (gap_ms > h->now.gap_ms)
        h->now.gap_ms = gap_ms;
    h->last_us = now_us;
}

static void
take(struct heartbeat *h, struct log *l)
{
    uint64_t now_us = clock_mono_us();

    for (size_t i = 0; i < l->fresh.len; i++) {
        if (l->fresh.buf[i] != '\n') {
            if (h->line_len < sizeof h->line - 1 && l->fresh.buf[i] != '\r')
                h->line[h->line_len++] = l->fresh.buf[i];
            continue;
        }
        h->line[h->line_len] = '\0';
        h->line_len = 0;
        take_line(h, now_us);
    }
    sb_reset(&l->fresh);
}

/* The host that printed last is read last, and taken first: what another one has printed by then came after
 * all that this one printed. */
static void *
follow(void *ctx)
{
    struct heartbeat *h = ctx;
    bool stop = false;

    while (!stop) {
        for (size_t i = 0; i < h->len; i++)
            if (i != h->current)
                read_log(&h->logs[i]);
        read_log(&h->logs[h->current]);
        pthread_mutex_lock(&h->mu);
        take(h, &h->logs[h->current]);
        for (size_t i = 0; i < h->len; i++) {
            if (h->logs[i].fresh.len == 0)
                continue;
            take(h, &h->logs[i]);
            h->current = i;
        }
        stop = h->stop;
        pthread_mutex_unlock(&h->mu);
        poll(NULL, 0, POLL_MS);
    }
    return NULL;
}
