/* Hash map from string to pointer, iterated in insertion order (never in hash order, so that
 * nothing observable depends on it). Keys are copied. Not thread-safe. */
#ifndef BASE_STRMAP_H
#define BASE_STRMAP_H

#include <stdbool.h>
#include <stddef.h>

struct strmap;

struct strmap *strmap_new(void);
/* free_value may be NULL; it is called for each value that is still there. m may be NULL. */
void strmap_free(struct strmap *m, void (*free_value)(void *));
size_t strmap_len(const struct strmap *m);
void *strmap_get(const struct strmap *m, const char *key); /* NULL when absent */
/* Returns the value that was there before (the caller's again), or NULL. value must not be NULL. */
void *strmap_put(struct strmap *m, const char *key, void *value);
/* Takes the entry out and returns its value, or NULL. Safe for the current entry in a loop. */
void *strmap_del(struct strmap *m, const char *key);

/* Iteration: start with *it = 0; false at the end. key and value may be NULL. */
bool strmap_next(const struct strmap *m, size_t *it, const char **key, void **value);

#endif
