/* Durations as Go writes and kubectl shows them, and RFC 3339 times. The other half of quantity.h. */
#include "api/quantity.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000

static int parse_number_ns(const char **s, int64_t *ret_ns);
static int64_t unit_ns(const char **s);
static bool digits(const char **s, int n, int min, int max, int *ret);
static bool valid_day(int year, int month, int day);
static int refuse_time(struct err *err, const char *why);

int
duration_parse(const char *s, int64_t *ret_us, struct err *err)
{
    const char *at = s;
    bool negative = *at == '-';
    int64_t total = 0;

    at += *at == '-' || *at == '+';
    if (strcmp(at, "0") == 0) {
        *ret_us = 0;
        return 0;
    }
    if (!*at || strlen(s) > 100)
        goto refuse;
    while (*at) {
        int64_t ns;

        if (parse_number_ns(&at, &ns) != 0 || __builtin_add_overflow(total, ns, &total))
            goto refuse;
    }
    *ret_us = (negative ? -total : total) / 1000;
    return 0;
refuse:
    return err_set(err, -EINVAL,
                   "want a duration such as 1h30m, 2m0s or 150ms: numbers, each with its unit "
                   "(ns, us, ms, s, m or h)");
}

void
duration_format_age(int64_t us, char *buf, size_t size)
{
    long long s = us / 1000000, m = s / 60, h = m / 60, d = h / 24, y = d / 365;

    if (s < 0)
        snprintf(buf, size, s < -1 ? "<invalid>" : "0s");
    else if (s < 120)
        snprintf(buf, size, "%llds", s);
    else if (m < 10 && s % 60 != 0)
        snprintf(buf, size, "%lldm%llds", m, s % 60);
    else if (m < 3 * 60)
        snprintf(buf, size, "%lldm", m);
    else if (h < 8 && m % 60 != 0)
        snprintf(buf, size, "%lldh%lldm", h, m % 60);
    else if (h < 48)
        snprintf(buf, size, "%lldh", h);
    else if (d < 8 && h % 24 != 0)
        snprintf(buf, size, "%lldd%lldh", d, h % 24);
    else if (d < 2 * 365)
        snprintf(buf, size, "%lldd", d);
    else if (y < 8 && d % 365 != 0)
        snprintf(buf, size, "%lldy%lldd", y, d % 365);
    else
        snprintf(buf, size, "%lldy", y);
}

int
time_parse(const char *s, int64_t *ret_us, struct err *err)
{
    struct tm tm = {0};
    const char *at = s;
    int year, month, day, hour, minute, second, off_hour = 0, off_minute = 0;
    int64_t fraction_us = 0, scale = 100000, offset = 0;

    if (!digits(&at, 4, 0, 9999, &year) || *at++ != '-' || !digits(&at, 2, 1, 12, &month) ||
        *at++ != '-' || !digits(&at, 2, 1, 31, &day))
        return refuse_time(err, "date");
    if (!valid_day(year, month, day))
        return refuse_time(err, "day of the month");
    if (*at++ != 'T' || !digits(&at, 2, 0, 23, &hour) || *at++ != ':' ||
        !digits(&at, 2, 0, 59, &minute) || *at++ != ':' || !digits(&at, 2, 0, 59, &second))
        return refuse_time(err, "time of day");
    if (*at == '.') {
        if (strspn(++at, "0123456789") == 0)
            return refuse_time(err, "fraction");
        for (; *at >= '0' && *at <= '9'; at++, scale /= 10)
            fraction_us += (*at - '0') * scale;
    }
    if (*at == '+' || *at == '-') {
        int sign = *at++ == '-' ? -1 : 1;

        if (!digits(&at, 2, 0, 23, &off_hour) || *at++ != ':' ||
            !digits(&at, 2, 0, 59, &off_minute))
            return refuse_time(err, "offset");
        offset = sign * (off_hour * 3600 + off_minute * 60);
    } else if (*at++ != 'Z') {
        return refuse_time(err, "offset");
    }
    if (*at)
        return refuse_time(err, "end");
    tm = (struct tm){.tm_year = year - 1900,
                     .tm_mon = month - 1,
                     .tm_mday = day,
                     .tm_hour = hour,
                     .tm_min = minute,
                     .tm_sec = second};
    *ret_us = ((int64_t)timegm(&tm) - offset) * 1000000 + fraction_us;
    return 0;
}

void
time_format(int64_t us, bool micro, char *buf, size_t size)
{
    int64_t fraction = us % 1000000;

    if (fraction < 0)
        fraction += 1000000;
    time_t t = (time_t)((us - fraction) / 1000000);
    struct tm tm;
    char date[32];

    if (!gmtime_r(&t, &tm) || tm.tm_year > 9999 - 1900 || tm.tm_year < -1900) {
        snprintf(buf, size, "9999-12-31T23:59:59Z"); /* RFC 3339 knows no later year */
        return;
    }
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    if (micro)
        snprintf(buf, size, "%s.%06" PRId64 "Z", date, fraction);
    else
        snprintf(buf, size, "%sZ", date);
}

/* One "number unit" of a duration; *s moves behind it. */
static int
parse_number_ns(const char **s, int64_t *ret_ns)
{
    const char *at = *s;
    int64_t whole = 0, fraction = 0, fraction_scale = 1, ns;
    bool any = false;

    for (; *at >= '0' && *at <= '9'; at++, any = true)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, *at - '0', &whole))
            return -EINVAL;
    if (*at == '.') {
        for (at++; *at >= '0' && *at <= '9'; at++, any = true) {
            if (fraction_scale == 1000000000000000)
                continue; /* beyond a nanosecond of an hour */
            fraction = fraction * 10 + (*at - '0');
            fraction_scale *= 10;
        }
    }
    int64_t unit = any ? unit_ns(&at) : 0;

    if (unit == 0 || __builtin_mul_overflow(whole, unit, &ns))
        return -EINVAL;
    fraction = (int64_t)((__int128)fraction * unit / fraction_scale);
    if (__builtin_add_overflow(ns, fraction, &ns))
        return -EINVAL;
    *s = at;
    *ret_ns = ns;
    return 0;
}

/* 0 when there is no known unit at *s; else *s moves behind it. */
static int64_t
unit_ns(const char **s)
{
    static const struct {
        const char *text;
        int64_t ns;
    } units[] = {
        {"ns", 1},           {"us", 1000},    {"\xc2\xb5s", 1000}, /* micro sign */
        {"\xce\xbcs", 1000},                                       /* Greek mu */
        {"ms", 1000000},     {"s", NS_PER_S}, {"m", 60ll * NS_PER_S}, {"h", 3600ll * NS_PER_S},
    };

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t len = strlen(units[i].text);

        if (strncmp(*s, units[i].text, len) == 0) {
            *s += len;
            return units[i].ns;
        }
    }
    return 0;
}

/* Exactly n digits with a value in range; *s moves behind them. */
static bool
digits(const char **s, int n, int min, int max, int *ret)
{
    int v = 0;

    for (int i = 0; i < n; i++) {
        if ((*s)[i] < '0' || (*s)[i] > '9')
            return false;
        v = v * 10 + ((*s)[i] - '0');
    }
    *s += n;
    *ret = v;
    return v >= min && v <= max;
}

static bool
valid_day(int year, int month, int day)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return day <= days[month - 1] + (month == 2 && leap);
}

static int
refuse_time(struct err *err, const char *why)
{
    return err_set(err, -EINVAL, "its %s: want an RFC 3339 time such as 2026-11-21T13:04:05Z", why);
}
