/* Exact verification of a native guest's memory; see guest_verify.h. The work is cut into units (a
 * stream, or a run of pages that no stream owns), which a few threads take one by one. For a stream
 * the steps of the last period are sorted by page first (counting sort, 4 bytes a step), then each
 * page is recomputed and compared. */
#include "handler/guest_verify.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/sb.h"
#include "handler/guest_memory.h"

#define REST_UNIT_PAGES    (1u << 16)
#define MAX_VERIFY_THREADS 8
#define STALE_VERSIONS     64 /* how far back a bad page's content is looked for */

struct unit {
    const struct guest_stream *stream; /* NULL: pages that no stream owns */
    uint64_t done;                     /* steps of the stream */
    uint64_t first_page, pages;
};

/* The writes of the last period, by page, in order: entry[start[p]]..entry[start[p + 1] - 1] are
 * those to page p, as numbers of steps after from_k. */
struct writes {
    uint64_t from_k;
    uint32_t *start, *entry; /* NULL when no stream */
};

struct job {
    const struct guest_verify_input *in;
    struct unit *units;
    size_t units_len;
    atomic_size_t next;
    pthread_mutex_t mu; /* guards the rest */
    struct guest_verify_result result;
    uint64_t first_bad;
    int error;
};

static int verify_unit(struct job *job, const struct unit *u);
static int verify_pages(struct job *job, const struct unit *u, const struct writes *w);
static int index_writes(const struct unit *u, const atomic_bool *cancel, struct writes *w);
static bool expected_page(const struct guest_config *cfg, const struct unit *u,
                          const struct writes *w, uint64_t page, uint64_t *buf);
static void describe(const struct job *job, const struct unit *u, const struct writes *w,
                     uint64_t page, const uint64_t *want, const uint64_t *found, char *text);

static bool
cancelled(const atomic_bool *cancel)
{
    return cancel && atomic_load_explicit(cancel, memory_order_relaxed);
}

static void *
worker(void *arg)
{
    struct job *job = arg;
    size_t i;

    while ((i = atomic_fetch_add(&job->next, 1)) < job->units_len) {
        int r = verify_unit(job, &job->units[i]);

        if (r == 0)
            continue;
        pthread_mutex_lock(&job->mu);
        if (job->error == 0)
            job->error = r;
        pthread_mutex_unlock(&job->mu);
        atomic_store(&job->next, job->units_len);
    }
    return NULL;
}

static void
plan_units(struct job *job, const struct guest_plan *plans)
{
    const struct guest_config *cfg = job->in->cfg;
    uint64_t total = cfg->memory_bytes / GUEST_PAGE_BYTES;
    uint64_t owned = cfg->workload == GUEST_IDLE ? 0 : cfg->set_bytes / GUEST_PAGE_BYTES;
    size_t n = (size_t)cfg->vcpus * GUEST_MAX_STREAMS + (total - owned) / REST_UNIT_PAGES + 1;

    job->units = xcalloc(n, sizeof(*job->units));
    for (uint32_t v = 0; v < cfg->vcpus && owned; v++)
        for (unsigned s = 0; s < plans[v].streams_len; s++)
            job->units[job->units_len++] =
                (struct unit){.stream = &plans[v].streams[s],
                              .done = guest_plan_count(&plans[v], s, job->in->steps[v]),
                              .first_page = plans[v].streams[s].first_page,
                              .pages = plans[v].streams[s].pages};
    for (uint64_t p = owned; p < total; p += REST_UNIT_PAGES)
        job->units[job->units_len++] = (struct unit){
            .first_page = p, .pages = total - p < REST_UNIT_PAGES ? total - p : REST_UNIT_PAGES};
}

int
guest_verify_run(const struct guest_verify_input *in, struct guest_verify_result *ret,
                 struct err *err)
{
    AUTO_FREE struct guest_plan *plans = xcalloc(in->cfg->vcpus, sizeof(*plans));
    struct job job = {.in = in, .mu = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[MAX_VERIFY_THREADS];
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0;

