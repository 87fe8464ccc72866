/* Kubernetes quantities as text and numbers, after the grammar of apimachinery's resource.Quantity:
 * sign, digits with at most one point, then a decimal, binary or exponent suffix. Fractions round
 * away from zero, as there. Durations and times are in duration.c. */
#include "api/quantity.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define DIGITS_MAX 20 /* significant digits that count; further ones only round up */

/* mantissa * 10^exp10 * 2^exp2; sticky: something non-zero stood behind the last digit that counts */
struct decimal {
    unsigned __int128 mantissa;
    int exp10, exp2;
    bool sticky, negative;
};

static const char *parse_number(const char *s, struct decimal *d);
static int parse_suffix(const char *s, struct decimal *d);
static bool scale(const struct decimal *d, int shift10, int64_t *ret);
static int refuse(struct err *err, const char *why);

int
quantity_parse(const char *s, struct quantity *ret, struct err *err)
{
    struct decimal d = {0};
    struct quantity q = {.set = true};

    if (!*s)
        return refuse(err, "it is empty");
    if (strlen(s) > 100)
        return err_set(err, -EINVAL, "a quantity has at most 100 characters");
    if (strpbrk(s, " \t"))
        return refuse(err, "it has a blank");
    const char *suffix = parse_number(s, &d);

    if (!suffix)
        return refuse(err, "it does not begin with a number");
    if (parse_suffix(suffix, &d) != 0)
        return refuse(err, "its suffix is unknown");
    if (!scale(&d, 0, &q.units))
        return refuse(err, "it is out of range");
    if (!scale(&d, 3, &q.milli))
        q.milli = d.negative ? INT64_MIN : INT64_MAX;
    *ret = q;
    return 0;
}

void
quantity_format_bytes(int64_t bytes, char *buf, size_t size)
{
    static const char *const suffixes[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    size_t n = 0;

    while (bytes != 0 && bytes % 1024 == 0 && n + 1 < ARRAY_LEN(suffixes)) {
        bytes /= 1024;
        n++;
    }
    snprintf(buf, size, "%" PRId64 "%s", bytes, suffixes[n]);
}

void
quantity_format_human(uint64_t bytes, char *buf, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    size_t n = 0;

    /* 999.5 of a unit would print as 1000, or as 1e+03 */
    while (v >= 999.5 && n + 1 < ARRAY_LEN(units)) {
        v /= 1024;
        n++;
    }
    if (n == 0)
        snprintf(buf, size, "%" PRIu64 " B", bytes);
    else
        snprintf(buf, size, "%.3g %s", v, units[n]);
}

void
quantity_format_cpu(int64_t milli, char *buf, size_t size)
{
    if (milli % 1000 == 0)
        snprintf(buf, size, "%" PRId64, milli / 1000);
    else
        snprintf(buf, size, "%" PRId64 "m", milli);
}

/* Returns where the suffix begins; NULL when there is no digit. */
static const char *
parse_number(const char *s, struct decimal *d)
{
    bool point = false, any = false;
    int digits = 0;

    if (*s == '+' || *s == '-')
        d->negative = *s++ == '-';
    for (; (*s >= '0' && *s <= '9') || (*s == '.' && !point); s++) {
        if (*s == '.') {
            point = true;
            continue;
        }
        any = true;
        if (digits < DIGITS_MAX) {
            d->mantissa = d->mantissa * 10 + (unsigned)(*s - '0');
            digits += d->mantissa > 0;
            d->exp10 -= point;
        } else {
            d->sticky |= *s != '0';
            d->exp10 += !point;
        }
    }
    return any ? s : NULL;
}

static int
parse_suffix(const char *s, struct decimal *d)
{
    static const struct {
        const char *text;
        int exp10, exp2;
    } suffixes[] = {
        {"", 0, 0},    {"n", -9, 0},  {"u", -6, 0},  {"m", -3, 0},  {"k", 3, 0},   {"M", 6, 0},
        {"G", 9, 0},   {"T", 12, 0},  {"P", 15, 0},  {"E", 18, 0},  {"Ki", 0, 10}, {"Mi", 0, 20},
        {"Gi", 0, 30}, {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60},
    };

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        if (strcmp(s, suffixes[i].text) == 0) {
            d->exp10 += suffixes[i].exp10;
            d->exp2 = suffixes[i].exp2;
            return 0;
        }
    }
    if (*s != 'e' && *s != 'E')
        return -EINVAL;
    bool negative = s[1] == '-';
    int exponent = 0;

    s += 1 + (s[1] == '-' || s[1] == '+');
    if (!*s || s[strspn(s, "0123456789")])
        return -EINVAL;
    for (; *s; s++)
        exponent = exponent > 1000 ? exponent : exponent * 10 + (*s - '0');
    d->exp10 += negative ? -exponent : exponent;
    return 0;
}

/* d * 10^shift10, rounded away from zero. False when it is beyond int64. */
static bool
scale(const struct decimal *d, int shift10, int64_t *ret)
{
    unsigned __int128 v = d->mantissa << d->exp2; /* < 10^20 * 2^60: fits */
    int exp10 = d->exp10 + shift10;
    bool inexact = d->sticky;

    for (; exp10 > 0 && v > 0; exp10--) {
        if (v > (unsigned __int128)INT64_MAX)
            return false;
        v *= 10;
    }
    for (; exp10 < 0 && v > 0; exp10++) {
        inexact |= v % 10 != 0;
        v /= 10;
    }
    v += inexact;
    if (v > (unsigned __int128)INT64_MAX)
        return false;
    *ret = d->negative ? -(int64_t)v : (int64_t)v;
    return true;
}

static int
refuse(struct err *err, const char *why)
{
    return err_set(
        err, -EINVAL,
        "%s: want a quantity such as 64Mi: a number and, without a blank, nothing or one "
        "of n u m k M G T P E Ki Mi Gi Ti Pi Ei or an exponent (e3)",
        why);
}
