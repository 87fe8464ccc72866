/* See fake_guest.h. The child runs one loop: a few steps, a look at the socket. */
#include "tests/migrate/fake_guest.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hugemap.h"
#include "base/rng.h"
#include "base/sb.h"

enum op {
    OP_PAUSE,
    OP_RESUME,
    OP_UFFD,
    OP_UFFD_CLOSE,
    OP_UFFD_KEPT,
    OP_STATUS,
    OP_LOAD,
    OP_TOUCH,
    OP_THROTTLE
};

struct request {
    enum op op;
    uint64_t number, steps, seed;
};

struct reply {
    int rc, running, uffds;
    uint64_t number, steps, seed;
};

struct state { /* what save_state gives; padded to cfg.state_bytes */
    uint64_t magic, steps, seed;
};

#define STATE_MAGIC 0x6661b3573a7e0001ull
#define MAX_UFFDS   8

enum what { WRITE, ZERO, PUNCH };

static void child_main(struct fake_guest *g, int sock, bool running) __attribute__((noreturn));

/* --- content --- */

static void
fill_page(const struct fake_config *c, uint8_t *page, uint64_t seed, uint64_t number,
          uint64_t version)
{
    bool words = c->content == FAKE_WORDS;
    uint64_t base = rng_mix(seed ^ rng_mix(number * 0x9e3779b97f4a7c15ull + (words ? 0 : version)));
    uint64_t step = c->content == FAKE_TEXT ? 0 : 0x2545f4914f6cdd1dull;

    for (unsigned i = 0; i < FAKE_PAGE / 8; i++) {
        uint64_t v = base + i * step;

        if (words && i % 128 == version % 128)
            v ^= rng_mix(version + i);
        if (c->content == FAKE_TEXT && i % 64 == 0)
            v += i;
        if (c->content == FAKE_HALF)
            v = i / 8 % 2 ? 0 : rng_mix(v);
        memcpy(page + (size_t)i * 8, &v, 8);
    }
}

static uint64_t
total_pages(const struct fake_config *c)
{
    return (c->region_bytes[0] + c->region_bytes[1]) / FAKE_PAGE;
}

static uint8_t *
page_at(const struct fake_guest *g, uint64_t number)
{
    uint64_t first = g->regions[0].size / FAKE_PAGE;

    return number < first ? g->regions[0].map + number * FAKE_PAGE
                          : g->regions[1].map + (number - first) * FAKE_PAGE;
}

static enum what
step(const struct fake_config *c, uint64_t seed, uint64_t i, uint64_t *ret_page)
{
    uint64_t r = rng_mix(seed * 31 + i);
    unsigned percent = (unsigned)(r >> 32) % 100;

    *ret_page = (r & 0xffffffff) % c->set_pages * (c->stride ? c->stride : 1);
    if (percent < c->zero_percent)
        return ZERO;
    return percent < c->zero_percent + c->punch_percent ? PUNCH : WRITE;
}

/* --- parent --- */

