/* The order of post-copy's push; see plan.h. */
#include "migrate/plan.h"

#include <string.h>

#include "base/sb.h"
#include "migrate/bits.h"

#define HEATS 256

static bool take(struct plan *p, uint64_t from, uint64_t to, uint32_t max, struct plan_run *ret);
static bool take_around(struct plan *p, uint32_t max, struct plan_run *ret);

void
plan_init(struct plan *p, const struct layout *l, const uint64_t *todo, const uint8_t *heat)
{
    uint64_t at[HEATS + 1] = {0};

    *p = (struct plan){.layout = l,
                       .todo = xcalloc(l->stripes, LAYOUT_STRIPE_PAGES / 8),
                       .order = xcalloc(l->stripes, sizeof *p->order)};
    /* Sorted by counting: hottest first, and by address among equals. */
    for (uint64_t i = 0; i < l->stripes; i++)
        at[HEATS - (heat ? heat[i] : 0)]++;
    for (int h = 1; h <= HEATS; h++)
        at[h] += at[h - 1];
    for (uint64_t i = 0; i < l->stripes; i++)
        p->order[at[HEATS - 1 - (heat ? heat[i] : 0)]++] = (uint32_t)i;
    plan_reset(p, todo);
}

void
plan_done(struct plan *p)
{
    free(p->todo);
    free(p->order);
    *p = (struct plan){0};
}

void
plan_reset(struct plan *p, const uint64_t *todo)
{
    size_t words = p->layout->stripes * (LAYOUT_STRIPE_PAGES / 64);

    memcpy(p->todo, todo, words * 8);
    p->left = bits_count(todo, words);
    p->order_at = 0;
    p->window = 0;
}

void
plan_fault(struct plan *p, uint64_t page, uint32_t pages)
{
    for (uint64_t i = page; i < page + pages; i++) {
        if (bits_test(p->todo, i)) {
            bits_clear(p->todo, i);
            p->left--;
        }
    }
    p->focus = page;
    p->window = PLAN_WINDOW_MIN;
}

bool
plan_next(struct plan *p, uint32_t max, struct plan_run *ret)
{
    if (p->left == 0 || max == 0)
        return false;
    if (take_around(p, max, ret))
        return true;
    for (; p->order_at < p->layout->stripes; p->order_at++) {
        uint64_t from = (uint64_t)p->order[p->order_at] * LAYOUT_STRIPE_PAGES;

        if (take(p, from, from + LAYOUT_STRIPE_PAGES, max, ret))
            return true;
    }
    return false;
}

static bool
take(struct plan *p, uint64_t from, uint64_t to, uint32_t max, struct plan_run *ret)
{
    uint64_t page = bits_next(p->todo, from, to), end = page;

    if (page == to)
        return false;
    /* a run lies inside one stripe */
    if (to > (page / LAYOUT_STRIPE_PAGES + 1) * LAYOUT_STRIPE_PAGES)
        to = (page / LAYOUT_STRIPE_PAGES + 1) * LAYOUT_STRIPE_PAGES;
    while (end < to && end - page < max && bits_test(p->todo, end))
        bits_clear(p->todo, end++);
    *ret = (struct plan_run){.page = page, .pages = (uint32_t)(end - page)};
    p->left -= ret->pages;
    return true;
}

/* Mostly ahead of the fault, a quarter of the window behind it. */
static bool
take_around(struct plan *p, uint32_t max, struct plan_run *ret)
{
    uint64_t all = p->layout->stripes * LAYOUT_STRIPE_PAGES;

    while (p->window > 0) {
        uint64_t back = p->window / 4, end = p->focus + p->window;

        if (take(p, p->focus, end < all ? end : all, max, ret) ||
            take(p, p->focus > back ? p->focus - back : 0, p->focus, max, ret))
            return true;
        p->window = p->window < PLAN_WINDOW_MAX ? p->window * 2 : 0;
    }
    return false;
}
