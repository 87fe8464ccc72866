/* See simulate_print.h. */
#include "cli/simulate_print.h"

#include <math.h>
#include <string.h>

#include "api/quantity.h"
#include "cli/offline.h"
#include "cli/print_table.h"

#define FIRST_ROUNDS 12 /* of a long migration the table shows these and the last ones */
#define LAST_ROUNDS  4

void
simulate_limits(const struct policy_decision *d, struct mig_limits *limits,
                struct mig_policy *policy)
{
    const struct migration_configuration *mc = &d->effective;

    *limits = (struct mig_limits){
        .bandwidth_bytes_per_s =
            (uint64_t)(mc->bandwidth_bytes_per_s > 0 ? mc->bandwidth_bytes_per_s : 0),
        .completion_timeout_us =
            (uint64_t)(d->completion_timeout_s > 0 ? d->completion_timeout_s : 0) * 1000000,
        .progress_timeout_us =
            (uint64_t)(mc->progress_timeout_s > 0 ? mc->progress_timeout_s : 0) * 1000000,
        .max_downtime_us = (uint64_t)(mc->max_downtime_ms > 0 ? mc->max_downtime_ms : 0) * 1000};
    *policy = (struct mig_policy){.allow_auto_converge = mc->allow_auto_converge,
                                  .allow_post_copy = mc->allow_post_copy,
                                  .allow_disruption = mc->allow_workload_disruption};
}

static struct tree *
rounded(uint64_t us, double unit_us)
{
    return tree_float(round((double)us / unit_us * 1000) / 1000);
}

static const char *
mode_name(enum mig_mode m)
{
    return m == MIG_MODE_POSTCOPY ? "postcopy" : m == MIG_MODE_PAUSED ? "paused" : "precopy";
}

static const char *
end_name(enum converge_decision d)
{
    switch (d) {
    case CONVERGE_SWITCH:
        return "converges";
    case CONVERGE_POSTCOPY:
        return "needs post-copy";
    case CONVERGE_PAUSE:
        return "needs a pause";
    default:
        return "does not converge";
    }
}

static const char *
decision_name(const struct simulate_round *r)
{
    return r->final ? "done" : converge_decision_name(r->decision);
}

struct tree *
simulate_tree(const struct simulate_result *r)
{
    const struct converge_prediction *p = &r->prediction;
    struct tree *t = tree_map(), *rounds = tree_list(), *predicted = tree_map();

    tree_set(t, "outcome", tree_string(r->succeeded ? "succeeded" : "aborted"));
    tree_set(t, "reason", tree_string(r->reason));
    tree_set(t, "mode", tree_string(mode_name(r->mode)));
    tree_set(t, "totalSeconds", rounded(r->total_us, 1e6));
    tree_set(t, "downtimeMs", rounded(r->downtime_us, 1e3));
    tree_set(t, "transferredBytes", tree_int((int64_t)r->sent_bytes));
    tree_set(t, "throttlePercent", tree_int(r->throttle_percent));
    tree_set(predicted, "verdict", tree_string(end_name(p->end)));
    tree_set(predicted, "totalSecondsP50", rounded(p->total_p50_us, 1e6));
    tree_set(predicted, "totalSecondsP90", rounded(p->total_p90_us, 1e6));
    tree_set(predicted, "downtimeMsP50", rounded(p->downtime_p50_us, 1e3));
    tree_set(predicted, "downtimeMsP90", rounded(p->downtime_p90_us, 1e3));
    tree_set(predicted, "bytesP50", tree_int((int64_t)p->bytes_p50));
    tree_set(predicted, "bytesP90", tree_int((int64_t)p->bytes_p90));
    tree_set(predicted, "roundsP50", tree_int(p->rounds_p50));
    tree_set(predicted, "roundsP90", tree_int(p->rounds_p90));
    tree_set(predicted, "why", tree_string(r->start));
    tree_set(t, "predicted", predicted);
    for (uint32_t i = 0; i < r->rounds_len; i++) {
        const struct simulate_round *k = &r->rounds[i];
        struct tree *m = tree_map();

        tree_set(m, "round", tree_int(k->round));
        tree_set(m, "dirtyBytes", tree_int((int64_t)k->dirty_bytes));
        tree_set(m, "sentBytes", tree_int((int64_t)k->sent_bytes));
        tree_set(m, "seconds", rounded(k->us, 1e6));
        tree_set(m, "decision", tree_string(decision_name(k)));
        tree_set(m, "why", tree_string(k->why));
        tree_append(rounds, m);
    }
    tree_set(t, "rounds", rounds);
    return t;
}

