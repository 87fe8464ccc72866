/* Objects by what they name: a map from key to the items that hold it. Used by loop_cache.c. Items
 * are borrowed; the order within a key means nothing. */
#ifndef CONTROL_LOOP_INDEX_H
#define CONTROL_LOOP_INDEX_H

#include <stddef.h>

struct loop_index;

/* The keys that one item holds in one index. Zeroed: none. */
struct loop_index_keys {
    char **items;
    size_t len;
};

struct loop_index *loop_index_new(void);
void loop_index_free(struct loop_index *ix);
/* item holds these keys (copied, each once), and no others any more; *held is what it held. */
void loop_index_set(struct loop_index *ix, void *item, struct loop_index_keys *held,
                    const char *const *keys, size_t len);
/* Start with *it = 0; NULL at the end. The index must not change meanwhile. */
void *loop_index_next(const struct loop_index *ix, const char *key, size_t *it);
size_t loop_index_count(const struct loop_index *ix, const char *key);

#endif
