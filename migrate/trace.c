/* Decoding and replaying traces of dirty pages; see trace.h. Which pages were written in an
 * interval is recorded, when in it is not: a hash of page and interval places each write, so that
 * windows of any length see their share, and always the same. */
#include "migrate/trace.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/sb.h"
#include "migrate/bits.h"

struct parser {
    const char *at, *end;
    unsigned line;
    struct trace *t;
    uint32_t intervals_cap, ranges_cap;
    uint64_t pages;
    bool ended;
};

static int parse_line(struct parser *p, const char *line, struct err *err);

static int
bad(const struct parser *p, struct err *err, const char *what)
{
    return err_set(err, -EINVAL, "trace: line %u: %s", p->line, what);
}

/* A decimal number and the one blank or end behind it. */
static bool
number(const char **s, uint64_t most, uint64_t *ret)
{
    char *end;

    if (!isdigit((unsigned char)**s))
        return false;
    errno = 0;
    *ret = strtoull(*s, &end, 10);
    if (errno || *ret > most || (*end != '\0' && *end != ' '))
        return false;
    *s = *end ? end + 1 : end;
    return true;
}

static bool
word(const char **s, const char *w)
{
    size_t n = strlen(w);

    if (strncmp(*s, w, n) != 0 || (*s)[n] != ' ')
        return false;
    *s += n + 1;
    return true;
}

int
trace_parse(const char *text, size_t len, struct trace **ret, struct err *err)
{
    struct parser p = {.at = text, .end = text + len, .t = xcalloc(1, sizeof *p.t)};
    int rc = 0;

    while (rc == 0 && p.at < p.end) {
        const char *nl = memchr(p.at, '\n', (size_t)(p.end - p.at));
        size_t n = (size_t)((nl ? nl : p.end) - p.at);
        char line[64];

        p.line++;
        if (n >= sizeof line || memchr(p.at, '\0', n)) {
            rc = bad(&p, err, "is no line of a trace");
            break;
        }
        memcpy(line, p.at, n);
        line[n] = '\0';
        p.at += n + 1;
        rc = parse_line(&p, line, err);
    }
    if (rc == 0 && !p.ended)
        rc = bad(&p, err, "ends without \"end\": the recording was cut off");
    if (rc != 0) {
        trace_free(p.t);
        return rc;
    }
    p.t->seen = xcalloc((p.pages + 63) / 64 * 3, 8);
    bits_set_range(p.t->seen, 0, p.pages);
    *ret = p.t;
    return 0;
}

static int
parse_head(struct parser *p, const char *s, struct err *err)
{
    uint64_t n;

    if (p->line == 1) {
        if (!word(&s, "drover-trace") || !number(&s, UINT32_MAX, &n) || *s)
            return bad(p, err, "want \"drover-trace 1\"");
        return n == TRACE_VERSION ? 0 : bad(p, err, "unknown version: this program reads 1");
    }
    if (!word(&s, p->line == 2 ? "memory" : "present") || !number(&s, TRACE_MAX_MEMORY, &n) || *s)
        return bad(p, err, p->line == 2 ? "want \"memory BYTES\"" : "want \"present BYTES\"");
    if (n % TRACE_PAGE_BYTES != 0 || (p->line == 2 && n == 0))
        return bad(p, err, "bytes: want whole pages of 4096");
    if (p->line == 2) {
        p->t->memory_bytes = n;
        p->pages = n / TRACE_PAGE_BYTES;
    } else if (n > p->t->memory_bytes) {
        return bad(p, err, "more is present than there is memory");
    } else {
        p->t->present_bytes = n;
    }
    return 0;
}

static int
parse_interval(struct parser *p, const char *s, struct err *err)
{
    struct trace *t = p->t;
    uint64_t last = t->intervals_len ? t->intervals[t->intervals_len - 1].end_us : 0, us;

    if (!number(&s, TRACE_MAX_US, &us) || *s)
        return bad(p, err, "want \"at MICROSECONDS\", within a day");
    if (us <= last)
        return bad(p, err, "time goes backwards");
    if (t->intervals_len == TRACE_MAX_INTERVALS)
        return bad(p, err, "too many intervals");
    if (t->intervals_len == p->intervals_cap) {
        p->intervals_cap = p->intervals_cap ? p->intervals_cap * 2 : 64;
        t->intervals = xrealloc(t->intervals, p->intervals_cap * sizeof *t->intervals);
    }
    t->intervals[t->intervals_len++] =
        (struct trace_interval){.end_us = us, .first = t->ranges_len};
    return 0;
}

static int
parse_range(struct parser *p, const char *s, struct err *err)
{
    struct trace *t = p->t;
    struct trace_interval *i = t->intervals_len ? &t->intervals[t->intervals_len - 1] : NULL;
    uint64_t page, n, from = 0;

    if (!i || !number(&s, p->pages - 1, &page) || !number(&s, p->pages, &n) || *s || n == 0 ||
        n > p->pages - page)
        return bad(p, err, "want \"PAGE COUNT\" inside the memory, after an \"at\"");
    if (i->len > 0) {
        const struct trace_range *r = &t->ranges[t->ranges_len - 1];

        from = (uint64_t)r->page + r->pages;
    }
    if (page < from)
        return bad(p, err, "ranges of an interval must be in order and apart");
    if (t->ranges_len == TRACE_MAX_RANGES)
        return bad(p, err, "too many ranges");
    if (t->ranges_len == p->ranges_cap) {
        p->ranges_cap = p->ranges_cap ? p->ranges_cap * 2 : 256;
        t->ranges = xrealloc(t->ranges, p->ranges_cap * sizeof *t->ranges);
    }
    t->ranges[t->ranges_len++] = (struct trace_range){.page = (uint32_t)page, .pages = (uint32_t)n};
    i->len++;
    return 0;
}

