/* The double's knobs, counts and devices: verbs_double.h. */
#include "tests/migrate/verbs_double_int.h"

#include <errno.h>
#include <poll.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define TROUBLES_MAX 32

struct dbl_state dbl = {.mu = PTHREAD_MUTEX_INITIALIZER,
                        .work = PTHREAD_COND_INITIALIZER,
                        .change = PTHREAD_COND_INITIALIZER,
                        .next_key = 0x1000,
                        .next_qp = 0x11,
                        .next_port = 20000,
                        .read_depth = 16,
                        .lock_limit = UINT64_MAX};

enum trouble_kind { CALL, WORK, SHORT, CORRUPT, HOLE, REMOVE };

static struct trouble {
    enum trouble_kind kind;
    char function[48];
    enum ibv_wr_opcode opcode;
    unsigned left; /* 1: the next */
    bool always;
    int code;
} troubles[TROUBLES_MAX];
static size_t n_troubles;

void
dbl_die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("verbs double: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    abort();
}

/* --- trouble --- */

static void
trouble_add(struct trouble t)
{
    t.always = t.left == 0;
    pthread_mutex_lock(&dbl.mu);
    if (n_troubles == TROUBLES_MAX)
        dbl_die("more than %d troubles at once", TROUBLES_MAX);
    troubles[n_troubles++] = t;
    pthread_mutex_unlock(&dbl.mu);
}

/* Whether this trouble, which is about what happens now, happens now. */
static bool
due(struct trouble *t)
{
    bool now = t->always || t->left == 1;
    if (t->left > 0)
        t->left--;
    dbl.struck += now;
    return now;
}

int
dbl_trouble(const char *function)
{
    int code = 0;
    for (size_t i = 0; i < n_troubles; i++)
        if (troubles[i].kind == CALL && !strcmp(troubles[i].function, function) &&
            due(&troubles[i]))
            code = troubles[i].code;
    return code;
}

struct dbl_fate
dbl_fate_of_work(enum ibv_wr_opcode kind)
{
    struct dbl_fate f = {.read_bytes = UINT32_MAX};
    for (size_t i = 0; i < n_troubles; i++) {
        struct trouble *t = &troubles[i];
        if (t->kind == CALL || t->opcode != kind || !due(t))
            continue;
        switch (t->kind) {
        case WORK:
            f.status = (enum ibv_wc_status)t->code;
            break;
        case SHORT:
            f.read_bytes = (uint32_t)t->code;
            break;
        case CORRUPT:
            f.corrupt = true;
            break;
        case HOLE:
            f.hole_ms = (unsigned)t->code;
            break;
        case REMOVE:
            f.remove = true;
            break;
        case CALL:
            break;
        }
    }
    return f;
}

void
verbs_fail_call(const char *function, unsigned nth, int code)
{
    struct trouble t = {.kind = CALL, .left = nth, .code = code};
    snprintf(t.function, sizeof t.function, "%s", function);
    trouble_add(t);
}

void
verbs_fail_work(enum ibv_wr_opcode kind, unsigned nth, enum ibv_wc_status status)
{
    trouble_add((struct trouble){.kind = WORK, .opcode = kind, .left = nth, .code = (int)status});
}

void
verbs_short_read(unsigned nth, uint32_t bytes)
{
    trouble_add((struct trouble){
        .kind = SHORT, .opcode = IBV_WR_RDMA_READ, .left = nth, .code = (int)bytes});
}

void
verbs_corrupt_write(unsigned nth)
{
    trouble_add((struct trouble){.kind = CORRUPT, .opcode = IBV_WR_RDMA_WRITE, .left = nth});
}

void
verbs_black_hole(enum ibv_wr_opcode kind, unsigned nth, unsigned ms)
{
    trouble_add((struct trouble){.kind = HOLE, .opcode = kind, .left = nth, .code = (int)ms});
}

void
verbs_remove_at(enum ibv_wr_opcode kind, unsigned nth)
{
    trouble_add((struct trouble){.kind = REMOVE, .opcode = kind, .left = nth});
}

