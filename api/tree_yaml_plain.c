/* What a plain (unquoted) YAML scalar means: null, boolean, number or string. Follows YAML 1.2's core
 * schema, and Kubernetes' clients where they go beyond it and no string could be meant: 0b101 and
 * 0777 are integers, 1_000 is 1000. Used in both directions: the writer quotes every string that
 * would not come back as a string, here or in a YAML 1.1 reader. */
#include "api/tree.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "api/tree_priv.h"

#define NUMBER_MAX 400 /* characters; longer plain scalars are strings */

static bool is_one_of(const char *text, size_t len, const char *const *words, size_t words_len);
static struct tree *number(const char *text, size_t len);
static bool integer(const char *digits, int64_t *ret);
static bool is_float(const char *s);

struct tree *
tree_yaml_plain(const char *text, size_t len)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const trues[] = {"true", "True", "TRUE"};
    static const char *const falses[] = {"false", "False", "FALSE"};
    static const char *const no_json[] = {".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf", "+.INF",
                                          "-.inf", "-.Inf", "-.INF", ".nan",  ".NaN",  ".NAN"};

    if (is_one_of(text, len, nulls, ARRAY_LEN(nulls)))
        return tree_null();
    if (is_one_of(text, len, trues, ARRAY_LEN(trues)))
        return tree_bool(true);
    if (is_one_of(text, len, falses, ARRAY_LEN(falses)))
        return tree_bool(false);
    if (is_one_of(text, len, no_json, ARRAY_LEN(no_json)))
        return NULL;
    struct tree *n = number(text, len);

    return n ? n : tree_stringn(text, len);
}

static bool
is_one_of(const char *text, size_t len, const char *const *words, size_t words_len)
{
    for (size_t i = 0; i < words_len; i++)
        if (strlen(words[i]) == len && memcmp(words[i], text, len) == 0)
            return true;
    return false;
}

/* NULL when it is not a number. */
static struct tree *
number(const char *text, size_t len)
{
    char buf[NUMBER_MAX + 1];
    size_t n = 0;
    int64_t i;

    if (len == 0 || len > NUMBER_MAX || !strchr("+-.0123456789", text[0]))
        return NULL;
    for (size_t at = 0; at < len; at++) {
        if (text[at] == '_' && (at == 0 || at + 1 == len))
            return NULL;
        if (text[at] != '_')
            buf[n++] = text[at];
    }
    buf[n] = '\0';
    if (integer(buf, &i))
        return tree_int(i);
    if (!is_float(buf))
        return NULL;
    double d = strtod(buf, NULL);

    return isfinite(d) ? tree_float(d) : NULL;
}

static bool
integer(const char *s, int64_t *ret)
{
    const char *digits = s + (*s == '+' || *s == '-');
    const char *allowed = "0123456789";
    int base = 10;
    char *end;

    if (digits[0] == '0' && digits[1] == 'x') {
        base = 16;
        allowed = "0123456789abcdefABCDEF";
        digits += 2;
    } else if (digits[0] == '0' && digits[1] == 'o') {
        base = 8;
        allowed = "01234567";
        digits += 2;
    } else if (digits[0] == '0' && digits[1] == 'b') {
        base = 2;
        allowed = "01";
        digits += 2;
    } else if (digits[0] == '0' && digits[1]) {
        base = 8;
        allowed = "01234567";
    }
    if (!*digits || digits[strspn(digits, allowed)])
        return false;
    errno = 0;
    if (*s == '-') {
        unsigned long long v = strtoull(digits, &end, base);

        if (errno != 0 || v > (unsigned long long)INT64_MAX + 1)
            return false;
        *ret = v == 0 ? 0 : -(int64_t)(v - 1) - 1;
        return true;
    }
    *ret = strtoll(digits, &end, base);
    return errno == 0;
}

/* [-+]? ( . digits | digits [. digits?] ) ([eE] [-+]? digits)? */
static bool
is_float(const char *s)
{
    s += *s == '+' || *s == '-';
    size_t whole = strspn(s, "0123456789");

    s += whole;
    if (*s == '.') {
        size_t fraction = strspn(++s, "0123456789");

        if (whole + fraction == 0)
            return false;
        s += fraction;
    } else if (whole == 0) {
        return false;
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '+' || *s == '-';
        size_t digits = strspn(s, "0123456789");

        if (digits == 0)
            return false;
        s += digits;
    }
    return *s == '\0';
}
