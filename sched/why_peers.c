/* Rules about neighbours: which term, and who stands in the way; part of why.h. */
#include "base/sb.h"
#include "sched/explain.h"
#include "sched/topo.h"
#include "sched/why.h"

static const char *selector_text(const struct why_ctx *w, const struct label_selector *s);
static const char *domain_text(const struct why_ctx *w, const char *key);

void
why_spread(struct why_ctx *w)
{
    size_t len;
    const struct spread_rule *rules = spread_hard(w->r->spread, &len);

    for (size_t i = 0; i < len; i++) {
        const char *key = rules[i].s->topology_key;
        int64_t here;

        if (!key || !node_labels_get(&w->n->labels, key)) {
            why_add(w, arena_printf(w->a, "a label %s to spread over", key ? key : ""),
                    why_label(w, key ? key : ""), WHY_COST_LABEL,
                    arena_printf(w->a, "label %s with %s", w->n->name, key ? key : ""));
            continue;
        }
        here = topo_get(rules[i].counts, key, &w->n->labels);
        if (here + rules[i].self - rules[i].fewest <= rules[i].max_skew)
            continue;
        why_add(
            w,
            arena_printf(w->a, "VMs with %s spread over %s with a skew of at most %lld",
                         selector_text(w, rules[i].s->selector), key, (long long)rules[i].max_skew),
            arena_printf(w->a, "%lld of them in %s, %lld where they are fewest", (long long)here,
                         domain_text(w, key), (long long)rules[i].fewest),
            WHY_COST_PEERS,
            arena_printf(w->a, "move %lld of them out of %s, or make room in the emptiest %s",
                         (long long)(here + rules[i].self - rules[i].fewest - rules[i].max_skew),
                         domain_text(w, key), key));
    }
}

void
why_peers(struct why_ctx *w)
{
    struct peers_blame b = peers_blame(w->r->peers, w->n);
    const char *domain;

    if (!b.term || !b.term->topology_key) {
        why_add(w, "terms between VMs that can match", "a term without a topology key",
                WHY_COST_PEERS, "correct the affinity between VMs");
        return;
    }
    domain = domain_text(w, b.term->topology_key);
    if (b.what == PEERS_WANTED && !node_labels_get(&w->n->labels, b.term->topology_key))
        why_add(w, arena_printf(w->a, "a label %s to be near others", b.term->topology_key),
                why_label(w, b.term->topology_key), WHY_COST_LABEL,
                arena_printf(w->a, "label %s with %s", w->n->name, b.term->topology_key));
    else if (b.what == PEERS_WANTED)
        why_add(w,
                arena_printf(w->a, "a VM with %s in the same %s",
                             selector_text(w, b.term->selector), b.term->topology_key),
                arena_printf(w->a, "none in %s", domain), WHY_COST_PEERS,
                arena_printf(w->a, "start one with %s in %s", selector_text(w, b.term->selector),
                             domain));
    else if (b.what == PEERS_AVOIDED)
        why_add(w,
                arena_printf(w->a, "no VM with %s in the same %s",
                             selector_text(w, b.term->selector), b.term->topology_key),
                b.other ? arena_printf(w->a, "%s/%s in %s", b.other->ns, b.other->name, domain)
                        : arena_printf(w->a, "one in %s", domain),
                WHY_COST_PEERS,
                b.other
                    ? arena_printf(w->a, "move %s/%s out of %s", b.other->ns, b.other->name, domain)
                    : arena_printf(w->a, "move it out of %s", domain));
    else
        why_add(w,
                arena_printf(w->a, "no VM in the same %s that keeps away from it",
                             b.term->topology_key),
                b.other ? arena_printf(w->a, "%s/%s in %s keeps away from VMs with %s", b.other->ns,
                                       b.other->name, domain, selector_text(w, b.term->selector))
                        : arena_printf(w->a, "one in %s", domain),
                WHY_COST_PEERS,
                b.other
                    ? arena_printf(w->a, "move %s/%s out of %s", b.other->ns, b.other->name, domain)
                    : arena_printf(w->a, "move it out of %s", domain));
}

/* "app=db, tier in (a, b)" */
static const char *
selector_text(const struct why_ctx *w, const struct label_selector *s)
{
    static const char *const ops[] = {"in", "not in", "exists", "does not exist", ">", "<", "?"};
    AUTO_SB struct sb text = SB_INIT;

    for (size_t i = 0; s && i < s->match_labels.len; i++)
        sb_printf(&text, "%s%s=%s", text.len ? ", " : "", s->match_labels.items[i].key,
                  s->match_labels.items[i].value);
    for (size_t i = 0; s && i < s->exprs_len; i++) {
        const struct requirement *q = &s->exprs[i];

        sb_printf(&text, "%s%s %s", text.len ? ", " : "", q->key ? q->key : "", ops[q->op]);
        for (size_t j = 0; j < q->values.len; j++)
            sb_printf(&text, "%s%s", j > 0 ? ", " : " (", q->values.items[j]);
        sb_puts(&text, q->values.len > 0 ? ")" : "");
    }
    return text.len ? arena_strdup(w->a, sb_str(&text)) : "any labels";
}

static const char *
domain_text(const struct why_ctx *w, const char *key)
{
    const char *value = node_labels_get(&w->n->labels, key);

    return arena_printf(w->a, "%s=%s", key, value ? value : "");
}
