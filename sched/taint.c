/* Taints and tolerations; see taint.h. */
#include "sched/taint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool tolerates(const struct toleration *t, const struct taint *taint);
static bool canonical_int64(const char *s, int64_t *ret);
static bool is(const char *s, const char *want);
static const char *text(const char *s);

bool
taint_tolerated(const struct tolerations *t, const struct taint *taint)
{
    return taint_toleration(t, taint) != NULL;
}

const struct toleration *
taint_toleration(const struct tolerations *t, const struct taint *taint)
{
    for (size_t i = 0; i < t->len; i++)
        if (tolerates(&t->items[i], taint))
            return &t->items[i];
    return NULL;
}

const struct taint *
taint_first_untolerated(const struct tolerations *t, const struct node *n)
{
    for (size_t i = 0; i < n->taints_len; i++) {
        const struct taint *taint = &n->taints[i];

        if ((is(taint->effect, "NoSchedule") || is(taint->effect, "NoExecute")) &&
            !taint_tolerated(t, taint))
            return taint;
    }
    return NULL;
}

int64_t
taint_count_soft(const struct tolerations *t, const struct node *n)
{
    int64_t count = 0;

    for (size_t i = 0; i < n->taints_len; i++) {
        /* every effect that lets a toleration match this taint is "" or PreferNoSchedule */
        if (is(n->taints[i].effect, "PreferNoSchedule") && !taint_tolerated(t, &n->taints[i]))
            count++;
    }
    return count;
}

static bool
tolerates(const struct toleration *t, const struct taint *taint)
{
    const char *op = text(t->operator_);
    int64_t have, want;

    if (*text(t->effect) && !is(t->effect, text(taint->effect)))
        return false;
    if (*text(t->key) && !is(t->key, text(taint->key)))
        return false;
    if (*op == '\0' || is(op, "Equal"))
        return is(text(t->value), text(taint->value));
    if (is(op, "Exists"))
        return true;
    if (!canonical_int64(text(taint->value), &have) || !canonical_int64(text(t->value), &want))
        return false;
    if (is(op, "Gt"))
        return have > want;
    return is(op, "Lt") && have < want;
}

/* "0", "12", "-3"; not "-0", "012", "+1", "". */
static bool
canonical_int64(const char *s, int64_t *ret)
{
    const char *digits = s + (*s == '-');
    size_t len = strspn(digits, "0123456789");
    long long n;

    if (len == 0 || digits[len] != '\0' || (*digits == '0' && (len > 1 || *s == '-')))
        return false;
    errno = 0;
    n = strtoll(s, NULL, 10);
    if (errno == ERANGE)
        return false;
    *ret = n;
    return true;
}

static bool
is(const char *s, const char *want)
{
    return s && strcmp(s, want) == 0;
}

static const char *
text(const char *s)
{
    return s ? s : "";
}
