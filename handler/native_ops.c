/* What a native guest is asked: status, verify, rate, and the operations of migrate/guest.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/hugemap.h"
#include "base/sb.h"
#include "handler/native_priv.h"

#define VERIFY_US    3600000000ull
#define QUIT_MS      10000
#define WANTED_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static int
simple_call(struct native_guest *g, enum guest_wire_op op, uint64_t arg, struct err *err)
{
    const struct native_request q = {.op = op, .arg = arg};

    return native_call(g, &q, NULL, 0, NULL, NULL, err);
}

/* A text field of an answer; the peer may have left out the end. */
static void
copy_text(char *to, size_t size, const char *from, size_t from_size)
{
    snprintf(to, size, "%.*s", (int)strnlen(from, from_size), from);
}

const char *
native_state_name(enum native_state s)
{
    static const char *const names[] = {[NATIVE_INCOMING] = "incoming",
                                        [NATIVE_PAUSED] = "paused",
                                        [NATIVE_RUNNING] = "running",
                                        [NATIVE_ENDED] = "ended"};

    return (size_t)s < ARRAY_LEN(names) ? names[s] : "unknown";
}

int
native_status(struct native_guest *g, struct native_status *ret, struct err *err)
{
    const struct native_request q = {.op = GUEST_WIRE_STATUS};
    struct guest_wire_status w;
    int r = native_alive(g) ? native_call(g, &q, &w, sizeof(w), NULL, NULL, err) : -ESRCH;

    if (r == -ESRCH) {
        *ret = (struct native_status){.state = NATIVE_ENDED, .memory_bytes = g->memory_bytes};
        return 0;
    }
    if (r < 0)
        return r;
    if (w.state < GUEST_STATE_INCOMING || w.state > GUEST_STATE_RUNNING)
        return err_set(err, -EPROTO, "guest %s: unknown state %" PRIu32, g->uid, w.state);
    *ret = (struct native_status){
        .state = w.state == GUEST_STATE_INCOMING ? NATIVE_INCOMING
                 : w.state == GUEST_STATE_PAUSED ? NATIVE_PAUSED
                                                 : NATIVE_RUNNING,
        .verifying = w.flags & GUEST_STATUS_VERIFYING,
        .pausing = w.flags & GUEST_STATUS_PAUSING,
        .memory_bytes = w.memory_bytes,
        .vcpus = w.vcpus,
        .rate_bytes_per_s = w.rate_bytes_per_s,
        .set_bytes = w.set_bytes,
        .fill_bytes = w.fill_bytes,
        .zero_bytes = w.zero_bytes,
        .steps = w.steps,
        .written_bytes = w.written_bytes,
        .checked_reads = w.checked_reads,
        .read_mismatches = w.read_mismatches,
        .resumes = w.resumes,
        .downtime_known = w.flags & GUEST_STATUS_DOWNTIME_KNOWN,
        .downtime_us = w.downtime_us,
        .last_gap_us = w.last_gap_us,
        .throttle_percent = w.throttle_percent,
        .throttle_writers = w.throttle_writers,
        .throttled_us = w.throttled_us,
    };
    copy_text(ret->workload, sizeof(ret->workload), w.workload, sizeof(w.workload));
    return 0;
}

int
native_verify(struct native_guest *g, uint64_t timeout_us, struct native_verify *ret,
              struct err *err)
{
    const struct native_request q = {.op = GUEST_WIRE_VERIFY,
                                     .timeout_us = timeout_us ? timeout_us : VERIFY_US};
    struct guest_wire_verify w;
    int r = native_call(g, &q, &w, sizeof(w), NULL, NULL, err);

    if (r < 0)
        return r;
    *ret = (struct native_verify){
        .ok = w.ok == 1 && w.bad_pages == 0 && w.read_mismatches == 0,
        .pages = w.pages,
        .present_pages = w.present_pages,
        .bad_pages = w.bad_pages,
        .read_mismatches = w.read_mismatches,
        .steps = w.steps,
    };
    copy_text(ret->text, sizeof(ret->text), w.text, sizeof(w.text));
    return 0;
}

int
native_set_rate(struct native_guest *g, uint64_t rate_bytes_per_s, struct err *err)
{
    return simple_call(g, GUEST_WIRE_SET_RATE, rate_bytes_per_s, err);
}

int
native_quit(struct native_guest *g, struct err *err)
{
    int r = simple_call(g, GUEST_WIRE_QUIT, 0, err);

    if (r == -ESRCH)
        return 0;
    if (r < 0)
        return r;
    if (!native_proc_wait(g->pidfd, QUIT_MS))
        return err_set(err, -ETIMEDOUT, "guest %s was asked to end and has not after %d s", g->uid,
                       QUIT_MS / 1000);
    return 0;
}

void
native_hold(struct native_guest *g, bool on)
{
    atomic_store(&g->held, on);
}

bool
native_held(const struct native_guest *g)
{
    return atomic_load(&g->held);
}

/* --- migrate/guest.h --- */

