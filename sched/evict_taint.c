/* NoExecute taints and a VM that runs; see evict.h. */
#include <string.h>

#include "sched/evict.h"
#include "sched/taint.h"

static bool tolerated_by_default(const struct tolerations *t, const struct taint *taint);

struct evict_taint
evict_by_taint(const struct vmi_spec *s, const struct node *n)
{
    struct tolerations own = {s->tolerations, s->tolerations_len};
    struct evict_taint ret = {0};

    for (size_t i = 0; i < n->taints_len; i++) {
        const struct taint *taint = &n->taints[i];
        const struct toleration *t;
        int64_t seconds = 0;

        if (!taint->effect || strcmp(taint->effect, "NoExecute") != 0)
            continue;
        t = taint_toleration(&own, taint);
        if (t && !t->has_seconds)
            continue;
        if (t)
            seconds = t->seconds > 0 ? t->seconds : 0;
        else if (tolerated_by_default(&own, taint))
            seconds = EVICT_TAINT_DEFAULT_S;
        if (!ret.taint || seconds < ret.seconds)
            ret = (struct evict_taint){taint, seconds};
    }
    return ret;
}

/* The default is added to those that say nothing of the taint's key, whatever they say of its value. */
static bool
tolerated_by_default(const struct tolerations *t, const struct taint *taint)
{
    if (!taint->key || (strcmp(taint->key, "node.kubernetes.io/not-ready") != 0 &&
                        strcmp(taint->key, "node.kubernetes.io/unreachable") != 0))
        return false;
    for (size_t i = 0; i < t->len; i++) {
        const char *key = t->items[i].key, *effect = t->items[i].effect;

        if ((!key || !*key || strcmp(key, taint->key) == 0) &&
            (!effect || !*effect || strcmp(effect, "NoExecute") == 0))
            return false;
    }
    return true;
}
