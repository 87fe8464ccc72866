/* Recording dirty pages; see trace_record.h. */
#include "migrate/trace_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sb.h"
#include "migrate/bits.h"
#include "migrate/present.h"
#include "migrate/trace.h"
#include "migrate/track.h"
#include "migrate/wws.h"
#include "proto/layout.h"

#define INTERVAL_US       100000
#define INTERVAL_SHORT_US 20000 /* of a recording of less than SHORT_US */
#define SHORT_US          3000000
#define POINTS            8 /* of the fit: the whole time, a half, a quarter, ... */

struct recorder {
    struct guest_region regions[GUEST_MAX_REGIONS];
    uint64_t first_page[GUEST_MAX_REGIONS]; /* numbered through */
    int regions_len;
    struct track *track;
    struct track_buf *buf;
    struct present present[GUEST_MAX_REGIONS];
    uint32_t region; /* that is being scanned */
    bool counts;     /* else the scan only arms */
    uint64_t *seen;  /* a bit a page: written since the start */
    uint64_t words, seen_pages, pages;
    uint32_t ranges;
    struct sb text; /* of this interval */
    FILE *out;
    uint64_t bytes; /* of the file */
};

static int begin(struct recorder *r, const struct guest *g, struct err *err);
static void end(struct recorder *r);
static int scan(struct recorder *r, bool counts, struct err *err);
static int record(struct recorder *r, uint64_t us, const atomic_bool *stop,
                  struct trace_recorded *ret, struct err *err);
static void sleep_until(uint64_t at_us, const atomic_bool *stop);

int
trace_record(const struct guest *g, uint64_t us, const char *path, const atomic_bool *stop,
             struct trace_recorded *ret, struct err *err)
{
    AUTO_FREE char *part = xasprintf("%s.part", path);
    struct recorder r = {.text = SB_INIT};
    int fd, rc;

    if (us < TRACE_RECORD_MIN_US || us > TRACE_RECORD_MAX_US)
        return err_set(err, -EINVAL, "a recording of %.1f s: want 0.1 to %d", (double)us / 1e6,
                       (int)(TRACE_RECORD_MAX_US / 1000000));
    fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "%s: %s", part, strerror(errno));
    r.out = fdopen(fd, "w");
    memset(ret, 0, sizeof *ret);
    rc = begin(&r, g, err);
    if (rc == 0)
        rc = record(&r, us, stop, ret, err);
    end(&r);
    if (fclose(r.out) != 0 && rc == 0)
        rc = err_set(err, -errno, "%s: %s", part, strerror(errno));
    if (rc == 0 && rename(part, path) < 0)
        rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (rc != 0)
        unlink(part);
    return rc;
}

static int
begin(struct recorder *r, const struct guest *g, struct err *err)
{
    int rc = g->ops->regions(g->impl, r->regions, err);

    if (rc < 0)
        return rc;
    r->regions_len = rc;
    for (int i = 0; i < r->regions_len; i++) {
        r->first_page[i] = r->pages;
        r->pages += r->regions[i].size / TRACE_PAGE_BYTES;
        r->present[i].fd = -1;
    }
    r->words = (r->pages + 63) / 64;
    r->seen = xcalloc(r->words, 8);
    r->buf = track_buf_new();
    rc = 0;
    for (int i = 0; i < r->regions_len && rc == 0; i++)
        rc = present_init(&r->present[i], &r->regions[i], err);
    if (rc == 0)
        rc = track_new(g, r->regions, (unsigned)r->regions_len, &r->track, err);
    return rc;
}

static void
end(struct recorder *r)
{
    track_free(r->track, NULL);
    track_buf_free(r->buf);
    for (int i = 0; i < r->regions_len; i++)
        present_done(&r->present[i]);
    free(r->seen);
    sb_done(&r->text);
}

static uint64_t
present_bytes(const struct recorder *r)
{
    uint64_t bytes = 0, most = r->pages * TRACE_PAGE_BYTES;

    for (int i = 0; i < r->regions_len; i++) {
        struct stat st;

        if (fstat(r->regions[i].memfd, &st) == 0)
            bytes += (uint64_t)st.st_blocks * 512 / TRACE_PAGE_BYTES * TRACE_PAGE_BYTES;
    }
    return bytes < most ? bytes : most;
}

