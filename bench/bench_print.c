/* See bench_print.h: text, Markdown and JSON. */
#include "bench/bench_print.h"

#include <math.h>
#include <string.h>

#include "api/tree.h"

const char *
bench_verdict(const struct bench_check *c)
{
    return bench_check_met(c) ? "met" : "NOT MET";
}

/* Of things that are counted, which have no unit, all digits. */
static void
number(char *buf, size_t size, double v, const char *unit)
{
    if (!unit[0] && v == floor(v))
        snprintf(buf, size, "%.0f", v);
    else
        bench_number(buf, size, v);
}

static void
value(char *buf, size_t size, double v, const char *unit, const char *text)
{
    char n[32];

    number(n, sizeof n, v, unit);
    if (text[0])
        snprintf(buf, size, "%s", text);
    else
        snprintf(buf, size, "%s%s%s", n, unit[0] ? " " : "", unit);
}

void
bench_check_ours(const struct bench_check *c, char *buf, size_t size)
{
    value(buf, size, c->ours, c->unit, c->ours_text);
}

void
bench_check_peer(const struct bench_check *c, char *buf, size_t size)
{
    buf[0] = '\0';
    if (c->peer_text[0] || !isnan(c->peer))
        value(buf, size, c->peer, c->unit, c->peer_text);
}

static void
ratio_text(const struct bench_check *c, char *buf, size_t size)
{
    if (isnan(c->ratio))
        snprintf(buf, size, "%s", "");
    else
        bench_number(buf, size, c->ratio);
}

static void
machine_line(const struct bench_report *r, struct sb *out)
{
    const struct bench_machine *m = &r->machine;

    sb_printf(out, "%s, %u core%s, %.0f GiB (%.0f free), %s; load %.2f", m->cpu, m->cores,
              m->cores == 1 ? "" : "s", (double)m->memory_bytes / (1u << 30),
              (double)m->available_bytes / (1u << 30), m->kernel, m->load);
    if (!isnan(m->pressure_percent))
        sb_printf(out, ", CPU pressure %.0f %%", m->pressure_percent);
    if (r->quick)
        sb_puts(out, "; --quick");
}

static void
figure_line(const struct bench_figure *f, struct sb *out)
{
    static const double q[] = {0.5, 0.25, 0.75, 0, 1};
    char n[ARRAY_LEN(q)][32];

    for (size_t i = 0; i < ARRAY_LEN(q); i++)
        number(n[i], sizeof n[i], bench_quantile(&f->samples, q[i]), f->unit);
    sb_printf(out, "    %-58s %8s %-5s %s..%s (%s..%s), %zu\n", f->what, n[0], f->unit, n[1], n[2],
              n[3], n[4], f->samples.len);
}

void
bench_print_table(const struct bench_report *r, struct sb *out)
{
    char ours[96], peer[96], ratio[32];

    machine_line(r, out);
    sb_puts(out, "\n\n");
    sb_printf(out, "%-12s %-36s %-22s %-52s %7s  %-18s\n", "row", "what", "ours", "the peer",
              "ratio", "must hold");
    for (size_t i = 0; i < r->row_len; i++) {
        const struct bench_row *row = &r->rows[i];

        if (row->absent[0])
            sb_printf(out, "%-12s %s: %s\n", row->id, row->failed ? "FAILED" : "skipped",
                      row->absent);
        for (size_t k = 0; k < row->check_len; k++) {
            const struct bench_check *c = &row->checks[k];
            AUTO_SB struct sb p = SB_INIT;

            bench_check_ours(c, ours, sizeof ours);
            bench_check_peer(c, peer, sizeof peer);
            ratio_text(c, ratio, sizeof ratio);
            if (peer[0])
                sb_printf(&p, "%s  %s", peer, c->peer_name);
            sb_printf(out, "%-12s %-36s %-22s %-52s %7s  %-18s %s\n",
                      k == 0   ? row->id
                      : k == 1 ? row->size
                               : "",
                      c->what, ours, sb_str(&p), ratio, c->bound, bench_verdict(c));
        }
    }
    sb_puts(out, "\nAll figures: median, middle half (all), number of runs\n");
    for (size_t i = 0; i < r->row_len; i++) {
        const struct bench_row *row = &r->rows[i];

        sb_printf(out, "%s: %s, %.0f s\n", row->id, row->title, row->seconds);
        for (size_t k = 0; k < row->figure_len; k++)
            figure_line(&row->figures[k], out);
        if (row->note[0])
            sb_printf(out, "    %s\n", row->note);
    }
    for (size_t i = 0; i < r->warning_len; i++)
        sb_printf(out, "warning: %s\n", r->warnings[i]);
}

