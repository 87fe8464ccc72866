/* Reading trees that people wrote, with the path of what is read: "config.ipam", "spec.desiredState.
 * interfaces[0]". Every mistake is -EINVAL, and the error names path, value and what is allowed. Pure;
 * for nad*.c and nncp.c. */
#ifndef NETPOLICY_PLACE_H
#define NETPOLICY_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/tree.h"
#include "base/arena.h"
#include "base/err.h"
#include "netpolicy/ip.h"

/* A map, and what errors call it. All borrowed; texts that are read are copied into the arena. */
struct place {
    const struct tree *map;
    const char *path;
    struct arena *arena;
    struct err *err;
};

/* Absent and null leave the outputs alone. */
int place_text(const struct place *p, const char *key, const char **ret); /* "" counts as absent */
int place_int(const struct place *p, const char *key, int64_t min, int64_t max, int64_t *ret);
int place_bool(const struct place *p, const char *key, bool *ret);
/* A name that an interface can have: NL_IFNAME_SIZE - 1 bytes at most. */
int place_ifname(const struct place *p, const char *key, bool required, const char **ret);
/* The same of a value at hand; path is what errors call it. */
int place_check_ifname(const struct place *p, const char *path, const char *name);
/* Six bytes, "52:54:00:12:34:56". */
int place_mac(const struct place *p, const char *key, bool *has, uint8_t ret[6]);
int place_ip(const struct place *p, const char *key, bool *has, struct ip *ret);
/* *ret NULL when it is absent. */
int place_list(const struct place *p, const char *key, size_t max, const struct tree **ret);
/* The map under key as a place; its map is NULL when it is absent. */
int place_map(const struct place *p, const char *key, struct place *ret);
/* Item i of a list, which must be a map, as a place. */
int place_item(const struct place *p, const char *key, const struct tree *list, size_t i,
               struct place *ret);

/* The index of value in a table that ends with NULL; -1 when it is not there. */
int place_index_of(const char *value, const char *const *table);
/* Refuses a value that is not in the table; `text` says what is. */
int place_one_of(const struct place *p, const char *key, const char *value,
                 const char *const *allowed, const char *text);

/* Whether nothing is asked for: absent, null, false, 0, "", or a list or map of such things. */
bool place_is_nothing(const struct tree *t);
/* A value as an error quotes it: JSON, cut to a length for one line. In the arena. */
const char *place_quote(const struct place *p, const struct tree *t);

#endif
