/* Scope-bound ownership: locals that own things free them when they go out of scope. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* clean_free: free(*p). clean_fd: close(*p) if >= 0. clean_file: fclose(*p) if not NULL.
 * Arguments are addresses of locals; errors are ignored (close a written file yourself). */
static inline void
clean_free(void *p)
{
    free(*(void **)p);
}

static inline void
clean_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void
clean_file(FILE **f)
{
    if (*f)
        fclose(*f);
}

#define AUTO_FREE CLEANUP(clean_free)
#define AUTO_FD   CLEANUP(clean_fd)
#define AUTO_FILE CLEANUP(clean_file)

/* Moves a pointer out of an owning local: returns it and leaves NULL behind. */
#define TAKE_PTR(p)                       \
    ({                                    \
        __typeof__(p) take_ptr_tmp = (p); \
        (p) = NULL;                       \
        take_ptr_tmp;                     \
    })

/* The same for descriptors: leaves -1 behind. */
static inline int
take_fd(int *fd)
{
    int n = *fd;

    *fd = -1;
    return n;
}

#define ARRAY_LEN(a)           (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#endif
