/* How the demo is told: numbered steps, indented text within 100 columns, tables. The same words on
 * a terminal and through a pipe; a terminal gets colours and rules on top. */
#include <string.h>

#include "base/clock.h"
#include "cli/demo.h"

#define INDENT 4

static void
put(struct demo *d, const struct sb *out)
{
    fwrite(sb_str(out), 1, out->len, d->term.out);
    fflush(d->term.out);
}

static void
put_rule(struct demo *d, struct sb *out)
{
    AUTO_SB struct sb rule = SB_INIT;

    for (int i = 0; i < d->term.columns - 1; i++)
        sb_puts(&rule, term_glyph(&d->term, '-'));
    term_puts(&d->term, out, TERM_DIM, sb_str(&rule));
    sb_putc(out, '\n');
}

void
demo_title(struct demo *d)
{
    AUTO_SB struct sb out = SB_INIT;

    sb_putc(&out, '\n');
    term_puts(&d->term, &out, TERM_BOLD, "drover demo");
    sb_puts(&out, ": VMs find their hosts, and leave one of them while they run\n");
    put_rule(d, &out);
    put(d, &out);
}

void
demo_step(struct demo *d, const char *heading)
{
    AUTO_SB struct sb out = SB_INIT;
    AUTO_FREE char *text = xasprintf(" %d  %s", ++d->step, heading);
    AUTO_FREE char *at = xasprintf("%.1f s", (double)(clock_mono_us() - d->start_us) / 1e6);
    int pad = d->term.columns - 1 - (int)term_width(text) - (int)term_width(at);

    sb_putc(&out, '\n');
    term_puts(&d->term, &out, TERM_BOLD, text);
    sb_printf(&out, "%*s", pad > 2 ? pad : 2, "");
    term_puts(&d->term, &out, TERM_DIM, at);
    sb_putc(&out, '\n');
    put(d, &out);
}

void
demo_blank(struct demo *d)
{
    fputc('\n', d->term.out);
}

/* Words up to the width; what goes on is indented by hang more. Blanks between words are kept, so
 * that columns stay columns. */
static void
put_wrapped(struct demo *d, int hang, const char *text, struct sb *out)
{
    int used = INDENT;

    sb_printf(out, "%*s", INDENT, "");
    for (bool first = true; *text; first = false) {
        size_t blanks = strspn(text, " "), len = strcspn(text + blanks, " ");
        AUTO_FREE char *word = xstrndup(text + blanks, len);
        int width = (int)term_width(word);

        text += blanks + len;
        if (!first && used + (int)blanks + width > d->term.columns - 1) {
            sb_printf(out, "\n%*s", INDENT + hang, "");
            used = INDENT + hang;
            blanks = 0;
        }
        sb_printf(out, "%*s%s", (int)blanks, "", word);
        used += (int)blanks + width;
    }
    sb_putc(out, '\n');
}

void
demo_say(struct demo *d, int hang, const char *fmt, ...)
{
    AUTO_SB struct sb text = SB_INIT, out = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    put_wrapped(d, hang, sb_str(&text), &out);
    put(d, &out);
}

void
demo_good(struct demo *d, const char *fmt, ...)
{
    AUTO_SB struct sb text = SB_INIT, out = SB_INIT;
    va_list ap;

    sb_printf(&out, "%*s", INDENT, "");
    term_puts(&d->term, &out, TERM_GOOD, term_glyph(&d->term, 'y'));
    sb_putc(&out, ' ');
    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    sb_printf(&out, "%s\n", sb_str(&text));
    put(d, &out);
}

void
demo_table(struct demo *d, struct table *t)
{
    AUTO_SB struct sb out = SB_INIT;

    table_flush(t, INDENT, &out);
    put(d, &out);
}
