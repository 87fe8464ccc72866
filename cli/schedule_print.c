/* `drover schedule` for people; see schedule_print.h. */
#include "cli/schedule_print.h"

#include <string.h>

#include "base/strmap.h"
#include "cli/offline.h"
#include "cli/print_table.h"
#include "cli/schedule_preempt.h"
#include "cli/schedule_why.h"

#define SHOWN_NODES 10 /* of those that fit, and of those that share a reason */
#define SHOWN_NAME  24 /* bytes of a node's name in a table */
#define SHOWN_VM    36 /* and of NS/NAME */

static void add_summary(struct table *t, const struct schedule_answer *a);
static void print_answer(const struct schedule_answer *a, struct sb *out);
static void print_scores(const struct place_result *r, struct sb *out);
static void add_formula(const struct place_node *n, struct sb *out);
static const char *heading(const struct place_plugin_score *s);
static void print_reasons(const struct place_result *r, struct sb *out);
static void add_name(struct sb *names, const char *name, size_t count);
static void cell_cut(struct table *t, const char *text, size_t width);
static size_t fitting(const struct place_result *r);
static const struct place_node *first_fitting(const struct place_result *r);
static int by_total(const void *x, const void *y);

/* Short headings for kube-scheduler's plugin names. */
static const struct {
    const char *plugin, *heading;
} headings[] = {
    {"TaintToleration", "TAINTS"},   {"NodeAffinity", "AFFINITY"},
    {"NodeResourcesFit", "FIT"},     {"NodeResourcesBalancedAllocation", "BALANCE"},
    {"PodTopologySpread", "SPREAD"}, {"InterPodAffinity", "PEERS"},
};

struct schedule_report {
    struct table *summary;
    struct sb details, formula;
    size_t len;
};

struct schedule_report *
schedule_report_new(void)
{
    struct schedule_report *r = xcalloc(1, sizeof(*r));

    r->summary = table_new();
    table_set_tight(r->summary);
    table_column(r->summary, "VM", false);
    table_column(r->summary, "NODE", false);
    table_column(r->summary, "SCORE", true);
    table_column(r->summary, "FITS", true);
    return r;
}

void
schedule_report_free(struct schedule_report *r)
{
    if (!r)
        return;
    table_free(r->summary);
    sb_done(&r->details);
    sb_done(&r->formula);
    free(r);
}

void
schedule_report_add(struct schedule_report *r, const struct schedule_answer *a)
{
    const struct place_node *scored = first_fitting(a->result);

    add_summary(r->summary, a);
    print_answer(a, &r->details);
    if (scored)
        add_formula(scored, &r->formula);
    r->len++;
}

void
schedule_report_print(const struct schedule_report *r, struct sb *out)
{
    if (r->len == 0)
        sb_puts(out, "nothing to place\n");
    if (r->len > 1) {
        table_flush(r->summary, 0, out);
        sb_putc(out, '\n');
    }
    sb_add(out, sb_str(&r->details), r->details.len);
    sb_add(out, sb_str(&r->formula), r->formula.len);
}

static void
add_summary(struct table *t, const struct schedule_answer *a)
{
    const struct place_result *r = a->result;
    const char *score = "-";
    char text[32], vm[600];

    for (size_t j = 0; r->node && j < r->nodes_len; j++) {
        if (strcmp(r->nodes[j].name, r->node) == 0) {
            snprintf(text, sizeof(text), "%lld", (long long)r->nodes[j].score);
            score = text;
        }
    }
    snprintf(vm, sizeof(vm), "%s/%s", a->ns, a->name);
    cell_cut(t, vm, SHOWN_VM);
    cell_cut(t, r->node ? r->node : "-", SHOWN_NAME);
    table_cell(t, score);
    table_cellf(t, "%zu/%zu", fitting(r), r->nodes_len);
}

static void
print_answer(const struct schedule_answer *a, struct sb *out)
{
    const struct place_result *r = a->result;
    AUTO_SB struct sb head = SB_INIT, preemption = SB_INIT;

    if (out->len > 0)
        sb_putc(out, '\n');
    sb_printf(&head, "%s/%s", a->ns, a->name);
    if (a->source)
        sb_printf(&head, " (migrating from %s)", a->source);
    sb_printf(&head, " -> %s", r->node ? r->node : "no node");
    if (r->best.len > 1)
        sb_printf(&head, " (one of %zu with the best score)", r->best.len);
    offline_wrap(out, 0, sb_str(&head));
    if (r->node)
        print_scores(r, out);
    else
        offline_wrap(out, 2, r->message);
    schedule_preempt_print(&a->preemption, &preemption);
    if (preemption.len > 0)
        offline_wrap(out, 2, sb_str(&preemption));
    if (!schedule_why_print(r, &a->nearest, out))
        print_reasons(r, out);
}