static int
record(struct recorder *r, uint64_t us, const atomic_bool *stop, struct trace_recorded *ret,
       struct err *err)
{
    uint64_t step = us < SHORT_US ? INTERVAL_SHORT_US : INTERVAL_US, start, next_point;
    struct wws w;
    int rc;

    ret->memory_bytes = r->pages * TRACE_PAGE_BYTES;
    ret->present_bytes = present_bytes(r);
    wws_init(&w, ret->memory_bytes);
    fprintf(r->out, "drover-trace %d\nmemory %" PRIu64 "\npresent %" PRIu64 "\n", TRACE_VERSION,
            ret->memory_bytes, ret->present_bytes);
    start = clock_mono_us();
    rc = scan(r, false, err);
    start += (clock_mono_us() - start) / 2;
    next_point = us >> (POINTS - 1);
    while (rc == 0 && ret->us < us && !atomic_load(stop)) {
        uint64_t due = ret->us + step, at;

        sleep_until(start + (due < us ? due : us), stop);
        at = clock_mono_us();
        r->ranges = 0;
        rc = scan(r, true, err);
        if (rc != 0)
            break;
        at += (clock_mono_us() - at) / 2;
        if (r->bytes + r->text.len + 64 > TRACE_MAX_FILE)
            break; /* what there is, is a trace */
        ret->us = at - start;
        r->bytes += (uint64_t)fprintf(r->out, "at %" PRIu64 "\n", ret->us) + r->text.len;
        fwrite(sb_str(&r->text), 1, r->text.len, r->out);
        ret->intervals++;
        if (ret->us >= next_point) {
            wws_note(&w, (double)ret->us / 1e6, 0, (double)r->seen_pages * TRACE_PAGE_BYTES, 1);
            next_point = next_point * 2 > ret->us ? next_point * 2 : ret->us + 1;
        }
    }
    fprintf(r->out, "end %" PRIu32 "\n", ret->intervals);
    if (rc == 0 && ferror(r->out))
        rc = err_set(err, -EIO, "writing the trace failed");
    if (rc == 0 && ret->intervals == 0)
        rc = err_set(err, -ECANCELED, "stopped before anything was recorded");
    wws_fit(&w);
    ret->written_bytes = r->seen_pages * TRACE_PAGE_BYTES;
    ret->set_bytes = (uint64_t)w.set_bytes;
    ret->dirty_bytes_per_s = (uint64_t)w.bytes_per_s;
    return rc;
}

static void
sleep_until(uint64_t at_us, const atomic_bool *stop)
{
    for (uint64_t now = clock_mono_us(); now < at_us && !atomic_load(stop); now = clock_mono_us()) {
        uint64_t us = at_us - now < 20000 ? at_us - now : 20000;
        struct timespec ts = {.tv_nsec = (long)us * 1000};

        nanosleep(&ts, NULL);
    }
}

static int
on_range(void *ctx, const struct track_range *t)
{
    struct recorder *r = ctx;
    uint64_t page = r->first_page[r->region] + t->start / TRACE_PAGE_BYTES;
    uint64_t n = (t->end - t->start) / TRACE_PAGE_BYTES;

    if (!r->counts || !t->written || !t->mapped || n == 0)
        return 0;
    sb_printf(&r->text, "%" PRIu64 " %" PRIu64 "\n", page, n);
    for (uint64_t i = page; i < page + n; i++) {
        r->seen_pages += !bits_test(r->seen, i);
        bits_set(r->seen, i);
    }
    return 0;
}

/* Arms what has content and was written, and with counts writes down what that was. */
static int
scan(struct recorder *r, bool counts, struct err *err)
{
    r->counts = counts;
    sb_reset(&r->text);
    for (r->region = 0; r->region < (uint32_t)r->regions_len; r->region++) {
        uint64_t size = r->regions[r->region].size, at = 0;

        while (at < size) {
            uint64_t data, to;
            int rc = present_next(&r->present[r->region], at, &data, err);

            if (rc != 0)
                return rc;
            if (data >= size)
                break;
            at = data / LAYOUT_STRIPE_BYTES * LAYOUT_STRIPE_BYTES;
            to = at + LAYOUT_STRIPE_BYTES < size ? at + LAYOUT_STRIPE_BYTES : size;
            rc = track_scan(r->track, r->buf, r->region, at, to, true, on_range, r, err);
            if (rc != 0)
                return rc;
            at = to;
        }
    }
    return 0;
}