/* With mu held: gets and maps the memory unless that is done. */
static int
map_locked(struct native_guest *g, struct err *err)
{
    const struct native_request q = {.op = GUEST_WIRE_MEMORY};
    struct guest_wire_memory w;
    AUTO_FD int fd = -1;
    struct stat st;
    void *map;
    int r, seals;

    if (g->map)
        return 0;
    r = native_call(g, &q, &w, sizeof(w), NULL, &fd, err);
    if (r < 0)
        return r;
    seals = fcntl(fd, F_GET_SEALS);
    if (w.size != g->memory_bytes || w.page_bytes != GUEST_PAGE_BYTES || w.hva % GUEST_PAGE_BYTES ||
        fstat(fd, &st) < 0 || (uint64_t)st.st_size != w.size || seals < 0 ||
        (seals & WANTED_SEALS) != WANTED_SEALS)
        return err_set(err, -EPROTO, "guest %s: its memory is not what it was started with",
                       g->uid);
    map = hugemap(fd, w.size);
    if (map == MAP_FAILED)
        return err_set(err, -errno, "guest %s: cannot map its memory: %s", g->uid, strerror(errno));
    (void)madvise(map, w.size, MADV_DONTDUMP);
    (void)madvise(map, w.size, MADV_DONTFORK);
    g->map = map;
    g->memfd = take_fd(&fd);
    g->hva = w.hva;
    return 0;
}

static int
op_regions(void *guest, struct guest_region *out, struct err *err)
{
    struct native_guest *g = guest;
    int r;

    pthread_mutex_lock(&g->mu);
    r = map_locked(g, err);
    if (r == 0)
        out[0] = (struct guest_region){.hva = g->hva,
                                       .size = g->memory_bytes,
                                       .page_bytes = GUEST_PAGE_BYTES,
                                       .memfd = g->memfd,
                                       .map = g->map};
    pthread_mutex_unlock(&g->mu);
    return r < 0 ? r : 1;
}

static pid_t
op_pid(void *guest)
{
    return native_pid(guest);
}

static int
op_userfaultfd(void *guest, int *ret_fd, struct err *err)
{
    const struct native_request q = {.op = GUEST_WIRE_USERFAULTFD};

    return native_call(guest, &q, NULL, 0, NULL, ret_fd, err);
}

static int
op_userfaultfd_kept(void *guest, int *ret_fd, struct err *err)
{
    const struct native_request q = {.op = GUEST_WIRE_USERFAULTFD_KEPT};

    return native_call(guest, &q, NULL, 0, NULL, ret_fd, err);
}

static int
op_userfaultfd_close(void *guest, struct err *err)
{
    return simple_call(guest, GUEST_WIRE_USERFAULTFD_CLOSE, 0, err);
}

static int
op_throttle(void *guest, unsigned percent, bool writers_only, struct err *err)
{
    struct native_guest *g = guest;
    const struct native_request q = {.op = GUEST_WIRE_THROTTLE,
                                     .arg = percent | (writers_only ? GUEST_THROTTLE_WRITERS : 0)};
    int r = native_call_on(g, &g->throttle_fd, &q, NULL, 0, NULL, NULL, err);

    if (percent == 0 && g->throttle_fd >= 0) {
        close(g->throttle_fd);
        g->throttle_fd = -1;
    }
    return r;
}

static int
op_pause(void *guest, struct err *err)
{
    return simple_call(guest, GUEST_WIRE_PAUSE, 0, err);
}

static int
op_resume(void *guest, struct err *err)
{
    if (!native_held(guest))
        return simple_call(guest, GUEST_WIRE_RESUME, 0, err);
    return native_alive(guest) ? 0 : err_set(err, -ESRCH, "the guest has ended");
}

static int
op_save_state(void *guest, void **ret_buf, size_t *ret_len, struct err *err)
{
    const struct native_request q = {.op = GUEST_WIRE_SAVE};
    AUTO_FREE uint8_t *buf = xmalloc(GUEST_MAX_STATE_BYTES);
    size_t len = 0;
    int r = native_call(guest, &q, buf, GUEST_MAX_STATE_BYTES, &len, NULL, err);

    if (r < 0)
        return r;
    *ret_buf = TAKE_PTR(buf);
    *ret_len = len;
    return 0;
}

static int
op_load_state(void *guest, const void *buf, size_t len, struct err *err)
{
    const struct native_request q = {.op = GUEST_WIRE_LOAD, .data = buf, .len = len};

    return native_call(guest, &q, NULL, 0, NULL, NULL, err);
}

struct guest
native_guest(struct native_guest *g)
{
    static const struct guest_ops ops = {
        .regions = op_regions,
        .pid = op_pid,
        .userfaultfd = op_userfaultfd,
        .userfaultfd_close = op_userfaultfd_close,
        .userfaultfd_kept = op_userfaultfd_kept,
        .throttle = op_throttle,
        .pause = op_pause,
        .resume = op_resume,
        .save_state = op_save_state,
        .load_state = op_load_state,
    };

    return (struct guest){.ops = &ops, .impl = g};
}