static int
call_locked(struct fake_guest *g, struct request q, struct reply *r, int *ret_fd)
{
    char cbuf[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {.iov_base = r, .iov_len = sizeof *r};
    int fd = -1;

    q.number = (uint64_t)getpid() << 32 | ++g->calls;
    if (g->pid <= 0 || send(g->sock, &q, sizeof q, MSG_NOSIGNAL) != (ssize_t)sizeof q)
        return -ESRCH;
    do { /* a process that was killed while it asked has left an answer */
        struct msghdr m = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = cbuf, .msg_controllen = sizeof cbuf};
        struct cmsghdr *c;

        if (fd >= 0)
            close(fd);
        fd = -1;
        if (recvmsg(g->sock, &m, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof *r)
            return -ESRCH;
        c = CMSG_FIRSTHDR(&m);
        if (c)
            memcpy(&fd, CMSG_DATA(c), sizeof fd);
    } while (r->number != q.number);
    if (ret_fd)
        *ret_fd = fd;
    return r->rc;
}

static int
call(struct fake_guest *g, struct request q, struct reply *r, int *ret_fd)
{
    int rc;

    pthread_mutex_lock(&g->mu);
    rc = call_locked(g, q, r, ret_fd);
    pthread_mutex_unlock(&g->mu);
    return rc;
}

static int
told_to_fail(struct fake_guest *g, int *left, const char *what, struct err *err)
{
    if (*left <= 0)
        return 0;
    (*left)--;
    return err_set(err, g->fail_rc ? g->fail_rc : -EIO, "%s: told to fail", what);
}

static int
simple(struct fake_guest *g, enum op op, const char *what, struct err *err)
{
    struct reply r;
    int rc = call(g, (struct request){.op = op}, &r, NULL);

    return rc ? err_set(err, rc, "%s: %s", what, strerror(-rc)) : 0;
}

static int
op_regions(void *impl, struct guest_region *out, struct err *err)
{
    struct fake_guest *g = impl;

    (void)err;
    memcpy(out, g->regions, (size_t)g->regions_len * sizeof *out);
    return g->regions_len;
}

static pid_t
op_pid(void *impl)
{
    return ((struct fake_guest *)impl)->pid;
}

static int
op_userfaultfd(void *impl, int *ret_fd, struct err *err)
{
    struct fake_guest *g = impl;
    struct reply r;
    int rc = told_to_fail(g, &g->fail_uffd, "userfaultfd", err);

    if (rc != 0)
        return rc;
    g->uffds++;
    rc = call(g, (struct request){.op = OP_UFFD}, &r, ret_fd);
    return rc ? err_set(err, rc, "userfaultfd: %s", strerror(-rc)) : 0;
}

static int
op_userfaultfd_kept(void *impl, int *ret_fd, struct err *err)
{
    struct reply r;
    int rc = call(impl, (struct request){.op = OP_UFFD_KEPT}, &r, ret_fd);

    return rc ? err_set(err, rc, "userfaultfd_kept: %s", strerror(-rc)) : 0;
}

static int
op_userfaultfd_close(void *impl, struct err *err)
{
    struct fake_guest *g = impl;

    g->uffd_closes++;
    return simple(g, OP_UFFD_CLOSE, "userfaultfd_close", err);
}

static int
op_throttle(void *impl, unsigned percent, bool writers_only, struct err *err)
{
    struct fake_guest *g = impl;
    struct reply r;
    int rc = percent ? told_to_fail(g, &g->fail_throttle, "throttle", err) : 0;

    if (rc != 0)
        return rc;
    g->throttles += percent > 0;
    g->throttle_percent = percent;
    g->throttle_writers = writers_only;
    rc = call(g, (struct request){.op = OP_THROTTLE, .steps = percent}, &r, NULL);
    return rc ? err_set(err, rc, "throttle: %s", strerror(-rc)) : 0;
}

static int
op_pause(void *impl, struct err *err)
{
    struct fake_guest *g = impl;
    int rc = told_to_fail(g, &g->fail_pause, "pause", err);

    g->pauses++;
    return rc ? rc : simple(g, OP_PAUSE, "pause", err);
}

static int
op_resume(void *impl, struct err *err)
{
    struct fake_guest *g = impl;
    int rc = told_to_fail(g, &g->fail_resume, "resume", err);

    g->resumes++;
    return rc ? rc : simple(g, OP_RESUME, "resume", err);
}

static int
op_save(void *impl, void **ret_buf, size_t *ret_len, struct err *err)
{
    struct fake_guest *g = impl;
    struct state s = {.magic = STATE_MAGIC};
    struct reply r;
    int rc = told_to_fail(g, &g->fail_save, "save", err);

    if (rc == 0)
        rc = call(g, (struct request){.op = OP_STATUS}, &r, NULL);
    if (rc != 0)
        return rc;
    assert(!r.running);
    s.steps = r.steps;
    s.seed = r.seed;
    *ret_len = g->cfg.state_bytes > sizeof s ? g->cfg.state_bytes : sizeof s;
    *ret_buf = xcalloc(1, *ret_len);
    memcpy(*ret_buf, &s, sizeof s);
    for (size_t i = sizeof s; i < *ret_len; i++)
        ((uint8_t *)*ret_buf)[i] = (uint8_t)rng_mix(i);
    return 0;
}

static int
op_load(void *impl, const void *buf, size_t len, struct err *err)
{
    struct fake_guest *g = impl;
    struct state s;
    struct reply r;
    int rc = told_to_fail(g, &g->fail_load, "load", err);

    if (rc != 0)
        return rc;
    if (g->load_delay_ms)
        poll(NULL, 0, (int)g->load_delay_ms);
    if (len < sizeof s)
        return err_set(err, -EINVAL, "load: %zu bytes", len);
    memcpy(&s, buf, sizeof s);
    for (size_t i = sizeof s; i < len; i++) {
        if (((const uint8_t *)buf)[i] != (uint8_t)rng_mix(i))
            return err_set(err, -EINVAL, "load: byte %zu is wrong", i);
    }
    if (s.magic != STATE_MAGIC)
        return err_set(err, -EINVAL, "load: not a state");
    g->cfg.seed = s.seed;
    rc = call(g, (struct request){.op = OP_LOAD, .steps = s.steps, .seed = s.seed}, &r, NULL);
    return rc ? err_set(err, rc, "load: %s", strerror(-rc)) : 0;
}

struct guest
fake_guest_port(struct fake_guest *g)
{
    static const struct guest_ops ops = {.regions = op_regions,
                                         .pid = op_pid,
                                         .userfaultfd = op_userfaultfd,
                                         .userfaultfd_close = op_userfaultfd_close,
                                         .throttle = op_throttle,
                                         .userfaultfd_kept = op_userfaultfd_kept,
                                         .pause = op_pause,
                                         .resume = op_resume,
                                         .save_state = op_save,
                                         .load_state = op_load};

    return (struct guest){.ops = &ops, .impl = g};
}

struct fake_guest *
fake_guest_new(const struct fake_config *cfg, bool incoming)
{
    struct fake_guest *g = xcalloc(1, sizeof *g);
    int pair[2];

    g->cfg = *cfg;
    pthread_mutex_init(&g->mu, NULL);
    for (int i = 0; i < 2 && cfg->region_bytes[i]; i++) {
        struct guest_region *r = &g->regions[g->regions_len++];

        r->size = cfg->region_bytes[i];
        r->page_bytes = FAKE_PAGE;
        r->memfd = memfd_create("fake-guest", MFD_CLOEXEC);
        assert(r->memfd >= 0 && ftruncate(r->memfd, (off_t)r->size) == 0);
        r->map = hugemap(r->memfd, r->size);
        assert(r->map != MAP_FAILED);
        r->hva = (uintptr_t)r->map; /* the fork keeps it */
    }
    assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    fflush(NULL);
    g->pid = fork();
    assert(g->pid >= 0);
    if (g->pid == 0) {
        close(pair[0]);
        child_main(g, pair[1], !incoming);
    }
    close(pair[1]);
    g->sock = pair[0];
    if (!incoming) {
        struct reply r; /* the first answer comes when memory is filled */

        call(g, (struct request){.op = OP_STATUS}, &r, NULL);
    }
    return g;
}

void
fake_guest_free(struct fake_guest *g)
{
    if (!g)
        return;
    fake_guest_kill(g);
    close(g->sock);
    for (int i = 0; i < g->regions_len; i++) {
        munmap(g->regions[i].map, g->regions[i].size);
        close(g->regions[i].memfd);
    }
    free(g);
}

void
fake_guest_kill(struct fake_guest *g)
{
    if (g->pid > 0) {
        kill(g->pid, SIGKILL);
        waitpid(g->pid, NULL, 0);
        if (g->cfg.twins)
            atomic_store(&g->cfg.twins->running[g->cfg.twin], 0);
    }
    g->pid = 0;
}

static struct reply
status(struct fake_guest *g)
{
    struct reply r = {0};

    call(g, (struct request){.op = OP_STATUS}, &r, NULL);
    return r;
}

bool
fake_guest_running(struct fake_guest *g)
{
    return status(g).running;
}

uint64_t
fake_guest_steps(struct fake_guest *g)
{
    return status(g).steps;
}

int
fake_guest_uffds_open(struct fake_guest *g)
{
    return status(g).uffds;
}

bool
fake_guest_touch(struct fake_guest *g, uint64_t page)
{
    struct reply r;

    return call(g, (struct request){.op = OP_TOUCH, .steps = page}, &r, NULL) == 0;
}

void
fake_guest_wait_steps(struct fake_guest *g, uint64_t steps)
{
    while (fake_guest_steps(g) < steps)
        poll(NULL, 0, 1);
}

uint64_t
fake_guest_allocated_pages(struct fake_guest *g)
{
    uint64_t n = 0;

    for (int i = 0; i < g->regions_len; i++) {
        struct stat st;

        assert(fstat(g->regions[i].memfd, &st) == 0);
        n += (uint64_t)st.st_blocks * 512 / FAKE_PAGE;
    }
    return n;
}

uint64_t
fake_guest_wrong_pages(struct fake_guest *g)
{
    static const uint8_t zeros[FAKE_PAGE];
    struct fake_guest truth = {.cfg = g->cfg};
    struct reply r;
    uint64_t pages = total_pages(&g->cfg), wrong = 0;
    uint8_t want[FAKE_PAGE];

    assert(call(g, (struct request){.op = OP_PAUSE}, &r, NULL) == 0);

    uint64_t *version = xcalloc(pages, sizeof *version); /* 0 = zeros */
    uint64_t stride = g->cfg.stride ? g->cfg.stride : 1;

    for (uint64_t i = 0; i < g->cfg.fill_pages; i++)
        version[i * stride] = UINT64_MAX;
    for (uint64_t i = 0; i < r.steps; i++) {
        uint64_t page;

        version[page] = step(&truth.cfg, r.seed, i, &page) == WRITE ? i + 1 : 0;
    }
    for (uint64_t i = 0; i < pages; i++) {
        if (version[i])
            fill_page(&g->cfg, want, r.seed, i, version[i]);
        if (memcmp(page_at(g, i), version[i] ? want : zeros, FAKE_PAGE) != 0 && wrong++ == 0) {
            bool zero = memcmp(page_at(g, i), zeros, FAKE_PAGE) == 0;

            fprintf(stderr, "# page %llu: want version %llu, got %s (steps %llu)\n",
                    (unsigned long long)i, (unsigned long long)version[i],
                    zero ? "zeros" : "something else", (unsigned long long)r.steps);
        }
    }
    free(version);
    return wrong;
}

/* --- child --- */

/* A huge page that the kernel cannot split at this moment (somebody reads it) stays, and the hole
 * in it is made of zeros in place, which no tracking of writes sees (docs/engine.md). This guest
 * relies on the zeros, so it writes them itself then. */
static void
punch(int memfd, uint8_t *page, off_t offset)
{
    unsigned char resident = 0;

    if (fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, FAKE_PAGE) < 0 ||
        mincore(page, FAKE_PAGE, &resident) < 0)
        _exit(3);
    if (resident & 1)
        memset(page, 0, FAKE_PAGE);
}

