/* Row qemu: the engine beside QEMU's own migration of the same amount of random memory in the same
 * two namespaces, in turn. QEMU's guest stands still (its vCPU never ran), which is the best case
 * for it; its memory is a file in memory that we filled. */
#include "bench/bench_rows.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "base/sb.h"
#include "bench/bench_house.h"
#include "bench/bench_move.h"
#include "bench/bench_qemu.h"

#define FILE_PATH     BENCH_HOUSE_DIR "/qemu-memory"
#define TIMES_FRESH   2.0
#define TIMES_TOUCHED 1.0

static const unsigned multifd[] = {0, 2, 4};

#define MODES ARRAY_LEN(multifd)

struct peer {
    char *program, version[32], accel[16];
    struct bench_samples seconds[MODES][2], downtime[MODES][2]; /* [prealloc] */
};

struct qemu_run {
    struct bench_run *b;
    struct bench_sides sides;
    struct native_guest *guest;
    uint64_t bytes;
    struct peer peers[BENCH_MAX_QEMU];
    size_t peer_len;
    struct bench_samples ours[2], ours_downtime[2]; /* [touched] */
};

static int find_peers(struct qemu_run *q, struct bench_row *row, struct err *err);
static int fill_file(struct qemu_run *q, struct err *err);
static int measure(struct qemu_run *q, struct err *err);
static void report(struct qemu_run *q, struct bench_row *row);

static const char *
mode_name(size_t mode)
{
    static const char *const names[MODES] = {"plain", "multifd 2", "multifd 4"};

    return names[mode];
}

int
bench_row_qemu(struct bench_run *b, struct err *err)
{
    struct qemu_run q = {.b = b, .bytes = bench_run_memory(b, 2ull << 30, 512ull << 20)};
    struct native_config cfg = {.memory_bytes = q.bytes, .vcpus = 1, .fill_bytes = q.bytes};
    unsigned runs = bench_run_runs(b, 3, 1);
    struct bench_row *row = bench_report_row(
        b->report, "qemu",
        "%.3g GiB of random memory, no writer, beside QEMU's own migration, %u runs in turn",
        (double)q.bytes / (1u << 30), runs);
    int rc = find_peers(&q, row, err);

    if (rc == 0 && q.peer_len > 0) {
        bench_machine_touch(2 * q.bytes);
        rc = bench_sides_start(&q.sides, err);
        if (rc == 0)
            rc = bench_move_guest_start(&cfg, "qemu", &q.guest, err);
        if (rc == 0)
            rc = fill_file(&q, err);
        for (unsigned i = 0; i < runs && rc == 0; i++)
            rc = measure(&q, err);
        bench_move_guest_stop(q.guest);
        bench_sides_stop(&q.sides);
        (void)unlink(FILE_PATH);
        if (rc == 0)
            report(&q, row);
    }
    for (size_t t = 0; t < 2; t++) {
        bench_samples_done(&q.ours[t]);
        bench_samples_done(&q.ours_downtime[t]);
    }
    for (size_t i = 0; i < q.peer_len; i++) {
        for (size_t k = 0; k < 2 * MODES; k++) {
            bench_samples_done(&q.peers[i].seconds[k / 2][k % 2]);
            bench_samples_done(&q.peers[i].downtime[k / 2][k % 2]);
        }
        free(q.peers[i].program);
    }
    return rc;
}

/* Which QEMUs there are and start. None: the row is absent, with the reason. */
static int
find_peers(struct qemu_run *q, struct bench_row *row, struct err *err)
{
    const struct bench_options *o = q->b->o;
    char *found[BENCH_MAX_QEMU] = {NULL};
    size_t n = o->qemu_len < BENCH_MAX_QEMU ? o->qemu_len : BENCH_MAX_QEMU;

    if (o->qemu_len == 0)
        n = bench_qemu_find(found);
    for (size_t i = 0; i < n; i++) {
        struct peer *p = &q->peers[q->peer_len];
        struct err why = {0};
        int rc;

        p->program = o->qemu_len ? xstrdup(o->qemu[i]) : found[i];
        rc = bench_qemu_version(p->program, p->version, sizeof p->version, &why);
        if (rc == 0) {
            q->peer_len++;
            continue;
        }
        snprintf(row->absent, sizeof row->absent, "%s: %.300s", p->program, err_msg(&why));
        free(p->program);
        if (o->qemu_len)
            return err_set(err, rc, "%s", row->absent);
    }
    if (n == 0)
        snprintf(row->absent, sizeof row->absent,
                 "no qemu-system-x86_64 here (apt-get install qemu-system-x86, "
                 "tools/qemu-backports.sh)");
    else if (q->peer_len > 0)
        row->absent[0] = '\0';
    return 0;
}

