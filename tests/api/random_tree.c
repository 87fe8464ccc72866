/* See random_tree.h. */
#include "tests/api/random_tree.h"

#include <stdio.h>
#include <string.h>

static struct tree *random_value(struct rng *r, unsigned depth, bool nulls);
static const char *random_text(struct rng *r, char *buf, size_t size);

struct tree *
random_tree(struct rng *r, unsigned depth, bool nulls)
{
    struct tree *map = tree_map();
    size_t n = rng_below(r, 6);
    char buf[64];

    for (size_t i = 0; i < n; i++) {
        struct tree *value = random_value(r, depth, nulls);

        if (!nulls && tree_type(value) == TREE_NULL)
            tree_free(value);
        else
            tree_set(map, random_text(r, buf, sizeof buf), value);
    }
    return map;
}

struct tree *
random_change(struct rng *r, const struct tree *t, bool nulls)
{
    struct tree *map = tree_map();
    char buf[64];

    for (size_t i = 0; i < tree_len(t); i++) {
        const struct tree *value = tree_at(t, i);
        struct tree *now = NULL;

        if (rng_below(r, 8) == 0)
            continue;
        if (rng_below(r, 4) == 0)
            now = random_value(r, 2, nulls);
        else if (tree_type(value) == TREE_MAP)
            now = random_change(r, value, nulls);
        else
            now = tree_copy(value);
        if (!nulls && tree_type(now) == TREE_NULL)
            tree_free(now);
        else
            tree_set(map, tree_key_at(t, i), now);
    }
    if (rng_below(r, 3) == 0)
        tree_set(map, random_text(r, buf, sizeof buf), tree_int((int64_t)rng_below(r, 9)));
    return map;
}

static struct tree *
random_value(struct rng *r, unsigned depth, bool nulls)
{
    char buf[64];
    double d;
    uint64_t bits;

    switch (rng_below(r, depth > 0 ? 9 : 7)) {
    case 0:
        return tree_null();
    case 1:
        return tree_bool(rng_below(r, 2));
    case 2:
        return tree_int((int64_t)(rng_u64(r) >> rng_below(r, 64)));
    case 3:
        return tree_int(-(int64_t)rng_below(r, 100));
    case 4:
        bits = rng_u64(r) & ~(1ull << 62); /* an exponent that is not infinity */
        memcpy(&d, &bits, sizeof d);
        return tree_float(rng_below(r, 2) ? d : (double)rng_below(r, 1000) / 8);
    case 5:
    case 6:
        return tree_string(random_text(r, buf, sizeof buf));
    case 7: {
        struct tree *list = tree_list();
        size_t n = rng_below(r, 4);

        for (size_t i = 0; i < n; i++)
            tree_append(list, random_value(r, depth - 1, nulls));
        return list;
    }
    default:
        return random_tree(r, depth - 1, nulls);
    }
}

/* Words that mean something to YAML, and random pieces of what is hard to quote. */
static const char *
random_text(struct rng *r, char *buf, size_t size)
{
    static const char *const words[] = {
        "",
        "null",
        "~",
        "true",
        "False",
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "0",
        "8",
        "-1",
        "1.5",
        "1e3",
        "0x10",
        "0755",
        "1_000",
        ".inf",
        ".nan",
        "<<",
        "=",
        "---",
        "...",
        "- a",
        "a: b",
        "a #b",
        "#",
        "&a",
        "*a",
        "!tag",
        "%",
        "@",
        "`",
        "|",
        ">",
        "?",
        "? a",
        ":",
        "{}",
        "[]",
        "{a: b}",
        "'",
        "\"",
        "a\nb",
        "a\nb\n",
        "\n",
        "\na",
        " a",
        "a ",
        "a\n b\n",
        "a\n\nb",
        "a \nb",
        "\t",
        "a\tb",
        "\x01",
        "\x7f",
        "\xc2\x85",
        "\xe2\x80\xa8",
        "\xc3\xa9",
        "\xef\xbb\xbf",
        "\xf0\x9f\x98\x80",
        "2026-11-21",
        "12:30:45",
        "64Mi",
        "10.0.0.0/8",
        "k8s.io/x-y_z",
        "metadata",
        "a,b",
        "a\r\nb",
        "\\",
        "\\n",
        "a\\",
    };
    static const char *const pieces[] = {"a", "b",  " ",        "\n", "-", ":", "#",
                                         "'", "\"", "\\",       "1",  ".", ",", "[",
                                         "}", "\t", "\xc3\xa9", "?",  "!", "&"};

    if (rng_below(r, 3) > 0) {
        snprintf(buf, size, "%s", words[rng_below(r, ARRAY_LEN(words))]);
        return buf;
    }
    size_t n = rng_below(r, 10);

    buf[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(buf);

        snprintf(buf + len, size - len, "%s", pieces[rng_below(r, ARRAY_LEN(pieces))]);
    }
    return buf;
}