static void
make_step(struct fake_guest *g, uint64_t seed, uint64_t i)
{
    uint64_t number;
    enum what w = step(&g->cfg, seed, i, &number);
    uint8_t *page = page_at(g, number);
    int region = number < g->regions[0].size / FAKE_PAGE ? 0 : 1;

    if (w == WRITE)
        fill_page(&g->cfg, page, seed, number, i + 1);
    else if (w == ZERO)
        memset(page, 0, FAKE_PAGE);
    else
        punch(g->regions[region].memfd, page, page - g->regions[region].map);
}

/* Not one that is being killed: it gets a moment to be gone. */
static bool
lives(pid_t pid)
{
    char path[32], line[256];

    for (int i = 0; pid > 0 && i < 200; i++) {
        FILE *f;
        char *p = NULL;

        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        f = fopen(path, "re");
        if (!f)
            return false;
        if (fgets(line, sizeof line, f))
            p = strrchr(line, ')');
        fclose(f);
        if (!p || p[2] == 'Z' || p[2] == 'X')
            return false;
        poll(NULL, 0, 1);
    }
    return pid > 0;
}

/* Both copies of a guest at once is the one thing that must never be. */
static void
note_running(const struct fake_config *c, bool running)
{
    if (!c->twins)
        return;
    atomic_store(&c->twins->running[c->twin], running ? getpid() : 0);
    if (running && lives(atomic_load(&c->twins->running[!c->twin])))
        atomic_store(&c->twins->both, true);
}