unsigned
verbs_struck(void)
{
    pthread_mutex_lock(&dbl.mu);
    unsigned n = dbl.struck;
    pthread_mutex_unlock(&dbl.mu);
    return n;
}

#define KNOB(name, type, field, value)     \
    void name(type v)                      \
    {                                      \
        pthread_mutex_lock(&dbl.mu);       \
        dbl.field = (value);               \
        pthread_cond_broadcast(&dbl.work); \
        pthread_mutex_unlock(&dbl.mu);     \
    }
KNOB(verbs_set_on_demand, bool, on_demand, v)
KNOB(verbs_set_read_depth, int, read_depth, (unsigned)v)
KNOB(verbs_set_lock_limit, uint64_t, lock_limit, v)
KNOB(verbs_drop_disconnects, bool, no_disconnects, v)
KNOB(verbs_reorder, uint64_t, seed, v)

void
verbs_set_write_imm(bool on)
{
    pthread_mutex_lock(&dbl.mu);
    dbl.no_write_imm = !on;
    for (struct dbl_device *d = dbl.devices; d; d = d->next)
        d->pub.transport_type = on ? IBV_TRANSPORT_IB : IBV_TRANSPORT_IWARP;
    pthread_mutex_unlock(&dbl.mu);
}

size_t
verbs_qps(struct verbs_qp *ret, size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&dbl.mu);
    for (struct dbl_qp *q = dbl.qps; q && n < max; q = q->next) {
        ret[n] = (struct verbs_qp){.number = q->pub.qp_num,
                                   .dialled = q->dialled,
                                   .waiting = q->waiting,
                                   .state = q->pub.state};
        memcpy(ret[n++].sent, q->sent, sizeof q->sent);
    }
    pthread_mutex_unlock(&dbl.mu);
    return n;
}

void
verbs_hold(uint32_t qp, bool on)
{
    pthread_mutex_lock(&dbl.mu);
    if (qp == 0)
        dbl.hold_all = on;
    for (struct dbl_qp *q = dbl.qps; q; q = q->next)
        if (q->pub.qp_num == qp || qp == 0)
            q->held = on;
    pthread_cond_broadcast(&dbl.work);
    pthread_mutex_unlock(&dbl.mu);
}

void
verbs_break(uint32_t qp)
{
    pthread_mutex_lock(&dbl.mu);
    for (struct dbl_qp *q = dbl.qps; q; q = q->next)
        if (q->pub.qp_num == qp || qp == 0) {
            if (q->peer)
                dbl_qp_fail(q->peer, IBV_WC_RETRY_EXC_ERR);
            dbl_qp_fail(q, IBV_WC_RETRY_EXC_ERR);
        }
    pthread_mutex_unlock(&dbl.mu);
}

/* --- counts --- */

void
verbs_counts(struct verbs_counts *ret)
{
    pthread_mutex_lock(&dbl.mu);
    *ret = dbl.n;
    pthread_mutex_unlock(&dbl.mu);
}

bool
verbs_wait_work(enum ibv_wr_opcode kind, uint64_t n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    int rc = 0;
    pthread_mutex_lock(&dbl.mu);
    while (dbl.n.work[kind] < n && rc == 0)
        rc = pthread_cond_timedwait(&dbl.change, &dbl.mu, &until);
    bool there = dbl.n.work[kind] >= n;
    pthread_mutex_unlock(&dbl.mu);
    return there;
}

/* --- devices --- */

bool
verbs_is_double(void)
{
    return true;
}

const char *
rdma_test_ip(void)
{
    const char *ip = getenv("RDMA_TEST_IP");
    if (!ip || !*ip)
        ip = "127.0.0.1";
    verbs_device_add(ip);
    return ip;
}

struct dbl_device *
dbl_device_of_ip(const char *ip)
{
    for (struct dbl_device *d = dbl.devices; d; d = d->next)
        if (!d->removed && !strcmp(d->ip, ip))
            return d;
    return NULL;
}

