/* A strict reader of Prometheus' text format 0.0.4, for tests: every line must be a HELP, a TYPE or
 * a sample; HELP and TYPE come once, before the samples of their metric, which stand together; names,
 * labels, escapes and numbers are as the format wants them; no series comes twice; a histogram's
 * buckets rise to +Inf, which equals its count. */
#ifndef TESTS_EXPOSITION_H
#define TESTS_EXPOSITION_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "base/strmap.h"

struct exposition {
    struct strmap *seen;    /* series, and metrics by name */
    struct strmap *samples; /* series -> text of the value */
    char family[128], type[16], error[512];
    char bucket_of[512]; /* series without le whose buckets are being read */
    double last_le, last_count;
    size_t lines;
};

static inline bool
exposition_is_name(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || s[i] == '_';

        if (!letter && (i == 0 || s[i] < '0' || s[i] > '9'))
            return false;
    }
    return len > 0;
}

/* Reads {a="b",...} at *p into `plain` without le, whose value goes to ret_le. */
static inline bool
exposition_labels(const char **p, struct sb *plain, char *ret_le, size_t size)
{
    const char *s = *p + 1;

    ret_le[0] = '\0';
    while (*s != '}') {
        const char *name = s;
        size_t len;
        AUTO_SB struct sb value = SB_INIT;

        s += strcspn(s, "=}");
        len = (size_t)(s - name);
        if (!exposition_is_name(name, len) || s[0] != '=' || s[1] != '"')
            return false;
        for (s += 2; *s != '"'; s++) {
            if (!*s || *s == '\n')
                return false;
            if (*s == '\\' && !strchr("\\\"n", *++s))
                return false;
            sb_putc(&value, *s);
        }
        s++;
        if (len == 2 && memcmp(name, "le", 2) == 0)
            snprintf(ret_le, size, "%s", sb_str(&value));
        else
            sb_printf(plain, "|%.*s=%s", (int)len, name, sb_str(&value));
        if (*s == ',')
            s++;
        else if (*s != '}')
            return false;
    }
    *p = s + 1;
    return true;
}

static inline bool
exposition_sample(struct exposition *e, const char *line)
{
    size_t len = strcspn(line, "{ "), family = strlen(e->family);
    const char *p = line + len, *suffix = line + family;
    AUTO_SB struct sb plain = SB_INIT, series = SB_INIT;
    char le[64] = "", *end;
    double v;

    if (!exposition_is_name(line, len) || !family || len < family ||
        strncmp(line, e->family, family) != 0)
        return false;
    if (*p == '{' && !exposition_labels(&p, &plain, le, sizeof le))
        return false;
    if (*p++ != ' ' || !*p)
        return false;
    v = strtod(p, &end);
    if (end == p || *end)
        return false;
    sb_add(&series, line, len);
    sb_printf(&series, "%s", sb_str(&plain));
    free(strmap_put(e->samples, sb_str(&series), xstrdup(p)));
    sb_printf(&series, "|le=%s", le);
    if (strmap_put(e->seen, sb_str(&series), e))
        return false; /* twice */
    if (strcmp(e->type, "histogram") != 0)
        return len == family && !le[0] && (strcmp(e->type, "counter") != 0 || v >= 0);
    if (len == family + 7 && strncmp(suffix, "_bucket", 7) == 0) {
        bool first = strcmp(e->bucket_of, sb_str(&plain)) != 0 || !e->last_le;
        double bound = strtod(le, &end);

        if (!le[0] || *end || (!first && (bound <= e->last_le || v < e->last_count)))
            return false;
        snprintf(e->bucket_of, sizeof e->bucket_of, "%s", sb_str(&plain));
        e->last_le = bound;
        e->last_count = v;
        return true;
    }
    if (le[0] || strcmp(e->bucket_of, sb_str(&plain)) != 0)
        return false;
    if (len == family + 4 && strncmp(suffix, "_sum", 4) == 0)
        return e->last_le > 1e300; /* +Inf came last */
    e->last_le = 0;
    return len == family + 6 && strncmp(suffix, "_count", 6) == 0 && v == e->last_count;
}

static inline bool
exposition_line(struct exposition *e, const char *line)
{
    char name[128], type[16];
    int n = 0;

    if (sscanf(line, "# HELP %127s %n", name, &n) == 1 && n && line[n]) {
        snprintf(e->family, sizeof e->family, "%s", name);
        e->type[0] = '\0';
        e->last_le = 0;
        return exposition_is_name(name, strlen(name)) && !strmap_put(e->seen, name, e);
    }
    if (sscanf(line, "# TYPE %127s %15s%n", name, type, &n) == 2 && n && !line[n]) {
        snprintf(e->type, sizeof e->type, "%s", type);
        return strcmp(name, e->family) == 0 &&
               (strcmp(type, "gauge") == 0 || strcmp(type, "counter") == 0 ||
                strcmp(type, "histogram") == 0);
    }
    return line[0] != '#' && e->type[0] && exposition_sample(e, line);
}

/* True, or e->error names the line. exposition_done in any case. */
static inline bool
exposition_read(struct exposition *e, const char *text)
{
    memset(e, 0, sizeof *e);
    e->seen = strmap_new();
    e->samples = strmap_new();
    while (*text) {
        size_t len = strcspn(text, "\n");
        AUTO_FREE char *line = xstrndup(text, len);

        e->lines++;
        if (text[len] != '\n' || !exposition_line(e, line)) {
            snprintf(e->error, sizeof e->error, "line %zu: %s", e->lines, line);
            return false;
        }
        text += len + 1;
    }
    return true;
}

/* The value of "name|label=value|...", or NULL. */
static inline const char *
exposition_get(const struct exposition *e, const char *series)
{
    return strmap_get(e->samples, series);
}

static inline void
exposition_done(struct exposition *e)
{
    strmap_free(e->seen, NULL);
    strmap_free(e->samples, free);
}

#endif