static sigjmp_buf touched;

static void
on_sigbus(int sig)
{
    (void)sig;
    siglongjmp(touched, 1);
}

/* Whether the page can be read. */
static bool
touch(const uint8_t *page)
{
    signal(SIGBUS, on_sigbus);
    if (sigsetjmp(touched, 1))
        return false;
    (void)*(const volatile uint8_t *)page;
    return true;
}

static void
answer(int sock, const struct reply *r, int fd)
{
    char cbuf[CMSG_SPACE(sizeof(int))] = {0};
    struct reply copy = *r;
    struct iovec iov = {.iov_base = &copy, .iov_len = sizeof copy};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        m.msg_control = cbuf;
        m.msg_controllen = sizeof cbuf;

        struct cmsghdr *c = CMSG_FIRSTHDR(&m);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    if (sendmsg(sock, &m, MSG_NOSIGNAL) < 0)
        _exit(0);
}

/* The virtual CPU: a thread of its own, so that one that waits for a page does not keep the control
 * socket waiting. */
struct writer {
    struct fake_guest *g;
    pthread_mutex_t mu;
    pthread_cond_t cv;
    bool want, busy; /* guarded by mu */
    bool began;      /* anew, since it was last asked to: guarded by mu */
    uint64_t seed;   /* changed while it stands only */
    _Atomic uint64_t steps, percent;
};

