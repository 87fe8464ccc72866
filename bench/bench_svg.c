/* bench_print_svg: one group of bars for each thing that must hold. Each group has a scale of its
 * own, because units differ; the dashed line is the bound that our bar has to reach (at least) or
 * stay before (at most). */
#include "bench/bench_print.h"

#include <math.h>

#define WIDTH   1060
#define LEFT    300 /* labels end here */
#define BAR     420 /* the longest bar */
#define TOP     74
#define GROUP   62
#define BAR_H   16
#define FONT    "font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\""
#define INK     "#1f2933"
#define GREY    "#5f6b7a"
#define OURS    "#2b6cb0"
#define THEIRS  "#a9b4c2"
#define MET     "#2f855a"
#define NOT_MET "#c53030"

static void
escape(struct sb *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '<')
            sb_puts(out, "&lt;");
        else if (*s == '>')
            sb_puts(out, "&gt;");
        else if (*s == '&')
            sb_puts(out, "&amp;");
        else
            sb_putc(out, *s);
    }
}

static void
text(struct sb *out, double x, double y, int size, const char *colour, const char *extra,
     const char *s)
{
    sb_printf(out, "<text x=\"%.0f\" y=\"%.0f\" font-size=\"%d\" fill=\"%s\" %s %s>", x, y, size,
              colour, FONT, extra);
    escape(out, s);
    sb_puts(out, "</text>\n");
}

static void
bar(struct sb *out, double y, double length, const char *colour)
{
    sb_printf(out,
              "<rect x=\"%d\" y=\"%.0f\" width=\"%.1f\" height=\"%d\" rx=\"2\" fill=\"%s\"/>\n",
              LEFT, y, length > 1 ? length : 1, BAR_H, colour);
}

static double
largest(const struct bench_check *c)
{
    double m = 0;

    if (isfinite(c->ours))
        m = fmax(m, c->ours);
    if (isfinite(c->peer))
        m = fmax(m, c->peer);
    if (isfinite(c->limit))
        m = fmax(m, c->limit);
    return m > 0 ? m : 1;
}

static void
group(struct sb *out, double y, const char *id, const struct bench_check *c)
{
    char ours[96], peer[96], ratio[32];
    double scale = BAR / largest(c);
    AUTO_SB struct sb line = SB_INIT;
    bool met = bench_check_met(c);

    bench_check_ours(c, ours, sizeof ours);
    bench_check_peer(c, peer, sizeof peer);
    text(out, LEFT - 12, y + 13, 13, INK, "text-anchor=\"end\" font-weight=\"bold\"", id);
    text(out, LEFT - 12, y + 31, 12, GREY, "text-anchor=\"end\"", c->what);
    if (isfinite(c->ours))
        bar(out, y, c->ours * scale, OURS);
    text(out, LEFT + (isfinite(c->ours) ? c->ours * scale : 0) + 8, y + 13, 12, INK, "", ours);
    if (peer[0]) {
        if (isfinite(c->peer))
            bar(out, y + BAR_H + 4, c->peer * scale, THEIRS);
        sb_printf(&line, "%s, %s", peer, c->peer_name);
        text(out, LEFT + (isfinite(c->peer) ? c->peer * scale : 0) + 8, y + BAR_H + 17, 12, GREY,
             "", sb_str(&line));
    }
    if (isfinite(c->limit))
        sb_printf(out,
                  "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.0f\" y2=\"%.0f\" stroke=\"%s\" "
                  "stroke-width=\"1.5\" stroke-dasharray=\"3,2\"/>\n",
                  LEFT + c->limit * scale, LEFT + c->limit * scale, y - 5, y + 2 * BAR_H + 8, INK);
    sb_reset(&line);
    if (isfinite(c->ratio)) {
        bench_number(ratio, sizeof ratio, c->ratio);
        sb_printf(&line, "%s, ", ratio);
    }
    sb_printf(&line, "want %s", c->bound);
    text(out, WIDTH - 16, y + 13, 13, met ? MET : NOT_MET,
         "text-anchor=\"end\" font-weight=\"bold\"", bench_verdict(c));
    text(out, LEFT - 12, y + 47, 11, GREY, "text-anchor=\"end\"", sb_str(&line));
}

void
bench_print_svg(const struct bench_report *r, struct sb *out)
{
    AUTO_SB struct sb line = SB_INIT;
    size_t groups = 0;
    double y = TOP;
    int height;

    for (size_t i = 0; i < r->row_len; i++)
        groups += r->rows[i].check_len + (r->rows[i].absent[0] ? 1 : 0);
    height = TOP + (int)groups * GROUP + 40;
    sb_printf(out,
              "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
              "viewBox=\"0 0 %d %d\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
              WIDTH, height, WIDTH, height);
    text(out, 16, 28, 18, INK, "font-weight=\"bold\"", "drover: what must hold, and its peers");
    sb_printf(&line, "%s, %u cores, %s%s; medians of runs in turn", r->machine.cpu,
              r->machine.cores, r->machine.kernel, r->quick ? ", --quick" : "");
    text(out, 16, 48, 12, GREY, "", sb_str(&line));
    for (size_t i = 0; i < r->row_len; i++) {
        const struct bench_row *row = &r->rows[i];

        AUTO_FREE char *name = xasprintf("%s%s%s", row->id, row->size[0] ? " " : "", row->size);

        for (size_t k = 0; k < row->check_len; k++, y += GROUP)
            group(out, y, name, &row->checks[k]);
        if (row->absent[0]) {
            sb_reset(&line);
            sb_printf(&line, "%s: %.90s", row->failed ? "failed" : "not measured", row->absent);
            text(out, LEFT - 12, y + 13, 13, INK, "text-anchor=\"end\" font-weight=\"bold\"",
                 row->id);
            text(out, LEFT, y + 13, 12, GREY, "", sb_str(&line));
            y += GROUP;
        }
    }
    bar(out, height - 26, 24, OURS);
    text(out, LEFT + 32, height - 13, 12, INK, "", "drover");
    sb_printf(out, "<rect x=\"%d\" y=\"%d\" width=\"24\" height=\"%d\" rx=\"2\" fill=\"%s\"/>\n",
              LEFT + 110, height - 26, BAR_H, THEIRS);
    text(out, LEFT + 142, height - 13, 12, INK, "", "the peer");
    sb_printf(out,
              "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"1.5\" "
              "stroke-dasharray=\"3,2\"/>\n",
              LEFT + 230, LEFT + 230, height - 30, height - 6, INK);
    text(out, LEFT + 238, height - 13, 12, INK, "",
         "what our bar must reach, or (times) stay before");
    sb_puts(out, "</svg>\n");
}
