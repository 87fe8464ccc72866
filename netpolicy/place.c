/* Reading trees that people wrote; see place.h. */
#include "netpolicy/place.h"

#include <errno.h>
#include <string.h>

#include "api/ifname.h"
#include "base/sb.h"

#define QUOTE_MAX_BYTES 64 /* of a value inside an error */

int
place_text(const struct place *p, const char *key, const char **ret)
{
    const struct tree *t = tree_get(p->map, key);
    const char *s;

    if (tree_type(t) == TREE_NULL)
        return 0;
    if (tree_type(t) != TREE_STRING)
        return err_set(p->err, -EINVAL, "%s.%s: want text, found %s", p->path, key,
                       tree_type_name(tree_type(t)));
    s = tree_get_string(t, "");
    if (*s)
        *ret = arena_strdup(p->arena, s);
    return 0;
}

int
place_int(const struct place *p, const char *key, int64_t min, int64_t max, int64_t *ret)
{
    const struct tree *t = tree_get(p->map, key);
    int64_t v;

    if (tree_type(t) == TREE_NULL)
        return 0;
    if (tree_type(t) != TREE_INT)
        return err_set(p->err, -EINVAL, "%s.%s: want a whole number, found %s", p->path, key,
                       tree_type_name(tree_type(t)));
    v = tree_get_int(t, 0);
    if (v < min || v > max)
        return err_set(p->err, -EINVAL, "%s.%s: %lld: want %lld to %lld", p->path, key,
                       (long long)v, (long long)min, (long long)max);
    *ret = v;
    return 0;
}

int
place_bool(const struct place *p, const char *key, bool *ret)
{
    const struct tree *t = tree_get(p->map, key);

    if (tree_type(t) == TREE_NULL)
        return 0;
    if (tree_type(t) != TREE_BOOL)
        return err_set(p->err, -EINVAL, "%s.%s: %s: want true or false", p->path, key,
                       place_quote(p, t));
    *ret = tree_get_bool(t, false);
    return 0;
}

int
place_ifname(const struct place *p, const char *key, bool required, const char **ret)
{
    const char *s = NULL;
    int rc = place_text(p, key, &s);

    if (rc != 0)
        return rc;
    if (!s)
        return required ? err_set(p->err, -EINVAL, "%s.%s: is missing: want an interface's name",
                                  p->path, key)
                        : 0;
    rc = place_check_ifname(p, arena_printf(p->arena, "%s.%s", p->path, key), s);
    if (rc == 0)
        *ret = s;
    return rc;
}

int
place_check_ifname(const struct place *p, const char *path, const char *name)
{
    if (ifname_valid(name))
        return 0;
    return err_set(p->err, -EINVAL, "%s: \"%.*s\": %s", path, QUOTE_MAX_BYTES, name, IFNAME_TEXT);
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
place_mac(const struct place *p, const char *key, bool *has, uint8_t ret[6])
{
    const char *s = NULL;
    uint8_t mac[6];
    bool ok;
    int rc = place_text(p, key, &s);

    if (rc != 0 || !s)
        return rc;
    ok = strlen(s) == 17;
    for (size_t i = 0; ok && i < sizeof mac; i++) {
        int high = hex_digit(s[3 * i]), low = hex_digit(s[3 * i + 1]);

        ok = high >= 0 && low >= 0 && (i == 5 || s[3 * i + 2] == ':');
        mac[i] = (uint8_t)(high * 16 + low);
    }
    if (!ok)
        return err_set(p->err, -EINVAL,
                       "%s.%s: \"%.*s\": want six bytes, such as 52:54:00:12:34:56", p->path, key,
                       QUOTE_MAX_BYTES, s);
    memcpy(ret, mac, sizeof mac);
    *has = true;
    return 0;
}

int
place_ip(const struct place *p, const char *key, bool *has, struct ip *ret)
{
    const char *s = NULL;
    int rc = place_text(p, key, &s);

    if (rc != 0 || !s)
        return rc;
    if (ip_parse(s, ret, NULL) != 0)
        return err_set(p->err, -EINVAL, "%s.%s: \"%.*s\": want an address such as 10.200.5.10",
                       p->path, key, QUOTE_MAX_BYTES, s);
    *has = true;
    return 0;
}

int
place_list(const struct place *p, const char *key, size_t max, const struct tree **ret)
{
    const struct tree *t = tree_get(p->map, key);

    *ret = NULL;
    if (tree_type(t) == TREE_NULL)
        return 0;
    if (tree_type(t) != TREE_LIST)
        return err_set(p->err, -EINVAL, "%s.%s: want a list, found %s", p->path, key,
                       tree_type_name(tree_type(t)));
    if (tree_len(t) > max)
        return err_set(p->err, -EINVAL, "%s.%s: %zu items; at most %zu are read", p->path, key,
                       tree_len(t), max);
    *ret = t;
    return 0;
}

int
place_map(const struct place *p, const char *key, struct place *ret)
{
    struct place q = *p;

    q.map = tree_get(p->map, key);
    q.path = arena_printf(p->arena, "%s.%s", p->path, key);
    if (tree_type(q.map) == TREE_NULL)
        q.map = NULL;
    else if (tree_type(q.map) != TREE_MAP)
        return err_set(p->err, -EINVAL, "%s: want an object, found %s", q.path,
                       tree_type_name(tree_type(q.map)));
    *ret = q;
    return 0;
}

int
place_item(const struct place *p, const char *key, const struct tree *list, size_t i,
           struct place *ret)
{
    struct place q = *p;

    q.map = tree_at(list, i);
    q.path = arena_printf(p->arena, "%s.%s[%zu]", p->path, key, i);
    if (tree_type(q.map) != TREE_MAP)
        return err_set(p->err, -EINVAL, "%s: want an object, found %s", q.path,
                       tree_type_name(tree_type(q.map)));
    *ret = q;
    return 0;
}

int
place_index_of(const char *value, const char *const *table)
{
    for (int i = 0; table[i]; i++)
        if (strcmp(value, table[i]) == 0)
            return i;
    return -1;
}

int
place_one_of(const struct place *p, const char *key, const char *value, const char *const *allowed,
             const char *text)
{
    if (place_index_of(value, allowed) >= 0)
        return 0;
    return err_set(p->err, -EINVAL, "%s.%s: \"%.*s\": want %s", p->path, key, QUOTE_MAX_BYTES,
                   value, text);
}

bool
place_is_nothing(const struct tree *t)
{
    switch (tree_type(t)) {
    case TREE_NULL:
        return true;
    case TREE_BOOL:
        return !tree_get_bool(t, true);
    case TREE_INT:
        return tree_get_int(t, 1) == 0;
    case TREE_FLOAT:
        return false;
    case TREE_STRING:
        return *tree_get_string(t, "") == '\0';
    case TREE_LIST:
    case TREE_MAP:
        for (size_t i = 0; i < tree_len(t); i++)
            if (!place_is_nothing(tree_at(t, i)))
                return false;
        return true;
    }
    return false;
}

const char *
place_quote(const struct place *p, const struct tree *t)
{
    AUTO_SB struct sb json = SB_INIT;
    const char *s;

    tree_to_json(t, 0, &json);
    s = sb_str(&json);
    if (strlen(s) <= QUOTE_MAX_BYTES)
        return arena_strdup(p->arena, s);
    return arena_printf(p->arena, "%.*s...", QUOTE_MAX_BYTES, s);
}