static void
begin_anew(struct writer *w)
{
    pthread_mutex_lock(&w->mu);
    w->began = true;
    pthread_mutex_unlock(&w->mu);
}

static void *
writer_main(void *arg)
{
    struct writer *w = arg;
    const struct fake_config *c = &w->g->cfg;
    uint64_t start = 0, paced = 0;

    for (;;) {
        uint64_t due = UINT64_MAX;

        pthread_mutex_lock(&w->mu);
        w->busy = false;
        pthread_cond_broadcast(&w->cv);
        while (!w->want)
            pthread_cond_wait(&w->cv, &w->mu);
        w->busy = true;
        if (w->began) {
            start = clock_mono_us();
            paced = 0;
        }
        w->began = false;
        pthread_mutex_unlock(&w->mu);
        if (c->pages_per_s)
            due = (clock_mono_us() - start) * c->pages_per_s / 1000000 * (100 - w->percent) / 100;
        for (int i = 0; i < 16 && paced < due; i++, paced++) {
            make_step(w->g, w->seed, w->steps);
            w->steps++;
        }
        if (paced >= due)
            poll(NULL, 0, 1);
    }
    return NULL;
}

/* False: waits until it stands. */
static void
let_run(struct writer *w, bool run)
{
    pthread_mutex_lock(&w->mu);
    w->began = w->began || (run && !w->want);
    w->want = run;
    pthread_cond_broadcast(&w->cv);
    while (!run && w->busy)
        pthread_cond_wait(&w->cv, &w->mu);
    pthread_mutex_unlock(&w->mu);
}

static void
child_main(struct fake_guest *g, int sock, bool running)
{
    struct reply r = {.running = running, .seed = g->cfg.seed};
    static struct writer w = {.mu = PTHREAD_MUTEX_INITIALIZER, .cv = PTHREAD_COND_INITIALIZER};
    int uffds[MAX_UFFDS], uffds_len = 0;
    uint64_t stride = g->cfg.stride > 1 ? g->cfg.stride : 1;
    pthread_t thread;

    note_running(&g->cfg, running);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < g->regions_len; i++) /* as a native guest does */
        (void)madvise(g->regions[i].map, g->regions[i].size, MADV_NOHUGEPAGE);
    if (running) {
        for (uint64_t i = 0; i < g->cfg.fill_pages; i++)
            fill_page(&g->cfg, page_at(g, i * stride), g->cfg.seed, i * stride, UINT64_MAX);
        for (uint64_t i = 0; i < g->cfg.zero_pages; i++)
            memset(page_at(g, (g->cfg.fill_pages + i) * stride), 0, FAKE_PAGE);
    }
    w.g = g;
    w.seed = r.seed;
    if (pthread_create(&thread, NULL, writer_main, &w) != 0)
        _exit(4);
    let_run(&w, running && g->cfg.set_pages > 0);
    for (;;) {
        struct request q;

        if (recv(sock, &q, sizeof q, 0) != (ssize_t)sizeof q)
            _exit(0);
        r.rc = 0;
        r.number = q.number;

        int fd = -1;

        switch (q.op) {
        case OP_PAUSE:
            let_run(&w, false);
            r.running = false;
            note_running(&g->cfg, false);
            break;
        case OP_RESUME:
            r.running = true;
            note_running(&g->cfg, true);
            let_run(&w, g->cfg.set_pages > 0);
            break;
        case OP_UFFD:
            fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
            if (fd < 0 || uffds_len == MAX_UFFDS)
                r.rc = fd < 0 ? -errno : -EMFILE;
            else
                uffds[uffds_len++] = fd;
            break;
        case OP_UFFD_KEPT:
            fd = uffds_len > 0 ? uffds[uffds_len - 1] : -1;
            r.rc = fd < 0 ? -ENOENT : 0;
            break;
        case OP_TOUCH:
            r.rc = touch(page_at(g, q.steps)) ? 0 : -EFAULT;
            break;
        case OP_UFFD_CLOSE:
            while (uffds_len > 0)
                close(uffds[--uffds_len]);
            break;
        case OP_LOAD:
            w.steps = q.steps;
            w.seed = r.seed = q.seed;
            break;
        case OP_THROTTLE:
            w.percent = q.steps;
            begin_anew(&w);
            break;
        case OP_STATUS:
            break;
        }
        r.uffds = uffds_len;
        r.steps = w.steps;
        answer(sock, &r, fd);
    }
}
