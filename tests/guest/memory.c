/* See memory.h. Word 0 of page i after its g-th write is i << 32 | g. Each of the other 511 is 0 in a page
 * that was zero-filled and not written since, else a hash of the page's number, the word's, and of the write
 * that made it: with whole pages the last, else the last whose turn it was (write g makes word 1 + g % 511). */
#include "tests/guest/memory.h"

#include "tests/guest/io.h"

#define WORDS     512
#define BAD_LINES 8

static uint64_t base, pages, bad;
static uint32_t *writes; /* of each page: how often it was written since the fill */
static uint64_t next_write, next_check;
static bool random_fill, whole_pages;

static uint64_t *
words_of(uint64_t page)
{
    return (uint64_t *)(base + page * 4096);
}

static uint64_t
hash(uint64_t page, uint32_t write, unsigned word)
{
    uint64_t x = page * 0x9e3779b97f4a7c15u + ((uint64_t)write << 9 | word) * 0xd1342543de82ef95u;

    return x ^ x >> 29;
}

static uint64_t
want(uint64_t page, unsigned word)
{
    uint32_t g = writes[page], by = 0;

    if (word == 0)
        return page << 32 | g;
    if (whole_pages) {
        by = g;
    } else {
        uint32_t ago = (g + (WORDS - 1) - (word - 1)) % (WORDS - 1);

        by = g > ago ? g - ago : 0;
    }
    return by == 0 && !random_fill ? 0 : hash(page, by, word);
}

static void
check(uint64_t page)
{
    volatile uint64_t *w = words_of(page);

    for (unsigned i = 0; i < WORDS; i++) {
        uint64_t got = w[i];

        if (got == want(page, i))
            continue;
        if (bad++ < BAD_LINES) {
            io_text("BAD");
            io_field("page", page);
            io_field("word", i);
            io_field("writes", writes[page]);
            io_text(" want=");
            io_hex(want(page, i));
            io_text(" got=");
            io_hex(got);
            io_text("\n");
        }
        for (; i < WORDS; i++)
            w[i] = want(page, i);
    }
}

static bool
advance(uint64_t *next)
{
    *next = *next + 1 < pages ? *next + 1 : 0;
    return *next == 0;
}

uint64_t
memory_fill(uint64_t from, uint64_t to, uint64_t max, bool random)
{
    uint64_t room = to > from ? (to - from) / (4096 + sizeof *writes) : 0;

    pages = room == 0 ? 0 : room - 1; /* rounded up to whole pages below */
    if (pages > max)
        pages = max;
    writes = (uint32_t *)from;
    base = (from + pages * sizeof *writes + 4095) & ~4095ul;
    random_fill = random;
    for (uint64_t p = 0; p < pages; p++) {
        uint64_t *w = words_of(p);

        writes[p] = 0;
        for (unsigned i = 0; i < WORDS; i++)
            w[i] = want(p, i);
    }
    return pages;
}

bool
memory_write_next(bool whole)
{
    uint64_t page = next_write, *w = words_of(page);
    uint32_t g;

    whole_pages = whole;
    check(page);
    g = ++writes[page];
    w[0] = want(page, 0);
    if (whole)
        for (unsigned i = 1; i < WORDS; i++)
            w[i] = hash(page, g, i);
    else
        w[1 + g % (WORDS - 1)] = hash(page, g, 1 + g % (WORDS - 1));
    return advance(&next_write);
}

bool
memory_check_next(void)
{
    check(next_check);
    return advance(&next_check);
}

uint64_t
memory_bad(void)
{
    return bad;
}
