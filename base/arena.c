/* Memory in chunks that are freed together; see arena.h. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "base/sb.h"

#define ALIGN       16u
#define CHUNK_FIRST 2048u
#define CHUNK_MAX   (256u << 10)

struct chunk {
    struct chunk *next;
    size_t size, used;
    _Alignas(ALIGN) unsigned char data[];
};

struct arena {
    struct chunk *head;
    size_t next_size;
};

struct arena *
arena_new(void)
{
    struct arena *a = xcalloc(1, sizeof *a);

    a->next_size = CHUNK_FIRST;
    return a;
}

void
arena_free(struct arena *a)
{
    if (!a)
        return;
    for (struct chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(a);
}

void *
arena_alloc(struct arena *a, size_t size)
{
    if (size > SIZE_MAX / 2)
        abort();
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (size == 0)
        size = ALIGN;

    struct chunk *c = a->head;

    if (!c || c->size - c->used < size) {
        size_t room = size > a->next_size ? size : a->next_size;

        c = xmalloc(sizeof *c + room);
        c->size = room;
        c->used = 0;
        c->next = a->head;
        a->head = c;
        if (a->next_size < CHUNK_MAX)
            a->next_size *= 2;
    }

    void *p = c->data + c->used;

    c->used += size;
    return memset(p, 0, size);
}

void *
arena_calloc(struct arena *a, size_t n, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(n, size, &total))
        abort();
    return arena_alloc(a, total);
}

char *
arena_strdup(struct arena *a, const char *s)
{
    return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *
arena_strndup(struct arena *a, const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *p = arena_alloc(a, len + 1);

    memcpy(p, s, len);
    return p;
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);

    int n = vsnprintf(NULL, 0, fmt, ap);
    char *p = arena_alloc(a, (size_t)(n > 0 ? n : 0) + 1);

    if (n > 0)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p;
}
