/* What the files of the tree share and nobody else sees: the nodes' layout. */
#ifndef API_TREE_PRIV_H
#define API_TREE_PRIV_H

#include "api/tree.h"

struct tree_entry {
    char *key; /* owned */
    struct tree *value;
    struct tree_pos pos; /* of the key */
};

/* A string's text stands right behind the node, in one allocation. */
struct tree {
    enum tree_type type;
    struct tree_pos pos;
    union {
        bool b;
        int64_t i;
        double f;
        struct {
            struct tree **items;
            size_t len, cap;
        } list;
        struct {
            struct tree_entry *entries;
            size_t len, cap;
            uint32_t *index; /* open addressing, entry number + 1; NULL for small maps */
            size_t index_size;
        } map;
    };
    char text[];
};

/* Entry number of key, or -1. */
ptrdiff_t tree_map_find(const struct tree *map, const char *key);
/* Appends without looking for the key, which the caller knows to be new. Takes value. */
void tree_map_append(struct tree *map, const char *key, struct tree_pos pos, struct tree *value);
/* Deletion in two steps, so that many cost no more than one: drop empties an entry, compact takes
 * the empty ones out. Between the two only tree_map_find and tree_map_drop may be called. */
void tree_map_drop(struct tree *map, size_t i);
void tree_map_compact(struct tree *map);

/* How much a tree holds: what expanding an alias to it costs. */
struct tree_size {
    size_t nodes, bytes, depth;
};
void tree_measure(const struct tree *t, struct tree_size *ret);

/* tree_from_json with the position apart from the message; {0, 0} where there is none. */
int tree_json_read(const char *buf, size_t len, struct tree **ret, struct tree_pos *ret_pos,
                   struct err *err);
/* Puts '?' in place of control characters: messages are one line, whatever a document's keys are. */
void tree_one_line(char *s);
/* The shortest text that reads back as v, with a point or an exponent. buf of 40 is enough. */
void tree_float_text(double v, char *buf, size_t size);
/* What a plain YAML scalar means to a reader; used to decide what must be quoted. */
struct tree *tree_yaml_plain(const char *text, size_t len);

#endif