/* The guest's memory, as a file for QEMU. */
static int
fill_file(struct qemu_run *q, struct err *err)
{
    AUTO_FD int fd = open(FILE_PATH, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const uint8_t *memory;
    void *p;
    int rc = bench_move_guest_memory(q->guest, &memory, err);

    if (rc != 0)
        return rc;
    if (fd < 0 || ftruncate(fd, (off_t)q->bytes) < 0)
        return err_set(err, -errno, "%s: %s", FILE_PATH, strerror(errno));
    p = mmap(NULL, q->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return err_set(err, -errno, "%s: %s", FILE_PATH, strerror(errno));
    memcpy(p, memory, q->bytes);
    munmap(p, q->bytes);
    return 0;
}

static int
measure(struct qemu_run *q, struct err *err)
{
    for (int touched = 0; touched < 2; touched++) {
        struct bench_move m = {.allocated = touched,
                               .verify = true,
                               .verbose = q->b->o->verbose,
                               .channels = q->b->o->channels};
        int rc;

        bench_run_progress(q->b, "qemu: the engine");
        bench_machine_touch(q->bytes);
        rc = bench_move(&q->sides, q->guest, &m, err);
        if (rc != 0)
            return rc;
        bench_samples_add(&q->ours[touched], (double)m.us / 1e6);
        bench_samples_add(&q->ours_downtime[touched], (double)m.stats.downtime_us / 1e3);
        for (size_t i = 0; i < q->peer_len; i++) {
            for (size_t mode = 0; mode < MODES; mode++) {
                struct peer *p = &q->peers[i];
                struct bench_qemu_case c = {.program = p->program,
                                            .bytes = q->bytes,
                                            .multifd = multifd[mode],
                                            .prealloc = touched,
                                            .file = FILE_PATH};
                struct bench_qemu_result r;

                bench_run_progress(q->b, "qemu: QEMU %s, %s%s", p->version, mode_name(mode),
                                   touched ? ", preallocated" : "");
                bench_machine_touch(q->bytes);
                rc = bench_qemu_move(&q->sides, &c, &r, err);
                if (rc != 0)
                    return err_prefix(err, rc, "QEMU %s, %s", p->version, mode_name(mode));
                if (r.transferred_bytes < q->bytes)
                    return err_set(err, -EIO, "QEMU %s moved %llu bytes only", p->version,
                                   (unsigned long long)r.transferred_bytes);
                snprintf(p->accel, sizeof p->accel, "%s", r.accel);
                bench_samples_add(&p->seconds[mode][touched], r.total_s);
                bench_samples_add(&p->downtime[mode][touched], r.downtime_s * 1e3);
            }
        }
    }
    return 0;
}

static void
report(struct qemu_run *q, struct bench_row *row)
{
    for (int touched = 0; touched < 2; touched++) {
        double ours = bench_median(&q->ours[touched]);

        for (size_t i = 0; i < q->peer_len; i++) {
            struct peer *p = &q->peers[i];
            char name[BENCH_TEXT];
            double best = NAN;
            size_t best_mode = 0;

            for (size_t mode = 0; mode < MODES; mode++) {
                double s = bench_median(&p->seconds[mode][touched]);

                if (!(s >= best)) {
                    best = s;
                    best_mode = mode;
                }
            }
            snprintf(name, sizeof name, "QEMU %s, %s", p->version, mode_name(best_mode));
            bench_row_faster(
                row, "s", ours, best, touched ? TIMES_TOUCHED : TIMES_FRESH,
                touched ? "total time, memory preallocated" : "total time, memory fresh", name);
        }
        bench_row_take(row, "s", &q->ours[touched], "engine, %s: total",
                       touched ? "touched" : "fresh");
        bench_row_take(row, "ms", &q->ours_downtime[touched], "engine, %s: downtime",
                       touched ? "touched" : "fresh");
        for (size_t k = 0; k < q->peer_len * MODES; k++) {
            struct peer *p = &q->peers[k / MODES];
            size_t mode = k % MODES;

            bench_row_take(row, "s", &p->seconds[mode][touched], "QEMU %s (%s), %s, %s: total",
                           p->version, p->accel, mode_name(mode), touched ? "prealloc" : "fresh");
            bench_row_take(row, "ms", &p->downtime[mode][touched], "QEMU %s (%s), %s, %s: downtime",
                           p->version, p->accel, mode_name(mode), touched ? "prealloc" : "fresh");
        }
    }
}