static void
print_scores(const struct place_result *r, struct sb *out)
{
    AUTO_FREE const struct place_node **fit = xcalloc(r->nodes_len + 1, sizeof(*fit));
    AUTO_TABLE struct table *t = table_new();
    size_t len = 0, shown;

    for (size_t i = 0; i < r->nodes_len; i++)
        if (r->nodes[i].fits)
            fit[len++] = &r->nodes[i];
    qsort(fit, len, sizeof(*fit), by_total);
    shown = len < SHOWN_NODES ? len : SHOWN_NODES;
    table_set_tight(t);
    table_column(t, "NODE", false);
    table_column(t, "SCORE", true);
    for (size_t p = 0; len > 0 && p < fit[0]->scores_len; p++)
        table_column(t, heading(&fit[0]->scores[p]), true);
    for (size_t i = 0; i < shown; i++) {
        cell_cut(t, fit[i]->name, SHOWN_NAME);
        table_cellf(t, "%lld", (long long)fit[i]->score);
        for (size_t p = 0; p < fit[i]->scores_len; p++)
            table_cellf(t, "%lld", (long long)fit[i]->scores[p].score);
    }
    table_flush(t, 2, out);
    if (shown < len)
        sb_printf(out, "  and %zu more that fit\n", len - shown);
}

/* "SCORE = (3 TAINTS + FIT) / 4", by the weights of the profile; each once. */
static void
add_formula(const struct place_node *n, struct sb *out)
{
    AUTO_SB struct sb sum = SB_INIT;
    long long weights = 0;

    for (size_t p = 0; p < n->scores_len; p++) {
        const struct place_plugin_score *s = &n->scores[p];

        sb_puts(&sum, p > 0 ? " + " : "");
        if (s->weight > 1)
            sb_printf(&sum, "%lld ", (long long)s->weight);
        sb_puts(&sum, heading(s));
        weights += s->weight;
    }
    AUTO_FREE char *line = xasprintf("SCORE = (%s) / %lld\n", sb_str(&sum), weights);

    if (weights > 0 && !strstr(sb_str(out), line))
        sb_printf(out, "%s%s", out->len == 0 ? "\n" : "", line);
}

static const char *
heading(const struct place_plugin_score *s)
{
    for (size_t i = 0; i < ARRAY_LEN(headings); i++)
        if (strcmp(headings[i].plugin, s->plugin) == 0)
            return headings[i].heading;
    return s->plugin;
}

/* One line for each reason, with the nodes that share it. */
static void
print_reasons(const struct place_result *r, struct sb *out)
{
    struct strmap *seen = strmap_new();

    for (size_t i = 0; i < r->nodes_len; i++) {
        for (size_t j = 0; j < r->nodes[i].reasons.len; j++) {
            const char *reason = r->nodes[i].reasons.items[j];
            AUTO_SB struct sb line = SB_INIT;
            size_t count = 0;

            if (strmap_get(seen, reason))
                continue;
            strmap_put(seen, reason, seen);
            sb_puts(&line, "not ");
            for (size_t k = i; k < r->nodes_len; k++) {
                const struct str_list *l = &r->nodes[k].reasons;

                for (size_t m = 0; m < l->len; m++)
                    if (strcmp(l->items[m], reason) == 0)
                        add_name(&line, r->nodes[k].name, count++);
            }
            if (count > SHOWN_NODES)
                sb_printf(&line, " and %zu more", count - SHOWN_NODES);
            sb_printf(&line, ": %s", reason);
            offline_wrap(out, 2, sb_str(&line));
        }
    }
    strmap_free(seen, NULL);
}

static void
add_name(struct sb *names, const char *name, size_t count)
{
    if (count < SHOWN_NODES)
        sb_printf(names, "%s%s", count > 0 ? ", " : "", name);
}

static void
cell_cut(struct table *t, const char *text, size_t width)
{
    if (strlen(text) > width)
        table_cellf(t, "%.*s...", (int)width - 3, text);
    else
        table_cell(t, text);
}

static size_t
fitting(const struct place_result *r)
{
    size_t len = 0;

    for (size_t i = 0; i < r->nodes_len; i++)
        len += r->nodes[i].fits;
    return len;
}

static const struct place_node *
first_fitting(const struct place_result *r)
{
    for (size_t i = 0; i < r->nodes_len; i++)
        if (r->nodes[i].fits)
            return &r->nodes[i];
    return NULL;
}

static int
by_total(const void *x, const void *y)
{
    const struct place_node *a = *(const struct place_node *const *)x;
    const struct place_node *b = *(const struct place_node *const *)y;

    if (a->total != b->total)
        return a->total > b->total ? -1 : 1;
    return strcmp(a->name, b->name);
}
