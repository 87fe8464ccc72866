/* Growable byte string. Aborts the process when memory runs out (so do all of base's containers):
 * sizes that come from outside are bounded by the caller before they get here. Not thread-safe. */
#ifndef BASE_SB_H
#define BASE_SB_H

#include <stdarg.h>
#include <stddef.h>

#include "base/cleanup.h"

struct sb {
    char *buf; /* NUL-terminated once anything was added; NULL before */
    size_t len, cap;
};

#define SB_INIT ((struct sb){0})
#define AUTO_SB CLEANUP(sb_done)

void sb_done(struct sb *sb);
void sb_reset(struct sb *sb); /* length 0, keeps the memory */
void sb_add(struct sb *sb, const void *data, size_t len);
void sb_puts(struct sb *sb, const char *s);
void sb_putc(struct sb *sb, char c);
void sb_printf(struct sb *sb, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sb_vprintf(struct sb *sb, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/* Always a string: "" when nothing was added. Borrowed. */
const char *sb_str(const struct sb *sb);
/* Gives the string (malloc) to the caller and leaves sb empty. Never NULL. */
char *sb_steal(struct sb *sb);

/* malloc and friends that abort instead of returning NULL. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
int text_compare(const void *a, const void *b); /* of two char *, for qsort: byte order */
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