static void
put_time(uint64_t us, char *buf, size_t size)
{
    if (us < 1000000)
        snprintf(buf, size, us < 100000 ? "%.1f ms" : "%.0f ms", (double)us / 1e3);
    else
        snprintf(buf, size, us < 100000000 ? "%.1f s" : "%.0f s", (double)us / 1e6);
}

/* The part of a sentence that the table's other columns do not say. */
static const char *
reason_of(const char *why, char *buf, size_t size)
{
    const char *s = strstr(why, "; "), *end = strrchr(why, ':');

    if (strncmp(why, "round ", 6) != 0 || !s)
        return why;
    s += 2;
    snprintf(buf, size, "%.*s", end > s ? (int)(end - s) : (int)strlen(s), s);
    return buf;
}

void
simulate_print(const struct simulate_result *r, struct sb *out)
{
    const struct converge_prediction *p = &r->prediction;
    AUTO_TABLE struct table *t = table_new();
    char a[64], b[64], d[64], e[64], why[MIG_DECISION_TEXT];

    put_time(p->total_p50_us, a, sizeof a);
    put_time(p->total_p90_us, b, sizeof b);
    put_time(p->downtime_p50_us, d, sizeof d);
    put_time(p->downtime_p90_us, e, sizeof e);
    sb_printf(out, "Predicted   %s: %s (P90 %s), downtime %s (P90 %s), before the first byte\n",
              end_name(p->end), a, b, d, e);
    put_time(r->total_us, a, sizeof a);
    put_time(r->downtime_us, b, sizeof b);
    quantity_format_human(r->sent_bytes, d, sizeof d);
    if (r->succeeded)
        sb_printf(out, "Outcome     succeeded (%s) after %s: downtime %s, %s sent",
                  mode_name(r->mode), a, b, d);
    else
        sb_printf(out, "Outcome     aborted after %s, %s sent", a, d);
    if (r->throttle_percent)
        sb_printf(out, ", slowed down by up to %u %%", r->throttle_percent);
    sb_printf(out, "\nWhy         %s\n\n", reason_of(r->reason, why, sizeof why));
    table_set_tight(t);
    table_column(t, "ROUND", true);
    table_column(t, "SENT", true);
    table_column(t, "TIME", true);
    table_column(t, "LEFT", true);
    table_column(t, "THEN", false);
    table_column(t, "WHY", false);
    for (uint32_t i = 0; i < r->rounds_len; i++) {
        const struct simulate_round *k = &r->rounds[i];

        if (r->rounds_len > FIRST_ROUNDS + LAST_ROUNDS + 1 && i == FIRST_ROUNDS) {
            table_cellf(t, "...");
            for (int n = 0; n < 5; n++)
                table_cell(t, n < 4 ? "" : "as before");
            i = r->rounds_len - LAST_ROUNDS - 1;
            continue;
        }
        table_cellf(t, "%u", k->round);
        quantity_format_human(k->sent_bytes, a, sizeof a);
        table_cell(t, a);
        put_time(k->us, a, sizeof a);
        table_cell(t, a);
        quantity_format_human(k->dirty_bytes, a, sizeof a);
        table_cell(t, a);
        table_cell(t, decision_name(k));
        table_cell(t, reason_of(k->why, why, sizeof why));
    }
    table_flush(t, 0, out);
}
