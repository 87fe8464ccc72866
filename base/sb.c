/* Growable byte strings and the allocators that do not fail; see sb.h. */
#include "base/sb.h"

#include <stdint.h>
#include <string.h>

static void out_of_memory(void) __attribute__((noreturn));
static void reserve(struct sb *sb, size_t more);

void
sb_done(struct sb *sb)
{
    free(sb->buf);
    *sb = SB_INIT;
}

void
sb_reset(struct sb *sb)
{
    sb->len = 0;
    if (sb->buf)
        sb->buf[0] = '\0';
}

void
sb_add(struct sb *sb, const void *data, size_t len)
{
    reserve(sb, len);
    if (len > 0)
        memcpy(sb->buf + sb->len, data, len);
    sb->len += len;
    sb->buf[sb->len] = '\0';
}

void
sb_puts(struct sb *sb, const char *s)
{
    sb_add(sb, s, strlen(s));
}

void
sb_putc(struct sb *sb, char c)
{
    sb_add(sb, &c, 1);
}

void
sb_printf(struct sb *sb, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(sb, fmt, ap);
    va_end(ap);
}

void
sb_vprintf(struct sb *sb, const char *fmt, va_list ap)
{
    va_list again;

    va_copy(again, ap);

    int n = vsnprintf(NULL, 0, fmt, ap);

    if (n > 0) {
        reserve(sb, (size_t)n);
        vsnprintf(sb->buf + sb->len, (size_t)n + 1, fmt, again);
        sb->len += (size_t)n;
    }
    va_end(again);
}

const char *
sb_str(const struct sb *sb)
{
    return sb->buf ? sb->buf : "";
}

char *
sb_steal(struct sb *sb)
{
    char *s = sb->buf ? sb->buf : xstrdup("");

    *sb = SB_INIT;
    return s;
}

void *
xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);

    if (!p)
        out_of_memory();
    return p;
}

void *
xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);

    if (!p)
        out_of_memory();
    return p;
}

void *
xrealloc(void *p, size_t size)
{
    p = realloc(p, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *
xreallocarray(void *p, size_t n, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(n, size, &total))
        out_of_memory();
    return xrealloc(p, total);
}

char *
xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

char *
xstrndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *p = xmalloc(len + 1);

    memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

char *
xasprintf(const char *fmt, ...)
{
    struct sb sb = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    return sb_steal(&sb);
}

static void
reserve(struct sb *sb, size_t more)
{
    size_t need;

    if (__builtin_add_overflow(sb->len, more, &need) || __builtin_add_overflow(need, 1, &need))
        out_of_memory();
    if (need <= sb->cap)
        return;

    size_t cap = sb->cap ? sb->cap : 64;

    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    sb->buf = xrealloc(sb->buf, cap);
    sb->cap = cap;
}

static void
out_of_memory(void)
{
    static const char msg[] = "out of memory\n";

    (void)!write(2, msg, sizeof msg - 1);
    abort();
}

int
text_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}