void
bench_print_markdown(const struct bench_report *r, struct sb *out)
{
    char ours[96], peer[96], ratio[32];

    sb_puts(out, "<!-- made by: drover-bench all -o markdown -->\n");
    machine_line(r, out);
    sb_puts(out, ".\n\n| row | what | ours | the peer | ratio | must hold | |\n"
                 "|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < r->row_len; i++) {
        const struct bench_row *row = &r->rows[i];

        if (row->absent[0])
            sb_printf(out, "| %s | | | | | | %s: %s |\n", row->id,
                      row->failed ? "**failed**" : "skipped", row->absent);
        for (size_t k = 0; k < row->check_len; k++) {
            const struct bench_check *c = &row->checks[k];

            bench_check_ours(c, ours, sizeof ours);
            bench_check_peer(c, peer, sizeof peer);
            ratio_text(c, ratio, sizeof ratio);
            sb_printf(out, "| %s%s%s | %s | %s | %s%s%s | %s | %s | %s |\n", row->id,
                      row->size[0] ? " " : "", row->size, c->what, ours, peer, peer[0] ? ", " : "",
                      c->peer_name, ratio, c->bound, bench_check_met(c) ? "met" : "**not met**");
        }
    }
    sb_putc(out, '\n');
    for (size_t i = 0; i < r->row_len; i++) {
        const struct bench_row *row = &r->rows[i];

        sb_printf(out, "- %s: %s.%s%s\n", row->id, row->title, row->note[0] ? " " : "", row->note);
    }
    for (size_t i = 0; i < r->warning_len; i++)
        sb_printf(out, "- Warning: %s.\n", r->warnings[i]);
    sb_puts(out, "<!-- end -->\n");
}

/* --- JSON --- */

static void
set_number(struct tree *t, const char *key, double v)
{
    if (isfinite(v))
        tree_set(t, key, tree_float(v));
}

static struct tree *
check_tree(const struct bench_check *c)
{
    struct tree *t = tree_map();

    tree_set(t, "what", tree_string(c->what));
    tree_set(t, "unit", tree_string(c->unit));
    set_number(t, "ours", c->ours);
    if (c->ours_text[0])
        tree_set(t, "oursText", tree_string(c->ours_text));
    if (c->peer_name[0]) {
        tree_set(t, "peerName", tree_string(c->peer_name));
        set_number(t, "peer", c->peer);
        if (c->peer_text[0])
            tree_set(t, "peerText", tree_string(c->peer_text));
    }
    set_number(t, "ratio", c->ratio);
    set_number(t, "limit", c->limit);
    tree_set(t, "limitIs", tree_string(c->at_least ? "atLeast" : "atMost"));
    tree_set(t, "mustHold", tree_string(c->bound));
    tree_set(t, "met", tree_bool(bench_check_met(c)));
    return t;
}

static struct tree *
figure_tree(const struct bench_figure *f)
{
    struct tree *t = tree_map(), *samples = tree_list();

    tree_set(t, "what", tree_string(f->what));
    tree_set(t, "unit", tree_string(f->unit));
    set_number(t, "median", bench_median(&f->samples));
    set_number(t, "p25", bench_quantile(&f->samples, 0.25));
    set_number(t, "p75", bench_quantile(&f->samples, 0.75));
    for (size_t i = 0; i < f->samples.len; i++)
        tree_append(samples, isfinite(f->samples.v[i]) ? tree_float(f->samples.v[i]) : tree_null());
    tree_set(t, "samples", samples);
    return t;
}

static struct tree *
row_tree(const struct bench_row *row)
{
    struct tree *t = tree_map(), *checks = tree_list(), *figures = tree_list();

    tree_set(t, "row", tree_string(row->id));
    if (row->size[0])
        tree_set(t, "size", tree_string(row->size));
    tree_set(t, "title", tree_string(row->title));
    if (row->absent[0])
        tree_set(t, row->failed ? "failed" : "skipped", tree_string(row->absent));
    if (row->note[0])
        tree_set(t, "note", tree_string(row->note));
    for (size_t i = 0; i < row->check_len; i++)
        tree_append(checks, check_tree(&row->checks[i]));
    for (size_t i = 0; i < row->figure_len; i++)
        tree_append(figures, figure_tree(&row->figures[i]));
    tree_set(t, "checks", checks);
    tree_set(t, "figures", figures);
    set_number(t, "seconds", row->seconds);
    return t;
}

void
bench_print_json(const struct bench_report *r, struct sb *out)
{
    AUTO_TREE struct tree *t = tree_map();
    struct tree *m = tree_ensure_map(t, "machine"), *rows = tree_list(), *warnings = tree_list();

    tree_set(m, "cpu", tree_string(r->machine.cpu));
    tree_set(m, "cores", tree_int(r->machine.cores));
    tree_set(m, "memoryBytes", tree_int((int64_t)r->machine.memory_bytes));
    tree_set(m, "availableBytes", tree_int((int64_t)r->machine.available_bytes));
    tree_set(m, "kernel", tree_string(r->machine.kernel));
    set_number(m, "load", r->machine.load);
    set_number(m, "cpuPressurePercent", r->machine.pressure_percent);
    tree_set(t, "quick", tree_bool(r->quick));
    for (size_t i = 0; i < r->row_len; i++)
        tree_append(rows, row_tree(&r->rows[i]));
    tree_set(t, "rows", rows);
    for (size_t i = 0; i < r->warning_len; i++)
        tree_append(warnings, tree_string(r->warnings[i]));
    tree_set(t, "warnings", warnings);
    tree_to_json(t, 2, out);
    sb_putc(out, '\n');
}
