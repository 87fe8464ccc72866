/* Set-associative cache of page versions; see codec_cache.h. */
#include "migrate/codec_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/sb.h"
#include "proto/limits.h"

#define WAYS      8
#define HEAT_NEW  1
#define HEAT_FIND 2 /* each time it is found */
#define HEAT_MAX  7

struct place { /* of 8 bytes: a set is one line of the processor's cache */
    uint64_t page : 56, heat : 8;
};

#define FREE ((1ull << 56) - 1)

struct codec_cache {
    uint64_t sets, used;
    struct place *places;
    uint8_t *data;
};

static struct place *look(struct codec_cache *c, uint64_t page);
static uint8_t *data_of(struct codec_cache *c, const struct place *p);

struct codec_cache *
codec_cache_new(uint64_t bytes)
{
    uint64_t sets = bytes / LAYOUT_PAGE_BYTES / WAYS;
    struct codec_cache *c;
    void *data;

    if (sets == 0)
        return NULL;
    data = mmap(NULL, sets * WAYS * LAYOUT_PAGE_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
        return NULL;
    madvise(data, sets * WAYS * LAYOUT_PAGE_BYTES, MADV_HUGEPAGE);
    c = xcalloc(1, sizeof *c);
    c->sets = sets;
    c->data = data;
    c->places = xmalloc(sets * WAYS * sizeof *c->places);
    memset(c->places, 0xff, sets * WAYS * sizeof *c->places);
    return c;
}

void
codec_cache_free(struct codec_cache *c)
{
    if (!c)
        return;
    munmap(c->data, c->sets * WAYS * LAYOUT_PAGE_BYTES);
    free(c->places);
    free(c);
}

uint8_t *
codec_cache_find(struct codec_cache *c, uint64_t page)
{
    struct place *p = look(c, page);

    if (!p)
        return NULL;
    p->heat = p->heat + HEAT_FIND < HEAT_MAX ? p->heat + HEAT_FIND : HEAT_MAX;
    return data_of(c, p);
}

uint8_t *
codec_cache_put(struct codec_cache *c, uint64_t page)
{
    struct place *p = look(c, page), *set = c->places + page % c->sets * WAYS, *coldest = set;

    if (p)
        return data_of(c, p);
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].page == FREE) {
            set[i] = (struct place){.page = page, .heat = HEAT_NEW};
            c->used++;
            return data_of(c, &set[i]);
        }
        if (set[i].heat < coldest->heat)
            coldest = &set[i];
    }
    if (coldest->heat > 0) {
        coldest->heat--;
        return NULL;
    }
    *coldest = (struct place){.page = page, .heat = HEAT_NEW};
    return data_of(c, coldest);
}

void
codec_cache_drop(struct codec_cache *c, uint64_t page)
{
    struct place *p = look(c, page);

    if (!p)
        return;
    p->page = FREE;
    c->used--;
}

uint64_t
codec_cache_used(const struct codec_cache *c)
{
    return c->used;
}

static struct place *
look(struct codec_cache *c, uint64_t page)
{
    struct place *set = c->places + page % c->sets * WAYS;

    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].page == page)
            return &set[i];
    }
    return NULL;
}

static uint8_t *
data_of(struct codec_cache *c, const struct place *p)
{
    return c->data + (size_t)(p - c->places) * LAYOUT_PAGE_BYTES;
}