static int
parse_line(struct parser *p, const char *s, struct err *err)
{
    uint64_t n;

    if (p->line <= 3)
        return parse_head(p, s, err);
    if (p->ended)
        return bad(p, err, "nothing may follow \"end\"");
    if (word(&s, "at"))
        return parse_interval(p, s, err);
    if (word(&s, "end")) {
        if (!number(&s, TRACE_MAX_INTERVALS, &n) || *s || n != p->t->intervals_len || n == 0)
            return bad(p, err, "\"end\" must give the number of intervals, at least 1");
        p->ended = true;
        return 0;
    }
    return parse_range(p, s, err);
}

int
trace_load(const char *path, struct trace **ret, struct err *err)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    AUTO_FREE char *buf = NULL;
    struct stat st;
    size_t len = 0;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)TRACE_MAX_FILE)
        return err_set(err, -EINVAL, "%s: want a file of at most %u MiB", path,
                       TRACE_MAX_FILE >> 20);
    buf = xmalloc((size_t)st.st_size + 1);
    while (len < (size_t)st.st_size) {
        ssize_t n = read(fd, buf + len, (size_t)st.st_size - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, -errno, "%s: %s", path, strerror(errno));
        if (n == 0)
            break;
        len += (size_t)n;
    }
    rc = trace_parse(buf, len, ret, err);
    return rc ? err_prefix(err, rc, "%s", path) : 0;
}

void
trace_free(struct trace *t)
{
    if (!t)
        return;
    free(t->intervals);
    free(t->ranges);
    free(t->seen);
    free(t);
}

/* --- replay --- */

struct window {
    struct trace *t;
    uint64_t *dirty, *next, *before; /* before: how many dirty pages lie below each word */
    uint64_t us, dirty_pages;
    bool spread;
};

/* When in the round a page is sent. */
static uint64_t
sent_at(const struct window *w, uint64_t page)
{
    uint64_t below;

    if (!w->spread || !bits_test(w->dirty, page) || w->dirty_pages == 0)
        return 0;
    below = w->before[page / 64] +
            (uint64_t)__builtin_popcountll(w->dirty[page / 64] & ((1ull << page % 64) - 1));
    return (uint64_t)((unsigned __int128)w->us * below / w->dirty_pages);
}

/* An interval that begins at start_us of the window (it may have begun before it). */
static void
play(struct window *w, uint32_t index, int64_t start_us)
{
    const struct trace_interval *i = &w->t->intervals[index];
    uint64_t begin = index ? w->t->intervals[index - 1].end_us : 0, length = i->end_us - begin;

    for (uint32_t k = 0; k < i->len; k++) {
        const struct trace_range *r = &w->t->ranges[i->first + k];

        for (uint64_t page = r->page; page < (uint64_t)r->page + r->pages; page++) {
            uint64_t h = rng_mix(page * 0x9e3779b97f4a7c15ull + index) >> 32;
            int64_t at = start_us + (int64_t)((length * h) >> 32);

            if (at >= 0 && (uint64_t)at < w->us && (uint64_t)at >= sent_at(w, page))
                bits_set_range(w->next, page, page + 1);
        }
    }
}

uint64_t
trace_after(struct trace *t, uint64_t from_us, uint64_t us, bool spread)
{
    uint64_t words = (t->memory_bytes / TRACE_PAGE_BYTES + 63) / 64, pages = 0;
    uint64_t period = t->intervals[t->intervals_len - 1].end_us, offset = from_us % period;
    struct window w = {.t = t,
                       .dirty = t->seen,
                       .next = t->seen + words,
                       .before = t->seen + 2 * words,
                       .us = us,
                       .spread = spread};
    int64_t base = -(int64_t)offset;

    memset(w.next, 0, words * 8);
    for (uint64_t i = 0; i < words; i++) {
        w.before[i] = w.dirty_pages;
        w.dirty_pages += (uint64_t)__builtin_popcountll(w.dirty[i]);
    }
    /* More than a whole period shows each interval twice at most: at its last two places. */
    if (us > 2 * period)
        base += (int64_t)((us - 2 * period) / period * period);
    for (; base < (int64_t)us; base += (int64_t)period) {
        for (uint32_t k = 0; k < t->intervals_len; k++) {
            int64_t start = base + (int64_t)(k ? t->intervals[k - 1].end_us : 0);

            if (start >= (int64_t)us)
                break;
            if (base + (int64_t)t->intervals[k].end_us > 0)
                play(&w, k, start);
        }
    }
    for (uint64_t i = 0; i < words; i++)
        pages += (uint64_t)__builtin_popcountll(w.next[i]);
    if (spread)
        memcpy(w.dirty, w.next, words * 8);
    return pages * TRACE_PAGE_BYTES;
}
