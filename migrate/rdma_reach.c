/* See rdma_reach.h. */
#include "migrate/rdma_reach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "migrate/bits.h"

#define DENSE_PAGES (LAYOUT_STRIPE_PAGES / 4) /* so many missing: a stripe of which much is */

static unsigned runs_of(const uint64_t cover[REACH_WORDS], const uint64_t missing[REACH_WORDS],
                        struct reach_run ret[REACH_RUNS], bool *ret_all);
static size_t place_of(const struct reach *r, uint64_t page);

unsigned
reach_runs(const uint64_t missing[REACH_WORDS], const uint64_t data[REACH_WORDS],
           struct reach_run ret[REACH_RUNS])
{
    uint64_t both[REACH_WORDS];
    unsigned n = 0;
    bool all = false;

    for (unsigned i = 0; i < REACH_WORDS; i++)
        both[i] = missing[i] & data[i];
    if (bits_count(both, REACH_WORDS) < DENSE_PAGES)
        n = runs_of(both, both, ret, &all);
    return all ? n : runs_of(data, both, ret, &all);
}

/* Runs of `cover` that have missing pages. *ret_all: there are no more than what was returned. */
static unsigned
runs_of(const uint64_t cover[REACH_WORDS], const uint64_t missing[REACH_WORDS],
        struct reach_run ret[REACH_RUNS], bool *ret_all)
{
    unsigned n = 0;

    *ret_all = true;
    for (uint64_t from = 0, to; from < LAYOUT_STRIPE_PAGES; from = to) {
        from = bits_next(cover, from, LAYOUT_STRIPE_PAGES);
        for (to = from; to < LAYOUT_STRIPE_PAGES && bits_test(cover, to); to++)
            ;
        if (bits_next(missing, from, to) == to)
            continue;
        *ret_all = n < REACH_RUNS;
        if (!*ret_all)
            break;
        ret[n++] = (struct reach_run){(uint32_t)from, (uint32_t)(to - from)};
    }
    return n;
}

void
reach_done(struct reach *r)
{
    free(r->windows);
    *r = (struct reach){0};
}

int
reach_add(struct reach *r, const struct layout *l, const struct control_windows *m, struct err *err)
{
    for (uint32_t i = 0; i < m->len; i++) {
        const struct control_window *w = &m->windows[i];
        uint64_t end;
        size_t at;

        if (r->len == REACH_MAX)
            return err_set(err, -EPROTO, "WINDOWS: more than %d windows", REACH_MAX);
        if (w->key == 0 || !reach_inside(l, w) ||
            __builtin_add_overflow(w->address, w->pages * LAYOUT_PAGE_BYTES, &end))
            return err_set(err, -EPROTO,
                           "WINDOWS: %llu pages from page %llu on, with key %u: no memory of the "
                           "guest's",
                           (unsigned long long)w->pages, (unsigned long long)w->first_page, w->key);
        at = place_of(r, w->first_page);
        if ((at > 0 && r->windows[at - 1].first_page + r->windows[at - 1].pages > w->first_page) ||
            (at < r->len && r->windows[at].first_page < w->first_page + w->pages))
            return err_set(err, -EPROTO, "WINDOWS: page %llu and on: there is a window already",
                           (unsigned long long)w->first_page);
        if (r->len == r->room) {
            r->room = r->room ? 2 * r->room : 64;
            r->windows = xrealloc(r->windows, r->room * sizeof *r->windows);
        }
        memmove(&r->windows[at + 1], &r->windows[at], (r->len - at) * sizeof *r->windows);
        r->windows[at] = (struct reach_window){
            .first_page = w->first_page, .pages = w->pages, .address = w->address, .key = w->key};
        r->len++;
    }
    return 0;
}

bool
reach_inside(const struct layout *l, const struct control_window *w)
{
    for (uint32_t r = 0; r < l->regions; r++) {
        uint64_t first = l->first_stripe[r] * LAYOUT_STRIPE_PAGES;
        uint64_t pages = l->size_bytes[r] / LAYOUT_PAGE_BYTES;

        if (w->first_page >= first && w->first_page - first < pages)
            return w->pages > 0 && w->pages <= pages - (w->first_page - first);
    }
    return false;
}

struct reach_window *
reach_find(const struct reach *r, uint64_t page)
{
    size_t at = place_of(r, page + 1);
    struct reach_window *w = at > 0 ? &r->windows[at - 1] : NULL;

    return w && page - w->first_page < w->pages ? w : NULL;
}

/* Of the first window that begins at this page or behind it. */
static size_t
place_of(const struct reach *r, uint64_t page)
{
    size_t from = 0, to = r->len;

    while (from < to) {
        size_t mid = (from + to) / 2;

        if (r->windows[mid].first_page < page)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

void
reach_remove(struct reach *r, size_t index)
{
    r->len--;
    memmove(&r->windows[index], &r->windows[index + 1], (r->len - index) * sizeof *r->windows);
}