    for (uint32_t v = 0; v < in->cfg->vcpus; v++)
        guest_plan_init(&plans[v], in->cfg, v);
    plan_units(&job, plans);
    /* This thread works, too, so fewer helpers than wanted are no error. */
    while (started < MAX_VERIFY_THREADS - 1 && started + 1 < cpus &&
           (size_t)started + 1 < job.units_len &&
           pthread_create(&threads[started], NULL, worker, &job) == 0)
        started++;
    worker(&job);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    free(job.units);
    pthread_mutex_destroy(&job.mu);
    if (job.error == -ECANCELED)
        return err_set(err, job.error, "verify: cut short by another request");
    if (job.error < 0)
        return err_set(err, job.error, "verify: %s", strerror(-job.error));
    *ret = job.result;
    ret->pages = in->cfg->memory_bytes / GUEST_PAGE_BYTES;
    return 0;
}

static bool
is_zero(const uint64_t *p)
{
    return p[0] == 0 && memcmp(p, p + 1, GUEST_PAGE_BYTES - sizeof(*p)) == 0;
}

static int
verify_unit(struct job *job, const struct unit *u)
{
    struct writes w = {0};
    int r = u->stream ? index_writes(u, job->in->cancel, &w) : 0;

    if (r == 0)
        r = verify_pages(job, u, &w);
    free(w.start);
    free(w.entry);
    return r;
}

static int
verify_pages(struct job *job, const struct unit *u, const struct writes *w)
{
    static const uint64_t zero[GUEST_PAGE_WORDS];
    uint64_t want[GUEST_PAGE_WORDS], start = 0, end = 0, present = 0, bad = 0;
    int r = 0;

    for (uint64_t i = 0; i < u->pages && r == 0; i++) {
        uint64_t page = u->first_page + i, at = page * GUEST_PAGE_BYTES;
        const uint64_t *found = zero;
        bool content = expected_page(job->in->cfg, u, w, page, want);

        if (at >= end)
            r = guest_memory_next_present(job->in->memfd, job->in->cfg->memory_bytes, at, &start,
                                          &end);
        if (r == 0 && i % 64 == 0 && cancelled(job->in->cancel))
            r = -ECANCELED;
        if (r < 0)
            break;
        if (at >= start && at < end) {
            found = (const uint64_t *)(const void *)(job->in->map + at);
            present++;
        }
        if (content ? memcmp(found, want, GUEST_PAGE_BYTES) == 0 : is_zero(found))
            continue;
        if (bad++ > 0)
            continue;
        if (!content)
            memset(want, 0, sizeof(want));
        pthread_mutex_lock(&job->mu);
        if (job->result.text[0] == '\0' || page < job->first_bad) {
            job->first_bad = page;
            describe(job, u, w, page, want, found, job->result.text);
        }
        pthread_mutex_unlock(&job->mu);
    }
    pthread_mutex_lock(&job->mu);
    job->result.present_pages += present;
    job->result.bad_pages += bad;
    pthread_mutex_unlock(&job->mu);
    return r;
}

static int
index_writes(const struct unit *u, const atomic_bool *cancel, struct writes *w)
{
    const struct guest_stream *s = u->stream;
    uint64_t len = u->done < s->period ? u->done : s->period;
    struct guest_place place;

    w->from_k = u->done - len;
    w->start = calloc((size_t)s->pages + 2, sizeof(*w->start));
    w->entry = calloc(len + 1, sizeof(*w->entry));
    if (!w->start || !w->entry)
        return -ENOMEM;
    /* Counts go two places up, so that after the second pass start[p] is where page p begins. */
    for (uint64_t i = 0; i < len; i++) {
        if (i % 4096 == 0 && cancelled(cancel))
            return -ECANCELED;
        guest_stream_place(s, (uint32_t)((w->from_k + i) % s->period), &place);
        if (place.op == GUEST_OP_WRITE)
            w->start[place.page + 2]++;
    }
    for (uint64_t p = 2; p < (uint64_t)s->pages + 2; p++)
        w->start[p] += w->start[p - 1];
    for (uint64_t i = 0; i < len; i++) {
        guest_stream_place(s, (uint32_t)((w->from_k + i) % s->period), &place);
        if (place.op == GUEST_OP_WRITE)
            w->entry[w->start[place.page + 1]++] = (uint32_t)i;
    }
    return 0;
}

/* Applies the step k of the stream to buf if it writes. */
static void
apply(const struct guest_stream *s, uint64_t k, uint64_t *buf)
{
    struct guest_place place;

    guest_stream_place(s, (uint32_t)(k % s->period), &place);
    guest_content_write(guest_stream_key(s, k), place.first_word, buf + place.first_word,
                        place.words);
}

static bool
initial_page(const struct guest_config *cfg, uint64_t page, uint64_t *buf)
{
    uint64_t key;

    if (guest_initial_key(cfg, page, &key)) {
        guest_content_write(key, 0, buf, GUEST_PAGE_WORDS);
        return true;
    }
    memset(buf, 0, GUEST_PAGE_BYTES);
    return false;
}

/* What the page must hold. False: zeros (then buf is not written). */
static bool
expected_page(const struct guest_config *cfg, const struct unit *u, const struct writes *w,
              uint64_t page, uint64_t *buf)
{
    uint64_t p = page - u->first_page, key;
    uint32_t from = w->start ? w->start[p] : 0, to = w->start ? w->start[p + 1] : 0;
    bool whole =
        u->stream && (u->stream->kind == GUEST_SEQUENTIAL || u->stream->kind == GUEST_HOTCOLD);

    if (from == to && !guest_initial_key(cfg, page, &key))
        return false;
    if (whole && from < to)
        from = to - 1; /* each write covers the page: only the last one shows */
    else
        initial_page(cfg, page, buf);
    for (uint32_t i = from; i < to; i++)
        apply(u->stream, w->from_k + w->entry[i], buf);
    return true;
}

/* How many writes to the page are missing if found is what it held before them; 0 when it is no
 * such. */
static uint32_t
versions_behind(const struct job *job, const struct unit *u, const struct writes *w, uint64_t page,
                const uint64_t *found)
{
    uint64_t p = page - u->first_page, buf[GUEST_PAGE_WORDS];
    uint32_t from = w->start ? w->start[p] : 0, to = w->start ? w->start[p + 1] : 0;

    for (uint32_t missing = 1; missing <= STALE_VERSIONS && missing <= to - from; missing++) {
        initial_page(job->in->cfg, page, buf);
        /* The period before wrote the same places in the same order. */
        for (uint32_t i = from; i < to; i++)
            if (w->from_k + w->entry[i] >= u->stream->period)
                apply(u->stream, w->from_k + w->entry[i] - u->stream->period, buf);
        for (uint32_t i = from; i < to - missing; i++)
            apply(u->stream, w->from_k + w->entry[i], buf);
        if (memcmp(found, buf, sizeof(buf)) == 0)
            return missing;
    }
    return 0;
}

static void
describe(const struct job *job, const struct unit *u, const struct writes *w, uint64_t page,
         const uint64_t *want, const uint64_t *found, char *text)
{
    uint32_t word = 0, wrong = 0, behind;
    char looks[96] = "";

    for (uint32_t i = GUEST_PAGE_WORDS; i-- > 0;) {
        if (want[i] == found[i])
            continue;
        word = i;
        wrong++;
    }
    behind = versions_behind(job, u, w, page, found);
    if (is_zero(found))
        snprintf(looks, sizeof(looks), "the page is all zeros");
    else if (behind)
        snprintf(looks, sizeof(looks), "an older version, %" PRIu32 " write%s behind", behind,
                 behind == 1 ? "" : "s");
    else
        snprintf(looks, sizeof(looks), "%" PRIu32 " of %u words differ", wrong, GUEST_PAGE_WORDS);
    snprintf(text, GUEST_VERIFY_TEXT,
             "page %" PRIu64 " (offset %" PRIu64 ", workload %s) at byte %u: expected %016" PRIx64
             ", found %016" PRIx64 ": %s",
             page, page * GUEST_PAGE_BYTES,
             u->stream ? guest_workload_names[u->stream->kind] : "none", word * 8u, want[word],
             found[word], looks);
}
