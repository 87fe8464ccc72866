/* A source that says in post-copy what the target may READ (WINDOWS), as it likes: the table takes exactly
 * the windows that lie in one region, over no other, and have a key; what it finds for a page is what a
 * page by page map says; and nothing of what is in it is lost or moved by what is refused. Besides, which
 * ranges a source opens of a stripe: no page without data, and every missing page that has some, unless
 * there are more ranges than may be. An input is a list of: what to do (1 byte), then as that wants. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/bits.h"
#include "migrate/rdma_reach.h"

#define MIB       (1ull << 20)
#define PAGES_MAX (16 * LAYOUT_STRIPE_PAGES)
#define DIE()     (fprintf(stderr, "%s:%d\n", __FILE__, __LINE__), abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at;
    size_t left;
};

struct model {
    struct layout l;
    struct reach r;
    uint16_t window[PAGES_MAX]; /* that the page is in: its key; 0 = none */
    uint64_t first[1 << 16];    /* of the window with this key */
    unsigned keys;
};

static uint64_t
take(struct input *in, unsigned bytes)
{
    uint64_t v = 0;

    for (; bytes > 0 && in->left > 0; bytes--, in->left--)
        v = v << 8 | *in->at++;
    return v;
}

/* Page by page: in one region, and free. */
static bool
is_fit(const struct model *m, const struct control_window *w)
{
    uint32_t region = 0;

    if (!w->key || !w->pages || w->pages > PAGES_MAX || w->first_page >= PAGES_MAX ||
        w->address > UINT64_MAX - PAGES_MAX * LAYOUT_PAGE_BYTES)
        return false;
    while (region < m->l.regions &&
           w->first_page >= m->l.first_stripe[region + 1] * LAYOUT_STRIPE_PAGES)
        region++;
    for (uint64_t p = w->first_page; p < w->first_page + w->pages; p++) {
        if (region == m->l.regions || p >= PAGES_MAX || m->window[p] ||
            p - m->l.first_stripe[region] * LAYOUT_STRIPE_PAGES >=
                m->l.size_bytes[region] / LAYOUT_PAGE_BYTES)
            return false;
    }
    return true;
}

static void
add(struct model *m, struct input *in)
{
    uint8_t wrong = (uint8_t)take(in, 1);
    struct control_window w = {.first_page = take(in, 2) % (PAGES_MAX + 64),
                               .pages = take(in, 1),
                               .address = 1 << 20,
                               .key = m->keys + 1};
    struct control_windows said = {.windows = &w, .len = 1};
    size_t len = m->r.len;
    bool fit;

    w.pages = wrong & 1 ? w.pages * 16 : w.pages;
    w.pages = wrong & 2 ? UINT64_MAX - w.pages : w.pages;
    w.first_page = wrong & 4 ? UINT64_MAX - w.first_page : w.first_page;
    w.key = wrong & 8 ? 0 : w.key;
    w.address = wrong & 16 ? UINT64_MAX - 4096 : w.address;
    fit = is_fit(m, &w);
    if (w.address == UINT64_MAX - 4096 &&
        w.pages <= 1) /* where this one page still fits is not ours */
        return;
    if ((reach_add(&m->r, &m->l, &said, NULL) == 0) != fit || m->r.len != len + fit)
        DIE();
    if (!fit)
        return;
    m->keys++;
    m->first[w.key] = w.first_page;
    for (uint64_t p = w.first_page; p < w.first_page + w.pages; p++)
        m->window[p] = (uint16_t)w.key;
}

static void
check(const struct model *m, uint64_t page)
{
    const struct reach_window *w = reach_find(&m->r, page);
    unsigned key = page < PAGES_MAX ? m->window[page] : 0;

    if ((w ? w->key : 0) != key || (w && w->first_page != m->first[key]))
        DIE();
}

static void
drop(struct model *m, size_t index)
{
    struct reach_window w;

    if (m->r.len == 0)
        return;
    w = m->r.windows[index % m->r.len];
    reach_remove(&m->r, index % m->r.len);
    memset(&m->window[w.first_page], 0, w.pages * sizeof *m->window);
}

/* Bits come as bytes of eight equal ones, whole words, or one by one. */
static void
runs(struct input *in)
{
    uint64_t missing[REACH_WORDS] = {0}, data[REACH_WORDS] = {0}, covered[REACH_WORDS] = {0};
    struct reach_run run[REACH_RUNS];
    uint32_t end = 0;
    unsigned n;

    for (unsigned k = (unsigned)take(in, 1); k > 0 && in->left > 0; k--) {
        uint64_t *bits = take(in, 1) & 1 ? missing : data;
        uint64_t first = take(in, 2) % LAYOUT_STRIPE_PAGES, len = take(in, 1) + 1;

        for (uint64_t p = first; p < first + len && p < LAYOUT_STRIPE_PAGES; p++)
            bits_set(bits, p);
    }
    n = reach_runs(missing, data, run);
    if (n > REACH_RUNS)
        DIE();
    for (unsigned i = 0; i < n; i++) {
        bool useful = false;

        if (run[i].pages == 0 || run[i].first < end ||
            run[i].first + run[i].pages > LAYOUT_STRIPE_PAGES)
            DIE();
        end = run[i].first + run[i].pages;
        for (uint64_t p = run[i].first; p < end; p++) {
            if (!bits_test(data, p))
                DIE();
            useful |= bits_test(missing, p);
            bits_set(covered, p);
        }
        if (!useful)
            DIE();
    }
    for (uint64_t p = 0; n < REACH_RUNS && p < LAYOUT_STRIPE_PAGES; p++)
        if (bits_test(missing, p) && bits_test(data, p) && !bits_test(covered, p))
            DIE();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct layout_region regions[] = {
        {.size_bytes = 5 * MIB, .page_bytes = LAYOUT_PAGE_BYTES},
        {.size_bytes = 8 * MIB, .page_bytes = LAYOUT_PAGE_BYTES},
        {.size_bytes = MIB + 3 * LAYOUT_PAGE_BYTES, .page_bytes = LAYOUT_PAGE_BYTES}};
    struct model *m = calloc(1, sizeof *m);
    struct input in = {data, size};

    if (!m || layout_init(&m->l, regions, 3, 1, NULL) != 0 ||
        m->l.stripes * LAYOUT_STRIPE_PAGES > PAGES_MAX)
        DIE();
    while (in.left > 0 && m->keys < 1000) {
        switch (take(&in, 1) % 8) {
        case 0:
        case 1:
        case 2:
        case 3:
            add(m, &in);
            break;
        case 4:
        case 5:
            check(m, take(&in, 2));
            break;
        case 6:
            drop(m, take(&in, 1));
            break;
        default:
            runs(&in);
            break;
        }
    }
    for (uint64_t p = 0; p < PAGES_MAX + 2; p++)
        check(m, p);
    check(m, UINT64_MAX);
    reach_done(&m->r);
    free(m);
    return 0;
}