void
verbs_device_add(const char *ip)
{
    pthread_mutex_lock(&dbl.mu);
    if (!dbl_device_of_ip(ip)) {
        struct dbl_device *d = calloc(1, sizeof *d);
        d->pub.node_type = IBV_NODE_CA;
        d->pub.transport_type = dbl.no_write_imm ? IBV_TRANSPORT_IWARP : IBV_TRANSPORT_IB;
        snprintf(d->pub.name, sizeof d->pub.name, "double%u", dbl.next_device);
        snprintf(d->pub.dev_name, sizeof d->pub.dev_name, "uverbs%u", dbl.next_device++);
        snprintf(d->ip, sizeof d->ip, "%s", ip);
        d->cm = dbl_context_new(d);
        LIST_APPEND(dbl.devices, d);
        dbl_run();
    }
    pthread_mutex_unlock(&dbl.mu);
}

void
dbl_device_gone(struct dbl_device *d)
{
    d->removed = true;
    for (struct dbl_qp *q = dbl.qps; q; q = q->next)
        if (dbl_device_of(q->pub.context) == d)
            dbl_qp_fail(q, IBV_WC_WR_FLUSH_ERR);
    dbl_cm_device_gone(d);
}

void
verbs_device_remove(const char *ip)
{
    pthread_mutex_lock(&dbl.mu);
    struct dbl_device *d = dbl_device_of_ip(ip);
    if (d)
        dbl_device_gone(d);
    pthread_mutex_unlock(&dbl.mu);
}

bool
verbs_reset(void)
{
    pthread_mutex_lock(&dbl.mu);
    const struct verbs_counts n = dbl.n;
    const bool alive =
        n.contexts + n.pds + n.mrs + n.cqs + n.comp_channels + n.qps + n.ids + n.event_channels > 0;
    if (alive)
        fprintf(stderr,
                "# verbs double: alive: %u contexts, %u pds, %u mrs (%llu bytes), %u cqs, "
                "%u completion channels, %u queue pairs, %u ids, %u event channels\n",
                n.contexts, n.pds, n.mrs, (unsigned long long)n.mr_bytes, n.cqs, n.comp_channels,
                n.qps, n.ids, n.event_channels);
    if (!alive)
        for (struct dbl_device *d; (d = dbl.devices);) {
            dbl.devices = d->next;
            free(d->cm);
            free(d);
        }
    for (struct dbl_device *d = dbl.devices; d; d = d->next)
        d->removed = true;
    memset(dbl.n.work, 0, sizeof dbl.n.work);
    memset(dbl.n.bytes, 0, sizeof dbl.n.bytes);
    dbl.n.registrations = 0;
    dbl.n.mr_bytes_most = dbl.n.mr_bytes;
    dbl.on_demand = dbl.no_write_imm = dbl.no_disconnects = dbl.hold_all = false;
    dbl.read_depth = 16;
    dbl.lock_limit = UINT64_MAX;
    dbl.seed = 0;
    n_troubles = 0;
    dbl.struck = 0;
    pthread_mutex_unlock(&dbl.mu);
    return alive;
}

/* --- descriptors that show whether something waits --- */

void
dbl_fd_set(int fd)
{
    if (eventfd_write(fd, 1) != 0)
        dbl_die("eventfd: %s", strerror(errno));
}

void
dbl_fd_clear(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    eventfd_t v;
    if (poll(&p, 1, 0) == 1 && eventfd_read(fd, &v) != 0)
        dbl_die("eventfd: %s", strerror(errno));
}

int
dbl_fd_wait(int fd)
{
    if (fcntl(fd, F_GETFL) & O_NONBLOCK)
        return EAGAIN;
    pthread_mutex_unlock(&dbl.mu);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int rc = poll(&p, 1, -1);
    int code = rc < 0 ? errno : 0;
    pthread_mutex_lock(&dbl.mu);
    return code;
}
